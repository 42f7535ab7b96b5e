//! How a viewer's SDP and the server's meet. Each request waits on a thread of its own, so that
//! the one that receives media never does.

use std::net::SocketAddr;
use std::thread;

use serde_json::{Value, json};

use super::http::{self, Response};
use super::mailbox::{Mail, Mailbox};
use crate::protocol::Server;
use crate::{Result, wall_clock};

/// A way into a server, made before the viewer's time is taken.
#[derive(Debug, Clone)]
pub enum Door {
    /// Where to POST the offer.
    Whep(SocketAddr),
    /// A handle of the streaming plugin in a session of its own.
    Janus {
        /// Where the API is.
        http: SocketAddr,
        /// Path of the session, where its events come from.
        session: String,
        /// Path of the handle.
        handle: String,
    },
}

/// The server's SDP, and the two times before and after it.
#[derive(Debug)]
pub struct Answer {
    /// When it was asked for, on the wall clock.
    pub asked: u64,
    /// When it was there.
    pub answered: u64,
    /// Its text.
    pub sdp: String,
    /// Where the viewer is ended, if the server said so.
    pub location: Option<String>,
}

impl Door {
    /// Opens one.
    pub fn open(server: Server, http: SocketAddr) -> Result<Self> {
        if server == Server::Rusticast {
            return Ok(Self::Whep(http));
        }
        let made = |path: &str, mut body: Value| -> Result<String> {
            body["transaction"] = "bench".into();
            let made = http::post_json(http, path, &body)?;
            let id = made["data"]["id"].as_u64();
            let id = id.ok_or_else(|| format!("no id in {made}"))?;
            Ok(format!("{path}/{id}"))
        };
        let session = made("/janus", json!({"janus": "create"}))?;
        let attach = json!({"janus": "attach", "plugin": "janus.plugin.streaming"});
        let handle = made(&session, attach)?;
        Ok(Self::Janus {
            http,
            session,
            handle,
        })
    }

    /// Whether the server's SDP is the offer.
    pub fn offers(&self) -> bool {
        matches!(self, Self::Janus { .. })
    }

    /// Asks for the server's SDP; `offer` is the viewer's where the server answers. It comes as
    /// mail for `viewer`.
    pub fn ask(&self, offer: String, viewer: usize, mailbox: &Mailbox) {
        let (door, mailbox) = (self.clone(), mailbox.clone());
        thread::spawn(move || {
            let asked = wall_clock();
            let answer = door.answer(&offer).map(|answer| Answer {
                asked,
                answered: wall_clock(),
                sdp: answer.body,
                location: answer.location,
            });
            mailbox.post(Mail::Answer(viewer, answer.map_err(|e| e.to_string())));
        });
    }

    fn answer(&self, offer: &str) -> Result<Response> {
        match self {
            Self::Whep(http) => http::post(*http, "/whep/bench", "application/sdp", offer),
            Self::Janus { http, session, .. } => {
                self.message(&json!({"request": "watch", "id": 1}), None)?;
                loop {
                    let event = http::get_json(*http, session)?;
                    if let Some(sdp) = event["jsep"]["sdp"].as_str() {
                        return Ok(Response {
                            location: None,
                            body: sdp.to_owned(),
                        });
                    }
                    if event["plugindata"]["data"]["error"].is_string() {
                        return Err(event.to_string().into());
                    }
                }
            }
        }
    }

    /// Gives the viewer's answer to a server that offers.
    pub fn start(&self, answer: String) {
        let door = self.clone();
        thread::spawn(move || {
            let jsep = json!({"type": "answer", "sdp": answer});
            if let Err(error) = door.message(&json!({"request": "start"}), Some(jsep)) {
                eprintln!("viewers: start: {error}");
            }
        });
    }

    fn message(&self, body: &Value, jsep: Option<Value>) -> Result<()> {
        let Self::Janus { http, handle, .. } = self else {
            return Ok(());
        };
        let mut message = json!({"janus": "message", "transaction": "bench", "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        http::post_json(*http, handle, &message)?;
        Ok(())
    }
}
