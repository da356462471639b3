//! Who must have got what of a block: walks back through slices and shares, divides with 256-bit
//! long division.

use std::collections::BTreeMap;

use units::U256;

/// One credit: account, kind (1 fee, 2 finder, 3 share, 4 reserve, 5 direct),
/// satoshis.
pub(super) type Credit = (u32, u8, u64);

/// The terms of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) reward: u64,
    pub(super) fee_basis_points: u16,
    pub(super) fee_account: u32,
    pub(super) finder: u32,
}

/// Adds up the newest `length` of what is weighed. `slices` are the newest first, each with what
/// its accounts have; `shares_of` reads the shares of one slice (account and weight, oldest first)
/// where the window ends inside it.
pub(super) fn weights<E>(
    length: u128,
    slices: impl Iterator<Item = (usize, Vec<(u32, u128)>)>,
    shares_of: impl FnOnce(usize) -> Result<Vec<(u32, u128)>, E>,
) -> Result<BTreeMap<u32, u128>, E> {
    let mut left = length;
    let mut weights = BTreeMap::new();
    for (place, rows) in slices {
        let all = rows.iter().fold(0_u128, |sum, row| sum.saturating_add(row.1));
        if let Some(rest) = left.checked_sub(all) {
            left = rest;
            rows.iter().for_each(|(account, weight)| add(&mut weights, *account, *weight));
            if left == 0 {
                break;
            }
        } else {
            for (account, weight) in shares_of(place)?.into_iter().rev() {
                let part = weight.min(left);
                add(&mut weights, account, part);
                left = left.saturating_sub(part);
                if left == 0 {
                    break;
                }
            }
            break;
        }
    }
    Ok(weights)
}

/// floor(amount x weight / total) where that is no amount of money.
pub(super) fn part_of_wide(amount: u128, weight: u128, total: u128) -> u128 {
    let quotient = U256::product(amount, weight).div_rem(U256::from(total));
    quotient.and_then(|(quotient, _)| quotient.to_u128()).unwrap_or(u128::MAX)
}

/// floor(hundredths x network / 100), at least 1.
pub(super) fn window_length(hundredths: u32, network: u128) -> u128 {
    part_of_wide(network, hundredths.into(), 100).max(1)
}

/// The credit of a block whose shares were paid for as they came.
pub(super) fn to_reserve(terms: Terms) -> Vec<Credit> {
    let credit = (terms.fee_account, 4, terms.reward);
    if terms.reward > 0 { vec![credit] } else { Vec::new() }
}

/// The credits with those of work (kind 3) cut by what a coinbase paid itself (kind 5).
pub(super) fn paid_directly(
    credits: Vec<Credit>,
    direct: impl Iterator<Item = (u32, u64)>,
) -> Result<Vec<Credit>, String> {
    let mut credits = credits;
    for (account, sats) in direct {
        let own = credits.iter_mut().find(|credit| (credit.0, credit.1) == (account, 3));
        let left = own.as_ref().and_then(|credit| credit.2.checked_sub(sats));
        let (Some(own), Some(left)) = (own, left) else {
            return Err(format!("its coinbase pays account {account} more than it gets"));
        };
        own.2 = left;
        credits.push((account, 5, sats));
    }
    credits.retain(|(_, _, sats)| *sats > 0);
    credits.sort_unstable();
    Ok(credits)
}

/// The credits that the terms give, in rising order of account and kind; none of zero.
pub(super) fn credits(terms: Terms, weights: &BTreeMap<u32, u128>) -> Vec<Credit> {
    let fee = part_of(terms.reward, terms.fee_basis_points.into(), 10_000).0;
    let rest = terms.reward.saturating_sub(fee);
    let mut credits = vec![(terms.fee_account, 1, fee)];
    if weights.is_empty() {
        credits.push((terms.finder, 2, rest));
    } else {
        credits.extend(shared(rest, weights));
    }
    credits.retain(|(_, _, sats)| *sats > 0);
    credits.sort_unstable();
    credits
}

fn shared(amount: u64, weights: &BTreeMap<u32, u128>) -> impl Iterator<Item = Credit> {
    let total = weights.values().fold(0_u128, |sum, weight| sum.saturating_add(*weight));
    let mut parts: Vec<(u32, u64, U256)> = weights
        .iter()
        .map(|(account, weight)| {
            let (sats, remainder) = part_of(amount, *weight, total);
            (*account, sats, remainder)
        })
        .collect();
    let given = parts.iter().fold(0_u64, |sum, (_, sats, _)| sum.saturating_add(*sats));
    let over = usize::try_from(amount.saturating_sub(given)).unwrap_or(usize::MAX);
    // A stable sort of a list in rising order of account: ties stay so.
    parts.sort_by_key(|(_, _, remainder)| core::cmp::Reverse(*remainder));
    for (_, sats, _) in parts.iter_mut().take(over) {
        *sats = sats.saturating_add(1);
    }
    parts.into_iter().map(|(account, sats, _)| (account, 3, sats))
}

/// floor(amount x weight / total) and the remainder, for weight <= total.
fn part_of(amount: u64, weight: u128, total: u128) -> (u64, U256) {
    let product = U256::product(amount.into(), weight);
    let (quotient, remainder) = product.div_rem(U256::from(total)).unwrap_or_default();
    let quotient = quotient.to_u128().and_then(|sats| u64::try_from(sats).ok());
    (quotient.unwrap_or(u64::MAX), remainder)
}

pub(super) fn add(weights: &mut BTreeMap<u32, u128>, account: u32, work: u128) {
    if work > 0 {
        let sum = weights.entry(account).or_insert(0);
        *sum = sum.saturating_add(work);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use units::{BasisPoints, Sats};

    use super::*;
    use crate::settle;
    use crate::types::AccountId;

    proptest! {
        #[test]
        fn agrees_with_the_ledgers_own_settlement(
            reward in 0..=Sats::MAX.to_sat(),
            fee in 0_u16..=10_000,
            weights in prop::collection::btree_map(1_u32..60, 1..u128::MAX / 64, 0..40),
        ) {
            let terms =
                Terms { reward, fee_basis_points: fee, fee_account: 7, finder: 9 };
            let own = settle::settle(&settle::Terms {
                reward: Sats::from_sat(reward).unwrap(),
                fee: BasisPoints::new(fee).unwrap(),
                fee_account: AccountId::new(7),
                finder: AccountId::new(9),
                weights: weights.iter().map(|(id, weight)| (AccountId::new(*id), *weight)).collect(),
            }).unwrap();
            let mut own: Vec<_> = own
                .iter()
                .map(|credit| (credit.account.get(), credit.kind.code(), credit.sats.to_sat()))
                .collect();
            own.sort_unstable();
            prop_assert_eq!(credits(terms, &weights), own);
        }

        #[test]
        fn agrees_with_the_ledgers_own_window(
            hundredths in 1_u32..,
            // Past this, the ledger's own stops at 2^128 - 1 in an earlier step.
            network in 0..u128::MAX >> 33,
        ) {
            let own = crate::window::length(hundredths, units::Work::new(network));
            prop_assert_eq!(window_length(hundredths, network), own);
        }
    }
}
