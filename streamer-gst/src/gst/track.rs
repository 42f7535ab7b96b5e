//! One m-line of a viewer: `appsrc ! payloader ! webrtcbin`.

use std::time::Duration;

use gst::prelude::*;
use gst_rtp::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_rtp as gst_rtp;
use gstreamer_webrtc as gst_webrtc;

use super::watch::watch_keyframe_requests;
use super::{buffer_of, element, frame_caps};
use crate::codec::Codec;
use crate::engine::{Delivery, Events, Frame, ViewerId};
use crate::offer::{TRANSPORT_CC, Track};

/// A viewer with more than this waiting in its appsrc loses frames.
const MAX_WAITING: Duration = Duration::from_millis(500);
/// The same for sources whose stamps do not move.
const MAX_WAITING_BYTES: u64 = 4 << 20;
/// Groups picture and sound of one viewer, so that browsers keep them in step.
const MEDIA_STREAM: &str = "rusticast";

/// Where the frames of one kind of media go in.
pub(super) struct Input {
    pub(super) codec: Codec,
    source: gst_app::AppSrc,
}

/// `appsrc ! payloader ! webrtcbin` for one m-line.
pub(super) fn add_track(
    pipeline: &gst::Pipeline,
    id: ViewerId,
    webrtc: &gst::Element,
    track: &Track,
    events: &Events,
) -> Result<(Input, gst_webrtc::WebRTCRTPTransceiver), String> {
    let template = webrtc
        .pad_template("sink_%u")
        .ok_or("webrtcbin has no sink pads")?;
    // Naming the m-line matters: the search for a free transceiver is broken in 1.22.
    let pad = webrtc
        .request_pad(&template, Some(&format!("sink_{}", track.section)), None)
        .ok_or_else(|| format!("webrtcbin takes no {}", track.codec))?;
    let ssrc: u32 = glib::random_int_range(1, i32::MAX) as u32;
    let transceiver = pad.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
    transceiver.set_property(
        "direction",
        gst_webrtc::WebRTCRTPTransceiverDirection::Sendonly,
    );
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

    let source = gst_app::AppSrc::builder()
        .format(gst::Format::Time)
        .is_live(true)
        .caps(&frame_caps(track.codec))
        // What may wait is decided in send, down to whole groups of pictures.
        .max_bytes(0)
        .max_buffers(0)
        .max_time(Some(gst::ClockTime::ZERO))
        .build();
    let payloader = payloader(track.codec)?;
    payloader.set_property("pt", u32::from(track.payload));
    payloader.set_property("ssrc", ssrc);
    if let Some(id) = track.transport_cc {
        let extension = gst_rtp::RTPHeaderExtension::create_from_uri(TRANSPORT_CC)
            .ok_or("GStreamer has no transport-wide sequence numbers")?;
        extension.set_id(id.into());
        payloader.emit_by_name::<()>("add-extension", &[&extension]);
    }
    let failed = |_| format!("{} cannot be connected to webrtcbin", track.codec);
    let source_element = source.upcast_ref::<gst::Element>();
    pipeline
        .add_many([source_element, &payloader])
        .map_err(|e| failed(e.to_string()))?;
    source_element
        .link(&payloader)
        .map_err(|e| failed(e.to_string()))?;
    if let Some(from) = payloader.static_pad("src") {
        from.link(&pad).map_err(|e| failed(e.to_string()))?;
    }
    if let Some(into) = payloader.static_pad("sink") {
        watch_keyframe_requests(id, &into, events);
    }
    for element in [&payloader, source_element] {
        element
            .sync_state_with_parent()
            .map_err(|e| failed(e.to_string()))?;
    }
    let codec = track.codec;
    Ok((Input { codec, source }, transceiver))
}

impl Input {
    /// Never blocks.
    pub(super) fn send(&self, frame: &Frame) -> Delivery {
        let waiting = self.source.current_level_time();
        if waiting.is_some_and(|waiting| Duration::from_nanos(waiting.nseconds()) > MAX_WAITING)
            || self.source.current_level_bytes() > MAX_WAITING_BYTES
        {
            return Delivery::Full;
        }
        // Refused only while the pipeline is being stopped.
        let _ = self.source.push_buffer(buffer_of(frame));
        Delivery::Taken
    }
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
