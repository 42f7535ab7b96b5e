use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::*;
use crate::engine::fake::FakeEngine;
use crate::engine::{Engine, ViewerId};
use crate::fanout::{Fanout, Rest, SourceId};

const A: ViewerId = ViewerId(1);
const B: ViewerId = ViewerId(2);

/// A pipeline that plays into a fan-out, and what it says.
struct Playing {
    engine: Arc<FakeEngine>,
    fanout: Arc<Fanout>,
    source: Box<dyn Source>,
    events: Receiver<SourceEvent>,
    timeline: Timeline,
}

impl Playing {
    fn start(text: &str) -> Self {
        let (description, faults) = Description::examine_text(Path::new("a.launch"), text);
        assert!(!faults.iter().any(Diagnostic::is_error), "{faults:?}");
        let timeline = Timeline::begin().unwrap();
        let engine = Arc::new(FakeEngine::default());
        let fanout = Arc::new(Fanout::new(engine.clone() as Arc<dyn Engine>));
        fanout.admit(SourceId(1));
        let feed = Feed {
            fanout: fanout.clone(),
            source: SourceId(1),
        };
        let (tell, events) = channel();
        let tell = Arc::new(move |event| {
            let _ = tell.send(event);
        });
        let sources = GstSources::new(timeline.clone());
        let source = sources.start(&description, feed, Mode::Playing, tell);
        Self {
            engine,
            fanout,
            source: source.unwrap(),
            events,
            timeline,
        }
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < end, "never: {what}");
            while let Ok(event) = self.events.try_recv() {
                match event {
                    SourceEvent::KeyframeDue { output } => self.source.force_keyframe(&output),
                    SourceEvent::Failed(failure) => panic!("{failure:?}"),
                    SourceEvent::Ended => panic!("it has ended"),
                    SourceEvent::Began { .. } | SourceEvent::Woke { .. } => {}
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn rest(&self, output: &str) {
        self.until("it can rest", |p| p.source.can_rest(output));
        self.until("it may rest", |p| {
            match p.fanout.rest(p.timeline.now(), output) {
                Rest::Now => return true,
                Rest::Ask => p.source.force_keyframe(output),
                Rest::Not => {}
            }
            false
        });
        self.source.rest(output);
    }

    fn got(&self, viewer: ViewerId) -> Vec<Frame> {
        let state = self.engine.state.lock().unwrap();
        state.frames.get(&viewer).cloned().unwrap_or_default()
    }

    /// Waits until so many frames more were kept from an output's encoder.
    fn keeps(&self, output: &str, frames: usize) {
        let mut last = self.source.heard(output);
        let mut count = 0;
        self.until("frames are kept", |p| {
            let heard = p.source.heard(output);
            count += usize::from(heard != last);
            last = heard;
            count >= frames
        });
    }
}

const RUNGS: &str = "videotestsrc is-live=true pattern=snow \
    ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! tee name=picture\n\
    picture. ! queue ! vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=300000 \
    ! tee name=video allow-not-linked=true\n\
    picture. ! queue ! videoscale ! video/x-raw,width=120,height=90 \
    ! vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=30000 keyframe-max-dist=3000 \
    ! tee name=video_low allow-not-linked=true\n";

#[test]
fn an_encoder_at_rest_gets_no_frames_while_the_others_go_on_and_wakes_with_a_keyframe() {
    let p = Playing::start(RUNGS);
    p.rest("video_low");
    // What was on its way has come out after a few frames.
    p.keeps("video_low", 5);
    let rate = p.fanout.rate("video_low");
    // The one that it gave when it was asked.
    let usual = p
        .fanout
        .picture(p.timeline.now(), "video_low", Duration::MAX);
    let now = p.timeline.now();
    let _ = p.fanout.join(now, A, "video", Keyframes::OnRequest);
    p.source.force_keyframe("video");
    // Whoever watched it without waking it would get nothing, for nothing comes out.
    let _ = p.fanout.join(now, B, "video_low", Keyframes::OnRequest);
    p.keeps("video_low", 60);
    p.until("the other one goes on", |p| p.got(A).len() > 60);
    assert!(p.got(A).iter().all(|frame| &*frame.output == "video"));
    assert_eq!(p.got(B), []);
    assert!(p.fanout.is_resting("video_low"));
    assert_eq!(p.fanout.picture(now, "video_low", Duration::ZERO), []);
    assert!(p.fanout.rate("video_low").is_some() && rate.is_some());

    let before = p.got(A).len();
    let woken = p.timeline.now();
    assert!(p.fanout.wake(woken, "video_low"));
    p.source.wake("video_low");
    let _ = p.fanout.change(woken, A, "video_low");
    p.until("it has moved", |p| {
        p.got(A)[before..].iter().any(|f| &*f.output == "video_low")
    });
    let got = p.got(A);
    let first = got[before..].iter().position(|f| &*f.output == "video_low");
    let first = &got[before + first.unwrap()];
    assert!(first.keyframe);
    // The second one that the source made since, if the machine let it make them in time.
    let waited = first.pts.saturating_sub(woken);
    assert!(waited < Duration::from_millis(300), "{waited:?}");
    // It is no larger than others: the bits of the pause are not spent on it.
    let (size, usual) = (first.bytes.len(), usual[0].bytes.len());
    assert!(size < usual * 3 / 2, "{size} after {usual}");
}

#[test]
fn a_film_is_not_kept_from_its_encoder() {
    let p = Playing::start(
        "videotestsrc num-buffers=300 ! video/x-raw,format=I420,width=160,height=120,\
         framerate=30/1 ! vp8enc deadline=1 cpu-used=8 ! tee name=video allow-not-linked=true\n",
    );
    let mut asked = 0;
    p.until("many frames", |p| {
        assert!(!p.source.can_rest("video"));
        asked += 1;
        asked > 200
    });
}
