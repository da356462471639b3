//! An account's money line by line: what a miner keeps for its books. Read [`Statement`].
//!
//! A line stands at the instant at which it came to be what it is: a credit of a mature block at
//! the instant of its maturity, one that is immature or reversed at the instant of that. Only
//! credits of mature blocks, and payouts, move the balance. Lines are in order of these instants,
//! which are the pool's clock's: where that was set back, a balance between two lines may not be
//! one that ever was (it may even be below zero); the first and the last are exact all the same.
//!
//! Pure: the store brings the lines, [`Statement::of`] adds them up. It deliberately knows no
//! format: text is the pool's to make.

use units::{Sats, UnixMillis};

use crate::block::BlockState;
use crate::error::{LedgerError, Refusal};
use crate::settle::CreditKind;
use crate::types::{BlockId, SliceIndex};

/// Which blocks are listed. [`Default`] is none: set a limit.
#[derive(Debug, Clone, Default)]
pub struct BlockFilter {
    /// Only those in this state.
    pub state: Option<BlockState>,
    /// Only those that this account found.
    pub account: Option<String>,
    /// Only those found at this instant or later.
    pub from: Option<UnixMillis>,
    /// Only those found before this instant.
    pub to: Option<UnixMillis>,
    /// Only those recorded before this block.
    pub before: Option<BlockId>,
    /// So many at most, the newest first.
    pub limit: u32,
}

/// Which payouts are listed. [`Default`] is none: set a limit.
#[derive(Debug, Clone, Default)]
pub struct PayoutFilter {
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those to this account.
    pub account: Option<String>,
    /// Only those planned at this instant or later.
    pub from: Option<UnixMillis>,
    /// Only those planned before this instant.
    pub to: Option<UnixMillis>,
    /// So many at most, the newest first.
    pub limit: u32,
}

/// One credit of an account, with its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCredit {
    /// The block's hash, internal order.
    pub block: BlockId,
    /// The block's height.
    pub height: u32,
    /// The block's state, which says whether the credit is immature, a balance or reversed.
    pub state: BlockState,
    /// What for.
    pub kind: CreditKind,
    /// How much.
    pub sats: Sats,
    /// When the block was found.
    pub found_at: UnixMillis,
    /// When the block got to its present state.
    pub state_at: UnixMillis,
}

/// One account's part of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPayout {
    /// Number of the payout, which may pay many accounts at once.
    pub payout: u64,
    /// Who is paid.
    pub account: String,
    /// How much leaves its balance.
    pub sats: Sats,
    /// Where the payout stands.
    pub state: String,
    /// The transaction that pays, internal order, once there is one.
    pub txid: Option<[u8; 32]>,
    /// When it was planned, and left the balance.
    pub at: UnixMillis,
    /// Whether it is out of the balance; one that was called off is not.
    pub debited: bool,
}

/// What pay per share paid for an account's shares of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlicePay {
    /// The slice.
    pub slice: SliceIndex,
    /// How much.
    pub sats: Sats,
    /// When.
    pub at: UnixMillis,
}

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementItem {
    /// A credit of a block.
    Credit(AccountCredit),
    /// A payout.
    Payout(AccountPayout),
    /// Shares that were paid for as they came.
    Slice(SlicePay),
}

/// A line of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub item: StatementItem,
    /// Satoshis that it adds to the balance; below zero where it takes from it, 0 for a credit
    /// that is immature or reversed.
    pub change: i64,
    /// The balance after it.
    pub balance: i64,
}

/// What an account got and was paid in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Payout address.
    pub account: String,
    /// The period's first instant.
    pub from: UnixMillis,
    /// The first instant after it.
    pub to: UnixMillis,
    /// The balance before the first line: all that earlier lines come to.
    pub opening: i64,
    /// Oldest first.
    pub lines: Vec<StatementLine>,
    /// The balance after the last line: `opening + credited - paid`.
    pub closing: i64,
    /// Credits of the period that are balances.
    pub credited: Sats,
    /// Payouts of the period.
    pub paid: Sats,
    /// Credits of the period that blocks' coinbases paid themselves: never in the balance.
    pub direct: Sats,
    /// Credits of the period that are immature still.
    pub immature: Sats,
    /// Credits of the period that were taken back.
    pub reversed: Sats,
}

impl AccountCredit {
    /// Whether it is in the balance: of a mature block, and neither paid by its coinbase itself nor
    /// the reserve's.
    #[must_use]
    pub fn is_balance(&self) -> bool {
        let kept = !matches!(self.kind, CreditKind::Direct | CreditKind::Reserve);
        self.state == BlockState::Mature && kept
    }
}

impl StatementItem {
    const fn at(&self) -> UnixMillis {
        match self {
            Self::Credit(credit) => credit.state_at,
            Self::Payout(payout) => payout.at,
            Self::Slice(pay) => pay.at,
        }
    }

    fn change(&self) -> i64 {
        match self {
            Self::Credit(credit) if credit.is_balance() => signed(credit.sats),
            Self::Slice(pay) => signed(pay.sats),
            Self::Payout(payout) if payout.debited => signed(payout.sats).saturating_neg(),
            Self::Credit(_) | Self::Payout(_) => 0,
        }
    }
}

impl Statement {
    /// Puts `items` of the period in order and adds them up from `opening`. Items of one instant
    /// stay in the order in which they are given.
    pub(crate) fn of(
        account: &str,
        (from, to): (UnixMillis, UnixMillis),
        opening: i64,
        mut items: Vec<StatementItem>,
    ) -> Result<Self, LedgerError> {
        items.sort_by_key(StatementItem::at);
        let mut statement = Self {
            account: account.to_owned(),
            from,
            to,
            opening,
            lines: Vec::with_capacity(items.len()),
            closing: opening,
            credited: Sats::ZERO,
            paid: Sats::ZERO,
            direct: Sats::ZERO,
            immature: Sats::ZERO,
            reversed: Sats::ZERO,
        };
        for item in items {
            statement.add(item).ok_or(LedgerError::Overflow("a statement"))?;
        }
        let sum = signed(statement.credited).checked_sub(signed(statement.paid));
        let closing = sum.and_then(|sum| opening.checked_add(sum));
        assert_eq!(closing, Some(statement.closing), "a statement's lines must sum to its totals");
        Ok(statement)
    }

    fn add(&mut self, item: StatementItem) -> Option<()> {
        let sum = match &item {
            StatementItem::Credit(credit) => match credit.state {
                BlockState::Mature if credit.kind == CreditKind::Direct => {
                    Some((&mut self.direct, credit.sats))
                }
                BlockState::Mature if !credit.is_balance() => None,
                BlockState::Mature => Some((&mut self.credited, credit.sats)),
                BlockState::OnChain => Some((&mut self.immature, credit.sats)),
                BlockState::Orphaned | BlockState::Abandoned => {
                    Some((&mut self.reversed, credit.sats))
                }
                BlockState::Candidate | BlockState::Submitted => None,
            },
            StatementItem::Slice(pay) => Some((&mut self.credited, pay.sats)),
            StatementItem::Payout(payout) => {
                payout.debited.then_some((&mut self.paid, payout.sats))
            }
        };
        if let Some((sum, sats)) = sum {
            *sum = sum.checked_add(sats)?;
        }
        let (at, change) = (item.at(), item.change());
        self.closing = self.closing.checked_add(change)?;
        self.lines.push(StatementLine { at, item, change, balance: self.closing });
        Some(())
    }
}

/// That a statement has no more lines than whoever asked can take.
pub(crate) fn check_length(lines: usize, most: u32) -> Result<(), Refusal> {
    if usize::try_from(most).is_ok_and(|most| lines > most) {
        return Err(Refusal::StatementTooLong { most });
    }
    Ok(())
}

fn signed(sats: Sats) -> i64 {
    i64::try_from(sats.to_sat()).expect("there are fewer than 2^63 satoshis")
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credit(at: u64, state: BlockState, sats: u64) -> StatementItem {
        StatementItem::Credit(AccountCredit {
            block: [7; 32],
            height: 1,
            state,
            kind: CreditKind::Share,
            sats: Sats::from_sat(sats).unwrap(),
            found_at: UnixMillis::new(0),
            state_at: UnixMillis::new(at),
        })
    }

    fn payout(at: u64, sats: u64, debited: bool) -> StatementItem {
        StatementItem::Payout(AccountPayout {
            payout: 1,
            account: "a".to_owned(),
            sats: Sats::from_sat(sats).unwrap(),
            state: "planned".to_owned(),
            txid: None,
            at: UnixMillis::new(at),
            debited,
        })
    }

    fn of(opening: i64, items: Vec<StatementItem>) -> Statement {
        Statement::of("a", (UnixMillis::new(0), UnixMillis::new(99)), opening, items).unwrap()
    }

    #[test]
    fn only_mature_credits_and_payouts_move_the_balance() {
        let statement = of(
            100,
            vec![
                credit(3, BlockState::Mature, 50),
                payout(4, 120, true),
                payout(5, 9, false),
                credit(1, BlockState::OnChain, 7),
                credit(2, BlockState::Orphaned, 8),
            ],
        );
        let lines: Vec<_> =
            statement.lines.iter().map(|line| (line.at.get(), line.change, line.balance)).collect();
        assert_eq!(lines, [(1, 0, 100), (2, 0, 100), (3, 50, 150), (4, -120, 30), (5, 0, 30)]);
        assert_eq!((statement.credited.to_sat(), statement.paid.to_sat()), (50, 120));
        assert_eq!((statement.immature.to_sat(), statement.reversed.to_sat()), (7, 8));
        assert_eq!(statement.closing, 30);
    }

    #[test]
    fn a_clock_that_was_set_back_is_no_reason_to_fail() {
        let statement = of(0, vec![credit(9, BlockState::Mature, 5), payout(1, 5, true)]);
        let balances: Vec<_> = statement.lines.iter().map(|line| line.balance).collect();
        assert_eq!((balances, statement.closing), (vec![-5, 0], 0));
    }

    #[test]
    fn a_statement_has_so_many_lines() {
        assert_eq!(check_length(5, 5), Ok(()));
        assert_eq!(check_length(6, 5), Err(Refusal::StatementTooLong { most: 5 }));
    }

    proptest! {
        #[test]
        fn lines_sum_to_the_totals_in_any_order(
            drawn in prop::collection::vec((0_u64..9, 0_usize..6, 0_u64..1_000, any::<bool>()), 0..40),
            opening in -5_000_i64..5_000,
        ) {
            let items = |reversed: bool| {
                let one = |(at, state, sats, is_payout): &(u64, usize, u64, bool)| match is_payout {
                    true => payout(*at, *sats, *state > 0),
                    false => credit(*at, BlockState::ALL[*state], *sats),
                };
                let mut items: Vec<_> = drawn.iter().map(one).collect();
                if reversed {
                    items.reverse();
                }
                items
            };
            let (one, other) = (of(opening, items(false)), of(opening, items(true)));
            let changes: i64 = one.lines.iter().map(|line| line.change).sum();
            prop_assert_eq!(one.closing, opening + changes);
            prop_assert!(one.lines.is_sorted_by_key(|line| line.at));
            prop_assert_eq!(one.closing, other.closing);
            prop_assert_eq!((one.credited, one.paid), (other.credited, other.paid));
        }
    }
}
