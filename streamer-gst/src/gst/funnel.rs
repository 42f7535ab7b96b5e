//! Where picture and sound of a viewer come together, rtpfunnel says anew which segment applies
//! each time the one follows the other: a hundred times a second, through every element behind it,
//! though it never changes.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

use super::swallow;

/// Lets an rtpfunnel say a segment once.
pub(super) fn quiet(funnel: &gst::Element) {
    let Some(pad) = funnel.static_pad("src") else {
        return;
    };
    let said = Mutex::new(None::<gst::Segment>);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(gst::EventView::Segment(event)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let segment = event.segment().to_owned();
        let mut said = said
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.as_ref() != Some(&segment) {
            *said = Some(segment);
            return gst::PadProbeReturn::Ok;
        }
        swallow(info)
    });
}
