use sip::auth::{Credentials, PAUSE, Secret, Verifier, WRONG};

use super::*;

const CHALLENGE: &str = "Digest realm=\"r\",nonce=\"n\",qop=\"auth\",algorithm=SHA-256";

fn link() -> Link {
    Link::of(Account::new("ana", Secret::new("the password")))
}

impl Link {
    /// The server asks who registers.
    fn challenge(&mut self, (id, request): (ServerId, Request), challenge: &str) {
        let mut response = Response::to_request(&request, StatusCode::UNAUTHORIZED);
        response.headers.push(Name::WwwAuthenticate, challenge);
        self.far.refuse(self.now, id, response);
        self.settle();
    }

    /// A REGISTER with a password that has been used so often with its nonce.
    fn proved(&mut self, count: u32) -> (ServerId, Request) {
        let (id, request) = self.request();
        let line = request.headers.get(Name::Authorization).unwrap();
        let credentials = Credentials::parse(line).unwrap().unwrap();
        let verifier = Verifier::new("ana", "r", &Secret::new("the password"));
        assert!(verifier.admits(&credentials, &Method::Register));
        assert_eq!(credentials.counted.unwrap().count, count);
        (id, request)
    }

    fn nothing_is_counted(&self) -> bool {
        format!("{:?}", self.agent.account).contains("attempts: {}")
    }
}

#[test]
fn a_stream_is_registered_with_the_password_once_it_is_asked_for_and_then_at_once() {
    let mut link = link();
    let first = link.request();
    assert_eq!(first.1.headers.get(Name::Authorization), None);
    let body = first.1.body.clone();
    link.challenge(first, CHALLENGE);
    let second = link.proved(1);
    assert_eq!(second.1.body, body);
    assert_eq!(second.1.cseq().number, 2);
    link.answer(second, StatusCode::OK);
    assert!(link.agent.registrations["test"].live);
    link.wait(25);
    let refresh = link.proved(2);
    assert_eq!(refresh.1.cseq().number, 3);
    // By now the nonce is stale.
    link.challenge(refresh, &CHALLENGE.replace("\"n\"", "\"o\",stale=true"));
    let again = link.proved(1);
    link.answer(again, StatusCode::OK);
    assert!(link.agent.registrations["test"].live);
    assert!(link.agent.registering.is_empty() && link.nothing_is_counted());
}

#[test]
fn a_wrong_password_is_tried_again_slowly_whatever_happens_to_the_stream() {
    let mut link = link();
    let first = link.request();
    link.challenge(first, CHALLENGE);
    let (id, request) = link.proved(1);
    let response = Response::to_request(&request, StatusCode::FORBIDDEN).with_reason(WRONG);
    link.far.refuse(link.now, id, response);
    link.settle();
    assert!(!link.agent.registrations["test"].live);
    for _ in 0..PAUSE.as_secs() - 1 {
        let stream = "test".to_owned();
        link.event(MediaEvent::Changed { stream });
        assert!(link.far_event().is_none());
        link.wait(1);
    }
    assert!(link.far_event().is_none());
    link.wait(2);
    let again = link.proved(2);
    link.answer(again, StatusCode::OK);
    assert!(link.agent.registrations["test"].live);
    assert!(link.nothing_is_counted());
}

#[test]
fn who_has_no_password_asks_again_slowly() {
    let mut link = Link::new();
    let first = link.request();
    link.challenge(first, CHALLENGE);
    link.wait(PAUSE.as_secs() - 1);
    assert!(link.far_event().is_none());
    link.wait(2);
    link.request();
}

#[test]
fn the_withdrawal_is_proved_as_well_before_the_streamer_ends() {
    let mut link = link();
    let first = link.request();
    link.challenge(first, CHALLENGE);
    let second = link.proved(1);
    link.answer(second, StatusCode::OK);
    link.agent.handle_shutdown(link.now, &mut link.near);
    let withdrawal = link.proved(2);
    assert_eq!(withdrawal.1.headers.get(Name::Expires), Some("0"));
    link.challenge(withdrawal, &CHALLENGE.replace("\"n\"", "\"o\",stale=true"));
    assert!(!link.agent.is_drained());
    let again = link.proved(1);
    assert_eq!(again.1.headers.get(Name::Expires), Some("0"));
    link.answer(again, StatusCode::OK);
    assert!(link.agent.is_drained() && link.nothing_is_counted());
}

#[test]
fn a_shutdown_while_the_password_is_asked_for_withdraws_the_stream() {
    let mut link = link();
    let first = link.request();
    link.agent.handle_shutdown(link.now, &mut link.near);
    link.challenge(first, CHALLENGE);
    let second = link.proved(1);
    assert_eq!(second.1.headers.get(Name::Expires), Some("60"));
    link.answer(second, StatusCode::OK);
    let withdrawal = link.proved(2);
    assert_eq!(withdrawal.1.headers.get(Name::Expires), Some("0"));
    link.answer(withdrawal, StatusCode::OK);
    assert!(link.agent.is_drained() && link.nothing_is_counted());
}
