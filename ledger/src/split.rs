//! Division of an amount by weights, to the last satoshi, by the largest-remainder rule.
//!
//! Each part is floor(amount x weight / total); the satoshis that are left, fewer than there are
//! parts, go one each to the largest remainders, ties to the lower account id. The parts always
//! sum to the amount, which is asserted in release builds too.

use core::cmp::Reverse;

use units::Sats;

use crate::types::AccountId;

/// Why an amount could not be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Nobody has any weight.
    #[error("an amount cannot be split by weights that sum to zero")]
    NoWeight,
    /// The weights sum to more than `u128::MAX`.
    #[error("the weights of a split sum to more than 2^128 - 1")]
    Overflow,
}

/// Divides `amount` by `weights`, one part for each entry and in the same order; entries of zero
/// weight get zero. An account may stand in `weights` more than once (ties then go by place).
///
/// # Errors
/// When the weights sum to zero or past `u128::MAX`.
///
/// # Panics
/// Never, unless the arithmetic itself is wrong: the sum of the parts is asserted.
pub fn split(
    amount: Sats,
    weights: &[(AccountId, u128)],
) -> Result<Vec<(AccountId, Sats)>, SplitError> {
    let total = weights
        .iter()
        .try_fold(0_u128, |sum, (_, weight)| sum.checked_add(*weight))
        .ok_or(SplitError::Overflow)?;
    if total == 0 {
        return Err(SplitError::NoWeight);
    }
    let mut parts: Vec<(u64, u128)> =
        weights.iter().map(|(_, weight)| floor_part(amount.to_sat(), *weight, total)).collect();
    let whole = sum_of(&parts);
    let left = amount.to_sat().checked_sub(whole).expect("floors sum to at most the amount");
    for index in by_remainder(weights, &parts).into_iter().take(count(left)) {
        let part = &mut parts[index].0;
        *part = part.checked_add(1).expect("a part is at most the amount");
    }
    assert_eq!(sum_of(&parts), amount.to_sat(), "the parts of a split must sum to its amount");
    Ok(weights
        .iter()
        .zip(parts)
        .map(|((account, _), (sats, _))| {
            (*account, Sats::from_sat(sats).expect("a part is at most the amount"))
        })
        .collect())
}

/// Indices by falling remainder, then rising account id, then place.
fn by_remainder(weights: &[(AccountId, u128)], parts: &[(u64, u128)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&index| (Reverse(parts[index].1), weights[index].0));
    order
}

fn sum_of(parts: &[(u64, u128)]) -> u64 {
    parts
        .iter()
        .try_fold(0_u64, |sum, (sats, _)| sum.checked_add(*sats))
        .expect("the parts sum to at most an amount of satoshis")
}

fn count(left: u64) -> usize {
    usize::try_from(left).expect("fewer satoshis are left than there are parts")
}

/// Quotient and remainder of `amount * weight / total` for `weight <= total`, `total > 0`:
/// the binary long multiplication of `amount` by the fraction `weight / total`, whose running
/// remainder stays below `total`, so that nothing needs more than 128 bits.
fn floor_part(amount: u64, weight: u128, total: u128) -> (u64, u128) {
    let mut quotient = 0_u64;
    let mut remainder = 0_u128;
    for bit in (0..u64::BITS).rev() {
        let (carry, doubled) = add_within(remainder, remainder, total);
        quotient = quotient.wrapping_mul(2).wrapping_add(carry);
        remainder = doubled;
        if amount.wrapping_shr(bit) & 1 == 1 {
            let (carry, sum) = add_within(remainder, weight, total);
            quotient = quotient.wrapping_add(carry);
            remainder = sum;
        }
    }
    (quotient, remainder)
}

/// `a + b` as a multiple of `total` (0 or 1) and the rest, for `a < total` and `b <= total`.
/// The wrapping operations cannot wrap: each is taken where the comparison proved it in range.
const fn add_within(a: u128, b: u128, total: u128) -> (u64, u128) {
    let room = total.wrapping_sub(b);
    if a >= room { (1, a.wrapping_sub(room)) } else { (0, a.wrapping_add(b)) }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use proptest::prelude::*;
    use units::U256;

    use super::*;

    fn sats(amount: u64) -> Sats {
        Sats::from_sat(amount).unwrap()
    }

    fn parts(amount: u64, weights: &[u128]) -> Vec<u64> {
        let weights: Vec<_> = (1..).map(AccountId::new).zip(weights.iter().copied()).collect();
        split(sats(amount), &weights).unwrap().iter().map(|(_, part)| part.to_sat()).collect()
    }

    #[test]
    fn the_remainder_goes_to_the_largest_remainders() {
        assert_eq!(parts(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(parts(11, &[1, 1, 1]), [4, 4, 3]);
        // 100 x 1/6 = 16 + 4/6, 100 x 2/6 = 33 + 2/6, 100 x 3/6 = 50
        assert_eq!(parts(100, &[1, 2, 3]), [17, 33, 50]);
        assert_eq!(parts(5, &[0, 7, 0]), [0, 5, 0]);
        assert_eq!(parts(0, &[1, 2]), [0, 0]);
        assert_eq!(parts(1, &[u128::MAX - 1, 1]), [1, 0]);
    }

    #[test]
    fn ties_go_to_the_lower_account_wherever_it_stands() {
        let weights = [(AccountId::new(9), 1), (AccountId::new(2), 1)];
        let parts = split(sats(3), &weights).unwrap();
        assert_eq!(parts, [(AccountId::new(9), sats(1)), (AccountId::new(2), sats(2))]);
    }

    #[test]
    fn weights_of_nothing_and_too_much_are_refused() {
        let one = |weight| (AccountId::new(1), weight);
        assert_eq!(split(sats(1), &[]), Err(SplitError::NoWeight));
        assert_eq!(split(sats(1), &[one(0), one(0)]), Err(SplitError::NoWeight));
        assert_eq!(split(sats(1), &[one(u128::MAX), one(1)]), Err(SplitError::Overflow));
    }

    proptest! {
        #[test]
        fn every_part_is_its_floor_or_one_more(
            amount in 0..=Sats::MAX.to_sat(),
            weights in prop::collection::vec(0..=u128::MAX / 64, 1..60),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let total: u128 = weights.iter().sum();
            let parts = parts(amount, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), amount);
            for (part, weight) in parts.iter().zip(&weights) {
                let (floor, rest) =
                    U256::product(amount.into(), *weight).div_rem(U256::from(total)).unwrap();
                let floor = u64::try_from(floor.to_u128().unwrap()).unwrap();
                prop_assert!(*part == floor || *part == floor + 1);
                prop_assert!(*part == floor || rest != U256::ZERO, "a bonus for no remainder");
            }
        }

        #[test]
        fn more_weight_never_gets_less(
            amount in 0_u64..1_000_000,
            weights in prop::collection::vec(0_u128..1_000, 2..20),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let parts = parts(amount, &weights);
            for (a, b) in parts.iter().zip(&weights).zip(parts.iter().zip(&weights).skip(1))
                .map(|(x, y)| if x.1 <= y.1 { (x, y) } else { (y, x) })
                .filter(|(x, y)| x.1 < y.1)
            {
                prop_assert!(a.0 <= &(b.0 + 1), "{a:?} {b:?}");
            }
        }

        #[test]
        fn the_order_of_accounts_changes_nothing(
            amount in 0_u64..1_000,
            weights in prop::collection::vec(0_u128..50, 1..12),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let forward: Vec<_> = (1..).map(AccountId::new).zip(weights).collect();
            let backward: Vec<_> = forward.iter().rev().copied().collect();
            let mut parts = split(sats(amount), &backward).unwrap();
            parts.reverse();
            prop_assert_eq!(parts, split(sats(amount), &forward).unwrap());
        }
    }
}
