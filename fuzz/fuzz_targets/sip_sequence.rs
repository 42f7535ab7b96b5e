//! Feeds the signaling server any sequence of packets, of streams that open, bring something and end,
//! and of steps of the clock; with users and passwords, or without. Whatever happened, after the last
//! deadline nothing is left, though streams stay open.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use signaling::auth::Gate;
use signaling::auth::users::Users;
use signaling::rates::{Rates, Trust};
use signaling::role::{Counts, Signaling};
use signaling::routing::Own;
use signaling::store::Snapshot;
use sip::auth::{Account, Secret};
use sip::driver::Role;
use sip::endpoint::{Config, Endpoint, Event, Transmit};
use sip::framing::{Frame, Framer};
use sip::{Message, Method, Name, NameAddr, Peer, Request, Response, StatusCode, Transport, Uri};

/// Steps of one run.
const MOST_STEPS: usize = 200;
/// What the server sent lately, to be answered.
const REMEMBERED: usize = 32;
/// Longer than any lease and any deadline after it.
const FOR_EVER: Duration = Duration::from_secs(3 * 3600);
/// The user of the file of users.
const USER: &str = "ana";
const PASSWORD: &str = "a password";
/// A body with which a request is too long for a datagram.
const LONG: usize = 1400;

struct World {
    now: Instant,
    endpoint: Endpoint,
    role: Signaling,
    sent: Vec<Transmit>,
    /// Those that are open, by their other ends.
    streams: BTreeMap<SocketAddr, Stream>,
    /// Those that the server waits for.
    awaited: BTreeSet<SocketAddr>,
    member: Member,
}

/// What has come of a stream and was not taken yet, and what is still on its way.
#[derive(Default)]
struct Stream {
    framer: Framer,
    coming: Vec<u8>,
}

/// The first agent when it has a password.
struct Member {
    account: Account,
    endpoint: Endpoint,
}

fn server() -> SocketAddr {
    ([192, 0, 2, 100], 5060).into()
}

/// One of four agents.
fn agent(number: u8) -> SocketAddr {
    ([192, 0, 2, 1 + number % 4], 5060).into()
}

/// The end of a stream that an agent has: where it listens, or where it opened one from.
fn end(number: u8) -> SocketAddr {
    let mut end = agent(number);
    if number & 4 != 0 {
        end.set_port(40_000);
    }
    end
}

fn endpoint(local: SocketAddr) -> Endpoint {
    let mut counter = u64::from(local.port());
    let mut config = Config::new(local);
    config.streams = true;
    Endpoint::new(config, move || {
        counter += 1;
        counter
    })
}

impl World {
    /// `passwords` tells whether there are some, and whether calls are asked for them as well.
    fn new(passwords: u8) -> Self {
        let now = Instant::now();
        let own = Own::new(server(), &[]);
        let trusted: Trust = "192.0.2.0/30".parse().expect("a network");
        let rates = Rates::new(trusted.clone());
        let wall = SystemTime::UNIX_EPOCH;
        let mut role = Signaling::new(own, rates, now, wall, &Snapshot::default());
        if passwords & 1 != 0 {
            let users = Users::parse(&format!("{USER}:{PASSWORD}\n")).expect("a user");
            role = role.with_gate(Gate::new(users, passwords & 2 != 0, [7; 64], now));
        }
        World {
            now,
            endpoint: endpoint(server()).with_trust(move |ip| trusted.contains(ip)),
            role,
            sent: Vec::new(),
            streams: BTreeMap::new(),
            awaited: BTreeSet::new(),
            member: Member {
                account: Account::new(USER, Secret::new(PASSWORD)),
                endpoint: endpoint(agent(0)),
            },
        }
    }

    fn receive(&mut self, source: SocketAddr, payload: Bytes) {
        if self.role.admits(self.now, source) {
            self.endpoint.handle_datagram(self.now, source, payload);
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            self.role.handle_event(self.now, event, &mut self.endpoint);
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let to = transmit.destination;
            if transmit.transport == Transport::Tcp && !self.streams.contains_key(&to) {
                self.awaited.insert(to);
            }
            self.sent.push(transmit);
        }
        let old = self.sent.len().saturating_sub(REMEMBERED);
        self.sent.drain(..old);
    }

    /// An agent opens a stream, or takes the one that the server waits for.
    fn open(&mut self, peer: SocketAddr) {
        self.streams.entry(peer).or_default();
        self.awaited.remove(&peer);
        self.endpoint.handle_stream_open(peer);
        self.settle();
    }

    /// A stream ends, or does not open.
    fn close(&mut self, peer: SocketAddr) {
        if self.awaited.remove(&peer) {
            self.endpoint.handle_stream_refused(self.now, peer);
            self.role.handle_stream_end(self.now, peer);
        }
        if self.streams.remove(&peer).is_some() {
            self.endpoint.handle_stream_end(self.now, peer);
            self.role.handle_stream_end(self.now, peer);
        }
        self.settle();
    }

    /// So many bytes of what is on its way in a stream arrive.
    fn arrive(&mut self, peer: SocketAddr, length: usize) {
        let Some(stream) = self.streams.get_mut(&peer) else {
            return;
        };
        let piece = stream.coming.drain(..length.min(stream.coming.len()));
        stream.framer.buffer().extend(piece);
        while let Some(stream) = self.streams.get_mut(&peer) {
            match stream.framer.take() {
                Ok(Some(Frame::Message(message))) => {
                    if self.role.admits(self.now, peer) {
                        self.endpoint.handle_stream_message(self.now, peer, message);
                    }
                    self.settle();
                }
                Ok(Some(Frame::Ping)) => {}
                Ok(None) => return,
                Err(_) => self.close(peer),
            }
        }
    }

    /// Sends a message by a datagram, or puts it on its way in a stream, if that is open.
    fn send(&mut self, from: Peer, payload: Bytes) {
        match from.transport {
            Transport::Udp => self.receive(from.address, payload),
            Transport::Tcp => {
                if let Some(stream) = self.streams.get_mut(&from.address) {
                    stream.coming.extend_from_slice(&payload);
                }
            }
        }
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = [self.endpoint.poll_timeout(), self.role.poll_timeout()];
            let next = next.into_iter().flatten().min().filter(|at| *at <= end);
            self.now = next.unwrap_or(end).max(self.now);
            if next.is_none() {
                return;
            }
            self.endpoint.handle_timeout(self.now);
            if self.role.poll_timeout().is_some_and(|at| at <= self.now) {
                self.role.handle_timeout(self.now, &mut self.endpoint);
            }
            self.settle();
        }
    }

    /// Answers a request of the server's as whom it was sent to.
    fn answer(&mut self, which: u8, code: u8) {
        let count = self.sent.len().max(1);
        let Some(transmit) = self.sent.get(usize::from(which) % count).cloned() else {
            return;
        };
        let Ok(Message::Request(request)) = Message::parse(transmit.payload) else {
            return;
        };
        let codes = [100, 180, 200, 202, 302, 404, 481, 486, 487, 503, 600];
        let code = codes[usize::from(code) % codes.len()];
        let status = StatusCode::new(code).expect("a code");
        let mut response = Response::to_request(&request, status);
        if code > 100 && request.to().tag().is_none() {
            response.set_to_tag(if which < 128 { "s" } else { "t" });
        }
        for route in request.headers.all(Name::RecordRoute) {
            response.headers.push(Name::RecordRoute, route);
        }
        let contact = NameAddr::new(Uri::at(Some("test"), transmit.destination));
        response.headers.push(Name::Contact, &contact.to_string());
        let from = Peer {
            address: transmit.destination,
            transport: transmit.transport,
        };
        self.send(from, response.to_bytes());
    }

    /// The member sends a request, signed if it has been asked to.
    fn ask_as_member(&mut self, request: Request) {
        let Member { account, endpoint } = &mut self.member;
        account.request(self.now, endpoint, server(), request);
        self.send_as_member();
    }

    /// The member hears an answer, and does what it asks for.
    fn hear_as_member(&mut self, which: u8) {
        let count = self.sent.len().max(1);
        let Some(transmit) = self.sent.get(usize::from(which) % count) else {
            return;
        };
        // Requests are answered by steps of their own.
        if !transmit.payload.starts_with(b"SIP/2.0 ") {
            return;
        }
        let (now, payload) = (self.now, transmit.payload.clone());
        let Member { account, endpoint } = &mut self.member;
        endpoint.handle_datagram(now, server(), payload);
        while let Some(event) = endpoint.poll_event() {
            if let Event::Response { id, response, .. } = event {
                account.handle_response(now, endpoint, server(), id, &response);
            }
        }
        self.send_as_member();
    }

    fn send_as_member(&mut self) {
        while let Some(transmit) = self.member.endpoint.poll_transmit() {
            let from = Peer {
                address: agent(0),
                transport: transmit.transport,
            };
            self.send(from, transmit.payload);
        }
    }

    /// Sends a request, from an agent or from its end of a stream.
    fn ask(&mut self, from: Peer, mut request: Request, branch: u8) {
        let transport = from.transport.as_str();
        let via = format!(
            "SIP/2.0/{transport} {};branch=z9hG4bK{}",
            from.address,
            branch & 7
        );
        request.headers.push_front(Name::Via, &via);
        self.send(from, request.to_bytes());
    }

    /// A request whose parts are few, so that they meet.
    fn make(&self, address: SocketAddr, what: u8, part: u8, more: u8) -> Request {
        let methods = [
            Method::Invite,
            Method::Ack,
            Method::Bye,
            Method::Cancel,
            Method::Register,
            Method::Options,
            Method::Info,
            Method::Other("MESSAGE".to_owned()),
        ];
        let method = methods[usize::from(what % 8)].clone();
        let user = (method != Method::Register).then_some("test");
        let tag = |bits: u8| ["", "f", "s", "t"][usize::from(bits % 4)];
        let with_tag = |address: NameAddr, tag: &str| match tag {
            "" => address,
            tag => address.with_tag(tag),
        };
        let from_header = NameAddr::new(Uri::at(Some("ana"), address));
        let to_header = NameAddr::new(Uri::at(Some("test"), server()));
        let call_id = format!("call-{}", part % 3);
        let mut request = Request::new(
            method,
            Uri::at(user, server()),
            with_tag(from_header, tag(part >> 2)),
            with_tag(to_header, tag(part >> 4)),
            &call_id,
            u32::from(more % 4),
        );
        let contact = match what >> 3 & 7 {
            0 => "*".to_owned(),
            1 => format!("<sip:test@{address}>;+sip.instance=\"<urn:{}>\"", more & 1),
            2 => format!("<sip:test@{}>", server()),
            4 => format!("<sip:test@{address};transport=tcp>"),
            _ => format!("<sip:test@{address}>"),
        };
        request.headers.push(Name::Contact, &contact);
        if what >> 6 == 1 {
            request.headers.push(Name::Expires, "0");
        }
        if more >> 5 & 1 == 1 {
            request.set_body("application/sdp", vec![b'v'; LONG].into());
        }
        request
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.iter().copied();
    let mut world = World::new(bytes.next().unwrap_or_default());
    for _ in 0..MOST_STEPS {
        let Some(step) = bytes.next() else { break };
        let mut next = || bytes.next().unwrap_or_default();
        match step % 10 {
            0 => {
                let time = Duration::from_millis(u64::from(next()) << (step / 10 % 12));
                world.pass(time);
            }
            kind @ 1..=3 => {
                let (from, what, part, more) = (next(), next(), next(), next());
                let from = match kind {
                    1 => agent(from).into(),
                    2 => Peer::tcp(end(from)),
                    _ => agent(0).into(),
                };
                let request = world.make(from.address, what, part, more);
                match kind {
                    3 => world.ask_as_member(request),
                    _ => world.ask(from, request, more >> 2),
                }
            }
            4 => world.answer(next(), next()),
            5 => {
                // What the server sent comes back, from anybody.
                let which = usize::from(next()) % world.sent.len().max(1);
                if let Some(transmit) = world.sent.get(which).cloned() {
                    world.receive(agent(next()), transmit.payload);
                }
            }
            6 => {
                let from = next();
                let length = usize::from(next());
                let raw: Vec<u8> = bytes.by_ref().take(length).collect();
                let from = match from & 8 {
                    0 => agent(from).into(),
                    _ => Peer::tcp(end(from)),
                };
                world.send(from, raw.into());
            }
            7 => match next() {
                from @ 0..128 => world.open(end(from)),
                from => world.close(end(from)),
            },
            8 => world.arrive(end(next()), usize::from(next()) << (step / 10 % 8)),
            _ => world.hear_as_member(next()),
        }
    }
    world.pass(FOR_EVER);
    assert_eq!(world.role.counts(), Counts::default());
    assert_eq!(world.endpoint.transactions(), 0);
    assert_eq!(world.endpoint.streaming(), 0);
    assert_eq!(world.endpoint.poll_timeout(), None);
    assert_eq!(world.role.poll_timeout(), None);
    assert!(world.role.snapshot() == Snapshot::default());
});
