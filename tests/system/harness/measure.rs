//! Counts and figures: `./dev test` runs what finds a regression, `./dev soak` the full counts,
//! and what either measures can be kept.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

/// Set by `./dev soak`.
const SOAK: &str = "RUSTICAST_SOAK";
/// Where figures are noted, one `what | figure` a line; set by `./dev soak`.
const FIGURES: &str = "RUSTICAST_FIGURES";

/// What was promised of a machine that does nothing else, as a soak has it; `./dev test` may run
/// on a busier one.
pub fn limit(promised: Duration) -> Duration {
    promised * times(3, 1) as u32
}

/// `usual` times of something, or `full` in a soak.
pub fn times(usual: u64, full: u64) -> u64 {
    if env::var_os(SOAK).is_some() {
        full
    } else {
        usual
    }
}

/// Keeps a figure, if figures are kept.
pub fn note(what: &str, figure: &str) {
    let Some(path) = env::var_os(FIGURES) else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    // One write for one line: tests run side by side.
    let line = format!("{what} | {figure}\n");
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the file for figures can be written");
}

/// Keeps how long something took, beside what was promised.
pub fn note_time(what: &str, took: Duration, limit: Duration) {
    let took = Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX));
    note(what, &format!("{took:?} (at most {limit:?})"));
}
