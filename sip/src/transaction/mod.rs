//! Transactions: one request and what answers it, over a network that loses datagrams
//! (RFC 3261 section 17 with RFC 6026).

mod client;
mod invite_client;
mod invite_server;
mod server;

use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) use client::{Heard, OtherClient};
pub(crate) use invite_client::InviteClient;
pub(crate) use invite_server::InviteServer;
pub(crate) use server::OtherServer;

use crate::header::Name;
use crate::message::Request;
use crate::timer::{Deadlines, Timer};
use crate::transport::{Peer, Transport};

/// How long a stream may take to open before what was to go by it goes by a datagram.
const STREAM_LIMIT: Duration = Duration::from_millis(300);

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// By which transport.
    pub transport: Transport,
    /// What.
    pub payload: Bytes,
}

/// Messages waiting to be sent.
pub(crate) type Outbox = VecDeque<Transmit>;

/// One message and where it goes, sent as often as its transaction asks.
#[derive(Clone, Debug)]
pub(crate) struct Letter(Transmit);

impl Letter {
    pub(crate) fn new(peer: Peer, payload: Bytes) -> Self {
        Letter(Transmit {
            destination: peer.address,
            transport: peer.transport,
            payload,
        })
    }

    pub(crate) fn send(&self, outbox: &mut Outbox) {
        outbox.push_back(self.0.clone());
    }

    /// From now on it goes there.
    pub(crate) fn redirect(&mut self, peer: Peer) {
        (self.0.destination, self.0.transport) = (peer.address, peer.transport);
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer {
            address: self.0.destination,
            transport: self.0.transport,
        }
    }
}

/// How a request of ours goes to its next hop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) peer: Peer,
    /// By a stream first, but datagrams do as well.
    pub(crate) either: bool,
}

/// A request of ours on its way to the next hop.
#[derive(Debug)]
pub(crate) struct Outgoing {
    request: Request,
    letter: Letter,
    either: bool,
}

impl Outgoing {
    /// Sends it, and plans what a lost datagram or a stream that does not open makes necessary.
    pub(crate) fn send(
        now: Instant,
        route: Route,
        request: Request,
        deadlines: &mut Deadlines,
        outbox: &mut Outbox,
    ) -> Self {
        let letter = Letter::new(route.peer, request.to_bytes());
        letter.send(outbox);
        match route.peer.transport {
            Transport::Udp => deadlines.start_retransmissions(now),
            Transport::Tcp if route.either => deadlines.set(Timer::FallBack, now + STREAM_LIMIT),
            Transport::Tcp => {}
        }
        Outgoing {
            request,
            letter,
            either: route.either,
        }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// It has arrived for good, so it is not sent again; its body would be kept for nothing.
    pub(crate) fn arrived(&mut self) {
        self.request.body = Bytes::new();
        self.letter = Letter::new(self.letter.peer(), Bytes::new());
    }

    /// The way of requests that follow it.
    pub(crate) fn route(&self) -> Route {
        Route {
            peer: self.letter.peer(),
            either: self.either,
        }
    }

    /// Sends it once more.
    pub(crate) fn send_again(&self, outbox: &mut Outbox) {
        self.letter.send(outbox);
    }

    /// Sends it by datagram, since its stream is of no use; false when it may not.
    pub(crate) fn fall_back(
        &mut self,
        now: Instant,
        deadlines: &mut Deadlines,
        outbox: &mut Outbox,
    ) -> bool {
        if !std::mem::take(&mut self.either) {
            return false;
        }
        // Only how it travels is another: the branch, by which it is known, stays.
        if let Some(mut via) = self.request.top_via() {
            via.transport = Transport::Udp.as_str().to_owned();
            self.request
                .headers
                .replace_first_value(Name::Via, &via.to_string());
        }
        self.letter = Letter::new(self.letter.peer().address.into(), self.request.to_bytes());
        self.letter.send(outbox);
        deadlines.stop(Timer::FallBack);
        deadlines.start_retransmissions(now);
        true
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
