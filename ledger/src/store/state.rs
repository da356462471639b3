//! What the newest event left, in memory beside the tables: the writer need not read before it
//! writes. Rebuilt from the tables at start and after a failed transaction.
//!
//! Size: 40 bytes a worker, about 80 an account.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use units::{Sats, Work};

use super::log;
use super::values::{Amount, Wide};
use super::window;
use crate::error::LedgerError;
use crate::record;
use crate::types::{AccountId, Share, SliceHead, SliceIndex, WorkerId};

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    /// Number that the next event gets.
    pub(crate) next_event: u64,
    /// How many accounts there are: ids are 1 to this.
    pub(crate) accounts: u32,
    /// By worker id less one.
    workers: Vec<WorkerState>,
    /// The newest closed slice.
    pub(crate) newest: SliceHead,
    /// Sum of the work of all closed slices.
    pub(super) line_end: u128,
    /// Each account's part of that sum.
    pub(super) closed: BTreeMap<AccountId, u128>,
    /// The slice that batches go to.
    pub(crate) open: OpenSlice,
    pub(crate) total: Total,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerState {
    pub(crate) account: AccountId,
    pub(super) shares: u64,
    pub(crate) work: u128,
}

/// The slice that batches go to.
#[derive(Debug)]
pub(crate) struct OpenSlice {
    pub(crate) index: SliceIndex,
    pub(crate) shares: u64,
    pub(crate) work: u128,
    pub(crate) accounts: BTreeMap<AccountId, Tally>,
}

/// Some shares' number and work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) shares: u64,
    pub(crate) work: u128,
}

/// The one row of totals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Total {
    pub(crate) shares: u64,
    pub(crate) work: u128,
    pub(super) energy: u128,
    pub(super) covered: u128,
    pub(super) immature: Sats,
    pub(super) balance: Sats,
    pub(super) paid: Sats,
    pub(super) fees: Sats,
    /// First extranonce never leased, 0 to 2^32.
    pub(crate) next_extranonce: u64,
}

impl State {
    /// Before the first event.
    pub(super) fn empty() -> Self {
        Self {
            next_event: 1,
            accounts: 0,
            workers: Vec::new(),
            newest: SliceHead::NONE,
            line_end: 0,
            closed: BTreeMap::new(),
            open: OpenSlice::new(SliceIndex::new(1)),
            total: Total::default(),
        }
    }

    /// As the tables have it.
    pub(super) fn load(conn: &Connection) -> Result<Self, LedgerError> {
        let newest_event = log::newest(conn)?;
        let (newest, close_event) = newest_slice(conn)?;
        let mut state = Self {
            next_event: next(newest_event, "events")?,
            accounts: conn.query_row("SELECT count(*) FROM account", [], |row| row.get(0))?,
            workers: load_workers(conn)?,
            newest,
            line_end: window::line_end(conn, newest.index)?,
            closed: window::sums(conn, newest.index)?,
            open: OpenSlice::new(SliceIndex::new(next(newest.index.get(), "slices")?)),
            total: Total::load(conn)?,
        };
        let before = state.next_event;
        log::for_each_batch(conn, close_event, before, |records| {
            record::decode_shares(records)?.iter().try_for_each(|share| state.add_to_open(share))
        })?;
        Ok(state)
    }

    /// The worker of this id.
    pub(crate) fn worker(&self, id: WorkerId) -> Option<&WorkerState> {
        self.workers.get(place(id)?)
    }

    pub(super) fn worker_mut(&mut self, id: WorkerId) -> Result<&mut WorkerState, LedgerError> {
        place(id)
            .and_then(|place| self.workers.get_mut(place))
            .ok_or_else(|| LedgerError::damaged(format!("worker {id} was never opened")))
    }

    /// Adds a worker and returns the id that it must have.
    pub(super) fn add_worker(&mut self, account: AccountId) -> Result<u32, LedgerError> {
        self.workers.push(WorkerState { account, shares: 0, work: 0 });
        u32::try_from(self.workers.len()).map_err(|_| LedgerError::Overflow("workers"))
    }

    /// The id that the next worker gets.
    pub(crate) fn next_worker(&self) -> Result<u32, LedgerError> {
        u32::try_from(self.workers.len())
            .ok()
            .and_then(|count| count.checked_add(1))
            .ok_or(LedgerError::Overflow("workers"))
    }

    /// Counts a share into the open slice.
    pub(super) fn add_to_open(&mut self, share: &Share) -> Result<(), LedgerError> {
        let account = self.worker_mut(share.worker)?.account;
        let one = Tally { shares: 1, work: share.work.get() };
        self.open.accounts.entry(account).or_default().add(one)?;
        let mut sum = Tally { shares: self.open.shares, work: self.open.work };
        sum.add(one)?;
        (self.open.shares, self.open.work) = (sum.shares, sum.work);
        Ok(())
    }
}

impl OpenSlice {
    pub(super) const fn new(index: SliceIndex) -> Self {
        Self { index, shares: 0, work: 0, accounts: BTreeMap::new() }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) -> Result<(), LedgerError> {
        self.shares = sum(self.shares, other.shares, "shares")?;
        self.work =
            self.work.checked_add(other.work).ok_or(LedgerError::Overflow("proven work"))?;
        Ok(())
    }
}

impl Total {
    fn load(conn: &Connection) -> Result<Self, LedgerError> {
        let sql = "SELECT shares, work, energy, covered, immature, balance, paid, fees,
                          next_extranonce FROM total WHERE id = 1";
        Ok(conn.query_row(sql, [], |row| {
            Ok(Self {
                shares: row.get(0)?,
                work: row.get::<_, Wide>(1)?.0,
                energy: row.get::<_, Wide>(2)?.0,
                covered: row.get::<_, Wide>(3)?.0,
                immature: row.get::<_, Amount>(4)?.0,
                balance: row.get::<_, Amount>(5)?.0,
                paid: row.get::<_, Amount>(6)?.0,
                fees: row.get::<_, Amount>(7)?.0,
                next_extranonce: row.get(8)?,
            })
        })?)
    }

    /// Writes the first row.
    pub(super) fn insert(&self, conn: &Connection) -> Result<(), LedgerError> {
        self.write(
            conn,
            "INSERT INTO total(id, shares, work, energy, covered, immature, balance, paid, fees,
                               next_extranonce) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
    }

    /// Writes the row over.
    pub(super) fn save(&self, conn: &Connection) -> Result<(), LedgerError> {
        self.write(
            conn,
            "UPDATE total SET shares = ?1, work = ?2, energy = ?3, covered = ?4, immature = ?5,
                              balance = ?6, paid = ?7, fees = ?8, next_extranonce = ?9
             WHERE id = 1",
        )
    }

    fn write(&self, conn: &Connection, sql: &str) -> Result<(), LedgerError> {
        conn.prepare_cached(sql)?.execute(params![
            self.shares,
            Wide(self.work),
            Wide(self.energy),
            Wide(self.covered),
            Amount(self.immature),
            Amount(self.balance),
            Amount(self.paid),
            Amount(self.fees),
            self.next_extranonce,
        ])?;
        Ok(())
    }
}

/// `a + b`, or the error that names what overflowed.
pub(super) fn sum(a: u64, b: u64, what: &'static str) -> Result<u64, LedgerError> {
    a.checked_add(b).ok_or(LedgerError::Overflow(what))
}

/// `number + 1`, or the error that names what overflowed.
pub(super) fn next(number: u64, what: &'static str) -> Result<u64, LedgerError> {
    sum(number, 1, what)
}

fn place(id: WorkerId) -> Option<usize> {
    usize::try_from(id.get().checked_sub(1)?).ok()
}

fn load_workers(conn: &Connection) -> Result<Vec<WorkerState>, LedgerError> {
    let mut statement = conn.prepare(
        "SELECT worker.account, tally.shares, tally.work
         FROM worker JOIN tally ON tally.worker = worker.id ORDER BY worker.id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(WorkerState {
            account: AccountId::new(row.get(0)?),
            shares: row.get(1)?,
            work: row.get::<_, Wide>(2)?.0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest slice and the event that closed it; nothing and 0 when none is closed.
fn newest_slice(conn: &Connection) -> Result<(SliceHead, u64), LedgerError> {
    let sql = "SELECT idx, root, work, shares, close_event FROM slice ORDER BY idx DESC LIMIT 1";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok((SliceHead::NONE, 0)) };
    let head = SliceHead {
        index: SliceIndex::new(row.get(0)?),
        root: row.get(1)?,
        work: Work::new(row.get::<_, Wide>(2)?.0),
        shares: row.get(3)?,
    };
    Ok((head, row.get(4)?))
}
