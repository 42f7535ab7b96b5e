//! The seam between streams and WebRTC: what turns an offer and encoded frames into a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::Codec;
use crate::offer::{Plan, Trickled};

/// One browser's connection. Numbers are chosen by whoever opens it and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub u64);

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One encoded picture or packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Name of the output it comes from.
    pub output: Arc<str>,
    /// Its encoding.
    pub codec: Codec,
    /// Presentation time. A source gives its own running time; the fan-out turns it into time
    /// since the engine's epoch, common to all viewers.
    pub pts: Duration,
    /// How long it is shown, where known.
    pub duration: Option<Duration>,
    /// Whether it can be decoded without the ones before; true for all sound.
    pub keyframe: bool,
    /// The bitstream: one VP8/VP9 frame, one H.264 access unit as byte stream, one Opus packet.
    pub bytes: Bytes,
}

/// What became of a frame given to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is on its way.
    Taken,
    /// This viewer has too much waiting already; the frame is lost for it.
    Full,
}

/// What happens to a viewer after it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// ICE and DTLS are through and the peer's certificate is the offer's: frames may flow.
    Connected {
        /// Whose connection.
        viewer: ViewerId,
    },
    /// The viewer cannot decode its picture without a new keyframe (PLI or FIR).
    KeyframeWanted {
        /// Who asks.
        viewer: ViewerId,
    },
    /// The connection is over from the other side, or broken. It still has to be closed.
    Gone {
        /// Whose connection.
        viewer: ViewerId,
        /// Why, for people.
        reason: String,
    },
}

/// What a viewer may take of the system while it connects, the most there ever is.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Open files.
    pub descriptors: u64,
    /// Threads, those included that make and end it.
    pub threads: u64,
    /// Mappings of memory.
    pub mappings: u64,
    /// Viewers that one core serves, with room for what encodes.
    pub per_core: usize,
}

/// What is known of a viewer's line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// An estimate of what it carries in bits per second. It does not rise far above what is sent,
    /// and may be much too low for seconds after the line has changed, or where it loses packets.
    pub bandwidth: u64,
    /// Of what was sent in the last few seconds, the share that arrived in as much time; where that is
    /// little, of the last second or two.
    pub carried: f64,
    /// The same of the last second or two at any time, which chance moves more.
    pub lately: f64,
}

/// Takes events from any thread. It only passes them on, so it never blocks.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// Makes, feeds and ends viewers' connections.
pub trait Engine: Send + Sync {
    /// Makes a connection and returns the SDP answer to [`Plan::sdp`], with all candidates.
    /// Blocks until then, but has limits of its own: it returns within ten seconds. Events may
    /// come before it returns. After an error nothing is left of the viewer.
    ///
    /// # Errors
    /// Why it could not be made, in one line.
    fn open(&self, viewer: ViewerId, plan: &Plan, events: Events) -> Result<String, String>;

    /// Tells a viewer's connection, while it is made or after, of another place where its peer may be
    /// reached. May block; an unknown viewer or m-line has no use for it.
    fn add_candidate(&self, viewer: ViewerId, candidate: &Trickled);

    /// Gives a connected viewer a frame of any output of its codec; stamps must go forward. Never
    /// blocks; unknown viewers take everything.
    fn send(&self, viewer: ViewerId, frame: &Frame) -> Delivery;

    /// Ends a connection and frees all it held; may block for as long as that takes. Closing an
    /// unknown viewer does nothing.
    fn close(&self, viewer: ViewerId);

    /// How long nothing has been received from a viewer since it connected.
    fn silence(&self, viewer: ViewerId) -> Option<Duration>;

    /// Whether a viewer has reported lost packets; then its reports may get lost as well.
    fn loses(&self, viewer: ViewerId) -> bool;

    /// A viewer's line; nothing where it is not measured.
    fn line(&self, viewer: ViewerId) -> Option<Line>;
}

#[cfg(test)]
pub(crate) mod fake {
    //! An engine without network, for tests.

    use std::collections::{HashMap, HashSet};
    use std::sync::Mutex;

    use super::*;

    /// A line with so much bandwidth that carries all that is sent.
    pub(crate) fn carrying(bandwidth: u64) -> Line {
        Line {
            bandwidth,
            carried: 1.0,
            lately: 1.0,
        }
    }

    /// Remembers what it was told, and answers as it was told to.
    #[derive(Default)]
    pub(crate) struct FakeEngine {
        pub(crate) state: Mutex<FakeState>,
    }

    #[derive(Default)]
    pub(crate) struct FakeState {
        pub(crate) open: HashMap<ViewerId, Events>,
        pub(crate) frames: HashMap<ViewerId, Vec<Frame>>,
        pub(crate) full: HashSet<ViewerId>,
        pub(crate) silence: HashMap<ViewerId, Duration>,
        pub(crate) lossy: HashSet<ViewerId>,
        pub(crate) lines: HashMap<ViewerId, Line>,
        pub(crate) candidates: Vec<(ViewerId, Trickled)>,
        pub(crate) refuse: Option<String>,
    }

    impl FakeEngine {
        /// Stamps (in ms) of the frames a viewer got.
        pub(crate) fn stamps(&self, viewer: ViewerId) -> Vec<u128> {
            let state = self.state.lock().unwrap();
            let frames = state.frames.get(&viewer).cloned().unwrap_or_default();
            frames.iter().map(|frame| frame.pts.as_millis()).collect()
        }

        pub(crate) fn emit(&self, event: Event) {
            let (Event::Connected { viewer }
            | Event::KeyframeWanted { viewer }
            | Event::Gone { viewer, .. }) = event;
            let events = self.state.lock().unwrap().open.get(&viewer).cloned();
            events.unwrap()(event);
        }
    }

    impl Engine for FakeEngine {
        fn open(&self, viewer: ViewerId, plan: &Plan, events: Events) -> Result<String, String> {
            let mut state = self.state.lock().unwrap();
            if let Some(reason) = &state.refuse {
                return Err(reason.clone());
            }
            state.open.insert(viewer, events);
            Ok(plan.sdp.replace("a=recvonly", "a=sendonly"))
        }

        fn add_candidate(&self, viewer: ViewerId, candidate: &Trickled) {
            let mut state = self.state.lock().unwrap();
            state.candidates.push((viewer, candidate.clone()));
        }

        fn send(&self, viewer: ViewerId, frame: &Frame) -> Delivery {
            let mut state = self.state.lock().unwrap();
            if state.full.contains(&viewer) {
                return Delivery::Full;
            }
            state.frames.entry(viewer).or_default().push(frame.clone());
            Delivery::Taken
        }

        fn close(&self, viewer: ViewerId) {
            self.state.lock().unwrap().open.remove(&viewer);
        }

        fn silence(&self, viewer: ViewerId) -> Option<Duration> {
            self.state.lock().unwrap().silence.get(&viewer).copied()
        }

        fn loses(&self, viewer: ViewerId) -> bool {
            self.state.lock().unwrap().lossy.contains(&viewer)
        }

        fn line(&self, viewer: ViewerId) -> Option<Line> {
            self.state.lock().unwrap().lines.get(&viewer).copied()
        }
    }
}
