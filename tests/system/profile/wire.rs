//! What is made of messages on their way: Stack, Transport, Transactions.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sip::{Dialog, Method, Name, Request, StatusCode};

use super::agent::{Caller, ack, cancel};
use super::*;
use crate::harness::{eventually, seconds};

/// The largest payload of a datagram (RFC 768, with the header of IPv4).
const LARGEST: usize = 65_507;
/// What is longer goes by a stream where there is one (RFC 3261 section 18.1.1).
const LONG: usize = 2000;

/// What the relay does not understand passes as it came, whatever its spelling.
#[test]
fn stack() {
    let server = Signaling::start();
    let [front, streamer] = sides(&server);
    let (sip, caller) = (server.sip, front.address);
    let odd = "f: \"Ana, \\\"A\\\"\" <sip:ana@example.org>;tag=1;x=\"a;b\"\r\n\
               T:<sip:test@example.org;user=ip>\r\n\
               X-Odd :  \t spaced   out\r\n\
               i: odd@example.org\r\n\
               CSEQ: 0007\t FLY\r\n\
               Subject: folded\r\n\t into two\r\n\
               Accept: a/b,c/d;q=0.5 , e/f\r\n\
               Require: wings\r\n\
               Content-Type: application/x-odd\r\n\
               l: 7\r\n\r\n";
    let body = b"\xff\0\r\n\r\n\n";
    let older = "Via: SIP/2.0/TCP example.org;branch=z9hG4bKolder\r\n";
    let head = format!(
        "FLY sip:test@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bKodd;rport\r\n{older}\
         Max-Forwards: 9\r\nRoute: <sip:{sip};lr>\r\n{odd}"
    );
    front.send(&[head.as_bytes(), body].concat());
    let came = streamer.receive();
    let text = String::from_utf8_lossy(&came);
    let ours = text.lines().nth(1).unwrap();
    assert!(ours.starts_with(&format!("Via: SIP/2.0/UDP {sip};branch=z9hG4bK")));
    let port = caller.port();
    let vias = format!(
        "Via: SIP/2.0/UDP {caller};branch=z9hG4bKodd;rport={port};received=127.0.0.1\r\n{older}"
    );
    let head = format!(
        "FLY sip:test@{} SIP/2.0\r\n{ours}\r\n{vias}Max-Forwards: 8\r\n{odd}",
        streamer.address
    );
    let expected = [head.as_bytes(), body].concat();
    assert_eq!(text_of(&came), text_of(&expected));

    let odd = odd.replace("user=ip>", "user=ip>;tag=2");
    let start = "SIP/2.0 299 Flown  away\r\n";
    streamer.send(&[format!("{start}{ours}\r\n{vias}{odd}").as_bytes(), body].concat());
    let expected = [format!("{start}{vias}{odd}").as_bytes(), body].concat();
    assert_eq!(text_of(&front.receive()), text_of(&expected));
}

/// As it is shown when it is not the expected; what is no text counts by where it is.
fn text_of(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\r\\n", "\r\n")
}

fn transport_of(request: &Request) -> String {
    request.top_via().unwrap().transport
}

/// What the page does to keep its offers short is tested with the browsers that play.
#[test]
fn transport() {
    let server = Signaling::start();
    let [front, streamer] = sides(&server);

    // Datagrams of any size, both ways; what grows too large on the way is refused.
    let small = front.invite("test", 10);
    front.send(&small.to_bytes());
    let came = streamer.request();
    let grows = came.to_bytes().len() - small.to_bytes().len();
    streamer.answer(&came, StatusCode::BUSY_HERE);
    assert_eq!(front.answer_to(&small).status, StatusCode::BUSY_HERE);
    let invite_of = |length: usize| {
        let head = front.invite("test", LARGEST).to_bytes().len() - LARGEST;
        front.invite("test", length - head)
    };
    let refused = front.ask(&invite_of(LARGEST));
    assert_eq!(refused.status, StatusCode::MESSAGE_TOO_LARGE);
    front.send(&invite_of(LARGEST - grows).to_bytes());
    let came = streamer.expect(&Method::Invite);
    assert_eq!(came.to_bytes().len(), LARGEST);
    let mut answer = streamer.answering(&came, StatusCode::ACCEPTED);
    answer.set_body("application/sdp", vec![b'v'; LARGEST].into());
    let head = answer.to_bytes().len() - LARGEST;
    answer.set_body("application/sdp", vec![b'v'; LARGEST - head].into());
    streamer.reply(&answer);
    assert_eq!(front.answer_to(&came).body, answer.body);

    // A long request goes by a stream to who takes one, a short one does not.
    let (both, listener) = listening(&server, "both");
    front.send(&front.make(Method::Options, Some("both")).to_bytes());
    assert_eq!(transport_of(&both.request()), "UDP");
    let long = front.invite("both", LONG);
    front.send(&long.to_bytes());
    let mut stream = Caller::new(listener.accept().unwrap().0);
    let came = stream.request();
    assert_eq!(
        (transport_of(&came).as_str(), came.body.len()),
        ("TCP", LONG)
    );
    let accepted = both.answering(&came, StatusCode::ACCEPTED);
    stream.send(&accepted.to_bytes());
    assert_eq!(front.answer_to(&long).status, StatusCode::ACCEPTED);

    // Who has refused a stream is remembered, and gets the next long one by a datagram at once.
    let late = TcpListener::bind(streamer.address).unwrap();
    front.send(&front.invite("test", LONG).to_bytes());
    assert_eq!(transport_of(&streamer.expect(&Method::Invite)), "UDP");
    late.set_nonblocking(true).unwrap();
    assert_eq!(late.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    // A stream that does not open is waited for, 300 ms.
    let (deaf, full) = listening(&server, "deaf");
    let waiting = fill(&full);
    let begin = Instant::now();
    front.send(&front.invite("deaf", LONG).to_bytes());
    assert_eq!(transport_of(&deaf.request()), "UDP");
    takes(begin.elapsed(), Duration::from_millis(300));
    drop(waiting);

    // Who registers by a stream is called over it, with a way recorded for either side.
    let mut stream = Caller::connect(server.sip);
    let there = stream.address();
    let contact = format!("<sip:piped@{there};transport=tcp>");
    let via = format!("SIP/2.0/TCP {there};branch=z9hG4bKpiped;rport");
    let fields = [(Name::Contact, contact.as_str()), (Name::Via, &via)];
    let register = front.registration("piped", &fields, "");
    stream.send(&register.to_bytes());
    assert_eq!(stream.response().status, StatusCode::OK);
    let invite = front.invite("piped", 10);
    front.send(&invite.to_bytes());
    let came = stream.request();
    let recorded: Vec<&str> = came.headers.values(Name::RecordRoute).collect();
    let [udp, tcp] = ["", ";transport=tcp"].map(|by| format!("<sip:{}{by};lr>", server.sip));
    assert_eq!(recorded, [tcp, udp]);
    let accepted = front.answering(&came, StatusCode::ACCEPTED);
    stream.send(&accepted.to_bytes());
    assert_eq!(front.answer_to(&invite).status, StatusCode::ACCEPTED);

    // Front and streamers take any port that is free.
    let pipelines = descriptions(&[("tone", TONE)]);
    let signaling = server.sip.to_string();
    let flags = ["--http", "127.0.0.1:0", "--signaling", &signaling];
    let programs = [
        Process::start("front", &flags),
        super::streamer(server.sip, pipelines.path(), &[]),
    ];
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range.split_whitespace().flat_map(str::parse).collect();
    for program in programs {
        assert!((range[0]..=range[1]).contains(&program.addr("sip").port()));
    }
}

/// A streamer that has registered a stream, and listens for streams at the port of its datagrams.
fn listening(server: &Signaling, stream: &str) -> (Agent, TcpListener) {
    loop {
        let agent = Agent::new(server.sip);
        if let Ok(listener) = TcpListener::bind(agent.address) {
            agent.register(stream, &[], "");
            return (agent, listener);
        }
    }
}

/// Opens streams until whoever listens there takes no more: those that follow are kept waiting.
fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    let address = listener.local_addr().unwrap();
    let mut opened = Vec::new();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            Ok(stream) => opened.push(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => return opened,
            Err(error) => panic!("{error}"),
        }
    }
}

const T1: Duration = Duration::from_millis(500);

#[test]
fn transactions() {
    let server = Signaling::start();
    let [front, streamer] = sides(&server);

    // What is not answered is sent again, ever more slowly; what comes again goes no further, and
    // its answer is kept for it.
    let options = front.make(Method::Options, Some("test"));
    let begin = Instant::now();
    front.send(&options.to_bytes());
    let came = streamer.request();
    front.send(&options.to_bytes());
    for waited in [1, 3] {
        assert_eq!(streamer.request().to_bytes(), came.to_bytes());
        takes(begin.elapsed(), waited * T1);
    }
    streamer.answer(&came, StatusCode::OK);
    let answer = front.answer_to(&options);
    front.send(&options.to_bytes());
    assert_eq!(front.response().to_bytes(), answer.to_bytes());

    // So is a call, which is answered 100 at once.
    let invite = front.invite("test", 10);
    let begin = Instant::now();
    let came = [(); 2].map(|()| {
        front.send(&invite.to_bytes());
        assert_eq!(front.response().status, StatusCode::TRYING);
        streamer.request()
    });
    takes(begin.elapsed(), T1);
    assert_eq!(came[0].to_bytes(), came[1].to_bytes());

    // CANCEL ends here, and goes on hop by hop, but not before the next hop has said something.
    for _ in 0..2 {
        front.send(&cancel(&invite).to_bytes());
    }
    let said = [(); 3].map(|()| front.response());
    let of_cancel = said.each_ref().map(|it| it.cseq().method == Method::Cancel);
    assert_eq!(of_cancel, [true, false, true]);
    let (yes, over) = (StatusCode::OK, StatusCode::REQUEST_TERMINATED);
    assert_eq!(said.each_ref().map(|it| it.status), [yes, over, yes]);
    // A refusal is sent again until its ACK, which ends here.
    let again = front.response();
    assert_eq!(again.to_bytes(), said[1].to_bytes());
    front.send(&ack(&invite, &again).to_bytes());
    let pending = streamer.request();
    assert_eq!(pending.method, Method::Invite, "once more, not cancelled");
    takes(begin.elapsed(), 3 * T1);
    streamer.answer(&pending, StatusCode::TRYING);
    let cancelled = streamer.request();
    assert_eq!(cancelled.method, Method::Cancel);
    assert_eq!(cancelled.top_via(), pending.top_via());
    streamer.answer(&cancelled, StatusCode::OK);
    streamer.answer(&pending, StatusCode::REQUEST_TERMINATED);
    // The streamer's refusal has an ACK of ours.
    let acknowledged = streamer.request();
    assert_eq!(acknowledged.method, Method::Ack);
    assert_eq!(acknowledged.top_via(), pending.top_via());
    // The caller's refusal would come again by now.
    front.hears_nothing(T1 + T1 / 4);
    streamer.hears_nothing(Duration::from_millis(1));

    // Each 2xx passes (RFC 6026), and its ACK goes end to end; behind us it is not lost twice.
    let invite = front.invite("test", 10);
    front.send(&invite.to_bytes());
    let came = streamer.request();
    for _ in 0..2 {
        streamer.answer(&came, StatusCode::ACCEPTED);
        assert_eq!(front.answer_to(&invite).status, StatusCode::ACCEPTED);
    }
    front.send(&invite.to_bytes());
    streamer.answer(&came, StatusCode::ACCEPTED);
    let accepted = front.answer_to(&invite);
    let mut passed = Dialog::uac(&invite, &accepted).ack();
    passed.headers.push_front(Name::Via, &front.via());
    front.send(&passed.to_bytes());
    let passed = streamer.request();
    assert_eq!(
        passed.method,
        Method::Ack,
        "the INVITE that came again has not passed"
    );
    assert_ne!(passed.top_via(), came.top_via());
    assert_eq!(passed.headers.count(Name::Via), 2);
    streamer.answer(&came, StatusCode::ACCEPTED);
    assert_eq!(streamer.request().method, Method::Ack);
    front.answer_to(&invite);
    // Nothing answers an ACK.
    front.hears_nothing(Duration::from_millis(1));
    eventually("one call stands, and none is pending", seconds(2), || {
        let state = server.program.state();
        (&state["calls"], &state["sessions"]) == (&0.into(), &1.into())
    });
}
