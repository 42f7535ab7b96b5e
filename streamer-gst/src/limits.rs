//! How many viewers this machine is enough for. A process that runs out of descriptors or threads is
//! aborted by GLib, so viewers are counted before.

mod tasks;

use std::path::Path;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::gst::WebRtcEngine;

/// A signaling server keeps no more calls.
pub(crate) const MOST_VIEWERS: usize = 10_000;
/// Viewers that are being ended, beyond those who watch: a page that is loaded again offers
/// before its former connection is gone.
pub(crate) const DEPARTING: usize = 8;
/// Viewers for each core where nobody says how many. The limits of open files and threads alone
/// often leave room for ten times as many, and then nobody's picture moves. A refusal does less
/// harm.
const PER_CORE: usize = WebRtcEngine::NEEDS.per_core;
/// Beside those of viewers: sources, sockets, plug-ins.
const DESCRIPTORS: Need = Need {
    viewer: WebRtcEngine::NEEDS.descriptors,
    rest: 128,
};
const THREADS: Need = Need {
    viewer: WebRtcEngine::NEEDS.threads,
    rest: 128,
};
const MAPPINGS: Need = Need {
    viewer: WebRtcEngine::NEEDS.mappings,
    rest: 1024,
};

/// How much of something is needed.
#[derive(Clone, Copy, Debug)]
struct Need {
    viewer: u64,
    rest: u64,
}

impl Need {
    /// By so many viewers, and those that leave.
    fn of(self, viewers: usize) -> u64 {
        let viewers = viewers.saturating_add(DEPARTING) as u64;
        self.viewer
            .saturating_mul(viewers)
            .saturating_add(self.rest)
    }

    /// How many viewers so much is enough for: one at least.
    fn fitting(self, left: u64) -> usize {
        let for_viewers = left.saturating_sub(self.of(0)) / self.viewer;
        usize::try_from(for_viewers).unwrap_or(usize::MAX).max(1)
    }
}

/// What there is of something, and how many viewers it is enough for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What there are so many of.
    pub what: &'static str,
    /// The limit and where it is set, for people.
    pub limit: String,
    /// Viewers that fit, at most as many as are wanted.
    pub viewers: usize,
    /// How to raise it to what all wanted viewers need.
    pub cure: String,
}

/// How many viewers there is room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Viewers that are wanted: those of the flag, else as many as the cores are enough for.
    pub wanted: usize,
    /// All that limits them.
    pub bounds: Vec<Bound>,
}

impl Room {
    /// Viewers that there can be.
    pub fn viewers(&self) -> usize {
        let bounds = self.bounds.iter().map(|bound| bound.viewers);
        bounds.chain([self.wanted]).min().unwrap_or(self.wanted)
    }
}

/// Raises the soft limit of descriptors as far as it is needed and the system lets us, and returns
/// how many viewers there can be: as many as `wanted`, or else as the cores are enough for, unless
/// there is room for fewer.
pub fn viewers(wanted: Option<usize>) -> usize {
    let wanted = wanted.unwrap_or_else(default);
    let limit = getrlimit(Resource::Nofile);
    let needed = DESCRIPTORS.of(wanted);
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
    let room = of(wanted, soft);
    for bound in room.bounds.iter().filter(|bound| bound.viewers < wanted) {
        let Bound {
            what,
            limit,
            viewers,
            ..
        } = bound;
        tracing::warn!("{what}: {limit} leaves room for {viewers} viewers at most");
    }
    room.viewers()
}

/// How many viewers there would be room for; nothing is changed.
pub fn room(wanted: Option<usize>) -> Room {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    of(wanted.unwrap_or_else(default), descriptors)
}

/// Viewers where nobody says how many.
fn default() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_mul(PER_CORE).min(MOST_VIEWERS)
}

fn of(wanted: usize, descriptors: u64) -> Room {
    let bound = |what, limit, viewers: usize, cure| Bound {
        what,
        limit,
        viewers: viewers.min(wanted),
        cure,
    };
    let needed = DESCRIPTORS.of(wanted);
    let mut bounds = vec![bound(
        "open files",
        format!("the limit of {descriptors}"),
        DESCRIPTORS.fitting(descriptors),
        format!("ulimit -Hn {needed} as root, LimitNOFILE={needed} in a systemd unit"),
    )];
    let root = Path::new("/");
    let user = getrlimit(Resource::Nproc).current;
    if let Some(threads) = tasks::threads(root, user) {
        let missing = THREADS.of(wanted).saturating_sub(threads.left);
        let needed = threads.limit.saturating_add(missing);
        bounds.push(bound(
            "threads",
            threads.to_string(),
            THREADS.fitting(threads.left),
            threads.cure(needed),
        ));
    }
    if let Some(mappings) = tasks::mappings(root) {
        let needed = MAPPINGS.of(wanted);
        bounds.push(bound(
            "memory mappings",
            format!("vm.max_map_count={mappings}"),
            MAPPINGS.fitting(mappings),
            format!("sudo sysctl vm.max_map_count={needed}"),
        ));
    }
    Room { wanted, bounds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_gives_bounds_the_viewers() {
        assert_eq!(DESCRIPTORS.fitting(1024), 20);
        assert_eq!(DESCRIPTORS.fitting(64), 1);
        assert_eq!(THREADS.fitting(512), 30);
        for need in [DESCRIPTORS, THREADS, MAPPINGS] {
            for viewers in [1, 20, MOST_VIEWERS] {
                assert_eq!(need.fitting(need.of(viewers)), viewers);
                assert!(need.fitting(need.of(viewers) - 1) < viewers.max(2));
            }
        }
    }

    #[test]
    fn the_tightest_bound_counts_and_nobody_gets_more_than_they_want() {
        let room = of(100, 1024);
        assert_eq!((room.bounds[0].viewers, room.viewers()), (20, 20));
        let needed = DESCRIPTORS.of(100).to_string();
        assert!(room.bounds[0].cure.contains(&needed), "{room:?}");
        assert_eq!(of(5, 1 << 20).viewers(), 5);
    }

    #[test]
    fn without_a_wish_there_are_as_many_as_the_cores_are_enough_for() {
        let cores = thread::available_parallelism().unwrap().get();
        let room = room(None);
        assert_eq!(room.wanted, (cores * 50).min(MOST_VIEWERS));
        assert!((1..=room.wanted).contains(&room.viewers()));
    }
}
