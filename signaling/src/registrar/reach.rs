//! Whether streamers can be reached, as far as is known: by what they answer, and by their streams.

use std::time::{Duration, Instant};

use sip::Peer;

use super::{Binding, BindingId, Registrar};

/// How long a streamer that does not answer is listed all the same: it may be making an image.
const SILENCE_LISTED: Duration = Duration::from_secs(10);

impl Binding {
    pub(super) fn is_online(&self, now: Instant) -> bool {
        let mut doubts = [self.stale, self.silent].into_iter().flatten();
        doubts.all(|offline| now < offline)
    }
}

impl Registrar {
    /// Notes that a streamer lets a request wait without any answer.
    pub fn mark_silent(&mut self, now: Instant, id: BindingId) {
        if let Some(binding) = self.get_mut(id) {
            binding.silent.get_or_insert(now + SILENCE_LISTED);
        }
    }

    /// Notes that a streamer cannot be reached.
    pub fn mark_unreachable(&mut self, now: Instant, id: BindingId) {
        if let Some(binding) = self.get_mut(id) {
            binding.silent = Some(now);
        }
    }

    /// Notes that a stream has ended, or that none can be had: with it go the streamers that have
    /// nothing else.
    pub fn mark_gone(&mut self, now: Instant, stream: Peer) {
        let bindings = self.streams.values_mut().flatten();
        bindings
            .filter(|binding| binding.record.address == stream)
            .filter(|binding| binding.contact.socket_addr() == Some(stream.address))
            .for_each(|binding| binding.silent = Some(now));
    }

    /// Notes that a streamer answered a request.
    pub fn mark_answering(&mut self, id: BindingId) {
        if let Some(binding) = self.get_mut(id) {
            binding.silent = None;
        }
    }
}
