use super::*;

/// A picture in two sizes, and sound.
pub(super) const RUNGS: &str = "x ! tee name=video y ! tee name=video_low z ! tee name=audio";
pub(super) const HIGH: &str = "video";
pub(super) const LOW: &str = "video_low";

/// Encoders as they are: each gives a frame every 100 ms unless it rests, and a keyframe when it
/// was asked.
pub(super) struct Rungs {
    pub(super) f: Fixture,
    /// Told to the source so far, and how much of it has been acted on.
    forced: usize,
    rested: usize,
    resting: BTreeSet<String>,
    owing: BTreeSet<String>,
    deaf: bool,
    dead: bool,
}

impl Rungs {
    pub(super) fn new(text: &str) -> Self {
        let f = fixture_of(text);
        f.sources.state.lock().unwrap().patient = true;
        let mut rungs = Self {
            f,
            forced: 0,
            rested: 0,
            resting: BTreeSet::new(),
            owing: BTreeSet::new(),
            deaf: false,
            dead: false,
        };
        rungs.f.settle();
        rungs.begin();
        rungs
    }

    fn begin(&mut self) {
        for output in self.outputs() {
            let codec = Self::codec(&output);
            self.owing.insert(output.clone());
            let output = output.into();
            self.f.source(SourceEvent::Began { output, codec });
        }
    }

    fn codec(output: &str) -> Codec {
        match output {
            "audio" => Codec::Opus,
            _ => Codec::Vp8,
        }
    }

    fn outputs(&self) -> Vec<String> {
        let outputs = self.f.hub.streams[0].outputs();
        outputs.into_iter().map(str::to_owned).collect()
    }

    /// What the encoders were told since.
    fn listen(&mut self) {
        let (forced, rests) = {
            let state = self.f.sources.state.lock().unwrap();
            (state.forced.clone(), state.rests.clone())
        };
        let (forced, rests) = (forced.lock().unwrap(), rests.lock().unwrap());
        if !self.deaf {
            self.owing.extend(forced[self.forced..].iter().cloned());
        }
        self.forced = forced.len();
        for told in &rests[self.rested..] {
            let (output, what) = told.split_once(' ').unwrap();
            if what == "rests" {
                self.resting.insert(output.to_owned());
            } else {
                self.resting.remove(output);
                self.owing.insert(output.to_owned());
            }
        }
        self.rested = rests.len();
    }

    fn tick(&mut self) {
        self.listen();
        let heard = self.f.sources.state.lock().unwrap().heard.clone();
        let feed = self.f.sources.state.lock().unwrap().feeds.last().cloned();
        let feed = feed.unwrap();
        for output in self.outputs() {
            if self.dead || self.resting.contains(&output) {
                if !self.dead {
                    *heard.lock().unwrap() = Some(self.f.now);
                }
                continue;
            }
            let size = if output == LOW { 1_000 } else { 10_000 };
            let sound = output == "audio";
            let keyframe = self.owing.remove(&output) || sound;
            let frame = crate::engine::Frame {
                output: output.as_str().into(),
                codec: Self::codec(&output),
                pts: self.f.now,
                keyframe,
                bytes: Bytes::from(vec![0; size]),
                ..super::keyframe()
            };
            let asked = feed.fanout.push(feed.source, self.f.now, frame);
            let output: Arc<str> = output.into();
            if keyframe && !sound {
                let output = output.clone();
                self.f.source(SourceEvent::Woke { output });
            }
            if asked == Keyframe::Ask {
                self.f.source(SourceEvent::KeyframeDue { output });
            }
        }
        self.f.advance(Duration::from_millis(100));
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.f.now + time;
        while self.f.now < end {
            self.tick();
        }
    }

    /// As everybody sees it.
    pub(super) fn resting(&mut self) -> Vec<String> {
        self.listen();
        let seen = self.f.snapshot.lock().unwrap().resting["demo"].clone();
        let told: Vec<String> = self.resting.iter().cloned().collect();
        assert_eq!(seen, told);
        seen
    }

    fn got(&self, viewer: ViewerId) -> usize {
        self.f.engine.stamps(viewer).len()
    }
}

#[test]
fn pictures_rest_when_they_are_measured_and_nobody_has_come() {
    let mut r = Rungs::new(RUNGS);
    r.run(LINGER);
    assert_eq!(r.resting(), [""; 0]);
    r.run(seconds(3));
    assert_eq!(r.resting(), [HIGH, LOW]);
    // They do so quietly, and it is no reason to take the source for dead.
    r.f.hub.poll_event();
    r.run(seconds(60));
    assert_eq!(r.f.hub.poll_event(), []);
    assert_eq!(r.f.status(), (StreamState::Live, None));
    assert_eq!(r.rested, 2);
}

#[test]
fn what_a_viewer_will_get_is_woken_before_it_is_connected() {
    let mut r = Rungs::new(RUNGS);
    r.run(seconds(10));
    r.f.open(A, OFFER);
    assert_eq!(r.resting(), [LOW]);
    r.run(Duration::from_millis(200));
    r.f.engine.emit(Event::Connected { viewer: A });
    r.f.settle();
    // The keyframe that came meanwhile, and what came after it, and sound.
    assert!(r.got(A) >= 3, "{}", r.got(A));
    r.run(seconds(60));
    assert_eq!(r.resting(), [LOW]);
    r.f.close(A);
    r.run(seconds(4));
    assert_eq!(r.resting(), [LOW]);
    r.run(seconds(4));
    assert_eq!(r.resting(), [HIGH, LOW]);
}

#[test]
fn a_viewer_that_moves_wakes_its_rung_and_leaves_the_other_to_rest() {
    let mut r = Rungs::new(RUNGS);
    r.run(seconds(10));
    r.f.open(A, OFFER);
    r.run(Duration::from_millis(300));
    r.f.engine.emit(Event::Connected { viewer: A });
    r.run(seconds(10));
    assert_eq!(r.resting(), [LOW]);
    let line = |r: &Rungs, bandwidth| {
        let mut state = r.f.engine.state.lock().unwrap();
        state.lines.insert(A, carrying(bandwidth));
    };
    // 800 and 80 kbit/s.
    line(&r, 200_000);
    r.run(seconds(1));
    assert_eq!(r.resting(), [""; 0]);
    let viewers = |r: &Rungs, output: &str| r.f.hub.streams[0].fanout.viewers(output);
    assert_eq!((viewers(&r, HIGH), viewers(&r, LOW)), (0, 1));
    r.run(seconds(7));
    assert_eq!(r.resting(), [HIGH]);
    // What the other one takes is known all the same.
    line(&r, 2_000_000);
    r.run(seconds(10));
    assert_eq!((viewers(&r, HIGH), viewers(&r, LOW)), (1, 0));
    // And nothing was lost for it between them: ten frames a second of picture and of sound.
    let stamps = r.f.engine.stamps(A);
    let longest = stamps
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]));
    assert!(longest.max().unwrap() <= 100, "{stamps:?}");
}

#[test]
fn an_encoder_that_gives_no_keyframe_when_asked_never_rests() {
    let mut r = Rungs::new("x ! tee name=video");
    r.deaf = true;
    r.run(seconds(60));
    assert_eq!(r.resting(), [""; 0]);
    // Asked a few times, not over and over.
    assert_eq!(r.forced, 3);
}

#[test]
fn where_the_description_does_not_allow_it_nothing_rests() {
    let mut r = Rungs::new(RUNGS);
    r.f.sources.state.lock().unwrap().patient = false;
    r.f.source(SourceEvent::Failed("unplugged".to_owned().into()));
    r.f.advance(FIRST_RETRY);
    r.begin();
    r.run(seconds(30));
    assert_eq!(r.resting(), [""; 0]);
    assert_eq!(r.forced, 0);
}

#[test]
fn a_source_that_dies_while_its_pictures_rest_is_noticed() {
    let mut r = Rungs::new(RUNGS);
    r.run(seconds(20));
    assert_eq!(r.resting(), [HIGH, LOW]);
    r.dead = true;
    r.run(seconds(13));
    assert_eq!(r.f.status().0, StreamState::Failed);
    // What starts anew is at work anew.
    (r.dead, r.resting) = (false, BTreeSet::new());
    r.f.advance(FIRST_RETRY);
    r.begin();
    r.run(seconds(1));
    assert_eq!(r.f.status().0, StreamState::Live);
    assert_eq!(r.resting(), [""; 0]);
}

#[test]
fn a_saved_change_is_at_work_until_it_was_measured() {
    let mut r = Rungs::new("x ! tee name=video");
    r.run(seconds(10));
    assert_eq!(r.resting(), [HIGH]);
    r.f.save("y ! tee name=video");
    r.resting.clear();
    r.begin();
    r.run(seconds(3));
    assert_eq!(r.resting(), [""; 0]);
    r.run(seconds(7));
    assert_eq!(r.resting(), [HIGH]);
}

#[test]
fn a_still_of_a_picture_that_rests_wakes_it_for_a_keyframe_and_no_longer() {
    let mut r = Rungs::new(RUNGS);
    r.run(seconds(30));
    let (mut one, mut two) = (r.f.ask(), r.f.ask());
    assert_eq!(r.resting(), [LOW]);
    assert!(one.try_recv().is_err());
    r.run(Duration::from_millis(200));
    for asked in [&mut one, &mut two] {
        assert_eq!(asked.try_recv().unwrap().unwrap(), "jpeg");
    }
    assert_eq!(r.resting(), [HIGH, LOW]);
}

#[test]
fn a_still_that_waits_when_the_source_is_changed_is_made_of_the_new_one() {
    let mut r = Rungs::new("x ! tee name=video");
    r.run(seconds(30));
    r.f.save("y ! tee name=video");
    let mut asked = r.f.ask();
    r.f.push();
    r.f.began(Codec::Vp8);
    assert_eq!(asked.try_recv().unwrap().unwrap(), "jpeg");
}

#[test]
fn a_still_that_waits_for_a_source_that_fails_is_refused() {
    let mut r = Rungs::new("x ! tee name=video");
    r.run(seconds(30));
    let mut asked = r.f.ask();
    r.f.source(SourceEvent::Failed("unplugged".to_owned().into()));
    assert!(asked.try_recv().unwrap().is_err());
}
