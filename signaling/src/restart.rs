//! After a restart: asks every streamer that the store knew to register again.
//!
//! Each one is sent the 403 for its last REGISTER and, as long as it does not register, the same
//! again at growing intervals, a few times; all together at a bounded rate, because the addresses
//! come from a file and may belong to somebody else by now.

use std::time::{Duration, Instant};

use sip::timer::{T1, T2};

use crate::deadlines::Deadlines;
use crate::registrar::BindingId;

/// Least time between two of them: 50 per second.
pub(crate) const PACE: Duration = Duration::from_millis(20);
/// How often one is repeated.
const REPETITIONS: u32 = 7;

/// Who is still to be asked, and when.
#[derive(Debug)]
pub(crate) struct Summons {
    due: Deadlines<(u32, BindingId)>,
    earliest: Option<Instant>,
}

impl Summons {
    pub(crate) fn new(now: Instant, streamers: &[BindingId]) -> Self {
        let mut due = Deadlines::new();
        for id in streamers {
            due.set((0, *id), now);
        }
        Summons {
            due,
            earliest: None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.due.next()?;
        Some(self.earliest.map_or(next, |earliest| earliest.max(next)))
    }

    /// The next streamer to ask, if one is due. `is_waiting` tells whether it has not registered
    /// yet; the others are forgotten.
    pub(crate) fn pop(
        &mut self,
        now: Instant,
        is_waiting: impl Fn(BindingId) -> bool,
    ) -> Option<BindingId> {
        if self.earliest.is_some_and(|earliest| earliest > now) {
            return None;
        }
        loop {
            let (sent, id) = self.due.pop_due(now)?;
            if !is_waiting(id) {
                continue;
            }
            if sent < REPETITIONS {
                let interval = T1.saturating_mul(1 << sent).min(T2);
                self.due.set((sent + 1, id), now + interval);
            }
            self.earliest = Some(now + PACE);
            return Some(id);
        }
    }
}
