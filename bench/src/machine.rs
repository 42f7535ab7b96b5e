//! What the whole machine does: others' work makes a measurement worse, and must be told with it.

use std::fs;
use std::time::Duration;

use nix::time::ClockId;

use crate::Result;

/// CPU time of everything since the machine started, the hypervisor's share included.
pub fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal: in hundredths of a second.
    let fields = line.split_whitespace().skip(1).take(8);
    let fields = fields
        .map(str::parse)
        .collect::<std::result::Result<Vec<u64>, _>>()?;
    let busy: u64 = fields
        .iter()
        .enumerate()
        .filter(|(place, _)| ![3, 4].contains(place))
        .map(|(_, field)| field)
        .sum();
    Ok(Duration::from_millis(busy * 10))
}

/// CPU time of this process.
pub fn own() -> Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}
