//! What a saved change costs those who watch, beside restarting the streamer for it, which is what
//! one had to do otherwise: `./dev bench swap`. Both are measured in the same run, by the browsers
//! themselves.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "the harness serves the system tests, too; a step that fails ends the bench"
)]

#[path = "../tests/system/harness/mod.rs"]
mod harness;

use std::time::Duration;

use harness::browser::{Kind, Page};
use harness::page::{UNMUTE, watch};
use harness::saved::{STREAM, VP8, description, percentile, save, shown_in_width, start};
use harness::{Browser, measure, seconds, wait_for};

/// Saves that are measured.
const SAVES: u64 = 20;
/// Restarts that are measured.
const RESTARTS: u64 = 5;

fn main() {
    let (directory, mut system) = start(&description(640, VP8));
    let chromium = Browser::launch(Kind::Chromium);
    let firefox = Browser::launch(Kind::Firefox);
    let pages = [
        (Kind::Chromium, watch(&chromium, &system, STREAM)),
        (Kind::Firefox, watch(&firefox, &system, STREAM)),
    ];
    for (_, page) in &pages {
        page.plays(seconds(20));
        page.click(UNMUTE);
        page.plays_sound(seconds(20));
    }

    let mut swapped = pages.each_ref().map(|_| Times::default());
    let concealed = |page: &Page<'_>| page.stats().audio_concealed;
    for number in 0..SAVES {
        let width = if number % 2 == 0 { 480 } else { 640 };
        let before = pages.each_ref().map(|(_, page)| {
            page.watch_frames();
            concealed(page)
        });
        let saved = save(directory.path(), &description(width, VP8));
        for (((_, page), times), before) in pages.iter().zip(&mut swapped).zip(before) {
            times.seen.push(shown_in_width(page, width, saved));
            // What comes after the change counts as well.
            wait_for("half a second of frames", seconds(20), || {
                (page.frame_gaps().0 > 15).then_some(())
            });
            times.frozen.push(page.frame_gaps().1);
            let silent = (concealed(page) - before).max(0.0);
            times.silent.push(Duration::from_secs_f64(silent));
        }
    }

    let mut restarted = pages.each_ref().map(|_| Times::default());
    for number in 0..RESTARTS {
        let width = if number % 2 == 0 { 480 } else { 640 };
        for (_, page) in &pages {
            page.watch_frames();
        }
        let saved = save(directory.path(), &description(width, VP8));
        system.streamer.terminate();
        system.streamer.restart();
        for ((_, page), times) in pages.iter().zip(&mut restarted) {
            times.seen.push(shown_in_width(page, width, saved));
        }
    }

    for (((kind, _), swapped), restarted) in pages.iter().zip(&mut swapped).zip(&mut restarted) {
        let (swap, restart) = (swapped.median_seen(), restarted.median_seen());
        let ratio = restart.as_secs_f64() / swap.as_secs_f64();
        let tell = |what: &str, figure: String| {
            println!("{kind:?}: {what}: {figure}");
            measure::note(&format!("{kind:?}: {what}"), &figure);
        };
        tell("saved change, first new frame", swapped.told());
        tell("restart and reconnect, first new frame", restarted.told());
        tell("restart against saved change", format!("{ratio:.1} times"));
        let frozen = percentile(&mut swapped.frozen, 100).as_millis();
        tell("longest freeze at a saved change", format!("{frozen} ms"));
        let silent = percentile(&mut swapped.silent, 100).as_millis();
        tell(
            "most sound made up at a saved change",
            format!("{silent} ms"),
        );
    }
}

/// What one browser saw.
#[derive(Default)]
struct Times {
    seen: Vec<Duration>,
    frozen: Vec<Duration>,
    silent: Vec<Duration>,
}

impl Times {
    fn median_seen(&mut self) -> Duration {
        percentile(&mut self.seen, 50)
    }

    fn told(&mut self) -> String {
        let at = [50, 95, 100].map(|percent| percentile(&mut self.seen, percent).as_millis());
        format!("p50 {} ms, p95 {} ms, slowest {} ms", at[0], at[1], at[2])
    }
}
