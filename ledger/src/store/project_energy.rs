//! What a reading does to its meter, its UTC hour, its worker and the totals.

use rusqlite::{Connection, OptionalExtension, params};
use units::UnixMillis;

use super::rows;
use super::state::{State, sum};
use super::values::{Instant, Wide};
use crate::coverage::{Interval, Previous, newly_covered};
use crate::error::LedgerError;
use crate::event::Metered;
use crate::types::WorkerId;

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// What a meter's readings so far left.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeterSums {
    pub(super) epoch: u64,
    pub(super) total: u128,
    hashes_total: Option<u128>,
    credited: u128,
    energy: u128,
    gap_ms: u64,
    first_at: UnixMillis,
    work_mark: u128,
}

/// What a reading adds.
#[derive(Debug, Clone, Copy)]
struct Added {
    credited: u128,
    energy: u128,
    covered: u128,
    gap_ms: u64,
}

/// A worker's sums over its meters.
#[derive(Debug, Clone, Copy, Default)]
struct WorkerSums {
    energy: u128,
    covered: u128,
    /// The worker's work where the newest covered interval ended.
    mark: u128,
}

pub(super) fn metered(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: &Metered,
) -> Result<(), LedgerError> {
    let id = WorkerId::new(body.worker);
    let work = state.known_worker(id)?.tally.work;
    let meter = meter_sums(conn, body.worker, &body.meter)?;
    let mut worker = worker_sums(conn, body.worker)?;
    let interval =
        Interval { epoch: body.epoch, credits: body.credited > 0, counted: body.counted, work };
    let previous = meter.map(|meter| Previous { epoch: meter.epoch, work: meter.work_mark });
    let covered = newly_covered(previous, interval, worker.mark);
    if covered.is_some() {
        worker.mark = worker.mark.max(work);
    }
    let added = Added {
        credited: body.credited,
        energy: if body.counted { body.credited } else { 0 },
        covered: covered.unwrap_or(0),
        gap_ms: body.gap_ms,
    };
    save_meter(conn, at, body, meter, &added, work)?;
    add_to_hour(conn, at, body, &added)?;
    worker.energy = wide_sum(worker.energy, added.energy)?;
    worker.covered = wide_sum(worker.covered, added.covered)?;
    save_worker(conn, body.worker, worker)?;
    state.total.energy = wide_sum(state.total.energy, added.energy)?;
    state.total.covered = wide_sum(state.total.covered, added.covered)?;
    state.total.save(conn)
}

/// What the readings of a meter so far left; `None` before its first.
pub(super) fn meter_sums(
    conn: &Connection,
    worker: u32,
    meter: &str,
) -> Result<Option<MeterSums>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT epoch, total, hashes_total, credited, energy, gap_ms, first_at, work_mark
         FROM meter WHERE worker = ?1 AND meter = ?2",
    )?;
    let sums = statement.query_row(params![worker, meter], |row| {
        Ok(MeterSums {
            epoch: rows::narrow(row, 0)?,
            total: row.get::<_, Wide>(1)?.0,
            hashes_total: row.get::<_, Option<Wide>>(2)?.map(|hashes| hashes.0),
            credited: row.get::<_, Wide>(3)?.0,
            energy: row.get::<_, Wide>(4)?.0,
            gap_ms: row.get(5)?,
            first_at: row.get::<_, Instant>(6)?.0,
            work_mark: row.get::<_, Wide>(7)?.0,
        })
    });
    Ok(sums.optional()?)
}

fn save_meter(
    conn: &Connection,
    at: UnixMillis,
    body: &Metered,
    before: Option<MeterSums>,
    added: &Added,
    work: u128,
) -> Result<(), LedgerError> {
    let same_epoch = before.filter(|meter| meter.epoch == body.epoch);
    // A late report of an older total changes nothing.
    let total = same_epoch.map_or(0, |meter| meter.total).max(body.microjoules_total);
    let hashes_total = body.hashes_total.or_else(|| before.and_then(|meter| meter.hashes_total));
    conn.prepare_cached(
        "INSERT OR REPLACE INTO meter(worker, meter, kind, scope, tier, epoch, total,
            hashes_total, credited, energy, counted, gap_ms, coverage_ppm, uncertainty_ppm,
            first_at, last_at, work_mark)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?
    .execute(params![
        body.worker,
        body.meter,
        body.kind,
        body.scope,
        body.tier,
        Wide(u128::from(body.epoch)),
        Wide(total),
        hashes_total.map(Wide),
        Wide(wide_sum(before.map_or(0, |meter| meter.credited), added.credited)?),
        Wide(wide_sum(before.map_or(0, |meter| meter.energy), added.energy)?),
        body.counted,
        sum(before.map_or(0, |meter| meter.gap_ms), added.gap_ms, "gaps")?,
        body.coverage_ppm,
        body.uncertainty_ppm,
        Instant(before.map_or(at, |meter| meter.first_at)),
        Instant(at),
        Wide(work),
    ])?;
    Ok(())
}

fn add_to_hour(
    conn: &Connection,
    at: UnixMillis,
    body: &Metered,
    added: &Added,
) -> Result<(), LedgerError> {
    let hour = at.get().wrapping_div(HOUR_MS);
    let mut statement = conn.prepare_cached(
        "SELECT credited, energy, covered, gap_ms FROM energy_hour
         WHERE hour = ?1 AND worker = ?2 AND meter = ?3",
    )?;
    let before = statement
        .query_row(params![hour, body.worker, body.meter], |row| {
            Ok(Added {
                credited: row.get::<_, Wide>(0)?.0,
                energy: row.get::<_, Wide>(1)?.0,
                covered: row.get::<_, Wide>(2)?.0,
                gap_ms: row.get(3)?,
            })
        })
        .optional()?
        .unwrap_or(Added { credited: 0, energy: 0, covered: 0, gap_ms: 0 });
    conn.prepare_cached(
        "INSERT OR REPLACE INTO energy_hour(hour, worker, meter, credited, energy, covered, gap_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        hour,
        body.worker,
        body.meter,
        Wide(wide_sum(before.credited, added.credited)?),
        Wide(wide_sum(before.energy, added.energy)?),
        Wide(wide_sum(before.covered, added.covered)?),
        sum(before.gap_ms, added.gap_ms, "gaps")?,
    ])?;
    Ok(())
}

fn worker_sums(conn: &Connection, worker: u32) -> Result<WorkerSums, LedgerError> {
    let mut statement = conn
        .prepare_cached("SELECT energy, covered, work_mark FROM worker_energy WHERE worker = ?1")?;
    let sums = statement.query_row([worker], |row| {
        Ok(WorkerSums {
            energy: row.get::<_, Wide>(0)?.0,
            covered: row.get::<_, Wide>(1)?.0,
            mark: row.get::<_, Wide>(2)?.0,
        })
    });
    Ok(sums.optional()?.unwrap_or_default())
}

fn save_worker(conn: &Connection, worker: u32, sums: WorkerSums) -> Result<(), LedgerError> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO worker_energy(worker, energy, covered, work_mark)
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![worker, Wide(sums.energy), Wide(sums.covered), Wide(sums.mark)])?;
    Ok(())
}

fn wide_sum(a: u128, b: u128) -> Result<u128, LedgerError> {
    a.checked_add(b).ok_or(LedgerError::Overflow("energy"))
}
