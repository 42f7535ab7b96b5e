//! Lines that are narrow, slow or lossy: everybody gets what theirs carries, and nobody else less.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::browser::{Kind, Page, Stats};
use crate::harness::line::{Condition, Line};
use crate::harness::page::{UNMUTE, watch};
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, in_time, measure, seconds};

/// A picture in three sizes that a busy machine can encode and browsers beside it decode.
const LADDER: &str = "\
    videotestsrc is-live=true pattern=smpte100 horizontal-speed=3
      ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! timeoverlay ! tee name=picture
    picture. ! queue ! vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=800000
      ! tee name=video allow-not-linked=true
    picture. ! queue ! videoscale ! video/x-raw,width=320,height=180
      ! vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=150000
      ! tee name=video_middle allow-not-linked=true
    picture. ! queue ! videoscale ! video/x-raw,width=160,height=90
      ! vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=60000
      ! tee name=video_low allow-not-linked=true
    audiotestsrc is-live=true volume=0.2 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2
      ! opusenc bitrate=32000 ! tee name=audio allow-not-linked=true";
const HIGH: (u64, u64) = (640, 360);
/// A picture in one size.
const SINGLE: &str = "\
    videotestsrc is-live=true pattern=smpte100 horizontal-speed=3
      ! video/x-raw,format=I420,width=320,height=180,framerate=30/1
      ! vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=500000
      ! tee name=video allow-not-linked=true
    audiotestsrc is-live=true volume=0.2 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2
      ! opusenc bitrate=32000 ! tee name=audio allow-not-linked=true";

/// A system with this stream, and the directory that its description is in.
fn alone_with(stream: &str, text: &str) -> (TempDir, System) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(stream).with_extension("launch");
    std::fs::write(file, text).unwrap();
    let system = Setup::new(&[stream])
        .pipelines(directory.path())
        .alone()
        .start();
    (directory, system)
}

/// What a browser gets per second.
#[derive(Debug)]
struct Pace {
    /// Frames decoded.
    frames: f64,
    /// Bits of picture and sound.
    bits: f64,
}

/// What a browser had got by then.
fn count(page: &Page<'_>) -> (Instant, Stats) {
    (Instant::now(), page.stats())
}

/// What a browser has got since.
fn pace_since(page: &Page<'_>, before: &(Instant, Stats)) -> Pace {
    let (then, before) = before;
    let (passed, now) = (then.elapsed().as_secs_f64(), page.stats());
    Pace {
        frames: (now.frames_decoded - before.frames_decoded) as f64 / passed,
        bits: (now.bytes - before.bytes) as f64 * 8.0 / passed,
    }
}

/// What a browser gets while so many frames come.
fn pace(page: &Page<'_>, frames: u64) -> Pace {
    let before = count(page);
    eventually("a time of frames", seconds(60), || {
        page.stats().frames_decoded > before.1.frames_decoded + frames
    });
    pace_since(page, &before)
}

/// The outputs of the stream `ladder` that are not encoded.
fn resting(system: &System) -> Vec<String> {
    let state = system.streamer.state();
    let resting = state.pointer("/streams/0/resting").expect("it is told");
    serde_json::from_value(resting.clone()).unwrap()
}

fn rest(system: &System, outputs: &[&str]) {
    let what = format!("{outputs:?} rest");
    eventually(&what, seconds(30), || resting(system) == outputs);
}

/// What each queue of the streamer's has used of the processor over some seconds, by its thread;
/// those of encoders' branches encode.
fn work(system: &System) -> HashMap<u32, Duration> {
    let used = || {
        system
            .streamer
            .cpu_times(|thread| thread.starts_with("queue"))
    };
    let (begin, before) = (Instant::now(), used());
    eventually("some seconds", seconds(10), || {
        begin.elapsed() >= seconds(3)
    });
    let since = |(thread, now): (u32, Duration)| Some((thread, now - *before.get(&thread)?));
    used().into_iter().filter_map(since).collect()
}

/// Narrows the line of one of two viewers, which has to get a lower rung, and returns what the other
/// one got meanwhile, as a share of what it got before.
#[track_caller]
fn narrowed(kind: Kind, line: &Line, narrow: &Page<'_>, neighbour: &Page<'_>) -> Pace {
    let frames = measure::times(60, 900);
    let usual = pace(neighbour, frames);
    eventually("the highest rung", seconds(90), || {
        [narrow, neighbour]
            .iter()
            .all(|page| page.stats().size == HIGH)
    });
    line.set(Condition {
        rate: Some(300_000),
        ..Condition::default()
    });
    let before = count(neighbour);
    let fell = eventually("a lower rung", seconds(5), || narrow.stats().size != HIGH);
    measure::note_time(
        &format!("{kind:?}, line of 300 kbit/s: on a lower rung"),
        fell,
        seconds(5),
    );
    // It plays on, with sound.
    narrow.shows_video(seconds(5));
    narrow.plays_sound(seconds(5));
    eventually("a time of frames", seconds(60), || {
        neighbour.stats().frames_decoded > before.1.frames_decoded + frames
    });
    let meanwhile = pace_since(neighbour, &before);
    line.set(Condition::default());
    eventually("the highest rung again", seconds(90), || {
        narrow.stats().size == HIGH
    });
    eprintln!("the neighbour: {usual:?}, then {meanwhile:?}");
    Pace {
        frames: meanwhile.frames / usual.frames,
        bits: meanwhile.bits / usual.bits,
    }
}

fn a_narrow_line_gets_a_lower_rung_and_its_neighbour_loses_nothing(kind: Kind) {
    let (_directory, system) = alone_with("ladder", LADDER);
    let line = Line::start(system.http(), 1);
    let browser = Browser::launch(kind);
    let neighbour = watch(&browser, &system, "ladder");
    neighbour.plays(seconds(20));
    let narrow = browser.open(&line.url("/watch/ladder"));
    narrow.plays(seconds(20));
    narrow.click(UNMUTE);
    narrow.plays_sound(seconds(20));
    eventually("the highest rung", seconds(20), || {
        narrow.stats().size == HIGH
    });
    // What it will need is not even encoded.
    rest(&system, &["video_middle", "video_low"]);

    // An encoder takes its time until it keeps to its rate.
    let old = measure::times(0, 600);
    eventually("the stream is old enough", seconds(60), || {
        neighbour.stats().frames_decoded > old
    });
    // A busy machine disturbs a neighbour now and then, but a narrow line would every time.
    let mut tries = (0..3).map(|_| narrowed(kind, &line, &narrow, &neighbour));
    let found = tries.find(|share| {
        // A second or two of an encoder's bits may be more or less than usual.
        let [few, many] = [5, 10].map(|times| 0.02 * measure::times(times, 1) as f64);
        (share.frames - 1.0).abs() < few && (share.bits - 1.0).abs() < many
    });
    let Some(share) = found else {
        panic!("the neighbour gets more or less than before, three times; all are shown above");
    };
    for (what, share) in [("frames", share.frames), ("bits", share.bits)] {
        measure::note(
            &format!("{kind:?}, its neighbour meanwhile: {what}"),
            &format!("{:.1} % of before", 100.0 * share),
        );
    }
    assert_eq!(narrow.complaints(), Vec::<String>::new());
    system.assert_quiet();
}

#[test]
fn a_narrow_line_gets_a_lower_rung_in_chromium() {
    a_narrow_line_gets_a_lower_rung_and_its_neighbour_loses_nothing(Kind::Chromium);
}

#[test]
fn a_narrow_line_gets_a_lower_rung_in_firefox() {
    a_narrow_line_gets_a_lower_rung_and_its_neighbour_loses_nothing(Kind::Firefox);
}

/// What a description asks of a line of 120 kbit/s, which carries its sound and a bit more, but never
/// its smallest picture, of that width.
fn where_no_picture_fits_the_sound_goes_on(what: &str, text: &str, width: u64) {
    let (_directory, system) = alone_with("ladder", text);
    let line = Line::start(system.http(), 1);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&line.url("/watch/ladder"));
    page.plays(seconds(20));
    page.click(UNMUTE);
    page.plays_sound(seconds(20));
    line.set(Condition {
        rate: Some(120_000),
        ..Condition::default()
    });
    // Down all the rungs, and what has piled up is through.
    eventually("the lowest rung", seconds(20), || {
        page.stats().size.0 == width
    });
    let settled = Instant::now();
    eventually("the line is found out", seconds(20), || {
        settled.elapsed() > seconds(10)
    });
    let before = count(&page);
    let listening = seconds(measure::times(10, 60));
    eventually("some time passes", listening * 2, || {
        before.0.elapsed() >= listening
    });
    let after = page.stats();
    let passed = before.0.elapsed().as_secs_f64();
    let made_up = (after.audio_concealed - before.1.audio_concealed) / passed;
    measure::note(
        &format!("a line of 120 kbit/s, {what}: sound made up"),
        &format!("{:.1} %", 100.0 * made_up),
    );
    assert!(made_up < 0.1, "{made_up} of the sound had to be made up");
    assert_eq!(after.connections, 1);
    // There is still a picture, now and then.
    assert!(after.frames_decoded > before.1.frames_decoded);
    system.assert_quiet();
}

#[test]
fn below_the_lowest_rung_the_sound_goes_on() {
    const LOWEST: &str = "target-bitrate=60000";
    assert!(LADDER.contains(LOWEST));
    let text = LADDER.replace(LOWEST, "target-bitrate=150000");
    where_no_picture_fits_the_sound_goes_on("lowest rung of 150 kbit/s", &text, 160);
}

#[test]
fn below_the_only_picture_the_sound_goes_on() {
    where_no_picture_fits_the_sound_goes_on("only picture of 500 kbit/s", SINGLE, 320);
}

#[test]
fn the_ladder_that_is_shipped_plays() {
    let system = System::alone(&["ladder"]);
    let rungs = &system.entry("ladder").unwrap()["rungs"];
    assert_eq!(*rungs, json!(["video", "video_360p", "video_180p"]));
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "ladder");
    page.plays(seconds(20));
    assert_eq!(page.stats().size, (1280, 720));
}

#[test]
fn of_the_ladder_only_what_is_watched_is_encoded() {
    let system = System::alone(&["ladder"]);
    // Nobody watches, and nothing rests so soon.
    let all = work(&system);
    assert_eq!(resting(&system), [""; 0]);
    // What encodes is what works most.
    let mut encoders: Vec<u32> = all.keys().copied().collect();
    encoders.sort_by_key(|thread| Reverse(all[thread]));
    encoders.truncate(3);
    let at_work = |work: &HashMap<u32, Duration>| -> Vec<u128> {
        let times = encoders.iter().map(|thread| work[thread].as_millis());
        // What is left is the way from a closed gate back.
        times.filter(|time| *time > 10).collect()
    };
    assert_eq!(at_work(&all).len(), 3, "{all:?}");
    rest(&system, &["video", "video_360p", "video_180p"]);
    let none = work(&system);
    let browser = Browser::launch(Kind::Chromium);
    let page = watch(&browser, &system, "ladder");
    page.plays(seconds(20));
    rest(&system, &["video_360p", "video_180p"]);
    let one = work(&system);
    assert_eq!(page.stats().size, (1280, 720));
    let (all, one, none) = (at_work(&all), at_work(&one), at_work(&none));
    measure::note(
        "the ladder's encoders in three seconds, ms",
        &format!("{all:?}; {one:?} with a viewer of the first rung; {none:?} without one"),
    );
    assert_eq!(none, [0; 0]);
    assert_eq!(one.len(), 1, "{one:?} of {all:?}");
    page.close();
    rest(&system, &["video", "video_360p", "video_180p"]);
    system.assert_quiet();
}

#[test]
fn losses_are_mended_by_sending_again() {
    let system = System::alone(&["test"]);
    let line = Line::start(system.http(), 2);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&line.url("/watch/test"));
    page.plays(seconds(20));
    page.click(UNMUTE);
    // Of a few seconds a frame more or less at their end is a large share.
    let unseen = measure::times(2, 1) as f64;
    for (loss, unseen, longest) in [
        (0, 0.05 * unseen, seconds(1)),
        (2, 0.05 * unseen, seconds(1)),
        (5, 0.05 * unseen, seconds(1)),
        (10, 0.1 * unseen, seconds(2)),
    ] {
        line.set(Condition {
            delay: Duration::from_millis(50),
            loss,
            rate: None,
        });
        page.watch_frames();
        let before = count(&page);
        // What is mended comes late, and several frames at once, of which one is shown.
        eventually("a time of frames", seconds(60), || {
            page.stats().frames_decoded > before.1.frames_decoded + measure::times(120, 900)
        });
        let pace = pace_since(&page, &before);
        let (_, gap) = page.frame_gaps();
        let made_up = page.stats().audio_concealed - before.1.audio_concealed;
        let share = pace.frames / 30.0;
        measure::note(
            &format!("50 ms and {loss} % loss"),
            &format!(
                "{:.1} % of the frames decoded, longest freeze {} ms, {:.1} % of the sound made up",
                100.0 * share,
                gap.as_millis(),
                100.0 * made_up / before.0.elapsed().as_secs_f64()
            ),
        );
        assert!(share > 1.0 - unseen, "{share} of the frames at {loss} %");
        assert!(gap < longest, "{gap:?} at {loss} %");
        page.plays_sound(seconds(5));
    }
}

/// Sound that comes and goes as speech does: opusenc repeats nothing of a steady tone.
const TALK: &str =
    "wave=ticks freq=300 volume=0.5 tick-interval=300000000 sine-periods-per-tick=40";

#[test]
fn lost_sound_is_mended_from_the_packet_that_follows() {
    let shipped = include_str!("../../pipelines/test.launch");
    let tone = "wave=sine freq=440 volume=0.2";
    assert!(shipped.contains(tone));
    let talk = shipped.replace(tone, TALK);
    let (_directory, system) = alone_with("talk", &talk);
    let line = Line::start(system.http(), 3);
    let browser = Browser::launch(Kind::Chromium);
    let page = browser.open(&line.url("/watch/talk"));
    page.plays(seconds(20));
    page.click(UNMUTE);
    page.plays_sound(seconds(20));
    line.set(Condition {
        delay: Duration::from_millis(50),
        loss: 10,
        rate: None,
    });
    let before = page.stats();
    eventually("a time of packets", seconds(60), || {
        page.stats().audio_packets > before.audio_packets + 750
    });
    let now = page.stats();
    let lost = now.audio_lost - before.audio_lost;
    let concealed = now.audio_concealed - before.audio_concealed;
    let repeated = now.audio_repeated - before.audio_repeated;
    measure::note(
        "10 % loss in Chromium: sound that had to be made up",
        &format!("{concealed:.2} s for {lost} packets of 20 ms; {repeated} came with copies"),
    );
    assert!(lost > 30, "{lost} packets were lost");
    assert!(repeated > 150, "{repeated} packets came with copies");
    // Without copies it is some 80 % of it.
    assert!(
        concealed < lost as f64 * 0.02 * 0.65,
        "{concealed} s for {lost} packets"
    );
}

fn a_line_that_was_dead_shows_the_picture_again_at_once(kind: Kind) {
    let system = System::alone(&["test"]);
    let line = Line::start(system.http(), 3);
    let browser = Browser::launch(kind);
    let page = browser.open(&line.url("/watch/test"));
    page.plays(seconds(20));
    in_time(
        &format!("{kind:?}, a line that was dead for 2 s: picture again"),
        Duration::from_millis(500),
        || {
            page.watch_frames();
            eventually("a time of frames", seconds(20), || page.frame_gaps().0 > 30);
            line.set(Condition {
                loss: 100,
                ..Condition::default()
            });
            eventually("the picture stands still", seconds(20), || {
                page.frame_gaps().1 > seconds(2)
            });
            line.set(Condition::default());
            page.watch_frames();
            // The first may have been on its way.
            eventually("the picture moves", seconds(20), || page.frame_gaps().0 > 1)
        },
    );
    assert_eq!(page.stats().connections, 1);
    system.assert_quiet();
}

#[test]
fn a_line_that_was_dead_shows_the_picture_again_at_once_in_chromium() {
    a_line_that_was_dead_shows_the_picture_again_at_once(Kind::Chromium);
}

#[test]
fn a_line_that_was_dead_shows_the_picture_again_at_once_in_firefox() {
    a_line_that_was_dead_shows_the_picture_again_at_once(Kind::Firefox);
}
