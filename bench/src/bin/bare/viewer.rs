//! `appsrc → payloader → webrtcbin`, negotiated in the order that the streamer found to work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bench::Result;
use bench::rtp::Media;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_sdp as gst_sdp;
use gstreamer_webrtc as gst_webrtc;

/// Gathering host candidates takes milliseconds.
const GATHERING: Duration = Duration::from_secs(2);

/// One viewer; dropping it ends it.
pub struct Viewer {
    /// The SDP answer.
    pub answer: String,
    pipeline: gst::Pipeline,
    inlet: Inlet,
}

/// Where a viewer's frames go in.
#[derive(Clone)]
pub struct Inlet {
    sources: Vec<gst_app::AppSrc>,
    connected: Arc<AtomicBool>,
}

impl Inlet {
    /// Gives the viewer a frame for an m-line, once it is connected.
    pub fn push(&self, section: usize, caps: &gst::Caps, buffer: &gst::Buffer) {
        let Some(source) = self.sources.get(section) else {
            return;
        };
        if !self.connected.load(Ordering::Acquire) {
            return;
        }
        if source.caps().is_none() {
            source.set_caps(Some(caps));
        }
        let mut buffer = buffer.clone();
        let now = source.current_running_time();
        // Shares the bytes.
        let own = buffer.make_mut();
        own.set_pts(now);
        own.set_dts(now);
        // Refused only while it ends.
        let _ = source.push_buffer(buffer);
    }

    /// Whether it leads there.
    pub fn is_of(&self, viewer: &Viewer) -> bool {
        Arc::ptr_eq(&self.connected, &viewer.inlet.connected)
    }
}

impl Viewer {
    /// Answers an offer of a picture and then sound, with media on this address.
    pub fn open(offer: &str, address: &str) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        let webrtc = make("webrtcbin")?;
        webrtc.set_property_from_str("bundle-policy", "max-bundle");
        webrtc.set_property("latency", 0_u32);
        let ice = webrtc.property::<gst::glib::Object>("ice-agent");
        let agent = ice.property::<gst::glib::Object>("agent");
        agent.set_property("upnp", false);
        agent.set_property("ice-tcp", false);
        ice.emit_by_name::<bool>("add-local-ip-address", &[&address]);
        pipeline.add(&webrtc)?;
        pipeline.set_state(gst::State::Playing)?;

        let offer = gst_sdp::SDPMessage::parse_buffer(offer.as_bytes())?;
        let offer =
            gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Offer, offer);
        promised(&webrtc, "set-remote-description", &offer);
        let mut sources = Vec::new();
        for (section, media) in [Media::Video, Media::Audio].into_iter().enumerate() {
            sources.push(add_track(&pipeline, &webrtc, section, media)?);
        }
        let connected = Arc::new(AtomicBool::new(false));
        let stands = Arc::clone(&connected);
        webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
            let state =
                webrtc.property::<gst_webrtc::WebRTCPeerConnectionState>("connection-state");
            let connected = state == gst_webrtc::WebRTCPeerConnectionState::Connected;
            stands.fetch_or(connected, Ordering::Release);
        });

        let answer = promised(&webrtc, "create-answer", &None::<gst::Structure>);
        let answer = answer.ok_or("no answer")?;
        let answer = answer.get::<gst_webrtc::WebRTCSessionDescription>("answer")?;
        let (gathered, wait) = sync_channel(1);
        let handler = webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
            let state =
                webrtc.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            if state == gst_webrtc::WebRTCICEGatheringState::Complete {
                let _ = gathered.try_send(());
            }
        });
        promised(&webrtc, "set-local-description", &answer);
        wait.recv_timeout(GATHERING)?;
        webrtc.disconnect(handler);
        let local = webrtc
            .property::<Option<gst_webrtc::WebRTCSessionDescription>>("local-description")
            .ok_or("no local description")?;
        Ok(Self {
            answer: local.sdp().as_text()?,
            pipeline,
            inlet: Inlet { sources, connected },
        })
    }

    /// Where its frames go in.
    pub fn inlet(&self) -> Inlet {
        self.inlet.clone()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn add_track(
    pipeline: &gst::Pipeline,
    webrtc: &gst::Element,
    section: usize,
    media: Media,
) -> Result<gst_app::AppSrc> {
    let (payloader, kind, encoding) = match media {
        Media::Video => ("rtpvp8pay", "video", "VP8"),
        Media::Audio => ("rtpopuspay", "audio", "OPUS"),
    };
    let template = webrtc.pad_template("sink_%u").ok_or("no sink pads")?;
    let pad = webrtc
        .request_pad(&template, Some(&format!("sink_{section}")), None)
        .ok_or("no pad")?;
    let ssrc = gst::glib::random_int_range(1, i32::MAX) as u32;
    let transceiver = pad.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
    transceiver.set_property(
        "direction",
        gst_webrtc::WebRTCRTPTransceiverDirection::Sendonly,
    );
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", kind)
        .field("encoding-name", encoding)
        .field("clock-rate", media.clock_rate() as i32)
        .field("payload", i32::from(media.payload_type()))
        .field("ssrc", ssrc);
    transceiver.set_property("codec-preferences", caps.build());
    transceiver.set_property("do-nack", media == Media::Video);
    pad.set_property("msid", "bare");

    let payloader = make(payloader)?;
    payloader.set_property("pt", u32::from(media.payload_type()));
    payloader.set_property("ssrc", ssrc);
    let source = gst_app::AppSrc::builder()
        .is_live(true)
        .format(gst::Format::Time)
        .leaky_type(gst_app::AppLeakyType::Downstream)
        .max_time(Some(gst::ClockTime::from_mseconds(500)))
        .build();
    pipeline.add_many([source.upcast_ref(), &payloader])?;
    source.link(&payloader)?;
    let from = payloader.static_pad("src").ok_or("no pad")?;
    from.link(&pad)?;
    payloader.sync_state_with_parent()?;
    source.sync_state_with_parent()?;
    Ok(source)
}

fn make(factory: &str) -> Result<gst::Element> {
    Ok(gst::ElementFactory::make(factory).build()?)
}

/// Calls an action of webrtcbin that answers by a promise, and waits for it.
fn promised(
    webrtc: &gst::Element,
    action: &str,
    argument: &impl gst::glib::value::ToValue,
) -> Option<gst::Structure> {
    let promise = gst::Promise::new();
    webrtc.emit_by_name_with_values(action, &[argument.to_value(), promise.to_value()]);
    promise.wait();
    promise.get_reply().map(ToOwned::to_owned)
}
