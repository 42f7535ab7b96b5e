//! How something grows: the straight line through what was seen, by least squares.

use std::fmt;

/// What was seen.
#[derive(Debug, Default)]
pub struct Growth {
    seen: Vec<(f64, f64)>,
}

impl Growth {
    /// It was so much after so many times.
    pub fn note(&mut self, times: f64, bytes: f64) {
        self.seen.push((times, bytes));
    }

    /// Growth each time; zero where less than two were seen.
    pub fn slope(&self) -> f64 {
        let count = self.seen.len() as f64;
        let mean = |part: fn(&(f64, f64)) -> f64| self.seen.iter().map(part).sum::<f64>() / count;
        let (times, bytes) = (mean(|seen| seen.0), mean(|seen| seen.1));
        let (mut together, mut alone) = (0.0, 0.0);
        for (time, byte) in &self.seen {
            together += (time - times) * (byte - bytes);
            alone += (time - times).powi(2);
        }
        match alone > 0.0 {
            true => together / alone,
            false => 0.0,
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |seen: Option<&(f64, f64)>| seen.map_or(0.0, |(_, bytes)| bytes / 1e6);
        let (first, last) = (megabytes(self.seen.first()), megabytes(self.seen.last()));
        let (slope, looks) = (self.slope() / 1e3, self.seen.len());
        write!(
            f,
            "{slope:.2} kB ({looks} looks, from {first:.1} to {last:.1} MB)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seen: &[(f64, f64)]) -> Growth {
        Growth {
            seen: seen.to_vec(),
        }
    }

    #[test]
    fn a_line_has_its_slope_and_noise_around_it_changes_little() {
        let line = |noise: f64| {
            let seen = (0..20).map(|n| {
                let swing = if n % 2 == 0 { noise } else { -noise };
                (
                    f64::from(n) * 50.0,
                    5e7 + f64::from(n) * 50.0 * 3000.0 + swing,
                )
            });
            of(&seen.collect::<Vec<_>>()).slope()
        };
        assert!((line(0.0) - 3000.0).abs() < 1e-6);
        assert!((line(100_000.0) - 3000.0).abs() < 100.0);
    }

    #[test]
    fn one_look_tells_nothing() {
        assert_eq!(of(&[]).slope(), 0.0);
        assert_eq!(of(&[(1.0, 2.0)]).slope(), 0.0);
    }
}
