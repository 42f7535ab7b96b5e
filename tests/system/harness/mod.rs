//! What the system tests share: the three programs as processes of their own, as an operator
//! would run them, and ways to wait for what they do.
//!
//! Nothing in here waits for time to pass: every wait is for an event, with a limit.

pub mod browser;
pub mod clock;
pub mod garbage;
pub mod helper;
pub mod hop;
pub mod http;
pub mod line;
pub mod machine;
pub mod measure;
pub mod page;
pub mod process;
pub mod saved;
pub mod signaling;
pub mod system;
pub mod whep;

use std::time::{Duration, Instant};

pub use browser::Browser;
pub use system::System;

/// Pause between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);
/// For so long a busy machine may do nothing at all.
const HICCUP: Duration = Duration::from_secs(2);

/// Asks `look` until it finds something and returns that.
///
/// # Panics
///
/// When `limit` has passed without; the message names `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(LOOK); // allow-sleep: the one place that polls
    }
}

/// Waits until `holds`, at most `limit`; returns how long that took.
///
/// # Panics
///
/// When `limit` has passed without.
#[track_caller]
pub fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    wait_for(what, limit, || holds().then_some(()));
    start.elapsed()
}

/// Measures whether something is done within `limit`: once, or, when that was late, twice more,
/// and then both must be in time. A machine that is busy with other tests is late now and then, but
/// a program that is too slow is so again.
///
/// # Panics
///
/// When it was late twice, or took longer than three times the limit ([`HICCUP`] at least); the
/// message shows all measurements.
#[track_caller]
pub fn in_time(what: &str, limit: Duration, mut measure: impl FnMut() -> Duration) {
    let mut all = Vec::new();
    for tries in [1, 2] {
        let started = all.len();
        for _ in 0..tries {
            all.push(measure());
        }
        let slowest = all[started..].iter().max().copied().unwrap_or_default();
        if slowest <= limit {
            measure::note_time(what, slowest, limit);
            return;
        }
        assert!(
            slowest <= (limit * 3).max(HICCUP),
            "much later than {limit:?}: {what}: {all:?}"
        );
    }
    panic!("later than {limit:?} again: {what}: {all:?}");
}

/// How long threads that have nothing to do may stay: GLib keeps a few for 15 seconds.
pub const IDLE_THREADS: Duration = seconds(20);

/// `n` seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
