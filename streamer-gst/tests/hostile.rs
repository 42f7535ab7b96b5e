//! Offers that were made to break webrtcbin: an abort would end this process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../src/mutation.rs"]
mod mutation;
mod peer;

use peer::{PICTURE, SOUND, Streamer};
use streamer_gst::media::{Media, Refusal, StreamState};

fn recorded() -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/offers");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn recorded_and_mutated_offers_are_answered_or_refused() {
    let text = format!("{PICTURE}{SOUND}");
    let mut streamer = Streamer::start(&[("demo", &text)]);
    streamer.stream("demo", StreamState::Live);
    let recorded = recorded();
    for offer in &recorded {
        let (viewer, answer) = streamer.open("demo", offer.as_bytes());
        match answer {
            Ok(answer) => assert!(answer.contains("a=sendonly")),
            Err(Refusal::NoCommonCodec(_)) => {}
            Err(other) => panic!("{other:?} for\n{offer}"),
        }
        streamer.media.close(viewer, "seen");
    }
    let mut random = mutation::Random::new(2);
    let mut answered = 0;
    for round in 0..600 {
        let original = &recorded[round % recorded.len()];
        let offer = match round % 2 {
            0 => mutation::mutate(original, &mut random),
            _ => mutation::restructure(original, &mut random).into_bytes(),
        };
        let (viewer, answer) = streamer.open("demo", &offer);
        match answer {
            Ok(_) => answered += 1,
            Err(Refusal::NoCommonCodec(_) | Refusal::BadOffer(_)) => {}
            Err(other) => panic!("{other:?} for\n{}", String::from_utf8_lossy(&offer)),
        }
        streamer.media.close(viewer, "seen");
    }
    assert!(answered > 100, "{answered}");
    streamer.stop();
}
