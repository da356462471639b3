//! Waiting times between attempts: doubling, bounded, and jittered so that a crowd of clients
//! does not come back in step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of jitter. Its quality only has to keep clients apart, so it is a 64-bit mixer over
/// a counter, seeded by whoever makes it.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A wait for attempt number `attempt` (from 0): between half of and all of
    /// `base * 2^attempt`, and of at most `limit`.
    pub(crate) fn wait(&self, attempt: u32, base: Duration, limit: Duration) -> Duration {
        let full = base.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(limit);
        let half = full / 2;
        let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(self.next() % span.max(1))
    }

    /// The next number of the sequence (the finalizer of splitmix64).
    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_differ() {
        let jitter = Jitter::new(7);
        let base = Duration::from_millis(100);
        let limit = Duration::from_secs(5);
        for attempt in 0..40 {
            let wait = jitter.wait(attempt, base, limit);
            let full = base.saturating_mul(1 << attempt.min(20)).min(limit);
            assert!(wait >= full / 2 && wait <= full, "attempt {attempt}: {wait:?}");
        }
        assert_ne!(jitter.wait(3, base, limit), jitter.wait(3, base, limit));
    }
}
