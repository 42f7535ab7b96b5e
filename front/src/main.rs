//! The program `front`: flags, and one line when ready.

use std::process::ExitCode;

use clap::Parser;
use front::{Config, Error, Server};

/// Serves Rusticast's page to browsers and places their calls through the signaling server
#[derive(Debug, Parser)]
#[command(name = "front", version)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags: Flags = admin::parse();
    admin::run("front", serve(flags.config)).await
}

async fn serve(config: Config) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    let mut ready = format!("front ready: {} sip {}", server.url(), server.sip_addr());
    if let Some(address) = server.admin_addr() {
        ready.push_str(&format!(" admin {address}"));
    }
    println!("{ready}");
    server.run(admin::stop_requested()).await
}
