//! The ring, and the traffic that all tests of the ladder are made of.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sip::Transport;
use sip::driver::Way;

use super::*;

/// Datagrams between a front, the server and a streamer, a millisecond apart.
pub(crate) struct Traffic {
    pub(crate) now: SystemTime,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(951_782_400_123_456);
        Traffic { now }
    }

    /// With the front.
    pub(crate) fn datagram(&mut self, way: Way, payload: &Bytes) -> Datagram {
        self.now += Duration::from_millis(1);
        Datagram {
            time: self.now,
            way,
            transport: Transport::Udp,
            peer: ([127, 0, 0, 1], 40_000).into(),
            local: ([127, 0, 0, 1], 5060).into(),
            payload: payload.clone(),
        }
    }

    /// With the streamer.
    pub(crate) fn beyond(&mut self, way: Way, payload: &Bytes) -> Datagram {
        let mut datagram = self.datagram(way, payload);
        datagram.peer.set_port(5062);
        datagram
    }

    /// With the front: a request of this method, or a response such as `200 BYE`.
    pub(crate) fn message(&mut self, way: Way, start: &str, call_id: &str) -> Datagram {
        // Messages of a kind are still different ones.
        let branch = self.now.duration_since(SystemTime::UNIX_EPOCH);
        let branch = branch.unwrap().as_micros();
        let (line, method) = match start.split_once(' ') {
            Some((status, method)) => (format!("SIP/2.0 {status} Reason"), method),
            None => (format!("{start} sip:test@127.0.0.1 SIP/2.0"), start),
        };
        let text = format!(
            "{line}\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{branch}\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 {method}\r\n\r\n"
        );
        self.datagram(way, &text.into())
    }
}

/// An INVITE with a body of this size.
pub(crate) fn invite(call_id: &str, size: usize) -> Bytes {
    let body = "v=0\r\n".repeat(size / 5 + 1);
    let text = format!(
        "INVITE sip:test@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:40000;branch=z9hG4bK1\r\n\
         From: <sip:ana@127.0.0.1>;tag=1\r\nTo: <sip:test@127.0.0.1>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: {size}\r\n\r\n{}",
        &body[..size]
    );
    text.into()
}

fn known(ladder: &Ladder) -> Vec<String> {
    let heads = ladder.heads();
    heads.iter().map(|head| head.call_id.to_string()).collect()
}

#[test]
fn the_oldest_call_goes_when_there_are_too_many() {
    let mut traffic = Traffic::new();
    let ladder = Ladder::bounded(3, usize::MAX);
    for call_id in ["a", "b", "c", "a", "d"] {
        ladder.record(&traffic.message(Way::In, "INVITE", call_id));
    }
    assert_eq!(known(&ladder), ["d", "c", "b"]);
    assert!(ladder.call("a").is_none());
    assert_eq!(ladder.call("b").unwrap().messages.len(), 1);
    ladder.record(&traffic.message(Way::In, "BYE", "b"));
    assert_eq!(ladder.call("b").unwrap().messages.len(), 2);
}

#[test]
fn the_oldest_call_goes_when_they_take_too_much_memory() {
    let mut traffic = Traffic::new();
    let ladder = Ladder::bounded(1000, 100_000);
    for number in 0..100 {
        let payload = invite(&format!("call-{number}"), 20_000);
        ladder.record(&traffic.datagram(Way::In, &payload));
        assert!(ladder.fill().bytes <= 100_000);
    }
    assert_eq!(known(&ladder), ["call-99", "call-98", "call-97", "call-96"]);
    let calls = ladder.ring().calls.iter().map(Call::cost).sum::<usize>();
    assert_eq!(ladder.fill().bytes, calls);
}

#[test]
fn a_ladder_without_room_keeps_nothing() {
    let mut traffic = Traffic::new();
    for ladder in [Ladder::bounded(0, 1000), Ladder::bounded(9, 10)] {
        ladder.record(&traffic.message(Way::In, "INVITE", "a"));
        assert_eq!(ladder.fill(), Fill::default());
        assert!(ladder.ring().places.is_empty());
    }
}

#[test]
fn calls_that_moved_together_are_the_same_and_go_on() {
    let mut traffic = Traffic::new();
    let ladder = Ladder::bounded(3, usize::MAX);
    for call_id in ["a", "b", "c", "d"] {
        ladder.record(&traffic.datagram(Way::In, &invite(call_id, 1000)));
    }
    let before = (known(&ladder), ladder.fill());
    let kept = ladder.call("c").unwrap().messages[0].payload.clone();
    ladder.gather();
    assert_eq!((known(&ladder), ladder.fill()), before);
    let moved = ladder.call("c").unwrap().messages[0].payload.clone();
    assert_eq!(moved, kept);
    assert_ne!(moved.as_ptr(), kept.as_ptr());
    ladder.record(&traffic.message(Way::In, "BYE", "c"));
    assert_eq!(ladder.call("c").unwrap().messages.len(), 2);
    ladder.record(&traffic.message(Way::In, "INVITE", "e"));
    assert_eq!(known(&ladder), ["e", "d", "c"]);
}

#[test]
fn what_is_no_sip_is_not_kept() {
    let mut traffic = Traffic::new();
    let ladder = Ladder::new(10);
    for text in [&b"\r\n\r\n"[..], b"nonsense", &[0xff; 100]] {
        ladder.record(&traffic.datagram(Way::In, &Bytes::from(text)));
    }
    assert_eq!(ladder.fill(), Fill::default());
}
