//! Why the server does not start, or ends before it was asked to.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One sentence for the person who started the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error("{why}")]
    Config {
        /// One sentence that names the flag.
        why: String,
    },
    /// The file of users cannot be used.
    #[error("--users: {why}")]
    Users {
        /// One sentence that names the file and the line.
        why: String,
    },
    /// The address for SIP is taken, not ours, or not permitted.
    #[error("cannot listen for SIP on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data base can be neither read nor written.
    #[error("cannot keep data in {}: {source}", path.display())]
    Data {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two servers would undo each other's work.
    #[error(
        "{} is in use by another signaling server: choose another with --data",
        path.display()
    )]
    DataInUse {
        /// The file asked for.
        path: PathBuf,
    },
    /// Messages cannot be traced.
    #[error("cannot trace: {source}")]
    Trace {
        /// What the system said.
        source: io::Error,
    },
    /// The capture cannot be begun.
    #[error("cannot capture to {}: {source}", path.display())]
    Capture {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The window for operators cannot be opened.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The socket cannot be read any more.
    #[error("SIP on {address} broke: {source}")]
    Socket {
        /// Our address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}
