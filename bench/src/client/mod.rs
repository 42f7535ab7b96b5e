//! Light WebRTC receivers on str0m, and how they join a server.

pub mod http;
pub mod join;
pub mod mailbox;
pub mod record;
pub mod viewer;
