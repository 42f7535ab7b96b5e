//! Which of several sizes of a picture each viewer gets.

use super::*;
use crate::media::ladder::Ladder;

impl Hub {
    /// Looks at every line that is measured, and moves viewers that leave it to us to the rung that
    /// fits.
    pub(super) fn check_bandwidth(&mut self, now: Duration) {
        for (id, viewer) in &mut self.viewers {
            let ViewerState::Playing {
                outputs, ladder, ..
            } = &mut viewer.state
            else {
                continue;
            };
            if viewer.wish != Wish::Auto {
                continue;
            }
            let Some(line) = self.parts.engine.line(*id) else {
                continue;
            };
            let stream = &mut self.streams[viewer.stream];
            for output in outputs {
                let rungs = stream.rungs(output);
                let Some(at) = rungs.iter().position(|(name, _)| name == output) else {
                    continue;
                };
                let rates: Vec<u64> = rungs.iter().map(|(_, rate)| *rate).collect();
                tracing::trace!(viewer = %id, ?line, ?rates, at, "line");
                let ladder = ladder.get_or_insert_with(Ladder::new);
                let choice = ladder.choose(now, line, &rates, at);
                stream.fanout.limit(now, *id, choice.limit);
                if choice.rung != at {
                    let (name, rate) = &rungs[choice.rung];
                    tracing::debug!(viewer = %id, ?line, rung = name, rate, "another rung");
                    output.clone_from(name);
                    stream.wake(now, name);
                    self.dirty = true;
                    let keyframe = stream.fanout.change(now, *id, name);
                    stream.force(keyframe, name);
                }
            }
        }
    }
}
