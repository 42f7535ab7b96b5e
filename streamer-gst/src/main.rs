//! The program `streamer-gst`: flags, log, signals, one line when ready.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use streamer_gst::{Config, Error, Server};
use tracing_subscriber::EnvFilter;

/// Runs pipeline descriptions and sends each to many browsers
#[derive(Debug, Parser)]
#[command(name = "streamer-gst", version)]
enum Flags {
    /// Run streams and register them with the signaling server
    Run(Config),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Flags::Run(config) = Flags::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("streamer-gst: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    let mut ready = format!("streamer-gst ready: sip {}", server.addr());
    if let Some(address) = server.admin_addr() {
        ready.push_str(&format!(" admin {address}"));
    }
    println!("{ready} streams {}", server.streams().join(","));
    server.run(admin::stop_requested()).await
}
