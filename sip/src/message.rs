//! Requests and responses: bytes become types here, once, and go back to bytes.

use bytes::Bytes;
use memchr::memmem;
use std::borrow::Cow;
use std::sync::Arc;

use crate::header::{CSeq, HeaderError, Headers, Name, NameAddr, Via};
use crate::method::Method;
use crate::status::StatusCode;
use crate::uri::Uri;

/// Header fields in one message at most, Content-Length included whether it is there or not.
pub const MAX_HEADERS: usize = 64;
/// Start line and header fields in bytes at most.
pub const MAX_HEAD: usize = 16 * 1024;
/// Body in bytes at most: an SDP offer.
pub const MAX_BODY: usize = 128 * 1024;

/// A request or a response.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// What every message must have and what dialogs and transactions are found by (RFC 3261
/// section 8.1.1).
#[derive(Clone, Debug)]
struct Identity {
    from: NameAddr,
    to: NameAddr,
    call_id: String,
    cseq: CSeq,
}

/// A request (RFC 3261 section 7.1).
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// The header fields.
    pub headers: Headers,
    /// The body, opaque here.
    pub body: Bytes,
    identity: Arc<Identity>,
}

/// A response (RFC 3261 section 7.2).
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The body, opaque here.
    pub body: Bytes,
    identity: Arc<Identity>,
}

/// Bytes that are no SIP message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct ParseError {
    /// What to answer.
    pub status: StatusCode,
    /// What is wrong, in words for the sender.
    pub reason: String,
    /// The line it is in, the start line being 1, where that is known.
    pub line: Option<usize>,
    answer: Option<Box<Bad>>,
}

/// As much of a bad request as its answer needs.
#[derive(Clone, Debug)]
struct Bad {
    via: Via,
    headers: Headers,
}

impl ParseError {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        ParseError {
            status,
            reason: reason.into(),
            line: None,
            answer: None,
        }
    }

    /// The same with an answer, of a request that begins like this and cannot be read as a whole. What
    /// is no UTF-8 comes back as U+FFFD: that is seldom in what the sender compares.
    fn about(self, head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head);
        let (start, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
        match start.get(..4) {
            Some(version) if !version.eq_ignore_ascii_case("SIP/") => {
                let (headers, _) = Headers::parse(lines, MAX_HEADERS);
                self.addressed(start, headers)
            }
            _ => self,
        }
    }

    /// The same with an answer, of a request with this first line and these header fields.
    fn addressed(mut self, start: &str, headers: Headers) -> Self {
        let via = headers.values(Name::Via).next().map(Via::parse);
        if let (false, Some(Ok(via))) = (start.starts_with("ACK "), via) {
            self.answer = Some(Box::new(Bad { via, headers }));
        }
        self
    }

    /// The top Via and the bytes of an answer to the bad request, when it showed who sent it and
    /// is not an ACK, which is never answered. The caller sends it once, statelessly.
    pub fn answer(&self) -> Option<(&Via, Bytes)> {
        let bad = self.answer.as_deref()?;
        let mut headers = Headers::default();
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            headers.copy(name, &bad.headers);
        }
        let reason: String = self.reason.chars().filter(|c| !c.is_control()).collect();
        let start = format!("SIP/2.0 {} {reason}", self.status);
        Some((&bad.via, to_bytes(&start, &headers, b"")))
    }
}

impl Message {
    /// Reads one datagram. Octets after Content-Length are dropped (RFC 3261 section 18.3).
    ///
    /// # Errors
    /// When it is not a SIP message that can be routed: the error says what is wrong and where,
    /// and can often be answered.
    pub fn parse(data: Bytes) -> Result<Self, ParseError> {
        let bad = |reason: &str| ParseError::new(StatusCode::BAD_REQUEST, reason);
        let begin = &data[..data.len().min(MAX_HEAD + 3)];
        let Some(blank) = memmem::find(begin, b"\r\n\r\n") else {
            if begin.len() == data.len() {
                return Err(bad("no empty line ends the header"));
            }
            let reason = format!("the header is longer than {MAX_HEAD} bytes");
            let error = ParseError::new(StatusCode::MESSAGE_TOO_LARGE, reason);
            return Err(error.about(begin));
        };
        let head = &data[..blank];
        let head =
            std::str::from_utf8(head).map_err(|_| bad("the header is not UTF-8").about(head))?;
        let (start, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        if start.len() >= 4 && start.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/") {
            let (status, reason) = status_line(start)?;
            let (headers, fault) = Headers::parse(lines, MAX_HEADERS);
            if let Some(fault) = fault {
                return Err(at_line(fault.line, fault.problem));
            }
            let identity = Identity::read(&headers).map_err(|error| bad(&error))?;
            let body = body(&headers, data.slice(blank + 4..)).map_err(bad)?;
            return Ok(Message::Response(Response {
                status,
                reason,
                headers,
                body,
                identity,
            }));
        }
        let (headers, fault) = Headers::parse(lines, MAX_HEADERS);
        let read = || -> Result<Request, ParseError> {
            let (method, uri) = request_line(start)?;
            if let Some(fault) = fault {
                return Err(at_line(fault.line, fault.problem));
            }
            let identity = Identity::read(&headers).map_err(|error| bad(&error))?;
            if identity.cseq.method != method {
                return Err(bad("CSeq names another method than the request line"));
            }
            if headers.count(Name::MaxForwards) > 1 {
                return Err(bad("more than one Max-Forwards"));
            }
            let body = body(&headers, data.slice(blank + 4..)).map_err(bad)?;
            Ok(Request {
                method,
                uri,
                headers: headers.clone(),
                body,
                identity,
            })
        };
        read()
            .map(Message::Request)
            .map_err(|error| error.addressed(start, headers))
    }
}

impl Identity {
    fn read(headers: &Headers) -> Result<Arc<Self>, String> {
        let one = |name: Name| -> Result<&str, String> {
            match headers.count(name.clone()) {
                1 => Ok(headers.get(name).unwrap_or_default()),
                0 => Err(format!("no {}", name.as_str())),
                _ => Err(format!("more than one {}", name.as_str())),
            }
        };
        let wrong = |name: Name| move |error: HeaderError| format!("{}: {error}", name.as_str());
        let mut vias = headers.values(Name::Via).peekable();
        if vias.peek().is_none() {
            return Err("no Via".to_owned());
        }
        for via in vias {
            Via::parse(via).map_err(wrong(Name::Via))?;
        }
        let call_id = one(Name::CallId)?;
        if call_id.is_empty() || call_id.contains(char::is_whitespace) {
            return Err("malformed Call-ID".to_owned());
        }
        Ok(Arc::new(Identity {
            from: NameAddr::parse(one(Name::From)?).map_err(wrong(Name::From))?,
            to: NameAddr::parse(one(Name::To)?).map_err(wrong(Name::To))?,
            call_id: call_id.to_owned(),
            cseq: CSeq::parse(one(Name::CSeq)?).map_err(wrong(Name::CSeq))?,
        }))
    }
}

macro_rules! identity {
    () => {
        /// The From field.
        pub fn from(&self) -> &NameAddr {
            &self.identity.from
        }

        /// The To field.
        pub fn to(&self) -> &NameAddr {
            &self.identity.to
        }

        /// The Call-ID.
        pub fn call_id(&self) -> &str {
            &self.identity.call_id
        }

        /// The CSeq.
        pub fn cseq(&self) -> &CSeq {
            &self.identity.cseq
        }

        /// The top Via, if there is one and it can be read.
        pub fn top_via(&self) -> Option<Via> {
            Via::parse(self.headers.values(Name::Via).next()?).ok()
        }

        /// The first Contact, if there is one and it can be read. `*` is none.
        pub fn contact(&self) -> Option<NameAddr> {
            NameAddr::parse(self.headers.values(Name::Contact).next()?).ok()
        }

        /// The Content-Type without its parameters, in lower case.
        pub fn content_type(&self) -> Option<String> {
            let value = self.headers.get(Name::ContentType)?;
            let kind = value.split(';').next().unwrap_or_default().trim();
            Some(kind.to_ascii_lowercase())
        }

        /// Gives the message a body of this type.
        pub fn set_body(&mut self, content_type: &str, body: Bytes) {
            self.headers.set(Name::ContentType, content_type);
            self.body = body;
        }
    };
}

impl Request {
    /// A request with the fields that every request needs, except Via, which the endpoint adds.
    pub fn new(
        method: Method,
        uri: Uri,
        from: NameAddr,
        to: NameAddr,
        call_id: &str,
        cseq: u32,
    ) -> Self {
        let cseq = CSeq {
            number: cseq,
            method: method.clone(),
        };
        let mut headers = Headers::default();
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, &from.to_string());
        headers.push(Name::To, &to.to_string());
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, &cseq.to_string());
        Request {
            method,
            uri,
            headers,
            body: Bytes::new(),
            identity: Arc::new(Identity {
                from,
                to,
                call_id: call_id.to_owned(),
                cseq,
            }),
        }
    }

    identity!();

    /// The same request once more, as a new one: with the next number and without Via (RFC 3261
    /// section 8.1.3.5). `None` when there is no next number.
    pub fn renewed(&self) -> Option<Self> {
        let mut renewed = self.clone();
        let cseq = &mut Arc::make_mut(&mut renewed.identity).cseq;
        cseq.number = cseq.number.checked_add(1).filter(|n| *n < 1 << 31)?;
        let cseq = cseq.to_string();
        renewed.headers.set(Name::CSeq, &cseq);
        renewed.headers.remove(Name::Via);
        Some(renewed)
    }

    /// The request as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        to_bytes(
            &format!("{} {} SIP/2.0", self.method, self.uri),
            &self.headers,
            &self.body,
        )
    }
}

impl Response {
    /// An answer to a request, with the fields copied that RFC 3261 section 8.2.6.2 names.
    pub fn to_request(request: &Request, status: StatusCode) -> Self {
        let mut headers = Headers::default();
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            headers.copy(name, &request.headers);
        }
        Response {
            status,
            reason: status.reason().to_owned(),
            headers,
            body: Bytes::new(),
            identity: Arc::clone(&request.identity),
        }
    }

    /// The same answer without what may be left out: its own words, a body, and what could be asked
    /// for instead.
    pub(crate) fn bare(&self) -> Self {
        let mut bare = self.clone().with_reason(self.status.reason());
        bare.body = Bytes::new();
        let mut left_out = vec![Name::ContentType, Name::Accept, Name::Supported, Name::Date];
        // Section 21.4.6 wants it in this one.
        if self.status != StatusCode::METHOD_NOT_ALLOWED {
            left_out.push(Name::Allow);
        }
        left_out
            .into_iter()
            .for_each(|name| bare.headers.remove(name));
        bare
    }

    /// The same answer with another reason phrase.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        self.reason = reason.replace(char::is_control, " ");
        self
    }

    /// Puts this tag into To, which makes the answer one of a dialog (section 12.1.1).
    pub fn set_to_tag(&mut self, tag: &str) {
        let to = &mut Arc::make_mut(&mut self.identity).to;
        to.params.set("tag", Some(tag));
        self.headers.set(Name::To, &to.to_string());
    }

    identity!();

    /// The response as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        to_bytes(
            &format!("SIP/2.0 {} {}", self.status, self.reason),
            &self.headers,
            &self.body,
        )
    }
}

/// Prints a message; Content-Length is always that of the body. Nothing is left over beside it: what
/// is sent is kept as well.
fn to_bytes(start: &str, headers: &Headers, body: &[u8]) -> Bytes {
    let length = body.len().to_string();
    let mut headers = Cow::Borrowed(headers);
    if headers.get(Name::ContentLength) != Some(length.as_str()) {
        headers.to_mut().set(Name::ContentLength, &length);
    }
    let pieces = || [start, "\r\n"].into_iter().chain(headers.pieces());
    let size: usize = pieces().map(str::len).sum();
    let mut text = Vec::with_capacity(size + 2 + body.len());
    pieces().for_each(|piece| text.extend_from_slice(piece.as_bytes()));
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text.into()
}

fn at_line(line: usize, reason: impl Into<String>) -> ParseError {
    let mut error = ParseError::new(StatusCode::BAD_REQUEST, reason);
    error.line = Some(line);
    error
}

fn request_line(line: &str) -> Result<(Method, Uri), ParseError> {
    let mut words = line.split(' ');
    let (Some(method), Some(uri), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(at_line(1, "request line is not three words"));
    };
    if !crate::header::scan::is_token(method) {
        return Err(at_line(1, "malformed method"));
    }
    match version.split_once('/') {
        Some((sip, "2.0")) if sip.eq_ignore_ascii_case("SIP") => {}
        Some((sip, _)) if sip.eq_ignore_ascii_case("SIP") => {
            let mut error = at_line(1, StatusCode::VERSION_NOT_SUPPORTED.reason());
            error.status = StatusCode::VERSION_NOT_SUPPORTED;
            return Err(error);
        }
        _ => return Err(at_line(1, "request line does not end in SIP/2.0")),
    }
    let uri = Uri::parse(uri).map_err(|_| at_line(1, "malformed Request-URI"))?;
    let Ok(method) = method.parse();
    Ok((method, uri))
}

fn status_line(line: &str) -> Result<(StatusCode, String), ParseError> {
    let bad = || at_line(1, "malformed status line");
    let mut words = line.splitn(3, ' ');
    let (Some(version), Some(code)) = (words.next(), words.next()) else {
        return Err(bad());
    };
    if !version.eq_ignore_ascii_case("SIP/2.0") || code.len() != 3 {
        return Err(bad());
    }
    let code = code
        .parse()
        .ok()
        .and_then(StatusCode::new)
        .ok_or_else(bad)?;
    Ok((code, words.next().unwrap_or_default().to_owned()))
}

fn body(headers: &Headers, rest: Bytes) -> Result<Bytes, &'static str> {
    let mut length = None;
    for value in headers.all(Name::ContentLength) {
        let good = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let value: usize = match value.parse() {
            Ok(value) if good => value,
            _ => return Err("malformed Content-Length"),
        };
        if length.is_some_and(|first| first != value) {
            return Err("two Content-Length that differ");
        }
        length = Some(value);
    }
    let length = length.unwrap_or(rest.len());
    if length > rest.len() {
        return Err("the body is shorter than Content-Length");
    }
    if length > MAX_BODY {
        return Err("the body is too long");
    }
    Ok(rest.slice(..length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:test@127.0.0.1:5060 SIP/2.0\r\n\
        v: SIP/2.0/UDP 127.0.0.1:4000;branch=z9hG4bKx;rport\r\n\
        Max-Forwards: 70\r\n\
        f: \"Ana\" <sip:ana@127.0.0.1>;tag=1\r\n\
        To: <sip:test@127.0.0.1>\r\n\
        i: abc@host\r\n\
        CSeq: 1 INVITE\r\n\
        X-Unknown:   kept  as is \r\n\
        Content-Length: 4\r\n\r\nv=0\n";

    fn request(text: &str) -> Request {
        match Message::parse(Bytes::from(text.to_owned())) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn error(text: &str) -> ParseError {
        Message::parse(Bytes::from(text.to_owned())).unwrap_err()
    }

    #[test]
    fn a_message_with_as_many_fields_as_there_may_be_can_be_read_as_it_is_printed() {
        let length = "Content-Length: 4\r\n";
        let without = INVITE.replace(length, "");
        // Eight fields of its own, with Content-Length.
        let more = MAX_HEADERS - 8;
        for text in [INVITE, &without] {
            let with = |more: usize| text.replace("To:", &("X: y\r\n".repeat(more) + "To:"));
            let printed = request(&with(more)).to_bytes();
            let again = Message::parse(printed.clone()).unwrap();
            let Message::Request(again) = again else {
                panic!("no request");
            };
            assert_eq!(again.to_bytes(), printed);
            let refused = error(&with(more + 1));
            assert_eq!(refused.reason, "too many header fields");
        }
    }

    #[test]
    fn what_is_read_prints_back_byte_for_byte() {
        let request = request(INVITE);
        assert_eq!(request.to_bytes(), INVITE);
        assert_eq!(request.from().display.as_deref(), Some("Ana"));
        assert_eq!(request.call_id(), "abc@host");
        assert_eq!(request.body, "v=0\n");
    }

    #[test]
    fn octets_after_content_length_are_dropped_and_missing_ones_refused() {
        assert_eq!(request(&format!("{INVITE}more")).body, "v=0\n");
        let short = error(&INVITE.replace("Length: 4", "Length: 5"));
        assert_eq!(short.status, StatusCode::BAD_REQUEST);
        let (via, answer) = short.answer().unwrap();
        assert_eq!(via.branch(), Some("z9hG4bKx"));
        assert!(answer.starts_with(b"SIP/2.0 400 the body is shorter"));
    }

    #[test]
    fn faults_are_named() {
        for (from, to, status, words) in [
            ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400, "another method"),
            ("CSeq: 1 INVITE\r\n", "", 400, "no CSeq"),
            (
                "i: abc@host",
                "i: abc@host\r\nCall-ID: x",
                400,
                "more than one Call-ID",
            ),
            (" SIP/2.0\r\nv:", " SIP/7.0\r\nv:", 505, "Version"),
            ("INVITE sip", "INVITE  sip", 400, "line 1"),
            ("X-Unknown:", "X-Unknown", 400, "line 8"),
            (
                "sip:test@127.0.0.1:5060 ",
                "<sip:test@127.0.0.1> ",
                400,
                "Request-URI",
            ),
            ("branch=z9hG4bKx;rport", "branch=z9hG4bKx;;", 400, "Via"),
        ] {
            let error = error(&INVITE.replace(from, to));
            assert_eq!(error.status.code(), status, "{to}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn another_version_is_answered_though_its_via_has_it_too() {
        let error = error(&INVITE.replace("SIP/2.0", "SIP/7.0"));
        assert_eq!(error.status, StatusCode::VERSION_NOT_SUPPORTED);
        let (_, answer) = error.answer().unwrap();
        assert!(answer.starts_with(b"SIP/2.0 505 "));
    }

    #[test]
    fn a_bad_ack_is_never_answered() {
        let ack = INVITE
            .replace("INVITE", "ACK")
            .replace("Length: 4", "Length: 9");
        assert!(error(&ack).answer().is_none());
    }

    #[test]
    fn an_answer_carries_what_the_request_is_known_by() {
        let mut response = Response::to_request(&request(INVITE), StatusCode::ACCEPTED);
        response.set_to_tag("9");
        let Ok(Message::Response(read)) = Message::parse(response.to_bytes()) else {
            panic!("not a response");
        };
        assert_eq!(read.status, StatusCode::ACCEPTED);
        assert_eq!(read.to().tag(), Some("9"));
        assert_eq!(read.from().tag(), Some("1"));
        assert_eq!(read.top_via().unwrap().branch(), Some("z9hG4bKx"));
    }

    #[test]
    fn random_bytes_and_cut_messages_never_panic() {
        let mut state = 7u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        for _ in 0..20_000 {
            let mut data = INVITE.as_bytes().to_vec();
            for _ in 0..random() % 8 {
                let at = random() % data.len();
                match random() % 3 {
                    0 => data[at] = random() as u8,
                    1 => drop(data.remove(at)),
                    _ => data.insert(at, b"\r\n:;,<>\"% @"[random() % 11]),
                }
            }
            data.truncate(data.len() - random() % 20);
            if let Ok(Message::Request(first)) = Message::parse(data.into()) {
                let again = match Message::parse(first.to_bytes()) {
                    Ok(Message::Request(again)) => again,
                    other => panic!("{other:?} after {first:?}"),
                };
                assert_eq!(again.to_bytes(), first.to_bytes());
            }
        }
    }
}
