//! The one place where this program reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock that starts at zero now, for any thread.
#[expect(clippy::disallowed_methods, reason = "a bench measures time; it is read here only")]
pub(crate) fn read() -> impl Fn() -> Duration + Send + Sync {
    let start = Instant::now();
    move || start.elapsed()
}

/// The wall clock, Unix seconds.
#[expect(clippy::disallowed_methods, reason = "a template says the time; it is read here only")]
pub(crate) fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
