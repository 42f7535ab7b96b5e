//! The `viewers` program, from outside.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use bench::Result;
use bench::protocol::{Join, Joined, Seen, Window};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::process::Process;

/// For an answer; joins of a hundred on a busy machine take a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// Viewers that have joined; they leave with this.
#[derive(Debug)]
pub struct Client {
    input: ChildStdin,
    lines: Receiver<String>,
    process: Process,
}

impl Client {
    /// Starts it and has it join.
    pub fn join(join: &Join, directory: &Path) -> Result<(Self, Joined)> {
        let program = std::env::current_exe()?.with_file_name("viewers");
        let log = directory.join("viewers.log");
        let mut process = Process::start(&mut Command::new(program), &log)?;
        let input = process.child().stdin.take().ok_or("stdin is piped")?;
        let output = process.child().stdout.take().ok_or("stdout is piped")?;
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            for text in BufReader::new(output)
                .lines()
                .map_while(std::io::Result::ok)
            {
                // Whoever waits may have given up.
                let _ = line.send(text);
            }
        });
        let mut client = Self {
            input,
            lines,
            process,
        };
        let joined = client.ask(join);
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        match joined {
            Ok(joined) => {
                eprint!("{told}");
                Ok((client, joined))
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
        writeln!(self.input, "{}", serde_json::to_string(what)?)?;
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.map_err(|_| "no answer")?;
        Ok(serde_json::from_str(&line)?)
    }
}
