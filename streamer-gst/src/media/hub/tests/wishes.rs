use super::rest::{HIGH, LOW, RUNGS, Rungs};
use super::*;

fn wish(rungs: &mut Rungs, wish: Wish) -> Result<(), Refusal> {
    rungs.f.events();
    let now = rungs.f.now;
    rungs.f.hub.handle(now, Input::Choose { viewer: A, wish });
    rungs.f.settle();
    match rungs.f.events().as_slice() {
        [MediaEvent::Chosen { viewer: A, result }] => result.clone(),
        other => panic!("{other:?}"),
    }
}

fn rung(name: &str) -> Wish {
    Wish::Rung(name.to_owned())
}

/// What a viewer has been given since this was asked last.
fn given(rungs: &Rungs) -> Vec<(String, bool)> {
    let mut state = rungs.f.engine.state.lock().unwrap();
    let frames = state.frames.remove(&A).unwrap_or_default();
    let frames = frames.into_iter();
    frames.map(|f| (f.output.to_string(), f.keyframe)).collect()
}

fn outputs(rungs: &Rungs) -> BTreeSet<String> {
    given(rungs).into_iter().map(|(output, _)| output).collect()
}

fn playing() -> Rungs {
    let mut rungs = Rungs::new(RUNGS);
    rungs.run(seconds(3));
    rungs.f.play(A);
    let line = carrying(50_000_000);
    rungs.f.engine.state.lock().unwrap().lines.insert(A, line);
    rungs.run(seconds(3));
    assert_eq!(outputs(&rungs), [HIGH, "audio"].map(str::to_owned).into());
    rungs
}

#[test]
fn a_chosen_rung_stays_whatever_the_line_carries_until_it_is_left_to_us() {
    let mut rungs = playing();
    assert_eq!(wish(&mut rungs, rung(LOW)), Ok(()));
    rungs.run(seconds(2));
    given(&rungs);
    rungs.run(seconds(60));
    assert_eq!(outputs(&rungs), [LOW, "audio"].map(str::to_owned).into());
    assert_eq!(wish(&mut rungs, rung(HIGH)), Ok(()));
    let narrow = carrying(1_000);
    rungs.f.engine.state.lock().unwrap().lines.insert(A, narrow);
    rungs.run(seconds(2));
    given(&rungs);
    rungs.run(seconds(20));
    assert_eq!(outputs(&rungs), [HIGH, "audio"].map(str::to_owned).into());
    assert_eq!(wish(&mut rungs, Wish::Auto), Ok(()));
    rungs.run(seconds(4));
    given(&rungs);
    rungs.run(seconds(4));
    assert_eq!(outputs(&rungs), [LOW, "audio"].map(str::to_owned).into());
}

#[test]
fn sound_alone_costs_no_picture_and_the_picture_comes_back_with_a_keyframe() {
    let mut rungs = playing();
    assert_eq!(wish(&mut rungs, Wish::Audio), Ok(()));
    given(&rungs);
    rungs.run(seconds(20));
    assert_eq!(outputs(&rungs), ["audio".to_owned()].into());
    assert_eq!(rungs.resting(), [HIGH, LOW]);
    // Once more changes nothing.
    assert_eq!(wish(&mut rungs, Wish::Audio), Ok(()));
    for (wanted, shown) in [(Wish::Auto, HIGH), (Wish::Audio, ""), (rung(LOW), LOW)] {
        given(&rungs);
        assert_eq!(wish(&mut rungs, wanted), Ok(()));
        rungs.run(seconds(2));
        let given = given(&rungs);
        let first = given.iter().find(|(output, _)| output != "audio");
        let expected = (shown.to_owned(), true);
        assert_eq!(first, Some(&expected).filter(|_| !shown.is_empty()));
        assert!(given.iter().any(|(output, _)| output == "audio"));
    }
}

#[test]
fn what_the_stream_has_not_is_refused_and_nothing_changes() {
    let mut rungs = playing();
    let refused = wish(&mut rungs, rung("video_huge"));
    let reason = "there is no rung video_huge, only video, video_low";
    assert_eq!(refused, Err(Refusal::NoSuchRung(reason.to_owned())));
    rungs.run(seconds(1));
    assert_eq!(outputs(&rungs), [HIGH, "audio"].map(str::to_owned).into());
    rungs.f.close(A);
    assert!(wish(&mut rungs, Wish::Auto).is_err());

    let mut silent = Rungs::new("x ! tee name=video");
    silent.run(seconds(1));
    silent.f.play(A);
    assert!(wish(&mut silent, Wish::Audio).is_err());
    assert_eq!(wish(&mut silent, rung(HIGH)), Ok(()));
}

#[test]
fn a_wish_before_the_connection_stands_holds_when_it_does() {
    let mut rungs = Rungs::new(RUNGS);
    rungs.run(seconds(1));
    rungs.f.open(A, OFFER);
    rungs.f.settle();
    assert_eq!(wish(&mut rungs, Wish::Audio), Ok(()));
    rungs.f.engine.emit(Event::Connected { viewer: A });
    rungs.f.settle();
    given(&rungs);
    rungs.run(seconds(2));
    assert_eq!(outputs(&rungs), ["audio".to_owned()].into());
}

#[test]
fn candidates_reach_the_engine_of_a_viewer_that_was_answered() {
    let mut f = fixture().live();
    let candidate = "1 1 UDP 1 192.0.2.1 9 typ host";
    let candidate = crate::offer::Candidate::parse(candidate).unwrap();
    let trickled = Trickled {
        mid: Some("0".to_owned()),
        candidate,
    };
    let add = |f: &mut Fixture| {
        let candidate = trickled.clone();
        let viewer = A;
        f.hub.handle(f.now, Input::Candidate { viewer, candidate });
        f.settle();
        f.engine.state.lock().unwrap().candidates.len()
    };
    assert_eq!(add(&mut f), 0);
    f.play(A);
    assert_eq!(add(&mut f), 1);
    f.close(A);
    assert_eq!(add(&mut f), 1);
}
