//! The signaling server alone, for who talks to it without front and streamer.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::machine::{self, Turn};
use super::process::Process;

/// Such a server. Dropping it ends it.
#[derive(Debug)]
pub struct Signaling {
    pub program: Process,
    /// Where it listens.
    pub sip: SocketAddr,
    _directory: TempDir,
    _turn: Turn,
}

impl Signaling {
    /// Starts one on loopback.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&["--listen", "127.0.0.1:0"])
    }

    /// Starts one with these flags.
    #[track_caller]
    pub fn start_with(flags: &[&str]) -> Self {
        let turn = machine::shared();
        let directory = TempDir::new().expect("a temporary directory");
        let data = directory.path().join("data.xml").display().to_string();
        let further = ["--admin", "127.0.0.1:0", "--data", &data];
        let program = Process::start("signaling", &[flags, &further].concat());
        Self {
            sip: program.addr("sip"),
            program,
            _directory: directory,
            _turn: turn,
        }
    }

    /// Ends it as an operator does, and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.program.terminate().success());
        self.program.restart();
    }
}
