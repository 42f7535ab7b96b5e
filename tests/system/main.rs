//! System tests: the three programs as separate processes, real browsers, a lossy hop between.
//!
//! One test program with a module per theme, so that all of it runs in parallel. `./dev test`
//! runs it in a network of its own; by hand, any machine with an address besides loopback will
//! do: `cargo build --workspace && cargo test --test system`.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test program"
)]
#![allow(clippy::unwrap_used, reason = "a step that fails must fail the test")]

mod baresip;
mod cancel;
mod cards;
mod descriptions;
mod endings;
mod failover;
mod floods;
mod harness;
mod ipv6;
mod isolation;
mod kamailio;
mod latency;
mod loss;
#[path = "../../streamer-gst/src/mutation.rs"]
mod mutation;
mod offers;
mod playing;
mod profile;
mod programs;
mod rate;
mod restart;
mod selftest;
mod sessions;
mod sources;
mod swap;

mod users;
mod wire;
