//! Heaps that the threads of viewers share.
//!
//! Of each viewer some threads come and go, and glibc lets them use up to eight heaps per core
//! ([mallopt(3)](https://man7.org/linux/man-pages/man3/mallopt.3.html), `M_ARENA_MAX`). A hundred
//! viewers who were never there at the same time leave a bit in each of them: more than twice the
//! memory, growing for a thousand joins. One heap per core is as fast.

use std::env;
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

/// Read by glibc before `main`, hence another start.
const HEAPS: &str = "MALLOC_ARENA_MAX";
/// Where else people tell it how many (`glibc.malloc.arena_max`, ld.so(8)).
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Starts this program again, as the same process, with one heap per core; returns where that is
/// done, or somebody has chosen otherwise. To be called before anything else is done.
pub fn share() {
    let tunables = env::var(TUNABLES).unwrap_or_default();
    if env::var_os(HEAPS).is_some() || tunables.contains("glibc.malloc.arena_") {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    // It plays with more heaps, too: without the program's file, say, after an upgrade.
    let _ = again.args(arguments).env(HEAPS, cores.to_string()).exec();
}
