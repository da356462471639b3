//! Targets: the largest hash that still counts.

use crate::{Difficulty, U256, Work};

/// A hash counts when, read as a little-endian number, it is at most this. Ordered by value:
/// a larger target is easier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// Why four bytes of a header are no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetError(u32);

impl Target {
    /// Every hash counts.
    pub const MAX: Self = Self(U256::MAX);

    /// Difficulty 1: 0xFFFF x 2^208, the truncated form that Stratum uses ("bdiff").
    #[must_use]
    pub fn difficulty_one() -> Self {
        Self(U256::from(0xffff_u64).shifted_left(208))
    }

    /// Decodes a header's `nBits`.
    ///
    /// # Errors
    /// When the encoding is negative, zero or larger than 256 bits: no valid header carries it.
    pub fn from_compact(bits: u32) -> Result<Self, TargetError> {
        let exponent = bits >> 24;
        let mantissa = u64::from(bits & 0x007f_ffff);
        if bits & 0x0080_0000 != 0 || mantissa == 0 {
            return Err(TargetError(bits));
        }
        let value = if exponent <= 3 {
            U256::from(mantissa).shifted_right(8 * (3 - exponent))
        } else {
            let shift = 8 * (exponent - 3);
            if U256::from(mantissa).bits() + shift > 256 {
                return Err(TargetError(bits));
            }
            U256::from(mantissa).shifted_left(shift)
        };
        if value == U256::ZERO { Err(TargetError(bits)) } else { Ok(Self(value)) }
    }

    /// Encodes as `nBits`, rounding down to the 23 bits that the encoding keeps.
    #[must_use]
    pub fn to_compact(self) -> u32 {
        let mut bytes = self.0.bits().div_ceil(8);
        let low_word = |value: U256| value.to_u128().unwrap_or(u128::MAX);
        let mut mantissa = if bytes <= 3 {
            low_word(self.0.shifted_left(8 * (3 - bytes)))
        } else {
            low_word(self.0.shifted_right(8 * (bytes - 3)))
        };
        // The mantissa's top bit is a sign: move a byte over when it is taken.
        if mantissa & 0x0080_0000 != 0 {
            mantissa >>= 8;
            bytes += 1;
        }
        u32::try_from(mantissa).unwrap_or(u32::MAX) | (bytes << 24)
    }

    /// From 32 bytes, most significant first, as RPC answers print it.
    #[must_use]
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// As 32 bytes, most significant first.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// floor(0xFFFF x 2^208 / difficulty), by integers, stopping at [`Target::MAX`] and at 1.
    ///
    /// The float is taken as the exact fraction that it is, so that two programs that agree on
    /// the difficulty agree on the target to the last bit.
    #[must_use]
    pub fn from_difficulty(difficulty: Difficulty) -> Self {
        let (mantissa, exponent) = difficulty.decode();
        // 0xFFFF x 2^208 / (m x 2^e) = (0xFFFF x 2^240 / m) x 2^(-32 - e), floored in one go by
        // keeping 240 bits in front of the division; what the last shift drops is the floor.
        let scaled = U256::from(0xffff_u64).shifted_left(240);
        let shift = -32 - exponent;
        let quotient = scaled.divided_by(mantissa, 0);
        let value = if shift <= 0 {
            quotient.shifted_right(shift.unsigned_abs())
        } else if quotient.bits() + shift.unsigned_abs() > 256 {
            U256::MAX
        } else {
            scaled.divided_by(mantissa, shift.unsigned_abs())
        };
        Self(value.max(U256::ONE))
    }

    /// The difficulty of this target as the nearest floats give it.
    #[must_use]
    pub fn difficulty(self) -> Difficulty {
        let one = to_f64(Self::difficulty_one().0);
        Difficulty::new(one / to_f64(self.0)).unwrap_or(Difficulty::ONE)
    }

    /// Expected hashes to meet this target: floor(2^256 / (target + 1)), the quantity that is
    /// credited for a share. Stops at `u128::MAX`, past 2^128 hashes.
    #[must_use]
    pub fn work(self) -> Work {
        // 2^256 / d = (2^256 - d) / d + 1, and 2^256 - d is MAX - target.
        let quotient = self
            .0
            .checked_add(U256::ONE)
            .zip(U256::MAX.checked_sub(self.0))
            .and_then(|(divisor, rest)| rest.div_rem(divisor))
            .map_or(U256::ZERO, |(quotient, _)| quotient);
        Work::new(quotient.to_u128().map_or(u128::MAX, |work| work.saturating_add(1)))
    }

    /// Whether a hash, in the order that SHA-256 gives it (internal order), is at or below this.
    #[must_use]
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        U256::from_le_bytes(*hash) <= self.0
    }
}

impl core::fmt::Display for TargetError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "bits {:08x} encode no target", self.0)
    }
}

impl core::error::Error for TargetError {}

#[expect(clippy::cast_precision_loss, reason = "a difficulty for people is an approximation")]
fn to_f64(value: U256) -> f64 {
    let bytes = value.to_be_bytes();
    let (high, low) = bytes.split_at(16);
    let half = |part: &[u8]| u128::from_be_bytes(part.try_into().expect("half of 32 bytes"));
    (half(high) as f64) * 2_f64.powi(128) + (half(low) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn difficulty_one_is_the_genesis_target() {
        let genesis = Target::from_compact(0x1d00_ffff).unwrap();
        assert_eq!(genesis, Target::difficulty_one());
        assert_eq!(genesis, Target::from_difficulty(Difficulty::ONE));
        assert_eq!(genesis.to_compact(), 0x1d00_ffff);
        // 2^256 / (0xFFFF x 2^208 + 1), rounded down: pool.md section 4.
        assert_eq!(genesis.work(), Work::new(4_295_032_833));
    }

    #[test]
    fn regtest_and_signet_limits() {
        let regtest = Target::from_compact(0x207f_ffff).unwrap();
        assert_eq!(regtest.work(), Work::new(2));
        assert!((regtest.difficulty().get() - 4.656_542_373_906_925e-10).abs() < 1e-20);
        let signet = Target::from_compact(0x1e03_77ae).unwrap();
        assert_eq!(signet.to_compact(), 0x1e03_77ae);
        assert_eq!(Target::MAX.work(), Work::new(1));
    }

    #[test]
    fn refuses_what_encodes_no_target() {
        for bits in [0, 0x1d80_ffff, 0x0100_0000, 0x0000_0001, 0xff12_3456, 0x2300_0001] {
            assert!(Target::from_compact(bits).is_err(), "{bits:08x}");
        }
    }

    #[test]
    fn extremes_of_difficulty_stay_in_range() {
        let hardest = Target::from_difficulty(Difficulty::new(f64::MAX).unwrap());
        assert_eq!(hardest.work(), Work::new(u128::MAX));
        let easiest = Target::from_difficulty(Difficulty::new(1e-300).unwrap());
        assert_eq!(easiest, Target::MAX);
        let half = Target::from_difficulty(Difficulty::new(0.5).unwrap());
        assert_eq!(half, Target(U256::from(0xffff_u64).shifted_left(209)));
        let third = Target::from_difficulty(Difficulty::new(3.0).unwrap());
        assert_eq!(third, Target(U256::from(0x5555_u64).shifted_left(208)));
    }

    #[test]
    fn the_limit_itself_is_met() {
        let target = Target::difficulty_one();
        let mut hash = target.to_be_bytes();
        hash.reverse();
        assert!(target.is_met_by(&hash));
        hash[0] = 1;
        assert!(!target.is_met_by(&hash));
    }

    proptest! {
        #[test]
        fn difficulty_survives_the_round_trip(exponent in -30_i32..90, fraction in 1.0_f64..2.0) {
            let difficulty = Difficulty::new(fraction * 2_f64.powi(exponent)).unwrap();
            let back = Target::from_difficulty(difficulty).difficulty();
            prop_assert!((back.get() / difficulty.get() - 1.0).abs() < 1e-9);
        }

        #[test]
        fn integer_difficulties_divide_exactly(difficulty in 1_u32..) {
            let target = Target::from_difficulty(Difficulty::new(difficulty.into()).unwrap());
            let (expected, _) = Target::difficulty_one()
                .0
                .div_rem(U256::from(u64::from(difficulty)))
                .unwrap();
            prop_assert_eq!(target.0, expected);
        }

        #[test]
        fn harder_targets_are_worth_more(a in 1e-9_f64..1e12, b in 1e-9_f64..1e12) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let easy = Target::from_difficulty(Difficulty::new(low).unwrap());
            let hard = Target::from_difficulty(Difficulty::new(high).unwrap());
            prop_assert!(easy >= hard);
            prop_assert!(easy.work() <= hard.work());
        }

        #[test]
        fn compact_round_trips(bits in 0x0300_8000_u32..0x2000_0000) {
            if let Ok(target) = Target::from_compact(bits) {
                prop_assert_eq!(Target::from_compact(target.to_compact()), Ok(target));
            }
        }
    }
}
