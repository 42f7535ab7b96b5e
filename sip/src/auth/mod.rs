//! Who sends: digest authentication (RFC 7616, RFC 8760), with SHA-256, and MD5 for old peers.
//!
//! [`Challenge`] and [`Credentials`] are the values of WWW-Authenticate, Proxy-Authenticate,
//! Authorization and Proxy-Authorization. [`Verifier`] is what a server keeps of a password, and
//! [`Account`] what a program does with its own. Nonces are the server's affair.

mod account;
mod challenge;
mod credentials;
mod params;
mod secret;
mod verifier;

use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt;

pub use account::{Account, PAUSE};
pub use challenge::Challenge;
pub use credentials::{Counted, Credentials};
pub use secret::{LEAST_PASSWORD, Secret};
pub use verifier::Verifier;

use crate::header::Name;
use crate::status::StatusCode;

/// The reason phrase of a 403 to a wrong password, and to a user that there is not.
pub const WRONG: &str = "Wrong user or password";

/// Longest name of a user in bytes.
const LONGEST_USER: usize = 64;

/// True of a name that a user may have: 1 to 64 visible ASCII characters, none of them a colon, a
/// comma, a quote or a backslash.
pub fn is_user(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b":,\"\\".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_USER && name.bytes().all(fits)
}

/// Who wants to know who sends: the two speak by other fields and statuses (RFC 3261 section 22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Whom the request is for: 401.
    Server,
    /// A proxy on the way: 407.
    Proxy,
}

impl Asker {
    /// Who it is that answers so.
    pub fn of(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED => Some(Asker::Server),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(Asker::Proxy),
            _ => None,
        }
    }

    /// The status of a challenge.
    pub fn status(self) -> StatusCode {
        match self {
            Asker::Server => StatusCode::UNAUTHORIZED,
            Asker::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// The field of a challenge.
    pub fn challenge(self) -> Name {
        match self {
            Asker::Server => Name::WwwAuthenticate,
            Asker::Proxy => Name::ProxyAuthenticate,
        }
    }

    /// The field of the credentials.
    pub fn credentials(self) -> Name {
        match self {
            Asker::Server => Name::Authorization,
            Asker::Proxy => Name::ProxyAuthorization,
        }
    }
}

/// What a password is hashed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// For old peers, and whatever names none.
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    /// Its name in the parameter `algorithm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Reads the parameter `algorithm`, which may be absent. Those of sessions (`-sess`) are not
    /// known here.
    fn read(name: Option<&str>) -> Option<Self> {
        let known = [Algorithm::Md5, Algorithm::Sha256];
        match name {
            None => Some(Algorithm::Md5),
            Some(name) => known
                .into_iter()
                .find(|known| name.eq_ignore_ascii_case(known.as_str())),
        }
    }

    /// Of those parts with colons in between, in hexadecimal.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Algorithm::Md5 => hexadecimal(&Md5::digest(text)),
            Algorithm::Sha256 => hexadecimal(&Sha256::digest(text)),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_everybody_else() {
        assert_eq!(
            Algorithm::Md5.hash(&["a", "b"]),
            "d8160c9b3dc20d4e931aeb4f45262155"
        );
        assert_eq!(
            Algorithm::Sha256.hash(&[""]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn algorithms_are_read_whatever_their_case() {
        for (name, algorithm) in [
            (None, Some(Algorithm::Md5)),
            (Some("md5"), Some(Algorithm::Md5)),
            (Some("sha-256"), Some(Algorithm::Sha256)),
            (Some("MD5-sess"), None),
            (Some("SHA-512-256"), None),
            (Some(""), None),
        ] {
            assert_eq!(Algorithm::read(name), algorithm, "{name:?}");
        }
    }

    #[test]
    fn users_have_names_that_fit_into_every_place() {
        for good in ["ana", "ana@example.org", "a+b_c-d.e", &"x".repeat(64)] {
            assert!(is_user(good), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a:b",
            "a,b",
            "a\"b",
            "a\\b",
            "ä",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(!is_user(bad), "{bad}");
        }
    }
}
