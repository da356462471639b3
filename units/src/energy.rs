//! Energy and power. A microjoule is the base because that is what the finest counters give.

use core::time::Duration;

use crate::{Work, decimal};

/// Energy in microjoules. 128 bits: a 100 MW site fills 64 bits in 51 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MicroJoules(u128);

/// Power in milliwatts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliWatts(u64);

/// Energy per 10^12 hashes, kept as the two exact figures that it is the ratio of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoulesPerTerahash {
    energy: MicroJoules,
    work: Work,
}

impl MicroJoules {
    /// None.
    pub const ZERO: Self = Self(0);

    /// This many microjoules.
    #[must_use]
    pub const fn new(microjoules: u128) -> Self {
        Self(microjoules)
    }

    /// The number of microjoules.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The sum, or `None` past `u128::MAX`.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum, stopping at `u128::MAX`: for displays, never for accounts.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// In joules, exactly: "12.345678".
    #[must_use]
    pub fn joules(self) -> String {
        decimal::print(self.0, 6)
    }

    /// In joules, for gauges and people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a gauge is an approximation")]
    pub fn joules_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl MilliWatts {
    /// None.
    pub const ZERO: Self = Self(0);

    /// This many milliwatts.
    #[must_use]
    pub const fn new(milliwatts: u64) -> Self {
        Self(milliwatts)
    }

    /// This many watts, stopping at `u64::MAX` milliwatts.
    #[must_use]
    pub const fn from_watts(watts: u64) -> Self {
        Self(watts.saturating_mul(1000))
    }

    /// The number of milliwatts.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What this power uses in `duration`, rounded down to a microjoule (mW x us = nJ).
    /// Stops at `u128::MAX` microjoules, past the age of the universe at full scale.
    #[must_use]
    pub const fn energy_over(self, duration: Duration) -> MicroJoules {
        // u64 x 94 bits of nanoseconds overflows only past 10^9 years at a megawatt.
        MicroJoules((self.0 as u128).saturating_mul(duration.as_nanos()) / 1_000_000)
    }

    /// In watts, for gauges and people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a gauge is an approximation")]
    pub fn watts_f64(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl JoulesPerTerahash {
    /// The ratio of `energy` to `work`, or `None` when there is no work to divide by.
    #[must_use]
    pub const fn of(energy: MicroJoules, work: Work) -> Option<Self> {
        if work.get() == 0 { None } else { Some(Self { energy, work }) }
    }

    /// In microjoules per terahash, rounded half up; stops at `u128::MAX`.
    #[must_use]
    pub fn microjoules_per_terahash(self) -> u128 {
        let divisor = crate::U256::from(self.work.get());
        let half = crate::U256::from(self.work.get() / 2);
        crate::U256::product(self.energy.get(), 1_000_000_000_000)
            .checked_add(half)
            .and_then(|scaled| scaled.div_rem(divisor))
            .and_then(|(quotient, _)| quotient.to_u128())
            .unwrap_or(u128::MAX)
    }

    /// In joules per terahash, for gauges and people.
    #[must_use]
    pub fn value_f64(self) -> f64 {
        self.energy.joules_f64() / (self.work.as_f64() / 1e12)
    }
}

/// In joules per terahash with six decimals, rounded half up from the exact ratio.
impl core::fmt::Display for JoulesPerTerahash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&decimal::print(self.microjoules_per_terahash(), 6))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn power_times_time_is_energy() {
        let minute = MilliWatts::from_watts(65).energy_over(Duration::from_secs(60));
        assert_eq!(minute.joules(), "3900.000000");
        let instant = MilliWatts::new(1).energy_over(Duration::from_nanos(999_999));
        assert_eq!(instant, MicroJoules::ZERO);
    }

    #[test]
    fn a_recorded_device_gives_its_known_ratio() {
        // A Whatsminer's summary: 3417 W for 10154 s, 158334976 difficulty accepted
        // (energy.md 1.5): 51.0 J/TH proven.
        let energy = MilliWatts::from_watts(3417).energy_over(Duration::from_secs(10_154));
        let work = Work::new(158_334_976 * 4_295_032_833);
        let ratio = JoulesPerTerahash::of(energy, work).unwrap();
        assert!((ratio.value_f64() - 51.0).abs() < 0.05, "{ratio}");
        assert!(JoulesPerTerahash::of(energy, Work::ZERO).is_none());
    }

    #[test]
    fn the_last_digit_is_rounded_half_up() {
        let ratio = |energy, work| {
            JoulesPerTerahash::of(MicroJoules::new(energy), Work::new(work)).unwrap().to_string()
        };
        assert_eq!(ratio(1, 1_000_000_000_000), "0.000001");
        assert_eq!(ratio(1, 2_000_000_000_000), "0.000001");
        assert_eq!(ratio(1, 2_000_000_000_001), "0.000000");
        assert_eq!(ratio(2, 3), "666666.666667");
    }

    proptest! {
        #[test]
        fn the_ratio_is_within_half_a_digit(energy in 0_u64.., work in 1_u64..) {
            let ratio = JoulesPerTerahash::of(
                MicroJoules::new(energy.into()),
                Work::new(work.into()),
            ).unwrap();
            let shown = ratio.microjoules_per_terahash();
            let exact = u128::from(energy) * 1_000_000_000_000;
            let difference = (shown * u128::from(work)).abs_diff(exact);
            prop_assert!(difference * 2 <= u128::from(work));
        }
    }
}
