//! The server between user agents, a network that loses datagrams by a seed, and a clock that
//! jumps to whatever happens next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sip::auth::{Account, Secret};
use sip::driver::Role;
use sip::endpoint::{Config, Endpoint, Transmit};
use sip::{
    ClientId, Dialog, Event, Method, Name, NameAddr, Peer, Reason, Request, Response, ServerId,
    StatusCode, Transport, Uri,
};

use super::Signaling;
use crate::auth::Gate;
use crate::auth::users::Users;
use crate::rates::{Rates, Trust};
use crate::routing::Own;
use crate::store::Snapshot;

/// A small random generator (splitmix64), so that each run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What an agent does with an INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// 202 at once.
    Accept,
    /// 100 (the endpoint's own), and then nothing.
    Hold,
    /// This status.
    Refuse(StatusCode),
    /// Not even 100: the program is gone.
    Dead,
}

/// A user agent: a front or a streamer.
pub(super) struct Agent {
    pub(super) address: SocketAddr,
    /// Its end of its only way to the server, if that is a stream.
    pub(super) stream: Option<SocketAddr>,
    /// Whether it takes streams at its address.
    pub(super) listens: bool,
    pub(super) endpoint: Endpoint,
    pub(super) account: Account,
    pub(super) mood: Mood,
    /// INVITEs that wait for an answer.
    pub(super) held: Vec<(ServerId, Request)>,
    /// Calls that stand, by Call-ID.
    pub(super) calls: HashMap<String, Dialog>,
    /// ACKs that came.
    pub(super) acks: usize,
    /// Final answers to its own requests, in order.
    pub(super) answers: Vec<Response>,
    /// Requests of its own that had no answer.
    pub(super) failures: usize,
    /// Responses that matched nothing: the 403.
    pub(super) strays: Vec<Response>,
    /// Requests that came, in order.
    pub(super) requests: Vec<Request>,
    invites: HashMap<ClientId, Request>,
    cseq: u32,
    pub(super) registration: String,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) endpoint: Endpoint,
    pub(super) role: Signaling,
    pub(super) agents: Vec<Agent>,
    /// Datagrams lost, of 100.
    pub(super) loss: u64,
    /// What begins with this is lost on its way to this agent.
    pub(super) eats: Option<(usize, &'static str)>,
    /// What the server sent.
    pub(super) sent: Vec<Sent>,
    /// What came to the server, and from where.
    pub(super) came: Vec<(SocketAddr, Bytes)>,
    /// Its file of users, and whether calls are asked for passwords.
    users: Option<(&'static str, bool)>,
    random: Random,
    flying: BTreeMap<(Instant, u64), (SocketAddr, Transmit)>,
    order: u64,
    seed: u64,
}

/// A datagram of the server's.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) to: SocketAddr,
    /// Its first line.
    pub(super) line: String,
    pub(super) payload: Bytes,
}

pub(super) const FRONT: usize = 0;
pub(super) const STREAMER: usize = 1;

pub(super) fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 100], 5060))
}

/// The agents are trusted, and who sends the messages of the RFCs; others are not.
fn trust() -> Trust {
    "192.0.2.0/24,203.0.113.0/24".parse().unwrap()
}

fn rates() -> Rates {
    Rates::new(trust())
}

fn server_endpoint(seed: u64) -> Endpoint {
    let mut random = Random(seed);
    Endpoint::new(Config::new(server_address()), move || random.next())
        .with_trust(|ip| trust().contains(ip))
}

impl Agent {
    fn new(address: SocketAddr, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut endpoint = Endpoint::new(Config::new(address), move || random.next());
        Agent {
            address,
            stream: None,
            listens: false,
            registration: endpoint.generate_call_id(),
            endpoint,
            account: Account::default(),
            mood: Mood::Accept,
            held: Vec::new(),
            calls: HashMap::new(),
            acks: 0,
            answers: Vec::new(),
            failures: 0,
            strays: Vec::new(),
            requests: Vec::new(),
            invites: HashMap::new(),
            cseq: 0,
        }
    }

    /// A request of this agent's own for a user of the server.
    pub(super) fn make(&mut self, method: Method, user: Option<&str>) -> Request {
        let from = NameAddr::new(Uri::at(Some("agent"), self.address));
        let from = from
            .with_display("Zoë Q")
            .with_tag(&self.endpoint.generate_tag());
        let uri = Uri::at(user, server_address());
        let call_id = self.endpoint.generate_call_id();
        let to = NameAddr::new(uri.clone());
        self.cseq += 1;
        let mut request = Request::new(method, uri, from, to, &call_id, self.cseq);
        let contact = self.contact(user.unwrap_or("agent"));
        request.headers.push(Name::Contact, &contact.to_string());
        request
    }

    fn contact(&self, user: &str) -> NameAddr {
        let mut uri = Uri::at(Some(user), self.address);
        if self.stream.is_some() {
            uri.params.set("transport", Some("tcp"));
        }
        NameAddr::new(uri)
    }

    /// How it reaches the server.
    fn server(&self) -> Peer {
        match self.stream {
            Some(_) => Peer::tcp(server_address()),
            None => server_address().into(),
        }
    }

    fn react(&mut self, now: Instant, event: Event) {
        match event {
            Event::Request { id, request, .. } => {
                self.requests.push(request.clone());
                self.request(now, id, request);
            }
            Event::Ack { .. } => self.acks += 1,
            Event::Cancel { invite, .. } => {
                let place = self.held.iter().position(|(id, _)| *id == invite);
                if let Some(place) = place {
                    let (id, request) = self.held.remove(place);
                    let status = StatusCode::REQUEST_TERMINATED;
                    self.endpoint
                        .respond(now, id, Response::to_request(&request, status));
                }
            }
            Event::Response { id, response, .. } => self.response(now, id, response),
            Event::Failed { .. } => self.failures += 1,
            Event::Unacknowledged { .. } => self.failures += 1,
            Event::Stray { response, .. } => self.strays.push(response),
        }
    }

    fn request(&mut self, now: Instant, id: ServerId, request: Request) {
        match request.method {
            Method::Invite => match self.mood {
                Mood::Accept => self.accept(now, id, &request),
                Mood::Hold => self.held.push((id, request)),
                Mood::Refuse(status) => {
                    self.endpoint
                        .respond(now, id, Response::to_request(&request, status));
                }
                Mood::Dead => {}
            },
            Method::Bye => {
                let known = self.calls.remove(request.call_id()).is_some();
                let status = if known {
                    StatusCode::OK
                } else {
                    StatusCode::CALL_DOES_NOT_EXIST
                };
                self.endpoint
                    .respond(now, id, Response::to_request(&request, status));
            }
            _ => {
                let answer = Response::to_request(&request, StatusCode::OK);
                self.endpoint.respond(now, id, answer);
            }
        }
    }

    pub(super) fn accept(&mut self, now: Instant, id: ServerId, request: &Request) {
        let tag = self.endpoint.generate_tag();
        let mut answer = Response::to_request(request, StatusCode::ACCEPTED);
        answer.set_to_tag(&tag);
        for route in request.headers.all(Name::RecordRoute) {
            answer.headers.push(Name::RecordRoute, route);
        }
        let contact = self.contact("me");
        answer.headers.push(Name::Contact, &contact.to_string());
        answer.set_body("application/sdp", "v=0\r\na=answer\r\n".into());
        self.calls
            .insert(request.call_id().to_owned(), Dialog::uas(request, &tag));
        self.endpoint.accept(now, id, answer);
    }

    fn response(&mut self, now: Instant, id: ClientId, response: Response) {
        if response.status.is_provisional() {
            return;
        }
        let (server, endpoint) = (self.server(), &mut self.endpoint);
        let account = &mut self.account;
        if let Some(again) = account.handle_response(now, endpoint, server, id, &response) {
            self.cseq += 1;
            if self.invites.remove(&id).is_some() {
                let invite = self.endpoint.client_request(again).unwrap().clone();
                self.invites.insert(again, invite);
            }
            return;
        }
        match self.invites.get(&id) {
            Some(invite) if response.status.is_success() => {
                let dialog = Dialog::uac(invite, &response);
                self.endpoint.send_request(server, dialog.ack());
                let known = self.answers.iter().any(|answer| {
                    answer.call_id() == response.call_id() && answer.status.is_success()
                });
                if known {
                    return;
                }
                self.calls.insert(response.call_id().to_owned(), dialog);
            }
            _ => {}
        }
        self.answers.push(response);
    }
}

/// Gives an endpoint what came.
fn take(endpoint: &mut Endpoint, now: Instant, source: SocketAddr, transmit: Transmit) {
    match transmit.transport {
        Transport::Udp => endpoint.handle_datagram(now, source, transmit.payload),
        Transport::Tcp => endpoint.handle_stream_message(now, source, transmit.payload),
    }
}

impl World {
    /// A server with a front and a streamer.
    pub(super) fn new(seed: u64) -> Self {
        let start = Instant::now();
        let own = Own::new(server_address(), &[]);
        let role = Signaling::new(
            own,
            rates(),
            start,
            SystemTime::UNIX_EPOCH,
            &Snapshot::default(),
        );
        let mut world = World {
            now: start,
            endpoint: server_endpoint(seed),
            role,
            agents: Vec::new(),
            loss: 0,
            eats: None,
            sent: Vec::new(),
            came: Vec::new(),
            users: None,
            random: Random(seed),
            flying: BTreeMap::new(),
            order: 0,
            seed,
        };
        world.join();
        world.join();
        world
    }

    /// The same with a file of users.
    pub(super) fn with_users(seed: u64, users: &'static str, calls: bool) -> Self {
        let mut world = World::new(seed);
        world.users = Some((users, calls));
        world.restart();
        world
    }

    /// An agent that has a password.
    pub(super) fn join_as(&mut self, user: &str, password: &str) -> usize {
        let number = self.join();
        self.agents[number].account = Account::new(user, Secret::new(password));
        number
    }

    /// Another agent, at an address of its own.
    pub(super) fn join(&mut self) -> usize {
        let number = self.agents.len();
        let port = 40_000 + u16::try_from(number).unwrap();
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        self.agents
            .push(Agent::new(address, self.seed * 100 + number as u64 + 1));
        number
    }

    /// The server is killed, and started again from what it had in its store.
    pub(super) fn restart(&mut self) {
        let snapshot = self.role.snapshot();
        self.seed += 1;
        self.endpoint = server_endpoint(self.seed + 1000);
        let own = Own::new(server_address(), &[]);
        let role = Signaling::new(own, rates(), self.now, SystemTime::UNIX_EPOCH, &snapshot);
        self.role = match self.users {
            None => role,
            Some((users, calls)) => {
                let users = Users::parse(users).unwrap();
                let key = [self.seed as u8; 64];
                role.with_gate(Gate::new(users, calls, key, self.now))
            }
        };
    }

    /// Sends a request of an agent to the server.
    pub(super) fn send(&mut self, agent: usize, request: Request) -> ClientId {
        let agent = &mut self.agents[agent];
        let kept = request.clone();
        let (server, endpoint) = (agent.server(), &mut agent.endpoint);
        let id = agent.account.request(self.now, endpoint, server, request);
        if kept.method == Method::Invite {
            agent.invites.insert(id, kept);
        }
        id
    }

    /// Lets a datagram come to the server, from anywhere.
    pub(super) fn inject(&mut self, source: SocketAddr, payload: Bytes) {
        let destination = server_address();
        let transmit = Transmit {
            destination,
            transport: Transport::Udp,
            payload,
        };
        self.order += 1;
        self.flying
            .insert((self.now, self.order), (source, transmit));
    }

    /// Registers an agent as a streamer of this stream, and waits for the answer.
    pub(super) fn register(&mut self, agent: usize, stream: &str, extra: &[(&str, &str)]) {
        let status = self.register_with(agent, stream, extra, "").status;
        assert_eq!(status, StatusCode::OK);
    }

    pub(super) fn register_with(
        &mut self,
        agent: usize,
        stream: &str,
        extra: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let call_id = self.agents[agent].registration.clone();
        let made = self.agents[agent].make(Method::Register, Some(stream));
        let mut request = Request::new(
            Method::Register,
            Uri::at(None, server_address()),
            made.from().clone(),
            made.to().clone(),
            &call_id,
            made.cseq().number,
        );
        let contact = made.headers.get(Name::Contact).unwrap();
        request.headers.push(Name::Contact, contact);
        for (name, value) in extra {
            request.headers.set(Name::parse(name), value);
        }
        if !body.is_empty() {
            request.set_body("application/json", body.to_owned().into());
        }
        let before = self.agents[agent].answers.len();
        self.send(agent, request);
        self.run_until(|world| world.agents[agent].answers.len() > before);
        self.agents[agent].answers.pop().unwrap()
    }

    /// Calls a stream from the front; returns the Call-ID.
    pub(super) fn call(&mut self, stream: &str) -> (ClientId, String) {
        let mut invite = self.agents[FRONT].make(Method::Invite, Some(stream));
        invite.set_body("application/sdp", "v=0\r\na=offer\r\n".into());
        let call_id = invite.call_id().to_owned();
        (self.send(FRONT, invite), call_id)
    }

    /// Hangs up from one side.
    pub(super) fn hang_up(&mut self, agent: usize, call_id: &str) {
        let mut dialog = self.agents[agent].calls.remove(call_id).unwrap();
        let mut bye = dialog.request(Method::Bye);
        bye.headers
            .push(Name::Reason, &Reason::new(200, "bye").to_string());
        self.send(agent, bye);
    }

    /// Moves to the next moment at which something happens, `limit` at most; false when that
    /// is all.
    fn step(&mut self, limit: Instant) -> bool {
        self.collect();
        let arrival = self.flying.keys().next().map(|&(at, _)| at);
        let alive = self.agents.iter().filter(|agent| agent.mood != Mood::Dead);
        let wakes = alive.filter_map(|agent| agent.endpoint.poll_timeout());
        let own = [
            self.endpoint.poll_timeout(),
            self.role.poll_timeout(),
            arrival,
        ];
        let Some(next) = wakes.chain(own.into_iter().flatten()).min() else {
            return false;
        };
        if next > limit {
            self.now = limit;
            return false;
        }
        self.now = next.max(self.now);
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (source, transmit) = entry.remove();
            self.deliver(source, transmit);
        }
        self.endpoint.handle_timeout(self.now);
        if self.role.poll_timeout().is_some_and(|at| at <= self.now) {
            self.role.handle_timeout(self.now, &mut self.endpoint);
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.role.handle_event(self.now, event, &mut self.endpoint);
        }
        for agent in &mut self.agents {
            if agent.mood == Mood::Dead {
                continue;
            }
            agent.endpoint.handle_timeout(self.now);
            while let Some(event) = agent.endpoint.poll_event() {
                agent.react(self.now, event);
            }
        }
        true
    }

    fn deliver(&mut self, source: SocketAddr, transmit: Transmit) {
        let to = transmit.destination;
        if to == server_address() {
            self.came.push((source, transmit.payload.clone()));
            if self.role.admits(self.now, source) {
                take(&mut self.endpoint, self.now, source, transmit);
            }
            return;
        }
        if let Some((agent, what)) = self.eats {
            if to == self.agents[agent].address && transmit.payload.starts_with(what.as_bytes()) {
                return;
            }
        }
        let alive = |agent: &&mut Agent| {
            let here = match transmit.transport {
                Transport::Udp => agent.address == to,
                Transport::Tcp => {
                    agent.stream == Some(to) || (agent.listens && agent.address == to)
                }
            };
            here && agent.mood != Mood::Dead
        };
        if let Some(agent) = self.agents.iter_mut().find(alive) {
            take(&mut agent.endpoint, self.now, source, transmit);
        } else if transmit.transport == Transport::Tcp {
            self.endpoint.handle_stream_refused(self.now, to);
            self.role.handle_stream_end(self.now, to);
        }
    }

    fn collect(&mut self) {
        let mut out: VecDeque<(SocketAddr, Transmit)> = VecDeque::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let text = String::from_utf8_lossy(&transmit.payload).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            self.sent.push(Sent {
                to: transmit.destination,
                line,
                payload: transmit.payload.clone(),
            });
            out.push_back((server_address(), transmit));
        }
        for agent in &mut self.agents {
            while let Some(transmit) = agent.endpoint.poll_transmit() {
                if agent.mood != Mood::Dead {
                    let source = match transmit.transport {
                        Transport::Udp => agent.address,
                        Transport::Tcp => agent.stream.unwrap(),
                    };
                    out.push_back((source, transmit));
                }
            }
        }
        for (source, transmit) in out {
            let lost = self.random.next() % 100 < self.loss;
            if transmit.transport == Transport::Tcp || !lost {
                let delay = Duration::from_micros(500 + self.random.next() % 3000);
                self.order += 1;
                self.flying
                    .insert((self.now + delay, self.order), (source, transmit));
            }
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
    }

    /// Runs until something is so; fails after two minutes.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&World) -> bool) {
        let limit = self.now + Duration::from_secs(120);
        while !done(self) {
            assert!(
                self.step(limit),
                "it never happened; sent: {:#?}",
                self.sent
            );
        }
    }

    /// Messages of the server whose first line contains this.
    pub(super) fn count(&self, what: &str) -> usize {
        self.sent
            .iter()
            .filter(|sent| sent.line.contains(what))
            .count()
    }

    /// Withdraws what is registered, lets every deadline pass and looks for leftovers.
    pub(super) fn assert_nothing_left(&mut self) {
        let hours = Duration::from_secs(2 * 3600 + 120);
        self.run_for(hours);
        assert!(self.role.is_idle(), "{:#?}", self.role);
        assert_eq!(self.endpoint.transactions(), 0);
        assert_eq!(self.role.poll_timeout(), None);
        let snapshot = self.role.snapshot();
        assert!(snapshot == Snapshot::default());
    }
}
