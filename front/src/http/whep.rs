//! WHEP (draft-ietf-wish-whep-03): an offer in one POST, a session to look at and to delete.
//!
//! No trickle ICE and no restart yet, so PATCH is 405 as the draft asks, and no ETag is given.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::listener::Delivery;
use super::{SessionPath, StreamName, Web, body};
use crate::error::Error;
use crate::users::viewer_name;

/// Query of the POST.
#[derive(Debug, Deserialize)]
pub(super) struct Viewer {
    /// The viewer's name: display name of the SIP From.
    #[serde(default)]
    name: String,
}

/// `POST /whep/{stream}?name=NAME`: SDP offer → 201 with the answer.
pub(super) async fn offer(
    State(web): State<Web>,
    StreamName(stream): StreamName,
    viewer: Result<Query<Viewer>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Query(viewer) = viewer.map_err(|rejection| Error::BadRequest {
        why: rejection.to_string(),
    })?;
    let viewer = viewer_name(&viewer.name)?;
    let offer = body::sdp(&headers, body).await?;
    let answer = web.calls.offer(&stream, viewer, offer).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/sdp".to_owned()),
        (
            header::LOCATION,
            format!("/whep/{stream}/{}", answer.secret),
        ),
    ];
    let delivery = Delivery::new(answer.guard);
    Ok((
        StatusCode::CREATED,
        headers,
        Extension(delivery),
        answer.sdp,
    )
        .into_response())
}

/// `GET` and `HEAD /whep/{stream}`: says that this is a WHEP endpoint.
pub(super) async fn endpoint(StreamName(_): StreamName) -> Response {
    ([(header::CONTENT_TYPE, "application/sdp")], "").into_response()
}

/// `OPTIONS /whep/{stream}`.
pub(super) async fn endpoint_options(StreamName(_): StreamName) -> Response {
    let headers = [
        (
            header::HeaderName::from_static("accept-post"),
            "application/sdp",
        ),
        (header::ALLOW, "GET, HEAD, POST, OPTIONS"),
    ];
    (headers, "").into_response()
}

/// `OPTIONS /whep/{stream}/{session}`.
pub(super) async fn session_options() -> Response {
    ([(header::ALLOW, "GET, HEAD, DELETE, OPTIONS")], "").into_response()
}

/// `GET /whep/{stream}/{session}`: 200 while it lives, 410 with the reason for a minute after.
pub(super) async fn session(
    State(web): State<Web>,
    path: SessionPath,
) -> Result<Json<Value>, Error> {
    let session = web.calls.session(&path.stream, &path.secret).await?;
    Ok(Json(json!({
        "state": "established",
        "stream": path.stream,
        "seconds": session.age.as_secs(),
    })))
}

/// `DELETE /whep/{stream}/{session}`: ends the call.
pub(super) async fn end(State(web): State<Web>, path: SessionPath) -> Result<StatusCode, Error> {
    web.calls.end(&path.stream, &path.secret).await?;
    Ok(StatusCode::OK)
}
