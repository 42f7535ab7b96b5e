//! Outputs that nobody watches: their encoders get no frames until somebody does.
//!
//! The fan-out says when an output may rest and remembers what it took; keeping frames from the
//! encoder, and giving them again, is up to the source.

use std::sync::Arc;
use std::time::Duration;

use super::{Fanout, Keyframe, State};

/// Whether an output's encoder works.
#[derive(Debug, Default)]
pub(super) enum Work {
    /// Its frames come as they are made.
    #[default]
    Encoding,
    /// It gets nothing to encode.
    Resting {
        /// What the other outputs of its codec took when it began to rest, in bits per second;
        /// of those that rested then, what they would have taken.
        others: Vec<(Arc<str>, u64)>,
    },
    /// It gets frames again, and owes a keyframe.
    Waking,
}

impl Work {
    pub(super) fn is_encoding(&self) -> bool {
        matches!(self, Self::Encoding)
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self, Self::Resting { .. })
    }
}

/// An encoder that owes so many answers more than it gave is not let rest.
const MOST_MISSES: u8 = 3;

/// How the encoder of the present source answers requests for keyframes. One that does not may
/// give one by chance when it is asked, and one that does may be late on a busy machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Obedience {
    /// Requests without an answer in time, less those with one.
    misses: u8,
    /// The last request was answered in time.
    shown: bool,
    /// The last request that was, or was not.
    judged: Option<Duration>,
}

impl Obedience {
    pub(super) fn judge(&mut self, asked: Option<Duration>, answered: bool) {
        if asked.is_none() || self.judged == asked {
            return;
        }
        self.judged = asked;
        self.shown = answered;
        self.misses = match answered {
            true => self.misses.saturating_sub(1),
            false => self.misses.saturating_add(1),
        };
    }
}

/// What comes of the wish that an output rests.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It rests from now on: its encoder is to get no frames.
    Now,
    /// It has to show first that it gives a keyframe when asked, or whoever comes would wait:
    /// ask it.
    Ask,
    /// It goes on.
    Not,
}

impl Fanout {
    /// Lets a picture rest that has no viewers, once its rate is known and its encoder has shown
    /// that it obeys.
    pub fn rest(&self, now: Duration, output: &str) -> Rest {
        let mut guard = self.lock();
        let state = &mut *guard;
        let others = state.rates_beside(output, |_| true);
        let Some(output) = state.outputs.get_mut(output) else {
            return Rest::Not;
        };
        let measured = output.fed && output.is_picture() && output.meter.rate().is_some();
        if !measured || !output.viewers.is_empty() || !output.work.is_encoding() {
            return Rest::Not;
        }
        if output.is_overdue(now) {
            output.obedience.judge(output.asked, false);
        }
        let Obedience {
            misses,
            shown,
            judged,
        } = output.obedience;
        // The answer to a request is awaited.
        let awaited = output.asked.is_some() && output.asked != judged;
        if misses >= MOST_MISSES || awaited {
            return Rest::Not;
        }
        if !shown {
            output.wanted = true;
            return match output.ask_if_due(now) {
                Keyframe::Ask => Rest::Ask,
                Keyframe::None => Rest::Not,
            };
        }
        output.wanted = false;
        output.meter.pause();
        // What comes next does not follow on it.
        output.forget_history();
        output.work = Work::Resting { others };
        Rest::Now
    }

    /// Ends the rest of an output, if it rests: its encoder is to get frames, and to be asked for
    /// a keyframe.
    pub fn wake(&self, now: Duration, output: &str) -> bool {
        let mut state = self.lock();
        let rate = state.rate(output);
        let Some(output) = state.outputs.get_mut(output) else {
            return false;
        };
        if !output.work.is_resting() {
            return false;
        }
        output.work = Work::Waking;
        output.meter.resume(rate);
        output.forget_history();
        output.asked = Some(now);
        output.at = now;
        true
    }

    /// Whether an output rests.
    pub fn is_resting(&self, output: &str) -> bool {
        let state = self.lock();
        let output = state.outputs.get(output);
        output.is_some_and(|output| output.work.is_resting())
    }

    /// Whether an output rests, or has been woken and has not shown a keyframe since.
    pub fn is_idle(&self, output: &str) -> bool {
        let state = self.lock();
        let output = state.outputs.get(output);
        output.is_some_and(|output| !output.work.is_encoding())
    }

    /// Whether somebody gets an output, or is about to move to it.
    pub fn is_watched(&self, output: &str) -> bool {
        let state = self.lock();
        let output = state.outputs.get(output);
        output.is_some_and(|output| !output.viewers.is_empty())
    }
}

impl State {
    /// What those other outputs of the same codec as this one take whose work is as wanted.
    fn rates_beside(&self, name: &str, wanted: impl Fn(&Work) -> bool) -> Vec<(Arc<str>, u64)> {
        let codec = self.outputs.get(name).and_then(|output| output.codec);
        let others = self.outputs.iter().filter(|(other, output)| {
            ***other != *name && output.codec == codec && wanted(&output.work)
        });
        others
            .filter_map(|(other, _)| Some((other.clone(), self.rate(other)?)))
            .collect()
    }

    pub(super) fn rate(&self, name: &str) -> Option<u64> {
        let output = self.outputs.get(name)?;
        let rate = output.meter.rate()?;
        let Work::Resting { others } = &output.work else {
            return Some(rate);
        };
        // All are of one picture: what makes one of them large makes all of them large.
        let beside = self.rates_beside(name, Work::is_encoding);
        let scaled = others.iter().find_map(|(other, then)| {
            let (_, now) = beside.iter().find(|(name, _)| name == other)?;
            (*then > 0).then(|| (rate as f64 * *now as f64 / *then as f64) as u64)
        });
        Some(scaled.unwrap_or(rate))
    }
}
