//! The non-INVITE client transaction (RFC 3261 section 17.1.2).

use std::time::Instant;

use super::{Expiry, Outbox, Outgoing, Route};
use crate::message::{Request, Response};
use crate::status::StatusCode;
use crate::timer::{Deadlines, T2, T4, TRANSACTION_LIMIT, Timer};

/// A request of ours other than INVITE and ACK.
#[derive(Debug)]
pub(crate) struct OtherClient {
    outgoing: Outgoing,
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
    pub(crate) fn new(now: Instant, route: Route, request: Request, outbox: &mut Outbox) -> Self {
        let mut deadlines = Deadlines::new();
        let outgoing = Outgoing::send(now, route, request, &mut deadlines, outbox);
        deadlines.set(Timer::GiveUp, now + TRANSACTION_LIMIT);
        OtherClient {
            outgoing,
            state: State::Trying,
            deadlines,
        }
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Its stream is of no use; false when it has no other way.
    pub(crate) fn fall_back(&mut self, now: Instant, outbox: &mut Outbox) -> bool {
        let over = matches!(self.state, State::Completed(_));
        over || self.outgoing.fall_back(now, &mut self.deadlines, outbox)
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
        self.deadlines.stop(Timer::FallBack);
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
                self.outgoing.send_again(outbox);
                match self.state {
                    State::Proceeding => self.deadlines.set(Timer::Retransmit, now + T2),
                    _ => self.deadlines.back_off(now, Some(T2)),
                }
                Expiry::Goes
            }
            Timer::FallBack => {
                self.fall_back(now, outbox);
                Expiry::Goes
            }
            Timer::GiveUp => {
                self.give_up(now);
                Expiry::GaveUp
            }
            Timer::Forget => Expiry::Over,
        }
    }

    /// Waits no longer.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.state = State::Completed(None);
        self.deadlines.stop_all();
        self.deadlines.set(Timer::Forget, now + T4);
    }
}
