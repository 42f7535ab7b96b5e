//! The agent against a signaling server and a caller made of bare endpoints, under a virtual
//! clock and with a fake media.

mod informing;
mod leases;
mod users;

use std::sync::Mutex;
use std::time::Duration;

use sip::endpoint::Config;
use sip::{NameAddr, Uri};
use tokio::sync::oneshot;

use super::*;
use crate::media::{Clock, StreamImage, StreamInfo, StreamState, Wish};

/// Media that notes what it is asked; the test gives the events.
#[derive(Default)]
struct Fake(Mutex<Vec<String>>, Mutex<bool>);

impl Media for Fake {
    fn streams(&self) -> Vec<StreamInfo> {
        if *self.1.lock().unwrap() {
            return Vec::new();
        }
        vec![StreamInfo {
            name: "test".to_owned(),
            title: BTreeMap::from([(String::new(), "Test".to_owned())]),
            description: BTreeMap::new(),
            image: StreamImage::Own,
            codecs: Vec::new(),
            rungs: Vec::new(),
            state: StreamState::Live,
            error: None,
            viewers: 0,
            capacity: 10,
        }]
    }

    fn open(&self, stream: &str, viewer: ViewerId, _: Bytes) {
        self.note(format!("open {stream} {viewer}"));
    }

    fn add_candidate(&self, viewer: ViewerId, trickled: Trickled) {
        let at = trickled.candidate.address;
        self.note(format!("candidate {viewer} {at}"));
    }

    fn choose(&self, viewer: ViewerId, wish: Wish) {
        self.note(format!("choose {viewer} {wish:?}"));
    }

    fn close(&self, viewer: ViewerId, reason: &str) {
        self.note(format!("close {viewer} {reason}"));
    }

    fn image(&self, _: &str) -> oneshot::Receiver<Result<Bytes, Refusal>> {
        oneshot::channel().1
    }

    fn clock(&self) -> Clock {
        Clock {
            rtp: 7,
            rate: 90_000,
            wall: 8,
        }
    }

    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn stop(&self) -> oneshot::Receiver<()> {
        oneshot::channel().1
    }
}

impl Fake {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The agent's socket and the one at the other end of the link.
struct Link {
    now: Instant,
    agent: Agent,
    near: Endpoint,
    far: Endpoint,
    media: Arc<Fake>,
    painter: mpsc::Receiver<String>,
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 5060))
}

fn endpoint(host: u8) -> Endpoint {
    let mut state = u64::from(host) << 32;
    Endpoint::new(Config::new(address(host)), move || {
        state += 1;
        state
    })
}

impl Link {
    /// A link whose agent has registered already.
    fn registered() -> Self {
        let mut link = Link::new();
        let register = link.request();
        link.answer(register, StatusCode::OK);
        link
    }

    fn new() -> Self {
        Link::of(Account::default())
    }

    /// A link whose agent has a password, or none.
    fn of(account: Account) -> Self {
        let now = Instant::now();
        let settings = Settings {
            signaling: address(2),
            contact: address(1),
            instance: "urn:uuid:1".to_owned(),
            answer: StatusCode::ACCEPTED,
        };
        let media = Arc::new(Fake::default());
        let (paint, painter) = mpsc::channel(1);
        let mut near = endpoint(1);
        let (agent, _) = Agent::new(now, settings, account, media.clone(), paint, &mut near);
        Link {
            now,
            agent,
            near,
            far: endpoint(2),
            media,
            painter,
        }
    }

    /// Moves datagrams both ways until none is left.
    fn settle(&mut self) {
        loop {
            if self.agent.poll_timeout().is_some_and(|at| at <= self.now) {
                self.agent.handle_timeout(self.now, &mut self.near);
            }
            self.near.handle_timeout(self.now);
            self.far.handle_timeout(self.now);
            let mut moved = false;
            while let Some(transmit) = self.near.poll_transmit() {
                self.far
                    .handle_datagram(self.now, address(1), transmit.payload);
                moved = true;
            }
            while let Some(transmit) = self.far.poll_transmit() {
                self.near
                    .handle_datagram(self.now, address(2), transmit.payload);
                moved = true;
            }
            while let Some(event) = self.near.poll_event() {
                self.agent.handle_event(self.now, event, &mut self.near);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now += Duration::from_millis(100);
            self.settle();
        }
    }

    fn event(&mut self, event: MediaEvent) {
        self.command(Command::Media(event));
    }

    fn command(&mut self, command: Command) {
        self.agent.handle_command(self.now, command, &mut self.near);
        self.settle();
    }

    /// The next thing that the far end sees, provisional answers left out.
    fn far_event(&mut self) -> Option<Event> {
        self.settle();
        loop {
            match self.far.poll_event()? {
                Event::Response { response, .. } if response.status.is_provisional() => {}
                event => return Some(event),
            }
        }
    }

    fn request(&mut self) -> (ServerId, Request) {
        match self.far_event() {
            Some(Event::Request { id, request, .. }) => (id, request),
            other => panic!("{other:?}"),
        }
    }

    fn response(&mut self) -> Response {
        match self.far_event() {
            Some(Event::Response { response, .. }) => response,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, (id, request): (ServerId, Request), status: StatusCode) {
        self.far
            .respond(self.now, id, Response::to_request(&request, status));
        self.settle();
    }

    fn send(&mut self, request: Request) -> ClientId {
        let id = self.far.request(self.now, address(1), request);
        self.settle();
        id
    }

    fn invite(&mut self, stream: &str) -> Request {
        let uri = Uri::at(Some(stream), address(1));
        let from = NameAddr::new(Uri::at(Some("ana"), address(2))).with_tag("caller");
        let call_id = self.far.generate_call_id();
        let to = NameAddr::new(uri.clone());
        let mut invite = Request::new(Method::Invite, uri, from, to, &call_id, 1);
        let contact = NameAddr::new(Uri::at(Some("ana"), address(2)));
        invite.headers.push(Name::Contact, &contact.to_string());
        invite.set_body("application/sdp", Bytes::from("v=0\r\n"));
        invite
    }

    /// A call set up and acknowledged; the caller's view of it.
    fn call(&mut self) -> Dialog {
        self.call_with("v=0\r\n")
    }

    fn call_with(&mut self, offer: &str) -> Dialog {
        let mut invite = self.invite("test");
        invite.set_body("application/sdp", Bytes::from(offer.to_owned()));
        self.send(invite.clone());
        let viewer = ViewerId(self.agent.last_viewer);
        self.event(MediaEvent::Answered {
            viewer,
            result: Ok("v=0\r\nanswer".to_owned()),
        });
        let answer = self.response();
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let dialog = Dialog::uac(&invite, &answer);
        self.far.send_request(address(1), dialog.ack());
        self.settle();
        self.media.asked();
        dialog
    }
}

#[test]
fn a_call_is_answered_202_and_ended_by_the_viewer() {
    let mut link = Link::registered();
    let mut dialog = link.call();
    assert_eq!(link.agent.calls.len(), 1);
    link.send(dialog.request(Method::Bye));
    assert_eq!(link.response().status, StatusCode::OK);
    assert_eq!(link.media.asked(), ["close 1 The viewer left"]);
    assert!(link.agent.calls.is_empty() && link.agent.viewers.is_empty());
}

#[test]
fn a_viewer_that_is_gone_ends_its_call_with_the_reason() {
    let mut link = Link::registered();
    link.call();
    link.event(MediaEvent::Gone {
        viewer: ViewerId(1),
        reason: "The camera \"a\" was unplugged".to_owned(),
    });
    let (id, bye) = link.request();
    assert_eq!(bye.method, Method::Bye);
    let reason = Reason::parse(bye.headers.get(Name::Reason).unwrap()).unwrap();
    assert_eq!(reason.text, "The camera \"a\" was unplugged");
    link.answer((id, bye), StatusCode::OK);
    assert!(link.agent.calls.is_empty() && link.agent.farewells.is_empty());
}

#[test]
fn a_cancelled_call_is_refused_487_and_its_late_answer_forgotten() {
    let mut link = Link::registered();
    let invite = link.invite("test");
    let id = link.send(invite);
    link.far.cancel(link.now, id);
    assert_eq!(link.response().status, StatusCode::REQUEST_TERMINATED);
    assert_eq!(
        link.media.asked(),
        ["open test 1", "close 1 The viewer gave up"]
    );
    link.event(MediaEvent::Answered {
        viewer: ViewerId(1),
        result: Ok("late".to_owned()),
    });
    assert!(link.far_event().is_none());
    assert!(link.agent.calls.is_empty() && link.agent.viewers.is_empty());
}

#[test]
fn an_answer_without_ack_ends_in_bye_after_32_seconds() {
    let mut link = Link::registered();
    let invite = link.invite("test");
    link.send(invite);
    link.event(MediaEvent::Answered {
        viewer: ViewerId(1),
        result: Ok("v=0".to_owned()),
    });
    let mut bye = None;
    for _ in 0..40 {
        link.wait(1);
        while let Some(event) = link.far_event() {
            match event {
                Event::Request { id, request, .. } if request.method == Method::Register => {
                    link.answer((id, request), StatusCode::OK);
                }
                Event::Request { request, .. } => bye = Some(request.method),
                _ => {}
            }
        }
    }
    assert_eq!(bye, Some(Method::Bye));
    assert!(link.agent.calls.is_empty());
}

#[test]
fn what_cannot_be_played_is_refused_with_the_right_status() {
    let mut link = Link::registered();
    let mut no_sdp = link.invite("test");
    no_sdp.set_body("text/plain", Bytes::from("hello"));
    let mut no_body = link.invite("test");
    no_body.body = Bytes::new();
    let mut demanding = link.invite("test");
    demanding.headers.push(Name::Require, "100rel");
    let unknown = link.invite("nothing");
    for (invite, status) in [
        (unknown, StatusCode::NOT_FOUND),
        (no_sdp, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (no_body, StatusCode::NOT_ACCEPTABLE_HERE),
        (demanding, StatusCode::BAD_EXTENSION),
    ] {
        link.send(invite);
        assert_eq!(link.response().status, status);
    }
    assert!(link.media.asked().is_empty() && link.agent.calls.is_empty());
}

#[test]
fn a_bye_of_no_call_is_answered_481() {
    let mut link = Link::registered();
    let mut dialog = link.call();
    link.send(dialog.request(Method::Bye));
    link.response();
    link.send(dialog.request(Method::Bye));
    assert_eq!(link.response().status, StatusCode::CALL_DOES_NOT_EXIST);
}

#[test]
fn shutdown_says_bye_withdraws_the_streams_and_waits_for_the_answers() {
    let mut link = Link::registered();
    link.call();
    link.agent.handle_shutdown(link.now, &mut link.near);
    assert!(!link.agent.is_drained());
    let mut seen = Vec::new();
    while let Some(Event::Request { id, request, .. }) = link.far_event() {
        let expires = request.headers.get(Name::Expires).unwrap_or_default();
        seen.push(format!("{} {expires}", request.method));
        link.answer((id, request), StatusCode::OK);
    }
    seen.sort();
    assert_eq!(seen, ["BYE ", "REGISTER 0"]);
    assert!(link.agent.is_drained());
    let late = link.invite("test");
    link.send(late);
    assert_eq!(link.response().status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_stream_answers_questions_about_itself() {
    let mut link = Link::registered();
    let mut ask = link.invite("test");
    ask = Request::new(
        Method::Options,
        ask.uri.clone(),
        ask.from().clone(),
        ask.to().clone(),
        ask.call_id(),
        1,
    );
    let mut picture = ask.clone();
    ask.headers.push(Name::Accept, "application/json");
    link.send(ask);
    let info: serde_json::Value = serde_json::from_slice(&link.response().body).unwrap();
    assert_eq!(info["name"], "test");
    assert_eq!(
        info["clock"],
        serde_json::json!({"rtp": 7, "rate": 90_000, "wall": 8})
    );
    picture.headers.push(Name::Accept, "image/jpeg");
    link.send(picture.clone());
    assert_eq!(link.painter.try_recv().unwrap(), "test");
    link.command(Command::Picture {
        stream: "test".to_owned(),
        result: Ok(Bytes::from_static(b"jpeg")),
    });
    let answer = link.response();
    assert_eq!(answer.content_type().as_deref(), Some("image/jpeg"));
    assert_eq!(answer.body, "jpeg");
    // A stream without a picture is not away.
    link.send(picture);
    link.command(Command::Picture {
        stream: "test".to_owned(),
        result: Err(Refusal::NotRunning("no camera".to_owned())),
    });
    assert_eq!(link.response().status, StatusCode::NOT_ACCEPTABLE);
}

#[test]
fn a_cancel_that_names_another_call_than_its_branch_ends_neither() {
    let mut link = Link::registered();
    let dialog = link.call();
    let invite = link.invite("test");
    let id = link.send(invite);
    let sent = link.far.client_request(id).unwrap().clone();
    let mut cancel = Request::new(
        Method::Cancel,
        sent.uri.clone(),
        sent.from().clone(),
        sent.to().clone(),
        dialog.call_id(),
        1,
    );
    let via = sent.headers.get(Name::Via).unwrap();
    cancel.headers.push_front(Name::Via, via);
    link.near
        .handle_datagram(link.now, address(2), cancel.to_bytes());
    link.settle();
    assert_eq!(link.agent.calls.len(), 2);
    let Some(Event::Stray { response, .. }) = link.far_event() else {
        panic!("the CANCEL is answered");
    };
    assert_eq!(response.status, StatusCode::CALL_DOES_NOT_EXIST);
    assert!(link.far_event().is_none());
}

/// A call that is answered and not yet acknowledged; the caller's view of it.
fn answered(link: &mut Link) -> Dialog {
    let invite = link.invite("test");
    link.send(invite.clone());
    link.event(MediaEvent::Answered {
        viewer: ViewerId(link.agent.last_viewer),
        result: Ok("v=0".to_owned()),
    });
    Dialog::uac(&invite, &link.response())
}

fn gone(link: &mut Link) {
    link.event(MediaEvent::Gone {
        viewer: ViewerId(link.agent.last_viewer),
        reason: "The camera stopped".to_owned(),
    });
}

#[test]
fn a_call_that_ends_before_its_ack_is_hung_up_when_the_ack_comes() {
    let mut link = Link::registered();
    let dialog = answered(&mut link);
    gone(&mut link);
    assert_eq!(
        link.media.asked(),
        ["open test 1", "close 1 The camera stopped"]
    );
    assert!(link.far_event().is_none(), "no BYE before the ACK");
    link.far.send_request(address(1), dialog.ack());
    let (id, bye) = link.request();
    assert_eq!(bye.method, Method::Bye);
    let reason = Reason::parse(bye.headers.get(Name::Reason).unwrap()).unwrap();
    assert_eq!(reason.text, "The camera stopped");
    link.answer((id, bye), StatusCode::OK);
    assert!(link.agent.calls.is_empty() && link.media.asked().is_empty());
}

#[test]
fn a_call_that_ended_and_is_never_acknowledged_is_hung_up_in_the_end() {
    let mut link = Link::registered();
    answered(&mut link);
    gone(&mut link);
    link.wait(33);
    let mut byes = 0;
    while let Some(event) = link.far_event() {
        if let Event::Request { id, request, .. } = event {
            byes += usize::from(request.method == Method::Bye);
            link.answer((id, request), StatusCode::OK);
        }
    }
    assert_eq!(byes, 1);
    assert!(link.agent.calls.is_empty());
}

#[test]
fn a_caller_that_hangs_up_has_the_answer_and_is_not_sent_it_again() {
    let mut link = Link::registered();
    let mut dialog = answered(&mut link);
    link.send(dialog.request(Method::Bye));
    assert_eq!(link.response().status, StatusCode::OK);
    link.wait(10);
    assert!(link.far_event().is_none());
}

#[test]
fn an_ack_of_another_dialog_does_not_keep_a_call_for_ever() {
    let mut link = Link::registered();
    let invite = link.invite("test");
    link.send(invite.clone());
    link.event(MediaEvent::Answered {
        viewer: ViewerId(link.agent.last_viewer),
        result: Ok("v=0".to_owned()),
    });
    let answer = link.response();
    let from = invite.from().clone().with_tag("other");
    let uri = Uri::at(Some("test"), address(1));
    let to = answer.to().clone();
    let ack = Request::new(Method::Ack, uri, from, to, invite.call_id(), 1);
    link.far.send_request(address(1), ack);
    link.settle();
    gone(&mut link);
    link.wait(200);
    while let Some(event) = link.far_event() {
        if let Event::Request { id, request, .. } = event {
            link.answer((id, request), StatusCode::OK);
        }
    }
    assert_eq!(link.agent.calls.len(), 0);
}
