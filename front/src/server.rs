//! The three sockets of front and the tasks on them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admin::{Kind, Metric};
use serde_json::{Value, json};
use sip::Endpoint;
use sip::driver::{Socket, local_ip_towards, outer_address};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time;

use crate::call::{Addresses, COMMANDS, CallRole, Calls, Gauges, Snapshot};
use crate::config::Config;
use crate::error::Error;
use crate::http::{self, Doors, Pages, Web};
use crate::users::Users;

/// How often users whose token expired are forgotten.
const USER_SWEEP: Duration = Duration::from_secs(60);

/// Front: bound, not yet answering.
pub struct Server {
    http: TcpListener,
    http_address: SocketAddr,
    sip: Socket,
    endpoint: Endpoint,
    role: CallRole,
    commands: mpsc::Receiver<crate::call::Command>,
    web: Web,
    stopping: watch::Sender<bool>,
    live: Arc<Live>,
    admin: Option<admin::Server>,
}

/// The live objects, for operators and tests.
struct Live {
    calls: Calls,
    gauges: Arc<Gauges>,
    users: Arc<Mutex<Users>>,
    events: Arc<AtomicUsize>,
    serving: AtomicBool,
}

impl Server {
    /// Binds the HTTP, SIP and admin sockets. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a configuration that makes no sense, [`Error::Bind`] when an address
    /// is taken or not ours.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        config.check()?;
        let bind = |what, address| move |error| Error::bind(what, address, &error);
        let http = TcpListener::bind(config.http)
            .await
            .map_err(bind("HTTP", config.http))?;
        let http_address = http.local_addr().map_err(bind("HTTP", config.http))?;

        let account = config.account()?;
        let towards = bind("SIP towards", config.signaling);
        let local = SocketAddr::new(local_ip_towards(config.signaling).map_err(towards)?, 0);
        let sip = Socket::bind(local).map_err(bind("SIP", local))?;
        let addresses = Addresses {
            signaling: config.signaling,
            contact: config.advertise.unwrap_or(sip.local()),
        };

        let endpoint = sip.endpoint_at(addresses.contact);
        let (send, commands) = mpsc::channel(COMMANDS);
        let shown = Arc::new(watch::channel(Arc::new(Snapshot::default())).0);
        let gauges = Arc::new(Gauges::default());
        let role = CallRole::new(
            addresses,
            account,
            config.limits.silence,
            Arc::clone(&shown),
            Arc::clone(&gauges),
        );
        let (stopping, stopped) = watch::channel(false);
        let web = Web {
            calls: Calls::new(send, shown),
            users: Arc::default(),
            pages: Pages::new(config.static_dir),
            doors: Doors::new(http_address, config.allow_origins),
            limits: config.limits,
            events: Arc::default(),
            stopping: stopped,
        };
        let live = Arc::new(Live {
            calls: web.calls.clone(),
            gauges,
            users: Arc::clone(&web.users),
            events: Arc::clone(&web.events),
            serving: AtomicBool::new(false),
        });
        let token = config.admin_token_file.as_deref();
        let source = Arc::clone(&live);
        let admin = admin::Server::open(config.admin, token, source)
            .await
            .map_err(|error| Error::Config {
                why: error.to_string(),
            })?;
        Ok(Self {
            http,
            http_address,
            sip,
            endpoint,
            role,
            commands,
            web,
            stopping,
            live,
            admin,
        })
    }

    /// Where browsers connect, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.http_address
    }

    /// What to open in a browser, on this machine and, if they are let in, on others.
    pub fn url(&self) -> String {
        format!("http://{}", outer_address(self.http_address))
    }

    /// The SIP socket's address, with the real port.
    pub fn sip_addr(&self) -> SocketAddr {
        self.sip.local()
    }

    /// Where operators connect, if anywhere.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(admin::Server::addr)
    }

    /// What operators are shown.
    pub fn source(&self) -> Arc<dyn admin::Source> {
        Arc::clone(&self.live) as _
    }

    /// Serves until `shutdown` completes; then sends BYE for every session, refuses new calls and
    /// returns within five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] when the SIP socket breaks.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            http,
            http_address,
            sip,
            endpoint,
            role,
            commands,
            web,
            stopping,
            live,
            admin,
            ..
        } = self;
        live.serving.store(true, Ordering::Relaxed);
        if !http_address.ip().is_loopback() {
            tracing::warn!(
                "http://{} is open to other machines, without passwords or encryption",
                outer_address(http_address)
            );
        }
        let limits = web.limits;
        let stopped = || {
            let mut stopping = stopping.subscribe();
            async move {
                // A dropped sender means the end as well.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            }
        };
        let local = sip.local();
        let users = Arc::clone(&live.users);
        // Asked for once by ourselves, so that a server that is not there is told of in the log;
        // not at once, since programs that are started together need a moment.
        let calls = web.calls.clone();
        let first_stopped = stopped();
        let first_list = async move {
            let asked = async {
                time::sleep(limits.silence).await;
                let _ = calls.streams().await;
            };
            tokio::select! {
                () = asked => {}
                () = first_stopped => {}
            }
        };
        let sip = sip.run(endpoint, role, commands, stopped());
        let http = http::serve(http, http::router(web), limits, stopping.subscribe());
        let admin_stopped = stopped();
        let admin = async move {
            if let Some(admin) = admin {
                // It has no errors once bound.
                let _ = admin.run(admin_stopped).await;
            }
        };
        let sweep_stopped = stopped();
        let sweep = async move {
            let sweep = async {
                let mut tick = time::interval(USER_SWEEP);
                loop {
                    let now = tick.tick().await.into_std();
                    users
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .expire(now);
                }
            };
            tokio::select! {
                () = sweep => {}
                () = sweep_stopped => {}
            }
        };
        let stop = async {
            shutdown.await;
            live.serving.store(false, Ordering::Relaxed);
            stopping.send_replace(true);
        };
        let sip = async {
            let ended = sip.await;
            // Without SIP nothing here is of use: the rest ends with it.
            stopping.send_replace(true);
            ended.map_err(|error| Error::bind("SIP", local, &error))
        };
        let work = async { tokio::join!(sip, http, admin, sweep, first_list).0 };
        let mut work = std::pin::pin!(work);
        tokio::select! {
            ended = &mut work => return ended,
            () = stop => {}
        }
        work.await
    }
}

impl admin::Source for Live {
    /// The signaling server gives the list of streams: it is asked, unless it just was.
    fn ready(&self) -> admin::Ready<'_> {
        Box::pin(async {
            let listed = self.calls.streams().await;
            self.serving.load(Ordering::Relaxed) && listed.is_ok_and(|list| list.is_current())
        })
    }

    fn state(&self) -> Value {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = &self.gauges;
        json!({
            "role": "front",
            "calls": gauges.calls.load(Ordering::Relaxed),
            "sessions": gauges.sessions.load(Ordering::Relaxed),
            "ended": gauges.ended.load(Ordering::Relaxed),
            "transactions": gauges.transactions.load(Ordering::Relaxed),
            "users": users.len(),
            "events": self.events.load(Ordering::Relaxed),
        })
    }
    fn describe(&self, path: &str) -> Option<Metric> {
        let help = match path {
            "calls" => "Calls being set up, cancelled or ended.",
            "sessions" => "Running calls.",
            "ended" => "Ended calls whose reason is still told.",
            "transactions" => "SIP transactions.",
            "users" => "Registered users.",
            "events" => "Browsers that follow the list of streams.",
            _ => return None,
        };
        let kind = Kind::Gauge;
        Some(Metric { help, kind })
    }
}
