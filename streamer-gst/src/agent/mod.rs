//! The streamer as SIP sees it: it registers its streams, answers INVITE, and ends calls on BYE
//! or when the media says so. Media is behind a trait; nothing here knows GStreamer.

mod registration;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::driver::Role;
use sip::{
    ClientId, Dialog, Endpoint, Event, Method, Name, NameAddr, Reason, Request, Response, ServerId,
    StatusCode, Uri,
};
use tokio::sync::{mpsc, watch};

use crate::engine::ViewerId;
use crate::media::{Media, MediaEvent, Refusal, StreamInfo};
use registration::{Registration, granted_lease};

/// Methods that we answer.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS";

/// What the rest of the streamer tells the agent.
#[derive(Debug)]
pub enum Command {
    /// Something happened in the media.
    Media(MediaEvent),
    /// The picture that was asked for, or why there is none.
    Picture {
        /// Of which stream.
        stream: String,
        /// A JPEG.
        result: Result<Bytes, Refusal>,
    },
}

/// Where the agent stands and how it answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The signaling server: every request goes there.
    pub signaling: SocketAddr,
    /// The address that others reach our SIP socket at.
    pub contact: SocketAddr,
    /// Tells this streamer from others of the same streams, over restarts (RFC 5626 section
    /// 4.1); a URN.
    pub instance: String,
    /// The answer to an accepted INVITE: 202, or 200 for tools that insist on it.
    pub answer: StatusCode,
}

/// What the agent shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Calls, pending ones included.
    pub calls: usize,
    /// SIP transactions, those that only absorb retransmissions included.
    pub transactions: usize,
    /// Streams that hold a lease.
    pub registered: usize,
}

/// The SIP role of the streamer.
pub struct Agent {
    settings: Settings,
    media: Arc<dyn Media>,
    /// Asks for pictures, by stream; each comes back as [`Command::Picture`].
    painter: mpsc::Sender<String>,
    registrations: BTreeMap<String, Registration>,
    calls: HashMap<String, Call>,
    viewers: HashMap<ViewerId, String>,
    last_viewer: u64,
    /// REGISTER on the way: its stream and its number.
    registering: HashMap<ClientId, (String, u32)>,
    /// BYE, and REGISTER that withdraws, on the way: they keep a shutdown waiting.
    farewells: HashSet<ClientId>,
    /// OPTIONS that wait for a picture, by stream.
    pictures: HashMap<String, Vec<ServerId>>,
    ending: bool,
    shown: watch::Sender<Shown>,
}

struct Call {
    stream: String,
    viewer: ViewerId,
    caller: String,
    state: State,
}

enum State {
    /// The media is working on the answer.
    Opening { invite: ServerId },
    /// Answered; without ACK the call ends in 32 s.
    Accepted { invite: ServerId, dialog: Dialog },
    /// Acknowledged.
    Confirmed { dialog: Dialog },
}

impl Agent {
    /// An agent that registers as soon as it runs, and a window on its counts.
    pub fn new(
        now: Instant,
        settings: Settings,
        media: Arc<dyn Media>,
        painter: mpsc::Sender<String>,
        endpoint: &mut Endpoint,
    ) -> (Self, watch::Receiver<Shown>) {
        let (shown, watcher) = watch::channel(Shown::default());
        let mut agent = Agent {
            settings,
            media,
            painter,
            registrations: BTreeMap::new(),
            calls: HashMap::new(),
            viewers: HashMap::new(),
            last_viewer: 0,
            registering: HashMap::new(),
            farewells: HashSet::new(),
            pictures: HashMap::new(),
            ending: false,
            shown,
        };
        agent.adopt_streams(now, endpoint);
        (agent, watcher)
    }

    fn show(&self, endpoint: &Endpoint) {
        let shown = Shown {
            calls: self.calls.len(),
            transactions: endpoint.transactions(),
            registered: self
                .registrations
                .values()
                .filter(|lease| lease.live)
                .count(),
        };
        self.shown.send_replace(shown);
    }

    // ---- leases

    /// Plans a lease for every stream that has none.
    fn adopt_streams(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for info in self.media.streams() {
            self.registrations.entry(info.name).or_insert_with(|| {
                Registration::new(now, endpoint.generate_call_id(), endpoint.generate_tag())
            });
        }
    }

    fn register_what_is_due(&mut self, now: Instant, endpoint: &mut Endpoint) {
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

    fn register(&mut self, now: Instant, info: &StreamInfo, endpoint: &mut Endpoint) {
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

    fn register_request(&self, stream: &str, expires: Duration) -> Request {
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

    fn contact(&self, stream: &str) -> NameAddr {
        NameAddr::new(Uri::at(Some(stream), self.settings.contact))
    }

    fn handle_register_answer(&mut self, now: Instant, stream: &str, response: &Response) {
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

    fn handle_register_failure(
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

    // ---- calls

    fn handle_request(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        match request.method {
            Method::Invite => self.handle_invite(now, id, request, endpoint),
            Method::Bye => self.handle_bye(now, id, request, endpoint),
            Method::Options => self.handle_options(now, id, request, endpoint),
            _ => {
                let mut answer = Response::to_request(request, StatusCode::METHOD_NOT_ALLOWED);
                answer.headers.push(Name::Allow, ALLOW);
                endpoint.respond(now, id, answer);
            }
        }
    }

    fn handle_invite(
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
            state: State::Opening { invite: id },
        };
        self.calls.insert(request.call_id().to_owned(), call);
    }

    fn check_invite(&self, request: &Request, stream: &str) -> Result<(), Box<Response>> {
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
                State::Accepted { dialog, .. } | State::Confirmed { dialog } => {
                    dialog.clone().accepts(request).is_ok()
                }
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

    fn handle_answered(
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

    fn handle_bye(
        &mut self,
        now: Instant,
        id: ServerId,
        request: &Request,
        endpoint: &mut Endpoint,
    ) {
        let known = match self
            .calls
            .get_mut(request.call_id())
            .map(|call| &mut call.state)
        {
            Some(State::Accepted { dialog, .. } | State::Confirmed { dialog }) => {
                dialog.accepts(request)
            }
            _ => Err(StatusCode::CALL_DOES_NOT_EXIST),
        };
        let status = known.err().unwrap_or(StatusCode::OK);
        endpoint.respond(now, id, Response::to_request(request, status));
        if status.is_success() {
            let reason = request.headers.get(Name::Reason).and_then(Reason::parse);
            let reason = reason.map_or_else(|| "The viewer left".to_owned(), |reason| reason.text);
            self.end(request.call_id(), &reason);
        }
    }

    /// Asks the other side to end a call, and ends it here.
    fn hang_up(&mut self, now: Instant, call_id: &str, reason: &Reason, endpoint: &mut Endpoint) {
        if let Some(call) = self.calls.get_mut(call_id) {
            match &mut call.state {
                State::Opening { invite } => {
                    let invite = *invite;
                    if let Some(request) = endpoint.server_request(invite) {
                        let status = StatusCode::SERVICE_UNAVAILABLE;
                        let answer = Response::to_request(request, status);
                        endpoint.respond(now, invite, answer.with_reason(&reason.text));
                    }
                }
                State::Accepted { dialog, .. } | State::Confirmed { dialog } => {
                    let mut bye = dialog.request(Method::Bye);
                    bye.headers.push(Name::Reason, &reason.to_string());
                    let id = endpoint.request(now, self.settings.signaling, bye);
                    self.farewells.insert(id);
                }
            }
        }
        self.end(call_id, &reason.text);
    }

    fn end(&mut self, call_id: &str, reason: &str) {
        if let Some(call) = self.forget(call_id) {
            tracing::info!(
                call_id,
                stream = call.stream,
                viewer = call.caller,
                reason,
                "call ends"
            );
            self.media.close(call.viewer, reason);
        }
    }

    fn forget(&mut self, call_id: &str) -> Option<Call> {
        let call = self.calls.remove(call_id)?;
        self.viewers.remove(&call.viewer);
        Some(call)
    }

    fn tell_news(&mut self, now: Instant, stream: &str) {
        if let Some(lease) = self.registrations.get_mut(stream) {
            lease.tell_news(now);
        }
    }

    // ---- questions

    fn handle_options(
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
            if let Ok(body) = serde_json::to_vec(&info) {
                answer.set_body("application/json", body.into());
            }
        }
        endpoint.respond(now, id, answer);
    }

    fn handle_picture(
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
                Err(refusal) => Response::to_request(request, StatusCode::TEMPORARILY_UNAVAILABLE)
                    .with_reason(&refusal.to_string()),
            };
            endpoint.respond(now, id, answer);
        }
    }
}

/// How SIP puts a refusal, and after how many seconds another try makes sense.
fn status_of(refusal: &Refusal) -> (StatusCode, Option<&'static str>) {
    match refusal {
        Refusal::BadOffer(_) | Refusal::NoCommonCodec(_) => (StatusCode::NOT_ACCEPTABLE_HERE, None),
        Refusal::Full(_) => (StatusCode::BUSY_HERE, Some("5")),
        Refusal::NoSuchStream(_) => (StatusCode::NOT_FOUND, None),
        Refusal::NotRunning(_) => (StatusCode::SERVICE_UNAVAILABLE, Some("2")),
        Refusal::Failed(_) => (StatusCode::SERVER_INTERNAL_ERROR, None),
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

impl Role for Agent {
    type Command = Command;

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request { id, request, .. } => self.handle_request(now, id, &request, endpoint),
            Event::Ack { request, .. } => {
                if let Some(call) = self.calls.get_mut(request.call_id()) {
                    if let State::Accepted { dialog, .. } = &mut call.state {
                        if dialog.accepts(&request).is_ok() {
                            let dialog = dialog.clone();
                            call.state = State::Confirmed { dialog };
                        }
                    }
                }
            }
            Event::Cancel { invite, request } => {
                if let Some(invited) = endpoint.server_request(invite) {
                    let status = StatusCode::REQUEST_TERMINATED;
                    let answer = Response::to_request(invited, status);
                    endpoint.respond(now, invite, answer);
                }
                self.end(request.call_id(), "The viewer gave up");
            }
            Event::Unacknowledged { id } => {
                let call_id = self.calls.iter().find_map(|(call_id, call)| {
                    let waits =
                        matches!(call.state, State::Accepted { invite, .. } if invite == id);
                    waits.then(|| call_id.clone())
                });
                if let Some(call_id) = call_id {
                    let reason = Reason::new(408, "The answer was never acknowledged");
                    self.hang_up(now, &call_id, &reason, endpoint);
                }
            }
            Event::Response { id, response, .. } => {
                if response.status.is_provisional() {
                    return;
                }
                self.farewells.remove(&id);
                if let Some((stream, _)) = self.registering.remove(&id) {
                    self.handle_register_answer(now, &stream, &response);
                }
            }
            Event::Failed { id, failure } => {
                self.farewells.remove(&id);
                if let Some((stream, cseq)) = self.registering.remove(&id) {
                    self.handle_register_failure(now, &stream, cseq, failure);
                }
            }
            Event::Stray { response, .. } => {
                let ours = response.status == StatusCode::FORBIDDEN
                    && response.cseq().method == Method::Register;
                let lease = self
                    .registrations
                    .iter_mut()
                    .find(|(_, lease)| lease.call_id == response.call_id());
                if let (true, Some((stream, lease))) = (ours, lease) {
                    tracing::debug!(stream, "the signaling server restarted");
                    lease.force(now);
                }
            }
        }
        self.register_what_is_due(now, endpoint);
        self.show(endpoint);
    }

    fn handle_command(&mut self, now: Instant, command: Command, endpoint: &mut Endpoint) {
        match command {
            Command::Media(MediaEvent::Answered { viewer, result }) => {
                self.handle_answered(now, viewer, result, endpoint);
            }
            Command::Media(MediaEvent::Gone { viewer, reason }) => {
                if let Some(call_id) = self.viewers.get(&viewer).cloned() {
                    let reason = Reason::new(480, &reason);
                    self.hang_up(now, &call_id, &reason, endpoint);
                }
            }
            Command::Media(
                MediaEvent::Changed { stream } | MediaEvent::ViewersChanged { stream },
            ) => {
                self.adopt_streams(now, endpoint);
                self.tell_news(now, &stream);
            }
            Command::Picture { stream, result } => {
                self.handle_picture(now, &stream, result.as_ref(), endpoint);
            }
        }
        self.register_what_is_due(now, endpoint);
        self.show(endpoint);
    }

    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.register_what_is_due(now, endpoint);
        self.show(endpoint);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.ending {
            return None;
        }
        self.registrations
            .values()
            .filter_map(Registration::next)
            .min()
    }

    fn handle_shutdown(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let calls: Vec<String> = self.calls.keys().cloned().collect();
        let reason = Reason::new(480, "The streamer was stopped");
        for call_id in calls {
            self.hang_up(now, &call_id, &reason, endpoint);
        }
        self.ending = true;
        let streams: Vec<String> = self.registrations.keys().cloned().collect();
        for stream in streams {
            if let Some(lease) = self.registrations.get_mut(&stream) {
                lease.start(now);
            }
            let request = self.register_request(&stream, Duration::ZERO);
            let id = endpoint.request(now, self.settings.signaling, request);
            self.farewells.insert(id);
        }
        self.show(endpoint);
    }

    fn is_drained(&self) -> bool {
        self.farewells.is_empty()
    }
}
