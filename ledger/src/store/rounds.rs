//! Which slices a block under PROP is paid for: its round.
//!
//! A round is every slice up to the one that the block's job had committed to which no other block
//! was paid for. A block takes all the slices of its round, and a block of another scheme all up to
//! its own slice; an orphan gives back what it took, and the next block's round has it. Blocks that
//! were found earlier and whose fate is open hold what is theirs, so that the order in which blocks
//! are seen on the chain changes nothing. An orphan that comes back is paid for its round all the
//! same, from its own reward.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::query::BlockRow;
use crate::error::LedgerError;
use crate::scheme::Rule;
use crate::types::SliceIndex;

/// The slices of a block's round: stretches in rising order, none touching another.
pub(super) fn of(
    conn: &Connection,
    block: &BlockRow,
) -> Result<Vec<RangeInclusive<u64>>, LedgerError> {
    free(conn, block.slice, block.event)
}

/// The round of a block found by `event` whose job had committed to slice `last`.
pub(super) fn free(
    conn: &Connection,
    last: SliceIndex,
    event: u64,
) -> Result<Vec<RangeInclusive<u64>>, LedgerError> {
    let mut free = Stretches::up_to(last.get());
    free.remove(1..=held_by_open_blocks(conn, event)?);
    let mut statement = conn.prepare_cached(
        "SELECT round.first, round.last FROM round JOIN block ON block.event = round.block
         WHERE block.state IN ('immature', 'mature')",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        free.remove(row.get(0)?..=row.get(1)?);
    }
    Ok(free.0)
}

/// The slices that a block is paid for: its round, or all up to its own.
pub(super) fn paid_for(
    conn: &Connection,
    block: &BlockRow,
) -> Result<Vec<RangeInclusive<u64>>, LedgerError> {
    match block.rule {
        Rule::Round => of(conn, block),
        Rule::Finder
        | Rule::Reserve
        | Rule::Scores { .. }
        | Rule::Time { .. }
        | Rule::Work { .. } => Ok(Stretches::up_to(block.slice.get()).0),
    }
}

/// Notes what a settled block took.
pub(super) fn take(
    conn: &Connection,
    block: u64,
    slices: &[RangeInclusive<u64>],
) -> Result<(), LedgerError> {
    let mut statement =
        conn.prepare_cached("INSERT INTO round(block, first, last) VALUES (?1, ?2, ?3)")?;
    for slices in slices {
        statement.execute(params![block, slices.start(), slices.end()])?;
    }
    Ok(())
}

/// The newest slice that an earlier block, which is not settled yet and no orphan, will be paid
/// for; 0 where there is none.
fn held_by_open_blocks(conn: &Connection, before: u64) -> Result<u64, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(max(slice), 0) FROM block
         WHERE event < ?1 AND state IN ('candidate', 'submitted')",
    )?;
    Ok(statement.query_row([before], |row| row.get(0))?)
}

/// Stretches of slices in rising order, none touching another.
#[derive(Debug, PartialEq, Eq)]
struct Stretches(Vec<RangeInclusive<u64>>);

impl Stretches {
    /// Every slice from 1 to `last`.
    fn up_to(last: u64) -> Self {
        Self(if last == 0 { Vec::new() } else { vec![1..=last] })
    }

    fn remove(&mut self, taken: RangeInclusive<u64>) {
        if taken.is_empty() {
            return;
        }
        let (first, last) = taken.into_inner();
        let around = |one: &RangeInclusive<u64>| {
            let before = *one.start()..=(*one.end()).min(first.saturating_sub(1));
            let after = (*one.start()).max(last.saturating_add(1))..=*one.end();
            [before, after].into_iter().filter(|rest| !rest.is_empty()).collect::<Vec<_>>()
        };
        self.0 = self.0.iter().flat_map(around).collect();
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stretches_are_a_set(
            last in 0..40_u64, taken in prop::collection::vec((1..45_u64, 0..10_u64), 0..12),
        ) {
            let mut free = Stretches::up_to(last);
            let mut model: BTreeSet<u64> = (1..=last).collect();
            for (first, length) in taken {
                free.remove(first..=first + length - 1);
                model.retain(|slice| !(first..first + length).contains(slice));
            }
            let all: Vec<u64> = free.0.iter().cloned().flatten().collect();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
