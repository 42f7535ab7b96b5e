//! The signaling server as one pure machine: events and time in, messages out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sip::driver::Role;
use sip::{
    Endpoint, Event, Method, Name, Peer, Request, Response, ServerId, StatusCode, Transport, Via,
};
use tracing::{debug, warn};

use crate::auth::{self, Claim, Gate};
use crate::directory::{self, PAGE_DATAGRAM, PAGE_LONG};
use crate::rates::Rates;
use crate::refusal::Refusal;
use crate::registrar::{BindingId, Change, Registrar};
use crate::relay::{Context, Relay};
use crate::restart::Summons;
use crate::routing::{self, Own};
use crate::session::Sessions;
use crate::store::Snapshot;

/// How long pending calls may still be answered once the server was asked to end.
const ENDING: Duration = Duration::from_secs(2);
/// Methods that are known here, for the header Allow.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO";
/// Extensions that are known here, for the header Supported.
const SUPPORTED: [&str; 1] = ["path"];

/// Registrar, directory and relay behind one socket.
#[derive(Debug)]
pub struct Signaling {
    own: Own,
    rates: Rates,
    /// `None` when everybody may register.
    gate: Option<Gate>,
    registrar: Registrar,
    sessions: Sessions,
    relay: Relay,
    summons: Summons,
    registrations: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// New calls are refused; those under way may still be answered until then.
    Ending {
        until: Instant,
    },
}

/// What lives in the server at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bindings.
    pub streamers: usize,
    /// Sessions in any state.
    pub sessions: usize,
    /// INVITEs without a final answer.
    pub calls: usize,
    /// Bindings and sessions of before a restart that nobody has confirmed since.
    pub stale: usize,
}

impl Signaling {
    /// A server that goes on where the one that wrote `snapshot` ended. `wall` is the time of
    /// day at `now`.
    pub fn new(
        own: Own,
        rates: Rates,
        now: Instant,
        wall: SystemTime,
        snapshot: &Snapshot,
    ) -> Self {
        let mut registrar = Registrar::new(own.addresses().to_vec(), now, wall);
        let restored = registrar.restore(now, &snapshot.streamers);
        let bindings = restored.iter().filter_map(|id| registrar.get(*id));
        let owners: HashMap<(&str, Peer), BindingId> = bindings
            .map(|binding| {
                let record = &binding.record;
                ((record.name.as_str(), record.address), binding.id)
            })
            .collect();
        let mut sessions = Sessions::new();
        sessions.restore(now, &snapshot.sessions, |session| {
            let place = (session.stream.as_str(), session.streamer);
            owners.get(&place).copied()
        });
        Signaling {
            relay: Relay::new(own.clone()),
            own,
            rates,
            gate: None,
            registrar,
            sessions,
            summons: Summons::new(now, &restored),
            registrations: 0,
            phase: Phase::Running,
        }
    }

    /// The same server, which asks who registers.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// What the store keeps.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            streamers: self.registrar.records(),
            sessions: self.sessions.records(),
        }
    }

    /// Grows whenever [`Signaling::snapshot`] may have changed.
    pub fn revision(&self) -> u64 {
        self.registrations + self.sessions.revision()
    }

    /// What lives here now.
    pub fn counts(&self) -> Counts {
        Counts {
            streamers: self.registrar.len(),
            sessions: self.sessions.len(),
            calls: self.relay.pending_calls(),
            stale: self.registrar.stale() + self.sessions.stale(),
        }
    }

    /// Messages and calls so far that were beyond the rate of their source.
    pub fn refused(&self) -> u64 {
        self.rates.refused()
    }

    /// How often so far a user or password was wrong.
    pub fn denied(&self) -> u64 {
        self.gate.as_ref().map_or(0, Gate::denied)
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.relay.is_idle() && self.registrar.is_empty() && self.sessions.is_empty()
    }

    fn with<T>(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        work: impl FnOnce(&mut Relay, &mut Context<'_>) -> T,
    ) -> T {
        let mut context = Context {
            now,
            endpoint,
            registrar: &mut self.registrar,
            sessions: &mut self.sessions,
        };
        work(&mut self.relay, &mut context)
    }

    fn request(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        id: ServerId,
        request: &Request,
        source: Peer,
    ) {
        let Err(refusal) = self.handle(now, endpoint, id, request, source) else {
            return;
        };
        let asks = [
            StatusCode::UNAUTHORIZED,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        ];
        let said = endpoint.refuse(now, id, refusal.response(request));
        if let (false, true, Some(gate)) = (said, asks.contains(&refusal.status), &mut self.gate) {
            gate.note_unasked(now, source.address);
        }
    }

    fn handle(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        id: ServerId,
        request: &Request,
        source: Peer,
    ) -> Result<(), Refusal> {
        routing::check(request)?;
        self.own.check_loop(request)?;
        if request.method == Method::Register {
            routing::require(request, Name::Require, &SUPPORTED)?;
            let gate = self.gate.as_mut();
            let claim =
                gate.map(|gate| gate.register(now, request, source.address, &mut self.rates));
            let claim = claim.transpose()?;
            self.register(now, endpoint, id, request, source, claim.as_ref());
            return Ok(());
        }
        if request.to().tag().is_some() || request.method == Method::Bye {
            return self.with(now, endpoint, |relay, context| {
                relay.within(context, id, request)
            });
        }
        if request.uri.user.is_some() {
            if request.method == Method::Invite {
                if self.phase != Phase::Running {
                    return Err(Refusal::overload("Server is ending"));
                }
                // A question for the password is no call yet.
                let gate = self.gate.as_mut();
                let admitted =
                    gate.map(|gate| gate.call(now, request, source.address, &mut self.rates));
                let admitted = admitted.transpose()?;
                if !self.rates.admits_call(now, source.address.ip()) {
                    return Err(Refusal::overload("Too many calls from your address"));
                }
                let request = admitted.as_ref().unwrap_or(request);
                return self.with(now, endpoint, |relay, context| {
                    relay.for_stream(context, id, request, source)
                });
            }
            return self.with(now, endpoint, |relay, context| {
                relay.for_stream(context, id, request, source)
            });
        }
        match request.method {
            Method::Options => {
                routing::require(request, Name::Require, &SUPPORTED)?;
                let response = self.options(now, request, source);
                endpoint.respond(now, id, response);
                Ok(())
            }
            Method::Invite => Err(Refusal::because(
                StatusCode::NOT_FOUND,
                "No stream is named",
            )),
            Method::Other(_) => {
                Err(Refusal::new(StatusCode::NOT_IMPLEMENTED).header(Name::Allow, ALLOW))
            }
            _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED).header(Name::Allow, ALLOW)),
        }
    }

    fn register(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        id: ServerId,
        request: &Request,
        source: Peer,
        claim: Option<&Claim>,
    ) {
        let registered = self.registrar.register(now, request, source, claim);
        let status = registered.response.status;
        if !status.is_success() {
            let reason = &registered.response.reason;
            debug!(%source, %status, reason, "registration refused");
            endpoint.refuse(now, id, registered.response);
            return;
        }
        endpoint.respond(now, id, registered.response);
        if !registered.changes.is_empty() {
            self.registrations += 1;
        }
        for change in registered.changes {
            match change {
                Change::Added(id) => self.adopt(id),
                Change::Refreshed(_) => {}
                Change::Replaced { old, new } => {
                    self.with(now, endpoint, |relay, context| {
                        relay.moved(context, old, new)
                    });
                }
                Change::Removed(id) => self.sessions.bereave(now, id),
            }
        }
        if let Some(calls) = registered.calls {
            let stream = request.to().uri.user.as_deref().unwrap_or_default();
            self.sessions.confirm(stream, &calls);
        }
    }

    fn adopt(&mut self, id: BindingId) {
        if let Some(binding) = self.registrar.get(id) {
            let record = Arc::clone(&binding.record);
            self.sessions.adopt(&record.name, record.address, id);
        }
    }

    /// OPTIONS for the server itself: the directory for those who ask for JSON, and what this
    /// server can do for everybody.
    fn options(&self, now: Instant, request: &Request, source: Peer) -> Response {
        let mut response = Response::to_request(request, StatusCode::OK);
        response.headers.push(Name::Allow, ALLOW);
        response
            .headers
            .push(Name::Accept, "application/json, application/sdp");
        response
            .headers
            .push(Name::Supported, &SUPPORTED.join(", "));
        let mut accepted = request.headers.values(Name::Accept);
        if accepted.any(|value| is_media_type(value, "application/json")) {
            let after = request.uri.params.get("after").unwrap_or_default();
            let is_near = source.address.ip().to_canonical().is_loopback();
            let limit = match is_near || source.transport == Transport::Tcp {
                true => PAGE_LONG,
                false => PAGE_DATAGRAM,
            };
            let page = directory::page(self.registrar.entries_after(now, after), limit);
            response.set_body("application/json", page.into());
        }
        response
    }

    /// A 2xx to an INVITE that was sent before a restart: its caller still waits.
    fn stray(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        mut response: Response,
        source: Peer,
    ) {
        let known = self
            .sessions
            .get(response.call_id())
            .is_some_and(|session| {
                let record = &session.record;
                session.is_streamer(response.to().tag().unwrap_or_default())
                    && record.streamer.address.ip() == source.address.ip()
                    && response.from().tag().unwrap_or_default() == record.front_tag
            });
        if !known || !response.status.is_success() || response.cseq().method != Method::Invite {
            debug!(status = %response.status, call_id = response.call_id(), %source,
                "stray response");
            return;
        }
        response.headers.pop_first_value(Name::Via);
        let next = response.headers.values(Name::Via).next().map(Via::parse);
        let Some(Ok(next)) = next else {
            return;
        };
        let Some(session) = self.sessions.get(response.call_id()) else {
            return;
        };
        let front = session.address(crate::session::Direction::ToFront);
        let destination = next.answer_peer(front);
        self.sessions
            .answered(now, &response, self.own.hop_above(&response, source));
        endpoint.send_response(destination, response);
    }
}

impl Role for Signaling {
    type Command = std::convert::Infallible;

    fn admits(&mut self, now: Instant, source: SocketAddr) -> bool {
        self.rates.admits_message(now, source.ip())
    }

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request {
                id,
                request,
                source,
            } => self.request(now, endpoint, id, &request, source),
            Event::Ack { request, .. } => {
                let request = match self.gate {
                    Some(_) => auth::without_credentials(&request),
                    None => request,
                };
                self.with(now, endpoint, |relay, context| relay.ack(context, &request));
            }
            Event::Cancel { invite, .. } => {
                self.with(now, endpoint, |relay, context| {
                    relay.cancel(context, invite)
                });
            }
            Event::Response {
                id,
                response,
                source,
            } => self.with(now, endpoint, |relay, context| {
                relay.response(context, id, response, source);
            }),
            Event::Failed { id, failure } => {
                self.with(now, endpoint, |relay, context| {
                    relay.failed(context, id, failure)
                });
            }
            // Nothing is accepted here, so nothing waits for an ACK here.
            Event::Unacknowledged { .. } => {}
            Event::Stray { response, source } => self.stray(now, endpoint, response, source),
        }
    }

    fn handle_command(&mut self, _now: Instant, command: Self::Command, _: &mut Endpoint) {
        match command {}
    }

    fn handle_stream_end(&mut self, now: Instant, peer: SocketAddr) {
        self.registrar.mark_gone(now, Peer::tcp(peer));
    }

    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for id in self.registrar.expire(now) {
            self.registrations += 1;
            self.sessions.bereave(now, id);
        }
        self.sessions.expire(now);
        self.with(now, endpoint, |relay, context| {
            relay.handle_timeout(context)
        });
        // A refresh that crossed the 403, or came in its place, names no calls; as long as some
        // are in doubt, it is asked for them.
        let (registrar, sessions) = (&self.registrar, &self.sessions);
        let waiting = |id| {
            registrar.get(id).is_some_and(|binding| {
                binding.stale.is_some() || (binding.owes_calls && sessions.has_stale(id))
            })
        };
        if let Some(id) = self.summons.pop(now, waiting) {
            if let Some((destination, response)) = self.registrar.summons(id) {
                endpoint.send_response(destination, response);
            } else {
                warn!("a streamer in the data base cannot be asked to register again");
            }
        }
        if let Some(gate) = &mut self.gate {
            gate.handle_timeout(now);
        }
        if let Phase::Ending { until } = self.phase {
            if until <= now {
                self.with(now, endpoint, |relay, context| {
                    relay.refuse_pending(context)
                });
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let ending = match self.phase {
            Phase::Ending { until } if self.relay.pending_calls() > 0 => Some(until),
            _ => None,
        };
        [
            self.registrar.poll_timeout(),
            self.sessions.poll_timeout(),
            self.relay.poll_timeout(),
            self.summons.poll_timeout(),
            self.gate.as_ref().and_then(Gate::poll_timeout),
            ending,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_shutdown(&mut self, now: Instant, _endpoint: &mut Endpoint) {
        self.phase = Phase::Ending {
            until: now + ENDING,
        };
    }

    fn is_drained(&self) -> bool {
        self.relay.pending_calls() == 0
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

/// True when a value of Accept admits this media type by name.
fn is_media_type(value: &str, media_type: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let named = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(media_type));
    named && !parts.any(|param| matches!(param, "q=0" | "q=0.0"))
}
