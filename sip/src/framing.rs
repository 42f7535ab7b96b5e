//! Messages in a stream, one after the other, each as long as its Content-Length says (RFC 3261
//! section 18.3).

use bytes::{Buf, Bytes, BytesMut};

use crate::endpoint::MAX_DATAGRAM;
use crate::header::Name;
use crate::message::MAX_HEAD;

/// What ends the head of a message.
const END: &[u8] = b"\r\n\r\n";

/// What stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, whatever it holds.
    Message(Bytes),
    /// Two empty lines, which want one for an answer (RFC 5626 section 3.5.1).
    Ping,
}

/// Why nothing more can be read from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A head that does not end.
    #[error("the head of a message is longer than {MAX_HEAD} bytes")]
    LongHead,
    /// Nobody knows where the message ends.
    #[error("a message has no Content-Length, or one that is no number")]
    NoLength,
    /// It is none that could be passed on.
    #[error("a message is longer than {MAX_DATAGRAM} bytes, too long to be passed on")]
    TooLong,
}

/// What has come of a stream and was not taken yet.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// So much of it holds no end of a head.
    searched: usize,
}

impl Framer {
    /// Where to read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// True in the middle of a message.
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes the next frame, if all of it is there.
    ///
    /// # Errors
    /// Nothing that follows can be made out.
    pub fn take(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.searched == 0 {
            let blank = self
                .buffer
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n'));
            let blank = blank.count();
            if self.buffer.starts_with(END) {
                self.buffer.advance(END.len());
                return Ok(Some(Frame::Ping));
            }
            // The beginning of a ping is none yet.
            if blank == self.buffer.len() && END.starts_with(&self.buffer) {
                return Ok(None);
            }
            self.buffer.advance(blank);
        }
        let Some(head) = self.head() else {
            return match self.buffer.len() > MAX_HEAD {
                true => Err(FramingError::LongHead),
                false => Ok(None),
            };
        };
        if head > MAX_HEAD {
            return Err(FramingError::LongHead);
        }
        let body = content_length(&self.buffer[..head]).ok_or(FramingError::NoLength)?;
        let length = head.saturating_add(body);
        if length > MAX_DATAGRAM {
            return Err(FramingError::TooLong);
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
    }

    /// The length of the head, once its end is there.
    fn head(&mut self) -> Option<usize> {
        let found = self.buffer[self.searched..]
            .windows(END.len())
            .position(|four| four == END);
        match found {
            Some(at) => {
                // The search may begin here again while the body is awaited.
                self.searched += at;
                Some(self.searched + END.len())
            }
            None => {
                let seen = self.buffer.len().saturating_sub(END.len() - 1);
                self.searched = self.searched.max(seen);
                None
            }
        }
    }
}

/// The value of the first Content-Length, which may go on in the next line (section 7.3.1).
fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head)
        .map(str::to_owned)
        .unwrap_or_else(|_| String::from_utf8_lossy(head).into_owned());
    let mut lines = head.split("\r\n").skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if line.starts_with([' ', '\t']) || Name::parse(name.trim()) != Name::ContentLength {
            continue;
        }
        let mut value = value.trim().to_owned();
        while let Some(more) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
            value.push_str(more.trim());
        }
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        return value.parse().ok().filter(|_| digits);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: &str, body: &str) -> String {
        format!("OPTIONS sip:h SIP/2.0\r\nTo: <sip:h>\r\n{length}\r\n\r\n{body}")
    }

    fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, FramingError> {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        for piece in pieces {
            framer.buffer().extend_from_slice(piece);
            while let Some(frame) = framer.take()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn messages_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let texts = [
            message("Content-Length: 4", "body"),
            message("l:0", ""),
            message("CONTENT-LENGTH :\r\n 12", "\r\n\r\nl: 7\r\n\r\n"),
        ];
        let stream = format!("\r\n{}{}\r\n{}", texts[0], texts[1], texts[2]);
        let wanted: Vec<Frame> = texts.map(|text| Frame::Message(text.into())).to_vec();
        for size in [1, 2, 3, 5, 7, 50, stream.len()] {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(frames(&pieces).unwrap(), wanted, "pieces of {size}");
        }
    }

    #[test]
    fn two_empty_lines_are_a_ping() {
        let text = message("l: 0", "");
        let stream = format!("\r\n\r\n{text}\r\n\r\n\r\n\r\n");
        let wanted = [
            Frame::Ping,
            Frame::Message(text.into()),
            Frame::Ping,
            Frame::Ping,
        ];
        for size in [1, 3, stream.len()] {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(frames(&pieces).unwrap(), wanted, "pieces of {size}");
        }
    }

    #[test]
    fn what_cannot_be_delimited_ends_the_stream() {
        let long = "x".repeat(MAX_HEAD + 1);
        for (text, error) in [
            (message("Subject: none", ""), FramingError::NoLength),
            (message("l: +4", "body"), FramingError::NoLength),
            (
                message("l: 99999999999999999999", ""),
                FramingError::NoLength,
            ),
            (message("l: 65507", ""), FramingError::TooLong),
            (message(&long, ""), FramingError::LongHead),
            (long.clone(), FramingError::LongHead),
        ] {
            assert_eq!(frames(&[text.as_bytes()]), Err(error), "{text:.60}");
        }
    }
}
