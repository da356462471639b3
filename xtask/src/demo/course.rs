//! How a run went: the rates of claimed and proven hashes side by side, and how well the two
//! agree.
//!
//! Proven work is a sum over random finds. With shares of equal work its standard error is one
//! part in the square root of their number; with changing work it is the root of the sum of their
//! squares. The squares are taken per look, as if the shares found between two looks had equal
//! work. Floats serve here because these are figures for people; nothing exact passes through.

use std::collections::VecDeque;

/// Looks that the shown rates reach back over, one a second.
const WINDOW: usize = 10;

/// One look at both programs, at `seconds` since the miner was started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Look {
    pub(crate) seconds: f64,
    /// Hashes by the miner's own counter.
    pub(crate) claimed: u128,
    /// Hashes that the pool's accepted shares prove.
    pub(crate) proven: u128,
    /// Accepted shares.
    pub(crate) shares: u64,
}

/// The looks of one run.
#[derive(Debug)]
pub(crate) struct Course {
    first: Look,
    recent: VecDeque<Look>,
    /// Hashes squared: the variance of the proven work.
    variance: f64,
}

/// Hashes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    pub(crate) claimed: f64,
    pub(crate) proven: f64,
}

impl Course {
    /// Begins with the first look.
    pub(crate) fn new(first: Look) -> Self {
        Self { first, recent: VecDeque::from([first]), variance: 0.0 }
    }

    /// Takes the next look.
    pub(crate) fn add(&mut self, look: Look) {
        let before = self.last();
        let shares = look.shares.saturating_sub(before.shares);
        if shares > 0 {
            let work = approximate(look.proven.saturating_sub(before.proven));
            self.variance += work * work / approximate(u128::from(shares));
        }
        self.recent.push_back(look);
        if self.recent.len() > WINDOW + 1 {
            self.recent.pop_front();
        }
    }

    /// The newest look.
    pub(crate) fn last(&self) -> Look {
        self.recent.back().copied().unwrap_or(self.first)
    }

    /// The rates over the last ten looks.
    pub(crate) fn recent_rates(&self) -> Rates {
        rates(self.recent.front().copied().unwrap_or(self.first), self.last())
    }

    /// The rates over the whole run.
    pub(crate) fn overall_rates(&self) -> Rates {
        rates(self.first, self.last())
    }

    /// By how many standard errors the proven work lies above the claim (below: negative);
    /// `None` before the first share.
    pub(crate) fn sigmas(&self) -> Option<f64> {
        let (proven, claimed) = self.gained();
        (self.variance > 0.0).then(|| (proven - claimed) / self.variance.sqrt())
    }

    /// Proven and claimed hashes since the first look.
    fn gained(&self) -> (f64, f64) {
        let last = self.last();
        let since = |now: u128, then: u128| approximate(now.saturating_sub(then));
        (since(last.proven, self.first.proven), since(last.claimed, self.first.claimed))
    }
}

/// The nearest float; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "for display and for a ratio of two big numbers")]
pub(crate) fn approximate(count: u128) -> f64 {
    count as f64
}

fn rates(from: Look, to: Look) -> Rates {
    let seconds = to.seconds - from.seconds;
    let rate = |now: u128, then: u128| {
        if seconds > 0.0 { approximate(now.saturating_sub(then)) / seconds } else { 0.0 }
    };
    Rates { claimed: rate(to.claimed, from.claimed), proven: rate(to.proven, from.proven) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(seconds: f64, claimed: u128, proven: u128, shares: u64) -> Look {
        Look { seconds, claimed, proven, shares }
    }

    #[test]
    fn rates_reach_back_over_the_window_and_the_run() {
        let mut course = Course::new(look(0.0, 0, 0, 0));
        for second in 1..=20_u32 {
            let claimed = u128::from(if second <= 10 { 0 } else { (second - 10) * 100 });
            course.add(look(f64::from(second), claimed, claimed / 2, u64::from(second)));
        }
        assert_eq!(course.recent_rates(), Rates { claimed: 100.0, proven: 50.0 });
        assert_eq!(course.overall_rates(), Rates { claimed: 50.0, proven: 25.0 });
    }

    #[test]
    fn agreement_is_counted_in_standard_errors() {
        // 100 shares of 10 hashes prove 1000 with a standard error of 100; 1200 were claimed.
        let mut course = Course::new(look(0.0, 0, 0, 0));
        course.add(look(1.0, 600, 500, 50));
        course.add(look(2.0, 1200, 1000, 100));
        let sigmas = course.sigmas().unwrap();
        assert!((sigmas + 2.0).abs() < 1e-9, "{sigmas}");
    }

    #[test]
    fn what_was_there_before_the_run_does_not_count() {
        let mut course = Course::new(look(0.0, 1_000, 5_000, 7));
        assert_eq!(course.sigmas(), None);
        course.add(look(1.0, 1_100, 5_100, 8));
        assert!(course.sigmas().unwrap().abs() < 1e-9);
    }
}
