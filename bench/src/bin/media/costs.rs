//! Where a program spends its CPU time, by perf.

use std::path::Path;
use std::process::{Command, Stdio};

use bench::Result;
use serde::Serialize;

/// How long it is watched, and how often a second its stack's top is noted.
const SECONDS: &str = "5";
const RATE: &str = "499";
/// How many of the greatest are kept.
const KEPT: usize = 10;

/// The greatest costs, the greatest first.
#[derive(Debug, Clone, Serialize)]
pub struct Costs {
    /// By program, library or kernel.
    pub objects: Vec<Cost>,
    /// By the names of threads, without their numbers.
    pub threads: Vec<Cost>,
    /// By function.
    pub functions: Vec<Cost>,
}

/// A cost.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// Percent of the whole.
    pub share: f64,
    /// What costs.
    pub what: String,
}

/// Looks at a running program. Without perf, or where the kernel refuses, the error says so.
pub fn of(process: u32, directory: &Path) -> Result<Costs> {
    let data = directory.join("perf.data");
    // A clock of the kernel: virtual machines often have no counters.
    let output = Command::new("perf")
        .args(["record", "--quiet", "--event", "cpu-clock", "--freq", RATE])
        .arg("--output")
        .arg(&data)
        .args(["--pid", &process.to_string(), "--", "sleep", SECONDS])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("perf: {error}"))?;
    if !output.status.success() {
        return Err(format!("perf: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Costs {
        objects: report(&data, "dso")?,
        threads: report(&data, "comm")?,
        functions: report(&data, "dso,symbol")?,
    })
}

fn report(data: &Path, by: &str) -> Result<Vec<Cost>> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--quiet", "--sort", by, "--input"])
        .arg(data)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut costs: Vec<Cost> = Vec::new();
    for cost in text.lines().filter_map(cost) {
        match costs.iter_mut().find(|each| each.what == cost.what) {
            Some(same) => same.share += cost.share,
            None => costs.push(cost),
        }
    }
    costs.sort_by(|one, other| other.share.total_cmp(&one.share));
    costs.truncate(KEPT);
    Ok(costs)
}

fn cost(line: &str) -> Option<Cost> {
    let (share, what) = line.trim().split_once('%')?;
    // perf fills up with dashes. Threads are named alike but for a number: appsrc12:src.
    let words = what.split_whitespace().filter(|&word| word != "-");
    let words: Vec<_> = words.map(without_number).collect();
    Some(Cost {
        share: share.parse().ok()?,
        what: words.join(" "),
    })
}

fn without_number(word: &str) -> String {
    match word.split_once(':') {
        Some((name, pad)) => format!(
            "{}:{pad}",
            name.trim_end_matches(|c: char| c.is_ascii_digit())
        ),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_report_is_a_share_and_a_name() {
        let cost = cost("    12.50%  [kernel.kallsyms]     [k] memcpy   -   -").unwrap();
        assert_eq!(cost.share, 12.5);
        assert_eq!(cost.what, "[kernel.kallsyms] [k] memcpy");
        let thread = super::cost("10.00%  appsrc12:src").unwrap();
        assert_eq!(thread.what, "appsrc:src");
        assert!(super::cost("# Overhead").is_none());
    }
}
