//! A signaling server with streamers behind it, in one: does what the test tells it and reports
//! what it hears.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use sip::driver::{Role, Socket};
use sip::{Dialog, Endpoint, Event, Method, Name, Reason, Request, Response, ServerId, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time;

use super::LIMIT;

pub(crate) const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\ns=-\r\n";

/// What to do with an INVITE.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// 202 with an answer.
    Accept,
    /// This status, with this Reason text if it has any.
    Refuse(u16, &'static str),
    /// Nothing but the 100.
    Wait,
    /// A 202 when the CANCEL comes: as if they had crossed.
    AcceptWhenCancelled,
}

pub(crate) enum Command {
    Manner(Manner),
    Streams(Value),
    Image(Option<Bytes>),
    Silent(bool),
    /// BYE with this reason for every running call.
    HangUp(&'static str),
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    commands: mpsc::Sender<Command>,
    heard: mpsc::UnboundedReceiver<Request>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let socket = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local();
        let endpoint = socket.endpoint();
        let (commands, inbox) = mpsc::channel(16);
        let (tell, heard) = mpsc::unbounded_channel();
        let far = Far {
            manner: Manner::Accept,
            streams: json!([entry("test")]),
            image: None,
            silent: false,
            pending: Vec::new(),
            calls: Vec::new(),
            tell,
            address,
        };
        let task = tokio::spawn(socket.run(endpoint, far, inbox, std::future::pending()));
        Self {
            address,
            commands,
            heard,
            task,
        }
    }

    pub(crate) async fn tell(&self, command: Command) {
        assert!(self.commands.send(command).await.is_ok());
    }

    /// The next request of this method; others before it are forgotten.
    pub(crate) async fn heard(&mut self, method: &str) -> Request {
        let wait = async {
            loop {
                let request = self.heard.recv().await.expect("the fake runs");
                if request.method.as_str() == method {
                    return request;
                }
            }
        };
        time::timeout(LIMIT, wait)
            .await
            .unwrap_or_else(|_| panic!("no {method} came"))
    }

    /// Requests of this method that have come and were not looked at.
    pub(crate) fn count(&mut self, method: &str) -> usize {
        let mut count = 0;
        while let Ok(request) = self.heard.try_recv() {
            count += usize::from(request.method.as_str() == method);
        }
        count
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An entry of the directory.
pub(crate) fn entry(name: &str) -> Value {
    json!({
        "name": name,
        "title": {"": "Test pattern"},
        "description": {"": "Colour bars"},
        "image": true,
        "codecs": ["VP8", "opus"],
        "rungs": [],
        "state": "live",
        "error": null,
        "viewers": 0,
        "capacity": 100,
    })
}

struct Far {
    manner: Manner,
    streams: Value,
    image: Option<Bytes>,
    silent: bool,
    pending: Vec<(ServerId, Request)>,
    calls: Vec<Dialog>,
    tell: mpsc::UnboundedSender<Request>,
    address: SocketAddr,
}

impl Far {
    fn accept(&mut self, now: Instant, id: ServerId, invite: &Request, endpoint: &mut Endpoint) {
        let tag = endpoint.generate_tag();
        let mut response = Response::to_request(invite, StatusCode::ACCEPTED);
        response.set_to_tag(&tag);
        let contact = format!("<sip:streamer@{}>", self.address);
        response.headers.push(Name::Contact, &contact);
        response.set_body("application/sdp", Bytes::from_static(ANSWER.as_bytes()));
        endpoint.accept(now, id, response);
        self.calls.push(Dialog::uas(invite, &tag));
    }

    fn options(&self, request: &Request) -> Response {
        let ok = |kind, body: Bytes| {
            let mut response = Response::to_request(request, StatusCode::OK);
            response.set_body(kind, body);
            response
        };
        match request.headers.get(Name::Accept) {
            Some("application/json") => {
                let page = json!({"streams": self.streams, "more": false});
                ok("application/json", page.to_string().into())
            }
            Some("image/jpeg") => match &self.image {
                Some(image) => ok("image/jpeg", image.clone()),
                None => Response::to_request(request, StatusCode::NOT_ACCEPTABLE),
            },
            _ => Response::to_request(request, StatusCode::OK),
        }
    }
}

impl Role for Far {
    type Command = Command;

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request { id, request, .. } if !self.silent => {
                let _ = self.tell.send(request.clone());
                match (&request.method, self.manner.clone()) {
                    (Method::Invite, Manner::Accept) => self.accept(now, id, &request, endpoint),
                    (Method::Invite, Manner::Refuse(code, text)) => {
                        let status = StatusCode::new(code).unwrap();
                        let mut refusal = Response::to_request(&request, status);
                        if !text.is_empty() {
                            let reason = Reason::new(code, text).to_string();
                            refusal.headers.push(Name::Reason, &reason);
                        }
                        endpoint.respond(now, id, refusal);
                    }
                    (Method::Invite, _) => self.pending.push((id, request)),
                    (Method::Info, _) => {
                        let ok = Response::to_request(&request, StatusCode::OK);
                        endpoint.respond(now, id, ok);
                    }
                    (Method::Options, _) => endpoint.respond(now, id, self.options(&request)),
                    _ => {
                        self.calls
                            .retain(|call| call.call_id() != request.call_id());
                        let ok = Response::to_request(&request, StatusCode::OK);
                        endpoint.respond(now, id, ok);
                    }
                }
            }
            Event::Cancel { invite, request } => {
                let _ = self.tell.send(request);
                let at = self.pending.iter().position(|(id, _)| *id == invite);
                let (id, request) = self.pending.remove(at.unwrap());
                if matches!(self.manner, Manner::AcceptWhenCancelled) {
                    self.accept(now, id, &request, endpoint);
                } else {
                    let end = Response::to_request(&request, StatusCode::REQUEST_TERMINATED);
                    endpoint.respond(now, id, end);
                }
            }
            Event::Ack { request, .. } => {
                let _ = self.tell.send(request);
            }
            _ => {}
        }
    }

    fn handle_command(&mut self, now: Instant, command: Command, endpoint: &mut Endpoint) {
        match command {
            Command::Manner(manner) => self.manner = manner,
            Command::Streams(streams) => self.streams = streams,
            Command::Image(image) => self.image = image,
            Command::Silent(silent) => self.silent = silent,
            Command::HangUp(text) => {
                for mut call in self.calls.drain(..) {
                    let mut bye = call.request(Method::Bye);
                    let reason = Reason::new(480, text).to_string();
                    bye.headers.push(Name::Reason, &reason);
                    let front = bye.uri.socket_addr().unwrap();
                    endpoint.request(now, front, bye);
                }
            }
        }
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Endpoint) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_shutdown(&mut self, _: Instant, _: &mut Endpoint) {}

    fn is_drained(&self) -> bool {
        true
    }
}
