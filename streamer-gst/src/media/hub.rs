//! The state machine behind [`super::Media`]: commands, events of engine and sources, and time go
//! in; events go out. What may block is handed to `Jobs` as closures and reports back as [`Input`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{MediaEvent, Refusal, StreamImage, StreamInfo, StreamState};
use crate::codec::{Codec, Kind};
use crate::description::{Description, Image};
use crate::engine::{Engine, Event, ViewerId};
use crate::fanout::{Fanout, Keyframe, Start};
use crate::offer::{Available, Offer};
use crate::source::{Source, SourceEvent, Sources};

/// ICE and DTLS may take this long after the answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// An engine has to make a viewer in this time.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// A viewer that came while its stream was starting waits this long.
const PARK_LIMIT: Duration = Duration::from_secs(5);
/// Silence that means a viewer has vanished. Browsers send RTCP at least every 1.1 seconds while
/// they get video; for sound alone it is every 5 seconds, up to 7.5 (RFC 3550 section 6.3.1).
const SILENCE_LIMIT: Duration = Duration::from_millis(7_500);
const SILENCE_LIMIT_SOUND: Duration = Duration::from_millis(9_250);
/// How often silence is looked at.
const SILENCE_CHECK: Duration = Duration::from_millis(250);
/// A source without a frame after this is no better than one that failed.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(10);
/// Outputs that begin later than this after the first one are not waited for.
const OUTPUTS_LIMIT: Duration = Duration::from_secs(2);
/// Waits between attempts to start a source: 1, 2, 4, 8, 16, 30, 30… seconds.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// A source that ran this long has recovered: its next failure starts at the first wait again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A file shorter than this begins again no sooner.
const SHORTEST_LOOP: Duration = Duration::from_secs(1);
/// Teardowns get this long at the end, then the process goes without them.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// How long a still is good.
const IMAGE_AGE: Duration = Duration::from_secs(10);

/// Runs what may block, somewhere else.
pub(super) type Jobs = Arc<dyn Fn(&'static str, Box<dyn FnOnce() + Send>) + Send + Sync>;
/// Takes inputs from any thread.
pub(super) type Inbox = Arc<dyn Fn(Input) + Send + Sync>;
/// Makes stills.
pub(super) type Stills = Arc<dyn Fn(Still) -> Result<Bytes, String> + Send + Sync>;
type ImageReply = oneshot::Sender<Result<Bytes, Refusal>>;

/// What a still is made of.
pub(super) enum Still {
    File(std::path::PathBuf),
    Frames(Vec<crate::engine::Frame>),
}

/// Everything that can happen.
pub(super) enum Input {
    Open {
        stream: String,
        viewer: ViewerId,
        offer: Bytes,
    },
    Close {
        viewer: ViewerId,
        reason: String,
    },
    Image {
        stream: String,
        reply: ImageReply,
    },
    Stop {
        done: oneshot::Sender<()>,
    },
    Opened {
        viewer: ViewerId,
        result: Result<String, String>,
    },
    Closed,
    Engine(Event),
    Started {
        stream: usize,
        run: u64,
        result: Result<Box<dyn Source>, String>,
    },
    Stopped,
    Source {
        stream: usize,
        run: u64,
        event: SourceEvent,
    },
    ImageMade {
        stream: usize,
        result: Result<Bytes, String>,
    },
    /// The end of whoever feeds the hub.
    Quit,
}

/// What others may read at any time.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) streams: Vec<StreamInfo>,
    pub(super) viewers: usize,
    pub(super) encoders: BTreeMap<String, usize>,
}

/// The parts a hub works with.
pub(super) struct Parts {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) sources: Arc<dyn Sources>,
    pub(super) stills: Stills,
    pub(super) jobs: Jobs,
    pub(super) inbox: Inbox,
    pub(super) snapshot: Arc<Mutex<Snapshot>>,
    pub(super) capacity: usize,
}

pub(super) struct Hub {
    parts: Parts,
    streams: Vec<Stream>,
    viewers: HashMap<ViewerId, Viewer>,
    /// Teardowns of viewers and sources that still run.
    closing: usize,
    stopping: Vec<oneshot::Sender<()>>,
    stop_limit: Option<Duration>,
    silence_check: Option<Duration>,
    events: Vec<MediaEvent>,
    dirty: bool,
}

struct Stream {
    description: Description,
    fanout: Arc<Fanout>,
    run: Run,
    /// Counts attempts, so that events of an old pipeline are told apart.
    number: u64,
    status: StreamState,
    error: Option<String>,
    /// Known since the outputs first ran; kept over restarts.
    codecs: BTreeMap<String, Codec>,
    retry: Duration,
    image: Option<(Duration, Bytes)>,
    image_wanted: Vec<ImageReply>,
    viewers: usize,
}

/// A stream's pipeline.
enum Run {
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
    },
    Stopped,
}

struct Viewer {
    stream: usize,
    state: ViewerState,
}

enum ViewerState {
    /// Came while the stream was starting.
    Parked {
        offer: Bytes,
        until: Duration,
    },
    /// The engine is making it. It can be connected before its answer has arrived here.
    Opening {
        outputs: Vec<String>,
        connected: bool,
        until: Duration,
    },
    /// Answered; ICE and DTLS are going on.
    Connecting {
        outputs: Vec<String>,
        until: Duration,
    },
    Playing {
        silence_limit: Duration,
    },
}

impl Hub {
    pub(super) fn new(parts: Parts, descriptions: Vec<Description>) -> Self {
        let streams = descriptions
            .into_iter()
            .map(|description| Stream {
                fanout: Arc::new(Fanout::new(parts.engine.clone())),
                run: Run::Waiting {
                    until: Duration::ZERO,
                },
                number: 0,
                status: StreamState::Starting,
                error: None,
                codecs: BTreeMap::new(),
                retry: FIRST_RETRY,
                image: None,
                image_wanted: Vec::new(),
                viewers: 0,
                description,
            })
            .collect();
        let mut hub = Self {
            parts,
            streams,
            viewers: HashMap::new(),
            closing: 0,
            stopping: Vec::new(),
            stop_limit: None,
            silence_check: None,
            events: Vec::new(),
            dirty: true,
        };
        hub.publish();
        hub
    }

    /// When [`Hub::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let runs = self.streams.iter().filter_map(|stream| match &stream.run {
            Run::Waiting { until } => Some(*until),
            Run::Starting { deadline, .. } => Some(*deadline),
            Run::Live { .. } | Run::Stopped => None,
        });
        let viewers = self
            .viewers
            .values()
            .filter_map(|viewer| match viewer.state {
                ViewerState::Parked { until, .. }
                | ViewerState::Opening { until, .. }
                | ViewerState::Connecting { until, .. } => Some(until),
                ViewerState::Playing { .. } => None,
            });
        runs.chain(viewers)
            .chain(self.silence_check)
            .chain(self.stop_limit)
            .min()
    }

    /// What happened, for the agent. To be drained after each input.
    pub(super) fn poll_event(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Open {
                stream,
                viewer,
                offer,
            } => self.handle_open(now, &stream, viewer, offer),
            Input::Close { viewer, reason } => {
                tracing::debug!(%viewer, reason, "viewer closed");
                self.remove(viewer);
            }
            Input::Image { stream, reply } => self.handle_image(now, &stream, reply),
            Input::Stop { done } => self.handle_stop(now, done),
            Input::Opened { viewer, result } => self.handle_opened(now, viewer, result),
            Input::Closed | Input::Stopped => {
                self.closing = self.closing.saturating_sub(1);
                self.finish_stop();
            }
            Input::Engine(event) => self.handle_engine(now, event),
            Input::Started {
                stream,
                run,
                result,
            } => self.handle_started(now, stream, run, result),
            Input::Source { stream, run, event } => self.handle_source(now, stream, run, event),
            Input::ImageMade { stream, result } => self.handle_image_made(now, stream, &result),
            Input::Quit => {}
        }
        self.publish();
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        for stream in 0..self.streams.len() {
            match &self.streams[stream].run {
                Run::Waiting { until } if *until <= now => self.start(now, stream),
                Run::Starting {
                    deadline, began, ..
                } if *deadline <= now => {
                    if began.is_empty() {
                        self.fail(now, stream, "no frame has come".to_owned());
                    } else {
                        self.go_live(now, stream);
                    }
                }
                _ => {}
            }
        }
        let late: Vec<ViewerId> = self
            .viewers
            .iter()
            .filter(|(_, viewer)| match viewer.state {
                ViewerState::Parked { until, .. }
                | ViewerState::Opening { until, .. }
                | ViewerState::Connecting { until, .. } => until <= now,
                ViewerState::Playing { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for viewer in late {
            let text = match self.viewers.get(&viewer).map(|v| &v.state) {
                Some(ViewerState::Parked { .. }) => "the stream is still starting",
                Some(ViewerState::Opening { .. }) => "making the connection takes too long",
                _ => "no connection within 15 seconds",
            };
            self.end(viewer, text);
        }
        if self.silence_check.is_some_and(|check| check <= now) {
            self.check_silence(now);
        }
        if self.stop_limit.is_some_and(|limit| limit <= now) {
            tracing::warn!(left = self.closing, "stopping without waiting any longer");
            self.closing = 0;
            self.finish_stop();
        }
        self.publish();
    }

    fn handle_open(&mut self, now: Duration, stream: &str, viewer: ViewerId, offer: Bytes) {
        if self.viewers.contains_key(&viewer) {
            return self.refuse(
                viewer,
                Refusal::Failed("the viewer is there already".into()),
            );
        }
        if !self.stopping.is_empty() {
            let text = "the streamer is stopping".to_owned();
            return self.refuse(viewer, Refusal::NotRunning(text));
        }
        let Some(index) = self
            .streams
            .iter()
            .position(|s| s.description.name == stream)
        else {
            return self.refuse(viewer, Refusal::NoSuchStream(stream.to_owned()));
        };
        if self.viewers.len() >= self.parts.capacity {
            return self.refuse(viewer, Refusal::Full(self.parts.capacity));
        }
        let state = &self.streams[index];
        match (state.status, &state.error) {
            (StreamState::Failed, error) => {
                let error = error.as_deref().unwrap_or("unknown reason");
                let text = format!("the stream does not run: {error}");
                self.refuse(viewer, Refusal::NotRunning(text));
            }
            // What its outputs carry is not known yet.
            (StreamState::Starting, _) => {
                // A broken offer needs no waiting.
                if let Err(error) = Offer::parse(&offer) {
                    return self.refuse(viewer, error.into());
                }
                let until = now + PARK_LIMIT;
                self.add(viewer, index, ViewerState::Parked { offer, until });
            }
            (StreamState::Live, _) => self.open(now, index, viewer, &offer),
        }
    }

    fn refuse(&mut self, viewer: ViewerId, refusal: Refusal) {
        self.events.push(MediaEvent::Answered {
            viewer,
            result: Err(refusal),
        });
    }

    fn open(&mut self, now: Duration, stream: usize, viewer: ViewerId, offer: &[u8]) {
        let available = self.streams[stream].available();
        let plan = Offer::parse(offer).and_then(|offer| offer.plan(&available));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                self.forget(viewer);
                return self.refuse(viewer, error.into());
            }
        };
        let outputs = plan.tracks.iter().map(|t| t.output.clone()).collect();
        self.add(
            viewer,
            stream,
            ViewerState::Opening {
                outputs,
                connected: false,
                until: now + OPEN_LIMIT,
            },
        );
        let engine = self.parts.engine.clone();
        let inbox = self.parts.inbox.clone();
        self.job("viewer-open", move || {
            let events = inbox.clone();
            let result = engine.open(
                viewer,
                &plan,
                Arc::new(move |event| events(Input::Engine(event))),
            );
            inbox(Input::Opened { viewer, result });
        });
    }

    fn handle_opened(&mut self, now: Duration, viewer: ViewerId, result: Result<String, String>) {
        let opening = match self.viewers.get_mut(&viewer).map(|v| &mut v.state) {
            Some(ViewerState::Opening {
                outputs, connected, ..
            }) => Some((std::mem::take(outputs), *connected)),
            _ => None,
        };
        match (opening, result) {
            // It was closed in the meantime.
            (None, Ok(_)) => self.close_engine(viewer),
            (None, Err(_)) => {}
            (Some(_), Err(error)) => {
                tracing::warn!(%viewer, error, "viewer cannot be made");
                self.forget(viewer);
                self.refuse(viewer, Refusal::Failed(error));
            }
            (Some((outputs, connected)), Ok(answer)) => {
                if let Some(viewer) = self.viewers.get_mut(&viewer) {
                    viewer.state = ViewerState::Connecting {
                        outputs,
                        until: now + CONNECT_LIMIT,
                    };
                }
                self.events.push(MediaEvent::Answered {
                    viewer,
                    result: Ok(answer),
                });
                if connected {
                    self.play(now, viewer);
                }
            }
        }
    }

    fn handle_engine(&mut self, now: Duration, event: Event) {
        match event {
            Event::Connected { viewer } => {
                match self.viewers.get_mut(&viewer).map(|v| &mut v.state) {
                    Some(ViewerState::Opening { connected, .. }) => *connected = true,
                    Some(ViewerState::Connecting { .. }) => self.play(now, viewer),
                    _ => {}
                }
            }
            Event::KeyframeWanted { viewer, output } => {
                if let Some(viewer) = self.viewers.get(&viewer) {
                    let stream = &self.streams[viewer.stream];
                    let keyframe = stream.fanout.want_keyframe(now, &output);
                    stream.force(keyframe, &output);
                }
            }
            Event::Gone { viewer, reason } => self.end(viewer, &reason),
        }
    }

    /// Frames flow from now on.
    fn play(&mut self, now: Duration, id: ViewerId) {
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return;
        };
        let ViewerState::Connecting { outputs, .. } = &mut viewer.state else {
            return;
        };
        let outputs = std::mem::take(outputs);
        let stream = &self.streams[viewer.stream];
        let sound_only = outputs.iter().all(|output| output == "audio");
        let silence_limit = if sound_only {
            SILENCE_LIMIT_SOUND
        } else {
            SILENCE_LIMIT
        };
        viewer.state = ViewerState::Playing { silence_limit };
        for output in outputs {
            let keyframe = stream.fanout.join(now, id, &output, Start::NextKeyframe);
            stream.force(keyframe, &output);
        }
        self.silence_check.get_or_insert(now + SILENCE_CHECK);
        tracing::debug!(viewer = %id, stream = stream.description.name, "viewer connected");
    }

    fn check_silence(&mut self, now: Duration) {
        let playing: Vec<(ViewerId, Duration)> = self
            .viewers
            .iter()
            .filter_map(|(id, viewer)| match viewer.state {
                ViewerState::Playing { silence_limit } => Some((*id, silence_limit)),
                _ => None,
            })
            .collect();
        for (viewer, limit) in &playing {
            let silence = self.parts.engine.silence(*viewer);
            if silence.is_some_and(|silence| silence >= *limit) {
                self.end(*viewer, "nothing has been heard from the viewer");
            }
        }
        self.silence_check = (!playing.is_empty()).then(|| now + SILENCE_CHECK);
    }

    /// Ends a viewer from our side and says so.
    fn end(&mut self, viewer: ViewerId, reason: &str) {
        let Some(entry) = self.viewers.get(&viewer) else {
            return;
        };
        let answered = matches!(
            entry.state,
            ViewerState::Connecting { .. } | ViewerState::Playing { .. }
        );
        let parked = matches!(entry.state, ViewerState::Parked { .. });
        self.remove(viewer);
        let reason = reason.to_owned();
        if answered {
            self.events.push(MediaEvent::Gone { viewer, reason });
        } else if parked {
            self.refuse(viewer, Refusal::NotRunning(reason));
        } else {
            self.refuse(viewer, Refusal::Failed(reason));
        }
    }

    fn add(&mut self, id: ViewerId, stream: usize, state: ViewerState) {
        let new = self.viewers.insert(id, Viewer { stream, state }).is_none();
        if new {
            self.streams[stream].viewers += 1;
            self.viewers_changed(stream);
        }
    }

    /// Takes a viewer out of the table; what the engine holds is somebody else's.
    fn forget(&mut self, id: ViewerId) -> Option<Viewer> {
        let viewer = self.viewers.remove(&id)?;
        let stream = &mut self.streams[viewer.stream];
        stream.viewers = stream.viewers.saturating_sub(1);
        stream.fanout.leave(id);
        self.viewers_changed(viewer.stream);
        Some(viewer)
    }

    fn remove(&mut self, id: ViewerId) {
        let Some(viewer) = self.forget(id) else {
            return;
        };
        match viewer.state {
            ViewerState::Connecting { .. } | ViewerState::Playing { .. } => self.close_engine(id),
            // handle_opened closes what comes out of it.
            ViewerState::Opening { .. } | ViewerState::Parked { .. } => {}
        }
    }

    fn close_engine(&mut self, viewer: ViewerId) {
        let engine = self.parts.engine.clone();
        let inbox = self.parts.inbox.clone();
        self.closing += 1;
        self.job("viewer-close", move || {
            engine.close(viewer);
            inbox(Input::Closed);
        });
    }

    fn job(&self, name: &'static str, job: impl FnOnce() + Send + 'static) {
        (self.parts.jobs)(name, Box::new(job));
    }

    fn viewers_changed(&mut self, stream: usize) {
        self.dirty = true;
        self.events.push(MediaEvent::ViewersChanged {
            stream: self.streams[stream].description.name.clone(),
        });
    }

    fn changed(&mut self, stream: usize) {
        self.dirty = true;
        self.events.push(MediaEvent::Changed {
            stream: self.streams[stream].description.name.clone(),
        });
    }

    fn start(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
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
        self.job("source-start", move || {
            let events = inbox.clone();
            let result = sources.start(
                &description,
                &fanout,
                Arc::new(move |event| {
                    events(Input::Source {
                        stream: index,
                        run,
                        event,
                    });
                }),
            );
            inbox(Input::Started {
                stream: index,
                run,
                result,
            });
        });
    }

    fn handle_started(
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
            (_, Ok(stale)) => self.drop_source(Some(stale)),
            (Run::Starting { .. }, Err(error)) if current => self.fail(now, index, error),
            (_, Err(_)) => {}
        }
    }

    fn drop_source(&mut self, source: Option<Box<dyn Source>>) {
        let Some(source) = source else { return };
        let inbox = self.parts.inbox.clone();
        self.closing += 1;
        self.job("source-stop", move || {
            drop(source);
            inbox(Input::Stopped);
        });
    }

    fn handle_source(&mut self, now: Duration, index: usize, run: u64, event: SourceEvent) {
        let stream = &mut self.streams[index];
        if stream.number != run {
            return;
        }
        match event {
            SourceEvent::Began { output, codec } => {
                let Run::Starting {
                    began, deadline, ..
                } = &mut stream.run
                else {
                    return;
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

    fn go_live(&mut self, now: Duration, index: usize) {
        let stream = &mut self.streams[index];
        let Run::Starting { source, began, .. } = &mut stream.run else {
            return;
        };
        let source = source.take();
        let codecs = std::mem::take(began);
        stream.run = Run::Live { source, since: now };
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

    fn of_stream(&self, stream: usize, wanted: impl Fn(&ViewerState) -> bool) -> Vec<ViewerId> {
        self.viewers
            .iter()
            .filter(|(_, viewer)| viewer.stream == stream && wanted(&viewer.state))
            .map(|(id, _)| *id)
            .collect()
    }

    fn end_all(&mut self, stream: usize, reason: &str) {
        for viewer in self.of_stream(stream, |_| true) {
            self.end(viewer, reason);
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
        let Run::Live { source, since } = &mut stream.run else {
            return;
        };
        let source = source.take();
        let until = *since + SHORTEST_LOOP;
        stream.run = Run::Waiting { until };
        let looped = stream.description.looped;
        self.drop_source(source);
        if !looped {
            self.end_all(index, "the stream has ended");
        }
        if until <= now {
            self.start(now, index);
        }
    }

    fn fail(&mut self, now: Duration, index: usize, error: String) {
        let stream = &mut self.streams[index];
        let (source, survived) = match &mut stream.run {
            Run::Starting { source, .. } => (source.take(), false),
            Run::Live { source, since } => {
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
        for reply in std::mem::take(&mut stream.image_wanted) {
            let _ = reply.send(Err(Refusal::NotRunning("the stream failed".to_owned())));
        }
        self.drop_source(source);
        if news {
            self.changed(index);
        }
        // Viewers outlive one failure: the first restart comes after a second, on the same
        // connection. When that fails too, they are told.
        if !survived {
            self.end_all(index, &format!("the stream failed: {error}"));
        }
    }

    fn handle_image(&mut self, now: Duration, name: &str, reply: ImageReply) {
        let Some(index) = self.streams.iter().position(|s| s.description.name == name) else {
            let _ = reply.send(Err(Refusal::NoSuchStream(name.to_owned())));
            return;
        };
        let stream = &mut self.streams[index];
        if let Some((made, jpeg)) = &stream.image {
            if now.saturating_sub(*made) < IMAGE_AGE {
                let _ = reply.send(Ok(jpeg.clone()));
                return;
            }
        }
        let still = match &stream.description.image {
            Some(Image::File(path)) => Still::File(path.clone()),
            Some(Image::Url(_)) => {
                let text = "the image is elsewhere".to_owned();
                let _ = reply.send(Err(Refusal::NotRunning(text)));
                return;
            }
            None => {
                let output = stream.picture_output().unwrap_or_default();
                let frames = stream.fanout.picture(now, &output, IMAGE_AGE);
                if frames.is_empty() || stream.status != StreamState::Live {
                    let text = "there is no picture now".to_owned();
                    let _ = reply.send(Err(Refusal::NotRunning(text)));
                    return;
                }
                Still::Frames(frames)
            }
        };
        stream.image_wanted.push(reply);
        if stream.image_wanted.len() > 1 {
            return;
        }
        let stills = self.parts.stills.clone();
        let inbox = self.parts.inbox.clone();
        self.job("still", move || {
            inbox(Input::ImageMade {
                stream: index,
                result: stills(still),
            });
        });
    }

    fn handle_image_made(&mut self, now: Duration, index: usize, result: &Result<Bytes, String>) {
        let stream = &mut self.streams[index];
        if let Ok(jpeg) = result {
            stream.image = Some((now, jpeg.clone()));
        }
        for reply in std::mem::take(&mut stream.image_wanted) {
            let _ = reply.send(result.clone().map_err(Refusal::Failed));
        }
    }

    fn handle_stop(&mut self, now: Duration, done: oneshot::Sender<()>) {
        self.stopping.push(done);
        self.stop_limit.get_or_insert(now + STOP_LIMIT);
        let viewers: Vec<ViewerId> = self.viewers.keys().copied().collect();
        for viewer in viewers {
            self.remove(viewer);
        }
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            stream.number += 1;
            let run = std::mem::replace(&mut stream.run, Run::Stopped);
            stream.image_wanted.clear();
            if let Run::Starting { source, .. } | Run::Live { source, .. } = run {
                self.drop_source(source);
            }
        }
        self.events.clear();
        self.finish_stop();
    }

    fn finish_stop(&mut self) {
        if self.closing == 0 {
            self.stop_limit = None;
            for done in self.stopping.drain(..) {
                let _ = done.send(());
            }
        }
    }

    /// Lets others see what changed.
    fn publish(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let mut encoders = BTreeMap::new();
        for stream in &self.streams {
            if let Run::Starting {
                source: Some(source),
                ..
            }
            | Run::Live {
                source: Some(source),
                ..
            } = &stream.run
            {
                for (factory, count) in source.encoders() {
                    *encoders.entry(factory).or_default() += count;
                }
            }
        }
        let capacity = self.parts.capacity;
        let snapshot = Snapshot {
            streams: self.streams.iter().map(|s| s.info(capacity)).collect(),
            viewers: self.viewers.len(),
            encoders,
        };
        *self
            .parts
            .snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

impl Stream {
    fn force(&self, keyframe: Keyframe, output: &str) {
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
    fn available(&self) -> Vec<Available> {
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

    fn picture_output(&self) -> Option<String> {
        self.available()
            .into_iter()
            .find(|output| output.codec.kind() == Kind::Video)
            .map(|output| output.output)
    }

    fn info(&self, capacity: usize) -> StreamInfo {
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

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
