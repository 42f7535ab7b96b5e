//! `rusticast`: the three roles in one process, talking SIP on loopback exactly as they
//! do apart. It has no behaviour of its own: it is what the three programs are, started together,
//! with one window for operators.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use futures_util::FutureExt;
use futures_util::future::OptionFuture;
use tokio::sync::watch;

/// Plays pipeline descriptions in browsers: signaling, streamer and front in one process
///
/// The streamer's flags, and those of the other two that make sense here; each program by itself
/// (signaling, streamer-gst, front) has more.
#[derive(Debug, Parser)]
#[command(name = "rusticast", version)]
struct Flags {
    #[command(flatten)]
    streamer: streamer_gst::Config,

    /// Address for browsers; port 0 takes any free one
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_HTTP",
        default_value = "127.0.0.1:8080",
        value_parser = admin::address
    )]
    http: SocketAddr,

    /// Serve the page from this directory instead of the copy inside the program
    #[arg(long = "static", value_name = "DIR", env = "RUSTICAST_STATIC")]
    static_dir: Option<PathBuf>,

    /// Origin such as `https://example.org` whose pages may use this server; can be repeated
    #[arg(
        long = "allow-origin",
        value_name = "ORIGIN",
        env = "RUSTICAST_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    allow_origins: Vec<String>,

    /// File that keeps streamers and calls over a restart, or `none`
    #[arg(
        long,
        value_name = "FILE",
        env = "RUSTICAST_DATA",
        default_value = "data.xml"
    )]
    data: PathBuf,

    /// File of who may register streams at this signaling server: see signaling --help. Streamer and
    /// front of this process are the user of --sip-user
    #[arg(long, value_name = "FILE", env = "RUSTICAST_USERS")]
    users: Option<PathBuf>,

    /// Ask for a user and password to call a stream as well, not only to register one
    #[arg(long, env = "RUSTICAST_AUTH_CALLS")]
    auth_calls: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags: Flags = admin::parse();
    streamer_gst::heaps::share();
    admin::run("rusticast", play(flags)).await
}

/// Starts the roles in the order in which they need one another, and ends them in the reverse one,
/// so that every goodbye still finds its way.
async fn play(flags: Flags) -> Result<(), Box<dyn Error + Send + Sync>> {
    let signaling = signaling::Server::bind(signaling::Config {
        listen: flags.streamer.signaling,
        data: flags.data,
        users: flags.users,
        auth_calls: flags.auth_calls,
        insecure: flags.streamer.insecure,
        ..Default::default()
    })
    .await?;
    let relay = signaling.addr();
    let streamer = streamer_gst::Server::bind(streamer_gst::Config {
        signaling: relay,
        admin: None,
        ..flags.streamer.clone()
    })
    .await?;
    let front = front::Server::bind(front::Config {
        http: flags.http,
        static_dir: flags.static_dir,
        signaling: relay,
        allow_origins: flags.allow_origins,
        sip_user: flags.streamer.sip_user.clone(),
        sip_password_file: flags.streamer.sip_password_file.clone(),
        insecure: flags.streamer.insecure,
        ..Default::default()
    })
    .await?;
    let all = admin::Together(vec![
        ("signaling", signaling.source()),
        ("streamer", streamer.source()),
        ("front", front.source()),
    ]);
    let token = flags.streamer.admin_token_file.as_deref();
    let admin = admin::Server::open(flags.streamer.admin, token, Arc::new(all)).await?;
    println!("Rusticast plays at {}", front.url());
    if let Some(admin) = &admin {
        println!("Operators look at http://{}/api/state", admin.addr());
    }

    // 1: front and streamer shall end; 2: they have, and the relay follows.
    let (stage, at) = watch::channel(0);
    let raise = |to: u8| stage.send_modify(|now| *now = to.max(*now));
    let reached = |wanted: u8| {
        let mut at = at.clone();
        async move { drop(at.wait_for(|now| *now >= wanted).await) }
    };
    // Whichever role ends, the others end with it.
    let streamer = streamer.run(reached(1)).inspect(|_| raise(1));
    let front = front.run(reached(1)).inspect(|_| raise(1));
    let callers = async { tokio::join!(streamer, front) }.inspect(|_| raise(2));
    let relay = signaling.run(reached(2)).inspect(|_| raise(2));
    let admin = OptionFuture::from(admin.map(|admin| admin.run(reached(2))));
    let asked = async {
        tokio::select! {
            () = admin::stop_requested() => raise(1),
            () = reached(1) => {}
        }
    };
    let ((streamer, front), relay, admin, ()) = tokio::join!(callers, relay, admin, asked);
    streamer?;
    front?;
    admin.transpose()?;
    Ok(relay?)
}
