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

/// An encode is asked for at most one keyframe in this time, however many viewers want one.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);
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
    last: Duration,
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
    /// Gets nothing until a keyframe comes.
    waiting: bool,
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
            output.forget_history();
            for member in &mut output.viewers {
                member.waiting = true;
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
        frame.pts = stamp.max(output.last);
        output.fresh = false;
        output.last = frame.pts;
        output.end = frame.pts + frame.duration.unwrap_or_default();
        output.codec = Some(frame.codec);
        output.remember(now, &frame);
        for member in &mut output.viewers {
            if member.waiting && !frame.keyframe {
                continue;
            }
            member.waiting = self.engine.send(member.viewer, &frame) == Delivery::Full;
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
        let mut waiting = true;
        if start == Start::LastKeyframe && !output.history.is_empty() {
            waiting = output
                .history
                .iter()
                .any(|frame| self.engine.send(viewer, frame) == Delivery::Full);
        }
        output.viewers.push(Member { viewer, waiting });
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

    /// One request a second, shared by everybody who waits. One that comes too early stays open
    /// and is made by a later frame.
    fn ask_if_due(&mut self, now: Duration) -> Keyframe {
        let picture = self.codec.is_some_and(|codec| codec.kind() == Kind::Video);
        let wanted = self.wanted || self.viewers.iter().any(|member| member.waiting);
        let due = self
            .asked
            .is_none_or(|asked| now.saturating_sub(asked) >= KEYFRAME_INTERVAL);
        if !(picture && wanted && due) {
            return Keyframe::None;
        }
        self.asked = Some(now);
        self.wanted = false;
        Keyframe::Ask
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::fake::FakeEngine;

    const A: ViewerId = ViewerId(1);
    const B: ViewerId = ViewerId(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn frame(output: &str, pts: u64, keyframe: bool) -> Frame {
        let (codec, duration) = match output {
            "audio" => (Codec::Opus, 20),
            _ => (Codec::Vp8, 40),
        };
        Frame {
            output: output.into(),
            codec,
            pts: ms(pts),
            duration: Some(ms(duration)),
            keyframe,
            bytes: Bytes::from_static(&[0; 100]),
        }
    }

    fn fixture() -> (Arc<FakeEngine>, Fanout) {
        let engine = Arc::new(FakeEngine::default());
        (engine.clone(), Fanout::new(engine))
    }

    #[test]
    fn a_viewer_begins_at_the_next_keyframe_and_misses_nothing_after() {
        let (engine, fanout) = fixture();
        let _ = fanout.push(ms(0), frame("video", 0, true));
        assert_eq!(
            fanout.join(ms(10), A, "video", Start::NextKeyframe),
            Keyframe::Ask
        );
        for (pts, keyframe) in [(40, false), (80, true), (120, false), (160, false)] {
            let _ = fanout.push(ms(pts), frame("video", pts, keyframe));
        }
        assert_eq!(engine.stamps(A), [80, 120, 160]);
        fanout.leave(A);
        let _ = fanout.push(ms(200), frame("video", 200, true));
        assert_eq!(engine.stamps(A), [80, 120, 160]);
        assert_eq!(fanout.viewers("video"), 0);
    }

    #[test]
    fn history_then_live_without_a_gap_or_a_double() {
        let (engine, fanout) = fixture();
        for (pts, keyframe) in [(0, true), (40, false), (80, true), (120, false)] {
            let _ = fanout.push(ms(pts), frame("video", pts, keyframe));
        }
        let _ = fanout.join(ms(130), A, "video", Start::LastKeyframe);
        let _ = fanout.join(ms(131), A, "video", Start::LastKeyframe);
        let _ = fanout.push(ms(160), frame("video", 160, false));
        assert_eq!(engine.stamps(A), [80, 120, 160]);
    }

    #[test]
    fn history_is_bounded() {
        let (engine, fanout) = fixture();
        let mut big = frame("video", 0, true);
        let _ = fanout.push(ms(0), big.clone());
        big.keyframe = false;
        big.bytes = Bytes::from(vec![0; MAX_HISTORY_BYTES]);
        let _ = fanout.push(ms(40), big);
        let _ = fanout.push(ms(80), frame("video", 80, false));
        let _ = fanout.join(ms(90), A, "video", Start::LastKeyframe);
        assert_eq!(engine.stamps(A), [0_u128; 0]);
        assert_eq!(fanout.picture(ms(90), "video", ms(10)).len(), 1);
    }

    #[test]
    fn a_viewer_that_fell_behind_goes_on_at_a_keyframe_and_disturbs_nobody() {
        let (engine, fanout) = fixture();
        let _ = fanout.push(ms(0), frame("video", 0, true));
        let _ = fanout.join(ms(0), A, "video", Start::LastKeyframe);
        let _ = fanout.join(ms(0), B, "video", Start::LastKeyframe);
        engine.state.lock().unwrap().full.insert(A);
        assert_eq!(
            fanout.push(ms(40), frame("video", 40, false)),
            Keyframe::Ask
        );
        engine.state.lock().unwrap().full.clear();
        let _ = fanout.push(ms(80), frame("video", 80, false));
        let _ = fanout.push(ms(120), frame("video", 120, true));
        let _ = fanout.push(ms(160), frame("video", 160, false));
        assert_eq!(engine.stamps(A), [0, 120, 160]);
        assert_eq!(engine.stamps(B), [0, 40, 80, 120, 160]);
    }

    #[test]
    fn keyframes_are_asked_for_once_a_second_and_joins_share_one() {
        let (_, fanout) = fixture();
        let _ = fanout.push(ms(0), frame("video", 0, true));
        let asked = |joined| joined == Keyframe::Ask;
        assert!(asked(fanout.join(ms(100), A, "video", Start::NextKeyframe)));
        assert!(!asked(fanout.join(
            ms(110),
            B,
            "video",
            Start::NextKeyframe
        )));
        assert!(!asked(fanout.want_keyframe(ms(200), "video")));
        let _ = fanout.push(ms(240), frame("video", 240, true));
        // The keyframe served everybody; a later loss waits for its turn, then is remembered.
        assert!(!asked(fanout.want_keyframe(ms(300), "video")));
        assert!(!asked(fanout.push(ms(1080), frame("video", 1080, false))));
        assert!(asked(fanout.push(ms(1120), frame("video", 1120, false))));
        assert!(!asked(fanout.push(ms(1160), frame("video", 1160, true))));
        let mut requests = 0;
        for step in 0..1000 {
            requests += u32::from(asked(fanout.want_keyframe(ms(2200 + step * 10), "video")));
        }
        assert_eq!(requests, 10);
    }

    #[test]
    fn an_encoder_that_ignored_the_request_is_asked_again() {
        let (_, fanout) = fixture();
        let _ = fanout.push(ms(0), frame("video", 0, true));
        let _ = fanout.join(ms(0), A, "video", Start::NextKeyframe);
        assert_eq!(
            fanout.push(ms(999), frame("video", 999, false)),
            Keyframe::None
        );
        assert_eq!(
            fanout.push(ms(1040), frame("video", 1040, false)),
            Keyframe::Ask
        );
    }

    #[test]
    fn sound_never_asks_for_keyframes() {
        let (engine, fanout) = fixture();
        assert_eq!(
            fanout.join(ms(0), A, "audio", Start::NextKeyframe),
            Keyframe::None
        );
        assert_eq!(fanout.push(ms(0), frame("audio", 0, true)), Keyframe::None);
        assert_eq!(fanout.want_keyframe(ms(0), "audio"), Keyframe::None);
        assert_eq!(engine.stamps(A), [0]);
    }

    #[test]
    fn a_join_before_the_first_frame_asks_when_the_codec_is_known() {
        let (_, fanout) = fixture();
        assert_eq!(
            fanout.join(ms(0), A, "video", Start::NextKeyframe),
            Keyframe::None
        );
        assert_eq!(fanout.push(ms(10), frame("video", 0, false)), Keyframe::Ask);
    }

    #[test]
    fn a_source_that_begins_later_arrives_at_its_time() {
        let (engine, fanout) = fixture();
        fanout.begin_source(ms(5000));
        let _ = fanout.join(ms(0), A, "video", Start::NextKeyframe);
        let _ = fanout.push(ms(0), frame("video", 40, true));
        fanout.begin_source(ms(9000));
        let _ = fanout.push(ms(0), frame("video", 0, true));
        assert_eq!(engine.stamps(A), [5040, 9000]);
    }

    #[test]
    fn a_loop_shifts_picture_and_sound_together_and_never_back() {
        let (engine, fanout) = fixture();
        fanout.begin_source(ms(1000));
        let _ = fanout.join(ms(0), A, "video", Start::NextKeyframe);
        let _ = fanout.join(ms(0), B, "audio", Start::NextKeyframe);
        let _ = fanout.push(ms(0), frame("video", 500, true));
        let _ = fanout.push(ms(0), frame("audio", 600, true));
        // The same file again, a little too early: 1520 + 0 lies before the ends 1540 and 1620.
        fanout.begin_source(ms(1520));
        let _ = fanout.push(ms(0), frame("video", 0, true));
        let _ = fanout.push(ms(0), frame("audio", 0, true));
        let _ = fanout.push(ms(0), frame("video", 40, false));
        assert_eq!(engine.stamps(A), [1500, 1540, 1660]);
        assert_eq!(engine.stamps(B), [1600, 1620]);
    }

    #[test]
    fn a_new_source_shows_nothing_before_its_first_keyframe() {
        let (engine, fanout) = fixture();
        let _ = fanout.push(ms(0), frame("video", 0, true));
        let _ = fanout.join(ms(0), A, "video", Start::LastKeyframe);
        fanout.begin_source(ms(100));
        let _ = fanout.push(ms(0), frame("video", 0, false));
        let _ = fanout.push(ms(0), frame("video", 40, true));
        assert_eq!(engine.stamps(A), [0, 140]);
    }

    #[test]
    fn a_frame_out_of_order_does_not_turn_the_clock_back() {
        let (engine, fanout) = fixture();
        let _ = fanout.join(ms(0), A, "video", Start::NextKeyframe);
        let _ = fanout.push(ms(0), frame("video", 0, true));
        let _ = fanout.push(ms(0), frame("video", 80, false));
        let _ = fanout.push(ms(0), frame("video", 40, false));
        assert_eq!(engine.stamps(A), [0, 80, 80]);
    }

    #[test]
    fn a_still_is_made_of_a_fresh_keyframe_or_of_all_since() {
        let (_, fanout) = fixture();
        assert!(fanout.picture(ms(0), "video", ms(100)).is_empty());
        for (pts, keyframe) in [(0, true), (40, false), (80, false)] {
            let _ = fanout.push(ms(pts), frame("video", pts, keyframe));
        }
        assert_eq!(fanout.picture(ms(90), "video", ms(100)).len(), 1);
        assert_eq!(fanout.picture(ms(200), "video", ms(100)).len(), 3);
    }

    #[test]
    fn joining_and_leaving_while_frames_flow_gives_every_viewer_a_run_without_holes() {
        let (engine, fanout) = fixture();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..2000 {
                    let _ = fanout.push(ms(n), frame("video", n, n % 10 == 0));
                }
            });
            for thread in 0..4 {
                let fanout = &fanout;
                scope.spawn(move || {
                    for n in 0..100 {
                        let viewer = ViewerId(thread * 1000 + n);
                        let _ = fanout.join(ms(0), viewer, "video", Start::LastKeyframe);
                        if n % 2 == 0 {
                            std::thread::yield_now();
                        }
                        fanout.leave(viewer);
                    }
                });
            }
        });
        let state = engine.state.lock().unwrap();
        for frames in state.frames.values() {
            assert!(frames[0].keyframe);
            for pair in frames.windows(2) {
                assert_eq!(pair[1].pts - pair[0].pts, ms(1));
            }
        }
        assert_eq!(fanout.viewers("video"), 0);
    }
}
