//! A promise, what it is measured by, and whether it was kept.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::Result;

/// What was found of a promise.
#[derive(Debug)]
pub struct Verdict {
    what: String,
    found: f64,
    bound: Bound,
    unit: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Most(f64),
    Least(f64),
}

impl Verdict {
    /// Of a promise that something is no more than this.
    pub fn at_most(what: &str, found: f64, limit: f64, unit: &'static str) -> Self {
        Self::new(what, found, Bound::Most(limit), unit)
    }

    /// Of a promise that something is no less than this.
    pub fn at_least(what: &str, found: f64, limit: f64, unit: &'static str) -> Self {
        Self::new(what, found, Bound::Least(limit), unit)
    }

    fn new(what: &str, found: f64, bound: Bound, unit: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            found,
            bound,
            unit,
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        format!("{} | {}", self.what, self.figure())
    }

    fn figure(&self) -> String {
        let Self { found, unit, .. } = self;
        let verdict = if self.is_kept() { "kept" } else { "missed" };
        let (word, limit) = match self.bound {
            Bound::Most(limit) => ("most", limit),
            Bound::Least(limit) => ("least", limit),
        };
        format!("{found:.2}{unit} (at {word} {limit}{unit}): {verdict}")
    }

    /// Whether what was found is within the limit. What could not be found is not.
    pub fn is_kept(&self) -> bool {
        match self.bound {
            Bound::Most(limit) => self.found <= limit,
            Bound::Least(limit) => self.found >= limit,
        }
    }
}

/// Appends figures, lines of `what | figure`, and what they say of promises, for
/// `docs/measurements.md`.
pub fn keep(mut figures: String, verdicts: &[Verdict], file: &Path) -> Result<()> {
    for verdict in verdicts {
        figures += &format!("{}\n", verdict.line());
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(figures.as_bytes())?;
    Ok(())
}

/// An error when a promise is missed.
pub fn judge(verdicts: &[Verdict]) -> Result<()> {
    let missed = verdicts.iter().filter(|verdict| !verdict.is_kept()).count();
    match missed {
        0 => Ok(()),
        missed => Err(format!("{missed} of {} promises are missed", verdicts.len()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_itself_is_kept_and_what_is_unknown_is_missed() {
        let kept = |found| {
            let most = Verdict::at_most("", found, 0.7, "");
            let least = Verdict::at_least("", found, 0.7, "");
            [most.is_kept(), least.is_kept()]
        };
        assert_eq!(kept(0.7), [true, true]);
        assert_eq!(kept(0.6), [true, false]);
        assert_eq!(kept(0.8), [false, true]);
        assert_eq!(kept(f64::NAN), [false, false]);
    }
}
