//! How a case is measured: passes of fixed work, each checked, until the time is up.
//!
//! The first pass is not timed (caches, frequency, page faults). The mean says what a long run
//! gives; the best pass says what the machine can do when nothing disturbs it.

use std::{fmt, time::Duration};

/// An answer that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, got {got}")]
pub(crate) struct WrongAnswer {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

impl WrongAnswer {
    /// Passes when both are equal.
    pub(crate) fn unless_equal<T: PartialEq + fmt::Debug>(
        what: &str,
        expected: &T,
        got: &T,
    ) -> Result<(), Self> {
        if expected == got {
            return Ok(());
        }
        let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
        Err(Self { what: what.to_owned(), expected, got })
    }
}

/// What one measurement gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// The case and its variant, as `kernels/sha-ni/1 version`.
    pub(crate) name: String,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// How many, in the timed passes.
    pub(crate) units: u64,
    /// Timed passes.
    pub(crate) passes: u32,
    /// Their duration.
    pub(crate) elapsed: Duration,
    /// Units per second of the quickest pass.
    pub(crate) best_per_second: f64,
}

impl Measured {
    /// Units per second over all timed passes.
    pub(crate) fn per_second(&self) -> f64 {
        rate(self.units, self.elapsed)
    }
}

/// Runs passes for a set time.
pub(crate) struct Meter {
    duration: Duration,
    clock: Box<dyn Fn() -> Duration>,
}

impl Meter {
    pub(crate) fn new(duration: Duration, clock: impl Fn() -> Duration + 'static) -> Self {
        Self { duration, clock: Box::new(clock) }
    }

    /// Repeats `pass`, which does a fixed amount of work, checks its answers, and returns how
    /// many units it did.
    pub(crate) fn run<E>(
        &self,
        name: String,
        unit: &'static str,
        mut pass: impl FnMut() -> Result<u64, E>,
    ) -> Result<Measured, E> {
        pass()?;
        let (units, passes, elapsed) = (0, 0, Duration::ZERO);
        let mut measured = Measured { name, unit, units, passes, elapsed, best_per_second: 0.0 };
        while measured.passes == 0 || measured.elapsed < self.duration {
            let begin = (self.clock)();
            let units = pass()?;
            let took = (self.clock)().saturating_sub(begin);
            measured.units += units;
            measured.passes += 1;
            measured.elapsed += took.max(Duration::from_nanos(1));
            measured.best_per_second = measured.best_per_second.max(rate(units, took));
        }
        Ok(measured)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is an approximation")]
fn rate(units: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { units as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn counts_timed_passes_only_and_keeps_the_best() {
        let (now, calls) = (Cell::new(0), Cell::new(0));
        // Readings in pairs around each pass: 100 ms, then 50, then 100.
        let readings = [0, 100, 200, 250, 300, 400];
        let clock = move || {
            let reading = readings[now.get()];
            now.set(now.get() + 1);
            Duration::from_millis(reading)
        };
        let meter = Meter::new(Duration::from_millis(200), clock);
        let pass = || -> Result<u64, WrongAnswer> {
            calls.set(calls.get() + 1);
            Ok(10)
        };
        let measured = meter.run("x".to_owned(), "shares", pass).unwrap();
        assert_eq!((calls.get(), measured.passes, measured.units), (4, 3, 30));
        assert_eq!(measured.elapsed, Duration::from_millis(250));
        assert!((measured.per_second() - 120.0).abs() < 1e-9);
        assert!((measured.best_per_second - 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_answer_ends_the_measurement() {
        let meter = Meter::new(Duration::from_secs(1), || Duration::ZERO);
        let pass = || WrongAnswer::unless_equal("hits", &3, &2).map(|()| 1);
        let error = meter.run("x".to_owned(), "hashes", pass).unwrap_err();
        assert_eq!(error.to_string(), "hits: expected 3, got 2");
    }
}
