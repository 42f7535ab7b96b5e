//! Which rung of a picture a line carries: down as soon as it is too narrow, up with care, since
//! nobody knows what it carries before it was tried.

use std::time::Duration;

use crate::engine::Line;

/// A line has to be too narrow for this long; the estimate swings.
const DOWN_AFTER: Duration = Duration::from_millis(300);
/// Below the lowest rung there is no picture that would fit, so the estimate alone decides nothing: it
/// is too low after a fall, when a line becomes longer, and where some packets get lost that would be
/// sent again. The line has to carry less than this share, for so long.
const CARRIED: f64 = 0.85;
/// A line that loses more than this of the little that is sent below the lowest rung does not lose it
/// for want of room. Its estimate never rises (draft-ietf-rmcat-gcc-02 section 6), so what it carries
/// has to be tried.
const CLEAN: f64 = 0.98;
const LIMIT_AFTER: Duration = Duration::from_secs(1);
/// A line has to be good for this long before the next rung is tried.
const UP_AFTER: Duration = Duration::from_secs(3);
/// After a fall the next try waits this long, and twice as long each time that a try fails.
const FIRST_WAIT: Duration = Duration::from_secs(8);
const LAST_WAIT: Duration = Duration::from_secs(120);
/// A rung that was left sooner than this after it was climbed was too high. For so long the
/// estimate need not reach what is sent, only not fall: it rises by a few percent a second.
const TRIAL: Duration = Duration::from_secs(20);

/// What a viewer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Number of the rung, the highest being 0.
    pub(super) rung: usize,
    /// Bits per second where even the lowest is too much.
    pub(super) limit: Option<u64>,
}

/// What is known of one viewer's line.
#[derive(Debug)]
pub(super) struct Ladder {
    narrow_since: Option<Duration>,
    overloaded_since: Option<Duration>,
    good_since: Option<Duration>,
    /// Even the lowest rung is too much: it stands one step below.
    limited: bool,
    /// When a step was climbed, and the estimate at that time.
    climbed: Option<(Duration, u64)>,
    climb_after: Duration,
    wait: Duration,
}

impl Ladder {
    pub(super) fn new() -> Self {
        Self {
            narrow_since: None,
            overloaded_since: None,
            good_since: None,
            limited: false,
            climbed: None,
            climb_after: Duration::ZERO,
            wait: FIRST_WAIT,
        }
    }

    /// Chooses, some times a second. `rates` are bits per second, the highest rung first; `at` is
    /// the present one.
    pub(super) fn choose(&mut self, now: Duration, line: Line, rates: &[u64], at: usize) -> Choice {
        let bandwidth = line.bandwidth;
        let rate = |rung: usize| rates.get(rung).copied().unwrap_or_default();
        // With some room for retransmissions, and for what an encoder gives more at times.
        let carries = |rung: usize| bandwidth >= rate(rung) / 10 * 11;
        let last = rates.len().saturating_sub(1);
        // Another picture may have taken the place of the one that was too much.
        self.limited &= at == last;
        let tried = self
            .climbed
            .filter(|(at, _)| now.saturating_sub(*at) < TRIAL);
        let enough = tried.map_or(rate(at), |(_, before)| before.min(rate(at)));
        let since = |begun: &mut Option<Duration>, holds: bool| match holds {
            true => now.saturating_sub(*begun.get_or_insert(now)),
            false => {
                *begun = None;
                Duration::ZERO
            }
        };
        let narrow = !self.limited && bandwidth < enough / 10 * 9;
        let narrow_for = since(&mut self.narrow_since, narrow);
        let lossy = (CARRIED..CLEAN).contains(&line.lately);
        let good = match self.limited {
            true => carries(last) || lossy,
            false => at > 0 && (carries(at - 1) || bandwidth >= rate(at) / 10 * 13),
        };
        let good_for = since(&mut self.good_since, good);
        let overloaded = !self.limited && (narrow || tried.is_some()) && line.carried < CARRIED;
        let overloaded_for = since(&mut self.overloaded_since, overloaded);
        let lower = at < last || tried.is_some();
        let falls = (lower && narrow && narrow_for >= DOWN_AFTER)
            || (at == last && overloaded && overloaded_for >= LIMIT_AFTER);
        let mut rung = at;
        if falls {
            self.limited = at == last;
            rung = (at + 1..last).find(|rung| carries(*rung)).unwrap_or(last);
            self.fall(now);
        } else if good_for >= UP_AFTER && now >= self.climb_after {
            let (to, before) = match self.limited {
                true if carries(last) => (at, bandwidth),
                // The estimate has nothing to say.
                true => (at, 0),
                false => (at - 1, bandwidth),
            };
            rung = to;
            self.limited = false;
            self.climbed = Some((now, before));
            self.good_since = None;
        }
        Choice {
            rung,
            limit: self.limited.then_some(bandwidth / 10 * 9),
        }
    }

    fn fall(&mut self, now: Duration) {
        let tried = self.climbed.take();
        let failed = tried.is_some_and(|(climbed, _)| now.saturating_sub(climbed) < TRIAL);
        self.wait = match failed {
            true => (self.wait * 2).min(LAST_WAIT),
            false => FIRST_WAIT,
        };
        self.climb_after = now + self.wait;
        self.narrow_since = None;
        self.overloaded_since = None;
        self.good_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 3] = [1_500_000, 500_000, 150_000];
    const TICK: u64 = 250;
    const LEAST: u64 = 20_000;

    /// A line that carries so much, as an estimator sees it: capped by what is sent, slow to rise,
    /// quick to fall.
    struct Line {
        ladder: Ladder,
        now: u64,
        at: usize,
        estimate: u64,
        moves: Vec<(u64, usize)>,
        limit: Option<u64>,
        /// Ticks at which more was sent than the line carries.
        overloaded: u64,
    }

    impl Line {
        fn new() -> Self {
            Self {
                ladder: Ladder::new(),
                now: 0,
                at: 0,
                estimate: 50_000_000,
                moves: Vec::new(),
                limit: None,
                overloaded: 0,
            }
        }

        fn carry(&mut self, capacity: u64, seconds: u64) {
            let end = self.now + seconds * 1000;
            while self.now < end {
                let sent = RATES[self.at].min(self.limit.unwrap_or(u64::MAX));
                self.estimate = match sent > capacity {
                    // And lower each time as long as the queue does not get shorter.
                    true => (self.estimate / 10 * 9).min(capacity / 100 * 85).max(LEAST),
                    false => (self.estimate / 50 * 51).min(sent / 2 * 3).max(LEAST),
                };
                self.overloaded += u64::from(sent > capacity);
                let now = Duration::from_millis(self.now);
                let carried = (capacity as f64 / sent as f64).min(1.0);
                let line = super::Line {
                    bandwidth: self.estimate,
                    // What got lost is sent again, and is lost as well.
                    carried: carried * carried,
                    lately: carried * carried,
                };
                let choice = self.ladder.choose(now, line, &RATES, self.at);
                if choice.rung != self.at {
                    self.moves.push((self.now, choice.rung));
                }
                (self.at, self.limit) = (choice.rung, choice.limit);
                self.now += TICK;
            }
        }
    }

    #[test]
    fn a_good_line_stays_where_it_is() {
        let mut line = Line::new();
        line.carry(5_000_000, 60);
        assert_eq!((line.at, line.limit, line.moves.len()), (0, None, 0));
    }

    #[test]
    fn a_narrow_line_falls_within_a_second_to_what_it_carries() {
        let mut line = Line::new();
        line.carry(300_000, 5);
        assert_eq!(line.moves, [(500, 2)]);
        assert_eq!(line.limit, None);
        let mut line = Line::new();
        line.carry(900_000, 5);
        assert_eq!(line.moves, [(500, 1)]);
    }

    #[test]
    fn tries_to_climb_become_rare() {
        let mut line = Line::new();
        line.carry(300_000, 300);
        let tries: Vec<u64> = line
            .moves
            .iter()
            .filter(|m| m.1 == 1)
            .map(|m| m.0)
            .collect();
        assert!((3..=6).contains(&tries.len()), "{:?}", line.moves);
        let gaps: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted() && gaps[0] > 8_000, "{gaps:?}");
        // None of them lasts.
        for pair in line.moves.windows(2).filter(|pair| pair[0].1 == 1) {
            assert!(pair[1].0 - pair[0].0 <= 1_000, "{:?}", line.moves);
        }
    }

    #[test]
    fn a_line_that_recovers_climbs_rung_by_rung() {
        let mut line = Line::new();
        line.carry(200_000, 10);
        assert_eq!(line.at, 2);
        line.carry(5_000_000, 60);
        assert_eq!((line.at, line.limit), (0, None));
        let climbed: Vec<usize> = line.moves.iter().rev().take(2).map(|m| m.1).collect();
        assert_eq!(climbed, [0, 1]);
    }

    #[test]
    fn below_the_lowest_rung_there_is_a_limit_until_it_fits_again() {
        let mut line = Line::new();
        line.carry(60_000, 10);
        assert_eq!(line.at, 2);
        assert!(
            line.limit.is_some_and(|limit| limit < 60_000),
            "{:?}",
            line.limit
        );
        line.carry(400_000, 30);
        assert_eq!(line.limit, None);
    }

    #[test]
    fn a_line_just_below_the_lowest_rung_is_not_overloaded_again_and_again() {
        // Where more than that arrives, what is lost is mended.
        for capacity in [60_000, 100_000, 120_000, 130_000] {
            let mut line = Line::new();
            line.carry(capacity, 10);
            line.overloaded = 0;
            line.carry(capacity, 300);
            let share = line.overloaded as f64 / (300_000 / TICK) as f64;
            assert!(share < 0.15, "{capacity}: {share}");
        }
    }

    #[test]
    fn the_only_picture_is_limited_where_less_arrives_and_not_where_the_estimate_is_low() {
        for (carried, limited) in [(1.0, false), (0.9, false), (0.8, true), (0.2, true)] {
            let mut ladder = Ladder::new();
            let choices = (0..40).map(|tick| {
                let line = super::Line {
                    bandwidth: 400_000,
                    carried,
                    lately: carried,
                };
                let now = Duration::from_millis(tick * TICK);
                ladder.choose(now, line, &[960_000], 0).limit
            });
            let choices: Vec<Option<u64>> = choices.collect();
            let first = choices.iter().position(Option::is_some);
            assert_eq!(first, limited.then_some(4), "{carried}: {choices:?}");
        }
    }

    #[test]
    fn a_picture_returns_to_a_line_that_loses_a_tenth_and_stays_out_of_one_that_is_narrow() {
        // Of what is sent so much arrives, beside what the line is too narrow for.
        for (arrives, capacity, share) in [
            (0.9, 5_000_000, 0.9..=1.0),
            (0.95, 5_000_000, 0.9..=1.0),
            (1.0, 100_000, 0.0..=0.01),
            (0.9, 100_000, 0.01..=0.15),
        ] {
            let mut ladder = Ladder::new();
            let (mut limit, mut whole) = (Some(18_000), 0);
            ladder.limited = true;
            ladder.fall(Duration::ZERO);
            for tick in 0..1200 {
                let sent = limit.unwrap_or(960_000);
                let fits = (f64::from(capacity) / sent as f64).min(1.0);
                let line = super::Line {
                    // Some of the packets get lost at any time, so it does not rise.
                    bandwidth: LEAST,
                    carried: arrives * fits,
                    lately: arrives * fits,
                };
                let now = Duration::from_millis(tick * TICK);
                limit = ladder.choose(now, line, &[960_000], 0).limit;
                whole += u32::from(limit.is_none());
            }
            let seen = f64::from(whole) / 1200.0;
            assert!(share.contains(&seen), "{arrives} of {capacity}: {seen}");
        }
    }

    #[test]
    fn a_ladder_of_many_megabits_is_not_left_on_a_good_line() {
        let rates = [12_000_000, 4_000_000];
        let mut ladder = Ladder::new();
        for tick in 0..100 {
            let now = Duration::from_millis(tick * TICK);
            let estimate = 50_000_000.min(rates[0] / 2 * 3);
            let line = super::Line {
                bandwidth: estimate,
                carried: 1.0,
                lately: 1.0,
            };
            assert_eq!(ladder.choose(now, line, &rates, 0).rung, 0);
        }
    }
}
