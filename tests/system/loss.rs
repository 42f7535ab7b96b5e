//! Calls through hops that lose datagrams, both ways, on both links.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::browser::Kind;
use crate::harness::http::Response;
use crate::harness::page;
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, in_time, measure, seconds, whep};

const CALLS: usize = 50;
/// 64 × T1 (RFC 3261 17.1.1.2) is 32 s; one more to say so.
const GIVE_UP: Duration = Duration::from_secs(33);

struct Outcome {
    answer: Response,
    took: Duration,
}

/// Places all calls at once and returns how each went.
fn place_calls(system: &System) -> Vec<Outcome> {
    let offer = whep::recorded("chromium");
    let front = system.http();
    thread::scope(|scope| {
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
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

/// Each request for a stream became one call of front's at most, and each of those one viewer and
/// one answer of the streamer's, however often it was sent again.
#[track_caller]
fn no_call_was_placed_twice(system: &System) {
    for hop in system.hops() {
        let mut answers = BTreeMap::<_, BTreeSet<_>>::new();
        for message in hop.messages() {
            let of_call = answers.entry(message.call).or_default();
            if message.what == "INVITE 202" {
                of_call.insert(message.to_tag);
            }
        }
        assert!(answers.len() <= CALLS, "{} calls", answers.len());
        let answered = answers.values().filter(|tags| !tags.is_empty()).count();
        assert!(answered > 0, "no answer was seen");
        for (call, tags) in answers {
            assert!(tags.len() <= 1, "{call} was answered by {tags:?}");
        }
    }
    let log = system.streamer.log();
    let made: Vec<_> = log
        .lines()
        .filter(|line| line.contains("call comes in"))
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with("call_id="))
        })
        .collect();
    let calls: BTreeSet<_> = made.iter().collect();
    assert!(!made.is_empty(), "no viewer was made");
    assert_eq!(made.len(), calls.len(), "a call got two viewers: {made:?}");
}

fn calls_under_loss(percent: u32, seed: u64, wanted: usize) {
    let system = Setup::new(&["test"]).hops(seed).start();
    let hops = system.hops();
    for hop in hops {
        hop.lose(percent);
    }

    let outcomes = place_calls(&system);
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
    no_call_was_placed_twice(&system);
}

#[test]
fn all_calls_are_set_up_at_10_percent_loss() {
    calls_under_loss(10, 0x5eed_0010, CALLS);
}

#[test]
fn most_calls_are_set_up_at_30_percent_loss_and_the_others_say_so() {
    calls_under_loss(30, 0x5eed_0030, 45);
}

#[test]
fn a_page_whose_call_is_lost_says_so_soon_and_gives_up_within_33_seconds() {
    let away = Setup::new(&["test"]).hops(0x5eed_0100).start();
    let mute = Setup::new(&["test"]).hops(0x5eed_0101).start();
    let browser = Browser::launch(Kind::Chromium);
    // A front that reaches nobody, and one whose streamer hears nobody.
    let ([front, _], [_, streamer]) = (away.hops(), mute.hops());
    let cases = [
        (
            &away,
            front,
            "The signaling server does not answer. Still trying…",
            "The signaling server does not answer. Trying again…",
        ),
        (
            &mute,
            streamer,
            "Connecting… the streamer takes its time to answer.",
            "The streamer does not answer. Trying again…",
        ),
    ];
    in_time("all lost: the page gives up", GIVE_UP, || {
        let pages = cases.map(|(system, hop, ..)| {
            hop.lose(0);
            system.wait_live("test");
            let page = browser.open(&system.url("/"));
            page.says(page::LIST, "Test picture", seconds(10));
            hop.lose(100);
            page.notes_what_it_says();
            page.click(&page::card("test"));
            page
        });
        let mut given_up = Vec::new();
        for (page, (.., early, late)) in pages.into_iter().zip(cases) {
            page.says(page::STATUS, "Trying again", seconds(60));
            let said = page.noted();
            let after = |text: &str| {
                let found = said.iter().find(|(_, each)| each == text);
                let (after, _) = found.unwrap_or_else(|| panic!("{text:?} is not in {said:?}"));
                *after
            };
            assert!(after(early) <= seconds(10), "{said:?}");
            given_up.push(after(late));
            page.close();
        }
        given_up.into_iter().max().unwrap_or_default()
    });
}
