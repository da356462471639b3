//! What the pool answered, by worker, and everything that was not as it must be.

use std::{collections::BTreeMap, time::Duration};

use super::offence::Offence;

/// The shortest bound of a delay's class; each is a tenth longer than the one before.
const SHORTEST: Duration = Duration::from_micros(50);
const CLASSES: usize = 160;

/// Counts of one soak.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of each worker.
    pub(super) workers: Vec<Shares>,
    /// Shares refused as stale.
    pub(super) stale: u64,
    /// Offences, and how many of them had the answer that they deserve.
    pub(super) offences: BTreeMap<Offence, Answered>,
    pub(super) delays: Delays,
    /// Connections made.
    pub(super) guests: u64,
    /// Of these, who asked for an earlier subscription, and who got it.
    pub(super) returned: u64,
    pub(super) resumed: u64,
    /// Shares that were due and that nobody could send.
    pub(super) missed: u64,
    /// What must not be, and how often it was.
    pub(super) faults: BTreeMap<String, u64>,
}

/// Of one worker.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// Answered `true`: the ledger must hold them.
    pub(super) accepted: u64,
    /// Sent by who did not stay for the answer: the ledger may hold them.
    pub(super) unheard: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) done: u64,
    pub(super) rightly: u64,
}

/// How long answers took, in classes: an hour of them does not fit into memory one by one.
#[derive(Debug)]
pub(super) struct Delays {
    bounds: Vec<Duration>,
    counts: Vec<u64>,
    most: Duration,
}

impl Tally {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: vec![Shares::default(); workers], ..Self::default() }
    }

    pub(super) fn fault(&mut self, what: impl Into<String>) {
        *self.faults.entry(what.into()).or_default() += 1;
    }

    /// A guest went with so many shares unanswered.
    pub(super) fn unheard(&mut self, worker: usize, shares: usize) {
        self.workers[worker].unheard += u64::try_from(shares).unwrap_or(u64::MAX);
    }

    /// Over all workers.
    pub(super) fn sum(&self) -> Shares {
        self.workers.iter().fold(Shares::default(), |sum, one| Shares {
            accepted: sum.accepted + one.accepted,
            unheard: sum.unheard + one.unheard,
        })
    }
}

impl Shares {
    /// Whether a ledger with so many is right.
    pub(super) const fn allow(self, shares: u64) -> bool {
        self.accepted <= shares && shares <= self.accepted + self.unheard
    }
}

impl Default for Delays {
    fn default() -> Self {
        let bound = |bound: &Duration| Some(bound.mul_f64(1.1));
        let bounds: Vec<_> = std::iter::successors(Some(SHORTEST), bound).take(CLASSES).collect();
        Self { counts: vec![0; CLASSES + 1], bounds, most: Duration::ZERO }
    }
}

impl Delays {
    pub(super) fn add(&mut self, delay: Duration) {
        self.counts[self.bounds.partition_point(|bound| *bound < delay)] += 1;
        self.most = self.most.max(delay);
    }

    /// So many percent of all took no longer; up to a tenth too long.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let all: u64 = self.counts.iter().sum();
        let mut wanted = (all * percent).div_ceil(100);
        for (count, bound) in self.counts.iter().zip(&self.bounds) {
            wanted = wanted.saturating_sub(*count);
            if wanted == 0 {
                return (*bound).min(self.most);
            }
        }
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_tenth() {
        let mut delays = Delays::default();
        for millis in 1..=100 {
            delays.add(Duration::from_millis(millis));
        }
        for (percent, millis) in [(50, 50), (99, 99), (100, 100)] {
            let (found, exact) = (delays.percentile(percent), Duration::from_millis(millis));
            assert!(exact <= found && found <= exact.mul_f64(1.1), "{percent}: {found:?}");
        }
        delays.add(Duration::from_secs(3600));
        assert_eq!(delays.percentile(100), Duration::from_secs(3600));
        assert_eq!(Delays::default().percentile(50), Duration::ZERO);
    }

    #[test]
    fn a_ledger_holds_what_was_answered_and_may_hold_what_was_not_heard() {
        let mut tally = Tally::new(2);
        tally.workers[0].accepted = 5;
        tally.workers[1].accepted = 3;
        tally.unheard(1, 2);
        let sum = tally.sum();
        assert_eq!(sum, Shares { accepted: 8, unheard: 2 });
        assert_eq!([7, 8, 10, 11].map(|shares| sum.allow(shares)), [false, true, true, false]);
    }
}
