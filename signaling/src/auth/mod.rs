//! Who may register a stream, and call one, when there is a file of users: digest authentication
//! (RFC 3261 section 22, RFC 8760).
//!
//! Nothing is kept of whom was asked for a password: see [`nonces`].

pub(crate) mod nonces;
pub mod users;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::auth::{Algorithm, Asker, Challenge, Credentials, WRONG};
use sip::{Request, StatusCode, Uri};
use tracing::{info, warn};

use crate::rates::Rates;
use crate::refusal::Refusal;
use nonces::Nonces;
use users::Users;

/// Whose users they are.
pub const REALM: &str = "rusticast";
/// How often it is told that somebody cannot be asked.
const TOLD: Duration = Duration::from_secs(60);

/// The user behind a REGISTER, and what the file says of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The user.
    pub user: String,
    /// The file does not say whose the stream is: it is the user's only while nobody else has it.
    pub free: bool,
}

impl Claim {
    /// A name that the file gives to nobody is whose it is, as long as it lives.
    pub(crate) fn check<'a>(
        &self,
        mut owners: impl Iterator<Item = &'a str>,
    ) -> Result<(), Refusal> {
        match self.free && owners.any(|owner| owner != self.user) {
            true => Err(users::taken()),
            false => Ok(()),
        }
    }
}

/// Asks for passwords, and judges them.
#[derive(Debug)]
pub struct Gate {
    users: Users,
    calls: bool,
    nonces: Nonces,
    denied: u64,
    told: Option<Instant>,
}

impl Gate {
    /// For these users, who are asked for their passwords at REGISTER, and with `calls` at INVITE
    /// as well. `key` is secret, and another one at each start.
    pub fn new(users: Users, calls: bool, key: [u8; 64], now: Instant) -> Self {
        Gate {
            users,
            calls,
            nonces: Nonces::new(key, now),
            denied: 0,
            told: None,
        }
    }

    /// How often a user or password was wrong.
    pub fn denied(&self) -> u64 {
        self.denied
    }

    /// Who may register the stream that a REGISTER names.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        request: &Request,
        source: SocketAddr,
        rates: &mut Rates,
    ) -> Result<Claim, Refusal> {
        let user = self.admit(now, Asker::Server, request, source, rates)?;
        let stream = request.to().uri.user.as_deref().unwrap_or_default();
        self.users.claim(&user, stream)
    }

    /// Whether an INVITE may be passed on, and what of it.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        request: &Request,
        source: SocketAddr,
        rates: &mut Rates,
    ) -> Result<Request, Refusal> {
        if self.calls {
            self.admit(now, Asker::Proxy, request, source, rates)?;
        }
        Ok(without_credentials(request))
    }

    fn admit(
        &mut self,
        now: Instant,
        asker: Asker,
        request: &Request,
        source: SocketAddr,
        rates: &mut Rates,
    ) -> Result<String, Refusal> {
        let bad = |reason: &str| Refusal::because(StatusCode::BAD_REQUEST, reason);
        let lines = request.headers.all(asker.credentials());
        let read: Vec<_> = lines.map(Credentials::parse).collect();
        let broken = read.iter().any(Result::is_err);
        let mut ours = read.into_iter().flatten().flatten();
        let Some(credentials) = ours.find(|credentials| credentials.realm == REALM) else {
            if broken {
                return Err(bad("Malformed credentials"));
            }
            return Err(self.challenge(now, asker, false));
        };
        if !is_for(&credentials, &request.uri) {
            return Err(bad("The credentials are for another address"));
        }
        if !rates.admits_guess(now, source.ip()) {
            return Err(Refusal::overload(
                "Too many wrong passwords from your address",
            ));
        }
        if !self.users.admits(&credentials, &request.method) {
            rates.note_wrong_guess(now, source.ip());
            self.denied += 1;
            // Without the name: people write their password into the wrong place.
            info!(%source, method = %request.method, "wrong user or password");
            return Err(Refusal::because(StatusCode::FORBIDDEN, WRONG));
        }
        let count = credentials.counted.map(|counted| counted.count);
        let nonce = &credentials.nonce;
        if !self.nonces.admit(now, nonce, &credentials.user, count) {
            return Err(self.challenge(now, asker, true));
        }
        Ok(credentials.user)
    }

    /// Asks for credentials: with SHA-256, and with MD5 for old peers (RFC 8760 section 2.4).
    fn challenge(&mut self, now: Instant, asker: Asker, stale: bool) -> Refusal {
        let nonce = self.nonces.issue(now);
        let value = |algorithm| {
            let challenge = Challenge {
                realm: REALM.to_owned(),
                nonce: nonce.clone(),
                opaque: None,
                algorithm,
                counts: true,
                stale,
            };
            challenge.to_string()
        };
        Refusal::new(asker.status())
            .header(asker.challenge(), value(Algorithm::Sha256))
            .header(asker.challenge(), value(Algorithm::Md5))
    }

    /// A request was too short to be asked for credentials.
    pub(crate) fn note_unasked(&mut self, now: Instant, source: SocketAddr) {
        let lately = |told| now.saturating_duration_since(told) < TOLD;
        if !self.told.is_some_and(lately) {
            self.told = Some(now);
            warn!(
                %source,
                "a request without a password is shorter than the question for it, which could be \
                 a flood with a forged address; such requests are answered in --trust only"
            );
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.nonces.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.nonces.expire(now);
    }
}

/// A request without the credentials that were for this proxy (RFC 3261 section 22.3): who gets
/// it could guess passwords with them.
pub(crate) fn without_credentials(request: &Request) -> Request {
    let field = Asker::Proxy.credentials();
    let mut request = request.clone();
    let lines = request.headers.all(field.clone());
    let ours = |line: &&str| {
        let read = Credentials::parse(line);
        read.is_ok_and(|read| read.is_some_and(|credentials| credentials.realm == REALM))
    };
    let (ours, others): (Vec<&str>, Vec<&str>) = lines.partition(ours);
    if !ours.is_empty() {
        let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
        request.headers.remove(field.clone());
        for line in others {
            request.headers.push(field.clone(), &line);
        }
    }
    request
}

/// Whether credentials were made for a request to this address. Some agents leave the user out of
/// theirs, sipp for one.
fn is_for(credentials: &Credentials, uri: &Uri) -> bool {
    let port = |uri: &Uri| uri.port.unwrap_or(sip::uri::DEFAULT_PORT);
    let host = |uri: &Uri| uri.host.to_string().to_ascii_lowercase();
    Uri::parse(&credentials.uri).is_ok_and(|named| {
        let user = named.user.is_none() || named.user == uri.user;
        user && host(&named) == host(uri) && port(&named) == port(uri)
    })
}
