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
//!
//! With a token, `/metrics` and `/api/…` want `Authorization: Bearer TOKEN`; `/health` and
//! `/ready` tell nothing worth hiding and stay open for load balancers.

mod metrics;
mod process;
mod program;
mod router;
mod server;

use serde_json::Value;

pub use program::{run, stop_requested};
pub use server::{Error, Server};

/// What a role shows of itself.
///
/// Both functions are called on each request, from the server's own task: they must be quick and
/// must not block, so a role keeps its counters where they can be read without its main task.
pub trait Source: Send + Sync + 'static {
    /// Whether the role can do its work now (registered, bound, first pipeline running…).
    fn ready(&self) -> bool;

    /// The live objects as a JSON object with a string `role`; numbers count what exists at this
    /// moment. The key `process` is reserved: the server puts descriptors, threads and memory
    /// there.
    fn state(&self) -> Value;
}
