//! Streams as a viewer sees them, through real pipelines and a real connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::time::{Instant, UNIX_EPOCH};

use peer::{PICTURE, Peer, SOUND, Streamer};
use streamer_gst::media::{Config, Media, Refusal, StreamImage, StreamState};

fn both() -> String {
    format!("{PICTURE}{SOUND}")
}

#[test]
fn picture_and_sound_arrive_and_one_encoder_serves_two_viewers() {
    let mut streamer = Streamer::start(&[("demo", &both())]);
    streamer.stream("demo", StreamState::Live);
    let (first, one) = streamer.play("demo");
    let (_, two) = streamer.play("demo");
    one.receive(30, 30);
    two.receive(30, 30);
    let state = streamer.media.state();
    assert_eq!(
        state["encoders"],
        serde_json::json!({"vp8enc": 1, "opusenc": 1})
    );
    assert_eq!(state["viewers"], 2);
    streamer.media.close(first, "enough");
    two.received();
    two.receive(30, 30);
    assert!(!streamer.has_gone(first));
    streamer.stop();
    assert_eq!(streamer.media.state()["viewers"], 0);
}

#[test]
fn the_clock_tells_how_old_a_picture_is_to_every_viewer() {
    let mut streamer = Streamer::start(&[("demo", &both())]);
    streamer.stream("demo", StreamState::Live);
    for _ in 0..2 {
        let (_, peer) = streamer.play("demo");
        let packets = peer.receive(30, 0);
        let last = packets.iter().rfind(|packet| packet.video).unwrap();
        let clock = streamer.media.clock();
        let ticks = clock.rtp.wrapping_sub(last.timestamp);
        let age = f64::from(ticks) / f64::from(clock.rate);
        assert!(age < 2.0, "{age} s");
        let wall = UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        assert!(wall.abs_diff(clock.wall) < 2_000);
    }
    streamer.stop();
}

#[test]
fn a_wrong_fingerprint_gets_no_media() {
    let mut streamer = Streamer::start(&[("demo", &both())]);
    let peer = Peer::new();
    let (before, rest) = peer.offer.split_once("a=fingerprint:sha-256 ").unwrap();
    let real = &rest[..95];
    let digit = if real.starts_with('0') { "1" } else { "0" };
    let false_one = format!("{digit}{}", &real[1..]);
    let offer = format!("{before}a=fingerprint:sha-256 {rest}").replace(real, &false_one);
    let (id, answer) = streamer.open("demo", offer.as_bytes());
    peer.take(&answer.unwrap());
    assert_eq!(
        streamer.gone(id),
        "the certificate is not the one the offer named"
    );
    assert_eq!(peer.received(), 0);
}

#[test]
fn a_viewer_that_vanishes_is_gone_within_ten_seconds() {
    let mut streamer = Streamer::start(&[("demo", &both())]);
    let (id, peer) = streamer.play("demo");
    peer.receive(5, 5);
    let left = Instant::now();
    // webrtcbin says nothing when it is stopped: like a killed browser.
    drop(peer);
    assert_eq!(streamer.gone(id), "nothing has been heard from the viewer");
    assert!(left.elapsed().as_secs() < 10, "{:?}", left.elapsed());
}

#[test]
fn a_viewer_that_is_ended_learns_it_from_the_connection_itself() {
    let mut streamer = Streamer::start(&[("demo", &both())]);
    let (id, peer) = streamer.play("demo");
    peer.receive(5, 5);
    let ended = Instant::now();
    streamer.media.close(id, "enough");
    peer.wait_closed();
    assert!(ended.elapsed().as_secs() < 5, "{:?}", ended.elapsed());
}

#[test]
fn a_listener_whose_report_got_lost_stays() {
    let mut streamer = Streamer::start(&[("radio", SOUND)]);
    let (id, peer) = streamer.play("radio");
    peer.lose_one_of(5);
    // Its first reports, then more than nine seconds without any.
    peer.receive(0, 40 * 8);
    peer.mute();
    peer.receive(0, 40 * 11);
    assert!(!streamer.has_gone(id));
}

#[test]
fn a_missing_camera_is_listed_with_its_error() {
    let camera = "v4l2src device=/dev/video99 ! videoconvert ! vp8enc ! tee name=video";
    let mut streamer = Streamer::start(&[("camera", camera)]);
    let info = streamer.stream("camera", StreamState::Failed);
    let error = info.error.unwrap();
    assert!(error.contains("video99") && !error.contains('/'), "{error}");
    let peer = Peer::new();
    let (_, answer) = streamer.open("camera", peer.offer.as_bytes());
    assert!(matches!(answer, Err(Refusal::NotRunning(_))), "{answer:?}");
}

#[test]
fn mistakes_in_a_description_are_told_with_file_and_line() {
    let mut streamer = Streamer::start(&[
        ("element", "videotestsrc\n ! vp8encoder\n ! tee name=video"),
        (
            "property",
            "videotestsrc\n ! vp8enc sped=1 ! tee name=video",
        ),
        ("raw", "videotestsrc is-live=true ! tee name=video"),
        (
            "vp9",
            "videotestsrc is-live=true ! video/x-raw,format=Y444 ! vp9enc ! tee name=video",
        ),
        (
            "high",
            "videotestsrc is-live=true ! x264enc ! video/x-h264,profile=high ! tee name=video",
        ),
        (
            "surround",
            "audiotestsrc is-live=true ! audio/x-raw,channels=6,channel-mask=(bitmask)0x3f \
             ! opusenc ! tee name=audio",
        ),
        (
            "nofile",
            "filesrc location=/tmp/no/such.webm ! decodebin ! vp8enc ! tee name=video",
        ),
        (
            "swapped",
            "audiotestsrc is-live=true ! opusenc ! tee name=video",
        ),
    ]);
    for (name, expected) in [
        ("element", "element.launch:2:4: no element \"vp8encoder\""),
        ("property", "property.launch:2:11: "),
        ("raw", "raw media"),
        ("vp9", "I420"),
        ("high", "constrained-baseline"),
        ("surround", "channels=2"),
        ("nofile", "such.webm"),
        ("swapped", "carries audio/x-opus"),
    ] {
        let error = streamer.stream(name, StreamState::Failed).error.unwrap();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(!error.contains("/tmp"), "{name}: {error}");
    }
}

#[test]
fn media_is_offered_on_the_chosen_addresses_only() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("demo.launch"), both()).unwrap();
    let config = Config {
        pipelines: directory.path().to_owned(),
        media_addresses: vec!["127.0.0.1".parse().unwrap()],
        ..Config::default()
    };
    let mut streamer = Streamer::with(&config);
    let (_, answer) = streamer.open("demo", include_bytes!("offers/chromium.sdp"));
    let answer = answer.unwrap();
    let candidates: Vec<_> = answer
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .collect();
    assert!(!candidates.is_empty());
    for candidate in candidates {
        assert_eq!(candidate.split(' ').nth(4), Some("127.0.0.1"), "{answer}");
    }
}

#[test]
fn repair_of_lost_sound_is_agreed_on_where_it_is_offered() {
    let mut streamer = Streamer::start(&[("demo", &both())]);
    streamer.stream("demo", StreamState::Live);
    for (offer, payload) in [
        (&include_bytes!("offers/chromium.sdp")[..], 111),
        (&include_bytes!("offers/firefox.sdp")[..], 109),
    ] {
        let (id, answer) = streamer.open("demo", offer);
        let answer = answer.unwrap();
        let format = format!("a=fmtp:{payload} ");
        let mut lines = answer.lines();
        let parameters = lines.find_map(|line| line.strip_prefix(&format));
        // RFC 7587 section 7.1.
        let agreed = parameters.is_some_and(|p| p.split(';').any(|one| one == "useinbandfec=1"));
        assert!(agreed, "{answer}");
        streamer.media.close(id, "seen");
    }
}

#[test]
fn an_address_of_another_machine_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("demo.launch"), both()).unwrap();
    let config = Config {
        pipelines: directory.path().to_owned(),
        media_addresses: vec!["192.0.2.1".parse().unwrap()],
        ..Config::default()
    };
    let error = streamer_gst::media::start(&config).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("--media-address 192.0.2.1: "), "{text}");
}

/// Runs a pipeline without quotes to its end.
fn launch(pipeline: &str) {
    let made = std::process::Command::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
        .status();
    assert!(made.unwrap().success());
}

/// A film of one second, made on the spot.
fn film(streamer: &Streamer) -> String {
    let path = streamer.directory().join("film.webm");
    launch(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 \
         ! vp8enc ! webmmux ! filesink location={}",
        path.display()
    ));
    format!(
        "filesrc location={} ! decodebin ! videoconvert ! video/x-raw,format=I420 \
         ! vp8enc deadline=1 cpu-used=8 ! tee name=video allow-not-linked=true\n",
        path.display()
    )
}

#[test]
fn the_end_of_a_film_ends_its_calls_and_a_loop_goes_on_without_a_step_back() {
    let maker = Streamer::start(&[("unused", PICTURE)]);
    let film = film(&maker);
    let looped = format!("#: loop yes\n{film}");
    let mut streamer = Streamer::start(&[("once", &film), ("again", &looped)]);
    streamer.stream("once", StreamState::Live);
    streamer.stream("again", StreamState::Live);
    let (once, _peer) = streamer.play("once");
    let (again, peer) = streamer.play("again");
    assert_eq!(streamer.gone(once), "the stream has ended");
    streamer.stream("once", StreamState::Live);
    // Four times the film, on one connection. At most a round was there already; the rest comes no
    // faster than it was made.
    let begun = Instant::now();
    let packets = peer.receive(120, 0);
    assert!(begun.elapsed().as_millis() > 2800, "{:?}", begun.elapsed());
    for pair in packets.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
        // At 90 kHz: never back, never a jump of more than two seconds.
        assert!((0..180_000).contains(&step), "{step}");
    }
    assert!(!streamer.has_gone(again));
}

/// A film of two seconds with sound, in this container, and the description that plays it over
/// and over.
fn looped_film(maker: &Streamer, container: &str) -> String {
    let h264 = "x264enc tune=zerolatency ! video/x-h264,profile=constrained-baseline ! h264parse";
    let (video, mux) = match container {
        "webm" => ("vp8enc deadline=1 cpu-used=8", "webmmux"),
        "mp4" => (h264, "mp4mux"),
        "ts" => (h264, "mpegtsmux"),
        other => panic!("{other}"),
    };
    let path = maker.directory().join("film").with_extension(container);
    let path = path.display();
    launch(&format!(
        "videotestsrc num-buffers=60 pattern=ball \
         ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! {video} ! queue ! {mux} name=mux ! filesink location={path} \
         audiotestsrc num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2 \
         ! opusenc ! queue ! mux."
    ));
    format!(
        "#: loop yes\nfilesrc location={path} ! decodebin name=film\n\
         film. ! queue ! videoconvert ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=300\n\
         ! tee name=video allow-not-linked=true\n\
         film. ! queue ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 ! opusenc\n\
         ! tee name=audio allow-not-linked=true\n"
    )
}

#[test]
fn a_loop_has_no_seam_in_any_container() {
    let maker = Streamer::start(&[("unused", PICTURE)]);
    let containers = ["webm", "mp4", "ts"];
    let films = containers.map(|container| looped_film(&maker, container));
    let streams: Vec<_> = containers.into_iter().zip(&films).collect();
    let streams: Vec<_> = streams.iter().map(|(n, f)| (*n, f.as_str())).collect();
    let mut streamer = Streamer::start(&streams);
    for container in containers {
        streamer.stream(container, StreamState::Live);
        let (viewer, peer) = streamer.play(container);
        // Three rounds of two seconds.
        let packets = peer.receive(180, 300);
        for (video, clock, pause) in [(true, 90, 200), (false, 48, 200)] {
            let packets: Vec<_> = packets.iter().filter(|p| p.video == video).collect();
            for pair in packets.windows(2) {
                let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32 / clock;
                let wait = pair[1].at.duration_since(pair[0].at).as_millis();
                assert!((0..=pause).contains(&step), "{container}: {step} ms");
                assert!(wait <= 500, "{container}: nothing for {wait} ms");
            }
            let first = packets[0];
            let last = packets[packets.len() - 1];
            let played = last.timestamp.wrapping_sub(first.timestamp) as i32 / clock;
            let passed = last.at.duration_since(first.at).as_millis() as i32;
            // Loops do not make the clock run ahead or behind.
            assert!(
                (played - passed).abs() < 400,
                "{container}: {played} {passed}"
            );
        }
        assert!(!streamer.has_gone(viewer));
        streamer.media.close(viewer, "seen");
    }
}

/// Width and height of a JPEG, from its first SOF segment.
fn size_of_jpeg(jpeg: &[u8]) -> (u16, u16) {
    let mut at = 2;
    while at + 9 < jpeg.len() {
        let number = |i: usize| u16::from_be_bytes([jpeg[i], jpeg[i + 1]]);
        if jpeg[at + 1] == 0xc0 {
            return (number(at + 7), number(at + 5));
        }
        at += 2 + usize::from(number(at + 2));
    }
    panic!("no size in {} bytes", jpeg.len());
}

#[test]
fn a_wide_camera_is_not_squeezed() {
    let shipped = include_str!("../../pipelines/camera.launch");
    let (device, wide) = (
        "v4l2src device=${device:-/dev/video0}",
        "videotestsrc is-live=true ! video/x-raw,format=YUY2,width=1280,height=720,framerate=15/1",
    );
    assert!(shipped.contains(device));
    // A parameter that is not there any more has no help either.
    let shipped = shipped.replace("#: param device", "# device");
    let mut streamer = Streamer::start(&[("camera", &shipped.replace(device, wide))]);
    streamer.stream("camera", StreamState::Live);
    let jpeg = streamer.media.image("camera").blocking_recv().unwrap();
    assert_eq!(size_of_jpeg(&jpeg.unwrap()), (640, 360));
}

#[test]
fn stills_come_from_the_stream_or_from_a_file() {
    let big = PICTURE.replace("width=160,height=120", "width=1280,height=720");
    let mut streamer = Streamer::start(&[("demo", &big), ("sound", SOUND)]);
    assert_eq!(
        streamer.stream("demo", StreamState::Live).image,
        StreamImage::Own
    );
    assert_eq!(
        streamer.stream("sound", StreamState::Live).image,
        StreamImage::None
    );
    let jpeg = streamer
        .media
        .image("demo")
        .blocking_recv()
        .unwrap()
        .unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() <= 48 * 1024);
    assert_eq!(size_of_jpeg(&jpeg), (640, 360));
    let again = streamer
        .media
        .image("demo")
        .blocking_recv()
        .unwrap()
        .unwrap();
    assert_eq!(again, jpeg);
    let none = streamer.media.image("sound").blocking_recv().unwrap();
    assert!(matches!(none, Err(Refusal::NotRunning(_))));
    // The same picture as a file beside a description.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("still.jpg"), &jpeg).unwrap();
    let text = format!("#: image still.jpg\n{SOUND}");
    std::fs::write(directory.path().join("radio.launch"), text).unwrap();
    let radio = Streamer::with(&Config {
        pipelines: directory.path().to_owned(),
        ..Config::default()
    });
    let still = radio.media.image("radio").blocking_recv().unwrap().unwrap();
    assert_eq!(size_of_jpeg(&still), (640, 360));
}
