//! The streamer: runs pipelines and gives every viewer a WebRTC connection to them.
//!
//! Only the module `gst` may name GStreamer; everything else is tested without it.

pub mod agent;
pub mod codec;
mod config;
pub mod description;
pub mod device;
pub mod drawing;
pub mod engine;
mod error;
pub mod fanout;
pub mod gst;
pub mod heaps;
pub mod limits;
pub mod media;
pub mod offer;
mod server;
pub mod source;
pub mod tools;

#[cfg(test)]
mod mutation;

pub use config::Config;
pub use error::Error;
pub use server::Server;
