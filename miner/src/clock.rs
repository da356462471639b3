//! The one clock: the only place of this crate that asks the operating system for the time.
//!
//! Everything else takes a [`Moment`], or a [`Clock`] where it has to measure by itself (the
//! workers, which size their slices by time). It deliberately gives no way to sleep: waiting is
//! the runtime's business.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use units::{Moment, UnixMillis};

/// A clock that counts from its own start.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Both clocks, now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(&self) -> Moment {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Moment { mono: self.elapsed(), unix: UnixMillis::new(millis) }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_advance() {
        let clock = Clock::start();
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        let second = clock.now();
        assert!(second.mono >= first.mono + Duration::from_millis(5));
        assert!(first.unix.seconds() > 1_700_000_000, "the wall clock reads {first:?}");
    }
}
