//! The JSON calls: `{"name": …, "content": {…}}` in and out, over the same code as WHEP.
//!
//! | Call | `content` in | `content` out |
//! |---|---|---|
//! | `register` | `{}` | `token`, `expires` (seconds) |
//! | `streamers` | `token` | `streamers`: the entries of `GET /api/streams`, `signaling` |
//! | `select` | `token`, `stream` | `stream`: its entry |
//! | `offer` | `token`, `sdp`, optional `type` and `stream` | `type`, `sdp`, `stream`, `session` |
//! | `bye` | `token` | `{}` |

use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::listener::Delivery;
use super::{Web, body, known_as_name};
use crate::error::Error;
use crate::users::USER_LIFETIME;

/// The envelope of every call.
#[derive(Debug, Deserialize)]
struct Message<C> {
    name: String,
    content: C,
}

#[derive(Debug, Deserialize)]
struct Token {
    token: String,
}

#[derive(Debug, Deserialize)]
struct Selection {
    token: String,
    stream: String,
}

#[derive(Debug, Deserialize)]
struct Offer {
    token: String,
    sdp: String,
    stream: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

fn reply(name: &str, content: Value) -> Json<Value> {
    Json(json!({ "name": name, "content": content }))
}

/// `POST /api/register`.
pub(super) async fn register(
    State(web): State<Web>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    let message: Message<Value> = body::json(&headers, body).await?;
    let token = web.users().register(Instant::now(), &message.name)?;
    let content = json!({ "token": token, "expires": USER_LIFETIME.as_secs() });
    Ok(reply(message.name.trim(), content))
}

/// `POST /api/streamers`.
pub(super) async fn streamers(
    State(web): State<Web>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    let message: Message<Token> = body::json(&headers, body).await?;
    web.users()
        .user(Instant::now(), &message.content.token, &message.name)?;
    let snapshot = web.calls.streams().await?;
    let content = json!({ "streamers": snapshot.streams, "signaling": snapshot.signaling() });
    Ok(reply(&message.name, content))
}

/// `POST /api/select`.
pub(super) async fn select(
    State(web): State<Web>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    let message: Message<Selection> = body::json(&headers, body).await?;
    let Selection { token, stream } = message.content;
    web.users().user(Instant::now(), &token, &message.name)?;
    known_as_name(&stream)?;
    let snapshot = web.calls.streams().await?;
    let entry = snapshot
        .stream(&stream)
        .cloned()
        .ok_or_else(|| Error::NoSuchStream {
            stream: stream.clone(),
        })?;
    web.users()
        .user(Instant::now(), &token, &message.name)?
        .stream = Some(stream);
    Ok(reply(&message.name, json!({ "stream": entry })))
}

/// `POST /api/offer`. A user has one session: an earlier one is ended.
pub(super) async fn offer(
    State(web): State<Web>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let message: Message<Offer> = body::json(&headers, body).await?;
    let Offer {
        token,
        sdp,
        stream,
        kind,
    } = message.content;
    if kind.is_some_and(|kind| kind != "offer") || sdp.is_empty() {
        return Err(Error::BadRequest {
            why: "content must hold an SDP of type offer".to_owned(),
        });
    }
    if sdp.len() > body::SDP_BYTES {
        return Err(Error::TooLarge {
            limit: body::SDP_BYTES,
        });
    }
    let (viewer, stream, earlier) = {
        let mut users = web.users();
        let user = users.user(Instant::now(), &token, &message.name)?;
        let stream = stream
            .or_else(|| user.stream.clone())
            .ok_or(Error::NothingSelected)?;
        known_as_name(&stream)?;
        (user.name.clone(), stream, user.session.take())
    };
    if let Some((stream, secret)) = earlier {
        // Already over is as good as ended now.
        let _ = web.calls.end(&stream, &secret).await;
    }
    let answer = web
        .calls
        .offer(&stream, Some(viewer), Bytes::from(sdp))
        .await?;
    let delivery = Delivery::new(answer.guard);
    let session = (stream.clone(), answer.secret.clone());
    let replaced = match web.users().user(Instant::now(), &token, &message.name) {
        Ok(user) => user.session.replace(session),
        Err(_) => None,
    };
    if let Some((stream, secret)) = replaced {
        // Another offer of theirs was answered meanwhile; already over is as good as ended now.
        let _ = web.calls.end(&stream, &secret).await;
    }
    let content = json!({
        "type": "answer",
        "sdp": String::from_utf8_lossy(&answer.sdp),
        "stream": stream,
        "session": answer.secret,
    });
    Ok((Extension(delivery), reply(&message.name, content)).into_response())
}

/// `POST /api/bye`.
pub(super) async fn bye(
    State(web): State<Web>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Error> {
    let message: Message<Token> = body::json(&headers, body).await?;
    let session = web
        .users()
        .user(Instant::now(), &message.content.token, &message.name)?
        .session
        .take();
    let (stream, secret) = session.ok_or(Error::NoSuchSession)?;
    web.calls.end(&stream, &secret).await?;
    Ok(reply(&message.name, json!({})))
}
