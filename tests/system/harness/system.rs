//! The three programs together, each on ports of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::hop::Hop;
use super::machine::{self, Turn};
use super::process::Process;
use super::{eventually, http, seconds, wait_for};

/// How a [`System`] differs from the plain one.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    streams: &'a [&'a str],
    pipelines: Option<PathBuf>,
    streamer: &'a [&'a str],
    streamer_runner: &'a [&'a str],
    seed: Option<u64>,
    alone: bool,
}

impl<'a> Setup<'a> {
    /// The shipped descriptions named so.
    pub fn new(streams: &'a [&'a str]) -> Self {
        Self {
            streams,
            ..Self::default()
        }
    }

    /// Takes descriptions from another directory than the shipped one.
    pub fn pipelines(self, directory: impl Into<PathBuf>) -> Self {
        Self {
            pipelines: Some(directory.into()),
            ..self
        }
    }

    /// Further flags for the streamer.
    pub fn streamer(self, flags: &'a [&'a str]) -> Self {
        Self {
            streamer: flags,
            ..self
        }
    }

    /// Starts the streamer through another program; see [`Process::start_under`].
    pub fn streamer_under(self, runner: &'a [&'a str]) -> Self {
        Self {
            streamer_runner: runner,
            ..self
        }
    }

    /// Puts a hop, lossless at first, between signaling and each of the others.
    pub fn hops(self, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..self
        }
    }

    /// Has the machine for itself, for the times that it measures.
    pub fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    /// Starts signaling, front and streamer, and waits until every stream is live.
    #[track_caller]
    pub fn start(self) -> System {
        let turn = if self.alone {
            machine::alone()
        } else {
            machine::shared()
        };
        // In memory where that is possible: tests time the programs, not the disk's fsync.
        let directory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let directory = directory.expect("a temporary directory");
        let data = directory.path().join("data.xml");
        let signaling = Process::start(
            "signaling",
            &[
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--data",
                &text(&data),
            ],
        );
        let relay = signaling.addr("sip");

        let front_hop = self.seed.map(|seed| Hop::start(relay, seed));
        let mut flags = vec!["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let way = way(relay, front_hop.as_ref());
        flags.extend(way.iter().map(String::as_str));
        let front = Process::start("front", &flags);

        let streamer_hop = self
            .seed
            .map(|seed| Hop::start(relay, seed.rotate_left(32)));
        let pipelines = self
            .pipelines
            .as_ref()
            .map_or_else(|| "pipelines".to_owned(), |path| text(path));
        let mut flags = vec!["run", "--admin", "127.0.0.1:0", "--pipelines", &pipelines];
        let way = self::way(relay, streamer_hop.as_ref());
        flags.extend(way.iter().map(String::as_str));
        flags.extend(self.streamer);
        flags.extend(self.streams);
        let streamer = Process::start_under(self.streamer_runner, "streamer-gst", &flags);

        let system = System {
            front,
            streamer,
            signaling,
            front_hop,
            streamer_hop,
            data,
            _directory: directory,
            _turn: turn,
        };
        for stream in self.streams {
            system.wait_live(stream);
        }
        system
    }
}

/// The flags that lead a role to signaling, past its hop if it has one.
fn way(relay: SocketAddr, hop: Option<&Hop>) -> Vec<String> {
    let signaling = hop.map_or(relay, Hop::near);
    let mut flags = vec!["--signaling".to_owned(), signaling.to_string()];
    if let Some(hop) = hop {
        flags.extend(["--advertise".to_owned(), hop.far().to_string()]);
    }
    flags
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Front, streamer and signaling as separate programs. Dropping it ends them all.
#[derive(Debug)]
pub struct System {
    /// The HTTP role.
    pub front: Process,
    /// The media role.
    pub streamer: Process,
    /// The SIP relay.
    pub signaling: Process,
    /// Between front and signaling, with [`Setup::hops`].
    pub front_hop: Option<Hop>,
    /// Between streamer and signaling, with [`Setup::hops`].
    pub streamer_hop: Option<Hop>,
    data: PathBuf,
    _directory: TempDir,
    _turn: Turn,
}

/// What a call takes and its end must give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Viewers and calls of the streamer.
    pub streamer: [u64; 2],
    /// Calls and sessions of signaling, and sessions in its `data.xml`.
    pub signaling: [u64; 3],
    /// Calls and sessions of front.
    pub front: [u64; 2],
    /// Open descriptors of streamer and signaling, without the streams between them, which may be
    /// of use for the next call and end by themselves.
    pub descriptors: [u64; 2],
    /// The same of front; `None` where they are not compared.
    pub front_descriptors: Option<u64>,
}

impl System {
    /// The plain system with these shipped streams.
    #[track_caller]
    pub fn start(streams: &[&str]) -> Self {
        Setup::new(streams).start()
    }

    /// The hops of front and streamer.
    ///
    /// # Panics
    ///
    /// Without [`Setup::hops`].
    #[track_caller]
    pub fn hops(&self) -> [&Hop; 2] {
        [&self.front_hop, &self.streamer_hop].map(|hop| hop.as_ref().expect("hops were set up"))
    }

    /// The same with the machine for itself, for the times that are measured.
    #[track_caller]
    pub fn alone(streams: &[&str]) -> Self {
        Setup::new(streams).alone().start()
    }

    /// A page of the front.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.front.addr("http"))
    }

    /// Where the front listens.
    pub fn http(&self) -> SocketAddr {
        self.front.addr("http")
    }

    /// The directory's entry of `stream`, as the front shows it.
    pub fn entry(&self, stream: &str) -> Option<Value> {
        let response = http::get(self.http(), "/api/streams").ok()?;
        let list: Value = serde_json::from_slice(&response.body).ok()?;
        list["streams"]
            .as_array()?
            .iter()
            .find(|entry| entry["name"] == stream)
            .cloned()
    }

    /// Waits until `stream` can be watched.
    #[track_caller]
    pub fn wait_live(&self, stream: &str) {
        eventually(&format!("stream {stream} is live"), seconds(20), || {
            self.entry(stream)
                .is_some_and(|entry| entry["live"] == true && entry["state"] == "live")
        });
    }

    /// The text of `data.xml`, empty as long as there is none.
    pub fn data(&self) -> String {
        fs::read_to_string(&self.data).unwrap_or_default()
    }

    /// How many sessions `data.xml` holds.
    pub fn stored_sessions(&self) -> u64 {
        let data = self.data();
        (data.matches("<session>").count() + data.matches("<session ").count()) as u64
    }

    /// What is held at this moment.
    #[track_caller]
    pub fn rest(&self) -> Rest {
        let (streamer, signaling, front) = (
            self.streamer.state(),
            self.signaling.state(),
            self.front.state(),
        );
        let number = |state: &Value, pointer: &str| {
            let number = state.pointer(pointer).and_then(Value::as_u64);
            number.unwrap_or_else(|| panic!("no number at {pointer} in {state}"))
        };
        let sip = self.signaling.addr("sip").port();
        let descriptors = |state: &Value, process: &Process| {
            let streams = process.streams_with(sip);
            number(state, "/process/fds").saturating_sub(streams)
        };
        Rest {
            streamer: [number(&streamer, "/viewers"), number(&streamer, "/calls")],
            signaling: [
                number(&signaling, "/calls"),
                number(&signaling, "/sessions"),
                self.stored_sessions(),
            ],
            front: [number(&front, "/calls"), number(&front, "/sessions")],
            descriptors: [
                descriptors(&streamer, &self.streamer),
                descriptors(&signaling, &self.signaling),
            ],
            front_descriptors: Some(descriptors(&front, &self.front)),
        }
    }

    /// Waits until no call is held, and returns what else is: what a call must give back.
    #[track_caller]
    pub fn at_rest(&self) -> Rest {
        wait_for("no call is held", seconds(20), || {
            let rest = self.rest();
            rest.has_no_call().then_some(rest)
        })
    }

    /// Waits until everything is as `before`, and returns how long that took; descriptors may be
    /// fewer.
    ///
    /// # Panics
    ///
    /// After 15 seconds.
    #[track_caller]
    pub fn settles(&self, before: &Rest) -> Duration {
        let mut now = self.rest();
        let what = format!("everything given back, as in {before:?}");
        eventually(&what, seconds(15), || {
            let seen = self.rest();
            if seen != now {
                eprintln!("settling: {seen:?}");
                now = seen;
            }
            now.is_within(before)
        })
    }

    /// Fails when any of the programs wrote a warning or an error.
    #[track_caller]
    pub fn assert_quiet(&self) {
        let programs = [&self.signaling, &self.front, &self.streamer];
        let complaints: Vec<_> = programs.iter().flat_map(|each| each.complaints()).collect();
        assert!(
            complaints.is_empty(),
            "someone complained:\n{}",
            complaints.join("\n")
        );
    }
}

impl Rest {
    /// Whether nobody holds a call; descriptors are not looked at.
    pub fn has_no_call(&self) -> bool {
        self.streamer == [0; 2] && self.signaling == [0; 3] && self.front == [0; 2]
    }

    /// The same for a browser that stays: it keeps connections to front open, and opens and closes
    /// them as it likes.
    #[must_use]
    pub fn beside_a_browser(self) -> Self {
        Self {
            front_descriptors: None,
            ..self
        }
    }

    /// Whether this holds no more than `before`.
    fn is_within(&self, before: &Self) -> bool {
        let fewer =
            |now: &[u64], before: &[u64]| now.iter().zip(before).all(|(now, then)| now <= then);
        fewer(&self.streamer, &before.streamer)
            && fewer(&self.signaling, &before.signaling)
            && fewer(&self.front, &before.front)
            && fewer(&self.descriptors, &before.descriptors)
            && (before.front_descriptors).is_none_or(|then| self.front_descriptors <= Some(then))
    }
}
