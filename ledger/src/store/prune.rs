//! Drops the headers of shares that no block can be paid by any more: `docs/retention.md`.
//!
//! Read [`oldest_needed`] (what must stay), then [`announcement`] (the event that a slice is pruned, with
//! what stays of its shares for good) and [`thin_some`] (a few of its batches without headers).
//! Money does not depend on any of it: settlements read no header.
//!
//! It deliberately does little at a time: whoever waits for a commit waits for one call at most.

use rusqlite::{Connection, OptionalExtension, params};
use units::{UnixMillis, Work};

use super::query::{BlockRow, Queries};
use super::state::{State, next};
use super::values::Instant;
use super::{rounds, window};
use crate::error::LedgerError;
use crate::event::{Event, SlicePruned};
use crate::packed;
use crate::record;
use crate::scheme::Rule;
use crate::thin;
use crate::types::{Scheme, SliceIndex};

/// Batches that one call looks at, and shares after which it looks at no more.
const BATCHES: u32 = 64;
const SHARES: usize = 8_192;
/// A pruned slice keeps the best header of so many shares of an account.
const ONE_IN: u64 = 16;
/// An event after all that are there: the greatest number that a row can have.
const LATER: u64 = u64::MAX >> 1;
/// Jobs that are out may have committed to slices so much older than the newest, whatever their age.
const OUT: u64 = 3;

/// The oldest slice whose headers are needed: for blocks whose money is not final, for the one that
/// may be found next, on a job that is up to `age` old (in milliseconds), or for pay per share. Ages
/// are by the slices' own instants: a clock that was set changes nothing before slices are closed by it.
pub(super) fn oldest_needed(
    conn: &Connection,
    state: &State,
    scheme: Scheme,
    age: u64,
) -> Result<SliceIndex, LedgerError> {
    let then = UnixMillis::new(state.newest_closed.get().saturating_sub(age));
    let mut statement = conn.prepare_cached(
        "SELECT idx FROM slice WHERE idx <= ?1 AND closed_at <= ?2 ORDER BY idx DESC LIMIT 1",
    )?;
    let youngest = state.newest.index.get().saturating_sub(OUT);
    let last: Option<u64> =
        statement.query_row(params![youngest, Instant(then)], |row| row.get(0)).optional()?;
    let Some(last) = last.map(SliceIndex::new) else { return Ok(SliceIndex::new(1)) };
    let (hundredths, millis) = (scheme.window_hundredths(), scheme.window_millis());
    let rule = Rule::of(Some(scheme.as_str()), hundredths, millis)?;
    let mut oldest = first_for_the_next(conn, rule, last)?;
    for block in undecided(conn)? {
        oldest = oldest.min(first_of(conn, &block)?);
    }
    if let Some(paid) = state.total.paid_slice {
        oldest = oldest.min(next(paid, "slices")?);
    }
    Ok(SliceIndex::new(oldest))
}

/// The first slice that a block found now would be paid for.
fn first_for_the_next(conn: &Connection, rule: Rule, last: SliceIndex) -> Result<u64, LedgerError> {
    if rule != Rule::Round {
        return window::first(conn, rule, last, Work::ZERO);
    }
    let free = rounds::free(conn, last, LATER)?;
    Ok(free.first().map_or_else(|| last.get(), |slices| *slices.start()))
}

fn first_of(conn: &Connection, block: &BlockRow) -> Result<u64, LedgerError> {
    let (rule, last) = (block.rule, block.slice);
    if rule != Rule::Round {
        return window::first(conn, rule, last, block.network_work);
    }
    let sql = "SELECT min(first) FROM round WHERE block = ?1";
    let taken: Option<u64> =
        conn.prepare_cached(sql)?.query_row([block.event], |row| row.get(0))?;
    let first = match taken {
        Some(first) => Some(first),
        None => rounds::free(conn, last, block.event)?.first().map(|slices| *slices.start()),
    };
    Ok(first.unwrap_or(u64::MAX).min(last.get()))
}

/// Blocks whose fate is open (an orphan may come back until it is given up) or that are not mature;
/// of several of one scheme that is no round the one of the oldest slice, whose window begins first.
fn undecided(conn: &Connection) -> Result<Vec<BlockRow>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT hash FROM block WHERE state IN ('candidate', 'submitted', 'immature', 'orphaned')
         ORDER BY slice",
    )?;
    let hashes = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut blocks: Vec<BlockRow> = Vec::new();
    for hash in &hashes {
        let Some(block) = Queries::new(conn).block(hash)? else { continue };
        let looks_alike = |one: &BlockRow| {
            let same = (one.rule, one.network_work) == (block.rule, block.network_work);
            same && block.rule != Rule::Round
        };
        if !blocks.iter().any(looks_alike) {
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// The newest slice whose pruning was announced; 0 for none.
pub(super) fn newest(conn: &Connection) -> Result<SliceIndex, LedgerError> {
    let sql = "SELECT coalesce(max(slice), 0) FROM pruned";
    Ok(SliceIndex::new(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
}

/// Whether a slice's root has its shares below it, so that it can be pruned.
pub(super) fn is_rooted(conn: &Connection, slice: SliceIndex) -> Result<bool, LedgerError> {
    let sql = "SELECT event.seq, event.kind, event.body FROM slice
               JOIN event ON event.seq = slice.close_event WHERE slice.idx = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    };
    let (seq, kind, body) = conn.prepare_cached(sql)?.query_row([slice.get()], read)?;
    let event = Event::from_row(seq, &kind, &body)?;
    Ok(matches!(event, Event::SliceClosed(closed) if closed.form.unwrap_or(1) > 1))
}

/// What is said of a slice that is pruned: the tops of its accounts' trees, and the best of their
/// headers, as many as one in [`ONE_IN`] shares, so that less stays than goes.
pub(super) fn announcement(
    conn: &Connection,
    slice: SliceIndex,
) -> Result<(Event, Vec<u8>), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT slice_best.account, records, numbers, slice_best.shares, slice_work.shares
         FROM slice_best JOIN slice_work USING (slice, account) WHERE slice = ?1
         ORDER BY slice_best.account",
    )?;
    let mut rows = statement.query([slice.get()])?;
    let mut bytes = Vec::new();
    while let Some(row) = rows.next()? {
        let (account, records): (u32, [u8; 32]) = (row.get(0)?, row.get(1)?);
        let (mut numbers, best): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
        let most = row.get::<_, u64>(4)?.wrapping_div(ONE_IN);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        numbers.truncate(most.saturating_mul(8));
        let mut best = packed::shares(&best)?;
        best.truncate(most);
        let shares = packed::encode(&best);
        bytes.extend_from_slice(&account.to_be_bytes());
        bytes.extend_from_slice(&records);
        bytes.extend_from_slice(&length(numbers.len().wrapping_div(8))?);
        bytes.extend_from_slice(&numbers);
        bytes.extend_from_slice(&length(shares.len())?);
        bytes.extend_from_slice(&shares);
    }
    Ok((Event::SlicePruned(SlicePruned { slice: slice.get() }), bytes))
}

fn length(of: usize) -> Result<[u8; 4], LedgerError> {
    u32::try_from(of).map(u32::to_be_bytes).map_err(|_| LedgerError::Overflow("best headers"))
}

/// Does what the event says: the table has these rows, whether the slice's shares are there or not.
pub(super) fn apply(
    conn: &Connection,
    seq: u64,
    body: SlicePruned,
    mut data: &[u8],
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "INSERT OR REPLACE INTO slice_best(slice, account, records, numbers, shares)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    while !data.is_empty() {
        let account = u32::from_be_bytes(piece(&mut data)?);
        let records: [u8; 32] = piece(&mut data)?;
        let count = u32::from_be_bytes(piece(&mut data)?);
        let numbers = bytes(&mut data, u64::from(count).saturating_mul(8))?;
        let size = u32::from_be_bytes(piece(&mut data)?);
        let shares = bytes(&mut data, size.into())?;
        statement.execute(params![body.slice, account, records, numbers, shares])?;
    }
    conn.prepare_cached("INSERT INTO pruned(slice, event) VALUES (?1, ?2)")?
        .execute(params![body.slice, seq])?;
    Ok(())
}

fn piece<const N: usize>(data: &mut &[u8]) -> Result<[u8; N], LedgerError> {
    let (piece, rest) = data.split_first_chunk().ok_or_else(cut_short)?;
    *data = rest;
    Ok(*piece)
}

fn bytes<'a>(data: &mut &'a [u8], length: u64) -> Result<&'a [u8], LedgerError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (bytes, rest) = data.split_at_checked(length).ok_or_else(cut_short)?;
    *data = rest;
    Ok(bytes)
}

fn cut_short() -> LedgerError {
    LedgerError::damaged("what is kept of a pruned slice is cut short")
}

/// Takes the headers out of some batches of a slice that was announced, after event `after`. Says
/// of how many shares, and after which event to go on; `None` where no batch is left that has them.
pub(super) fn thin_some(
    conn: &Connection,
    slice: SliceIndex,
    after: u64,
) -> Result<Option<(u64, u64)>, LedgerError> {
    let (opened, closed) = window::events_of(conn, slice)?;
    let mut some = conn.prepare_cached(
        "SELECT seq, kind, data FROM event
         WHERE seq > ?1 AND seq < ?2 AND kind IN ('shares', 'batch') ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = some.query(params![opened.max(after), closed, BATCHES])?;
    let (mut thin, mut shares) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let data = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let entries = match row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? {
            "batch" => record::decode_shares(data)?,
            _ => packed::entries(data)?,
        };
        shares = shares.saturating_add(entries.len());
        thin.push((row.get::<_, u64>(0)?, thin::encode(&entries)));
        if shares >= SHARES {
            break;
        }
    }
    let Some((last, _)) = thin.last().map(|(seq, data)| (*seq, data)) else { return Ok(None) };
    drop(rows);
    exchange(conn, &thin)?;
    let shares = u64::try_from(shares).map_err(|_| LedgerError::Overflow("shares"))?;
    Ok(Some((shares, last)))
}

/// Puts these in the place of the batches that they are without headers: see the triggers.
fn exchange(conn: &Connection, thin: &[(u64, Vec<u8>)]) -> Result<(), LedgerError> {
    let mut note = conn.prepare_cached(
        "INSERT INTO thinned(seq, at, body, data) SELECT seq, at, body, ?2 FROM event
         WHERE seq = ?1",
    )?;
    for (seq, data) in thin {
        note.execute(params![seq, data])?;
    }
    for change in [
        "DELETE FROM event WHERE seq IN (SELECT seq FROM thinned)",
        "INSERT INTO event(seq, at, kind, body, data)
         SELECT seq, at, 'entries', body, data FROM thinned ORDER BY seq",
        "DELETE FROM thinned",
    ] {
        conn.prepare_cached(change)?.execute([])?;
    }
    Ok(())
}
