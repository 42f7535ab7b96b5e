//! Requests on their way through: each one that came is paired with the one that was sent on.
//!
//! Events of the endpoint go in; answers and further requests come out of the same endpoint. A
//! call that its streamer does not take up is offered to the next one; a branch that is given up
//! and accepted all the same is hung up from here.

mod offer;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sip::table::shrink;
use sip::timer::{TIMER_C, TRANSACTION_LIMIT};
use sip::{
    ClientId, Dialog, Endpoint, Failure, Method, Name, Peer, Reason, Request, Response, ServerId,
    StatusCode,
};
use tracing::{debug, info};

use crate::deadlines::Deadlines;
use crate::refusal::Refusal;
use crate::registrar::{Absence, BindingId, Registrar};
use crate::routing::{self, Own};
use crate::session::{Direction, MAX_SESSIONS, Sessions};

/// How long a streamer may send nothing, not even 100, before the next one of its stream is
/// tried.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(2);
/// How long a request for a stream may go unanswered; once it rings somewhere, [`TIMER_C`]. A little less than the 32 s after which its
/// caller gives up by itself, so that the caller learns from our 408 whose silence it was.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The endpoint forgets an accepted INVITE after 32 s; then its pair can be forgotten as well.
const SETTLED: Duration = TRANSACTION_LIMIT.saturating_add(Duration::from_secs(1));

/// Second answers to one INVITE that are hung up; who sends more is not answered.
const MAX_SECONDS: usize = 8;

/// What the relay works with at one moment.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) endpoint: &'a mut Endpoint,
    pub(crate) registrar: &'a mut Registrar,
    pub(crate) sessions: &'a mut Sessions,
}

/// Every request in flight.
#[derive(Debug)]
pub(crate) struct Relay {
    own: Own,
    forwards: HashMap<ServerId, Forward>,
    /// INVITEs that have their 2xx, which may come again.
    accepted: HashMap<ServerId, Accepted>,
    branches: HashMap<ClientId, ServerId>,
    /// The tags of the calls that were hung up from here, by branch.
    hung_up: HashMap<ClientId, Vec<String>>,
    deadlines: Deadlines<Deadline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Deadline {
    /// The streamer has sent nothing for [`SILENCE_LIMIT`].
    Silence(ClientId),
    /// No streamer has answered.
    Answer(ServerId),
    /// The pair of an accepted INVITE is no longer needed.
    Settled(ServerId),
    /// A branch that was hung up from here sends no more 2xx.
    HungUp(ClientId),
}

/// A request that was passed on and has no final answer yet.
#[derive(Debug)]
struct Forward {
    /// As it came, so that it can be passed on once more.
    request: Request,
    /// Where requests towards its sender go.
    from: Peer,
    kind: Kind,
    /// Its stream had ended, so it was sent to the address of its Contact.
    direct: bool,
    branch: ClientId,
    /// The streamer it waits for, unless it is within a call.
    binding: Option<BindingId>,
    /// Those that are asked next.
    others: VecDeque<BindingId>,
}

/// What is left of an accepted INVITE: it was passed on as a whole, and will not be once more.
#[derive(Debug)]
struct Accepted {
    call_id: String,
    kind: Kind,
    branch: ClientId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An INVITE that starts a call.
    Call,
    /// Something else for a stream.
    Stream,
    /// A request within a call.
    Within,
}

impl Relay {
    pub(crate) fn new(own: Own) -> Self {
        Relay {
            own,
            forwards: HashMap::new(),
            accepted: HashMap::new(),
            branches: HashMap::new(),
            hung_up: HashMap::new(),
            deadlines: Deadlines::new(),
        }
    }

    /// INVITEs that start a call and have no final answer yet.
    pub(crate) fn pending_calls(&self) -> usize {
        let calls = self.forwards.values();
        calls.filter(|forward| forward.kind == Kind::Call).count()
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let empty = self.forwards.is_empty() && self.accepted.is_empty();
        empty && self.branches.is_empty() && self.hung_up.is_empty() && self.deadlines.len() == 0
    }

    /// A request for a stream, outside any call.
    pub(crate) fn for_stream(
        &mut self,
        context: &mut Context<'_>,
        id: ServerId,
        request: &Request,
        source: Peer,
    ) -> Result<(), Refusal> {
        routing::hops_left(request)?;
        let stream = request.uri.user.clone().unwrap_or_default();
        let kind = match request.method {
            Method::Invite => Kind::Call,
            _ => Kind::Stream,
        };
        let targets = context
            .registrar
            .targets(&stream)
            .map_err(|absence| match absence {
                Absence::Unknown => Refusal::because(StatusCode::NOT_FOUND, "No such stream"),
                Absence::Departed => {
                    Refusal::because(StatusCode::TEMPORARILY_UNAVAILABLE, "Stream is offline")
                }
            })?;
        let front = routing::caller_address(&self.own, request, source);
        if kind == Kind::Call {
            if context.sessions.is_taken(request.call_id()) {
                return Err(Refusal::new(StatusCode::LOOP_DETECTED));
            }
            if context.sessions.len() >= MAX_SESSIONS {
                return Err(Refusal::overload("Too many calls"));
            }
            context.sessions.begin(request, &stream, front);
        }
        self.deadlines
            .set(Deadline::Answer(id), context.now + ANSWER_LIMIT);
        self.offer(context, id, request.clone(), front, kind, targets.into());
        Ok(())
    }

    /// Ends a request in flight; what is left is to answer its sender.
    fn take(&mut self, id: ServerId) -> Option<Forward> {
        self.deadlines.clear(&Deadline::Answer(id));
        self.forwards.remove(&id)
    }

    /// A request within a call.
    pub(crate) fn within(
        &mut self,
        context: &mut Context<'_>,
        id: ServerId,
        request: &Request,
    ) -> Result<(), Refusal> {
        let Some((direction, session)) = context.sessions.find(request) else {
            return Err(Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        };
        let address = session.address(direction);
        let from = session.address(direction.back());
        let target = session.target(direction);
        let mut prepared = self.own.prepare(request, from, address)?;
        if self.own.is(&prepared.uri) {
            // From an agent that does not copy Record-Route and takes us for the other side.
            prepared.uri = target;
        }
        if request.method == Method::Bye {
            let side = match direction {
                Direction::ToStreamer => "front",
                Direction::ToFront => "streamer",
            };
            info!(call_id = request.call_id(), "hung up by {side}");
            context.sessions.remove(request.call_id());
        }
        let branch = context.endpoint.request(context.now, address, prepared);
        self.branches.insert(branch, id);
        let forward = Forward {
            request: request.clone(),
            from,
            kind: Kind::Within,
            direct: false,
            branch,
            binding: None,
            others: VecDeque::new(),
        };
        self.forwards.insert(id, forward);
        Ok(())
    }

    /// The ACK of a 2xx goes on without a transaction; there is nobody to tell when it cannot.
    pub(crate) fn ack(&mut self, context: &mut Context<'_>, request: &Request) {
        let Some((direction, session)) = context.sessions.find(request) else {
            debug!(call_id = request.call_id(), "ACK of no call");
            return;
        };
        let prepared = self.own.check_loop(request);
        let (address, from) = (
            session.address(direction),
            session.address(direction.back()),
        );
        let prepared = prepared.and_then(|()| self.own.prepare(request, from, address));
        let Ok(mut prepared) = prepared else {
            return;
        };
        if self.own.is(&prepared.uri) {
            prepared.uri = session.target(direction);
        }
        context.sessions.acknowledged(address, prepared.clone());
        context.endpoint.send_request(address, prepared);
    }

    /// The caller gave up a pending INVITE.
    pub(crate) fn cancel(&mut self, context: &mut Context<'_>, id: ServerId) {
        if let Some(forward) = self.take(id) {
            let status = StatusCode::REQUEST_TERMINATED;
            self.abandon(context, id, &forward, &Refusal::new(status));
        }
    }

    /// Ends a pending request from here.
    fn abandon(
        &mut self,
        context: &mut Context<'_>,
        id: ServerId,
        forward: &Forward,
        refusal: &Refusal,
    ) {
        self.retire(context, forward.branch);
        refuse(context, id, &forward.request, forward.kind, refusal);
    }

    /// Gives up a branch. When it is accepted all the same, [`Relay::response`] finds nobody
    /// waiting and hangs it up.
    fn retire(&mut self, context: &mut Context<'_>, branch: ClientId) {
        context.endpoint.cancel(context.now, branch);
        self.branches.remove(&branch);
        self.deadlines.clear(&Deadline::Silence(branch));
    }

    /// An answer came.
    pub(crate) fn response(
        &mut self,
        context: &mut Context<'_>,
        branch: ClientId,
        response: Response,
        source: Peer,
    ) {
        let status = response.status;
        let Some(&id) = self.branches.get(&branch) else {
            if status.is_success() && response.cseq().method == Method::Invite {
                self.hang_up(context, branch, &response, source);
            }
            return;
        };
        self.deadlines.clear(&Deadline::Silence(branch));
        if let Some(binding) = self.forwards.get(&id).and_then(|it| it.binding) {
            context.registrar.mark_answering(binding);
        }
        if status == StatusCode::TRYING {
            return;
        }
        if status.is_success() && response.cseq().method == Method::Invite {
            return self.accept(context, id, branch, response, source);
        }
        let Some(forward) = self.forwards.get(&id) else {
            return;
        };
        if status.is_provisional() {
            if response.cseq().method == Method::Invite {
                // Ours ends first, and says why.
                let limit = TIMER_C + TRANSACTION_LIMIT;
                context.endpoint.keep_ringing(context.now, branch, limit);
            }
            if forward.kind == Kind::Call {
                self.deadlines
                    .set(Deadline::Answer(id), context.now + TIMER_C);
                context.sessions.answered(context.now, &response, None);
            }
            context.endpoint.respond(context.now, id, response);
        } else {
            let busy = [StatusCode::BUSY_HERE, StatusCode::SERVICE_UNAVAILABLE];
            if busy.contains(&status) && self.offer_next(context, id) {
                return;
            }
            self.branches.remove(&branch);
            if let Some(forward) = self.take(id) {
                if forward.kind == Kind::Call {
                    info!(call_id = response.call_id(), %status, "call refused");
                    context.sessions.remove(response.call_id());
                }
            }
            context.endpoint.respond(context.now, id, response);
        }
    }

    /// A 2xx to an INVITE came, for the first time or again.
    fn accept(
        &mut self,
        context: &mut Context<'_>,
        id: ServerId,
        branch: ClientId,
        response: Response,
        source: Peer,
    ) {
        let before = self.accepted.get(&id).map(|accepted| accepted.kind);
        let pending = self.forwards.get(&id).map(|forward| forward.kind);
        let Some(kind) = before.or(pending) else {
            return;
        };
        if context.sessions.is_second(&response) && kind == Kind::Call {
            return self.hang_up(context, branch, &response, source);
        }
        // It comes again, so the ACK that passed was lost behind us. A datagram may arrive twice,
        // so sending the same ACK once more harms nobody, and it has the shorter way.
        if let Some((address, ack)) = context.sessions.ack(&response) {
            context.endpoint.send_request(address, ack);
        }
        let call_id = response.call_id();
        if self.take(id).is_some() {
            let accepted = Accepted {
                call_id: call_id.to_owned(),
                kind,
                branch,
            };
            self.accepted.insert(id, accepted);
            self.deadlines
                .set(Deadline::Settled(id), context.now + SETTLED);
            if kind == Kind::Call {
                info!(call_id, status = %response.status, "call accepted");
            }
        }
        if kind == Kind::Call {
            let hop = self.own.hop_above(&response, source);
            context.sessions.answered(context.now, &response, hop);
        }
        context.endpoint.respond(context.now, id, response);
    }

    /// A request that was passed on has no answer.
    pub(crate) fn failed(&mut self, context: &mut Context<'_>, branch: ClientId, why: Failure) {
        let Some(&id) = self.branches.get(&branch) else {
            return;
        };
        if why == Failure::Unreachable {
            if self.offer_directly(context, id) {
                return;
            }
            if let Some(binding) = self.forwards.get(&id).and_then(|it| it.binding) {
                context.registrar.mark_unreachable(context.now, binding);
            }
        }
        if why != Failure::TooLarge && self.offer_next(context, id) {
            return;
        }
        self.branches.remove(&branch);
        self.deadlines.clear(&Deadline::Silence(branch));
        if let Some(forward) = self.take(id) {
            let refusal = match why {
                Failure::Timeout => no_answer(),
                Failure::TooLarge => Refusal::new(StatusCode::MESSAGE_TOO_LARGE),
                Failure::Unreachable => Refusal::new(StatusCode::TEMPORARILY_UNAVAILABLE),
            };
            refuse(context, id, &forward.request, forward.kind, &refusal);
        }
    }

    /// A branch that nobody waits for was accepted, or a second one of a call: acknowledge each
    /// of its 2xx, and hang up.
    fn hang_up(
        &mut self,
        context: &mut Context<'_>,
        branch: ClientId,
        response: &Response,
        source: Peer,
    ) {
        let Some(invite) = context.endpoint.client_request(branch) else {
            return;
        };
        let tag = response.to().tag().unwrap_or_default();
        let seen = self.hung_up.entry(branch).or_default();
        let known = seen.iter().any(|seen| seen == tag);
        if !known {
            if seen.len() == MAX_SECONDS {
                return;
            }
            seen.push(tag.to_owned());
        }
        let mut dialog = Dialog::uac(invite, response);
        let mut ack = dialog.ack();
        self.own.strip_routes(&mut ack);
        context.endpoint.send_request(source, ack);
        if !known {
            info!(
                call_id = response.call_id(),
                "hung up, nobody waits for it any more"
            );
            let mut bye = dialog.request(Method::Bye);
            self.own.strip_routes(&mut bye);
            let status = StatusCode::REQUEST_TERMINATED;
            let reason = Reason::new(status.code(), status.reason());
            bye.headers.push(Name::Reason, &reason.to_string());
            context.endpoint.request(context.now, source, bye);
            self.deadlines
                .set(Deadline::HungUp(branch), context.now + SETTLED);
        }
    }

    /// Refuses every call that is not answered yet: the server ends.
    pub(crate) fn refuse_pending(&mut self, context: &mut Context<'_>) {
        let calls = self.forwards.iter();
        let calls = calls.filter(|(_, forward)| forward.kind == Kind::Call);
        let pending: Vec<ServerId> = calls.map(|(id, _)| *id).collect();
        for id in pending {
            if let Some(forward) = self.take(id) {
                self.abandon(
                    context,
                    id,
                    &forward,
                    &Refusal::overload("Server is ending"),
                );
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(crate) fn handle_timeout(&mut self, context: &mut Context<'_>) {
        while let Some(deadline) = self.deadlines.pop_due(context.now) {
            match deadline {
                Deadline::Silence(branch) => {
                    let Some(&id) = self.branches.get(&branch) else {
                        continue;
                    };
                    if let Some(binding) = self.forwards.get(&id).and_then(|it| it.binding) {
                        context.registrar.mark_silent(context.now, binding);
                    }
                    self.offer_next(context, id);
                }
                // The deadline goes with the first final answer: there has been none.
                Deadline::Answer(id) => {
                    if let Some(forward) = self.take(id) {
                        self.abandon(context, id, &forward, &no_answer());
                    }
                }
                Deadline::Settled(id) => {
                    if let Some(accepted) = self.accepted.remove(&id) {
                        self.branches.remove(&accepted.branch);
                        context.sessions.settle(&accepted.call_id);
                    }
                    shrink(&mut self.accepted);
                    shrink(&mut self.branches);
                }
                Deadline::HungUp(branch) => {
                    self.hung_up.remove(&branch);
                }
            }
        }
    }
}

fn no_answer() -> Refusal {
    Refusal::because(StatusCode::REQUEST_TIMEOUT, "Streamer does not answer")
}

/// Answers the sender of a request that is no longer in flight.
fn refuse(
    context: &mut Context<'_>,
    id: ServerId,
    request: &Request,
    kind: Kind,
    refusal: &Refusal,
) {
    if kind == Kind::Call {
        let (call_id, status) = (request.call_id(), refusal.status);
        match status {
            StatusCode::REQUEST_TERMINATED => info!(call_id, "call cancelled by front"),
            _ => info!(call_id, %status, "call refused"),
        }
        context.sessions.remove(call_id);
    }
    context
        .endpoint
        .respond(context.now, id, refusal.response(request));
}
