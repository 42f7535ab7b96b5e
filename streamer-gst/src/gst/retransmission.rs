//! Bounds what is sent again. A line that is too narrow loses most packets, a browser asks for each
//! of them up to ten times, and answering that would keep the line full of the past.

use std::sync::atomic::{AtomicI32, Ordering};

use gst::prelude::*;
use gstreamer as gst;

/// Of so many packets one may be sent again.
const SHARE: i32 = 6;
/// What is older is of no use any more, in milliseconds: it would come too late, or be of a rung
/// that was left.
const MOST_AGE: u32 = 500;
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

/// Has an rtprtxsend send again no more than a share of what goes through it, and nothing old.
pub(super) fn bound(sender: &gst::Element) {
    let (Some(sink), Some(source)) = (sender.static_pad("sink"), sender.static_pad("src")) else {
        return;
    };
    sender.set_property("max-size-time", MOST_AGE);
    let allowance = std::sync::Arc::new(Allowance::new());
    let earned = allowance.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    sink.add_probe(kinds, move |_, info| {
        earned.earn(info.buffer_list().map_or(1, |list| list.len()));
        gst::PadProbeReturn::Ok
    });
    source.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let structure = info.event().and_then(|event| event.structure());
        let asked = structure.is_some_and(|structure| structure.name() == REQUEST);
        if asked && !allowance.spend() {
            // To drop an event here makes GStreamer 1.22 let go of it twice.
            info.data = None;
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
