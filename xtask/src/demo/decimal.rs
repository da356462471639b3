//! Figures as the programs print them: decimals of at most six places, kept to the last digit so
//! that two sources either agree or do not. It deliberately has no arithmetic but the sum and the one ratio that is checked.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Decimal places kept: microjoules of joules, micrograms of grams.
const PLACES: usize = 6;
/// Millionths in one.
const ONE: u128 = 1_000_000;

/// A non-negative decimal with at most six places, and the text it came as.
#[derive(Debug, Clone)]
pub(crate) struct Decimal {
    text: String,
    millionths: u128,
}

impl Decimal {
    /// Reads `123` or `123.456`.
    ///
    /// # Errors
    /// Names the text where it is not a plain decimal, or too long to be kept exactly.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not a decimal of at most {PLACES} places");
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let padded = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || !digits(places) || padded || places.len() > PLACES {
            return Err(refused());
        }
        let millionths = format!("{whole}{places:0<PLACES$}").parse().map_err(|_| refused())?;
        Ok(Self { text: text.to_owned(), millionths })
    }

    /// The text as it was read.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole part.
    pub(crate) fn whole(&self) -> u128 {
        self.millionths / ONE
    }

    /// The exact sum; `None` past 128 bits of millionths.
    pub(crate) fn checked_add(&self, other: &Self) -> Option<Self> {
        self.millionths.checked_add(other.millionths).map(Self::from_millionths)
    }

    /// This over `hashes` in units of 10^12, rounded half up to six places: the definition of
    /// joules per terahash, worked out here a second time to hold the pool to it. `None` where
    /// there are no hashes, or past 128 bits.
    pub(crate) fn per_terahash(&self, hashes: &Self) -> Option<Self> {
        let scaled = self.millionths.checked_mul(1_000_000_000_000)?;
        let hashes = hashes.whole();
        scaled.checked_add(hashes / 2)?.checked_div(hashes).map(Self::from_millionths)
    }

    /// So many millionths.
    pub(crate) fn from_millionths(millionths: u128) -> Self {
        let (whole, places) = (millionths / ONE, millionths % ONE);
        let text = format!("{whole}.{places:0PLACES$}");
        let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
        Self { text, millionths }
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.millionths == other.millionths
    }
}

impl Eq for Decimal {}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self::from_millionths(u128::from(value) * ONE)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_however_they_are_written() {
        assert_eq!(Decimal::parse("12.5").unwrap(), Decimal::parse("12.500000").unwrap());
        assert_eq!(Decimal::parse("7").unwrap(), Decimal::from(7));
        assert_ne!(Decimal::parse("7.000001").unwrap(), Decimal::from(7));
        assert_eq!(Decimal::parse("7.5").unwrap().whole(), 7);
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "1e6", "1.0000001", "NaN", "1 000", "007"] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sums_are_exact() {
        let sum = Decimal::parse("0.1").unwrap().checked_add(&Decimal::parse("0.2").unwrap());
        assert_eq!(sum.unwrap().as_str(), "0.3");
        let big = Decimal::parse("123456789012345678901234567890").unwrap();
        assert_eq!(big.checked_add(&Decimal::from(0)).unwrap(), big);
    }
}
