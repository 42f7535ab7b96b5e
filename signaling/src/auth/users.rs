//! The file of `--users`: who there is, and what is whose.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use sip::auth::{Credentials, Secret, Verifier, is_user};
use sip::{Method, StatusCode};

use super::{Claim, REALM};
use crate::directory::is_name;
use crate::refusal::Refusal;

/// Everybody who has a password.
#[derive(Debug)]
pub struct Users {
    users: HashMap<String, User>,
    /// Streams that the file gives to somebody.
    given: HashSet<String>,
    /// Judges who is not in the file, so that it takes as long.
    nobody: Verifier,
}

#[derive(Debug)]
struct User {
    line: usize,
    verifier: Verifier,
    streams: Streams,
}

#[derive(Debug, PartialEq, Eq)]
enum Streams {
    /// `*`
    All,
    /// Those in the list.
    Listed(HashSet<String>),
    /// Those that nobody else has.
    Free,
}

/// A line that cannot be read. Nothing of the line is told: any part of it may be a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    line: Option<usize>,
    why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.why),
            None => write!(f, " {}", self.why),
        }
    }
}

impl Users {
    /// Reads the file, which nobody but its owner may touch.
    ///
    /// # Errors
    /// One line that names the file and the line in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = admin::private_file(path)?;
        Users::parse(&text).map_err(|bad| format!("{}:{bad}", path.display()))
    }

    /// Reads what such a file holds.
    ///
    /// # Errors
    /// At the first line that is neither blank, nor a comment, nor a user.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut users: HashMap<String, User> = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why: &str| BadLine {
                line: Some(number),
                why: why.to_owned(),
            };
            let (name, user) = User::parse(number, line).map_err(bad)?;
            if let Some(other) = users.get(name) {
                return Err(bad(&format!("this user is on line {} already", other.line)));
            }
            users.insert(name.to_owned(), user);
        }
        if users.is_empty() {
            let why = "there is no user in it: write NAME:PASSWORD".to_owned();
            return Err(BadLine { line: None, why });
        }
        let given = users.values().filter_map(|user| match &user.streams {
            Streams::Listed(streams) => Some(streams.iter().cloned()),
            Streams::All | Streams::Free => None,
        });
        Ok(Users {
            given: given.flatten().collect(),
            users,
            nobody: Verifier::new("", REALM, &Secret::new("")),
        })
    }

    /// Whether credentials are those of a user.
    pub(super) fn admits(&self, credentials: &Credentials, method: &Method) -> bool {
        let user = self.users.get(&credentials.user);
        let verifier = user.map_or(&self.nobody, |user| &user.verifier);
        let right = verifier.admits(credentials, method);
        right && user.is_some()
    }

    /// What a user has to say about a stream.
    pub(super) fn claim(&self, user: &str, stream: &str) -> Result<Claim, Refusal> {
        let free = match self.users.get(user).map(|user| &user.streams) {
            Some(Streams::All) => false,
            Some(Streams::Listed(streams)) if streams.contains(stream) => false,
            Some(Streams::Free) if !self.given.contains(stream) => true,
            Some(Streams::Free) => return Err(taken()),
            Some(Streams::Listed(_)) | None => {
                let why = "This user may not register this stream";
                return Err(Refusal::because(StatusCode::FORBIDDEN, why));
            }
        };
        Ok(Claim {
            user: user.to_owned(),
            free,
        })
    }
}

/// The answer to who registers the stream of somebody else.
pub(super) fn taken() -> Refusal {
    Refusal::because(StatusCode::FORBIDDEN, "The stream is another user's")
}

impl User {
    fn parse(number: usize, line: &str) -> Result<(&str, Self), &'static str> {
        let mut fields = line.split(':');
        let (name, password) = (fields.next().unwrap_or_default(), fields.next());
        let (streams, more) = (fields.next(), fields.next());
        let password = password.ok_or("write NAME:PASSWORD or NAME:PASSWORD:STREAM,STREAM,…")?;
        if more.is_some() {
            return Err("there are too many colons: a password has none");
        }
        if !is_user(name) {
            return Err("a user's name is 1 to 64 visible ASCII characters without , \" and \\");
        }
        let password = Secret::password(password)?;
        Ok((
            name,
            User {
                line: number,
                verifier: Verifier::new(name, REALM, &password),
                streams: Streams::parse(streams)?,
            },
        ))
    }
}

impl Streams {
    fn parse(field: Option<&str>) -> Result<Self, &'static str> {
        let Some(field) = field else {
            return Ok(Streams::Free);
        };
        if field.trim() == "*" {
            return Ok(Streams::All);
        }
        let names = field.split(',').map(str::trim);
        let names: HashSet<String> = names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        if !names.iter().all(|name| is_name(name)) {
            return Err("streams are names of 1 to 64 letters, digits, - and _, or * for all");
        }
        Ok(Streams::Listed(names))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn users_are_read_with_their_streams() {
        let users = Users::parse(
            "# who streams\n\n  yard:long enough:yard,gate, door \r\nops:long enough:*\n\
             front:long enough:\nana:long # enough\n",
        );
        let users = users.unwrap();
        let streams = |name: &str| &users.users[name].streams;
        let listed =
            |names: &[&str]| Streams::Listed(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(*streams("yard"), listed(&["yard", "gate", "door"]));
        assert_eq!(*streams("ops"), Streams::All);
        assert_eq!(*streams("front"), listed(&[]));
        assert_eq!(*streams("ana"), Streams::Free);
        assert_eq!(users.users.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_a_word_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        for (text, line, why) in [
            ("", None, "there is no user in it"),
            ("# nothing\n\n", None, "there is no user in it"),
            ("hunter2hunter2", Some(1), "write NAME:PASSWORD"),
            ("\n#\nana:hunter2", Some(3), "at least 8 characters"),
            ("ana:", Some(1), "at least 8 characters"),
            ("ana:hunter2:*", Some(1), "at least 8 characters"),
            (":hunter2hunter2", Some(1), "a user's name is"),
            ("hunter2 hunter2:ana", Some(1), "a user's name is"),
            ("ana:hunter2:hunter2:a", Some(1), "too many colons"),
            ("ana:hunter22:hunter2 hunter2", Some(1), "streams are names"),
            ("ana:hunter22:*,a", Some(1), "streams are names"),
            (
                "ana:hunter22\nbob:hunter22\nana:hunter2hunter2",
                Some(3),
                "is on line 1 already",
            ),
            ("ana:hunter2\u{7f}hunter2", Some(1), "control characters"),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = Users::read(&path).unwrap_err();
            let place = match line {
                Some(line) => format!("{}:{line}: ", path.display()),
                None => format!("{}: ", path.display()),
            };
            assert!(
                error.starts_with(&place) && error.contains(why),
                "{text:?}: {error}"
            );
            assert!(!error.contains("hunter"), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Users::read(&path).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn streams_are_those_of_the_list_or_those_that_nobody_is_given() {
        let text = "yard:long enough:yard\nops:long enough:*\nfront:long enough:\n\
                    ana:long enough\nyard-2:long enough:yard";
        let users = Users::parse(text).unwrap();
        for (user, stream, free) in [
            ("yard", "yard", Some(false)),
            ("yard-2", "yard", Some(false)),
            ("yard", "gate", None),
            ("ops", "yard", Some(false)),
            ("ops", "gate", Some(false)),
            ("front", "gate", None),
            ("ana", "gate", Some(true)),
            ("ana", "yard", None),
            ("nobody", "gate", None),
        ] {
            let claim = users.claim(user, stream);
            assert_eq!(claim.ok().map(|claim| claim.free), free, "{user} {stream}");
        }
    }

    #[test]
    fn passwords_show_nowhere() {
        let users = Users::parse("ana:hunter2hunter2").unwrap();
        assert!(!format!("{users:#?}").contains("hunter"));
    }
}
