//! The streamer as a whole: media, the SIP agent and the admin listener, and how they end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use admin::{Kind, Metric};
use serde_json::{Value, json};
use sip::driver::{Socket, local_ip_towards};
use sip::{Endpoint, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::agent::{Agent, Command, Settings, Shown};
use crate::config::Config;
use crate::error::Error;
use crate::media::{self, Media, MediaEvent};

/// Commands waiting for the agent: it takes them as fast as they come.
const COMMANDS: usize = 256;
/// Pictures asked for and not yet made; one stream counts once.
const PICTURES: usize = 16;

/// The streamer: bound, its pipelines starting, not yet registered.
pub struct Server {
    media: Arc<dyn Media>,
    media_events: mpsc::Receiver<MediaEvent>,
    socket: Socket,
    endpoint: Endpoint,
    agent: Agent,
    pictures: mpsc::Receiver<String>,
    live: Arc<Live>,
    admin: Option<admin::Server>,
}

impl Server {
    /// Reads the descriptions, starts their pipelines and binds the sockets. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a configuration that makes no sense, [`Error::Media`] for a
    /// description that cannot be used or a GStreamer without WebRTC, [`Error::Socket`] and
    /// [`Error::Admin`] when an address is taken or not ours.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        config.check()?;
        let account = config.account()?;
        let socket_error = |what, address| {
            move |source| Error::Socket {
                what,
                address,
                source,
            }
        };
        let towards = socket_error("SIP towards", config.signaling);
        let local = SocketAddr::new(local_ip_towards(config.signaling).map_err(towards)?, 0);
        let socket = Socket::bind(local).map_err(socket_error("SIP", local))?;
        let (media, media_events) = media::start(&config.media())?;
        let media: Arc<dyn Media> = Arc::new(media);

        let settings = Settings {
            signaling: config.signaling,
            contact: config.advertise.unwrap_or(socket.local()),
            instance: config.instance_urn(),
            // The flag's range has no room for anything else.
            answer: StatusCode::new(config.answer_code).unwrap_or(StatusCode::ACCEPTED),
        };
        let mut endpoint = socket.endpoint();
        let (painter, pictures) = mpsc::channel(PICTURES);
        let now = Instant::now();
        let speaks = Arc::clone(&media);
        let (agent, shown) = Agent::new(now, settings, account, speaks, painter, &mut endpoint);
        let live = Arc::new(Live {
            media: Arc::clone(&media),
            shown,
        });
        let token = config.admin_token_file.as_deref();
        let source = Arc::clone(&live);
        let admin = admin::Server::open(config.admin, token, source).await?;
        Ok(Server {
            media,
            media_events,
            socket,
            endpoint,
            agent,
            pictures,
            live,
            admin,
        })
    }

    /// The SIP socket's address, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local()
    }

    /// Where operators connect, if anywhere.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(admin::Server::addr)
    }

    /// What operators are shown.
    pub fn source(&self) -> Arc<dyn admin::Source> {
        Arc::clone(&self.live) as _
    }

    /// Names of the streams, in order.
    pub fn streams(&self) -> Vec<String> {
        let streams = self.media.streams();
        streams.into_iter().map(|stream| stream.name).collect()
    }

    /// Serves until `shutdown` completes; then says BYE to every viewer, withdraws the streams
    /// and returns within five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`] when the SIP socket breaks.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Server {
            media,
            mut media_events,
            socket,
            endpoint,
            agent,
            mut pictures,
            admin,
            ..
        } = self;
        let (stopping, stopped) = watch::channel(false);
        let stopped = || {
            let mut stopped = stopped.clone();
            async move {
                // A dropped sender means the end as well.
                let _ = stopped.wait_for(|stopping| *stopping).await;
            }
        };
        let address = socket.local();
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let sip = async {
            let ended = socket.run(endpoint, agent, inbox, stopped()).await;
            // Without SIP nothing here is of use: the rest ends with it.
            stopping.send_replace(true);
            ended.map_err(|source| Error::Socket {
                what: "SIP",
                address,
                source,
            })
        };
        let events = async {
            while let Some(event) = media_events.recv().await {
                if commands.send(Command::Media(event)).await.is_err() {
                    return;
                }
            }
        };
        let painting = async {
            // Side by side: a picture that takes its time is not waited for by the others.
            let mut painted = JoinSet::new();
            loop {
                let command = tokio::select! {
                    stream = pictures.recv() => {
                        let Some(stream) = stream else { return };
                        let picture = media.image(&stream);
                        painted.spawn(async move {
                            let result = picture.await.unwrap_or_else(|_| {
                                let text = "the streamer is stopping".to_owned();
                                Err(media::Refusal::NotRunning(text))
                            });
                            Command::Picture { stream, result }
                        });
                        continue;
                    }
                    Some(Ok(command)) = painted.join_next() => command,
                };
                if commands.send(command).await.is_err() {
                    return;
                }
            }
        };
        let admin = async {
            if let Some(admin) = admin {
                // It has no errors once bound.
                let _ = admin.run(stopped()).await;
            }
        };
        let freed = async {
            stopped().await;
            // It is dropped unanswered when media has ended by itself.
            let _ = media.stop().await;
        };
        let stop = async {
            tokio::select! {
                () = shutdown => {}
                () = stopped() => {}
            }
            stopping.send_replace(true);
        };
        let helpers = async {
            tokio::join!(events, painting);
        };
        let work = async { tokio::join!(sip, admin, freed, stop).0 };
        tokio::select! {
            ended = work => ended,
            // Both end when the agent takes no more commands, and then `work` ends as well.
            () = async { helpers.await; std::future::pending().await } => Ok(()),
        }
    }
}

/// The live objects, for operators and tests.
struct Live {
    media: Arc<dyn Media>,
    shown: watch::Receiver<Shown>,
}

impl admin::Source for Live {
    /// Every stream holds a lease in the directory.
    fn ready(&self) -> admin::Ready<'_> {
        let registered = self.shown.borrow().registered;
        let ready = registered > 0 && registered == self.media.streams().len();
        Box::pin(std::future::ready(ready))
    }

    fn state(&self) -> Value {
        let mut state = self.media.state();
        let shown = self.shown.borrow().clone();
        state["role"] = json!("streamer");
        state["calls"] = json!(shown.calls);
        state["transactions"] = json!(shown.transactions);
        state["registered"] = json!(shown.registered);
        state
    }
    fn describe(&self, path: &str) -> Option<Metric> {
        let help = match path {
            "viewers" => "Viewers, over all streams.",
            "encoders" => "Encoders, by GStreamer's name of their kind.",
            "streams/viewers" => "Viewers of a stream.",
            "calls" => "Calls, those that wait for an answer included.",
            "registered" => "Streams that the signaling server lists.",
            "transactions" => "SIP transactions.",
            _ => return None,
        };
        let kind = match path {
            "encoders" => Kind::By("factory"),
            _ => Kind::Gauge,
        };
        Some(Metric { help, kind })
    }
}
