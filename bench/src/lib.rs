//! What the programs of the benches share: a WebRTC client, the programs it joins, the recording that
//! servers relay, what `media`, which runs a bench, and `viewers`, its client, tell each other, and
//! what there is to know of the machine.

pub mod card;
pub mod client;
pub mod cores;
pub mod machine;
pub mod process;
pub mod protocol;
pub mod recording;
pub mod rtp;
pub mod surroundings;
pub mod verdict;

use std::time::{SystemTime, UNIX_EPOCH};

/// Any error, for programs that can only tell it and end.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Nanoseconds of the machine's wall clock, by which the kernel stamps arriving packets, too.
pub fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
