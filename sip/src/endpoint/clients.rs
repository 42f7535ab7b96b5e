//! Requests that we sent: their transactions, found by branch and method.

use std::sync::Arc;
use std::time::Instant;

use super::{ClientId, Endpoint, Event, Failure, MAX_DATAGRAM, Route, Wake, arm};
use crate::header::Name;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::table::shrink;
use crate::timer::{Deadlines, Timer};
use crate::transaction::{Expiry, Heard, InviteClient, OtherClient, Outgoing};
use crate::transport::{Peer, Transport};

/// What makes an answer one to our request (RFC 3261 section 17.1.3): branch and method.
pub(super) type ClientKey = Arc<(String, Method)>;

pub(super) struct ClientEntry {
    pub(super) machine: ClientMachine,
    key: ClientKey,
    /// A CANCEL of the endpoint's own concerns nobody else.
    silent: bool,
    wake: Option<Instant>,
}

pub(super) enum ClientMachine {
    Invite(InviteClient),
    Other(OtherClient),
}

impl Endpoint {
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        route: Route,
        request: Request,
        branch: String,
        silent: bool,
    ) -> ClientId {
        let id = ClientId(self.next_id());
        if request.to_bytes().len() > MAX_DATAGRAM {
            let failure = Failure::TooLarge;
            self.events.push_back(Event::Failed { id, failure });
            return id;
        }
        let key = Arc::new((branch, request.method.clone()));
        let machine = if request.method == Method::Invite {
            let invite = InviteClient::new(now, route, request, &mut self.outbox);
            ClientMachine::Invite(invite)
        } else {
            let other = OtherClient::new(now, route, request, &mut self.outbox);
            ClientMachine::Other(other)
        };
        if route.peer.transport == Transport::Tcp {
            self.streaming.insert((route.peer.address, id));
        }
        self.client_keys.insert(Arc::clone(&key), id);
        let entry = ClientEntry {
            machine,
            key,
            silent,
            wake: None,
        };
        self.clients.insert(id, entry);
        match self.open.contains(&route.peer.address) {
            true => self.client_stream_open(id),
            false => self.arm_client(id),
        }
        id
    }

    pub(super) fn send_cancel(&mut self, now: Instant, id: ClientId) {
        let Some(entry) = self.clients.get(&id) else {
            return;
        };
        if let ClientMachine::Invite(invite) = &entry.machine {
            let cancel = invite.hop_request(Method::Cancel);
            let route = invite.outgoing().route();
            let branch = entry.key.0.clone();
            self.start_client(now, route, cancel, branch, true);
        }
    }

    pub(super) fn handle_response(&mut self, now: Instant, source: Peer, mut response: Response) {
        let branch = response
            .top_via()
            .and_then(|via| via.branch().map(str::to_owned));
        let id = branch.and_then(|branch| {
            let key = (branch, response.cseq().method.clone());
            self.client_keys.get(&key).copied()
        });
        let found = id.and_then(|id| Some((id, self.clients.get_mut(&id)?)));
        let found = found.filter(|(_, entry)| is_answer(&response, entry.machine.request()));
        let Some((id, entry)) = found else {
            self.events.push_back(Event::Stray { response, source });
            return;
        };
        let (deliver, cancel) = match &mut entry.machine {
            ClientMachine::Invite(invite) => {
                let heard = invite.handle_response(now, &response, &mut self.outbox);
                (heard.deliver, heard.cancel)
            }
            ClientMachine::Other(other) => match other.handle_response(now, &response) {
                Heard::News => (true, false),
                Heard::Again => (false, false),
                Heard::Stray => {
                    self.events.push_back(Event::Stray { response, source });
                    return;
                }
            },
        };
        response.headers.pop_first_value(Name::Via);
        if deliver && !entry.silent {
            self.events.push_back(Event::Response {
                id,
                response,
                source,
            });
        }
        if cancel {
            self.send_cancel(now, id);
        }
        self.arm_client(id);
    }

    pub(super) fn client_timeout(&mut self, now: Instant, id: ClientId) {
        while let Some(entry) = self.clients.get_mut(&id) {
            let Some(timer) = entry.machine.deadlines().pop_due(now) else {
                break;
            };
            // Nobody else waits for it as long in vain.
            let late = (timer == Timer::FallBack).then(|| entry.machine.outgoing().route().peer);
            let (expiry, cancel) = match &mut entry.machine {
                ClientMachine::Invite(invite) => invite.handle_timer(now, timer, &mut self.outbox),
                ClientMachine::Other(other) => {
                    (other.handle_timer(now, timer, &mut self.outbox), false)
                }
            };
            match expiry {
                Expiry::Goes => {}
                Expiry::GaveUp => {
                    if !entry.silent {
                        let failure = Failure::Timeout;
                        self.events.push_back(Event::Failed { id, failure });
                    }
                }
                Expiry::Over | Expiry::OverUnacknowledged => {
                    let key = Arc::clone(&entry.key);
                    if let Some(at) = entry.wake {
                        self.wakes.remove(&(at, Wake::Client(id)));
                    }
                    let peer = entry.machine.outgoing().route().peer;
                    self.streaming.remove(&(peer.address, id));
                    self.clients.remove(&id);
                    self.client_keys.remove(&key);
                    shrink(&mut self.clients);
                    shrink(&mut self.client_keys);
                    return;
                }
            }
            if cancel {
                self.send_cancel(now, id);
            }
            if let Some(peer) = late {
                self.streaming.remove(&(peer.address, id));
                self.remember_refusal(now, peer.address);
            }
        }
        self.arm_client(id);
    }

    /// Its stream is open: it need not go by datagrams.
    pub(super) fn client_stream_open(&mut self, id: ClientId) {
        if let Some(entry) = self.clients.get_mut(&id) {
            entry.machine.deadlines().stop(Timer::FallBack);
        }
        self.arm_client(id);
    }

    /// Its stream has ended, or never was.
    pub(super) fn client_stream_end(&mut self, now: Instant, id: ClientId) {
        let Some(entry) = self.clients.get_mut(&id) else {
            return;
        };
        let peer = entry.machine.outgoing().route().peer;
        self.streaming.remove(&(peer.address, id));
        let goes_on = match &mut entry.machine {
            ClientMachine::Invite(invite) => invite.fall_back(now, &mut self.outbox),
            ClientMachine::Other(other) => other.fall_back(now, &mut self.outbox),
        };
        if !goes_on && !entry.silent {
            entry.machine.give_up(now);
            let failure = Failure::Unreachable;
            self.events.push_back(Event::Failed { id, failure });
        }
        self.arm_client(id);
    }

    pub(super) fn arm_client(&mut self, id: ClientId) {
        if let Some(entry) = self.clients.get_mut(&id) {
            let next = entry.machine.deadlines().next();
            arm(&mut self.wakes, Wake::Client(id), &mut entry.wake, next);
        }
    }
}

/// Whether a response has what it must have of its request (RFC 3261 section 8.2.6.2). Who was asked
/// knows the branch, and could answer in the name of another call.
fn is_answer(response: &Response, request: &Request) -> bool {
    response.call_id() == request.call_id()
        && response.cseq().number == request.cseq().number
        && response.from().tag() == request.from().tag()
}

impl ClientMachine {
    pub(super) fn request(&self) -> &Request {
        self.outgoing().request()
    }

    fn outgoing(&self) -> &Outgoing {
        match self {
            ClientMachine::Invite(invite) => invite.outgoing(),
            ClientMachine::Other(other) => other.outgoing(),
        }
    }

    fn give_up(&mut self, now: Instant) {
        match self {
            ClientMachine::Invite(invite) => invite.give_up(now),
            ClientMachine::Other(other) => other.give_up(now),
        }
    }

    fn deadlines(&mut self) -> &mut Deadlines {
        match self {
            ClientMachine::Invite(invite) => &mut invite.deadlines,
            ClientMachine::Other(other) => &mut other.deadlines,
        }
    }
}
