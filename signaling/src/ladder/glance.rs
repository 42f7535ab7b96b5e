//! As much of a message as tells which call it belongs to and what it says there, found without a
//! copy. What the endpoint refuses is read as far as it can be: somebody will want to see it.

use std::ops::Range;
use std::str;

use memchr::memchr;

/// What is seen at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance<'a> {
    pub(crate) start: Start<'a>,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: Option<Order<'a>>,
}

/// What the start line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    Request { method: &'a str, uri: &'a str },
    Response { status: u16, reason: &'a str },
}

/// The field CSeq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order<'a> {
    pub(crate) number: &'a str,
    pub(crate) method: &'a str,
}

impl<'a> Glance<'a> {
    /// Looks at a datagram; `None` when it is no message of any call.
    pub(crate) fn at(payload: &'a [u8]) -> Option<Self> {
        let mut lines = Lines::of(payload);
        let start = Start::read(str::from_utf8(&payload[lines.next()?]).ok()?)?;
        let (mut call_id, mut cseq) = (None, None);
        for line in lines {
            let line = &payload[line];
            if call_id.is_none() {
                call_id = value(line, "Call-ID", Some(b'i'));
            }
            if cseq.is_none() {
                cseq = value(line, "CSeq", None);
            }
            // They stand side by side nearly always; what follows need not be looked at.
            if call_id.is_some() && cseq.is_some() {
                break;
            }
        }
        let call_id = str::from_utf8(call_id?).ok()?;
        if call_id.is_empty() || call_id.contains(char::is_whitespace) {
            return None;
        }
        Some(Glance {
            start,
            call_id,
            cseq: cseq.and_then(Order::read),
        })
    }

    /// The method of the request that this is or answers.
    pub(crate) fn method(&self) -> Option<&'a str> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => self.cseq.map(|cseq| cseq.method),
        }
    }
}

impl<'a> Start<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (first, second) = (words.next()?, words.next()?);
        let third = words.next().unwrap_or_default();
        if is_version(first) {
            let status = second.parse().ok().filter(|code| (100..700).contains(code));
            return Some(Start::Response {
                status: status?,
                reason: third,
            });
        }
        is_version(third).then_some(Start::Request {
            method: first,
            uri: second,
        })
    }
}

impl<'a> Order<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let mut words = str::from_utf8(value).ok()?.split_ascii_whitespace();
        Some(Order {
            number: words.next()?,
            method: words.next()?,
        })
    }
}

fn is_version(word: &str) -> bool {
    word.get(..4)
        .is_some_and(|name| name.eq_ignore_ascii_case("SIP/"))
}

/// The value of a header field when this line is one of that name.
pub(crate) fn value<'a>(line: &'a [u8], name: &str, compact: Option<u8>) -> Option<&'a [u8]> {
    // Most lines are others: their first letter tells.
    let first = line.first()?.to_ascii_lowercase();
    let is_short = compact == Some(first);
    if !is_short && first != name.as_bytes().first()?.to_ascii_lowercase() {
        return None;
    }
    let colon = memchr(b':', line)?;
    let found = line[..colon].trim_ascii_end();
    let is_named = found.eq_ignore_ascii_case(name.as_bytes()) || (is_short && found.len() == 1);
    is_named.then(|| line[colon + 1..].trim_ascii())
}

/// The body, as far as it came.
pub(crate) fn body(payload: &[u8]) -> &[u8] {
    let mut lines = Lines::of(payload);
    lines.by_ref().for_each(drop);
    &payload[lines.at..]
}

/// A text from the network without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().map(plain).collect()
}

/// The lines of a message's head without their ends, the start line first, each with those that
/// it is continued on (RFC 3261 section 7.3.1).
pub(crate) struct Lines<'a> {
    payload: &'a [u8],
    at: usize,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(payload: &'a [u8]) -> Self {
        // Empty lines may come before a message (section 7.5).
        let blank = payload.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
        let at = blank.count();
        Lines {
            payload,
            at,
            ended: false,
        }
    }

    /// Goes on after the empty line that ended the head; false when nothing is left.
    pub(crate) fn resume(&mut self) -> bool {
        self.ended = false;
        self.at < self.payload.len()
    }
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        if self.ended {
            return None;
        }
        let start = self.at;
        loop {
            match memchr(b'\n', &self.payload[self.at..]) {
                Some(found) => self.at += found + 1,
                None => self.at = self.payload.len(),
            }
            let line = self.payload[start..self.at].trim_ascii_end();
            if line.is_empty() {
                self.ended = true;
                return None;
            }
            if !matches!(self.payload.get(self.at), Some(b' ' | b'\t')) {
                return Some(start..start + line.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"\r\nINVITE sip:test@127.0.0.1 SIP/2.0\r\n\
        v: SIP/2.0/UDP 127.0.0.1:4000;branch=z9hG4bKx\r\n\
        Contact: <sip:a@b>\r\nI : abc@host\r\ncseq:  7\r\n  INVITE\r\n\
        Content-Length: 5\r\n\r\nv=0\r\n";

    #[test]
    fn a_request_shows_its_call_and_its_place_in_it() {
        let seen = Glance::at(INVITE).unwrap();
        let (method, uri) = ("INVITE", "sip:test@127.0.0.1");
        assert_eq!(seen.start, Start::Request { method, uri });
        assert_eq!(seen.call_id, "abc@host");
        assert_eq!(
            seen.cseq,
            Some(Order {
                number: "7",
                method
            })
        );
        assert_eq!(body(INVITE), b"v=0\r\n");
    }

    #[test]
    fn a_response_is_of_the_method_that_it_answers() {
        let text = b"SIP/2.0 202 Accepted, at last\r\nCSeq: 1 INVITE\r\nCall-ID: x\r\n\r\n";
        let seen = Glance::at(text).unwrap();
        let (status, reason) = (202, "Accepted, at last");
        assert_eq!(seen.start, Start::Response { status, reason });
        assert_eq!((seen.call_id, seen.method()), ("x", Some("INVITE")));
        assert_eq!(body(text), b"");
    }

    #[test]
    fn what_is_no_message_of_a_call_is_nothing() {
        for text in [
            "",
            "\r\n\r\n",
            "\r\n  \r\n",
            "hello",
            "BYE sip:a@b SIP/2.0",
            "BYE sip:a@b HTTP/1.1\r\nCall-ID: x\r\n\r\n",
            "SIP/2.0 9999 No\r\nCall-ID: x\r\n\r\n",
            "BYE sip:a@b SIP/2.0\r\nCall-ID: \r\n\r\n",
            "BYE sip:a@b SIP/2.0\r\nCall-ID: a b\r\n\r\n",
            "BYE sip:a@b SIP/2.0\r\nCall-IDs: x\r\n\r\nCall-ID: x\r\n",
        ] {
            assert_eq!(Glance::at(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(
            Glance::at(b"BYE sip:a@b SIP/2.0\r\nCall-ID: \xff\r\n\r\n"),
            None
        );
    }

    #[test]
    fn every_beginning_of_a_message_is_read_without_a_fault() {
        for end in 0..INVITE.len() {
            let _ = (Glance::at(&INVITE[..end]), body(&INVITE[..end]));
        }
    }
}
