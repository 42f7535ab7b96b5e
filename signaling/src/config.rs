//! Flags, environment variables and defaults of signaling.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use admin::SettingsFile;
use sip::driver::check_advertised;

use crate::error::Error;
use crate::rates::Trust;

/// Calls that the ladder keeps unless told otherwise.
const DEFAULT_LADDER: usize = 1000;

/// Configuration of signaling: flag, else environment variable, else the settings file, else the default
/// shown.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help of the program")]
    pub file: SettingsFile,

    /// Address for SIP over UDP and TCP; port 0 takes any that is free for both
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_LISTEN",
        default_value = "127.0.0.1:5060",
        value_parser = admin::address
    )]
    pub listen: SocketAddr,

    /// Address put into Via and Record-Route when others reach us under another one; without it
    /// --listen, or where that is every address, the ones that the default routes use
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_SIGNALING_ADVERTISE",
        value_parser = admin::address
    )]
    pub advertise: Option<SocketAddr>,

    /// File that keeps streamers and calls over a restart, or `none`
    #[arg(
        long,
        value_name = "FILE",
        env = "RUSTICAST_DATA",
        default_value = "data.xml"
    )]
    pub data: PathBuf,

    /// Address for operators: health, metrics, live objects; none when absent
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_SIGNALING_ADMIN",
        value_parser = admin::address
    )]
    pub admin: Option<SocketAddr>,

    /// File with the bearer token that operators must send; needed beyond loopback
    #[arg(long, value_name = "FILE", env = "RUSTICAST_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Calls whose messages are kept in memory for operators, the latest ones; 0 keeps none
    #[arg(
        long,
        value_name = "CALLS",
        env = "RUSTICAST_LADDER",
        default_value_t = DEFAULT_LADDER
    )]
    pub ladder: usize,

    /// Print a line for each SIP message on standard error: time, <- or ->, peer, Call-ID, method or
    /// status, CSeq, size of the body, and which retransmission it is
    #[arg(long, env = "RUSTICAST_TRACE")]
    pub trace: bool,

    /// File to write every SIP message to, for Wireshark or sngrep: pcap when it ends in .pcap, else
    /// pcap-ng; a file of that name is replaced unless another server writes it, digests of passwords
    /// are left out
    #[arg(long, value_name = "FILE", env = "RUSTICAST_CAPTURE")]
    pub capture: Option<PathBuf>,
    /// Networks that may send as much as they like, or `none`; others may send 50 messages and
    /// begin 5 calls a second from each address, and get no answer over UDP that is longer than their
    /// request. List your fronts, streamers and proxies
    #[arg(long, value_name = "CIDR,…", env = "RUSTICAST_TRUST", default_value_t)]
    pub trust: Trust,

    /// File of who may register streams, one a line: NAME:PASSWORD, NAME:PASSWORD:STREAM,STREAM,…
    /// or NAME:PASSWORD:* for all streams; without the third field, a name belongs to the first
    /// who registers it, as long as it is registered. Passwords have 8 characters at least, and
    /// nobody but the owner may read the file
    #[arg(long, value_name = "FILE", env = "RUSTICAST_USERS")]
    pub users: Option<PathBuf>,

    /// Ask for a user and password to call a stream as well, not only to register one
    #[arg(long, env = "RUSTICAST_AUTH_CALLS")]
    pub auth_calls: bool,

    /// Allow addresses beyond loopback without --users: anybody there can take over streams
    #[arg(long, env = "RUSTICAST_INSECURE")]
    pub insecure: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: SettingsFile::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)),
            advertise: None,
            data: PathBuf::from("data.xml"),
            admin: None,
            admin_token_file: None,
            ladder: DEFAULT_LADDER,
            trace: false,
            capture: None,
            trust: Trust::default(),
            users: None,
            auth_calls: false,
            insecure: false,
        }
    }
}

impl Config {
    /// Where streamers and calls are kept, if they are.
    pub(crate) fn data_file(&self) -> Option<&Path> {
        (self.data != Path::new("none")).then_some(&self.data)
    }

    /// Finds what cannot work before anything is bound.
    ///
    /// # Errors
    /// [`Error::Config`] with one sentence that names the flag.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Config { why });
        if self.auth_calls && self.users.is_none() {
            return refuse("--auth-calls asks for passwords: name their file with --users".into());
        }
        if !self.listen.ip().is_loopback() && self.users.is_none() && !self.insecure {
            return refuse(format!(
                "--listen {} can be reached from other machines and anybody there could take \
                 over streams: use a loopback address, name who may register with --users FILE, \
                 or add --insecure",
                self.listen
            ));
        }
        check_advertised(self.advertise).or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parsed(flags: &[&str]) -> Config {
        let command = Config::augment_args(clap::Command::new("signaling"));
        let matches = command.get_matches_from([&["signaling"], flags].concat());
        Config::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn the_defaults_of_flags_and_of_the_type_are_the_same() {
        assert_eq!(parsed(&[]), Config::default());
        assert_eq!(
            Config::default().check().map_err(|error| error.to_string()),
            Ok(())
        );
    }

    #[test]
    fn other_machines_are_let_in_only_on_request() {
        let refused = parsed(&["--listen", "0.0.0.0:5060"]).check().unwrap_err();
        assert!(refused.to_string().contains("--insecure"));
        assert!(
            parsed(&["--listen", "[::]:0", "--insecure"])
                .check()
                .is_ok()
        );
        assert!(
            parsed(&["--listen", "0.0.0.0:5060", "--users", "users"])
                .check()
                .is_ok()
        );
        assert!(parsed(&["--advertise", "0.0.0.0:5060"]).check().is_err());
    }

    #[test]
    fn passwords_for_calls_need_users() {
        let refused = parsed(&["--auth-calls"]).check().unwrap_err();
        assert!(refused.to_string().contains("--users"));
        assert!(parsed(&["--auth-calls", "--users", "u"]).check().is_ok());
    }
}
