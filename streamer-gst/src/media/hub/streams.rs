//! A stream's pipeline: started, live, ended, failed, started again.

use super::stream::{Held, Place};
use super::*;

impl Hub {
    pub(super) fn next_source(&mut self) -> SourceId {
        self.last_source += 1;
        SourceId(self.last_source)
    }

    /// Starts what is due: the held round of a loop, or a new pipeline.
    pub(super) fn start(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let Run::Waiting { held, .. } = &mut stream.run else {
            return;
        };
        let deadline = now + FIRST_FRAME_LIMIT;
        let began = BTreeMap::new();
        let held = held.take();
        if let Some(Held {
            id,
            source: Some(source),
        }) = held
        {
            stream.fanout.admit(id);
            source.play();
            stream.run = Run::Starting(Attempt {
                id,
                source: Some(source),
                began,
                deadline,
            });
            return;
        }
        // A device is free only when nothing is left of the pipeline that had it.
        let room = if stream.fallback.is_some() {
            1
        } else {
            MAX_PIPELINES
        };
        let description = match &stream.description {
            Some(description) if stream.pipelines < room => description.clone(),
            _ => {
                let until = now + FIRST_RETRY;
                stream.run = Run::Waiting { until, held: None };
                return;
            }
        };
        let id = self.next_source();
        let stream = &mut self.streams[index];
        stream.fanout.admit(id);
        stream.run = Run::Starting(Attempt {
            id,
            source: None,
            began,
            deadline,
        });
        self.launch(index, id, description, Mode::Playing);
    }

    /// Has a pipeline made.
    pub(super) fn launch(
        &mut self,
        index: usize,
        id: SourceId,
        description: Arc<Description>,
        mode: Mode,
    ) {
        let stream = &mut self.streams[index];
        stream.pipelines += 1;
        let feed = Feed {
            fanout: stream.fanout.clone(),
            source: id,
        };
        let sources = self.parts.sources.clone();
        let inbox = self.parts.inbox.clone();
        self.busy += 1;
        let started = move |result| Input::Started {
            stream: index,
            id,
            result,
        };
        let lost = started(Err("the start was given up".to_owned().into()));
        self.job("source-start", lost, move || {
            let events: SourceEvents = Arc::new(move |event| {
                inbox(Input::Source {
                    stream: index,
                    id,
                    event,
                });
            });
            started(sources.start(&description, feed, mode, events))
        });
    }

    pub(super) fn handle_started(
        &mut self,
        now: Duration,
        index: usize,
        id: SourceId,
        result: Result<Box<dyn Source>, Failure>,
    ) {
        let stream = &mut self.streams[index];
        match result {
            Ok(source) => match stream.slot(id) {
                Some(slot) => {
                    *slot = Some(source);
                    self.dirty = true;
                    self.hold_next_round(index);
                }
                None => self.drop_source(index, Some(source)),
            },
            Err(failure) => {
                stream.pipelines -= 1;
                self.handle_failed(now, index, id, failure);
            }
        }
    }

    pub(super) fn drop_source(&mut self, index: usize, source: Option<Box<dyn Source>>) {
        let Some(source) = source else { return };
        self.busy += 1;
        let stopped = Input::Stopped { stream: index };
        self.job("source-stop", stopped, move || {
            drop(source);
            Input::Stopped { stream: index }
        });
    }

    /// Stops every pipeline of a stream.
    pub(super) fn drop_sources(&mut self, index: usize) {
        self.drop_next(index);
        for source in self.streams[index].take_on_air() {
            self.drop_source(index, Some(source));
        }
    }

    pub(super) fn handle_source(
        &mut self,
        now: Duration,
        index: usize,
        id: SourceId,
        event: SourceEvent,
    ) {
        let stream = &mut self.streams[index];
        let place = stream.place(id);
        match (event, place) {
            (SourceEvent::Failed(failure), _) => self.handle_failed(now, index, id, failure),
            (SourceEvent::Began { output, codec }, Place::OnAir) => {
                let Run::Starting(attempt) = &mut stream.run else {
                    return self.begin_late(index, &output, codec);
                };
                attempt.begin(now, &output, codec);
                if attempt.began.len() == stream.outputs().len() {
                    self.go_live(now, index);
                }
            }
            (SourceEvent::Began { output, codec }, Place::Next) => {
                self.begin_next(now, index, &output, codec);
            }
            (SourceEvent::KeyframeDue { output }, Place::OnAir) => {
                stream.force(Keyframe::Ask, &output);
            }
            (SourceEvent::Woke { output }, Place::OnAir) => self.handle_woke(now, index, &output),
            (SourceEvent::Ended, Place::OnAir) => self.handle_ended(now, index),
            (SourceEvent::Ended, Place::Next) => {
                let Some(next) = &stream.next else { return };
                let source = next.attempt.as_ref().and_then(|a| a.source.as_deref());
                let failure = silence::ended_early(&next.description, source);
                self.fail_next(now, index, failure);
            }
            (_, Place::Next | Place::Held | Place::None) => {}
        }
    }

    fn handle_failed(&mut self, now: Duration, index: usize, id: SourceId, failure: Failure) {
        let stream = &mut self.streams[index];
        match stream.place(id) {
            Place::OnAir => self.fail(now, index, failure),
            Place::Next => self.fail_next(now, index, failure),
            Place::Held => {
                // Then the loop has a seam.
                if let Run::Live { held, .. } | Run::Waiting { held, .. } = &mut stream.run {
                    let source = held.take().and_then(|held| held.source);
                    self.drop_source(index, source);
                }
            }
            Place::None => {}
        }
    }

    /// The time in which the first frames were to come is over.
    pub(super) fn hurry(&mut self, now: Duration, index: usize) {
        match &self.streams[index].run {
            Run::Starting(attempt) if attempt.began.is_empty() => {
                let failure = self.streams[index].silent(silence::never_began);
                self.fail(now, index, failure);
            }
            _ => self.go_live(now, index),
        }
    }

    pub(super) fn go_live(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let Run::Starting(attempt) = &mut stream.run else {
            return;
        };
        let source = attempt.source.take();
        let id = attempt.id;
        // What ran before and is late this time will come.
        let mut codecs = stream.codecs.clone();
        let outputs = stream.description.as_ref();
        let outputs = outputs.map_or_else(Vec::new, |description| description.outputs());
        codecs.retain(|output, _| outputs.contains(&output.as_str()));
        codecs.append(&mut attempt.began);
        stream.fallback = None;
        self.play_on(now, index, id, source, codecs);
    }

    /// A pipeline is on air from now on, with these outputs.
    pub(super) fn play_on(
        &mut self,
        now: Duration,
        index: usize,
        id: SourceId,
        source: Option<Box<dyn Source>>,
        codecs: BTreeMap<String, Codec>,
    ) {
        let stream = &mut self.streams[index];
        stream.run = Run::Live {
            id,
            source,
            since: now,
            check: now + STALL_CHECK,
            silent: 0,
            held: None,
        };
        stream.needed.clear();
        let before = std::mem::replace(&mut stream.codecs, codecs);
        if stream.status != StreamState::Live || stream.codecs != before {
            let (name, codecs) = (&stream.name, &stream.codecs);
            if stream.status == StreamState::Failed {
                tracing::info!(stream = name, "stream runs again");
            } else {
                tracing::debug!(stream = name, ?codecs, "stream runs");
            }
            stream.status = StreamState::Live;
            self.changed(index);
        }
        self.streams[index].error = None;
        self.end_left_behind(index, &before);
        self.hold_next_round(index);
        let parked: Vec<ViewerId> =
            self.of_stream(index, |state| matches!(state, ViewerState::Parked { .. }));
        for viewer in parked {
            if let Some(ViewerState::Parked { offer, .. }) =
                self.viewers.get(&viewer).map(|v| &v.state)
            {
                let offer = offer.clone();
                self.open(now, index, viewer, &offer);
            }
        }
    }

    /// Ends those whose connections do not fit the outputs any more: webrtcbin cannot change the
    /// codec of a connection; the page offers again.
    fn end_left_behind(&mut self, index: usize, before: &BTreeMap<String, Codec>) {
        let after = &self.streams[index].codecs;
        let kinds = |codecs: &BTreeMap<String, Codec>| -> BTreeSet<Kind> {
            codecs.values().map(|codec| codec.kind()).collect()
        };
        let same_kinds = kinds(before) == kinds(after);
        let fits = |outputs: &[String]| {
            same_kinds && outputs.iter().all(|o| before.get(o) == after.get(o))
        };
        let left_behind = self.of_stream(index, |state| match state {
            ViewerState::Opening { outputs, .. }
            | ViewerState::Connecting { outputs, .. }
            | ViewerState::Playing { outputs, .. } => !fits(outputs),
            ViewerState::Parked { .. } => false,
        });
        for viewer in left_behind {
            self.end(viewer, CODEC_CHANGED);
        }
    }

    /// An output that was not waited for.
    fn begin_late(&mut self, index: usize, output: &str, codec: Codec) {
        let before = self.streams[index].codecs.clone();
        let codecs = &mut self.streams[index].codecs;
        if codecs.insert(output.to_owned(), codec) != Some(codec) {
            self.changed(index);
            self.end_left_behind(index, &before);
        }
    }

    /// Makes the next round of a recording ready, so that its loop has no seam.
    fn hold_next_round(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let Some(description) = stream.description.clone() else {
            return;
        };
        let wanted = match &stream.run {
            Run::Live {
                source: Some(source),
                held: None,
                ..
            } => description.looped && !source.is_live() && stream.pipelines < MAX_PIPELINES,
            _ => false,
        };
        if !wanted {
            return;
        }
        let next = self.next_source();
        if let Run::Live { held, .. } = &mut self.streams[index].run {
            *held = Some(Held {
                id: next,
                source: None,
            });
        }
        self.launch(index, next, description, Mode::Held);
    }

    /// A camera that hangs reports no error. Sound may pause, as long as there is a picture.
    pub(super) fn check_stall(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let last = stream
            .last_picture()
            .or_else(|| stream.fanout.last_frame(Kind::Audio));
        let Run::Live { check, silent, .. } = &mut stream.run else {
            return;
        };
        let quiet = last.is_some_and(|last| now.saturating_sub(last) > STALL_CHECK);
        *check = now + STALL_CHECK;
        *silent = if quiet { *silent + 1 } else { 0 };
        if *silent >= STALL_CHECKS {
            let failure = stream.stalled();
            self.fail(now, index, failure);
        }
    }

    /// The end of a file: it begins again, for the same viewers if it loops.
    fn handle_ended(&mut self, now: Duration, index: usize) {
        if let Run::Starting(attempt) = &self.streams[index].run {
            if attempt.began.is_empty() {
                let failure = self.streams[index].silent(silence::ended_early);
                return self.fail(now, index, failure);
            }
            self.go_live(now, index);
        }
        let stream = &mut self.streams[index];
        let Run::Live {
            source,
            since,
            held,
            ..
        } = &mut stream.run
        else {
            return;
        };
        let looped = stream.description.as_ref().is_some_and(|d| d.looped);
        if !looped && source.as_ref().is_some_and(|source| source.is_live()) {
            // A camera does not end; its connection does.
            let failure =
                self.streams[index].silent(|description, _| silence::live_ended(description));
            return self.fail(now, index, failure);
        }
        let source = source.take();
        let held = held.take();
        // No sooner than what went out has been played, or the clock would run ahead.
        let until = (*since + SHORTEST_LOOP).max(stream.fanout.end());
        stream.run = Run::Waiting { until, held };
        self.drop_source(index, source);
        if !looped {
            self.end_all(index, "the stream has ended");
        }
        if until <= now {
            self.start(now, index);
        }
    }

    pub(super) fn fail(&mut self, now: Duration, index: usize, failure: Failure) {
        let stream = &mut self.streams[index];
        let (sources, survived) = match &mut stream.run {
            Run::Starting(attempt) => ([attempt.source.take(), None], false),
            Run::Live {
                source,
                since,
                held,
                ..
            } => {
                if now.saturating_sub(*since) >= STABLE_AFTER {
                    stream.retry = FIRST_RETRY;
                }
                let held = held.take().and_then(|held| held.source);
                ([source.take(), held], true)
            }
            // Errors come in flocks; the first one is the cause.
            Run::Idle | Run::Waiting { .. } | Run::Stopped => return,
        };
        for source in sources {
            self.drop_source(index, source);
        }
        if self.fall_back(now, index, &failure) {
            return;
        }
        let stream = &mut self.streams[index];
        stream.run = Run::Waiting {
            until: now + stream.retry,
            held: None,
        };
        stream.retry = (stream.retry * 2).min(LAST_RETRY);
        let (
            name,
            Failure {
                error, rendered, ..
            },
        ) = (&stream.name, failure);
        if stream.error.as_ref() == Some(&error) {
            tracing::debug!(stream = name, error, "stream failed again");
        } else {
            let text = rendered.as_ref().unwrap_or(&error);
            tracing::warn!("{name}: the stream failed and is tried again\n{text}");
        }
        let news = stream.status != StreamState::Failed || stream.error.as_ref() != Some(&error);
        stream.status = StreamState::Failed;
        stream.error = Some(error.clone());
        let text = "the stream failed".to_owned();
        stream.give_image(&Err(Refusal::NotRunning(text)));
        if news {
            self.changed(index);
        }
        // Viewers outlive one failure: the first restart comes after a second, on the same
        // connection. When that fails too, they are told.
        if !survived {
            self.end_all(index, &format!("the stream failed: {error}"));
        }
    }
}
