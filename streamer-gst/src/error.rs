//! Why a streamer cannot do its work.

use std::io;
use std::net::SocketAddr;

use crate::media;

/// What a person has to mend before the streamer can run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error("{why}")]
    Config {
        /// One sentence that names the flag.
        why: String,
    },
    /// A description, GStreamer or the system stands in the way.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// An address is taken, not ours, or broke.
    #[error("cannot use {address} for {what}: {source}")]
    Socket {
        /// What it is for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The admin listener cannot start.
    #[error(transparent)]
    Admin(#[from] admin::Error),
}
