//! The state machine behind [`super::Media`]: commands, events of engine and sources, and time go
//! in; events go out. What may block is handed to `Jobs` as closures and reports back as [`Input`].

mod bandwidth;
mod changes;
mod rest;
mod silence;
mod stills;
mod stream;
mod streams;
mod viewers;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use self::stream::{Attempt, Next, Run, Stream};
use self::viewers::{Paused, Viewer, ViewerState};
use super::{MediaEvent, Refusal, StreamImage, StreamInfo, StreamState, Wish};
use crate::codec::{Codec, Kind};
use crate::description::{Description, Image, Loaded};
use crate::engine::{Engine, Event, ViewerId};
use crate::fanout::{Fanout, Keyframe, Keyframes, Rest, SourceId};
use crate::limits;
use crate::offer::{Available, Offer, Trickled, rungs};
use crate::source::{Failure, Feed, Mode, Source, SourceEvent, SourceEvents, Sources};

/// ICE and DTLS may take this long after the answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// This long nobody takes the place of a viewer that connects, however full it is: several times
/// what a bad line needs.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// An engine has to make a viewer in this time.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// A viewer that came while its stream was starting waits this long.
const PARK_LIMIT: Duration = Duration::from_secs(5);
/// Silence that means a viewer has vanished. Browsers send RTCP at least every 1.1 seconds while
/// they get video; for sound alone it is every 5 seconds, up to 7.5 (RFC 3550 section 6.3.1).
const SILENCE_LIMIT: Duration = Duration::from_millis(7_500);
const SILENCE_LIMIT_SOUND: Duration = Duration::from_millis(9_250);
/// Where packets get lost, one report may be missing without anybody having gone. With picture
/// there are enough of them for that anyway.
const SILENCE_LIMIT_LOSSY: Duration = Duration::from_millis(16_750);
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
/// A source is looked at this often; silent so many times in a row, it has stalled. Counted, not
/// timed, so that a process that was halted does not blame its sources.
const STALL_CHECK: Duration = Duration::from_secs(1);
const STALL_CHECKS: u32 = 10;
/// A picture that nobody watches is encoded for so long after its start and after its last viewer:
/// it is measured, and who moves between rungs or reloads the page does not wake it each time.
const LINGER: Duration = Duration::from_secs(5);
/// Pipelines of one stream that may exist at a time: one on air, one to follow, the next round of a
/// loop and one that goes. More mean that a device hangs, and another attempt would hang beside
/// them.
const MAX_PIPELINES: usize = 4;
/// A file shorter than this begins again no sooner.
const SHORTEST_LOOP: Duration = Duration::from_secs(1);
/// Teardowns get this long at the end, then the process goes without them.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// What a viewer is told whose connection does not fit the stream any more; the page knows it.
const CODEC_CHANGED: &str = "codec-changed";
/// How long a still is good.
const IMAGE_AGE: Duration = Duration::from_secs(10);
/// Who asked for a still is told after this that there will be none.
const IMAGE_LIMIT: Duration = Duration::from_secs(10);

/// Runs what may block, somewhere else.
pub(in crate::media) type Jobs = Arc<dyn Fn(&'static str, Box<dyn FnOnce() + Send>) + Send + Sync>;
/// Takes inputs from any thread.
pub(in crate::media) type Inbox = Arc<dyn Fn(Input) + Send + Sync>;
/// Makes stills.
pub(in crate::media) type Stills = Arc<dyn Fn(Still) -> Result<Bytes, String> + Send + Sync>;
type ImageReply = oneshot::Sender<Result<Bytes, Refusal>>;

/// What a still is made of.
pub(in crate::media) enum Still {
    File(std::path::PathBuf),
    Frames(Vec<crate::engine::Frame>),
}

/// Everything that can happen.
pub(in crate::media) enum Input {
    Open {
        stream: String,
        viewer: ViewerId,
        offer: Bytes,
    },
    Candidate {
        viewer: ViewerId,
        candidate: Trickled,
    },
    Choose {
        viewer: ViewerId,
        wish: Wish,
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
    /// The descriptions were read again.
    Descriptions(Vec<Loaded>),
    Opened {
        viewer: ViewerId,
        result: Result<String, String>,
    },
    Closed,
    Engine(Event),
    Started {
        stream: usize,
        id: SourceId,
        result: Result<Box<dyn Source>, Failure>,
    },
    Stopped {
        stream: usize,
    },
    Source {
        stream: usize,
        id: SourceId,
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
pub(in crate::media) struct Snapshot {
    pub(in crate::media) streams: Vec<StreamInfo>,
    pub(in crate::media) viewers: usize,
    pub(in crate::media) encoders: BTreeMap<String, usize>,
    /// By stream: the outputs that rest.
    pub(in crate::media) resting: BTreeMap<String, Vec<String>>,
    /// Viewers of each output, by stream.
    pub(in crate::media) watching: BTreeMap<String, BTreeMap<String, usize>>,
}

/// The parts a hub works with.
pub(in crate::media) struct Parts {
    pub(in crate::media) engine: Arc<dyn Engine>,
    pub(in crate::media) sources: Arc<dyn Sources>,
    pub(in crate::media) stills: Stills,
    pub(in crate::media) jobs: Jobs,
    pub(in crate::media) inbox: Inbox,
    pub(in crate::media) snapshot: Arc<Mutex<Snapshot>>,
    pub(in crate::media) capacity: usize,
    /// How long a stream on demand runs on after its last viewer.
    pub(in crate::media) keep: Duration,
}

pub(in crate::media) struct Hub {
    parts: Parts,
    streams: Vec<Stream>,
    /// Counts pipelines, so that events of an old one are told apart.
    last_source: u64,
    viewers: HashMap<ViewerId, Viewer>,
    /// Viewers the engine still makes or ends, though they are in the table no longer.
    departing: usize,
    /// Jobs at work that make, hold or end a viewer or a source.
    busy: usize,
    stop: Stop,
    silence_check: Option<Duration>,
    events: Vec<MediaEvent>,
    dirty: bool,
}

/// What a job reports, whatever becomes of it: a job that panics or is dropped undone must not
/// be waited for.
struct Report {
    inbox: Inbox,
    input: Option<Input>,
}

impl Report {
    fn replace(mut self, input: Input) {
        self.input = Some(input);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(input) = self.input.take() {
            (self.inbox)(input);
        }
    }
}

/// How far the end of everything has come.
enum Stop {
    NotYet,
    /// Waiting for the jobs at work, but no longer than until then.
    Going {
        done: Vec<oneshot::Sender<()>>,
        until: Duration,
    },
    Done,
}

impl Hub {
    /// A hub with these streams; their pipelines start at the first [`Hub::handle_timeout`].
    pub(in crate::media) fn new(parts: Parts, descriptions: Vec<Loaded>) -> Self {
        let mut hub = Self {
            parts,
            streams: Vec::new(),
            last_source: 0,
            viewers: HashMap::new(),
            departing: 0,
            busy: 0,
            stop: Stop::NotYet,
            silence_check: None,
            events: Vec::new(),
            dirty: true,
        };
        for one in descriptions {
            hub.take(Duration::ZERO, one);
        }
        hub.publish();
        // Nobody knows of them yet, so nothing of this is news.
        hub.events.clear();
        hub
    }

    /// When [`Hub::handle_timeout`] is due.
    pub(in crate::media) fn poll_timeout(&self) -> Option<Duration> {
        let runs = self.streams.iter().filter_map(|stream| match &stream.run {
            Run::Waiting { until, .. } => Some(*until),
            Run::Starting(attempt) => Some(attempt.deadline),
            Run::Live { check, .. } => Some(*check),
            Run::Idle | Run::Stopped => None,
        });
        let nexts = self.streams.iter().filter_map(|stream| {
            let attempt = stream.next.as_ref()?.attempt.as_ref()?;
            Some(attempt.deadline)
        });
        let idle = self.streams.iter().filter_map(|stream| stream.idle_at);
        let images = self.streams.iter().filter_map(|stream| stream.image_until);
        let stop = match self.stop {
            Stop::Going { until, .. } => Some(until),
            Stop::NotYet | Stop::Done => None,
        };
        let viewers = self
            .viewers
            .values()
            .filter_map(|viewer| match viewer.state {
                ViewerState::Parked { until, .. }
                | ViewerState::Opening { until, .. }
                | ViewerState::Connecting { until, .. } => Some(until),
                ViewerState::Playing { .. } => None,
            });
        runs.chain(nexts)
            .chain(idle)
            .chain(viewers)
            .chain(self.silence_check)
            .chain(images)
            .chain(stop)
            .min()
    }

    /// What happened, for the agent. To be drained after each input.
    pub(in crate::media) fn poll_event(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.events)
    }

    pub(in crate::media) fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Open {
                stream,
                viewer,
                offer,
            } => self.handle_open(now, &stream, viewer, offer),
            Input::Candidate { viewer, candidate } => self.handle_candidate(viewer, candidate),
            Input::Choose { viewer, wish } => self.handle_choose(now, viewer, wish),
            Input::Close { viewer, reason } => {
                tracing::debug!(%viewer, reason, "viewer closed");
                self.remove(viewer);
            }
            Input::Image { stream, reply } => self.handle_image(now, &stream, reply),
            Input::Stop { done } => self.handle_stop(now, done),
            Input::Descriptions(loaded) => {
                if matches!(self.stop, Stop::NotYet) {
                    self.handle_descriptions(now, loaded);
                }
            }
            Input::Opened { viewer, result } => {
                self.handle_opened(now, viewer, result);
                self.finish_job();
            }
            Input::Closed => {
                self.departing = self.departing.saturating_sub(1);
                self.finish_job();
            }
            Input::Stopped { stream } => {
                self.streams[stream].pipelines -= 1;
                self.finish_job();
            }
            Input::Engine(event) => self.handle_engine(now, event),
            Input::Started { stream, id, result } => {
                self.handle_started(now, stream, id, result);
                self.finish_job();
            }
            Input::Source { stream, id, event } => self.handle_source(now, stream, id, event),
            Input::ImageMade { stream, result } => self.handle_image_made(now, stream, &result),
            Input::Quit => {}
        }
        self.publish();
    }

    pub(in crate::media) fn handle_timeout(&mut self, now: Duration) {
        for stream in 0..self.streams.len() {
            self.check_demand(now, stream);
            match &self.streams[stream].run {
                Run::Waiting { until, .. } if *until <= now => self.start(now, stream),
                Run::Starting(attempt) if attempt.deadline <= now => self.hurry(now, stream),
                Run::Live { check, .. } if *check <= now => {
                    self.check_stall(now, stream);
                    self.check_rest(now, stream);
                }
                _ => {}
            }
            match &self.streams[stream].next {
                Some(Next { attempt: None, .. }) => self.start_next(now, stream),
                Some(Next {
                    attempt: Some(Attempt { deadline, .. }),
                    ..
                }) if *deadline <= now => self.hurry_next(now, stream),
                _ => {}
            }
            if self.streams[stream]
                .image_until
                .is_some_and(|until| until <= now)
            {
                let text = "making the picture takes too long".to_owned();
                self.streams[stream].give_image(&Err(Refusal::Failed(text)));
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
            self.check_bandwidth(now);
        }
        if matches!(self.stop, Stop::Going { until, .. } if until <= now) {
            tracing::warn!(left = self.busy, "stopping without waiting any longer");
            self.busy = 0;
            self.finish_stop();
        }
        self.publish();
    }

    /// Has work done elsewhere that ends in an input, and in `lost` when it is never done.
    fn job(&self, name: &'static str, lost: Input, work: impl FnOnce() -> Input + Send + 'static) {
        let report = Report {
            inbox: self.parts.inbox.clone(),
            input: Some(lost),
        };
        (self.parts.jobs)(name, Box::new(move || report.replace(work())));
    }

    fn changed(&mut self, stream: usize) {
        self.dirty = true;
        self.events.push(MediaEvent::Changed {
            stream: self.streams[stream].name.clone(),
        });
    }

    fn handle_stop(&mut self, now: Duration, done: oneshot::Sender<()>) {
        match &mut self.stop {
            Stop::NotYet => {
                self.stop = Stop::Going {
                    done: vec![done],
                    until: now + STOP_LIMIT,
                };
            }
            Stop::Going { done: others, .. } => return others.push(done),
            Stop::Done => {
                let _ = done.send(());
                return;
            }
        }
        let viewers: Vec<ViewerId> = self.viewers.keys().copied().collect();
        for viewer in viewers {
            self.remove(viewer);
        }
        for index in 0..self.streams.len() {
            self.drop_sources(index);
            let stream = &mut self.streams[index];
            stream.image_wanted.clear();
            stream.image_until = None;
        }
        self.events.clear();
        self.finish_stop();
    }

    fn finish_job(&mut self) {
        self.busy = self.busy.saturating_sub(1);
        self.finish_stop();
    }

    fn finish_stop(&mut self) {
        if let (0, Stop::Going { done, .. }) = (self.busy, &mut self.stop) {
            for done in done.drain(..) {
                let _ = done.send(());
            }
            self.stop = Stop::Done;
        }
    }

    /// Lets others see what changed.
    fn publish(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let mut encoders = BTreeMap::new();
        for source in self.streams.iter().flat_map(Stream::sources) {
            for (factory, count) in source.encoders() {
                *encoders.entry(factory).or_default() += count;
            }
        }
        let capacity = self.parts.capacity;
        let listed = self.streams.iter().filter(|stream| stream.listed);
        let resting = listed.clone().map(|s| (s.name.clone(), s.resting()));
        let resting = resting.collect();
        let mut watching: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for viewer in self.viewers.values() {
            if let ViewerState::Playing { outputs, .. } = &viewer.state {
                let stream = self.streams[viewer.stream].name.clone();
                let watching = watching.entry(stream).or_default();
                for output in outputs {
                    *watching.entry(output.clone()).or_default() += 1;
                }
            }
        }
        let mut streams: Vec<StreamInfo> = listed.map(|stream| stream.info(capacity)).collect();
        streams.sort_by(|one, other| one.name.cmp(&other.name));
        let snapshot = Snapshot {
            streams,
            viewers: self.viewers.len(),
            encoders,
            resting,
            watching,
        };
        *self
            .parts
            .snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

#[cfg(test)]
mod tests;
