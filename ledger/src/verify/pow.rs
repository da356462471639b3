//! What a hash proves, and what a header's bits ask for.

use sha2::{Digest, Sha256};
use units::U256;

/// SHA-256 twice.
pub(super) fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// Whether `hash` (internal order) meets some target whose expected number of hashes is at least
/// `work`. Such a target has floor(2^256 / (T + 1)) >= work, that is (T + 1) x work <= 2^256, and
/// the hash meets the greatest one if and only if (hash + 1) x work <= 2^256.
pub(super) fn proves(hash: &[u8; 32], work: u128) -> bool {
    let product = product_plus(hash, work);
    match product {
        [_, _, _, _, 0, 0] | [0, 0, 0, 0, 1, 0] => true,
        [..] => false,
    }
}

/// hash x work + work, least significant limb first.
fn product_plus(hash: &[u8; 32], work: u128) -> [u64; 6] {
    let work = limbs_of_work(work);
    let mut product = [work[0], work[1], 0, 0, 0, 0];
    for (index, limb) in hash.as_chunks::<8>().0.iter().enumerate() {
        let limb = u128::from(u64::from_le_bytes(*limb));
        let mut carry = 0;
        for (out, factor) in product.iter_mut().skip(index).zip(work) {
            // (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1: the sum cannot wrap.
            let sum = limb
                .wrapping_mul(u128::from(factor))
                .wrapping_add(u128::from(*out))
                .wrapping_add(carry);
            (*out, carry) = (low(sum), sum.wrapping_shr(64));
        }
    }
    product
}

/// The two limbs of `work` and a third, zero, that takes up the carry.
const fn limbs_of_work(work: u128) -> [u64; 3] {
    [low(work), low(work.wrapping_shr(64)), 0]
}

const fn low(value: u128) -> u64 {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = value.to_le_bytes();
    u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7])
}

/// The target that compact `bits` encode, by the rules of the chain; `None` when they encode a
/// negative, zero or too large number.
pub(super) fn target_of_bits(bits: u32) -> Option<U256> {
    let (exponent, mantissa) = (bits.wrapping_shr(24), bits & 0x00ff_ffff);
    if mantissa == 0 || mantissa & 0x0080_0000 != 0 {
        return None;
    }
    let mantissa = U256::from(u64::from(mantissa));
    let target = match exponent.checked_sub(3) {
        Some(bytes) => {
            let shift = bytes.checked_mul(8)?;
            if mantissa.bits().checked_add(shift)? > 256 {
                return None;
            }
            mantissa.shifted_left(shift)
        }
        None => mantissa.shifted_right(3_u32.checked_sub(exponent)?.checked_mul(8)?),
    };
    (target != U256::ZERO).then_some(target)
}

/// Expected hashes to meet `target`: floor(2^256 / (target + 1)), stopping at `u128::MAX`.
pub(super) fn work_of_target(target: U256) -> u128 {
    let Some(divisor) = target.checked_add(U256::ONE) else { return 1 };
    // 2^256 = q x d + r is one more than U256::MAX = q' x d + r': q = q' + 1 when r' + 1 = d.
    let (quotient, rest) = U256::MAX.div_rem(divisor).expect("the divisor is at least 1");
    let quotient = quotient.to_u128().unwrap_or(u128::MAX);
    let exact = rest.checked_add(U256::ONE) == Some(divisor);
    if exact { quotient.saturating_add(1) } else { quotient }
}

/// The bits of a header.
pub(super) fn bits_of(header: &[u8; 80]) -> u32 {
    let [.., b0, b1, b2, b3, _, _, _, _] = *header;
    u32::from_le_bytes([b0, b1, b2, b3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use units::Target;

    use super::*;

    fn hash(value: U256) -> [u8; 32] {
        value.to_le_bytes()
    }

    #[test]
    fn the_limit_itself_proves_and_one_more_does_not() {
        // 2^256 / 2^224 = 2^32 exactly.
        let edge = U256::ONE.shifted_left(224).checked_sub(U256::ONE).unwrap();
        assert!(proves(&hash(edge), 1_u128.wrapping_shl(32)));
        assert!(!proves(&hash(edge.checked_add(U256::ONE).unwrap()), 1_u128.wrapping_shl(32)));
        assert!(proves(&hash(U256::MAX), 1));
        assert!(!proves(&hash(U256::MAX), 2));
        assert!(proves(&hash(U256::ZERO), u128::MAX));
    }

    #[test]
    fn known_bits() {
        let work = |bits| work_of_target(target_of_bits(bits).unwrap());
        assert_eq!(work(0x1d00_ffff), 4_295_032_833);
        assert_eq!(work(0x207f_ffff), 2);
        for bits in [0, 0x1d80_ffff, 0x0100_0000, 0x0000_0001, 0xff12_3456, 0x2300_0001] {
            assert_eq!(target_of_bits(bits), None, "{bits:08x}");
        }
    }

    proptest! {
        #[test]
        fn a_hash_at_a_target_proves_its_work_and_not_more(bits in 0x1200_8000_u32..0x2100_0000) {
            let Some(target) = target_of_bits(bits) else { return Ok(()) };
            let work = work_of_target(target);
            prop_assert!(proves(&hash(target), work));
            prop_assert!(!proves(&hash(target), work.checked_add(1).unwrap()));
            prop_assert_eq!(Target::from_compact(bits).unwrap().work().get(), work);
        }
    }
}
