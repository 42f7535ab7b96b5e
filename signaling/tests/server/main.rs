//! The signaling server through its public face, on free ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calls;
mod cancels;
mod crash;
mod dialogs;
mod fragments;
mod interop;
mod ladder;
mod losses;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the system tests measure more than these"
)]
#[path = "../../../tests/system/harness/measure.rs"]
mod measure;
mod program;
mod sngrep;
mod support;
