//! Flags, environment variables and defaults of the streamer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin::SettingsFile;
use sip::auth::Account;
use sip::driver::{check_advertised, check_signaling, check_user};
use uuid::Uuid;

use crate::description::Parameters;
use crate::error::Error;
use crate::limits::MOST_VIEWERS;
use crate::media;

/// Configuration of the streamer: flag, else environment variable, else the settings file, else the
/// default shown.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help of the program")]
    pub file: SettingsFile,

    /// Streams to run: names of files in the directory, without ending; all of them when none is
    /// given. NAME=VALUE, or STREAM.NAME=VALUE, gives their parameters other values
    #[arg(value_name = "STREAM|NAME=VALUE")]
    pub streams: Vec<String>,

    /// The stream to run when none is named, instead of all
    #[arg(long, value_name = "STREAM", env = "RUSTICAST_DEFAULT_STREAM")]
    pub default_stream: Option<String>,

    /// Directory of the pipeline descriptions (NAME.launch)
    #[arg(
        long,
        value_name = "DIR",
        env = "RUSTICAST_PIPELINES",
        default_value = "pipelines"
    )]
    pub pipelines: PathBuf,

    /// Address of the signaling server (SIP over UDP, and TCP for what is long)
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_SIGNALING",
        default_value = "127.0.0.1:5060",
        value_parser = admin::address
    )]
    pub signaling: SocketAddr,

    /// Most viewers at a time, over all streams; 50 for each core by default. The system's limits of
    /// open files, which is raised, and of threads may lower it
    #[arg(long, value_name = "N", env = "RUSTICAST_MAX_VIEWERS")]
    pub max_viewers: Option<usize>,

    /// Local address that media is offered on, instead of those of all interfaces; can be repeated
    #[arg(
        long = "media-address",
        value_name = "IP",
        env = "RUSTICAST_MEDIA_ADDRESS",
        value_delimiter = ','
    )]
    pub media_addresses: Vec<IpAddr>,

    /// Seconds that a stream on demand runs on after its last viewer
    #[arg(
        long = "on-demand-keep",
        value_name = "SECONDS",
        env = "RUSTICAST_ON_DEMAND_KEEP",
        default_value_t = 10
    )]
    pub on_demand_keep: u32,

    /// What tells this streamer from others of the same streams, the same after a restart; by
    /// default made of host name and directory
    #[arg(long, value_name = "UUID", env = "RUSTICAST_INSTANCE")]
    pub instance: Option<Uuid>,

    /// SIP status that accepts a call: 202, or 200 for tools that insist on it
    #[arg(
        long,
        value_name = "CODE",
        env = "RUSTICAST_ANSWER_CODE",
        default_value_t = 202,
        value_parser = clap::value_parser!(u16).range(200..300)
    )]
    pub answer_code: u16,

    /// Address put into SIP Contact when the signaling server sees us under another one
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_STREAMER_ADVERTISE",
        value_parser = admin::address
    )]
    pub advertise: Option<SocketAddr>,

    /// Address for operators: health, metrics, live objects; none when absent
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_STREAMER_ADMIN",
        value_parser = admin::address
    )]
    pub admin: Option<SocketAddr>,

    /// File with the bearer token that operators must send; needed beyond loopback
    #[arg(long, value_name = "FILE", env = "RUSTICAST_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// User that this program is for the signaling server, as in the server's --users
    #[arg(long, value_name = "NAME", env = "RUSTICAST_SIP_USER")]
    pub sip_user: Option<String>,

    /// File with that user's password, on one line; nobody but the owner may read it
    #[arg(long, value_name = "FILE", env = "RUSTICAST_SIP_PASSWORD_FILE")]
    pub sip_password_file: Option<PathBuf>,

    /// Allow addresses beyond loopback: of a signaling server without --sip-user, and of HTTP, which
    /// has neither encryption nor passwords
    #[arg(long, env = "RUSTICAST_INSECURE")]
    pub insecure: bool,
}

impl Default for Config {
    fn default() -> Self {
        let media = media::Config::default();
        Self {
            file: SettingsFile::default(),
            streams: media.streams,
            default_stream: None,
            pipelines: media.pipelines,
            signaling: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)),
            max_viewers: media.max_viewers,
            media_addresses: media.media_addresses,
            on_demand_keep: 10,
            instance: None,
            answer_code: 202,
            advertise: None,
            admin: None,
            admin_token_file: None,
            sip_user: None,
            sip_password_file: None,
            insecure: false,
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
        let user = self.sip_user.as_deref();
        check_user(user, self.sip_password_file.as_deref()).or_else(refuse)?;
        check_signaling(self.signaling, user, self.insecure).or_else(refuse)?;
        check_advertised(self.advertise).or_else(refuse)?;
        match self.max_viewers {
            Some(0) => return refuse("--max-viewers 0 lets nobody watch".to_owned()),
            Some(many) if many > MOST_VIEWERS => {
                return refuse(format!(
                    "--max-viewers {many} is more than the {MOST_VIEWERS} calls a signaling server \
                     keeps"
                ));
            }
            _ => {}
        }
        self.parameters()
            .or_else(|why| refuse(why).map(|()| Parameters::default()))?;
        Ok(())
    }

    /// Who this program is for the signaling server.
    pub(crate) fn account(&self) -> Result<Account, Error> {
        let (user, file) = (self.sip_user.as_deref(), self.sip_password_file.as_deref());
        let account = Account::of(user, file, admin::private_file);
        account.map_err(|why| Error::Config { why })
    }

    /// The streams that are named, or the default one; empty for all.
    fn named(&self) -> Vec<String> {
        let named = self.streams.iter().filter(|one| !one.contains('='));
        let named: Vec<String> = named.cloned().collect();
        match &self.default_stream {
            Some(stream) if named.is_empty() => vec![stream.clone()],
            _ => named,
        }
    }

    fn parameters(&self) -> Result<Parameters, String> {
        Parameters::from_arguments(self.streams.iter().filter(|one| one.contains('=')))?
            .settings(self.file.clone())
    }

    /// The part that concerns media.
    pub fn media(&self) -> media::Config {
        media::Config {
            pipelines: self.pipelines.clone(),
            streams: self.named(),
            // Looked at by `check` before.
            parameters: self.parameters().unwrap_or_default(),
            max_viewers: self.max_viewers,
            media_addresses: self.media_addresses.clone(),
            keep: Duration::from_secs(self.on_demand_keep.into()),
        }
    }

    /// The instance in Contact (RFC 5626 section 4.1): the same after a restart, another one on
    /// another host or for another directory.
    pub fn instance_urn(&self) -> String {
        let instance = self.instance.unwrap_or_else(|| {
            let host = rustix::system::uname();
            default_instance(&host.nodename().to_string_lossy(), &self.pipelines)
        });
        instance.urn().to_string()
    }
}

fn default_instance(host: &str, pipelines: &Path) -> Uuid {
    let pipelines = pipelines
        .canonicalize()
        .unwrap_or_else(|_| pipelines.to_owned());
    let name = format!("{host}/{}", pipelines.display());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn the_defaults_of_flags_and_of_the_type_are_the_same() {
        let command = Config::augment_args(clap::Command::new("run"));
        let matches = command.get_matches_from(["run"]);
        let flags = Config::from_arg_matches(&matches).unwrap();
        assert_eq!(flags, Config::default());
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_name_of_the_flag() {
        let good = Config::default();
        for (config, flag) in [
            (
                Config {
                    signaling: "192.0.2.1:5060".parse().unwrap(),
                    ..good.clone()
                },
                "--insecure",
            ),
            (
                Config {
                    sip_user: Some("ana".to_owned()),
                    ..good.clone()
                },
                "--sip-password-file",
            ),
            (
                Config {
                    advertise: Some("0.0.0.0:1".parse().unwrap()),
                    ..good.clone()
                },
                "--advertise",
            ),
            (
                Config {
                    max_viewers: Some(0),
                    ..good.clone()
                },
                "--max-viewers",
            ),
            (
                Config {
                    max_viewers: Some(10_001),
                    ..good
                },
                "--max-viewers",
            ),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(flag));
        }
    }

    #[test]
    fn the_instance_stays_the_same_and_tells_hosts_apart() {
        let here = default_instance("a", Path::new("pipelines"));
        assert_eq!(here, default_instance("a", Path::new("pipelines")));
        assert_ne!(here, default_instance("b", Path::new("pipelines")));
        assert!(Config::default().instance_urn().starts_with("urn:uuid:"));
    }
}
