use super::*;

const OLD: &str = "x ! tee name=video";
const NEW: &str = "y ! tee name=video";

fn on_air() -> Fixture {
    let mut f = fixture_of(OLD).live();
    f.push();
    f.play(A);
    f
}

#[test]
fn a_saved_change_goes_on_air_with_its_first_picture_for_the_same_viewers() {
    let mut f = on_air();
    f.save(NEW);
    assert_eq!((f.started(), f.alive()), (2, 2));
    f.push();
    // That of the old one, with which it joined.
    assert_eq!(f.engine.stamps(A).len(), 1);
    f.began(Codec::Vp8);
    assert_eq!(f.engine.stamps(A).len(), 2);
    assert_eq!(f.alive(), 1);
    assert_eq!(f.gone(), []);
    assert_eq!(f.status(), (StreamState::Live, None));
    // Saved again, as it is.
    f.save(NEW);
    f.save("#: title New\n  y !\ttee   name=video # nothing");
    f.save("#: title New\n  y !\ttee   name=video");
    assert_eq!(f.started(), 2);
    let title = f.snapshot.lock().unwrap().streams[0].title.clone();
    assert_eq!(title[""], "New");
}

#[test]
fn a_bad_file_changes_nothing_on_air_and_is_told_until_it_is_mended() {
    let mut f = on_air();
    f.save("y ! 'tee");
    let (state, error) = f.status();
    assert_eq!(state, StreamState::Live);
    assert!(error.unwrap().contains("never closed"));
    assert_eq!((f.started(), f.alive()), (1, 1));
    assert_eq!(f.gone(), []);
    f.save(OLD);
    assert_eq!(f.status(), (StreamState::Live, None));
    assert_eq!(f.started(), 1);
}

#[test]
fn a_pipeline_that_does_not_work_changes_nothing_on_air() {
    let mut f = on_air();
    f.sources.state.lock().unwrap().refuse = Some("no element".to_owned());
    f.save(NEW);
    let told = |text: &str| (StreamState::Live, Some(text.to_owned()));
    assert_eq!(f.status(), told("no element"));
    f.sources.state.lock().unwrap().refuse = None;
    f.save("z ! tee name=video");
    f.source(SourceEvent::Failed("no sync".to_owned().into()));
    assert_eq!(f.status(), told("no sync"));
    f.save("a ! tee name=video");
    f.advance(FIRST_FRAME_LIMIT);
    assert_eq!(
        f.status(),
        told("no frame reached video in 10 s: nothing gives to video")
    );
    assert_eq!(f.alive(), 1);
    assert_eq!(f.gone(), []);
}

#[test]
fn who_cannot_be_moved_is_told_when_the_new_picture_is_there() {
    let mut f = on_air();
    f.save(NEW);
    assert_eq!(f.gone(), []);
    f.began(Codec::H264);
    assert_eq!(f.gone(), [(A, CODEC_CHANGED.to_owned())]);
    assert_eq!(f.codecs(), [Codec::H264]);
    f.assert_empty();
}

#[test]
fn sound_that_is_added_needs_new_connections_and_an_alternative_does_not() {
    let began = |f: &mut Fixture, output: &str, codec| {
        f.source(SourceEvent::Began {
            output: output.into(),
            codec,
        });
    };
    let mut f = on_air();
    f.save("x ! tee name=video y ! tee name=video_h264");
    began(&mut f, "video", Codec::Vp8);
    began(&mut f, "video_h264", Codec::H264);
    assert_eq!(f.codecs(), [Codec::Vp8, Codec::H264]);
    assert_eq!(f.gone(), []);
    f.save("x ! tee name=video y ! tee name=audio");
    began(&mut f, "video", Codec::Vp8);
    began(&mut f, "audio", Codec::Opus);
    assert_eq!(f.gone(), [(A, CODEC_CHANGED.to_owned())]);
}

#[test]
fn of_saves_in_a_row_the_last_one_counts() {
    let mut f = on_air();
    for number in 0..20 {
        let text = format!("y{number} ! tee name=video");
        let saved = Input::Descriptions(vec![loaded(&text)]);
        f.hub.handle(f.now, saved);
        f.hub.handle_timeout(f.now);
    }
    assert!(f.hub.streams[0].pipelines <= MAX_PIPELINES);
    f.settle();
    f.hub.handle_timeout(f.now);
    f.settle();
    f.push();
    f.began(Codec::Vp8);
    assert_eq!(f.alive(), 1);
    let description = f.hub.streams[0].description.clone().unwrap();
    assert_eq!(description.words[0].text, "y19");
    assert_eq!(f.gone(), []);
}

#[test]
fn a_device_in_use_is_handed_over_and_given_back_if_that_does_not_help() {
    let busy = || {
        SourceEvent::Failed(Failure {
            busy: true,
            ..Failure::from("busy".to_owned())
        })
    };
    let mut f = on_air();
    f.save(NEW);
    f.source(busy());
    // Nothing else is left when it is tried again.
    f.advance(Duration::ZERO);
    f.advance(FIRST_RETRY);
    assert_eq!((f.started(), f.alive()), (3, 1));
    f.push();
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));

    f.save(OLD);
    f.source(busy());
    f.advance(Duration::ZERO);
    f.advance(FIRST_RETRY);
    f.source(busy());
    f.advance(FIRST_RETRY);
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, Some("busy".to_owned())));
    let description = f.hub.streams[0].description.clone().unwrap();
    assert_eq!(description.words[0].text, "y");
    assert_eq!(f.gone(), []);
}

#[test]
fn a_broken_file_is_listed_and_plays_once_it_is_mended() {
    let mut f = fixture_of("'");
    f.settle();
    assert_eq!(f.status().0, StreamState::Failed);
    f.open(A, OFFER);
    assert!(matches!(f.refusal(), Refusal::NotRunning(text) if text.contains("never closed")));
    f.save(OLD);
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn a_failed_stream_starts_at_once_when_its_file_is_changed() {
    let mut f = fixture();
    f.sources.state.lock().unwrap().refuse = Some("no camera".to_owned());
    f.settle();
    f.sources.state.lock().unwrap().refuse = None;
    f.save(NEW);
    f.began(Codec::Vp8);
    assert_eq!(f.status(), (StreamState::Live, None));
}

#[test]
fn a_file_that_is_gone_takes_its_stream_and_viewers_along_until_it_returns() {
    let mut f = on_air();
    f.hub.handle(f.now, Input::Descriptions(Vec::new()));
    f.settle();
    assert_eq!(f.gone(), [(A, "the stream was taken away".to_owned())]);
    assert!(f.snapshot.lock().unwrap().streams.is_empty());
    assert_eq!(f.alive(), 0);
    f.open(A, OFFER);
    assert!(matches!(f.refusal(), Refusal::NoSuchStream(_)));
    f.save(NEW);
    f.began(Codec::Vp8);
    f.play(A);
    assert_eq!(f.hub.streams.len(), 1);
}

#[test]
fn a_stream_on_demand_runs_from_its_first_viewer_to_ten_seconds_after_its_last() {
    let mut f = fixture_of("#: on-demand yes\nx ! tee name=video");
    f.advance(Duration::ZERO);
    assert_eq!((f.status().0, f.started()), (StreamState::Idle, 0));
    f.open(A, OFFER);
    f.advance(Duration::ZERO);
    assert_eq!(f.started(), 1);
    f.push();
    f.began(Codec::Vp8);
    f.engine.emit(Event::Connected { viewer: A });
    f.settle();
    f.close(A);
    f.settle();
    f.advance(Duration::ZERO);
    f.push();
    f.advance(seconds(9));
    assert_eq!(f.alive(), 1);
    // Somebody in between: from the start again.
    f.play(B);
    f.advance(Duration::ZERO);
    f.close(B);
    f.settle();
    f.advance(Duration::ZERO);
    for _ in 0..9 {
        f.push();
        f.advance(seconds(1));
    }
    assert_eq!(f.alive(), 1);
    f.advance(seconds(1));
    assert_eq!((f.status().0, f.alive()), (StreamState::Idle, 0));
    f.assert_empty();
}
