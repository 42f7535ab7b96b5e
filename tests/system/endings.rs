//! However a call ends, all sides learn it in time and give everything back.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::browser::Kind;
use crate::harness::hop::Die;
use crate::harness::page::{self, watch};
use crate::harness::system::Rest;
use crate::harness::{Browser, System, eventually, in_time, measure, seconds, whep};

/// A system that has had its first call, so that what is loaded once is loaded, and a browser.
fn warm(kind: Kind) -> (System, Browser) {
    let system = System::alone(&["test"]);
    let browser = had_a_call(&system, kind);
    (system, browser)
}

/// A browser that has played from this system, and stopped.
fn had_a_call(system: &System, kind: Kind) -> Browser {
    let browser = Browser::launch(kind);
    let page = watch(&browser, system, "test");
    page.plays(seconds(10));
    page.close();
    eventually("the first call ends", seconds(5), || {
        system.streamer.number("/viewers") == 0
    });
    browser
}

fn stop_button_ends_the_call(kind: Kind) {
    let (system, browser) = warm(kind);
    let before = system.at_rest().beside_a_browser();
    in_time(
        &format!("{kind:?}, stop button: all is given back"),
        seconds(1),
        || {
            let page = watch(&browser, &system, "test");
            page.plays(seconds(10));
            eventually("the call is stored", seconds(2), || {
                system.data().contains("connection-established")
            });
            page.click(page::STOP);
            let settled = system.settles(&before);
            assert_eq!(page.stats().open, 0);
            page.close();
            settled
        },
    );
    system.assert_quiet();
}

#[test]
fn stop_button_ends_the_call_in_chromium() {
    stop_button_ends_the_call(Kind::Chromium);
}

#[test]
fn stop_button_ends_the_call_in_firefox() {
    stop_button_ends_the_call(Kind::Firefox);
}

fn closed_tab_ends_the_call(kind: Kind) {
    let (system, browser) = warm(kind);
    let before = system.at_rest().beside_a_browser();
    in_time(
        &format!("{kind:?}, closed tab: all is given back"),
        seconds(1),
        || {
            let page = watch(&browser, &system, "test");
            page.plays(seconds(10));
            page.close();
            system.settles(&before)
        },
    );
    system.assert_quiet();
}

#[test]
fn closed_tab_ends_the_call_in_chromium() {
    closed_tab_ends_the_call(Kind::Chromium);
}

#[test]
fn closed_tab_ends_the_call_in_firefox() {
    closed_tab_ends_the_call(Kind::Firefox);
}

fn killed_browser_is_noticed(kind: Kind) {
    let system = System::alone(&["test"]);
    // Of front no connection of the browser's may be left, so it counts from before there was one.
    let front_descriptors = system.at_rest().front_descriptors;
    let browser = had_a_call(&system, kind);
    let before = Rest {
        front_descriptors,
        ..system.at_rest()
    };
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    browser.kill();
    let settled = system.settles(&before);
    let what = format!("{kind:?} killed: all is given back");
    measure::note_time(&what, settled, seconds(10));
    assert!(
        settled <= seconds(10),
        "all was given back after {settled:?}"
    );
}

#[test]
fn killed_chromium_is_noticed_within_10_seconds() {
    killed_browser_is_noticed(Kind::Chromium);
}

#[test]
fn killed_firefox_is_noticed_within_10_seconds() {
    killed_browser_is_noticed(Kind::Firefox);
}

#[test]
fn a_streamer_that_is_stopped_says_so_to_its_viewers() {
    let (mut system, browser) = warm(Kind::Chromium);
    let before = system.at_rest().beside_a_browser();
    in_time("streamer stopped: the page knows", seconds(1), || {
        let page = watch(&browser, &system, "test");
        page.plays(seconds(10));
        let (told, text) = page.told_of_end_after(|| {
            assert!(system.streamer.terminate().success());
        });
        assert!(text.starts_with("The stream ended: "), "{text}");
        page.close();
        eventually("signaling forgot call and streamer", seconds(2), || {
            let state = system.signaling.state();
            state["calls"] == 0 && state["sessions"] == 0 && state["streamers"] == 0
        });
        eventually("front forgot the call", seconds(2), || {
            let state = system.front.state();
            state["calls"] == 0 && state["sessions"] == 0
        });
        eventually("so did the store", seconds(2), || {
            system.stored_sessions() == 0
        });
        system.streamer.restart();
        system.wait_live("test");
        system.settles(&before);
        told
    });
    system.assert_quiet();
}

#[test]
fn a_streamer_that_dies_is_missed_and_its_successor_plays() {
    let (mut system, browser) = warm(Kind::Chromium);
    let before = system.at_rest().beside_a_browser();
    let page = watch(&browser, &system, "test");
    let die_and_return = |system: &mut System| {
        page.plays(seconds(10));
        let (told, text) = page.told_of_end_after(|| system.streamer.kill());
        assert!(told <= seconds(10), "the page knew after {told:?}");
        assert!(text.contains("streamer"), "{text}");
        system.streamer.restart();
    };
    in_time(
        "streamer killed and started again: its next call plays",
        seconds(2),
        || {
            die_and_return(&mut system);
            let again = watch(&browser, &system, "test");
            let took = again.plays(seconds(10));
            again.close();
            took
        },
    );
    in_time(
        "streamer killed and started again: the page plays again by itself",
        seconds(5),
        || {
            die_and_return(&mut system);
            page.plays(seconds(15))
        },
    );
    page.click(page::STOP);
    // Front's BYEs to those that died are given up after 64 × T1.
    eventually("nobody holds a call", seconds(40), || {
        system.rest().has_no_call()
    });
    system.settles(&before);
}

#[test]
fn all_programs_end_at_sigterm_in_the_middle_of_a_call() {
    let (mut system, browser) = warm(Kind::Chromium);
    let page = watch(&browser, &system, "test");
    page.plays(seconds(10));
    for program in [
        &mut system.front,
        &mut system.streamer,
        &mut system.signaling,
    ] {
        let status = program.terminate();
        assert!(status.success(), "{status}\n{}", program.log());
    }
    assert_eq!(system.stored_sessions(), 0);
    system.assert_quiet();
}

#[test]
fn many_calls_in_a_row_leave_no_thread_and_no_descriptor() {
    let system = System::alone(&["test"]);
    let offer = whep::recorded("chromium");
    let call = || {
        whep::hang_up(
            system.http(),
            &whep::call(system.http(), "test", &offer).unwrap(),
        )
    };
    // What is loaded once is loaded by then.
    for _ in 0..5 {
        call();
    }
    let (before, threads) = (system.at_rest(), system.streamer.threads());
    let memory = || system.streamer.number("/process/rss_bytes") / 1024;
    let started_with = memory();
    let calls = measure::times(40, 1000);
    for _ in 0..calls {
        call();
    }
    system.settles(&before);
    system.streamer.settles_at(threads);
    let grown = memory().saturating_sub(started_with);
    measure::note(
        "calls one after the other, that left no thread and no descriptor",
        &format!("{calls}; the streamer grew by {grown} KiB"),
    );
    system.assert_quiet();
}

/// Calls so many times, four at a time, and leaves each call at some moment of its first 300 ms,
/// rather an early one: by DELETE, by closing the connection, or both at once, a quarter of them
/// without ever having taken the answer. Returns how the connections were when they were left.
const CALL_AND_LEAVE: &str = "(async (count) => {
    const left = {};
    const headers = { 'Content-Type': 'application/sdp' };
    const call = async (way) => {
        const peer = new RTCPeerConnection();
        for (const kind of ['audio', 'video']) peer.addTransceiver(kind, { direction: 'recvonly' });
        await peer.setLocalDescription();
        const body = peer.localDescription.sdp;
        const answer = await fetch('/whep/test', { method: 'POST', headers, body });
        const sdp = await answer.text();
        if (answer.status !== 201) throw new Error(`${answer.status} ${sdp}`);
        if (way > 0) await peer.setRemoteDescription({ type: 'answer', sdp });
        await new Promise((resolve) => setTimeout(resolve, Math.random() ** 2 * 300));
        const state = way > 0 ? peer.connectionState : 'not answered';
        left[state] = (left[state] ?? 0) + 1;
        const url = answer.headers.get('location');
        if (way > 1) peer.close();
        const ended = fetch(url, { method: 'DELETE' });
        if (way !== 2) peer.close();
        const { status } = await ended;
        if (![200, 204, 404, 410].includes(status)) throw new Error(`DELETE: ${status}`);
    };
    const client = async (_, way) => {
        for (let turn = 0; turn < count / 4; turn += 1) await call((turn + way) % 4);
    };
    await Promise.all(Array.from({ length: 4 }, client));
    return left;
})";

fn calls_left_at_any_moment_leave_nothing(kind: Kind) {
    let (system, browser) = warm(kind);
    let call_and_leave = |count: u64| {
        // One page can make only so many connections.
        let page = browser.open(&system.url("/"));
        let left = page.evaluate(&format!("{CALL_AND_LEAVE}({count})"));
        page.close();
        left
    };
    // What is loaded once is loaded by then, also what only many at a time need.
    call_and_leave(8);
    let before = system.at_rest().beside_a_browser();
    let threads = system.streamer.threads();

    let mut left = BTreeMap::<String, u64>::new();
    for _ in 0..measure::times(1, 25) {
        for (state, count) in call_and_leave(40).as_object().unwrap() {
            *left.entry(state.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    // A page that is closed before it is answered, while it connects, and soon after.
    let mut die = Die(300);
    let pages = measure::times(6, 60);
    for _ in 0..pages {
        let page = watch(&browser, &system, "test");
        let leave = Instant::now() + Duration::from_millis(die.roll(300));
        while Instant::now() < leave {
            thread::yield_now();
        }
        page.close();
    }
    // A page that was closed just when it was answered knows nothing to hang up yet: its viewer has
    // 15 s to connect.
    let last = Instant::now();
    eventually("nobody holds a call", seconds(20), || {
        system.rest().has_no_call()
    });
    system.settles(&before);
    system.streamer.settles_at(threads);
    let settled = last.elapsed();
    measure::note(
        &format!("{kind:?}: calls left within 300 ms, that left nothing"),
        &format!("{left:?}, {pages} pages; all is given back after {settled:?}"),
    );
    for state in ["not answered", "connecting", "connected"] {
        assert!(left.contains_key(state), "no moment of {state}: {left:?}");
    }
    system.assert_quiet();
}

#[test]
fn calls_left_at_any_moment_leave_nothing_in_chromium() {
    calls_left_at_any_moment_leave_nothing(Kind::Chromium);
}

#[test]
fn calls_left_at_any_moment_leave_nothing_in_firefox() {
    calls_left_at_any_moment_leave_nothing(Kind::Firefox);
}
