//! The operator's other tool: asking a program to end.

use tokio::signal::unix::{SignalKind, signal};

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
