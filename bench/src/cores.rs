//! Which cores are the server's and which the client's, so that neither takes the other's time. On
//! one core they share it.

use std::fmt;
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
    /// One half of those that this process may run on for each.
    pub fn divide() -> Result<Self> {
        Self::with(|all| all / 2)
    }

    /// The first one for the server, the others for the client.
    pub fn one_for_the_server() -> Result<Self> {
        Self::with(|_| 1)
    }

    /// As many of all cores as this says for the server.
    fn with(share: impl Fn(usize) -> usize) -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let allowed = members(&all);
        if allowed.len() < 2 {
            return Ok(Self {
                server: all,
                client: all,
            });
        }
        let (server, client) = allowed.split_at(share(allowed.len()));
        let set = |cores: &[usize]| -> Result<CpuSet> {
            let mut set = CpuSet::new();
            for &core in cores {
                set.set(core)?;
            }
            Ok(set)
        };
        Ok(Self {
            server: set(server)?,
            client: set(client)?,
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

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [server, client] = [&self.server, &self.client].map(members);
        match server == client {
            true => write!(f, "server and client share core {server:?}"),
            false => write!(f, "server on core {server:?}, client on {client:?}"),
        }
    }
}

/// The numbers of the cores in a set.
fn members(set: &CpuSet) -> Vec<usize> {
    let all = 0..CpuSet::count();
    all.filter(|&core| set.is_set(core).unwrap_or(false))
        .collect()
}
