//! What a caller tells within its call, by INFO (RFC 6086): candidates that it found after its
//! offer, and which rung it wishes for.

use std::time::Instant;

use serde::Deserialize;
use sip::{Endpoint, Name, Request, Response, ServerId, StatusCode};

use super::calls::status_of;
use super::{Agent, State};
use crate::engine::ViewerId;
use crate::media::{Refusal, Wish};
use crate::offer::{Fragment, MAX_CANDIDATES, Offer};

/// The one Info Package that we take (RFC 8840). INFO that names none means what its body says, as
/// it did before there were packages.
pub(super) const PACKAGE: &str = "trickle-ice";
/// The body of its requests (RFC 8840 section 9).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// The body that chooses a rung: [`Choice`].
const JSON: &str = "application/json";

/// `{"rung": "auto" | NAME | "audio"}`.
#[derive(Deserialize)]
struct Choice {
    rung: String,
}

impl Agent {
    pub(super) fn handle_info(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        let package = request.headers.get(Name::InfoPackage);
        let package = package.map(|value| value.split(';').next().unwrap_or_default().trim());
        let taken = self.viewer_of(request).and_then(|viewer| match package {
            None => self.take_choice(id, viewer, request),
            Some(name) if name.eq_ignore_ascii_case(PACKAGE) => {
                self.take_candidates(viewer, request)?;
                Ok(Some(Response::to_request(request, StatusCode::OK)))
            }
            Some(_) => {
                let mut refusal = Response::to_request(request, StatusCode::BAD_INFO_PACKAGE);
                refusal.headers.push(Name::RecvInfo, PACKAGE);
                Err(Box::new(refusal))
            }
        });
        let answer = match taken {
            Ok(answer) => answer,
            Err(refusal) => Some(*refusal),
        };
        if let Some(answer) = answer {
            endpoint.respond(now, id, answer);
        }
    }

    /// The viewer of the call that a request is part of.
    fn viewer_of(&mut self, request: &Request) -> Result<ViewerId, Box<Response>> {
        let call = self.calls.get_mut(request.call_id());
        let status = match call.map(|call| (call.viewer, &mut call.state)) {
            Some((viewer, State::Accepted { dialog, .. } | State::Confirmed { dialog })) => {
                match dialog.accepts(request) {
                    Ok(()) => return Ok(viewer),
                    Err(status) => status,
                }
            }
            _ => StatusCode::CALL_DOES_NOT_EXIST,
        };
        Err(Box::new(Response::to_request(request, status)))
    }

    fn take_candidates(
        &mut self,
        viewer: ViewerId,
        request: &Request,
    ) -> Result<(), Box<Response>> {
        expect_type(request, FRAGMENT)?;
        let refuse =
            |status, why: &str| Box::new(Response::to_request(request, status).with_reason(why));
        let fragment = Fragment::parse(&request.body)
            .map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let Some(call) = self.calls.get_mut(request.call_id()) else {
            return Ok(());
        };
        // An offer that was answered can be read.
        if !Offer::parse(&call.offer).is_ok_and(|offer| fragment.belongs_to(&offer)) {
            let why = "ICE cannot be restarted within a call, only with a new one";
            return Err(refuse(StatusCode::NOT_ACCEPTABLE_HERE, why));
        }
        let new = fragment.candidates.into_iter();
        let new: Vec<_> = new.filter(|c| !call.trickled.contains(c)).collect();
        // Each makes us send packets to where a stranger chose.
        if call.trickled.len() + new.len() > MAX_CANDIDATES {
            let why = format!("more than {MAX_CANDIDATES} candidates");
            return Err(refuse(StatusCode::NOT_ACCEPTABLE_HERE, &why));
        }
        for candidate in new {
            call.trickled.push(candidate.clone());
            self.media.add_candidate(viewer, candidate);
        }
        Ok(())
    }

    /// Passes a choice on; whether the stream has it shows later.
    fn take_choice(
        &mut self,
        id: ServerId,
        viewer: ViewerId,
        request: &Request,
    ) -> Result<Option<Response>, Box<Response>> {
        expect_type(request, JSON)?;
        let choice: Choice = serde_json::from_slice(&request.body).map_err(|error| {
            let refusal = Response::to_request(request, StatusCode::BAD_REQUEST);
            Box::new(refusal.with_reason(&format!("No choice of a rung: {error}")))
        })?;
        let wish = match choice.rung.as_str() {
            "auto" => Wish::Auto,
            "audio" => Wish::Audio,
            _ => Wish::Rung(choice.rung),
        };
        self.choices.entry(viewer).or_default().push_back(id);
        self.media.choose(viewer, wish);
        Ok(None)
    }

    pub(super) fn handle_chosen(
        &mut self,
        now: Instant,
        viewer: ViewerId,
        result: &Result<(), Refusal>,
        endpoint: &mut Endpoint,
    ) {
        let Some(waiting) = self.choices.get_mut(&viewer) else {
            return;
        };
        let id = waiting.pop_front();
        if waiting.is_empty() {
            self.choices.remove(&viewer);
        }
        let request = id.and_then(|id| Some((id, endpoint.server_request(id)?)));
        let Some((id, request)) = request else {
            return;
        };
        let answer = match result {
            Ok(()) => Response::to_request(request, StatusCode::OK),
            Err(refusal) => {
                let (status, _) = status_of(refusal);
                Response::to_request(request, status).with_reason(&refusal.to_string())
            }
        };
        endpoint.respond(now, id, answer);
    }
}

fn expect_type(request: &Request, expected: &str) -> Result<(), Box<Response>> {
    if request.content_type().as_deref() == Some(expected) {
        return Ok(());
    }
    let mut refusal = Response::to_request(request, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    refusal.headers.push(Name::Accept, expected);
    Err(Box::new(refusal))
}
