//! The streamer: runs pipelines and gives every viewer a WebRTC connection to them.
//!
//! Only the module `gst` may name GStreamer; everything else is tested without it.

pub mod codec;
pub mod description;
pub mod engine;
pub mod fanout;
pub mod gst;
pub mod limits;
pub mod media;
pub mod offer;
pub mod source;

#[cfg(test)]
mod mutation;
