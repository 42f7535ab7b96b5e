//! Who somebody says that they are, and the proof: the values of Authorization and
//! Proxy-Authorization.

use std::fmt;

use super::params::Scheme;
use super::{Algorithm, Challenge, Secret};
use crate::header::{HeaderError, scan};
use crate::method::Method;

/// The digest of a request (RFC 7616 section 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// Of the challenge.
    pub realm: String,
    /// Of the challenge.
    pub nonce: String,
    /// Of the challenge.
    pub opaque: Option<String>,
    /// The Request-URI as its sender wrote it; proxies may have changed that since.
    pub uri: String,
    /// What it was hashed with.
    pub algorithm: Algorithm,
    /// `None` from peers older than RFC 2617.
    pub counted: Option<Counted>,
    /// The proof. With it passwords can be guessed, so it is a secret as well.
    pub response: Secret,
}

/// What `qop=auth` adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How often the nonce has been used, this time included: `nc`.
    pub count: u32,
    /// A nonce of the sender's.
    pub cnonce: String,
}

impl Credentials {
    /// The answer to a challenge, without its proof.
    pub(super) fn unproved(challenge: &Challenge, user: &str, uri: &str) -> Self {
        Credentials {
            user: user.to_owned(),
            realm: challenge.realm.clone(),
            nonce: challenge.nonce.clone(),
            opaque: challenge.opaque.clone(),
            uri: uri.to_owned(),
            algorithm: challenge.algorithm,
            counted: None,
            response: Secret::new(""),
        }
    }

    /// Reads one line; `None` when it is of another scheme.
    ///
    /// # Errors
    /// When it is a digest and cannot be read, or lacks something.
    pub fn parse(line: &str) -> Result<Option<Self>, HeaderError> {
        let bad = HeaderError::new("credentials");
        let schemes = Scheme::all(line);
        let Some(scheme) = schemes.first().filter(|scheme| scheme.is_digest()) else {
            return Ok(None);
        };
        if scheme.broken || schemes.len() > 1 {
            return Err(bad);
        }
        let text = |name| scheme.get(name).map(str::to_owned);
        let algorithm = Algorithm::read(scheme.get("algorithm")).ok_or(bad)?;
        let counted = match scheme.get("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(Counted {
                count: scheme.get("nc").and_then(count).ok_or(bad)?,
                cnonce: text("cnonce").ok_or(bad)?,
            }),
            Some(_) => return Err(bad),
        };
        Ok(Some(Credentials {
            user: text("username").ok_or(bad)?,
            realm: text("realm").ok_or(bad)?,
            nonce: text("nonce").ok_or(bad)?,
            opaque: text("opaque"),
            uri: text("uri").ok_or(bad)?,
            algorithm,
            counted,
            response: Secret::new(scheme.get("response").ok_or(bad)?),
        }))
    }

    /// The proof that whoever knows `user` (the hash of user, realm and password) gives with all
    /// of this.
    pub(super) fn proof(&self, method: &Method, user: &Secret) -> Secret {
        let algorithm = self.algorithm;
        let what = algorithm.hash(&[method.as_str(), &self.uri]);
        let user = user.reveal();
        Secret::new(match &self.counted {
            Some(Counted { count, cnonce }) => {
                let count = format!("{count:08x}");
                algorithm.hash(&[user, &self.nonce, &count, cnonce, "auth", &what])
            }
            // RFC 2069 section 2.1.2.
            None => algorithm.hash(&[user, &self.nonce, &what]),
        })
    }
}

/// Eight hexadecimal digits.
fn count(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = |text: &str| scan::quote(text);
        write!(f, "Digest username={}", quote(&self.user))?;
        write!(f, ",realm={}", quote(&self.realm))?;
        write!(f, ",nonce={}", quote(&self.nonce))?;
        write!(f, ",uri={}", quote(&self.uri))?;
        write!(f, ",response={}", quote(self.response.reveal()))?;
        write!(f, ",algorithm={}", self.algorithm)?;
        if let Some(Counted { count, cnonce }) = &self.counted {
            write!(f, ",qop=auth,nc={count:08x},cnonce={}", quote(cnonce))?;
        }
        match &self.opaque {
            Some(opaque) => write!(f, ",opaque={}", quote(opaque)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Digest username=\"ana\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", \
                        response=\"0123\", qop=auth, nc=0000000A, cnonce=\"c\"";

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let counted = Credentials::parse(GOOD).unwrap().unwrap();
        assert_eq!(counted.counted.as_ref().unwrap().count, 10);
        let old = Credentials {
            counted: None,
            opaque: Some("o\"".to_owned()),
            algorithm: Algorithm::Sha256,
            ..counted.clone()
        };
        for credentials in [counted, old] {
            let read = Credentials::parse(&credentials.to_string());
            assert_eq!(read.unwrap(), Some(credentials));
        }
    }

    #[test]
    fn other_schemes_are_none_and_half_a_digest_is_an_error() {
        for other in ["Basic YW5hOmE=", "", "Bearer x", "digestive a=1"] {
            assert_eq!(Credentials::parse(other).unwrap(), None, "{other}");
        }
        assert!(Credentials::parse(GOOD).is_ok());
        for (part, instead) in [
            ("username=\"ana\",", ""),
            ("realm=\"r\",", ""),
            ("nonce=\"n\",", ""),
            ("uri=\"sip:h\",", ""),
            ("response=\"0123\",", ""),
            ("nc=0000000A,", ""),
            (", cnonce=\"c\"", ""),
            ("0000000A", "A"),
            ("0000000A", "+000000A"),
            ("qop=auth", "qop=auth-int"),
            ("uri=", "algorithm=MD5-sess, uri="),
            ("uri=", "realm=\"s\", uri="),
            ("\"c\"", "\"c"),
            ("cnonce=\"c\"", "cnonce=\"c\", Digest a=1"),
        ] {
            assert!(GOOD.contains(part), "{part}");
            let bad = GOOD.replace(part, instead);
            assert!(Credentials::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_proof_is_not_in_the_debug_output() {
        let credentials = Credentials::parse(GOOD).unwrap();
        assert!(!format!("{credentials:?}").contains("0123"));
    }
}
