//! The tables, and how a file becomes a current ledger.
//!
//! Two version numbers. `user_version` is the format of the event log: a newer one is refused,
//! an older one is converted here. Format 2 has `shares` where format 1 has `batch`; format 3 has
//! schemes by name, roots of another form in `slice_closed`, and the kinds of a reserve, of payouts and
//! of thresholds; format 4 has roots that say when slices were closed, and slices that are pruned; since old
//! events are never changed and still read, these conversions are the number (and from 4 on a trigger) alone. `meta.projections` is the shape of all
//! other tables: when it differs they are dropped and rebuilt from the log, so a change of a
//! projection needs no conversion, only a new number.

use std::path::Path;

use defences::{Defence, stands};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::log;
use super::project;
use super::state::State;
use crate::error::LedgerError;

/// Marks our files among `SQLite`'s: "WPRF".
const APPLICATION_ID: i64 = 0x5750_5246;
/// Format of the event log.
const FORMAT: i64 = 4;
/// Shape of the projections.
const PROJECTIONS: i64 = 4;

/// The log, and room for batches on their way from `shares` to `entries` (see `prune.rs`), which is
/// empty between transactions.
const LOG: &str = "
CREATE TABLE event(
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    data BLOB
) STRICT;
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
";
const THINNED: &str = "
CREATE TABLE IF NOT EXISTS thinned(
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
";

/// Triggers hold what the code promises: rows are added at the end and never changed, but for
/// batches that lose their headers, and nothing else of them. They are taken out and put in again,
/// since `SQLite` joins pages that rows leave, and none in which rows become small.
const TRIGGERS: &str = "
DROP TRIGGER IF EXISTS event_is_appended;
DROP TRIGGER IF EXISTS event_is_not_changed;
DROP TRIGGER IF EXISTS event_is_not_deleted;
DROP TRIGGER IF EXISTS thinned_is_a_batch;
DROP TRIGGER IF EXISTS thinned_is_not_changed;
DROP TRIGGER IF EXISTS thinned_has_gone_back;
CREATE TRIGGER event_is_appended BEFORE INSERT ON event
    WHEN new.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM event)
         AND NOT (new.kind IS 'entries' AND new.seq < (SELECT max(seq) FROM event)
                  AND NOT EXISTS (SELECT 1 FROM event WHERE seq = new.seq) AND EXISTS (
             SELECT 1 FROM thinned WHERE seq = new.seq AND at IS new.at AND body IS new.body
                                         AND data IS new.data))
    BEGIN SELECT raise(ABORT, 'events are appended'); END;
CREATE TRIGGER event_is_not_changed BEFORE UPDATE ON event
    BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER event_is_not_deleted BEFORE DELETE ON event
    WHEN NOT (old.kind IN ('shares', 'batch') AND EXISTS (
        SELECT 1 FROM thinned WHERE seq = old.seq AND at IS old.at AND body IS old.body))
    BEGIN SELECT raise(ABORT, 'events are never deleted'); END;
CREATE TRIGGER thinned_is_a_batch BEFORE INSERT ON thinned
    WHEN NOT EXISTS (
        SELECT 1 FROM event WHERE seq = new.seq AND at IS new.at AND body IS new.body
                            AND kind IN ('shares', 'batch')
                            AND json_extract(body, '$.slice') IN (SELECT slice FROM pruned))
    BEGIN SELECT raise(ABORT, 'events are not changed: no batch of a pruned slice'); END;
CREATE TRIGGER thinned_is_not_changed BEFORE UPDATE ON thinned
    BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER thinned_has_gone_back BEFORE DELETE ON thinned
    WHEN NOT EXISTS (
        SELECT 1 FROM event WHERE seq = old.seq AND kind IS 'entries' AND data IS old.data)
    BEGIN SELECT raise(ABORT, 'events are never deleted'); END;
";

/// Everything that follows from the log.
const TABLES: &str = "
CREATE TABLE account(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    immature INTEGER NOT NULL DEFAULT 0 CHECK (immature >= 0),
    balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    paid INTEGER NOT NULL DEFAULT 0 CHECK (paid >= 0),
    sending INTEGER NOT NULL DEFAULT 0 CHECK (sending >= 0)
) STRICT;
CREATE TABLE worker(
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (account, name)
) STRICT;
-- What shares change of a worker, apart from its name so that many fit a page. Exact as of the
-- event total.tallied, like the last slice of slice_work while it is open, and total's shares
-- and work: later shares are in the log alone.
CREATE TABLE tally(
    worker INTEGER PRIMARY KEY,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL,
    last_at INTEGER
) STRICT;
-- close_event is the event that closed the slice: its batches are the ones between the close
-- before and this one. line_end and score_end are the sums of the work and of the scores of all
-- slices up to this one.
CREATE TABLE slice(
    idx INTEGER PRIMARY KEY,
    close_event INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    accounts INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL,
    line_end BLOB NOT NULL,
    score_end BLOB NOT NULL,
    root BLOB NOT NULL
) STRICT;
CREATE INDEX slice_by_line_end ON slice(line_end);
CREATE INDEX slice_by_score_end ON slice(score_end);
CREATE TABLE slice_work(
    slice INTEGER NOT NULL,
    account INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL,
    score BLOB NOT NULL,
    PRIMARY KEY (slice, account)
) STRICT, WITHOUT ROWID;
-- Of each account with shares: the top over all of them (zeros in slices of the first form), and
-- those with the lowest hashes: their numbers (8 bytes each) and themselves (as packed.rs has them),
-- lowest hash first.
CREATE TABLE slice_best(
    slice INTEGER NOT NULL,
    account INTEGER NOT NULL,
    records BLOB NOT NULL,
    numbers BLOB NOT NULL,
    shares BLOB NOT NULL,
    PRIMARY KEY (slice, account)
) STRICT, WITHOUT ROWID;
-- Slices whose shares have lost their headers, or are losing them, and the event that says so.
CREATE TABLE pruned(slice INTEGER PRIMARY KEY, event INTEGER NOT NULL) STRICT;
-- Every 64th slice: each account's work and score in all slices up to it (account u32, work u128,
-- score u128; 36 bytes each), so that a long window is the difference of two sums.
CREATE TABLE slice_sum(slice INTEGER PRIMARY KEY, sums BLOB NOT NULL) STRICT;
CREATE TABLE block(
    event INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    height INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    network_work BLOB NOT NULL,
    finder INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    window_hundredths INTEGER NOT NULL,
    window_ms INTEGER NOT NULL,
    scheme TEXT,
    fee_basis_points INTEGER NOT NULL,
    fee_account INTEGER NOT NULL,
    state TEXT NOT NULL,
    answer TEXT,
    found_at INTEGER NOT NULL,
    settled_at INTEGER,
    state_at INTEGER NOT NULL
) STRICT;
CREATE INDEX block_by_state ON block(state);
-- What a block's coinbase pays to accounts themselves.
CREATE TABLE direct(
    block INTEGER NOT NULL,
    account INTEGER NOT NULL,
    sats INTEGER NOT NULL CHECK (sats > 0),
    PRIMARY KEY (block, account)
) STRICT, WITHOUT ROWID;
-- Which slices a settled block was paid for: see rounds.rs.
CREATE TABLE round(
    block INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (block, first)
) STRICT, WITHOUT ROWID;
-- What pay per share has credited below a satoshi, in 2^-64 of one.
CREATE TABLE carry(account INTEGER PRIMARY KEY, part BLOB NOT NULL) STRICT;
CREATE TABLE slice_credit(
    account INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    sats INTEGER NOT NULL CHECK (sats > 0),
    PRIMARY KEY (account, slice)
) STRICT, WITHOUT ROWID;
CREATE TABLE slice_paid(
    slice INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    paid_at INTEGER NOT NULL,
    block_value INTEGER NOT NULL,
    sats INTEGER NOT NULL
) STRICT;
CREATE TABLE credit(
    block INTEGER NOT NULL,
    account INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    sats INTEGER NOT NULL CHECK (sats > 0),
    PRIMARY KEY (block, account, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX credit_by_account ON credit(account, block);
CREATE TABLE meter(
    worker INTEGER NOT NULL,
    meter TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    tier INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    total BLOB NOT NULL,
    hashes_total BLOB,
    credited BLOB NOT NULL,
    energy BLOB NOT NULL,
    counted INTEGER NOT NULL,
    gap_ms INTEGER NOT NULL,
    coverage_ppm INTEGER NOT NULL,
    uncertainty_ppm INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    work_mark BLOB NOT NULL,
    PRIMARY KEY (worker, meter)
) STRICT, WITHOUT ROWID;
CREATE TABLE worker_energy(
    worker INTEGER PRIMARY KEY,
    energy BLOB NOT NULL,
    covered BLOB NOT NULL,
    work_mark BLOB NOT NULL
) STRICT;
CREATE TABLE energy_hour(
    hour INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    meter TEXT NOT NULL,
    credited BLOB NOT NULL,
    energy BLOB NOT NULL,
    covered BLOB NOT NULL,
    gap_ms INTEGER NOT NULL,
    PRIMARY KEY (hour, worker, meter)
) STRICT, WITHOUT ROWID;
-- One row for each event aggregated, and each worker's sums as of the newest of them.
CREATE TABLE aggregate(event INTEGER PRIMARY KEY, until INTEGER NOT NULL) STRICT;
CREATE INDEX aggregate_by_until ON aggregate(until);
CREATE TABLE aggregated(
    worker INTEGER PRIMARY KEY,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL,
    energy BLOB NOT NULL
) STRICT;
CREATE TABLE pin(worker INTEGER PRIMARY KEY, key BLOB NOT NULL) STRICT;
CREATE TABLE total(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    shares INTEGER NOT NULL,
    work BLOB NOT NULL,
    energy BLOB NOT NULL,
    covered BLOB NOT NULL,
    immature INTEGER NOT NULL CHECK (immature >= 0),
    balance INTEGER NOT NULL CHECK (balance >= 0),
    paid INTEGER NOT NULL CHECK (paid >= 0),
    fees INTEGER NOT NULL CHECK (fees >= 0),
    next_extranonce INTEGER NOT NULL,
    tallied INTEGER NOT NULL,
    declared INTEGER NOT NULL CHECK (declared >= 0),
    reserve INTEGER NOT NULL CHECK (reserve >= 0),
    paid_slice INTEGER
) STRICT;
-- txid is the newest version's; confirmed is the version in the block at that height.
CREATE TABLE payout(
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    released INTEGER NOT NULL,
    custody TEXT NOT NULL,
    sats INTEGER NOT NULL CHECK (sats > 0),
    txid BLOB NOT NULL,
    confirmed BLOB,
    height INTEGER,
    tip INTEGER NOT NULL,
    planned_at INTEGER NOT NULL,
    state_at INTEGER NOT NULL
) STRICT;
CREATE INDEX payout_by_state ON payout(state);
-- event has the version; signed_event the transaction with its signatures, once there is one.
CREATE TABLE payout_version(
    txid BLOB PRIMARY KEY,
    payout INTEGER NOT NULL,
    number INTEGER NOT NULL,
    event INTEGER NOT NULL,
    signed_event INTEGER,
    inputs INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    UNIQUE (payout, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE payment(
    payout INTEGER NOT NULL,
    account INTEGER NOT NULL,
    sats INTEGER NOT NULL CHECK (sats > 0),
    PRIMARY KEY (payout, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_by_account ON payment(account);
-- Coins that payouts spend, but for cancelled ones: none is spent by two.
CREATE TABLE payout_input(
    txid BLOB NOT NULL,
    vout INTEGER NOT NULL,
    payout INTEGER NOT NULL,
    anchor INTEGER NOT NULL,
    PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    paused INTEGER NOT NULL,
    reason TEXT NOT NULL,
    sending INTEGER NOT NULL CHECK (sending >= 0),
    network_fees INTEGER NOT NULL CHECK (network_fees >= 0)
) STRICT;
INSERT INTO outbox VALUES (1, 0, '', 0, 0);
CREATE TABLE threshold(
    account INTEGER PRIMARY KEY,
    sats INTEGER NOT NULL,
    stamp INTEGER NOT NULL
) STRICT;
";

/// The tables of [`TABLES`]; a name stays here when its table goes.
const TABLE_NAMES: [&str; 28] = [
    "account",
    "aggregate",
    "aggregated",
    "block",
    "carry",
    "credit",
    "direct",
    "energy_hour",
    "meter",
    "outbox",
    "payment",
    "payout",
    "payout_input",
    "payout_version",
    "pin",
    "pruned",
    "round",
    "slice",
    "slice_credit",
    "slice_paid",
    "slice_best",
    "slice_sum",
    "slice_work",
    "tally",
    "threshold",
    "total",
    "worker",
    "worker_energy",
];

/// Makes the folder that the ledger is to lie in, where it is missing.
pub(super) fn create_folder_of(path: &Path) -> Result<(), LedgerError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|error| LedgerError::Store {
        doing: format!("creating the folder {}", folder.display()),
        passing: false,
        reason: error.to_string(),
    })
}

/// Refuses a file that is not ours or is too new, before anything in it is touched.
pub(super) fn claim(conn: &Connection, path: &Path) -> Result<(), LedgerError> {
    let not_ours = || LedgerError::NotALedger { path: path.to_owned() };
    let id = match conn.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0)) {
        Ok(id) => id,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(not_ours());
        }
        Err(error) => return Err(error.into()),
    };
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_ours = id == APPLICATION_ID || (id == 0 && tables == 0);
    if stands(Defence::NotALedger) && !is_ours {
        return Err(not_ours());
    }
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if stands(Defence::NewerLedger) && found > FORMAT {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

/// Creates what is missing and rebuilds projections of another shape.
pub(super) fn make_current(conn: &mut Connection) -> Result<(), LedgerError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format == 0 {
        transaction.execute_batch(LOG)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    if format < 4 {
        transaction.execute_batch(THINNED)?;
        transaction.execute_batch(TRIGGERS)?;
    }
    if format < FORMAT {
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    if projections(&transaction)? != Some(PROJECTIONS) {
        rebuild(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Refuses a ledger whose projections a reader of this version does not understand.
pub(super) fn check_readable(conn: &Connection, path: &Path) -> Result<(), LedgerError> {
    claim(conn, path)?;
    let format: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format == 0 {
        return Err(LedgerError::Missing { path: path.to_owned() });
    }
    let path = path.to_owned();
    match projections(conn)? {
        Some(found) if found > PROJECTIONS => {
            Err(LedgerError::Newer { path, found, known: PROJECTIONS })
        }
        Some(PROJECTIONS) => Ok(()),
        _ => Err(LedgerError::Older { path }),
    }
}

fn projections(conn: &Connection) -> Result<Option<i64>, LedgerError> {
    let mut statement = conn.prepare("SELECT value FROM meta WHERE key = 'projections'")?;
    let mut rows = statement.query([])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Drops the projections and makes them anew from the log.
fn rebuild(conn: &Connection) -> Result<(), LedgerError> {
    for table in TABLE_NAMES {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
    }
    conn.execute_batch(TABLES)?;
    let mut state = State::empty();
    state.total.insert(conn)?;
    log::for_each(conn, |row| {
        let event = row.event()?;
        project::apply(conn, &mut state, row.seq, row.at, &event, row.data.as_deref())
    })?;
    conn.execute(
        "INSERT OR REPLACE INTO meta(key, value) VALUES ('projections', ?1)",
        [PROJECTIONS],
    )?;
    Ok(())
}
