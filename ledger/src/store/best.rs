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
    let mut first = state.first_of_open_slice()?;
    let before = state.next_event;
    log::for_each_whole_batch(conn, after, before, |shares| {
        first = state.prove(first, &shares)?;
        Ok(())
    })
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
    /// Takes in what the shares `first` and following prove; gives the number of the next.
    pub(super) fn prove(&mut self, first: u64, shares: &[Share]) -> Result<u64, LedgerError> {
        let mut number = first;
        for share in shares {
            let account = self.known_worker(share.worker)?.account;
            self.evidence.add(account, number, share)?;
            number = super::state::next(number, "shares")?;
        }
        Ok(number)
    }

    /// The number of the open slice's first share.
    fn first_of_open_slice(&self) -> Result<u64, LedgerError> {
        let closed = self.total.proven.shares.checked_sub(self.open.sum.shares);
        let closed = closed.ok_or_else(|| {
            LedgerError::damaged("the open slice has more shares than there are".to_owned())
        })?;
        super::state::next(closed, "shares")
    }
}
