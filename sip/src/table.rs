//! Tables that were large once.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// What a table may always have room for.
const LEAST: usize = 1024;

/// Gives back room that a table no longer needs: by itself it grows, but never shrinks, and a burst
/// of calls leaves transactions by the ten thousand. To be called after each removal.
pub fn shrink<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > LEAST && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_empties_gives_its_room_back() {
        let mut table: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        for n in 0..99_990 {
            table.remove(&n);
            shrink(&mut table);
        }
        assert!(table.capacity() <= 2 * LEAST);
        assert_eq!(table.len(), 10);
        assert!((99_990..100_000).all(|n| table[&n] == n));
    }
}
