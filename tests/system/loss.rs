//! Calls through hops that lose datagrams, both ways, on both links.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::http::Response;
use crate::harness::system::Setup;
use crate::harness::{System, eventually, measure, seconds, whep};

const CALLS: usize = 50;
/// 64 × T1 (RFC 3261 17.1.1.2) is 32 s; one more to say so.
const GIVE_UP: Duration = Duration::from_secs(33);

struct Outcome {
    answer: Response,
    took: Duration,
}

/// Places all calls at once and returns how each went, with the most calls the streamer ever had.
fn place_calls(system: &System) -> (Vec<Outcome>, u64) {
    let offer = whep::recorded("chromium");
    let front = system.http();
    let most = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let outcomes = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(system.streamer.number("/calls"), Ordering::Relaxed);
                thread::park_timeout(Duration::from_millis(50));
            }
        });
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                scope.spawn(|| {
                    let start = Instant::now();
                    let answer = whep::call(front, "test", &offer).expect("front always answers");
                    Outcome {
                        answer,
                        took: start.elapsed(),
                    }
                })
            })
            .collect();
        let outcomes = calls.into_iter().map(|call| call.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        outcomes
    });
    (outcomes, most.into_inner())
}

fn calls_under_loss(percent: u32, seed: u64, wanted: usize) {
    let system = Setup::new(&["test"]).hops(seed).start();
    let hops = [&system.front_hop, &system.streamer_hop].map(|hop| hop.as_ref().unwrap());
    for hop in hops {
        hop.lose(percent);
    }

    let (outcomes, most) = place_calls(&system);
    let (set_up, failed): (Vec<_>, Vec<_>) = outcomes
        .iter()
        .partition(|outcome| outcome.answer.status == 201);
    for outcome in &failed {
        let text = outcome.answer.text();
        assert!(
            [503, 504].contains(&outcome.answer.status),
            "{}: {text}",
            outcome.answer.status
        );
        let problem: Value = serde_json::from_str(&text).expect("problem+json");
        assert!(
            problem["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty()),
            "{text}"
        );
        assert!(
            outcome.took < GIVE_UP,
            "an error after {:?}: {text}",
            outcome.took
        );
    }
    let slowest = outcomes.iter().map(|outcome| outcome.took).max();
    measure::note(
        &format!("calls through {percent} % loss on both links, each way"),
        &format!(
            "{} of {CALLS} set up, the others told; the last one after {:.1} s",
            set_up.len(),
            slowest.unwrap_or_default().as_secs_f64()
        ),
    );
    assert!(
        set_up.len() >= wanted,
        "{} of {CALLS} set up at {percent} %",
        set_up.len()
    );
    assert!(
        most <= CALLS as u64,
        "{most} calls at the streamer: one was placed twice"
    );
    assert!(
        hops.iter().all(|hop| hop.counts().1 > 0),
        "the hops lost nothing"
    );

    let front = system.http();
    thread::scope(|scope| {
        for outcome in &set_up {
            scope.spawn(|| whep::hang_up(front, &outcome.answer));
        }
    });
    eventually("nothing is left", seconds(40), || {
        system.rest().has_no_call()
    });
}

#[test]
fn all_calls_are_set_up_at_10_percent_loss() {
    calls_under_loss(10, 0x5eed_0010, CALLS);
}

#[test]
fn most_calls_are_set_up_at_30_percent_loss_and_the_others_say_so() {
    calls_under_loss(30, 0x5eed_0030, 45);
}
