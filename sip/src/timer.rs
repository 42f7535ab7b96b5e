//! How long things take: the timers of RFC 3261 section 17 and RFC 6026, and the table in which
//! each transaction keeps its own.

use std::time::{Duration, Instant};

/// Estimate of the round-trip time (RFC 3261 section 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of a non-INVITE request or of a final response to
/// INVITE (RFC 3261 section 17.1.2.2).
pub const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network (RFC 3261 section 17.1.2.2).
pub const T4: Duration = Duration::from_secs(5);
/// After this long nothing is sent again: timers B, D, F, H, J, L and M over UDP.
pub const TRANSACTION_LIMIT: Duration = Duration::from_secs(32);

/// How long a callee may let it ring after each provisional answer: timer C, more than three minutes
/// (RFC 3261 section 16.6, step 11).
pub const TIMER_C: Duration = Duration::from_secs(190);

/// The named deadlines of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Send the last message again: timers A, E and G, and the 2xx of a user agent (section
    /// 13.3.1.4).
    Retransmit,
    /// Go on by datagrams: the stream has not opened.
    FallBack,
    /// Give up waiting: timers B, F and H, timer C of a pending INVITE, and 64·T1 after CANCEL.
    GiveUp,
    /// Forget the transaction: timers D, I, J, K, L and M.
    Forget,
}

/// One transaction's table of deadlines, with the interval of its retransmissions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    at: [Option<Instant>; 4],
    interval: Duration,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Deadlines {
            at: [None; 4],
            interval: T1,
        }
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.at[timer as usize] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = None;
    }

    pub(crate) fn stop_all(&mut self) {
        self.at = [None; 4];
    }

    /// Starts retransmissions, the first one T1 from now.
    pub(crate) fn start_retransmissions(&mut self, now: Instant) {
        self.interval = T1;
        self.set(Timer::Retransmit, now + self.interval);
    }

    /// Plans the next retransmission at twice the interval, `limit` at most.
    pub(crate) fn back_off(&mut self, now: Instant, limit: Option<Duration>) {
        self.interval *= 2;
        if let Some(limit) = limit {
            self.interval = self.interval.min(limit);
        }
        self.set(Timer::Retransmit, now + self.interval);
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.at.iter().flatten().min().copied()
    }

    /// Takes one timer that is due out of the table, the one that ends the most first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        [
            Timer::Forget,
            Timer::GiveUp,
            Timer::FallBack,
            Timer::Retransmit,
        ]
        .into_iter()
        .find(|&timer| {
            let due = self.at[timer as usize].is_some_and(|at| at <= now);
            if due {
                self.stop(timer);
            }
            due
        })
    }
}
