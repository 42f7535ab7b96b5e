//! Signaling and front may die and come back: media goes on, and calls still end.

use std::time::Duration;

use crate::harness::browser::Kind;
use crate::harness::page::{self, watch};
use crate::harness::{Browser, System, eventually, seconds, wait_for};

/// The longest a picture may stand still meanwhile.
const GAP: Duration = Duration::from_millis(200);

#[test]
fn signaling_dies_and_returns_without_a_gap_in_the_picture() {
    let mut system = System::start(&["test"]);
    let before = system.at_rest();
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    eventually("the call is stored", seconds(5), || {
        system.data().contains("connection-established")
    });

    page.watch_frames();
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
    eventually("the call is known again", seconds(10), || {
        system.signaling.number("/sessions") == 1
            && system.data().contains("connection-established")
    });
    let (frames, gap) = page.frame_gaps();
    assert!(
        frames > 10 && gap <= GAP,
        "{frames} frames, longest gap {gap:?}"
    );
    assert_eq!(page.stats().connections, 1, "the page had to connect again");

    page.click(page::STOP);
    system.settles(&before, seconds(2));
}

#[test]
fn front_dies_and_media_goes_on_until_the_browser_leaves() {
    let mut system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    page.watch_frames();
    system.front.kill();
    let before = page.stats();
    eventually("two more seconds are shown", seconds(5), || {
        page.stats().frames_decoded > before.frames_decoded + 60
    });
    let (_, gap) = page.frame_gaps();
    assert!(gap <= GAP, "longest gap {gap:?}");
    assert_eq!(page.stats().connections, 1);

    browser.kill();
    let noticed = eventually("the streamer misses the viewer", seconds(15), || {
        system.streamer.number("/viewers") == 0
    });
    assert!(noticed <= seconds(10), "noticed after {noticed:?}");
    eventually("nobody holds the call", seconds(40), || {
        system.streamer.number("/calls") == 0
            && system.signaling.number("/sessions") == 0
            && !system.data().contains("<session")
    });
    system.front.restart();
}

#[test]
fn the_page_recovers_by_itself_after_front_and_streamer_were_gone() {
    let mut system = System::start(&["test"]);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    system.front.kill();
    system.streamer.kill();
    wait_for("the page noticed", seconds(15), || {
        (page.stats().open == 0).then_some(())
    });
    system.front.restart();
    system.streamer.restart();
    page.plays(seconds(20));
}
