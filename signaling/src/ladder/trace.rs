//! The lines of `--trace`: one for each datagram, in a form that programs read as well.
//!
//! ```text
//! 2026-03-01T12:00:00.000123Z SIP <- 127.0.0.1:40000 a@host INVITE 1 INVITE 2104 bytes
//! 2026-03-01T12:00:00.000251Z SIP -> 127.0.0.1:40000 a@host 100 1 INVITE 0 bytes
//! 2026-03-01T12:00:00.500310Z SIP -> 127.0.0.1:5062 a@host INVITE 1 INVITE 2104 bytes retransmission 1
//! ```
//!
//! Words are parted by one space: time in UTC, `SIP`, `<-` for what came or `->` for what was
//! sent, the peer, Call-ID, method or status, number and method of CSeq, size of the body. What
//! cannot be read has `- malformed - -` from Call-ID on and the size of all of it. Line ends that
//! keep a binding alive are no message and have no line.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use sip::driver::{Datagram, Way};
use sip::timer::TRANSACTION_LIMIT;

use super::glance::{Glance, Start, body, printable};
use super::outlet::Sink;
use crate::date::timestamp;

/// Messages remembered at once, at most, to know them when they come again: those of one second
/// of a busy relay.
const MAX_REMEMBERED: usize = 16_384;
/// For how long a message may come again (RFC 3261 section 17).
const MEMORY: Duration = TRANSACTION_LIMIT;

/// Writes the lines.
#[derive(Debug)]
pub(crate) struct Trace<W> {
    out: W,
    seen: Seen,
}

impl<W: Write> Trace<W> {
    pub(crate) fn new(out: W) -> Self {
        Trace {
            out,
            seen: Seen::default(),
        }
    }
}

impl<W: Write + Send + 'static> Sink for Trace<W> {
    fn write(&mut self, datagram: &Datagram) -> io::Result<()> {
        if datagram.payload.trim_ascii().is_empty() {
            return Ok(());
        }
        let line = line(datagram, self.seen.count(datagram));
        // At once, so that lines of the log never stand within it.
        self.out.write_all(line.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn line(datagram: &Datagram, repeats: u32) -> String {
    let (time, peer) = (timestamp(datagram.time), datagram.peer);
    let arrow = match datagram.way {
        Way::In => "<-",
        Way::Out => "->",
    };
    let payload = &datagram.payload;
    let message = match Glance::at(payload) {
        Some(glance) => {
            let call_id = printable(glance.call_id);
            let what = match glance.start {
                Start::Request { method, .. } => printable(method),
                Start::Response { status, .. } => status.to_string(),
            };
            let (number, method) = match glance.cseq {
                Some(cseq) => (printable(cseq.number), printable(cseq.method)),
                None => ("-".to_owned(), "-".to_owned()),
            };
            let size = body(payload).len();
            format!("{call_id} {what} {number} {method} {size}")
        }
        None => format!("- malformed - - {}", payload.len()),
    };
    let again = match repeats {
        0 => String::new(),
        repeats => format!(" retransmission {repeats}"),
    };
    format!("{time} SIP {arrow} {peer} {message} bytes{again}\n")
}

/// The messages of the last while.
#[derive(Debug, Default)]
struct Seen {
    hasher: RandomState,
    /// How often each came again.
    repeats: HashMap<u64, u32>,
    order: VecDeque<(SystemTime, u64)>,
}

impl Seen {
    /// How often the same has passed before: same bytes, same way, same peer.
    fn count(&mut self, datagram: &Datagram) -> u32 {
        let now = datagram.time;
        let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > MEMORY);
        while let Some(&(time, key)) = self.order.front() {
            if !is_old(time) && self.order.len() < MAX_REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.repeats.remove(&key);
        }
        let what = (datagram.way, datagram.peer, &datagram.payload);
        let key = self.hasher.hash_one(what);
        if let Some(repeats) = self.repeats.get_mut(&key) {
            *repeats = repeats.saturating_add(1);
            return *repeats;
        }
        self.repeats.insert(key, 0);
        self.order.push_back((now, key));
        0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ladder::tests::{Traffic, invite};

    fn traced(datagrams: &[Datagram]) -> String {
        let mut trace = Trace::new(Vec::new());
        for datagram in datagrams {
            trace.write(datagram).unwrap();
        }
        String::from_utf8(trace.out).unwrap()
    }

    #[test]
    fn each_message_is_a_line() {
        let mut traffic = Traffic::new();
        let offer = invite("x@h", 10);
        let broken = Bytes::from_static(b"INVITE \x1b[2J\r\n");
        let shown = traced(&[
            traffic.datagram(Way::In, &offer),
            traffic.message(Way::Out, "100 INVITE", "x@h"),
            traffic.beyond(Way::Out, &offer),
            traffic.datagram(Way::In, &Bytes::from_static(b"\r\n\r\n")),
            traffic.beyond(Way::Out, &offer),
            traffic.beyond(Way::Out, &offer),
            traffic.datagram(Way::In, &broken),
        ]);
        assert_eq!(
            shown,
            "\
2000-02-29T00:00:00.124456Z SIP <- 127.0.0.1:40000 x@h INVITE 1 INVITE 10 bytes
2000-02-29T00:00:00.125456Z SIP -> 127.0.0.1:40000 x@h 100 1 INVITE 0 bytes
2000-02-29T00:00:00.126456Z SIP -> 127.0.0.1:5062 x@h INVITE 1 INVITE 10 bytes
2000-02-29T00:00:00.128456Z SIP -> 127.0.0.1:5062 x@h INVITE 1 INVITE 10 bytes retransmission 1
2000-02-29T00:00:00.129456Z SIP -> 127.0.0.1:5062 x@h INVITE 1 INVITE 10 bytes retransmission 2
2000-02-29T00:00:00.130456Z SIP <- 127.0.0.1:40000 - malformed - - 13 bytes
"
        );
    }

    #[test]
    fn nothing_from_the_network_breaks_a_line() {
        let evil = "B\u{1b}E sip:a@b SIP/2.0\r\nCall-ID: \u{7}x\r\nCSeq: 1\u{8} \u{9b}2J\r\n\r\n";
        let shown = traced(&[Traffic::new().datagram(Way::In, &evil.into())]);
        let words: Vec<&str> = shown.split(' ').collect();
        assert_eq!(words[4..], ["?x", "B?E", "1?", "?2J", "0", "bytes\n"]);
    }

    #[test]
    fn what_was_seen_is_forgotten_in_time_and_when_it_is_much() {
        let mut traffic = Traffic::new();
        let mut seen = Seen::default();
        let offer = invite("x", 10);
        assert_eq!(seen.count(&traffic.datagram(Way::In, &offer)), 0);
        assert_eq!(seen.count(&traffic.datagram(Way::In, &offer)), 1);
        traffic.now += MEMORY;
        assert_eq!(seen.count(&traffic.datagram(Way::In, &offer)), 0);
        for number in 0..2 * MAX_REMEMBERED {
            let payload = number.to_string().into();
            seen.count(&traffic.datagram(Way::In, &payload));
        }
        assert!(seen.order.len() <= MAX_REMEMBERED);
        assert_eq!(seen.order.len(), seen.repeats.len());
        assert_eq!(seen.count(&traffic.datagram(Way::In, &offer)), 0);
    }
}
