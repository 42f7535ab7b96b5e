//! Hands every encoded frame of a stream to all its viewers: one encode, any number of viewers.
//!
//! Everything happens under one lock, so a viewer that joins neither misses a frame nor gets one
//! twice. Viewers are independent: one that cannot keep up loses its own frames, down to the next
//! keyframe. Time is an argument (any monotonic clock), GStreamer is unknown here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::codec::{Codec, Kind};
use crate::engine::{Delivery, Engine, Frame, ViewerId};

/// Who lost the picture gets a keyframe no sooner than this after the last one, so that one bad
/// link does not cost everybody else quality.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);
/// Who has seen no picture yet waits no longer than this after the last request: a picture within
/// a second of the click, and two keyframes a second however many come.
const JOIN_INTERVAL: Duration = Duration::from_millis(500);
/// Two frames of one output are at least this far apart: browsers take frames of one RTP time
/// stamp for one frame.
const SMALLEST_STEP: Duration = Duration::from_millis(1);
/// A longer duration is a mistake of the source, and must not move what follows.
const LONGEST_FRAME: Duration = Duration::from_secs(1);
/// Bounds of what is kept since the last keyframe, per output.
const MAX_HISTORY_BYTES: usize = 4 << 20;
const MAX_HISTORY_FRAMES: usize = 1024;

/// Where a viewer that joins begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the next keyframe, which is asked for.
    NextKeyframe,
    /// With the last keyframe and all frames since, if they are still kept; else with the next.
    LastKeyframe,
}

/// Whether the source must be asked for a keyframe now. Asking is up to the caller, outside of
/// the fan-out's lock.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyframe {
    /// Ask for one.
    Ask,
    /// Nothing to do: none is wanted, or the last request is too young.
    None,
}

/// The viewers and the recent past of one stream.
pub struct Fanout {
    engine: Arc<dyn Engine>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outputs: BTreeMap<Arc<str>, Output>,
    /// From the source's running time to the engine's time.
    offset: Duration,
    /// Added on top since this source began, so that no stamp steps back.
    shift: Duration,
}

#[derive(Default)]
struct Output {
    codec: Option<Codec>,
    viewers: Vec<Member>,
    /// Frames since the last keyframe, that one first; empty when it did not fit the bounds.
    history: VecDeque<Frame>,
    history_bytes: usize,
    keyframe: Option<Seen>,
    /// End of the last frame: where a new source may begin.
    end: Duration,
    /// Stamp of the last frame.
    last: Option<Duration>,
    /// When the last frame came.
    at: Duration,
    /// No frame of the present source has come yet.
    fresh: bool,
    asked: Option<Duration>,
    wanted: bool,
}

/// A keyframe and when it came.
struct Seen {
    frame: Frame,
    at: Duration,
}

struct Member {
    viewer: ViewerId,
    place: Place,
}

/// How a viewer stands to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Has had nothing yet; the next keyframe is its first frame.
    New,
    /// Gets every frame.
    Fed,
    /// Lost frames; goes on at the next keyframe.
    Behind,
}

impl Place {
    fn after(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Taken => Self::Fed,
            Delivery::Full => Self::Behind,
        }
    }
}

impl Fanout {
    /// A fan-out without outputs or viewers; outputs appear with their first frame.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every method leaves the state whole at each point where an engine could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source begins whose running time 0 is `offset` after the engine's epoch. Viewers stay;
    /// they go on at its first keyframe.
    pub fn begin_source(&self, offset: Duration) {
        let mut state = self.lock();
        state.offset = offset;
        state.shift = Duration::ZERO;
        for output in state.outputs.values_mut() {
            output.fresh = true;
            output.wanted = false;
            output.asked = None;
            output.forget_history();
            for member in &mut output.viewers {
                if member.place == Place::Fed {
                    member.place = Place::Behind;
                }
            }
        }
    }

    /// Hands a frame of the source to everybody.
    pub fn push(&self, now: Duration, mut frame: Frame) -> Keyframe {
        let mut guard = self.lock();
        let state = &mut *guard;
        let output = state
            .outputs
            .entry(frame.output.clone())
            .or_insert_with(|| Output {
                fresh: true,
                ..Output::default()
            });
        let mut stamp = state.offset + state.shift + frame.pts;
        if output.fresh && stamp < output.end {
            // A new source, or a loop, began before the old one ended. All outputs move, or sound
            // and picture would part.
            state.shift += output.end - stamp;
            stamp = output.end;
        }
        // A single frame out of order must not turn an RTP clock back either.
        frame.pts = match output.last {
            Some(last) => stamp.max(last + SMALLEST_STEP),
            None => stamp,
        };
        output.fresh = false;
        output.last = Some(frame.pts);
        output.at = now;
        output.end = frame.pts + frame.duration.unwrap_or_default().min(LONGEST_FRAME);
        output.codec = Some(frame.codec);
        output.remember(now, &frame);
        for member in &mut output.viewers {
            if member.place == Place::Fed || frame.keyframe {
                member.place = Place::after(self.engine.send(member.viewer, &frame));
            }
        }
        if frame.keyframe {
            output.wanted = false;
        }
        output.ask_if_due(now)
    }

    /// Adds a viewer to an output. A second time is ignored.
    pub fn join(&self, now: Duration, viewer: ViewerId, output: &str, start: Start) -> Keyframe {
        let mut state = self.lock();
        let output = state
            .outputs
            .entry(Arc::from(output))
            .or_insert_with(|| Output {
                fresh: true,
                ..Output::default()
            });
        if output.viewers.iter().any(|member| member.viewer == viewer) {
            return Keyframe::None;
        }
        let mut place = Place::New;
        if start == Start::LastKeyframe {
            for frame in &output.history {
                place = Place::after(self.engine.send(viewer, frame));
                if place == Place::Behind {
                    break;
                }
            }
        }
        output.viewers.push(Member { viewer, place });
        output.ask_if_due(now)
    }

    /// Removes a viewer from all outputs. When this returns, no frame is on its way to it.
    pub fn leave(&self, viewer: ViewerId) {
        for output in self.lock().outputs.values_mut() {
            output.viewers.retain(|member| member.viewer != viewer);
        }
    }

    /// A viewer lost its picture.
    pub fn want_keyframe(&self, now: Duration, output: &str) -> Keyframe {
        match self.lock().outputs.get_mut(output) {
            Some(output) => {
                output.wanted = true;
                output.ask_if_due(now)
            }
            None => Keyframe::None,
        }
    }

    /// What it takes to decode one picture of an output: its last keyframe, if that is younger
    /// than `age`, else all frames since then.
    pub fn picture(&self, now: Duration, output: &str, age: Duration) -> Vec<Frame> {
        let state = self.lock();
        let Some(output) = state.outputs.get(output) else {
            return Vec::new();
        };
        match &output.keyframe {
            Some(seen) if now.saturating_sub(seen.at) <= age || output.history.is_empty() => {
                vec![seen.frame.clone()]
            }
            Some(_) => output.history.iter().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// When a frame last came, on the output of this kind that has been silent longest. Outputs
    /// the present source has not fed do not count.
    pub fn last_frame(&self, kind: Kind) -> Option<Duration> {
        let state = self.lock();
        let fed = state.outputs.values().filter(|output| {
            !output.fresh && output.codec.is_some_and(|codec| codec.kind() == kind)
        });
        fed.map(|output| output.at).min()
    }

    /// How many viewers an output has.
    pub fn viewers(&self, output: &str) -> usize {
        self.lock()
            .outputs
            .get(output)
            .map_or(0, |o| o.viewers.len())
    }
}

impl Output {
    fn remember(&mut self, now: Duration, frame: &Frame) {
        if frame.keyframe {
            self.forget_history();
            self.keyframe = Some(Seen {
                frame: frame.clone(),
                at: now,
            });
        } else if self.history.is_empty() {
            // It needs a frame that is no longer kept.
            return;
        }
        self.history_bytes += frame.bytes.len();
        self.history.push_back(frame.clone());
        if self.history_bytes > MAX_HISTORY_BYTES || self.history.len() > MAX_HISTORY_FRAMES {
            self.forget_history();
        }
    }

    fn forget_history(&mut self) {
        self.history.clear();
        self.history_bytes = 0;
    }

    /// One request serves everybody who waits. One that comes too early stays open and is made by
    /// a later frame.
    fn ask_if_due(&mut self, now: Duration) -> Keyframe {
        if self.codec.is_none_or(|codec| codec.kind() == Kind::Audio) {
            return Keyframe::None;
        }
        let stands = |place| self.viewers.iter().any(|member| member.place == place);
        let passed = |since: Option<Duration>, interval| {
            since.is_none_or(|since| now.saturating_sub(since) >= interval)
        };
        let came = self.keyframe.as_ref().map(|seen| seen.at);
        let join = stands(Place::New) && passed(self.asked, JOIN_INTERVAL);
        let repair = (self.wanted || stands(Place::Behind))
            && passed(self.asked, KEYFRAME_INTERVAL)
            && passed(came, KEYFRAME_INTERVAL);
        if !(join || repair) {
            return Keyframe::None;
        }
        self.asked = Some(now);
        self.wanted = false;
        Keyframe::Ask
    }
}

#[cfg(test)]
mod tests;
