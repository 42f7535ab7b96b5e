//! The socket, the file and the window for operators, and the tasks on them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use admin::{Document, Kind, Metric};
use serde_json::{Value, json};
use sip::driver::{Role, Socket, outer_addresses};
use sip::{Endpoint, Event};
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use crate::auth::Gate;
use crate::auth::users::Users;
use crate::burst::Burst;
use crate::config::Config;
use crate::error::Error;
use crate::ladder::{Flow, Ladder, Recorder, Writers};
use crate::rates::{Rates, Trust};
use crate::role::{Counts, Signaling};
use crate::routing::Own;
use crate::store::Snapshot;
use crate::store::file::{DataFile, OpenError};
use crate::store::writer::{self, SnapshotRequest};

/// What changed is told to the writer and to operators at most this often.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// While transactions run out, or the ladder settles after them, without the role being called, this
/// is looked at so often.
const GAUGE_INTERVAL: Duration = Duration::from_millis(250);
/// The writer asks for one snapshot at a time.
const REQUESTS: usize = 1;

/// Signaling: bound, not yet answering.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    own: Own,
    file: Option<DataFile>,
    kept: Snapshot,
    trust: Trust,
    gate: Option<Gate>,
    gauges: watch::Sender<Gauges>,
    ladder: Arc<Ladder>,
    writers: Writers,
    admin: Option<admin::Server>,
}

/// The numbers that operators see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gauges {
    serving: bool,
    counts: Counts,
    transactions: usize,
    malformed: u64,
    refused: u64,
    denied: u64,
}

/// Shows [`Gauges`] and the ladder to the admin server.
struct Live {
    gauges: watch::Receiver<Gauges>,
    ladder: Arc<Ladder>,
    capture: Option<Arc<Flow>>,
}

impl Server {
    /// Binds the SIP and admin sockets and reads the data base. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the configuration makes no sense, an address cannot be bound, the data base's
    /// directory cannot be written, or another server has it.
    pub async fn bind(config: Config) -> Result<Server, Error> {
        config.check()?;
        let bind = |source| Error::Bind {
            address: config.listen,
            source,
        };
        let users = config.users.as_deref().map(Users::read).transpose();
        let users = users.map_err(|why| Error::Users { why })?;
        let gate = users.map(|users| Gate::new(users, config.auth_calls, key(), Instant::now()));
        let mut socket = Socket::bind(config.listen).map_err(bind)?;
        let local = socket.local();
        let advertised = match config.advertise {
            Some(address) => vec![address],
            None => outer_addresses(local),
        };
        let Some((&first, other)) = advertised.split_first() else {
            let why = format!(
                "--listen {} is every address of this machine, and no route tells which one others \
                 reach: name it with --advertise IP:PORT",
                config.listen
            );
            return Err(Error::Config { why });
        };
        if local.ip().is_unspecified() {
            let addresses: Vec<String> = advertised.iter().map(ToString::to_string).collect();
            info!(
                "others are told to reach this server at {}",
                addresses.join(" and ")
            );
        }
        let own = Own::new(first, &[local]);
        let own = other.iter().fold(own, |own, other| own.advertising(*other));
        let opened = config.data_file().map(|path| {
            DataFile::open(path, SystemTime::now()).map_err(|error| {
                let path = path.to_owned();
                match error {
                    OpenError::InUse => Error::DataInUse { path },
                    OpenError::Disk(source) => Error::Data { path, source },
                }
            })
        });
        let (file, kept) = opened.transpose()?.unzip();
        let ladder = Arc::new(Ladder::new(config.ladder));
        let (recorder, writers) = Recorder::open(&config, &ladder)?;
        if recorder.is_needed() {
            socket = socket.with_tap(Box::new(recorder));
        }
        let (gauges, seen) = watch::channel(Gauges::default());
        let live = Live {
            gauges: seen,
            ladder: Arc::clone(&ladder),
            capture: writers.capture(),
        };
        let token = config.admin_token_file.as_deref();
        let admin = admin::Server::open(config.admin, token, Arc::new(live)).await?;
        Ok(Server {
            own,
            socket,
            file,
            kept: kept.unwrap_or_default(),
            trust: config.trust,
            gate,
            gauges,
            ladder,
            writers,
            admin,
        })
    }

    /// Where SIP is listened for, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local()
    }

    /// Where operators connect, if anywhere.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(admin::Server::addr)
    }

    /// What operators are shown.
    pub fn source(&self) -> Arc<dyn admin::Source> {
        Arc::new(Live {
            gauges: self.gauges.subscribe(),
            ladder: Arc::clone(&self.ladder),
            capture: self.writers.capture(),
        })
    }

    /// Serves until `shutdown` completes; then refuses new calls, lets those under way be
    /// answered for two seconds, writes the data base a last time and returns. Running calls are
    /// not touched: they go on, and go on being known, after the next start.
    ///
    /// # Errors
    /// [`Error::Socket`] when the SIP socket breaks.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Server {
            socket,
            own,
            file,
            kept,
            trust,
            gate,
            gauges,
            ladder,
            writers,
            admin,
        } = self;
        let address = socket.local();
        let trusted = trust.clone();
        let endpoint = socket.endpoint_at_both(own.advertised(), own.other());
        let endpoint = endpoint.with_trust(move |ip| trusted.contains(ip));
        let rates = Rates::new(trust);
        let mut role = Signaling::new(own, rates, Instant::now(), SystemTime::now(), &kept);
        if let Some(gate) = gate {
            role = role.with_gate(gate);
        }
        drop(kept);
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (revision, changes) = watch::channel(role.revision());
        let writing = file
            .clone()
            .map(|file| writer::run(file, changes, requests));
        let writer = writing.map(tokio::spawn);
        let (stop_admin, stopped) = watch::channel(());
        let admin = tokio::spawn(async move {
            if let Some(admin) = admin {
                let mut stopped = stopped;
                // It has no errors once bound; a dropped sender is what it waits for.
                let stop = async { drop(stopped.changed().await) };
                let _ = admin.run(stop).await;
            }
        });

        let published = Published {
            role: &mut role,
            revision,
            gauges,
            ladder,
            burst: Burst::default(),
            due: Some(Instant::now()),
        };
        let ended = socket.run(endpoint, published, receiver, shutdown).await;
        drop(stop_admin);
        // The writer saw its channels close; a write that was begun is finished.
        if let Some(writer) = writer {
            let _ = writer.await;
        }
        if let Some(file) = file {
            let last = role.snapshot();
            let written = tokio::task::spawn_blocking(move || file.write(&last)).await;
            if let Err(error) = written.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
                error!("data base cannot be written: {error}");
            }
        }
        // The socket is gone, and with it what the writers wait for.
        writers.finish().await;
        let _ = admin.await;
        ended.map_err(|source| Error::Socket { address, source })
    }
}

/// What nonces are made with, another one at each start.
fn key() -> [u8; 64] {
    let mut key = [0; 64];
    // The generator fails only where the system has none, and nothing secret could be made there.
    getrandom::fill(&mut key).expect("the operating system gives random numbers");
    key
}

/// The pure role, with what the other tasks need to know of it told to them after each step.
struct Published<'a> {
    role: &'a mut Signaling,
    revision: watch::Sender<u64>,
    gauges: watch::Sender<Gauges>,
    ladder: Arc<Ladder>,
    burst: Burst,
    /// When to tell the next time; nothing to tell when `None`.
    due: Option<Instant>,
}

impl Published<'_> {
    fn touch(&mut self, now: Instant) {
        self.due.get_or_insert(now + PUBLISH_INTERVAL);
    }

    fn publish(&mut self, now: Instant, endpoint: &Endpoint) {
        let transactions = endpoint.transactions();
        if self.burst.is_move_due(now, transactions) {
            self.ladder.gather();
        }
        let is_busy = transactions > 0 || self.burst.is_settling();
        self.due = is_busy.then_some(now + GAUGE_INTERVAL);
        let gauges = Gauges {
            serving: true,
            counts: self.role.counts(),
            transactions,
            malformed: endpoint.malformed(),
            refused: self.role.refused(),
            denied: self.role.denied(),
        };
        self.gauges
            .send_if_modified(|seen| std::mem::replace(seen, gauges) != gauges);
        let revision = self.role.revision();
        self.revision
            .send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
    }
}

impl Role for Published<'_> {
    type Command = SnapshotRequest;

    fn admits(&mut self, now: Instant, source: SocketAddr) -> bool {
        // Of what is refused or no message, nothing else will be heard here.
        self.touch(now);
        self.role.admits(now, source)
    }

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        self.role.handle_event(now, event, endpoint);
        self.touch(now);
    }

    fn handle_command(&mut self, _: Instant, command: SnapshotRequest, _: &mut Endpoint) {
        // Who asked may be gone.
        let _ = command.0.send(self.role.snapshot());
    }

    fn handle_stream_end(&mut self, now: Instant, peer: SocketAddr) {
        self.role.handle_stream_end(now, peer);
        self.touch(now);
    }

    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.role.poll_timeout().is_some_and(|at| at <= now) {
            self.role.handle_timeout(now, endpoint);
            self.touch(now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.publish(now, endpoint);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.role.poll_timeout(), self.due]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_shutdown(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.gauges.send_modify(|seen| seen.serving = false);
        self.role.handle_shutdown(now, endpoint);
    }

    fn is_drained(&self) -> bool {
        self.role.is_drained()
    }
}

impl admin::Source for Live {
    fn ready(&self) -> admin::Ready<'_> {
        Box::pin(async { self.gauges.borrow().serving })
    }

    fn state(&self) -> Value {
        let Gauges {
            counts,
            transactions,
            malformed,
            refused,
            denied,
            ..
        } = *self.gauges.borrow();
        let fill = self.ladder.fill();
        let mut state = json!({
            "role": "signaling",
            "streamers": counts.streamers,
            "sessions": counts.sessions,
            "calls": counts.calls,
            "stale": counts.stale,
            "transactions": transactions,
            "malformed": malformed,
            "refused": refused,
            "denied": denied,
            "ladder": {"calls": fill.calls, "bytes": fill.bytes},
        });
        if let Some(capture) = &self.capture {
            state["capture"] = capture.state();
        }
        state
    }

    fn describe(&self, path: &str) -> Option<Metric> {
        let help = match path {
            "streamers" => "Streamers registered, each stream of each one.",
            "sessions" => "Calls known, stale ones included.",
            "calls" => "Calls that wait for an answer.",
            "stale" => "Streamers and calls from before a restart, not confirmed since.",
            "transactions" => "SIP transactions.",
            "malformed" => "Datagrams that could not be read.",
            "ladder/calls" => "Calls whose messages are kept.",
            "capture/datagrams" => "Datagrams written to the capture.",
            "capture/lost" => "Datagrams that the capture lacks.",
            "ladder/bytes" => "Memory of the messages kept, in bytes.",
            "denied" => "Requests with a wrong user or password.",
            "refused" => "Messages and calls beyond the rate of their source.",
            _ => return None,
        };
        let kind = match path {
            "malformed" | "refused" | "denied" | "capture/datagrams" | "capture/lost" => {
                Kind::Counter
            }
            _ => Kind::Gauge,
        };
        Some(Metric { help, kind })
    }

    fn document(&self, path: &str) -> Option<Document> {
        self.ladder.document(path)
    }
}
