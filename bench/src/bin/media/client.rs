//! The `viewers` program, from outside.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bench::Result;
use bench::process::Process;
use bench::protocol::{Join, Joined, Seen, Window};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// For an answer; joins of a hundred on a busy machine take a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// Viewers that have joined; they leave with this.
#[derive(Debug)]
pub struct Client {
    process: Process,
}

impl Client {
    /// Starts it and waits until its viewers have a picture, or have waited for long.
    pub fn join(join: &Join, directory: &Path) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("viewers");
        let log = directory.join("viewers.log");
        let process = Process::start(&mut Command::new(program), &log)?;
        let mut client = Self { process };
        let joined = client.ask::<Joined>(join);
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        match joined {
            Ok(_) => {
                eprint!("{told}");
                Ok(client)
            }
            Err(error) => Err(format!("viewers: {error}\n{told}").into()),
        }
    }

    /// What it saw in the window.
    pub fn seen(&mut self, window: &Window) -> Result<Seen> {
        self.ask(window)
    }

    /// Its process, for what it costs.
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn ask<T: DeserializeOwned>(&mut self, what: &impl Serialize) -> Result<T> {
        self.process.tell(&serde_json::to_string(what)?)?;
        let line = self.process.line(PATIENCE)?;
        Ok(serde_json::from_str(&line)?)
    }
}
