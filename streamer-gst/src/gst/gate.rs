//! Keeping frames from the encoder of an output that nobody watches, where that harms nothing.
//!
//! The gate stands as far above the encoder as its branch is its own: behind the tee that other
//! branches begin at, or where elements begin that might not like a pause. Only buffers stop there;
//! events pass, so that the encoder knows of new formats and of the end.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::{Timeline, swallow};

/// No branch has as many elements; what is linked in a circle ends as well.
const LONGEST_BRANCH: usize = 64;
/// Elements of one input and one output that do not mind a pause, beside those that convert.
const PATIENT: [&str; 13] = [
    "queue",
    "capsfilter",
    "clockoverlay",
    "timeoverlay",
    "textoverlay",
    "videobox",
    "videocrop",
    "aspectratiocrop",
    "videoflip",
    "videobalance",
    "gamma",
    "glupload",
    "gldownload",
];

/// What stands before the encoder of one output, as soon as somebody asks.
#[derive(Default)]
pub(super) struct Entrance {
    gate: OnceLock<Option<Arc<Gate>>>,
    asked: AtomicBool,
    /// The next keyframe is the first since the gate was opened.
    awaited: AtomicBool,
}

/// A place before an encoder that lets frames through or keeps them.
struct Gate {
    timeline: Timeline,
    state: AtomicU8,
    /// Nanoseconds of the timeline at which a frame was last kept.
    heard: AtomicU64,
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
/// Open, and no frame has passed yet.
const OPENED: u8 = 2;
/// One frame has passed since it was opened.
const PASSED: u8 = 3;

impl Entrance {
    fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.get()?.as_ref()
    }

    /// Whether there is a gate before the encoder of an output, whose frames end in `sink`. That
    /// is found out in the background when it is asked for the first time, once the pipeline runs.
    pub(super) fn is_there(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        output: &str,
        sink: &gst::Pad,
        timeline: &Timeline,
    ) -> bool {
        if !self.asked.swap(true, Ordering::Relaxed) {
            let (entrance, output) = (self.clone(), output.to_owned());
            let (sink, timeline) = (sink.clone(), timeline.clone());
            // On another thread: what elements do with a query is up to the description.
            pipeline.call_async(move |pipeline| {
                let Some(live) = is_live(&sink) else {
                    entrance.asked.store(false, Ordering::Relaxed);
                    return;
                };
                let tee = pipeline.by_name(&output).filter(|_| live);
                let place = tee.and_then(|tee| place(&tee));
                tracing::debug!(output, ?place, "where its encoder can be spared");
                let gate = place.and_then(|pad| Gate::at(&pad, timeline));
                let _ = entrance.gate.set(gate);
            });
        }
        self.gate().is_some()
    }

    pub(super) fn close(&self) {
        if let Some(gate) = self.gate() {
            gate.hear();
            gate.state.store(CLOSED, Ordering::Relaxed);
        }
    }

    pub(super) fn open(&self) {
        self.awaited.store(true, Ordering::Relaxed);
        if let Some(gate) = self.gate() {
            gate.step(CLOSED, OPENED);
        }
    }

    /// When a frame was last kept.
    pub(super) fn heard(&self) -> Option<Duration> {
        let heard = self.gate()?.heard.load(Ordering::Relaxed);
        Some(Duration::from_nanos(heard))
    }

    /// A keyframe has come out: whether it is the first since the gate was opened.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) && self.awaited.swap(false, Ordering::Relaxed)
    }
}

impl Gate {
    /// An open gate at a pad that takes frames.
    fn at(pad: &gst::Pad, timeline: Timeline) -> Option<Arc<Self>> {
        let gate = Arc::new(Self {
            timeline,
            state: AtomicU8::new(OPEN),
            heard: AtomicU64::new(0),
        });
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        let probe = gate.clone();
        pad.add_probe(kinds, move |pad, info| {
            if probe.lets_pass(pad) {
                return gst::PadProbeReturn::Ok;
            }
            swallow(info)
        })?;
        Some(gate)
    }

    fn hear(&self) {
        let now = self.timeline.now().as_nanos() as u64;
        self.heard.store(now, Ordering::Relaxed);
    }

    fn step(&self, from: u8, to: u8) -> bool {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.state.compare_exchange(from, to, set, fetch).is_ok()
    }

    /// A frame has come to the gate's pad.
    fn lets_pass(&self, pad: &gst::Pad) -> bool {
        match self.state.load(Ordering::Relaxed) {
            CLOSED => {
                self.hear();
                return false;
            }
            OPENED => {
                self.step(OPENED, PASSED);
            }
            // Not the first frame: libvpx takes the pause for the frame rate, and would give the
            // keyframe all bits of that time.
            PASSED if self.step(PASSED, OPEN) => {
                let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build();
                pad.send_event(event);
            }
            _ => {}
        }
        true
    }
}

/// Whether frames come to this pad as time passes, as soon as its pipeline can tell. Those of a
/// file wait for each other; without that it would be over in a moment.
fn is_live(sink: &gst::Pad) -> Option<bool> {
    let mut latency = gst::query::Latency::new();
    sink.peer_query(&mut latency).then(|| latency.result().0)
}

/// Where frames can be kept from the encoder of an output tee, with harm to nothing else: nowhere
/// if there is no encoder, or somebody else has what comes out of it.
fn place(tee: &gst::Element) -> Option<gst::Pad> {
    // What the program adds to it is the only branch.
    if tee.src_pads().iter().filter(|pad| pad.is_linked()).count() != 1 {
        return None;
    }
    let mut pad = only(tee.sink_pads())?;
    let encoder = (0..LONGEST_BRANCH).find_map(|_| {
        let element = feeder(&pad)?;
        let found = element.is::<gst_video::VideoEncoder>();
        match (only(element.sink_pads()), only(element.src_pads())) {
            (Some(above), Some(_)) => pad = above,
            _ => return None,
        }
        found.then(|| pad.clone())
    });
    let mut place = encoder?;
    for _ in 0..LONGEST_BRANCH {
        let Some(element) = feeder(&place).filter(is_patient) else {
            break;
        };
        let (Some(above), Some(_)) = (only(element.sink_pads()), only(element.src_pads())) else {
            break;
        };
        place = above;
    }
    Some(place)
}

fn only(pads: Vec<gst::Pad>) -> Option<gst::Pad> {
    <[gst::Pad; 1]>::try_from(pads).ok().map(|[pad]| pad)
}

/// The element whose data comes to a pad.
pub(super) fn feeder(pad: &gst::Pad) -> Option<gst::Element> {
    let peer = pad.peer()?;
    // The pads of a bin stand for those of what is in it.
    let inner = peer
        .downcast_ref::<gst::GhostPad>()
        .and_then(|g| g.target());
    inner.unwrap_or(peer).parent_element()
}

/// Whether an element can be left without data for any time, and goes on as if nothing had been.
/// (videorate, for one, would make up for all that it missed.)
fn is_patient(element: &gst::Element) -> bool {
    let Some(factory) = element.factory() else {
        return false;
    };
    let class = factory.metadata("klass").unwrap_or_default();
    let is = |word: &str| class.split('/').any(|part| part == word);
    // What scales is no converter any more in GStreamer 1.26.
    let converts = is("Filter") && (is("Converter") || is("Scaler"));
    converts || PATIENT.contains(&factory.name().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_in(text: &str) -> Option<String> {
        let _ = Timeline::begin().unwrap();
        // As `gst::source` does.
        let text = format!("{text} video. ! queue ! fakesink");
        let pipeline = gst::parse::launch(&text).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let tee = pipeline.by_name("video").unwrap();
        let element = place(&tee)?.parent_element().unwrap();
        Some(element.name().to_string())
    }

    const RAW: &str = "videotestsrc is-live=true ! tee name=raw";
    const OUT: &str = "tee name=video allow-not-linked=true";

    #[test]
    fn frames_are_kept_where_the_branch_of_an_output_begins() {
        let branch = "raw. ! queue name=q ! videoscale ! video/x-raw,width=64,height=36 ! vp8enc";
        assert_eq!(place_in(&format!("{RAW} {branch} ! {OUT}")).unwrap(), "q");
        // Without a branch, too: what is alone harms nobody.
        let alone = "videotestsrc is-live=true ! timeoverlay name=t ! videoconvert ! vp8enc";
        assert_eq!(place_in(&format!("{alone} ! {OUT}")).unwrap(), "t");
        let parsed = "videotestsrc ! x264enc name=e ! h264parse ! video/x-h264,profile=baseline";
        assert_eq!(place_in(&format!("{parsed} ! {OUT}")).unwrap(), "e");
    }

    #[test]
    fn what_would_make_up_for_a_pause_stays_before_the_gate() {
        let rate = "videotestsrc ! videorate ! video/x-raw,framerate=5/1 ! vp8enc name=e";
        let place = place_in(&format!("{rate} ! {OUT}")).unwrap();
        assert!(place.starts_with("capsfilter"), "{place}");
        let mixed = "videotestsrc ! compositor name=c videotestsrc ! c. c. ! vp8enc name=e";
        assert_eq!(place_in(&format!("{mixed} ! {OUT}")).unwrap(), "e");
    }

    #[test]
    fn an_encoder_that_somebody_else_needs_is_not_kept_from_its_frames() {
        let encoded =
            "videotestsrc ! vp8enc ! tee name=encoded encoded. ! queue ! fakesink encoded.";
        let behind = format!("videotestsrc ! vp8enc ! {OUT} video. ! queue ! fakesink");
        let muxed = "videotestsrc ! vp8enc ! webmmux name=m audiotestsrc ! opusenc ! m. \
                     m. ! matroskademux ! queue";
        let foreign = "filesrc location=/dev/null ! matroskademux ! queue";
        for text in [
            &format!("{encoded} ! {OUT}"),
            &behind,
            &format!("{muxed} ! {OUT}"),
            &format!("{foreign} ! {OUT}"),
        ] {
            assert_eq!(place_in(text), None, "{text}");
        }
    }
}
