//! Flags, environment variables and defaults of front.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use admin::SettingsFile;
use sip::auth::Account;
use sip::driver::{check_advertised, check_signaling, check_user};

use crate::error::Error;

/// Configuration of front: flag, else environment variable, else the settings file, else the default
/// shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help of the program")]
    pub file: SettingsFile,

    /// Address for browsers; port 0 takes any free one
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_HTTP",
        default_value = "127.0.0.1:8080",
        value_parser = admin::address
    )]
    pub http: SocketAddr,

    /// Address of the signaling server (SIP over UDP, and TCP for what is long)
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_SIGNALING",
        default_value = "127.0.0.1:5060",
        value_parser = admin::address
    )]
    pub signaling: SocketAddr,

    /// Serve the page from this directory instead of the copy inside the program; edits show on
    /// reload
    #[arg(long = "static", value_name = "DIR", env = "RUSTICAST_STATIC")]
    pub static_dir: Option<PathBuf>,

    /// Address for operators: health, metrics, live objects; none when absent
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_FRONT_ADMIN",
        value_parser = admin::address
    )]
    pub admin: Option<SocketAddr>,

    /// File with the bearer token that operators must send; needed beyond loopback
    #[arg(long, value_name = "FILE", env = "RUSTICAST_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Address put into SIP Contact and Via when the signaling server sees us under another one
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_FRONT_ADVERTISE",
        value_parser = admin::address
    )]
    pub advertise: Option<SocketAddr>,

    /// Origin such as `https://example.org` whose pages may use this server; can be repeated
    #[arg(
        long = "allow-origin",
        value_name = "ORIGIN",
        env = "RUSTICAST_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    pub allow_origins: Vec<String>,

    /// User that this program is for the signaling server, as in the server's --users
    #[arg(long, value_name = "NAME", env = "RUSTICAST_SIP_USER")]
    pub sip_user: Option<String>,

    /// File with that user's password, on one line; nobody but the owner may read it
    #[arg(long, value_name = "FILE", env = "RUSTICAST_SIP_PASSWORD_FILE")]
    pub sip_password_file: Option<PathBuf>,

    /// Allow addresses beyond loopback: of HTTP, which has neither encryption nor passwords, and of a
    /// signaling server without --sip-user
    #[arg(long, env = "RUSTICAST_INSECURE")]
    pub insecure: bool,

    /// Time limits; no flags, only tests have others than the default ones
    #[arg(skip)]
    pub limits: Limits,
}

/// How long front waits for browsers, and for the signaling server before it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A request's head must be whole this long after its first byte (design section 7).
    pub head: Duration,
    /// A connection on which no byte moves for this long, while nothing is being worked on, is
    /// closed (design section 7). Also bounds clients that do not read what they asked for.
    pub idle: Duration,
    /// An answer whose connection was not reset for this long after it was written has been read.
    pub delivered: Duration,
    /// An event stream carries a comment line at least this often (design section 4).
    pub keep_alive: Duration,
    /// Without any answer for this long the signaling server counts as unreachable.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            delivered: Duration::from_secs(2),
            keep_alive: Duration::from_secs(10),
            silence: Duration::from_secs(4),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: SettingsFile::default(),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            signaling: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)),
            static_dir: None,
            admin: None,
            admin_token_file: None,
            advertise: None,
            allow_origins: Vec::new(),
            sip_user: None,
            sip_password_file: None,
            insecure: false,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Finds what cannot work before anything is bound.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with one sentence that names the flag.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Config { why });
        if !self.http.ip().is_loopback() && !self.insecure {
            return refuse(format!(
                "--http {} can be reached from other machines without encryption or password: \
                 use a loopback address, or add --insecure",
                self.http
            ));
        }
        let user = self.sip_user.as_deref();
        check_user(user, self.sip_password_file.as_deref()).or_else(refuse)?;
        check_signaling(self.signaling, user, self.insecure).or_else(refuse)?;
        check_advertised(self.advertise).or_else(refuse)?;
        if let Some(dir) = &self.static_dir {
            if !dir.join("index.html").is_file() {
                return refuse(format!("--static {} has no index.html", dir.display()));
            }
        }
        for origin in &self.allow_origins {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
                return refuse(format!(
                    "--allow-origin {origin:?} must look like https://example.org"
                ));
            }
        }
        Ok(())
    }

    /// Who this program is for the signaling server.
    pub(crate) fn account(&self) -> Result<Account, Error> {
        let (user, file) = (self.sip_user.as_deref(), self.sip_password_file.as_deref());
        let account = Account::of(user, file, admin::private_file);
        account.map_err(|why| Error::Config { why })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn the_defaults_of_flags_and_of_the_type_are_the_same() {
        let command = Config::augment_args(clap::Command::new("front"));
        let matches = command.get_matches_from(["front"]);
        let flags = Config::from_arg_matches(&matches).unwrap();
        assert_eq!(format!("{flags:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn other_machines_are_let_in_only_on_request() {
        let mut config = Config {
            http: "0.0.0.0:8080".parse().unwrap(),
            ..Config::default()
        };
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("--insecure")
        );
        config.insecure = true;
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_signaling_server_elsewhere_wants_a_user_with_a_password() {
        let mut config = Config {
            signaling: "192.0.2.1:5060".parse().unwrap(),
            ..Config::default()
        };
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("--sip-user")
        );
        config.sip_user = Some("front".to_owned());
        let without = config.check().unwrap_err().to_string();
        assert!(without.contains("--sip-password-file"), "{without}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        config.sip_password_file = Some(file.clone());
        assert_eq!(config.check(), Ok(()));
        for (text, mode, good) in [
            ("hunter2hunter2\n", 0o600, true),
            ("hunter2hunter2\n", 0o644, false),
            ("hunter\n", 0o600, false),
            ("hunter2hunter2\nhunter2hunter2\n", 0o600, false),
        ] {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let account = config.account();
            assert_eq!(account.is_ok(), good, "{account:?}");
            let told = format!("{account:?}");
            assert!(!told.contains("hunter"), "{told}");
            assert!(good || told.contains(&file.display().to_string()), "{told}");
        }
    }

    #[test]
    fn a_directory_without_a_page_is_refused() {
        let config = Config {
            static_dir: Some("/nonexistent".into()),
            ..Config::default()
        };
        assert!(config.check().unwrap_err().to_string().contains("--static"));
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        for (origin, good) in [
            ("https://example.org", true),
            ("http://10.0.0.1:8000", true),
            ("example.org", false),
            ("https://example.org/", false),
            ("*", false),
        ] {
            let config = Config {
                allow_origins: vec![origin.to_owned()],
                ..Config::default()
            };
            assert_eq!(config.check().is_ok(), good, "{origin}");
        }
    }
}
