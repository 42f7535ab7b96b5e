//! The streamer under valgrind while viewers join, play and leave: no error may be found.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bench::Result;
use bench::card::LADDER;

use crate::server::Server;
use crate::visitor::Visitors;

/// Under valgrind everything takes some thirty times as long.
const FAREWELL: Duration = Duration::from_secs(120);
/// Joins that may fail: while valgrind translates what they run for the first time, they take longer
/// than the streamer lets them.
const MOST_FAILED: u32 = 20;
/// What GLib says about itself, from its package of headers.
const SUPPRESSIONS: &str = "/usr/share/glib-2.0/valgrind/glib.supp";
/// How valgrind says that it found something.
const FOUND: &str = "42";

/// Has so many viewers come and go, every fifth without a word.
pub fn run(joins: u32, programs: &Path, directory: &Path, address: IpAddr) -> Result<String> {
    let log = directory.join("valgrind.log");
    // One of another run would tell of that.
    let _ = fs::remove_file(&log);
    let mut runner = vec![
        "valgrind".to_owned(),
        // The log tells only of errors, with all that it takes to suppress one that is not ours.
        "--leak-check=no".to_owned(),
        "--gen-suppressions=all".to_owned(),
        "--num-callers=40".to_owned(),
        // Else the thread that feeds viewers may starve those that connect them.
        "--fair-sched=yes".to_owned(),
        format!("--error-exitcode={FOUND}"),
        format!("--log-file={}", log.display()),
    ];
    if Path::new(SUPPRESSIONS).exists() {
        runner.push(format!("--suppressions={SUPPRESSIONS}"));
    }
    // With all that a viewer can have: rungs, and what measures its line.
    let mut server = Server::streamer(&runner, programs, directory, address, LADDER)?;
    let mut visitors = Visitors::new(address)?;
    let (mut done, mut failed) = (0, 0);
    while done < joins {
        match visitors.join(server.http) {
            Ok(visitor) if done % 5 == 4 => server.lose(visitor),
            Ok(visitor) => server.end(&visitor)?,
            Err(error) => {
                failed += 1;
                eprintln!("joins: {error}");
                if failed > MOST_FAILED {
                    return Err("viewers cannot join under valgrind".into());
                }
                continue;
            }
        }
        done += 1;
    }
    server.rest(None)?;
    let status = server.terminate(FAREWELL)?;
    let log = fs::read_to_string(&log)?;
    if !status.success() {
        return Err(format!("{status}\n{log}").into());
    }
    let summary = log
        .lines()
        .rev()
        .find_map(|line| line.split_once("ERROR SUMMARY: "));
    let (_, summary) = summary.ok_or("valgrind did not sum up")?;
    Ok(format!("{done}: {summary}"))
}
