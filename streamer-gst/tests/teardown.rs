//! Viewers ended at every moment of their lives leave nothing behind. Alone in its process, since
//! it counts descriptors and threads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::thread;
use std::time::{Duration, Instant};

use peer::{PATIENCE, PICTURE, Peer, SOUND, Streamer};
use streamer_gst::media::{Media, StreamState};

/// Where the process's descriptors lead.
fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.map(|path| path.display().to_string()).collect()
}

/// Names of the threads but for the pool that serves all viewers, which may have one per core.
fn threads() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    let (pool, others): (Vec<_>, Vec<_>) = names.partition(|name| name.trim_end() == "viewers");
    let cores = thread::available_parallelism().unwrap().get();
    let held_up = pool.into_iter().skip(cores);
    others.into_iter().chain(held_up).collect()
}

/// Waits for the last of the threads that tear viewers down, and for those that GLib keeps for 15 s.
fn settles_at(what: fn() -> Vec<String>, most: usize) {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let now = what();
        if now.len() <= most {
            break;
        }
        assert!(Instant::now() < deadline, "more than {most}: {now:?}");
        thread::sleep(Duration::from_millis(20));
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
    // The lowest of two seconds is the state of rest.
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut rest = [usize::MAX; 2];
    while Instant::now() < deadline {
        rest = [
            rest[0].min(descriptors().len()),
            rest[1].min(threads().len()),
        ];
        thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..20 {
        // Before the engine has begun, while it works, after the answer.
        let viewer = streamer.begin("demo", offer);
        streamer.media.close(viewer, "at once");
        let viewer = streamer.begin("demo", offer);
        thread::yield_now();
        streamer.media.close(viewer, "while opening");
        let (viewer, answer) = streamer.open("demo", offer);
        assert!(answer.is_ok());
        streamer.media.close(viewer, "answered");
    }
    settles_at(descriptors, rest[0]);
    for delay in 0..30 {
        // Through ICE and DTLS up to the first frames.
        let (viewer, peer) = streamer.play("demo");
        thread::sleep(Duration::from_millis(delay * 2));
        streamer.media.close(viewer, "connecting");
        drop(peer);
    }
    settles_at(descriptors, rest[0]);
    for _ in 0..5 {
        let peers: Vec<(_, Peer)> = (0..4).map(|_| streamer.play("demo")).collect();
        for (_, peer) in &peers {
            peer.receive(1, 1);
        }
        for (viewer, _) in peers {
            streamer.media.close(viewer, "playing");
        }
    }
    settles_at(descriptors, rest[0]);
    settles_at(threads, rest[1]);
    assert_eq!(streamer.media.state()["viewers"], 0);
    streamer.stop();
}
