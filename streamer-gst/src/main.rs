//! The program `streamer-gst`: flags, and one line when ready; or one of the tools.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use streamer_gst::{Config, Error, Server, heaps, tools};

/// Runs pipeline descriptions and sends each to many browsers
#[derive(Debug, Parser)]
#[command(name = "streamer-gst", version)]
enum Flags {
    /// Run streams and register them with the signaling server
    Run(Box<Config>),
    Check(tools::Check),
    Export(tools::Export),
    Import(tools::Import),
    Graph(tools::Graph),
    Devices(tools::Devices),
    Doctor(Box<tools::Doctor>),
    Completions(tools::Completions),
    Man(tools::Man),
}

#[tokio::main]
async fn main() -> ExitCode {
    match admin::parse() {
        Flags::Run(config) => {
            heaps::share();
            admin::run("streamer-gst", serve(*config)).await
        }
        Flags::Check(tool) => tool.run(),
        Flags::Export(tool) => tool.run(),
        Flags::Import(tool) => tool.run(),
        Flags::Graph(tool) => tool.run(),
        Flags::Devices(tool) => tool.run(),
        Flags::Doctor(tool) => tool.run(),
        Flags::Completions(tool) => tool.run(Flags::command()),
        Flags::Man(tool) => tool.run(Flags::command()),
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
