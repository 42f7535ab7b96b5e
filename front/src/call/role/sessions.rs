//! Sessions as HTTP names them: looked at, told something, and asked.

use super::*;

impl CallRole {
    /// The session behind a secret, provided it belongs to this stream and was answered.
    pub(super) fn session(&self, stream: &str, secret: &str) -> Result<CallKey, Error> {
        let key = self.by_secret.get(secret).ok_or(Error::NoSuchSession)?;
        match self.calls.get(key) {
            Some(call) if call.stream == stream => Ok(*key),
            _ => Err(Error::NoSuchSession),
        }
    }

    pub(super) fn look_at(&self, now: Instant, key: CallKey) -> Result<SessionInfo, Error> {
        match self.calls.get(&key).map(|call| &call.state) {
            Some(State::Established {
                since, informing, ..
            }) => Ok(SessionInfo {
                age: now.saturating_duration_since(*since),
                rung: informing.rung().to_owned(),
            }),
            Some(State::Ending { reason, .. } | State::Ended { reason, .. }) => {
                let reason = reason.clone();
                Err(Error::Ended { reason })
            }
            Some(State::Inviting { .. } | State::Cancelling) | None => Err(Error::NoSuchSession),
        }
    }

    pub(super) fn inform(
        &mut self,
        now: Instant,
        stream: &str,
        secret: &str,
        info: Info,
        reply: Reply<Bytes>,
        endpoint: &mut Endpoint,
    ) {
        let key = match self.session(stream, secret) {
            Ok(key) => key,
            Err(error) => {
                // Who asked may have gone: nothing was begun.
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.tell(now, key, endpoint, |call, hands| {
            call.inform(hands, info, reply)
        });
    }

    /// A request within a call was answered, or given up.
    pub(super) fn handle_informed(
        &mut self,
        now: Instant,
        key: CallKey,
        id: ClientId,
        answer: Option<&Response>,
        endpoint: &mut Endpoint,
    ) {
        self.requests.remove(&id);
        self.tell(now, key, endpoint, |call, hands| {
            call.handle_informed(hands, id, answer)
        });
    }

    /// Has a call do what may lead to a request within it.
    fn tell(
        &mut self,
        now: Instant,
        key: CallKey,
        endpoint: &mut Endpoint,
        act: impl FnOnce(&mut Call, &mut Hands<'_>) -> Option<ClientId>,
    ) {
        let mut hands = Hands {
            now,
            endpoint,
            signaling: self.addresses.signaling,
        };
        if let Some(call) = self.calls.get_mut(&key) {
            let info = act(call, &mut hands);
            let purpose = Purpose::Info(key);
            self.requests.extend(info.map(|id| (id, purpose)));
        }
    }
}
