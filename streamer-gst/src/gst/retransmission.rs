//! Bounds what is sent again. A line that is too narrow loses most packets, a browser asks for each
//! of them again and again, and answering that would keep the line full of the past.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::swallow;

/// Of so many packets one may be sent again.
const SHARE: i32 = 6;
/// What is older is of no use any more: it would come too late, or be of a rung that was left. It is
/// long enough for what gets lost several times in a row.
const MOST_AGE: Duration = Duration::from_secs(1);
/// A browser that waits for what is kept no more stands still for so long until it asks for a
/// keyframe by itself. It gets one before, but not more of them than without that.
const STANDSTILL: Duration = Duration::from_secs(3);
/// So many may be sent again at once: a large keyframe that was lost.
const BURST: i32 = 64;
/// What rtpsession asks with (`GstRTPRetransmissionRequest`, RFC 4585 section 6.2.1).
const REQUEST: &str = "GstRTPRetransmissionRequest";

/// What may be sent again, in packets times [`SHARE`].
struct Allowance(AtomicI32);

impl Allowance {
    fn new() -> Self {
        Self(AtomicI32::new(BURST * SHARE))
    }

    /// Packets were sent for the first time.
    fn earn(&self, packets: usize) {
        let packets = i32::try_from(packets).unwrap_or(i32::MAX);
        let more = |left: i32| Some(left.saturating_add(packets).min(BURST * SHARE));
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether a packet may be sent again.
    fn spend(&self) -> bool {
        let less = |left: i32| (left >= SHARE).then(|| left - SHARE);
        let spent = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        spent.is_ok()
    }
}

/// Of what was sent, what is kept.
#[derive(Default)]
struct Kept {
    /// When something was sent, and its first packet.
    sent: VecDeque<(Instant, Packet)>,
    /// When something else was asked for.
    missed: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Packet {
    ssrc: u32,
    number: u16,
}

impl Packet {
    /// Reads the header (RFC 3550 section 5.1).
    fn of(buffer: &gst::BufferRef) -> Option<Self> {
        let bytes = header(buffer)?;
        Some(Self {
            ssrc: u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?),
            number: u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?),
        })
    }
}

/// The part of a packet in which its header is: to read all of it would be to copy it.
fn header(packet: &gst::BufferRef) -> Option<gst::MemoryMap<'_, gst::memory::Readable>> {
    (packet.n_memory() > 0).then(|| packet.peek_memory(0).map_readable().ok())?
}

impl Kept {
    fn note(&mut self, now: Instant, first: Packet) {
        let old = |sent: &&(Instant, Packet)| now.saturating_duration_since(sent.0) > MOST_AGE;
        while self.sent.front().as_ref().is_some_and(old) {
            self.sent.pop_front();
        }
        self.sent.push_back((now, first));
    }

    /// Whether this packet, which is asked for, is kept no more, and has to be told: once in a while.
    fn misses(&mut self, now: Instant, asked: Packet) -> bool {
        let mut sent = self.sent.iter().map(|(_, packet)| packet);
        let oldest = sent.find(|packet| packet.ssrc == asked.ssrc);
        // Numbers go round; half of them are before.
        let gone =
            oldest.is_some_and(|oldest| asked.number.wrapping_sub(oldest.number) > u16::MAX / 2);
        let told = self
            .missed
            .is_some_and(|missed| now.saturating_duration_since(missed) < STANDSTILL);
        if gone && !told {
            self.missed = Some(now);
        }
        gone && !told
    }
}

/// Has an rtprtxsend send again no more than a share of what goes through it, and nothing old: who
/// asks for that needs a keyframe, which is `missed`.
///
/// Counted is what it sends again, not what it is asked for: a browser that waits for a packet asks
/// for it until a keyframe comes, long after it is kept no more.
pub(super) fn bound(sender: &gst::Element, missed: impl Fn() + Send + Sync + 'static) {
    let (Some(sink), Some(source)) = (sender.static_pad("sink"), sender.static_pad("src")) else {
        return;
    };
    sender.set_property("max-size-time", MOST_AGE.as_millis() as u32);
    let allowance = Arc::new(Allowance::new());
    let kept = Arc::new(Mutex::new(Kept::default()));
    let (earned, sent) = (allowance.clone(), kept.clone());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    sink.add_probe(kinds, move |_, info| {
        let list = info.buffer_list();
        earned.earn(list.map_or(1, |list| list.len()));
        let first = list.map_or_else(|| info.buffer().map(AsRef::as_ref), |list| list.get(0));
        if let Some(packet) = first.and_then(Packet::of) {
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.note(Instant::now(), packet);
        }
        gst::PadProbeReturn::Ok
    });
    // Known when it is asked for the first time, and needed only from then on.
    let again = Arc::new(OnceLock::new());
    let known = again.clone();
    source.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |pad, info| {
        let structure = info.event().and_then(|event| event.structure());
        let Some(asked) = structure.filter(|structure| structure.name() == REQUEST) else {
            return gst::PadProbeReturn::Ok;
        };
        known.get_or_init(|| pad.parent_element().map_or_else(Vec::new, |e| payloads(&e)));
        let field = |name: &str| asked.get::<u32>(name).ok();
        let gone = |ssrc: u32, number: u32| {
            let number = number as u16;
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.misses(Instant::now(), Packet { ssrc, number })
        };
        if field("ssrc")
            .is_some_and(|ssrc| field("seqnum").is_some_and(|number| gone(ssrc, number)))
        {
            missed();
        }
        gst::PadProbeReturn::Ok
    });
    // Lists are never sent again.
    source.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let payload = || {
            let packet = header(info.buffer()?)?;
            // Without the marker (RFC 3550 section 5.1).
            Some(packet.get(1)? & 0x7f)
        };
        let sent_again = again
            .get()
            .is_some_and(|again| payload().is_some_and(|payload| again.contains(&payload)));
        if sent_again && !allowance.spend() {
            return swallow(info);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The payload types of what is sent again (RFC 4588 section 8.1).
fn payloads(sender: &gst::Element) -> Vec<u8> {
    let map = sender.property::<Option<gst::Structure>>("payload-type-map");
    let types = map.iter().flat_map(|map| map.iter());
    let types = types.filter_map(|(_, payload)| payload.get::<u32>().ok());
    types
        .filter_map(|payload| payload.try_into().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::gst::feeder::{open, source_pad};

    const PAYLOAD: u8 = 96;
    const AGAIN: u8 = 97;
    const SSRC: u32 = 7;

    fn packet(number: u16) -> gst::Buffer {
        let mut bytes = vec![0x80, PAYLOAD];
        bytes.extend(number.to_be_bytes());
        // 90 kHz: 10 ms later each.
        bytes.extend((u32::from(number) * 900).to_be_bytes());
        bytes.extend(SSRC.to_be_bytes());
        bytes.extend([0; 100]);
        gst::Buffer::from_slice(bytes)
    }

    /// A bounded rtprtxsend, the pads before and after it, and the payload types of what comes out
    /// of it, with nothing for the end.
    fn fixture() -> (gst::Element, [gst::Pad; 2], Receiver<Option<u8>>) {
        gst::init().unwrap();
        let sender = gst::ElementFactory::make("rtprtxsend").build().unwrap();
        bound(&sender, || {});
        let map = gst::Structure::builder("application/x-rtp-pt-map")
            .field(PAYLOAD.to_string(), u32::from(AGAIN))
            .build();
        sender.set_property("payload-type-map", map);
        let (out, seen) = channel();
        let end = out.clone();
        let after = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                let payload = buffer.map_readable().unwrap()[1] & 0x7f;
                let _ = out.send(Some(payload));
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(move |_, _, event| {
                if event.type_() == gst::EventType::Eos {
                    let _ = end.send(None);
                }
                true
            })
            .build();
        after.set_active(true).unwrap();
        sender.static_pad("src").unwrap().link(&after).unwrap();
        let before = source_pad("packets");
        before.link(&sender.static_pad("sink").unwrap()).unwrap();
        sender.set_state(gst::State::Playing).unwrap();
        let caps = gst::Caps::builder("application/x-rtp")
            .field("clock-rate", 90_000)
            .field("ssrc", SSRC)
            .build();
        open(&before, "test", &caps).unwrap();
        (sender, [before, after], seen)
    }

    #[test]
    fn no_more_is_sent_again_than_allowed_and_asking_in_vain_costs_nothing() {
        let (sender, [before, after], seen) = fixture();
        for number in 0..300 {
            before.push(packet(number)).unwrap();
        }
        let ask = |number: u16| {
            let asked = gst::Structure::builder(REQUEST)
                .field("seqnum", u32::from(number))
                .field("ssrc", SSRC)
                .build();
            after.push_event(gst::event::CustomUpstream::new(asked));
        };
        // Kept no more, and asked for again and again.
        for number in (0..100).cycle().take(1000) {
            ask(number);
        }
        // Kept, and asked for more often than may be.
        for number in (250..300).cycle().take(1000) {
            ask(number);
        }
        // What is sent again comes out on another thread, and this behind it.
        before.push_event(gst::event::Eos::new());
        let sent = seen.iter().map_while(|payload| payload);
        let again = sent.filter(|payload| *payload == AGAIN).count();
        assert_eq!(again, BURST as usize);
        sender.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn what_is_kept_no_more_is_missed_once_in_a_while() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let packet = |ssrc, number: u32| Packet {
            ssrc,
            number: number as u16,
        };
        let mut kept = Kept::default();
        // A list of three each 30 ms, past the end of the numbers, and sound beside it.
        let first = 65_500;
        for frame in 0..100 {
            let now = at(u64::from(frame) * 30);
            kept.note(now, packet(1, first + frame * 3));
            kept.note(now, packet(2, frame));
        }
        let now = at(99 * 30);
        let oldest = first + (99 - 33) * 3;
        for number in [oldest, oldest + 1, first + 99 * 3] {
            assert!(!kept.misses(now, packet(1, number)), "{number}");
        }
        assert!(!kept.misses(now, packet(3, 0)), "of another stream");
        assert!(kept.misses(now, packet(1, oldest - 1)));
        assert!(!kept.misses(now, packet(1, first)), "told already");
        let later = now + STANDSTILL;
        assert!(kept.misses(later, packet(1, first)));
    }

    #[test]
    fn a_burst_and_then_a_share_of_what_is_sent() {
        let allowance = Allowance::new();
        let spend = |times: usize| (0..times).filter(|_| allowance.spend()).count();
        assert_eq!(spend(1000), 64);
        allowance.earn(100);
        assert_eq!(spend(1000), 16);
        allowance.earn(usize::MAX);
        assert_eq!(spend(1000), 64);
    }
}
