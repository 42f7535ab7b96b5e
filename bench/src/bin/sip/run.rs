//! The measurements, each with a fresh relay and a fresh sipp.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench::cores::{Cores, Side};
use bench::protocol::Spread;
use bench::{Result, machine};
use serde::Serialize;

use crate::probe;
use crate::server::{Server, Subject};
use crate::sipp::{Calls, Offer, Sipp};

/// The first rate that is tried, and how near the greatest that holds is come.
const FIRST: u32 = 1000;
pub const GRAIN: u32 = 250;
/// Seconds of calls at each of them.
const STEP: u32 = 3;
/// A rate that fails may have met something else on this machine.
const TRIES: usize = 2;
/// What of a rate must be reached.
const REACHED: f64 = 0.95;
/// Seconds of calls whose cost is measured.
const WINDOW: u32 = 6;
/// Calls per second while memory is watched: each leaves transactions for 32 s, and our relay has
/// room for 100,000.
const STEADY: u32 = 800;
/// Calls before memory counts as idle: with a ladder that is full.
const FILL: u32 = 2000;
/// After the last call: RFC 3261 remembers it for 32 s.
const REST: Duration = Duration::from_secs(40);
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(250);

/// What stays the same in all measurements.
#[derive(Debug)]
pub struct Setting {
    /// Who runs where.
    pub cores: Cores,
    /// Our programs.
    pub programs: PathBuf,
    /// For the files of the measurements.
    pub directory: PathBuf,
}

/// A rate that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Calls per second.
    pub offered: u32,
    /// What became of them.
    #[serde(flatten)]
    pub calls: Calls,
    /// Cores that the relay kept busy.
    pub busy: f64,
    /// Cores that sipp kept busy.
    pub sipp_busy: f64,
}

impl Step {
    /// Whether all went well.
    fn holds(&self) -> bool {
        let Calls {
            failed,
            again,
            rate,
            ..
        } = self.calls;
        failed == 0 && again == 0 && rate >= REACHED * f64::from(self.offered)
    }
}

/// The greatest rate without a failure.
#[derive(Debug, Serialize)]
pub struct Capacity {
    /// Of which relay.
    pub subject: Subject,
    /// With which offer.
    pub offer: Offer,
    /// Calls per second.
    pub rate: u32,
    /// All that were tried, in order.
    pub steps: Vec<Step>,
}

/// What calls cost at a rate.
#[derive(Debug, Serialize)]
pub struct Cost {
    /// Of which relay.
    pub subject: Subject,
    /// With which offer.
    pub offer: Offer,
    /// Calls per second.
    pub rate: u32,
    /// Calls in all, and those of them that failed or needed retransmissions.
    pub calls: u32,
    /// See there.
    pub failed: u32,
    /// CPU microseconds of the relay for one call.
    pub cpu: f64,
    /// INVITE → 202 in milliseconds.
    pub setup: Spread,
    /// Cores that programs besides the bench kept busy.
    pub others: f64,
}

/// Memory around many calls, in megabytes (10^6).
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Of which relay.
    pub subject: Subject,
    /// How many calls, and those of them that failed.
    pub calls: u32,
    /// See there.
    pub failed: u32,
    /// Before, after some calls and a rest.
    pub idle: f64,
    /// The most while they passed.
    pub peak: f64,
    /// After a rest.
    pub after: f64,
}

/// A relay with callers.
struct Place {
    server: Server,
    sipp: Sipp,
}

impl Setting {
    /// Finds the greatest rate at which no call fails and nothing is sent again.
    pub fn capacity(&self, subject: Subject, offer: Offer) -> Result<Capacity> {
        let mut steps = Vec::new();
        let (mut good, mut bad) = (0, None);
        let mut next = FIRST;
        while bad.is_none_or(|bad| bad - good > GRAIN) {
            match self.holds(subject, offer, next, &mut steps)? {
                true => good = next,
                false => bad = Some(next),
            }
            next = match bad {
                Some(bad) => good + (bad - good) / 2,
                None => good * 2,
            };
        }
        Ok(Capacity {
            subject,
            offer,
            rate: good,
            steps,
        })
    }

    fn holds(
        &self,
        subject: Subject,
        offer: Offer,
        rate: u32,
        steps: &mut Vec<Step>,
    ) -> Result<bool> {
        for _ in 0..TRIES {
            let step = self.with(subject, offer, "capacity", |place| {
                let (before, start) = (place.server.usage()?.cpu, Instant::now());
                let calls = place.sipp.call(rate, rate * STEP)?;
                let seconds = start.elapsed().as_secs_f64();
                let used = place.server.usage()?.cpu - before;
                Ok(Step {
                    offered: rate,
                    busy: used.as_secs_f64() / seconds,
                    sipp_busy: calls.cpu.as_secs_f64() / seconds,
                    calls,
                })
            })?;
            let holds = step.holds();
            steps.push(step);
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Measures what calls cost at this rate.
    pub fn cost(&self, subject: Subject, offer: Offer, rate: u32) -> Result<Cost> {
        self.with(subject, offer, "cost", |place| {
            let stop = AtomicBool::new(false);
            let (address, clocks) = (place.server.address, [machine::busy()?, machine::own()?]);
            let (before, start) = (place.server.usage()?.cpu, Instant::now());
            let (calls, seen) = thread::scope(|scope| {
                let probe = scope.spawn(|| {
                    let seen = probe::run(address, offer, &stop);
                    // Errors cannot cross threads, their texts can.
                    seen.map_err(|error| error.to_string())
                });
                let calls = place.sipp.call(rate, rate * WINDOW);
                stop.store(true, Ordering::Relaxed);
                let seen = probe.join().map_err(|_| "a thread panicked".to_owned());
                Result::Ok((calls?, seen.and_then(|seen| seen)?))
            })?;
            let used = place.server.usage()?.cpu - before;
            let seconds = start.elapsed().as_secs_f64();
            let [busy, own] = clocks;
            let others = (machine::busy()? - busy).as_secs_f64()
                - (machine::own()? - own + used + calls.cpu).as_secs_f64();
            let all = calls.placed + u32::try_from(seen.setups.len())? + seen.failed;
            Ok(Cost {
                subject,
                offer,
                rate,
                calls: all,
                failed: calls.failed + calls.again + seen.failed,
                cpu: used.as_secs_f64() * 1e6 / f64::from(all),
                setup: Spread::of(seen.setups),
                // Hundredths of a second do not add up to the nanosecond.
                others: (others / seconds).max(0.0),
            })
        })
    }

    /// Watches the memory of both relays at the same time, which it takes most of.
    pub fn memories(&self, calls: u32) -> Result<Vec<Memory>> {
        thread::scope(|scope| {
            let watch = |subject| {
                let watched = scope.spawn(move || {
                    let memory = self.memory(subject, calls);
                    memory.map_err(|error| error.to_string())
                });
                (subject, watched)
            };
            let all = Subject::RELAYS.map(watch).into_iter();
            let all = all.map(|(subject, watched)| {
                let memory = watched.join().map_err(|_| "a thread panicked".to_owned());
                let memory = memory.and_then(|memory| memory);
                Ok(memory.map_err(|error| format!("{subject:?}: {error}"))?)
            });
            all.collect()
        })
    }

    fn memory(&self, subject: Subject, calls: u32) -> Result<Memory> {
        self.with(subject, Offer::Browser, "memory", |place| {
            let Place { server, mut sipp } = place;
            let megabytes = || -> Result<f64> { Ok(server.usage()?.memory as f64 / 1e6) };
            let filled = sipp.call(STEADY, FILL)?;
            thread::sleep(REST);
            let idle = megabytes()?;
            let calling = &mut sipp;
            let (done, peak) = thread::scope(|scope| -> Result<_> {
                let calling = scope.spawn(move || {
                    let done = calling.call(STEADY, calls);
                    done.map_err(|error| error.to_string())
                });
                let mut peak = idle;
                while !calling.is_finished() {
                    thread::sleep(LOOK);
                    peak = peak.max(megabytes()?);
                }
                let done = calling.join().map_err(|_| "a thread panicked")?;
                Ok((done?, peak))
            })?;
            thread::sleep(REST);
            Ok(Memory {
                subject,
                calls,
                failed: done.failed + filled.failed,
                idle,
                peak,
                after: megabytes()?,
            })
        })
    }

    /// Runs a measurement with a fresh relay on its cores, and everything else on the others.
    fn with<T: Send>(
        &self,
        subject: Subject,
        offer: Offer,
        what: &str,
        measure: impl FnOnce(Place) -> Result<T> + Send,
    ) -> Result<T> {
        let name = format!("{what}-{subject:?}-{offer:?}").to_lowercase();
        let directory = self.directory.join(name);
        // What an earlier run left says nothing about this one.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let start = || Server::start(subject, &self.programs, &directory);
        let server = self.cores.on(Side::Server, start)?;
        self.cores.on(Side::Client, || {
            let sipp = Sipp::start(server.address, offer, &directory)?;
            measure(Place { server, sipp })
        })
    }
}
