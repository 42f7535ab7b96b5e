//! Lines that are narrow, slow or lossy: everybody gets what theirs carries, and nobody else less.

use std::time::{Duration, Instant};

use crate::harness::browser::{Kind, Page};
use crate::harness::line::{Condition, Line};
use crate::harness::page::{UNMUTE, watch};
use crate::harness::{Browser, System, eventually, measure, seconds};

/// What a browser has decoded per second since `then`.
fn frames_per_second(page: &Page<'_>, then: (Instant, u64)) -> f64 {
    (page.stats().frames_decoded - then.1) as f64 / then.0.elapsed().as_secs_f64()
}

fn count(page: &Page<'_>) -> (Instant, u64) {
    (Instant::now(), page.stats().frames_decoded)
}

fn a_narrow_line_gets_a_lower_rung_and_its_neighbour_loses_nothing(kind: Kind) {
    let system = System::alone(&["ladder"]);
    let line = Line::start(system.http(), 1);
    let browser = Browser::launch(kind);
    let neighbour = watch(&browser, &system, "ladder");
    neighbour.plays(seconds(20));
    let narrow = browser.open(&line.url("/watch/ladder"));
    narrow.plays(seconds(20));
    narrow.click(UNMUTE);
    narrow.plays_sound(seconds(20));
    eventually("the highest rung", seconds(20), || {
        narrow.stats().size == (1280, 720)
    });

    line.set(Condition {
        rate: Some(300_000),
        ..Condition::default()
    });
    let before = count(&neighbour);
    let fell = eventually("a lower rung", seconds(5), || {
        narrow.stats().size == (320, 180)
    });
    measure::note_time(
        &format!("{kind:?}, line of 300 kbit/s: on the lowest rung"),
        fell,
        seconds(5),
    );
    // It plays on, with sound, and without a hole.
    narrow.shows_video(seconds(5));
    narrow.plays_sound(seconds(5));
    let rate = frames_per_second(&neighbour, before);
    assert!(rate > 28.0, "the neighbour had {rate} frames a second");
    assert_eq!(neighbour.stats().size, (1280, 720));

    line.set(Condition::default());
    eventually("the highest rung again", seconds(60), || {
        narrow.stats().size == (1280, 720)
    });
    assert_eq!(narrow.complaints(), Vec::<String>::new());
    system.assert_quiet();
}

#[test]
fn a_narrow_line_gets_a_lower_rung_in_chromium() {
    a_narrow_line_gets_a_lower_rung_and_its_neighbour_loses_nothing(Kind::Chromium);
}

#[test]
fn a_narrow_line_gets_a_lower_rung_in_firefox() {
    a_narrow_line_gets_a_lower_rung_and_its_neighbour_loses_nothing(Kind::Firefox);
}

#[test]
fn losses_are_mended_by_sending_again() {
    let system = System::alone(&["test"]);
    let line = Line::start(system.http(), 2);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&line.url("/watch/test"));
    page.plays(seconds(20));
    for loss in [0, 2, 5] {
        line.set(Condition {
            delay: Duration::from_millis(50),
            loss,
            rate: None,
        });
        page.watch_frames();
        let before = count(&page);
        eventually("a time of frames", seconds(30), || {
            page.frame_gaps().0 > 200
        });
        let (rate, (_, gap)) = (frames_per_second(&page, before), page.frame_gaps());
        measure::note_time(
            &format!("50 ms and {loss} % loss: longest freeze"),
            gap,
            seconds(1),
        );
        assert!(rate > 30.0 * 0.95, "{rate} frames a second at {loss} %");
        assert!(gap < seconds(1), "{gap:?} at {loss} %");
    }
}
