//! Points in time, handed in by whoever owns a clock: nothing in the pure rooms reads one.

use std::time::Duration;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The instant `millis` milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down (a block header's time has this unit).
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This instant and `duration` more, stopping at the end of time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this instant; zero when `earlier` is not earlier.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks: `mono` for durations and time limits, `unix` for what is written
/// down. Kept together because each is wrong for the other's job: a wall clock jumps, and a
/// monotonic clock has no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Time since the process (or the simulation) started; never goes back.
    pub mono: Duration,
    /// The wall clock; may jump.
    pub unix: UnixMillis,
}

impl Moment {
    /// The same moment `duration` later on both clocks; what a virtual clock does.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self { mono: self.mono.saturating_add(duration), unix: self.unix.saturating_add(duration) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        let late = UnixMillis::new(u64::MAX);
        assert_eq!(late.saturating_add(Duration::from_secs(1)), late);
        let early = UnixMillis::new(5);
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(UnixMillis::new(1_999).seconds(), 1);
    }
}
