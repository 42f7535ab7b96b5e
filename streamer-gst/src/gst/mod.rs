//! Everything that knows GStreamer: sources, the webrtcbin engine, stills.

mod certificate;
mod image;
mod source;
mod viewer;

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

pub use image::{still_of_file, still_of_frames};
pub use source::GstSources;
pub use viewer::{ViewerSettings, WebRtcEngine};

/// What all pipelines of the process share: one clock, and the moment from which viewers count.
#[derive(Clone, Debug)]
pub struct Timeline {
    clock: gst::Clock,
    epoch: gst::ClockTime,
}

impl Timeline {
    /// Initialises GStreamer and begins the timeline now.
    ///
    /// # Errors
    /// GStreamer cannot be used, in one line.
    pub fn begin() -> Result<Self, String> {
        gst::init().map_err(|e| format!("GStreamer cannot start: {e}"))?;
        let clock = gst::SystemClock::obtain();
        let epoch = clock.time();
        Ok(Self { clock, epoch })
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
