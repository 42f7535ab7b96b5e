//! Bits over time: what an output takes, and what a viewer may be given.

use std::time::Duration;

/// How long a measurement takes.
const WINDOW: Duration = Duration::from_secs(1);
/// How much a viewer may save up, as time at its rate: enough for a keyframe.
const SAVINGS: Duration = Duration::from_secs(2);

/// The bit rate of an output, smoothed over some seconds.
#[derive(Default)]
pub(super) struct Meter {
    since: Option<Duration>,
    bytes: u64,
    rate: Option<u64>,
}

impl Meter {
    pub(super) fn note(&mut self, now: Duration, bytes: usize) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_sub(since);
        if passed >= WINDOW {
            let measured = (self.bytes as f64 * 8.0 / passed.as_secs_f64()) as u64;
            self.rate = Some(match self.rate {
                None => measured,
                Some(before) => (before * 3 + measured) / 4,
            });
            self.since = Some(now);
            self.bytes = 0;
        }
        self.bytes += bytes as u64;
    }

    /// Nothing comes for a while; what it took until now stays known.
    pub(super) fn pause(&mut self) {
        self.since = None;
        self.bytes = 0;
    }

    /// Goes on from a rate that is known otherwise.
    pub(super) fn resume(&mut self, rate: Option<u64>) {
        self.rate = rate;
        self.pause();
    }

    /// Bits per second; nothing before the first measurement.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate
    }
}

/// What a viewer with too narrow a line may still be given (a token bucket).
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Bits per second.
    rate: u64,
    /// Bits; below zero when the last frame was larger than what there was.
    left: i64,
    at: Duration,
}

impl Budget {
    /// With all that can be saved up.
    pub(super) fn new(now: Duration, rate: u64) -> Self {
        Self {
            rate,
            left: (rate as f64 * SAVINGS.as_secs_f64()) as i64,
            at: now,
        }
    }

    /// The same with another rate.
    pub(super) fn with_rate(self, now: Duration, rate: u64) -> Self {
        Self {
            rate,
            left: self.left(now),
            at: now,
        }
    }

    fn left(&self, now: Duration) -> i64 {
        let gained = self.rate as f64 * now.saturating_sub(self.at).as_secs_f64();
        let most = self.rate as f64 * SAVINGS.as_secs_f64();
        (self.left as f64 + gained).min(most) as i64
    }

    /// Whether a frame of this size can be paid for.
    pub(super) fn affords(&self, now: Duration, bytes: usize) -> bool {
        let most = (self.rate as f64 * SAVINGS.as_secs_f64()) as i64;
        // What could never be saved up is sent once everything has been.
        self.left(now) >= (bytes as i64 * 8).min(most)
    }

    /// Pays for a frame if there is anything left at all.
    pub(super) fn pay(&mut self, now: Duration, bytes: usize) -> bool {
        let left = self.left(now);
        if left <= 0 {
            return false;
        }
        self.left = left - bytes as i64 * 8;
        self.at = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_is_known_after_a_second_and_follows_changes() {
        let mut meter = Meter::default();
        let feed = |meter: &mut Meter, from: u64, to: u64, bytes| {
            for at in (from..to).step_by(100) {
                meter.note(ms(at), bytes);
            }
        };
        feed(&mut meter, 0, 1000, 1000);
        assert_eq!(meter.rate(), None);
        feed(&mut meter, 1000, 5100, 1000);
        assert_eq!(meter.rate(), Some(80_000));
        feed(&mut meter, 5100, 20_000, 500);
        let rate = meter.rate().unwrap();
        assert!((40_000..42_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_budget_gives_its_rate_and_no_more() {
        let mut budget = Budget::new(ms(0), 100_000);
        let mut paid = 0;
        for at in (0..60_000).step_by(33) {
            if budget.pay(ms(at), 1000) {
                paid += 8000;
            }
        }
        let rate = (paid - 200_000) / 60;
        assert!((95_000..=105_000).contains(&rate), "{rate}");
        // Saved up for two seconds, not longer.
        assert!(budget.affords(ms(200_000), 25_000));
        assert!(budget.affords(ms(200_000), 1_000_000));
        let faster = budget.with_rate(ms(60_000), 1_000_000);
        assert!(!faster.affords(ms(60_000), 25_000));
        assert!(faster.affords(ms(60_300), 25_000));
    }
}
