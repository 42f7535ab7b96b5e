//! The driver over real sockets on loopback.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::driver::{Datagram, Role, Socket, Tap, Way};
use sip::{Endpoint, Event, Method, NameAddr, Request, Response, StatusCode, Uri};
use tokio::sync::{mpsc, oneshot};

/// Answers every request with 200.
struct Answers;

impl Role for Answers {
    type Command = ();

    fn handle_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        if let Event::Request { id, request, .. } = event {
            endpoint.respond(now, id, Response::to_request(&request, StatusCode::OK));
        }
    }

    fn handle_command(&mut self, _: Instant, (): (), _: &mut Endpoint) {}

    fn handle_timeout(&mut self, _: Instant, _: &mut Endpoint) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_shutdown(&mut self, _: Instant, _: &mut Endpoint) {}

    fn is_drained(&self) -> bool {
        true
    }
}

/// Asks when told to, and says goodbye to `peer` before it ends.
struct Asks {
    peer: SocketAddr,
    waiting: Vec<(sip::ClientId, oneshot::Sender<StatusCode>)>,
    goodbye: Option<sip::ClientId>,
    ended: bool,
}

impl Asks {
    fn request(&self, endpoint: &mut Endpoint, method: Method) -> Request {
        let uri = Uri::at(None, self.peer);
        let from = NameAddr::new(Uri::at(None, endpoint.local()));
        let from = from.with_tag(&endpoint.generate_tag());
        let call_id = endpoint.generate_call_id();
        Request::new(method, uri.clone(), from, NameAddr::new(uri), &call_id, 1)
    }
}

impl Role for Asks {
    type Command = oneshot::Sender<StatusCode>;

    fn handle_event(&mut self, _: Instant, event: Event, _: &mut Endpoint) {
        if let Event::Response { id, response, .. } = event {
            self.ended |= self.goodbye == Some(id);
            if let Some(at) = self.waiting.iter().position(|(of, _)| *of == id) {
                let (_, reply) = self.waiting.swap_remove(at);
                let _ = reply.send(response.status);
            }
        }
    }

    fn handle_command(&mut self, now: Instant, reply: Self::Command, endpoint: &mut Endpoint) {
        let request = self.request(endpoint, Method::Options);
        let id = endpoint.request(now, self.peer, request);
        self.waiting.push((id, reply));
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Endpoint) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_shutdown(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let request = self.request(endpoint, Method::Bye);
        self.goodbye = Some(endpoint.request(now, self.peer, request));
    }

    fn is_drained(&self) -> bool {
        self.ended
    }
}

#[tokio::test]
async fn commands_are_answered_and_shutdown_waits_for_the_goodbye() {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Socket::bind(loopback).unwrap();
    let peer = server.local();
    let (_keep, commands) = mpsc::channel(1);
    let (stop_server, server_stopped) = oneshot::channel::<()>();
    let endpoint = server.endpoint();
    let server = tokio::spawn(server.run(endpoint, Answers, commands, async {
        let _ = server_stopped.await;
    }));

    let client = Socket::bind(loopback).unwrap();
    let (ask, commands) = mpsc::channel(4);
    let (stop_client, client_stopped) = oneshot::channel::<()>();
    let role = Asks {
        peer,
        waiting: Vec::new(),
        goodbye: None,
        ended: false,
    };
    let endpoint = client.endpoint();
    let client = tokio::spawn(client.run(endpoint, role, commands, async {
        let _ = client_stopped.await;
    }));
    for _ in 0..50 {
        let (reply, answer) = oneshot::channel();
        ask.send(reply).await.unwrap();
        assert_eq!(answer.await.unwrap(), StatusCode::OK);
    }
    let limit = Duration::from_secs(3);
    stop_client.send(()).unwrap();
    tokio::time::timeout(limit, client)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    stop_server.send(()).unwrap();
    tokio::time::timeout(limit, server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// Passes on what it sees.
#[derive(Debug)]
struct Witness(mpsc::UnboundedSender<Datagram>);

impl Tap for Witness {
    fn handle_datagram(&mut self, datagram: &Datagram) {
        let _ = self.0.send(datagram.clone());
    }
}

#[tokio::test]
async fn a_tap_sees_what_comes_and_what_is_sent() {
    let socket = Socket::bind(([0, 0, 0, 0], 0).into()).unwrap();
    let here = SocketAddr::from(([127, 0, 0, 1], socket.local().port()));
    let endpoint = socket.endpoint_at(here);
    let (witness, mut seen) = mpsc::unbounded_channel();
    let socket = socket.with_tap(Box::new(Witness(witness)));
    let (_keep, commands) = mpsc::channel(1);
    let server = tokio::spawn(socket.run(endpoint, Answers, commands, std::future::pending()));

    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer = client.local_addr().unwrap();
    let (from, to) = (NameAddr::new(Uri::at(None, peer)), Uri::at(None, here));
    let mut options = Request::new(
        Method::Options,
        to.clone(),
        from,
        NameAddr::new(to),
        "tap",
        1,
    );
    let via = sip::Via::udp(peer, "z9hG4bKtap");
    options.headers.push_front(sip::Name::Via, &via.to_string());
    let asked = options.to_bytes();
    for sent in [&b"nonsense"[..], &asked] {
        client.send_to(sent, here).await.unwrap();
    }
    let mut answer = vec![0; 4096];
    let (length, _) = client.recv_from(&mut answer).await.unwrap();
    let expected = [
        (Way::In, &b"nonsense"[..]),
        (Way::In, &asked),
        (Way::Out, &answer[..length]),
    ];
    let mut last = std::time::SystemTime::UNIX_EPOCH;
    for (way, payload) in expected {
        let datagram = seen.recv().await.unwrap();
        assert_eq!((datagram.way, &datagram.payload[..]), (way, payload));
        assert_eq!((datagram.peer, datagram.local), (peer, here));
        assert!(datagram.time >= last);
        last = datagram.time;
    }
    server.abort();
}

#[tokio::test]
async fn a_socket_bound_to_every_address_shows_the_one_it_is_reached_under() {
    let socket = Socket::bind(([0, 0, 0, 0], 0).into()).unwrap();
    let advertised = SocketAddr::from(([127, 0, 0, 1], socket.local().port()));
    assert_eq!(socket.endpoint_at(advertised).local(), advertised);
    assert_eq!(socket.endpoint().local(), socket.local());
}
