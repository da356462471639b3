//! A graphics board's energy: by its own counter, else by its power readings.
//!
//! What NVIDIA's library and Linux's hardware monitors have in common. A counter is preferred: it
//! sees what happens between two readings. Power is summed as trapezoids, over short gaps alone.
//!
//! Units: microjoules and microwatts in, microjoules out; times are monotonic.

use std::{collections::BTreeMap, time::Duration};

use units::{MicroJoules, MilliWatts};

use crate::{
    counter::{Counter, GapReason, Limits, Step},
    integrator::PowerIntegrator,
};

/// More than any board draws; a difference or a power beyond it is none.
const MAX_POWER: MilliWatts = MilliWatts::from_watts(4_000);
/// A counter that stands still for longer is not counting.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Power readings further apart are not joined: what the board did meanwhile is not known.
const MAX_GAP: Duration = Duration::from_secs(5);

/// One board's energy.
#[derive(Clone, Debug)]
pub(crate) enum Gauge {
    /// It counts microjoules. They wrap nowhere: a fall is a new start.
    Counter {
        /// What it counted.
        counter: Counter,
        /// Whether the board was away when last asked.
        was_away: bool,
    },
    /// It shows microwatts.
    Power(PowerIntegrator),
}

impl Gauge {
    /// A gauge that counts from this reading on.
    pub(crate) fn counter(microjoules: u128, at: Duration) -> Self {
        let limits = Limits { range: None, max_power: MAX_POWER, stuck_after: Some(STUCK_AFTER) };
        let mut counter = Counter::new(limits);
        counter.advance(MicroJoules::new(microjoules), at);
        Self::Counter { counter, was_away: false }
    }

    /// A gauge that sums power from this reading on; none for a reading that cannot be true.
    pub(crate) fn power(microwatts: u128, at: Duration) -> Result<Self, GapReason> {
        let mut integrator = PowerIntegrator::new(MAX_GAP);
        integrator.advance(plausible(microwatts)?, at);
        Ok(Self::Power(integrator))
    }

    /// Takes a reading, in microjoules or microwatts as the gauge is, or why there is none.
    pub(crate) fn take(&mut self, reading: Result<u128, GapReason>, at: Duration) -> Step {
        match self {
            Self::Counter { counter, was_away } => match reading {
                // A board that comes back may have lost its count, and may have passed it again.
                Ok(microjoules) if std::mem::take(was_away) => {
                    counter.restart(MicroJoules::new(microjoules), at)
                }
                Ok(microjoules) => counter.advance(MicroJoules::new(microjoules), at),
                Err(reason) => {
                    *was_away |= reason == GapReason::Vanished;
                    counter.failed(reason, at)
                }
            },
            Self::Power(integrator) => match reading.and_then(plausible) {
                Ok(power) => integrator.advance(power, at),
                Err(reason) => integrator.failed(reason, at),
            },
        }
    }

    /// The energy since the first reading; never falls.
    pub(crate) const fn total(&self) -> MicroJoules {
        match self {
            Self::Counter { counter, .. } => counter.total(),
            Self::Power(integrator) => integrator.total(),
        }
    }

    /// The part of the time since the first reading that the total covers, in parts per million.
    pub(crate) fn coverage_ppm(&self, now: Duration) -> u32 {
        match self {
            Self::Counter { counter, .. } => counter.coverage_ppm(now),
            Self::Power(integrator) => integrator.coverage_ppm(now),
        }
    }

    /// Time lost for good, by reason.
    pub(crate) const fn lost(&self) -> &BTreeMap<GapReason, Duration> {
        match self {
            Self::Counter { counter, .. } => counter.lost(),
            Self::Power(integrator) => integrator.lost(),
        }
    }
}

/// A power that a board in use can show: it always draws some. Rounded down to a milliwatt.
fn plausible(microwatts: u128) -> Result<MilliWatts, GapReason> {
    let milliwatts = u64::try_from(microwatts / 1000).unwrap_or(u64::MAX);
    if milliwatts == 0 {
        return Err(GapReason::Stuck);
    }
    let power = MilliWatts::new(milliwatts);
    if power <= MAX_POWER { Ok(power) } else { Err(GapReason::Implausible) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn gap(reason: GapReason, seconds: u64) -> Step {
        Step::Gap { reason, length: secs(seconds) }
    }

    #[test]
    fn a_counter_goes_on_over_failures_and_not_over_an_absence() {
        let mut gauge = Gauge::counter(5_000_000, secs(0));
        assert_eq!(
            gauge.take(Ok(205_000_001), secs(1)),
            Step::Added(MicroJoules::new(200_000_001))
        );
        assert_eq!(gauge.take(Err(GapReason::Permission), secs(2)), gap(GapReason::Permission, 1));
        assert_eq!(
            gauge.take(Ok(605_000_001), secs(3)),
            Step::Added(MicroJoules::new(400_000_000))
        );
        // Away, refused, and back with more than it had: that it went on is not certain.
        assert_eq!(gauge.take(Err(GapReason::Vanished), secs(4)), gap(GapReason::Vanished, 1));
        assert_eq!(gauge.take(Err(GapReason::ReadError), secs(5)), gap(GapReason::ReadError, 2));
        assert_eq!(gauge.take(Ok(700_000_000), secs(6)), Step::NewEpoch { length: secs(3) });
        assert_eq!(gauge.take(Ok(700_000_007), secs(7)), Step::Added(MicroJoules::new(7)));
        assert_eq!(gauge.total(), MicroJoules::new(600_000_008));
        assert_eq!(gauge.lost(), &BTreeMap::from([(GapReason::Reset, secs(3))]));
        assert_eq!(gauge.coverage_ppm(secs(8)), 500_000);
    }

    #[test]
    fn a_fall_is_a_new_start_and_a_leap_is_no_energy() {
        let mut gauge = Gauge::counter(900_000_000, secs(0));
        assert_eq!(gauge.take(Ok(3_000_000), secs(1)), Step::NewEpoch { length: secs(1) });
        assert_eq!(gauge.take(Ok(13_000_000), secs(2)), Step::Added(MicroJoules::new(10_000_000)));
        assert_eq!(gauge.take(Ok(8_013_000_001), secs(3)), gap(GapReason::Implausible, 1));
        assert_eq!(gauge.take(Ok(8_013_000_001), secs(14)), gap(GapReason::Stuck, 11));
        assert_eq!(gauge.total(), MicroJoules::new(10_000_000));
    }

    #[test]
    fn power_is_joined_over_short_gaps_alone() {
        let mut gauge = Gauge::power(100_000_000, secs(0)).unwrap();
        assert_eq!(
            gauge.take(Ok(200_000_999), secs(1)),
            Step::Added(MicroJoules::new(150_000_000))
        );
        assert_eq!(gauge.take(Err(GapReason::ReadError), secs(2)), gap(GapReason::ReadError, 1));
        assert_eq!(gauge.take(Ok(0), secs(3)), gap(GapReason::Stuck, 2));
        assert_eq!(gauge.take(Ok(65_535_000_000), secs(4)), gap(GapReason::Implausible, 3));
        assert_eq!(
            gauge.take(Ok(200_000_000), secs(6)),
            Step::Added(MicroJoules::new(1_000_000_000))
        );
        assert_eq!(gauge.take(Ok(200_000_000), secs(12)), gap(GapReason::TooLong, 6));
        assert_eq!(gauge.total(), MicroJoules::new(1_150_000_000));
        assert_eq!(gauge.lost(), &BTreeMap::from([(GapReason::TooLong, secs(6))]));
        assert_eq!(gauge.coverage_ppm(secs(12)), 500_000);
    }

    #[test]
    fn a_power_that_cannot_be_true_is_no_gauge() {
        assert_eq!(Gauge::power(0, secs(0)).unwrap_err(), GapReason::Stuck);
        assert_eq!(Gauge::power(u128::MAX, secs(0)).unwrap_err(), GapReason::Implausible);
    }
}
