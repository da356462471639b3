//! The evidence of shares in the store: how the open slice's is made again from the log, and the
//! best headers that a closed slice keeps.

use rusqlite::{Connection, params};

use super::log;
use super::state::State;
use crate::error::LedgerError;
use crate::types::{Share, SliceIndex};

/// Takes the shares of the open slice in again.
pub(super) fn load_evidence(conn: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let after: u64 = conn.query_row(
        "SELECT coalesce((SELECT close_event FROM slice ORDER BY idx DESC LIMIT 1), 0)",
        [],
        |row| row.get(0),
    )?;
    let before = state.next_event;
    log::for_each_whole_batch(conn, after, before, |first, shares| state.prove(first, &shares))
}

/// Keeps the `most` best headers of each account of the open slice.
pub(super) fn save(
    conn: &Connection,
    state: &State,
    slice: SliceIndex,
    most: u32,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO slice_best(slice, account, numbers, shares) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for row in state.evidence.best(most) {
        statement.execute(params![slice.get(), row.account.get(), row.numbers, row.shares])?;
    }
    Ok(())
}

impl State {
    /// Takes in what the shares `first` and following prove.
    pub(super) fn prove(&mut self, first: u64, shares: &[Share]) -> Result<(), LedgerError> {
        for (number, share) in (first..).zip(shares) {
            let account = self.known_worker(share.worker)?.account;
            self.evidence.add(account, number, share)?;
        }
        Ok(())
    }
}
