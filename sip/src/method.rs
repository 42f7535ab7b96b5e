//! Which request this is.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A request method (RFC 3261 section 7.1). Methods are case-sensitive; unknown ones are kept
/// as they came, since a relay forwards what it does not understand (section 16.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Starts a call (RFC 3261 section 13).
    Invite,
    /// Acknowledges a final answer to INVITE (RFC 3261 section 17.1.1.3).
    Ack,
    /// Ends a call (RFC 3261 section 15).
    Bye,
    /// Gives up a pending INVITE (RFC 3261 section 9).
    Cancel,
    /// Binds a name to an address for a while (RFC 3261 section 10).
    Register,
    /// Asks what the other side can do; here also the directory (RFC 3261 section 11).
    Options,
    /// Carries information inside a call (RFC 6086).
    Info,
    /// Any other token.
    Other(String),
}

impl Method {
    /// The token as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Register => "REGISTER",
            Method::Options => "OPTIONS",
            Method::Info => "INFO",
            Method::Other(token) => token,
        }
    }
}

impl FromStr for Method {
    type Err = Infallible;

    fn from_str(token: &str) -> Result<Self, Infallible> {
        Ok(match token {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "REGISTER" => Method::Register,
            "OPTIONS" => Method::Options,
            "INFO" => Method::Info,
            other => Method::Other(other.to_owned()),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
