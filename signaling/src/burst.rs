//! When a burst of calls is over, and when the ladder is moved together after it.

use std::time::{Duration, Instant};

/// So many transactions at once are a burst; it is over when a sixteenth of them are left, which may
/// still be one.
const BURST: usize = 100;
/// The allocator looks for pages to give back when others are taken or freed, and gives back what has
/// been free for a second. So one move frees pages, and the next ones let go of them.
const MOVES: u8 = 4;
const MOVE_INTERVAL: Duration = Duration::from_secs(2);

/// Follows the number of transactions.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// The most transactions at once since the last burst.
    most: usize,
    /// Moves still to be made.
    moves: u8,
    /// When the latest was made.
    moved: Option<Instant>,
}

impl Burst {
    /// Told how many transactions there are, says whether the ladder is to be moved now.
    pub(crate) fn is_move_due(&mut self, now: Instant, transactions: usize) -> bool {
        self.most = self.most.max(transactions);
        if self.most >= BURST && transactions < self.most / 16 {
            self.most = transactions;
            self.moves = MOVES;
            self.moved = None;
        }
        let due = self.moved.is_none_or(|at| at + MOVE_INTERVAL <= now);
        if self.moves == 0 || !due {
            return false;
        }
        self.moves -= 1;
        self.moved = Some(now);
        true
    }

    /// Whether moves are still to be made, of which somebody must ask.
    pub(crate) fn is_settling(&self) -> bool {
        self.moves > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many moves are due while it is asked that often, four times a second.
    fn moves(burst: &mut Burst, from: Instant, asked: u32, transactions: usize) -> usize {
        (0..asked)
            .map(|step| from + step * Duration::from_millis(250))
            .filter(|&now| burst.is_move_due(now, transactions))
            .count()
    }

    #[test]
    fn a_burst_that_is_over_moves_the_ladder_four_times_two_seconds_apart() {
        let start = Instant::now();
        let mut burst = Burst::default();
        assert_eq!(moves(&mut burst, start, 9, 1600), 0);
        assert_eq!(moves(&mut burst, start, 9, 100), 0);
        assert!(!burst.is_settling());
        assert_eq!(moves(&mut burst, start, 8, 99), 1);
        assert!(burst.is_settling());
        assert_eq!(moves(&mut burst, start + MOVE_INTERVAL, 100, 0), 3);
        assert!(!burst.is_settling());
    }

    #[test]
    fn a_burst_that_goes_on_shrinking_begins_again() {
        let start = Instant::now();
        let mut burst = Burst::default();
        burst.is_move_due(start, 16_000);
        assert_eq!(moves(&mut burst, start, 8, 900), 1);
        assert_eq!(moves(&mut burst, start, 100, 50), 4);
    }

    #[test]
    fn a_few_transactions_are_no_burst() {
        let mut burst = Burst::default();
        let start = Instant::now();
        burst.is_move_due(start, BURST - 1);
        assert_eq!(moves(&mut burst, start, 100, 0), 0);
    }
}
