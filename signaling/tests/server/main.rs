//! The signaling server through its public face, on free ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calls;
mod crash;
mod interop;
mod ladder;
mod losses;
mod program;
mod sngrep;
mod support;
