//! The non-INVITE server transaction (RFC 3261 section 17.2.2).

use std::time::Instant;

use super::{Letter, Outbox};
use crate::message::{Request, Response};
use crate::timer::{Deadlines, TRANSACTION_LIMIT, Timer};
use crate::transport::Peer;

/// A request other than INVITE and ACK that came to us.
#[derive(Debug)]
pub(crate) struct OtherServer {
    peer: Peer,
    state: State,
    pub(crate) deadlines: Deadlines,
}

#[derive(Debug)]
enum State {
    Trying { request: Box<Request> },
    Proceeding { request: Box<Request>, last: Letter },
    Completed { last: Letter },
}

impl OtherServer {
    pub(crate) fn new(now: Instant, request: Request, peer: Peer) -> Self {
        let mut deadlines = Deadlines::new();
        // Whoever asked has given up by then: a role that never answers leaks nothing.
        deadlines.set(Timer::Forget, now + TRANSACTION_LIMIT * 2);
        OtherServer {
            peer,
            state: State::Trying {
                request: Box::new(request),
            },
            deadlines,
        }
    }

    /// The request, until its final answer.
    pub(crate) fn request(&self) -> Option<&Request> {
        match &self.state {
            State::Trying { request } | State::Proceeding { request, .. } => Some(request),
            State::Completed { .. } => None,
        }
    }

    /// Where its answers go.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The request came once more, and perhaps another way.
    pub(crate) fn handle_retransmission(&mut self, peer: Peer, outbox: &mut Outbox) {
        self.peer = peer;
        match &mut self.state {
            State::Trying { .. } => {}
            State::Proceeding { last, .. } | State::Completed { last } => {
                last.redirect(peer);
                last.send(outbox);
            }
        }
    }

    /// Sends an answer; false when the final one has been sent before.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        response: &Response,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(request) = self.request() else {
            return false;
        };
        let last = Letter::new(self.peer, response.to_bytes());
        last.send(outbox);
        self.state = if response.status.is_provisional() {
            let request = Box::new(request.clone());
            State::Proceeding { request, last }
        } else {
            self.deadlines.set(Timer::Forget, now + TRANSACTION_LIMIT);
            State::Completed { last }
        };
        true
    }
}
