//! Rows that both the writer and the readers read.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use units::{BasisPoints, Hashes, MicroJoules};

use super::values::{Instant, Wide};
use crate::block::BlockState;
use crate::error::LedgerError;
use crate::scheme::Rule;
use crate::types::WorkerId;
use crate::view::MeterView;

/// All meters, or one worker's, by worker and name.
pub(super) fn meters(
    conn: &Connection,
    worker: Option<WorkerId>,
) -> Result<Vec<MeterView>, LedgerError> {
    let (least, most) = worker.map_or((0, u32::MAX), |id| (id.get(), id.get()));
    let mut statement = conn.prepare_cached(
        "SELECT worker, meter, kind, scope, tier, epoch, total, hashes_total, credited, energy,
                counted, gap_ms, coverage_ppm, uncertainty_ppm, first_at, last_at
         FROM meter WHERE worker BETWEEN ?1 AND ?2 ORDER BY worker, meter",
    )?;
    let rows = statement.query_map(params![least, most], meter)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn meter(row: &Row<'_>) -> rusqlite::Result<MeterView> {
    Ok(MeterView {
        worker: WorkerId::new(row.get(0)?),
        meter: row.get(1)?,
        kind: row.get(2)?,
        scope: row.get(3)?,
        tier: row.get(4)?,
        epoch: narrow(row, 5)?,
        total: MicroJoules::new(row.get::<_, Wide>(6)?.0),
        hashes_total: row.get::<_, Option<Wide>>(7)?.map(|hashes| Hashes::new(hashes.0)),
        credited: MicroJoules::new(row.get::<_, Wide>(8)?.0),
        energy: MicroJoules::new(row.get::<_, Wide>(9)?.0),
        counted: row.get(10)?,
        gap: Duration::from_millis(row.get(11)?),
        coverage_ppm: row.get(12)?,
        uncertainty_ppm: row.get(13)?,
        first_at: row.get::<_, Instant>(14)?.0,
        last_at: row.get::<_, Instant>(15)?.0,
    })
}

/// A `u64` that is stored wide.
pub(super) fn narrow(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let wide = row.get::<_, Wide>(column)?.0;
    u64::try_from(wide).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
    })
}

/// A block's state by its name.
pub(super) fn block_state(row: &Row<'_>, column: usize) -> rusqlite::Result<BlockState> {
    let name: String = row.get(column)?;
    BlockState::parse(&name).ok_or_else(|| {
        let reason = format!("{name:?} is no state of a block");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
    })
}

/// A block's rule, from its scheme and the window's hundredths and milliseconds.
pub(super) fn rule(row: &Row<'_>, columns: [usize; 3]) -> rusqlite::Result<Rule> {
    let [scheme, hundredths, millis] = columns;
    let name: Option<String> = row.get(scheme)?;
    Rule::of(name.as_deref(), row.get(hundredths)?, row.get(millis)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(scheme, Type::Text, Box::new(error))
    })
}

/// A part of an amount.
pub(super) fn basis_points(row: &Row<'_>, column: usize) -> rusqlite::Result<BasisPoints> {
    BasisPoints::new(row.get(column)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error))
    })
}
