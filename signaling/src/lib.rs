//! The signaling server: where streams register and calls find them.
//!
//! One task owns a UDP socket and everything here. It must not know what an SDP body says, what a
//! codec is, or who watches: it relays what it does not understand.

pub mod auth;
mod burst;
pub mod config;
mod date;
mod deadlines;
pub mod directory;
pub mod error;
pub mod ladder;
pub mod rates;
mod refusal;
pub mod registrar;
mod relay;
mod restart;
pub mod role;
pub mod routing;
pub mod server;
pub mod session;
pub mod store;

pub use config::Config;
pub use error::Error;
pub use server::Server;
