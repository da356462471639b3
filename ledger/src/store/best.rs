//! The evidence of shares in the store: how the open slice's is made again from the log, and the
//! best headers that a closed slice keeps.

use rusqlite::{Connection, params};

use super::log;
use super::state::State;
use crate::error::LedgerError;
use crate::event::SliceClosed;
use crate::types::Share;

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

/// Keeps what the shares of the slice that is closed prove: of each account the top over all of them,
/// and the best headers.
pub(super) fn save(
    conn: &Connection,
    state: &State,
    closed: &SliceClosed,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO slice_best(slice, account, records, numbers, shares)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let has_records = closed.form.unwrap_or(1) > 1;
    for row in state.evidence.best(closed.best.unwrap_or(0))? {
        let records = if has_records { row.records } else { [0; 32] };
        let (account, slice) = (row.account.get(), closed.index);
        statement.execute(params![slice, account, records, row.numbers, row.shares])?;
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
