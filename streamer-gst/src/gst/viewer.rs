//! The engine on webrtcbin: one small pipeline per viewer, `payloader → webrtcbin`, fed by threads
//! that serve them all.
//!
//! The order of calls and the property settings were found by measurement on GStreamer 1.22; other
//! orders abort the process, race, or answer in ways browsers misread.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_sdp as gst_sdp;
use gstreamer_webrtc as gst_webrtc;

use super::correction;
use super::estimator::Estimator;
use super::feeder::Feeder;
use super::pool::Pool;
use super::track::add_track;
use super::watch::{Heard, reports_loss, watch_bus, watch_connection, watch_transport};
use super::{Timeline, element};
use crate::codec::Codec;
use crate::engine::{Delivery, Engine, Events, Frame, Line, Needs, ViewerId};
use crate::offer::{Candidate, HashFunction, Offer, Places, Plan, Trickled};

/// A promise of webrtcbin may never be kept: those of one negotiation are given this long
/// together, since a busy machine may need it for a single one.
const PROMISES_LIMIT: Duration = Duration::from_millis(7500);
/// Gathering host candidates takes milliseconds; without any network it never ends.
const GATHERING_LIMIT: Duration = Duration::from_secs(2);
/// Saying goodbye takes a millisecond or two.
const GOODBYE_LIMIT: Duration = Duration::from_millis(100);

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
    // Last: viewers end before what serves them.
    pool: Pool,
}

struct Viewer {
    pipeline: gst::Pipeline,
    webrtc: gst::Element,
    feeder: Option<Feeder>,
    heard: Arc<Heard>,
    /// Measures the line, where that is of use.
    estimator: Option<Estimator>,
    /// Where candidates go that come after the offer.
    places: Places,
}

impl WebRtcEngine {
    /// A viewer has seven threads, and two more while it is made and ended; each has mappings for
    /// its stack and its allocator. With a picture of 2 Mbit/s and sound it takes up to 15 ms of a
    /// core each second (`./dev bench media`).
    pub const NEEDS: Needs = Needs {
        descriptors: 32,
        threads: 10,
        mappings: 24,
        per_core: 50,
    };

    /// An engine whose viewers count time from the timeline's epoch.
    pub fn new(timeline: Timeline, settings: ViewerSettings) -> Self {
        Self {
            timeline,
            settings,
            viewers: RwLock::default(),
            pool: Pool::new(),
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
        self.trial().map(drop)
    }

    /// The addresses of this machine that a viewer would be offered.
    ///
    /// # Errors
    /// Why no viewer can be made; without any network there is nothing to offer.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let answer = self.trial()?;
        let values = answer
            .lines()
            .filter_map(|l| l.strip_prefix("a=candidate:"));
        let mut addresses: Vec<IpAddr> = values
            .filter_map(Candidate::parse)
            .map(|candidate| candidate.address)
            .collect();
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }

    /// Answers an offer that nobody made.
    fn trial(&self) -> Result<String, String> {
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
        let answer = self.open(viewer, &plan, Arc::new(|_| {}))?;
        self.close(viewer);
        Ok(answer)
    }

    fn build(&self, id: ViewerId, plan: &Plan, events: &Events) -> Result<Viewer, String> {
        let pipeline = gst::Pipeline::new();
        pipeline.use_clock(Some(&self.timeline.clock));
        pipeline.set_base_time(self.timeline.epoch);
        pipeline.set_start_time(gst::ClockTime::NONE);
        let webrtc = self.webrtcbin(plan)?;
        let measured = plan.tracks.iter().any(|track| track.transport_cc.is_some());
        let estimator = measured.then(|| Estimator::new(&webrtc)).transpose()?;
        let viewer = Viewer {
            pipeline,
            webrtc,
            feeder: None,
            heard: Heard::new(),
            estimator,
            places: plan.places(),
        };
        watch_bus(&viewer.pipeline, id, events);
        watch_transport(&viewer.pipeline, id, &viewer.heard, events);
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
        let until = Instant::now() + PROMISES_LIMIT;
        let offer = gst_sdp::SDPMessage::parse_buffer(plan.sdp.as_bytes())
            .map_err(|_| "the offer cannot be read".to_owned())?;
        let offer =
            gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Offer, offer);
        promised(&webrtc, "set-remote-description", &offer, until)?;
        let mut inputs = Vec::new();
        let mut transceivers = Vec::new();
        for track in &plan.tracks {
            let (input, transceiver) = add_track(
                &viewer.pipeline,
                id,
                &webrtc,
                track,
                &self.timeline,
                viewer.estimator.as_ref(),
                events,
            )?;
            inputs.push(input);
            transceivers.push((transceiver.downgrade(), track.fingerprints.clone()));
        }
        let door = self.pool.door().map_err(|e| format!("no thread: {e}"))?;
        viewer.feeder = Some(Feeder::new(inputs, door));
        watch_connection(id, &webrtc, viewer.heard.clone(), transceivers, events);
        let answer = promised(&webrtc, "create-answer", &None::<gst::Structure>, until)?
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
        promised(&webrtc, "set-local-description", &answer, until)?;
        // A time-out still leaves what was gathered so far; without any candidate it is useless.
        let _ = wait_gathered.recv_timeout(GATHERING_LIMIT);
        webrtc.disconnect(handler);
        correction::bypass(&viewer.pipeline);
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

    fn add_candidate(&self, viewer: ViewerId, trickled: &Trickled) {
        let viewers = self.viewers.read().unwrap_or_else(PoisonError::into_inner);
        let viewer = viewers.get(&viewer).cloned();
        drop(viewers);
        let Some(viewer) = viewer else {
            return;
        };
        if let Some(section) = viewer.places.find(trickled.mid.as_deref()) {
            let candidate = format!("candidate:{}", trickled.candidate.to_sdp());
            let webrtc = &viewer.webrtc;
            webrtc.emit_by_name::<()>("add-ice-candidate", &[&section, &candidate]);
        }
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

    fn loses(&self, viewer: ViewerId) -> bool {
        let viewers = self.viewers.read().unwrap_or_else(PoisonError::into_inner);
        let viewer = viewers.get(&viewer).cloned();
        drop(viewers);
        viewer.is_some_and(|viewer| reports_loss(&viewer.pipeline))
    }

    fn line(&self, viewer: ViewerId) -> Option<Line> {
        let viewers = self.viewers.read().unwrap_or_else(PoisonError::into_inner);
        let viewer = viewers.get(&viewer)?.clone();
        drop(viewers);
        viewer.estimator.as_ref().map(Estimator::line)
    }
}

impl Viewer {
    fn send(&self, frame: &Frame) -> Delivery {
        let feeder = self.feeder.as_ref();
        feeder.map_or(Delivery::Taken, |feeder| feeder.send(frame))
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
        // Before the feeder, whose last push ends with it.
        self.stop();
    }
}

/// Calls an action of webrtcbin that answers by a promise, and waits for it, but not for ever.
fn promised(
    webrtc: &gst::Element,
    action: &str,
    argument: &impl glib::value::ToValue,
    until: Instant,
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
    match wait.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(result) => result.map_err(|e| format!("{action}: {e}")),
        Err(RecvTimeoutError::Timeout) => Err(format!("{action} takes too long")),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{action} was given up")),
    }
}
