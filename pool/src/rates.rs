//! Hash rates from accepted work over 10 s, 60 s and 15 min.
//!
//! Fixed memory per worker, about 200 bytes: three rings of buckets, in floats, since nothing here
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
    last: Duration,
    ten_seconds: Ring<10>,
    minute: Ring<12>,
    quarter_hour: Ring<15>,
}

impl Windows {
    fn starting(now: Duration) -> Self {
        Self { start: now, ..Self::default() }
    }

    fn add(&mut self, work: Work, now: Duration) {
        self.last = now;
        let work = as_f32(work);
        self.ten_seconds.add(work, now.as_secs());
        self.minute.add(work, now.as_secs() / 5);
        self.quarter_hour.add(work, now.as_secs() / 60);
    }

    fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.last) > Duration::from_secs(15 * 60)
    }

    fn rate(&mut self, now: Duration) -> Hashrate {
        let observed = now.saturating_sub(self.start).as_secs_f64();
        // The newest bucket is still filling: a window spans its full buckets and this part.
        let over = |work: f64, bucket: u64, buckets: f64| {
            let filling = (now.as_secs_f64() / bucket_seconds(bucket)).fract();
            let span = (buckets - 1.0 + filling) * bucket_seconds(bucket);
            work / observed.min(span).max(1.0)
        };
        Hashrate {
            ten_seconds: over(self.ten_seconds.sum(now.as_secs()), 1, 10.0),
            minute: over(self.minute.sum(now.as_secs() / 5), 5, 12.0),
            quarter_hour: over(self.quarter_hour.sum(now.as_secs() / 60), 60, 15.0),
        }
    }
}

/// The last `N` buckets of work, the newest at `newest % N`.
#[derive(Debug)]
struct Ring<const N: usize> {
    newest: u64,
    buckets: [f32; N],
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self { newest: 0, buckets: [0.0; N] }
    }
}

impl<const N: usize> Ring<N> {
    fn add(&mut self, work: f32, bucket: u64) {
        self.advance(bucket);
        let slot = self.slot(bucket);
        self.buckets[slot] += work;
    }

    fn sum(&mut self, bucket: u64) -> f64 {
        self.advance(bucket);
        self.buckets.iter().copied().map(f64::from).sum()
    }

    /// Empties what has fallen out of the window by `bucket`.
    fn advance(&mut self, bucket: u64) {
        let steps = bucket.saturating_sub(self.newest);
        for step in 0..steps.min(u64::try_from(N).unwrap_or(u64::MAX)) {
            let slot = self.slot(bucket - step);
            self.buckets[slot] = 0.0;
        }
        self.newest = self.newest.max(bucket);
    }

    fn slot(&self, bucket: u64) -> usize {
        usize::try_from(bucket).unwrap_or(usize::MAX) % self.buckets.len()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough to look at")]
fn as_f32(work: Work) -> f32 {
    work.as_f64() as f32
}

fn bucket_seconds(bucket: u64) -> f64 {
    Duration::from_secs(bucket).as_secs_f64()
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
