//! Difficulty as Stratum's wire and people use it: a positive number, 1 being the easiest target
//! that Bitcoin's first blocks had.

use core::num::NonZeroU64;

/// A share or block difficulty: finite and above zero, fractions welcome.
///
/// For the wire and for people only. What is credited is [`crate::Work`], computed from the
/// integer [`crate::Target`] that this is turned into once, at the edge.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

/// Why a number is no difficulty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DifficultyError(f64);

impl Difficulty {
    /// Difficulty 1: 4,295,032,833 expected hashes.
    pub const ONE: Self = Self(1.0);

    /// Takes any finite number above zero.
    ///
    /// # Errors
    /// When `value` is zero, negative, infinite or not a number.
    pub fn new(value: f64) -> Result<Self, DifficultyError> {
        if value.is_finite() && value > 0.0 { Ok(Self(value)) } else { Err(DifficultyError(value)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The smaller (easier) of two.
    #[must_use]
    pub fn easier(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }

    /// The larger (harder) of two.
    #[must_use]
    pub fn harder(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }

    /// `self` = mantissa x 2^exponent with an integer mantissa of at most 53 bits.
    pub(crate) fn decode(self) -> (NonZeroU64, i32) {
        let bits = self.0.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let field = i32::try_from((bits >> 52) & 0x7ff).expect("eleven bits fit");
        let (mantissa, exponent) =
            if field == 0 { (fraction, -1074) } else { (fraction | (1 << 52), field - 1075) };
        (NonZeroU64::new(mantissa).expect("a difficulty is above zero"), exponent)
    }
}

impl core::fmt::Display for Difficulty {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::fmt::Display for DifficultyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is no difficulty: it must be a finite number above zero", self.0)
    }
}

impl core::error::Error for DifficultyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_positive_finite_numbers_only() {
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Difficulty::new(bad).is_err(), "{bad}");
        }
        assert!(Difficulty::new(f64::MIN_POSITIVE / 4.0).is_ok());
    }

    #[test]
    fn decodes_to_mantissa_and_exponent() {
        assert_eq!(Difficulty::ONE.decode(), (NonZeroU64::new(1 << 52).unwrap(), -52));
        assert_eq!(Difficulty(0.5).decode(), (NonZeroU64::new(1 << 52).unwrap(), -53));
    }
}
