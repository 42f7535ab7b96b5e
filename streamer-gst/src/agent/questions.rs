//! What a stream tells about itself when asked with OPTIONS.

use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use sip::{Endpoint, Name, Request, Response, ServerId, StatusCode};

use super::{ALLOW, Agent};
use crate::media::{Clock, Refusal, StreamInfo};

/// What a stream tells as JSON.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    info: StreamInfo,
    clock: Clock,
}

impl Agent {
    pub(super) fn handle_options(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        let stream = request.uri.user.as_deref().unwrap_or_default();
        let info = self
            .media
            .streams()
            .into_iter()
            .find(|info| info.name == stream);
        let wants = |kind: &str| {
            let mut kinds = request.headers.values(Name::Accept);
            kinds.any(|value| value.split(';').next().is_some_and(|v| v.trim() == kind))
        };
        let Some(info) = info.filter(|_| !self.ending) else {
            let status = if stream.is_empty() && !self.ending {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            };
            endpoint.respond(
                now,
                id,
                with_abilities(Response::to_request(request, status)),
            );
            return;
        };
        if wants("image/jpeg") {
            let waiting = self.pictures.entry(stream.to_owned()).or_default();
            waiting.push(id);
            if waiting.len() == 1 && self.painter.try_send(stream.to_owned()).is_err() {
                let why = Refusal::Failed("too many pictures are asked for".to_owned());
                self.handle_picture(now, stream, Err(&why), endpoint);
            }
            return;
        }
        let mut answer = with_abilities(Response::to_request(request, StatusCode::OK));
        if wants("application/json") {
            let clock = self.media.clock();
            if let Ok(body) = serde_json::to_vec(&Told { info, clock }) {
                answer.set_body("application/json", body.into());
            }
        }
        endpoint.respond(now, id, answer);
    }

    pub(super) fn handle_picture(
        &mut self,
        now: Instant,
        stream: &str,
        result: Result<&Bytes, &Refusal>,
        endpoint: &mut Endpoint,
    ) {
        for id in self.pictures.remove(stream).unwrap_or_default() {
            let Some(request) = endpoint.server_request(id) else {
                continue;
            };
            let answer = match result {
                Ok(picture) => {
                    let mut answer = Response::to_request(request, StatusCode::OK);
                    answer.set_body("image/jpeg", picture.clone());
                    answer
                }
                // The streamer is there; it is the picture that is not.
                Err(refusal) => Response::to_request(request, StatusCode::NOT_ACCEPTABLE)
                    .with_reason(&refusal.to_string()),
            };
            endpoint.respond(now, id, answer);
        }
    }
}

fn with_abilities(mut answer: Response) -> Response {
    answer.headers.push(Name::Allow, ALLOW);
    answer.headers.push(
        Name::Accept,
        "application/sdp, application/json, image/jpeg",
    );
    answer
}
