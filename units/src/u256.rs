//! Unsigned 256-bit integers: just what targets, work and exact shares of money need.
//!
//! Plain schoolbook algorithms on four 64-bit limbs. Division by more than one limb takes a step
//! for each bit of the quotient: nothing in the share path divides, it compares.

use core::{cmp::Ordering, num::NonZeroU64};

/// An unsigned integer of 256 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct U256([u64; 4]); // least significant limb first

impl U256 {
    /// 0.
    pub const ZERO: Self = Self([0; 4]);
    /// 1.
    pub const ONE: Self = Self([1, 0, 0, 0]);
    /// 2^256 - 1.
    pub const MAX: Self = Self([u64::MAX; 4]);

    /// From 32 bytes, most significant first.
    #[must_use]
    pub fn from_be_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self::from_le_bytes(bytes)
    }

    /// From 32 bytes, least significant first: the order in which a block hash is compared.
    #[must_use]
    pub fn from_le_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*chunk);
        }
        Self(limbs)
    }

    /// As 32 bytes, most significant first.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = self.to_le_bytes();
        bytes.reverse();
        bytes
    }

    /// As 32 bytes, least significant first.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = limb.to_le_bytes();
        }
        bytes
    }

    /// The value as a `u128`, or `None` when it needs more than 128 bits.
    #[must_use]
    pub fn to_u128(self) -> Option<u128> {
        (self.0[2] == 0 && self.0[3] == 0)
            .then(|| u128::from(self.0[0]) | (u128::from(self.0[1]) << 64))
    }

    /// Number of significant bits, 0 to 256.
    #[must_use]
    pub fn bits(self) -> u32 {
        let top = (0..4_u32).rev().zip(self.0.iter().rev()).find(|(_, limb)| **limb != 0);
        top.map_or(0, |(index, limb)| index * 64 + 64 - limb.leading_zeros())
    }

    /// The sum, or `None` past 2^256 - 1.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let mut sum = [0; 4];
        let mut carry = false;
        for ((out, a), b) in sum.iter_mut().zip(self.0).zip(other.0) {
            let (first, over_first) = a.overflowing_add(b);
            let (second, over_second) = first.overflowing_add(u64::from(carry));
            *out = second;
            carry = over_first || over_second;
        }
        (!carry).then_some(Self(sum))
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        (self >= other).then(|| self.wrapping_sub(other))
    }

    /// The difference modulo 2^256.
    fn wrapping_sub(self, other: Self) -> Self {
        let mut difference = [0; 4];
        let mut borrow = false;
        for ((out, a), b) in difference.iter_mut().zip(self.0).zip(other.0) {
            let (first, under_first) = a.overflowing_sub(b);
            let (second, under_second) = first.overflowing_sub(u64::from(borrow));
            *out = second;
            borrow = under_first || under_second;
        }
        Self(difference)
    }

    /// The full product of two `u128`, which always fits.
    #[must_use]
    pub fn product(a: u128, b: u128) -> Self {
        let (a_low, a_high) = halves(a);
        let (b_low, b_high) = halves(b);
        let low = a_low * b_low;
        let high = a_high * b_high;
        let middle_a = a_low * b_high;
        let middle_b = a_high * b_low;
        // (a1 X + a0)(b1 X + b0) with X = 2^64: the whole is below X^4, so no sum wraps.
        Self::from_halves(low, high).plus_shifted(middle_a).plus_shifted(middle_b)
    }

    /// Quotient and remainder, or `None` when `divisor` is zero.
    #[must_use]
    pub fn div_rem(self, divisor: Self) -> Option<(Self, Self)> {
        if let [low, 0, 0, 0] = divisor.0 {
            let (quotient, remainder) = self.by_limb(NonZeroU64::new(low)?);
            return Some((quotient, Self::from(remainder)));
        }
        // As many steps as the quotient has bits: few, where the divisor is a share's target.
        let Some(steps) = self.bits().checked_sub(divisor.bits()) else {
            return Some((Self::ZERO, self));
        };
        let (mut quotient, mut remainder) = (Self::ZERO, self);
        let mut aligned = divisor.shifted_left(steps);
        for _ in 0..=steps {
            quotient = quotient.shifted_left(1);
            if remainder >= aligned {
                remainder = remainder.wrapping_sub(aligned);
                quotient.0[0] |= 1;
            }
            aligned = aligned.shifted_right(1);
        }
        Some((quotient, remainder))
    }

    /// Long division in base 2^64.
    fn by_limb(self, divisor: NonZeroU64) -> (Self, u64) {
        let (mut quotient, mut remainder) = (Self::ZERO, 0);
        for (out, limb) in quotient.0.iter_mut().zip(self.0).rev() {
            (*out, remainder) = below(remainder, limb, divisor);
        }
        (quotient, remainder)
    }

    /// Shifted towards the most significant end; bits that leave are lost.
    #[must_use]
    pub fn shifted_left(self, by: u32) -> Self {
        let (words, bits) = split_shift(by);
        let mut shifted = [0; 4];
        for (index, out) in shifted.iter_mut().enumerate().skip(words) {
            let source = index - words;
            *out = self.0[source] << bits;
            if bits > 0 && source > 0 {
                *out |= self.0[source - 1] >> (64 - bits);
            }
        }
        Self(shifted)
    }

    /// Shifted towards the least significant end; bits that leave are lost.
    #[must_use]
    pub fn shifted_right(self, by: u32) -> Self {
        let (words, bits) = split_shift(by);
        let mut shifted = [0; 4];
        for (source, limb) in self.0.iter().enumerate().skip(words) {
            let index = source - words;
            shifted[index] |= limb >> bits;
            if bits > 0 && index > 0 {
                shifted[index - 1] |= limb << (64 - bits);
            }
        }
        Self(shifted)
    }

    /// `self + middle x 2^64` for partial products, whose sum stays in range.
    fn plus_shifted(self, middle: u128) -> Self {
        let (low, high) = halves(middle);
        self.checked_add(Self::from_halves(low << 64, high))
            .expect("partial products sum to at most the product of two u128")
    }

    /// Division by what is known not to be zero, carried on for `more` bits below the point: the
    /// quotient of `self x 2^more`, which must have no more than 256 bits.
    pub(crate) fn divided_by(self, divisor: NonZeroU64, mut more: u32) -> Self {
        let (mut quotient, mut remainder) = self.by_limb(divisor);
        while more > 0 {
            let bits = more.min(64);
            let (digit, rest) = below(remainder, 0, divisor);
            // A whole limb was carried on; of fewer bits only the upper ones are wanted, and what
            // remains then is never looked at.
            let digit = Self::from(digit).shifted_right(64 - bits);
            quotient = quotient.shifted_left(bits);
            quotient.0[0] |= digit.0[0];
            (remainder, more) = (rest, more - bits);
        }
        quotient
    }

    fn from_halves(low: u128, high: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&low.to_le_bytes());
        bytes[16..].copy_from_slice(&high.to_le_bytes());
        Self::from_le_bytes(bytes)
    }
}

/// Quotient and remainder of `high x 2^64 + low`, where `high` is below the divisor, so that the
/// quotient is below 2^64.
fn below(high: u64, low: u64, divisor: NonZeroU64) -> (u64, u64) {
    let (value, divisor) = (u128::from(high) << 64 | u128::from(low), u128::from(divisor.get()));
    let limb = |value: u128| u64::try_from(value).expect("both are below the divisor's limb");
    (limb(value / divisor), limb(value % divisor))
}

impl From<u128> for U256 {
    fn from(value: u128) -> Self {
        Self::from_halves(value, 0)
    }
}

impl From<u64> for U256 {
    fn from(value: u64) -> Self {
        Self([value, 0, 0, 0])
    }
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whole limbs and the bits left over; 256 and more moves everything out.
fn split_shift(by: u32) -> (usize, u32) {
    (usize::try_from(by / 64).unwrap_or(4).min(4), by % 64)
}

/// Low and high 64 bits, each as a `u128` so that their products fit.
const fn halves(value: u128) -> (u128, u128) {
    (value & 0xffff_ffff_ffff_ffff, value >> 64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_u256() -> impl Strategy<Value = U256> {
        (any::<[u64; 4]>(), 0_u32..256).prop_map(|(limbs, shift)| U256(limbs).shifted_right(shift))
    }

    #[test]
    fn orders_by_the_most_significant_limb() {
        assert!(U256([0, 0, 0, 1]) > U256([u64::MAX, u64::MAX, u64::MAX, 0]));
        assert_eq!(U256::ZERO.bits(), 0);
        assert_eq!(U256::MAX.bits(), 256);
        assert_eq!(U256::MAX.div_rem(U256::ZERO), None);
        assert_eq!(U256::MAX.checked_add(U256::ONE), None);
        assert_eq!(U256::ZERO.checked_sub(U256::ONE), None);
    }

    proptest! {
        #[test]
        fn bytes_round_trip(value in any_u256()) {
            prop_assert_eq!(U256::from_be_bytes(value.to_be_bytes()), value);
            prop_assert_eq!(U256::from_le_bytes(value.to_le_bytes()), value);
        }

        #[test]
        fn division_rebuilds_the_dividend(quotient: u128, divisor in 1_u128.., spare: u128) {
            let remainder = U256::from(spare % divisor);
            let Some(dividend) = U256::product(quotient, divisor).checked_add(remainder) else {
                return Ok(());
            };
            prop_assert_eq!(
                dividend.div_rem(U256::from(divisor)),
                Some((U256::from(quotient), remainder))
            );
        }

        #[test]
        fn division_leaves_less_than_the_divisor(value in any_u256(), divisor in any_u256()) {
            prop_assume!(divisor != U256::ZERO);
            let (quotient, remainder) = value.div_rem(divisor).unwrap();
            prop_assert!(remainder < divisor);
            prop_assert!(quotient <= value);
        }

        #[test]
        fn sums_and_differences_undo_each_other(a in any_u256(), b in any_u256()) {
            if let Some(sum) = a.checked_add(b) {
                prop_assert_eq!(sum.checked_sub(b), Some(a));
            }
        }

        #[test]
        fn small_products_agree_with_the_machine(a: u64, b: u64) {
            prop_assert_eq!(
                U256::product(a.into(), b.into()).to_u128(),
                Some(u128::from(a) * u128::from(b))
            );
        }

        #[test]
        fn shifts_undo_each_other(value in any_u256(), by in 0_u32..300) {
            let kept = value.shifted_right(by).shifted_left(by);
            prop_assert!(kept <= value);
            prop_assert_eq!(kept.shifted_right(by), value.shifted_right(by));
        }
    }
}
