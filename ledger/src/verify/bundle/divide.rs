//! Divides a reward: the fee, rounded down, first; the rest by weight, each part rounded down, and
//! the satoshis that are left over one each to those whose remainder is the largest, of equals to
//! the account with the lower id.

use core::cmp::Reverse;

use units::U256;

use super::Fault;
use super::lines::Credit;
use super::terms::Terms;
use super::window::Weights;
use crate::verify::direct::Payment;

/// The credits that must be, in rising order of account, and of an account the fee first.
pub(super) fn credits(terms: &Terms, weights: &Weights) -> Result<Vec<Credit>, Fault> {
    if terms.fee_basis_points > 10_000 {
        return Err(format!("a fee of {} is more than all", terms.fee_basis_points).into());
    }
    if ["pps", "fpps"].contains(&terms.scheme.as_str()) {
        // Shares were paid for as they came.
        let (account, satoshis) = (terms.fee_account, terms.reward);
        let whole = Credit { account, purpose: "reserve", satoshis };
        return Ok(if satoshis > 0 { vec![whole] } else { Vec::new() });
    }
    let fee = floor(terms.reward, terms.fee_basis_points.into(), 10_000)?.0;
    let rest = terms.reward.checked_sub(fee).ok_or("the fee is more than the reward")?;
    let mut credits = vec![Credit { account: terms.fee_account, purpose: "fee", satoshis: fee }];
    if weights.accounts.is_empty() {
        credits.push(Credit { account: terms.finder, purpose: "finder", satoshis: rest });
    } else {
        credits.extend(parts(rest, weights)?);
    }
    for Payment { account, sats: satoshis, .. } in &terms.direct {
        let own = credits
            .iter_mut()
            .find(|credit| (credit.account, credit.purpose) == (*account, "share"));
        let left = own.as_ref().and_then(|credit| credit.satoshis.checked_sub(*satoshis));
        let (Some(own), Some(left)) = (own, left) else {
            let why = format!("the coinbase pays account {account} more than the window gives it");
            return Err(why.into());
        };
        own.satoshis = left;
        credits.push(Credit { account: *account, purpose: "direct", satoshis: *satoshis });
    }
    credits.retain(|credit| credit.satoshis > 0);
    credits.sort_by_key(|credit| credit.account);
    let sum = credits.iter().try_fold(0_u64, |sum, credit| sum.checked_add(credit.satoshis));
    if sum != Some(terms.reward) {
        return Err("the credits cannot sum to the reward".into());
    }
    Ok(credits)
}

fn parts(amount: u64, weights: &Weights) -> Result<impl Iterator<Item = Credit>, Fault> {
    let mut parts = Vec::with_capacity(weights.accounts.len());
    let mut left = amount;
    for (account, weight) in &weights.accounts {
        let (satoshis, remainder) = floor(amount, *weight, weights.total)?;
        left = left.checked_sub(satoshis).ok_or("the parts sum to more than the reward")?;
        parts.push((Reverse(remainder), *account, satoshis));
    }
    parts.sort_unstable();
    let extra = (0..left).map(|_| 1).chain(core::iter::repeat(0));
    let with = |((_, account, satoshis), extra): ((Reverse<U256>, u32, u64), u64)| Credit {
        account,
        purpose: "share",
        satoshis: satoshis.saturating_add(extra),
    };
    Ok(parts.into_iter().zip(extra).map(with))
}

/// floor(amount x weight / total) with the remainder, for a weight of at most the total.
fn floor(amount: u64, weight: u128, total: u128) -> Result<(u64, U256), Fault> {
    let (quotient, remainder) = U256::product(weight, amount.into())
        .div_rem(U256::from(total))
        .ok_or("there is nothing to divide by")?;
    let quotient = quotient.to_u128().and_then(|quotient| u64::try_from(quotient).ok());
    Ok((quotient.ok_or("a part is more than the reward")?, remainder))
}
