//! Both ends of the calls: sipp, with the scenarios of the tests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench::Result;
use bench::process::{Process, told};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;

use crate::ports;

/// The stream that is called.
pub const STREAM: &str = "test";
/// The lease of a registration covers a whole measurement.
const LEASE: (&str, &str) = ("Expires: 60", "Expires: 3600");
/// Calls before anything is measured: what is made once is made by then.
const WARM_UP: (u32, u32) = (500, 200);
/// For what is late. A call whose datagram is lost fails after the first retransmission.
const PATIENCE: Duration = Duration::from_secs(6);
/// Bytes of socket buffer, for offers that come in bursts.
const BUFFER: &str = "4194304";

/// What a call begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Offer {
    /// A few lines.
    Short,
    /// Chromium's for picture and sound.
    Browser,
}

impl Offer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Short, Self::Browser];

    /// Its SDP, without the last line end.
    pub fn sdp(self) -> String {
        let text = match self {
            Self::Short => "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\n",
            Self::Browser => {
                include_str!("../../../../streamer-gst/tests/offers/chromium.sdp")
            }
        };
        let lines: Vec<_> = text.lines().collect();
        lines.join("\n")
    }

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short offer",
            Self::Browser => "browser's offer",
        }
    }
}

/// What became of calls.
#[derive(Debug, Clone, Serialize)]
pub struct Calls {
    /// How many there should have been.
    pub placed: u32,
    /// Those that were not set up and hung up.
    pub failed: u32,
    /// Requests that had to be sent again.
    pub again: u32,
    /// Calls per second, from the first one's begin to the last one's end.
    pub rate: f64,
    /// CPU time of both sipps.
    #[serde(skip)]
    pub cpu: Duration,
}

/// A streamer that answers, and how to call it.
#[derive(Debug)]
pub struct Sipp {
    server: SocketAddr,
    directory: PathBuf,
    scenario: PathBuf,
    streamer: Process,
}

impl Sipp {
    /// Registers the stream at the relay, has it answer, and calls it a little.
    pub fn start(server: SocketAddr, offer: Offer, directory: &Path) -> Result<Self> {
        let write = |name: &str, text: String| -> Result<PathBuf> {
            let file = directory.join(name);
            fs::write(&file, text)?;
            Ok(file)
        };
        let register = changed(
            include_str!("../../../../signaling/tests/server/sipp/register.xml"),
            LEASE,
        )?;
        let register = write("register.xml", register)?;
        let streamer = include_str!("../../../../signaling/tests/server/sipp/streamer.xml");
        let streamer = write("streamer.xml", streamer.to_owned())?;
        let front = include_str!("../../../../signaling/tests/server/sipp/front.xml");
        let short = "v=0\no=- 1 1 IN IP4 [local_ip]\ns=-\nt=0 0";
        let front = changed(front, (short, &offer.sdp()))?;

        let port = ports::free()?.to_string();
        let log = directory.join("register.log");
        let mut command = sipp(&register, directory);
        command.args(["-s", STREAM, "-p", &port, "-m", "1"]);
        let mut registering = Process::start(command.arg(server.to_string()), &log)?;
        if !registering.wait(PATIENCE)?.success() {
            return Err(told("sipp", &log, "the stream cannot be registered").into());
        }
        let log = directory.join("streamer.log");
        let mut command = sipp(&streamer, directory);
        let mut streamer = Process::start(command.args(["-p", &port]), &log)?;
        ports::wait_for(port.parse()?, &mut streamer)?;
        let sipp = Self {
            server,
            directory: directory.to_owned(),
            scenario: write("front.xml", front)?,
            streamer,
        };
        let (rate, calls) = WARM_UP;
        let calls = sipp.call(rate, calls)?;
        match calls.failed {
            0 => Ok(sipp),
            failed => Err(format!("{failed} of {} first calls failed", calls.placed).into()),
        }
    }

    /// Places that many calls, so many a second, and waits for their ends.
    pub fn call(&self, rate: u32, count: u32) -> Result<Calls> {
        let (log, stats) = ["front.log", "front.csv"]
            .map(|name| self.directory.join(name))
            .into();
        // One of an earlier run would tell of that.
        let _ = fs::remove_file(&stats);
        let limit = Duration::from_secs((count / rate).into()) + PATIENCE;
        let mut command = sipp(&self.scenario, &self.directory);
        command.args(["-s", STREAM, "-r", &rate.to_string()]);
        command.args(["-m", &count.to_string()]);
        command.args(["-max_retrans", "1", "-recv_timeout", "3000"]);
        command.args(["-timeout", &limit.as_secs().to_string()]);
        command
            .args(["-trace_stat", "-fd", "1", "-stf"])
            .arg(&stats);
        command.arg(self.server.to_string());
        let before = self.cpu()?;
        let mut calling = Process::start(&mut command, &log)?;
        calling.wait(limit + PATIENCE)?;
        let cpu = self.cpu()? - before;
        let text = fs::read_to_string(&stats);
        let text = text.map_err(|error| told("sipp", &log, &error.to_string()))?;
        let last = |name: &str| {
            let value = last_value(&text, name);
            value.ok_or_else(|| told("sipp", &log, &format!("no {name} in its statistics")))
        };
        Ok(Calls {
            placed: count,
            failed: count.saturating_sub(last("SuccessfulCall(C)")? as u32),
            again: last("Retransmissions(C)")? as u32,
            rate: last("CallRate(C)")?,
            cpu,
        })
    }

    /// CPU time of the streamer, and of all that were started and have ended.
    fn cpu(&self) -> Result<Duration> {
        let ended = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = ended.user_time().num_microseconds() + ended.system_time().num_microseconds();
        Ok(self.streamer.usage()?.cpu + Duration::from_micros(micros.try_into()?))
    }
}

/// sipp with a scenario, on loopback and without a terminal.
fn sipp(scenario: &Path, directory: &Path) -> Command {
    let mut command = Command::new("sipp");
    command.current_dir(directory).arg("-sf").arg(scenario);
    command.args(["-i", "127.0.0.1", "-nostdin", "-buff_size", BUFFER]);
    command
}

/// A scenario with something else in one place.
fn changed(scenario: &str, (from, to): (&str, &str)) -> Result<String> {
    if !scenario.contains(from) {
        return Err(format!("no {from:?} in the scenario").into());
    }
    Ok(scenario.replace(from, to))
}

/// The value of a column in the last line.
fn last_value(statistics: &str, column: &str) -> Option<f64> {
    let place = statistics
        .lines()
        .next()?
        .split(';')
        .position(|name| name == column)?;
    let last = statistics.lines().skip(1).last()?;
    last.split(';').nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_statistics_counts() {
        let text = "Time;CallRate(C);FailedCall(C);\n1;10.5;0;\n2;20.5;3;\n";
        assert_eq!(last_value(text, "CallRate(C)"), Some(20.5));
        assert_eq!(last_value(text, "FailedCall(C)"), Some(3.0));
        assert_eq!(last_value(text, "Calls"), None);
        assert_eq!(last_value("Time;CallRate(C);\n", "CallRate(C)"), None);
    }

    #[test]
    fn an_offer_has_nothing_that_sipp_would_replace() {
        for offer in Offer::ALL {
            assert!(!offer.sdp().contains(['[', '\r']));
        }
        assert!(Offer::Browser.sdp().len() > 6000);
    }
}
