//! To whom a request goes: the first streamer, the next one, or the same one another way.

use super::*;

impl Relay {
    /// Sends a request to the first of these streamers that is still there; without one its
    /// sender is told.
    pub(super) fn offer(
        &mut self,
        context: &mut Context<'_>,
        id: ServerId,
        request: Request,
        from: Peer,
        kind: Kind,
        mut targets: VecDeque<BindingId>,
    ) {
        let binding = loop {
            let Some(target) = targets.pop_front() else {
                self.deadlines.clear(&Deadline::Answer(id));
                let gone = Refusal::new(StatusCode::TEMPORARILY_UNAVAILABLE);
                return refuse(context, id, &request, kind, &gone);
            };
            if let Some(binding) = context.registrar.get(target) {
                break binding;
            }
        };
        let to = binding.record.address;
        let mut prepared = match self.own.prepare(&request, from, to) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                self.deadlines.clear(&Deadline::Answer(id));
                return refuse(context, id, &request, kind, &refusal);
            }
        };
        routing::address_to(&mut prepared, binding);
        let (target, address) = (binding.id, binding.record.address);
        if kind == Kind::Call {
            let call_id = request.call_id();
            info!(call_id, stream = binding.record.name, streamer = %address, "call");
            context
                .sessions
                .place(call_id, target, address, &binding.contact);
            context.registrar.place(target);
        }
        let branch = context.endpoint.request(context.now, address, prepared);
        self.branches.insert(branch, id);
        self.deadlines
            .set(Deadline::Silence(branch), context.now + SILENCE_LIMIT);
        let forward = Forward {
            request,
            from,
            kind,
            direct: false,
            branch,
            binding: Some(target),
            others: targets,
        };
        self.forwards.insert(id, forward);
    }

    /// Whoever cannot be reached by the stream that it had opened may take another one, at the
    /// address of its Contact; false when that was tried before or is none.
    pub(super) fn offer_directly(&mut self, context: &mut Context<'_>, id: ServerId) -> bool {
        let Some(forward) = self.forwards.get_mut(&id) else {
            return false;
        };
        let (branch, binding) = (forward.branch, forward.binding);
        let Some(sent) = context.endpoint.client_request(branch) else {
            return false;
        };
        let by_proxy = sent.headers.get(Name::Route).is_some();
        let (false, false, Some(address)) = (forward.direct, by_proxy, sent.uri.socket_addr())
        else {
            return false;
        };
        let (mut request, to) = (sent.clone(), Peer::tcp(address));
        request.headers.pop_first_value(Name::Via);
        let call_id = request.call_id().to_owned();
        // Of a new call it is its streamer that moves.
        let within = match forward.kind {
            Kind::Within => context.sessions.find(&forward.request),
            Kind::Call | Kind::Stream => None,
        };
        let tried = match binding {
            Some(binding) => context.registrar.get(binding).map(|it| it.record.address),
            None => within.map(|(direction, session)| session.address(direction)),
        };
        if tried == Some(to) {
            return false;
        }
        let direction = within.map_or(Direction::ToStreamer, |(direction, _)| direction);
        let again = context.endpoint.request(context.now, to, request);
        forward.direct = true;
        self.branches.remove(&branch);
        self.branches.insert(again, id);
        self.deadlines.clear(&Deadline::Silence(branch));
        if let Some(binding) = binding {
            self.deadlines
                .set(Deadline::Silence(again), context.now + SILENCE_LIMIT);
            context.registrar.move_to(binding, to);
        }
        forward.branch = again;
        if forward.kind != Kind::Stream {
            context.sessions.move_to(&call_id, direction, to);
        }
        true
    }

    /// Offers a pending request to the next streamer; false when there is none.
    pub(super) fn offer_next(&mut self, context: &mut Context<'_>, id: ServerId) -> bool {
        let Some(forward) = self.forwards.get_mut(&id) else {
            return false;
        };
        let others = &mut forward.others;
        others.retain(|other| context.registrar.get(*other).is_some());
        if others.is_empty() {
            return false;
        }
        let (branch, others) = (forward.branch, std::mem::take(others));
        self.offer_again(context, id, branch, others);
        true
    }

    fn offer_again(
        &mut self,
        context: &mut Context<'_>,
        id: ServerId,
        branch: ClientId,
        targets: VecDeque<BindingId>,
    ) {
        self.retire(context, branch);
        let Some(forward) = self.forwards.remove(&id) else {
            return;
        };
        let Forward {
            request,
            from,
            kind,
            ..
        } = forward;
        self.offer(context, id, request, from, kind, targets);
    }

    /// A streamer was started again at another contact: what its former self had not answered
    /// goes to the new one at once, whether or not the old one had said 100.
    pub(crate) fn moved(&mut self, context: &mut Context<'_>, old: BindingId, new: BindingId) {
        let waiting: Vec<(ServerId, ClientId, VecDeque<BindingId>)> = self
            .forwards
            .iter_mut()
            .filter_map(|(id, forward)| {
                let others = &mut forward.others;
                if forward.binding == Some(old) {
                    others.push_front(new);
                    return Some((*id, forward.branch, std::mem::take(others)));
                }
                others
                    .iter_mut()
                    .filter(|other| **other == old)
                    .for_each(|it| *it = new);
                None
            })
            .collect();
        for (id, branch, targets) in waiting {
            self.offer_again(context, id, branch, targets);
        }
        context.sessions.drop_answered(old);
    }
}
