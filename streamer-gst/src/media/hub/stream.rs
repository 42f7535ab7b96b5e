//! What a stream is at a moment: its description, its pipelines, and what it tells of itself.

use super::*;

pub(super) struct Stream {
    pub(super) name: String,
    /// What its pipeline is made of; none as long as its file was never fit for use.
    pub(super) description: Option<Arc<Description>>,
    /// Why the file as it is now is not what plays.
    pub(super) fault: Option<String>,
    /// Its file is there.
    pub(super) listed: bool,
    pub(super) fanout: Arc<Fanout>,
    pub(super) run: Run,
    /// What is to follow the pipeline on air.
    pub(super) next: Option<Next>,
    /// What was tried last and did not work, while what was on air before goes on.
    pub(super) rejected: Option<Arc<Description>>,
    /// What played before, while its successor needs the device that it had.
    pub(super) fallback: Option<Arc<Description>>,
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
    /// The output whose next keyframe they wait for.
    pub(super) image_of: Option<String>,
    pub(super) viewers: usize,
    /// When a stream on demand without viewers is to rest.
    pub(super) idle_at: Option<Duration>,
    /// When outputs of the pipeline on air were last needed, as seen when that was looked at.
    pub(super) needed: BTreeMap<String, Duration>,
}

/// A stream's pipeline.
pub(super) enum Run {
    /// Not there, for nobody watches.
    Idle,
    /// Not there; tried again at this time.
    Waiting {
        until: Duration,
        held: Option<Held>,
    },
    /// Being built, or built and not all of its outputs have come.
    Starting(Attempt),
    Live {
        id: SourceId,
        source: Option<Box<dyn Source>>,
        since: Duration,
        /// When to look for silence again, and how often in a row there was any.
        check: Duration,
        silent: u32,
        /// The next round of a loop.
        held: Option<Held>,
    },
    Stopped,
}

/// A pipeline that was asked for. Events may come before the source itself.
pub(super) struct Attempt {
    pub(super) id: SourceId,
    pub(super) source: Option<Box<dyn Source>>,
    pub(super) began: BTreeMap<String, Codec>,
    pub(super) deadline: Duration,
}

/// A pipeline whose first frames are ready, so that a loop has no seam.
pub(super) struct Held {
    pub(super) id: SourceId,
    pub(super) source: Option<Box<dyn Source>>,
}

/// A changed description whose pipeline runs beside the one on air until it has a picture.
pub(super) struct Next {
    pub(super) description: Arc<Description>,
    /// None until there is room for one more pipeline.
    pub(super) attempt: Option<Attempt>,
}

/// Which pipeline of a stream something is about.
pub(super) enum Place {
    OnAir,
    Next,
    Held,
    /// Of the past.
    None,
}

impl Stream {
    pub(super) fn new(name: String, engine: Arc<dyn Engine>) -> Self {
        Self {
            name,
            description: None,
            fault: None,
            listed: true,
            fanout: Arc::new(Fanout::new(engine)),
            run: Run::Stopped,
            next: None,
            rejected: None,
            fallback: None,
            status: StreamState::Failed,
            error: None,
            codecs: BTreeMap::new(),
            retry: FIRST_RETRY,
            pipelines: 0,
            image: None,
            image_wanted: Vec::new(),
            image_until: None,
            image_of: None,
            viewers: 0,
            idle_at: None,
            needed: BTreeMap::new(),
        }
    }

    pub(super) fn place(&self, wanted: SourceId) -> Place {
        let holds = |held: &Option<Held>| held.as_ref().is_some_and(|held| held.id == wanted);
        match &self.run {
            Run::Starting(attempt) if attempt.id == wanted => return Place::OnAir,
            Run::Live { id, .. } if *id == wanted => return Place::OnAir,
            Run::Live { held, .. } | Run::Waiting { held, .. } if holds(held) => {
                return Place::Held;
            }
            _ => {}
        }
        match &self.next {
            Some(Next {
                attempt: Some(attempt),
                ..
            }) if attempt.id == wanted => Place::Next,
            _ => Place::None,
        }
    }

    /// Where the source of a pipeline that is wanted belongs.
    pub(super) fn slot(&mut self, wanted: SourceId) -> Option<&mut Option<Box<dyn Source>>> {
        match self.place(wanted) {
            Place::OnAir => match &mut self.run {
                Run::Starting(attempt) => Some(&mut attempt.source),
                Run::Live { source, .. } => Some(source),
                _ => None,
            },
            Place::Held => match &mut self.run {
                Run::Live { held, .. } | Run::Waiting { held, .. } => {
                    held.as_mut().map(|held| &mut held.source)
                }
                _ => None,
            },
            Place::Next => {
                let attempt = self.next.as_mut()?.attempt.as_mut()?;
                Some(&mut attempt.source)
            }
            Place::None => None,
        }
    }

    /// Every pipeline that is there.
    pub(super) fn sources(&self) -> impl Iterator<Item = &dyn Source> {
        let (source, held) = match &self.run {
            Run::Starting(attempt) => (attempt.source.as_ref(), None),
            Run::Live { source, held, .. } => (source.as_ref(), held.as_ref()),
            Run::Waiting { held, .. } => (None, held.as_ref()),
            Run::Idle | Run::Stopped => (None, None),
        };
        let next = self.next.as_ref().and_then(|next| next.attempt.as_ref());
        let next = next.and_then(|attempt| attempt.source.as_ref());
        let held = held.and_then(|held| held.source.as_ref());
        let all = source.into_iter().chain(held).chain(next);
        all.map(|source| &**source)
    }

    /// Takes away every pipeline but the one that is to follow.
    pub(super) fn take_on_air(&mut self) -> Vec<Box<dyn Source>> {
        let (source, held) = match std::mem::replace(&mut self.run, Run::Stopped) {
            Run::Starting(attempt) => (attempt.source, None),
            Run::Live { source, held, .. } => (source, held),
            Run::Waiting { held, .. } => (None, held),
            Run::Idle | Run::Stopped => (None, None),
        };
        let held = held.and_then(|held| held.source);
        source.into_iter().chain(held).collect()
    }

    /// The pipeline whose frames go out.
    pub(super) fn on_air(&self) -> Option<&dyn Source> {
        match &self.run {
            Run::Starting(Attempt { source, .. }) | Run::Live { source, .. } => source.as_deref(),
            Run::Idle | Run::Waiting { .. } | Run::Stopped => None,
        }
    }

    pub(super) fn force(&self, keyframe: Keyframe, output: &str) {
        if let (Keyframe::Ask, Some(source)) = (keyframe, self.on_air()) {
            source.force_keyframe(output);
        }
    }

    pub(super) fn keyframes(&self, output: &str) -> Keyframes {
        let source = self.on_air();
        source.map_or(Keyframes::AsTheyCome, |source| source.keyframes(output))
    }

    pub(super) fn outputs(&self) -> Vec<&str> {
        let description = self.description.as_ref();
        description.map_or_else(Vec::new, |description| description.outputs())
    }

    /// Outputs in the file's order, as far as they run.
    pub(super) fn available(&self) -> Vec<Available> {
        self.outputs()
            .into_iter()
            .filter_map(|output| {
                Some(Available {
                    output: output.to_owned(),
                    codec: *self.codecs.get(output)?,
                })
            })
            .collect()
    }

    /// The rungs that a viewer of this output can be moved between, and what they take in bits per
    /// second, in the file's order, which is that of their size: at times a still picture takes
    /// less than a lively one that is smaller. None as long as the rate of one is not known.
    pub(super) fn rungs(&self, output: &str) -> Vec<(String, u64)> {
        let Some(codec) = self.codecs.get(output) else {
            return Vec::new();
        };
        let available = self.available();
        let rated = |rung: &Available| Some((rung.output.clone(), self.fanout.rate(&rung.output)?));
        let rungs = rungs(&available, *codec).into_iter().map(rated);
        rungs.collect::<Option<_>>().unwrap_or_default()
    }

    pub(super) fn picture_output(&self) -> Option<String> {
        self.available()
            .into_iter()
            .find(|output| output.codec.kind() == Kind::Video)
            .map(|output| output.output)
    }

    /// What the pipeline on air says to its silence.
    pub(super) fn silent(
        &self,
        explain: impl FnOnce(&Description, Option<&dyn Source>) -> Failure,
    ) -> Failure {
        let source = match &self.run {
            Run::Starting(attempt) => attempt.source.as_deref(),
            Run::Live { source, .. } => source.as_deref(),
            _ => None,
        };
        match &self.description {
            Some(description) => explain(description, source),
            None => "no frame comes".to_owned().into(),
        }
    }

    /// Why its frames come no more.
    pub(super) fn stalled(&self) -> Failure {
        let pictures = self
            .outputs()
            .into_iter()
            .filter(|output| self.is_picture(output));
        let working = pictures
            .clone()
            .find(|output| !self.fanout.is_resting(output));
        let stalled = working
            .or(pictures.clone().next())
            .unwrap_or("audio")
            .to_owned();
        self.silent(|description, source| silence::stalled(description, source, &stalled))
    }

    /// Why it does not play, or not what its file says.
    pub(super) fn complaint(&self) -> Option<&String> {
        self.fault.as_ref().or(self.error.as_ref())
    }

    pub(super) fn info(&self, capacity: usize) -> StreamInfo {
        let description = self.description.as_deref();
        let mut title = description.map_or_else(BTreeMap::new, |d| d.title.clone());
        title
            .entry(String::new())
            .or_insert_with(|| self.name.clone());
        let image = match description.and_then(|d| d.image.as_ref()) {
            Some(Image::Url(url)) => StreamImage::Url(url.clone()),
            Some(Image::File(_)) => StreamImage::Own,
            None if self.status == StreamState::Live && self.picture_output().is_some() => {
                StreamImage::Own
            }
            None => StreamImage::None,
        };
        let available = self.available();
        let mut codecs: Vec<Codec> = available.iter().map(|o| o.codec).collect();
        codecs.sort_by_key(|codec| codec.kind());
        let mut seen = Vec::new();
        codecs.retain(|codec| {
            let new = !seen.contains(codec);
            seen.push(*codec);
            new
        });
        let rungs = codecs.iter().map(|codec| rungs(&available, *codec));
        let several = rungs.filter(|rungs| rungs.len() > 1).flatten();
        let rungs = several.map(|rung| rung.output.clone()).collect();
        StreamInfo {
            name: self.name.clone(),
            title,
            description: description.map_or_else(BTreeMap::new, |d| d.description.clone()),
            image,
            codecs,
            rungs,
            state: self.status,
            error: self.complaint().cloned(),
            viewers: self.viewers,
            capacity,
        }
    }
}

impl Attempt {
    /// An output has its first frame.
    pub(super) fn begin(&mut self, now: Duration, output: &str, codec: Codec) {
        if self.began.is_empty() {
            self.deadline = now + OUTPUTS_LIMIT;
        }
        self.began.insert(output.to_owned(), codec);
    }
}
