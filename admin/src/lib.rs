//! The window every role opens for operators, monitoring and tests: one small HTTP server with
//! health, readiness, metrics and the JSON of live objects. Beside it stands what every program
//! does for whoever starts it in a terminal.
//!
//! A role implements [`Source`]; [`Server`] shows it. Numbers exist once, in [`Source::state`]:
//! `/metrics` is derived from that JSON, so the two can never disagree. This crate must not know
//! what the numbers mean: nothing here names a stream, a call or a codec, and it knows no SIP.
//!
//! | Path | Answer |
//! |---|---|
//! | `/health` | 200 as long as the process answers |
//! | `/ready` | 200 when the role can do its work, else 503 |
//! | `/metrics` | numeric leaves of the state, Prometheus text format |
//! | `/api/state` | the state, with `process` added |
//! | any other | a document of the role, if it has one there |
//!
//! With a token, out of a file, all of them want `Authorization: Bearer TOKEN`, except `/health` and
//! `/ready`, which tell nothing worth hiding and stay open for load balancers.

mod metrics;
mod private;
mod process;
mod program;
mod router;
mod server;
mod settings;
mod together;

use std::future::Future;
use std::pin::Pin;

use serde_json::Value;

pub use metrics::{Kind, Metric};
pub use private::private_file;
pub use program::{address, run, stop_requested};
pub use server::{Error, Server};
pub use settings::{SettingsFile, parse};
pub use together::Together;

/// What a role shows of itself.
///
/// All of it is called on each request, from the server's own tasks, and must not block: a role
/// keeps its counters where they can be read without its main task.
pub trait Source: Send + Sync + 'static {
    /// Whether the role can do its work now (registered, bound, first pipeline running…). It may
    /// ask others, for a few seconds at most.
    fn ready(&self) -> Ready<'_>;

    /// The live objects as a JSON object with a string `role`; numbers count what exists at this
    /// moment. The key `process` is reserved: the server puts descriptors, threads and memory
    /// there.
    fn state(&self) -> Value;

    /// What the number at `path` of the state is, such as `streams/viewers`; indexes of arrays
    /// are left out. A number that is not described is a gauge.
    fn describe(&self, path: &str) -> Option<Metric> {
        let _ = path;
        None
    }

    /// What there is at a path beyond those of every role. Percent-encoding has been undone, so a
    /// name in it may hold anything, slashes included. Who asks for plain text is looked for under
    /// the same path with `.txt` at its end first.
    fn document(&self, path: &str) -> Option<Document> {
        let _ = path;
        None
    }
}

/// Something to read that is no number, as [`Source::document`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is, for the header Content-Type.
    pub media_type: &'static str,
    /// Its content.
    pub body: Vec<u8>,
}

/// The answer to [`Source::ready`], once it is known.
pub type Ready<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
