use super::*;

#[test]
fn a_failing_source_is_tried_again_ever_more_slowly() {
    let mut f = fixture();
    f.sources.state.lock().unwrap().refuse = Some("no camera".to_owned());
    f.settle();
    let mut waits = Vec::new();
    for _ in 0..7 {
        let due = f.hub.poll_timeout().unwrap();
        waits.push((due - f.now).as_secs());
        let wait = due - f.now;
        f.advance(wait);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(
        f.status(),
        (StreamState::Failed, Some("no camera".to_owned()))
    );
    // One piece of news, not seven.
    assert_eq!(f.hub.poll_event().len(), 1);
    f.open(A, OFFER);
    assert!(matches!(f.refusal(), Refusal::NotRunning(text) if text.contains("no camera")));
    f.sources.state.lock().unwrap().refuse = None;
    f.advance(seconds(30));
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn a_source_without_frames_has_failed() {
    let mut f = fixture();
    f.settle();
    f.advance(FIRST_FRAME_LIMIT);
    assert_eq!(f.status().0, StreamState::Failed);
    assert_eq!(*f.sources.state.lock().unwrap().alive.lock().unwrap(), 0);
}

#[test]
fn an_output_that_stays_silent_does_not_hold_up_the_other() {
    let mut f = fixture_of("x ! tee name=video y ! tee name=audio");
    f.settle();
    f.began(Codec::Vp8);
    assert_eq!(f.status().0, StreamState::Starting);
    f.advance(OUTPUTS_LIMIT);
    assert_eq!(f.status().0, StreamState::Live);
}

#[test]
fn an_output_that_begins_late_is_offered_from_then_on() {
    let mut f = fixture_of("x ! tee name=video y ! tee name=audio");
    f.settle();
    f.began(Codec::Vp8);
    f.advance(OUTPUTS_LIMIT);
    f.play(A);
    let audio = || SourceEvent::Began {
        output: "audio".into(),
        codec: Codec::Opus,
    };
    f.source(audio());
    // Its connection has no room for sound; the page offers again.
    assert_eq!(f.gone(), [(A, "codec-changed".to_owned())]);
    assert_eq!(f.codecs(), [Codec::Vp8, Codec::Opus]);
    // After a restart it may be late again: nobody has to offer anew for that.
    f.play(B);
    let error = "unplugged".to_owned();
    f.source(SourceEvent::Failed(error.into()));
    f.advance(FIRST_RETRY);
    f.began(Codec::Vp8);
    f.advance(OUTPUTS_LIMIT);
    f.source(audio());
    assert_eq!(f.status().0, StreamState::Live);
    assert_eq!(f.gone(), []);
}

#[test]
fn a_source_that_falls_silent_without_an_error_is_started_again() {
    let mut f = fixture().live();
    f.push();
    f.play(A);
    for _ in 0..30 {
        f.advance(seconds(1));
        f.push();
    }
    assert_eq!(f.status().0, StreamState::Live);
    // As when the whole process was halted: no silence of the source's.
    f.now += seconds(60);
    f.hub.handle_timeout(f.now);
    f.push();
    for _ in 0..9 {
        f.advance(seconds(1));
    }
    assert_eq!(f.status().0, StreamState::Live);
    for _ in 0..2 {
        f.advance(seconds(1));
    }
    let (state, error) = f.status();
    assert_eq!(state, StreamState::Failed);
    assert!(error.unwrap().contains("no frame"));
    assert_eq!(f.gone(), []);
    f.advance(FIRST_RETRY);
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn a_source_that_hangs_while_it_starts_or_stops_is_not_joined_by_ever_more() {
    let mut f = fixture();
    let mut hanging = Vec::new();
    for _ in 0..200 {
        f.now += seconds(1);
        f.hub.handle_timeout(f.now);
        hanging.extend(f.jobs.try_iter());
    }
    assert_eq!(hanging.len(), MAX_PIPELINES);
    for job in hanging {
        job();
    }
    f.settle();
    assert_eq!(f.status().0, StreamState::Failed);
    f.advance(LAST_RETRY);
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn viewers_outlive_one_failure_but_not_two() {
    let mut f = fixture().live();
    f.play(A);
    let error = "unplugged".to_owned();
    f.source(SourceEvent::Failed(error.into()));
    assert_eq!(f.gone(), []);
    f.advance(FIRST_RETRY);
    f.began(Codec::Vp8);
    assert_eq!(f.gone(), []);
    assert_eq!(f.status().0, StreamState::Live);
    let error = "unplugged".to_owned();
    f.source(SourceEvent::Failed(error.into()));
    f.sources.state.lock().unwrap().refuse = Some("no camera".to_owned());
    f.advance(seconds(2));
    assert_eq!(f.gone(), [(A, "the stream failed: no camera".to_owned())]);
    f.assert_empty();
}

#[test]
fn a_restart_in_another_codec_ends_the_viewers() {
    let mut f = fixture().live();
    f.play(A);
    let error = "unplugged".to_owned();
    f.source(SourceEvent::Failed(error.into()));
    f.advance(FIRST_RETRY);
    f.began(Codec::H264);
    assert_eq!(f.gone(), [(A, "codec-changed".to_owned())]);
}

#[test]
fn the_end_of_a_file_ends_its_viewers_and_begins_again() {
    let f = fixture();
    f.sources.state.lock().unwrap().recorded = true;
    let mut f = f.live();
    f.play(A);
    f.advance(seconds(5));
    f.source(SourceEvent::Ended);
    assert_eq!(f.gone(), [(A, "the stream has ended".to_owned())]);
    assert_eq!(f.status().0, StreamState::Live);
    f.began(Codec::Vp8);
    f.play(B);
    assert_eq!(*f.sources.state.lock().unwrap().alive.lock().unwrap(), 1);
}

#[test]
fn a_live_source_that_ends_has_failed() {
    let mut f = fixture().live();
    f.play(A);
    f.source(SourceEvent::Ended);
    assert_eq!(f.gone(), []);
    assert_eq!(f.status().0, StreamState::Failed);
    f.advance(FIRST_RETRY);
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn a_loop_keeps_its_viewers_and_does_not_spin() {
    let mut f = fixture_of("#: loop yes\nx ! tee name=video").live();
    f.play(A);
    f.source(SourceEvent::Ended);
    assert_eq!(f.sources.state.lock().unwrap().events.len(), 1);
    f.advance(SHORTEST_LOOP);
    f.began(Codec::Vp8);
    f.advance(seconds(5));
    f.source(SourceEvent::Ended);
    assert_eq!(f.sources.state.lock().unwrap().events.len(), 3);
    assert_eq!(f.gone(), []);
}

#[test]
fn keyframe_requests_reach_the_encoder_once_a_second() {
    let mut f = fixture().live();
    f.push();
    f.play(A);
    f.play(B);
    // They have joined with the last one.
    f.advance(Duration::from_secs(1));
    for _ in 0..5 {
        f.engine.emit(Event::KeyframeWanted { viewer: A });
    }
    f.settle();
    let forced = f.sources.state.lock().unwrap().forced.clone();
    assert_eq!(*forced.lock().unwrap(), ["video"]);
}

#[test]
fn events_of_a_replaced_pipeline_are_ignored() {
    let mut f = fixture().live();
    let old = f.sources.state.lock().unwrap().events[0].clone();
    let error = "first".to_owned();
    f.source(SourceEvent::Failed(error.into()));
    f.advance(FIRST_RETRY);
    f.began(Codec::Vp8);
    old(SourceEvent::Failed("late".to_owned().into()));
    f.settle();
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn a_still_is_made_once_for_all_who_ask() {
    let mut f = fixture_of("x ! tee name=video").live();
    assert!(f.ask().try_recv().unwrap().is_err());
    f.push();
    let (mut one, mut two) = (f.ask(), f.ask());
    f.jobs.try_recv().unwrap()();
    assert!(f.jobs.try_recv().is_err());
    f.settle();
    for receiver in [&mut one, &mut two] {
        assert_eq!(receiver.try_recv().unwrap().unwrap(), "jpeg");
    }
    assert_eq!(f.ask().try_recv().unwrap().unwrap(), "jpeg");
}

#[test]
fn a_still_that_is_never_made_keeps_nobody_waiting() {
    let mut f = fixture().live();
    f.push();
    let mut asked = f.ask();
    let lost = f.jobs.try_recv().unwrap();
    for _ in 0..11 {
        f.advance(seconds(1));
        f.push();
    }
    assert!(asked.try_recv().unwrap().is_err());
    let mut again = f.ask();
    f.settle();
    assert!(again.try_recv().unwrap().is_ok());
    drop(lost);
}

#[test]
fn a_stream_is_described_as_the_directory_wants_it() {
    let f = fixture_of(
        "#: title[es] Prueba\n#: image https://example.org/a.png\nx ! tee name=audio y ! tee name=video",
    );
    let info = serde_json::to_value(&f.snapshot.lock().unwrap().streams[0]).unwrap();
    assert_eq!(
        info,
        serde_json::json!({
            "name": "demo",
            "title": {"": "demo", "es": "Prueba"},
            "description": {},
            "image": "https://example.org/a.png",
            "codecs": [],
            "rungs": [],
            "state": "starting",
            "error": null,
            "viewers": 0,
            "capacity": 2,
        })
    );
}

#[test]
fn a_stream_that_no_thread_could_be_had_for_is_tried_again() {
    let mut f = fixture();
    for _ in 0..5 {
        drop(f.jobs.try_recv().unwrap());
        f.settle();
        assert_eq!(f.status().0, StreamState::Failed);
        f.now += LAST_RETRY;
        f.hub.handle_timeout(f.now);
    }
    f.settle();
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn the_next_round_of_a_recording_is_held_ready_and_follows_without_a_seam() {
    let mut f = fixture_of("#: loop yes\nx ! tee name=video");
    f.sources.state.lock().unwrap().recorded = true;
    f.settle();
    f.began(Codec::Vp8);
    f.push();
    f.play(A);
    let modes = |f: &Fixture| f.sources.state.lock().unwrap().modes.clone();
    assert_eq!(modes(&f), [Mode::Playing, Mode::Held]);
    f.now += seconds(5);
    let first = f.sources.state.lock().unwrap().events[0].clone();
    first(SourceEvent::Ended);
    f.settle();
    assert_eq!(*f.sources.state.lock().unwrap().played.lock().unwrap(), 1);
    // Its frames are those that go out now.
    f.push();
    f.began(Codec::Vp8);
    assert_eq!(f.engine.stamps(A).len(), 1);
    assert_eq!(modes(&f).len(), 3);
    assert_eq!(f.gone(), []);
}

#[test]
fn a_viewer_gets_the_rung_that_its_line_carries() {
    let mut f = fixture_of("x ! tee name=video y ! tee name=video_low").live();
    f.source(SourceEvent::Began {
        output: "video_low".into(),
        codec: Codec::Vp8,
    });
    assert_eq!(
        f.snapshot.lock().unwrap().streams[0].rungs,
        ["video", "video_low"]
    );
    let push = |f: &Fixture| {
        for (output, size) in [("video", 10_000), ("video_low", 1_000)] {
            let feed = f
                .sources
                .state
                .lock()
                .unwrap()
                .feeds
                .last()
                .cloned()
                .unwrap();
            let frame = crate::engine::Frame {
                output: output.into(),
                pts: f.now,
                bytes: Bytes::from(vec![0; size]),
                ..keyframe()
            };
            let _ = feed.fanout.push(feed.source, f.now, frame);
        }
    };
    let on = |f: &Fixture, output: &str| f.hub.streams[0].fanout.viewers(output);
    f.play(A);
    f.play(B);
    // Ten frames a second are 800 and 80 kbit/s.
    for (bandwidth, expected) in [(2_000_000, (2, 0)), (200_000, (1, 1))] {
        let mut state = f.engine.state.lock().unwrap();
        state.lines.insert(A, carrying(bandwidth));
        state.lines.insert(B, carrying(2_000_000));
        drop(state);
        for _ in 0..30 {
            push(&f);
            f.advance(Duration::from_millis(100));
        }
        assert_eq!((on(&f, "video"), on(&f, "video_low")), expected);
    }
    // And what it lost, it is given of the rung that it has.
    f.advance(Duration::from_secs(1));
    f.engine.emit(Event::KeyframeWanted { viewer: A });
    f.settle();
    let forced = f.sources.state.lock().unwrap().forced.clone();
    assert_eq!(forced.lock().unwrap().last().unwrap(), "video_low");
}
