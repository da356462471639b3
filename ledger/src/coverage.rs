//! Which work a worker's energy readings cover, so that joules per hash compare like with like.
//!
//! A reading says what a meter counted since the reading before it. The work that the worker was
//! credited between the two is covered; work before the first reading, after the newest one, or
//! across a change of epoch (nobody knows what was used meanwhile) is not. Several meters that
//! cover the same work cover it once.
//!
//! All figures are points on the worker's own line of work: its credited work at that time.

/// What the meter's reading before this one left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Previous {
    /// Epoch of the meter's counter then.
    pub(crate) epoch: u64,
    /// The worker's credited work then.
    pub(crate) work: u128,
}

/// A reading as far as coverage goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) epoch: u64,
    /// Whether the reading credits energy.
    pub(crate) credits: bool,
    pub(crate) counted: bool,
    /// The worker's credited work now.
    pub(crate) work: u128,
}

/// Work newly covered by `interval`, given that what was covered so far ends at `mark`; `None`
/// when the reading covers no interval (a baseline). After `Some`, what is covered ends at
/// `interval.work`.
///
/// An interval that reaches back before `mark` counts from `mark` on: where meters come and go,
/// coverage is understated rather than counted twice.
pub(crate) fn newly_covered(
    previous: Option<Previous>,
    interval: Interval,
    mark: u128,
) -> Option<u128> {
    let previous = previous.filter(|_| interval.counted)?;
    let continues = previous.epoch == interval.epoch || interval.credits;
    let from = previous.work.max(mark);
    continues.then(|| interval.work.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(epoch: u64, work: u128) -> Interval {
        Interval { epoch, credits: false, counted: true, work }
    }

    #[test]
    fn the_first_reading_covers_nothing() {
        assert_eq!(newly_covered(None, interval(1, 500), 0), None);
    }

    #[test]
    fn work_between_readings_is_covered_once() {
        let previous = Some(Previous { epoch: 1, work: 500 });
        assert_eq!(newly_covered(previous, interval(1, 800), 0), Some(300));
        assert_eq!(newly_covered(previous, interval(1, 800), 800), Some(0));
        assert_eq!(newly_covered(previous, interval(1, 800), 600), Some(200));
    }

    #[test]
    fn a_new_epoch_covers_nothing_unless_it_credits() {
        let previous = Some(Previous { epoch: 1, work: 500 });
        assert_eq!(newly_covered(previous, interval(2, 800), 0), None);
        let credits = Interval { credits: true, ..interval(2, 800) };
        assert_eq!(newly_covered(previous, credits, 0), Some(300));
        let included = Interval { counted: false, ..interval(1, 800) };
        assert_eq!(newly_covered(previous, included, 0), None);
    }
}
