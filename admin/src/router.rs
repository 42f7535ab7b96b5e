//! The paths and what they answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::Value;

use crate::{Source, metrics, process};

/// All paths over `source`; `token` guards those that tell more than "alive".
pub(crate) fn router(source: Arc<dyn Source>, token: Option<String>) -> Router {
    let token: Option<Arc<str>> = token.map(Arc::from);
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/api/state", get(show_state))
        .route("/{*path}", get(show_document))
        .route_layer(middleware::from_fn_with_state(token, authorize))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(show_ready))
        .layer(middleware::map_response(never_cached))
        .with_state(source)
}

async fn show_ready(State(source): State<Arc<dyn Source>>) -> Response {
    if source.ready().await {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn show_metrics(State(source): State<Arc<dyn Source>>) -> Response {
    let state = full_state(source.as_ref());
    let describe = |path: &str| process::describe(path).or_else(|| source.describe(path));
    let text = metrics::exposition(&state, describe);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn show_state(State(source): State<Arc<dyn Source>>) -> Json<Value> {
    Json(full_state(source.as_ref()))
}

async fn show_document(
    State(source): State<Arc<dyn Source>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/{path}");
    let text = if wants_text(&headers) {
        source.document(&format!("{path}.txt"))
    } else {
        None
    };
    match text.or_else(|| source.document(&path)) {
        Some(document) => {
            let content_type = [(header::CONTENT_TYPE, document.media_type)];
            (content_type, document.body).into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is nothing here\n").into_response(),
    }
}

/// True when Accept names plain text. A preference beyond that is for nobody who uses this.
fn wants_text(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let mut kinds = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/plain"))
}

fn full_state(source: &dyn Source) -> Value {
    let mut state = source.state();
    if let Value::Object(fields) = &mut state {
        fields.insert("process".to_owned(), process::usage());
    }
    state
}

async fn never_cached(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

async fn authorize(
    State(token): State<Option<Arc<str>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = token else {
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer);
    match given {
        Some(given) if same(given.as_bytes(), token.as_bytes()) => next.run(request).await,
        _ => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer")],
            "this needs the admin token: Authorization: Bearer TOKEN\n",
        )
            .into_response(),
    }
}

/// The token of a `Bearer` credential (RFC 6750 2.1); the scheme's case does not matter.
fn bearer(credential: &str) -> Option<&str> {
    let (scheme, token) = credential.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Equality in a time that depends on the lengths alone, so that answers' timing does not tell
/// how many first letters of a guess were right.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let mut difference = given.len() ^ wanted.len();
    for (index, byte) in given.iter().enumerate() {
        let other = wanted.get(index).copied().unwrap_or_default();
        difference |= usize::from(std::hint::black_box(byte ^ other));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_token_is_the_same() {
        assert!(same(b"secret", b"secret"));
        for wrong in ["", "secre", "secrets", "Secret", "secret\0"] {
            assert!(!same(wrong.as_bytes(), b"secret"), "{wrong:?}");
        }
    }

    #[test]
    fn bearer_scheme_is_read_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bEARER  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
