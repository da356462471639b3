//! The ten-minute aggregates: what the tables have that the last one had not.
//!
//! They are written right after a slice was closed, in its transaction: the sums of shares are in
//! the tables then (see `tally.rs`), so that an aggregate is the difference of two sums and costs
//! the share path nothing.

use rusqlite::{Connection, OptionalExtension, params};
use units::{MicroJoules, UnixMillis, Work};

use super::log;
use super::values::{Instant, Wide};
use crate::aggregate::{Done, MILLIS, decode, encode};
use crate::error::LedgerError;
use crate::event::Aggregated;
use crate::types::WorkerId;
use crate::view::{Aggregate, AggregatesKept};

/// What a worker did since, and its sums now.
struct Change {
    done: Done,
    shares: u64,
    work: u128,
    energy: u128,
}

/// What is to be written down at `at`, after a slice was closed; nothing while the ten minutes of
/// the last one, or of the log's first event, last.
pub(super) fn due(conn: &Connection, at: UnixMillis) -> Result<Option<Vec<Done>>, LedgerError> {
    let last = conn
        .prepare_cached("SELECT until FROM aggregate ORDER BY event DESC LIMIT 1")?
        .query_row([], |row| row.get::<_, Instant>(0))
        .optional()?;
    let last = match last {
        Some(last) => last.0,
        None => log::instant_of(conn, 1)?,
    };
    let period = |at: UnixMillis| at.get().checked_div(MILLIS);
    if period(at) <= period(last) {
        return Ok(None);
    }
    Ok(Some(changes(conn)?.into_iter().map(|change| change.done).collect()))
}

/// Does what event `seq` says.
pub(super) fn apply(
    conn: &Connection,
    seq: u64,
    body: &Aggregated,
    data: &[u8],
) -> Result<(), LedgerError> {
    let changes = changes(conn)?;
    let all: Vec<Done> = changes.iter().map(|change| change.done).collect();
    if encode(&all) != data || u64::try_from(all.len()) != Ok(body.workers) {
        return Err(LedgerError::damaged(format!("aggregate {seq} is not what was done")));
    }
    let mut statement = conn.prepare_cached(
        "INSERT OR REPLACE INTO aggregated(worker, shares, work, energy) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for Change { done, shares, work, energy } in changes {
        statement.execute(params![done.worker, shares, Wide(work), Wide(energy)])?;
    }
    conn.prepare_cached("INSERT INTO aggregate(event, until) VALUES (?1, ?2)")?
        .execute(params![seq, Instant(UnixMillis::new(body.until))])?;
    Ok(())
}

fn changes(conn: &Connection) -> Result<Vec<Change>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT tally.worker, tally.shares, tally.work, worker_energy.energy,
                aggregated.shares, aggregated.work, aggregated.energy
         FROM tally LEFT JOIN worker_energy ON worker_energy.worker = tally.worker
         LEFT JOIN aggregated ON aggregated.worker = tally.worker
         WHERE tally.shares IS NOT coalesce(aggregated.shares, 0)
            OR worker_energy.energy IS NOT aggregated.energy
         ORDER BY tally.worker",
    )?;
    let mut rows = statement.query([])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let wide = |at| row.get::<_, Option<Wide>>(at).map(|wide| wide.map_or(0, |wide| wide.0));
        let (shares, work, energy) = (row.get::<_, u64>(1)?, wide(2)?, wide(3)?);
        let before = (row.get::<_, Option<u64>>(4)?.unwrap_or(0), wide(5)?, wide(6)?);
        let worker = row.get(0)?;
        let fell = || LedgerError::damaged(format!("the sums of worker {worker} fell"));
        let done = Done {
            worker,
            shares: shares.checked_sub(before.0).ok_or_else(fell)?,
            work: work.checked_sub(before.1).ok_or_else(fell)?,
            energy: energy.checked_sub(before.2).ok_or_else(fell)?,
        };
        if (done.shares, done.work, done.energy) != (0, 0, 0) {
            changes.push(Change { done, shares, work, energy });
        }
    }
    Ok(changes)
}

/// A worker's aggregates that end after `after` and no later than `last`.
pub(super) fn of_worker(
    conn: &Connection,
    worker: WorkerId,
    after: UnixMillis,
    last: UnixMillis,
) -> Result<Vec<Aggregate>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT aggregate.until, event.data FROM aggregate
         JOIN event ON event.seq = aggregate.event
         WHERE aggregate.until > ?1 AND aggregate.until <= ?2 ORDER BY aggregate.event",
    )?;
    let mut rows = statement.query(params![Instant(after), Instant(last)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let until = row.get::<_, Instant>(0)?.0;
        let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let own = decode(data)?.into_iter().find(|done| done.worker == worker.get());
        found.extend(own.map(|done| Aggregate {
            until,
            shares: done.shares,
            work: Work::new(done.work),
            energy: MicroJoules::new(done.energy),
        }));
    }
    Ok(found)
}

/// How much is kept of them.
pub(super) fn kept(conn: &Connection) -> Result<AggregatesKept, LedgerError> {
    let mut statement = conn.prepare(
        "SELECT event.data, length(event.body) FROM aggregate
         JOIN event ON event.seq = aggregate.event",
    )?;
    let mut rows = statement.query([])?;
    let mut kept = AggregatesKept::default();
    while let Some(row) = rows.next()? {
        let data = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let (workers, length) = (decode(data)?.len(), data.len());
        let count = |size: usize| u64::try_from(size).map_err(|_| LedgerError::Overflow("bytes"));
        kept.aggregates = kept.aggregates.saturating_add(1);
        kept.workers = kept.workers.saturating_add(count(workers)?);
        kept.bytes = kept.bytes.saturating_add(count(length)?).saturating_add(row.get(1)?);
    }
    Ok(kept)
}
