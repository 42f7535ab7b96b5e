//! One m-line of a viewer: a pad for frames, a payloader and webrtcbin.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc as gst_webrtc;

use super::estimator::Estimator;
use super::extension::extend;
use super::feeder::{Input, open, source_pad};
use super::watch::watch_keyframe_requests;
use super::{Timeline, element, frame_caps};
use crate::codec::Codec;
use crate::engine::{Events, ViewerId};
use crate::offer::{TRANSPORT_CC, Track};

/// Groups picture and sound of one viewer, so that browsers keep them in step.
const MEDIA_STREAM: &str = "rusticast";

/// Adds a payloader for one m-line, between a pad of ours and webrtcbin.
pub(super) fn add_track(
    pipeline: &gst::Pipeline,
    id: ViewerId,
    webrtc: &gst::Element,
    track: &Track,
    timeline: &Timeline,
    estimator: Option<&Estimator>,
    events: &Events,
) -> Result<(Input, gst_webrtc::WebRTCRTPTransceiver), String> {
    let template = webrtc
        .pad_template("sink_%u")
        .ok_or("webrtcbin has no sink pads")?;
    // What an offer makes only receives in 1.26, and is given no pad as long as it does.
    if let Some(transceiver) = transceiver(webrtc, track.section) {
        send_only(&transceiver);
    }
    // Naming the m-line matters: the search for a free transceiver is broken in 1.22.
    let pad = webrtc
        .request_pad(&template, Some(&format!("sink_{}", track.section)), None)
        .ok_or_else(|| format!("webrtcbin takes no {}", track.codec))?;
    let ssrc: u32 = glib::random_int_range(1, i32::MAX) as u32;
    let transceiver = pad.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
    send_only(&transceiver);
    // Without ssrc the msid lines of the answer race with the first buffer.
    let mut caps = gst::Caps::builder("application/x-rtp")
        .field("media", track.codec.kind().name())
        .field("encoding-name", track.codec.name().to_ascii_uppercase())
        .field("clock-rate", track.codec.clock_rate() as i32)
        .field("payload", i32::from(track.payload))
        .field("ssrc", ssrc);
    if track.codec == Codec::H264 {
        caps = caps.field("packetization-mode", "1");
    }
    if let Some(id) = track.transport_cc {
        caps = caps.field(format!("extmap-{id}"), TRANSPORT_CC);
    }
    transceiver.set_property("codec-preferences", caps.build());
    transceiver.set_property("do-nack", track.retransmission);
    pad.set_property("msid", MEDIA_STREAM);

    let payloader = payloader(track.codec)?;
    payloader.set_property("pt", u32::from(track.payload));
    payloader.set_property("ssrc", ssrc);
    payloader.set_property("timestamp-offset", timeline.rtp_offset);
    if let (Some(id), Some(estimator)) = (track.transport_cc, estimator) {
        let unanswered = estimator.unanswered();
        extend(&payloader, id, move || unanswered.ask());
    }
    let failed = |_| format!("{} cannot be connected to webrtcbin", track.codec);
    let missing = || failed("no pad".to_owned());
    pipeline
        .add(&payloader)
        .map_err(|e| failed(e.to_string()))?;
    let from = payloader.static_pad("src").ok_or_else(missing)?;
    let into = payloader.static_pad("sink").ok_or_else(missing)?;
    from.link(&pad).map_err(|e| failed(e.to_string()))?;
    watch_keyframe_requests(id, &into, events);
    payloader
        .sync_state_with_parent()
        .map_err(|e| failed(e.to_string()))?;
    let frames = source_pad(&format!("frames_{}", track.section));
    frames.link(&into).map_err(|e| failed(e.to_string()))?;
    open(
        &frames,
        &format!("{id}/{}", track.section),
        &frame_caps(track.codec),
    )?;
    let codec = track.codec;
    Ok((Input { codec, pad: frames }, transceiver))
}

/// The transceiver that webrtcbin has made for an m-line.
fn transceiver(webrtc: &gst::Element, section: u32) -> Option<gst_webrtc::WebRTCRTPTransceiver> {
    (0_i32..)
        .map_while(|index| {
            webrtc.emit_by_name::<Option<gst_webrtc::WebRTCRTPTransceiver>>(
                "get-transceiver",
                &[&index],
            )
        })
        .find(|transceiver| transceiver.mlineindex() == section)
}

fn send_only(transceiver: &gst_webrtc::WebRTCRTPTransceiver) {
    let direction = gst_webrtc::WebRTCRTPTransceiverDirection::Sendonly;
    transceiver.set_property("direction", direction);
}

fn payloader(codec: Codec) -> Result<gst::Element, String> {
    let payloader = element(match codec {
        Codec::Vp8 => "rtpvp8pay",
        Codec::Vp9 => "rtpvp9pay",
        Codec::H264 => "rtph264pay",
        Codec::Opus => "rtpopuspay",
    })?;
    match codec {
        // Browsers follow lost frames by the picture id (RFC 7741 section 4.2).
        Codec::Vp8 | Codec::Vp9 => {
            payloader.set_property_from_str("picture-id-mode", "15-bit");
        }
        Codec::H264 => {
            payloader.set_property("config-interval", -1);
            payloader.set_property_from_str("aggregate-mode", "zero-latency");
        }
        Codec::Opus => {}
    }
    Ok(payloader)
}
