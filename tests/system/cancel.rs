//! Viewers that leave before they are answered. The programs are made late by stopping them
//! (SIGSTOP): what is sent to them waits in their sockets.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::hop::Die;
use crate::harness::{System, eventually, seconds, whep};

/// Everything a call takes is given back; descriptors aside, which `endings` looks at.
#[track_caller]
fn nothing_is_left(system: &System) {
    eventually("nothing is left of the call", seconds(10), || {
        system.rest().has_no_call()
    });
}

#[test]
fn a_client_gone_before_100_leaves_nothing() {
    let system = System::start(&["test"]);
    system.signaling.signal(Signal::STOP);
    let client = whep::dial(system.http(), "test", &whep::recorded("chromium"));
    eventually("front placed the call", seconds(5), || {
        system.front.number("/calls") == 1
    });
    drop(client);
    // The CANCEL must wait for a 100 (RFC 3261 9.1), and nobody can send one yet.
    system.signaling.signal(Signal::CONT);
    nothing_is_left(&system);
}

#[test]
fn a_client_gone_between_100_and_202_leaves_nothing() {
    let system = System::start(&["test"]);
    system.streamer.signal(Signal::STOP);
    let client = whep::dial(system.http(), "test", &whep::recorded("chromium"));
    eventually("signaling relayed the call", seconds(5), || {
        system.signaling.number("/calls") == 1
    });
    drop(client);
    system.streamer.signal(Signal::CONT);
    nothing_is_left(&system);
}

#[test]
fn a_client_gone_in_the_moment_of_the_202_leaves_nothing() {
    let system = System::start(&["test"]);
    let offer = whep::recorded("chromium");
    // How long an answer takes here, so that leaving falls around it.
    let start = Instant::now();
    whep::hang_up(
        system.http(),
        &whep::call(system.http(), "test", &offer).unwrap(),
    );
    let usual = u64::try_from(start.elapsed().as_micros()).unwrap();

    let mut die = Die(202);
    for _ in 0..40 {
        let client = whep::dial(system.http(), "test", &offer);
        let leave = Instant::now() + Duration::from_micros(die.roll(usual * 3 / 2));
        while Instant::now() < leave {
            thread::yield_now();
        }
        drop(client);
    }
    nothing_is_left(&system);
    assert_eq!(
        whep::call(system.http(), "test", &offer).unwrap().status,
        201
    );
}
