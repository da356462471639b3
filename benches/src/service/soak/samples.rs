//! Whether a process keeps its size: samples of memory and open files, and the rule that they are
//! held to.
//!
//! Read [`Rule`]. Medians of quarters are compared, so that neither a start nor a single peak
//! decides. A process that becomes smaller is never at fault.

use std::time::Duration;

/// Samples of a run up to this long are taken every second, of a longer one every ten.
const SHORT: Duration = Duration::from_secs(600);
/// A run from this length on has its caches and tables filled in its first quarter.
const LONG: Duration = Duration::from_secs(1800);
const MIB: u64 = 1024 * 1024;

/// What is seen of the pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Resident memory, bytes.
    pub(super) resident: u64,
    /// Open files.
    pub(super) files: u64,
}

/// By how much the median of the last quarter may exceed that of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    percent: u64,
    bytes: u64,
    files: u64,
}

/// Medians of two quarters, and the most that the later may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) second: u64,
    pub(super) last: u64,
    pub(super) limit: u64,
}

impl Rule {
    /// Of a run so long: a tenth and 4 MiB from half an hour on, a quarter and 16 MiB below, where
    /// what is kept of those who left (for ten minutes) is still becoming more.
    pub(super) fn of(length: Duration) -> Self {
        if length >= LONG {
            Self { percent: 10, bytes: 4 * MIB, files: 16 }
        } else {
            Self { percent: 25, bytes: 16 * MIB, files: 16 }
        }
    }

    /// In words.
    pub(super) fn text(self) -> String {
        let Self { percent, bytes, files } = self;
        format!(
            "medians: the last quarter's at most the second's and {percent} % and {} MiB or {files} files",
            bytes / MIB
        )
    }

    /// How memory grew; nothing of fewer than four samples.
    pub(super) fn memory(self, samples: &[Sample]) -> Option<Growth> {
        self.growth(samples, |sample| sample.resident, self.bytes)
    }

    /// How open files grew.
    pub(super) fn files(self, samples: &[Sample]) -> Option<Growth> {
        self.growth(samples, |sample| sample.files, self.files)
    }

    fn growth(self, samples: &[Sample], of: fn(&Sample) -> u64, more: u64) -> Option<Growth> {
        let quarter = samples.len() / 4;
        let median = |part: &[Sample]| {
            let mut values: Vec<u64> = part.iter().map(of).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        let second = median(samples.get(quarter..2 * quarter)?)?;
        let last = median(samples.get(samples.len() - quarter..)?)?;
        Some(Growth { second, last, limit: second + second * self.percent / 100 + more })
    }
}

impl Growth {
    pub(super) const fn is_flat(self) -> bool {
        self.last <= self.limit
    }
}

/// Between two samples.
pub(super) fn every(length: Duration) -> Duration {
    Duration::from_secs(if length <= SHORT { 1 } else { 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn samples(resident: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..360).map(|at| Sample { resident: resident(at) * MIB, files: 400 }).collect()
    }

    #[test]
    fn a_leak_is_seen_and_a_start_or_a_peak_is_none() {
        let rule = Rule::of(HOUR);
        let flat = |resident: &dyn Fn(u64) -> u64| rule.memory(&samples(resident)).unwrap();
        assert!(!flat(&|at| 50 + at / 10).is_flat(), "a leak");
        assert!(flat(&|at| 10 + at.min(80)).is_flat(), "a start");
        assert!(flat(&|at| if at % 20 == 7 { 900 } else { 60 }).is_flat(), "peaks");
        assert!(flat(&|at| 400 - at).is_flat(), "smaller");
        let growth = flat(&|at| if at < 180 { 100 } else { 114 });
        assert_eq!((growth.second, growth.last, growth.limit), (100 * MIB, 114 * MIB, 114 * MIB));
        assert!(growth.is_flat() && !flat(&|at| if at < 180 { 100 } else { 115 }).is_flat());
    }

    #[test]
    fn files_are_held_to_the_same_and_short_runs_to_less() {
        let mut samples = samples(|_| 50);
        let rule = Rule::of(HOUR);
        assert!(rule.files(&samples).unwrap().is_flat());
        for (at, sample) in (0..).zip(&mut samples) {
            sample.files += at;
        }
        assert!(!rule.files(&samples).unwrap().is_flat());
        let short = Rule::of(Duration::from_secs(120));
        assert!(short.percent > rule.percent && short.bytes > rule.bytes);
        assert_eq!(rule.memory(&samples[..3]), None);
        assert!(every(HOUR) > every(Duration::from_secs(120)));
    }
}
