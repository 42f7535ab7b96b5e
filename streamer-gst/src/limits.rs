//! What the system allows. A process that runs out of descriptors is aborted by GLib, so viewers
//! are counted before.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors a viewer may need while it connects.
const PER_VIEWER: u64 = 32;
/// Viewers that are being ended, beyond those who watch: a page that is loaded again offers
/// before its former connection is gone.
pub(crate) const DEPARTING: usize = 8;
/// Descriptors everything else may need: sources, sockets, plug-ins.
const RESERVED: u64 = 128 + DEPARTING as u64 * PER_VIEWER;

/// Raises the soft limit of descriptors as far as the system lets us, and returns how many
/// viewers fit, at most `wanted` and at least one.
pub fn viewers(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = needed(wanted);
    let mut soft = limit.current.unwrap_or(u64::MAX);
    if soft < needed {
        let raised = needed.min(limit.maximum.unwrap_or(u64::MAX));
        let changed = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(raised),
                maximum: limit.maximum,
            },
        );
        if changed.is_ok() {
            soft = raised;
        }
    }
    let viewers = fitting(soft, wanted);
    if viewers < wanted {
        tracing::warn!("the limit of {soft} open files leaves room for {viewers} viewers at most");
    }
    viewers
}

/// What the limit of descriptors is enough for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The limit, as far as it can be raised.
    pub descriptors: u64,
    /// Viewers that are wanted.
    pub wanted: usize,
    /// Viewers that fit.
    pub viewers: usize,
    /// The limit that would do.
    pub needed: u64,
}

/// How many of `wanted` viewers would fit; nothing is changed.
pub fn room(wanted: usize) -> Room {
    let limit = getrlimit(Resource::Nofile);
    let descriptors = limit.maximum.unwrap_or(u64::MAX);
    Room {
        descriptors,
        wanted,
        viewers: fitting(descriptors, wanted),
        needed: needed(wanted),
    }
}

fn needed(wanted: usize) -> u64 {
    RESERVED + PER_VIEWER.saturating_mul(wanted as u64)
}

fn fitting(descriptors: u64, wanted: usize) -> usize {
    let fitting = descriptors.saturating_sub(RESERVED) / PER_VIEWER;
    wanted
        .min(usize::try_from(fitting).unwrap_or(usize::MAX))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_bound_the_viewers() {
        assert_eq!(fitting(1024, 100), 20);
        assert_eq!(fitting(1 << 20, 100), 100);
        assert_eq!(fitting(64, 100), 1);
    }
}
