//! A program of somebody else that a test needs beside ours.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::seconds;

/// Such a program. Dropping it ends it.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    lines: Receiver<String>,
    what: String,
}

impl Helper {
    /// Starts one with arguments that hold no blanks.
    #[track_caller]
    pub fn start(program: &str, arguments: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments.split_whitespace())
            .envs(environment.iter().copied());
        Self::run(command)
    }

    /// Starts one; what it says to stderr is nobody's business.
    ///
    /// # Panics
    ///
    /// When there is no such program.
    #[track_caller]
    pub fn run(mut command: Command) -> Self {
        let what = command.get_program().to_string_lossy().to_string();
        let mut child = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("G_DEBUG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}; ./dev test installs it"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test may have seen enough; the pipe must be read all the same.
                let _ = sender.send(line);
            }
        });
        Self { child, lines, what }
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&self) -> String {
        let line = self.lines.recv_timeout(seconds(20));
        line.unwrap_or_else(|error| panic!("{} printed nothing: {error}", self.what))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
