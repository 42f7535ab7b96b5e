//! The relays under test, each at a port of loopback and in a directory of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bench::Result;
use bench::process::{self, Process, Usage};
use serde::Serialize;

use crate::ports;

/// From start to ready line.
const START: Duration = Duration::from_secs(30);
/// Megabytes that Kamailio shares between its processes: its transactions live there, and there is
/// no more of it later. What is not needed is not touched.
const SHARED: &str = "2048";
/// How Kamailio is set up.
const KAMAILIO: &str = include_str!("kamailio.cfg");

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Subject {
    /// Ours, as it is started without any flag but its port.
    Rusticast,
    /// Debian's.
    Kamailio,
    /// Ours without `data.xml`, ladder and log, none of which Kamailio has here.
    Bare,
}

impl Subject {
    /// Those that are compared.
    pub const RELAYS: [Self; 2] = [Self::Rusticast, Self::Kamailio];
    /// All of them, in the order of their columns.
    pub const ALL: [Self; 3] = [Self::Rusticast, Self::Kamailio, Self::Bare];
}

/// A running relay.
#[derive(Debug)]
pub struct Server {
    /// Where it is reached.
    pub address: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts one that keeps its files in this directory.
    pub fn start(subject: Subject, programs: &Path, directory: &Path) -> Result<Self> {
        match subject {
            Subject::Rusticast => rusticast(programs, directory, &[], None),
            Subject::Bare => {
                let off = ["--data", "none", "--ladder", "0"];
                rusticast(programs, directory, &off, Some("off"))
            }
            Subject::Kamailio => kamailio(directory),
        }
    }

    /// What it uses, with all of its processes.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage_of_all()
    }
}

fn rusticast(
    programs: &Path,
    directory: &Path,
    flags: &[&str],
    log_level: Option<&str>,
) -> Result<Server> {
    let mut command = Command::new(programs.join("signaling"));
    command.args(["--listen", "127.0.0.1:0"]).args(flags);
    command.current_dir(directory);
    if let Some(level) = log_level {
        command.env("RUST_LOG", level);
    }
    let log = directory.join("signaling.log");
    let process = Process::start(&mut command, &log)?;
    let ready = process.line(START);
    let ready = ready.map_err(|error| process::told("signaling", &log, &error.to_string()))?;
    Ok(Server {
        address: process::address(&ready, "sip ")?,
        process,
    })
}

fn kamailio(directory: &Path) -> Result<Server> {
    let port = ports::free()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let file = directory.join("kamailio.cfg");
    fs::write(&file, KAMAILIO)?;
    let mut command = Command::new("kamailio");
    // In the foreground, with its log on stderr, and nothing in /run.
    command.args(["-DD", "-E", "-m", SHARED, "-Y"]);
    command.arg(directory).arg("-f").arg(&file);
    command.args(["-l", &format!("udp:{address}")]);
    let log = directory.join("kamailio.log");
    let mut process = Process::start(&mut command, &log)?;
    let listening = ports::wait_for(port, &mut process);
    listening.map_err(|error| process::told("kamailio", &log, &error.to_string()))?;
    Ok(Server { address, process })
}
