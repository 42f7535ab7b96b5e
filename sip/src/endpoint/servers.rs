//! Requests that came: their transactions, found by what RFC 3261 section 17.2.3 compares.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use super::{AckKey, Endpoint, Event, MAGIC_COOKIE, ServerId, Wake, arm, tag};
use crate::header::{Name, NameAddr, Via};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::status::StatusCode;
use crate::table::shrink;
use crate::timer::Deadlines;
use crate::transaction::{Expiry, InviteServer, OtherServer};
use crate::transport::{Peer, Transport};
use crate::uri::Host;

pub(super) struct ServerEntry {
    pub(super) machine: ServerMachine,
    key: Arc<ServerKey>,
    pub(super) ack: Option<Box<AckKey>>,
    /// Bytes of the request.
    size: usize,
    /// For answers of the role's that have none.
    tag: u64,
    wake: Option<Instant>,
}

pub(super) enum ServerMachine {
    Invite(InviteServer),
    Other(OtherServer),
}

/// What makes two requests the same (RFC 3261 section 17.2.3), and what a CANCEL and the ACK of a
/// refusal have of their INVITE besides (sections 9.1 and 17.1.1.3): branches can be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServerKey {
    /// The branch; of senders older than RFC 3261, the fields that were compared then.
    branch: String,
    host: Host,
    port: Option<u16>,
    method: Method,
    call_id: String,
    cseq: u32,
    from: Option<String>,
}

impl Endpoint {
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        source: Peer,
        mut request: Request,
        size: usize,
    ) {
        // The parser has seen that every Via can be read.
        let Some(mut via) = request.top_via() else {
            return;
        };
        let back = via.answer_peer(source);
        let key = ServerKey::new(&request, &via);
        via.note_source(source.address);
        request
            .headers
            .replace_first_value(Name::Via, &via.to_string());

        if request.method == Method::Ack {
            self.handle_ack(now, source, request, &key);
            return;
        }
        if let Some(entry) = self
            .server_keys
            .get(&key)
            .and_then(|id| self.servers.get_mut(id))
        {
            let outbox = &mut self.outbox;
            match &mut entry.machine {
                ServerMachine::Invite(invite) => invite.handle_retransmission(back, outbox),
                ServerMachine::Other(other) => other.handle_retransmission(back, outbox),
            }
            return;
        }
        if self.transactions() >= self.config.max_transactions {
            let mut refusal = Response::to_request(&request, StatusCode::SERVICE_UNAVAILABLE);
            refusal.headers.push(Name::RetryAfter, "5");
            if let Some(refusal) = self.fitting(back, size, refusal) {
                self.send(back, refusal.to_bytes());
            }
            return;
        }
        let id = ServerId(self.next_id());
        let tag = (self.random)();
        let machine = if request.method == Method::Invite {
            let trying = Response::to_request(&request, StatusCode::TRYING);
            let invite = InviteServer::new(now, request.clone(), back, &trying);
            self.fresh.push_back(id);
            ServerMachine::Invite(invite)
        } else {
            ServerMachine::Other(OtherServer::new(now, request.clone(), back))
        };
        let cancelled = (request.method == Method::Cancel)
            .then(|| self.server_keys.get(&key.of(Method::Invite)).copied());
        let key = Arc::new(key);
        self.server_keys.insert(Arc::clone(&key), id);
        let entry = ServerEntry {
            machine,
            key,
            ack: None,
            size,
            tag,
            wake: None,
        };
        self.servers.insert(id, entry);
        self.arm_server(id);
        match cancelled {
            None => self.events.push_back(Event::Request {
                id,
                request,
                source,
            }),
            Some(invite) => self.handle_cancel(now, id, invite, request),
        }
    }

    /// Answers INVITEs 100 Trying that the role has seen and not answered.
    pub(super) fn say_trying(&mut self) {
        while let Some(id) = self.fresh.pop_front() {
            let entry = self.servers.get_mut(&id);
            if let Some(ServerMachine::Invite(invite)) = entry.map(|entry| &mut entry.machine) {
                invite.say_trying(&mut self.outbox);
            }
        }
    }

    /// A CANCEL ends at this hop (RFC 3261 section 9.2).
    fn handle_cancel(
        &mut self,
        now: Instant,
        id: ServerId,
        invite: Option<ServerId>,
        request: Request,
    ) {
        let known = invite.and_then(|invite| Some((invite, self.servers.get(&invite)?)));
        let Some((invite, entry)) = known else {
            let answer = Response::to_request(&request, StatusCode::CALL_DOES_NOT_EXIST);
            self.answer_once(now, id, answer);
            return;
        };
        let pending = matches!(&entry.machine, ServerMachine::Invite(tx) if tx.is_pending());
        let mut answer = Response::to_request(&request, StatusCode::OK);
        answer.set_to_tag(&tag(entry.tag));
        self.respond(now, id, answer);
        if pending {
            self.events.push_back(Event::Cancel { invite, request });
        }
    }

    fn handle_ack(&mut self, now: Instant, source: Peer, request: Request, key: &ServerKey) {
        if let Some(&id) = self.server_keys.get(&key.of(Method::Invite)) {
            if let Some(ServerEntry {
                machine: ServerMachine::Invite(invite),
                ..
            }) = self.servers.get_mut(&id)
            {
                if invite.handle_ack(now) {
                    self.arm_server(id);
                    return;
                }
            }
        }
        let (from, to) = (request.from(), request.to());
        let key = AckKey::new(request.call_id(), request.cseq().number, from, to);
        if let Some(&id) = self.unacknowledged.get(&key) {
            self.acknowledge(id);
        }
        self.events.push_back(Event::Ack { request, source });
    }

    /// Sends an answer without keeping anything of the request; not when something was sent before.
    /// False when it was too long for a stranger.
    pub(super) fn answer_once(
        &mut self,
        now: Instant,
        id: ServerId,
        mut response: Response,
    ) -> bool {
        let entry = self.servers.get(&id);
        let size = entry.map_or(0, |entry| entry.size);
        let fresh = match entry.map(|entry| &entry.machine) {
            Some(ServerMachine::Invite(invite)) => invite.is_fresh().then(|| invite.peer()),
            Some(ServerMachine::Other(other)) => other.request().map(|_| other.peer()),
            None => None,
        };
        let Some(peer) = fresh else {
            self.answer(now, id, response, false);
            return true;
        };
        if response.to().tag().is_none() {
            response.set_to_tag(&self.tag_of(&response));
        }
        self.forget_server(id);
        let fitting = self.fitting(peer, size, response);
        let sent = fitting.is_some();
        if let Some(response) = fitting {
            self.send(peer, response.to_bytes());
        }
        sent
    }

    /// An answer as it may go to whoever sent so many bytes, if it may.
    fn fitting(&self, peer: Peer, size: usize, response: Response) -> Option<Response> {
        let fits = |response: &Response| response.to_bytes().len() <= size;
        if self.is_proven(peer) || fits(&response) {
            return Some(response);
        }
        Some(response.bare()).filter(fits)
    }

    /// Whoever has opened a stream is where they say they are.
    pub(super) fn is_proven(&self, peer: Peer) -> bool {
        peer.transport == Transport::Tcp || (self.trusts)(peer.address.ip())
    }

    /// The tag that every answer to one request has, though nothing is kept of it.
    fn tag_of(&self, response: &Response) -> String {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        response.headers.get(Name::Via).hash(&mut hasher);
        response.call_id().hash(&mut hasher);
        response.cseq().number.hash(&mut hasher);
        response.from().tag().hash(&mut hasher);
        tag(hasher.finish())
    }

    fn forget_server(&mut self, id: ServerId) {
        let Some(entry) = self.servers.remove(&id) else {
            return;
        };
        if let Some(at) = entry.wake {
            self.wakes.remove(&(at, Wake::Server(id)));
        }
        self.server_keys.remove(&entry.key);
        if let Some(ack) = entry.ack {
            self.unacknowledged.remove(&ack);
        }
        shrink(&mut self.servers);
        shrink(&mut self.server_keys);
    }

    pub(super) fn answer(
        &mut self,
        now: Instant,
        id: ServerId,
        mut response: Response,
        accept: bool,
    ) {
        let Some(entry) = self.servers.get(&id) else {
            return;
        };
        if response.status != StatusCode::TRYING && response.to().tag().is_none() {
            response.set_to_tag(&tag(entry.tag));
        }
        // Who takes part in a call has shown where they are; and what answers an INVITE is its
        // callee's to say, and is sent until it is heard.
        if let ServerMachine::Other(other) = &entry.machine {
            if other.request().is_some_and(|it| it.to().tag().is_none()) {
                match self.fitting(other.peer(), entry.size, response) {
                    Some(fitting) => response = fitting,
                    None => return self.forget_server(id),
                }
            }
        }
        let Some(entry) = self.servers.get_mut(&id) else {
            return;
        };
        let sent = match &mut entry.machine {
            ServerMachine::Invite(invite) => {
                let accept = accept && response.status.is_success();
                if accept && invite.is_pending() {
                    let (from, to) = (response.from(), response.to());
                    let key = AckKey::new(response.call_id(), response.cseq().number, from, to);
                    entry.ack = Some(Box::new(key.clone()));
                    self.unacknowledged.insert(key, id);
                }
                invite.respond(now, &response, accept, &mut self.outbox)
            }
            ServerMachine::Other(other) => other.respond(now, &response, &mut self.outbox),
        };
        if !sent {
            tracing::debug!(call_id = response.call_id(), status = %response.status,
                "an answer came after the final one");
        }
        self.arm_server(id);
    }

    pub(super) fn server_timeout(&mut self, now: Instant, id: ServerId) {
        while let Some(entry) = self.servers.get_mut(&id) {
            let Some(timer) = entry.machine.deadlines().pop_due(now) else {
                break;
            };
            let expiry = match &mut entry.machine {
                ServerMachine::Invite(invite) => invite.handle_timer(now, timer, &mut self.outbox),
                // It has one deadline, the last.
                ServerMachine::Other(_) => Expiry::Over,
            };
            match expiry {
                Expiry::Goes | Expiry::GaveUp => {}
                Expiry::Over | Expiry::OverUnacknowledged => {
                    if expiry == Expiry::OverUnacknowledged {
                        self.events.push_back(Event::Unacknowledged { id });
                    }
                    self.forget_server(id);
                    return;
                }
            }
        }
        self.arm_server(id);
    }

    pub(super) fn arm_server(&mut self, id: ServerId) {
        if let Some(entry) = self.servers.get_mut(&id) {
            let next = entry.machine.deadlines().next();
            arm(&mut self.wakes, Wake::Server(id), &mut entry.wake, next);
        }
    }
}

impl ServerMachine {
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            ServerMachine::Invite(invite) => invite.request(),
            ServerMachine::Other(other) => other.request(),
        }
    }

    fn deadlines(&mut self) -> &mut Deadlines {
        match self {
            ServerMachine::Invite(invite) => &mut invite.deadlines,
            ServerMachine::Other(other) => &mut other.deadlines,
        }
    }
}

impl AckKey {
    fn new(call_id: &str, cseq: u32, from: &NameAddr, to: &NameAddr) -> Self {
        AckKey {
            call_id: call_id.to_owned(),
            cseq,
            from: from.tag().map(str::to_owned),
            to: to.tag().map(str::to_owned),
        }
    }
}

impl ServerKey {
    fn new(request: &Request, via: &Via) -> Self {
        let branch = match via.branch() {
            Some(branch)
                if branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE) =>
            {
                branch.to_owned()
            }
            // An RFC 2543 sender, or one that made no branch (RFC 4475 section 3.2.1): compare
            // what identified a request then.
            _ => format!(
                "{} {} {} {} {}",
                request.uri,
                request.from().tag().unwrap_or_default(),
                request.call_id(),
                request.cseq().number,
                via,
            ),
        };
        ServerKey {
            branch,
            host: via.host.clone(),
            port: via.port,
            method: request.method.clone(),
            call_id: request.call_id().to_owned(),
            cseq: request.cseq().number,
            from: request.from().tag().map(str::to_owned),
        }
    }

    fn of(&self, method: Method) -> Self {
        ServerKey {
            method,
            ..self.clone()
        }
    }
}
