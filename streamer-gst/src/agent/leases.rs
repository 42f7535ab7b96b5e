//! Keeping every stream in the directory: REGISTER out, its answers in.

use std::time::{Duration, Instant};

use sip::driver::Role;
use sip::{Endpoint, Method, Name, NameAddr, Request, Response, StatusCode, Uri};

use super::Agent;
use super::registration::{Registration, granted_lease};
use crate::media::StreamInfo;

impl Agent {
    /// Plans a lease for every stream that has none.
    pub(super) fn adopt_streams(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for info in self.media.streams() {
            self.registrations.entry(info.name).or_insert_with(|| {
                Registration::new(now, endpoint.generate_call_id(), endpoint.generate_tag())
            });
        }
    }

    pub(super) fn register_what_is_due(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.poll_timeout().is_none_or(|next| next > now) {
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
        let cseq = lease.cseq;
        let mut body = serde_json::to_value(info).unwrap_or_default();
        if lease.names_calls {
            let calls: Vec<&String> = self
                .calls
                .iter()
                .filter(|(_, call)| call.stream == info.name)
                .map(|(call_id, _)| call_id)
                .collect();
            body["calls"] = serde_json::json!(calls);
        }
        let mut request = self.register_request(&info.name, expires);
        request
            .headers
            .push(Name::ContentDisposition, "render;handling=optional");
        request.set_body("application/json", body.to_string().into());
        let id = endpoint.request(now, self.settings.signaling, request);
        self.registering.insert(id, (info.name.clone(), cseq));
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
                if !lease.live {
                    tracing::debug!(stream, "registered");
                }
                lease.granted(now, granted_lease(response, &contact));
            }
            StatusCode::INTERVAL_TOO_BRIEF => {
                let minimum = response.headers.get(Name::MinExpires);
                let minimum = minimum
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(60);
                lease.lengthen(now, Duration::from_secs(minimum));
            }
            status => {
                tracing::warn!(stream, %status, reason = response.reason,
                    signaling = %self.settings.signaling, "the signaling server refused the stream");
                lease.failed(now);
            }
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
        if let Some(lease) = lease.filter(|lease| lease.cseq == cseq) {
            tracing::warn!(stream, signaling = %self.settings.signaling, %failure,
                "the signaling server does not answer; trying again");
            lease.failed(now);
        }
    }
}
