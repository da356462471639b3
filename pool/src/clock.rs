//! The pool's one clock. Everything below the shell takes a [`Moment`] as an argument; this is
//! where one is made.
//!
//! It deliberately does not sleep or schedule: timers are tokio's, in the tasks that own them.

use std::time::{Duration, Instant, SystemTime};

use units::{Moment, UnixMillis};

/// Reads both clocks. Cheap to copy; all copies share one start.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// What the monotonic side was at `start`.
    before: Duration,
}

impl Clock {
    /// A clock whose monotonic side starts at zero now.
    #[must_use]
    pub fn start() -> Self {
        Self::continuing(Duration::ZERO)
    }

    /// A clock whose monotonic side goes on from `before` now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the shell's clock is read here and only here")]
    pub fn continuing(before: Duration) -> Self {
        Self { start: Instant::now(), before }
    }

    /// This moment on both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the shell's clock is read here and only here")]
    pub fn now(&self) -> Moment {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = since_epoch.unwrap_or(Duration::ZERO).as_millis();
        Moment {
            mono: self.before.saturating_add(self.start.elapsed()),
            unix: UnixMillis::new(u64::try_from(millis).unwrap_or(u64::MAX)),
        }
    }

    /// The instant that tokio's timers understand for a point on the monotonic side.
    #[must_use]
    pub fn instant(&self, mono: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + mono.saturating_sub(self.before))
    }
}
