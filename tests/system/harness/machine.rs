//! Who has the machine: tests that measure times have it for themselves, all others share it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// A test's use of the machine, which ends when this is dropped.
#[derive(Debug)]
pub struct Turn(ThreadId);

#[derive(Default)]
struct Turns {
    /// How many turns each test has; what a test holds already it gets again at once.
    holders: Option<HashMap<ThreadId, usize>>,
    /// The test that has it for itself.
    alone: Option<ThreadId>,
    /// Tests that wait to be alone: nobody new comes before them.
    waiting: usize,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns {
    holders: None,
    alone: None,
    waiting: 0,
});
static CHANGED: Condvar = Condvar::new();

/// Waits until nobody is alone.
pub fn shared() -> Turn {
    let me = thread::current().id();
    let turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut turns = CHANGED
        .wait_while(turns, |turns| {
            !turns.holds(me) && (turns.alone.is_some() || turns.waiting > 0)
        })
        .unwrap_or_else(PoisonError::into_inner);
    turns.add(me)
}

/// Waits until nobody else is there.
pub fn alone() -> Turn {
    let me = thread::current().id();
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        !turns.holds(me) || turns.alone == Some(me),
        "who shares the machine cannot have it alone"
    );
    turns.waiting += 1;
    let mut turns = CHANGED
        .wait_while(turns, |turns| turns.others_than(me))
        .unwrap_or_else(PoisonError::into_inner);
    turns.waiting -= 1;
    turns.alone = Some(me);
    turns.add(me)
}

impl Turns {
    fn holds(&self, test: ThreadId) -> bool {
        let holders = self.holders.as_ref();
        holders.is_some_and(|holders| holders.contains_key(&test))
    }

    fn others_than(&self, test: ThreadId) -> bool {
        let mut holders = self.holders.iter().flatten();
        holders.any(|(holder, _)| *holder != test)
    }

    fn add(&mut self, test: ThreadId) -> Turn {
        *self
            .holders
            .get_or_insert_default()
            .entry(test)
            .or_default() += 1;
        Turn(test)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = turns.holders.get_or_insert_default();
        if let Some(count) = holders.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                holders.remove(&self.0);
                if turns.alone == Some(self.0) {
                    turns.alone = None;
                }
            }
        }
        CHANGED.notify_all();
    }
}
