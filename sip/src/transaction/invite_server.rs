//! The INVITE server transaction (RFC 3261 section 17.2.1, RFC 6026 section 7.1).

use std::time::Instant;

use super::{Expiry, Letter, Outbox};
use crate::message::{Request, Response};
use crate::status::StatusCode;
use crate::timer::{Deadlines, T2, T4, TIMER_C, TRANSACTION_LIMIT, Timer};
use crate::transport::{Peer, Transport};

/// An INVITE that came to us.
#[derive(Debug)]
pub(crate) struct InviteServer {
    peer: Peer,
    state: State,
    pub(crate) deadlines: Deadlines,
}

#[derive(Debug)]
enum State {
    /// The role has not decided; `last` is the newest provisional answer, sent or not.
    Proceeding {
        request: Box<Request>,
        last: Letter,
        sent: bool,
    },
    /// Accepted. A user agent's 2xx is sent again until its ACK comes; a relay's is sent again
    /// by whoever made it.
    Accepted { unacknowledged: Option<Letter> },
    /// Refused, sent again until its ACK comes.
    Completed { last: Letter },
    /// Refused and acknowledged.
    Confirmed,
}

impl InviteServer {
    /// Starts without a word; see [`InviteServer::say_trying`].
    pub(crate) fn new(now: Instant, request: Request, peer: Peer, trying: &Response) -> Self {
        let last = Letter::new(peer, trying.to_bytes());
        let mut deadlines = Deadlines::new();
        // Whoever asked has given up by then: a role that never answers leaks nothing.
        deadlines.set(Timer::GiveUp, now + TRANSACTION_LIMIT * 2);
        InviteServer {
            peer,
            state: State::Proceeding {
                request: Box::new(request),
                last,
                sent: false,
            },
            deadlines,
        }
    }

    /// The INVITE, until its final answer.
    pub(crate) fn request(&self) -> Option<&Request> {
        match &self.state {
            State::Proceeding { request, .. } => Some(request),
            State::Accepted { .. } | State::Completed { .. } | State::Confirmed => None,
        }
    }

    /// True while nothing was sent.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.state, State::Proceeding { sent: false, .. })
    }

    /// Stops the sender's retransmissions while the role decides, if it has not answered.
    pub(crate) fn say_trying(&mut self, outbox: &mut Outbox) {
        if let State::Proceeding { last, sent, .. } = &mut self.state {
            if !std::mem::replace(sent, true) {
                last.send(outbox);
            }
        }
    }

    /// True while the role has not given a final answer.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// Where its answers go.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The INVITE came once more, and perhaps another way.
    pub(crate) fn handle_retransmission(&mut self, peer: Peer, outbox: &mut Outbox) {
        self.peer = peer;
        match &mut self.state {
            State::Proceeding { last, .. } | State::Completed { last } => {
                last.redirect(peer);
                last.send(outbox);
            }
            State::Accepted { unacknowledged } => {
                if let Some(letter) = unacknowledged {
                    letter.redirect(peer);
                }
            }
            State::Confirmed => {}
        }
    }

    /// Sends an answer; false when the state has no room for it.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        response: &Response,
        until_acknowledged: bool,
        outbox: &mut Outbox,
    ) -> bool {
        let letter = Letter::new(self.peer, response.to_bytes());
        let success = response.status.is_success();
        match &mut self.state {
            State::Proceeding { last, sent, .. } if response.status.is_provisional() => {
                letter.send(outbox);
                (*last, *sent) = (letter, true);
                if response.status != StatusCode::TRYING {
                    let ringing = TIMER_C + TRANSACTION_LIMIT;
                    self.deadlines.set(Timer::GiveUp, now + ringing);
                }
            }
            State::Proceeding { .. } if success => {
                letter.send(outbox);
                self.deadlines.stop(Timer::GiveUp);
                if until_acknowledged {
                    self.deadlines.start_retransmissions(now);
                }
                self.deadlines.set(Timer::Forget, now + TRANSACTION_LIMIT);
                self.state = State::Accepted {
                    unacknowledged: until_acknowledged.then_some(letter),
                };
            }
            State::Proceeding { .. } => {
                letter.send(outbox);
                // Timer G (section 17.2.1).
                if self.peer.transport == Transport::Udp {
                    self.deadlines.start_retransmissions(now);
                }
                self.deadlines.set(Timer::GiveUp, now + TRANSACTION_LIMIT);
                self.state = State::Completed { last: letter };
            }
            State::Accepted { .. } if success => letter.send(outbox),
            _ => return false,
        }
        true
    }

    /// An ACK of this transaction: of a refusal. True when it was ours to absorb.
    pub(crate) fn handle_ack(&mut self, now: Instant) -> bool {
        match self.state {
            State::Completed { .. } => {
                self.deadlines.stop_all();
                self.deadlines.set(Timer::Forget, now + T4);
                self.state = State::Confirmed;
                true
            }
            State::Confirmed => true,
            State::Proceeding { .. } | State::Accepted { .. } => false,
        }
    }

    /// The end-to-end ACK of our 2xx came.
    pub(crate) fn acknowledge(&mut self) {
        if let State::Accepted { unacknowledged } = &mut self.state {
            *unacknowledged = None;
            self.deadlines.stop(Timer::Retransmit);
        }
    }

    pub(crate) fn handle_timer(
        &mut self,
        now: Instant,
        timer: Timer,
        outbox: &mut Outbox,
    ) -> Expiry {
        match (timer, &self.state) {
            (
                Timer::Retransmit,
                State::Completed { last }
                | State::Accepted {
                    unacknowledged: Some(last),
                },
            ) => {
                last.send(outbox);
                self.deadlines.back_off(now, Some(T2));
                Expiry::Goes
            }
            (Timer::Retransmit | Timer::FallBack, _) => Expiry::Goes,
            (
                Timer::Forget,
                State::Accepted {
                    unacknowledged: Some(_),
                },
            ) => Expiry::OverUnacknowledged,
            (Timer::GiveUp | Timer::Forget, _) => Expiry::Over,
        }
    }
}
