//! The program `streamer-gst`: flags, and one line when ready.

use std::process::ExitCode;

use clap::Parser;
use streamer_gst::{Config, Error, Server};

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
    admin::run("streamer-gst", serve(config)).await
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
