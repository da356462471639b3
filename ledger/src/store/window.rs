//! Who worked in a window: O(accounts) and at most 2 x 64 slices of rows, whatever the window's
//! length, save for the slice on its edge, whose shares are read again one by one.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::log;
use super::state::{State, Tally};
use super::values::Wide;
use crate::error::LedgerError;
use crate::types::{AccountId, SliceIndex};
use crate::window;

/// Every so many slices, the sums of all slices so far are written down.
pub(super) const SUM_EVERY: u64 = 64;
/// Bytes of one account in such a sum: id and work.
const SUM_BYTES: usize = 20;

/// Work by account in the newest `length` of the line that ends with slice `last`; empty when
/// `last` is 0. Fails when the parts do not fill the window to the last hash.
pub(super) fn weights(
    conn: &Connection,
    state: &State,
    last: SliceIndex,
    length: u128,
) -> Result<BTreeMap<AccountId, u128>, LedgerError> {
    let end = line_end(conn, last)?;
    let start = window::start(end, length);
    let Some(edge) = slice_over(conn, start, last)? else { return Ok(BTreeMap::new()) };
    let before_edge = SliceIndex::new(edge.get().saturating_sub(1));
    let edge_start = line_end(conn, before_edge)?;
    let weights = if edge_start == start {
        between(conn, before_edge, last)?
    } else {
        let mut weights = between(conn, edge, last)?;
        add_cut(conn, state, edge, edge_start, start, &mut weights)?;
        weights
    };
    let filled = weights.values().try_fold(0_u128, |sum, weight| sum.checked_add(*weight));
    if filled != end.checked_sub(start) {
        return Err(LedgerError::damaged(format!(
            "slices {edge} to {last} do not sum to the line from {start} to {end}"
        )));
    }
    Ok(weights)
}

/// Where on the line of work a slice ends; 0 for slice 0.
pub(super) fn line_end(conn: &Connection, slice: SliceIndex) -> Result<u128, LedgerError> {
    if slice.get() == 0 {
        return Ok(0);
    }
    let mut statement = conn.prepare_cached("SELECT line_end FROM slice WHERE idx = ?1")?;
    let end: Option<Wide> = statement.query_row([slice.get()], |row| row.get(0)).optional()?;
    end.map(|end| end.0).ok_or_else(|| LedgerError::damaged(format!("slice {slice} is missing")))
}

/// Each account's work in all slices up to `slice`.
pub(super) fn sums(
    conn: &Connection,
    slice: SliceIndex,
) -> Result<BTreeMap<AccountId, u128>, LedgerError> {
    let written = slice.get().saturating_sub(slice.get().wrapping_rem(SUM_EVERY));
    let mut sums = written_sums(conn, written)?;
    add_rows(conn, written, slice.get(), &mut sums)?;
    Ok(sums)
}

/// The form in which sums are written down.
pub(super) fn encode_sums(sums: &BTreeMap<AccountId, u128>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sums.len().saturating_mul(SUM_BYTES));
    for (account, work) in sums {
        bytes.extend_from_slice(&account.get().to_be_bytes());
        bytes.extend_from_slice(&work.to_be_bytes());
    }
    bytes
}

/// The slice that covers the point `at` of the line, none later than `last`.
fn slice_over(
    conn: &Connection,
    at: u128,
    last: SliceIndex,
) -> Result<Option<SliceIndex>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT idx FROM slice WHERE line_end > ?1 AND idx <= ?2 ORDER BY line_end LIMIT 1",
    )?;
    let found = statement.query_row(params![Wide(at), last.get()], |row| row.get(0)).optional()?;
    Ok(found.map(SliceIndex::new))
}

/// Work by account in the slices after `after` up to `last`.
fn between(
    conn: &Connection,
    after: SliceIndex,
    last: SliceIndex,
) -> Result<BTreeMap<AccountId, u128>, LedgerError> {
    let mut weights = BTreeMap::new();
    if last.get().saturating_sub(after.get()) <= SUM_EVERY {
        add_rows(conn, after.get(), last.get(), &mut weights)?;
        return Ok(weights);
    }
    let earlier = sums(conn, after)?;
    for (account, work) in sums(conn, last)? {
        let before = earlier.get(&account).copied().unwrap_or(0);
        let within = work
            .checked_sub(before)
            .ok_or_else(|| LedgerError::damaged(format!("the work of account {account} fell")))?;
        if within > 0 {
            weights.insert(account, within);
        }
    }
    Ok(weights)
}

fn written_sums(conn: &Connection, slice: u64) -> Result<BTreeMap<AccountId, u128>, LedgerError> {
    if slice == 0 {
        return Ok(BTreeMap::new());
    }
    let mut statement = conn.prepare_cached("SELECT sums FROM slice_sum WHERE slice = ?1")?;
    let bytes: Vec<u8> = statement.query_row([slice], |row| row.get(0))?;
    let (records, rest) = bytes.as_chunks::<SUM_BYTES>();
    if !rest.is_empty() {
        return Err(LedgerError::damaged(format!("the sums of slice {slice} are cut short")));
    }
    Ok(records.iter().map(decode_sum).collect())
}

fn decode_sum(record: &[u8; SUM_BYTES]) -> (AccountId, u128) {
    let (id, work) = record.split_first_chunk().expect("20 bytes have a first 4");
    let work = work.first_chunk().expect("and 16 more");
    (AccountId::new(u32::from_be_bytes(*id)), u128::from_be_bytes(*work))
}

fn add_rows(
    conn: &Connection,
    after: u64,
    last: u64,
    sums: &mut BTreeMap<AccountId, u128>,
) -> Result<(), LedgerError> {
    let mut statement = conn
        .prepare_cached("SELECT account, work FROM slice_work WHERE slice > ?1 AND slice <= ?2")?;
    let mut rows = statement.query(params![after, last])?;
    while let Some(row) = rows.next()? {
        add(sums, AccountId::new(row.get(0)?), row.get::<_, Wide>(1)?.0)?;
    }
    Ok(())
}

/// Adds the part of slice `edge`, which covers the line from `edge_start`, that is at or after
/// `start`: whole shares, and the one on the edge cut.
fn add_cut(
    conn: &Connection,
    state: &State,
    edge: SliceIndex,
    edge_start: u128,
    start: u128,
    weights: &mut BTreeMap<AccountId, u128>,
) -> Result<(), LedgerError> {
    let mut at = Tally { shares: 0, work: edge_start };
    let (opened, closed) = bounds(conn, edge)?;
    log::for_each_batch(conn, opened, closed, |entries| {
        for share in entries {
            at.add(Tally { shares: 1, work: share.work })?;
            let inside = window::inside(at.work, share.work, start);
            if inside > 0 {
                add(weights, state.known_worker(share.worker)?.account, inside)?;
            }
        }
        Ok(())
    })
}

/// The events between which a slice's batches lie.
pub(super) fn bounds(conn: &Connection, slice: SliceIndex) -> Result<(u64, u64), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce((SELECT close_event FROM slice WHERE idx = ?1 - 1), 0), close_event
         FROM slice WHERE idx = ?1",
    )?;
    Ok(statement.query_row([slice.get()], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn add(
    sums: &mut BTreeMap<AccountId, u128>,
    account: AccountId,
    work: u128,
) -> Result<(), LedgerError> {
    let sum = sums.entry(account).or_insert(0);
    *sum = sum.checked_add(work).ok_or(LedgerError::Overflow("proven work"))?;
    Ok(())
}
