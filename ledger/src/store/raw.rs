//! The tables as they stand, for the auditor: numbers and bytes, nothing interpreted. Everything
//! that may change is read in one transaction; what never changes (events, closed slices,
//! credits) is read later and in pieces, so that auditing a ledger in use holds nobody up.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Params, Row, params};
use units::Sats;

use super::raw_payouts::{self, RawOutbox};
use super::reader::open_read_only;
use super::values::{Amount, Wide};
use super::{log, rows};
use crate::error::LedgerError;
use crate::types::BlockId;

/// Rows of the log that are read at once: at most 8 MiB each, and mostly far less.
const EVENTS_AT_ONCE: u64 = 16;

/// A ledger to be audited.
#[derive(Debug)]
pub(crate) struct RawLedger {
    conn: Connection,
}

/// A row of the log.
#[derive(Debug)]
pub(crate) struct RawEvent {
    pub(crate) seq: u64,
    /// In milliseconds.
    pub(crate) at: u64,
    pub(crate) kind: String,
    pub(crate) body: String,
    pub(crate) data: Option<Vec<u8>>,
}

/// Account, shares, work and score.
pub(crate) type RawRow = (u32, u64, u128, u128);

/// What a slice keeps of an account's shares, as stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawBest {
    pub(crate) account: u32,
    /// The top over its shares; zeros in slices of the first form.
    pub(crate) records: [u8; 32],
    /// Of its best shares, and they themselves.
    pub(crate) numbers: Vec<u8>,
    pub(crate) shares: Vec<u8>,
}

/// By worker and meter: credited and counted microjoules.
pub(crate) type RawMeters = BTreeMap<(u32, String), (u128, u128)>;

/// All that may change, as of event `last_event`.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) last_event: u64,
    pub(crate) accounts: Vec<RawAccount>,
    pub(crate) workers: Vec<RawWorker>,
    pub(crate) slices: Vec<RawSlice>,
    /// Pruned slices, and the event that says so, in rising order.
    pub(crate) pruned: Vec<(u64, u64)>,
    /// Account, shares and work of the slice that is open, in rising order of account.
    pub(crate) open: Vec<RawRow>,
    pub(crate) blocks: Vec<RawBlock>,
    pub(crate) meters: RawMeters,
    /// The same sums over all hours.
    pub(crate) hours: RawMeters,
    /// By worker: covered work, summed over the hours of its meters.
    pub(crate) covered_hours: BTreeMap<u32, u128>,
    pub(crate) pins: BTreeMap<u32, [u8; 32]>,
    /// By the block's event, the slices that it was paid for, in rising order.
    pub(crate) rounds: BTreeMap<u64, Vec<u64>>,
    pub(crate) carries: BTreeMap<u32, u128>,
    /// Slice, value of a block, satoshis, in rising order.
    pub(crate) slices_paid: Vec<(u64, u64, u64)>,
    pub(crate) total: RawTotal,
    pub(crate) outbox: RawOutbox,
}

#[derive(Debug)]
pub(crate) struct RawAccount {
    pub(crate) name: String,
    pub(crate) immature: Sats,
    pub(crate) balance: Sats,
    pub(crate) paid: Sats,
    pub(crate) sending: Sats,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawWorker {
    pub(crate) account: u32,
    pub(crate) name: String,
    pub(crate) shares: u64,
    pub(crate) work: u128,
    pub(crate) energy: u128,
    pub(crate) covered: u128,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawSlice {
    pub(crate) close_event: u64,
    /// In milliseconds.
    pub(crate) closed_at: u64,
    pub(crate) accounts: u64,
    pub(crate) shares: u64,
    pub(crate) work: u128,
    pub(crate) line_end: u128,
    pub(crate) score_end: u128,
    pub(crate) root: [u8; 32],
}

#[derive(Debug)]
pub(crate) struct RawBlock {
    pub(crate) event: u64,
    pub(crate) hash: BlockId,
    pub(crate) state: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawTotal {
    pub(crate) shares: u64,
    pub(crate) work: u128,
    pub(crate) energy: u128,
    pub(crate) covered: u128,
    pub(crate) immature: Sats,
    pub(crate) balance: Sats,
    pub(crate) paid: Sats,
    pub(crate) fees: Sats,
    pub(crate) next_extranonce: u64,
    /// The event as of which `shares`, `work`, `Snapshot::workers` (but for their energy) and
    /// `Snapshot::open` stand.
    pub(crate) tallied: u64,
    pub(crate) declared: u64,
    pub(crate) reserve: u64,
    pub(crate) paid_slice: Option<u64>,
}

impl RawLedger {
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        let conn = open_read_only(path)
            .map_err(|error| error.while_doing(&format!("opening {} to audit", path.display())))?;
        Ok(Self { conn })
    }

    /// All that may change, in one transaction.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        let transaction = self.conn.unchecked_transaction()?;
        let snapshot = Snapshot {
            last_event: log::newest(&transaction)?,
            accounts: accounts(&transaction)?,
            workers: workers(&transaction)?,
            slices: slices(&transaction)?,
            pruned: pruned(&transaction)?,
            open: open_rows(&transaction)?,
            blocks: blocks(&transaction)?,
            meters: metered(&transaction, "SELECT worker, meter, credited, energy FROM meter")?,
            hours: metered(
                &transaction,
                "SELECT worker, meter, credited, energy FROM energy_hour",
            )?,
            covered_hours: covered_hours(&transaction)?,
            pins: pins(&transaction)?,
            rounds: rounds(&transaction)?,
            carries: carries(&transaction)?,
            slices_paid: slices_paid(&transaction)?,
            total: total(&transaction)?,
            outbox: raw_payouts::outbox(&transaction)?,
        };
        transaction.finish()?;
        Ok(snapshot)
    }

    /// Some events after event `after`, in order, none later than `last`.
    pub(crate) fn events(&self, after: u64, last: u64) -> Result<Vec<RawEvent>, LedgerError> {
        list(
            &self.conn,
            "SELECT seq, kind, body, data, at FROM event WHERE seq > ?1 AND seq <= ?2
             ORDER BY seq LIMIT ?3",
            params![after, last, EVENTS_AT_ONCE],
            |row| {
                Ok(RawEvent {
                    seq: row.get(0)?,
                    kind: row.get(1)?,
                    body: row.get(2)?,
                    data: row.get(3)?,
                    at: row.get(4)?,
                })
            },
        )
    }

    /// The names of all accounts, and the account of each worker, in order of their numbers.
    pub(crate) fn names(&self) -> Result<(Vec<String>, Vec<u32>), LedgerError> {
        let transaction = self.conn.unchecked_transaction()?;
        let names = accounts(&transaction)?.into_iter().map(|account| account.name).collect();
        let workers = workers(&transaction)?.into_iter().map(|worker| worker.account).collect();
        transaction.finish()?;
        Ok((names, workers))
    }

    /// All closed slices, in order.
    pub(crate) fn closed_slices(&self) -> Result<Vec<RawSlice>, LedgerError> {
        slices(&self.conn)
    }

    /// The event that found a block.
    pub(crate) fn block_event(&self, hash: &BlockId) -> Result<Option<u64>, LedgerError> {
        let sql = "SELECT event FROM block WHERE hash = ?1";
        Ok(list(&self.conn, sql, [hash], |row| row.get(0))?.pop())
    }

    /// The stretches of slices that a settled block took, in rising order: first and last.
    pub(crate) fn round(&self, event: u64) -> Result<Vec<(u64, u64)>, LedgerError> {
        let sql = "SELECT first, last FROM round WHERE block = ?1 ORDER BY first";
        list(&self.conn, sql, [event], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The newest block found before `event` that is on the chain and had committed to one of the
    /// slices from `first` to `last`: its event and that slice.
    pub(crate) fn block_before(
        &self,
        event: u64,
        first: u64,
        last: u64,
    ) -> Result<Option<(u64, u64)>, LedgerError> {
        let sql = "SELECT event, slice FROM block
                   WHERE event < ?1 AND slice BETWEEN ?2 AND ?3 AND state IN ('immature', 'mature')
                   ORDER BY event DESC LIMIT 1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(list(&self.conn, sql, [event, first, last], read)?.pop())
    }

    /// The rows of a closed slice: account, shares, work, score, in rising order of account.
    pub(crate) fn slice_rows(&self, slice: u64) -> Result<Vec<RawRow>, LedgerError> {
        list(
            &self.conn,
            "SELECT account, shares, work, score FROM slice_work WHERE slice = ?1 ORDER BY account",
            [slice],
            raw_row,
        )
    }

    /// The best shares that a closed slice keeps: account, numbers and shares as stored.
    pub(crate) fn slice_best(&self, slice: u64) -> Result<Vec<RawBest>, LedgerError> {
        let sql = "SELECT account, records, numbers, shares FROM slice_best WHERE slice = ?1
                   ORDER BY account";
        list(&self.conn, sql, [slice], |row| {
            Ok(RawBest {
                account: row.get(0)?,
                records: row.get(1)?,
                numbers: row.get(2)?,
                shares: row.get(3)?,
            })
        })
    }

    /// The sums written down at a slice, if any are.
    pub(crate) fn slice_sums(&self, slice: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let sql = "SELECT sums FROM slice_sum WHERE slice = ?1";
        Ok(list(&self.conn, sql, [slice], |row| row.get(0))?.pop())
    }

    /// The credits of a block: account, kind, satoshis, in rising order of both.
    pub(crate) fn credits(&self, block: u64) -> Result<Vec<(u32, u8, u64)>, LedgerError> {
        list(
            &self.conn,
            "SELECT account, kind, sats FROM credit WHERE block = ?1 ORDER BY account, kind",
            [block],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    /// What `SQLite` itself finds wrong with the file.
    pub(crate) fn store_problems(&self) -> Result<Vec<String>, LedgerError> {
        let found = list(&self.conn, "PRAGMA quick_check(10)", [], |row| row.get::<_, String>(0))?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }
}

pub(super) fn list<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, LedgerError> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn accounts(conn: &Connection) -> Result<Vec<RawAccount>, LedgerError> {
    let sql = "SELECT name, immature, balance, paid, sending FROM account ORDER BY id";
    list(conn, sql, [], |row| {
        Ok(RawAccount {
            name: row.get(0)?,
            immature: row.get::<_, Amount>(1)?.0,
            balance: row.get::<_, Amount>(2)?.0,
            paid: row.get::<_, Amount>(3)?.0,
            sending: row.get::<_, Amount>(4)?.0,
        })
    })
}

fn workers(conn: &Connection) -> Result<Vec<RawWorker>, LedgerError> {
    let sql = "SELECT worker.account, worker.name, tally.shares, tally.work,
                      worker_energy.energy, worker_energy.covered
               FROM worker JOIN tally ON tally.worker = worker.id
               LEFT JOIN worker_energy ON worker_energy.worker = worker.id ORDER BY worker.id";
    list(conn, sql, [], |row| {
        Ok(RawWorker {
            account: row.get(0)?,
            name: row.get(1)?,
            shares: row.get(2)?,
            work: row.get::<_, Wide>(3)?.0,
            energy: row.get::<_, Option<Wide>>(4)?.map_or(0, |energy| energy.0),
            covered: row.get::<_, Option<Wide>>(5)?.map_or(0, |covered| covered.0),
        })
    })
}

fn slices(conn: &Connection) -> Result<Vec<RawSlice>, LedgerError> {
    let sql = "SELECT close_event, closed_at, accounts, shares, work, line_end, score_end, root
               FROM slice ORDER BY idx";
    list(conn, sql, [], |row| {
        Ok(RawSlice {
            close_event: row.get(0)?,
            closed_at: row.get(1)?,
            accounts: row.get(2)?,
            shares: row.get(3)?,
            work: row.get::<_, Wide>(4)?.0,
            line_end: row.get::<_, Wide>(5)?.0,
            score_end: row.get::<_, Wide>(6)?.0,
            root: row.get(7)?,
        })
    })
}

fn pruned(conn: &Connection) -> Result<Vec<(u64, u64)>, LedgerError> {
    let sql = "SELECT slice, event FROM pruned ORDER BY slice";
    list(conn, sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn open_rows(conn: &Connection) -> Result<Vec<RawRow>, LedgerError> {
    let sql = "SELECT account, shares, work, score FROM slice_work
               WHERE slice > (SELECT coalesce(max(idx), 0) FROM slice) ORDER BY slice, account";
    list(conn, sql, [], raw_row)
}

fn raw_row(row: &Row<'_>) -> rusqlite::Result<RawRow> {
    Ok((row.get(0)?, row.get(1)?, row.get::<_, Wide>(2)?.0, row.get::<_, Wide>(3)?.0))
}

fn blocks(conn: &Connection) -> Result<Vec<RawBlock>, LedgerError> {
    list(conn, "SELECT event, hash, state FROM block ORDER BY event", [], |row| {
        Ok(RawBlock {
            event: row.get(0)?,
            hash: row.get(1)?,
            state: rows::block_state(row, 2)?.as_str().to_owned(),
        })
    })
}

fn metered(conn: &Connection, sql: &str) -> Result<RawMeters, LedgerError> {
    let mut sums = BTreeMap::new();
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (credited, energy) = (row.get::<_, Wide>(2)?.0, row.get::<_, Wide>(3)?.0);
        let sum: &mut (u128, u128) = sums.entry((row.get(0)?, row.get(1)?)).or_default();
        *sum = (sum.0.saturating_add(credited), sum.1.saturating_add(energy));
    }
    Ok(sums)
}

fn covered_hours(conn: &Connection) -> Result<BTreeMap<u32, u128>, LedgerError> {
    let mut sums = BTreeMap::new();
    let mut statement = conn.prepare_cached("SELECT worker, covered FROM energy_hour")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sum: &mut u128 = sums.entry(row.get(0)?).or_default();
        *sum = sum.saturating_add(row.get::<_, Wide>(1)?.0);
    }
    Ok(sums)
}

fn pins(conn: &Connection) -> Result<BTreeMap<u32, [u8; 32]>, LedgerError> {
    let pins = list(conn, "SELECT worker, key FROM pin", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(pins.into_iter().collect())
}

fn rounds(conn: &Connection) -> Result<BTreeMap<u64, Vec<u64>>, LedgerError> {
    let mut rounds: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let stretches: Vec<(u64, u64, u64)> =
        list(conn, "SELECT block, first, last FROM round ORDER BY block, first", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    for (block, first, last) in stretches {
        rounds.entry(block).or_default().extend(first..=last);
    }
    Ok(rounds)
}

fn carries(conn: &Connection) -> Result<BTreeMap<u32, u128>, LedgerError> {
    let carries = list(conn, "SELECT account, part FROM carry", [], |row| {
        Ok((row.get(0)?, row.get::<_, Wide>(1)?.0))
    })?;
    Ok(carries.into_iter().collect())
}

fn slices_paid(conn: &Connection) -> Result<Vec<(u64, u64, u64)>, LedgerError> {
    list(conn, "SELECT slice, block_value, sats FROM slice_paid ORDER BY slice", [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

fn total(conn: &Connection) -> Result<RawTotal, LedgerError> {
    let sql = "SELECT shares, work, energy, covered, immature, balance, paid, fees,
                      next_extranonce, tallied, declared, reserve, paid_slice
               FROM total WHERE id = 1";
    Ok(conn.query_row(sql, [], |row| {
        Ok(RawTotal {
            shares: row.get(0)?,
            work: row.get::<_, Wide>(1)?.0,
            energy: row.get::<_, Wide>(2)?.0,
            covered: row.get::<_, Wide>(3)?.0,
            immature: row.get::<_, Amount>(4)?.0,
            balance: row.get::<_, Amount>(5)?.0,
            paid: row.get::<_, Amount>(6)?.0,
            fees: row.get::<_, Amount>(7)?.0,
            next_extranonce: row.get(8)?,
            tallied: row.get(9)?,
            declared: row.get(10)?,
            reserve: row.get(11)?,
            paid_slice: row.get(12)?,
        })
    })?)
}
