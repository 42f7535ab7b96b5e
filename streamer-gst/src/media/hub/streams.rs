//! A stream's pipeline: started, live, ended, failed, started again.

use super::*;

pub(super) struct Stream {
    pub(super) description: Description,
    pub(super) fanout: Arc<Fanout>,
    pub(super) run: Run,
    /// Counts attempts, so that events of an old pipeline are told apart.
    pub(super) number: u64,
    pub(super) status: StreamState,
    pub(super) error: Option<String>,
    /// Known since the outputs first ran; kept over restarts.
    pub(super) codecs: BTreeMap<String, Codec>,
    pub(super) retry: Duration,
    /// Pipelines being started, running or being stopped.
    pub(super) pipelines: usize,
    pub(super) image: Option<(Duration, Bytes)>,
    pub(super) image_wanted: Vec<ImageReply>,
    /// Limit of those who want one.
    pub(super) image_until: Option<Duration>,
    pub(super) viewers: usize,
}

/// A stream's pipeline.
pub(super) enum Run {
    /// Not there; tried again at this time.
    Waiting {
        until: Duration,
    },
    /// Being built, or built and without a frame. Events may come before the source itself.
    Starting {
        source: Option<Box<dyn Source>>,
        began: BTreeMap<String, Codec>,
        deadline: Duration,
    },
    Live {
        source: Option<Box<dyn Source>>,
        since: Duration,
        /// When to look for silence again, and how often in a row there was any.
        check: Duration,
        silent: u32,
    },
    Stopped,
}

impl Stream {
    pub(super) fn new(description: Description, engine: Arc<dyn Engine>) -> Self {
        Self {
            fanout: Arc::new(Fanout::new(engine)),
            run: Run::Waiting {
                until: Duration::ZERO,
            },
            number: 0,
            status: StreamState::Starting,
            error: None,
            codecs: BTreeMap::new(),
            retry: FIRST_RETRY,
            pipelines: 0,
            image: None,
            image_wanted: Vec::new(),
            image_until: None,
            viewers: 0,
            description,
        }
    }

    pub(super) fn force(&self, keyframe: Keyframe, output: &str) {
        if let (
            Keyframe::Ask,
            Run::Starting {
                source: Some(source),
                ..
            }
            | Run::Live {
                source: Some(source),
                ..
            },
        ) = (keyframe, &self.run)
        {
            source.force_keyframe(output);
        }
    }

    /// Outputs in the file's order, as far as they run.
    pub(super) fn available(&self) -> Vec<Available> {
        self.description
            .outputs()
            .into_iter()
            .filter_map(|output| {
                Some(Available {
                    output: output.to_owned(),
                    codec: *self.codecs.get(output)?,
                })
            })
            .collect()
    }

    pub(super) fn picture_output(&self) -> Option<String> {
        self.available()
            .into_iter()
            .find(|output| output.codec.kind() == Kind::Video)
            .map(|output| output.output)
    }

    pub(super) fn info(&self, capacity: usize) -> StreamInfo {
        let description = &self.description;
        let mut title = description.title.clone();
        title
            .entry(String::new())
            .or_insert_with(|| description.name.clone());
        let image = match &description.image {
            Some(Image::Url(url)) => StreamImage::Url(url.clone()),
            Some(Image::File(_)) => StreamImage::Own,
            None if self.status == StreamState::Live && self.picture_output().is_some() => {
                StreamImage::Own
            }
            None => StreamImage::None,
        };
        let mut codecs: Vec<Codec> = self.available().into_iter().map(|o| o.codec).collect();
        codecs.sort_by_key(|codec| codec.kind());
        let mut seen = Vec::new();
        codecs.retain(|codec| {
            let new = !seen.contains(codec);
            seen.push(*codec);
            new
        });
        StreamInfo {
            name: description.name.clone(),
            title,
            description: description.description.clone(),
            image,
            codecs,
            rungs: Vec::new(),
            state: self.status,
            error: self.error.clone(),
            viewers: self.viewers,
            capacity,
        }
    }
}

impl Hub {
    pub(super) fn start(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        if stream.pipelines >= MAX_PIPELINES {
            let until = now + FIRST_RETRY;
            stream.run = Run::Waiting { until };
            return;
        }
        stream.pipelines += 1;
        stream.number += 1;
        stream.run = Run::Starting {
            source: None,
            began: BTreeMap::new(),
            deadline: now + FIRST_FRAME_LIMIT,
        };
        let run = stream.number;
        let description = stream.description.clone();
        let fanout = stream.fanout.clone();
        let sources = self.parts.sources.clone();
        let inbox = self.parts.inbox.clone();
        self.busy += 1;
        let started = move |result| Input::Started {
            stream: index,
            run,
            result,
        };
        let lost = started(Err("the start was given up".to_owned()));
        self.job("source-start", lost, move || {
            started(sources.start(
                &description,
                &fanout,
                Arc::new(move |event| {
                    inbox(Input::Source {
                        stream: index,
                        run,
                        event,
                    });
                }),
            ))
        });
    }

    pub(super) fn handle_started(
        &mut self,
        now: Duration,
        index: usize,
        run: u64,
        result: Result<Box<dyn Source>, String>,
    ) {
        let stream = &mut self.streams[index];
        let current = stream.number == run;
        match (&mut stream.run, result) {
            (Run::Starting { source, .. } | Run::Live { source, .. }, Ok(started)) if current => {
                *source = Some(started);
                self.dirty = true;
            }
            (_, Ok(stale)) => self.drop_source(index, Some(stale)),
            (run, Err(error)) => {
                let failed = current && matches!(run, Run::Starting { .. });
                stream.pipelines -= 1;
                if failed {
                    self.fail(now, index, error);
                }
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

    pub(super) fn handle_source(
        &mut self,
        now: Duration,
        index: usize,
        run: u64,
        event: SourceEvent,
    ) {
        let stream = &mut self.streams[index];
        if stream.number != run {
            return;
        }
        match event {
            SourceEvent::Began { output, codec } => {
                let (began, deadline) = match &mut stream.run {
                    Run::Starting {
                        began, deadline, ..
                    } => (began, deadline),
                    Run::Live { .. } => return self.begin_late(index, &output, codec),
                    Run::Waiting { .. } | Run::Stopped => return,
                };
                if began.is_empty() {
                    *deadline = now + OUTPUTS_LIMIT;
                }
                began.insert(output.to_string(), codec);
                if began.len() == stream.description.outputs().len() {
                    self.go_live(now, index);
                }
            }
            SourceEvent::KeyframeDue { output } => stream.force(Keyframe::Ask, &output),
            SourceEvent::Ended => self.handle_ended(now, index),
            SourceEvent::Failed { error } => self.fail(now, index, error),
        }
    }

    pub(super) fn go_live(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let Run::Starting { source, began, .. } = &mut stream.run else {
            return;
        };
        let source = source.take();
        // What ran before and is late this time will come.
        let mut codecs = stream.codecs.clone();
        codecs.append(began);
        stream.run = Run::Live {
            source,
            since: now,
            check: now + STALL_CHECK,
            silent: 0,
        };
        let other_codecs = !stream.codecs.is_empty() && stream.codecs != codecs;
        if stream.status != StreamState::Live || stream.codecs != codecs {
            let name = &stream.description.name;
            if stream.status == StreamState::Failed {
                tracing::info!(stream = name, "stream runs again");
            } else {
                tracing::debug!(stream = name, ?codecs, "stream runs");
            }
            stream.status = StreamState::Live;
            stream.error = None;
            stream.codecs = codecs;
            self.changed(index);
        }
        if other_codecs {
            // webrtcbin cannot change the codec of a connection; the page offers again.
            self.end_all(index, "codec-changed");
        }
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

    /// An output that was not waited for.
    fn begin_late(&mut self, index: usize, output: &str, codec: Codec) {
        let codecs = &mut self.streams[index].codecs;
        if codecs.insert(output.to_owned(), codec) != Some(codec) {
            self.changed(index);
            self.end_all(index, "codec-changed");
        }
    }

    /// A camera that hangs reports no error. Sound may pause, as long as there is a picture.
    pub(super) fn check_stall(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let fanout = &stream.fanout;
        let last = fanout
            .last_frame(Kind::Video)
            .or_else(|| fanout.last_frame(Kind::Audio));
        let Run::Live { check, silent, .. } = &mut stream.run else {
            return;
        };
        let quiet = last.is_some_and(|last| now.saturating_sub(last) > STALL_CHECK);
        *check = now + STALL_CHECK;
        *silent = if quiet { *silent + 1 } else { 0 };
        if *silent >= STALL_CHECKS {
            let limit = (STALL_CHECK * STALL_CHECKS).as_secs();
            self.fail(now, index, format!("no frame has come for {limit} seconds"));
        }
    }

    /// The end of a file: it begins again, for the same viewers if it loops.
    fn handle_ended(&mut self, now: Duration, index: usize) {
        if let Run::Starting { began, .. } = &self.streams[index].run {
            if began.is_empty() {
                return self.fail(now, index, "it ended before its first frame".to_owned());
            }
            self.go_live(now, index);
        }
        let stream = &mut self.streams[index];
        let Run::Live { source, since, .. } = &mut stream.run else {
            return;
        };
        let source = source.take();
        let until = *since + SHORTEST_LOOP;
        stream.run = Run::Waiting { until };
        let looped = stream.description.looped;
        self.drop_source(index, source);
        if !looped {
            self.end_all(index, "the stream has ended");
        }
        if until <= now {
            self.start(now, index);
        }
    }

    pub(super) fn fail(&mut self, now: Duration, index: usize, error: String) {
        let stream = &mut self.streams[index];
        let (source, survived) = match &mut stream.run {
            Run::Starting { source, .. } => (source.take(), false),
            Run::Live { source, since, .. } => {
                if now.saturating_sub(*since) >= STABLE_AFTER {
                    stream.retry = FIRST_RETRY;
                }
                (source.take(), true)
            }
            // Errors come in flocks; the first one is the cause.
            Run::Waiting { .. } | Run::Stopped => return,
        };
        stream.run = Run::Waiting {
            until: now + stream.retry,
        };
        stream.retry = (stream.retry * 2).min(LAST_RETRY);
        let name = &stream.description.name;
        if stream.error.as_ref() == Some(&error) {
            tracing::debug!(stream = name, error, "stream failed again");
        } else {
            tracing::warn!(stream = name, error, "stream failed, will be tried again");
        }
        let news = stream.status != StreamState::Failed || stream.error.as_ref() != Some(&error);
        stream.status = StreamState::Failed;
        stream.error = Some(error.clone());
        let text = "the stream failed".to_owned();
        stream.give_image(&Err(Refusal::NotRunning(text)));
        self.drop_source(index, source);
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
