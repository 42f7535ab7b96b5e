//! What every program does for whoever runs it: its log, its last words, and how it is told to
//! end.

use std::fmt::Display;
use std::future::Future;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs the work of the program `name`: logs go to standard error, filtered by `RUST_LOG`
/// (default `info`), in colour on a terminal. An error is the last line there.
pub async fn run<E: Display + Send + 'static>(
    name: &str,
    work: impl Future<Output = Result<(), E>> + Send + 'static,
) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // On one of the runtime's workers, which wait for sockets themselves; the main thread is woken
    // by one of them for each datagram.
    let done = tokio::spawn(work).await;
    match done.unwrap_or_else(|error| resume_unwind(error.into_panic())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a flag's address and port. `localhost` is the one name that needs no name server.
///
/// # Errors
///
/// One clause on what to write instead.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:");
    if let Some(port) = local.and_then(|port| port.parse().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse()
        .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

/// Exit status of a program that was told a second time: 128 + SIGINT, as shells have it.
const IMPATIENT: i32 = 130;

/// Completes at the first SIGINT or SIGTERM; from then on a second one ends the process at once.
/// Every role's `run` takes this as its shutdown.
pub async fn stop_requested() {
    either_signal().await;
    tokio::spawn(async {
        either_signal().await;
        std::process::exit(IMPATIENT);
    });
}

async fn either_signal() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals; only SIGKILL will end this");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_are_numbers_or_localhost() {
        for (text, address) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(super::address(text).unwrap().to_string(), address);
        }
        for text in [
            "example.org:80",
            "127.0.0.1",
            "localhost",
            "localhost:x",
            "::1",
        ] {
            assert!(super::address(text).unwrap_err().contains("such as"));
        }
    }
}
