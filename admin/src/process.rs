//! What the kernel knows about this process.

use std::fs;

use serde_json::{Value, json};

use crate::{Kind, Metric};

/// `{"fds", "threads", "rss_bytes"}` read from `/proc/self` (proc(5)); a number that cannot be
/// read is null, so that nobody mistakes it for zero.
pub(crate) fn usage() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    json!({
        "fds": descriptors(),
        "threads": field(&status, "Threads:"),
        "rss_bytes": field(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024),
    })
}

/// What these numbers are, at their place in the state.
pub(crate) fn describe(path: &str) -> Option<Metric> {
    let help = match path {
        "process/fds" => "Open file descriptors.",
        "process/threads" => "Threads.",
        "process/rss_bytes" => "Resident memory in bytes.",
        _ => return None,
    };
    let kind = Kind::Gauge;
    Some(Metric { help, kind })
}

/// Open descriptors, without the one that reading the directory needs itself.
fn descriptors() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

/// First number after `name` in the text of `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn reads_threads_and_memory() {
        let status = "Name:\tfront\nVmRSS:\t    2048 kB\nThreads:\t9\n";
        assert_eq!(field(status, "Threads:"), Some(9));
        assert_eq!(field(status, "VmRSS:"), Some(2048));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn counts_an_opened_descriptor() {
        // Other tests of this process open and close descriptors meanwhile: hold many.
        let before = usage()["fds"].as_u64().unwrap();
        let held: Vec<_> = (0..200)
            .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        let during = usage()["fds"].as_u64().unwrap();
        assert!(
            during >= before + 150,
            "{before} then {during} with {} more",
            held.len()
        );
        assert!(usage()["rss_bytes"].as_u64().unwrap() > 4096);
        assert!(usage()["threads"].as_u64().unwrap() >= 1);
    }
}
