//! Signaling and front may die and come back: media goes on, and calls still end.

use std::time::Duration;

use crate::harness::browser::{Kind, Page};
use crate::harness::page::{self, watch};
use crate::harness::{Browser, System, eventually, in_time, seconds};

/// The longest a picture may stand still, or jump ahead, meanwhile.
const GAP: Duration = Duration::from_millis(200);

/// Plays on until three seconds of frames were noted, and returns the longest gap between two.
#[track_caller]
fn longest_gap(page: &Page<'_>) -> Duration {
    eventually("three seconds of frames were noted", seconds(20), || {
        page.frame_gaps().0 >= 90
    });
    page.frame_gaps().1
}

/// Fails when `disturb` disturbs the picture for longer than [`GAP`]. On a machine so busy that the
/// picture stands still for that long by itself, only what is longer than that counts.
#[track_caller]
fn the_picture_goes_on(what: &str, page: &Page<'_>, mut disturb: impl FnMut()) {
    let mut undisturbed = Duration::ZERO;
    in_time(&format!("{what}: longest gap in the picture"), GAP, || {
        page.watch_frames();
        disturb();
        let gap = longest_gap(page);
        if gap <= GAP {
            return gap;
        }
        page.watch_frames();
        undisturbed = undisturbed.max(longest_gap(page));
        if undisturbed > GAP {
            gap.saturating_sub(undisturbed)
        } else {
            gap
        }
    });
}

#[test]
fn signaling_dies_and_returns_without_a_gap_in_the_picture() {
    let mut system = System::alone(&["test"]);
    let before = system.at_rest().beside_a_browser();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    let stored = |system: &System| {
        eventually("the call is stored", seconds(10), || {
            system.signaling.number("/sessions") == 1
                && system.data().contains("connection-established")
        });
    };
    stored(&system);

    the_picture_goes_on("signaling killed and started again", &page, || {
        system.signaling.kill();
        system.signaling.restart();
        let whole = eventually("the directory is whole", seconds(10), || {
            system
                .entry("test")
                .is_some_and(|entry| entry["live"] == true)
        });
        assert!(
            whole <= seconds(5),
            "the directory was whole after {whole:?}"
        );
        stored(&system);
    });
    assert_eq!(page.stats().connections, 1, "the page had to connect again");

    page.click(page::STOP);
    system.settles(&before);
}

#[test]
fn front_dies_and_returns_without_a_gap_in_the_picture() {
    let mut system = System::alone(&["test"]);
    let before = system.at_rest().beside_a_browser();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    the_picture_goes_on("front killed and started again", &page, || {
        system.front.kill();
        longest_gap(&page);
        system.front.restart();
        eventually("the page knows that it is back", seconds(10), || {
            page.text(page::STATUS) == "Playing."
        });
    });
    assert_eq!(page.stats().connections, 1, "the page had to connect again");

    page.click(page::STOP);
    system.settles(&before);
}

#[test]
fn a_browser_that_leaves_while_front_is_dead_is_missed() {
    let mut system = System::alone(&["test"]);
    let before = system.at_rest();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    system.front.kill();
    browser.kill();
    let missed = eventually("the streamer misses the viewer", seconds(15), || {
        system.streamer.number("/viewers") == 0
    });
    assert!(missed <= seconds(10), "missed after {missed:?}");
    // Its BYE reaches nobody, and is given up after 64 × T1.
    eventually("nobody holds the call", seconds(40), || {
        system.streamer.number("/calls") == 0
            && system.signaling.number("/sessions") == 0
            && system.stored_sessions() == 0
    });
    system.front.restart();
    system.settles(&before);
}

#[test]
fn the_page_recovers_by_itself_after_front_and_streamer_were_gone() {
    let mut system = System::alone(&["test"]);
    let before = system.at_rest().beside_a_browser();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    system.front.kill();
    system.streamer.kill();
    eventually("the page noticed", seconds(15), || page.stats().open == 0);
    system.front.restart();
    system.streamer.restart();
    page.plays(seconds(20));
    page.click(page::STOP);
    system.settles(&before);
}
