//! Viewers that leave before they are answered. The programs are made late by stopping them
//! (SIGSTOP): what is sent to them waits in their sockets. What was sent is read off the hops.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::hop::{Die, Hop};
use crate::harness::system::Setup;
use crate::harness::{System, eventually, seconds, wait_for, whep};

fn system() -> System {
    Setup::new(&["test"]).hops(0).start()
}

fn dial(system: &System) -> TcpStream {
    whep::dial(system.http(), "test", &whep::recorded("chromium"))
}

/// What was said about each call over a hop, in order and without repetitions in a row.
fn calls(hop: &Hop) -> BTreeMap<String, Vec<String>> {
    let mut calls = BTreeMap::<_, Vec<_>>::new();
    for message in hop.messages() {
        calls.entry(message.call).or_default().push(message.what);
    }
    for said in calls.values_mut() {
        said.dedup();
    }
    calls
}

/// What was said over a hop about the only call there was.
#[track_caller]
fn only_call(hop: &Hop) -> Vec<String> {
    let mut calls = calls(hop).into_values();
    let said = calls.next().unwrap_or_default();
    assert_eq!(calls.next(), None, "a second call");
    said
}

/// Waits until `what` went over a hop.
#[track_caller]
fn passes(hop: &Hop, what: &str) {
    eventually(&format!("{what} passes"), seconds(5), || {
        hop.messages().iter().any(|message| message.what == what)
    });
}

/// Everything a call takes is given back; descriptors aside, which `endings` looks at.
#[track_caller]
fn nothing_is_left(system: &System) {
    eventually("nothing is left of the call", seconds(10), || {
        system.rest().has_no_call()
    });
}

/// Whether, of these messages, each of `wanted` came after the one before it.
fn in_order(said: &[String], wanted: &[&str]) -> bool {
    let mut said = said.iter();
    wanted.iter().all(|what| said.any(|each| each == what))
}

/// How a call ended, of which this was said: cancelled and refused (true), or answered and hung
/// up (false). `None` as long as it goes on.
fn refused(said: &[String]) -> Option<bool> {
    let refused = in_order(said, &["INVITE", "CANCEL", "INVITE 487", "ACK"]);
    let ended = in_order(said, &["INVITE", "INVITE 202", "ACK", "BYE", "BYE 200"]);
    (refused != ended).then_some(refused)
}

/// Waits until a hop saw the end of every call, and returns how they ended.
#[track_caller]
fn ends(hop: &Hop) -> Vec<bool> {
    wait_for("487 or BYE for each call", seconds(5), || {
        calls(hop).values().map(|said| refused(said)).collect()
    })
}

/// The only call was cancelled by front, and came to one of its ends on both sides: the CANCEL
/// goes on from signaling when the streamer lets itself be heard, and an answer may be faster, which
/// signaling hangs up when front has been told of the end.
#[track_caller]
fn was_cancelled(system: &System) {
    let [front, streamer] = system.hops();
    let (refused, refuses) = (ends(front), ends(streamer));
    assert!(
        refused == [true] || refuses == [false],
        "{refused:?}, {refuses:?}"
    );
    let said = only_call(front);
    let cancelled = in_order(&said, &["INVITE", "INVITE 100", "CANCEL", "CANCEL 200"]);
    assert!(cancelled, "{said:?}");
}

#[test]
fn a_client_gone_before_100_leaves_nothing() {
    let system = system();
    let [front, _] = system.hops();
    system.signaling.signal(Signal::STOP);
    let client = dial(&system);
    passes(front, "INVITE");
    drop(client);
    eventually("front saw that the client left", seconds(5), || {
        system.front.log().contains("call cancelled")
    });
    // The CANCEL must wait for a 100 (RFC 3261 9.1), and nobody can send one yet.
    assert_eq!(only_call(front), ["INVITE"]);
    system.signaling.signal(Signal::CONT);
    nothing_is_left(&system);
    was_cancelled(&system);
}

#[test]
fn a_client_gone_between_100_and_202_leaves_nothing() {
    let system = system();
    let [front, streamer] = system.hops();
    system.streamer.signal(Signal::STOP);
    let client = dial(&system);
    passes(front, "INVITE 100");
    passes(streamer, "INVITE");
    drop(client);
    passes(front, "CANCEL");
    system.streamer.signal(Signal::CONT);
    nothing_is_left(&system);
    was_cancelled(&system);
}

#[test]
fn a_202_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let system = system();
    let [front, streamer] = system.hops();
    system.streamer.signal(Signal::STOP);
    let client = dial(&system);
    passes(front, "INVITE 100");
    passes(streamer, "INVITE");
    system.signaling.signal(Signal::STOP);
    system.streamer.signal(Signal::CONT);
    passes(streamer, "INVITE 202");
    drop(client);
    passes(front, "CANCEL");
    // Now the 202 waits before signaling, and the CANCEL behind it.
    system.signaling.signal(Signal::CONT);
    nothing_is_left(&system);
    was_cancelled(&system);
    let said = only_call(front);
    assert!(
        in_order(&said, &["CANCEL", "INVITE 202", "BYE"]),
        "{said:?}"
    );
}

#[test]
fn a_client_gone_around_the_202_leaves_nothing() {
    let system = system();
    let call = || {
        let start = Instant::now();
        let answer = whep::call(system.http(), "test", &whep::recorded("chromium")).unwrap();
        let took = start.elapsed();
        assert_eq!(answer.status, 201);
        whep::hang_up(system.http(), &answer);
        took
    };
    // How long an answer takes here, once warm, so that leaving falls around it.
    call();
    let usual = u64::try_from(call().as_micros()).unwrap();

    let mut die = Die(202);
    for _ in 0..40 {
        let client = dial(&system);
        let leave = Instant::now() + Duration::from_micros(die.roll(usual * 3 / 2));
        while Instant::now() < leave {
            thread::yield_now();
        }
        drop(client);
    }
    call();
    nothing_is_left(&system);

    for hop in system.hops() {
        let ends = ends(hop);
        let both = ends.contains(&true) && ends.contains(&false);
        assert!(both, "all clients left too early, or all too late");
    }
}
