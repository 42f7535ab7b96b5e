//! The viewer page: a copy inside the program, or a directory to edit it in.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use crate::error::Error;

/// The files of the page, as built in.
const BUILT_IN: &[(&str, &[u8])] = &[
    (
        "index.html",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/index.html")),
    ),
    (
        "app.js",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/app.js")),
    ),
    (
        "player.js",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/player.js")),
    ),
    (
        "streams.js",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/streams.js")),
    ),
    (
        "streams-worker.js",
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../static/streams-worker.js"
        )),
    ),
    (
        "whep.js",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/whep.js")),
    ),
    (
        "style.css",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/style.css")),
    ),
    (
        "icon.svg",
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../static/icon.svg")),
    ),
];

/// Where the page comes from.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    directory: Option<Arc<PathBuf>>,
}

impl Pages {
    /// From `directory` at each request, else from the program itself.
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory: directory.map(Arc::new),
        }
    }

    async fn file(&self, name: &str) -> Result<Response, Error> {
        let content_type = content_type(name).ok_or(Error::NoSuchPage)?;
        let headers = [(header::CONTENT_TYPE, content_type)];
        let Some(directory) = &self.directory else {
            let (_, bytes) = BUILT_IN
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or(Error::NoSuchPage)?;
            return Ok((headers, *bytes).into_response());
        };
        let path = directory.join(name);
        match tokio::task::spawn_blocking(move || std::fs::read(path)).await {
            Ok(Ok(bytes)) => Ok((headers, bytes).into_response()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoSuchPage),
            Ok(Err(error)) => {
                tracing::warn!(name, %error, "cannot read a file of the page");
                Err(Error::NoSuchPage)
            }
            Err(_) => Err(Error::Unavailable),
        }
    }
}

/// The type of a file of the page; `None` for a name that cannot be one. Names are plain: no
/// directory, no dot in front.
fn content_type(name: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.len() > 64 || name.starts_with('.') || !name.bytes().all(plain) {
        return None;
    }
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "png" => "image/png",
        _ => return None,
    })
}

/// `GET /` and `GET /watch/{stream}`: one page; its script reads the path. Nobody may frame it,
/// `/embed/{stream}` is for that.
pub(super) async fn index(State(web): State<Web>) -> Result<Response, Error> {
    let frames = (
        HeaderName::from_static("x-frame-options"),
        HeaderValue::from_static("SAMEORIGIN"),
    );
    Ok(([frames], web.pages.file("index.html").await?).into_response())
}

/// `GET /embed/{stream}`: the player alone, made to be framed.
pub(super) async fn embed(State(web): State<Web>) -> Result<Response, Error> {
    web.pages.file("index.html").await
}

/// `GET /favicon.ico`: browsers ask for it whatever the page says.
pub(super) async fn icon(State(web): State<Web>) -> Result<Response, Error> {
    web.pages.file("icon.svg").await
}

/// `GET /static/{file}`.
pub(super) async fn asset(
    State(web): State<Web>,
    Path(file): Path<String>,
) -> Result<Response, Error> {
    web.pages.file(&file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_known_types_are_files_of_the_page() {
        assert!(content_type("app.js").is_some());
        for name in ["../Cargo.toml", ".git", "a/b.js", "Cargo.toml", "x", ".js"] {
            assert_eq!(content_type(name), None, "{name}");
        }
    }

    #[test]
    fn every_file_built_in_can_be_served() {
        for (name, bytes) in BUILT_IN {
            assert!(content_type(name).is_some(), "{name}");
            assert!(!bytes.is_empty(), "{name}");
        }
    }
}
