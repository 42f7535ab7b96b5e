//! The engine on webrtcbin: one small pipeline per viewer, `appsrc → payloader → webrtcbin`.
//!
//! The order of calls and the property settings were found by measurement on GStreamer 1.22; other
//! orders abort the process, race, or answer in ways browsers misread.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_sdp as gst_sdp;
use gstreamer_video as gst_video;
use gstreamer_webrtc as gst_webrtc;

use super::certificate::{matches, remote_certificate};
use super::{Timeline, buffer_of, element, frame_caps};
use crate::codec::Codec;
use crate::engine::{Delivery, Engine, Event, Events, Frame, ViewerId};
use crate::offer::{Fingerprint, HashFunction, Offer, Plan, Track};

/// A promise of webrtcbin may never be kept; after this it is broken.
const PROMISE_LIMIT: Duration = Duration::from_millis(2500);
/// Gathering host candidates takes milliseconds; without any network it never ends.
const GATHERING_LIMIT: Duration = Duration::from_secs(2);
/// A viewer with more than this waiting in its appsrc loses frames.
const MAX_WAITING: Duration = Duration::from_millis(500);
/// The same for sources whose stamps do not move.
const MAX_WAITING_BYTES: u64 = 4 << 20;
/// Saying goodbye takes a millisecond or two.
const GOODBYE_LIMIT: Duration = Duration::from_millis(100);
/// Groups picture and sound of one viewer, so that browsers keep them in step.
const MEDIA_STREAM: &str = "rusticast";

/// What applies to every viewer.
#[derive(Clone, Debug, Default)]
pub struct ViewerSettings {
    /// Local addresses to offer; empty means those of all interfaces that are up.
    pub media_addresses: Vec<IpAddr>,
}

/// Makes viewers out of webrtcbin.
pub struct WebRtcEngine {
    timeline: Timeline,
    settings: ViewerSettings,
    viewers: RwLock<HashMap<ViewerId, Arc<Viewer>>>,
}

struct Viewer {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    inputs: Vec<Input>,
    heard: Arc<Heard>,
}

/// Where one output's frames go in.
struct Input {
    output: Arc<str>,
    source: gst_app::AppSrc,
}

/// When something last arrived.
struct Heard {
    since: Instant,
    connected: AtomicBool,
    milliseconds: AtomicU64,
}

impl Heard {
    fn note(&self) {
        let elapsed = self.since.elapsed().as_millis() as u64;
        self.milliseconds.store(elapsed, Ordering::Relaxed);
    }

    fn silence(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.milliseconds.load(Ordering::Relaxed));
        self.connected
            .load(Ordering::Acquire)
            .then(|| self.since.elapsed().saturating_sub(last))
    }
}

impl WebRtcEngine {
    /// An engine whose viewers count time from the timeline's epoch.
    pub fn new(timeline: Timeline, settings: ViewerSettings) -> Self {
        Self {
            timeline,
            settings,
            viewers: RwLock::default(),
        }
    }

    /// Looks for the plug-ins every viewer needs.
    ///
    /// # Errors
    /// Which one is missing, and the Debian package it comes in.
    pub fn check(&self) -> Result<(), String> {
        let needed = [
            ("webrtcbin", "gstreamer1.0-plugins-bad"),
            ("dtlsdec", "gstreamer1.0-plugins-bad"),
            ("srtpenc", "gstreamer1.0-plugins-bad"),
            ("nicesrc", "gstreamer1.0-nice"),
            ("rtpbin", "gstreamer1.0-plugins-good"),
            ("appsrc", "gstreamer1.0-plugins-base"),
        ];
        for (factory, package) in needed {
            if gst::ElementFactory::find(factory).is_none() {
                return Err(format!(
                    "GStreamer has no element {factory}: install the package {package}"
                ));
            }
        }
        Ok(())
    }

    /// Makes a viewer and drops it, so that the first real one need not wait for plug-ins to load
    /// and a certificate to be made.
    ///
    /// # Errors
    /// What would keep every viewer from being made, such as a missing plug-in.
    pub fn warm_up(&self) -> Result<(), String> {
        let fingerprint = vec!["00"; HashFunction::Sha256.length()].join(":");
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=ice-ufrag:warm\r\na=ice-pwd:warmwarmwarmwarmwarmwarm\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=recvonly\r\na=rtcp-mux\r\n"
        );
        let offer = format!(
            "v=0\r\na=group:BUNDLE 0 1\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n{transport}a=rtpmap:96 VP8/90000\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:1\r\n{transport}a=rtpmap:97 opus/48000/2\r\n"
        );
        let outputs = [Codec::Vp8, Codec::Opus].map(|codec| crate::offer::Available {
            output: codec.kind().name().to_owned(),
            codec,
        });
        let plan = Offer::parse(offer.as_bytes())
            .and_then(|offer| offer.plan(&outputs))
            .map_err(|e| e.to_string())?;
        let viewer = ViewerId(u64::MAX);
        self.open(viewer, &plan, Arc::new(|_| {}))?;
        self.close(viewer);
        Ok(())
    }

    fn build(&self, id: ViewerId, plan: &Plan, events: &Events) -> Result<Viewer, String> {
        let pipeline = gst::Pipeline::new();
        pipeline.use_clock(Some(&self.timeline.clock));
        pipeline.set_base_time(self.timeline.epoch);
        pipeline.set_start_time(gst::ClockTime::NONE);
        let viewer = Viewer {
            pipeline,
            webrtc: self.webrtcbin(plan)?,
            inputs: Vec::new(),
            heard: Arc::new(Heard {
                since: Instant::now(),
                connected: AtomicBool::new(false),
                milliseconds: AtomicU64::new(0),
            }),
        };
        viewer.watch_bus(id, events);
        viewer.watch_transport(id, events);
        viewer
            .pipeline
            .add(&viewer.webrtc)
            .map_err(|_| "webrtcbin cannot be added".to_owned())?;
        viewer
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| "the viewer's pipeline does not start".to_owned())?;
        Ok(viewer)
    }

    fn webrtcbin(&self, plan: &Plan) -> Result<gst::Element, String> {
        let webrtc = element("webrtcbin")?;
        let policy = if plan.bundled { "max-bundle" } else { "none" };
        webrtc.set_property_from_str("bundle-policy", policy);
        webrtc.set_property("latency", 0_u32);
        let ice = webrtc.property::<glib::Object>("ice-agent");
        let agent = ice.property::<glib::Object>("agent");
        // Else libnice sends SSDP multicast to the network and makes each viewer wait for it.
        if agent.has_property("upnp") {
            agent.set_property("upnp", false);
        }
        if agent.has_property("ice-tcp") {
            agent.set_property("ice-tcp", false);
        }
        for address in &self.settings.media_addresses {
            ice.emit_by_name::<bool>("add-local-ip-address", &[&address.to_string()]);
        }
        Ok(webrtc)
    }

    fn negotiate(
        &self,
        id: ViewerId,
        viewer: &mut Viewer,
        plan: &Plan,
        events: &Events,
    ) -> Result<String, String> {
        let webrtc = viewer.webrtc.clone();
        let offer = gst_sdp::SDPMessage::parse_buffer(plan.sdp.as_bytes())
            .map_err(|_| "the offer cannot be read".to_owned())?;
        let offer =
            gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Offer, offer);
        promised(&webrtc, "set-remote-description", &offer)?;
        let mut transceivers = Vec::new();
        for track in &plan.tracks {
            let (input, transceiver) = viewer.add_track(id, &webrtc, track, events)?;
            viewer.inputs.push(input);
            transceivers.push((transceiver.downgrade(), track.fingerprints.clone()));
        }
        watch_connection(id, &webrtc, viewer.heard.clone(), transceivers, events);
        let answer = promised(&webrtc, "create-answer", &None::<gst::Structure>)?
            .and_then(|reply| {
                reply
                    .get::<gst_webrtc::WebRTCSessionDescription>("answer")
                    .ok()
            })
            .ok_or("webrtcbin makes no answer")?;
        let (gathered, wait_gathered) = sync_channel(1);
        let handler = webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
            let state =
                webrtc.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state");
            if state == gst_webrtc::WebRTCICEGatheringState::Complete {
                let _ = gathered.try_send(());
            }
        });
        promised(&webrtc, "set-local-description", &answer)?;
        // A time-out still leaves what was gathered so far; without any candidate it is useless.
        let _ = wait_gathered.recv_timeout(GATHERING_LIMIT);
        webrtc.disconnect(handler);
        let local = webrtc
            .property::<Option<gst_webrtc::WebRTCSessionDescription>>("local-description")
            .ok_or("webrtcbin has no local description")?;
        let text = local
            .sdp()
            .as_text()
            .map_err(|_| "the answer cannot be printed".to_owned())?;
        if !text.contains("a=candidate:") {
            return Err("no network address to send from was found".to_owned());
        }
        Ok(text)
    }
}

impl Engine for WebRtcEngine {
    fn open(&self, viewer: ViewerId, plan: &Plan, events: Events) -> Result<String, String> {
        let mut built = self.build(viewer, plan, &events)?;
        // An error drops the viewer, which stops its pipeline.
        let answer = self.negotiate(viewer, &mut built, plan, &events)?;
        let answer = plan.answer(&answer)?;
        let mut viewers = self.viewers.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = viewers.insert(viewer, Arc::new(built));
        drop(viewers);
        drop(replaced);
        Ok(answer)
    }

    fn send(&self, viewer: ViewerId, frame: &Frame) -> Delivery {
        let viewers = self.viewers.read().unwrap_or_else(PoisonError::into_inner);
        let viewer = viewers.get(&viewer).cloned();
        drop(viewers);
        viewer.map_or(Delivery::Taken, |viewer| viewer.send(frame))
    }

    fn close(&self, viewer: ViewerId) {
        let mut viewers = self.viewers.write().unwrap_or_else(PoisonError::into_inner);
        let removed = viewers.remove(&viewer);
        drop(viewers);
        if let Some(viewer) = removed {
            if viewer.heard.silence().is_some() {
                viewer.say_goodbye();
            }
            viewer.stop();
        }
    }

    fn silence(&self, viewer: ViewerId) -> Option<Duration> {
        let viewers = self.viewers.read().unwrap_or_else(PoisonError::into_inner);
        viewers.get(&viewer)?.heard.silence()
    }
}

impl Viewer {
    fn watch_bus(&self, id: ViewerId, events: &Events) {
        let Some(bus) = self.pipeline.bus() else {
            return;
        };
        let events = events.clone();
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Error(error) = message.view() {
                tracing::debug!(viewer = %id, error = %error.error(), details = ?error.debug(), "viewer's pipeline failed");
                events(Event::Gone {
                    viewer: id,
                    reason: "the connection broke".to_owned(),
                });
            }
            gst::BusSyncReply::Drop
        });
    }

    /// Listens where webrtcbin 1.22 says nothing itself: an orderly end shows only in the DTLS
    /// decoder, and a vanished peer only in the silence of the socket.
    fn watch_transport(&self, id: ViewerId, events: &Events) {
        let heard = Arc::downgrade(&self.heard);
        let events = events.clone();
        self.pipeline
            .connect_deep_element_added(move |_, _, element| {
                let Some(factory) = element.factory() else {
                    return;
                };
                match factory.name().as_str() {
                    "dtlsdec" => {
                        let events = events.clone();
                        element.connect_notify(Some("connection-state"), move |element, _| {
                            if nick(element, "connection-state") == "closed" {
                                events(Event::Gone {
                                    viewer: id,
                                    reason: "the viewer closed the connection".to_owned(),
                                });
                            }
                        });
                    }
                    "nicesrc" => {
                        let heard = heard.clone();
                        let Some(pad) = element.static_pad("src") else {
                            return;
                        };
                        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
                        pad.add_probe(kinds, move |_, _| {
                            if let Some(heard) = heard.upgrade() {
                                heard.note();
                            }
                            gst::PadProbeReturn::Ok
                        });
                    }
                    _ => {}
                }
            });
    }

    /// `appsrc ! payloader ! webrtcbin` for one m-line.
    fn add_track(
        &self,
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
        let failed = |_| format!("{} cannot be connected to webrtcbin", track.codec);
        let source_element = source.upcast_ref::<gst::Element>();
        self.pipeline
            .add_many([source_element, &payloader])
            .map_err(|e| failed(e.to_string()))?;
        source_element
            .link(&payloader)
            .map_err(|e| failed(e.to_string()))?;
        let output: Arc<str> = Arc::from(track.output.as_str());
        if let Some(from) = payloader.static_pad("src") {
            from.link(&pad).map_err(|e| failed(e.to_string()))?;
        }
        if let Some(into) = payloader.static_pad("sink") {
            watch_keyframe_requests(id, &into, &output, events);
        }
        for element in [&payloader, source_element] {
            element
                .sync_state_with_parent()
                .map_err(|e| failed(e.to_string()))?;
        }
        Ok((Input { output, source }, transceiver))
    }

    fn send(&self, frame: &Frame) -> Delivery {
        let Some(input) = self.inputs.iter().find(|i| i.output == frame.output) else {
            return Delivery::Taken;
        };
        let waiting = input.source.current_level_time();
        if waiting.is_some_and(|waiting| Duration::from_nanos(waiting.nseconds()) > MAX_WAITING)
            || input.source.current_level_bytes() > MAX_WAITING_BYTES
        {
            return Delivery::Full;
        }
        // Refused only while the pipeline is being stopped.
        let _ = input.source.push_buffer(buffer_of(frame));
        Delivery::Taken
    }

    /// Closes the DTLS connection, so that the browser learns of the end at once and not from ICE
    /// after seconds. Only the encoder's own end of stream does that; stopping it says nothing.
    fn say_goodbye(&self) {
        let encoders = self.pipeline.iterate_recurse().into_iter().flatten();
        for encoder in encoders.filter(|e| e.factory().is_some_and(|f| f.name() == "dtlsenc")) {
            let (Some(source), Some(sink)) =
                (encoder.static_pad("src"), encoder.static_pad("sink"))
            else {
                continue;
            };
            let (gone, wait) = sync_channel(1);
            source.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                if info
                    .event()
                    .is_some_and(|e| e.type_() == gst::EventType::Eos)
                {
                    let _ = gone.try_send(());
                }
                gst::PadProbeReturn::Ok
            });
            if sink.send_event(gst::event::Eos::new()) {
                let _ = wait.recv_timeout(GOODBYE_LIMIT);
            }
        }
    }

    fn stop(&self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Calls an action of webrtcbin that answers by a promise, and waits for it.
fn promised(
    webrtc: &gst::Element,
    action: &str,
    argument: &impl glib::value::ToValue,
) -> Result<Option<gst::Structure>, String> {
    let (reply, wait): (_, Receiver<Result<Option<gst::Structure>, String>>) = sync_channel(1);
    let promise = gst::Promise::with_change_func(move |result| {
        let result = match result {
            Ok(None) => Ok(None),
            Ok(Some(structure)) => match structure.get::<glib::Error>("error") {
                Ok(error) => Err(error.message().to_owned()),
                Err(_) => Ok(Some(structure.to_owned())),
            },
            Err(error) => Err(format!("{error:?}")),
        };
        let _ = reply.try_send(result);
    });
    webrtc.emit_by_name_with_values(action, &[argument.to_value(), promise.to_value()]);
    match wait.recv_timeout(PROMISE_LIMIT) {
        Ok(result) => result.map_err(|e| format!("{action}: {e}")),
        Err(RecvTimeoutError::Timeout) => Err(format!("{action} takes too long")),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{action} was given up")),
    }
}

/// Reports the end of ICE and DTLS. webrtcbin 1.22 takes any certificate, so that of the peer is
/// compared with the offer's fingerprint here (RFC 8827 section 6.5), before anything is sent.
fn watch_connection(
    id: ViewerId,
    webrtc: &gst::Element,
    heard: Arc<Heard>,
    transceivers: Vec<(
        glib::WeakRef<gst_webrtc::WebRTCRTPTransceiver>,
        Vec<Fingerprint>,
    )>,
    events: &Events,
) {
    let events = events.clone();
    webrtc.connect_notify(Some("connection-state"), move |webrtc, _| {
        let state = webrtc.property::<gst_webrtc::WebRTCPeerConnectionState>("connection-state");
        let gone = |reason: &str| {
            events(Event::Gone {
                viewer: id,
                reason: reason.to_owned(),
            });
        };
        match state {
            gst_webrtc::WebRTCPeerConnectionState::Connected => {
                if heard.connected.load(Ordering::Acquire) {
                    return;
                }
                let genuine = transceivers.iter().all(|(transceiver, fingerprints)| {
                    transceiver
                        .upgrade()
                        .and_then(|transceiver| remote_certificate(&transceiver))
                        .is_some_and(|certificate| matches(&certificate, fingerprints))
                });
                if genuine {
                    heard.note();
                    heard.connected.store(true, Ordering::Release);
                    events(Event::Connected { viewer: id });
                } else {
                    gone("the certificate is not the one the offer named");
                }
            }
            gst_webrtc::WebRTCPeerConnectionState::Failed => gone("the connection failed"),
            gst_webrtc::WebRTCPeerConnectionState::Closed => gone("the connection was closed"),
            _ => {}
        }
    });
}

/// The short name of an enumeration's value, for elements whose types have no Rust binding.
fn nick(element: &gst::Element, property: &str) -> String {
    let value = element.property_value(property);
    glib::EnumValue::from_value(&value)
        .map(|(_, value)| value.nick().to_owned())
        .unwrap_or_default()
}

fn watch_keyframe_requests(id: ViewerId, pad: &gst::Pad, output: &Arc<str>, events: &Events) {
    let output = output.clone();
    let events = events.clone();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let wanted = info
            .event()
            .is_some_and(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
        if wanted {
            events(Event::KeyframeWanted {
                viewer: id,
                output: output.clone(),
            });
        }
        gst::PadProbeReturn::Ok
    });
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
