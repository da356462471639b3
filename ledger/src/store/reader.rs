//! [`Reader`]: questions from the outside, on their own connection. It never writes, never makes
//! the writer wait, and sees each question's answer as of one committed transaction.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use units::{MicroJoules, Sats, UnixMillis, Work};

use super::project_energy::HOUR_MS;
use super::state::Tally;
use super::tail::Tail;
use super::values::{Amount, Instant, Wide};
use super::window::Weights;
use super::{BUSY, CACHED_STATEMENTS, aggregate, payouts, rows, schema, tally, window};
use crate::block::BlockState;
use crate::error::{LedgerError, Refusal};
use crate::payout::{Payment, PayoutId};
use crate::settle::CreditKind;
use crate::statement::BlockFilter;
use crate::types::{AccountId, BlockId, Scheme, SliceIndex, WorkerId};
use crate::view::{
    AccountSummary, AccountView, Aggregate, AggregatesKept, Balance, BlockCounts, BlockView,
    CreditView, EnergyHour, MeterView, OutboxView, Payable, PayoutView, Totals, WorkerView,
};
use crate::window::{self as line, Unit};

/// A reader of a ledger, in the writer's process or another. It can be moved between threads;
/// open one for each that asks.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    conn: Connection,
    /// What the tables had not when it was asked last.
    tail: RefCell<Tail>,
}

impl Reader {
    /// Opens the ledger at `path` for reading. It must exist: a [`crate::Ledger`] creates it.
    ///
    /// # Errors
    /// When there is none, or it is not one that this version understands.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let conn = open_read_only(path)
            .map_err(|error| error.while_doing(&format!("opening {} to read", path.display())))?;
        Ok(Self { path: path.to_owned(), conn, tail: RefCell::default() })
    }

    /// The pool as a whole. O(blocks).
    ///
    /// # Errors
    /// When the store fails.
    pub fn totals(&self) -> Result<Totals, LedgerError> {
        self.ask_with_tail("reading totals", totals)
    }

    /// What accounts have in the window of a block whose job commits to `slice`, in rising order of
    /// account: by name, in the scheme's own unit. It is the same whenever it is asked, so a
    /// coinbase may pay by it; empty where it depends on more than the slice (who finds the block,
    /// or what other blocks were paid for) or where one account gets it all.
    ///
    /// # Errors
    /// When there is no such slice or the store fails.
    pub fn window(
        &self,
        scheme: Scheme,
        slice: SliceIndex,
    ) -> Result<Vec<(AccountId, String, u128)>, LedgerError> {
        let weights = self.ask("reading a window", |conn| window_of(conn, scheme, slice))?;
        self.ask("reading names", |conn| {
            let mut statement = conn.prepare_cached("SELECT name FROM account WHERE id = ?1")?;
            let named = |(id, weight): (AccountId, u128)| {
                Ok((id, statement.query_row([id.get()], |row| row.get(0))?, weight))
            };
            weights.into_iter().map(named).collect()
        })
    }

    /// An account with its workers and their meters; `None` when it was never opened.
    ///
    /// # Errors
    /// When the store fails.
    pub fn account(&self, name: &str) -> Result<Option<AccountView>, LedgerError> {
        self.ask_with_tail("reading an account", |conn, tail| account(conn, tail, name))
    }

    /// The `limit` accounts with the most work, most first. O(workers).
    ///
    /// # Errors
    /// When the store fails.
    pub fn accounts(&self, limit: u32) -> Result<Vec<AccountSummary>, LedgerError> {
        let mut accounts = self.ask_with_tail("reading accounts", accounts)?;
        accounts.sort_by(|a, b| b.work.cmp(&a.work).then_with(|| a.name.cmp(&b.name)));
        accounts.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(accounts)
    }

    /// Tells `each` of every worker with work that no reading covers: its account's name, its own,
    /// and that work. O(workers); nothing is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub fn each_uncovered(&self, each: impl FnMut(&str, &str, Work)) -> Result<(), LedgerError> {
        self.ask_with_tail("reading workers", |conn, tail| each_uncovered(conn, tail, each))
    }

    /// The `limit` newest blocks, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn blocks(&self, limit: u32) -> Result<Vec<BlockView>, LedgerError> {
        self.blocks_where(&BlockFilter { limit, ..BlockFilter::default() })
    }

    /// The blocks that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the block that it names is unknown, or the store fails.
    pub fn blocks_where(&self, filter: &BlockFilter) -> Result<Vec<BlockView>, LedgerError> {
        self.ask("reading blocks", |conn| blocks(conn, filter))
    }

    /// The credits of a block in rising order of account id; empty before it was settled.
    ///
    /// # Errors
    /// When the store fails.
    pub fn credits_of(&self, hash: &BlockId) -> Result<Vec<CreditView>, LedgerError> {
        self.ask("reading credits", |conn| credits_of(conn, hash))
    }

    /// Every account that has money or was paid, in order of first appearance. O(accounts).
    ///
    /// # Errors
    /// When the store fails.
    pub fn balances(&self) -> Result<Vec<Balance>, LedgerError> {
        self.ask("reading balances", balances)
    }

    /// The `limit` newest payouts, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn payouts(&self, limit: u32) -> Result<Vec<PayoutView>, LedgerError> {
        self.ask("reading payouts", |conn| payouts::payouts(conn, limit))
    }

    /// Whom a payout pays, and how much; empty where there is no such payout.
    ///
    /// # Errors
    /// When the store fails.
    pub fn payments_of(&self, id: PayoutId) -> Result<Vec<Payment>, LedgerError> {
        self.ask("reading payments", |conn| payouts::payments(conn, id))
    }

    /// Payouts as a whole.
    ///
    /// # Errors
    /// When the store fails.
    pub fn outbox(&self) -> Result<OutboxView, LedgerError> {
        self.ask("reading the outbox", payouts::outbox)
    }

    /// Accounts with a balance, with the thresholds that their owners set.
    ///
    /// # Errors
    /// When the store fails.
    pub fn payables(&self) -> Result<Vec<Payable>, LedgerError> {
        self.ask("reading accounts to be paid", payouts::payables)
    }

    /// All meters, by worker and name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn meters(&self) -> Result<Vec<MeterView>, LedgerError> {
        self.ask("reading meters", |conn| rows::meters(conn, None))
    }

    /// What meters counted in the UTC hours that begin at or after `from` and before `to`, by
    /// hour, worker and meter. A reading is in the hour of its own instant.
    ///
    /// # Errors
    /// When the store fails.
    pub fn energy_hours(
        &self,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<EnergyHour>, LedgerError> {
        self.ask("reading hours of energy", |conn| energy_hours(conn, from, to))
    }

    /// What a worker did in each ten minutes, of those that end after `after` and no later than
    /// `last`; where it did nothing there is none. O(workers) for each.
    ///
    /// # Errors
    /// When the store fails.
    pub fn aggregates(
        &self,
        worker: WorkerId,
        after: UnixMillis,
        last: UnixMillis,
    ) -> Result<Vec<Aggregate>, LedgerError> {
        self.ask("reading aggregates", |conn| aggregate::of_worker(conn, worker, after, last))
    }

    /// How much is kept of all aggregates. Reads each of them.
    ///
    /// # Errors
    /// When the store fails.
    pub fn aggregates_kept(&self) -> Result<AggregatesKept, LedgerError> {
        self.ask("reading aggregates", aggregate::kept)
    }

    /// Runs `question` in one read transaction, with the shares that the tables have not.
    fn ask_with_tail<T>(
        &self,
        doing: &str,
        question: impl FnOnce(&Connection, &Tail) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.ask(doing, |conn| {
            let tail = self.tail.take().brought_up(conn)?;
            let answer = question(conn, &tail);
            self.tail.replace(tail);
            answer
        })
    }

    /// Runs `question` in one read transaction.
    pub(super) fn ask<T>(
        &self,
        doing: &str,
        question: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let inner = || {
            let transaction = self.conn.unchecked_transaction()?;
            let answer = question(&transaction)?;
            transaction.finish()?;
            Ok(answer)
        };
        inner().map_err(|error: LedgerError| {
            error.while_doing(&format!("{doing} (ledger {})", self.path.display()))
        })
    }
}

/// A connection that cannot write, to a ledger that exists.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Missing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    schema::check_readable(&conn, path)?;
    Ok(conn)
}

fn totals(conn: &Connection, tail: &Tail) -> Result<Totals, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT shares, work, energy, covered, immature, balance, paid, fees,
                (SELECT coalesce(max(idx), 0) FROM slice), (SELECT count(*) FROM account),
                (SELECT count(*) FROM worker), reserve
         FROM total WHERE id = 1",
    )?;
    let blocks = block_counts(conn)?;
    let mut totals = statement.query_row([], |row| {
        Ok(Totals {
            shares: row.get(0)?,
            work: Work::new(row.get::<_, Wide>(1)?.0),
            energy: MicroJoules::new(row.get::<_, Wide>(2)?.0),
            covered_work: Work::new(row.get::<_, Wide>(3)?.0),
            immature: row.get::<_, Amount>(4)?.0,
            balance: row.get::<_, Amount>(5)?.0,
            sending: Sats::ZERO,
            paid: row.get::<_, Amount>(6)?.0,
            fees: row.get::<_, Amount>(7)?.0,
            slices: row.get(8)?,
            accounts: row.get(9)?,
            workers: row.get(10)?,
            reserve: row.get::<_, Amount>(11)?.0,
            blocks,
        })
    })?;
    let saved = Tally { shares: totals.shares, work: totals.work.get() };
    let proven = tally::plus(saved, Some(tail.all))?;
    (totals.shares, totals.work) = (proven.shares, Work::new(proven.work));
    totals.sending = payouts::outbox(conn)?.sending;
    Ok(totals)
}

fn window_of(conn: &Connection, scheme: Scheme, slice: SliceIndex) -> Result<Weights, LedgerError> {
    let account_of = |id: WorkerId| {
        let mut statement = conn.prepare_cached("SELECT account FROM worker WHERE id = ?1")?;
        Ok(AccountId::new(statement.query_row([id.get()], |row| row.get(0))?))
    };
    match scheme {
        Scheme::Pplns { .. } | Scheme::Tides => {
            let length = line::blocks(scheme.window_hundredths());
            window::weights(conn, &account_of, slice, length, Unit::Score)
        }
        Scheme::Pplnt { .. } => window::since(conn, &account_of, slice, scheme.window_millis()),
        Scheme::Fpps | Scheme::Pps | Scheme::Prop | Scheme::Solo => Ok(Weights::new()),
    }
}

fn block_counts(conn: &Connection) -> Result<BlockCounts, LedgerError> {
    let mut statement = conn.prepare_cached("SELECT state, count(*) FROM block GROUP BY state")?;
    let mut counts = BlockCounts::default();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *counts.slot(rows::block_state(row, 0)?) = row.get(1)?;
    }
    Ok(counts)
}

fn account(conn: &Connection, tail: &Tail, name: &str) -> Result<Option<AccountView>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, immature, balance, sending, paid FROM account WHERE name = ?1",
    )?;
    let found = statement.query_row([name], |row| {
        let amount = |column| row.get::<_, Amount>(column).map(|amount| amount.0);
        Ok((row.get::<_, u32>(0)?, [amount(1)?, amount(2)?, amount(3)?, amount(4)?]))
    });
    let Some((id, money)) = found.optional()? else { return Ok(None) };
    let [immature, balance, sending, paid] = money;
    let workers = workers(conn, tail, id)?;
    let shares = workers.iter().fold(0, |sum: u64, worker| sum.saturating_add(worker.shares));
    let work = workers.iter().fold(Work::ZERO, |sum, worker| sum.saturating_add(worker.work));
    let name = name.to_owned();
    Ok(Some(AccountView { name, work, shares, immature, balance, sending, paid, workers }))
}

fn workers(conn: &Connection, tail: &Tail, account: u32) -> Result<Vec<WorkerView>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT worker.id, worker.name, tally.work, tally.shares, tally.last_at,
                worker_energy.energy, worker_energy.covered
         FROM worker JOIN tally ON tally.worker = worker.id
         LEFT JOIN worker_energy ON worker_energy.worker = worker.id
         WHERE worker.account = ?1 ORDER BY worker.id",
    )?;
    let rows = statement.query_map([account], worker)?;
    rows.map(|row| {
        let mut worker = row?;
        add_tail(&mut worker, tail)?;
        worker.meters = rows::meters(conn, Some(worker.id))?;
        Ok(worker)
    })
    .collect()
}

/// Adds what the tables had not.
fn add_tail(worker: &mut WorkerView, tail: &Tail) -> Result<(), LedgerError> {
    if let Some(later) = tail.of(worker.id) {
        let saved = Tally { shares: worker.shares, work: worker.work.get() };
        let tally = tally::plus(saved, Some(later.tally))?;
        (worker.shares, worker.work) = (tally.shares, Work::new(tally.work));
        worker.last_share_at = Some(later.last_at);
    }
    Ok(())
}

fn worker(row: &Row<'_>) -> rusqlite::Result<WorkerView> {
    Ok(WorkerView {
        id: WorkerId::new(row.get(0)?),
        name: row.get(1)?,
        work: Work::new(row.get::<_, Wide>(2)?.0),
        shares: row.get(3)?,
        last_share_at: row.get::<_, Option<Instant>>(4)?.map(|at| at.0),
        energy: MicroJoules::new(row.get::<_, Option<Wide>>(5)?.map_or(0, |energy| energy.0)),
        covered_work: Work::new(row.get::<_, Option<Wide>>(6)?.map_or(0, |covered| covered.0)),
        meters: Vec::new(),
    })
}

fn each_uncovered(
    conn: &Connection,
    tail: &Tail,
    mut each: impl FnMut(&str, &str, Work),
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT account.name, worker.name, worker.id, tally.shares, tally.work,
                worker_energy.covered
         FROM worker JOIN account ON account.id = worker.account
         JOIN tally ON tally.worker = worker.id
         LEFT JOIN worker_energy ON worker_energy.worker = worker.id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let saved = Tally { shares: row.get(3)?, work: row.get::<_, Wide>(4)?.0 };
        let later = tail.of(WorkerId::new(row.get(2)?)).map(|later| later.tally);
        let covered = row.get::<_, Option<Wide>>(5)?.map_or(0, |covered| covered.0);
        let uncovered = tally::plus(saved, later)?.work.saturating_sub(covered);
        if uncovered > 0 {
            each(text(0)?, text(1)?, Work::new(uncovered));
        }
    }
    Ok(())
}

fn accounts(conn: &Connection, tail: &Tail) -> Result<Vec<AccountSummary>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT account.name, tally.work, tally.shares, worker.id
         FROM account LEFT JOIN worker ON worker.account = account.id
         LEFT JOIN tally ON tally.worker = worker.id ORDER BY account.id",
    )?;
    let mut rows = statement.query([])?;
    let mut accounts: Vec<AccountSummary> = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if accounts.last().is_none_or(|last| last.name != name) {
            let name = name.to_owned();
            accounts.push(AccountSummary { name, work: Work::ZERO, shares: 0 });
        }
        let last = accounts.last_mut().expect("one was just pushed");
        // An account without workers has a row without one.
        let Some(id) = row.get::<_, Option<u32>>(3)? else { continue };
        let saved = Tally { shares: row.get(2)?, work: row.get::<_, Wide>(1)?.0 };
        let later = tail.of(WorkerId::new(id)).map(|later| later.tally);
        let tally = tally::plus(saved, later)?;
        last.work = last.work.saturating_add(Work::new(tally.work));
        last.shares = last.shares.saturating_add(tally.shares);
    }
    Ok(accounts)
}

fn blocks(conn: &Connection, filter: &BlockFilter) -> Result<Vec<BlockView>, LedgerError> {
    let before = filter.before.as_ref().map(|hash| block_event(conn, hash)).transpose()?;
    let mut statement = conn.prepare_cached(
        "SELECT block.hash, block.height, block.reward, account.name, worker.name,
                block.network_work, block.slice, block.state, block.answer, block.found_at,
                block.settled_at, block.state_at
         FROM block JOIN worker ON worker.id = block.finder
         JOIN account ON account.id = worker.account
         WHERE block.event < ?1 AND block.found_at >= ?2 AND block.found_at < ?3
           AND (?4 IS NULL OR block.state = ?4) AND (?5 IS NULL OR account.name = ?5)
         ORDER BY block.event DESC LIMIT ?6",
    )?;
    let asked = params![
        before.unwrap_or(u64::MAX >> 1),
        Instant(filter.from.unwrap_or_default()),
        Instant(filter.to.unwrap_or(UnixMillis::new(u64::MAX))),
        filter.state.map(BlockState::as_str),
        filter.account,
        filter.limit,
    ];
    let rows = statement.query_map(asked, |row| {
        Ok(BlockView {
            hash: row.get(0)?,
            height: row.get(1)?,
            reward: row.get::<_, Amount>(2)?.0,
            finder: row.get(3)?,
            finder_worker: row.get(4)?,
            network_work: Work::new(row.get::<_, Wide>(5)?.0),
            committed_slice: SliceIndex::new(row.get(6)?),
            state: rows::block_state(row, 7)?,
            answer: row.get(8)?,
            found_at: row.get::<_, Instant>(9)?.0,
            settled_at: row.get::<_, Option<Instant>>(10)?.map(|at| at.0),
            state_at: row.get::<_, Instant>(11)?.0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn credits_of(conn: &Connection, hash: &BlockId) -> Result<Vec<CreditView>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT account.name, credit.kind, credit.sats
         FROM block JOIN credit ON credit.block = block.event
         JOIN account ON account.id = credit.account
         WHERE block.hash = ?1 ORDER BY credit.account, credit.kind",
    )?;
    let rows = statement.query_map([hash], |row| {
        Ok((row.get(0)?, row.get::<_, u8>(1)?, row.get::<_, Amount>(2)?.0))
    })?;
    rows.map(|row| {
        let (account, code, sats) = row?;
        Ok(CreditView { account, kind: credit_kind(code)?, sats })
    })
    .collect()
}

/// What a credit is for, by its number.
pub(super) fn credit_kind(code: u8) -> Result<CreditKind, LedgerError> {
    CreditKind::from_code(code)
        .ok_or_else(|| LedgerError::damaged(format!("a credit of unknown kind {code}")))
}

/// The event that recorded a block.
pub(super) fn block_event(conn: &Connection, hash: &BlockId) -> Result<u64, LedgerError> {
    let mut statement = conn.prepare_cached("SELECT event FROM block WHERE hash = ?1")?;
    let event = statement.query_row([hash], |row| row.get(0)).optional()?;
    event.ok_or_else(|| Refusal::UnknownBlock(*hash).into())
}

fn balances(conn: &Connection) -> Result<Vec<Balance>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT name, immature, balance, paid, sending FROM account
         WHERE immature > 0 OR balance > 0 OR paid > 0 OR sending > 0 ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Balance {
            account: row.get(0)?,
            immature: row.get::<_, Amount>(1)?.0,
            balance: row.get::<_, Amount>(2)?.0,
            paid: row.get::<_, Amount>(3)?.0,
            sending: row.get::<_, Amount>(4)?.0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn energy_hours(
    conn: &Connection,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<EnergyHour>, LedgerError> {
    let (first, end) = (from.get().div_ceil(HOUR_MS), to.get().div_ceil(HOUR_MS));
    let mut statement = conn.prepare_cached(
        "SELECT worker, meter, hour, credited, energy, covered, gap_ms FROM energy_hour
         WHERE hour >= ?1 AND hour < ?2 ORDER BY hour, worker, meter",
    )?;
    let rows = statement.query_map(params![first, end], |row| {
        Ok(EnergyHour {
            worker: WorkerId::new(row.get(0)?),
            meter: row.get(1)?,
            hour: UnixMillis::new(row.get::<_, u64>(2)?.saturating_mul(HOUR_MS)),
            credited: MicroJoules::new(row.get::<_, Wide>(3)?.0),
            energy: MicroJoules::new(row.get::<_, Wide>(4)?.0),
            covered_work: Work::new(row.get::<_, Wide>(5)?.0),
            gap: Duration::from_millis(row.get(6)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
