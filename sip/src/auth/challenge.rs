//! What a server wants to have proved: the values of WWW-Authenticate and Proxy-Authenticate.

use std::fmt;

use super::params::Scheme;
use super::{Algorithm, Asker};
use crate::header::{Headers, scan};

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Whose users are meant.
    pub realm: String,
    /// What the answer is made with, so that it is good once.
    pub nonce: String,
    /// Comes back as it went.
    pub opaque: Option<String>,
    /// What to hash with.
    pub algorithm: Algorithm,
    /// Whether the answer may count its nonces (`qop=auth`). Servers older than RFC 2617 know
    /// nothing of that.
    pub counts: bool,
    /// The last answer was right but for its nonce.
    pub stale: bool,
}

impl Challenge {
    /// Every challenge of a response that can be answered, in order. Others are passed over:
    /// other schemes and algorithms, and what cannot be read (RFC 7616 section 3.7).
    pub fn all(headers: &Headers, asker: Asker) -> Vec<Self> {
        let lines = headers.all(asker.challenge());
        lines
            .flat_map(Scheme::all)
            .filter_map(|scheme| Challenge::read(&scheme))
            .collect()
    }

    /// The one to answer: with SHA-256 rather than MD5, then the first.
    pub fn best(headers: &Headers, asker: Asker) -> Option<Self> {
        let mut all = Challenge::all(headers, asker);
        let strong = |it: &Challenge| it.algorithm == Algorithm::Sha256;
        let best = all.iter().position(strong).unwrap_or(0);
        (best < all.len()).then(|| all.swap_remove(best))
    }

    fn read(scheme: &Scheme<'_>) -> Option<Self> {
        if scheme.broken || !scheme.is_digest() {
            return None;
        }
        let algorithm = Algorithm::read(scheme.get("algorithm"))?;
        let counts = match scheme.get("qop") {
            Some(qop) => {
                let mut offered = qop.split(',').map(str::trim);
                offered.find(|one| one.eq_ignore_ascii_case("auth"))?;
                true
            }
            // Whoever knows SHA-256 knows to count (RFC 7616 section 3.3).
            None if algorithm == Algorithm::Md5 => false,
            None => return None,
        };
        let stale = scheme.get("stale").unwrap_or_default();
        Some(Challenge {
            realm: scheme.get("realm")?.to_owned(),
            nonce: scheme.get("nonce")?.to_owned(),
            opaque: scheme.get("opaque").map(str::to_owned),
            algorithm,
            counts,
            stale: stale.eq_ignore_ascii_case("true"),
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (realm, nonce) = (scan::quote(&self.realm), scan::quote(&self.nonce));
        write!(f, "Digest realm={realm},nonce={nonce}")?;
        if let Some(opaque) = &self.opaque {
            write!(f, ",opaque={}", scan::quote(opaque))?;
        }
        if self.stale {
            f.write_str(",stale=true")?;
        }
        if self.counts {
            f.write_str(",qop=\"auth\"")?;
        }
        match self.algorithm {
            Algorithm::Md5 => f.write_str(",algorithm=MD5"),
            // Blanks are allowed here (RFC 3261 section 25.1). Old peers that do not see where a
            // challenge ends, sipp 3.6 for one, look for "algorithm=" and so find that of MD5.
            Algorithm::Sha256 => f.write_str(",algorithm = SHA-256"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Name;

    fn headers(lines: &[&str]) -> Headers {
        let mut headers = Headers::default();
        for line in lines {
            headers.push(Name::WwwAuthenticate, line);
        }
        headers
    }

    fn best(lines: &[&str]) -> Option<Challenge> {
        Challenge::best(&headers(lines), Asker::Server)
    }

    #[test]
    fn sha_256_is_answered_if_offered_and_else_md5() {
        let md5 = "Digest realm=\"r\", nonce=\"m\", algorithm=MD5, qop=\"auth\"";
        let sha = "Digest realm=\"r\", nonce=\"s\", algorithm=SHA-256, qop=\"auth, auth-int\"";
        let both = format!("{md5}, {sha}");
        for (lines, nonce) in [
            (&[md5, sha][..], Some("s")),
            (&[sha, md5], Some("s")),
            (&[&both], Some("s")),
            (&[md5], Some("m")),
            (&["Basic realm=\"r\"", "Foo bar", md5], Some("m")),
            (&["Basic realm=\"r\""], None),
            (&[], None),
        ] {
            let found = best(lines).map(|challenge| challenge.nonce);
            assert_eq!(found.as_deref(), nonce, "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_passed_over() {
        for line in [
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256, qop=\"auth\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256",
            "Digest realm=\"r\", nonce=\"n\", nonce=\"n\"",
            "Digest realm=\"r, nonce=\"n\"",
        ] {
            assert_eq!(best(&[line]), None, "{line}");
        }
    }

    #[test]
    fn challenges_older_than_qop_are_answered_and_unknown_parameters_do_not_matter() {
        let old = best(&["digest Realm=\"r\",NONCE=\"n\",foo=bar,domain=\"sip:a\",stale=TRUE"]);
        let old = old.unwrap();
        assert!(!old.counts && old.stale);
        assert_eq!(old.algorithm, Algorithm::Md5);
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let sha = Challenge {
            realm: "a \"b\"\\".to_owned(),
            nonce: "n".to_owned(),
            opaque: Some(",".to_owned()),
            algorithm: Algorithm::Sha256,
            counts: true,
            stale: true,
        };
        let md5 = Challenge {
            algorithm: Algorithm::Md5,
            counts: false,
            opaque: None,
            stale: false,
            ..sha.clone()
        };
        for challenge in [sha, md5] {
            assert_eq!(best(&[&challenge.to_string()]), Some(challenge));
        }
    }
}
