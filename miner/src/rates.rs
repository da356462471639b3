//! Hash rates over three windows, from monotone counters read at known instants.
//!
//! Read [`Rates`] first. A rate is a difference of two counter readings over the time between
//! them, so that it can't drift from the counters. Beside what the devices claim stands what the
//! accepted shares prove, with its standard error: a Poisson count of N shares has a relative
//! error of 1/sqrt(N). Pure: no clock. Units: hashes a second.

use std::collections::VecDeque;
use std::time::Duration;

use units::{Hashes, Work};

/// The windows that rates are given over, shortest first.
pub const WINDOWS: [Window; 3] = [
    Window { label: "10s", length: Duration::from_secs(10) },
    Window { label: "60s", length: Duration::from_secs(60) },
    Window { label: "15m", length: Duration::from_secs(900) },
];

/// Readings are kept at most this close together, which bounds their number.
const SPACING: Duration = Duration::from_millis(500);

/// A span that a rate is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its name in metrics and in the API.
    pub label: &'static str,
    /// How far it reaches back.
    pub length: Duration,
}

/// Every counter a rate is made from, read at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When, on the monotonic clock.
    pub at: Duration,
    /// Hashes done so far, as the devices count them.
    pub hashes: Hashes,
    /// Work proven so far by accepted shares.
    pub proven: Work,
    /// Accepted shares so far.
    pub shares: u64,
}

/// One window's figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The time it really covers: less than the window's length at first.
    pub span: Duration,
    /// What the devices claim.
    pub claimed: f64,
    /// What the accepted shares prove.
    pub proven: f64,
    /// Accepted shares in the window.
    pub shares: u64,
    /// Relative standard error of `proven`; `None` without a share.
    pub proven_error: Option<f64>,
}

/// Readings of the last 15 minutes.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    readings: VecDeque<Reading>,
}

impl Rates {
    /// No reading yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { readings: VecDeque::new() }
    }

    /// Takes a reading. Counters and time never go back; a reading that does is not taken.
    pub fn take(&mut self, reading: Reading) {
        if let Some(last) = self.readings.back() {
            let backwards = reading.at < last.at || reading.hashes < last.hashes;
            if backwards || reading.at - last.at < SPACING {
                return;
            }
        }
        self.readings.push_back(reading);
        let oldest_wanted = reading.at.saturating_sub(WINDOWS[WINDOWS.len() - 1].length);
        while self.readings.get(1).is_some_and(|second| second.at <= oldest_wanted) {
            self.readings.pop_front();
        }
    }

    /// The rate over `window` up to the newest reading; `None` before there are two.
    #[must_use]
    pub fn over(&self, window: Window) -> Option<Rate> {
        let newest = self.readings.back()?;
        let from = newest.at.saturating_sub(window.length);
        let begin = self.readings.partition_point(|reading| reading.at <= from).saturating_sub(1);
        let oldest = self.readings.get(begin)?;
        let span = newest.at - oldest.at;
        if span.is_zero() {
            return None;
        }
        let shares = newest.shares.saturating_sub(oldest.shares);
        let hashes = newest.hashes.checked_sub(oldest.hashes)?;
        let proven = newest.proven.checked_sub(oldest.proven)?;
        Some(Rate {
            span,
            claimed: hashes.as_f64() / span.as_secs_f64(),
            proven: proven.as_f64() / span.as_secs_f64(),
            shares,
            proven_error: poisson_error(shares),
        })
    }

    /// All windows, in the order of [`WINDOWS`].
    #[must_use]
    pub fn all(&self) -> [Option<Rate>; WINDOWS.len()] {
        WINDOWS.map(|window| self.over(window))
    }
}

/// The relative standard error of a rate measured by counting `shares` events.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "an error estimate needs no 53 bits")]
pub fn poisson_error(shares: u64) -> Option<f64> {
    (shares > 0).then(|| 1.0 / (shares as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(seconds: u64, hashes: u128, shares: u64) -> Reading {
        Reading {
            at: Duration::from_secs(seconds),
            hashes: Hashes::new(hashes),
            proven: Work::new(u128::from(shares) * 1_000),
            shares,
        }
    }

    #[test]
    fn each_window_sees_its_own_span() {
        let mut rates = Rates::new();
        for second in 0..=2_000 {
            // 100 H/s at first, then 400 H/s in the last 20 s.
            let fast = second.max(1_980) - 1_980;
            rates.take(reading(second, u128::from(second * 100 + fast * 300), second / 10));
        }
        let [ten, sixty, quarter] = rates.all().map(Option::unwrap);
        assert!((ten.claimed - 400.0).abs() < 1e-9, "{ten:?}");
        assert!((sixty.claimed - 200.0).abs() < 1e-9, "{sixty:?}");
        assert!((quarter.claimed - (90_000.0 + 6_000.0) / 900.0).abs() < 1e-9, "{quarter:?}");
        assert_eq!(quarter.shares, 90);
        assert!((quarter.proven - 100.0).abs() < 1e-9, "{quarter:?}");
        assert!((quarter.proven_error.unwrap() - 1.0 / 90_f64.sqrt()).abs() < 1e-12);
        assert_eq!(quarter.span, Duration::from_secs(900));
    }

    #[test]
    fn a_young_miner_says_what_span_it_covers() {
        let mut rates = Rates::new();
        rates.take(reading(5, 0, 0));
        assert_eq!(rates.over(WINDOWS[0]), None);
        rates.take(reading(7, 50, 0));
        let rate = rates.over(WINDOWS[2]).unwrap();
        assert_eq!((rate.span, rate.claimed), (Duration::from_secs(2), 25.0));
        assert_eq!(rate.proven_error, None);
    }

    #[test]
    fn memory_is_bounded_and_readings_never_go_back() {
        let mut rates = Rates::new();
        for step in 0..100_000_u64 {
            let at = Duration::from_millis(step * 100);
            rates.take(Reading { at, ..reading(0, u128::from(step), 0) });
        }
        assert!(rates.readings.len() < 2_000, "{}", rates.readings.len());
        let before = rates.over(WINDOWS[0]);
        rates.take(reading(20_000, 5, 0));
        assert_eq!(rates.over(WINDOWS[0]), before);
    }
}
