//! What becomes of a stream when its description changes: the new pipeline runs beside the old one
//! until it has a picture, and then takes its place for the same viewers.

use super::*;

/// What is said of a description that is well-formed and does not play.
const DOES_NOT_RUN: &str = "the changed description does not run, and what was on air stays";

impl Hub {
    /// These are the descriptions now, as far as they can be read.
    pub(super) fn handle_descriptions(&mut self, now: Duration, loaded: Vec<Loaded>) {
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            if stream.listed && !loaded.iter().any(|other| other.name == stream.name) {
                self.remove_stream(index);
            }
        }
        for one in loaded {
            let is_there = |stream: &Stream| stream.listed && stream.name == one.name;
            if !self.streams.iter().any(is_there) {
                tracing::info!(stream = one.name, "a new stream");
            }
            self.take(now, one);
        }
    }

    /// This is what a file says now.
    pub(super) fn take(&mut self, now: Duration, Loaded { name, result }: Loaded) {
        // A name that was there before keeps its place: jobs know streams by it.
        let known = self.streams.iter().position(|stream| stream.name == name);
        let index = known.unwrap_or_else(|| {
            let stream = Stream::new(name, self.parts.engine.clone());
            self.streams.push(stream);
            self.streams.len() - 1
        });
        self.streams[index].listed = true;
        match result {
            Ok(description) => self.adopt(now, index, description),
            Err(faults) => {
                self.reject(index, faults.into(), "the description cannot be used");
            }
        }
    }

    fn remove_stream(&mut self, index: usize) {
        tracing::info!(stream = self.streams[index].name, "the description is gone");
        self.end_all(index, "the stream was taken away");
        self.drop_sources(index);
        let stream = &mut self.streams[index];
        stream.listed = false;
        stream.description = None;
        stream.fallback = None;
        stream.rejected = None;
        stream.fault = None;
        stream.codecs.clear();
        stream.image = None;
        self.changed(index);
    }

    /// The file cannot be used, or not what it says. What is on air stays there.
    fn reject(&mut self, index: usize, failure: Failure, why: &str) {
        let stream = &mut self.streams[index];
        if stream.fault.as_ref() == Some(&failure.error) {
            return;
        }
        let name = &stream.name;
        let text = failure.rendered.as_ref().unwrap_or(&failure.error);
        tracing::warn!("{name}: {why}\n{text}");
        stream.fault = Some(failure.error);
        if stream.description.is_none() {
            stream.status = StreamState::Failed;
        }
        self.changed(index);
    }

    /// The file is well-formed: its pipeline is to play.
    fn adopt(&mut self, now: Duration, index: usize, description: Description) {
        let description = Arc::new(description);
        let stream = &mut self.streams[index];
        let rejected = stream.rejected.as_ref();
        if rejected.is_some_and(|rejected| rejected.is_same_pipeline(&description)) {
            // Another file was saved: nothing makes this one better.
            return;
        }
        stream.rejected = None;
        let mended = stream.fault.take().is_some();
        let newest = match &mut stream.next {
            Some(next) => Some(&mut next.description),
            None => stream.description.as_mut(),
        };
        if let Some(newest) = newest {
            if newest.is_same_pipeline(&description) {
                if mended || *newest != description {
                    let what = match **newest == *description {
                        true => "the description is as on air again",
                        false => "the description has changed, and its pipeline has not",
                    };
                    *newest = description;
                    tracing::info!(stream = stream.name, "{what}");
                    self.changed(index);
                }
                return;
            }
            tracing::info!(stream = stream.name, "the description has changed");
        }
        self.drop_next(index);
        let stream = &mut self.streams[index];
        if matches!(stream.run, Run::Live { .. }) {
            stream.next = Some(Next {
                description,
                attempt: None,
            });
            self.start_next(now, index);
        } else {
            self.drop_sources(index);
            let stream = &mut self.streams[index];
            stream.description = Some(description);
            stream.fallback = None;
            stream.retry = FIRST_RETRY;
            stream.error = None;
            stream.status = StreamState::Starting;
            stream.run = Run::Waiting {
                until: now,
                held: None,
            };
        }
        self.changed(index);
    }

    /// Starts the pipeline that is to follow, as soon as there is room for it.
    pub(super) fn start_next(&mut self, now: Duration, index: usize) {
        let id = self.next_source();
        let stream = &mut self.streams[index];
        let Some(next) = &mut stream.next else {
            return;
        };
        if next.attempt.is_some() || stream.pipelines >= MAX_PIPELINES {
            return;
        }
        next.attempt = Some(Attempt {
            id,
            source: None,
            began: BTreeMap::new(),
            deadline: now + FIRST_FRAME_LIMIT,
        });
        let description = next.description.clone();
        stream.fanout.stage(id);
        self.launch(index, id, description, Mode::Playing);
    }

    pub(super) fn drop_next(&mut self, index: usize) -> Option<Arc<Description>> {
        let stream = &mut self.streams[index];
        let next = stream.next.take()?;
        stream.fanout.unstage();
        self.drop_source(index, next.attempt.and_then(|attempt| attempt.source));
        Some(next.description)
    }

    pub(super) fn begin_next(&mut self, now: Duration, index: usize, output: &str, codec: Codec) {
        let Some(next) = &mut self.streams[index].next else {
            return;
        };
        let Some(attempt) = &mut next.attempt else {
            return;
        };
        attempt.begin(now, output, codec);
        if attempt.began.len() == next.description.outputs().len() {
            self.switch(now, index);
        }
    }

    /// The time of the pipeline that is to follow is over.
    pub(super) fn hurry_next(&mut self, now: Duration, index: usize) {
        let Some(next) = &self.streams[index].next else {
            return;
        };
        let Some(attempt) = &next.attempt else {
            return;
        };
        if attempt.began.is_empty() {
            let failure = silence::never_began(&next.description, attempt.source.as_deref());
            self.fail_next(now, index, failure);
        } else {
            self.switch(now, index);
        }
    }

    /// The new pipeline takes the place of the old one.
    fn switch(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let Some(Next {
            description,
            attempt: Some(attempt),
        }) = stream.next.take()
        else {
            return;
        };
        stream.description = Some(description);
        stream.retry = FIRST_RETRY;
        stream.image = None;
        let Attempt {
            id, source, began, ..
        } = attempt;
        let fanout = stream.fanout.clone();
        tracing::info!(stream = stream.name, "the changed description is on air");
        // In this order nobody gets a frame of a codec that is not his.
        let old = stream.take_on_air();
        self.play_on(now, index, id, source, began);
        fanout.switch(now);
        self.make_awaited_still(now, index);
        for source in old {
            self.drop_source(index, Some(source));
        }
        self.changed(index);
    }

    /// The new pipeline does not work: the old one goes on, unless it is what keeps the new one
    /// from a device. Then it makes room, and comes back if that was not the reason.
    pub(super) fn fail_next(&mut self, now: Duration, index: usize, failure: Failure) {
        let Some(description) = self.drop_next(index) else {
            return;
        };
        let stream = &mut self.streams[index];
        if failure.busy && matches!(stream.run, Run::Live { .. }) {
            stream.fallback = stream.description.replace(description);
            self.drop_sources(index);
            self.streams[index].run = Run::Waiting {
                until: now,
                held: None,
            };
            return;
        }
        stream.rejected = Some(description);
        self.reject(index, failure, DOES_NOT_RUN);
    }

    /// Returns to what played before a change that took its device and then failed.
    pub(super) fn fall_back(&mut self, now: Duration, index: usize, failure: &Failure) -> bool {
        let stream = &mut self.streams[index];
        let Some(description) = stream.fallback.take() else {
            return false;
        };
        stream.rejected = stream.description.replace(description);
        stream.run = Run::Waiting {
            until: now + FIRST_RETRY,
            held: None,
        };
        self.reject(index, failure.clone(), DOES_NOT_RUN);
        true
    }

    /// Rests a stream on demand that nobody watches, and wakes it when somebody comes.
    pub(super) fn check_demand(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let on_demand = stream.description.as_ref().is_some_and(|d| d.on_demand);
        let waits = matches!(stream.run, Run::Idle);
        if !on_demand || stream.viewers > 0 {
            stream.idle_at = None;
            if waits {
                stream.run = Run::Waiting {
                    until: now,
                    held: None,
                };
                stream.status = StreamState::Starting;
                self.changed(index);
            }
        } else if !waits && !matches!(stream.run, Run::Stopped) {
            let never_ran = stream.codecs.is_empty() && stream.pipelines == 0;
            let keep = if never_ran {
                Duration::ZERO
            } else {
                self.parts.keep
            };
            let at = *stream.idle_at.get_or_insert(now + keep);
            if at <= now {
                stream.idle_at = None;
                self.drop_sources(index);
                let stream = &mut self.streams[index];
                stream.run = Run::Idle;
                stream.status = StreamState::Idle;
                stream.error = None;
                self.changed(index);
            }
        }
    }
}
