//! One program of ours as a process: started, read, killed, started again.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{IDLE_THREADS, eventually, http, wait_for};

/// From start to ready line; the first streamer on a cold machine scans its plug-ins.
const START: Duration = Duration::from_secs(30);
/// From SIGTERM to exit, as the design promises.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// A running (or killed) program of ours.
#[derive(Debug)]
pub struct Process {
    program: &'static str,
    /// What runs it, with its own arguments; nothing for most.
    runner: Vec<String>,
    arguments: Vec<String>,
    child: Child,
    /// Addresses of the ready line, by the word before them.
    addresses: HashMap<String, SocketAddr>,
    written: Written,
}

/// What was written over all starts.
#[derive(Debug, Default, Clone)]
struct Written {
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `program` from the build directory and waits for its ready line. `arguments` may
    /// ask for port 0: [`Process::restart`] asks for the port that was given then.
    #[track_caller]
    pub fn start(program: &'static str, arguments: &[&str]) -> Self {
        Self::start_under(&[], program, arguments)
    }

    /// Does that through another program, `runner`, which gets its path and arguments and becomes
    /// it, or ends it at its own end.
    #[track_caller]
    pub fn start_under(runner: &[&str], program: &'static str, arguments: &[&str]) -> Self {
        let (runner, arguments) = (owned(runner), owned(arguments));
        let written = Written::default();
        let (child, addresses) = spawn(&runner, program, &arguments, &written);
        Self {
            program,
            runner,
            arguments,
            child,
            addresses,
            written,
        }
    }

    /// Everything it wrote to stdout so far: its ready line, and no more.
    pub fn printed(&self) -> String {
        self.written.stdout.lock().unwrap().clone()
    }

    /// The address that the ready line tells after `word`: `http`, `sip` or `admin`.
    #[track_caller]
    pub fn addr(&self, word: &str) -> SocketAddr {
        *self
            .addresses
            .get(word)
            .unwrap_or_else(|| panic!("no {word} address in {:?}", self.printed()))
    }

    /// The live objects, from the admin server.
    #[track_caller]
    pub fn state(&self) -> Value {
        let response = http::get(self.addr("admin"), "/api/state").expect("admin answers");
        serde_json::from_slice(&response.body).expect("state is JSON")
    }

    /// A number of [`Process::state`] by its JSON pointer: `/viewers`.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        let state = self.state();
        let number = state.pointer(pointer).and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("{}: no number at {pointer} in {state}", self.program))
    }

    /// What an environment variable is for it, where it has any value.
    pub fn variable(&self, name: &str) -> Option<String> {
        let all = std::fs::read_to_string(format!("/proc/{}/environ", self.child.id()));
        let all = all.expect("it runs");
        let mut all = all.split('\0').filter_map(|one| one.split_once('='));
        all.find_map(|(other, value)| (other == name).then(|| value.to_owned()))
    }

    /// Its open TCP connections from or to a port.
    pub fn streams_with(&self, port: u16) -> u64 {
        /// TCP_ESTABLISHED (proc_net(5)).
        const OPEN: &str = "01";
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut open = HashSet::new();
        for table in ["net/tcp", "net/tcp6"] {
            let table = std::fs::read_to_string(process.join(table)).unwrap_or_default();
            for line in table.lines().skip(1) {
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                let at = |field: &str| field.ends_with(&format!(":{port:04X}"));
                if fields[3] == OPEN && (at(fields[1]) || at(fields[2])) {
                    open.insert(format!("socket:[{}]", fields[9]));
                }
            }
        }
        let files = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        let targets = files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok());
        let is_open = |target: &PathBuf| target.to_str().is_some_and(|name| open.contains(name));
        targets.filter(is_open).count() as u64
    }

    /// What each of its threads of such a name has used of the processor so far, by itself and in
    /// the kernel (proc(5), `stat`).
    #[track_caller]
    pub fn cpu_times(&self, wanted: impl Fn(&str) -> bool) -> HashMap<u32, Duration> {
        let threads = format!("/proc/{}/task", self.child.id());
        let threads = std::fs::read_dir(threads).expect("it runs");
        let times = threads.flatten().filter_map(|thread| {
            // One that ends meanwhile is not counted.
            let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
            // The name may hold anything, brackets too; after it utime and stime are 12th and 13th.
            let (head, fields) = stat.rsplit_once(')')?;
            let (number, name) = head.split_once(" (")?;
            let ticks = fields.split_whitespace().skip(11).take(2);
            let ticks = ticks.filter_map(|field| field.parse::<u64>().ok());
            // Linux counts in hundredths of a second for programs (USER_HZ).
            let used = Duration::from_millis(ticks.sum::<u64>() * 10);
            wanted(name).then_some((number.parse().ok()?, used))
        });
        times.collect()
    }

    /// Its threads but for the pool that serves all viewers, which may grow to one for each core.
    pub fn threads(&self) -> usize {
        self.cpu_times(|name| name != "viewers").len()
    }

    /// Waits until it has no more threads than before.
    #[track_caller]
    pub fn settles_at(&self, threads: usize) {
        eventually("no thread more than before", IDLE_THREADS, || {
            self.threads() <= threads
        });
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Asks it to end as an operator does, and waits until it has.
    ///
    /// # Panics
    ///
    /// When it takes longer than promised.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end, which must come within [`FAREWELL`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("end of {}", self.program);
        wait_for(&what, FAREWELL, || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a pid"), signal).expect("the child is ours");
    }

    /// Starts it once more after it ended, on the addresses it had, so that others find it.
    #[track_caller]
    pub fn restart(&mut self) {
        let mut arguments = self.arguments.clone();
        for (flag, word) in [
            ("--listen", "sip"),
            ("--http", "http"),
            ("--admin", "admin"),
        ] {
            let place = arguments.iter().position(|argument| argument == flag);
            if let (Some(place), Some(addr)) = (place, self.addresses.get(word)) {
                arguments[place + 1] = addr.to_string();
            }
        }
        (self.child, self.addresses) = spawn(&self.runner, self.program, &arguments, &self.written);
    }

    /// Everything it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.written.stderr.lock().unwrap().clone()
    }

    /// The lines a person at the terminal would worry about: ours, GLib's and GStreamer's.
    pub fn complaints(&self) -> Vec<String> {
        let worrying = ["WARN", "ERROR", "WARNING **", "CRITICAL **", "panicked"];
        let log = self.log();
        let lines = log
            .lines()
            .filter(|line| worrying.iter().any(|word| line.contains(word)));
        lines
            .map(|line| format!("{}: {line}", self.program))
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.program, self.log());
        }
    }
}

/// The directory cargo put our programs into: the one of the root package's own.
pub fn build_directory() -> PathBuf {
    let demo = Path::new(env!("CARGO_BIN_EXE_rusticast"));
    demo.parent()
        .expect("a program lies in a directory")
        .to_owned()
}

/// Runs `program` until it ends by itself and returns what it wrote and how it ended.
pub fn run_to_end(program: &str, arguments: &[&str]) -> Output {
    command(&[], program, &owned(arguments))
        .output()
        .expect("the program starts")
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect()
}

fn command(runner: &[String], program: &str, arguments: &[String]) -> Command {
    let path = build_directory().join(program);
    assert!(
        path.exists(),
        "{} is missing: cargo build --workspace",
        path.display()
    );
    let mut command = match runner {
        [] => Command::new(path),
        [runner, own @ ..] => {
            let mut command = Command::new(runner);
            command.args(own).arg(path);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        // A developer's own settings are not the tests'.
        if name.to_string_lossy().starts_with("RUSTICAST_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// Starts a program and waits for its ready line; returns the addresses in there.
#[track_caller]
fn spawn(
    runner: &[String],
    program: &str,
    arguments: &[String],
    written: &Written,
) -> (Child, HashMap<String, SocketAddr>) {
    let mut child = command(runner, program, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (lines, ready) = mpsc::channel();
    let collector = Arc::clone(&written.stdout);
    thread::spawn(move || {
        collect(stdout, &collector, |line| {
            // Only the first is waited for.
            let _ = lines.send(line.to_owned());
        });
    });
    let collector = Arc::clone(&written.stderr);
    thread::spawn(move || collect(stderr, &collector, |_| {}));

    let start = Instant::now();
    match ready.recv_timeout(START) {
        Ok(line) => (child, addresses(&line)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let why = match error {
                RecvTimeoutError::Timeout => "was not ready",
                RecvTimeoutError::Disconnected => "ended without a ready line",
            };
            let log = written.stderr.lock().unwrap();
            panic!(
                "{program} {arguments:?} {why} after {:?}:\n{log}",
                start.elapsed()
            );
        }
    }
}

fn collect(stream: impl Read, text: &Mutex<String>, mut also: impl FnMut(&str)) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let mut text = text.lock().unwrap();
        text.push_str(&line);
        text.push('\n');
        drop(text);
        also(&line);
    }
}

/// Reads `front ready: http://127.0.0.1:8080 sip 127.0.0.1:40001 admin 127.0.0.1:9080`.
fn addresses(line: &str) -> HashMap<String, SocketAddr> {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut addresses = HashMap::new();
    for pair in words.windows(2) {
        if let Ok(addr) = pair[1].parse() {
            addresses.insert(pair[0].to_owned(), addr);
        } else if let Some(Ok(addr)) = pair[1].strip_prefix("http://").map(str::parse) {
            addresses.insert("http".to_owned(), addr);
        }
    }
    addresses
}
