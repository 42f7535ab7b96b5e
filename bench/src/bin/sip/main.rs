//! `./dev bench sip`: what a call costs our relay, beside Kamailio, through which the same sipp places
//! the same calls in the same run: with a short offer and with that of a browser. Each server has one
//! core, sipp the others. Flags are `--rounds N`, in which both are measured by turns, and
//! `--calls N`, after which memory must be given back. Our release programs are taken from
//! `$RUSTICAST_PROGRAMS`, results go to `$RUSTICAST_BENCH`.

mod ports;
mod probe;
mod report;
mod run;
mod server;
mod sipp;

use std::env;
use std::path::Path;

use bench::cores::Cores;
use bench::{Result, surroundings, verdict};

use crate::report::Findings;
use crate::run::Setting;
use crate::server::Subject;
use crate::sipp::Offer;

/// Rounds when their number is not given.
const ROUNDS: usize = 2;
/// Calls that memory is watched for when their number is not given.
const CALLS: u32 = 40_000;

fn main() -> Result<()> {
    let (rounds, calls) = arguments()?;
    let directory = surroundings::directory("RUSTICAST_BENCH")?;
    let json = directory.join("sip.json");
    let setting = Setting {
        cores: Cores::one_for_the_server()?,
        programs: surroundings::directory("RUSTICAST_PROGRAMS")?,
        directory: directory.join("sip"),
    };
    println!("{}", setting.cores);
    let mut found = Findings::default();
    for round in 1..=rounds {
        for offer in Offer::ALL {
            for subject in Subject::RELAYS {
                found.capacities.push(setting.capacity(subject, offer)?);
            }
            let rate = found.common_rate(offer);
            for subject in Subject::ALL {
                found.costs.push(setting.cost(subject, offer, rate)?);
            }
            // Kept at once: a later one may fail.
            write(&found, &json)?;
            eprintln!("sip: round {round} of {rounds}, {}: done", offer.name());
        }
    }
    found.memories = setting.memories(calls)?;
    write(&found, &json)?;
    print!("{}", found.tables());
    println!();
    let verdicts = found.verdicts();
    for verdict in &verdicts {
        println!("{}", verdict.line());
    }
    if let Some(figures) = env::var_os("RUSTICAST_FIGURES") {
        found.keep(&verdicts, figures.as_ref())?;
    }
    println!("\n{}", json.display());
    verdict::judge(&verdicts)
}

fn write(found: &Findings, file: &Path) -> Result<()> {
    Ok(std::fs::write(file, serde_json::to_string_pretty(found)?)?)
}

/// Rounds, and calls that memory is watched for.
fn arguments() -> Result<(usize, u32)> {
    let (mut rounds, mut calls) = (ROUNDS, CALLS);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u32> {
            let number = arguments.next().map(|number| number.parse());
            match number {
                Some(Ok(number)) if number > 0 => Ok(number),
                _ => Err(format!("{argument} takes a number").into()),
            }
        };
        match argument.as_str() {
            "--rounds" => rounds = number()?.try_into()?,
            "--calls" => calls = number()?,
            _ => return Err(format!("there are --rounds and --calls, not {argument}").into()),
        }
    }
    Ok((rounds, calls))
}
