//! Outputs that nobody needs rest, and are woken before somebody does.

use super::*;

impl Hub {
    /// Lets pictures rest that nobody has needed for a while.
    pub(super) fn check_rest(&mut self, now: Duration, index: usize) {
        let chosen: BTreeSet<String> = self
            .viewers
            .values()
            .filter(|viewer| viewer.stream == index)
            .flat_map(|viewer| viewer.state.outputs())
            .cloned()
            .collect();
        let stream = &mut self.streams[index];
        if !matches!(stream.run, Run::Live { .. }) {
            return;
        }
        let pictures = stream.outputs().into_iter();
        let pictures = pictures.filter(|output| stream.is_picture(output));
        let pictures: Vec<String> = pictures.map(str::to_owned).collect();
        for output in pictures {
            if chosen.contains(&output) || stream.fanout.is_watched(&output) {
                stream.needed.insert(output, now);
                continue;
            }
            let since = *stream.needed.entry(output.clone()).or_insert(now);
            let rests = stream.fanout.is_resting(&output);
            let awaited = stream.image_of.as_ref() == Some(&output);
            if rests || awaited || now.saturating_sub(since) < LINGER {
                continue;
            }
            let Some(source) = stream.on_air().filter(|source| source.can_rest(&output)) else {
                continue;
            };
            match stream.fanout.rest(now, &output) {
                Rest::Now => {
                    source.rest(&output);
                    tracing::debug!(stream = stream.name, output, "nobody watches: it rests");
                    self.dirty = true;
                }
                Rest::Ask => source.force_keyframe(&output),
                Rest::Not => {}
            }
        }
    }

    /// Somebody needs an output.
    pub(super) fn wake(&mut self, now: Duration, index: usize, output: &str) {
        self.dirty |= self.streams[index].wake(now, output);
    }
}

impl Stream {
    /// Ends an output's rest; `false` if it does not rest.
    pub(super) fn wake(&self, now: Duration, output: &str) -> bool {
        let rested = self.fanout.wake(now, output);
        if let (true, Some(source)) = (rested, self.on_air()) {
            source.wake(output);
            tracing::debug!(stream = self.name, output, "woken");
        }
        rested
    }

    pub(super) fn is_picture(&self, output: &str) -> bool {
        let codec = self.codecs.get(output);
        codec.is_some_and(|codec| codec.kind() == Kind::Video)
    }

    /// The outputs that rest.
    pub(super) fn resting(&self) -> Vec<String> {
        let live = matches!(self.run, Run::Live { .. });
        let outputs = self.outputs().into_iter();
        let resting = outputs.filter(|output| live && self.fanout.is_resting(output));
        resting.map(str::to_owned).collect()
    }

    /// When a picture last came, on the output that has been silent longest. Of those that rest it
    /// is what came to their encoders.
    pub(super) fn last_picture(&self) -> Option<Duration> {
        let at_work = self.fanout.last_frame(Kind::Video);
        let source = self.on_air();
        let kept = self.resting().into_iter();
        let kept = kept.filter_map(|output| source?.heard(&output));
        at_work.into_iter().chain(kept).min()
    }
}
