//! What happens to a viewer's connection, told by webrtcbin and by the elements inside it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_webrtc as gst_webrtc;

use super::certificate::{matches, remote_certificate};
use super::{funnel, retransmission};
use crate::engine::{Event, Events, ViewerId};
use crate::offer::Fingerprint;

/// Wishes for keyframes are passed on no oftener; encoders are asked still less often.
const WISH_INTERVAL: Duration = Duration::from_millis(100);

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
                let wishes = KeyframeWishes::of(id, &events);
                retransmission::bound(element, move || wishes.pass_on());
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

/// Whether the last receiver report of a viewer tells of lost packets since the one before (RFC
/// 3550 section 6.4.1).
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
                    .is_ok_and(|source| source.get::<u32>("rb-fractionlost").is_ok_and(|n| n > 0))
            })
        })
}

/// Reports that a viewer asks for a keyframe.
pub(super) fn watch_keyframe_requests(id: ViewerId, pad: &gst::Pad, events: &Events) {
    let wishes = KeyframeWishes::of(id, events);
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let wanted = info
            .event()
            .is_some_and(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
        if wanted {
            wishes.pass_on();
        }
        gst::PadProbeReturn::Ok
    });
}

/// Passes on that a viewer wants a keyframe, but not each time that it says so: one packet can say
/// it a hundred times, and what is passed on is work for a thread that serves all viewers.
struct KeyframeWishes {
    viewer: ViewerId,
    events: Events,
    last: Mutex<Option<Instant>>,
}

impl KeyframeWishes {
    fn of(viewer: ViewerId, events: &Events) -> Self {
        Self {
            viewer,
            events: events.clone(),
            last: Mutex::default(),
        }
    }

    fn pass_on(&self) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < WISH_INTERVAL) {
            return;
        }
        *last = Some(now);
        drop(last);
        (self.events)(Event::KeyframeWanted {
            viewer: self.viewer,
        });
    }
}

/// The short name of an enumeration's value, for elements whose types have no Rust binding.
fn nick(element: &gst::Element, property: &str) -> String {
    let value = element.property_value(property);
    glib::EnumValue::from_value(&value)
        .map(|(_, value)| value.nick().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn of_many_wishes_for_a_keyframe_one_is_passed_on() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let events: Events = Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let wishes = KeyframeWishes::of(ViewerId(1), &events);
        let begin = Instant::now();
        (0..1000).for_each(|_| wishes.pass_on());
        let most = 1 + begin.elapsed().as_millis() / WISH_INTERVAL.as_millis();
        let passed = count.load(Ordering::Relaxed);
        assert!((1..=most as usize).contains(&passed), "{passed}");
    }
}
