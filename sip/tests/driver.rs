//! The driver over real sockets on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that unwraps nothing has failed, and real sockets go by real time"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::driver::{Datagram, Role, Socket, Tap, Way};
use sip::{
    Endpoint, Event, Method, Name, NameAddr, Request, Response, StatusCode, Transport, Uri, Via,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
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
    /// Bytes of what it asks with.
    body: usize,
    waiting: Vec<(sip::ClientId, oneshot::Sender<StatusCode>)>,
    goodbye: Option<sip::ClientId>,
    ended: bool,
}

impl Asks {
    fn of(peer: SocketAddr, body: usize) -> Self {
        Asks {
            peer,
            body,
            waiting: Vec::new(),
            goodbye: None,
            ended: false,
        }
    }

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
        let mut request = self.request(endpoint, Method::Options);
        request.set_body("text/plain", vec![b'x'; self.body].into());
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
    let endpoint = client.endpoint();
    let client = tokio::spawn(client.run(endpoint, Asks::of(peer, 0), commands, async {
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

/// A question from `peer`.
fn options(transport: Transport, peer: SocketAddr, here: SocketAddr, call_id: &str) -> Vec<u8> {
    let (from, to) = (NameAddr::new(Uri::at(None, peer)), Uri::at(None, here));
    let to_header = NameAddr::new(to.clone());
    let mut options = Request::new(Method::Options, to, from, to_header, call_id, 1);
    let via = Via::over(transport, peer, &format!("z9hG4bK{call_id}"));
    options.headers.push_front(Name::Via, &via.to_string());
    options.to_bytes().to_vec()
}

/// A socket that answers, and what passes it.
fn answering() -> (SocketAddr, mpsc::UnboundedReceiver<Datagram>) {
    let socket = Socket::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let (here, endpoint) = (socket.local(), socket.endpoint());
    let (witness, seen) = mpsc::unbounded_channel();
    let socket = socket.with_tap(Box::new(Witness(witness)));
    tokio::spawn(async move {
        let (_keep, commands) = mpsc::channel(1);
        socket
            .run(endpoint, Answers, commands, std::future::pending())
            .await
    });
    (here, seen)
}

/// Asks `peer` with bodies of these sizes, one after the other.
async fn asked(peer: SocketAddr, sizes: &[usize]) {
    for size in sizes {
        let client = Socket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let endpoint = client.endpoint();
        let (ask, commands) = mpsc::channel(1);
        let role = Asks::of(peer, *size);
        let asking = async {
            for _ in 0..3 {
                let (reply, answer) = oneshot::channel();
                ask.send(reply).await.unwrap();
                assert_eq!(answer.await.unwrap(), StatusCode::OK);
            }
        };
        tokio::select! {
            _ = client.run(endpoint, role, commands, std::future::pending()) => unreachable!(),
            () = asking => {}
        }
    }
}

#[tokio::test]
async fn what_is_long_goes_by_one_stream_from_the_port_of_its_sender() {
    let (here, mut seen) = answering();
    asked(here, &[0, 1300, 60_000]).await;
    let mut peers = Vec::new();
    for size in [0, 1300, 60_000] {
        let transport = match size {
            0 => Transport::Udp,
            _ => Transport::Tcp,
        };
        for _ in 0..3 {
            let (asked, answered) = (seen.recv().await.unwrap(), seen.recv().await.unwrap());
            assert_eq!(
                [asked.transport, answered.transport],
                [transport; 2],
                "{size}"
            );
            assert_eq!((asked.way, answered.way), (Way::In, Way::Out));
            assert_eq!(asked.peer, answered.peer);
            let text = String::from_utf8_lossy(&asked.payload).into_owned();
            // As its Via says.
            assert!(text.contains(&format!("/{} {}", transport.as_str(), asked.peer)));
            peers.push(asked.peer);
        }
    }
    peers.dedup();
    assert_eq!(peers.len(), 3);
}

/// The next question that comes by a datagram, and its answer.
async fn datagram(far: &UdpSocket) -> (Response, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, source) = far.recv_from(&mut buffer).await.unwrap();
    let message = sip::Message::parse(buffer[..length].to_vec().into()).unwrap();
    let sip::Message::Request(request) = message else {
        panic!("no request");
    };
    assert_eq!(request.top_via().unwrap().transport, "UDP");
    (Response::to_request(&request, StatusCode::OK), source)
}

#[tokio::test]
async fn where_nobody_takes_streams_datagrams_do() {
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer = far.local_addr().unwrap();
    let client = tokio::spawn(async move { asked(peer, &[2000]).await });
    for _ in 0..3 {
        let (answer, source) = datagram(&far).await;
        far.send_to(&answer.to_bytes(), source).await.unwrap();
    }
    client.await.unwrap();
}

/// With several threads it may come before the stream has got its first message.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_remembered_however_soon_it_comes() {
    for _ in 0..20 {
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer = far.local_addr().unwrap();
        let far = tokio::spawn(async move {
            let mut listener = None;
            for _ in 0..3 {
                let (answer, source) = datagram(&far).await;
                if listener.is_none() {
                    listener = TcpListener::bind(peer).await.ok();
                }
                far.send_to(&answer.to_bytes(), source).await.unwrap();
            }
        });
        let asked = tokio::time::timeout(Duration::from_secs(5), asked(peer, &[2000]));
        asked.await.expect("no stream is tried again");
        far.await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_is_answered_on_itself_and_pinged() {
    let (here, _seen) = answering();
    let mut stream = TcpStream::connect(here).await.unwrap();
    let peer = stream.local_addr().unwrap();
    let mut expected = 0;
    let both = [
        options(Transport::Tcp, peer, here, "one"),
        options(Transport::Tcp, peer, here, "two"),
    ];
    let ping = b"\r\n\r\n";
    for piece in [&both[0][..50], &both[0][50..], ping, &both[1]] {
        stream.write_all(piece).await.unwrap();
    }
    let mut answers = String::new();
    let mut buffer = [0; 4096];
    while answers.matches("SIP/2.0 200").count() < 2 || !answers.ends_with("\r\n\r\n") {
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "{answers}");
        answers.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        expected += length;
    }
    assert_eq!(expected, answers.len());
    let (one, two) = (answers.find("Call-ID: one"), answers.find("Call-ID: two"));
    assert!(one.is_some() && two > one, "{answers}");
    // The pong is somewhere between or behind them, as one more empty line.
    stream.write_all(ping).await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
    assert_eq!(&buffer[..2], b"\r\n");
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_slow_idle_or_nonsense_end() {
    let (here, _seen) = answering();
    // An ACK leaves nothing that would wait by the clock of the machine.
    let whole = String::from_utf8(options(Transport::Tcp, here, here, "x")).unwrap();
    let whole = whole.replace("OPTIONS", "ACK");
    let begin = tokio::time::Instant::now();
    for (what, text, seconds) in [
        ("nonsense", "GET / HTTP/1.1\r\n\r\n", 0..1),
        ("nothing", "", 10..11),
        ("half a message", &whole[..50], 10..11),
        ("one message", &whole, 300..301),
    ] {
        let mut stream = TcpStream::connect(here).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let start = begin.elapsed();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "{what}");
        let took = (begin.elapsed() - start).as_secs();
        assert!(seconds.contains(&took), "{what}: {took} s");
    }
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share_of_streams() {
    let (here, _seen) = answering();
    let mut streams = Vec::new();
    for _ in 0..128 {
        let mut stream = TcpStream::connect(here).await.unwrap();
        stream.write_all(b"\r\n\r\n").await.unwrap();
        let mut pong = [0; 2];
        stream.read_exact(&mut pong).await.unwrap();
        streams.push(stream);
    }
    let mut further = TcpStream::connect(here).await.unwrap();
    assert_eq!(further.read(&mut [0; 2]).await.unwrap_or_default(), 0);
    // The place of one that leaves is free again.
    streams.pop();
    let limit = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut stream = TcpStream::connect(here).await.unwrap();
        let _ = stream.write_all(b"\r\n\r\n").await;
        if stream
            .read(&mut [0; 2])
            .await
            .is_ok_and(|length| length > 0)
        {
            break;
        }
        assert!(tokio::time::Instant::now() < limit);
    }
}

#[tokio::test]
async fn a_port_whose_tcp_is_taken_is_told_of() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Socket::bind(taken.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with("TCP: "), "{error}");
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

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer = client.local_addr().unwrap();
    let asked = options(Transport::Udp, peer, here, "tap");
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
async fn a_socket_of_both_versions_of_ip_shows_each_peer_its_own() {
    let socket = Socket::bind("[::]:0".parse().unwrap()).unwrap();
    let port = socket.local().port();
    let [four, six]: [SocketAddr; 2] = [
        ([127, 0, 0, 1], port).into(),
        (std::net::Ipv6Addr::LOCALHOST, port).into(),
    ];
    let endpoint = socket.endpoint_at_both(six, Some(four));
    assert_eq!(endpoint.local_towards(four), four);
    assert_eq!(endpoint.local_towards(six), six);
    let (witness, mut seen) = mpsc::unbounded_channel();
    let socket = socket.with_tap(Box::new(Witness(witness)));
    let (_keep, commands) = mpsc::channel(1);
    let server = tokio::spawn(socket.run(endpoint, Answers, commands, std::future::pending()));
    for here in [four, six] {
        let client = UdpSocket::bind(SocketAddr::new(here.ip(), 0))
            .await
            .unwrap();
        let peer = client.local_addr().unwrap();
        let asked = options(Transport::Udp, peer, here, "both");
        client.send_to(&asked, here).await.unwrap();
        let mut answer = vec![0; 4096];
        let (length, source) = client.recv_from(&mut answer).await.unwrap();
        assert_eq!(source, here);
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(!text.contains("ffff"), "{text}");

        let mut stream = TcpStream::connect(here).await.unwrap();
        let peer_of_stream = stream.local_addr().unwrap();
        let asked = options(Transport::Tcp, peer_of_stream, here, "both");
        stream.write_all(&asked).await.unwrap();
        let length = stream.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(
            text.starts_with("SIP/2.0 200") && !text.contains("ffff"),
            "{text}"
        );
        for peer in [peer, peer, peer_of_stream, peer_of_stream] {
            let datagram = seen.recv().await.unwrap();
            assert_eq!((datagram.peer, datagram.local), (peer, here));
        }
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
