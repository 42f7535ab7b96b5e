//! The INVITE client transaction (RFC 3261 section 17.1.1, RFC 6026 section 7.2).

use std::time::Instant;

use super::{Expiry, Letter, Outbox, Outgoing, Route};
use crate::header::Name;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::timer::{Deadlines, TRANSACTION_LIMIT, Timer};

/// An INVITE of ours on its way to an answer.
#[derive(Debug)]
pub(crate) struct InviteClient {
    outgoing: Outgoing,
    state: State,
    pub(crate) deadlines: Deadlines,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet; `cancel` waits for a provisional answer (section 9.1).
    Calling { cancel: bool },
    /// A provisional answer came.
    Proceeding { cancelled: bool },
    /// Accepted: retransmitted 2xx still reach the role, which acknowledges each (RFC 6026).
    Accepted,
    /// Refused and acknowledged.
    Completed { ack: Letter },
    /// Given up while the answer was pending; what is late is still handled.
    Abandoned,
}

/// What a response means to the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The role wants to know of it.
    pub(crate) deliver: bool,
    /// A held CANCEL may now be sent.
    pub(crate) cancel: bool,
}

impl InviteClient {
    pub(crate) fn new(now: Instant, route: Route, request: Request, outbox: &mut Outbox) -> Self {
        let mut deadlines = Deadlines::new();
        let outgoing = Outgoing::send(now, route, request, &mut deadlines, outbox);
        deadlines.set(Timer::GiveUp, now + TRANSACTION_LIMIT);
        InviteClient {
            outgoing,
            state: State::Calling { cancel: false },
            deadlines,
        }
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Its stream is of no use; false when it has no other way.
    pub(crate) fn fall_back(&mut self, now: Instant, outbox: &mut Outbox) -> bool {
        match self.state {
            State::Calling { .. } | State::Proceeding { .. } => {
                self.outgoing.fall_back(now, &mut self.deadlines, outbox)
            }
            State::Accepted | State::Completed { .. } | State::Abandoned => true,
        }
    }

    pub(crate) fn handle_response(
        &mut self,
        now: Instant,
        response: &Response,
        outbox: &mut Outbox,
    ) -> Heard {
        let mut heard = Heard {
            deliver: true,
            cancel: false,
        };
        let pending = !matches!(self.state, State::Accepted | State::Completed { .. });
        self.deadlines.stop(Timer::FallBack);
        if response.status.is_provisional() {
            // Timer B goes on: a call is set up within its time, unless a proxy lets it ring.
            self.deadlines.stop(Timer::Retransmit);
            match self.state {
                State::Calling { cancel } => {
                    self.state = State::Proceeding { cancelled: cancel };
                    heard.cancel = cancel;
                }
                State::Proceeding { .. } => {}
                _ => heard.deliver = false,
            }
        } else if response.status.is_success() {
            if pending {
                self.state = State::Accepted;
                self.outgoing.arrived();
                self.deadlines.stop_all();
                self.deadlines.set(Timer::Forget, now + TRANSACTION_LIMIT);
            }
            heard.deliver = !matches!(self.state, State::Completed { .. });
        } else if let State::Completed { ack } = &self.state {
            ack.send(outbox);
            heard.deliver = false;
        } else if pending {
            heard.deliver = !matches!(self.state, State::Abandoned);
            let ack = Letter::new(self.outgoing.route().peer, self.ack(response).to_bytes());
            ack.send(outbox);
            self.state = State::Completed { ack };
            self.deadlines.stop_all();
            self.deadlines.set(Timer::Forget, now + TRANSACTION_LIMIT);
        } else {
            heard.deliver = false;
        }
        heard
    }

    /// It may go on until then, unless it was given up.
    pub(crate) fn keep_ringing(&mut self, until: Instant) {
        if let State::Proceeding { cancelled: false } = self.state {
            self.deadlines.set(Timer::GiveUp, until);
        }
    }

    /// Asks for the call to be given up; true when the CANCEL can go at once.
    pub(crate) fn cancel(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Calling { cancel } => {
                *cancel = true;
                false
            }
            State::Proceeding { cancelled } if !*cancelled => {
                *cancelled = true;
                self.deadlines.set(Timer::GiveUp, now + TRANSACTION_LIMIT);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn handle_timer(
        &mut self,
        now: Instant,
        timer: Timer,
        outbox: &mut Outbox,
    ) -> (Expiry, bool) {
        match timer {
            Timer::Retransmit => {
                self.outgoing.send_again(outbox);
                self.deadlines.back_off(now, None);
                (Expiry::Goes, false)
            }
            Timer::FallBack => {
                self.fall_back(now, outbox);
                (Expiry::Goes, false)
            }
            Timer::GiveUp => {
                let cancel = matches!(self.state, State::Proceeding { cancelled: false });
                self.give_up(now);
                (Expiry::GaveUp, cancel)
            }
            Timer::Forget => (Expiry::Over, false),
        }
    }

    /// Waits no longer.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.state = State::Abandoned;
        self.deadlines.stop_all();
        self.deadlines.set(Timer::Forget, now + TRANSACTION_LIMIT);
    }

    /// The ACK for a refusal goes hop by hop, inside the transaction (section 17.1.1.3).
    fn ack(&self, response: &Response) -> Request {
        let mut ack = self.hop_request(Method::Ack);
        ack.headers.set(Name::To, &response.to().to_string());
        ack
    }

    /// A request that follows the INVITE to its next hop: ACK or CANCEL (section 9.1).
    pub(crate) fn hop_request(&self, method: Method) -> Request {
        let invite = self.outgoing.request();
        let mut request = Request::new(
            method,
            invite.uri.clone(),
            invite.from().clone(),
            invite.to().clone(),
            invite.call_id(),
            invite.cseq().number,
        );
        for route in invite.headers.all(Name::Route) {
            request.headers.push(Name::Route, route);
        }
        if let Some(via) = invite.headers.values(Name::Via).next() {
            request.headers.push_front(Name::Via, via);
        }
        request
    }
}
