//! The SIP task: every call, the polling of the directory, and pictures.
//!
//! A [`sip::driver::Role`]: it is given events, commands and time, and owns all state. Every
//! request goes to the signaling server, whatever Route says.

mod sessions;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::auth::Account;
use sip::driver::Role;
use sip::{
    ClientId, Endpoint, Event, Failure, Method, Name, NameAddr, Reason, Request, Response,
    ServerId, StatusCode, Uri,
};
use tokio::sync::watch;

use super::directory::{Ask, Directory, Snapshot};
use super::images::Images;
use super::table::{Call, Hands, SDP, State};
use super::{Accepted, CallKey, Command, Gauges, Info, Reply, SessionInfo};
use crate::error::Error;

/// What we understand, for Allow.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";
/// Sessions at once (design section 7).
const CALLS: usize = 10_000;

/// Where front is and where it sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// The signaling server.
    pub(crate) signaling: SocketAddr,
    /// What Contact and From say.
    pub(crate) contact: SocketAddr,
}

/// What a request of ours was for.
#[derive(Debug)]
enum Purpose {
    /// INVITE or BYE of a call.
    Call(CallKey),
    /// INFO within a call.
    Info(CallKey),
    /// A page of the directory; `poll` tells it from earlier polls.
    Directory { poll: u64 },
    /// The picture of this stream.
    Image(String),
}

/// Whether new calls are taken.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
}

/// All that front does with SIP.
#[derive(Debug)]
pub(crate) struct CallRole {
    addresses: Addresses,
    /// Who we are for the signaling server.
    account: Account,
    phase: Phase,
    calls: HashMap<CallKey, Call>,
    by_secret: HashMap<String, CallKey>,
    by_call_id: HashMap<String, CallKey>,
    /// When remembered calls are forgotten.
    forget: BTreeSet<(Instant, CallKey)>,
    requests: HashMap<ClientId, Purpose>,
    directory: Directory,
    polls: u64,
    images: Images,
    /// Some call may have changed its state since the gauges were set: looking at sessions, the
    /// most frequent command by far, does not count them anew.
    moved: bool,
    gauges: Arc<Gauges>,
}

impl Role for CallRole {
    type Command = Command;

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request { id, request, .. } => self.handle_request(now, id, &request, endpoint),
            Event::Response { id, response, .. } => {
                self.handle_response(now, id, &response, endpoint);
            }
            Event::Failed { id, failure } => self.handle_failure(now, id, failure, endpoint),
            Event::Stray { response, .. } => {
                tracing::debug!(
                    call_id = response.call_id(),
                    status = %response.status,
                    "a response to no request of ours"
                );
            }
            // We never accept an INVITE, so neither of these can concern us.
            Event::Ack { .. } | Event::Cancel { .. } | Event::Unacknowledged { .. } => {}
        }
        self.settle(now, endpoint);
    }

    fn handle_command(&mut self, now: Instant, command: Command, endpoint: &mut Endpoint) {
        match command {
            Command::Offer {
                key,
                stream,
                viewer,
                offer,
                reply,
            } => self.handle_offer(now, key, &stream, viewer.as_deref(), offer, reply, endpoint),
            Command::Abandon { key } => {
                let reason = Reason::new(487, "The viewer has left");
                self.give_up(now, key, &reason, endpoint);
            }
            Command::Session {
                stream,
                secret,
                reply,
            } => {
                let result = self
                    .session(&stream, &secret)
                    .and_then(|key| self.look_at(now, key));
                // Who asked may have gone: nothing to clean up.
                let _ = reply.send(result);
            }
            Command::Inform {
                stream,
                secret,
                info,
                reply,
            } => self.inform(now, &stream, &secret, info, reply, endpoint),
            Command::End {
                stream,
                secret,
                reply,
            } => {
                let result = self.session(&stream, &secret).map(|key| {
                    let reason = Reason::new(200, "The viewer has left");
                    self.give_up(now, key, &reason, endpoint);
                });
                // Who asked may have gone: the call is ended all the same.
                let _ = reply.send(result);
            }
            Command::Streams { reply } => self.directory.handle_request(now, reply),
            Command::Watch => {}
            Command::Image { stream, reply } => {
                if self.images.handle_request(now, &stream, reply) {
                    let uri = Uri::at(Some(&stream), self.addresses.signaling);
                    let mut options = self.options(uri, endpoint);
                    options.headers.push(Name::Accept, "image/jpeg");
                    let id = self.ask_for_much(now, options, endpoint);
                    self.requests.insert(id, Purpose::Image(stream));
                }
            }
        }
        self.settle(now, endpoint);
    }

    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.images.expire(now);
        while let Some(&(until, key)) = self.forget.first() {
            if until > now {
                break;
            }
            self.forget.pop_first();
            self.remove(key);
        }
        self.settle(now, endpoint);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let forget = self.forget.first().map(|&(until, _)| until);
        [
            forget,
            self.directory.poll_timeout(),
            self.images.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_shutdown(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.phase = Phase::Draining;
        let reason = Reason::new(503, "The web server is stopping");
        let keys: Vec<CallKey> = self.calls.keys().copied().collect();
        for key in keys {
            self.give_up(now, key, &reason, endpoint);
        }
        self.directory.handle_shutdown();
        self.settle(now, endpoint);
    }

    fn is_drained(&self) -> bool {
        self.calls
            .values()
            .all(|call| matches!(call.state, State::Ended { .. }))
    }
}

impl CallRole {
    pub(crate) fn new(
        addresses: Addresses,
        account: Account,
        silence: Duration,
        shown: Arc<watch::Sender<Arc<Snapshot>>>,
        gauges: Arc<Gauges>,
    ) -> Self {
        Self {
            addresses,
            account,
            phase: Phase::Serving,
            calls: HashMap::new(),
            by_secret: HashMap::new(),
            by_call_id: HashMap::new(),
            forget: BTreeSet::new(),
            requests: HashMap::new(),
            directory: Directory::new(addresses.signaling, silence, shown),
            polls: 0,
            images: Images::default(),
            moved: false,
            gauges,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn handle_offer(
        &mut self,
        now: Instant,
        key: CallKey,
        stream: &str,
        viewer: Option<&str>,
        offer: Bytes,
        reply: Reply<Accepted>,
        endpoint: &mut Endpoint,
    ) {
        if self.phase == Phase::Draining {
            // Who asked may have gone: nothing was begun.
            let _ = reply.send(Err(Error::Unavailable));
            return;
        }
        if self.calls.len() - self.forget.len() >= CALLS {
            // Who asked may have gone: nothing was begun.
            let _ = reply.send(Err(Error::TooMany { what: "calls" }));
            return;
        }
        if self.account.is_barred(now) {
            // Who asked may have gone: nothing was begun.
            let _ = reply.send(Err(Error::NotLetIn));
            return;
        }
        let call_id = endpoint.generate_call_id();
        let uri = Uri::at(Some(stream), self.addresses.signaling);
        let mut from = NameAddr::new(Uri::at(Some("viewer"), self.addresses.contact))
            .with_tag(&endpoint.generate_tag());
        if let Some(viewer) = viewer {
            from = from.with_display(viewer);
        }
        let to = NameAddr::new(uri.clone());
        let mut invite = Request::new(Method::Invite, uri, from, to, &call_id, 1);
        invite.headers.push(Name::Contact, &self.contact());
        invite.headers.push(Name::Allow, ALLOW);
        invite.headers.push(Name::Accept, SDP);
        invite.set_body(SDP, offer);
        tracing::info!(call_id, stream, viewer, "calling");
        let server = self.addresses.signaling;
        let id = self.account.request(now, endpoint, server, invite);
        self.requests.insert(id, Purpose::Call(key));
        self.by_call_id.insert(call_id.clone(), key);
        let call = Call::new(stream, &call_id, id, reply);
        self.by_secret.insert(call.secret.clone(), key);
        self.calls.insert(key, call);
        self.moved = true;
    }

    fn handle_request(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        let in_dialog = request.to().tag().is_some();
        let status = match request.method {
            Method::Bye => self.handle_bye(now, request),
            Method::Options if !in_dialog => StatusCode::OK,
            Method::Invite if in_dialog => StatusCode::NOT_ACCEPTABLE_HERE,
            // Nobody is here who could be called.
            Method::Invite => StatusCode::TEMPORARILY_UNAVAILABLE,
            Method::Other(_) => StatusCode::NOT_IMPLEMENTED,
            _ if in_dialog && !self.by_call_id.contains_key(request.call_id()) => {
                StatusCode::CALL_DOES_NOT_EXIST
            }
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        let mut response = Response::to_request(request, status);
        if status != StatusCode::CALL_DOES_NOT_EXIST {
            response.headers.push(Name::Allow, ALLOW);
        }
        endpoint.respond(now, id, response);
    }

    fn handle_bye(&mut self, now: Instant, request: &Request) -> StatusCode {
        let key = self.by_call_id.get(request.call_id()).copied();
        let Some((key, call)) = key.and_then(|key| Some((key, self.calls.get_mut(&key)?))) else {
            return StatusCode::CALL_DOES_NOT_EXIST;
        };
        self.moved = true;
        match call.handle_bye(now, request) {
            Ok(()) => {
                self.remember(key);
                StatusCode::OK
            }
            Err(status) => status,
        }
    }

    fn handle_response(
        &mut self,
        now: Instant,
        id: ClientId,
        response: &Response,
        endpoint: &mut Endpoint,
    ) {
        let last = !response.status.is_provisional();
        match self.requests.get(&id) {
            Some(&Purpose::Call(key)) => {
                self.moved = true;
                let Some(call) = self.calls.get_mut(&key) else {
                    return;
                };
                if call.is_waiting(id) {
                    let server = self.addresses.signaling;
                    let account = &mut self.account;
                    let again = account.handle_response(now, endpoint, server, id, response);
                    if let Some(again) = again {
                        call.invite = again;
                        self.requests.remove(&id);
                        self.requests.insert(again, Purpose::Call(key));
                        return;
                    }
                } else if last {
                    self.account.forget(id);
                }
                if call.invite != id {
                    if last {
                        self.requests.remove(&id);
                        call.handle_bye_done(now, id);
                        self.remember(key);
                    }
                    return;
                }
                let mut hands = Hands {
                    now,
                    endpoint,
                    signaling: self.addresses.signaling,
                };
                if let Some(bye) = call.handle_answer(&mut hands, response) {
                    self.requests.insert(bye, Purpose::Call(key));
                }
                self.remember(key);
            }
            Some(&Purpose::Info(key)) if last => {
                self.handle_informed(now, key, id, Some(response), endpoint);
            }
            Some(&Purpose::Directory { poll }) if last => {
                self.requests.remove(&id);
                if poll != self.polls {
                    return;
                }
                if response.status.is_success() {
                    let next = self.directory.handle_page(now, &response.body);
                    self.ask(now, next, endpoint);
                } else {
                    self.directory.handle_refusal(now);
                }
            }
            Some(Purpose::Image(stream)) if last => {
                let stream = stream.clone();
                self.requests.remove(&id);
                let jpeg = response.content_type().as_deref() == Some("image/jpeg");
                let result = match response.status.is_success() {
                    true if jpeg => Ok(response.body.clone()),
                    true => Err(Error::NoImage {
                        stream: stream.clone(),
                    }),
                    false => Err(image_error(response, &stream)),
                };
                self.images.handle_result(now, &stream, result);
            }
            Some(_) | None => {}
        }
    }

    fn handle_failure(
        &mut self,
        now: Instant,
        id: ClientId,
        failure: Failure,
        endpoint: &mut Endpoint,
    ) {
        self.account.forget(id);
        match self.requests.get(&id) {
            Some(&Purpose::Call(key)) => {
                self.moved = true;
                let Some(call) = self.calls.get_mut(&key) else {
                    return;
                };
                if call.invite == id {
                    let hands = Hands {
                        now,
                        endpoint,
                        signaling: self.addresses.signaling,
                    };
                    call.handle_failure(&hands, failure == Failure::TooLarge);
                } else {
                    self.requests.remove(&id);
                    call.handle_bye_done(now, id);
                }
                self.remember(key);
            }
            Some(&Purpose::Info(key)) => self.handle_informed(now, key, id, None, endpoint),
            Some(Purpose::Directory { .. }) => {
                // The directory has noticed the silence long ago.
                self.requests.remove(&id);
            }
            Some(Purpose::Image(stream)) => {
                let stream = stream.clone();
                self.requests.remove(&id);
                let error = Error::NoAnswer {
                    stream: stream.clone(),
                };
                self.images.handle_result(now, &stream, Err(error));
            }
            None => {}
        }
    }

    fn give_up(&mut self, now: Instant, key: CallKey, reason: &Reason, endpoint: &mut Endpoint) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        self.moved = true;
        let mut hands = Hands {
            now,
            endpoint,
            signaling: self.addresses.signaling,
        };
        if let Some(bye) = call.give_up(&mut hands, reason, Error::Unavailable) {
            self.requests.insert(bye, Purpose::Call(key));
        }
    }

    /// Sets the day of oblivion of a call that is over.
    fn remember(&mut self, key: CallKey) {
        if let Some(State::Ended { until, .. }) = self.calls.get(&key).map(|call| &call.state) {
            self.forget.insert((*until, key));
        }
        // Who asks about an end does so at once: of very many, the oldest can be forgotten.
        if self.forget.len() > CALLS {
            if let Some((_, oldest)) = self.forget.pop_first() {
                self.remove(oldest);
            }
        }
    }

    fn remove(&mut self, key: CallKey) {
        if let Some(call) = self.calls.remove(&key) {
            self.moved = true;
            self.by_secret.remove(&call.secret);
            self.by_call_id.remove(&call.call_id);
            self.requests.remove(&call.invite);
        }
    }

    /// What every input may have made due: a poll of the directory, new numbers.
    fn settle(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.phase == Phase::Serving {
            if let Some(ask) = self.directory.handle_timeout(now) {
                self.polls += 1;
                self.ask(now, Some(ask), endpoint);
            }
        }
        let gauges = &self.gauges;
        if std::mem::take(&mut self.moved) {
            let count = |wanted: fn(&State) -> bool| {
                self.calls
                    .values()
                    .filter(|call| wanted(&call.state))
                    .count()
            };
            let sessions = count(|state| matches!(state, State::Established { .. }));
            let ended = count(|state| matches!(state, State::Ended { .. }));
            let calls = self.calls.len() - sessions - ended;
            gauges.calls.store(calls, Ordering::Relaxed);
            gauges.sessions.store(sessions, Ordering::Relaxed);
            gauges.ended.store(ended, Ordering::Relaxed);
        }
        gauges
            .transactions
            .store(endpoint.transactions(), Ordering::Relaxed);
    }

    fn ask(&mut self, now: Instant, ask: Option<Ask>, endpoint: &mut Endpoint) {
        let Some(ask) = ask else {
            return;
        };
        let mut uri = Uri::at(None, self.addresses.signaling);
        if let Some(after) = ask.after {
            uri.params.set("after", Some(&after));
        }
        let mut options = self.options(uri, endpoint);
        options.headers.push(Name::Accept, "application/json");
        let id = self.ask_for_much(now, options, endpoint);
        let poll = self.polls;
        self.requests.insert(id, Purpose::Directory { poll });
    }

    /// Sends a question with a long answer. A server elsewhere gives none to datagrams of strangers,
    /// whose address may be forged.
    fn ask_for_much(&self, now: Instant, question: Request, endpoint: &mut Endpoint) -> ClientId {
        let signaling = self.addresses.signaling;
        match signaling.ip().is_loopback() {
            true => endpoint.request(now, signaling, question),
            false => endpoint.request_much(now, signaling, question),
        }
    }

    fn options(&self, uri: Uri, endpoint: &mut Endpoint) -> Request {
        let from = NameAddr::new(Uri::at(Some("front"), self.addresses.contact))
            .with_tag(&endpoint.generate_tag());
        let mut to = uri.clone();
        to.params = Default::default();
        let call_id = endpoint.generate_call_id();
        let to = NameAddr::new(to);
        let mut options = Request::new(Method::Options, uri, from, to, &call_id, 1);
        options.headers.push(Name::Contact, &self.contact());
        options
    }

    fn contact(&self) -> String {
        NameAddr::new(Uri::at(Some("front"), self.addresses.contact)).to_string()
    }
}

/// Why a picture cannot be had. A streamer that has none says 404, 406 or 415; only 480 and
/// timeouts say that it is away.
fn image_error(response: &Response, stream: &str) -> Error {
    match response.status.code() {
        404 | 405 | 406 | 415 | 501 => Error::NoImage {
            stream: stream.to_owned(),
        },
        status => Error::from_sip(status, &response.reason, stream),
    }
}

#[cfg(test)]
mod tests;
