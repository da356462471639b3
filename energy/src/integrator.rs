//! Power readings to energy: the area under the line between neighbouring samples.
//!
//! For devices without a counter. Where two samples lie further apart than `max_gap`, the time
//! between them is a gap; nothing is assumed about it. The sum is kept in half picojoules, so that
//! no rounding ever adds up.
//!
//! Units: milliwatts in, microjoules out; times are monotonic.

use std::{collections::BTreeMap, time::Duration};

use units::{MicroJoules, MilliWatts};

use crate::counter::{self, GapReason, Step, ratio_ppm};

/// Half picojoules in a microjoule: a milliwatt for a nanosecond is a picojoule.
pub(crate) const HALF_PICOJOULES: u128 = 2_000_000;

/// Energy accumulated from power readings.
#[derive(Clone, Debug)]
pub struct PowerIntegrator {
    max_gap: Duration,
    first_at: Option<Duration>,
    last: Option<(MilliWatts, Duration)>,
    half_picojoules: u128,
    covered: Duration,
    lost: BTreeMap<GapReason, Duration>,
}

/// What an integrator is to know after a restart of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When the first reading was.
    pub first_at: Duration,
    /// The last power.
    pub last_power: MilliWatts,
    /// When it was read.
    pub last_at: Duration,
    /// The energy so far, in half picojoules: nothing is lost to rounding.
    pub half_picojoules: u128,
    /// The time that it covers.
    pub covered: Duration,
    /// Time lost for good, by reason.
    pub lost: BTreeMap<GapReason, Duration>,
}

impl Kept {
    /// The same for one that is metered by a counter from now on; what that shows is not known yet.
    #[must_use]
    pub(crate) fn into_counter(self) -> counter::Kept {
        let Self { first_at, last_at, half_picojoules, covered, lost, .. } = self;
        let total = MicroJoules::new(half_picojoules / HALF_PICOJOULES);
        counter::Kept { first_at, last_raw: MicroJoules::ZERO, last_at, total, covered, lost }
    }
}

impl PowerIntegrator {
    /// Samples further apart than `max_gap` (three sampling periods, say) are a gap.
    #[must_use]
    pub const fn new(max_gap: Duration) -> Self {
        Self {
            max_gap,
            first_at: None,
            last: None,
            half_picojoules: 0,
            covered: Duration::ZERO,
            lost: BTreeMap::new(),
        }
    }

    /// Goes on from what was kept. The times of readings to come count from the same instant as the
    /// kept ones, so that a restart that took too long is a gap like any other.
    #[must_use]
    pub fn resume(max_gap: Duration, kept: Kept) -> Self {
        let Kept { first_at, last_power, last_at, half_picojoules, covered, lost } = kept;
        let last = Some((last_power, last_at));
        Self { max_gap, first_at: Some(first_at), last, half_picojoules, covered, lost }
    }

    /// What is to be kept over a restart; `None` before the first reading.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        let (last_power, last_at) = self.last?;
        Some(Kept {
            first_at: self.first_at?,
            last_power,
            last_at,
            half_picojoules: self.half_picojoules,
            covered: self.covered,
            lost: self.lost.clone(),
        })
    }

    /// Takes a power reading.
    pub fn advance(&mut self, power: MilliWatts, at: Duration) -> Step {
        let Some((last_power, last_at)) = self.last else {
            self.first_at = Some(at);
            self.last = Some((power, at));
            return Step::Baseline;
        };
        let Some(elapsed) = at.checked_sub(last_at) else {
            return Step::Gap { reason: GapReason::ClockBackwards, length: Duration::ZERO };
        };
        self.last = Some((power, at));
        if elapsed > self.max_gap {
            *self.lost.entry(GapReason::TooLong).or_default() += elapsed;
            return Step::Gap { reason: GapReason::TooLong, length: elapsed };
        }
        let before = self.total();
        let both = u128::from(last_power.get()).saturating_add(u128::from(power.get()));
        let area = both.saturating_mul(elapsed.as_nanos());
        self.half_picojoules = self.half_picojoules.saturating_add(area);
        self.covered = self.covered.saturating_add(elapsed);
        Step::Added(self.total().checked_sub(before).unwrap_or_default())
    }

    /// Begins anew with this reading: what was used since the last one is not known, for this reason.
    pub fn restart(&mut self, power: MilliWatts, at: Duration, reason: GapReason) -> Step {
        let length = self.last.map_or(Duration::ZERO, |(_, last)| at.saturating_sub(last));
        self.first_at.get_or_insert(at);
        self.last = Some((power, at));
        *self.lost.entry(reason).or_default() += length;
        Step::NewEpoch { length }
    }

    /// Notes a reading that failed; the time until the next one counts if it is short enough.
    #[must_use]
    pub fn failed(&self, reason: GapReason, at: Duration) -> Step {
        let length = self.last.map_or(Duration::ZERO, |(_, last)| at.saturating_sub(last));
        Step::Gap { reason, length }
    }

    /// The energy since the first reading, rounded down; never falls.
    #[must_use]
    pub const fn total(&self) -> MicroJoules {
        MicroJoules::new(self.half_picojoules / HALF_PICOJOULES)
    }

    /// The part of the time since the first reading that `total` covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        self.first_at.map_or(0, |first| ratio_ppm(self.covered, now.saturating_sub(first)))
    }

    /// Time lost for good, by reason.
    #[must_use]
    pub const fn lost(&self) -> &BTreeMap<GapReason, Duration> {
        &self.lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ramp_is_its_mean_and_a_long_silence_is_a_gap() {
        let mut integrator = PowerIntegrator::new(Duration::from_secs(3));
        let watts = MilliWatts::from_watts;
        assert_eq!(integrator.advance(watts(100), Duration::ZERO), Step::Baseline);
        let step = integrator.advance(watts(200), Duration::from_secs(2));
        assert_eq!(step, Step::Added(MicroJoules::new(300_000_000)));
        let step = integrator.advance(watts(200), Duration::from_secs(8));
        let length = Duration::from_secs(6);
        assert_eq!(step, Step::Gap { reason: GapReason::TooLong, length });
        assert_eq!(integrator.total().joules(), "300.000000");
        assert_eq!(integrator.coverage_ppm(Duration::from_secs(8)), 250_000);
        assert_eq!(integrator.lost()[&GapReason::TooLong], length);
        let step = integrator.failed(GapReason::ReadError, Duration::from_secs(9));
        let length = Duration::from_secs(1);
        assert_eq!(step, Step::Gap { reason: GapReason::ReadError, length });
    }

    proptest! {
        /// However finely a flat load is sampled, the sum is that of one long sample.
        #[test]
        fn rounding_never_adds_up(
            milliwatts in 0..10_000_000_u64,
            steps in prop::collection::vec(0..2_000_000_000_u64, 1..300),
        ) {
            let mut integrator = PowerIntegrator::new(Duration::from_secs(2));
            let power = MilliWatts::new(milliwatts);
            let mut at = Duration::ZERO;
            integrator.advance(power, at);
            let mut sum = MicroJoules::ZERO;
            for nanos in steps {
                at += Duration::from_nanos(nanos);
                match integrator.advance(power, at) {
                    Step::Added(energy) => sum = sum.saturating_add(energy),
                    step @ (Step::Baseline | Step::Gap { .. } | Step::NewEpoch { .. }) => {
                        prop_assert!(false, "{step:?}");
                    }
                }
            }
            prop_assert_eq!(integrator.total(), power.energy_over(at));
            prop_assert_eq!(sum, integrator.total());
        }
    }
}
