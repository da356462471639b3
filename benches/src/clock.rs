//! The one place where this program reads a clock.

use std::time::{Duration, Instant};

/// A monotonic clock that starts at zero now, for any thread.
#[expect(clippy::disallowed_methods, reason = "a bench measures time; it is read here only")]
pub(crate) fn read() -> impl Fn() -> Duration + Send + Sync {
    let start = Instant::now();
    move || start.elapsed()
}
