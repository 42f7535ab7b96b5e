//! One measurement: a fresh server, its source, N viewers, a window.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bench::cores::{Cores, Side};
use bench::process::Usage;
use bench::protocol::{Join, Seen, Server as Kind, Window};
use bench::recording::Recording;
use bench::{Result, machine, wall_clock};
use serde::Serialize;

use crate::client::Client;
use crate::costs::{self, Costs};
use crate::sender::{Ports, Sender};
use crate::server::{Place, Server};

/// Between joins: fifty within a second.
const APART: Duration = Duration::from_millis(20);
/// After start and after the joins, until what comes with them is over.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the idle server is watched.
const IDLE: Duration = Duration::from_secs(3);
/// What was sent this long before the window may arrive in it.
const BEFORE: u64 = 2_000_000_000;

/// What stays the same in all measurements.
#[derive(Debug)]
pub struct Setting {
    /// What is relayed.
    pub recording: Arc<Recording>,
    /// Who runs where.
    pub cores: Cores,
    /// Address of media.
    pub address: IpAddr,
    /// Our programs.
    pub programs: PathBuf,
    /// For logs and the like.
    pub directory: PathBuf,
    /// How long the window is.
    pub window: Duration,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Subject {
    /// Ours, with the features that Janus has, too.
    Rusticast,
    /// Ours, which also measures the line of each viewer by its feedback on each packet.
    Measuring,
    /// Debian's.
    Janus,
}

impl Subject {
    fn server(self) -> Kind {
        match self {
            Self::Rusticast | Self::Measuring => Kind::Rusticast,
            Self::Janus => Kind::Janus,
        }
    }
}

/// What one measurement found.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Which server.
    pub subject: Subject,
    /// How many viewers joined.
    pub viewers: usize,
    /// CPU milliseconds of all its programs per viewer and second, above the idle server's.
    pub cpu: f64,
    /// The same of the program that sends media alone.
    pub cpu_media: f64,
    /// The idle server's CPU milliseconds per second.
    pub cpu_idle: f64,
    /// CPU microseconds per packet.
    pub cpu_packet: f64,
    /// Cores that it kept busy, idle work included.
    pub busy: f64,
    /// CPU milliseconds per viewer and second of the client, for comparison.
    pub cpu_client: f64,
    /// Cores that programs besides the bench kept busy in the window.
    pub others: f64,
    /// Megabytes (10^6) per viewer that plays, as with threads and descriptors.
    pub memory: f64,
    /// Threads.
    pub threads: f64,
    /// Descriptors.
    pub descriptors: f64,
    /// What the viewers saw.
    #[serde(flatten)]
    pub seen: Seen,
    /// Where the program that sends media spends its time, if that was asked for; or why nobody
    /// knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<std::result::Result<Costs, String>>,
}

impl Figures {
    /// CPU per frame that reached a viewer: what is not sent costs nothing, and counts for nothing.
    pub fn cpu_served(&self) -> f64 {
        self.cpu / self.seen.frames_per_second.max(f64::MIN_POSITIVE)
    }
}

impl Setting {
    /// Measures one of the servers with that many viewers, and looks for its costs if wanted.
    pub fn measure(&self, subject: Subject, viewers: usize, profile: bool) -> Result<Figures> {
        let directory = self
            .directory
            .join(format!("{subject:?}-{viewers}").to_lowercase());
        // What an earlier run left says nothing about this one.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let place = Place {
            programs: self.programs.clone(),
            directory: directory.clone(),
            ports: Ports::free()?,
            address: self.address,
            viewers,
        };
        let server = self
            .cores
            .on(Side::Server, || Server::start(subject.server(), &place))?;
        self.cores.on(Side::Client, move || {
            let sender = Sender::start(Arc::clone(&self.recording), place.ports)?;
            self.watch(subject, &server, &sender, viewers, profile, &directory)
        })
    }

    fn watch(
        &self,
        subject: Subject,
        server: &Server,
        sender: &Sender,
        viewers: usize,
        profile: bool,
        directory: &Path,
    ) -> Result<Figures> {
        thread::sleep(SETTLE);
        let idle = Stretch::of(server, IDLE)?;
        let join = Join {
            server: server.kind,
            http: server.http,
            address: self.address,
            transport_cc: subject == Subject::Measuring,
            viewers,
            apart: APART,
        };
        let mut client = Client::join(&join, directory)?;
        thread::sleep(SETTLE);

        let before = clocks(&client)?;
        let from = wall_clock();
        let stretch = Stretch::of(server, self.window)?;
        let until = wall_clock();
        let after = clocks(&client)?;
        let [machine, own, client_used] =
            std::array::from_fn(|clock| (after[clock] - before[clock]).as_secs_f64());
        let others = machine - own - client_used;
        let seen = client.seen(&Window {
            from,
            until,
            sent: sender.sent_since(from - BEFORE),
        })?;
        // Last, since perf takes the client's cores.
        let costs = profile.then(|| costs::of(server.media(), directory));

        let each = viewers as f64;
        // Those that the server gave up hold nothing any more.
        let held = seen.playing.max(1) as f64;
        let cpu = (stretch.all_rate() - idle.all_rate()) / each;
        let used = |field: fn(&Usage) -> u64| {
            let (now, before) = (field(&stretch.after.1), field(&idle.after.1));
            (now as f64 - before as f64) / held
        };
        Ok(Figures {
            subject,
            viewers,
            cpu,
            cpu_media: (stretch.media_rate() - idle.media_rate()) / each,
            cpu_idle: idle.all_rate(),
            cpu_packet: cpu * each * stretch.seconds * 1e3 / seen.packets.max(1) as f64,
            busy: stretch.all_rate() / 1e3,
            // Hundredths of a second do not add up to the nanosecond.
            others: (others / stretch.seconds - stretch.all_rate() / 1e3).max(0.0),
            cpu_client: client_used * 1e3 / stretch.seconds / each,
            memory: used(|usage| usage.memory) / 1e6,
            threads: used(|usage| usage.threads),
            descriptors: used(|usage| usage.descriptors),
            seen,
            costs: costs.map(|costs| costs.map_err(|error| error.to_string())),
        })
    }
}

/// CPU times of the machine, of this program and of its client.
fn clocks(client: &Client) -> Result<[Duration; 3]> {
    let client = client.process().usage()?.cpu;
    Ok([machine::busy()?, machine::own()?, client])
}

/// What a server used over a stretch of time.
struct Stretch {
    before: (Usage, Usage),
    after: (Usage, Usage),
    seconds: f64,
}

impl Stretch {
    fn of(server: &Server, time: Duration) -> Result<Self> {
        let before = server.usage()?;
        let start = std::time::Instant::now();
        thread::sleep(time);
        let seconds = start.elapsed().as_secs_f64();
        Ok(Self {
            before,
            after: server.usage()?,
            seconds,
        })
    }

    /// CPU milliseconds per second of the program that sends media.
    fn media_rate(&self) -> f64 {
        (self.after.0.cpu - self.before.0.cpu).as_secs_f64() * 1e3 / self.seconds
    }

    /// CPU milliseconds per second of all programs.
    fn all_rate(&self) -> f64 {
        (self.after.1.cpu - self.before.1.cpu).as_secs_f64() * 1e3 / self.seconds
    }
}
