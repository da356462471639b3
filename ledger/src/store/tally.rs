//! How the sums of shares get into the tables: some time after the shares themselves.
//!
//! A commit writes one row, its batch in the log, however many workers the shares are of. The
//! rows that shares add to (`tally`, the open slice's rows in `slice_work`, shares and work in
//! `total`) are written together, in the transaction of a later event, and `total.tallied` names
//! that event: they are exact as of it. What came after is in the log, and whoever needs it adds
//! it up: the writer when it opens ([`replay`]), a reader when it is asked (`tail.rs`).
//!
//! When they are due depends on the log alone (see [`is_due`]), so that tables that are rebuilt
//! from the log are the same, row by row, as those of a ledger that was never closed.

use rusqlite::{Connection, params};
use units::UnixMillis;

use super::log;
use super::state::{Mark, OpenSlice, State, Tally, WorkerState, place};
use super::values::{Instant, Wide};
use crate::error::LedgerError;
use crate::types::{AccountId, WorkerId};

/// Shares after which the sums are due: a reader that is new adds up about as many in some
/// milliseconds.
const SHARES: u64 = 32_768;
/// Events after which they are due, so that no reader looks through many that are no shares.
const EVENTS: u64 = 4_096;
/// Milliseconds after which they are due when there are shares.
const MILLIS: u64 = 10_000;

/// Writes the sums when they are due after event `seq`, the newest, of instant `at`.
pub(super) fn save_when_due(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    closed_a_slice: bool,
) -> Result<(), LedgerError> {
    if !closed_a_slice && !is_due(state, seq, at) {
        return Ok(());
    }
    save_workers(conn, state)?;
    save_open_rows(conn, &mut state.open)?;
    state.total.saved = Mark { event: seq, at, proven: state.total.proven };
    state.total.save(conn)
}

fn is_due(state: &State, seq: u64, at: UnixMillis) -> bool {
    let saved = state.total.saved;
    let shares = state.total.proven.shares.saturating_sub(saved.proven.shares);
    let is_late = at.get() >= saved.at.get().saturating_add(MILLIS);
    shares >= SHARES || seq.saturating_sub(saved.event) >= EVENTS || (shares > 0 && is_late)
}

fn save_workers(conn: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "UPDATE tally SET shares = ?2, work = ?3, last_at = ?4 WHERE worker = ?1",
    )?;
    for id in state.unsaved.drain(..) {
        if let Some(worker) = place(id.get()).and_then(|at| state.workers.get_mut(at)) {
            worker.unsaved = false;
            let WorkerState { tally, last_at, .. } = worker;
            let last_at = last_at.map(Instant);
            statement.execute(params![id.get(), tally.shares, Wide(tally.work), last_at])?;
        }
    }
    Ok(())
}

/// Writes what the tables have not of the open slice's rows.
pub(super) fn save_open_rows(conn: &Connection, open: &mut OpenSlice) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "INSERT OR REPLACE INTO slice_work(slice, account, shares, work, score)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    // In the order of the table, so that it grows at its end.
    open.unsaved.sort_unstable();
    for account in open.unsaved.drain(..) {
        if let Some(row) = place(account.get()).and_then(|at| open.accounts.get_mut(at)) {
            row.unsaved = false;
            let (Tally { shares, work }, score) = (row.tally, Wide(row.score));
            let (slice, account) = (open.index.get(), account.get());
            statement.execute(params![slice, account, shares, Wide(work), score])?;
        }
    }
    Ok(())
}

/// Reads the rows of the open slice, as of the mark.
pub(super) fn load_open_rows(conn: &Connection, open: &mut OpenSlice) -> Result<(), LedgerError> {
    let mut statement =
        conn.prepare("SELECT account, shares, work, score FROM slice_work WHERE slice = ?1")?;
    let mut rows = statement.query([open.index.get()])?;
    while let Some(row) = rows.next()? {
        let tally = Tally { shares: row.get(1)?, work: row.get::<_, Wide>(2)?.0 };
        open.part_of(AccountId::new(row.get(0)?), tally, row.get::<_, Wide>(3)?.0)?;
        open.sum.add(tally)?;
    }
    Ok(())
}

/// Adds the shares that came after the mark.
pub(super) fn replay(conn: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let (after, before) = (state.total.saved.event, state.next_event);
    log::for_each_batch(conn, after, before, |shares| state.add_all(shares.into_iter()))
}

/// A worker's shares as the tables have them, with those that came after.
pub(super) fn plus(mut saved: Tally, later: Option<Tally>) -> Result<Tally, LedgerError> {
    if let Some(later) = later {
        saved.add(later)?;
    }
    Ok(saved)
}

/// Writes the row of a new worker.
pub(super) fn open(conn: &Connection, worker: WorkerId) -> Result<(), LedgerError> {
    conn.prepare_cached("INSERT INTO tally(worker, shares, work) VALUES (?1, 0, ?2)")?
        .execute(params![worker.get(), Wide(0)])?;
    Ok(())
}
