//! How calls are accepted and which way they go: Answer to INVITE, Routing.

use std::thread;

use sip::{Dialog, Method, Name, Request, StatusCode, Uri};

use super::*;
use crate::harness::{measure, seconds, wait_for, whep};

#[test]
fn answer_to_invite() {
    let server = Signaling::start();
    let (tone, plain) = (
        descriptions(&[("tone", TONE)]),
        descriptions(&[("plain", TONE)]),
    );
    let _streamers = [
        streamer(server.sip, tone.path(), &[]),
        streamer(server.sip, plain.path(), &["--answer-code", "200"]),
    ];
    let agent = Agent::new(server.sip);
    for (stream, status) in [("tone", StatusCode::ACCEPTED), ("plain", StatusCode::OK)] {
        // Its pipeline may still be starting.
        let answer = wait_for(&format!("{stream} accepts"), seconds(20), || {
            let mut invite = agent.make(Method::Invite, Some(stream));
            invite.set_body(
                "application/sdp",
                whep::recorded("chromium-audio-only").into(),
            );
            let answer = agent.ask(&invite);
            answer.status.is_success().then_some(answer)
        });
        assert_eq!(answer.status, status);
        assert_eq!(answer.content_type().as_deref(), Some("application/sdp"));
        assert!(answer.body.starts_with(b"v=0\r\n"));
    }

    // Whichever 2xx others accept with is acknowledged, and good for browsers.
    agent.register("other", &[], "");
    let signaling = server.sip.to_string();
    let front = ["--http", "127.0.0.1:0", "--signaling", &signaling];
    let front = Process::start("front", &front);
    let http = front.addr("http");
    for code in [200, 202, 204, 299] {
        let viewer = thread::spawn(move || whep::call(http, "other", &whep::recorded("firefox")));
        let came = agent.expect(&Method::Invite);
        let answer = agent.answering(&came, StatusCode::new(code).unwrap());
        agent.reply(&answer);
        let acknowledged = agent.expect(&Method::Ack);
        assert_eq!(acknowledged.call_id(), came.call_id());
        let told = viewer.join().unwrap().unwrap();
        assert_eq!(
            (told.status, &told.body[..]),
            (201, &answer.body[..]),
            "{code}"
        );
    }
}

/// Sends a request and sees it come to the other agent, who alone it is for.
#[track_caller]
fn pass(from: &Agent, mut request: Request, to: &Agent) -> [Request; 2] {
    request.headers.push_front(Name::Via, &from.via());
    from.send(&request.to_bytes());
    let came = to.expect(&request.method);
    assert_eq!(came.headers.count(Name::Via), 2, "it came by the server");
    assert_eq!(came.headers.count(Name::Route), 0);
    assert_eq!(came.uri.socket_addr(), Some(to.address));
    [request, came]
}

/// The same with an answer.
#[track_caller]
fn pass_and_answer(from: &Agent, request: Request, to: &Agent) {
    let [request, came] = pass(from, request, to);
    to.answer(&came, StatusCode::OK);
    assert_eq!(from.answer_to(&request).status, StatusCode::OK);
}

#[test]
fn routing() {
    let server = Signaling::start();
    let [front, streamer] = sides(&server);

    // With rport an answer goes where the request came from, and says so; without, to the port
    // that the Via names.
    let other = Agent::new(server.sip);
    let options = |via: &str| front.make_with(Method::Options, None, &[(Name::Via, via)]);
    let answer = front.ask(&options("SIP/2.0/UDP example.org:9;branch=z9hG4bK1;rport"));
    let via = answer.top_via().unwrap();
    let port = front.address.port().to_string();
    assert_eq!(via.params.get("received"), Some("127.0.0.1"));
    assert_eq!(via.params.get("rport"), Some(port.as_str()));
    let via = format!(
        "SIP/2.0/UDP example.org:{};branch=z9hG4bK2",
        other.address.port()
    );
    front.send(&options(&via).to_bytes());
    assert_eq!(other.response().status, StatusCode::OK);

    // Hops are counted.
    let options = |hops: &[&str]| {
        let mut options = front.make(Method::Options, Some("test"));
        options.headers.remove(Name::MaxForwards);
        for hops in hops {
            options.headers.push(Name::MaxForwards, hops);
        }
        options
    };
    let refused = front.ask(&options(&["0"]));
    assert_eq!(refused.status, StatusCode::TOO_MANY_HOPS);
    for (hops, left) in [(&["17"][..], "16"), (&["1"], "0"), (&[], "70")] {
        front.send(&options(hops).to_bytes());
        let came = streamer.request();
        assert_eq!(came.headers.get(Name::MaxForwards), Some(left));
        streamer.answer(&came, StatusCode::OK);
    }

    // What belongs to a call passes here, whether its sender keeps the way that was recorded or
    // takes this server for the other side.
    for keeps_the_way in [true, false] {
        let invite = front.invite("test", 10);
        front.send(&invite.to_bytes());
        let came = streamer.expect(&Method::Invite);
        let recorded = format!("<sip:{};lr>", server.sip);
        assert_eq!(came.headers.get(Name::RecordRoute), Some(recorded.as_str()));
        streamer.answer(&came, StatusCode::ACCEPTED);
        let answer = front.answer_to(&invite);
        let sent = |mut request: Request| {
            assert_eq!(request.headers.get(Name::Route), Some(recorded.as_str()));
            if !keeps_the_way {
                request.headers.remove(Name::Route);
                request.uri = Uri::at(Some("test"), server.sip);
            }
            request
        };
        let mut caller = Dialog::uac(&invite, &answer);
        let mut callee = Dialog::uas(&came, "streamer");
        pass(&front, sent(caller.ack()), &streamer);
        pass_and_answer(&streamer, sent(callee.request(Method::Info)), &front);
        pass_and_answer(&front, sent(caller.request(Method::Bye)), &streamer);
    }

    // A streamer behind a proxy is called through it (RFC 3327).
    let path = format!("<sip:{};lr>", other.address);
    let registered = streamer.register("behind", &[(Name::Path, &path)], "");
    assert_eq!(registered.headers.get(Name::Path), Some(path.as_str()));
    let invite = front.invite("behind", 10);
    front.send(&invite.to_bytes());
    let came = other.request();
    assert_eq!(came.uri.socket_addr(), Some(streamer.address));
    assert_eq!(came.headers.get(Name::Route), Some(path.as_str()));
    other.answer(&came, StatusCode::BUSY_HERE);
    assert_eq!(front.answer_to(&invite).status, StatusCode::BUSY_HERE);

    let refused = |stream: &str| front.ask(&front.invite(stream, 10)).status;
    assert_eq!(refused("nothing"), StatusCode::NOT_FOUND);
    streamer.register("gone", &[], "");
    streamer.register("gone", &[(Name::Expires, "0")], "");
    assert_eq!(refused("gone"), StatusCode::TEMPORARILY_UNAVAILABLE);
    // Who says nothing is waited for, 30 s.
    if measure::times(0, 1) == 1 {
        assert_eq!(refused("test"), StatusCode::REQUEST_TIMEOUT);
    }
}
