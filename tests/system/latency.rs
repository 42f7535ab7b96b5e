//! How old the picture is on the screen, read off the picture itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::descriptions::shipped;
use crate::harness::browser::{Kind, Page, Reading};
use crate::harness::clock::{PaintedClock, free_port};
use crate::harness::helper::Helper;
use crate::harness::page::{self, watch};
use crate::harness::system::Setup;
use crate::harness::{Browser, System, eventually, in_time, measure, seconds};

/// The stream's name.
const STREAM: &str = "clock";
/// From capture to screen: half of the frames are younger.
const YOUNG: Duration = Duration::from_millis(100);
/// So much later than others may be who joined at a bad moment.
const APART: Duration = Duration::from_millis(30);
/// So long after a join a browser has found its pace, in milliseconds, and until then it is looked
/// at.
const SETTLED: f64 = 2000.0;
const LOOKED_AT: f64 = 3500.0;

/// A stream whose picture is a painted clock.
struct Stream {
    system: System,
    _helpers: (PaintedClock, Option<Helper>, TempDir),
}

fn stream(clock: PaintedClock, helper: Option<Helper>, description: &str) -> Stream {
    let directory = TempDir::new().unwrap();
    let file = Path::new(STREAM).with_extension("launch");
    fs::write(directory.path().join(file), description).unwrap();
    let setup = Setup::new(&[STREAM]).pipelines(directory.path());
    Stream {
        system: setup.alone().start(),
        _helpers: (clock, helper, directory),
    }
}

/// The test picture that is shipped, with the clock in the place of its bars.
fn test_picture() -> Stream {
    let clock = PaintedClock::start();
    let text = fs::read_to_string(shipped("test")).unwrap();
    let bars = "videotestsrc is-live=true pattern=${pattern:-smpte} horizontal-speed=3";
    assert!(text.contains(bars), "{text}");
    let text = text.replace(bars, &clock.source());
    let lines = text.lines().filter(|line| !line.contains("param pattern"));
    let text = lines.collect::<Vec<_>>().join("\n");
    stream(clock, None, &text)
}

/// A picture that somebody else encodes, with a keyframe after so many frames and none on request.
fn passed_on_picture(group: u64) -> Stream {
    let clock = PaintedClock::start();
    let port = free_port();
    let camera = format!(
        "{} ! video/x-raw,width=640,height=360 ! vp8enc deadline=1 cpu-used=8 end-usage=cbr \
         target-bitrate=1000000 keyframe-max-dist={group} ! rtpvp8pay \
         ! udpsink host=127.0.0.1 port={port}",
        clock.source()
    );
    let camera = Helper::start("gst-launch-1.0", &camera, &[]);
    let description = format!(
        "udpsrc address=127.0.0.1 port={port} \
         caps=application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96 \
         ! rtpvp8depay ! tee name=video allow-not-linked=true"
    );
    stream(clock, Some(camera), &description)
}

/// How old the frames were in the middle, of those that came to the screen when the join at this
/// time was over; nothing when the machine had no time for them.
#[track_caller]
fn age(page: &Page<'_>, joined: f64) -> Option<f64> {
    let (from, to) = (joined + SETTLED, joined + LOOKED_AT);
    let mut readings: Vec<Reading> = Vec::new();
    eventually("the clock is read", seconds(20), || {
        readings = page.clock_readings();
        readings.last().is_some_and(|last| last.shown >= to)
    });
    readings.retain(|reading| (from..to).contains(&reading.shown));
    let mut ages: Vec<i64> = readings.iter().filter_map(|r| r.latency).collect();
    assert!(
        ages.len() * 10 >= readings.len() * 9,
        "hardly any of these can be read: {readings:?}"
    );
    ages.sort_unstable();
    let middle = ages.get(ages.len() / 2).map(|age| *age as f64);
    middle.filter(|_| ages.len() >= 10)
}

fn milliseconds(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1000.0)
}

/// Waits for so many frames, and returns when the first came to the screen.
#[track_caller]
fn shows(page: &Page<'_>, frames: u64) -> f64 {
    let mut first = None;
    eventually("frames with a clock are shown", seconds(20), || {
        let readings = page.clock_readings();
        first = readings.first().map(|reading| reading.shown);
        readings.len() as u64 >= frames
    });
    first.unwrap()
}

#[test]
fn the_picture_is_young_on_the_screen() {
    let Stream { system, _helpers } = test_picture();
    let browser = Browser::launch(Kind::Chromium);
    in_time(
        "Chromium, from capture to screen: half of the frames",
        measure::limit(YOUNG),
        || {
            let mut tries = (0..3).filter_map(|_| {
                let page = watch(&browser, &system, STREAM);
                page.watch_clock();
                let age = age(&page, shows(&page, 1));
                page.close();
                age.map(milliseconds)
            });
            tries.next().expect("frames")
        },
    );
    system.assert_quiet();
}

/// A page that will join at a click.
#[track_caller]
fn before_joining<'a>(browser: &'a Browser, system: &System) -> Page<'a> {
    let page = browser.open(&system.url("/"));
    page.says(page::LIST, STREAM, seconds(10));
    page.watch_clock();
    page
}

/// How much later `late` sees the picture, which joins so many frames after a keyframe, than
/// `early`, which has joined at that keyframe; nothing when another keyframe came between, or the
/// machine had no time.
#[track_caller]
fn lag(what: &str, early: &Page<'_>, late: &Page<'_>, frames: u64) -> Option<Duration> {
    shows(early, frames);
    let keyframes = early.stats().keyframes_decoded;
    late.click(&page::card(STREAM));
    shows(late, 1);
    if early.stats().keyframes_decoded > keyframes {
        // It must not be that of the next try.
        shows(late, 45);
        return None;
    }
    let joined = shows(late, 1);
    let (early, late) = (age(early, joined)?, age(late, joined)?);
    measure::note(
        &format!("{what}: picture of the early, and of the late one"),
        &format!("{early} ms, {late} ms old"),
    );
    Some(milliseconds(late - early))
}

fn who_joins_in_the_middle_of_a_group_is_not_late(kind: Kind) {
    let Stream { system, _helpers } = test_picture();
    let (first, second) = (Browser::launch(kind), Browser::launch(kind));
    let what = format!("{kind:?}, joined between keyframes: later than who joined at one");
    in_time(&what, measure::limit(APART), || {
        // The encoder makes a keyframe for who joins, and who joins within a second gets that one.
        let mut tries = (0..10).filter_map(|_| {
            let late = before_joining(&second, &system);
            let early = watch(&first, &system, STREAM);
            early.watch_clock();
            let lag = lag(&what, &early, &late, 6);
            early.close();
            late.close();
            lag
        });
        tries.next().expect("a join within a second after another")
    });
    system.assert_quiet();
}

#[test]
fn who_joins_in_the_middle_of_a_group_is_not_late_in_chromium() {
    who_joins_in_the_middle_of_a_group_is_not_late(Kind::Chromium);
}

#[test]
fn who_joins_in_the_middle_of_a_group_is_not_late_in_firefox() {
    who_joins_in_the_middle_of_a_group_is_not_late(Kind::Firefox);
}

fn who_joins_seconds_after_a_keyframe_is_not_late(kind: Kind) {
    let (group, frames) = (measure::times(150, 240), measure::times(75, 180));
    let Stream { system, _helpers } = passed_on_picture(group);
    let (first, second) = (Browser::launch(kind), Browser::launch(kind));
    let early = watch(&first, &system, STREAM);
    early.plays(seconds(20));
    let what = format!("{kind:?}, joined {frames} frames after a keyframe: later than others");
    in_time(&what, measure::limit(APART), || {
        let mut tries = (0..3).filter_map(|_| {
            let late = before_joining(&second, &system);
            let keyframes = early.stats().keyframes_decoded;
            eventually("a keyframe comes", seconds(20), || {
                early.stats().keyframes_decoded > keyframes
            });
            early.click(page::STOP);
            early.click(page::PLAY);
            early.watch_clock();
            let lag = lag(&what, &early, &late, frames);
            late.close();
            lag
        });
        tries.next().expect("a join long before the next keyframe")
    });
    system.assert_quiet();
}

#[test]
fn who_joins_seconds_after_a_keyframe_is_not_late_in_chromium() {
    who_joins_seconds_after_a_keyframe_is_not_late(Kind::Chromium);
}

#[test]
fn who_joins_seconds_after_a_keyframe_is_not_late_in_firefox() {
    who_joins_seconds_after_a_keyframe_is_not_late(Kind::Firefox);
}
