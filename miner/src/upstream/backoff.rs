//! How long to wait before the pools are tried again: twice as long after each round that
//! failed, up to a limit, and never in step with other miners.
//!
//! Pure: the randomness is an argument.

use std::time::Duration;

/// The first wait.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The state: how many rounds failed in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// The wait after one more failed round: between half of the doubled wait and all of it,
    /// where `random` (any u64, uniform) picks the point.
    pub fn next(&mut self, random: u64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = doubled / 2;
        let share = u32::try_from(random >> 32).unwrap_or(u32::MAX);
        half + half.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// A connection worked: the next failure waits the first wait again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_again_after_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(u64::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(u64::MAX), FIRST);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        for random in [0, 1 << 40, u64::MAX / 2, u64::MAX] {
            let wait = Backoff { failures: 3 }.next(random);
            assert!(wait >= Duration::from_secs(4) && wait <= Duration::from_secs(8), "{wait:?}");
        }
        assert_eq!(Backoff { failures: 3 }.next(0), Duration::from_secs(4));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next(u64::MAX), LONGEST);
    }
}
