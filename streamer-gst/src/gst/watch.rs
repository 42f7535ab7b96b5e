//! What happens to a viewer's connection, told by webrtcbin and by the elements inside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_webrtc as gst_webrtc;

use super::certificate::{matches, remote_certificate};
use super::{funnel, retransmission};
use crate::engine::{Event, Events, ViewerId};
use crate::offer::Fingerprint;

/// When something last arrived.
pub(super) struct Heard {
    since: Instant,
    connected: AtomicBool,
    milliseconds: AtomicU64,
}

impl Heard {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            connected: AtomicBool::new(false),
            milliseconds: AtomicU64::new(0),
        })
    }

    fn note(&self) {
        let elapsed = self.since.elapsed().as_millis() as u64;
        self.milliseconds.store(elapsed, Ordering::Relaxed);
    }

    pub(super) fn silence(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.milliseconds.load(Ordering::Relaxed));
        self.connected
            .load(Ordering::Acquire)
            .then(|| self.since.elapsed().saturating_sub(last))
    }
}

pub(super) fn watch_bus(pipeline: &gst::Pipeline, id: ViewerId, events: &Events) {
    let Some(bus) = pipeline.bus() else {
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
pub(super) fn watch_transport(
    pipeline: &gst::Pipeline,
    id: ViewerId,
    heard: &Arc<Heard>,
    events: &Events,
) {
    let heard = Arc::downgrade(heard);
    let events = events.clone();
    pipeline.connect_deep_element_added(move |_, _, element| {
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
            // Frames are sent when they come, whatever their stamps say.
            "clocksync" => element.set_property("sync", false),
            "rtpfunnel" => funnel::quiet(element),
            "rtprtxsend" => {
                let events = events.clone();
                retransmission::bound(element, move || {
                    events(Event::KeyframeWanted { viewer: id });
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

/// Reports the end of ICE and DTLS. webrtcbin 1.22 takes any certificate, so that of the peer is
/// compared with the offer's fingerprint here (RFC 8827 section 6.5), before anything is sent.
pub(super) fn watch_connection(
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

/// Whether the receiver reports of a viewer tell of lost packets (RFC 3550 section 6.4.1).
pub(super) fn reports_loss(pipeline: &gst::Pipeline) -> bool {
    let sessions = pipeline.iterate_recurse().into_iter().flatten();
    sessions
        .filter(|element| element.factory().is_some_and(|f| f.name() == "rtpsession"))
        .filter_map(|session| {
            let stats = session.property::<Option<gst::Structure>>("stats")?;
            stats.get::<glib::ValueArray>("source-stats").ok()
        })
        .any(|sources| {
            sources.iter().any(|source| {
                source
                    .get::<gst::Structure>()
                    .is_ok_and(|source| source.get::<i32>("rb-packetslost").is_ok_and(|n| n > 0))
            })
        })
}

/// The short name of an enumeration's value, for elements whose types have no Rust binding.
fn nick(element: &gst::Element, property: &str) -> String {
    let value = element.property_value(property);
    glib::EnumValue::from_value(&value)
        .map(|(_, value)| value.nick().to_owned())
        .unwrap_or_default()
}

pub(super) fn watch_keyframe_requests(id: ViewerId, pad: &gst::Pad, events: &Events) {
    let events = events.clone();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let wanted = info
            .event()
            .is_some_and(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
        if wanted {
            events(Event::KeyframeWanted { viewer: id });
        }
        gst::PadProbeReturn::Ok
    });
}
