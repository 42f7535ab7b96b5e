//! Everything that knows GStreamer: sources, the webrtcbin engine, stills.

mod certificate;
pub mod check;
mod correction;
pub mod devices;
mod estimator;
mod extension;
mod feeder;
mod funnel;
mod gate;
mod image;
pub mod installed;
mod message;
mod pool;
mod portrait;
mod retransmission;
mod source;
mod track;
mod viewer;
mod watch;

use std::sync::OnceLock;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::codec::Codec;
use crate::engine::Frame;

pub use image::{still_of_file, still_of_frames};
pub use portrait::portrait;
pub use source::GstSources;
pub use viewer::{ViewerSettings, WebRtcEngine};

/// Elements that end the process where they do not find what they want: DirectFB without a screen.
/// By name they can still be had, but none of those that choose for themselves takes them.
const CRASHING: [&str; 1] = ["dfbvideosink"];

/// GLib 2.74 stands still for ever when one thread makes the class of such an element, for which it
/// needs the type of socket addresses, and another one needs that type for the first time, too.
const FIRST: &str = "udpsrc";

/// Initialises GStreamer, as often as wanted.
///
/// # Errors
/// It cannot be used.
fn init() -> Result<(), glib::Error> {
    static DONE: OnceLock<Result<(), glib::Error>> = OnceLock::new();
    DONE.get_or_init(begin).clone()
}

fn begin() -> Result<(), glib::Error> {
    gst::init()?;
    // Before there are threads that could meet. Where there is none there is no class to make.
    drop(gst::ElementFactory::make(FIRST).build());
    for factory in CRASHING
        .iter()
        .filter_map(|name| gst::ElementFactory::find(name))
    {
        factory.set_rank(gst::Rank::NONE);
    }
    Ok(())
}

/// What all pipelines of the process share: one clock, and the moment from which viewers count.
#[derive(Clone, Debug)]
pub struct Timeline {
    clock: gst::Clock,
    epoch: gst::ClockTime,
    /// RTP time of the epoch, the same for all viewers: so that it can be told once for all.
    rtp_offset: u32,
}

impl Timeline {
    /// Initialises GStreamer and begins the timeline now.
    ///
    /// # Errors
    /// GStreamer cannot be used, in one line.
    pub fn begin() -> Result<Self, String> {
        init().map_err(|e| format!("GStreamer cannot start: {e}"))?;
        // The bandwidth estimator; a second time it does nothing.
        gstrsrtp::plugin_register_static().map_err(|e| format!("rtpgccbwe: {e}"))?;
        let clock = gst::SystemClock::obtain();
        let epoch = clock.time();
        Ok(Self {
            clock,
            epoch,
            rtp_offset: glib::random_int(),
        })
    }

    /// The RTP time stamp, of a clock of so many Hz, that a frame of this moment bears.
    pub fn rtp(&self, at: Duration, rate: u32) -> u32 {
        let ticks = at.as_nanos() * u128::from(rate) / 1_000_000_000;
        // It counts modulo 2^32 (RFC 3550 section 5.1).
        self.rtp_offset.wrapping_add(ticks as u32)
    }

    /// Time since the epoch, monotonic.
    pub fn now(&self) -> Duration {
        let now = self.clock.time();
        Duration::from_nanos(now.saturating_sub(self.epoch).nseconds())
    }
}

/// Makes an element or says which one is missing.
fn element(factory: &str) -> Result<gst::Element, String> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| format!("there is no GStreamer element {factory}; a plug-in is missing"))
}

/// Caps of the frames that fan-outs carry.
fn frame_caps(codec: Codec) -> gst::Caps {
    match codec {
        Codec::Vp8 => gst::Caps::builder("video/x-vp8").build(),
        Codec::Vp9 => gst::Caps::builder("video/x-vp9").build(),
        Codec::H264 => gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build(),
        Codec::Opus => gst::Caps::builder("audio/x-opus")
            .field("channel-mapping-family", 0)
            .field("channels", 2)
            .field("rate", 48_000)
            .build(),
    }
}

/// Ends in a probe what passes there, as if it had been taken. Not by `PadProbeReturn::Drop`: after
/// that the bindings and GStreamer both let go of it.
fn swallow(info: &mut gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
    info.data = None;
    info.flow_res = Ok(gst::FlowSuccess::Ok);
    gst::PadProbeReturn::Handled
}

/// A frame as GStreamer has it; the bytes are shared.
fn buffer_of(frame: &Frame) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(frame.bytes.clone());
    if let Some(buffer) = buffer.get_mut() {
        let time = |time: Duration| gst::ClockTime::from_nseconds(time.as_nanos() as u64);
        buffer.set_pts(time(frame.pts));
        buffer.set_dts(time(frame.pts));
        buffer.set_duration(frame.duration.map(time));
        if !frame.keyframe {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_crashes_is_chosen() {
        init().unwrap();
        let sinks = gst::ElementFactory::factories_with_type(
            gst::ElementFactoryType::SINK,
            gst::Rank::MARGINAL,
        );
        let mut chosen = sinks.iter().map(|factory| factory.name());
        assert!(!chosen.any(|name| CRASHING.contains(&name.as_str())));
    }
}
