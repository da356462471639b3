//! When headers that no block needs any more are dropped: a little at a time, between commits.
//!
//! Read [`Pruning::is_due`]. Which headers go says the ledger (docs/retention.md); here is only
//! when it is asked. It deliberately reads no clock: whoever owns it says what time it is.

use std::time::Duration;

use ledger::{Ledger, LedgerError, Pruned, Retention};
use units::UnixMillis;

/// Between looks where the last one left nothing to do, or failed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between steps while commands wait: the load has this long for itself after each.
const UNDER_LOAD_EVERY: Duration = Duration::from_millis(100);

/// What is known of the pruning that was done.
///
/// Something new to drop comes of slices that are closed or paid for, of blocks whose fate is
/// known, and of days that pass. None of them is watched for: a look costs next to nothing, and
/// what may go can stay for ten seconds more. The first look is due at the start.
#[derive(Debug)]
pub(super) struct Pruning {
    retention: Retention,
    /// When the last step ended.
    last: Option<Duration>,
    /// Whether it left more to do.
    behind: bool,
}

impl Pruning {
    pub(super) const fn new(retention: Retention) -> Self {
        Self { retention, last: None, behind: false }
    }

    /// Whether there is more to do as soon as nobody waits.
    pub(super) const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether it is time for a step, where commands wait or not.
    pub(super) fn is_due(&self, now: Duration, waiting: bool) -> bool {
        let pause = match (self.behind, waiting) {
            (false, _) => LOOK_EVERY,
            (true, true) => UNDER_LOAD_EVERY,
            (true, false) => Duration::ZERO,
        };
        let rested = self.last.is_none_or(|last| now.saturating_sub(last) >= pause);
        rested && !self.retention.all
    }

    /// Does one step, whose end is then to be noted.
    pub(super) fn step(&self, ledger: &mut Ledger, now: UnixMillis) -> Result<Pruned, LedgerError> {
        ledger.prune(now, self.retention)
    }

    /// Notes that a step ended, and whether it left more to do; one that failed is not tried again
    /// at once.
    pub(super) const fn note(&mut self, now: Duration, more: bool) {
        self.last = Some(now);
        self.behind = more;
    }
}

/// The disk failed for good, or what it has is unknown: a commit would end the pool for that. All
/// else can wait, since no share's answer hangs on it.
pub(super) const fn ends_the_pool(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Store { passing: false, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn after(millis: u64) -> Duration {
        START + Duration::from_millis(millis)
    }

    /// Whether a step is due so many milliseconds after the last, without load and under it.
    fn due(pruning: &Pruning, millis: u64) -> (bool, bool) {
        (pruning.is_due(after(millis), false), pruning.is_due(after(millis), true))
    }

    #[test]
    fn the_first_look_is_at_the_start_and_the_next_after_ten_seconds() {
        let mut pruning = Pruning::new(Retention::default());
        assert!(!pruning.is_behind());
        assert_eq!(due(&pruning, 0), (true, true));
        pruning.note(START, false);
        assert!(!pruning.is_behind());
        assert_eq!(due(&pruning, 0), (false, false));
        assert_eq!(due(&pruning, 9_999), (false, false));
        assert_eq!(due(&pruning, 10_000), (true, true));
    }

    #[test]
    fn while_there_is_more_the_load_goes_first_but_not_for_ever() {
        let mut pruning = Pruning::new(Retention::default());
        pruning.note(START, true);
        assert!(pruning.is_behind());
        assert_eq!(due(&pruning, 0), (true, false));
        assert_eq!(due(&pruning, 99), (true, false));
        assert_eq!(due(&pruning, 100), (true, true));
        pruning.note(after(100), true);
        assert_eq!(due(&pruning, 199), (true, false));
        assert_eq!(due(&pruning, 200), (true, true));
        // A failure in between, or the end of it: there is time.
        pruning.note(after(200), false);
        assert!(!pruning.is_behind());
        assert_eq!(due(&pruning, 300), (false, false));
        assert_eq!(due(&pruning, 10_200), (true, true));
    }

    #[test]
    fn where_all_is_kept_nothing_is_ever_due() {
        let pruning = Pruning::new(Retention { all: true, ..Retention::default() });
        assert_eq!(due(&pruning, 0), (false, false));
        assert_eq!(due(&pruning, 1_000_000), (false, false));
    }

    #[test]
    fn only_a_store_that_is_lost_ends_the_pool() {
        let store =
            |passing| LedgerError::Store { doing: String::new(), passing, reason: String::new() };
        assert!(ends_the_pool(&store(false)));
        assert!(!ends_the_pool(&store(true)));
        assert!(!ends_the_pool(&LedgerError::Damaged("a batch".to_owned())));
    }
}
