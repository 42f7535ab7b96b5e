//! What a viewer's line carries, by Google congestion control (draft-ietf-rmcat-gcc-02), from the
//! viewer's feedback on each packet (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use gst::prelude::*;
use gstreamer as gst;

use super::{element, swallow};

/// What the estimate keeps to, in bits per second. It begins with the most, for a picture is better
/// than the fear that it does not fit, and congestion shows within a second or two. The least is a
/// keyframe now and then, without which nothing would tell that the line recovers.
const LEAST: u32 = 20_000;
const MOST: u32 = 50_000_000;

/// The event with which an rtpsession passes on feedback.
const FEEDBACK: &str = "RTPTWCCPackets";

/// An rtpgccbwe that is given the feedback, but no media and no thread: running, it would send each
/// packet by itself and up to 5 ms later, for twice the CPU of a viewer.
pub(super) struct Estimator(gst::Element);

impl Estimator {
    /// One for all that a webrtcbin will send. To be called before it has sessions.
    ///
    /// # Errors
    /// There is no rtpgccbwe, or not the one that is known here.
    pub(super) fn new(webrtc: &gst::Element) -> Result<Self, String> {
        let estimator = element("rtpgccbwe")?;
        estimator.set_property("min-bitrate", LEAST);
        estimator.set_property("max-bitrate", MOST);
        estimator.set_property("estimated-bitrate", MOST);
        let ear = estimator
            .static_pad("src")
            .ok_or("rtpgccbwe has no src pad")?;
        // A pad of an element that does not run refuses events.
        ear.unset_pad_flags(gst::PadFlags::FLUSHING);
        let webrtc = webrtc
            .downcast_ref::<gst::Bin>()
            .ok_or("webrtcbin is not a bin")?;
        webrtc.connect_deep_element_added(move |_, _, element| {
            if element.factory().is_some_and(|f| f.name() == "rtpsession") {
                let ear = ear.clone();
                element.connect_pad_added(move |_, pad| {
                    if pad.name() == "send_rtp_sink" {
                        listen(pad, ear.clone());
                    }
                });
            }
        });
        Ok(Self(estimator))
    }

    /// Bits per second. It does not rise far above what is sent.
    pub(super) fn bandwidth(&self) -> u64 {
        self.0.property::<u32>("estimated-bitrate").into()
    }
}

/// Takes the feedback out of the way to payloaders, which have no use for it.
fn listen(session: &gst::Pad, ear: gst::Pad) {
    session.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let event = info.event();
        let feedback = event.filter(|e| e.structure().is_some_and(|s| s.name() == FEEDBACK));
        match feedback.cloned() {
            Some(feedback) => {
                ear.send_event(feedback);
                swallow(info)
            }
            None => gst::PadProbeReturn::Ok,
        }
    });
}
