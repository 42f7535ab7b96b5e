//! Transactions: one request and what answers it, over a network that loses datagrams
//! (RFC 3261 section 17 with RFC 6026).

mod client;
mod invite_client;
mod invite_server;
mod server;

use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;

pub(crate) use client::{Heard, OtherClient};
pub(crate) use invite_client::InviteClient;
pub(crate) use invite_server::InviteServer;
pub(crate) use server::OtherServer;

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// What.
    pub payload: Bytes,
}

/// Datagrams waiting to be sent.
pub(crate) type Outbox = VecDeque<Transmit>;

/// One message and where it goes, sent as often as its transaction asks.
#[derive(Clone, Debug)]
pub(crate) struct Letter(Transmit);

impl Letter {
    pub(crate) fn new(destination: SocketAddr, payload: Bytes) -> Self {
        Letter(Transmit {
            destination,
            payload,
        })
    }

    pub(crate) fn send(&self, outbox: &mut Outbox) {
        outbox.push_back(self.0.clone());
    }

    pub(crate) fn destination(&self) -> SocketAddr {
        self.0.destination
    }
}

/// What a deadline did to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// It goes on.
    Goes,
    /// No answer came in time; it goes on only to absorb what is late.
    GaveUp,
    /// It is over and can be forgotten.
    Over,
    /// It is over, and nobody ever acknowledged its 2xx.
    OverUnacknowledged,
}
