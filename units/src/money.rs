//! Satoshis and basis points. Integers only; division is the ledger's business.

use crate::decimal;

/// An amount of bitcoin in satoshis, 0 to 21,000,000 x 100,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sats(u64);

/// A share of an amount in hundredths of a percent, 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BasisPoints(u16);

/// A number that is no amount or no share of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoneyError {
    /// More satoshis than can exist.
    TooManySats(u64),
    /// More than the whole.
    TooManyBasisPoints(u16),
    /// Not a percentage with at most two decimals.
    NotAPercentage(String),
}

impl Sats {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All that can ever exist: 21 million bitcoin.
    pub const MAX: Self = Self(21_000_000 * 100_000_000);

    /// This many satoshis.
    ///
    /// # Errors
    /// When `sats` is more than can exist.
    pub const fn from_sat(sats: u64) -> Result<Self, MoneyError> {
        if sats <= Self::MAX.0 { Ok(Self(sats)) } else { Err(MoneyError::TooManySats(sats)) }
    }

    /// The number of satoshis.
    #[must_use]
    pub const fn to_sat(self) -> u64 {
        self.0
    }

    /// The sum, or `None` past what can exist.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self).filter(|sum| *sum <= Self::MAX)
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl BasisPoints {
    /// This many hundredths of a percent.
    ///
    /// # Errors
    /// When it is more than the whole (10,000).
    pub const fn new(basis_points: u16) -> Result<Self, MoneyError> {
        if basis_points <= 10_000 {
            Ok(Self(basis_points))
        } else {
            Err(MoneyError::TooManyBasisPoints(basis_points))
        }
    }

    /// Reads a percentage with at most two decimals: "1", "1.0", "0.25".
    ///
    /// # Errors
    /// When `text` is no such percentage or above 100.
    pub fn from_percent(text: &str) -> Result<Self, MoneyError> {
        decimal::parse(text, 2)
            .and_then(|hundredths| u16::try_from(hundredths).ok())
            .and_then(|hundredths| Self::new(hundredths).ok())
            .ok_or_else(|| MoneyError::NotAPercentage(text.to_owned()))
    }

    /// The number of hundredths of a percent.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// This share of `amount`, rounded down to a whole satoshi.
    #[must_use]
    pub fn of(self, amount: Sats) -> Sats {
        let part = u128::from(amount.0) * u128::from(self.0) / 10_000;
        // A share is at most the whole, so it fits.
        Sats(u64::try_from(part).unwrap_or(amount.0))
    }
}

impl core::fmt::Display for MoneyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooManySats(sats) => write!(f, "{sats} satoshis are more than can exist"),
            Self::TooManyBasisPoints(points) => {
                write!(f, "{points} basis points are more than the whole (10000)")
            }
            Self::NotAPercentage(text) => {
                write!(f, "{text:?} is no percentage from 0 to 100 with at most two decimals")
            }
        }
    }
}

impl core::error::Error for MoneyError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_end_at_what_can_exist() {
        assert_eq!(Sats::from_sat(2_100_000_000_000_000), Ok(Sats::MAX));
        assert!(Sats::from_sat(2_100_000_000_000_001).is_err());
        assert_eq!(Sats::MAX.checked_add(Sats(1)), None);
        assert_eq!(Sats::ZERO.checked_sub(Sats(1)), None);
    }

    #[test]
    fn percentages_are_read_exactly() {
        assert_eq!(BasisPoints::from_percent("1.0"), Ok(BasisPoints(100)));
        assert_eq!(BasisPoints::from_percent("0.25"), Ok(BasisPoints(25)));
        assert_eq!(BasisPoints::from_percent("100"), Ok(BasisPoints(10_000)));
        for bad in ["100.01", "-1", "1.005", "", "x", "655.36"] {
            assert!(BasisPoints::from_percent(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_share_never_exceeds_the_whole(sats in 0_u64..=Sats::MAX.0, points in 0_u16..=10_000) {
            let amount = Sats::from_sat(sats).unwrap();
            let share = BasisPoints::new(points).unwrap().of(amount);
            prop_assert!(share <= amount);
        }
    }
}
