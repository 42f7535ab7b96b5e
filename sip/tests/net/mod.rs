//! Two endpoints, a network that loses datagrams by a seed, and a clock that jumps to the next
//! deadline.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::endpoint::{Config, Endpoint, Event, Transmit};
use sip::{Method, Name, NameAddr, Request, Uri};

/// A small random generator (splitmix64), so that each run is the same.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) ends: [Endpoint; 2],
    /// Datagrams lost, of 100.
    pub(crate) loss: u64,
    /// A datagram for which this is true is lost.
    pub(crate) eats: Box<dyn FnMut(&str) -> bool>,
    pub(crate) sent: Vec<String>,
    random: Random,
    flying: BTreeMap<(Instant, u64), (usize, SocketAddr, Transmit)>,
    order: u64,
}

pub(crate) const CALLER: usize = 0;
pub(crate) const CALLEE: usize = 1;

pub(crate) fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, end as u8 + 1], 5060))
}

impl Net {
    pub(crate) fn new(seed: u64, loss: u64) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the virtual clock begins somewhere"
        )]
        let start = Instant::now();
        let end = |end: usize| {
            let mut random = Random(seed * 2 + end as u64);
            Endpoint::new(Config::new(address(end)), move || random.next())
        };
        Net {
            now: start,
            start,
            ends: [end(CALLER), end(CALLEE)],
            loss,
            eats: Box::new(|_| false),
            sent: Vec::new(),
            random: Random(seed),
            flying: BTreeMap::new(),
            order: 0,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Moves to the next moment at which something happens and returns the events of both ends;
    /// `None` when nothing will ever happen again.
    pub(crate) fn step(&mut self) -> Option<Vec<(usize, Event)>> {
        self.collect();
        let arrival = self.flying.keys().next().map(|&(at, _)| at);
        let wake = self.ends.iter().filter_map(Endpoint::poll_timeout).min();
        let has_events = self.ends.iter().any(Endpoint::has_events);
        if !has_events {
            self.now = arrival.into_iter().chain(wake).min()?.max(self.now);
        }
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, source, transmit) = entry.remove();
            self.ends[to].handle_datagram(self.now, source, transmit.payload);
        }
        let mut events = Vec::new();
        for (at, end) in self.ends.iter_mut().enumerate() {
            end.handle_timeout(self.now);
            while let Some(event) = end.poll_event() {
                events.push((at, event));
            }
        }
        Some(events)
    }

    /// Runs to the end of everything.
    pub(crate) fn run(&mut self, mut react: impl FnMut(&mut Net, usize, Event)) {
        while let Some(events) = self.step() {
            for (end, event) in events {
                react(self, end, event);
            }
        }
    }

    fn collect(&mut self) {
        for from in [CALLER, CALLEE] {
            while let Some(transmit) = self.ends[from].poll_transmit() {
                let text = String::from_utf8_lossy(&transmit.payload).into_owned();
                let first = text.lines().next().unwrap_or_default().to_owned();
                self.sent.push(format!("{from} {first}"));
                let to = (0..2).find(|&end| address(end) == transmit.destination);
                let lost = self.random.next() % 100 < self.loss || (self.eats)(&first);
                if let (Some(to), false) = (to, lost) {
                    let delay = Duration::from_millis(1 + self.random.next() % 20);
                    self.order += 1;
                    self.flying.insert(
                        (self.now + delay, self.order),
                        (to, address(from), transmit),
                    );
                }
            }
        }
    }

    /// A request from the caller to the callee, ready to be sent.
    pub(crate) fn request(&mut self, method: Method) -> Request {
        let caller = &mut self.ends[CALLER];
        let from = NameAddr::new(Uri::at(Some("ana"), address(CALLER)));
        let from = from.with_tag(&caller.generate_tag());
        let uri = Uri::at(Some("test"), address(CALLEE));
        let call_id = caller.generate_call_id();
        let mut request = Request::new(method, uri.clone(), from, NameAddr::new(uri), &call_id, 1);
        let contact = NameAddr::new(Uri::at(Some("ana"), address(CALLER)));
        request.headers.push(Name::Contact, &contact.to_string());
        request
    }

    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.ends[CALLER].transactions(), 0);
        assert_eq!(self.ends[CALLEE].transactions(), 0);
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.sent.iter().filter(|line| line.contains(what)).count()
    }
}
