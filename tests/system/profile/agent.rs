//! A user agent whose every byte is the test's: it sends nothing by itself, nor anything again.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use sip::{Message, Method, Name, NameAddr, Request, Response, StatusCode, Transport, Uri, Via};

use crate::harness::seconds;

/// No answer takes longer: by then a transaction has ended.
const PATIENCE: Duration = seconds(40);

/// Such an agent, on a port of its own.
pub struct Agent {
    socket: UdpSocket,
    pub address: SocketAddr,
    /// Whom it talks to.
    pub server: SocketAddr,
    last: Cell<u32>,
}

impl Agent {
    pub fn new(server: SocketAddr) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), server)
    }

    /// One that sends from this address of the machine.
    pub fn at(ip: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        Self {
            socket,
            address,
            server,
            // All numbers have as many digits.
            last: Cell::new(10_000_000),
        }
    }

    fn number(&self) -> u32 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    pub fn branch(&self) -> String {
        format!("z9hG4bK-{}", self.number())
    }

    /// Another Via of its own.
    pub fn via(&self) -> String {
        Via::over(Transport::Udp, self.address, &self.branch()).to_string()
    }

    /// A request for a stream, or for the server itself, with a Call-ID of its own.
    pub fn make(&self, method: Method, stream: Option<&str>) -> Request {
        let uri = Uri::at(stream, self.server);
        let from = NameAddr::new(Uri::at(Some("ana"), self.address)).with_tag("ana");
        let to = NameAddr::new(uri.clone());
        let number = self.number();
        let call_id = format!("{number}@{}", self.address);
        let mut request = Request::new(method, uri, from, to, &call_id, number);
        let contact = NameAddr::new(Uri::at(Some("ana"), self.address));
        request.headers.push(Name::Contact, &contact.to_string());
        request.headers.push_front(Name::Via, &self.via());
        request
    }

    /// The same with header fields in the place of its own.
    pub fn make_with(
        &self,
        method: Method,
        stream: Option<&str>,
        fields: &[(Name, &str)],
    ) -> Request {
        let mut request = self.make(method, stream);
        for (name, value) in fields {
            request.headers.set(name.clone(), value);
        }
        request
    }

    /// A call with an offer of that many bytes, which nobody reads.
    pub fn invite(&self, stream: &str, length: usize) -> Request {
        let mut invite = self.make(Method::Invite, Some(stream));
        invite.set_body("application/sdp", vec![b'v'; length].into());
        invite
    }

    pub fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).unwrap();
    }

    /// The next datagram, if one comes in time.
    fn datagram(&self, limit: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = vec![0; 65_536];
        let length = self.socket.recv(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// The next datagram.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        self.datagram(PATIENCE).expect("a datagram comes")
    }

    #[track_caller]
    fn message(&self) -> Message {
        Message::parse(self.receive().into()).expect("it is a SIP message")
    }

    /// The next message, which is an answer.
    #[track_caller]
    pub fn response(&self) -> Response {
        match self.message() {
            Message::Response(response) => response,
            Message::Request(request) => panic!("no answer: {request:?}"),
        }
    }

    /// The next message, which is a request.
    #[track_caller]
    pub fn request(&self) -> Request {
        match self.message() {
            Message::Request(request) => request,
            Message::Response(response) => panic!("no request: {response:?}"),
        }
    }

    /// The next request of this method; what comes before it does not matter.
    #[track_caller]
    pub fn expect(&self, method: &Method) -> Request {
        loop {
            match self.message() {
                Message::Request(request) if request.method == *method => return request,
                _ => {}
            }
        }
    }

    /// The INVITE of this call.
    #[track_caller]
    pub fn called(&self, invite: &Request) -> Request {
        loop {
            let came = self.expect(&Method::Invite);
            if came.call_id() == invite.call_id() {
                return came;
            }
        }
    }

    /// The next REGISTER, which it grants as a registrar.
    #[track_caller]
    pub fn registered(&self) -> Request {
        let register = self.expect(&Method::Register);
        let mut granted = Response::to_request(&register, StatusCode::OK);
        let contact = register.headers.get(Name::Contact).unwrap_or_default();
        let contact = format!("{contact};expires=60");
        granted.headers.push(Name::Contact, &contact);
        self.reply(&granted);
        register
    }

    /// Sees that nothing comes for so long.
    #[track_caller]
    pub fn hears_nothing(&self, time: Duration) {
        if let Some(datagram) = self.datagram(time) {
            panic!("something came: {}", String::from_utf8_lossy(&datagram));
        }
    }

    /// Sends a request and waits for its final answer; one that refuses a call is acknowledged.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        self.send(&request.to_bytes());
        self.answer_to(request)
    }

    /// The final answer to a request that was sent.
    #[track_caller]
    pub fn answer_to(&self, request: &Request) -> Response {
        loop {
            let Message::Response(response) = self.message() else {
                continue;
            };
            let is_its =
                response.call_id() == request.call_id() && response.cseq() == request.cseq();
            if !is_its || response.status.is_provisional() {
                continue;
            }
            if request.method == Method::Invite && !response.status.is_success() {
                self.send(&ack(request, &response).to_bytes());
            }
            return response;
        }
    }

    /// Answers a request.
    pub fn answer(&self, request: &Request, status: StatusCode) {
        self.reply(&self.answering(request, status));
    }

    /// Such an answer, unsent: as a user agent's, and with a body where a call is accepted.
    pub fn answering(&self, request: &Request, status: StatusCode) -> Response {
        let mut response = Response::to_request(request, status);
        if status != StatusCode::TRYING && response.to().tag().is_none() {
            response.set_to_tag("streamer");
        }
        if request.method == Method::Invite && status.is_success() {
            for route in request.headers.all(Name::RecordRoute) {
                response.headers.push(Name::RecordRoute, route);
            }
            let contact = NameAddr::new(Uri::at(Some("test"), self.address));
            response.headers.push(Name::Contact, &contact.to_string());
            response.set_body("application/sdp", "v=0\r\n".into());
        }
        response
    }

    pub fn reply(&self, response: &Response) {
        self.send(&response.to_bytes());
    }

    /// Registers a stream at its address, with these header fields beside or in the place of the
    /// usual ones.
    #[track_caller]
    pub fn register(&self, stream: &str, fields: &[(Name, &str)], body: &str) -> Response {
        self.ask(&self.registration(stream, fields, body))
    }

    /// Such a REGISTER. All of one stream have one Call-ID.
    pub fn registration(&self, stream: &str, fields: &[(Name, &str)], body: &str) -> Request {
        let name = NameAddr::new(Uri::at(Some(stream), self.server));
        let server = Uri::at(None, self.server);
        let call_id = format!("{stream}@{}", self.address);
        let (from, number) = (name.clone().with_tag("streamer"), self.number());
        let mut request = Request::new(Method::Register, server, from, name, &call_id, number);
        request.headers.push_front(Name::Via, &self.via());
        let contact = NameAddr::new(Uri::at(Some(stream), self.address));
        request.headers.push(Name::Contact, &contact.to_string());
        for (name, value) in fields {
            request.headers.set(name.clone(), value);
        }
        if !body.is_empty() {
            request.set_body("application/json", body.to_owned().into());
        }
        request
    }
}

/// An agent that talks by a stream.
pub struct Caller(TcpStream);

impl Caller {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn connect(server: SocketAddr) -> Self {
        Self::new(TcpStream::connect(server).unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn message(&mut self) -> Message {
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        while !bytes.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&bytes);
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        Message::parse([bytes, body].concat().into()).unwrap()
    }

    #[track_caller]
    pub fn request(&mut self) -> Request {
        match self.message() {
            Message::Request(request) => request,
            Message::Response(response) => panic!("no request: {response:?}"),
        }
    }

    #[track_caller]
    pub fn response(&mut self) -> Response {
        match self.message() {
            Message::Response(response) => response,
            Message::Request(request) => panic!("no answer: {request:?}"),
        }
    }
}

/// The ACK of an answer that refuses: of the same transaction (RFC 3261 section 17.1.1.3).
pub fn ack(invite: &Request, response: &Response) -> Request {
    same_transaction(Method::Ack, invite, response.to().clone())
}

/// What gives an INVITE up (RFC 3261 section 9.1).
pub fn cancel(invite: &Request) -> Request {
    same_transaction(Method::Cancel, invite, invite.to().clone())
}

fn same_transaction(method: Method, invite: &Request, to: NameAddr) -> Request {
    let (uri, from, call_id) = (invite.uri.clone(), invite.from().clone(), invite.call_id());
    let mut request = Request::new(method, uri, from, to, call_id, invite.cseq().number);
    let via = invite.headers.values(Name::Via).next().unwrap_or_default();
    request.headers.push_front(Name::Via, via);
    request
}
