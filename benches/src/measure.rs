//! How a case is measured: passes of fixed work, each checked, until the time is up.
//!
//! The first pass is not timed (caches, frequency, page faults). The mean says what a long run
//! gives; the best pass says what the machine can do when nothing disturbs it. Of several threads
//! each measures itself, all at the same time, and their figures are added up.

use std::{fmt, panic::resume_unwind, sync::Barrier, thread, time::Duration};

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
    /// The case and its variant, as `kernels/sha-ni/1 version/1 thread`.
    pub(crate) name: String,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// How many, in the timed passes of all threads.
    pub(crate) units: u64,
    /// Timed passes of all threads.
    pub(crate) passes: u32,
    /// Their duration; of several threads, that of the one that took longest.
    pub(crate) elapsed: Duration,
    /// Units per second over all timed passes, of all threads together.
    pub(crate) per_second: f64,
    /// Units per second of the quickest pass; of several threads, of the quickest of each.
    pub(crate) best_per_second: f64,
    /// Units per second that this machine cannot exceed in this case, where that is known.
    pub(crate) limit_per_second: Option<f64>,
}

impl Measured {
    /// The best rate in percent of the limit.
    pub(crate) fn percent_of_limit(&self) -> Option<f64> {
        self.limit_per_second.map(|limit| 100.0 * self.best_per_second / limit)
    }
}

/// Runs passes for a set time.
pub(crate) struct Meter {
    duration: Duration,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// What one thread did.
struct Part {
    units: u64,
    passes: u32,
    elapsed: Duration,
    best_per_second: f64,
}

impl Meter {
    pub(crate) fn new(
        duration: Duration,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { duration, clock: Box::new(clock) }
    }

    /// How long a measurement takes.
    pub(crate) const fn duration(&self) -> Duration {
        self.duration
    }

    /// The clock that everything is measured by.
    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
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
        Ok(together(name, unit, &[self.part(pass)?]))
    }

    /// The same on as many threads as there are passes, all starting together.
    pub(crate) fn run_on_threads<E: Send>(
        &self,
        name: String,
        unit: &'static str,
        passes: Vec<impl FnMut() -> Result<u64, E> + Send>,
    ) -> Result<Measured, E> {
        let start = Barrier::new(passes.len());
        let on_a_thread = |mut pass: _| {
            let first = call(&mut pass);
            // Also after a wrong answer: the others wait here for all.
            start.wait();
            first.and_then(|_| self.part(pass))
        };
        let parts: Vec<Result<Part, E>> = thread::scope(|scope| {
            let start_one = |pass| scope.spawn(|| on_a_thread(pass));
            let threads: Vec<_> = passes.into_iter().map(start_one).collect();
            let end_one = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
            threads.into_iter().map(|t| end_one(t).unwrap_or_else(|e| resume_unwind(e))).collect()
        });
        Ok(together(name, unit, &parts.into_iter().collect::<Result<Vec<Part>, E>>()?))
    }

    /// Timed passes until the time is up, one at least.
    fn part<E>(&self, mut pass: impl FnMut() -> Result<u64, E>) -> Result<Part, E> {
        let mut part = Part { units: 0, passes: 0, elapsed: Duration::ZERO, best_per_second: 0.0 };
        while part.passes == 0 || part.elapsed < self.duration {
            let begin = self.now();
            let units = pass()?;
            let took = self.now().saturating_sub(begin);
            part.units += units;
            part.passes += 1;
            part.elapsed += took.max(Duration::from_nanos(1));
            part.best_per_second = part.best_per_second.max(rate(units, took));
        }
        Ok(part)
    }
}

fn call<E>(pass: &mut impl FnMut() -> Result<u64, E>) -> Result<u64, E> {
    pass()
}

fn together(name: String, unit: &'static str, parts: &[Part]) -> Measured {
    Measured {
        name,
        unit,
        units: parts.iter().map(|part| part.units).sum(),
        passes: parts.iter().map(|part| part.passes).sum(),
        elapsed: parts.iter().map(|part| part.elapsed).max().unwrap_or_default(),
        per_second: parts.iter().map(|part| rate(part.units, part.elapsed)).sum(),
        best_per_second: parts.iter().map(|part| part.best_per_second).sum(),
        limit_per_second: None,
    }
}

/// Units per second; zero where no time has passed.
#[expect(clippy::cast_precision_loss, reason = "a rate is an approximation")]
pub(crate) fn rate(units: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { units as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn counts_timed_passes_only_and_keeps_the_best() {
        let (now, calls) = (AtomicUsize::new(0), Cell::new(0));
        // Readings in pairs around each pass: 100 ms, then 50, then 100.
        let readings = [0, 100, 200, 250, 300, 400];
        let clock = move || Duration::from_millis(readings[now.fetch_add(1, Ordering::Relaxed)]);
        let meter = Meter::new(Duration::from_millis(200), clock);
        let pass = || -> Result<u64, WrongAnswer> {
            calls.set(calls.get() + 1);
            Ok(10)
        };
        let measured = meter.run("x".to_owned(), "shares", pass).unwrap();
        assert_eq!((calls.get(), measured.passes, measured.units), (4, 3, 30));
        assert_eq!(measured.elapsed, Duration::from_millis(250));
        assert!((measured.per_second - 120.0).abs() < 1e-9);
        assert!((measured.best_per_second - 200.0).abs() < 1e-9);
        assert_eq!(measured.percent_of_limit(), None);
        let limited = Measured { limit_per_second: Some(250.0), ..measured };
        assert!((limited.percent_of_limit().unwrap() - 80.0).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_answer_ends_the_measurement() {
        let meter = Meter::new(Duration::from_secs(1), || Duration::ZERO);
        let pass = || WrongAnswer::unless_equal("hits", &3, &2).map(|()| 1);
        let error = meter.run("x".to_owned(), "hashes", pass).unwrap_err();
        assert_eq!(error.to_string(), "hits: expected 3, got 2");
    }

    #[test]
    fn threads_are_added_up() {
        let parts = [(100, 2, 1000), (50, 1, 500)].map(|(units, passes, millis)| Part {
            units,
            passes,
            elapsed: Duration::from_millis(millis),
            best_per_second: 110.0,
        });
        let measured = together("x".to_owned(), "hashes", &parts);
        assert_eq!((measured.units, measured.passes), (150, 3));
        assert_eq!(measured.elapsed, Duration::from_secs(1));
        assert!((measured.per_second - 200.0).abs() < 1e-9);
        assert!((measured.best_per_second - 220.0).abs() < 1e-9);
    }

    #[test]
    fn every_thread_passes_and_one_wrong_answer_is_enough() {
        let meter = Meter::new(Duration::ZERO, crate::clock::read());
        let calls = AtomicUsize::new(0);
        let pass = |answer: u64| {
            let calls = &calls;
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
                WrongAnswer::unless_equal("hits", &1, &answer).map(|()| 7)
            }
        };
        let right = vec![pass(1), pass(1), pass(1)];
        let measured = meter.run_on_threads("x".to_owned(), "hashes", right).unwrap();
        // One untimed and one timed pass each.
        assert_eq!((calls.load(Ordering::Relaxed), measured.passes, measured.units), (6, 3, 21));
        let wrong = vec![pass(1), pass(2)];
        assert!(meter.run_on_threads("x".to_owned(), "hashes", wrong).is_err());
    }
}
