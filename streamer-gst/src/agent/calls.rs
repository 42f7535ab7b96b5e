//! Calls from INVITE to BYE.

use std::time::Instant;

use sip::{
    Dialog, Endpoint, Method, Name, NameAddr, Reason, Request, Response, ServerId, StatusCode, Uri,
};

use super::informing::PACKAGE;
use super::{ALLOW, Agent, Call, State};
use crate::engine::ViewerId;
use crate::media::Refusal;

impl Agent {
    pub(super) fn handle_invite(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        let stream = request.uri.user.clone().unwrap_or_default();
        if let Err(refusal) = self.check_invite(request, &stream) {
            tracing::debug!(call_id = request.call_id(), status = %refusal.status, "call refused");
            endpoint.respond(now, id, *refusal);
            return;
        }
        self.last_viewer += 1;
        let viewer = ViewerId(self.last_viewer);
        let from = request.from();
        let caller = from.display.as_ref().or(from.uri.user.as_ref());
        let caller = caller.cloned().unwrap_or_default();
        tracing::info!(
            call_id = request.call_id(),
            stream,
            viewer = caller,
            "call comes in"
        );
        self.viewers.insert(viewer, request.call_id().to_owned());
        self.media.open(&stream, viewer, request.body.clone());
        let call = Call {
            stream,
            viewer,
            caller,
            offer: request.body.clone(),
            trickled: Vec::new(),
            state: State::Opening { invite: id },
        };
        self.calls.insert(request.call_id().to_owned(), call);
    }

    pub(super) fn check_invite(
        &self,
        request: &Request,
        stream: &str,
    ) -> Result<(), Box<Response>> {
        let refuse = |status, reason: &str| {
            let refusal = Response::to_request(request, status);
            Box::new(if reason.is_empty() {
                refusal
            } else {
                refusal.with_reason(reason)
            })
        };
        if let Some(call) = self.calls.get(request.call_id()) {
            // Within its own call an INVITE asks for a change, which there is none of; outside
            // it is the same call by another way (RFC 3261 section 8.2.2.2).
            let inside = match &call.state {
                State::Opening { .. } => false,
                State::Accepted { dialog, .. }
                | State::Confirmed { dialog }
                | State::Leaving { dialog, .. } => dialog.clone().accepts(request).is_ok(),
            };
            return Err(if inside {
                refuse(
                    StatusCode::NOT_ACCEPTABLE_HERE,
                    "The call cannot be changed",
                )
            } else {
                refuse(StatusCode::LOOP_DETECTED, "The call is here already")
            });
        }
        if request.to().tag().is_some() {
            return Err(refuse(StatusCode::CALL_DOES_NOT_EXIST, ""));
        }
        if self.ending {
            return Err(refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "The streamer is stopping",
            ));
        }
        if !self.registrations.contains_key(stream) {
            return Err(refuse(StatusCode::NOT_FOUND, "No such stream"));
        }
        let required: Vec<&str> = request.headers.values(Name::Require).collect();
        if !required.is_empty() {
            let mut refusal = refuse(StatusCode::BAD_EXTENSION, "");
            refusal
                .headers
                .push(Name::Unsupported, &required.join(", "));
            return Err(refusal);
        }
        if request.body.is_empty() {
            let reason = "The INVITE carries no offer";
            return Err(refuse(StatusCode::NOT_ACCEPTABLE_HERE, reason));
        }
        if request.content_type().as_deref() != Some("application/sdp") {
            let mut refusal = refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "");
            refusal.headers.push(Name::Accept, "application/sdp");
            return Err(refusal);
        }
        Ok(())
    }

    pub(super) fn handle_answered(
        &mut self,
        now: Instant,
        viewer: ViewerId,
        result: Result<String, Refusal>,
        endpoint: &mut Endpoint,
    ) {
        let call_id = self.viewers.get(&viewer).cloned();
        let Some((call_id, call)) = call_id.and_then(|id| {
            let call = self.calls.get_mut(&id)?;
            Some((id, call))
        }) else {
            // The caller gave up before; its viewer was closed then.
            return;
        };
        let State::Opening { invite } = call.state else {
            return;
        };
        let Some(request) = endpoint.server_request(invite).cloned() else {
            self.end(&call_id, "The call was over before it was answered");
            return;
        };
        match result {
            Ok(sdp) => {
                let mut answer = Response::to_request(&request, self.settings.answer);
                for route in request.headers.all(Name::RecordRoute) {
                    answer.headers.push(Name::RecordRoute, route);
                }
                let tag = endpoint.generate_tag();
                answer.set_to_tag(&tag);
                let contact = NameAddr::new(Uri::at(Some(&call.stream), self.settings.contact));
                answer.headers.push(Name::Contact, &contact.to_string());
                answer.headers.push(Name::Allow, ALLOW);
                answer.headers.push(Name::Supported, PACKAGE);
                answer.headers.push(Name::RecvInfo, PACKAGE);
                answer.set_body("application/sdp", sdp.into());
                let dialog = Dialog::uas(&request, &tag);
                call.state = State::Accepted { invite, dialog };
                endpoint.accept(now, invite, answer);
            }
            Err(refusal) => {
                tracing::info!(call_id, stream = call.stream, viewer = call.caller,
                    reason = %refusal, "call refused");
                let (status, retry_after) = status_of(&refusal);
                let mut answer = Response::to_request(&request, status);
                answer = answer.with_reason(&refusal.to_string());
                if let Some(seconds) = retry_after {
                    answer.headers.push(Name::RetryAfter, seconds);
                }
                endpoint.respond(now, invite, answer);
                self.forget(&call_id);
            }
        }
    }

    pub(super) fn handle_bye(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        let call = self.calls.get_mut(request.call_id());
        let known = match call.map(|call| &mut call.state) {
            Some(State::Accepted { invite, dialog } | State::Leaving { invite, dialog, .. }) => {
                let known = dialog.accepts(request);
                if known.is_ok() {
                    endpoint.acknowledge(*invite);
                }
                known
            }
            Some(State::Confirmed { dialog }) => dialog.accepts(request),
            Some(State::Opening { .. }) | None => Err(StatusCode::CALL_DOES_NOT_EXIST),
        };
        let status = known.err().unwrap_or(StatusCode::OK);
        endpoint.respond(now, id, Response::to_request(request, status));
        if status.is_success() {
            let reason = request.headers.get(Name::Reason).and_then(Reason::parse);
            let reason = reason.map_or_else(|| "The viewer left".to_owned(), |reason| reason.text);
            self.end(request.call_id(), &reason);
        }
    }

    pub(super) fn handle_ack(&mut self, now: Instant, request: &Request, endpoint: &mut Endpoint) {
        let Some(call) = self.calls.get_mut(request.call_id()) else {
            return;
        };
        if let State::Accepted { dialog, .. } | State::Leaving { dialog, .. } = &mut call.state {
            if dialog.accepts(request).is_ok() {
                self.confirm(now, request.call_id(), endpoint);
            }
        }
    }

    /// Nothing acknowledged the answer in 32 s: the call is taken as confirmed, and ends (RFC 3261
    /// section 13.3.1.4).
    pub(super) fn handle_unacknowledged(
        &mut self,
        now: Instant,
        id: ServerId,
        endpoint: &mut Endpoint,
    ) {
        let call_id = self.calls.iter().find_map(|(call_id, call)| {
            let waits = match call.state {
                State::Accepted { invite, .. } | State::Leaving { invite, .. } => invite == id,
                State::Opening { .. } | State::Confirmed { .. } => false,
            };
            waits.then(|| call_id.clone())
        });
        if let Some(call_id) = call_id {
            self.confirm(now, &call_id, endpoint);
            let reason = Reason::new(408, "The answer was never acknowledged");
            self.hang_up(now, &call_id, &reason, endpoint);
        }
    }

    /// The caller knows the call by now; one that is over already gets its BYE.
    fn confirm(&mut self, now: Instant, call_id: &str, endpoint: &mut Endpoint) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        match &mut call.state {
            State::Accepted { dialog, .. } => {
                let dialog = dialog.clone();
                call.state = State::Confirmed { dialog };
            }
            State::Leaving { dialog, reason, .. } => {
                let bye = bye(dialog, reason);
                self.farewells
                    .insert(endpoint.request(now, self.settings.signaling, bye));
                self.calls.remove(call_id);
            }
            State::Opening { .. } | State::Confirmed { .. } => {}
        }
    }

    /// Asks the other side to end a call, and ends it here.
    pub(super) fn hang_up(
        &mut self,
        now: Instant,
        call_id: &str,
        reason: &Reason,
        endpoint: &mut Endpoint,
    ) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        match &mut call.state {
            State::Opening { invite } => {
                let invite = *invite;
                if let Some(request) = endpoint.server_request(invite) {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    let answer = Response::to_request(request, status);
                    endpoint.respond(now, invite, answer.with_reason(&reason.text));
                }
            }
            // A program that ends cannot wait for the ACK.
            State::Accepted { invite, dialog } if !self.ending => {
                call.state = State::Leaving {
                    invite: *invite,
                    dialog: dialog.clone(),
                    reason: reason.clone(),
                };
                self.viewers.remove(&call.viewer);
                say_end(call_id, call, &reason.text);
                self.media.close(call.viewer, &reason.text);
                return;
            }
            State::Leaving { .. } if !self.ending => return,
            State::Accepted { dialog, .. }
            | State::Confirmed { dialog }
            | State::Leaving { dialog, .. } => {
                let bye = bye(dialog, reason);
                let id = endpoint.request(now, self.settings.signaling, bye);
                self.farewells.insert(id);
            }
        }
        self.end(call_id, &reason.text);
    }

    pub(super) fn end(&mut self, call_id: &str, reason: &str) {
        let Some(call) = self.forget(call_id) else {
            return;
        };
        if let State::Leaving { .. } = call.state {
            return;
        }
        say_end(call_id, &call, reason);
        self.media.close(call.viewer, reason);
    }

    pub(super) fn forget(&mut self, call_id: &str) -> Option<Call> {
        let call = self.calls.remove(call_id)?;
        self.viewers.remove(&call.viewer);
        Some(call)
    }

    pub(super) fn tell_news(&mut self, now: Instant, stream: &str) {
        if let Some(lease) = self.registrations.get_mut(stream) {
            lease.tell_news(now);
        }
    }
}

fn say_end(call_id: &str, call: &Call, reason: &str) {
    let (stream, viewer) = (&call.stream, &call.caller);
    tracing::info!(call_id, stream, viewer, reason, "call ends");
}

fn bye(dialog: &mut Dialog, reason: &Reason) -> Request {
    let mut bye = dialog.request(Method::Bye);
    bye.headers.push(Name::Reason, &reason.to_string());
    bye
}

/// How SIP puts a refusal, and after how many seconds another try makes sense.
pub(super) fn status_of(refusal: &Refusal) -> (StatusCode, Option<&'static str>) {
    match refusal {
        Refusal::BadOffer(_) | Refusal::NoCommonCodec(_) | Refusal::NoSuchRung(_) => {
            (StatusCode::NOT_ACCEPTABLE_HERE, None)
        }
        Refusal::Full(_) => (StatusCode::BUSY_HERE, Some("5")),
        Refusal::NoSuchStream(_) => (StatusCode::NOT_FOUND, None),
        Refusal::NotRunning(_) => (StatusCode::SERVICE_UNAVAILABLE, Some("2")),
        Refusal::Failed(_) => (StatusCode::SERVER_INTERNAL_ERROR, None),
    }
}
