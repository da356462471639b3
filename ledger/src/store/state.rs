//! What the newest event left, in memory beside the tables: the writer need not read before it
//! writes. Rebuilt from the tables at start and after a failed transaction.
//!
//! What shares add is here at once and in the tables some time later: see `tally.rs`.
//!
//! Size: 64 bytes a worker, about 130 an account, and what `evidence.rs` says.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use units::{Sats, UnixMillis, Work};

use super::values::{Amount, Instant, Wide};
use super::{best, log, tally, window};
use crate::error::LedgerError;
use crate::evidence::Evidence;
use crate::record::Entry;
use crate::score;
use crate::types::{AccountId, SliceHead, SliceIndex, WorkerId};

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    /// Number that the next event gets.
    pub(crate) next_event: u64,
    /// How many accounts there are: ids are 1 to this.
    pub(crate) accounts: u32,
    /// By worker id less one.
    pub(super) workers: Vec<WorkerState>,
    /// Workers of which the tables have less.
    pub(super) unsaved: Vec<WorkerId>,
    /// The newest closed slice.
    pub(crate) newest: SliceHead,
    /// When it was closed; 0 where there is none.
    pub(crate) newest_closed: UnixMillis,
    /// Work and score of all closed slices.
    pub(super) line_end: Weight,
    /// Each account's part of those sums.
    pub(super) closed: BTreeMap<AccountId, Weight>,
    /// The slice that batches go to.
    pub(crate) open: OpenSlice,
    /// What its shares prove.
    pub(crate) evidence: Evidence,
    pub(crate) total: Total,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerState {
    pub(crate) account: AccountId,
    pub(super) tally: Tally,
    pub(super) last_at: Option<UnixMillis>,
    /// Whether the worker is in `State::unsaved`.
    pub(super) unsaved: bool,
}

/// The slice that batches go to.
#[derive(Debug)]
pub(crate) struct OpenSlice {
    pub(crate) index: SliceIndex,
    pub(crate) sum: Tally,
    /// Whether some of its shares have no headers any more: only where tables are made anew.
    pub(super) thinned: bool,
    /// The sum of its shares' scores.
    pub(super) score: u128,
    /// By account id less one, for every account; those without shares are not in the slice.
    pub(super) accounts: Vec<OpenRow>,
    /// The accounts with shares, by their first one.
    pub(super) present: Vec<AccountId>,
    /// Accounts of which the tables have less.
    pub(super) unsaved: Vec<AccountId>,
}

/// An account's part of the open slice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OpenRow {
    pub(super) tally: Tally,
    pub(super) score: u128,
    /// Whether the account is in `OpenSlice::unsaved`.
    pub(super) unsaved: bool,
}

/// Some shares' number and work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) shares: u64,
    pub(crate) work: u128,
}

/// What shares weigh: by their work, and in blocks (see `score.rs`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) work: u128,
    pub(crate) score: u128,
}

/// The one row of totals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Total {
    /// All shares.
    pub(crate) proven: Tally,
    /// The part of them that the tables have.
    pub(super) saved: Mark,
    pub(super) energy: u128,
    pub(super) covered: u128,
    pub(super) immature: Sats,
    pub(super) balance: Sats,
    pub(super) paid: Sats,
    pub(super) fees: Sats,
    /// What the operator has declared for the reserve, and what is in it.
    pub(crate) declared: Sats,
    pub(crate) reserve: Sats,
    /// The newest slice that pay per share has dealt with; nothing while it is not in force.
    pub(crate) paid_slice: Option<u64>,
    /// First extranonce never leased, 0 to 2^32.
    pub(crate) next_extranonce: u64,
}

/// Up to where the tables have the shares: see `tally.rs`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) event: u64,
    /// When that event was.
    pub(super) at: UnixMillis,
    /// The shares up to it.
    pub(super) proven: Tally,
}

impl State {
    /// Before the first event.
    pub(super) fn empty() -> Self {
        Self {
            next_event: 1,
            accounts: 0,
            workers: Vec::new(),
            unsaved: Vec::new(),
            newest: SliceHead::NONE,
            newest_closed: UnixMillis::new(0),
            line_end: Weight::default(),
            closed: BTreeMap::new(),
            open: OpenSlice::new(SliceIndex::new(1)),
            evidence: Evidence::new(),
            total: Total::default(),
        }
    }

    /// As the tables have it, and the shares after them.
    pub(super) fn load(conn: &Connection) -> Result<Self, LedgerError> {
        let newest = newest_slice(conn)?;
        let mut state = Self {
            next_event: next(log::newest(conn)?, "events")?,
            accounts: conn.query_row("SELECT count(*) FROM account", [], |row| row.get(0))?,
            workers: load_workers(conn)?,
            unsaved: Vec::new(),
            newest,
            newest_closed: window::closing(conn, newest.index)?,
            line_end: window::line_ends(conn, newest.index)?,
            closed: window::sums(conn, newest.index)?,
            open: OpenSlice::new(SliceIndex::new(next(newest.index.get(), "slices")?)),
            evidence: Evidence::new(),
            total: Total::load(conn)?,
        };
        (0..state.accounts).for_each(|_| state.open.add_account());
        tally::load_open_rows(conn, &mut state.open)?;
        tally::replay(conn, &mut state)?;
        best::load_evidence(conn, &mut state)?;
        Ok(state)
    }

    /// The worker of this id.
    pub(crate) fn worker(&self, id: WorkerId) -> Option<&WorkerState> {
        self.workers.get(place(id.get())?)
    }

    /// The worker of this id, which the log must have opened.
    pub(super) fn known_worker(&self, id: WorkerId) -> Result<&WorkerState, LedgerError> {
        self.worker(id).ok_or_else(|| never_opened("worker", id.get()))
    }

    /// Adds a worker and returns the id that it must have.
    pub(super) fn add_worker(&mut self, account: AccountId) -> Result<u32, LedgerError> {
        let tally = Tally::default();
        self.workers.push(WorkerState { account, tally, last_at: None, unsaved: false });
        u32::try_from(self.workers.len()).map_err(|_| LedgerError::Overflow("workers"))
    }

    /// The id that the next worker gets.
    pub(crate) fn next_worker(&self) -> Result<u32, LedgerError> {
        u32::try_from(self.workers.len())
            .ok()
            .and_then(|count| count.checked_add(1))
            .ok_or(LedgerError::Overflow("workers"))
    }

    /// Counts a batch: for its workers, for their accounts in the open slice and in the totals.
    pub(super) fn add_all(
        &mut self,
        shares: impl Iterator<Item = Entry>,
    ) -> Result<(), LedgerError> {
        let mut all = Tally::default();
        for share in shares {
            let one = Tally { shares: 1, work: share.work };
            self.add(share, one)?;
            all.add(one)?;
        }
        self.open.sum.add(all)?;
        self.total.proven.add(all)
    }

    fn add(&mut self, share: Entry, one: Tally) -> Result<(), LedgerError> {
        let id = share.worker;
        let worker = place(id.get())
            .and_then(|place| self.workers.get_mut(place))
            .ok_or_else(|| never_opened("worker", id.get()))?;
        worker.tally.add(one)?;
        worker.last_at = Some(share.at);
        if !core::mem::replace(&mut worker.unsaved, true) {
            self.unsaved.push(id);
        }
        let score = score::of(share.work, share.network_work)?;
        self.open.add(worker.account, one, score)
    }
}

impl OpenSlice {
    const fn new(index: SliceIndex) -> Self {
        Self {
            index,
            sum: Tally { shares: 0, work: 0 },
            thinned: false,
            score: 0,
            accounts: Vec::new(),
            present: Vec::new(),
            unsaved: Vec::new(),
        }
    }

    /// Makes room for the next account.
    pub(super) fn add_account(&mut self) {
        self.accounts.push(OpenRow::default());
    }

    /// Adds to an account's part, which the tables then have not. The slice's sum is the
    /// caller's to add to, as with `part_of`.
    fn add(&mut self, account: AccountId, tally: Tally, score: u128) -> Result<(), LedgerError> {
        let row = self.part_of(account, tally, score)?;
        if !core::mem::replace(&mut row.unsaved, true) {
            self.unsaved.push(account);
        }
        Ok(())
    }

    /// Adds to an account's part.
    pub(super) fn part_of(
        &mut self,
        account: AccountId,
        tally: Tally,
        score: u128,
    ) -> Result<&mut OpenRow, LedgerError> {
        self.score = plus_score(self.score, score)?;
        let row = place(account.get())
            .and_then(|place| self.accounts.get_mut(place))
            .ok_or_else(|| never_opened("account", account.get()))?;
        if row.tally.shares == 0 {
            self.present.push(account);
        }
        row.tally.add(tally)?;
        row.score = plus_score(row.score, score)?;
        Ok(row)
    }

    /// Each account's part, in rising order of its id.
    pub(crate) fn rows(&self) -> Vec<(AccountId, Tally)> {
        self.sorted().map(|(id, row)| (id, row.tally)).collect()
    }

    /// What each account's part weighs, in rising order of its id.
    pub(crate) fn weights(&self) -> Vec<(AccountId, Weight)> {
        let weight = |row: &OpenRow| Weight { work: row.tally.work, score: row.score };
        self.sorted().map(|(id, row)| (id, weight(row))).collect()
    }

    fn sorted(&self) -> impl Iterator<Item = (AccountId, &OpenRow)> {
        let mut present = self.present.clone();
        present.sort_unstable();
        let part = |account: AccountId| self.accounts.get(place(account.get())?);
        present.into_iter().filter_map(move |id| Some((id, part(id)?)))
    }

    /// Becomes the empty slice `index`.
    pub(super) fn start(&mut self, index: SliceIndex) {
        for account in self.present.drain(..) {
            if let Some(row) = place(account.get()).and_then(|at| self.accounts.get_mut(at)) {
                *row = OpenRow::default();
            }
        }
        self.unsaved.clear();
        (self.index, self.sum, self.score) = (index, Tally::default(), 0);
        self.thinned = false;
    }
}

impl Weight {
    pub(crate) fn add(&mut self, other: Self) -> Result<(), LedgerError> {
        let work = self.work.checked_add(other.work);
        self.work = work.ok_or(LedgerError::Overflow("proven work"))?;
        self.score = plus_score(self.score, other.score)?;
        Ok(())
    }
}

fn plus_score(sum: u128, score: u128) -> Result<u128, LedgerError> {
    // Written so that no error is made, and dropped, for each share.
    let Some(sum) = sum.checked_add(score) else {
        return Err(LedgerError::Overflow("parts of blocks"));
    };
    Ok(sum)
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) -> Result<(), LedgerError> {
        // Written so that no error is made, and dropped, for each share of each batch.
        let Some(shares) = self.shares.checked_add(other.shares) else {
            return Err(LedgerError::Overflow("shares"));
        };
        let Some(work) = self.work.checked_add(other.work) else {
            return Err(LedgerError::Overflow("proven work"));
        };
        (self.shares, self.work) = (shares, work);
        Ok(())
    }
}

impl Total {
    fn load(conn: &Connection) -> Result<Self, LedgerError> {
        let sql = "SELECT shares, work, energy, covered, immature, balance, paid, fees,
                          next_extranonce, tallied, declared, reserve, paid_slice
                   FROM total WHERE id = 1";
        let mut total = conn.query_row(sql, [], |row| {
            let proven = Tally { shares: row.get(0)?, work: row.get::<_, Wide>(1)?.0 };
            Ok(Self {
                proven,
                saved: Mark { event: row.get(9)?, at: UnixMillis::new(0), proven },
                energy: row.get::<_, Wide>(2)?.0,
                covered: row.get::<_, Wide>(3)?.0,
                immature: row.get::<_, Amount>(4)?.0,
                balance: row.get::<_, Amount>(5)?.0,
                paid: row.get::<_, Amount>(6)?.0,
                fees: row.get::<_, Amount>(7)?.0,
                next_extranonce: row.get(8)?,
                declared: row.get::<_, Amount>(10)?.0,
                reserve: row.get::<_, Amount>(11)?.0,
                paid_slice: row.get(12)?,
            })
        })?;
        total.saved.at = log::instant_of(conn, total.saved.event)?;
        Ok(total)
    }

    /// Writes the first row.
    pub(super) fn insert(&self, conn: &Connection) -> Result<(), LedgerError> {
        self.write(
            conn,
            "INSERT INTO total(id, shares, work, energy, covered, immature, balance, paid, fees,
                               next_extranonce, tallied, declared, reserve, paid_slice)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
    }

    /// Writes the row over.
    pub(super) fn save(&self, conn: &Connection) -> Result<(), LedgerError> {
        self.write(
            conn,
            "UPDATE total SET shares = ?1, work = ?2, energy = ?3, covered = ?4, immature = ?5,
                              balance = ?6, paid = ?7, fees = ?8, next_extranonce = ?9,
                              tallied = ?10, declared = ?11, reserve = ?12, paid_slice = ?13
             WHERE id = 1",
        )
    }

    fn write(&self, conn: &Connection, sql: &str) -> Result<(), LedgerError> {
        conn.prepare_cached(sql)?.execute(params![
            self.saved.proven.shares,
            Wide(self.saved.proven.work),
            Wide(self.energy),
            Wide(self.covered),
            Amount(self.immature),
            Amount(self.balance),
            Amount(self.paid),
            Amount(self.fees),
            self.next_extranonce,
            self.saved.event,
            Amount(self.declared),
            Amount(self.reserve),
            self.paid_slice,
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

/// Where the thing with this number is in a list: numbers count from 1.
pub(super) fn place(id: u32) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

fn never_opened(what: &str, id: u32) -> LedgerError {
    LedgerError::damaged(format!("{what} {id} was never opened"))
}

fn load_workers(conn: &Connection) -> Result<Vec<WorkerState>, LedgerError> {
    let mut statement = conn.prepare(
        "SELECT worker.account, tally.shares, tally.work, tally.last_at
         FROM worker JOIN tally ON tally.worker = worker.id ORDER BY worker.id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(WorkerState {
            account: AccountId::new(row.get(0)?),
            tally: Tally { shares: row.get(1)?, work: row.get::<_, Wide>(2)?.0 },
            last_at: row.get::<_, Option<Instant>>(3)?.map(|at| at.0),
            unsaved: false,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest closed slice.
pub(super) fn newest_slice(conn: &Connection) -> Result<SliceHead, LedgerError> {
    let sql = "SELECT idx, root, work, shares FROM slice ORDER BY idx DESC LIMIT 1";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(SliceHead::NONE) };
    Ok(SliceHead {
        index: SliceIndex::new(row.get(0)?),
        root: row.get(1)?,
        work: Work::new(row.get::<_, Wide>(2)?.0),
        shares: row.get(3)?,
    })
}
