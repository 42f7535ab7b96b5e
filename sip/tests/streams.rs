//! What is too long for a datagram: by which transport it goes, under a virtual clock.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::endpoint::{Config, Endpoint, Event, Transmit};
use sip::timer::{T1, TRANSACTION_LIMIT};
use sip::{
    Failure, Message, Method, NameAddr, Peer, Request, Response, StatusCode, Transport, Uri,
};

const LIMIT: Duration = Duration::from_millis(300);

fn near() -> SocketAddr {
    ([192, 0, 2, 1], 5060).into()
}

fn far() -> SocketAddr {
    ([192, 0, 2, 2], 5060).into()
}

/// An endpoint that has streams, at a moment.
struct End {
    endpoint: Endpoint,
    now: Instant,
}

impl End {
    fn at(address: SocketAddr) -> Self {
        let mut config = Config::new(address);
        config.streams = true;
        let mut number = 0;
        let random = move || {
            number += 1;
            number
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the virtual clock begins somewhere"
        )]
        let now = Instant::now();
        End {
            endpoint: Endpoint::new(config, random),
            now,
        }
    }

    fn ask(&mut self, method: Method, body: usize, peer: impl Into<Peer>) -> sip::ClientId {
        let from = NameAddr::new(Uri::at(Some("ana"), near())).with_tag("a");
        let to = Uri::at(Some("test"), far());
        let call_id = self.endpoint.generate_call_id();
        let mut request = Request::new(method, to.clone(), from, NameAddr::new(to), &call_id, 1);
        request.set_body("application/sdp", vec![b'v'; body].into());
        self.endpoint.request(self.now, peer, request)
    }

    /// What is sent now.
    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.endpoint.poll_transmit()).collect()
    }

    /// The transports of what is sent now, which is the same message each time.
    fn transports(&mut self) -> Vec<Transport> {
        let sent = self.sent();
        for transmit in &sent {
            assert_eq!(transmit.destination, far());
            let Ok(Message::Request(request)) = Message::parse(transmit.payload.clone()) else {
                panic!("no request");
            };
            let via = request.top_via().unwrap();
            assert_eq!(via.transport, transmit.transport.as_str());
        }
        sent.iter().map(|transmit| transmit.transport).collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.endpoint.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }
}

fn branch(transmit: &Transmit) -> String {
    let Ok(Message::Request(request)) = Message::parse(transmit.payload.clone()) else {
        panic!("no request");
    };
    request.top_via().unwrap().branch().unwrap().to_owned()
}

#[test]
fn what_is_too_long_for_a_datagram_goes_by_a_stream() {
    let mut end = End::at(near());
    end.ask(Method::Invite, 100, far());
    assert_eq!(end.transports(), [Transport::Udp]);
    end.ask(Method::Invite, 1300, far());
    assert_eq!(end.transports(), [Transport::Tcp]);
    end.endpoint.handle_stream_open(far());
    // Neither sent again nor by another way; the short one is.
    end.wait(T1);
    assert_eq!(end.transports(), [Transport::Udp]);
    end.wait(TRANSACTION_LIMIT);
    let failed = end.events();
    assert_eq!(failed.len(), 2, "{failed:?}");
}

#[test]
fn where_a_stream_does_not_open_in_time_datagrams_do() {
    let mut end = End::at(near());
    end.ask(Method::Invite, 1300, far());
    let first = end.sent();
    end.wait(LIMIT - Duration::from_millis(1));
    assert_eq!(end.sent(), []);
    end.wait(Duration::from_millis(1));
    let second = end.sent();
    assert_eq!(
        [first[0].transport, second[0].transport],
        [Transport::Tcp, Transport::Udp]
    );
    // The same request for whoever gets both.
    assert_eq!(branch(&first[0]), branch(&second[0]));
    end.wait(T1);
    assert_eq!(end.transports(), [Transport::Udp]);
    // The next one does not wait, until the stream is open after all.
    end.ask(Method::Invite, 1300, far());
    assert_eq!(end.transports(), [Transport::Udp]);
    end.endpoint.handle_stream_open(far());
    end.ask(Method::Invite, 1300, far());
    assert_eq!(end.transports(), [Transport::Tcp]);
}

#[test]
fn a_refusal_is_remembered_for_a_minute() {
    let mut end = End::at(near());
    end.ask(Method::Register, 1300, far());
    assert_eq!(end.transports(), [Transport::Tcp]);
    end.endpoint.handle_stream_refused(end.now, far());
    assert_eq!(end.transports(), [Transport::Udp]);
    end.wait(Duration::from_secs(59));
    end.sent();
    end.ask(Method::Register, 1300, far());
    assert_eq!(end.transports(), [Transport::Udp]);
    end.wait(Duration::from_secs(1));
    end.sent();
    end.ask(Method::Register, 1300, far());
    assert_eq!(end.transports(), [Transport::Tcp]);
    // Others are asked all the same, and whoever opens one again is asked at once.
    end.endpoint.handle_stream_refused(end.now, far());
    end.endpoint.handle_stream_open(far());
    end.sent();
    end.ask(Method::Register, 1300, far());
    assert_eq!(end.transports(), [Transport::Tcp]);
}

#[test]
fn an_open_stream_is_waited_for_however_late_the_answer_comes() {
    let mut end = End::at(near());
    // Whoever opened it.
    end.endpoint.handle_stream_open(far());
    for _ in 0..2 {
        end.ask(Method::Invite, 1300, far());
        assert_eq!(end.transports(), [Transport::Tcp]);
        end.wait(LIMIT * 10);
        assert_eq!(end.sent(), []);
    }
    end.endpoint.handle_stream_end(end.now, far());
    assert_eq!(end.transports(), [Transport::Udp; 2]);
    // The next one has to open.
    end.ask(Method::Invite, 1300, far());
    assert_eq!(end.transports(), [Transport::Tcp]);
    end.wait(LIMIT);
    assert!(end.transports().contains(&Transport::Udp));
}

#[test]
fn a_stream_that_ends_before_the_answer_is_made_up_for_by_datagrams() {
    let mut end = End::at(near());
    let id = end.ask(Method::Invite, 1300, far());
    let sent = end.sent();
    end.endpoint.handle_stream_open(far());
    let Ok(Message::Request(request)) = Message::parse(sent[0].payload.clone()) else {
        panic!("no request");
    };
    let trying = Response::to_request(&request, StatusCode::TRYING);
    end.endpoint
        .handle_stream_message(end.now, far(), trying.to_bytes());
    end.endpoint.cancel(end.now, id);
    // The CANCEL follows its INVITE.
    assert_eq!(end.transports(), [Transport::Tcp]);
    end.endpoint.handle_stream_end(end.now, far());
    assert_eq!(end.transports(), [Transport::Udp; 2]);
    let refused = Response::to_request(&request, StatusCode::REQUEST_TERMINATED);
    end.endpoint
        .handle_datagram(end.now, far(), refused.to_bytes());
    // Its ACK.
    assert_eq!(end.transports(), [Transport::Udp]);
}

#[test]
fn whoever_has_nothing_but_a_stream_cannot_be_reached_without() {
    let mut end = End::at(near());
    for method in [Method::Options, Method::Invite] {
        let id = end.ask(method, 10, Peer::tcp(far()));
        assert_eq!(end.transports(), [Transport::Tcp]);
        end.wait(T1);
        assert_eq!(end.sent(), []);
        end.endpoint.handle_stream_end(end.now, far());
        assert_eq!(end.sent(), []);
        let events = end.events();
        let [Event::Failed { id: of, failure }] = events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((of, failure), (id, Failure::Unreachable));
    }
    end.wait(TRANSACTION_LIMIT);
    end.wait(TRANSACTION_LIMIT);
    assert_eq!(end.endpoint.transactions(), 0);
}

#[test]
fn an_answer_goes_back_on_the_stream_of_its_request() {
    let (mut asking, mut end) = (End::at(near()), End::at(far()));
    let stream = SocketAddr::from(([198, 51, 100, 7], 40_000));
    asking.ask(Method::Invite, 1300, far());
    let asked = asking.sent().remove(0).payload;
    end.endpoint
        .handle_stream_message(end.now, stream, asked.clone());
    let events = end.events();
    let [
        Event::Request {
            id,
            request,
            source,
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(*source, Peer::tcp(stream));
    let busy = Response::to_request(request, StatusCode::BUSY_HERE);
    end.endpoint.respond(end.now, *id, busy);
    let back = |end: &mut End| -> Vec<(SocketAddr, Transport)> {
        let sent = end.sent().into_iter();
        sent.map(|sent| (sent.destination, sent.transport))
            .collect()
    };
    assert_eq!(back(&mut end), [(stream, Transport::Tcp)]);
    // It is not lost there.
    end.wait(T1);
    assert_eq!(end.sent(), []);
    // The stream has ended, and the request comes by datagram.
    let text = String::from_utf8(asked.to_vec()).unwrap();
    let again = text.replacen("SIP/2.0/TCP", "SIP/2.0/UDP", 1);
    end.endpoint
        .handle_datagram(end.now, near(), Bytes::from(again));
    assert!(end.events().is_empty());
    assert_eq!(back(&mut end), [(near(), Transport::Udp)]);
    end.endpoint
        .handle_stream_message(end.now, stream, Bytes::from("nonsense\r\n\r\n"));
    assert_eq!(end.endpoint.malformed(), 1);
}
