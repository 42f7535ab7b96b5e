//! What browsers and other HTTP clients see: routes, their limits, and errors as RFC 9457.
//!
//! No handler knows SIP: everything about calls goes through [`Calls`]. SDP is carried as opaque
//! text.

mod body;
mod guard;
mod listener;
mod page;
mod seed;
mod streams;
mod whep;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::watch;

use crate::call::Calls;
use crate::config::Limits;
use crate::error::Error;
use crate::users::Users;

pub(crate) use guard::Doors;
pub(crate) use listener::serve;
pub(crate) use page::Pages;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Web {
    /// The door to the SIP task.
    pub(crate) calls: Calls,
    /// Who registered through the JSON calls.
    pub(crate) users: Arc<Mutex<Users>>,
    /// The page and its parts.
    pub(crate) pages: Pages,
    /// The names we answer to and the origins whose pages may call us.
    pub(crate) doors: Doors,
    /// How long we wait.
    pub(crate) limits: Limits,
    /// Open event streams, for the admin state.
    pub(crate) events: Arc<AtomicUsize>,
    /// Turns true when the server stops: event streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Web {
    /// The table of users; a panic elsewhere leaves it whole, so poisoning means nothing.
    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes.
pub(crate) fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/watch/{stream}", get(page::index))
        .route("/embed/{stream}", get(page::embed))
        .route("/favicon.ico", get(page::icon))
        .route("/static/{file}", get(page::asset))
        .route("/api/streams", get(streams::list))
        .route("/api/streams/events", get(streams::events))
        .route("/api/streams/{stream}/image", get(streams::image))
        .route("/api/register", post(seed::register))
        .route("/api/streamers", post(seed::streamers))
        .route("/api/select", post(seed::select))
        .route("/api/offer", post(seed::offer))
        .route("/api/bye", post(seed::bye))
        .route(
            "/whep/{stream}",
            get(whep::endpoint)
                .post(whep::offer)
                .options(whep::endpoint_options),
        )
        .route(
            "/whep/{stream}/{session}",
            get(whep::session)
                .patch(whep::trickle)
                .delete(whep::end)
                .options(whep::session_options),
        )
        .route("/whep/{stream}/{session}/rung", post(whep::choose))
        .fallback(|| async { Error::NoSuchPage })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(web.clone(), guard::guard))
        .with_state(web)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            problem.body.to_string(),
        )
            .into_response();
        if let Some(seconds) = problem.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The name of a stream in a path. What cannot be a name is a stream that does not exist.
struct StreamName(String);

impl<S: Send + Sync> FromRequestParts<S> for StreamName {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let stream = match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(stream)) => stream,
            Err(rejection) => {
                return Err(Error::BadRequest {
                    why: rejection.to_string(),
                });
            }
        };
        known_as_name(&stream)?;
        Ok(Self(stream))
    }
}

/// Stream and secret of a session's path.
struct SessionPath {
    stream: String,
    secret: String,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((stream, secret))) => Ok(Self { stream, secret }),
            Err(_) => Err(Error::NoSuchSession),
        }
    }
}

/// Names are those of files: `[A-Za-z0-9_-]{1,64}` (design section 5).
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

fn known_as_name(stream: &str) -> Result<(), Error> {
    if is_name(stream) {
        return Ok(());
    }
    Err(Error::NoSuchStream {
        stream: stream.chars().take(64).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_file_can_have_are_streams_that_do_not_exist() {
        for name in ["test", "cam_2", "a-B-9", &"x".repeat(64)] {
            assert_eq!(known_as_name(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "ñ", "../x", "a;b", &"x".repeat(65)] {
            assert!(
                matches!(known_as_name(name), Err(Error::NoSuchStream { .. })),
                "{name}"
            );
        }
    }
}
