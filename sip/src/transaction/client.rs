//! The non-INVITE client transaction (RFC 3261 section 17.1.2).

use std::net::SocketAddr;
use std::time::Instant;

use super::{Expiry, Letter, Outbox};
use crate::message::{Request, Response};
use crate::status::StatusCode;
use crate::timer::{Deadlines, T2, T4, TRANSACTION_LIMIT, Timer};

/// A request of ours other than INVITE and ACK.
#[derive(Debug)]
pub(crate) struct OtherClient {
    request: Request,
    letter: Letter,
    state: State,
    pub(crate) deadlines: Deadlines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    /// Over, with this status or none; what comes late is absorbed.
    Completed(Option<StatusCode>),
}

/// What a response is to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// News for the role.
    News,
    /// The same answer once more.
    Again,
    /// Another answer after the final one: not of this transaction, whatever its branch says.
    Stray,
}

impl OtherClient {
    pub(crate) fn new(
        now: Instant,
        destination: SocketAddr,
        request: Request,
        outbox: &mut Outbox,
    ) -> Self {
        let letter = Letter::new(destination, request.to_bytes());
        letter.send(outbox);
        let mut deadlines = Deadlines::new();
        deadlines.start_retransmissions(now);
        deadlines.set(Timer::GiveUp, now + TRANSACTION_LIMIT);
        OtherClient {
            request,
            letter,
            state: State::Trying,
            deadlines,
        }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn handle_response(&mut self, now: Instant, response: &Response) -> Heard {
        if let State::Completed(first) = self.state {
            let same = first.is_none_or(|first| first == response.status);
            return if same || response.status.is_provisional() {
                Heard::Again
            } else {
                Heard::Stray
            };
        }
        if response.status.is_provisional() {
            self.state = State::Proceeding;
        } else {
            self.state = State::Completed(Some(response.status));
            self.deadlines.stop_all();
            self.deadlines.set(Timer::Forget, now + T4);
        }
        Heard::News
    }

    pub(crate) fn handle_timer(
        &mut self,
        now: Instant,
        timer: Timer,
        outbox: &mut Outbox,
    ) -> Expiry {
        match timer {
            Timer::Retransmit => {
                self.letter.send(outbox);
                match self.state {
                    State::Proceeding => self.deadlines.set(Timer::Retransmit, now + T2),
                    _ => self.deadlines.back_off(now, Some(T2)),
                }
                Expiry::Goes
            }
            Timer::GiveUp => {
                self.state = State::Completed(None);
                self.deadlines.stop_all();
                self.deadlines.set(Timer::Forget, now + T4);
                Expiry::GaveUp
            }
            Timer::Forget => Expiry::Over,
        }
    }
}
