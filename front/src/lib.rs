//! Front: the HTTP side of Rusticast.
//!
//! Browsers come here for the page, the list of streams and their calls; each offer becomes a SIP
//! INVITE towards the signaling server, each end a BYE or a CANCEL. Front must not know how
//! streams are made, and never reads an SDP: it carries text between HTTP and SIP.
//!
//! A [`Server`] has one task that owns the SIP socket (`call`) and one per HTTP connection
//! (`http`); they speak through a bounded channel.

mod call;
mod config;
mod error;
mod http;
mod secret;
mod server;
mod users;

pub use config::{Config, Limits};
pub use error::{Error, Problem};
pub use server::Server;
