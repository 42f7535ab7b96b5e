//! Everything that can go wrong in front, and what a browser is told about it.
//!
//! One variant per reason a person would treat differently. [`Error::problem`] is the only place
//! where a reason becomes an HTTP status and a machine-readable code.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sip::auth::WRONG;

/// Why something asked of front could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody streams under this name (SIP 404), or the name could never be one.
    #[error("there is no stream called {stream:?}")]
    NoSuchStream {
        /// The name asked for.
        stream: String,
    },
    /// The stream is known, but its streamer is away (SIP 480).
    #[error("the streamer of {stream:?} is away")]
    StreamerAway {
        /// The name asked for.
        stream: String,
    },
    /// The streamer takes no more viewers (SIP 486, 600).
    #[error("{stream:?} takes no more viewers at the moment: {reason}")]
    Full {
        /// The name asked for.
        stream: String,
        /// What the streamer or the signaling server said.
        reason: String,
    },
    /// The stream does not run, or a server on the way is overloaded (SIP 503).
    #[error("{stream:?} cannot be had at the moment: {reason}")]
    Busy {
        /// The name asked for.
        stream: String,
        /// What the streamer or the signaling server said.
        reason: String,
    },
    /// The streamer cannot do what it is asked for, such as use this offer (SIP 488 and the like).
    #[error("the streamer of {stream:?} cannot do this: {reason}")]
    NotAcceptable {
        /// The name asked for.
        stream: String,
        /// The Reason text, or the reason phrase of the response.
        reason: String,
    },
    /// The signaling server or the streamer forbids this call (SIP 403).
    #[error("watching {stream:?} is not allowed: {reason}")]
    Forbidden {
        /// The name asked for.
        stream: String,
        /// The Reason text, or the reason phrase of the response.
        reason: String,
    },
    /// The call was passed on, and the streamer never answered.
    #[error("the streamer of {stream:?} did not answer in time")]
    NoAnswer {
        /// The name asked for.
        stream: String,
    },
    /// Not even a 100 Trying came back.
    #[error("the signaling server at {address} does not answer")]
    SignalingUnreachable {
        /// Where front sends its requests.
        address: SocketAddr,
    },
    /// The signaling server asks who we are, and we are nobody that it knows (SIP 401, 407, 403).
    #[error("the signaling server does not let this web server in")]
    NotLetIn,
    /// Any other final response.
    #[error("the call to {stream:?} was refused: {status} {reason}")]
    Refused {
        /// The name asked for.
        stream: String,
        /// The SIP status code.
        status: u16,
        /// The Reason text, or the reason phrase of the response.
        reason: String,
    },
    /// The stream has no picture to show.
    #[error("{stream:?} has no image")]
    NoImage {
        /// The name asked for.
        stream: String,
    },
    /// The session is over; known for a minute after its end.
    #[error("the stream ended: {reason}")]
    Ended {
        /// The text of the Reason header of the BYE, word for word.
        reason: String,
    },
    /// No such session, or it belongs to another stream: both look alike on purpose.
    #[error("there is no such session")]
    NoSuchSession,
    /// The token of a JSON call is unknown, expired, or not that of the name beside it.
    #[error("unknown or expired token: register first")]
    NotRegistered,
    /// The call needs a selected stream, and none was.
    #[error("no stream selected: name one, or select one first")]
    NothingSelected,
    /// A limit on what front keeps was reached.
    #[error("too many {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
    },
    /// The request cannot be understood.
    #[error("{why}")]
    BadRequest {
        /// One sentence for whoever wrote the request.
        why: String,
    },
    /// The body is longer than its limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body has the wrong type.
    #[error("the body must be {expected}")]
    WrongType {
        /// The media type wanted.
        expected: &'static str,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {seconds} seconds")]
    SlowBody {
        /// The limit in seconds.
        seconds: u64,
    },
    /// A page of another origin made the request.
    #[error("requests from {origin} are not allowed")]
    CrossOrigin {
        /// What the browser says it comes from.
        origin: String,
    },
    /// The request is for a name that is not ours: a page of another site whose name was pointed
    /// at us (DNS rebinding) looks so.
    #[error("this server does not answer to the name {host:?}: --allow-origin adds one")]
    ForeignHost {
        /// The Host header.
        host: String,
    },
    /// Nothing lives at this path.
    #[error("nothing is here")]
    NoSuchPage,
    /// The path exists and does not take this method.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// Front is about to stop, or has no room for another command.
    #[error("the web server is stopping or busy")]
    Unavailable,
    /// An address could not be bound at start.
    #[error("cannot listen for {what} on {address}: {reason}")]
    Bind {
        /// What the address is for.
        what: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// The configuration makes no sense, or is not safe.
    #[error("{why}")]
    Config {
        /// One sentence, naming the flag.
        why: String,
    },
}

/// An error as HTTP says it: RFC 9457.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// HTTP status code.
    pub status: u16,
    /// Last part of the `type` URI: what a program switches on.
    pub code: &'static str,
    /// Seconds for `Retry-After`, where trying again makes sense.
    pub retry_after: Option<u32>,
    /// The JSON object: `type`, `title`, `status`, `detail`, and `reason` where one was given.
    pub body: Value,
}

impl Error {
    /// Status, code and body for a browser.
    pub fn problem(&self) -> Problem {
        let (status, code, title, retry_after) = match self {
            Self::NoSuchStream { .. } => (404, "no-such-stream", "No such stream", None),
            Self::StreamerAway { .. } => (409, "streamer-away", "The streamer is away", Some(2)),
            Self::Full { .. } => (503, "full", "The stream is full", Some(5)),
            Self::Busy { .. } => (503, "busy", "Not available at the moment", Some(5)),
            Self::NotAcceptable { .. } => (422, "not-acceptable", "Not acceptable", None),
            Self::Forbidden { .. } => (403, "forbidden", "Forbidden", None),
            Self::NoAnswer { .. } => (504, "no-answer", "The streamer does not answer", Some(2)),
            Self::SignalingUnreachable { .. } => (
                504,
                "signaling-unreachable",
                "The signaling server does not answer",
                Some(2),
            ),
            Self::NotLetIn => (502, "not-let-in", "The signaling server refuses", Some(30)),
            Self::Refused { .. } => (502, "refused", "The call was refused", Some(5)),
            Self::NoImage { .. } => (404, "no-image", "No image", None),
            Self::Ended { .. } => (410, "ended", "The stream ended", None),
            Self::NoSuchSession => (404, "no-such-session", "No such session", None),
            Self::NotRegistered => (401, "not-registered", "Not registered", None),
            Self::NothingSelected => (409, "nothing-selected", "No stream selected", None),
            Self::TooMany { .. } => (503, "too-many", "Too many", Some(10)),
            Self::BadRequest { .. } => (400, "bad-request", "Bad request", None),
            Self::TooLarge { .. } => (413, "too-large", "Too large", None),
            Self::WrongType { .. } => (415, "wrong-type", "Wrong media type", None),
            Self::SlowBody { .. } => (408, "slow-body", "Body too slow", None),
            Self::CrossOrigin { .. } => (403, "cross-origin", "Another origin", None),
            Self::ForeignHost { .. } => (421, "foreign-host", "Not the name of this server", None),
            Self::NoSuchPage => (404, "no-such-page", "Not found", None),
            Self::MethodNotAllowed => (405, "method-not-allowed", "Method not allowed", None),
            Self::Unavailable => (503, "unavailable", "Not available", Some(2)),
            Self::Bind { .. } | Self::Config { .. } => (500, "start", "Cannot start", None),
        };
        let mut body = json!({
            "type": format!("urn:rusticast:problem:{code}"),
            "title": title,
            "status": status,
            "detail": self.to_string(),
        });
        if let Self::Ended { reason }
        | Self::Full { reason, .. }
        | Self::Busy { reason, .. }
        | Self::NotAcceptable { reason, .. }
        | Self::Forbidden { reason, .. }
        | Self::Refused { reason, .. } = self
        {
            body["reason"] = json!(reason);
        }
        Problem {
            status,
            code,
            retry_after,
            body,
        }
    }

    /// The error for a final SIP response to the INVITE or OPTIONS for `stream`.
    ///
    /// `reason` is the text of its Reason header, or its reason phrase.
    pub(crate) fn from_sip(status: u16, reason: &str, stream: &str) -> Self {
        let (stream, reason) = (stream.to_owned(), reason.to_owned());
        match status {
            401 | 407 => Self::NotLetIn,
            403 if reason == WRONG => Self::NotLetIn,
            404 | 604 => Self::NoSuchStream { stream },
            408 | 504 => Self::NoAnswer { stream },
            410 | 480 => Self::StreamerAway { stream },
            486 | 600 => Self::Full { stream, reason },
            503 => Self::Busy { stream, reason },
            415 | 488 | 606 => Self::NotAcceptable { stream, reason },
            403 => Self::Forbidden { stream, reason },
            _ => Self::Refused {
                stream,
                status,
                reason,
            },
        }
    }

    pub(crate) fn bind(what: &'static str, address: SocketAddr, error: &io::Error) -> Self {
        Self::Bind {
            what,
            address,
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_statuses_become_the_http_statuses_of_the_design() {
        let http = |sip| Error::from_sip(sip, "why", "test").problem();
        for (sip, status, retry) in [
            (404, 404, false),
            (480, 409, true),
            (486, 503, true),
            (503, 503, true),
            (600, 503, true),
            (488, 422, false),
            (403, 403, false),
            (407, 502, true),
            (408, 504, true),
            (504, 504, true),
            (481, 502, true),
        ] {
            let problem = http(sip);
            assert_eq!(problem.status, status, "SIP {sip}");
            assert_eq!(problem.retry_after.is_some(), retry, "SIP {sip}");
        }
    }

    #[test]
    fn the_reason_of_an_ended_session_is_kept_word_for_word() {
        let reason = "streamer \"test\" stops: até já".to_owned();
        let problem = Error::Ended {
            reason: reason.clone(),
        }
        .problem();
        assert_eq!(problem.status, 410);
        assert_eq!(problem.body["reason"], reason);
        assert_eq!(problem.body["type"], "urn:rusticast:problem:ended");
    }
}
