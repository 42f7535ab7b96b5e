//! The role against an endpoint that plays signaling server and streamer, on a virtual clock.

use std::time::Duration;

use sip::Dialog;
use sip::auth::{Credentials, Secret, Verifier, WRONG};
use sip::endpoint::Config;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::config::Limits;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\n";
const KEY: CallKey = CallKey(1);

/// Front, its counterpart, a perfect link that can be cut, and the time.
struct World {
    now: Instant,
    role: CallRole,
    front: Endpoint,
    far: Endpoint,
    /// What the counterpart heard and the test has not looked at.
    heard: Vec<Event>,
    cut: bool,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn endpoint(port: u16) -> Endpoint {
    let mut last = u64::from(port) << 32;
    Endpoint::new(Config::new(address(port)), move || {
        last += 1;
        last
    })
}

impl World {
    fn new() -> Self {
        let addresses = Addresses {
            signaling: address(5060),
            contact: address(4000),
        };
        let shown = Arc::new(watch::channel(Arc::default()).0);
        Self {
            now: Instant::now(),
            role: CallRole::new(
                addresses,
                Account::new("front", Secret::new("the password")),
                Limits::default().silence,
                shown,
                Arc::default(),
            ),
            front: endpoint(4000),
            far: endpoint(5060),
            heard: Vec::new(),
            cut: false,
        }
    }

    fn pump(&mut self) {
        loop {
            while let Some(event) = self.front.poll_event() {
                self.role.handle_event(self.now, event, &mut self.front);
            }
            while let Some(event) = self.far.poll_event() {
                self.heard.push(event);
            }
            let (out, back) = (self.front.poll_transmit(), self.far.poll_transmit());
            if out.is_none() && back.is_none() && !self.front.has_events() {
                return;
            }
            if self.cut {
                continue;
            }
            if let Some(out) = out {
                assert_eq!(
                    out.destination,
                    address(5060),
                    "everything goes to signaling"
                );
                self.far
                    .handle_datagram(self.now, address(4000), out.payload);
            }
            if let Some(back) = back {
                self.front
                    .handle_datagram(self.now, address(5060), back.payload);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.pump();
            let next = [
                self.front.poll_timeout(),
                self.far.poll_timeout(),
                self.role.poll_timeout(),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.front.handle_timeout(self.now);
            self.far.handle_timeout(self.now);
            self.role.handle_timeout(self.now, &mut self.front);
        }
        self.now = end;
        self.pump();
    }

    fn command(&mut self, command: Command) {
        self.role.handle_command(self.now, command, &mut self.front);
        self.pump();
    }

    fn offer(&mut self, offer: &str) -> oneshot::Receiver<Result<Accepted, Error>> {
        let (reply, answered) = oneshot::channel();
        self.command(Command::Offer {
            key: KEY,
            stream: "test".to_owned(),
            viewer: Some("Zoë \"Z\"".to_owned()),
            offer: Bytes::copy_from_slice(offer.as_bytes()),
            reply,
        });
        answered
    }

    fn inform(&mut self, secret: &str, info: Info) -> oneshot::Receiver<Result<Bytes, Error>> {
        let (reply, told) = oneshot::channel();
        self.command(Command::Inform {
            stream: "test".to_owned(),
            secret: secret.to_owned(),
            info,
            reply,
        });
        told
    }

    fn trickle(&mut self, secret: &str, number: u32) -> oneshot::Receiver<Result<Bytes, Error>> {
        self.inform(secret, Info::Candidates(format!("a=mid:{number}").into()))
    }

    fn session(&mut self, secret: &str) -> Result<SessionInfo, Error> {
        let (reply, mut answered) = oneshot::channel();
        self.command(Command::Session {
            stream: "test".to_owned(),
            secret: secret.to_owned(),
            reply,
        });
        answered.try_recv().unwrap()
    }

    /// The request of this method that came; others that came before are forgotten.
    fn request(&mut self, method: &Method) -> Option<(ServerId, Request)> {
        self.heard.drain(..).find_map(|event| match event {
            Event::Request { id, request, .. } if request.method == *method => Some((id, request)),
            _ => None,
        })
    }

    fn acks(&mut self) -> usize {
        let ack = |event: &Event| matches!(event, Event::Ack { .. });
        let acks = self.heard.iter().filter(|event| ack(event)).count();
        self.heard.retain(|event| !ack(event));
        acks
    }

    fn answer(&mut self, id: ServerId, invite: &Request) -> Dialog {
        let accepted = accepted(invite);
        self.far.respond(self.now, id, accepted);
        self.pump();
        Dialog::uas(invite, "far")
    }

    /// A running call: its secret and the streamer's side of it.
    fn established(&mut self) -> (String, Dialog, ServerId, Request) {
        let mut answered = self.offer(OFFER);
        let (id, invite) = self.request(&Method::Invite).unwrap();
        let dialog = self.answer(id, &invite);
        assert_eq!(self.acks(), 1);
        let secret = answered.try_recv().unwrap().unwrap().secret;
        (secret, dialog, id, invite)
    }

    /// The far side sends a request; returns the status of its answer.
    fn ask(&mut self, request: Request) -> u16 {
        let asked = self.far.request(self.now, address(4000), request);
        self.pump();
        let answer = self.heard.drain(..).find_map(|event| match event {
            Event::Response { id, response, .. } if id == asked => {
                Some(response.status.code()).filter(|code| *code >= 200)
            }
            _ => None,
        });
        answer.expect("an answer")
    }

    fn assert_forgotten(&mut self) {
        self.pass(Duration::from_secs(130));
        assert!(self.role.calls.is_empty(), "{:?}", self.role.calls);
        assert!(self.role.requests.is_empty(), "{:?}", self.role.requests);
        assert!(self.role.by_call_id.is_empty());
        assert!(self.role.by_secret.is_empty());
        assert!(self.role.forget.is_empty());
        assert_eq!(self.front.transactions(), 0);
        assert_eq!(self.role.gauges.calls.load(Ordering::Relaxed), 0);
        assert_eq!(self.role.gauges.ended.load(Ordering::Relaxed), 0);
    }
}

fn accepted(invite: &Request) -> Response {
    let mut response = Response::to_request(invite, StatusCode::ACCEPTED);
    response.set_to_tag("far");
    response
        .headers
        .push(Name::Contact, "<sip:streamer@127.0.0.1:5060>");
    response.set_body(SDP, Bytes::from_static(ANSWER.as_bytes()));
    response
}

#[test]
fn the_invite_carries_the_viewers_name_and_the_offer_untouched() {
    let mut world = World::new();
    let _answered = world.offer(OFFER);
    let (_, invite) = world.request(&Method::Invite).unwrap();
    assert_eq!(invite.uri.to_string(), "sip:test@127.0.0.1:5060");
    assert_eq!(invite.from().display.as_deref(), Some("Zoë \"Z\""));
    assert_eq!(invite.body, OFFER);
    assert_eq!(invite.content_type().as_deref(), Some(SDP));
    let contact = invite.contact().unwrap();
    assert_eq!(contact.uri.socket_addr(), Some(address(4000)));
}

#[test]
fn an_answer_is_acknowledged_and_becomes_a_session() {
    let mut world = World::new();
    let (secret, ..) = world.established();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.session(&secret).unwrap().age.as_secs(), 3);
    assert!(matches!(world.session("guess"), Err(Error::NoSuchSession)));
    assert_eq!(world.role.gauges.sessions.load(Ordering::Relaxed), 1);
    assert_eq!(world.role.gauges.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn every_repeated_answer_is_acknowledged_again_even_after_the_end() {
    let mut world = World::new();
    let (_, mut dialog, id, invite) = world.established();
    world.far.respond(world.now, id, accepted(&invite));
    world.pump();
    assert_eq!(world.acks(), 1);
    assert_eq!(world.ask(dialog.request(Method::Bye)), 200);
    world.far.respond(world.now, id, accepted(&invite));
    world.pump();
    assert_eq!(world.acks(), 1);
    world.assert_forgotten();
}

#[test]
fn a_silent_signaling_server_is_named_within_33_seconds() {
    let mut world = World::new();
    world.cut = true;
    let mut answered = world.offer(OFFER);
    world.pass(Duration::from_secs(31));
    assert!(matches!(answered.try_recv(), Err(TryRecvError::Empty)));
    world.pass(Duration::from_secs(2));
    assert!(matches!(
        answered.try_recv().unwrap(),
        Err(Error::SignalingUnreachable { .. })
    ));
    world.assert_forgotten();
}

#[test]
fn a_silent_streamer_is_told_apart_and_its_call_cancelled() {
    let mut world = World::new();
    let mut answered = world.offer(OFFER);
    world.pass(Duration::from_secs(33));
    assert!(matches!(
        answered.try_recv().unwrap(),
        Err(Error::NoAnswer { .. })
    ));
    let cancelled = |event: &Event| matches!(event, Event::Cancel { .. });
    assert!(world.heard.iter().any(cancelled));
    world.assert_forgotten();
}

#[test]
fn an_answer_that_comes_after_we_gave_up_is_acknowledged_and_ended() {
    let mut world = World::new();
    let _answered = world.offer(OFFER);
    let (id, invite) = world.request(&Method::Invite).unwrap();
    world.pass(Duration::from_secs(33));
    world.answer(id, &invite);
    assert_eq!(world.acks(), 1);
    let (bye, request) = world.request(&Method::Bye).unwrap();
    let ok = Response::to_request(&request, StatusCode::OK);
    world.far.respond(world.now, bye, ok);
    world.assert_forgotten();
}

#[test]
fn an_abandoned_call_is_cancelled() {
    let mut world = World::new();
    let _answered = world.offer(OFFER);
    let (id, invite) = world.request(&Method::Invite).unwrap();
    world.command(Command::Abandon { key: KEY });
    let cancelled = |event: &Event| matches!(event, Event::Cancel { .. });
    assert!(world.heard.iter().any(cancelled));
    let terminated = Response::to_request(&invite, StatusCode::REQUEST_TERMINATED);
    world.far.respond(world.now, id, terminated);
    world.pump();
    assert_eq!(world.role.gauges.calls.load(Ordering::Relaxed), 0);
    world.assert_forgotten();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut world = World::new();
    let mut answered = world.offer(OFFER);
    let (id, invite) = world.request(&Method::Invite).unwrap();
    world.command(Command::Abandon { key: KEY });
    world.answer(id, &invite);
    assert_eq!(world.acks(), 1);
    let (bye, request) = world.request(&Method::Bye).unwrap();
    assert!(answered.try_recv().unwrap().is_err());
    let ok = Response::to_request(&request, StatusCode::OK);
    world.far.respond(world.now, bye, ok);
    world.pump();
    assert_eq!(world.role.gauges.calls.load(Ordering::Relaxed), 0);
    world.assert_forgotten();
}

#[test]
fn an_answer_nobody_waits_for_is_ended_by_bye() {
    let mut world = World::new();
    drop(world.offer(OFFER));
    let (id, invite) = world.request(&Method::Invite).unwrap();
    world.answer(id, &invite);
    assert!(world.request(&Method::Bye).is_some());
    // The BYE stays without answer: the call is over all the same.
    world.assert_forgotten();
}

#[test]
fn a_bye_ends_the_session_and_its_reason_is_kept_a_minute_word_for_word() {
    let mut world = World::new();
    let (secret, mut dialog, ..) = world.established();
    let mut bye = dialog.request(Method::Bye);
    let reason = "The \"camera\" stopped; cause=unplugged, sorry";
    bye.headers
        .push(Name::Reason, "Q.850;cause=16;text=\"other\"");
    bye.headers
        .push(Name::Reason, &Reason::new(480, reason).to_string());
    assert_eq!(world.ask(bye), 200);
    let ended = Error::Ended {
        reason: reason.to_owned(),
    };
    assert_eq!(world.session(&secret).unwrap_err(), ended);
    world.pass(Duration::from_secs(59));
    assert_eq!(world.session(&secret).unwrap_err(), ended);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.session(&secret).unwrap_err(), Error::NoSuchSession);
    world.assert_forgotten();
}

#[test]
fn a_bye_of_another_call_ends_nothing() {
    let mut world = World::new();
    let (secret, _, _, invite) = world.established();
    let mut stranger = Dialog::uas(&invite, "stranger");
    assert_eq!(world.ask(stranger.request(Method::Bye)), 481);
    assert!(world.session(&secret).is_ok());
}

#[test]
fn candidates_go_one_info_after_the_other_and_each_is_answered() {
    let mut world = World::new();
    let (secret, ..) = world.established();
    let mut told: Vec<_> = (1..4).map(|n| world.trickle(&secret, n)).collect();
    for (n, told) in (1..).zip(&mut told) {
        let (id, info) = world.request(&Method::Info).unwrap();
        assert_eq!(info.body, format!("a=mid:{n}"));
        assert!(world.request(&Method::Info).is_none(), "one at a time");
        assert!(told.try_recv().is_err());
        let (status, expected) = match n {
            1 => (StatusCode::OK, None),
            2 => (StatusCode::NOT_ACCEPTABLE_HERE, Some(422)),
            _ => (StatusCode::BAD_REQUEST, Some(400)),
        };
        world
            .far
            .respond(world.now, id, Response::to_request(&info, status));
        world.pump();
        let problem = told.try_recv().unwrap().err().map(|e| e.problem().status);
        assert_eq!(problem, expected);
    }
    assert!(world.session(&secret).is_ok());
}

#[test]
fn the_streamer_of_the_call_is_asked_within_it_and_in_its_turn() {
    let mut world = World::new();
    let (secret, ..) = world.established();
    let mut told = world.trickle(&secret, 1);
    let mut asked = world.inform(&secret, Info::Question);
    let (first, info) = world.request(&Method::Info).unwrap();
    assert!(world.request(&Method::Options).is_none(), "one at a time");
    let answer = Response::to_request(&info, StatusCode::OK);
    world.far.respond(world.now, first, answer);
    world.pump();
    assert!(told.try_recv().unwrap().is_ok());
    let (second, options) = world.request(&Method::Options).unwrap();
    assert_eq!(options.call_id(), info.call_id());
    assert_eq!(options.to().tag(), info.to().tag());
    assert_eq!(options.cseq().number, info.cseq().number + 1);
    assert_eq!(options.headers.get(Name::Accept), Some("application/json"));
    let mut answer = Response::to_request(&options, StatusCode::OK);
    answer.set_body("application/json", "{}".into());
    world.far.respond(world.now, second, answer);
    world.pump();
    assert_eq!(asked.try_recv().unwrap().unwrap(), "{}");
}

#[test]
fn candidates_that_nobody_answers_are_given_up_and_the_call_goes_on() {
    let mut world = World::new();
    let (secret, ..) = world.established();
    world.cut = true;
    let mut first = world.trickle(&secret, 1);
    let mut second = world.trickle(&secret, 2);
    world.pass(Duration::from_secs(33));
    let no_answer = |told: Result<Bytes, Error>| matches!(told, Err(Error::NoAnswer { .. }));
    assert!(no_answer(first.try_recv().unwrap()));
    world.pass(Duration::from_secs(33));
    assert!(no_answer(second.try_recv().unwrap()));
    assert!(world.session(&secret).is_ok());
}

#[test]
fn more_candidates_than_can_wait_are_refused_and_none_outlives_its_call() {
    let mut world = World::new();
    let (secret, mut dialog, ..) = world.established();
    let mut told: Vec<_> = (0..40).map(|n| world.trickle(&secret, n)).collect();
    let refused = told
        .iter_mut()
        .filter_map(|told| told.try_recv().ok()?.err());
    let refused: Vec<u16> = refused.map(|error| error.problem().status).collect();
    assert_eq!(refused, [503; 7]);
    assert_eq!(world.ask(dialog.request(Method::Bye)), 200);
    assert!(matches!(told[0].try_recv(), Err(TryRecvError::Closed)));
    let mut late = world.trickle(&secret, 99);
    assert!(matches!(late.try_recv(), Ok(Err(Error::Ended { .. }))));
    let mut unknown = world.trickle("nobody's", 99);
    assert!(matches!(unknown.try_recv(), Ok(Err(Error::NoSuchSession))));
    world.assert_forgotten();
}

#[test]
fn requests_other_than_bye_are_answered_as_the_standard_says() {
    let mut world = World::new();
    let (secret, mut dialog, ..) = world.established();
    assert_eq!(world.ask(dialog.request(Method::Info)), 405);
    assert_eq!(world.ask(dialog.request(Method::Invite)), 488);
    let other = Method::Other("PUBLISH".to_owned());
    assert_eq!(world.ask(dialog.request(other)), 501);
    let uri = Uri::at(Some("front"), address(4000));
    let from = NameAddr::new(uri.clone()).with_tag("x");
    let to = NameAddr::new(uri.clone());
    let options = Request::new(Method::Options, uri, from, to, "ping", 1);
    assert_eq!(world.ask(options), 200);
    assert!(world.session(&secret).is_ok());
}

#[test]
fn a_refusal_reaches_the_caller_with_its_reason() {
    let mut world = World::new();
    let mut answered = world.offer(OFFER);
    let (id, invite) = world.request(&Method::Invite).unwrap();
    let mut refusal = Response::to_request(&invite, StatusCode::NOT_ACCEPTABLE_HERE);
    let reason = Reason::new(488, "No common codec: offered opus, need VP8").to_string();
    refusal.headers.push(Name::Reason, &reason);
    world.far.respond(world.now, id, refusal);
    world.pump();
    let error = answered.try_recv().unwrap().unwrap_err();
    assert_eq!(error.problem().status, 422);
    assert!(error.to_string().contains("offered opus, need VP8"));
    world.assert_forgotten();
}

#[test]
fn an_answer_without_sdp_is_ended_and_said() {
    let mut world = World::new();
    let mut answered = world.offer(OFFER);
    let (id, invite) = world.request(&Method::Invite).unwrap();
    let mut empty = Response::to_request(&invite, StatusCode::OK);
    empty.set_to_tag("far");
    world.far.respond(world.now, id, empty);
    world.pump();
    assert_eq!(
        answered.try_recv().unwrap().unwrap_err().problem().status,
        502
    );
    assert_eq!(world.acks(), 1);
    assert!(world.request(&Method::Bye).is_some());
    world.assert_forgotten();
}

#[test]
fn an_offer_that_fits_no_datagram_is_too_large() {
    let mut world = World::new();
    let mut answered = world.offer(&"v".repeat(100_000));
    assert!(matches!(
        answered.try_recv().unwrap(),
        Err(Error::TooLarge { .. })
    ));
    world.assert_forgotten();
}

#[test]
fn a_stop_ends_sessions_by_bye_pending_calls_by_cancel_and_takes_no_new_ones() {
    let mut world = World::new();
    let (secret, ..) = world.established();
    let (reply, mut pending) = oneshot::channel();
    world.command(Command::Offer {
        key: CallKey(2),
        stream: "test".to_owned(),
        viewer: None,
        offer: Bytes::from_static(OFFER.as_bytes()),
        reply,
    });
    let (invite_id, invite) = world.request(&Method::Invite).unwrap();
    world.role.handle_shutdown(world.now, &mut world.front);
    world.pump();
    assert!(!world.role.is_drained());
    assert!(matches!(
        pending.try_recv().unwrap(),
        Err(Error::Unavailable)
    ));
    assert!(matches!(world.session(&secret), Err(Error::Ended { .. })));
    let mut late = world.offer(OFFER);
    assert!(matches!(late.try_recv().unwrap(), Err(Error::Unavailable)));

    let (bye, request) = world.request(&Method::Bye).unwrap();
    let reason = request.headers.get(Name::Reason).unwrap();
    assert!(reason.contains("stopping"), "{reason}");
    let ok = Response::to_request(&request, StatusCode::OK);
    world.far.respond(world.now, bye, ok);
    let terminated = Response::to_request(&invite, StatusCode::REQUEST_TERMINATED);
    world.far.respond(world.now, invite_id, terminated);
    world.pump();
    assert!(world.role.is_drained());
}

#[test]
fn a_stop_waits_for_the_last_goodbye_without_spinning() {
    let mut world = World::new();
    world.established();
    world.cut = true;
    let (reply, _waiting) = oneshot::channel();
    world.command(Command::Streams { reply });
    world.role.handle_shutdown(world.now, &mut world.front);
    world.pump();
    world.now += Duration::from_millis(2500);
    world.front.handle_timeout(world.now);
    world.role.handle_timeout(world.now, &mut world.front);
    assert!(!world.role.is_drained());
    let due = world.role.poll_timeout();
    assert!(due.is_none_or(|at| at > world.now));
}

const CHALLENGE: &str = "Digest realm=\"r\",nonce=\"n\",qop=\"auth\",algorithm=SHA-256";

impl World {
    /// The signaling server asks who calls; what comes then.
    fn challenge(&mut self, (id, invite): (ServerId, Request)) -> Option<(ServerId, Request)> {
        let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let mut response = Response::to_request(&invite, status);
        response.headers.push(Name::ProxyAuthenticate, CHALLENGE);
        self.far.refuse(self.now, id, response);
        self.pump();
        self.request(&Method::Invite)
    }

    fn nothing_is_counted(&self) -> bool {
        format!("{:?}", self.role.account).contains("attempts: {}")
    }
}

#[test]
fn a_call_that_is_asked_for_a_password_goes_on_with_it() {
    let mut world = World::new();
    let mut answered = world.offer(OFFER);
    let first = world.request(&Method::Invite).unwrap();
    let (id, invite) = world.challenge(first.clone()).unwrap();
    let line = invite.headers.get(Name::ProxyAuthorization).unwrap();
    let credentials = Credentials::parse(line).unwrap().unwrap();
    let verifier = Verifier::new("front", "r", &Secret::new("the password"));
    assert!(verifier.admits(&credentials, &Method::Invite));
    assert_eq!(invite.body, OFFER);
    assert_eq!(invite.call_id(), first.1.call_id());
    let mut dialog = world.answer(id, &invite);
    let acks = world.heard.drain(..).filter_map(|event| match event {
        Event::Ack { request, .. } => Some(request),
        _ => None,
    });
    // The first one ends the INVITE that was refused.
    let ack = acks.last().unwrap();
    assert_eq!(ack.cseq().number, invite.cseq().number);
    assert_eq!(ack.headers.get(Name::ProxyAuthorization), Some(line));
    let secret = answered.try_recv().unwrap().unwrap().secret;
    assert!(world.session(&secret).is_ok());
    assert!(world.nothing_is_counted());
    assert_eq!(world.ask(dialog.request(Method::Bye)), 200);
    world.assert_forgotten();
}

#[test]
fn a_viewer_that_leaves_while_the_password_is_asked_for_leaves_nothing() {
    for after in [false, true] {
        let mut world = World::new();
        let answered = world.offer(OFFER);
        let mut pending = world.request(&Method::Invite).unwrap();
        if after {
            pending = world.challenge(pending).unwrap();
        }
        drop(answered);
        world.command(Command::Abandon { key: KEY });
        if after {
            let (id, invite) = pending;
            let status = StatusCode::REQUEST_TERMINATED;
            let response = Response::to_request(&invite, status);
            world.far.respond(world.now, id, response);
            world.pump();
        } else {
            assert!(world.challenge(pending).is_none());
        }
        assert!(world.nothing_is_counted());
        world.assert_forgotten();
    }
}

#[test]
fn a_wrong_password_is_not_sent_again_with_each_call() {
    let mut world = World::new();
    let mut answered = world.offer(OFFER);
    let first = world.request(&Method::Invite).unwrap();
    let (id, invite) = world.challenge(first).unwrap();
    let response = Response::to_request(&invite, StatusCode::FORBIDDEN).with_reason(WRONG);
    world.far.refuse(world.now, id, response);
    world.pump();
    assert_eq!(answered.try_recv().unwrap().unwrap_err(), Error::NotLetIn);
    for _ in 0..10 {
        let mut answered = world.offer(OFFER);
        assert_eq!(answered.try_recv().unwrap().unwrap_err(), Error::NotLetIn);
    }
    assert!(world.request(&Method::Invite).is_none());
    world.pass(sip::auth::PAUSE);
    let _answered = world.offer(OFFER);
    assert!(world.request(&Method::Invite).is_some());
}
