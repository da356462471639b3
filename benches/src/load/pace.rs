//! When the next share is due, so that so many a second are spread evenly. Time is an argument.

use std::time::Duration;

/// Who is later than this gives up what was due: a burst would be no even pace.
const LATE: Duration = Duration::from_millis(250);

/// An even pace.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    a_second: f64,
    start: Duration,
    /// Shares that were due since the start.
    due: u64,
    given_up: u64,
}

impl Pace {
    pub(crate) const fn new(a_second: f64, start: Duration) -> Self {
        Self { a_second, start, due: 0, given_up: 0 }
    }

    /// How many have become due since this was asked last.
    pub(crate) fn take(&mut self, now: Duration) -> u64 {
        let all = self.due_by(now);
        let kept = all - self.due_by(now.saturating_sub(LATE)).min(all);
        let new = all.saturating_sub(self.due);
        self.given_up += new.saturating_sub(kept);
        self.due = self.due.max(all);
        new.min(kept)
    }

    /// How many were given up because nobody asked in time.
    pub(crate) const fn given_up(&self) -> u64 {
        self.given_up
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of shares of one run, never negative and far below 2^53"
    )]
    fn due_by(&self, now: Duration) -> u64 {
        (now.saturating_sub(self.start).as_secs_f64() * self.a_second) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(1000 + millis)
    }

    #[test]
    fn shares_come_due_evenly() {
        let mut pace = Pace::new(400.0, at(0));
        let turns: Vec<u64> = (0..=5).map(|turn| pace.take(at(5 * turn))).collect();
        assert_eq!(turns, [0, 2, 2, 2, 2, 2]);
        assert_eq!(pace.take(at(27)), 0);
        assert_eq!(pace.take(at(28)), 1, "2.8 rounds down to what is wholly due");
        assert_eq!(pace.given_up(), 0);
    }

    #[test]
    fn who_is_late_gives_up_what_is_old() {
        let mut pace = Pace::new(100.0, at(0));
        assert_eq!(pace.take(at(1000)), 25);
        assert_eq!(pace.given_up(), 75);
        assert_eq!((pace.take(at(1010)), pace.given_up()), (1, 75));
    }
}
