//! A table of named deadlines: one for each key, the earliest first.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

use sip::table::shrink;

/// Deadlines by what they concern.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    order: BTreeSet<(Instant, K)>,
    at: HashMap<K, Instant>,
}

impl<K: Ord + Hash + Clone> Deadlines<K> {
    pub(crate) fn new() -> Self {
        Deadlines {
            order: BTreeSet::new(),
            at: HashMap::new(),
        }
    }

    /// Sets or moves the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        self.clear(&key);
        self.order.insert((at, key.clone()));
        self.at.insert(key, at);
    }

    pub(crate) fn clear(&mut self, key: &K) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.order.remove(&(at, key));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest one that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.order.first().filter(|(at, _)| *at <= now)?;
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        shrink(&mut self.at);
        Some(key)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.order.len(), self.at.len());
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_come_due_in_order_and_move() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut table = Deadlines::new();
        table.set("a", at(3));
        table.set("b", at(2));
        table.set("a", at(1));
        table.set("c", at(9));
        table.clear(&"c");
        assert_eq!(table.next(), Some(at(1)));
        assert_eq!(table.pop_due(start), None);
        assert_eq!(table.pop_due(at(5)), Some("a"));
        assert_eq!(table.pop_due(at(5)), Some("b"));
        assert_eq!(table.pop_due(at(5)), None);
        assert_eq!(table.len(), 0);
    }
}
