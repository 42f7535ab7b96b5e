//! Feeds the signaling server any sequence of packets and steps of the clock. Whatever happened, after
//! the last deadline nothing is left.

#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use signaling::rates::Rates;
use signaling::role::{Counts, Signaling};
use signaling::routing::Own;
use signaling::store::Snapshot;
use sip::driver::Role;
use sip::endpoint::{Config, Endpoint, Transmit};
use sip::{Message, Method, Name, NameAddr, Request, Response, StatusCode, Uri};

/// Steps of one run.
const MOST_STEPS: usize = 200;
/// What the server sent lately, to be answered.
const REMEMBERED: usize = 32;
/// Longer than any lease and any deadline after it.
const FOR_EVER: Duration = Duration::from_secs(3 * 3600);

struct World {
    now: Instant,
    endpoint: Endpoint,
    role: Signaling,
    sent: Vec<Transmit>,
}

fn server() -> SocketAddr {
    ([192, 0, 2, 100], 5060).into()
}

/// One of four agents.
fn agent(number: u8) -> SocketAddr {
    ([192, 0, 2, 1 + number % 4], 5060).into()
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut counter = 0_u64;
        let random = move || {
            counter += 1;
            counter
        };
        let own = Own::new(server(), &[]);
        let trusted = "192.0.2.0/30".parse().expect("a network");
        let rates = Rates::new(trusted);
        let wall = SystemTime::UNIX_EPOCH;
        World {
            now,
            endpoint: Endpoint::new(Config::new(server()), random),
            role: Signaling::new(own, rates, now, wall, &Snapshot::default()),
            sent: Vec::new(),
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
            self.sent.push(transmit);
        }
        let old = self.sent.len().saturating_sub(REMEMBERED);
        self.sent.drain(..old);
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
        self.receive(transmit.destination, response.to_bytes());
    }

    /// Sends a request whose parts are few, so that they meet.
    fn ask(&mut self, from: u8, what: u8, part: u8, more: u8) {
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
        let address = agent(from);
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
        let branch = format!("z9hG4bK{}", more >> 2 & 7);
        let via = format!("SIP/2.0/UDP {address};branch={branch}");
        request.headers.push_front(Name::Via, &via);
        let contact = match what >> 3 & 7 {
            0 => "*".to_owned(),
            1 => format!("<sip:test@{address}>;+sip.instance=\"<urn:{}>\"", more & 1),
            2 => format!("<sip:test@{}>", server()),
            _ => format!("<sip:test@{address}>"),
        };
        request.headers.push(Name::Contact, &contact);
        if what >> 6 == 1 {
            request.headers.push(Name::Expires, "0");
        }
        self.receive(address, request.to_bytes());
    }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut bytes = data.iter().copied();
    for _ in 0..MOST_STEPS {
        let Some(step) = bytes.next() else { break };
        let mut next = || bytes.next().unwrap_or_default();
        match step % 6 {
            0 => {
                let time = Duration::from_millis(u64::from(next()) << (step / 6 % 12));
                world.pass(time);
            }
            1 | 2 => world.ask(next(), next(), next(), next()),
            3 => world.answer(next(), next()),
            4 => {
                // What the server sent comes back, from anybody.
                let which = usize::from(next()) % world.sent.len().max(1);
                if let Some(transmit) = world.sent.get(which).cloned() {
                    world.receive(agent(next()), transmit.payload);
                }
            }
            _ => {
                let from = agent(next());
                let length = usize::from(next());
                let raw: Vec<u8> = bytes.by_ref().take(length).collect();
                world.receive(from, raw.into());
            }
        }
    }
    world.pass(FOR_EVER);
    assert_eq!(world.role.counts(), Counts::default());
    assert_eq!(world.endpoint.transactions(), 0);
    assert_eq!(world.endpoint.poll_timeout(), None);
    assert_eq!(world.role.poll_timeout(), None);
    assert!(world.role.snapshot() == Snapshot::default());
});
