//! Calls between sipp and sipp: one side answers, the other one calls, each by a scenario of ours
//! and by what is changed in it.

use std::path::PathBuf;
use std::process::Command;

use crate::interop::{end, free_port, scenario, sipp, succeeded};
use crate::support::{Directory, PATIENCE, Program};

/// What is changed in a scenario: each of these by the other.
pub(crate) type Changes<'a> = &'a [(&'a str, &'a str)];

/// Set where all counts are full.
const SOAK: &str = "RUSTICAST_SOAK";

fn count() -> String {
    let full = std::env::var_os(SOAK).is_some();
    if full { "300" } else { "30" }.to_owned()
}

/// Both sides of a call that is described by their files and by what is changed in them.
pub(crate) struct Calls {
    directory: Directory,
    program: Program,
    port: String,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let program = Program::start(&directory.data());
        let (port, server) = (free_port(), program.sip.to_string());
        let at = ["-s", "test", "-p", &port, "-m", "1", &server];
        succeeded(&sipp(&scenario("register.xml"), &at).output().unwrap());
        Calls {
            directory,
            program,
            port,
        }
    }

    /// A scenario of ours with changes.
    pub(crate) fn changed(&self, name: &str, changes: Changes<'_>) -> PathBuf {
        let mut text = std::fs::read_to_string(scenario(name)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        let file = self.directory.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Lets one side answer and the other one call, and waits until nothing is left.
    pub(crate) fn pass(self, mut answering: Command, mut calling: Command) {
        let count = count();
        let retries = ["-max_invite_retrans", "10", "-max_non_invite_retrans", "14"];
        answering
            .args(["-p", &self.port, "-m", &count])
            .args(retries);
        calling.args(["-s", "test", "-m", &count, "-r", "20"]);
        calling.args(retries).arg(self.program.sip.to_string());
        let answering = answering.spawn().unwrap();
        succeeded(&calling.output().unwrap());
        succeeded(&answering.wait_with_output().unwrap());
        let state = self
            .program
            .wait_for(PATIENCE, |state| state["sessions"] == 0);
        assert_eq!(state["calls"], 0);
        end(self.program);
    }

    pub(crate) fn with(self, streamer: Changes<'_>, front: Changes<'_>) {
        let streamer = sipp(&self.changed("streamer.xml", streamer), &[]);
        let front = sipp(&self.changed("front.xml", front), &[]);
        self.pass(streamer, front);
    }
}
