//! Hands every encoded frame of a stream to all its viewers: one encode, any number of viewers.
//!
//! Everything happens under one lock, so a viewer that joins neither misses a frame nor gets one
//! twice. Viewers are independent: one that cannot keep up loses its own frames, down to the next
//! keyframe. One source is on air; its successor can run beside it until it is switched to. Time is
//! an argument (any monotonic clock), GStreamer is unknown here.

mod meter;
mod rest;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meter::{Budget, Meter};
use rest::{Obedience, Work};

use crate::codec::{Codec, Kind};
use crate::engine::{Delivery, Engine, Frame, ViewerId};

pub use rest::Rest;

/// An encoder is asked for no more than one keyframe in this time, so that neither many joins nor
/// one bad link cost everybody else quality. Who joins within it shares that keyframe.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);
/// How far back the keyframe of a group may lie that is handed to who joins, where keyframes only
/// come when they come.
const LONGEST_GROUP: Duration = Duration::from_secs(10);
/// Two frames of one output are at least this far apart: browsers take frames of one RTP time
/// stamp for one frame.
const SMALLEST_STEP: Duration = Duration::from_millis(1);
/// Frames of the past are handed over as if they had come within this time, which is what an engine
/// takes of a viewer's at a time; where they are many they stand closer together.
const LONGEST_REPLAY: Duration = Duration::from_millis(400);
/// A longer duration is a mistake of the source, and must not move what follows.
const LONGEST_FRAME: Duration = Duration::from_secs(1);
/// Bounds of what is kept since the last keyframe, per output.
const MAX_HISTORY_BYTES: usize = 3 << 20;
const MAX_HISTORY_FRAMES: usize = 1024;

/// When keyframes of an output come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyframes {
    /// When they are asked for: there is an encoder that obeys.
    OnRequest,
    /// As the source has them.
    AsTheyCome,
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

/// One run of a pipeline that feeds a fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub u64);

#[derive(Default)]
struct State {
    outputs: BTreeMap<Arc<str>, Output>,
    on_air: Option<SourceId>,
    /// Added to all stamps since this source began, so that none steps back.
    shift: Duration,
    staged: Option<Staged>,
}

/// A source that waits to go on air, and what it has to show when it does.
struct Staged {
    source: SourceId,
    outputs: BTreeMap<Arc<str>, Output>,
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
    /// A frame of the source on air has come.
    fed: bool,
    asked: Option<Duration>,
    wanted: bool,
    /// It was asked for a keyframe and gave none.
    deaf: bool,
    obedience: Obedience,
    meter: Meter,
    work: Work,
}

/// A keyframe and when it came.
struct Seen {
    frame: Frame,
    at: Duration,
}

#[derive(Clone, Copy)]
struct Member {
    viewer: ViewerId,
    place: Place,
    /// Stamp of the last frame it got.
    last: Option<Duration>,
    /// Its line is narrower than the output.
    budget: Option<Budget>,
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
    /// Has had what its line carries; goes on at the next keyframe that it carries.
    Spent,
    /// Still gets another output; leaves that one for the next keyframe of this.
    Moving,
}

impl Member {
    fn new(viewer: ViewerId, place: Place) -> Self {
        Self {
            viewer,
            place,
            last: None,
            budget: None,
        }
    }

    /// Sends a frame at least `apart` from the last.
    fn send(&mut self, engine: &dyn Engine, now: Duration, frame: &Frame, apart: Duration) {
        let mut budget = self.budget.as_mut();
        if budget
            .as_mut()
            .is_some_and(|b| !b.pay(now, frame.bytes.len()))
        {
            self.place = Place::Spent;
            return;
        }
        // Two outputs of one picture give the same stamps.
        let earliest = self.last.map(|last| last + apart);
        let later = earliest.filter(|earliest| frame.pts < *earliest);
        let delivery = match later {
            None => engine.send(self.viewer, frame),
            Some(pts) => {
                let frame = Frame {
                    pts,
                    ..frame.clone()
                };
                engine.send(self.viewer, &frame)
            }
        };
        self.place = match delivery {
            Delivery::Taken => {
                self.last = later.or(Some(frame.pts));
                Place::Fed
            }
            Delivery::Full => Place::Behind,
        };
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

    /// From now on the frames of this source go out, and those of no other. Viewers stay; they go
    /// on at its first keyframe.
    pub fn admit(&self, source: SourceId) {
        let mut state = self.lock();
        state.on_air = Some(source);
        state.shift = Duration::ZERO;
        state.staged = None;
        state.outputs.values_mut().for_each(Output::expect_source);
    }

    /// This source runs beside the one on air until [`Fanout::switch`]. What came of it since its
    /// last keyframe is kept.
    pub fn stage(&self, source: SourceId) {
        self.lock().staged = Some(Staged {
            source,
            outputs: BTreeMap::new(),
        });
    }

    /// Nothing more is wanted of the staged source.
    pub fn unstage(&self) {
        self.lock().staged = None;
    }

    /// The staged source goes on air, at the keyframe that it has shown already.
    pub fn switch(&self, now: Duration) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(staged) = state.staged.take() else {
            return;
        };
        state.on_air = Some(staged.source);
        // Both ran in the same time, so nothing is shifted: an overlap of a few frames is squeezed.
        state.shift = Duration::ZERO;
        let names = &staged.outputs;
        state
            .outputs
            .retain(|name, output| names.contains_key(name) || !output.viewers.is_empty());
        state.outputs.values_mut().for_each(Output::expect_source);
        for (name, staged) in staged.outputs {
            let output = state.outputs.entry(name).or_default();
            for frame in staged.history {
                // The old source has been heard until then.
                if frame.codec.kind() == Kind::Audio && frame.pts < output.end {
                    continue;
                }
                output.deliver(&*self.engine, now, frame);
            }
        }
    }

    /// Hands a frame of a source to everybody. Its stamp counts from the engine's epoch.
    pub fn push(&self, source: SourceId, now: Duration, mut frame: Frame) -> Keyframe {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.on_air != Some(source) {
            if let Some(staged) = &mut state.staged {
                if staged.source == source {
                    let output = staged.outputs.entry(frame.output.clone()).or_default();
                    output.remember(now, &frame);
                }
            }
            return Keyframe::None;
        }
        let output = state.outputs.entry(frame.output.clone()).or_default();
        frame.pts += state.shift;
        if !output.fed && frame.pts < output.end {
            // A new source, or a loop, began before the old one ended. All outputs move, or sound
            // and picture would part.
            state.shift += output.end - frame.pts;
            frame.pts = output.end;
        }
        if frame.keyframe {
            state.move_viewers(&frame);
        }
        let output = state.outputs.entry(frame.output.clone()).or_default();
        output.deliver(&*self.engine, now, frame);
        output.ask_if_due(now)
    }

    /// Adds a viewer to an output; a second time is ignored. It begins at once with the frames
    /// since the last keyframe, if they are few enough, else with the next keyframe.
    pub fn join(
        &self,
        now: Duration,
        viewer: ViewerId,
        output: &str,
        keyframes: Keyframes,
    ) -> Keyframe {
        let mut state = self.lock();
        let output = state.outputs.entry(Arc::from(output)).or_default();
        if output.viewers.iter().any(|member| member.viewer == viewer) {
            return Keyframe::None;
        }
        let reach = match keyframes {
            Keyframes::OnRequest if !output.deaf => KEYFRAME_INTERVAL,
            _ => LONGEST_GROUP,
        };
        let mut member = Member::new(viewer, Place::New);
        output.replay(&*self.engine, now, &mut member, reach);
        output.viewers.push(member);
        output.ask_if_due(now)
    }

    /// Moves a viewer from the output of a picture that it gets to another one of the same codec,
    /// at a keyframe of that. A second move takes the place of one that is under way.
    pub fn change(&self, now: Duration, viewer: ViewerId, to: &str) -> Keyframe {
        let mut state = self.lock();
        state.forget_moves(viewer);
        let Some(codec) = state.outputs.get(to).and_then(|output| output.codec) else {
            return Keyframe::None;
        };
        let here = state.outputs.iter().find_map(|(name, output)| {
            let same = output.codec == Some(codec);
            let member = output.viewers.iter().find(|m| m.viewer == viewer)?;
            same.then(|| (name.clone(), member.budget))
        });
        let Some((_, budget)) = here.filter(|(name, _)| **name != *to) else {
            return Keyframe::None;
        };
        let Some(output) = state.outputs.get_mut(to) else {
            return Keyframe::None;
        };
        output.viewers.push(Member {
            budget,
            ..Member::new(viewer, Place::Moving)
        });
        output.ask_if_due(now)
    }

    /// Gives a viewer no more of its picture than so many bits per second, in whole runs from a
    /// keyframe on; `None` lifts the limit.
    pub fn limit(&self, now: Duration, viewer: ViewerId, rate: Option<u64>) {
        let mut state = self.lock();
        let pictures = state
            .outputs
            .values_mut()
            .filter(|output| output.is_picture());
        let members = pictures.flat_map(|output| &mut output.viewers);
        for member in members.filter(|member| member.viewer == viewer) {
            member.budget = match (member.budget, rate) {
                (_, None) => None,
                (None, Some(rate)) => Some(Budget::new(now, rate)),
                (Some(budget), Some(rate)) => Some(budget.with_rate(now, rate)),
            };
        }
    }

    /// What an output takes in bits per second; nothing while that is not known.
    /// Of one that rests, what it took before, as far as others of its codec take more or less
    /// since then.
    pub fn rate(&self, output: &str) -> Option<u64> {
        self.lock().rate(output)
    }

    /// Removes a viewer from all outputs. When this returns, no frame is on its way to it.
    pub fn leave(&self, viewer: ViewerId) {
        for output in self.lock().outputs.values_mut() {
            output.viewers.retain(|member| member.viewer != viewer);
        }
    }

    /// Removes a viewer from the outputs of the picture; sound goes on.
    pub fn leave_picture(&self, viewer: ViewerId) {
        let mut state = self.lock();
        let pictures = state.outputs.values_mut().filter(|o| o.is_picture());
        for output in pictures {
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
            Some(seen) if now.saturating_sub(seen.at) <= age => vec![seen.frame.clone()],
            // There will be a newer one when it works again.
            Some(_) if !output.work.is_encoding() => Vec::new(),
            Some(seen) if output.history.is_empty() => vec![seen.frame.clone()],
            Some(_) => output.history.iter().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// When a frame last came, on the output of this kind that has been silent longest. Outputs
    /// the present source has not fed do not count, nor do those that rest.
    pub fn last_frame(&self, kind: Kind) -> Option<Duration> {
        let state = self.lock();
        let fed = state.outputs.values().filter(|output| {
            output.fed
                && !output.work.is_resting()
                && output.codec.is_some_and(|codec| codec.kind() == kind)
        });
        fed.map(|output| output.at).min()
    }

    /// When everything that went out will have been played.
    pub fn end(&self) -> Duration {
        let state = self.lock();
        let ends = state.outputs.values().map(|output| output.end);
        ends.max().unwrap_or_default()
    }

    /// How many viewers an output has.
    #[cfg(test)]
    pub(crate) fn viewers(&self, output: &str) -> usize {
        self.lock()
            .outputs
            .get(output)
            .map_or(0, |o| o.viewers.len())
    }
}

impl State {
    /// Who waits for this keyframe leaves the output that it got until now.
    fn move_viewers(&mut self, keyframe: &Frame) {
        let Some(output) = self.outputs.get_mut(&keyframe.output) else {
            return;
        };
        let mut moving = Vec::new();
        for member in &mut output.viewers {
            if member.place == Place::Moving {
                member.place = Place::Behind;
                moving.push(member.viewer);
            }
        }
        for viewer in moving {
            let mut last = None;
            for (name, other) in &mut self.outputs {
                let of_picture = other
                    .codec
                    .is_some_and(|c| c.kind() == keyframe.codec.kind());
                if *name != keyframe.output && of_picture {
                    let left = other.viewers.iter().filter(|m| m.viewer == viewer);
                    last = last.max(left.filter_map(|member| member.last).max());
                    other.viewers.retain(|member| member.viewer != viewer);
                }
            }
            let output = self.outputs.get_mut(&keyframe.output);
            let arrived = output.and_then(|o| o.viewers.iter_mut().find(|m| m.viewer == viewer));
            if let Some(member) = arrived {
                member.last = last;
            }
        }
    }

    fn forget_moves(&mut self, viewer: ViewerId) {
        for output in self.outputs.values_mut() {
            let moving = |m: &Member| m.viewer == viewer && m.place == Place::Moving;
            output.viewers.retain(|member| !moving(member));
        }
    }
}

impl Output {
    /// A new source is to feed it.
    fn expect_source(&mut self) {
        self.fed = false;
        self.wanted = false;
        self.asked = None;
        self.deaf = false;
        self.obedience = Obedience::default();
        self.work = Work::Encoding;
        self.forget_history();
        for member in &mut self.viewers {
            if member.place == Place::Fed {
                member.place = Place::Behind;
            }
        }
    }

    fn deliver(&mut self, engine: &dyn Engine, now: Duration, mut frame: Frame) {
        // A single frame out of order must not turn an RTP clock back.
        if let Some(last) = self.last {
            frame.pts = frame.pts.max(last + SMALLEST_STEP);
        }
        self.fed = true;
        self.last = Some(frame.pts);
        self.at = now;
        self.end = frame.pts + frame.duration.unwrap_or_default().min(LONGEST_FRAME);
        self.codec = Some(frame.codec);
        if frame.keyframe && matches!(self.work, Work::Waking) {
            self.work = Work::Encoding;
        }
        if self.work.is_encoding() {
            self.meter.note(now, frame.bytes.len());
        }
        self.remember(now, &frame);
        for member in &mut self.viewers {
            if member.place == Place::Fed || frame.keyframe {
                member.send(engine, now, &frame, SMALLEST_STEP);
            }
        }
        if frame.keyframe {
            self.obedience.judge(self.asked, true);
            self.wanted = false;
            self.deaf = false;
        } else if self.is_overdue(now) {
            self.deaf = true;
            self.obedience.judge(self.asked, false);
            for index in 0..self.viewers.len() {
                let mut member = self.viewers[index];
                if member.place == Place::New {
                    self.replay(engine, now, &mut member, LONGEST_GROUP);
                    self.viewers[index] = member;
                }
            }
        }
    }

    /// Hands over the frames since the last keyframe, if that came within `reach`. Their stamps
    /// are pressed together behind that of the last one: with its own, a browser would take the
    /// first for late and play everything that much later.
    fn replay(&self, engine: &dyn Engine, now: Duration, member: &mut Member, reach: Duration) {
        let came = self.keyframe.as_ref().map(|seen| seen.at);
        let Some(last) = self.history.back() else {
            return;
        };
        if came.is_none_or(|came| now.saturating_sub(came) > reach) {
            return;
        }
        let count = self.history.len() as u32;
        let apart = SMALLEST_STEP.min(LONGEST_REPLAY / count);
        for (back, frame) in (0..count).rev().zip(&self.history) {
            let pressed = Frame {
                pts: last.pts.saturating_sub(apart * back),
                ..frame.clone()
            };
            member.send(engine, now, &pressed, apart);
            if member.place != Place::Fed {
                return;
            }
        }
    }

    /// Whether an encoder had its time to answer a request.
    fn is_overdue(&self, now: Duration) -> bool {
        let came = self.keyframe.as_ref().map(|seen| seen.at);
        self.asked.is_some_and(|asked| {
            now.saturating_sub(asked) >= KEYFRAME_INTERVAL && came.is_none_or(|came| came < asked)
        })
    }

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

    fn is_picture(&self) -> bool {
        self.codec.is_some_and(|codec| codec.kind() == Kind::Video)
    }

    /// One request serves everybody who waits. One that comes too early stays open and is made by
    /// a later frame.
    fn ask_if_due(&mut self, now: Duration) -> Keyframe {
        if !self.is_picture() {
            return Keyframe::None;
        }
        let size = self
            .keyframe
            .as_ref()
            .map_or(0, |seen| seen.frame.bytes.len());
        let waits = |member: &Member| match (member.place, member.budget) {
            (Place::Fed, _) => false,
            (Place::Spent, Some(budget)) => budget.affords(now, size),
            _ => true,
        };
        let passed = |since: Option<Duration>| {
            since.is_none_or(|since| now.saturating_sub(since) >= KEYFRAME_INTERVAL)
        };
        let came = self.keyframe.as_ref().map(|seen| seen.at);
        let wanted = self.wanted || self.viewers.iter().any(waits);
        if !(wanted && passed(self.asked) && passed(came)) {
            return Keyframe::None;
        }
        self.asked = Some(now);
        self.wanted = false;
        Keyframe::Ask
    }
}

#[cfg(test)]
mod tests;
