//! The call ladder: the messages of the latest calls, kept in memory for whoever asks what
//! happened.
//!
//! The task of the socket puts in what passes; operators take out copies. Both hold the lock for
//! as long as one message, one call or one list takes, and what is shown is made of the copy, so
//! that a reader costs SIP a few microseconds at most. It reads of a message what names its call
//! and must not know what anything else in it means.
//!
//! Beside it stand those who write everything down, calls or not: `--trace` and
//! `--capture`.

mod call;
mod capture;
mod documents;
mod glance;
mod json;
mod outlet;
mod pcap;
mod redact;
mod tap;
mod text;
mod trace;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sip::driver::Datagram;

use call::{Call, Head};
use glance::Glance;

pub(crate) use outlet::Flow;
pub(crate) use tap::{Recorder, Writers};

/// Memory of all calls in bytes, at most: a thousand calls with offers of the usual size.
const MAX_COST: usize = 32 << 20;

/// The latest calls.
#[derive(Debug)]
pub struct Ladder {
    ring: Mutex<Ring>,
}

/// How much a ladder holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    /// Calls.
    pub calls: usize,
    /// The memory they take, nearly.
    pub bytes: usize,
}

/// Calls in the order in which they began.
#[derive(Debug)]
struct Ring {
    max_calls: usize,
    max_cost: usize,
    calls: VecDeque<Call>,
    /// Calls that went out so far.
    gone: u64,
    /// Which call of all that there ever were has a Call-ID.
    places: HashMap<Arc<str>, u64>,
    cost: usize,
}

impl Ladder {
    /// A ladder for that many calls.
    pub fn new(max_calls: usize) -> Self {
        Self::bounded(max_calls, MAX_COST)
    }

    fn bounded(max_calls: usize, max_cost: usize) -> Self {
        Ladder {
            ring: Mutex::new(Ring {
                max_calls,
                max_cost,
                calls: VecDeque::new(),
                gone: 0,
                places: HashMap::new(),
                cost: 0,
            }),
        }
    }

    /// Keeps what passed, if it is of a call.
    pub fn record(&self, datagram: &Datagram) {
        if let Some(glance) = Glance::at(&datagram.payload) {
            self.ring().record(datagram, &glance);
        }
    }

    /// How much it holds.
    pub fn fill(&self) -> Fill {
        let ring = self.ring();
        Fill {
            calls: ring.calls.len(),
            bytes: ring.cost,
        }
    }

    /// Moves everything together, which takes a few milliseconds. What is left of a burst of calls
    /// lies scattered over all the memory that the burst took, of which none could be given back.
    pub(crate) fn gather(&self) {
        self.ring().gather();
    }

    /// What there is to tell of each call, the latest first.
    fn heads(&self) -> Vec<Head> {
        let ring = self.ring();
        let calls = ring.calls.iter().rev();
        calls.map(|call| call.head.clone()).collect()
    }

    /// A call with all of its messages.
    fn call(&self, call_id: &str) -> Option<Call> {
        self.ring().find(call_id).cloned()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics half-way; and what is kept is but a record.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn record(&mut self, datagram: &Datagram, glance: &Glance<'_>) {
        if let Some(call) = self.find(glance.call_id) {
            let before = call.cost();
            call.record(datagram, glance);
            let after = call.cost();
            self.cost = self.cost - before + after;
        } else if let Some(call) = Call::begin(datagram, glance) {
            let place = self.gone + self.calls.len() as u64;
            self.places.insert(Arc::clone(&call.head.call_id), place);
            self.cost += call.cost();
            self.calls.push_back(call);
        }
        while self.calls.len() > self.max_calls || self.cost > self.max_cost {
            let Some(oldest) = self.calls.pop_front() else {
                return;
            };
            self.gone += 1;
            self.cost -= oldest.cost();
            self.places.remove(&oldest.head.call_id);
        }
    }

    fn gather(&mut self) {
        self.places = HashMap::with_capacity(self.calls.len());
        for (call, place) in self.calls.iter_mut().zip(self.gone..) {
            call.move_out();
            self.places.insert(Arc::clone(&call.head.call_id), place);
        }
    }

    fn find(&mut self, call_id: &str) -> Option<&mut Call> {
        let place = self.places.get(call_id)?;
        let index = usize::try_from(place - self.gone).ok()?;
        self.calls.get_mut(index)
    }
}

#[cfg(test)]
pub(crate) mod tests;
