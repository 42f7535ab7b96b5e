//! What is told of the measurements: a table with ratios, the promises with their verdicts, and
//! figures to keep.

use std::fs;
use std::path::Path;

use bench::Result;
use bench::verdict::{self, Verdict};

use crate::costs::{Cost, Costs};
use crate::run::{Figures, Subject};

/// How many costs of a kind are shown.
const SHOWN: usize = 3;
/// Cores that others may use without a word.
const QUIET: f64 = 0.15;

/// What one round found for a number of viewers.
#[derive(Debug, Clone)]
pub struct Round {
    /// Ours and that of Janus, with the same features.
    pub ours: Figures,
    /// The other of the two.
    pub janus: Figures,
    /// Ours, where it measures the viewers' lines.
    pub measuring: Figures,
}

/// A row of the table: its name, its value, and how many decimals are worth showing.
type Row = (&'static str, fn(&Figures) -> f64, usize);

const ROWS: &[Row] = &[
    ("CPU, ms per viewer-second", |f| f.cpu, 2),
    ("  of the program that sends media", |f| f.cpu_media, 2),
    ("CPU, µs per packet", |f| f.cpu_packet, 1),
    ("cores busy", |f| f.busy, 2),
    ("memory, MB per viewer", |f| f.memory, 2),
    ("threads per viewer", |f| f.threads, 1),
    ("descriptors per viewer", |f| f.descriptors, 1),
    ("asked → SDP, p50 ms", |f| f.seen.answered.p50, 1),
    ("asked → SDP, p95 ms", |f| f.seen.answered.p95, 1),
    (
        "asked → first packet, p95 ms",
        |f| f.seen.first_packet.p95,
        1,
    ),
    (
        "asked → first keyframe, p50 ms",
        |f| f.seen.first_keyframe.p50,
        1,
    ),
    (
        "asked → first keyframe, p95 ms",
        |f| f.seen.first_keyframe.p95,
        1,
    ),
    ("video latency, p50 ms", |f| f.seen.video_latency.p50, 2),
    ("video latency, p95 ms", |f| f.seen.video_latency.p95, 2),
    ("audio latency, p50 ms", |f| f.seen.audio_latency.p50, 2),
    ("audio latency, p95 ms", |f| f.seen.audio_latency.p95, 2),
    ("jitter of frames, ms", |f| f.seen.jitter, 2),
    ("frames per second", |f| f.seen.frames_per_second, 1),
    ("packets lost", |f| f.seen.lost as f64, 0),
    ("packets late or repaired", |f| f.seen.late as f64, 0),
    ("viewers that play", |f| f.seen.playing as f64, 0),
    (
        "bytes SRTP adds (10 SHA1-80, 16 GCM)",
        |f| f.seen.srtp_overhead as f64,
        0,
    ),
    ("client's CPU, ms per viewer-second", |f| f.cpu_client, 2),
    ("cores busy with other programs", |f| f.others, 2),
];

impl Round {
    /// The table of one number of viewers.
    pub fn table(&self) -> String {
        let head = format!("N = {}", self.ours.viewers);
        let mut table = format!(
            "\n{head:<38}{:>11}{:>11}{:>8}{:>18}\n",
            "rusticast", "janus", "ratio", "measuring lines"
        );
        for (name, value, decimals) in ROWS {
            let [ours, janus, measuring] = self.each().map(value);
            let ratio = if janus.abs() < 1e-9 {
                "–".to_owned()
            } else {
                format!("{:.2}", ours / janus)
            };
            table += &format!(
                "{name:<38}{ours:>11.decimals$}{janus:>11.decimals$}{ratio:>8}\
                 {measuring:>18.decimals$}\n"
            );
        }
        table
    }

    /// The greatest costs of the servers, if they were looked at.
    pub fn costs(&self) -> String {
        let mut text = String::new();
        for figures in self.each() {
            let Some(costs) = &figures.costs else {
                continue;
            };
            text += &format!("\nGreatest costs of {}\n", name(figures.subject));
            match costs {
                Ok(Costs {
                    objects,
                    threads,
                    functions,
                }) => {
                    for costs in [objects, threads, functions] {
                        for Cost { share, what } in costs.iter().take(SHOWN) {
                            text += &format!("{share:>6.1} %  {what}\n");
                        }
                    }
                }
                Err(error) => text += &format!("  unknown: {error}\n"),
            }
        }
        text
    }

    /// Whether others left this round alone.
    pub fn is_quiet(&self) -> bool {
        self.others() <= QUIET
    }

    /// What makes these measurements worse than they should be.
    pub fn warning(&self) -> Option<String> {
        let others = self.others();
        (!self.is_quiet()).then(|| {
            format!(
                "other programs kept {others:.1} cores busy: times are too long, CPU up to twice too much\n"
            )
        })
    }

    /// Cores that others used, in the measurement where they used most.
    fn others(&self) -> f64 {
        let others = self.each().map(|figures| figures.others);
        others.into_iter().fold(0.0, f64::max)
    }

    fn ratio(&self) -> f64 {
        self.ours.cpu_served() / self.janus.cpu_served()
    }

    fn each(&self) -> [&Figures; 3] {
        [&self.ours, &self.janus, &self.measuring]
    }
}

/// The promises that these measurements decide.
pub fn verdicts(rounds: &[Round]) -> Vec<Verdict> {
    let at = |viewers: usize| rounds.iter().find(|round| round.ours.viewers == viewers);
    let mut verdicts = Vec::new();
    let mut promise = |what: &str, found, limit, unit| {
        verdicts.push(Verdict::at_most(what, found, limit, unit));
    };
    if let Some(round) = at(10) {
        let seen = &round.ours.seen;
        promise("N = 10: answer, p50", seen.answered.p50, 20.0, " ms");
        promise(
            "N = 10: first whole keyframe, p95",
            seen.first_keyframe.p95,
            100.0,
            " ms",
        );
        promise(
            "N = 10: added video latency, p95",
            seen.video_latency.p95,
            5.0,
            " ms",
        );
        promise(
            "N = 10: added audio latency, p95",
            seen.audio_latency.p95,
            5.0,
            " ms",
        );
        promise(
            "N = 10: added video latency where lines are measured, p95",
            round.measuring.seen.video_latency.p95,
            5.0,
            " ms",
        );
    }
    if let Some(round) = at(50) {
        let ours = &round.ours;
        promise(
            "N = 50: CPU per viewer-second served, times that of Janus",
            round.ratio(),
            1.5,
            "",
        );
        promise(
            "N = 50: answer of 50 joins within a second, p95",
            ours.seen.answered.p95,
            150.0,
            " ms",
        );
        promise("N = 50: threads per viewer", ours.threads, 8.0, "");
        promise("N = 50: descriptors per viewer", ours.descriptors, 9.0, "");
        promise(
            "N = 50: memory per viewer, with retransmission",
            ours.memory,
            1.4,
            " MB",
        );
        promise(
            "N = 50: memory per viewer where lines are measured",
            round.measuring.memory,
            2.0,
            " MB",
        );
        let short = 30.0 - ours.seen.frames_per_second;
        promise("N = 50: frames per second short of 30", short, 1.0, "");
        let missing = (ours.viewers - ours.seen.playing) as f64;
        promise("N = 50: viewers without a picture", missing, 0.0, "");
        promise("N = 50: packets lost", ours.seen.lost as f64, 0.0, "");
    }
    verdicts
}

/// The round whose ratio of CPU lies in the middle of those that others left alone, or of all when
/// there is none.
pub fn middle(rounds: Vec<Round>) -> Option<Round> {
    let (quiet, noisy): (Vec<_>, Vec<_>) = rounds.into_iter().partition(Round::is_quiet);
    let mut rounds = if quiet.is_empty() { noisy } else { quiet };
    rounds.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    let place = rounds.len() / 2;
    (place < rounds.len()).then(|| rounds.swap_remove(place))
}

/// Writes what every round found as JSON.
pub fn write_json(rounds: &[Round], file: &Path) -> Result<()> {
    let all: Vec<_> = rounds.iter().flat_map(Round::each).collect();
    fs::write(file, serde_json::to_string_pretty(&all)?)?;
    Ok(())
}

/// Appends what is worth keeping, as `what | figure` lines, for `docs/measurements.md`.
pub fn keep(rounds: &[Round], file: &Path) -> Result<()> {
    let mut lines = String::new();
    for round in rounds {
        let n = round.ours.viewers;
        let mut figure = |what: &str, value: fn(&Figures) -> f64, unit: &str| {
            let [ours, janus, measuring] = round.each().map(value);
            lines += &format!(
                "N = {n:>3}: {what} | {ours:.1} {unit}, Janus {janus:.1} {unit}; \
                 {measuring:.1} {unit} where lines are measured\n"
            );
        };
        figure("CPU per viewer-second", |f| f.cpu, "ms");
        figure("CPU per packet", |f| f.cpu_packet, "µs");
        figure("memory per viewer", |f| f.memory, "MB");
        figure("request to SDP, p95", |f| f.seen.answered.p95, "ms");
        figure(
            "request to first whole keyframe, p95",
            |f| f.seen.first_keyframe.p95,
            "ms",
        );
        figure(
            "added video latency, p95",
            |f| f.seen.video_latency.p95,
            "ms",
        );
        figure(
            "added audio latency, p95",
            |f| f.seen.audio_latency.p95,
            "ms",
        );
    }
    verdict::keep(lines, &verdicts(rounds), file)
}

fn name(subject: Subject) -> &'static str {
    match subject {
        Subject::Rusticast => "rusticast's streamer",
        Subject::Measuring => "rusticast's streamer where it measures lines",
        Subject::Janus => "janus",
    }
}
