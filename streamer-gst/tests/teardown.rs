//! Viewers ended at every moment of their lives leave nothing behind. Alone in its process, since
//! it counts descriptors and threads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::time::{Duration, Instant};

use peer::{PATIENCE, PICTURE, Peer, SOUND, Streamer};
use streamer_gst::media::{Media, StreamState};

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}"))
        .unwrap()
        .count()
}

/// Teardowns run on threads of their own; this waits for the last of them.
fn settles_at(what: &str, most: usize) {
    let deadline = Instant::now() + PATIENCE;
    while count(what) > most {
        assert!(
            Instant::now() < deadline,
            "{} {what} instead of {most}",
            count(what)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn closing_at_any_moment_leaves_nothing_behind() {
    let text = format!("{PICTURE}{SOUND}");
    let mut streamer = Streamer::start(&[("demo", &text)]);
    streamer.stream("demo", StreamState::Live);
    let offer = include_bytes!("offers/chromium.sdp");
    // Thread pools and caches fill at the first viewers.
    for _ in 0..4 {
        let (viewer, peer) = streamer.play("demo");
        peer.receive(1, 1);
        streamer.media.close(viewer, "warm");
    }
    let quiet = |most: &[usize]| {
        settles_at("fd", most[0]);
        settles_at("task", most[1]);
    };
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut start = [count("fd"), count("task")];
    while Instant::now() < deadline {
        // The lowest of two seconds is the state of rest.
        start = [start[0].min(count("fd")), start[1].min(count("task"))];
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..20 {
        // Before the engine has begun, while it works, after the answer.
        let viewer = streamer.begin("demo", offer);
        streamer.media.close(viewer, "at once");
        let viewer = streamer.begin("demo", offer);
        std::thread::yield_now();
        streamer.media.close(viewer, "while opening");
        let (viewer, answer) = streamer.open("demo", offer);
        assert!(answer.is_ok());
        streamer.media.close(viewer, "answered");
    }
    quiet(&start);
    for delay in 0..30 {
        // Through ICE and DTLS up to the first frames.
        let (viewer, peer) = streamer.play("demo");
        std::thread::sleep(Duration::from_millis(delay * 2));
        streamer.media.close(viewer, "connecting");
        drop(peer);
    }
    quiet(&start);
    for _ in 0..5 {
        let peers: Vec<(_, Peer)> = (0..4).map(|_| streamer.play("demo")).collect();
        for (_, peer) in &peers {
            peer.receive(1, 1);
        }
        for (viewer, _) in peers {
            streamer.media.close(viewer, "playing");
        }
    }
    quiet(&start);
    assert_eq!(streamer.media.state()["viewers"], 0);
    streamer.stop();
}
