//! From a block's reward and the weights in its window to credits. Pure: the weights come from
//! the store, the credits go to an event.

use std::collections::BTreeMap;

use units::{BasisPoints, Sats};

use crate::error::LedgerError;
use crate::split::split;
use crate::types::AccountId;

/// What a credit is for, and who pays it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CreditKind {
    /// For work in the window, paid by the block's coinbase itself.
    Direct,
    /// The pool's part.
    Fee,
    /// All but the fee, for finding the block: solo, or an empty window.
    Finder,
    /// The whole of it, for the reserve that shares were paid out of.
    Reserve,
    /// For work in the window.
    Share,
}

/// One account's part of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) account: AccountId,
    pub(crate) kind: CreditKind,
    pub(crate) sats: Sats,
}

/// Who gets a reward.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) reward: Sats,
    pub(crate) fee: BasisPoints,
    pub(crate) fee_account: AccountId,
    /// Paid all but the fee when `weights` is empty.
    pub(crate) finder: AccountId,
    /// What is in the window by account; empty under solo and when nothing was committed yet.
    pub(crate) weights: BTreeMap<AccountId, u128>,
}

/// The credit of a block under pay per share: all of it is the reserve's, kept under the account of
/// fees. What the pool earns is what stays there.
pub(crate) fn to_reserve(reward: Sats, fee_account: AccountId) -> Vec<Credit> {
    let credit = Credit { account: fee_account, kind: CreditKind::Reserve, sats: reward };
    if reward > Sats::ZERO { vec![credit] } else { Vec::new() }
}

impl CreditKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Direct, Self::Fee, Self::Finder, Self::Reserve, Self::Share];

    /// The name that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fee => "fee",
            Self::Finder => "finder",
            Self::Reserve => "reserve",
            Self::Share => "share",
        }
    }

    /// The number that is stored.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Direct => 5,
            Self::Fee => 1,
            Self::Finder => 2,
            Self::Reserve => 4,
            Self::Share => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// The credits of a block, which sum to its reward; those of zero satoshis are left out.
/// The fee is rounded down, so rounding never costs a miner.
pub(crate) fn settle(terms: &Terms) -> Result<Vec<Credit>, LedgerError> {
    let fee = terms.fee.of(terms.reward);
    let rest = terms.reward.checked_sub(fee).expect("a fee is at most the reward");
    let mut credits = vec![Credit { account: terms.fee_account, kind: CreditKind::Fee, sats: fee }];
    if terms.weights.is_empty() {
        let account = terms.finder;
        credits.push(Credit { account, kind: CreditKind::Finder, sats: rest });
    } else {
        let weights: Vec<_> = terms.weights.iter().map(|(id, weight)| (*id, *weight)).collect();
        let parts =
            split(rest, &weights).map_err(|error| LedgerError::damaged(error.to_string()))?;
        let share = |(account, sats)| Credit { account, kind: CreditKind::Share, sats };
        credits.extend(parts.into_iter().map(share));
    }
    credits.retain(|credit| credit.sats > Sats::ZERO);
    assert_eq!(sum_of(&credits), Some(terms.reward), "credits must sum to the reward");
    Ok(credits)
}

/// Takes out of the credits for work what the coinbase pays itself.
///
/// # Errors
/// Where that is more than an account gets: the coinbase was made by other weights.
pub(crate) fn pay_directly(
    credits: Vec<Credit>,
    direct: &BTreeMap<AccountId, Sats>,
) -> Result<Vec<Credit>, LedgerError> {
    let mut rest = direct.clone();
    let mut paid = Vec::with_capacity(credits.len().saturating_add(direct.len()));
    for credit in credits {
        let out = match credit.kind {
            CreditKind::Share => rest.remove(&credit.account).unwrap_or(Sats::ZERO),
            CreditKind::Direct | CreditKind::Fee | CreditKind::Finder | CreditKind::Reserve => {
                Sats::ZERO
            }
        };
        let kept = credit.sats.checked_sub(out).ok_or_else(|| beyond(credit.account))?;
        paid.push(Credit { kind: CreditKind::Direct, sats: out, ..credit });
        paid.push(Credit { sats: kept, ..credit });
    }
    paid.retain(|credit| credit.sats > Sats::ZERO);
    match rest.keys().next() {
        Some(account) => Err(beyond(*account)),
        None => Ok(paid),
    }
}

fn beyond(account: AccountId) -> LedgerError {
    LedgerError::damaged(format!("a coinbase pays account {account} more than its window gives"))
}

/// The sum of some credits, or `None` past what can exist.
pub(crate) fn sum_of(credits: &[Credit]) -> Option<Sats> {
    credits.iter().try_fold(Sats::ZERO, |sum, credit| sum.checked_add(credit.sats))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(reward: u64, fee: u16, weights: &[(u32, u128)]) -> Terms {
        Terms {
            reward: Sats::from_sat(reward).unwrap(),
            fee: BasisPoints::new(fee).unwrap(),
            fee_account: AccountId::new(1),
            finder: AccountId::new(2),
            weights: weights.iter().map(|(id, weight)| (AccountId::new(*id), *weight)).collect(),
        }
    }

    fn plain(credits: &[Credit]) -> Vec<(u32, &'static str, u64)> {
        let plain =
            |credit: &Credit| (credit.account.get(), credit.kind.as_str(), credit.sats.to_sat());
        credits.iter().map(plain).collect()
    }

    #[test]
    fn the_fee_comes_first_and_is_rounded_down() {
        let credits = settle(&terms(199, 100, &[(3, 1), (4, 1)])).unwrap();
        assert_eq!(plain(&credits), [(1, "fee", 1), (3, "share", 99), (4, "share", 99)]);
        let credits = settle(&terms(99, 100, &[(3, 1)])).unwrap();
        assert_eq!(plain(&credits), [(3, "share", 99)]);
    }

    #[test]
    fn an_empty_window_pays_the_finder() {
        let credits = settle(&terms(5_000, 200, &[])).unwrap();
        assert_eq!(plain(&credits), [(1, "fee", 100), (2, "finder", 4_900)]);
        let credits = settle(&terms(5_000, 10_000, &[(3, 1)])).unwrap();
        assert_eq!(plain(&credits), [(1, "fee", 5_000)]);
        assert_eq!(plain(&settle(&terms(0, 100, &[(3, 1)])).unwrap()), []);
    }

    #[test]
    fn the_fee_account_may_mine_too() {
        let credits = settle(&terms(1_000, 100, &[(1, 1), (3, 1)])).unwrap();
        assert_eq!(plain(&credits), [(1, "fee", 10), (1, "share", 495), (3, "share", 495)]);
    }

    proptest! {
        #[test]
        fn credits_always_sum_to_the_reward(
            reward in 0..=Sats::MAX.to_sat(),
            fee in 0_u16..=10_000,
            weights in prop::collection::btree_map(1_u32..500, 1..u128::MAX / 512, 0..40),
        ) {
            let weights: Vec<_> = weights.into_iter().collect();
            let credits = settle(&terms(reward, fee, &weights)).unwrap();
            prop_assert_eq!(sum_of(&credits).unwrap().to_sat(), reward);
        }
    }
}
