//! Encodes once and gives every frame to every viewer.

use std::sync::{Arc, Mutex, PoisonError};

use bench::Result;
use bench::card::CARD;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use crate::viewer::{Inlet, Viewer};

/// A running pipeline.
pub struct Source {
    pipeline: gst::Pipeline,
    inlets: Inlets,
}

type Inlets = Arc<Mutex<Vec<Inlet>>>;

impl Source {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let sinks = ["video", "audio"].map(|kind| {
            format!("{kind}. ! queue ! appsink name={kind}_frames sync=false max-buffers=100")
        });
        let pipeline = gst::parse::launch(&format!("{CARD} {}", sinks.join(" ")))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "no pipeline")?;
        let inlets = Inlets::default();
        for (section, kind) in ["video", "audio"].into_iter().enumerate() {
            let sink = pipeline.by_name(&format!("{kind}_frames"));
            let sink = sink.and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
            let inlets = Arc::clone(&inlets);
            let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let (caps, buffer) = (sample.caps_owned(), sample.buffer_owned());
                if let (Some(caps), Some(buffer)) = (caps, buffer) {
                    let inlets = inlets.lock().unwrap_or_else(PoisonError::into_inner);
                    for inlet in inlets.iter() {
                        inlet.push(section, &caps, &buffer);
                    }
                }
                Ok(gst::FlowSuccess::Ok)
            });
            sink.ok_or("no sink")?.set_callbacks(callbacks.build());
        }
        pipeline.set_state(gst::State::Playing)?;
        Ok(Self { pipeline, inlets })
    }

    /// From now on frames go to this viewer, too.
    pub fn feed(&self, viewer: &Viewer) {
        let mut inlets = self.inlets.lock().unwrap_or_else(PoisonError::into_inner);
        inlets.push(viewer.inlet());
    }

    /// And to this one no more.
    pub fn leave(&self, viewer: &Viewer) {
        let mut inlets = self.inlets.lock().unwrap_or_else(PoisonError::into_inner);
        inlets.retain(|inlet| !inlet.is_of(viewer));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
