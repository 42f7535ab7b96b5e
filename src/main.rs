//! `rusticast`: the three roles in one process, talking SIP over UDP on loopback exactly as they
//! do apart. It has no behaviour of its own: it is what the three programs are, started together.

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

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
        default_value = "127.0.0.1:8080"
    )]
    http: SocketAddr,

    /// Serve the page from this directory instead of the copy inside the program
    #[arg(long = "static", value_name = "DIR", env = "RUSTICAST_STATIC")]
    static_dir: Option<PathBuf>,

    /// File that keeps streamers and calls over a restart
    #[arg(
        long,
        value_name = "FILE",
        env = "RUSTICAST_DATA",
        default_value = "data.xml"
    )]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match play(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rusticast: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the roles in the order in which they need one another, and ends them in the reverse one,
/// so that every goodbye still finds its way.
async fn play(flags: Flags) -> Result<(), Box<dyn Error>> {
    let signaling = signaling::Server::bind(signaling::Config {
        listen: flags.streamer.signaling,
        data: flags.data,
        insecure: flags.streamer.insecure,
        ..Default::default()
    })
    .await?;
    let relay = signaling.addr();
    let streamer = streamer_gst::Server::bind(streamer_gst::Config {
        signaling: relay,
        ..flags.streamer.clone()
    })
    .await?;
    let front = front::Server::bind(front::Config {
        http: flags.http,
        static_dir: flags.static_dir,
        signaling: relay,
        insecure: flags.streamer.insecure,
        ..Default::default()
    })
    .await?;
    println!("Rusticast plays at http://{}", front.addr());

    let (stop, stopped) = watch::channel(false);
    let (hush, hushed) = watch::channel(false);
    let told = |signal: &watch::Receiver<bool>| {
        let mut signal = signal.clone();
        async move {
            // A dropped sender means the end as well.
            let _ = signal.wait_for(|told| *told).await;
        }
    };
    let asked = async {
        tokio::select! {
            () = admin::stop_requested() => {}
            () = told(&stopped) => {}
        }
        stop.send_replace(true);
    };
    // Whichever role ends, the others end with it.
    let streamer = async {
        let ended = streamer.run(told(&stopped)).await;
        stop.send_replace(true);
        ended
    };
    let front = async {
        let ended = front.run(told(&stopped)).await;
        stop.send_replace(true);
        ended
    };
    let callers = async {
        let ended = tokio::join!(streamer, front);
        hush.send_replace(true);
        ended
    };
    let signaling = async {
        let ended = signaling.run(told(&hushed)).await;
        stop.send_replace(true);
        ended
    };
    let ((streamer, front), signaling, ()) = tokio::join!(callers, signaling, asked);
    streamer?;
    front?;
    Ok(signaling?)
}
