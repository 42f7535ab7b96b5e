//! Offers of every kind through the whole way, front to webrtcbin: each is answered or refused,
//! and the programs live on.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::http::{self, Response};
use crate::harness::{System, eventually, measure, seconds, whep};
use crate::mutation::{Random, mutate, restructure};

/// How many offer mutations at the same time.
const CLIENTS: usize = 8;
/// Whatever is offered is answered or refused in this time.
const IN_TIME: Duration = seconds(15);

/// What a refused offer becomes on the way to HTTP: 400, 413, 415, and 422 for SIP's 488.
const REFUSALS: [u16; 4] = [400, 413, 415, 422];

/// Offers, hangs up if answered, and returns the answer.
#[track_caller]
fn try_offer(system: &System, stream: &str, offer: &[u8]) -> Response {
    let answer = whep::call(system.http(), stream, offer).expect("an answer, whatever it says");
    whep::hang_up(system.http(), &answer);
    answer
}

/// After whatever was offered: nothing is held, and a browser could still call.
#[track_caller]
fn lives_on(system: &System) {
    assert_eq!(
        try_offer(system, "test", &whep::recorded("chromium")).status,
        201
    );
    eventually("nothing is left of the offers", seconds(20), || {
        system.rest().has_no_call()
    });
}

/// The lines of `offer` without those that contain one of `words`.
fn without(offer: &[u8], words: &[&str]) -> Vec<u8> {
    let text = String::from_utf8(offer.to_vec()).unwrap();
    let lines = text
        .lines()
        .filter(|line| !words.iter().any(|word| line.contains(word)));
    lines
        .map(|line| format!("{line}\r\n"))
        .collect::<String>()
        .into_bytes()
}

fn replaced(offer: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(offer.to_vec())
        .unwrap()
        .replace(from, to)
        .into_bytes()
}

#[test]
fn recorded_offers_are_answered_with_their_own_payload_types() {
    let system = System::start(&["test"]);
    for (name, video) in [
        ("chromium", "a=rtpmap:96 VP8/90000"),
        ("firefox", "a=rtpmap:120 VP8/90000"),
    ] {
        let answer = try_offer(&system, "test", &whep::recorded(name));
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/sdp"));
        assert!(answer.text().contains(video), "{name}: {}", answer.text());
    }
    for name in [
        "chromium-audio-only",
        "chromium-video-only",
        "firefox-audio-only",
        "baresip",
    ] {
        let answer = try_offer(&system, "test", &whep::recorded(name));
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
    lives_on(&system);
}

#[test]
fn offers_that_cannot_work_are_refused() {
    let system = System::start(&["test"]);
    let chromium = whep::recorded("chromium");
    let video_only = whep::recorded("chromium-video-only");
    let unknown = replaced(&replaced(&chromium, "VP8", "VPX"), "opus", "sepo");
    let cases: [(&str, Vec<u8>); 7] = [
        ("no common codec", unknown),
        (
            "no VP8 in a video-only offer",
            replaced(&video_only, "VP8", "VPX"),
        ),
        ("no ice-ufrag", without(&chromium, &["a=ice-ufrag"])),
        ("no fingerprint", without(&chromium, &["a=fingerprint"])),
        ("random text", b"hello\r\n".to_vec()),
        (
            "random bytes",
            (0..2000_u32).map(|n| ((n * 7919) >> 3) as u8).collect(),
        ),
        (
            "200 KiB",
            b"a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n".repeat(5000),
        ),
    ];
    for (name, offer) in cases {
        let answer = try_offer(&system, "test", &offer);
        assert!(
            REFUSALS.contains(&answer.status),
            "{name}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{name}"
        );
    }
    let empty = try_offer(&system, "test", b"");
    assert!(REFUSALS.contains(&empty.status), "empty: {}", empty.status);
    let json = http::request(
        system.http(),
        "POST",
        "/whep/test",
        &[("Content-Type", "application/json")],
        &chromium,
    );
    assert_eq!(json.unwrap().status, 415);
    assert_eq!(try_offer(&system, "nowhere", &chromium).status, 404);
    lives_on(&system);
}

#[test]
fn odd_offers_are_answered_or_refused_as_they_deserve() {
    let system = System::start(&["test"]);
    let chromium = whep::recorded("chromium");
    let text = String::from_utf8(chromium.clone()).unwrap();
    let extmap = text
        .lines()
        .find(|line| line.starts_with("a=extmap:"))
        .expect("an extension");
    let h264 = whep::recorded("chromium-h264-only");
    let (picture, _) = std::str::from_utf8(&h264)
        .unwrap()
        .split_once("m=audio")
        .unwrap();
    let h264_only = replaced(picture.as_bytes(), "BUNDLE 0 1", "BUNDLE 0");
    let twice = replaced(&chromium, extmap, &format!("{extmap}\r\n{extmap}-other"));
    let cases = [
        (
            201,
            "no mid and no BUNDLE",
            without(&chromium, &["a=mid", "a=group:BUNDLE"]),
        ),
        (
            422,
            "a BUNDLE of what is not there",
            replaced(&chromium, "a=group:BUNDLE 0", "a=group:BUNDLE 7 8"),
        ),
        (
            422,
            "a BUNDLE without the picture",
            replaced(&chromium, "a=group:BUNDLE 0 1", "a=group:BUNDLE 1"),
        ),
        (422, "one extmap id twice", twice),
        (
            422,
            "a fingerprint of nonsense",
            replaced(
                &chromium,
                "a=fingerprint:sha-256 ",
                "a=fingerprint:sha-256 ZZ",
            ),
        ),
        (422, "H.264 only", h264_only),
        (201, "H.264 and sound", h264),
        (
            422,
            "cut in the middle",
            chromium[..chromium.len() / 2].to_vec(),
        ),
        (201, "bare line feeds", replaced(&chromium, "\r\n", "\n")),
    ];
    for (status, name, offer) in cases {
        let answer = try_offer(&system, "test", &offer);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let kind = match status {
            201 => "application/sdp",
            _ => "application/problem+json",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{name}");
    }
    lives_on(&system);
}

/// Mutates the offers of these programs so often, from several clients at once, and expects of each
/// an answer in time. Returns how many were answered with SDP, and the longest time.
fn offer_mutations(system: &System, programs: &str, count: u64) -> (u64, Duration) {
    let mut offers = whep::all_recorded();
    offers.retain(|(name, _)| name.starts_with(programs));
    assert!(!offers.is_empty(), "no offer of {programs}");
    let one_client = |client: u64| {
        let mut random = Random::new(300 + client);
        let (mut answered, mut slowest) = (0, Duration::ZERO);
        for turn in (client..count).step_by(CLIENTS) {
            let (name, offer) = &offers[random.below(offers.len())];
            let offer = std::str::from_utf8(offer).unwrap();
            // Half of them with damaged lines, half with sound lines in a wrong whole.
            let mutated = if random.below(2) == 0 {
                mutate(offer, &mut random)
            } else {
                restructure(offer, &mut random).into_bytes()
            };
            let which = format!("mutation {turn} of {name}, client {client}");
            let start = Instant::now();
            let answer = whep::call(system.http(), "test", &mutated)
                .unwrap_or_else(|error| panic!("{which}: {error}"));
            slowest = slowest.max(start.elapsed());
            let (status, fine) = (answer.status, answer.status == 201);
            assert!(
                fine || REFUSALS.contains(&status),
                "{which}: {status} {}",
                answer.text()
            );
            assert!(slowest <= IN_TIME, "{which}: {status} after {slowest:?}");
            answered += u64::from(fine);
            whep::hang_up(system.http(), &answer);
        }
        (answered, slowest)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS as u64)
            .map(|client| scope.spawn(move || one_client(client)))
            .collect();
        let results = clients.into_iter().map(|client| client.join().unwrap());
        results.fold((0, Duration::ZERO), |(sum, slowest), (answered, took)| {
            (sum + answered, slowest.max(took))
        })
    })
}

#[test]
fn mutated_offers_never_end_nor_hang_the_streamer() {
    let system = System::start(&["test"]);
    for (programs, usual, full) in [
        ("chromium", 120, 10_000),
        ("firefox", 120, 10_000),
        ("baresip", 60, 1000),
    ] {
        let count = measure::times(usual, full);
        let (answered, slowest) = offer_mutations(&system, programs, count);
        lives_on(&system);
        measure::note(
            &format!("mutated offers of {programs}, none of which ended or hung a program"),
            &format!(
                "{count}: {answered} answered, {} refused, within {:.1} s",
                count - answered,
                slowest.as_secs_f64()
            ),
        );
    }
}
