//! Who registered through the JSON calls: secret token → name, selected stream, running session.
//!
//! A name is what others see and is never authority: two viewers may share one. The token is the
//! authority, and it expires when it is not used.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::secret::secret;

/// A token that was not used for this long is forgotten.
pub(crate) const USER_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The same while its user watches: who watches asks for nothing, and still wants to say bye.
const WATCHER_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Registered users at once: a bound on memory, some 200 bytes each.
const USERS: usize = 10_000;
/// Longest name in bytes (design section 7).
pub(crate) const NAME_BYTES: usize = 64;

/// One registered viewer.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// The name others see: From display name and `data.xml`.
    pub(crate) name: String,
    /// The stream chosen by `/api/select`.
    pub(crate) stream: Option<String>,
    /// The running session: stream and secret.
    pub(crate) session: Option<(String, String)>,
    used: Instant,
}

impl User {
    fn expires(&self) -> Instant {
        let watching = self.session.is_some();
        self.used
            + if watching {
                WATCHER_LIFETIME
            } else {
                USER_LIFETIME
            }
    }
}

/// All registered viewers. Time is an argument, as everywhere in the core.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_token: HashMap<String, User>,
}

impl Users {
    /// Takes `name` in and returns its new secret token.
    pub(crate) fn register(&mut self, now: Instant, name: &str) -> Result<String, Error> {
        let name = viewer_name(name)?.ok_or_else(|| Error::BadRequest {
            why: "the name is empty".to_owned(),
        })?;
        if self.by_token.len() >= USERS {
            self.expire(now);
        }
        if self.by_token.len() >= USERS {
            return Err(Error::TooMany { what: "users" });
        }
        let token = secret();
        self.by_token.insert(
            token.clone(),
            User {
                name,
                stream: None,
                session: None,
                used: now,
            },
        );
        Ok(token)
    }

    /// The user behind `token`, provided the name beside it is theirs; its lease starts anew.
    pub(crate) fn user(
        &mut self,
        now: Instant,
        token: &str,
        name: &str,
    ) -> Result<&mut User, Error> {
        let user = self.by_token.get_mut(token).ok_or(Error::NotRegistered)?;
        if user.expires() <= now || user.name != name.trim() {
            return Err(Error::NotRegistered);
        }
        user.used = now;
        Ok(user)
    }

    /// Forgets users whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.by_token.retain(|_, user| user.expires() > now);
    }

    /// How many are registered.
    pub(crate) fn len(&self) -> usize {
        self.by_token.len()
    }
}

/// A viewer's name as given: `None` when blank, an error when it cannot be one.
pub(crate) fn viewer_name(name: &str) -> Result<Option<String>, Error> {
    let name = name.trim();
    if name.len() > NAME_BYTES {
        return Err(Error::BadRequest {
            why: format!("the name is longer than {NAME_BYTES} bytes"),
        });
    }
    if name.chars().any(char::is_control) {
        return Err(Error::BadRequest {
            why: "the name has control characters".to_owned(),
        });
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_its_own_name() {
        let (mut users, now) = (Users::default(), Instant::now());
        let ana = users.register(now, " Ana ").unwrap();
        let bob = users.register(now, "Bob").unwrap();
        assert_ne!(ana, bob);
        assert_eq!(users.user(now, &ana, "Ana").unwrap().name, "Ana");
        assert!(matches!(
            users.user(now, &ana, "Bob"),
            Err(Error::NotRegistered)
        ));
        assert!(matches!(
            users.user(now, "guess", "Ana"),
            Err(Error::NotRegistered)
        ));
    }

    #[test]
    fn two_viewers_may_share_a_name() {
        let (mut users, now) = (Users::default(), Instant::now());
        let one = users.register(now, "Ana").unwrap();
        let two = users.register(now, "Ana").unwrap();
        users.user(now, &one, "Ana").unwrap().stream = Some("test".to_owned());
        assert_eq!(users.user(now, &two, "Ana").unwrap().stream, None);
    }

    #[test]
    fn an_unused_token_expires_and_a_used_one_does_not() {
        let (mut users, start) = (Users::default(), Instant::now());
        let used = users.register(start, "Ana").unwrap();
        let unused = users.register(start, "Bob").unwrap();
        let later = start + USER_LIFETIME - Duration::from_secs(1);
        users.user(later, &used, "Ana").unwrap();
        let end = start + USER_LIFETIME;
        assert!(users.user(end, &unused, "Bob").is_err());
        users.expire(end);
        assert_eq!(users.len(), 1);
        assert!(users.user(end, &used, "Ana").is_ok());
    }

    #[test]
    fn who_watches_for_hours_can_still_say_bye() {
        let (mut users, start) = (Users::default(), Instant::now());
        let ana = users.register(start, "Ana").unwrap();
        let user = users.user(start, &ana, "Ana").unwrap();
        user.session = Some(("test".to_owned(), "secret".to_owned()));
        let later = start + USER_LIFETIME * 5;
        users.expire(later);
        assert!(users.user(later, &ana, "Ana").unwrap().session.is_some());
        users.expire(later + WATCHER_LIFETIME);
        assert_eq!(users.len(), 0);
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(viewer_name("  ").unwrap(), None);
        assert_eq!(viewer_name("Zoë").unwrap(), Some("Zoë".to_owned()));
        assert!(viewer_name("a\r\nVia: x").is_err());
        assert!(viewer_name(&"x".repeat(NAME_BYTES + 1)).is_err());
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut users, now) = (Users::default(), Instant::now());
        for _ in 0..USERS {
            users.register(now, "x").unwrap();
        }
        assert!(matches!(
            users.register(now, "x"),
            Err(Error::TooMany { .. })
        ));
        assert!(users.register(now + USER_LIFETIME, "x").is_ok());
        assert_eq!(users.len(), 1);
    }
}
