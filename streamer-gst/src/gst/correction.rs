//! webrtcbin 1.22 sends each kind of media through elements for forward error correction (RFC 5109,
//! RFC 2198) whether that was agreed or not, and we never agree to it. They change nothing, but take
//! lists of packets apart, so that everything behind them, down to the socket, has to do its work
//! for each packet.

use gst::prelude::*;
use gstreamer as gst;

/// What tells the bin to pass by.
const ENCODER: &str = "rtpulpfecenc";

/// Lets media pass by error correction, between what webrtcbin is given and its rtpfunnel. To be
/// called before media flows; where webrtcbin is built otherwise, nothing changes.
pub(super) fn bypass(pipeline: &gst::Pipeline) {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    let funnels =
        elements.filter(|element| element.factory().is_some_and(|f| f.name() == "rtpfunnel"));
    for funnel in funnels {
        for into in funnel.sink_pads() {
            if let Some((from, bin_sink, bin_src)) = around(&into) {
                let parted = from.unlink(&bin_sink).and_then(|()| bin_src.unlink(&into));
                let linked = parted.is_ok() && from.link(&into).is_ok();
                if !linked {
                    tracing::warn!(pad = %into.name(), "media cannot pass by error correction");
                }
            }
        }
    }
}

/// The pad in front of the bin of error correction that is linked to this one, and the two of the
/// bin.
fn around(into: &gst::Pad) -> Option<(gst::Pad, gst::Pad, gst::Pad)> {
    let bin_src = into.peer()?;
    let bin = bin_src.parent_element()?.downcast::<gst::Bin>().ok()?;
    let mut inside = bin.iterate_elements().into_iter().flatten();
    inside.find(|element| element.factory().is_some_and(|f| f.name() == ENCODER))?;
    let bin_sink = bin.sink_pads().pop()?;
    Some((bin_sink.peer()?, bin_sink, bin_src))
}

#[cfg(test)]
mod tests {
    use super::super::element;
    use super::*;

    /// What webrtcbin builds for one kind of media: something, a bin of error correction, a funnel.
    fn fixture() -> (gst::Pipeline, gst::Element, gst::Element) {
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let bin = gst::Bin::new();
        let (from, encoder, funnel) = (
            element("clocksync").unwrap(),
            element(ENCODER).unwrap(),
            element("rtpfunnel").unwrap(),
        );
        bin.add(&encoder).unwrap();
        for name in ["sink", "src"] {
            let inside = encoder.static_pad(name).unwrap();
            bin.add_pad(&gst::GhostPad::with_target(&inside).unwrap())
                .unwrap();
        }
        pipeline
            .add_many([&from, bin.upcast_ref(), &funnel])
            .unwrap();
        gst::Element::link_many([&from, bin.upcast_ref(), &funnel]).unwrap();
        (pipeline, from, funnel)
    }

    #[test]
    fn lists_of_packets_stay_whole() {
        let (pipeline, from, funnel) = fixture();
        bypass(&pipeline);
        // Nothing is left to do.
        bypass(&pipeline);
        let peer = from.static_pad("src").unwrap().peer().unwrap();
        assert_eq!(peer.parent_element().as_ref(), Some(&funnel));
    }
}
