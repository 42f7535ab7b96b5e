//! The program `front`: flags, log, signals, one line when ready.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use front::{Config, Error, Server};
use tracing_subscriber::EnvFilter;

/// Serves Rusticast's page to browsers and places their calls through the signaling server
#[derive(Debug, Parser)]
#[command(name = "front", version)]
struct Flags {
    #[command(flatten)]
    config: Config,
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
    match serve(flags.config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("front: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    let mut ready = format!(
        "front ready: http://{} sip {}",
        server.addr(),
        server.sip_addr()
    );
    if let Some(address) = server.admin_addr() {
        ready.push_str(&format!(" admin {address}"));
    }
    println!("{ready}");
    server.run(admin::stop_requested()).await
}
