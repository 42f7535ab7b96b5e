//! The program `signaling`: flags, log, signals, one line when ready.

use std::process::ExitCode;

use clap::Parser;
use signaling::{Config, Error, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Knows which streams there are, and brings callers and streamers together
#[derive(Debug, Parser)]
#[command(name = "signaling", version)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

// One task does nearly all the work: with more threads each datagram would wake two of them.
// Writes to the disk have a thread of their own all the same.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match serve(flags.config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signaling: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    let mut ready = format!("signaling ready: sip {}", server.addr());
    if let Some(address) = server.admin_addr() {
        ready.push_str(&format!(" admin {address}"));
    }
    println!("{ready}");
    server.run(asked_to_stop()).await
}

/// Completes at the first SIGINT or SIGTERM; a second one ends the program at once.
async fn asked_to_stop() {
    either_signal().await;
    tokio::spawn(async {
        either_signal().await;
        std::process::exit(130);
    });
}

async fn either_signal() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}
