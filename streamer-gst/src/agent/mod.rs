//! The streamer as SIP sees it: it registers its streams, answers INVITE, and ends calls on BYE
//! or when the media says so. Media is behind a trait; nothing here knows GStreamer.

mod calls;
mod informing;
mod leases;
mod questions;
mod reach;
mod registration;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sip::auth::Account;
use sip::driver::Role;
use sip::{
    ClientId, Dialog, Endpoint, Event, Method, Name, Reason, Request, Response, ServerId,
    StatusCode,
};
use tokio::sync::{mpsc, watch};

use crate::engine::ViewerId;
use crate::media::{Media, MediaEvent, Refusal};
use crate::offer::Trickled;
use reach::Reach;
use registration::Registration;

/// Methods that we answer.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO";

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
    /// Who we are for the signaling server.
    account: Account,
    media: Arc<dyn Media>,
    /// Asks for pictures, by stream; each comes back as [`Command::Picture`].
    painter: mpsc::Sender<String>,
    reach: Reach,
    registrations: BTreeMap<String, Registration>,
    calls: HashMap<String, Call>,
    viewers: HashMap<ViewerId, String>,
    last_viewer: u64,
    /// REGISTER on the way: its stream and its number.
    registering: HashMap<ClientId, (String, u32)>,
    /// BYE, and REGISTER that withdraws or comes before that, on the way: they keep a shutdown
    /// waiting.
    farewells: HashSet<ClientId>,
    /// OPTIONS that wait for a picture, by stream.
    pictures: HashMap<String, Vec<ServerId>>,
    /// INFO that chooses a rung, by viewer, in the order they came.
    choices: HashMap<ViewerId, VecDeque<ServerId>>,
    ending: bool,
    shown: watch::Sender<Shown>,
}

struct Call {
    stream: String,
    viewer: ViewerId,
    caller: String,
    /// As it came: candidates that come later must be of the same connection.
    offer: Bytes,
    /// Those that came.
    trickled: Vec<Trickled>,
    state: State,
}

enum State {
    /// The media is working on the answer.
    Opening { invite: ServerId },
    /// Answered; without ACK the call ends in 32 s.
    Accepted { invite: ServerId, dialog: Dialog },
    /// Acknowledged.
    Confirmed { dialog: Dialog },
    /// Over before it was acknowledged; the media is closed. Its BYE waits for the ACK or the end
    /// of the 32 s (RFC 3261 section 15): a caller that has no answer yet would not know the call.
    Leaving {
        invite: ServerId,
        dialog: Dialog,
        reason: Reason,
    },
}

impl Agent {
    /// An agent that registers as soon as it runs, and a window on its counts.
    pub fn new(
        now: Instant,
        settings: Settings,
        account: Account,
        media: Arc<dyn Media>,
        painter: mpsc::Sender<String>,
        endpoint: &mut Endpoint,
    ) -> (Self, watch::Receiver<Shown>) {
        let (shown, watcher) = watch::channel(Shown::default());
        let mut agent = Agent {
            settings,
            account,
            media,
            painter,
            reach: Reach::Answering,
            registrations: BTreeMap::new(),
            calls: HashMap::new(),
            viewers: HashMap::new(),
            last_viewer: 0,
            registering: HashMap::new(),
            farewells: HashSet::new(),
            pictures: HashMap::new(),
            choices: HashMap::new(),
            ending: false,
            shown,
        };
        agent.adopt_streams(now, endpoint);
        (agent, watcher)
    }

    /// A request that a shutdown waits for is over; a REGISTER among them is followed by the one
    /// that withdraws.
    fn farewell_done(
        &mut self,
        now: Instant,
        id: ClientId,
        registered: Option<(String, u32)>,
        endpoint: &mut Endpoint,
    ) {
        if let (true, Some((stream, _))) = (self.farewells.remove(&id), registered) {
            let lease = self.registrations.get(&stream);
            if self.ending || lease.is_some_and(Registration::is_leaving) {
                self.withdraw(now, &stream, endpoint);
            }
        }
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
            Method::Info => self.handle_info(now, id, request, endpoint),
            Method::Options => self.handle_options(now, id, request, endpoint),
            _ => {
                let mut answer = Response::to_request(request, StatusCode::METHOD_NOT_ALLOWED);
                answer.headers.push(Name::Allow, ALLOW);
                endpoint.respond(now, id, answer);
            }
        }
    }
}

impl Role for Agent {
    type Command = Command;

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        if let Event::Response { .. } | Event::Stray { .. } = event {
            self.reach.handle_answer(self.settings.signaling);
        }
        match event {
            Event::Request { id, request, .. } => self.handle_request(now, id, &request, endpoint),
            Event::Ack { request, .. } => self.handle_ack(now, &request, endpoint),
            // The endpoint knows whose CANCEL it is.
            Event::Cancel { invite, .. } => {
                if let Some(invited) = endpoint.server_request(invite) {
                    let status = StatusCode::REQUEST_TERMINATED;
                    let answer = Response::to_request(invited, status);
                    let call_id = invited.call_id().to_owned();
                    endpoint.respond(now, invite, answer);
                    self.end(&call_id, "The viewer gave up");
                }
            }
            Event::Unacknowledged { id } => self.handle_unacknowledged(now, id, endpoint),
            Event::Response { id, response, .. } => {
                if response.status.is_provisional() || self.is_met(now, id, &response, endpoint) {
                    return;
                }
                let registered = self.registering.remove(&id);
                if let Some((stream, _)) = &registered {
                    self.handle_register_answer(now, stream, &response);
                }
                self.farewell_done(now, id, registered, endpoint);
            }
            Event::Failed { id, failure } => {
                self.account.forget(id);
                let registered = self.registering.remove(&id);
                if let Some((stream, cseq)) = &registered {
                    self.handle_register_failure(now, stream, *cseq, failure);
                }
                self.farewell_done(now, id, registered, endpoint);
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
            Command::Media(MediaEvent::Chosen { viewer, result }) => {
                self.handle_chosen(now, viewer, &result, endpoint);
            }
            Command::Media(MediaEvent::Changed { stream }) => {
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
        self.reach.handle_timeout(now, self.settings.signaling);
        self.register_what_is_due(now, endpoint);
        self.show(endpoint);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.ending {
            return None;
        }
        let leases = self.registrations.values();
        let next = leases.filter_map(Registration::next).min();
        let next = next.max(next.and(self.account.barred_until()));
        next.into_iter().chain(self.reach.poll_timeout()).min()
    }

    fn handle_shutdown(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.ending = true;
        let calls: Vec<String> = self.calls.keys().cloned().collect();
        let reason = Reason::new(480, "The streamer was stopped");
        for call_id in calls {
            self.hang_up(now, &call_id, &reason, endpoint);
        }
        let leases = self.registrations.iter();
        let listed = leases.filter(|(_, lease)| !lease.is_leaving());
        let streams: Vec<String> = listed.map(|(stream, _)| stream.clone()).collect();
        for stream in streams {
            self.withdraw(now, &stream, endpoint);
        }
        self.show(endpoint);
    }

    fn is_drained(&self) -> bool {
        self.farewells.is_empty()
    }
}
