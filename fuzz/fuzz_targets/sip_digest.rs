//! Reads anything as a challenge and as credentials. What is read is printed and read again as the
//! same, and what our programs answer to a challenge can be read and is right.

#![no_main]

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::auth::{Account, Asker, Challenge, Credentials, Secret, Verifier};
use sip::endpoint::Config;
use sip::{Endpoint, Event, Headers, Message, Method, NameAddr, Request, Response, Uri};

const PASSWORD: &str = "a password";

fn server() -> SocketAddr {
    ([192, 0, 2, 1], 5060).into()
}

/// An answer to a request, with these bytes for the value of a field of its own.
fn answer(request: &Request, asker: Asker, value: &[u8]) -> Option<Response> {
    let response = Response::to_request(request, asker.status()).to_bytes();
    let head = response.strip_suffix(b"\r\n").expect("an empty line");
    let field = format!("{}: ", asker.challenge().as_str());
    let message = [head, field.as_bytes(), value, b"\r\n\r\n"].concat();
    match Message::parse(Bytes::from(message)) {
        Ok(Message::Response(response)) => Some(response),
        _ => None,
    }
}

fn challenges(asker: Asker, lines: &[String]) -> Vec<Challenge> {
    let mut headers = Headers::default();
    for line in lines {
        headers.push(asker.challenge(), line);
    }
    Challenge::all(&headers, asker)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(Some(credentials)) = Credentials::parse(text) {
            let printed = credentials.to_string();
            assert!(!printed.contains(['\r', '\n']), "{printed:?}");
            assert_eq!(Credentials::parse(&printed), Ok(Some(credentials)));
        }
    }
    let asker = [Asker::Server, Asker::Proxy][data.len() % 2];
    let (now, mut last) = (Instant::now(), 0);
    let config = Config::new(([192, 0, 2, 2], 5060).into());
    let mut endpoint = Endpoint::new(config, move || {
        last += 1;
        last
    });
    let uri = Uri::at(None, server());
    let name = NameAddr::new(uri.clone());
    let from = name.clone().with_tag("t");
    let request = Request::new(Method::Register, uri, from, name, "call", 1);
    let mut account = Account::new("ana", Secret::new(PASSWORD));
    let id = account.request(now, &mut endpoint, server(), request);
    let sent = endpoint.client_request(id).expect("it was sent").clone();
    let Some(response) = answer(&sent, asker, data) else {
        return;
    };
    let all = Challenge::all(&response.headers, asker);
    let lines: Vec<String> = all.iter().map(Challenge::to_string).collect();
    assert_eq!(challenges(asker, &lines), all);
    assert_eq!(challenges(asker, &[lines.join(", ")]), all);

    endpoint.handle_datagram(now, server(), response.to_bytes());
    while let Some(event) = endpoint.poll_event() {
        let Event::Response { id, response, .. } = event else {
            continue;
        };
        let again = account.handle_response(now, &mut endpoint, server(), id, &response);
        assert_eq!(again.is_some(), !all.is_empty());
        let Some(again) = again else { continue };
        let bytes = endpoint
            .client_request(again)
            .expect("it was sent")
            .to_bytes();
        let Ok(Message::Request(request)) = Message::parse(bytes) else {
            panic!("what was sent can be read");
        };
        let line = request
            .headers
            .get(asker.credentials())
            .expect("credentials");
        let credentials = Credentials::parse(line).expect("that can be read");
        let credentials = credentials.expect("of a digest");
        let verifier = Verifier::new("ana", &credentials.realm, &Secret::new(PASSWORD));
        assert!(verifier.admits(&credentials, &Method::Register));
    }
});
