//! The one place where this program reads a clock. It deliberately offers no wall-clock time:
//! everything here measures durations.

use std::time::Instant;

/// The present instant of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the program's only reading of a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
