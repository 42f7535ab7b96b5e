//! INFO within a call.

use super::*;

const OFFER: &str = include_str!("../../../tests/offers/chromium.sdp");
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A fragment of the offer's connection with candidates at these ports.
fn fragment(ports: std::ops::Range<u16>) -> String {
    let candidate = |port| format!("a=candidate:1 1 UDP 9 192.0.2.77 {port} typ host\r\n");
    let candidates: String = ports.map(candidate).collect();
    format!("a=ice-ufrag:kSTn\r\na=mid:0\r\n{candidates}")
}

fn info(dialog: &mut Dialog, package: &str, kind: &str, body: &str) -> Request {
    let mut info = dialog.request(Method::Info);
    info.headers.push(Name::InfoPackage, package);
    info.set_body(kind, Bytes::from(body.to_owned()));
    info
}

#[test]
fn candidates_that_come_later_reach_the_viewer_once_each() {
    let mut link = Link::registered();
    let mut dialog = link.call_with(OFFER);
    for (ports, heard) in [(1..3, 2), (1..4, 1), (1..4, 0)] {
        link.send(info(&mut dialog, "trickle-ice", FRAGMENT, &fragment(ports)));
        assert_eq!(link.response().status, StatusCode::OK);
        assert_eq!(link.media.asked(), vec!["candidate 1 192.0.2.77"; heard]);
    }
}

#[test]
fn information_that_cannot_be_taken_is_refused_and_the_call_goes_on() {
    let mut link = Link::registered();
    let mut dialog = link.call_with(OFFER);
    let many = (1..50).flat_map(|n| fragment(n..n + 1).into_bytes());
    let many = String::from_utf8(many.collect()).unwrap();
    let restart = "a=ice-ufrag:other\r\na=ice-pwd:0123456789012345678901\r\n";
    for (package, kind, body, status) in [
        ("dtmf", FRAGMENT, "", StatusCode::BAD_INFO_PACKAGE),
        (
            "trickle-ice",
            "text/plain",
            "",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        ("trickle-ice", FRAGMENT, "hello", StatusCode::BAD_REQUEST),
        ("trickle-ice", FRAGMENT, &many, StatusCode::BAD_REQUEST),
        (
            "trickle-ice",
            FRAGMENT,
            restart,
            StatusCode::NOT_ACCEPTABLE_HERE,
        ),
    ] {
        link.send(info(&mut dialog, package, kind, body));
        assert_eq!(link.response().status, status, "{package} {kind} {body}");
        assert!(link.media.asked().is_empty());
    }
    // Nor more in all than an offer may have.
    for (ports, status) in [
        (1..15, StatusCode::OK),
        (15..30, StatusCode::NOT_ACCEPTABLE_HERE),
    ] {
        link.send(info(&mut dialog, "trickle-ice", FRAGMENT, &fragment(ports)));
        assert_eq!(link.response().status, status);
    }
    assert_eq!(link.agent.calls.len(), 1);
}

#[test]
fn information_about_no_call_of_ours_is_481() {
    let mut link = Link::registered();
    let mut dialog = link.call_with(OFFER);
    let own = dialog.request(Method::Info);
    let from = own.from().clone().with_tag("other");
    let (uri, to) = (own.uri.clone(), own.to().clone());
    link.send(Request::new(Method::Info, uri, from, to, own.call_id(), 7));
    assert_eq!(link.response().status, StatusCode::CALL_DOES_NOT_EXIST);
    link.send(dialog.request(Method::Bye));
    link.response();
    link.media.asked();
    link.send(info(&mut dialog, "trickle-ice", FRAGMENT, &fragment(1..2)));
    assert_eq!(link.response().status, StatusCode::CALL_DOES_NOT_EXIST);
    assert!(link.media.asked().is_empty());
}

#[test]
fn a_rung_is_chosen_and_answered_when_the_media_has_it() {
    let mut link = Link::registered();
    let mut dialog = link.call_with(OFFER);
    let none = || Refusal::NoSuchRung("there is no rung x, only video".to_owned());
    for (rung, wish, result, status) in [
        ("video_low", "Rung(\"video_low\")", Ok(()), StatusCode::OK),
        ("auto", "Auto", Ok(()), StatusCode::OK),
        ("audio", "Audio", Ok(()), StatusCode::OK),
        (
            "x",
            "Rung(\"x\")",
            Err(none()),
            StatusCode::NOT_ACCEPTABLE_HERE,
        ),
    ] {
        link.send(choice(&mut dialog, &format!("{{\"rung\": \"{rung}\"}}")));
        assert!(link.far_event().is_none());
        assert_eq!(link.media.asked(), [format!("choose 1 {wish}")]);
        let viewer = ViewerId(1);
        link.event(MediaEvent::Chosen { viewer, result });
        assert_eq!(link.response().status, status);
    }
    for body in ["", "{}", "[1]", "{\"rung\": 3}"] {
        link.send(choice(&mut dialog, body));
        assert_eq!(link.response().status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert!(link.media.asked().is_empty() && link.agent.choices.is_empty());
}

#[test]
fn a_choice_is_answered_even_when_its_call_is_over() {
    let mut link = Link::registered();
    let mut dialog = link.call_with(OFFER);
    link.send(choice(&mut dialog, "{\"rung\": \"auto\"}"));
    link.send(dialog.request(Method::Bye));
    assert_eq!(link.response().status, StatusCode::OK);
    let result = Err(Refusal::Failed("there is no such viewer".to_owned()));
    let viewer = ViewerId(1);
    link.event(MediaEvent::Chosen { viewer, result });
    assert_eq!(link.response().status, StatusCode::SERVER_INTERNAL_ERROR);
    assert!(link.agent.choices.is_empty());
}

fn choice(dialog: &mut Dialog, body: &str) -> Request {
    let mut info = dialog.request(Method::Info);
    info.set_body("application/json", Bytes::from(body.to_owned()));
    info
}
