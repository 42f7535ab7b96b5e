//! Keeping every stream in the directory: REGISTER out, its answers in.

use std::time::{Duration, Instant};

use sip::driver::Role;
use sip::{ClientId, Endpoint, Method, Name, NameAddr, Request, Response, StatusCode, Uri};

use super::Agent;
use super::registration::{Registration, granted_lease};
use crate::media::StreamInfo;

/// Bytes of Call-IDs in one REGISTER: with the rest it stays below the 16 kB that a server takes.
const CALLS_ROOM: usize = 8 * 1024;
/// Longer Call-IDs are not named: a caller could use up the room with one.
const LONGEST_CALL_ID: usize = 256;

impl Agent {
    /// Plans a lease for every stream that has none, and gives back those of streams that are gone.
    pub(super) fn adopt_streams(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let streams = self.media.streams();
        for info in &streams {
            match self.registrations.get_mut(&info.name) {
                Some(lease) if lease.is_leaving() => lease.return_now(now),
                Some(_) => {}
                None => {
                    let (call_id, tag) = (endpoint.generate_call_id(), endpoint.generate_tag());
                    let lease = Registration::new(now, call_id, tag);
                    self.registrations.insert(info.name.clone(), lease);
                }
            }
        }
        let leases = self.registrations.iter_mut();
        let gone = leases.filter(|(stream, lease)| {
            !lease.is_leaving() && streams.iter().all(|info| info.name != **stream)
        });
        let gone: Vec<String> = gone
            .map(|(stream, lease)| {
                lease.leave();
                stream.clone()
            })
            .collect();
        for stream in gone {
            self.withdraw(now, &stream, endpoint);
        }
    }

    pub(super) fn register_what_is_due(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.poll_timeout().is_none_or(|next| next > now) || self.account.is_barred(now) {
            return;
        }
        for info in self.media.streams() {
            let lease = self.registrations.get(&info.name);
            let next = lease.and_then(Registration::next);
            if next.is_some_and(|at| at <= now) {
                self.register(now, &info, endpoint);
            }
        }
    }

    pub(super) fn register(&mut self, now: Instant, info: &StreamInfo, endpoint: &mut Endpoint) {
        let Some(lease) = self.registrations.get_mut(&info.name) else {
            return;
        };
        let expires = lease.start(now);
        self.reach.handle_asked(now);
        let cseq = lease.cseq;
        let mut body = serde_json::to_value(info).unwrap_or_default();
        if let Some(after) = &lease.unnamed {
            let calls = self
                .calls
                .iter()
                .filter(|(_, call)| call.stream == info.name);
            let mut calls: Vec<&String> = calls
                .map(|(call_id, _)| call_id)
                .filter(|call_id| call_id.len() <= LONGEST_CALL_ID && *call_id > after)
                .collect();
            calls.sort();
            let mut size = 0;
            let fit = calls.iter().take_while(|call_id| {
                // Two quotes and a comma.
                size += call_id.len() + 3;
                size <= CALLS_ROOM
            });
            let fit = fit.count();
            let more = fit < calls.len();
            calls.truncate(fit);
            body["calls"] = serde_json::json!(calls);
            let last = calls.last().map(|call_id| (*call_id).clone());
            lease.naming(last.filter(|_| more));
        }
        let mut request = self.register_request(&info.name, expires);
        request
            .headers
            .push(Name::ContentDisposition, "render;handling=optional");
        request.set_body("application/json", body.to_string().into());
        let server = self.settings.signaling;
        let id = self.account.request(now, endpoint, server, request);
        self.registering.insert(id, (info.name.clone(), cseq));
    }

    /// Whether an answer to a REGISTER was a question who we are, and the REGISTER went out again.
    pub(super) fn is_met(
        &mut self,
        now: Instant,
        id: ClientId,
        response: &Response,
        endpoint: &mut Endpoint,
    ) -> bool {
        let (call_id, cseq) = (response.call_id(), response.cseq());
        if cseq.method != Method::Register {
            return false;
        }
        let mut leases = self.registrations.values_mut();
        let asked =
            |lease: &&mut Registration| lease.call_id == call_id && lease.cseq == cseq.number;
        let Some(lease) = leases.find(asked) else {
            // A newer one is on its way.
            self.account.forget(id);
            return false;
        };
        let server = self.settings.signaling;
        let account = &mut self.account;
        let Some(again) = account.handle_response(now, endpoint, server, id, response) else {
            return false;
        };
        if let Some(request) = endpoint.client_request(again) {
            lease.cseq = request.cseq().number;
        }
        let cseq = lease.cseq;
        if let Some((stream, _)) = self.registering.remove(&id) {
            self.registering.insert(again, (stream, cseq));
        }
        if self.farewells.remove(&id) {
            self.farewells.insert(again);
        }
        true
    }

    /// Takes a stream out of the directory. A REGISTER on the way is waited for (RFC 3261 section
    /// 10.2): it could arrive late and put the stream back.
    pub(super) fn withdraw(&mut self, now: Instant, stream: &str, endpoint: &mut Endpoint) {
        let Some(lease) = self.registrations.get_mut(stream) else {
            return;
        };
        if lease.is_pending() {
            let on_the_way = self.registering.iter();
            let on_the_way =
                on_the_way.filter(|(_, (of, cseq))| of == stream && *cseq == lease.cseq);
            self.farewells.extend(on_the_way.map(|(id, _)| *id));
            return;
        }
        lease.start(now);
        let request = self.register_request(stream, Duration::ZERO);
        let server = self.settings.signaling;
        let id = self.account.request(now, endpoint, server, request);
        self.farewells.insert(id);
    }

    pub(super) fn register_request(&self, stream: &str, expires: Duration) -> Request {
        let lease = &self.registrations[stream];
        let server = Uri::at(None, self.settings.signaling);
        let name = NameAddr::new(Uri::at(Some(stream), self.settings.signaling));
        let mut request = Request::new(
            Method::Register,
            server,
            name.clone().with_tag(&lease.tag),
            name,
            &lease.call_id,
            lease.cseq,
        );
        let mut contact = self.contact(stream);
        let instance = format!("\"<{}>\"", self.settings.instance);
        contact.params.set("+sip.instance", Some(&instance));
        request.headers.push(Name::Contact, &contact.to_string());
        request
            .headers
            .push(Name::Expires, &expires.as_secs().to_string());
        request
    }

    pub(super) fn contact(&self, stream: &str) -> NameAddr {
        NameAddr::new(Uri::at(Some(stream), self.settings.contact))
    }

    pub(super) fn handle_register_answer(
        &mut self,
        now: Instant,
        stream: &str,
        response: &Response,
    ) {
        let contact = self.contact(stream).uri;
        let Some(lease) = self.registrations.get_mut(stream) else {
            return;
        };
        if response.cseq().number != lease.cseq {
            return;
        }
        match response.status {
            status if status.is_success() => {
                if lease.failing() {
                    tracing::info!(stream, "registered again");
                }
                lease.granted(now, granted_lease(response, &contact));
            }
            StatusCode::INTERVAL_TOO_BRIEF => {
                let minimum = response.headers.get(Name::MinExpires);
                let minimum = minimum
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(60);
                if !lease.lengthen(now, Duration::from_secs(minimum)) {
                    self.refused(now, stream, response);
                }
            }
            _ => self.refused(now, stream, response),
        }
    }

    fn refused(&mut self, now: Instant, stream: &str, response: &Response) {
        let Some(lease) = self.registrations.get_mut(stream) else {
            return;
        };
        // That we are not known is told once for all streams.
        if lease.failed(now) && !self.account.is_barred(now) {
            let (status, reason) = (response.status, response.reason.as_str());
            tracing::warn!(stream, %status, reason, signaling = %self.settings.signaling,
                "the signaling server refuses the stream; trying again");
        }
    }

    pub(super) fn handle_register_failure(
        &mut self,
        now: Instant,
        stream: &str,
        cseq: u32,
        failure: sip::Failure,
    ) {
        let lease = self.registrations.get_mut(stream);
        // A newer REGISTER may have been answered since.
        let Some(lease) = lease.filter(|lease| lease.cseq == cseq) else {
            return;
        };
        match failure {
            // Told already, for all streams at once.
            sip::Failure::Timeout | sip::Failure::Unreachable => lease.unanswered(now),
            sip::Failure::TooLarge if lease.failed(now) => {
                tracing::warn!(stream, %failure, "the stream cannot be registered; trying again");
            }
            sip::Failure::TooLarge => {}
        }
    }
}
