//! What is not let in: Bad input, Overload.

use sip::{Method, Name, StatusCode, Uri};

use super::*;
use crate::harness::{eventually, seconds, whep};

/// Messages of RFC 4475 and RFC 5118 have a test in `signaling`, on a virtual clock.
#[test]
fn bad_input() {
    let server = Signaling::start();
    let front = Agent::new(server.sip);
    let (sip, here) = (server.sip, front.address);

    // What can be answered is, and says why.
    let head = |version: &str| {
        format!(
            "OPTIONS sip:{sip} {version}\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKbad;rport\r\n"
        )
    };
    let rest = format!("From: <sip:a@h>;tag=1\r\nTo: <sip:{sip}>\r\nCSeq: 1 OPTIONS\r\n");
    for (message, answer) in [
        (
            head("SIP/2.0") + &rest + "\r\n",
            "SIP/2.0 400 no Call-ID\r\n",
        ),
        (
            head("SIP/2.0") + &rest + "Call-ID: x\r\nContent-Length: 9\r\n\r\n",
            "SIP/2.0 400 the body is shorter than Content-Length\r\n",
        ),
        (
            head("SIP/7.0") + &rest + "Call-ID: x\r\n\r\n",
            "SIP/2.0 505 Version Not Supported\r\n",
        ),
    ] {
        front.send(message.as_bytes());
        let said = String::from_utf8(front.receive()).unwrap();
        assert!(said.starts_with(answer), "{said}");
    }
    // What cannot is counted; what keeps ways open is no message.
    let counted = |number: u64| {
        eventually("bad messages are counted", seconds(2), || {
            server.program.number("/malformed") == number
        });
    };
    counted(3);
    for message in [
        "\r\n\r\n",
        "",
        "\0\0",
        "INVITE\r\n\r\n",
        "SIP/2.0 200 OK\r\n\r\n",
        "\r\n",
    ] {
        front.send(message.as_bytes());
    }
    counted(6);

    // What is not known, or is no business of a relay.
    let other = |token: &str| Method::Other(token.to_owned());
    let bye = front.make(Method::Bye, Some("test"));
    let mut elsewhere = front.make(Method::Options, None);
    elsewhere.uri = Uri::parse("tel:+34600000000").unwrap();
    let mut report = front.registration("new", &[], "hello");
    report.headers.set(Name::ContentType, "text/plain");
    let proxy = front.make_with(
        Method::Options,
        Some("test"),
        &[(Name::ProxyRequire, "wings")],
    );
    // Beyond it, what is none of a streamer.
    let pipelines = descriptions(&[("tone", TONE)]);
    let _streamer = streamer(server.sip, pipelines.path(), &[]);
    eventually("the streamer is there", seconds(20), || {
        front.ask(&front.make(Method::Options, Some("tone"))).status == StatusCode::OK
    });
    let invite = |kind: &str, body: &str, fields: &[(Name, &str)]| {
        let mut invite = front.make_with(Method::Invite, Some("tone"), fields);
        invite.set_body(kind, body.to_owned().into());
        invite
    };
    let offer = String::from_utf8(whep::recorded("chromium-audio-only")).unwrap();
    let sdp = "application/sdp";
    for (request, status, header) in [
        (
            front.make(Method::Info, None),
            405,
            Some((Name::Allow, "REGISTER")),
        ),
        (report, 415, Some((Name::Accept, "application/json"))),
        (elsewhere, 416, None),
        (proxy, 420, Some((Name::Unsupported, "wings"))),
        (bye, 481, None),
        (
            front.make(other("PUBLISH"), None),
            501,
            Some((Name::Allow, "REGISTER")),
        ),
        (
            front.make(other("PUBLISH"), Some("tone")),
            405,
            Some((Name::Allow, "INVITE")),
        ),
        (
            invite("text/plain", "hello", &[]),
            415,
            Some((Name::Accept, sdp)),
        ),
        (
            invite(sdp, &offer, &[(Name::Require, "wings")]),
            420,
            Some((Name::Unsupported, "wings")),
        ),
        (invite(sdp, "hello", &[]), 488, None),
        (invite(sdp, &offer.replace("opus", "sepo"), &[]), 488, None),
    ] {
        let answer = front.ask(&request);
        let line = format!("{} {}", request.method, request.uri);
        assert_eq!(answer.status.code(), status, "{line}: {answer:?}");
        if let Some((name, value)) = header {
            let told = answer.headers.get(name).unwrap_or_default();
            assert!(told.contains(value), "{line}: {told}");
        }
    }
    let ping = front.ask(&front.make(Method::Options, None));
    assert_eq!(ping.status, StatusCode::OK);
    assert_eq!(server.program.complaints(), Vec::<String>::new());
}

/// The cap on transactions, 100,000 at a time, has a test in `sip`.
#[test]
fn overload() {
    let server = Signaling::start();
    let agent = Agent::new(server.sip);
    let registers = |stream: &str, number: usize, expires: &str| {
        let contact = format!("<sip:{number}@{}>", agent.address);
        let fields = [(Name::Contact, contact.as_str()), (Name::Expires, expires)];
        agent.register(stream, &fields, "")
    };
    let overloaded = |answer: sip::Response| {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers.get(Name::RetryAfter), Some("5"));
    };
    // Streamers of one stream, and of all; whoever is there goes on.
    for number in 0..40 {
        assert_eq!(registers("many", number, "60").status, StatusCode::OK);
    }
    overloaded(registers("many", 40, "60"));
    for number in 40..1000 {
        let stream = format!("stream{number}");
        assert_eq!(registers(&stream, 0, "60").status, StatusCode::OK);
    }
    overloaded(registers("further", 0, "60"));
    assert_eq!(registers("many", 1, "60").status, StatusCode::OK);
    assert_eq!(registers("many", 1, "0").status, StatusCode::OK);
    assert_eq!(registers("further", 0, "60").status, StatusCode::OK);
}
