//! Who worked in a window: O(accounts) and at most 2 x 64 slices of rows, whatever the window's
//! length, save for the slice on its edge, whose shares are read again one by one.
//!
//! A window is a stretch of the line of all shares (see `crate::window`), measured by one of two
//! [`Unit`]s; or it begins at an instant; or it is some whole slices.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, params};
use units::{UnixMillis, Work};

use super::log;
use super::state::Weight;
use super::values::{Instant, Wide};
use crate::error::LedgerError;
use crate::record::Entry;
use crate::scheme::Rule;
use crate::score;
use crate::types::{AccountId, SliceIndex, WorkerId};
use crate::window::{self, Unit};

/// Every so many slices, the sums of all slices so far are written down.
pub(super) const SUM_EVERY: u64 = 64;
/// Bytes of one account in such a sum: id, work and score.
const SUM_BYTES: usize = 36;

/// Whose a worker is.
pub(super) type AccountOf<'a> = &'a dyn Fn(WorkerId) -> Result<AccountId, LedgerError>;

/// What each account has in a window, in the window's unit.
pub(crate) type Weights = BTreeMap<AccountId, u128>;

/// The newest `length` of the line that ends with slice `last`; empty when `last` is 0. Fails when
/// the parts do not fill the window to the last bit.
pub(super) fn weights(
    conn: &Connection,
    account_of: AccountOf<'_>,
    last: SliceIndex,
    length: u128,
    unit: Unit,
) -> Result<Weights, LedgerError> {
    let end = unit.of(line_ends(conn, last)?);
    let start = window::start(end, length);
    let Some(edge) = slice_over(conn, start, last, unit)? else { return Ok(Weights::new()) };
    let before_edge = before(edge);
    let edge_start = unit.of(line_ends(conn, before_edge)?);
    let weights = if edge_start == start {
        between(conn, before_edge, last, unit)?
    } else {
        let mut weights = between(conn, edge, last, unit)?;
        let mut at = edge_start;
        for_each_share(conn, edge, |share| {
            let length = unit.of_share(&share)?;
            at = at.checked_add(length).ok_or(LedgerError::Overflow("a line of shares"))?;
            let inside = window::inside(at, length, start);
            add(&mut weights, account_of(share.worker)?, inside)
        })?;
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

/// The first slice that is looked into for a block whose job had committed to slice `last`, by any
/// rule but that of rounds.
pub(super) fn first(
    conn: &Connection,
    rule: Rule,
    last: SliceIndex,
    network: Work,
) -> Result<u64, LedgerError> {
    let over = |length, unit: Unit| {
        let start = window::start(unit.of(line_ends(conn, last)?), length);
        slice_over(conn, start, last, unit)
    };
    let edge = match rule {
        Rule::Scores { hundredths } => over(window::blocks(hundredths), Unit::Score)?,
        Rule::Work { hundredths } => over(window::length(hundredths, network), Unit::Work)?,
        Rule::Time { millis } if last.get() > 0 => {
            let cut = closed_at(conn, last)?.get().saturating_sub(millis);
            Some(time_edge(conn, last, cut)?)
        }
        Rule::Time { .. } | Rule::Finder | Rule::Reserve | Rule::Round => None,
    };
    Ok(edge.unwrap_or(last).get())
}

/// Going back from slice `last`, the first one that began at or before `cut` (in milliseconds).
fn time_edge(conn: &Connection, last: SliceIndex, cut: u64) -> Result<SliceIndex, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT idx FROM slice WHERE idx < ?1 AND closed_at <= ?2 ORDER BY idx DESC LIMIT 1",
    )?;
    let older: Option<u64> = statement
        .query_row(params![last.get(), Instant(UnixMillis::new(cut))], |row| row.get(0))
        .optional()?;
    Ok(SliceIndex::new(older.unwrap_or(0).saturating_add(1)))
}

/// The work of shares accepted within `millis` before slice `last` was closed. Slices that began
/// after that are in it whole; of the first one, going back, that began before it, those shares
/// are whose own instant is later; what is older is not looked at.
pub(super) fn since(
    conn: &Connection,
    account_of: AccountOf<'_>,
    last: SliceIndex,
    millis: u64,
) -> Result<Weights, LedgerError> {
    if last.get() == 0 {
        return Ok(Weights::new());
    }
    let cut = closed_at(conn, last)?.get().saturating_sub(millis);
    let edge = time_edge(conn, last, cut)?;
    let mut weights = between(conn, edge, last, Unit::Work)?;
    for_each_share(conn, edge, |share| {
        if share.at.get() <= cut {
            return Ok(());
        }
        add(&mut weights, account_of(share.worker)?, share.work)
    })?;
    Ok(weights)
}

/// The work of whole slices.
pub(super) fn of_slices(
    conn: &Connection,
    rounds: &[RangeInclusive<u64>],
) -> Result<Weights, LedgerError> {
    let mut weights = Weights::new();
    for round in rounds {
        let (first, last) = (SliceIndex::new(*round.start()), SliceIndex::new(*round.end()));
        for (account, work) in between(conn, before(first), last, Unit::Work)? {
            add(&mut weights, account, work)?;
        }
    }
    Ok(weights)
}

/// Where on the lines of work and of scores a slice ends; 0 for slice 0.
pub(super) fn line_ends(conn: &Connection, slice: SliceIndex) -> Result<Weight, LedgerError> {
    if slice.get() == 0 {
        return Ok(Weight::default());
    }
    let mut statement =
        conn.prepare_cached("SELECT line_end, score_end FROM slice WHERE idx = ?1")?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Weight { work: row.get::<_, Wide>(0)?.0, score: row.get::<_, Wide>(1)?.0 })
    };
    statement.query_row([slice.get()], read).optional()?.ok_or_else(|| missing(slice))
}

/// Each account's work and score in all slices up to `slice`.
pub(super) fn sums(
    conn: &Connection,
    slice: SliceIndex,
) -> Result<BTreeMap<AccountId, Weight>, LedgerError> {
    let written = slice.get().saturating_sub(slice.get().wrapping_rem(SUM_EVERY));
    let mut sums = written_sums(conn, written)?;
    add_rows(conn, written, slice.get(), &mut sums)?;
    Ok(sums)
}

/// The form in which sums are written down.
pub(super) fn encode_sums(sums: &BTreeMap<AccountId, Weight>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sums.len().saturating_mul(SUM_BYTES));
    for (account, weight) in sums {
        bytes.extend_from_slice(&account.get().to_be_bytes());
        bytes.extend_from_slice(&weight.work.to_be_bytes());
        bytes.extend_from_slice(&weight.score.to_be_bytes());
    }
    bytes
}

impl Unit {
    const fn of(self, weight: Weight) -> u128 {
        match self {
            Self::Work => weight.work,
            Self::Score => weight.score,
        }
    }

    fn of_share(self, share: &Entry) -> Result<u128, LedgerError> {
        match self {
            Self::Work => Ok(share.work),
            Self::Score => score::of(share.work, share.network_work),
        }
    }
}

/// The slice that covers the point `at` of the line, none later than `last`.
fn slice_over(
    conn: &Connection,
    at: u128,
    last: SliceIndex,
    unit: Unit,
) -> Result<Option<SliceIndex>, LedgerError> {
    let mut statement = conn.prepare_cached(match unit {
        Unit::Work => {
            "SELECT idx FROM slice WHERE line_end > ?1 AND idx <= ?2 ORDER BY line_end, idx LIMIT 1"
        }
        Unit::Score => {
            "SELECT idx FROM slice WHERE score_end > ?1 AND idx <= ?2
             ORDER BY score_end, idx LIMIT 1"
        }
    })?;
    let found = statement.query_row(params![Wide(at), last.get()], |row| row.get(0)).optional()?;
    Ok(found.map(SliceIndex::new))
}

/// What accounts have in the slices after `after` up to `last`.
fn between(
    conn: &Connection,
    after: SliceIndex,
    last: SliceIndex,
    unit: Unit,
) -> Result<Weights, LedgerError> {
    let mut within = BTreeMap::new();
    if last.get().saturating_sub(after.get()) <= SUM_EVERY {
        add_rows(conn, after.get(), last.get(), &mut within)?;
    } else {
        let earlier = sums(conn, after)?;
        for (account, sum) in sums(conn, last)? {
            let before = earlier.get(&account).copied().unwrap_or_default();
            let fell = || LedgerError::damaged(format!("the work of account {account} fell"));
            let work = sum.work.checked_sub(before.work).ok_or_else(fell)?;
            let score = sum.score.checked_sub(before.score).ok_or_else(fell)?;
            within.insert(account, Weight { work, score });
        }
    }
    let weights = within.into_iter().map(|(account, weight)| (account, unit.of(weight)));
    Ok(weights.filter(|(_, weight)| *weight > 0).collect())
}

fn written_sums(conn: &Connection, slice: u64) -> Result<BTreeMap<AccountId, Weight>, LedgerError> {
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

fn decode_sum(record: &[u8; SUM_BYTES]) -> (AccountId, Weight) {
    let (id, weight) = record.split_first_chunk().expect("36 bytes have a first 4");
    let (work, score) = weight.split_first_chunk().expect("and 16 more");
    let score = score.first_chunk().expect("and 16 at the end");
    let weight = Weight { work: u128::from_be_bytes(*work), score: u128::from_be_bytes(*score) };
    (AccountId::new(u32::from_be_bytes(*id)), weight)
}

fn add_rows(
    conn: &Connection,
    after: u64,
    last: u64,
    sums: &mut BTreeMap<AccountId, Weight>,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT account, work, score FROM slice_work WHERE slice > ?1 AND slice <= ?2",
    )?;
    let mut rows = statement.query(params![after, last])?;
    while let Some(row) = rows.next()? {
        let (work, score) = (row.get::<_, Wide>(1)?.0, row.get::<_, Wide>(2)?.0);
        sums.entry(AccountId::new(row.get(0)?)).or_default().add(Weight { work, score })?;
    }
    Ok(())
}

/// Reads a slice's shares, oldest first.
fn for_each_share(
    conn: &Connection,
    slice: SliceIndex,
    mut visit: impl FnMut(Entry) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let (opened, closed) = events_of(conn, slice)?;
    log::for_each_batch(conn, opened, closed, |shares| shares.into_iter().try_for_each(&mut visit))
}

/// The events that a closed slice's batches are between: the close before it, or 0, and its own.
pub(super) fn events_of(conn: &Connection, slice: SliceIndex) -> Result<(u64, u64), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce((SELECT close_event FROM slice WHERE idx = ?1 - 1), 0), close_event
         FROM slice WHERE idx = ?1",
    )?;
    Ok(statement.query_row([slice.get()], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// When a slice was closed; 0 for none.
pub(super) fn closing(conn: &Connection, slice: SliceIndex) -> Result<UnixMillis, LedgerError> {
    if slice.get() == 0 { Ok(UnixMillis::new(0)) } else { closed_at(conn, slice) }
}

fn closed_at(conn: &Connection, slice: SliceIndex) -> Result<UnixMillis, LedgerError> {
    let mut statement = conn.prepare_cached("SELECT closed_at FROM slice WHERE idx = ?1")?;
    let at: Option<Instant> = statement.query_row([slice.get()], |row| row.get(0)).optional()?;
    at.map(|at| at.0).ok_or_else(|| missing(slice))
}

fn missing(slice: SliceIndex) -> LedgerError {
    LedgerError::damaged(format!("slice {slice} is missing"))
}

const fn before(slice: SliceIndex) -> SliceIndex {
    SliceIndex::new(slice.get().saturating_sub(1))
}

fn add(weights: &mut Weights, account: AccountId, weight: u128) -> Result<(), LedgerError> {
    if weight > 0 {
        let sum = weights.entry(account).or_insert(0);
        *sum = sum.checked_add(weight).ok_or(LedgerError::Overflow("a window"))?;
    }
    Ok(())
}
