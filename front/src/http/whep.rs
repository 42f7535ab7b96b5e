//! WHEP (draft-ietf-wish-whep-03): an offer in one POST, a session to look at and to delete.
//!
//! PATCH brings candidates that the browser found after its offer. A restart of ICE is refused with
//! 422, so there is but one ICE session for each URL and no ETag to tell it by.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::listener::Delivery;
use super::{SessionPath, StreamName, Web, body, is_name};
use crate::call::{FRAGMENT, Info};
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
    let headers = [
        (header::HeaderName::from_static("accept-patch"), FRAGMENT),
        (header::ALLOW, "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ];
    (headers, "").into_response()
}

/// `GET /whep/{stream}/{session}`: 200 while it lives, 410 with the reason for a minute after. What its
/// streamer says is null when it says nothing.
pub(super) async fn session(
    State(web): State<Web>,
    path: SessionPath,
) -> Result<Json<Value>, Error> {
    let session = web.calls.session(&path.stream, &path.secret).await?;
    // Without the list the session lives all the same.
    let list = web.calls.streams().await.ok();
    let entry = list.as_ref().and_then(|list| list.stream(&path.stream));
    let told = web.calls.ask(&path.stream, &path.secret).await;
    Ok(Json(json!({
        "state": "established",
        "stream": path.stream,
        "seconds": session.age.as_secs(),
        "rung": session.rung,
        "rungs": entry.map(|entry| &entry["rungs"]),
        "clock": told.as_ref().map(|told| &told["clock"]),
    })))
}

/// `PATCH /whep/{stream}/{session}`: 204 when the streamer has taken the candidates. If-Match is not
/// looked at: there is no ETag, and clients send what they like (`*`, in MediaMTX's reader).
pub(super) async fn trickle(
    State(web): State<Web>,
    path: SessionPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let fragment = match body::fragment(&headers, body).await {
        Err(error @ Error::WrongType { .. }) => {
            // RFC 5789 section 2.2.
            let accept = [(header::HeaderName::from_static("accept-patch"), FRAGMENT)];
            return Ok((accept, error).into_response());
        }
        read => read?,
    };
    web.calls
        .inform(&path.stream, &path.secret, Info::Candidates(fragment))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Body of the choice of a rung.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    /// `auto`, `audio` or the name of one of the stream's rungs.
    rung: String,
}

/// `POST /whep/{stream}/{session}/rung`: 204 when the streamer has taken the choice.
pub(super) async fn choose(
    State(web): State<Web>,
    path: SessionPath,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Error> {
    let Choice { rung } = body::json(&headers, body).await?;
    if !is_name(&rung) {
        return Err(Error::BadRequest {
            why: "the rung is auto, audio or one of the stream's rungs".to_owned(),
        });
    }
    let info = Info::Rung(rung);
    web.calls.inform(&path.stream, &path.secret, info).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /whep/{stream}/{session}`: ends the call.
pub(super) async fn end(State(web): State<Web>, path: SessionPath) -> Result<StatusCode, Error> {
    web.calls.end(&path.stream, &path.secret).await?;
    Ok(StatusCode::OK)
}
