//! The two servers: our three programs, and `bare`. Both play the same card.

use std::collections::VecDeque;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use bench::Result;
use bench::client::http;
use bench::process::{self, Process, Usage};

use crate::visitor::Visitor;

/// From start to ready line, and then to the first frame; valgrind takes its time.
const START: Duration = Duration::from_secs(120);
/// The streamer gives up who says nothing for so long; `bare` is told to.
const SILENCE: Duration = Duration::from_millis(7500);
/// All that is lost has to be noticed, and all that is held given back, in this time.
const REST: Duration = Duration::from_secs(40);
/// Without a baseline, a server is at rest when nothing has changed for so long.
const STILL: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A running server.
pub struct Server {
    /// What it is called in figures.
    pub name: &'static str,
    /// Where offers are posted.
    pub http: SocketAddr,
    /// The program with the viewers.
    media: Process,
    notices: Notices,
    _others: Vec<Process>,
}

/// How it learns that a viewer has vanished.
enum Notices {
    /// By itself; its live objects are shown here.
    Itself(SocketAddr),
    /// It is told when the time is up.
    Told(VecDeque<(Instant, String)>),
}

impl Server {
    /// Our three programs with this stream; the streamer is run by another program where there is
    /// one.
    pub fn streamer(
        runner: &[String],
        programs: &Path,
        directory: &Path,
        address: IpAddr,
        card: &str,
    ) -> Result<Self> {
        let pipelines = directory.join("joins");
        fs::create_dir_all(&pipelines)?;
        fs::write(pipelines.join("bench.launch"), card)?;
        let start =
            |name: &str, arguments: &[&str]| start(&programs.join(name), arguments, directory);
        let (signaling, ready) = start("signaling", &["--listen", "127.0.0.1:0"])?;
        let sip = process::address(&ready, "sip ")?.to_string();
        let (front, ready) = start("front", &["--http", "127.0.0.1:0", "--signaling", &sip])?;
        let http = process::address(&ready, "http://")?;
        let address = address.to_string();
        let program = programs.join("streamer-gst");
        let mut command = match runner {
            [] => Command::new(&program),
            [runner, own @ ..] => {
                let mut command = Command::new(runner);
                command.args(own).arg(&program);
                // With it the streamer need not start itself again, where valgrind would not follow.
                command.env("MALLOC_ARENA_MAX", "1");
                command
            }
        };
        command.args(["run", "--pipelines", "joins", "--signaling", &sip]);
        command.args([
            "--media-address",
            &address,
            "--admin",
            "127.0.0.1:0",
            "bench",
        ]);
        let (media, ready) = run(command, "streamer-gst", directory)?;
        let notices = Notices::Itself(process::address(&ready, "admin ")?);
        let begun = Instant::now();
        while http::get_json(http, "/api/streams")?["streams"][0]["live"] != true {
            if begun.elapsed() > START {
                return Err("the stream does not begin".into());
            }
            thread::sleep(LOOK);
        }
        Ok(Self {
            name: "the streamer",
            http,
            media,
            notices,
            _others: vec![front, signaling],
        })
    }

    /// The one that is nothing but webrtcbin.
    pub fn bare(directory: &Path, address: IpAddr) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("bare");
        let (media, ready) = start(&program, &[&address.to_string()], directory)?;
        Ok(Self {
            name: "a bare webrtcbin",
            http: process::address(&ready, "http://")?,
            media,
            notices: Notices::Told(VecDeque::new()),
            _others: Vec::new(),
        })
    }

    /// A visitor leaves.
    pub fn end(&self, visitor: &Visitor) -> Result<()> {
        http::delete(self.http, &visitor.location)
    }

    /// A visitor vanishes.
    pub fn lose(&mut self, visitor: Visitor) {
        if let Notices::Told(lost) = &mut self.notices {
            lost.push_back((Instant::now() + SILENCE, visitor.location));
        }
    }

    /// Ends the program with the viewers, and tells how it ended.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.media.terminate(limit)
    }

    /// Waits until nobody is there and no more is held than before, or, when nothing is known of
    /// before, until nothing changes any more. Returns what is used then.
    pub fn rest(&mut self, before: Option<&Usage>) -> Result<Usage> {
        let start = Instant::now();
        let mut still = start;
        let mut last = self.media.usage()?;
        while start.elapsed() < REST {
            let empty = self.is_empty()?;
            let now = self.media.usage()?;
            if !empty || (now.threads, now.descriptors) != (last.threads, last.descriptors) {
                still = Instant::now();
            }
            last = now;
            let given_back = before.is_some_and(|before| {
                now.threads <= before.threads && now.descriptors <= before.descriptors
            });
            if empty && (given_back || before.is_none() && still.elapsed() > STILL) {
                return Ok(last);
            }
            thread::sleep(LOOK);
        }
        if !self.is_empty()? {
            return Err(format!("{} keeps viewers that are gone", self.name).into());
        }
        // More than before: whether that is too much is judged at the end.
        Ok(last)
    }

    /// Whether nobody is there; those whose time is up are told of.
    pub fn is_empty(&mut self) -> Result<bool> {
        match &mut self.notices {
            Notices::Itself(admin) => {
                let state = http::get_json(*admin, "/api/state")?;
                Ok(state["viewers"] == 0 && state["calls"] == 0)
            }
            Notices::Told(lost) => {
                while let Some((due, location)) = lost.front()
                    && *due <= Instant::now()
                {
                    http::delete(self.http, location)?;
                    lost.pop_front();
                }
                Ok(lost.is_empty())
            }
        }
    }
}

/// Starts a program and returns its ready line.
fn start(program: &Path, arguments: &[&str], directory: &Path) -> Result<(Process, String)> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut command = Command::new(program);
    command.args(arguments);
    run(command, &name, directory)
}

fn run(mut command: Command, name: &str, directory: &Path) -> Result<(Process, String)> {
    let log = directory.join(format!("{name}.log"));
    let process = Process::start(command.current_dir(directory), &log)?;
    let ready = process.line(START).map_err(|error| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        format!("{name}: {error}\n{log}")
    })?;
    Ok((process, ready))
}
