//! What pay per share pays for a slice.
//!
//! A block's worth of shares gets the value of a block less the fee, in whole satoshis. An account's
//! score in a slice times that is what its shares are worth, exactly, in 2^-64 of a satoshi: whole
//! satoshis are credited, and the rest is carried to the account's next slice, so that nothing is
//! lost however small shares are. Pure: scores come from the store, credits go to an event.

use units::{BasisPoints, Sats, U256};

use crate::error::LedgerError;
use crate::event::SlicePaid;
use crate::score::BLOCK;
use crate::settle::{Credit, CreditKind};
use crate::types::AccountId;

/// What a block's worth of shares gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) block_value: Sats,
    pub(crate) fee: BasisPoints,
}

/// What one account gets for a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pay {
    pub(crate) account: AccountId,
    pub(crate) sats: Sats,
    /// 2^-64 of a satoshi, less than one: for its next slice.
    pub(crate) carry: u128,
}

impl Rate {
    /// The rate that a slice was paid for at.
    pub(crate) fn of(paid: &SlicePaid) -> Result<Self, LedgerError> {
        let damaged = |error: &dyn std::fmt::Display| {
            LedgerError::damaged(format!("the pay of slice {}: {error}", paid.slice))
        };
        Ok(Self {
            block_value: Sats::from_sat(paid.block_value).map_err(|error| damaged(&error))?,
            fee: BasisPoints::new(paid.fee_basis_points).map_err(|error| damaged(&error))?,
        })
    }

    /// What `score` is worth beside what was carried.
    ///
    /// # Errors
    /// Where it is more than all bitcoin.
    pub(crate) fn pay(
        self,
        account: AccountId,
        score: u128,
        carried: u128,
    ) -> Result<Pay, LedgerError> {
        let fee = self.fee.of(self.block_value);
        let each = self.block_value.checked_sub(fee).expect("a fee is at most its amount");
        let worth = U256::product(score, each.to_sat().into());
        let whole = worth.checked_add(U256::from(carried));
        let whole = whole.ok_or(LedgerError::Overflow("the pay of a slice"))?;
        let sats = whole.shifted_right(64).to_u128().and_then(|sats| u64::try_from(sats).ok());
        let sats = sats.and_then(|sats| Sats::from_sat(sats).ok());
        let (_, carry) = whole.div_rem(U256::from(BLOCK)).expect("2^64 is not 0");
        Ok(Pay {
            account,
            sats: sats.ok_or(LedgerError::Overflow("the pay of a slice"))?,
            carry: carry.to_u128().expect("less than 2^64"),
        })
    }
}

/// The credits of a slice; none of zero.
pub(crate) fn credits(pays: &[Pay]) -> Vec<Credit> {
    let credit =
        |pay: &Pay| Credit { account: pay.account, kind: CreditKind::Share, sats: pay.sats };
    pays.iter().filter(|pay| pay.sats > Sats::ZERO).map(credit).collect()
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(value: u64, fee: u16) -> Rate {
        Rate { block_value: Sats::from_sat(value).unwrap(), fee: BasisPoints::new(fee).unwrap() }
    }

    #[test]
    fn parts_of_satoshis_are_carried() {
        // A third of a block of 100 satoshis less 1 %: 33 satoshis less 33 x 2^-64 of one.
        let third = BLOCK / 3;
        let first = rate(100, 100).pay(AccountId::new(1), third, 0).unwrap();
        assert_eq!(first.sats.to_sat(), 32, "floor(33 - 33 x 2^-64)");
        let second = rate(100, 100).pay(AccountId::new(1), third, first.carry).unwrap();
        let third = rate(100, 100).pay(AccountId::new(1), third + 1, second.carry).unwrap();
        let sum = first.sats.to_sat() + second.sats.to_sat() + third.sats.to_sat();
        assert_eq!((sum, third.carry), (99, 0), "three thirds are all of it");
        assert!(rate(Sats::MAX.to_sat(), 0).pay(AccountId::new(1), u128::MAX, 0).is_err());
    }

    proptest! {
        /// However a block's worth of score is cut, what is paid is what it is worth.
        #[test]
        fn nothing_is_lost(
            value in 0..5_000_000_000_u64, fee in 0_u16..=10_000,
            cuts in prop::collection::vec(0..=BLOCK, 0..30),
        ) {
            let mut cuts = cuts;
            cuts.extend([0, BLOCK]);
            cuts.sort_unstable();
            let (mut paid, mut carry) = (0_u128, 0);
            for pair in cuts.windows(2) {
                let pay = rate(value, fee).pay(AccountId::new(1), pair[1] - pair[0], carry).unwrap();
                paid += u128::from(pay.sats.to_sat());
                carry = pay.carry;
                prop_assert!(carry < BLOCK);
            }
            let fee = u128::from(value) * u128::from(fee) / 10_000;
            prop_assert_eq!((paid, carry), (u128::from(value) - fee, 0));
        }
    }
}
