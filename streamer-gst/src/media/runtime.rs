//! The thread that owns the hub, and the handle others hold.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::hub::{Hub, Input, Jobs, Parts, Snapshot, Still, Stills};
use super::{Clock, Config, Error, Media, MediaEvent, Refusal, StreamInfo, Wish};
use crate::codec::Codec;
use crate::description::{self, Watch};
use crate::engine::ViewerId;
use crate::gst::{self, GstSources, Timeline, ViewerSettings, WebRtcEngine};
use crate::limits;
use crate::offer::Trickled;

/// Events waiting for the agent. A viewer makes a handful in its life, and an agent that lags
/// this far behind has stopped.
const EVENT_QUEUE: usize = 4096;

/// The running media half. Dropping it ends everything, too, but does not wait.
pub struct MediaHandle {
    // Callbacks of GStreamer send here and must never block, so the queue has no bound; what they
    // send is bounded by their rate: frames do not pass, and a viewer's wishes only now and then.
    inputs: Sender<Input>,
    snapshot: Arc<Mutex<Snapshot>>,
    timeline: Timeline,
    _watch: Watch,
}

/// Loads the descriptions, starts their pipelines and the engine. Returns when the descriptions
/// are found; whether they are fit for use and their pipelines run shows in [`Media::streams`].
///
/// # Errors
/// A description that is not there, a media address that is not ours, or GStreamer without WebRTC.
pub fn start(config: &Config) -> Result<(MediaHandle, mpsc::Receiver<MediaEvent>), Error> {
    for address in config.media_addresses.iter().copied() {
        // No viewer could ever connect, and each would wait for candidates that never come.
        UdpSocket::bind((address, 0)).map_err(|source| Error::Address { address, source })?;
    }
    let (inputs, inbox) = channel();
    // Before they are read, so that no change falls in between.
    let changes = inputs.clone();
    let changed = move |loaded| {
        let _ = changes.send(Input::Descriptions(loaded));
    };
    let (directory, streams) = (&config.pipelines, &config.streams);
    let parameters = config.parameters.clone().environment();
    let watch = Watch::start(
        directory.clone(),
        streams.clone(),
        parameters.clone(),
        changed,
    );
    let descriptions = description::load_directory(directory, streams, &parameters)?;
    let watch = watch?;
    let capacity = limits::viewers(config.max_viewers);
    let timeline = Timeline::begin().map_err(Error::Engine)?;
    let engine = Arc::new(WebRtcEngine::new(
        timeline.clone(),
        ViewerSettings {
            media_addresses: config.media_addresses.clone(),
        },
    ));
    engine.check().map_err(Error::Engine)?;
    let warm = engine.clone();
    let stills: Stills = Arc::new(|still| match still {
        Still::File(path) => gst::still_of_file(&path),
        Still::Frames(frames) => gst::still_of_frames(&frames),
    });
    let snapshot = Arc::default();
    let (events, agent) = mpsc::channel(EVENT_QUEUE);
    let sender = inputs.clone();
    let jobs = jobs()?;
    jobs(
        "warm-up",
        Box::new(move || {
            // Whatever keeps it from working will be told to the first viewer.
            if let Err(error) = warm.warm_up() {
                tracing::debug!(error, "no viewer can be made now");
            }
        }),
    );
    let parts = Parts {
        engine,
        sources: Arc::new(GstSources::new(timeline.clone())),
        stills,
        jobs,
        inbox: Arc::new(move |input| {
            let _ = sender.send(input);
        }),
        snapshot: Arc::clone(&snapshot),
        capacity,
        keep: config.keep,
    };
    let hub = Hub::new(parts, descriptions);
    let common = timeline.clone();
    thread::Builder::new()
        .name("media".to_owned())
        .spawn(move || run(hub, &timeline, &inbox, &events))?;
    let media = MediaHandle {
        inputs,
        snapshot,
        timeline: common,
        _watch: watch,
    };
    Ok((media, agent))
}

/// Blocking work gets a thread of its own: it is rare, and one that hangs hinders nobody. Where
/// the system has no more threads it waits for the one that is kept in reserve, so that ends, of
/// all things, are not lost.
fn jobs() -> std::io::Result<Jobs> {
    let (reserve, waiting) = channel::<Job>();
    let work = move || waiting.iter().for_each(run_job);
    thread::Builder::new()
        .name("reserve".to_owned())
        .spawn(work)?;
    Ok(Arc::new(move |name, job| {
        let job: Job = Arc::new(Mutex::new(Some(job)));
        let own = job.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        if let Err(error) = thread.spawn(move || run_job(own)) {
            tracing::warn!(%error, name, "no thread can be started");
            let _ = reserve.send(job);
        }
    }))
}

/// Work that a thread takes out and does.
type Job = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

#[expect(clippy::needless_pass_by_value, reason = "the last owner drops it")]
fn run_job(job: Job) {
    let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(job) = job {
        job();
    }
}

fn run(
    mut hub: Hub,
    timeline: &Timeline,
    inbox: &Receiver<Input>,
    events: &mpsc::Sender<MediaEvent>,
) {
    hub.handle_timeout(timeline.now());
    loop {
        for event in hub.poll_event() {
            if events.try_send(event).is_err() && !events.is_closed() {
                tracing::error!("the agent takes no events");
            }
        }
        let wait = hub
            .poll_timeout()
            .map(|due| due.saturating_sub(timeline.now()));
        let input = match wait {
            Some(wait) => inbox.recv_timeout(wait),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let now = timeline.now();
        match input {
            Ok(Input::Quit) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(input) => hub.handle(now, input),
            Err(RecvTimeoutError::Timeout) => {}
        }
        hub.handle_timeout(now);
    }
}

impl MediaHandle {
    fn send(&self, input: Input) {
        // The hub's thread ends only with this handle.
        let _ = self.inputs.send(input);
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Media for MediaHandle {
    fn streams(&self) -> Vec<StreamInfo> {
        self.snapshot().streams
    }

    fn open(&self, stream: &str, viewer: ViewerId, offer: Bytes) {
        self.send(Input::Open {
            stream: stream.to_owned(),
            viewer,
            offer,
        });
    }

    fn add_candidate(&self, viewer: ViewerId, candidate: Trickled) {
        self.send(Input::Candidate { viewer, candidate });
    }

    fn choose(&self, viewer: ViewerId, wish: Wish) {
        self.send(Input::Choose { viewer, wish });
    }

    fn close(&self, viewer: ViewerId, reason: &str) {
        self.send(Input::Close {
            viewer,
            reason: reason.to_owned(),
        });
    }

    fn image(&self, stream: &str) -> oneshot::Receiver<Result<Bytes, Refusal>> {
        let (reply, receiver) = oneshot::channel();
        self.send(Input::Image {
            stream: stream.to_owned(),
            reply,
        });
        receiver
    }

    fn clock(&self) -> Clock {
        // All pictures' clocks have 90 kHz.
        let rate = Codec::Vp8.clock_rate();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            rtp: self.timeline.rtp(self.timeline.now(), rate),
            rate,
            wall: since.unwrap_or_default().as_millis() as u64,
        }
    }

    fn state(&self) -> serde_json::Value {
        let snapshot = self.snapshot();
        let streams: Vec<_> = snapshot
            .streams
            .iter()
            .map(|stream| {
                serde_json::json!({
                    "name": stream.name,
                    "state": stream.state,
                    "viewers": stream.viewers,
                    "resting": snapshot.resting.get(&stream.name),
                    "watching": snapshot.watching.get(&stream.name),
                })
            })
            .collect();
        serde_json::json!({
            "viewers": snapshot.viewers,
            "encoders": snapshot.encoders,
            "streams": streams,
        })
    }

    fn stop(&self) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        self.send(Input::Stop { done });
        receiver
    }
}

impl Drop for MediaHandle {
    fn drop(&mut self) {
        let (done, _) = oneshot::channel();
        self.send(Input::Stop { done });
        self.send(Input::Quit);
    }
}
