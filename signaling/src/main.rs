//! The program `signaling`: flags, and one line when ready.

use std::process::ExitCode;

use clap::Parser;
use signaling::{Config, Error, Server};

/// Gives memory back after a burst of calls, of which the C library keeps most.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Knows which streams there are, and brings callers and streamers together
#[derive(Debug, Parser)]
#[command(name = "signaling", version)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags: Flags = admin::parse();
    admin::run("signaling", serve(flags.config)).await
}

async fn serve(config: Config) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    let mut ready = format!("signaling ready: sip {}", server.addr());
    if let Some(address) = server.admin_addr() {
        ready.push_str(&format!(" admin {address}"));
    }
    println!("{ready}");
    server.run(admin::stop_requested()).await
}
