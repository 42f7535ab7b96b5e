//! What a program does when it is asked who it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Asker, Challenge, Counted, Credentials, Secret, Verifier, WRONG};
use crate::endpoint::{ClientId, Endpoint};
use crate::message::{Request, Response};
use crate::status::StatusCode;
use crate::transport::Peer;

/// How long a program waits after its user or password was refused: they do not get better by
/// being sent again, and a server counts wrong ones.
pub const PAUSE: Duration = Duration::from_secs(30);

/// The user that a program speaks for towards its server, or nobody.
///
/// Requests go out through it. One that is answered by a challenge goes out once more, and once
/// again when just the nonce was stale; later ones are signed from the start, as long as the
/// server likes the nonce.
#[derive(Debug, Default)]
pub struct Account {
    identity: Option<Identity>,
    known: Option<Known>,
    /// Requests that were sent again, until their final answer.
    attempts: HashMap<ClientId, Attempt>,
    standing: Standing,
}

#[derive(Debug)]
struct Identity {
    user: String,
    password: Secret,
}

/// The last challenge, and how often it was answered.
#[derive(Debug)]
struct Known {
    asker: Asker,
    challenge: Challenge,
    verifier: Verifier,
    count: u32,
}

/// How often a request has been challenged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    Challenged,
    /// Once more, because the nonce had become stale.
    Renewed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Good,
    Refused {
        until: Instant,
    },
}

impl Account {
    /// That of the flags `--sip-user` and `--sip-password-file`, whose file is read by `read`; nobody
    /// without them.
    ///
    /// # Errors
    /// One line that names the flag and the file.
    pub fn of(
        user: Option<&str>,
        file: Option<&Path>,
        read: impl Fn(&Path) -> Result<String, String>,
    ) -> Result<Self, String> {
        let (Some(user), Some(file)) = (user, file) else {
            return Ok(Account::default());
        };
        let told = |why| format!("--sip-password-file: {why}");
        let text = read(file).map_err(told)?;
        let password = Secret::password(&text);
        let password = password.map_err(|why| told(format!("{}: {why}", file.display())))?;
        Ok(Account::new(user, password))
    }

    /// The account of a user.
    pub fn new(user: &str, password: Secret) -> Self {
        Account {
            identity: Some(Identity {
                user: user.to_owned(),
                password,
            }),
            ..Account::default()
        }
    }

    /// Until when nothing should be sent, since the server refused who we are. It may be over.
    pub fn barred_until(&self) -> Option<Instant> {
        match self.standing {
            Standing::Refused { until } => Some(until),
            Standing::Good => None,
        }
    }

    /// Whether it is not over.
    pub fn is_barred(&self, now: Instant) -> bool {
        self.barred_until().is_some_and(|until| now < until)
    }

    /// Sends a request, as [`Endpoint::request`] does, signed if a challenge is known.
    pub fn request(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        destination: impl Into<Peer>,
        mut request: Request,
    ) -> ClientId {
        self.sign(endpoint, &mut request);
        endpoint.request(now, destination, request)
    }

    /// Takes note of an answer to a request. When that was a challenge, and can be met, the
    /// request goes out again, under the handle that is returned; the answer needs no further
    /// looking at. Every other answer is the role's.
    pub fn handle_response(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        destination: impl Into<Peer>,
        id: ClientId,
        response: &Response,
    ) -> Option<ClientId> {
        if response.status.is_provisional() {
            return None;
        }
        let destination = destination.into();
        let attempt = self.attempts.remove(&id).unwrap_or(Attempt::First);
        let Some(asker) = Asker::of(response.status) else {
            if response.status.is_success() {
                self.standing = Standing::Good;
            } else if response.status == StatusCode::FORBIDDEN && response.reason == WRONG {
                self.handle_refusal(now, destination.address);
            }
            return None;
        };
        let challenge = Challenge::best(&response.headers, asker);
        let next = match (attempt, &challenge) {
            (Attempt::First, Some(_)) => Attempt::Challenged,
            (Attempt::Challenged, Some(challenge)) if challenge.stale => Attempt::Renewed,
            _ => {
                self.handle_refusal(now, destination.address);
                return None;
            }
        };
        let (Some(identity), Some(challenge)) = (&self.identity, challenge) else {
            self.handle_refusal(now, destination.address);
            return None;
        };
        let mut request = endpoint.client_request(id)?.renewed()?;
        let same = |known: &Known| {
            let nonce = known.challenge.nonce == challenge.nonce;
            nonce && known.challenge.algorithm == challenge.algorithm && known.asker == asker
        };
        if !self.known.as_ref().is_some_and(same) {
            let realm = &challenge.realm;
            self.known = Some(Known {
                asker,
                verifier: Verifier::new(&identity.user, realm, &identity.password),
                challenge,
                count: 0,
            });
        }
        self.sign(endpoint, &mut request);
        let again = endpoint.request(now, destination, request);
        self.attempts.insert(again, next);
        Some(again)
    }

    /// A request will have no answer, or none that matters.
    pub fn forget(&mut self, id: ClientId) {
        self.attempts.remove(&id);
    }

    fn sign(&mut self, endpoint: &mut Endpoint, request: &mut Request) {
        let (Some(identity), Some(known)) = (&self.identity, &mut self.known) else {
            return;
        };
        let uri = request.uri.to_string();
        let mut credentials = Credentials::unproved(&known.challenge, &identity.user, &uri);
        if known.challenge.counts {
            let Some(count) = known.count.checked_add(1) else {
                self.known = None;
                return;
            };
            known.count = count;
            credentials.counted = Some(Counted {
                count,
                cnonce: endpoint.generate_tag(),
            });
        }
        credentials.response = known.verifier.proof(&credentials, &request.method);
        let field = known.asker.credentials();
        request.headers.set(field, &credentials.to_string());
    }

    fn handle_refusal(&mut self, now: Instant, server: SocketAddr) {
        let until = now + PAUSE;
        if let Standing::Good = std::mem::replace(&mut self.standing, Standing::Refused { until }) {
            let pause = PAUSE.as_secs();
            match &self.identity {
                Some(Identity { user, .. }) => tracing::error!(
                    %server,
                    user,
                    "the signaling server refuses this user or its password: see --sip-user and \
                     --sip-password-file; the next try is in {pause} s"
                ),
                None => tracing::error!(
                    %server,
                    "the signaling server asks for a password: name the user with --sip-user and \
                     --sip-password-file; the next try is in {pause} s"
                ),
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
mod tests {
    use super::*;
    use crate::ServerId;
    use crate::endpoint::{Config, Event};
    use crate::header::{Name, NameAddr};
    use crate::method::Method;
    use crate::uri::Uri;

    /// A client with an account, and a server that the test plays.
    struct Link {
        now: Instant,
        account: Account,
        near: Endpoint,
        far: Endpoint,
        cseq: u32,
    }

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 5060))
    }

    fn endpoint(host: u8) -> Endpoint {
        let mut state = u64::from(host) << 32;
        Endpoint::new(Config::new(address(host)), move || {
            state += 1;
            state
        })
    }

    const SHA: &str = "Digest realm=\"r\",nonce=\"s\",qop=\"auth\",algorithm=SHA-256";
    const MD5: &str = "Digest realm=\"r\",nonce=\"m\",qop=\"auth\",algorithm=MD5";
    const OLD: &str = "Digest realm=\"r\",nonce=\"o\"";

    impl Link {
        fn new() -> Self {
            Link::of(Account::new("ana", Secret::new("a password")))
        }

        fn of(account: Account) -> Self {
            Link {
                now: Instant::now(),
                account,
                near: endpoint(1),
                far: endpoint(2),
                cseq: 0,
            }
        }

        /// Sends a REGISTER; what comes.
        fn register(&mut self) -> (ServerId, Request) {
            self.cseq += 10;
            let uri = Uri::at(None, address(2));
            let name = NameAddr::new(Uri::at(Some("test"), address(2)));
            let from = name.clone().with_tag("t");
            let register = Request::new(Method::Register, uri, from, name, "call", self.cseq);
            let (near, server) = (&mut self.near, address(2));
            self.account.request(self.now, near, server, register);
            self.came().unwrap()
        }

        fn came(&mut self) -> Option<(ServerId, Request)> {
            while let Some(transmit) = self.near.poll_transmit() {
                let payload = transmit.payload;
                self.far.handle_datagram(self.now, address(1), payload);
            }
            match self.far.poll_event()? {
                Event::Request { id, request, .. } => Some((id, request)),
                other => panic!("{other:?}"),
            }
        }

        /// Answers; what comes then, if anything does.
        fn answer(
            &mut self,
            (id, request): &(ServerId, Request),
            status: StatusCode,
            challenges: &[&str],
        ) -> Option<(ServerId, Request)> {
            let mut response = Response::to_request(request, status);
            if status == StatusCode::FORBIDDEN {
                response = response.with_reason(WRONG);
            }
            for challenge in challenges {
                let field = Asker::of(status).unwrap().challenge();
                response.headers.push(field, challenge);
            }
            self.far.respond(self.now, *id, response);
            while let Some(transmit) = self.far.poll_transmit() {
                let payload = transmit.payload;
                self.near.handle_datagram(self.now, address(2), payload);
            }
            while let Some(event) = self.near.poll_event() {
                let Event::Response { id, response, .. } = event else {
                    panic!("{event:?}");
                };
                let (near, server) = (&mut self.near, address(2));
                let account = &mut self.account;
                account.handle_response(self.now, near, server, id, &response);
            }
            self.came()
        }
    }

    fn signed(request: &(ServerId, Request)) -> Option<Credentials> {
        let line = request.1.headers.get(Name::Authorization)?;
        let credentials = Credentials::parse(line).unwrap().unwrap();
        let verifier = Verifier::new("ana", "r", &Secret::new("a password"));
        assert!(verifier.admits(&credentials, &request.1.method));
        Some(credentials)
    }

    fn nonce(request: &(ServerId, Request)) -> Option<(String, Option<u32>)> {
        let signed = signed(request)?;
        Some((signed.nonce, signed.counted.map(|counted| counted.count)))
    }

    #[test]
    fn a_challenge_is_answered_by_a_new_request_of_the_next_number() {
        let mut link = Link::new();
        let first = link.register();
        assert_eq!(signed(&first), None);
        let second = link
            .answer(&first, StatusCode::UNAUTHORIZED, &[MD5, SHA])
            .unwrap();
        assert_eq!(nonce(&second), Some(("s".to_owned(), Some(1))));
        let (one, two) = (&first.1, &second.1);
        assert_eq!(two.cseq().number, one.cseq().number + 1);
        assert_eq!(two.call_id(), one.call_id());
        assert_eq!(two.from(), one.from());
        assert_eq!(two.headers.count(Name::Via), 1);
        assert_ne!(two.top_via(), one.top_via());
        assert_eq!(link.answer(&second, StatusCode::OK, &[]).map(|_| ()), None);
        assert!(link.account.attempts.is_empty());
    }

    #[test]
    fn later_requests_are_signed_at_once_and_count_up_until_the_nonce_is_stale() {
        let mut link = Link::new();
        let first = link.register();
        let second = link
            .answer(&first, StatusCode::UNAUTHORIZED, &[SHA])
            .unwrap();
        link.answer(&second, StatusCode::OK, &[]);
        let third = link.register();
        assert_eq!(nonce(&third), Some(("s".to_owned(), Some(2))));
        let cnonce = |request| signed(request).unwrap().counted.unwrap().cnonce;
        assert_ne!(cnonce(&second), cnonce(&third));
        let stale = SHA.replace("\"s\"", "\"fresh\",stale=true");
        let fourth = link
            .answer(&third, StatusCode::UNAUTHORIZED, &[&stale])
            .unwrap();
        assert_eq!(nonce(&fourth), Some(("fresh".to_owned(), Some(1))));
        // Stale once more: a slow network, perhaps.
        let stale = SHA.replace("\"s\"", "\"fresher\",stale=true");
        let fifth = link
            .answer(&fourth, StatusCode::UNAUTHORIZED, &[&stale])
            .unwrap();
        assert_eq!(nonce(&fifth), Some(("fresher".to_owned(), Some(1))));
        assert!(
            link.answer(&fifth, StatusCode::UNAUTHORIZED, &[&stale])
                .is_none()
        );
        assert!(link.account.is_barred(link.now));
        assert!(link.account.attempts.is_empty());
    }

    #[test]
    fn a_wrong_password_is_sent_once_and_then_not_for_a_while() {
        for (status, challenges) in [
            (StatusCode::FORBIDDEN, &[][..]),
            (StatusCode::UNAUTHORIZED, &[SHA]),
        ] {
            let mut link = Link::new();
            let first = link.register();
            let second = link
                .answer(&first, StatusCode::UNAUTHORIZED, &[SHA])
                .unwrap();
            assert!(link.answer(&second, status, challenges).is_none());
            assert_eq!(link.account.barred_until(), Some(link.now + PAUSE));
            assert!(link.account.is_barred(link.now));
            link.now += PAUSE;
            assert!(!link.account.is_barred(link.now));
            let third = link.register();
            link.answer(&third, StatusCode::OK, &[]);
            assert_eq!(link.account.standing, Standing::Good);
        }
    }

    #[test]
    fn a_403_with_another_reason_says_nothing_of_the_password() {
        let mut link = Link::new();
        let first = link.register();
        let mut response = Response::to_request(&first.1, StatusCode::FORBIDDEN);
        response.set_to_tag("x");
        link.far.respond(link.now, first.0, response);
        let payload = link.far.poll_transmit().unwrap().payload;
        link.near.handle_datagram(link.now, address(2), payload);
        let Some(Event::Response { id, response, .. }) = link.near.poll_event() else {
            panic!("no response");
        };
        let (near, server) = (&mut link.near, address(2));
        link.account
            .handle_response(link.now, near, server, id, &response);
        assert!(!link.account.is_barred(link.now));
    }

    #[test]
    fn proxies_are_answered_in_their_own_field() {
        let mut link = Link::new();
        let first = link.register();
        let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let second = link.answer(&first, status, &[SHA]).unwrap();
        assert_eq!(signed(&second), None);
        assert_eq!(second.1.headers.count(Name::ProxyAuthorization), 1);
    }

    #[test]
    fn old_servers_get_answers_without_a_count() {
        let mut link = Link::new();
        let first = link.register();
        let second = link
            .answer(&first, StatusCode::UNAUTHORIZED, &[OLD])
            .unwrap();
        assert_eq!(nonce(&second), Some(("o".to_owned(), None)));
    }

    #[test]
    fn who_has_no_user_or_cannot_answer_asks_no_more() {
        for (account, challenges) in [
            (Account::default(), &[SHA][..]),
            (
                Account::new("ana", Secret::new("a password")),
                &["Basic realm=\"r\""],
            ),
            (Account::new("ana", Secret::new("a password")), &[]),
        ] {
            let mut link = Link::of(account);
            let first = link.register();
            assert!(
                link.answer(&first, StatusCode::UNAUTHORIZED, challenges)
                    .is_none()
            );
            assert!(link.account.is_barred(link.now));
        }
    }

    #[test]
    fn a_password_shows_in_no_debug_output() {
        let mut link = Link::new();
        let first = link.register();
        link.answer(&first, StatusCode::UNAUTHORIZED, &[SHA]);
        let hash = super::super::Algorithm::Sha256.hash(&["ana", "r", "a password"]);
        let shown = format!("{:?}", link.account);
        assert!(
            !shown.contains("a password") && !shown.contains(&hash),
            "{shown}"
        );
    }
}
