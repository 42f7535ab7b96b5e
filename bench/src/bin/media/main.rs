//! `./dev bench media`: what a viewer costs us, beside Janus, which gets the same packets in the
//! same run. Arguments are the numbers of viewers; without any, 1, 10, 50 and 100. Each is measured
//! in several rounds, `--rounds`, and of the quiet ones that in the middle counts. Our release programs are taken
//! from `$RUSTICAST_PROGRAMS`, results go to `$RUSTICAST_BENCH`.

mod client;
mod costs;
mod report;
mod run;
mod sender;
mod server;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use bench::cores::Cores;
use bench::recording::Recording;
use bench::rtp::Media;
use bench::{Result, surroundings, verdict};

use crate::report::Round;
use crate::run::{Setting, Subject};

/// Numbers of viewers when none are given.
const VIEWERS: [usize; 4] = [1, 10, 50, 100];
/// With how many the costs are looked at.
const PROFILED: usize = 50;
/// Rounds when their number is not given.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let (viewers, rounds) = arguments()?;
    let directory = surroundings::directory("RUSTICAST_BENCH")?;
    let recording = Recording::load(&directory)?;
    for media in [Media::Video, Media::Audio] {
        let (packets, bits) = recording.rates(media);
        println!(
            "{media:?}: {packets:.0} packets/s, {:.2} Mbit/s",
            bits / 1e6
        );
    }
    let setting = Setting {
        recording: Arc::new(recording),
        cores: Cores::divide()?,
        address: surroundings::address()?,
        programs: surroundings::directory("RUSTICAST_PROGRAMS")?,
        directory: directory.clone(),
        window: Duration::from_secs(10),
    };
    let (mut all, mut middle) = (Vec::new(), Vec::new());
    for viewers in viewers {
        let measure = |subject| setting.measure(subject, viewers, viewers == PROFILED);
        let first = all.len();
        let quiet = |all: &[Round]| all.iter().filter(|round| round.is_quiet()).count();
        // Others may be at work in as many again.
        while quiet(&all[first..]) < rounds && all.len() < first + 2 * rounds {
            all.push(Round {
                ours: measure(Subject::Rusticast)?,
                janus: measure(Subject::Janus)?,
                measuring: measure(Subject::Measuring)?,
            });
            // Kept at once: a later one may fail.
            report::write_json(&all, &directory.join("media.json"))?;
        }
        let rounds = all[first..].to_vec();
        let round = report::middle(rounds).ok_or("no rounds")?;
        print!("{}{}", round.table(), round.costs());
        print!("{}", round.warning().unwrap_or_default());
        middle.push(round);
    }
    println!();
    let verdicts = report::verdicts(&middle);
    for verdict in &verdicts {
        println!("{}", verdict.line());
    }
    if let Some(figures) = env::var_os("RUSTICAST_FIGURES") {
        report::keep(&middle, figures.as_ref())?;
    }
    println!("\n{}", directory.join("media.json").display());
    verdict::judge(&verdicts)
}

/// Numbers of viewers, and of rounds.
fn arguments() -> Result<(Vec<usize>, usize)> {
    let (mut viewers, mut rounds) = (Vec::new(), ROUNDS);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            rounds = arguments.next().ok_or("--rounds takes a number")?.parse()?;
        } else {
            let number = argument.parse();
            viewers.push(number.map_err(|_| format!("not a number of viewers: {argument}"))?);
        }
    }
    if viewers.is_empty() {
        viewers = VIEWERS.to_vec();
    }
    Ok((viewers, rounds))
}
