use bytes::Bytes;

use super::Keyframes::{AsTheyCome, OnRequest};
use super::*;
use crate::engine::fake::FakeEngine;

const A: ViewerId = ViewerId(1);
const B: ViewerId = ViewerId(2);
const FIRST: SourceId = SourceId(1);
const SECOND: SourceId = SourceId(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn frame(output: &str, pts: u64, keyframe: bool) -> Frame {
    let (codec, duration) = match output {
        "audio" => (Codec::Opus, 20),
        _ => (Codec::Vp8, 40),
    };
    Frame {
        output: output.into(),
        codec,
        pts: ms(pts),
        duration: Some(ms(duration)),
        keyframe,
        bytes: Bytes::from_static(&[0; 100]),
    }
}

fn fixture() -> (Arc<FakeEngine>, Fanout) {
    let engine = Arc::new(FakeEngine::default());
    let fanout = Fanout::new(engine.clone());
    fanout.admit(FIRST);
    (engine, fanout)
}

#[test]
fn a_viewer_begins_at_the_next_keyframe_when_the_last_is_old_and_misses_nothing_after() {
    let (engine, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.push(FIRST, ms(1400), frame("video", 1400, false));
    assert_eq!(fanout.join(ms(1410), A, "video", OnRequest), Keyframe::Ask);
    for (pts, keyframe) in [(1440, false), (1480, true), (1520, false)] {
        let _ = fanout.push(FIRST, ms(pts), frame("video", pts, keyframe));
    }
    assert_eq!(engine.stamps(A), [1480, 1520]);
    fanout.leave(A);
    let _ = fanout.push(FIRST, ms(1560), frame("video", 1560, true));
    assert_eq!(engine.stamps(A), [1480, 1520]);
    assert_eq!(fanout.viewers("video"), 0);
}

#[test]
fn the_last_group_then_live_without_a_gap_a_double_or_an_age() {
    let (engine, fanout) = fixture();
    for (pts, keyframe) in [
        (0, true),
        (40, false),
        (80, true),
        (120, false),
        (160, false),
    ] {
        let _ = fanout.push(FIRST, ms(pts), frame("video", pts, keyframe));
    }
    for _ in 0..2 {
        let asked = fanout.join(ms(170), A, "video", OnRequest);
        assert_eq!(asked, Keyframe::None);
    }
    let _ = fanout.push(FIRST, ms(200), frame("video", 200, false));
    // As if all of it had just been made.
    assert_eq!(engine.stamps(A), [158, 159, 160, 200]);
}

#[test]
fn where_keyframes_come_when_they_come_a_long_group_is_handed_over() {
    let (engine, fanout) = fixture();
    for second in 0..=11 {
        let at = second * 1000;
        let _ = fanout.push(FIRST, ms(at), frame("video", at, second == 0));
        match second {
            9 => assert_eq!(fanout.join(ms(at), A, "video", AsTheyCome), Keyframe::None),
            11 => assert_eq!(fanout.join(ms(at), B, "video", AsTheyCome), Keyframe::Ask),
            _ => {}
        }
    }
    let state = engine.state.lock().unwrap();
    assert_eq!(state.frames[&A].len(), 12);
    assert!(!state.frames.contains_key(&B));
}

#[test]
fn a_long_group_at_a_high_rate_is_handed_over_in_the_time_that_an_engine_takes() {
    let (engine, fanout) = fixture();
    for number in 0..590 {
        let at = number * 1000 / 60;
        let _ = fanout.push(FIRST, ms(at), frame("video", at, number == 0));
    }
    let _ = fanout.join(ms(9900), A, "video", AsTheyCome);
    let state = engine.state.lock().unwrap();
    let stamps: Vec<Duration> = state.frames[&A].iter().map(|frame| frame.pts).collect();
    assert_eq!(stamps.len(), 590);
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
    let span = stamps[589] - stamps[0];
    assert!(span <= LONGEST_REPLAY, "{span:?}");
}

#[test]
fn who_joins_within_a_second_shares_a_keyframe() {
    let (engine, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let mut asked = Vec::new();
    let mut note = |at: u64, keyframe| {
        if keyframe == Keyframe::Ask {
            asked.push(at);
        }
    };
    // The encoder takes 40 ms, and one comes each 100 ms.
    for at in (2000..4000).step_by(20) {
        if at % 100 == 0 {
            note(at, fanout.join(ms(at), ViewerId(at), "video", OnRequest));
            // A loss does not come sooner than the second either.
            note(at, fanout.want_keyframe(ms(at), "video"));
        }
        let forced = at == 2040 || at == 3080;
        note(at, fanout.push(FIRST, ms(at), frame("video", at, forced)));
    }
    assert_eq!(asked, [2000, 3040]);
    let state = engine.state.lock().unwrap();
    for (viewer, frames) in &state.frames {
        assert!(frames[0].keyframe);
        let waited = frames[0].pts.saturating_sub(ms(viewer.0));
        assert!(waited <= ms(40), "{viewer}: {waited:?}");
    }
    assert_eq!(state.frames.len(), 20);
}

#[test]
fn an_encoder_that_ignores_requests_is_asked_again_and_waited_for_no_longer() {
    let (engine, fanout) = fixture();
    let next = |at| fanout.push(FIRST, ms(at), frame("video", at, at == 0));
    let _ = next(0);
    let _ = next(2000);
    assert_eq!(fanout.join(ms(2000), A, "video", OnRequest), Keyframe::Ask);
    assert_eq!(next(2960), Keyframe::None);
    assert!(engine.stamps(A).is_empty());
    let _ = next(3000);
    assert_eq!(engine.stamps(A), [2997, 2998, 2999, 3000]);
    // The next one learns from that.
    let _ = fanout.join(ms(3010), B, "video", OnRequest);
    assert_eq!(engine.stamps(B).len(), 4);
    assert_eq!(fanout.want_keyframe(ms(3020), "video"), Keyframe::Ask);
}

#[test]
fn history_is_bounded() {
    let (engine, fanout) = fixture();
    let mut big = frame("video", 0, true);
    let _ = fanout.push(FIRST, ms(0), big.clone());
    big.keyframe = false;
    big.bytes = Bytes::from(vec![0; MAX_HISTORY_BYTES]);
    let _ = fanout.push(FIRST, ms(40), big);
    let _ = fanout.push(FIRST, ms(80), frame("video", 80, false));
    let _ = fanout.join(ms(90), A, "video", OnRequest);
    assert_eq!(engine.stamps(A), [0_u128; 0]);
    assert_eq!(fanout.picture(ms(90), "video", ms(10)).len(), 1);
}

#[test]
fn a_viewer_that_fell_behind_goes_on_at_a_keyframe_and_disturbs_nobody() {
    let (engine, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.join(ms(0), B, "video", OnRequest);
    engine.state.lock().unwrap().full.insert(A);
    let _ = fanout.push(FIRST, ms(40), frame("video", 40, false));
    engine.state.lock().unwrap().full.clear();
    let _ = fanout.push(FIRST, ms(80), frame("video", 80, false));
    let _ = fanout.push(FIRST, ms(120), frame("video", 120, true));
    let _ = fanout.push(FIRST, ms(160), frame("video", 160, false));
    assert_eq!(engine.stamps(A), [0, 120, 160]);
    assert_eq!(engine.stamps(B), [0, 40, 80, 120, 160]);
}

#[test]
fn a_keyframe_that_came_by_itself_counts_for_those_who_lost_one() {
    let (_, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.push(FIRST, ms(5000), frame("video", 5000, true));
    assert_eq!(fanout.want_keyframe(ms(5900), "video"), Keyframe::None);
    let next = |at| fanout.push(FIRST, ms(at), frame("video", at, false));
    assert_eq!(next(5960), Keyframe::None);
    assert_eq!(next(6000), Keyframe::Ask);
}

#[test]
fn a_duration_nobody_can_mean_does_not_move_what_follows() {
    let (engine, fanout) = fixture();
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let mut long = frame("video", 0, true);
    long.duration = Some(Duration::from_secs(3600));
    let _ = fanout.push(FIRST, ms(0), long);
    fanout.admit(SECOND);
    let _ = fanout.push(SECOND, ms(40), frame("video", 40, true));
    assert_eq!(engine.stamps(A), [0, 1000]);
}

#[test]
fn the_output_that_is_silent_longest_is_seen() {
    let (_, fanout) = fixture();
    assert_eq!(fanout.last_frame(Kind::Video), None);
    let _ = fanout.push(FIRST, ms(10), frame("video", 0, true));
    let _ = fanout.push(FIRST, ms(20), frame("video_small", 0, true));
    let _ = fanout.push(FIRST, ms(30), frame("audio", 0, true));
    assert_eq!(fanout.last_frame(Kind::Video), Some(ms(10)));
    assert_eq!(fanout.last_frame(Kind::Audio), Some(ms(30)));
    fanout.admit(SECOND);
    assert_eq!(fanout.last_frame(Kind::Video), None);
}

#[test]
fn losses_ask_for_keyframes_once_a_second_and_share_one() {
    let (_, fanout) = fixture();
    let asked = |keyframe| keyframe == Keyframe::Ask;
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.join(ms(0), B, "video", OnRequest);
    assert!(!asked(fanout.want_keyframe(ms(200), "video")));
    // It waits for its turn and is remembered until then.
    assert!(!asked(fanout.push(
        FIRST,
        ms(960),
        frame("video", 960, false)
    )));
    assert!(asked(fanout.push(
        FIRST,
        ms(1000),
        frame("video", 1000, false)
    )));
    assert!(!asked(fanout.push(
        FIRST,
        ms(1040),
        frame("video", 1040, true)
    )));
    let mut requests = 0;
    for at in (1080..11_080).step_by(10) {
        let wanted = asked(fanout.want_keyframe(ms(at), "video"));
        requests += u32::from(wanted);
        let _ = fanout.push(FIRST, ms(at), frame("video", at, wanted));
    }
    assert!((9..=10).contains(&requests), "{requests}");
}

#[test]
fn sound_never_asks_for_keyframes() {
    let (engine, fanout) = fixture();
    assert_eq!(fanout.join(ms(0), A, "audio", OnRequest), Keyframe::None);
    assert_eq!(
        fanout.push(FIRST, ms(0), frame("audio", 0, true)),
        Keyframe::None
    );
    assert_eq!(fanout.want_keyframe(ms(0), "audio"), Keyframe::None);
    assert_eq!(engine.stamps(A), [0]);
}

#[test]
fn a_join_before_the_first_frame_asks_when_the_codec_is_known() {
    let (_, fanout) = fixture();
    assert_eq!(fanout.join(ms(0), A, "video", OnRequest), Keyframe::None);
    assert_eq!(
        fanout.push(FIRST, ms(10), frame("video", 0, false)),
        Keyframe::Ask
    );
}

#[test]
fn a_loop_shifts_picture_and_sound_together_and_never_back() {
    let (engine, fanout) = fixture();
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.join(ms(0), B, "audio", OnRequest);
    let _ = fanout.push(FIRST, ms(0), frame("video", 1500, true));
    let _ = fanout.push(FIRST, ms(0), frame("audio", 1600, true));
    assert_eq!(fanout.end(), ms(1620));
    // The same file again, a little too early: 1520 lies before the ends 1540 and 1620.
    fanout.admit(SECOND);
    let _ = fanout.push(SECOND, ms(0), frame("video", 1520, true));
    let _ = fanout.push(SECOND, ms(0), frame("audio", 1520, true));
    let _ = fanout.push(SECOND, ms(0), frame("video", 1560, false));
    assert_eq!(engine.stamps(A), [1500, 1540, 1660]);
    assert_eq!(engine.stamps(B), [1600, 1620]);
}

#[test]
fn a_new_source_shows_nothing_before_its_first_keyframe_and_the_old_one_nothing_after() {
    let (engine, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    fanout.admit(SECOND);
    let _ = fanout.push(SECOND, ms(0), frame("video", 100, false));
    let _ = fanout.push(FIRST, ms(0), frame("video", 120, true));
    let _ = fanout.push(SECOND, ms(0), frame("video", 140, true));
    assert_eq!(engine.stamps(A), [0, 140]);
}

#[test]
fn a_staged_source_takes_over_from_its_keyframe_without_a_step_back_or_a_hole() {
    let (engine, fanout) = fixture();
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.join(ms(0), B, "audio", OnRequest);
    let old = |at, keyframe| {
        let _ = fanout.push(FIRST, ms(at), frame("video", at, keyframe));
        let _ = fanout.push(FIRST, ms(at), frame("audio", at, true));
        let _ = fanout.push(FIRST, ms(at), frame("audio", at + 20, true));
    };
    let new = |at, keyframe| {
        let _ = fanout.push(SECOND, ms(at), frame("video", at, keyframe));
        let _ = fanout.push(SECOND, ms(at), frame("audio", at, true));
    };
    fanout.stage(SECOND);
    old(0, true);
    old(40, false);
    new(60, true);
    old(80, false);
    new(100, false);
    assert_eq!(engine.stamps(A), [0, 40, 80]);
    fanout.switch(ms(110));
    old(120, false);
    new(140, false);
    // 60 was squeezed in behind 80; what is heard twice is left out.
    assert_eq!(engine.stamps(A), [0, 40, 80, 81, 100, 140]);
    assert_eq!(engine.stamps(B), [0, 20, 40, 60, 80, 100, 140]);
}

#[test]
fn a_staged_source_that_is_not_wanted_after_all_changes_nothing() {
    let (engine, fanout) = fixture();
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    fanout.stage(SECOND);
    let _ = fanout.push(SECOND, ms(0), frame("video", 0, true));
    fanout.unstage();
    fanout.switch(ms(10));
    let _ = fanout.push(SECOND, ms(20), frame("video", 20, true));
    let _ = fanout.push(FIRST, ms(40), frame("video", 40, true));
    assert_eq!(engine.stamps(A), [40]);
}

#[test]
fn an_output_that_the_next_source_lacks_is_forgotten() {
    let (_, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.push(FIRST, ms(0), frame("audio", 0, true));
    fanout.stage(SECOND);
    let _ = fanout.push(SECOND, ms(0), frame("video", 0, true));
    fanout.switch(ms(10));
    assert_eq!(fanout.last_frame(Kind::Audio), None);
    assert!(fanout.picture(ms(10), "audio", ms(100)).is_empty());
}

#[test]
fn a_frame_out_of_order_does_not_turn_the_clock_back() {
    let (engine, fanout) = fixture();
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.push(FIRST, ms(0), frame("video", 80, false));
    let _ = fanout.push(FIRST, ms(0), frame("video", 40, false));
    // Nor do two frames share a stamp: browsers would take them for one.
    assert_eq!(engine.stamps(A), [0, 80, 81]);
}

#[test]
fn a_still_is_made_of_a_fresh_keyframe_or_of_all_since() {
    let (_, fanout) = fixture();
    assert!(fanout.picture(ms(0), "video", ms(100)).is_empty());
    for (pts, keyframe) in [(0, true), (40, false), (80, false)] {
        let _ = fanout.push(FIRST, ms(pts), frame("video", pts, keyframe));
    }
    assert_eq!(fanout.picture(ms(90), "video", ms(100)).len(), 1);
    assert_eq!(fanout.picture(ms(200), "video", ms(100)).len(), 3);
}

#[test]
fn joining_and_leaving_while_frames_flow_gives_every_viewer_a_run_without_holes() {
    let (engine, fanout) = fixture();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..2000 {
                let _ = fanout.push(FIRST, ms(n), frame("video", n, n % 10 == 0));
            }
        });
        for thread in 0..4 {
            let fanout = &fanout;
            scope.spawn(move || {
                for n in 0..100 {
                    let viewer = ViewerId(thread * 1000 + n);
                    let _ = fanout.join(ms(0), viewer, "video", OnRequest);
                    if n % 2 == 0 {
                        std::thread::yield_now();
                    }
                    fanout.leave(viewer);
                }
            });
        }
    });
    let state = engine.state.lock().unwrap();
    for frames in state.frames.values() {
        assert!(frames[0].keyframe);
        for pair in frames.windows(2) {
            assert_eq!(pair[1].pts - pair[0].pts, ms(1));
        }
    }
    assert_eq!(fanout.viewers("video"), 0);
}

#[test]
fn a_viewer_moves_at_a_keyframe_of_the_other_output_and_its_clock_goes_on() {
    let (engine, fanout) = fixture();
    let both = |at, keyframe| {
        let _ = fanout.push(FIRST, ms(at), frame("video", at, keyframe));
        fanout.push(FIRST, ms(at), frame("video_low", at, keyframe && at != 40))
    };
    let _ = both(0, true);
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let asked = fanout.change(ms(1010), A, "video_low");
    assert_eq!(asked, Keyframe::Ask);
    let _ = both(40, true);
    let _ = both(80, true);
    let _ = both(120, false);
    // The picture at 80 has gone out before the keyframe that it moves at has come.
    assert_eq!(engine.stamps(A), [0, 40, 80, 81, 120]);
    let state = engine.state.lock().unwrap();
    let outputs: Vec<_> = state.frames[&A].iter().map(|f| &*f.output).collect();
    assert_eq!(
        outputs,
        ["video", "video", "video", "video_low", "video_low"]
    );
    assert_eq!(
        (fanout.viewers("video"), fanout.viewers("video_low")),
        (0, 1)
    );
}

#[test]
fn a_move_can_be_taken_back_and_one_that_makes_no_sense_does_nothing() {
    let (engine, fanout) = fixture();
    for output in ["video", "video_low", "audio"] {
        let _ = fanout.push(FIRST, ms(0), frame(output, 0, true));
    }
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.join(ms(0), A, "audio", OnRequest);
    let _ = fanout.change(ms(10), A, "video_low");
    let _ = fanout.change(ms(20), A, "video");
    let _ = fanout.change(ms(20), A, "video_none");
    let _ = fanout.change(ms(20), B, "video_low");
    for output in ["video", "video_low", "audio"] {
        let _ = fanout.push(FIRST, ms(40), frame(output, 40, true));
    }
    let state = engine.state.lock().unwrap();
    let outputs: Vec<_> = state.frames[&A].iter().map(|f| &*f.output).collect();
    assert_eq!(outputs, ["video", "audio", "video", "audio"]);
    // And who leaves, leaves all of them.
    drop(state);
    let _ = fanout.change(ms(50), A, "video_low");
    fanout.leave(A);
    assert_eq!(
        (fanout.viewers("video"), fanout.viewers("video_low")),
        (0, 0)
    );
}

#[test]
fn a_narrow_line_gets_whole_runs_and_no_more_than_it_carries() {
    let (engine, fanout) = fixture();
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    let _ = fanout.join(ms(0), A, "video", OnRequest);
    let _ = fanout.join(ms(0), B, "video", OnRequest);
    // 25 frames of 100 bytes a second are 20 kbit/s.
    fanout.limit(ms(0), A, Some(8_000));
    let mut force = false;
    for at in (40..20_000).step_by(40) {
        force = fanout.push(FIRST, ms(at), frame("video", at, force)) == Keyframe::Ask;
    }
    fanout.limit(ms(20_000), A, None);
    let _ = fanout.push(FIRST, ms(20_000), frame("video", 20_000, true));
    let _ = fanout.push(FIRST, ms(20_040), frame("video", 20_040, false));
    let state = engine.state.lock().unwrap();
    let (limited, all) = (&state.frames[&A], &state.frames[&B]);
    assert_eq!(all.len(), 502);
    assert!((180..=220).contains(&limited.len()), "{}", limited.len());
    for pair in limited.windows(2) {
        assert!(pair[1].keyframe || pair[1].pts - pair[0].pts == ms(40));
    }
    assert_eq!(limited[limited.len() - 2..], all[all.len() - 2..]);
}

/// Both rungs every 40 ms, as large as said; a keyframe first. Returns the time after the last.
fn feed(fanout: &Fanout, from: u64, seconds: u64, sizes: &[(&str, usize)]) -> u64 {
    let end = from + seconds * 1000;
    for at in (from..end).step_by(40) {
        for (output, size) in sizes {
            let bytes = Bytes::from(vec![0; *size]);
            let keyframe = at == from;
            let frame = Frame {
                bytes,
                ..frame(output, at, keyframe)
            };
            let _ = fanout.push(FIRST, ms(at), frame);
        }
    }
    end
}

/// An output shows that it obeys, unless it has, and rests.
fn rests(fanout: &Fanout, now: u64, output: &str) {
    let before = fanout.rest(ms(now), output);
    if before == Rest::Now {
        return;
    }
    assert_eq!(before, Rest::Ask);
    assert_eq!(fanout.rest(ms(now), output), Rest::Not);
    let _ = fanout.push(FIRST, ms(now), frame(output, now, true));
    assert_eq!(fanout.rest(ms(now), output), Rest::Now);
}

#[test]
fn an_output_rests_when_it_has_no_viewers_is_measured_and_obeys() {
    let (_, fanout) = fixture();
    assert_eq!(fanout.rest(ms(0), "video"), Rest::Not);
    let _ = fanout.push(FIRST, ms(0), frame("video", 0, true));
    assert_eq!(fanout.rest(ms(0), "video"), Rest::Not);
    let now = feed(&fanout, 0, 3, &[("video", 100), ("audio", 10)]);
    let _ = fanout.join(ms(now), A, "video", AsTheyCome);
    assert_eq!(fanout.rest(ms(now), "video"), Rest::Not);
    fanout.leave(A);
    rests(&fanout, now, "video");
    assert!(fanout.is_resting("video"));
    assert_eq!(fanout.rest(ms(now), "video"), Rest::Not);
    assert_eq!(fanout.rest(ms(now), "audio"), Rest::Not);
    assert_eq!(fanout.last_frame(Kind::Video), None);
    // A new source is at work, whatever the old one did.
    fanout.admit(SECOND);
    assert!(!fanout.is_idle("video"));
}

#[test]
fn an_encoder_that_gives_no_keyframes_does_not_rest_but_may_be_late_once() {
    let (_, fanout) = fixture();
    let next = |at, keyframe| {
        let _ = fanout.push(FIRST, ms(at), frame("video", at, keyframe));
    };
    let mut now = feed(&fanout, 0, 3, &[("video", 100)]);
    assert_eq!(fanout.rest(ms(now), "video"), Rest::Ask);
    next(now + 1100, false);
    // Late; next time it is not.
    next(now + 1200, true);
    now += 3000;
    rests(&fanout, now, "video");
    // When it is needed it gives none, nor later when it is asked.
    now += 500;
    assert!(fanout.wake(ms(now), "video"));
    for asked in 0..3 {
        next(now + 1100, false);
        next(now + 2500, true);
        now += 4000;
        let expected = if asked < 2 { Rest::Ask } else { Rest::Not };
        assert_eq!(fanout.rest(ms(now), "video"), expected, "{asked}");
    }
    now += 60_000;
    next(now, true);
    assert_eq!(fanout.rest(ms(now), "video"), Rest::Not);
}

#[test]
fn who_comes_to_an_output_at_rest_gets_nothing_old_and_begins_with_its_keyframe() {
    let (engine, fanout) = fixture();
    let now = feed(&fanout, 0, 3, &[("video", 100)]);
    rests(&fanout, now, "video");
    let now = now + 500;
    assert!(fanout.wake(ms(now), "video"));
    assert!(!fanout.wake(ms(now), "video"));
    // It has been asked as it was woken.
    assert_eq!(fanout.join(ms(now), A, "video", AsTheyCome), Keyframe::None);
    assert!(fanout.picture(ms(now), "video", ms(100)).is_empty());
    let next = |at, keyframe| {
        let _ = fanout.push(FIRST, ms(at), frame("video", at, keyframe));
    };
    next(now + 40, false);
    assert!(fanout.is_idle("video") && engine.stamps(A).is_empty());
    next(now + 80, true);
    next(now + 120, false);
    assert!(!fanout.is_idle("video"));
    let expected = [u128::from(now) + 80, u128::from(now) + 120];
    assert_eq!(engine.stamps(A), expected);
    assert_eq!(fanout.last_frame(Kind::Video), Some(ms(now + 120)));
}

#[test]
fn the_rate_of_an_output_at_rest_stays_known_and_follows_the_others() {
    let (_, fanout) = fixture();
    let both = [("video", 4000), ("video_low", 400)];
    let now = feed(&fanout, 0, 6, &both);
    rests(&fanout, now, "video");
    let (high, low) = (fanout.rate("video"), fanout.rate("video_low"));
    let high = high.unwrap();
    assert!((700_000..900_000).contains(&high), "{high}");
    // The picture gets more lively, and would be so in all sizes.
    let now = feed(&fanout, now, 20, &[("video_low", 1200)]);
    let livelier = fanout.rate("video").unwrap();
    let times = livelier as f64 / high as f64;
    assert!((2.7..3.2).contains(&times), "{times}");
    assert!(fanout.rate("video_low") > low);
    // It goes on from there.
    assert!(fanout.wake(ms(now), "video"));
    assert_eq!(fanout.rate("video"), Some(livelier));
    let now = feed(&fanout, now, 20, &[("video", 4000), ("video_low", 400)]);
    let again = fanout.rate("video").unwrap();
    assert!((780_000..900_000).contains(&again), "{again} at {now}");
    // With nobody else at work it is what it was.
    rests(&fanout, now, "video_low");
    rests(&fanout, now, "video");
    let last = fanout.rate("video").unwrap();
    assert!(last.abs_diff(again) < again / 10, "{last} after {again}");
    // As soon as one of them works again, it tells of the other.
    assert!(fanout.wake(ms(now), "video_low"));
    feed(&fanout, now, 20, &[("video_low", 1200)]);
    let livelier = fanout.rate("video").unwrap();
    let times = livelier as f64 / last as f64;
    assert!((2.7..3.2).contains(&times), "{times}");
}
