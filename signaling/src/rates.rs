//! How much one source may send: what is beyond it costs this server next to nothing, and others
//! nothing at all.
//!
//! Each address has three token buckets: of messages, of calls, and of wrong passwords. Addresses of
//! version 6 count by their first 64 bits, of which everybody has as many as they like.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};

/// Messages of any kind in a second.
const MESSAGES: f64 = 50.0;
/// New calls in a second.
const CALLS: f64 = 5.0;
/// Wrong passwords in a second.
const GUESSES: f64 = 10.0;
/// What was not used for so long may be used at once.
const SAVINGS: f64 = 2.0;
/// Sources that are remembered. Who floods from more addresses than that has forged them.
const MAX_SOURCES: usize = 10_000;

/// What the sources have sent lately.
#[derive(Debug)]
pub struct Rates {
    trusted: Trust,
    sources: HashMap<IpAddr, Source>,
    /// When those were forgotten last who may send all again.
    swept: Option<Instant>,
    refused: u64,
}

/// Networks whose sources may send as much as they like: fronts, streamers and proxies, which speak
/// for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust(Vec<IpNet>);

impl Default for Trust {
    /// This machine.
    fn default() -> Self {
        let local: [IpNet; 2] = [
            Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
            IpAddr::V6(Ipv6Addr::LOCALHOST).into(),
        ];
        Trust(local.into())
    }
}

impl Trust {
    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }
}

impl FromStr for Trust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Trust(Vec::new()));
        }
        let network = |text: &str| {
            let text = text.trim();
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse()).map_err(|_| {
                format!("{text:?} is no network: write 192.0.2.0/24, 2001:db8::/32, or none")
            })
        };
        text.split(',')
            .map(network)
            .collect::<Result<_, _>>()
            .map(Trust)
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let networks: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

#[derive(Debug)]
struct Source {
    messages: Bucket,
    calls: Bucket,
    guesses: Bucket,
}

/// What is left, and when that was.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Rates {
    /// With nobody yet.
    pub fn new(trusted: Trust) -> Self {
        Rates {
            trusted,
            sources: HashMap::new(),
            swept: None,
            refused: 0,
        }
    }

    /// Whether this source may send another message.
    pub fn admits_message(&mut self, now: Instant, source: IpAddr) -> bool {
        self.admits(now, source, |source| &mut source.messages)
    }

    /// Whether this source may begin another call.
    pub fn admits_call(&mut self, now: Instant, source: IpAddr) -> bool {
        self.admits(now, source, |source| &mut source.calls)
    }

    /// Whether a password of this source may be looked at.
    pub fn admits_guess(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.trusted.contains(source) {
            return true;
        }
        let known = self.sources.get_mut(&network(source.to_canonical()));
        let admitted = known.is_none_or(|source| source.guesses.holds(now));
        self.refused += u64::from(!admitted);
        admitted
    }

    /// The password was wrong. Right ones are not counted.
    pub fn note_wrong_guess(&mut self, now: Instant, source: IpAddr) {
        let refused = self.refused;
        self.admits(now, source, |source| &mut source.guesses);
        self.refused = refused;
    }

    /// How often it was not, so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn admits(
        &mut self,
        now: Instant,
        source: IpAddr,
        bucket: fn(&mut Source) -> &mut Bucket,
    ) -> bool {
        if self.trusted.contains(source) {
            return true;
        }
        let source = source.to_canonical();
        let known = network(source);
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&known) {
            self.forget(now);
        }
        let full = self.sources.len() >= MAX_SOURCES;
        let admitted = match self.sources.get_mut(&known) {
            Some(source) => bucket(source).take(now),
            None if full => false,
            None => bucket(self.sources.entry(known).or_insert(Source {
                messages: Bucket::full(now, MESSAGES),
                calls: Bucket::full(now, CALLS),
                guesses: Bucket::full(now, GUESSES),
            }))
            .take(now),
        };
        self.refused += u64::from(!admitted);
        admitted
    }

    /// Forgets who has not sent for so long that they may send all again; not at each message.
    fn forget(&mut self, now: Instant) {
        let quiet = Duration::from_secs_f64(SAVINGS);
        let swept = self.swept.replace(now);
        if swept.is_some_and(|swept| now.saturating_duration_since(swept) < quiet / 2) {
            self.swept = swept;
            return;
        }
        let lately = |bucket: &Bucket| now.saturating_duration_since(bucket.at) < quiet;
        self.sources.retain(|_, source| {
            let buckets = [&source.messages, &source.calls, &source.guesses];
            buckets.into_iter().any(lately)
        });
    }
}

impl Bucket {
    fn full(now: Instant, rate: f64) -> Self {
        Bucket {
            rate,
            left: rate * SAVINGS,
            at: now,
        }
    }

    /// Whether something is left.
    fn holds(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate).min(self.rate * SAVINGS);
        self.at = now;
        self.left >= 1.0
    }

    fn take(&mut self, now: Instant) -> bool {
        let holds = self.holds(now);
        if holds {
            self.left -= 1.0;
        }
        holds
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(trusted: &str) -> (Rates, Instant) {
        (Rates::new(trusted.parse().unwrap()), Instant::now())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many messages come through, sent at once.
    fn through(rates: &mut Rates, now: Instant, source: &str, count: usize) -> usize {
        let source = ip(source);
        (0..count)
            .filter(|_| rates.admits_message(now, source))
            .count()
    }

    #[test]
    fn a_source_gets_its_rate_and_takes_nothing_from_another() {
        let (mut rates, start) = rates("none");
        assert_eq!(through(&mut rates, start, "192.0.2.1", 1000), 100);
        assert_eq!(through(&mut rates, start, "192.0.2.2", 10), 10);
        let later = start + Duration::from_secs(1);
        assert_eq!(through(&mut rates, later, "192.0.2.1", 1000), 50);
        let calls = (0..100).filter(|_| rates.admits_call(later, ip("192.0.2.1")));
        assert_eq!(calls.count(), 10);
        assert_eq!(rates.refused(), 900 + 950 + 90);
    }

    #[test]
    fn wrong_passwords_are_counted_and_right_ones_are_not() {
        let (mut rates, start) = rates("127.0.0.0/8");
        let guess = |rates: &mut Rates, now, source: &str| {
            let admitted = rates.admits_guess(now, ip(source));
            if admitted {
                rates.note_wrong_guess(now, ip(source));
            }
            admitted
        };
        assert!((0..1000).all(|_| rates.admits_guess(start, ip("192.0.2.1"))));
        let guesses = (0..100).filter(|_| guess(&mut rates, start, "192.0.2.1"));
        assert_eq!(guesses.count(), 20);
        let later = start + Duration::from_secs(1);
        let guesses = (0..100).filter(|_| guess(&mut rates, later, "192.0.2.1"));
        assert_eq!(guesses.count(), 10);
        assert_eq!(rates.refused(), 80 + 90);
        assert!(guess(&mut rates, later, "192.0.2.2"));
        assert!((0..100).all(|_| guess(&mut rates, later, "127.0.0.1")));
    }

    #[test]
    fn trusted_sources_are_not_counted() {
        let (mut rates, start) = rates("127.0.0.0/8,2001:db8:1::/48");
        for source in ["127.0.0.9", "::ffff:127.0.0.9", "2001:db8:1:2::3"] {
            assert_eq!(through(&mut rates, start, source, 1000), 1000, "{source}");
        }
        assert_eq!(through(&mut rates, start, "::1", 1000), 100);
        assert_eq!(rates.sources.len(), 1);
    }

    #[test]
    fn networks_are_read_and_printed() {
        let local = "127.0.0.0/8,::1/128";
        assert_eq!(Trust::default().to_string(), local);
        for (text, printed) in [
            (local, local),
            ("127.0.0.0/8, ::1", local),
            ("none", "none"),
        ] {
            assert_eq!(text.parse::<Trust>().unwrap().to_string(), printed);
        }
        for wrong in ["", "localhost", "192.0.2.0/33", "192.0.2.1,,::1"] {
            let error = wrong.parse::<Trust>().unwrap_err();
            assert!(error.contains("is no network"), "{error}");
        }
    }

    #[test]
    fn a_network_of_version_6_is_one_source() {
        let (mut rates, start) = rates("none");
        assert_eq!(through(&mut rates, start, "2001:db8::1", 60), 60);
        assert_eq!(through(&mut rates, start, "2001:db8::2", 60), 40);
        assert_eq!(through(&mut rates, start, "2001:db8:0:1::1", 60), 60);
    }

    #[test]
    fn forged_sources_fill_no_memory_and_go_by() {
        let (mut rates, start) = rates("none");
        for number in 0..200_000_u32 {
            rates.admits_message(start, std::net::Ipv4Addr::from(number).into());
        }
        assert_eq!(rates.sources.len(), MAX_SOURCES);
        // Who was there before is still served.
        assert_eq!(through(&mut rates, start, "0.0.0.1", 10), 10);
        assert_eq!(through(&mut rates, start, "192.0.2.1", 10), 0);
        let later = start + Duration::from_secs(2);
        assert_eq!(through(&mut rates, later, "192.0.2.1", 10), 10);
        assert_eq!(rates.sources.len(), 1);
    }
}
