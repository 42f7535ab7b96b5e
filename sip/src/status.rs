//! What a response says in one number.

use std::fmt;

/// A status code, 100 to 699 (RFC 3261 section 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

macro_rules! codes {
    ($($name:ident = $code:literal $phrase:literal;)*) => {
        impl StatusCode {
            $(
                #[doc = concat!("`", $code, " ", $phrase, "`")]
                pub const $name: StatusCode = StatusCode($code);
            )*

            /// The usual reason phrase; of an unknown code, that of its class (section 8.1.3.2).
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    100..=199 => "Session Progress",
                    200..=299 => "OK",
                    300..=399 => "Multiple Choices",
                    400..=499 => "Bad Request",
                    500..=599 => "Server Internal Error",
                    _ => "Busy Everywhere",
                }
            }
        }
    };
}

codes! {
    TRYING = 100 "Trying";
    RINGING = 180 "Ringing";
    OK = 200 "OK";
    ACCEPTED = 202 "Accepted";
    BAD_REQUEST = 400 "Bad Request";
    UNAUTHORIZED = 401 "Unauthorized";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    NOT_ACCEPTABLE = 406 "Not Acceptable";
    PROXY_AUTHENTICATION_REQUIRED = 407 "Proxy Authentication Required";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    REQUEST_ENTITY_TOO_LARGE = 413 "Request Entity Too Large";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    UNSUPPORTED_URI_SCHEME = 416 "Unsupported URI Scheme";
    BAD_EXTENSION = 420 "Bad Extension";
    INTERVAL_TOO_BRIEF = 423 "Interval Too Brief";
    TEMPORARILY_UNAVAILABLE = 480 "Temporarily Unavailable";
    BAD_INFO_PACKAGE = 469 "Bad Info Package";
    CALL_DOES_NOT_EXIST = 481 "Call/Transaction Does Not Exist";
    LOOP_DETECTED = 482 "Loop Detected";
    TOO_MANY_HOPS = 483 "Too Many Hops";
    BUSY_HERE = 486 "Busy Here";
    REQUEST_TERMINATED = 487 "Request Terminated";
    NOT_ACCEPTABLE_HERE = 488 "Not Acceptable Here";
    SERVER_INTERNAL_ERROR = 500 "Server Internal Error";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    SERVER_TIMEOUT = 504 "Server Time-out";
    VERSION_NOT_SUPPORTED = 505 "Version Not Supported";
    MESSAGE_TOO_LARGE = 513 "Message Too Large";
    BUSY_EVERYWHERE = 600 "Busy Everywhere";
}

impl StatusCode {
    /// A code from its number; `None` outside 100 to 699.
    pub fn new(code: u16) -> Option<Self> {
        (100..700).contains(&code).then_some(StatusCode(code))
    }

    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }

    /// 1xx: more will follow.
    pub fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx: accepted.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
