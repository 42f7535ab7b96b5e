//! Several streamers of one stream.

use std::time::Instant;

use crate::harness::process::Process;
use crate::harness::{System, eventually, seconds, whep};

/// What tells the second streamer from the first.
const INSTANCE: &str = "6f1c2f0e-58f4-4b5e-9d59-2f7f2f1f0c11";

/// Calls the stream, and returns how many calls each streamer has then.
fn called(system: &System, second: &Process) -> [u64; 2] {
    let answer = whep::call(system.http(), "test", &whep::recorded("chromium")).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    [&system.streamer, second].map(|streamer| streamer.number("/calls"))
}

#[test]
fn calls_spread_over_the_streamers_of_a_stream_and_move_when_one_is_killed() {
    let system = System::start(&["test"]);
    let signaling = system.signaling.addr("sip").to_string();
    let further = ["--admin", "127.0.0.1:0", "--signaling", &signaling];
    let flags = ["--pipelines", "pipelines", "--instance", INSTANCE, "test"];
    let flags = [&["run"], &further[..], &flags].concat();
    let mut second = Process::start("streamer-gst", &flags);
    let registered = || system.signaling.number("/streamers") == 2;
    eventually("both are registered", seconds(10), registered);
    let [mut first_has, mut second_has] = [0, 0];
    for _ in 0..4 {
        [first_has, second_has] = called(&system, &second);
    }
    assert_eq!([first_has, second_has], [2, 2]);

    second.kill();
    // The one that is gone has not been missed yet: whoever is sent to it is moved.
    for _ in 0..3 {
        let start = Instant::now();
        let answer = whep::call(system.http(), "test", &whep::recorded("firefox")).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let took = start.elapsed();
        assert!(took < seconds(4), "the next one was asked after {took:?}");
    }
    let start = Instant::now();
    whep::call(system.http(), "test", &whep::recorded("chromium")).unwrap();
    assert!(start.elapsed() < seconds(1), "now that is known");

    second.restart();
    eventually("it is back", seconds(10), || {
        second.number("/registered") == 1 && registered()
    });
    let [_, calls] = called(&system, &second);
    assert_eq!(calls, 1, "the one without calls is called");
    system.assert_quiet();
}
