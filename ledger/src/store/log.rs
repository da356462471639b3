//! The event log as rows: appended at the end, read in order.

use rusqlite::{Connection, Row, params};
use units::UnixMillis;

use super::values::Instant;
use crate::error::LedgerError;
use crate::event::Event;
use crate::packed;
use crate::record::{self, Entry};
use crate::thin;
use crate::types::Share;

/// A row of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) seq: u64,
    pub(super) at: UnixMillis,
    pub(super) kind: String,
    pub(super) body: String,
    pub(super) data: Option<Vec<u8>>,
}

impl LogRow {
    /// The event that the row stands for.
    pub(super) fn event(&self) -> Result<Event, LedgerError> {
        Event::from_row(self.seq, &self.kind, &self.body)
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            at: row.get::<_, Instant>(1)?.0,
            kind: row.get(2)?,
            body: row.get(3)?,
            data: row.get(4)?,
        })
    }
}

/// Adds an event at the end.
pub(super) fn append(
    conn: &Connection,
    seq: u64,
    at: UnixMillis,
    event: &Event,
    data: Option<&[u8]>,
) -> Result<(), LedgerError> {
    let (kind, body) = event.to_row();
    conn.prepare_cached(
        "INSERT INTO event(seq, at, kind, body, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![seq, Instant(at), kind, body, data])?;
    Ok(())
}

/// Hands every row to `visit`, in order.
pub(super) fn for_each(
    conn: &Connection,
    mut visit: impl FnMut(LogRow) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare("SELECT seq, at, kind, body, data FROM event ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(LogRow::read(row)?)?;
    }
    Ok(())
}

/// Hands the shares of each batch after event `after` and before event `before` to `visit`.
pub(super) fn for_each_batch(
    conn: &Connection,
    after: u64,
    before: u64,
    mut visit: impl FnMut(Vec<Entry>) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, data FROM event
         WHERE seq > ?1 AND seq < ?2 AND kind IN ('shares', 'entries', 'batch') ORDER BY seq",
    )?;
    let mut rows = statement.query(params![after, before])?;
    while let Some(row) = rows.next()? {
        let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        visit(match row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)? {
            "batch" => record::decode_shares(data)?,
            "entries" => thin::decode(data)?,
            _ => packed::entries(data)?,
        })?;
    }
    Ok(())
}

/// The same with whole shares, and the number of the first. Batches of pruned slices are no more of
/// these: whoever asks has to know that the slice is not pruned.
pub(super) fn for_each_whole_batch(
    conn: &Connection,
    after: u64,
    before: u64,
    mut visit: impl FnMut(u64, Vec<Share>) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, data, seq, body FROM event
         WHERE seq > ?1 AND seq < ?2 AND kind IN ('shares', 'batch') ORDER BY seq",
    )?;
    let mut rows = statement.query(params![after, before])?;
    while let Some(row) = rows.next()? {
        let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let kind = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let body = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
        let shares = match kind {
            "batch" => record::whole_shares(data)?,
            _ => packed::shares(data)?,
        };
        if let Event::Shares(batch) | Event::Batch(batch) =
            Event::from_row(row.get(2)?, kind, body)?
        {
            visit(batch.first, shares)?;
        }
    }
    Ok(())
}

/// The instant of an event; the epoch for event 0.
pub(super) fn instant_of(conn: &Connection, seq: u64) -> Result<UnixMillis, LedgerError> {
    if seq == 0 {
        return Ok(UnixMillis::new(0));
    }
    let at: Instant =
        conn.query_row("SELECT at FROM event WHERE seq = ?1", [seq], |row| row.get(0))?;
    Ok(at.0)
}

/// Number of the newest event; 0 when there is none.
pub(super) fn newest(conn: &Connection) -> Result<u64, LedgerError> {
    Ok(conn.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0))?)
}
