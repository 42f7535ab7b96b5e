//! What is told of the measurements: tables with ratios, the promises with their verdicts, and
//! figures to keep. Others' work on the machine only ever makes a measurement worse, so of a relay's
//! rounds the best one counts; the ratio of each round is shown beside it.

use std::path::Path;

use bench::Result;
use bench::verdict::{self, Verdict};
use serde::Serialize;

use crate::run::{Capacity, Cost, GRAIN, Memory, Step};
use crate::server::Subject;
use crate::sipp::Offer;

/// CPU per call that ours may have of Kamailio's.
const MOST_CPU: f64 = 0.7;
/// Memory that ours may have after all those calls, of what it had before.
const MOST_MEMORY: f64 = 1.1;
/// Cores that others may use without a word.
const QUIET: f64 = 0.15;

/// All that was measured, in order.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// In each round for each offer, one for each relay.
    pub capacities: Vec<Capacity>,
    /// The same, and ours without the rest.
    pub costs: Vec<Cost>,
    /// One for each relay.
    pub memories: Vec<Memory>,
}

/// A row of a table: its name, its value, and how many decimals are worth showing.
type Row<T> = (&'static str, fn(&T) -> f64, usize);

const COSTS: &[Row<Cost>] = &[
    ("CPU per call, µs", |cost| cost.cpu, 0),
    ("setup, p50 ms", |cost| cost.setup.p50, 2),
    ("setup, p99 ms", |cost| cost.setup.p99, 2),
    ("calls", |cost| cost.calls.into(), 0),
    ("failed or sent again", |cost| cost.failed.into(), 0),
    ("cores busy with other programs", |cost| cost.others, 2),
];

const MEMORIES: &[Row<Memory>] = &[
    ("before, MB", |memory| memory.idle, 1),
    ("at most while they pass, MB", |memory| memory.peak, 1),
    ("40 s after, MB", |memory| memory.after, 1),
    ("failed", |memory| memory.failed.into(), 0),
];

impl Findings {
    /// The rate at which costs are compared: half of what both relays carried in the first round.
    pub fn common_rate(&self, offer: Offer) -> u32 {
        let first = |subject| self.capacities(subject, offer).next();
        let rates = Subject::RELAYS.iter().filter_map(|&subject| first(subject));
        let least = rates.map(|capacity| capacity.rate).min().unwrap_or(0);
        (least / 2 / GRAIN * GRAIN).max(GRAIN)
    }

    /// What a person reads.
    pub fn tables(&self) -> String {
        let offers = Offer::ALL.map(|offer| self.table(offer));
        format!(
            "{}{}{}",
            offers.concat(),
            self.memory_table(),
            self.warning()
        )
    }

    fn table(&self, offer: Offer) -> String {
        let [ours, kamailio] = Subject::RELAYS.map(|subject| self.capacity(subject, offer));
        let head = format!("{}, {} bytes", offer.name(), offer.sdp().len());
        let mut table = heading(&head);
        let rates = [ours, kamailio].map(|each| each.map_or(0.0, |each| each.rate.into()));
        table += &row("calls/s without a failure", rates, None, 0);
        for (what, capacity) in [("rusticast", ours), ("kamailio", kamailio)] {
            if let Some(capacity) = capacity {
                table += &format!("  {what}: {}\n", capacity.limit());
            }
        }
        let costs = Subject::ALL.map(|subject| self.cost(subject, offer));
        if let [Some(ours), Some(kamailio), bare] = costs {
            table += &format!("at {} calls/s\n", ours.rate);
            for (name, value, decimals) in COSTS {
                let relays = [value(ours), value(kamailio)];
                table += &row(&format!("  {name}"), relays, bare.map(value), *decimals);
            }
        }
        let ratios = self.ratios(offer);
        let ratios: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        table += &format!(
            "  ratio of CPU per call in each round: {}\n",
            ratios.join(", ")
        );
        table
    }

    fn memory_table(&self) -> String {
        let [ours, kamailio] = Subject::RELAYS.map(|subject| self.memory(subject));
        let (Some(ours), Some(kamailio)) = (ours, kamailio) else {
            return String::new();
        };
        let mut table = heading(&format!("memory, {} browser's offers", ours.calls));
        for (name, value, decimals) in MEMORIES {
            table += &row(name, [value(ours), value(kamailio)], None, *decimals);
        }
        table
    }

    /// What makes these measurements worse than they should be.
    fn warning(&self) -> String {
        let others = self.costs.iter().map(|cost| cost.others);
        let others = others.fold(0.0, f64::max);
        match others > QUIET {
            true => format!(
                "other programs kept up to {others:.1} cores busy: rates are too low, times too \
                 long, CPU up to twice too much\n"
            ),
            false => String::new(),
        }
    }

    /// The promises that these measurements decide.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for offer in Offer::ALL {
            let name = offer.name();
            let rates = Subject::RELAYS.map(|subject| {
                let capacity = self.capacity(subject, offer);
                capacity.map_or(f64::NAN, |capacity| capacity.rate.into())
            });
            let what = format!("{name}: calls/s without a failure, times Kamailio's");
            verdicts.push(Verdict::at_least(&what, rates[0] / rates[1], 1.0, ""));
            let cpu = Subject::RELAYS.map(|subject| {
                let cost = self.cost(subject, offer);
                cost.map_or(f64::NAN, |cost| cost.cpu)
            });
            let what = format!("{name}: CPU per call, times Kamailio's");
            verdicts.push(Verdict::at_most(&what, cpu[0] / cpu[1], MOST_CPU, ""));
        }
        if let Some(memory) = self.memory(Subject::Rusticast) {
            let what = format!("memory 40 s after {} calls, times before", memory.calls);
            let found = memory.after / memory.idle;
            verdicts.push(Verdict::at_most(&what, found, MOST_MEMORY, ""));
            let failed = memory.failed.into();
            verdicts.push(Verdict::at_most(
                "calls of those that failed",
                failed,
                0.0,
                "",
            ));
        }
        verdicts
    }

    /// Appends what is worth keeping, as `what | figure` lines, for `docs/measurements.md`.
    pub fn keep(&self, verdicts: &[Verdict], file: &Path) -> Result<()> {
        let mut lines = String::new();
        for offer in Offer::ALL {
            let name = offer.name();
            let [ours, kamailio] = Subject::RELAYS.map(|subject| self.capacity(subject, offer));
            if let (Some(ours), Some(kamailio)) = (ours, kamailio) {
                lines += &format!(
                    "{name}: calls/s without a failure | {}, Kamailio {}\n",
                    ours.limit(),
                    kamailio.limit()
                );
            }
            let costs = Subject::ALL.map(|subject| self.cost(subject, offer));
            let [Some(ours), Some(kamailio), Some(bare)] = costs else {
                continue;
            };
            for (what, value, decimals) in &COSTS[..3] {
                let [ours, kamailio, bare] = [ours, kamailio, bare].map(value);
                lines += &format!(
                    "{name}: {what} | {ours:.decimals$}, Kamailio {kamailio:.decimals$}; \
                     {bare:.decimals$} without data.xml, ladder and log\n"
                );
            }
        }
        if let [Some(ours), Some(kamailio)] = Subject::RELAYS.map(|subject| self.memory(subject)) {
            let told = |memory: &Memory| {
                let Memory {
                    idle, peak, after, ..
                } = memory;
                format!("{idle:.0}, {peak:.0} and {after:.0} MB")
            };
            lines += &format!(
                "memory before {} calls, at most, and 40 s after | {}, Kamailio {}\n",
                ours.calls,
                told(ours),
                told(kamailio)
            );
        }
        verdict::keep(lines, verdicts, file)
    }

    fn capacities(&self, subject: Subject, offer: Offer) -> impl Iterator<Item = &Capacity> {
        let all = self.capacities.iter();
        all.filter(move |each| each.subject == subject && each.offer == offer)
    }

    fn costs(&self, subject: Subject, offer: Offer) -> impl Iterator<Item = &Cost> {
        let all = self.costs.iter();
        all.filter(move |each| each.subject == subject && each.offer == offer)
    }

    /// The best of a relay's rounds, here and below.
    fn capacity(&self, subject: Subject, offer: Offer) -> Option<&Capacity> {
        self.capacities(subject, offer)
            .max_by_key(|capacity| capacity.rate)
    }

    fn cost(&self, subject: Subject, offer: Offer) -> Option<&Cost> {
        self.costs(subject, offer)
            .min_by(|one, other| one.cpu.total_cmp(&other.cpu))
    }

    fn memory(&self, subject: Subject) -> Option<&Memory> {
        self.memories.iter().find(|each| each.subject == subject)
    }

    /// CPU per call of ours and Kamailio's, which were measured one after the other.
    fn ratios(&self, offer: Offer) -> Vec<f64> {
        let ours = self.costs(Subject::Rusticast, offer);
        let kamailio = self.costs(Subject::Kamailio, offer);
        ours.zip(kamailio)
            .map(|(ours, kamailio)| ours.cpu / kamailio.cpu)
            .collect()
    }
}

impl Capacity {
    /// The greatest rate, and how busy the cores were at the next one.
    fn limit(&self) -> String {
        let rate = self.rate;
        let beyond = self.steps.iter().filter(|step| step.offered > rate);
        match beyond.min_by_key(|step| step.offered) {
            Some(Step {
                offered,
                busy,
                sipp_busy,
                ..
            }) => format!("{rate} (at {offered}, {busy:.2} cores busy, sipp {sipp_busy:.2})"),
            None => rate.to_string(),
        }
    }
}

fn heading(what: &str) -> String {
    format!(
        "\n{what:<38}{:>11}{:>11}{:>8}{:>11}\n",
        "rusticast", "kamailio", "ratio", "bare"
    )
}

fn row(name: &str, [ours, kamailio]: [f64; 2], bare: Option<f64>, decimals: usize) -> String {
    let ratio = match kamailio.abs() < 1e-9 {
        true => "–".to_owned(),
        false => format!("{:.2}", ours / kamailio),
    };
    let bare = bare.map_or(String::new(), |bare| format!("{bare:.decimals$}"));
    let line =
        format!("{name:<38}{ours:>11.decimals$}{kamailio:>11.decimals$}{ratio:>8}{bare:>11}");
    format!("{}\n", line.trim_end())
}
