//! The signaling server: where streams register and calls find them.
pub mod directory;
pub mod store;
