//! What viewers wish to see: the rung that their line carries, one of their choice, or sound alone.

use super::*;

impl Hub {
    pub(super) fn handle_choose(&mut self, now: Duration, viewer: ViewerId, wish: Wish) {
        let result = self.choose(now, viewer, wish);
        self.events.push(MediaEvent::Chosen { viewer, result });
    }

    fn choose(&mut self, now: Duration, id: ViewerId, wish: Wish) -> Result<(), Refusal> {
        let not_there = || Refusal::Failed("there is no such viewer".to_owned());
        let viewer = self.viewers.get_mut(&id).ok_or_else(not_there)?;
        let stream = &self.streams[viewer.stream];
        let outputs = viewer.state.outputs();
        let shown = outputs.iter().find(|output| stream.is_picture(output));
        let codec = match &viewer.paused {
            Some(paused) => Some(paused.codec),
            None => shown.and_then(|output| stream.codecs.get(output).copied()),
        };
        let available = stream.available();
        let rungs = codec.map_or_else(Vec::new, |codec| rungs(&available, codec));
        let known = |name: &str| rungs.iter().any(|rung| rung.output == name);
        match &wish {
            Wish::Rung(name) if !known(name) => {
                let names: Vec<&str> = rungs.iter().map(|rung| rung.output.as_str()).collect();
                return Err(Refusal::NoSuchRung(match names.as_slice() {
                    [] => format!("there is no rung {name}: this viewer has no picture"),
                    _ => format!("there is no rung {name}, only {}", names.join(", ")),
                }));
            }
            Wish::Audio if outputs.iter().all(|output| stream.is_picture(output)) => {
                return Err(Refusal::NoSuchRung("there is no sound".to_owned()));
            }
            _ => {}
        }
        viewer.wish = wish;
        self.follow(now, id);
        Ok(())
    }

    /// Does what a viewer wishes, if frames flow to it by now.
    pub(super) fn follow(&mut self, now: Duration, id: ViewerId) {
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return;
        };
        let stream = &mut self.streams[viewer.stream];
        let ViewerState::Playing {
            outputs,
            silence_limit,
            ladder,
        } = &mut viewer.state
        else {
            return;
        };
        self.dirty = true;
        let shown = outputs.iter().position(|output| stream.is_picture(output));
        match (&viewer.wish, shown) {
            (Wish::Audio, Some(shown)) => {
                let output = outputs.remove(shown);
                let codec = stream.codecs.get(&output).copied();
                viewer.paused = codec.map(|codec| Paused { output, codec });
                stream.fanout.leave_picture(id);
                *ladder = None;
                *silence_limit = SILENCE_LIMIT_SOUND;
            }
            (Wish::Rung(name), Some(shown)) if outputs[shown] != *name => {
                outputs[shown].clone_from(name);
                *ladder = None;
                stream.wake(now, name);
                stream.fanout.limit(now, id, None);
                let keyframe = stream.fanout.change(now, id, name);
                stream.force(keyframe, name);
            }
            (Wish::Auto | Wish::Rung(_), None) => {
                let Some(paused) = viewer.paused.take() else {
                    return;
                };
                let available = stream.available();
                let mut rungs = rungs(&available, paused.codec).into_iter();
                let wanted = match &viewer.wish {
                    Wish::Rung(name) => name,
                    _ => &paused.output,
                };
                let first = rungs.clone().next();
                let rung = rungs.find(|rung| rung.output == *wanted).or(first);
                let Some(output) = rung.map(|rung| rung.output.clone()) else {
                    return self.end(id, CODEC_CHANGED);
                };
                *silence_limit = SILENCE_LIMIT;
                stream.wake(now, &output);
                let keyframes = stream.keyframes(&output);
                let keyframe = stream.fanout.join(now, id, &output, keyframes);
                stream.force(keyframe, &output);
                outputs.push(output);
            }
            _ => {}
        }
    }
}
