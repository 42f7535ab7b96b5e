//! A program that the bench started: it ends with its owner, and what it uses can be read.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Result;

/// From SIGTERM to SIGKILL.
const FAREWELL: Duration = Duration::from_secs(6);

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// What programs use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time of all threads, also of those that ended, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Process {
    /// Starts one with pipes for stdin and stdout, whose stderr is kept in `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        for (name, _) in std::env::vars_os() {
            // A developer's own settings are not the bench's.
            let own = name.to_string_lossy().starts_with("RUSTICAST_") || name == "RUST_LOG";
            if own && !command.get_envs().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        let started = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log)?)
            .spawn();
        let started = started.map_err(|error| format!("{:?}: {error}", command.get_program()));
        let mut child = started?;
        let stdout = child.stdout.take().ok_or("stdout is piped")?;
        let (line, lines) = mpsc::channel();
        // Read to its end, also when nobody asks: a full pipe would stop the program.
        thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                let _ = line.send(text);
            }
        });
        Ok(Self { child, lines })
    }

    /// Its identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line it writes to stdout.
    pub fn line(&self, limit: Duration) -> Result<String> {
        let line = self.lines.recv_timeout(limit);
        line.map_err(|error| format!("no line came: {error}").into())
    }

    /// Writes a line to its stdin.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().ok_or("stdin is piped")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it uses at this moment.
    pub fn usage(&self) -> Result<Usage> {
        let directory = format!("/proc/{}", self.id());
        // To the nanosecond, where /proc counts in hundredths of a second.
        let cpu = ClockId::pid_cpu_clock_id(self.pid())?.now()?;
        let status = fs::read_to_string(format!("{directory}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            number.ok_or_else(|| format!("no {name} in {directory}/status"))
        };
        Ok(Usage {
            cpu: cpu.into(),
            memory: field("VmRSS:")? * 1024,
            threads: field("Threads:")?,
            descriptors: fs::read_dir(format!("{directory}/fd"))?.count() as u64,
        })
    }

    /// What it uses at this moment together with all that it has started: CPU time and memory,
    /// where what they share counts once.
    pub fn usage_of_all(&self) -> Result<Usage> {
        let mut sum = self.usage()?;
        let others = descendants(self.id())?;
        for &id in &others {
            let pid = Pid::from_raw(id.try_into()?);
            sum.cpu += Duration::from(ClockId::pid_cpu_clock_id(pid)?.now()?);
        }
        if !others.is_empty() {
            let all = others.into_iter().chain([self.id()]);
            sum.memory = all.map(proportional).sum::<Result<u64>>()?;
        }
        Ok(sum)
    }

    /// Asks it to end and waits until it has.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        kill(self.pid(), Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                return Err(format!("it did not end within {limit:?}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().try_into().unwrap_or(i32::MAX))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lives() {
            // Ended in between is as good, here and below.
            let _ = kill(self.pid(), Signal::SIGTERM);
        }
        let start = Instant::now();
        while self.lives() && start.elapsed() < FAREWELL {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has started, and what that has.
fn descendants(id: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    let mut all = Vec::new();
    for child in children.split_whitespace() {
        let child = child.parse()?;
        all.push(child);
        all.extend(descendants(child)?);
    }
    Ok(all)
}

/// Resident memory in bytes, pages that are shared divided by those who share them.
fn proportional(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.ok_or("no Pss in smaps_rollup")? * 1024)
}

/// The address in a ready line that follows a word, or that is a URL.
pub fn address(line: &str, before: &str) -> Result<SocketAddr> {
    let place = line.split_once(before).map_or("", |(_, rest)| rest);
    let word = place.split_whitespace().next().unwrap_or_default();
    let address = word.trim_end_matches(['/', ',']).parse();
    address.map_err(|_| format!("no address after {before:?} in: {line}").into())
}

/// What went wrong with a program, and its log.
pub fn told(name: &str, log: &Path, what: &str) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    format!("{name}: {what}\n{log}")
}
