//! Hash rates from accepted work over 10 s, 60 s and 15 min.
//!
//! Fixed memory per worker, about 100 bytes: three rings of buckets, in floats, since nothing here
//! is credited. A rate is work in the window over the
//! window's length (or over the time observed, while that is shorter), so it decays to zero when
//! shares stop. It deliberately keeps no history: that is the ledger's.

use core::time::Duration;
use std::collections::HashMap;

use ledger::WorkerId;
use serde::Serialize;
use units::Work;

/// Expected hashes per second over three windows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Hashrate {
    /// Over the last ten seconds.
    #[serde(rename = "10s")]
    pub ten_seconds: f64,
    /// Over the last minute.
    #[serde(rename = "60s")]
    pub minute: f64,
    /// Over the last fifteen minutes.
    #[serde(rename = "15m")]
    pub quarter_hour: f64,
}

/// Rates of the pool and of every worker seen in the last fifteen minutes.
#[derive(Debug, Default)]
pub struct Rates {
    pool: Windows,
    /// Boxed, since a table is never full.
    workers: HashMap<WorkerId, Box<Windows>>,
}

impl Rates {
    /// Counts `work` of `worker` accepted at `now` (time since start).
    pub fn add(&mut self, worker: WorkerId, work: Work, now: Duration) {
        self.pool.add(work, now);
        let windows = self.workers.entry(worker);
        windows.or_insert_with(|| Box::new(Windows::starting(now))).add(work, now);
    }

    /// The pool's rate and each recent worker's; workers silent for fifteen minutes are dropped.
    pub fn snapshot(&mut self, now: Duration) -> (Hashrate, HashMap<WorkerId, Hashrate>) {
        self.workers.retain(|_, windows| !windows.is_silent(now));
        let workers = self.workers.iter_mut().map(|(id, windows)| (*id, windows.rate(now)));
        (self.pool.rate(now), workers.collect())
    }
}

/// The three rings of one counter.
#[derive(Debug, Default)]
struct Windows {
    start: Duration,
    ten_seconds: Ring<5, 2>,
    minute: Ring<6, 10>,
    quarter_hour: Ring<9, 100>,
}

impl Windows {
    fn starting(now: Duration) -> Self {
        Self { start: now, ..Self::default() }
    }

    fn add(&mut self, work: Work, now: Duration) {
        let work = as_f32(work);
        self.ten_seconds.add(work, now);
        self.minute.add(work, now);
        self.quarter_hour.add(work, now);
    }

    fn is_silent(&self, now: Duration) -> bool {
        self.quarter_hour.is_past(now)
    }

    fn rate(&mut self, now: Duration) -> Hashrate {
        let observed = now.saturating_sub(self.start).as_secs_f64();
        Hashrate {
            ten_seconds: self.ten_seconds.rate(now, observed),
            minute: self.minute.rate(now, observed),
            quarter_hour: self.quarter_hour.rate(now, observed),
        }
    }
}

/// Work of the last `N` buckets of `SECONDS` each, the newest at `newest % N`.
#[derive(Debug)]
struct Ring<const N: usize, const SECONDS: u32> {
    newest: u32,
    buckets: [f32; N],
}

impl<const N: usize, const SECONDS: u32> Default for Ring<N, SECONDS> {
    fn default() -> Self {
        Self { newest: 0, buckets: [0.0; N] }
    }
}

impl<const N: usize, const SECONDS: u32> Ring<N, SECONDS> {
    /// Buckets, as they are counted.
    fn size() -> u32 {
        u32::try_from(N).unwrap_or(u32::MAX)
    }

    fn bucket(now: Duration) -> u32 {
        u32::try_from(now.as_secs() / u64::from(SECONDS)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, work: f32, now: Duration) {
        let slot = self.advance(now);
        self.buckets[slot] += work;
    }

    /// Work a second. The newest bucket is still filling: the window spans the full ones and this
    /// part, and no more than was observed.
    fn rate(&mut self, now: Duration, observed: f64) -> f64 {
        self.advance(now);
        let work: f64 = self.buckets.iter().copied().map(f64::from).sum();
        let filling = (now.as_secs_f64() / f64::from(SECONDS)).fract();
        let span = (f64::from(Self::size()) - 1.0 + filling) * f64::from(SECONDS);
        work / observed.min(span).max(1.0)
    }

    /// Whether everything in it has fallen out of the window.
    fn is_past(&self, now: Duration) -> bool {
        Self::bucket(now).saturating_sub(self.newest) >= Self::size()
    }

    /// Empties what has fallen out of the window; where the newest bucket is.
    fn advance(&mut self, now: Duration) -> usize {
        let bucket = Self::bucket(now);
        let steps = bucket.saturating_sub(self.newest);
        for step in 0..steps.min(Self::size()) {
            self.buckets[Self::slot(bucket - step)] = 0.0;
        }
        self.newest = self.newest.max(bucket);
        Self::slot(self.newest)
    }

    fn slot(bucket: u32) -> usize {
        usize::try_from(bucket).unwrap_or(usize::MAX) % N
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough to look at")]
fn as_f32(work: Work) -> f32 {
    work.as_f64() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_measured_and_decays() {
        let mut rates = Rates::default();
        let worker = WorkerId::new(7);
        for second in 0..120 {
            rates.add(worker, Work::new(1_000), Duration::from_secs(second));
        }
        let (pool, workers) = rates.snapshot(Duration::from_millis(119_999));
        for rate in [pool.ten_seconds, pool.minute, pool.quarter_hour, workers[&worker].minute] {
            assert!((rate / 1_000.0 - 1.0).abs() < 0.02, "{rate}");
        }
        let (pool, _) = rates.snapshot(Duration::from_secs(150));
        assert_eq!(pool.ten_seconds, 0.0);
        assert!(pool.minute < 700.0);
        let (pool, workers) = rates.snapshot(Duration::from_secs(3_600));
        assert_eq!(pool, Hashrate::default());
        assert!(workers.is_empty());
    }
}
