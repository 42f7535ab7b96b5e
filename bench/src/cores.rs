//! Which cores are the server's and which the client's: half of them each, so that neither takes
//! the other's time. On one core they share it.

use std::thread;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Result;

/// A side of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The programs under test.
    Server,
    /// Sender, viewers and what measures.
    Client,
}

/// The two sets of cores.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    server: CpuSet,
    client: CpuSet,
}

impl Cores {
    /// Divides those that this process may run on.
    pub fn divide() -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let allowed = (0..CpuSet::count()).filter(|&core| all.is_set(core).unwrap_or(false));
        let allowed: Vec<_> = allowed.collect();
        let half = allowed.len() / 2;
        if half == 0 {
            return Ok(Self {
                server: all,
                client: all,
            });
        }
        let set = |cores: &[usize]| -> Result<CpuSet> {
            let mut set = CpuSet::new();
            for &core in cores {
                set.set(core)?;
            }
            Ok(set)
        };
        Ok(Self {
            server: set(&allowed[..half])?,
            client: set(&allowed[half..])?,
        })
    }

    /// Runs `action` on a thread of that side: processes and threads it starts stay there.
    pub fn on<T: Send>(&self, side: Side, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let cores = match side {
            Side::Server => self.server,
            Side::Client => self.client,
        };
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let done = sched_setaffinity(Pid::from_raw(0), &cores).map_err(Into::into);
                // Errors cannot cross threads, their texts can.
                done.and_then(|()| action())
                    .map_err(|error| error.to_string())
            });
            thread
                .join()
                .map_err(|_| "a thread panicked")?
                .map_err(Into::into)
        })
    }
}
