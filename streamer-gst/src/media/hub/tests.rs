mod changes;
mod rest;
mod streams;
mod wishes;

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::engine::fake::{FakeEngine, carrying};
use crate::source::SourceEvents;

const OFFER: &[u8] = include_bytes!("../../../tests/offers/chromium.sdp");
const FIREFOX: &[u8] = include_bytes!("../../../tests/offers/firefox.sdp");
const A: ViewerId = ViewerId(1);
const B: ViewerId = ViewerId(2);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[derive(Default)]
struct FakeSources {
    state: Mutex<FakeSourcesState>,
}

#[derive(Default)]
struct FakeSourcesState {
    refuse: Option<String>,
    events: Vec<SourceEvents>,
    feeds: Vec<Feed>,
    modes: Vec<Mode>,
    recorded: bool,
    played: Arc<Mutex<usize>>,
    forced: Arc<Mutex<Vec<String>>>,
    alive: Arc<Mutex<usize>>,
    /// Outputs can rest.
    patient: bool,
    /// What was told to them of rest.
    rests: Arc<Mutex<Vec<String>>>,
    /// When frames were kept from encoders.
    heard: Arc<Mutex<Option<Duration>>>,
}

struct FakeSource {
    live: bool,
    patient: bool,
    rests: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<Option<Duration>>>,
    played: Arc<Mutex<usize>>,
    forced: Arc<Mutex<Vec<String>>>,
    alive: Arc<Mutex<usize>>,
}

impl Sources for FakeSources {
    fn start(
        &self,
        _: &Description,
        feed: Feed,
        mode: Mode,
        events: SourceEvents,
    ) -> Result<Box<dyn Source>, Failure> {
        let mut state = self.state.lock().unwrap();
        state.events.push(events);
        state.feeds.push(feed);
        state.modes.push(mode);
        match &state.refuse {
            Some(error) => Err(error.clone().into()),
            None => {
                *state.alive.lock().unwrap() += 1;
                Ok(Box::new(FakeSource {
                    forced: state.forced.clone(),
                    alive: state.alive.clone(),
                    played: state.played.clone(),
                    live: !state.recorded,
                    patient: state.patient,
                    rests: state.rests.clone(),
                    heard: state.heard.clone(),
                }))
            }
        }
    }
}

impl Source for FakeSource {
    fn play(&self) {
        *self.played.lock().unwrap() += 1;
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn force_keyframe(&self, output: &str) {
        self.forced.lock().unwrap().push(output.to_owned());
    }

    fn keyframes(&self, _: &str) -> Keyframes {
        Keyframes::OnRequest
    }

    fn can_rest(&self, _: &str) -> bool {
        self.patient
    }

    fn rest(&self, output: &str) {
        self.rests.lock().unwrap().push(format!("{output} rests"));
    }

    fn wake(&self, output: &str) {
        self.rests.lock().unwrap().push(format!("{output} wakes"));
    }

    fn heard(&self, _: &str) -> Option<Duration> {
        *self.heard.lock().unwrap()
    }

    fn silence(&self, output: &str, _: Duration, message: &str) -> Failure {
        format!("{message}: nothing gives to {output}").into()
    }

    fn encoders(&self) -> BTreeMap<String, usize> {
        BTreeMap::from([("vp8enc".to_owned(), 1)])
    }
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        *self.alive.lock().unwrap() -= 1;
    }
}

/// A hub whose jobs run when the test says so.
struct Fixture {
    hub: Hub,
    engine: Arc<FakeEngine>,
    sources: Arc<FakeSources>,
    snapshot: Arc<Mutex<Snapshot>>,
    jobs: Receiver<Box<dyn FnOnce() + Send>>,
    inputs: Receiver<Input>,
    now: Duration,
}

fn fixture_of(text: &str) -> Fixture {
    let engine = Arc::new(FakeEngine::default());
    let sources = Arc::new(FakeSources::default());
    let snapshot = Arc::default();
    let (job, jobs) = channel();
    let (input, inputs) = channel();
    let parts = Parts {
        engine: engine.clone(),
        sources: sources.clone(),
        stills: Arc::new(|_| Ok(Bytes::from_static(b"jpeg"))),
        jobs: Arc::new(move |_, closure| job.send(closure).unwrap()),
        inbox: Arc::new(move |event| input.send(event).unwrap()),
        snapshot: Arc::clone(&snapshot),
        capacity: 2,
        keep: seconds(10),
    };
    let mut hub = Hub::new(parts, vec![loaded(text)]);
    hub.handle_timeout(Duration::ZERO);
    Fixture {
        hub,
        engine,
        sources,
        snapshot,
        jobs,
        inputs,
        now: Duration::ZERO,
    }
}

fn loaded(text: &str) -> Loaded {
    let result = Description::parse(Path::new("demo.launch"), text);
    Loaded {
        name: "demo".to_owned(),
        result,
    }
}

fn keyframe() -> crate::engine::Frame {
    crate::engine::Frame {
        output: "video".into(),
        codec: Codec::Vp8,
        pts: Duration::ZERO,
        duration: None,
        keyframe: true,
        bytes: Bytes::from_static(b"x"),
    }
}

fn fixture() -> Fixture {
    fixture_of("x ! tee name=video")
}

impl Fixture {
    /// Runs jobs and their reports until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Ok(job) = self.jobs.try_recv() {
                job();
                moved = true;
            }
            while let Ok(input) = self.inputs.try_recv() {
                self.hub.handle(self.now, input);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// A frame of the source that was started last.
    fn push(&self) {
        let feed = self.sources.state.lock().unwrap().feeds.last().cloned();
        let Feed { fanout, source } = feed.unwrap();
        let _ = fanout.push(source, self.now, keyframe());
    }

    /// The file is saved.
    fn save(&mut self, text: &str) {
        self.hub
            .handle(self.now, Input::Descriptions(vec![loaded(text)]));
        self.hub.handle_timeout(self.now);
        self.settle();
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.hub.handle_timeout(self.now);
        self.settle();
    }

    /// Pipelines that are there.
    fn alive(&self) -> usize {
        *self.sources.state.lock().unwrap().alive.lock().unwrap()
    }

    /// Pipelines that were asked for so far.
    fn started(&self) -> usize {
        self.sources.state.lock().unwrap().feeds.len()
    }

    fn source(&mut self, event: SourceEvent) {
        let events = self.sources.state.lock().unwrap().events.clone();
        events.last().unwrap()(event);
        self.settle();
    }

    fn live(mut self) -> Self {
        self.settle();
        self.began(Codec::Vp8);
        self.hub.poll_event();
        self
    }

    fn began(&mut self, codec: Codec) {
        self.source(SourceEvent::Began {
            output: "video".into(),
            codec,
        });
    }

    fn open(&mut self, viewer: ViewerId, offer: &'static [u8]) {
        self.hub.handle(
            self.now,
            Input::Open {
                stream: "demo".to_owned(),
                viewer,
                offer: Bytes::from_static(offer),
            },
        );
    }

    fn play(&mut self, viewer: ViewerId) {
        self.open(viewer, OFFER);
        self.settle();
        self.engine.emit(Event::Connected { viewer });
        self.settle();
        self.hub.poll_event();
    }

    fn close(&mut self, viewer: ViewerId) {
        let reason = "bye".to_owned();
        self.hub.handle(self.now, Input::Close { viewer, reason });
    }

    /// Events, without the news for the list.
    fn events(&mut self) -> Vec<MediaEvent> {
        let mut events = self.hub.poll_event();
        events.retain(|event| !matches!(event, MediaEvent::Changed { .. }));
        events
    }

    fn refusal(&mut self) -> Refusal {
        match self.events().as_slice() {
            [MediaEvent::Answered { result: Err(r), .. }] => r.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn gone(&mut self) -> Vec<(ViewerId, String)> {
        let events = self.events().into_iter();
        let mut gone: Vec<_> = events
            .filter_map(|event| match event {
                MediaEvent::Gone { viewer, reason } => Some((viewer, reason)),
                _ => None,
            })
            .collect();
        gone.sort();
        gone
    }

    fn ask(&mut self) -> oneshot::Receiver<Result<Bytes, Refusal>> {
        let (reply, receiver) = oneshot::channel();
        let stream = "demo".to_owned();
        self.hub.handle(self.now, Input::Image { stream, reply });
        receiver
    }

    fn codecs(&self) -> Vec<Codec> {
        self.snapshot.lock().unwrap().streams[0].codecs.clone()
    }

    fn status(&self) -> (StreamState, Option<String>) {
        let info = self.snapshot.lock().unwrap().streams[0].clone();
        (info.state, info.error)
    }

    fn assert_empty(&self) {
        assert_eq!(self.snapshot.lock().unwrap().viewers, 0);
        assert!(self.engine.state.lock().unwrap().open.is_empty());
        assert_eq!((self.hub.busy, self.hub.departing), (0, 0));
    }
}

#[test]
fn a_viewer_is_answered_connected_and_closed() {
    let mut f = fixture().live();
    f.open(A, OFFER);
    f.settle();
    let events = f.events();
    assert!(
        matches!(&events[..], [MediaEvent::Answered { viewer: A, result: Ok(answer) }] if answer.contains("m=video"))
    );
    f.engine.emit(Event::Connected { viewer: A });
    f.settle();
    assert_eq!(f.snapshot.lock().unwrap().viewers, 1);
    assert_eq!(f.hub.streams[0].fanout.viewers("video"), 1);
    f.close(A);
    f.settle();
    assert_eq!(f.events(), []);
    assert_eq!(f.hub.streams[0].fanout.viewers("video"), 0);
    f.assert_empty();
}

#[test]
fn no_frame_flows_before_the_connection_stands() {
    let mut f = fixture().live();
    f.open(A, OFFER);
    f.settle();
    assert_eq!(f.hub.streams[0].fanout.viewers("video"), 0);
    // Connected may overtake the answer.
    f.open(B, OFFER);
    f.jobs.try_recv().unwrap()();
    f.engine.emit(Event::Connected { viewer: B });
    f.settle();
    assert_eq!(f.hub.streams[0].fanout.viewers("video"), 1);
}

#[test]
fn a_viewer_that_never_connects_is_gone_after_fifteen_seconds() {
    let mut f = fixture().live();
    f.open(A, OFFER);
    f.settle();
    f.events();
    f.advance(seconds(14));
    assert_eq!(f.gone(), []);
    f.advance(seconds(1));
    assert_eq!(f.gone().len(), 1);
    f.assert_empty();
}

#[test]
fn a_silent_viewer_is_gone_within_ten_seconds() {
    let mut f = fixture().live();
    f.play(A);
    for _ in 0..40 {
        f.advance(SILENCE_CHECK);
    }
    assert_eq!(f.gone(), []);
    f.engine
        .state
        .lock()
        .unwrap()
        .silence
        .insert(A, SILENCE_LIMIT);
    f.advance(SILENCE_CHECK);
    assert_eq!(f.gone().len(), 1);
    assert!(SILENCE_LIMIT_SOUND + SILENCE_CHECK < seconds(10));
    f.advance(SILENCE_CHECK);
    assert_eq!(f.hub.silence_check, None);
    f.assert_empty();
}

#[test]
fn a_lost_report_does_not_end_a_listener() {
    let mut f = fixture_of("x ! tee name=audio");
    f.settle();
    f.source(SourceEvent::Began {
        output: "audio".into(),
        codec: Codec::Opus,
    });
    f.play(A);
    f.play(B);
    let silent = |f: &Fixture, silence| {
        let mut state = f.engine.state.lock().unwrap();
        state.lossy.insert(A);
        state.silence.extend([(A, silence), (B, silence)]);
    };
    silent(&f, SILENCE_LIMIT);
    f.advance(SILENCE_CHECK);
    assert_eq!(f.gone(), []);
    silent(&f, SILENCE_LIMIT_SOUND);
    f.advance(SILENCE_CHECK);
    assert!(matches!(&f.gone()[..], [(B, _)]));
    silent(&f, SILENCE_LIMIT_LOSSY);
    f.advance(SILENCE_CHECK);
    assert!(matches!(&f.gone()[..], [(A, _)]));
}

#[test]
fn closing_while_the_engine_is_at_work_leaves_nothing() {
    let mut f = fixture().live();
    f.open(A, OFFER);
    f.close(A);
    f.settle();
    assert_eq!(f.events(), []);
    f.assert_empty();
}

#[test]
fn an_engine_that_takes_too_long_is_given_up_and_cleaned_up_later() {
    let mut f = fixture().live();
    f.open(A, OFFER);
    let slow = f.jobs.try_recv().unwrap();
    f.advance(OPEN_LIMIT);
    assert!(matches!(f.refusal(), Refusal::Failed(_)));
    slow();
    f.settle();
    assert_eq!(f.events(), []);
    f.assert_empty();
}

#[test]
fn viewers_on_their_way_out_take_places_when_they_become_many() {
    let mut f = fixture().live();
    // Offers given up as soon as they are made, while every engine call still runs: each holds
    // descriptors, and a process without descriptors is aborted.
    let mut made = 0;
    for viewer in 10..100 {
        f.open(ViewerId(viewer), OFFER);
        f.close(ViewerId(viewer));
        made += usize::from(f.events().is_empty());
    }
    assert_eq!(made, 2 + limits::DEPARTING);
    f.settle();
    f.open(A, OFFER);
    f.settle();
    assert_eq!(f.snapshot.lock().unwrap().viewers, 1);
    f.close(A);
    f.settle();
    f.assert_empty();
}

#[test]
fn a_full_streamer_gives_away_the_place_of_who_does_not_connect() {
    let (third, fourth) = (ViewerId(3), ViewerId(4));
    let mut f = fixture().live();
    f.play(A);
    f.open(B, OFFER);
    f.settle();
    f.events();
    // Whoever has just come may still connect.
    f.advance(CONNECT_PATIENCE - Duration::from_millis(1));
    f.open(third, OFFER);
    assert_eq!(f.refusal(), Refusal::Full(2));
    f.advance(Duration::from_millis(1));
    // An offer that comes to nothing costs nobody anything.
    f.open(third, b"hello");
    assert_eq!(f.refusal(), Refusal::Full(2));
    f.open(third, OFFER);
    f.settle();
    let events = f.events();
    assert!(
        matches!(&events[..], [
            MediaEvent::Gone { viewer: B, .. },
            MediaEvent::Answered { viewer, result: Ok(_) },
        ] if *viewer == third),
        "{events:?}"
    );
    // Who plays stays.
    f.engine.emit(Event::Connected { viewer: third });
    f.settle();
    f.advance(CONNECT_PATIENCE);
    f.open(fourth, OFFER);
    assert_eq!(f.refusal(), Refusal::Full(2));
    f.close(A);
    f.close(third);
    f.settle();
    f.assert_empty();
}

#[test]
fn refusals_say_why() {
    let mut f = fixture().live();
    f.open(A, b"hello");
    assert!(matches!(f.refusal(), Refusal::BadOffer(_)));
    f.hub.handle(
        f.now,
        Input::Open {
            stream: "other".to_owned(),
            viewer: A,
            offer: Bytes::from_static(OFFER),
        },
    );
    assert_eq!(f.refusal(), Refusal::NoSuchStream("other".to_owned()));
    f.engine.state.lock().unwrap().refuse = Some("no network".to_owned());
    f.open(A, OFFER);
    f.settle();
    assert_eq!(f.refusal(), Refusal::Failed("no network".to_owned()));
    f.engine.state.lock().unwrap().refuse = None;
    f.play(A);
    f.play(B);
    f.open(ViewerId(3), OFFER);
    assert_eq!(f.refusal(), Refusal::Full(2));
    f.close(A);
    f.close(B);
    f.settle();
    f.assert_empty();
}

#[test]
fn a_browser_without_the_codec_is_told_so() {
    let mut f = fixture();
    f.settle();
    f.began(Codec::H264);
    f.events();
    f.open(A, FIREFOX);
    assert!(matches!(f.refusal(), Refusal::NoCommonCodec(_)));
    f.assert_empty();
}

#[test]
fn who_comes_while_the_stream_starts_waits_for_it() {
    let mut f = fixture();
    f.settle();
    f.open(A, OFFER);
    f.open(B, b"v=0");
    assert!(matches!(f.refusal(), Refusal::BadOffer(_)));
    f.began(Codec::Vp8);
    f.settle();
    let events = f.events();
    assert!(events.iter().any(|event| matches!(
        event,
        MediaEvent::Answered {
            viewer: A,
            result: Ok(_)
        }
    )));
}

#[test]
fn who_waits_too_long_for_a_stream_is_told_so() {
    let mut f = fixture();
    f.settle();
    f.open(A, OFFER);
    f.advance(PARK_LIMIT);
    assert!(matches!(f.refusal(), Refusal::NotRunning(_)));
    f.assert_empty();
}

#[test]
fn stopping_frees_everything_and_says_so() {
    let mut f = fixture().live();
    f.play(A);
    f.open(B, OFFER);
    let (done, mut stopped) = oneshot::channel();
    f.hub.handle(f.now, Input::Stop { done });
    assert!(stopped.try_recv().is_err());
    f.settle();
    assert!(stopped.try_recv().is_ok());
    f.assert_empty();
    assert_eq!(*f.sources.state.lock().unwrap().alive.lock().unwrap(), 0);
    assert_eq!(f.events(), []);
}

#[test]
fn who_comes_after_the_end_is_refused() {
    let mut f = fixture().live();
    let (done, mut stopped) = oneshot::channel();
    f.hub.handle(f.now, Input::Stop { done });
    f.settle();
    assert!(stopped.try_recv().is_ok());
    f.open(A, OFFER);
    assert!(matches!(f.refusal(), Refusal::NotRunning(_)));
    let (done, mut stopped) = oneshot::channel();
    f.hub.handle(f.now, Input::Stop { done });
    assert!(stopped.try_recv().is_ok());
    assert_eq!(f.hub.poll_timeout(), None);
    f.assert_empty();
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let mut f = fixture().live();
    f.play(A);
    let (done, mut stopped) = oneshot::channel();
    f.hub.handle(f.now, Input::Stop { done });
    f.now += STOP_LIMIT;
    f.hub.handle_timeout(f.now);
    assert!(stopped.try_recv().is_ok());
}

#[test]
fn a_viewer_that_no_thread_could_be_had_for_takes_no_place() {
    let mut f = fixture().live();
    for viewer in 100..110 {
        f.open(ViewerId(viewer), OFFER);
        drop(f.jobs.try_recv().unwrap());
        f.settle();
        assert!(matches!(f.refusal(), Refusal::Failed(_)));
    }
    f.play(A);
    f.play(B);
    assert_eq!(f.hub.viewers.len(), 2);
}
