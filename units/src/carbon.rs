//! Grams of a greenhouse gas. Which gas (`CO2` or `CO2e`) is the factor's to say, so it is a label
//! beside these figures and not part of their type.

use core::num::NonZeroU64;

use crate::{MicroJoules, U256, decimal};

/// Microjoules in a kilowatt hour.
const MICROJOULES_PER_KWH: NonZeroU64 = NonZeroU64::new(3_600_000_000_000).unwrap();

/// Emission factor in milligrams per kilowatt hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarbonIntensity(u64);

/// A mass of gas in micrograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CarbonMass(u128);

/// A text that is no emission factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntensityError(String);

impl CarbonIntensity {
    /// Reads grams per kilowatt hour with at most three decimals: "557.5".
    ///
    /// # Errors
    /// When `text` is negative, no such number, or above 100,000 g/kWh: no grid comes near.
    pub fn parse_grams_per_kwh(text: &str) -> Result<Self, IntensityError> {
        decimal::parse(text, 3)
            .and_then(|milligrams| u64::try_from(milligrams).ok())
            .filter(|milligrams| *milligrams <= 100_000_000)
            .map(Self)
            .ok_or_else(|| IntensityError(text.to_owned()))
    }

    /// The number of milligrams per kilowatt hour.
    #[must_use]
    pub const fn milligrams_per_kwh(self) -> u64 {
        self.0
    }

    /// In grams per kilowatt hour, without trailing zeros: "557.5", "485".
    #[must_use]
    pub fn grams_per_kwh(self) -> String {
        let text = decimal::print(self.0.into(), 3);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// The gas that `energy` stands for: energy x factor / 3.6 MJ, rounded down to a microgram.
    ///
    /// Taken of a cumulative total, so that the rounding never adds up.
    #[must_use]
    pub fn mass_of(self, energy: MicroJoules) -> CarbonMass {
        let micrograms_times_kwh = U256::product(energy.get(), u128::from(self.0) * 1000);
        let micrograms = micrograms_times_kwh.divided_by(MICROJOULES_PER_KWH, 0);
        CarbonMass(micrograms.to_u128().unwrap_or(u128::MAX))
    }
}

impl CarbonMass {
    /// This many micrograms.
    #[must_use]
    pub const fn new(micrograms: u128) -> Self {
        Self(micrograms)
    }

    /// The number of micrograms.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// In grams, exactly: "0.001911".
    #[must_use]
    pub fn grams(self) -> String {
        decimal::print(self.0, 6)
    }
}

impl core::fmt::Display for IntensityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} is no emission factor in grams per kilowatt hour", self.0)
    }
}

impl core::error::Error for IntensityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megajoule_at_400_grams() {
        // 10^6 J = 0.2777... kWh; x 400 g = 111.111... g.
        let factor = CarbonIntensity::parse_grams_per_kwh("400").unwrap();
        assert_eq!(factor.mass_of(MicroJoules::new(1_000_000_000_000)).grams(), "111.111111");
    }

    #[test]
    fn factors_are_read_and_printed_as_published() {
        for text in ["557.5", "485", "24.19", "0"] {
            assert_eq!(CarbonIntensity::parse_grams_per_kwh(text).unwrap().grams_per_kwh(), text);
        }
        for bad in ["-1", "x", "", "100000.001"] {
            assert!(CarbonIntensity::parse_grams_per_kwh(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_largest_figures_do_not_overflow() {
        let factor = CarbonIntensity::parse_grams_per_kwh("100000").unwrap();
        assert!(factor.mass_of(MicroJoules::new(u128::MAX)).get() > 0);
    }
}
