//! What is told of the measurements: a table with ratios, the promises with their verdicts, and
//! figures to keep.

use std::fs;
use std::io::Write;
use std::path::Path;

use bench::Result;
use bench::protocol::Server;

use crate::costs::{Cost, Costs};
use crate::run::Figures;

/// How many costs of a kind are shown.
const SHOWN: usize = 3;
/// Cores that others may use without a word.
const QUIET: f64 = 0.15;

/// Of one number of viewers: ours and that of Janus.
pub type Pair = (Figures, Figures);

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

/// The table of one number of viewers.
pub fn table((ours, janus): &Pair) -> String {
    let head = format!("N = {}", ours.viewers);
    let mut table = format!(
        "\n{head:<38}{:>11}{:>11}{:>8}\n",
        "rusticast", "janus", "ratio"
    );
    for (name, value, decimals) in ROWS {
        let (ours, janus) = (value(ours), value(janus));
        let ratio = if janus.abs() < 1e-9 {
            "–".to_owned()
        } else {
            format!("{:.2}", ours / janus)
        };
        table += &format!("{name:<38}{ours:>11.decimals$}{janus:>11.decimals$}{ratio:>8}\n");
    }
    table
}

/// The greatest costs of both servers, if they were looked at.
pub fn costs((ours, janus): &Pair) -> String {
    let mut text = String::new();
    for figures in [ours, janus] {
        let Some(costs) = &figures.costs else {
            continue;
        };
        text += &format!("\nGreatest costs of {}\n", name(figures.server));
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

/// Cores that others used in a round, on the side where they used more.
fn others((ours, janus): &Pair) -> f64 {
    ours.others.max(janus.others)
}

/// Whether others left this round alone.
pub fn is_quiet(round: &Pair) -> bool {
    others(round) <= QUIET
}

/// What makes these measurements worse than they should be.
pub fn warning(round: &Pair) -> Option<String> {
    let others = others(round);
    (!is_quiet(round)).then(|| {
        format!(
            "other programs kept {others:.1} cores busy: times are too long, CPU up to twice too much\n"
        )
    })
}

/// A promise, what it is measured by, and whether it was kept.
#[derive(Debug)]
pub struct Verdict {
    what: &'static str,
    found: f64,
    limit: f64,
    unit: &'static str,
}

impl Verdict {
    /// One line.
    pub fn line(&self) -> String {
        format!("{} | {}", self.what, self.figure())
    }

    fn figure(&self) -> String {
        let Self {
            found, limit, unit, ..
        } = self;
        let verdict = if self.is_kept() { "kept" } else { "missed" };
        format!("{found:.2}{unit} (at most {limit}{unit}): {verdict}")
    }

    /// Whether what was found is within the limit.
    pub fn is_kept(&self) -> bool {
        self.found <= self.limit
    }
}

/// The promises that these measurements decide.
pub fn verdicts(pairs: &[Pair]) -> Vec<Verdict> {
    let at = |viewers: usize| pairs.iter().find(|(ours, _)| ours.viewers == viewers);
    let mut verdicts = Vec::new();
    let mut promise = |what, found, limit, unit| {
        verdicts.push(Verdict {
            what,
            found,
            limit,
            unit,
        });
    };
    if let Some((ours, _)) = at(10) {
        let seen = &ours.seen;
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
    }
    if let Some((ours, janus)) = at(50) {
        let ratio = ours.cpu_served() / janus.cpu_served();
        promise(
            "N = 50: CPU per viewer-second served, times that of Janus",
            ratio,
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
pub fn middle(rounds: Vec<Pair>) -> Option<Pair> {
    let (quiet, noisy): (Vec<_>, Vec<_>) = rounds.into_iter().partition(is_quiet);
    let mut rounds = if quiet.is_empty() { noisy } else { quiet };
    let ratio = |(ours, janus): &Pair| ours.cpu_served() / janus.cpu_served();
    rounds.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
    let place = rounds.len() / 2;
    (place < rounds.len()).then(|| rounds.swap_remove(place))
}

/// Writes what every round found as JSON.
pub fn write_json(rounds: &[Pair], file: &Path) -> Result<()> {
    let all: Vec<_> = rounds
        .iter()
        .flat_map(|(ours, janus)| [ours, janus])
        .collect();
    fs::write(file, serde_json::to_string_pretty(&all)?)?;
    Ok(())
}

/// Appends what is worth keeping, as `what | figure` lines, for `docs/measurements.md`.
pub fn keep(pairs: &[Pair], file: &Path) -> Result<()> {
    let mut lines = String::new();
    for (ours, janus) in pairs {
        let mut figure = |what: &str, value: fn(&Figures) -> f64, unit: &str| {
            let (n, ours, janus) = (ours.viewers, value(ours), value(janus));
            lines += &format!("N = {n:>3}: {what} | {ours:.1} {unit}, Janus {janus:.1} {unit}\n");
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
    for verdict in verdicts(pairs) {
        lines += &format!("{}\n", verdict.line());
    }
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?;
    file.write_all(lines.as_bytes())?;
    Ok(())
}

fn name(server: Server) -> &'static str {
    match server {
        Server::Rusticast => "rusticast's streamer",
        Server::Janus => "janus",
    }
}
