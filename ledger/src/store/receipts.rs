//! What an account's shares in one slice are, so that the pool can sign for them.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};
use units::Work;

use super::state::next;
use super::{Reader, log};
use crate::error::LedgerError;
use crate::slice::{Hashes, SumTree};
use crate::types::{Acknowledged, SliceHead, SliceIndex, WorkerId};

impl Reader {
    /// The account's shares in the slice that is open, or in the newest closed one where it has none
    /// there yet; `None` where it has none in either. Reads the slice share by share.
    ///
    /// # Errors
    /// When the store fails.
    pub fn acknowledged(&self, account: &str) -> Result<Option<Acknowledged>, LedgerError> {
        self.ask("reading an account's newest shares", |conn| {
            let workers = workers_of(conn, account)?;
            if workers.is_empty() {
                return Ok(None);
            }
            let newest = log::newest(conn)?;
            let closed = ends(conn)?;
            let (index, after) = closed.first().copied().unwrap_or((0, 0));
            let before = closed.get(1).map_or(0, |(_, event)| *event);
            let open = next(index, "slices")?;
            let found = shares_of(conn, &workers, account, open, after, next(newest, "events")?)?;
            if found.is_some() || index == 0 {
                return Ok(found);
            }
            shares_of(conn, &workers, account, index, before, after)
        })
    }

    /// The newest closed slice; [`SliceHead::NONE`] when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn newest_slice(&self) -> Result<SliceHead, LedgerError> {
        self.ask("reading the newest slice", super::state::newest_slice)
    }
}

/// The index and the closing event of the two newest slices, newest first.
fn ends(conn: &Connection) -> Result<Vec<(u64, u64)>, LedgerError> {
    let sql = "SELECT idx, close_event FROM slice ORDER BY idx DESC LIMIT 2";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn workers_of(conn: &Connection, account: &str) -> Result<HashSet<WorkerId>, LedgerError> {
    let mut statement = conn.prepare_cached("SELECT id FROM account WHERE name = ?1")?;
    let id: Option<u32> = statement.query_row([account], |row| row.get(0)).optional()?;
    let mut statement = conn.prepare_cached("SELECT id FROM worker WHERE account = ?1")?;
    let rows = statement.query_map(params![id], |row| row.get(0).map(WorkerId::new))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What these workers have in the slice whose batches are between two events.
fn shares_of(
    conn: &Connection,
    workers: &HashSet<WorkerId>,
    account: &str,
    slice: u64,
    after: u64,
    before: u64,
) -> Result<Option<Acknowledged>, LedgerError> {
    let hashes = Hashes::new();
    let mut tree = SumTree::default();
    let (mut count, mut last_share) = (0_u64, 0);
    log::for_each_whole_batch(conn, after, before, |first, shares| {
        for (number, share) in (first..).zip(&shares) {
            if workers.contains(&share.worker) {
                tree.push(&hashes.records, hashes.record(number, share))?;
                count = next(count, "shares")?;
                last_share = number;
            }
        }
        Ok(())
    })?;
    let top = tree.top(&hashes.records)?;
    Ok((count > 0).then(|| Acknowledged {
        account: account.to_owned(),
        slice: SliceIndex::new(slice),
        shares: count,
        work: Work::new(top.sum),
        records: top.hash,
        last_share,
    }))
}
