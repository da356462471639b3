//! What the writer asks the tables, in or out of a transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use units::{BasisPoints, MicroJoules, Sats, UnixMillis, Work};

use super::state::{State, Tally};
use super::values::{Amount, Instant, Wide};
use super::window::Weights;
use super::{aggregate, project_energy, project_reserve, rounds, rows, window};
use crate::aggregate::Done;
use crate::block::{BlockState, display_hex};
use crate::error::LedgerError;
use crate::reserve::{Pay, Rate};
use crate::scheme::Rule;
use crate::slice::SliceRow;
use crate::types::{AccountId, BlockId, SliceIndex, WorkerId};
use crate::view::{MeterView, MeteredWorker, UnresolvedBlock};
use crate::window::{Unit, blocks, length};

/// Questions over one connection.
#[derive(Debug)]
pub(crate) struct Queries<'a> {
    conn: &'a Connection,
}

/// A recorded block with the terms that it settles under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockRow {
    /// The event that found it.
    pub(crate) event: u64,
    pub(crate) height: u32,
    pub(crate) reward: Sats,
    pub(crate) network_work: Work,
    pub(crate) finder: WorkerId,
    pub(crate) slice: SliceIndex,
    pub(crate) rule: Rule,
    pub(crate) fee: BasisPoints,
    pub(crate) fee_account: AccountId,
    pub(crate) state: BlockState,
    pub(crate) settled: bool,
}

impl<'a> Queries<'a> {
    pub(super) const fn new(conn: &'a Connection) -> Self {
        Self { conn }
    }

    pub(super) const fn conn(&self) -> &'a Connection {
        self.conn
    }

    pub(crate) fn account(&self, name: &str) -> Result<Option<AccountId>, LedgerError> {
        let mut statement = self.conn.prepare_cached("SELECT id FROM account WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?.map(AccountId::new))
    }

    pub(crate) fn worker(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<WorkerId>, LedgerError> {
        let mut statement =
            self.conn.prepare_cached("SELECT id FROM worker WHERE account = ?1 AND name = ?2")?;
        let id = statement.query_row(params![account.get(), name], |row| row.get(0)).optional()?;
        Ok(id.map(WorkerId::new))
    }

    /// The rows of the open slice, in rising order of account id.
    pub(crate) fn open_rows(&self, state: &State) -> Result<Vec<SliceRow>, LedgerError> {
        let mut statement = self.conn.prepare_cached("SELECT name FROM account WHERE id = ?1")?;
        let row = |(account, tally): (AccountId, Tally)| {
            let name = statement.query_row([account.get()], |row| row.get(0))?;
            Ok(SliceRow { account, name, work: tally.work, shares: tally.shares })
        };
        state.open.rows().into_iter().map(row).collect()
    }

    /// The aggregate that is to be written down at `at`, if any is.
    pub(crate) fn aggregate(&self, at: UnixMillis) -> Result<Option<Vec<Done>>, LedgerError> {
        aggregate::due(self.conn, at)
    }

    pub(crate) fn block(&self, hash: &BlockId) -> Result<Option<BlockRow>, LedgerError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT height, reward, network_work, finder, slice, window_hundredths,
                    fee_basis_points, fee_account, state, settled_at IS NOT NULL, window_ms,
                    scheme, event
             FROM block WHERE hash = ?1",
        )?;
        let row = statement.query_row([hash], |row| {
            Ok(BlockRow {
                event: row.get(12)?,
                height: row.get(0)?,
                reward: row.get::<_, Amount>(1)?.0,
                network_work: Work::new(row.get::<_, Wide>(2)?.0),
                finder: WorkerId::new(row.get(3)?),
                slice: SliceIndex::new(row.get(4)?),
                rule: rows::rule(row, [11, 5, 10])?,
                fee: rows::basis_points(row, 6)?,
                fee_account: AccountId::new(row.get(7)?),
                state: rows::block_state(row, 8)?,
                settled: row.get(9)?,
            })
        });
        Ok(row.optional()?)
    }

    /// The serialized block of a candidate.
    pub(crate) fn block_bytes(&self, hash: &BlockId) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT event.data FROM block JOIN event ON event.seq = block.event
             WHERE block.hash = ?1",
        )?;
        let bytes: Option<Option<Vec<u8>>> =
            statement.query_row([hash], |row| row.get(0)).optional()?;
        let lost = || LedgerError::damaged(format!("block {} has no bytes", display_hex(hash)));
        bytes.map(|bytes| bytes.ok_or_else(lost)).transpose()
    }

    /// Blocks whose fate is open, oldest first.
    pub(crate) fn unresolved(&self) -> Result<Vec<UnresolvedBlock>, LedgerError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT hash, height, state, found_at FROM block
             WHERE state IN ('candidate', 'submitted', 'immature', 'orphaned') ORDER BY event",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(UnresolvedBlock {
                hash: row.get(0)?,
                height: row.get(1)?,
                state: rows::block_state(row, 2)?,
                found_at: row.get::<_, Instant>(3)?.0,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a block's coinbase pays to accounts themselves.
    pub(crate) fn direct(&self, block: u64) -> Result<BTreeMap<AccountId, Sats>, LedgerError> {
        let mut statement =
            self.conn.prepare_cached("SELECT account, sats FROM direct WHERE block = ?1")?;
        let rows = statement.query_map([block], |row| {
            Ok((AccountId::new(row.get(0)?), row.get::<_, Amount>(1)?.0))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What accounts have in the window of a block, by its rule; empty where one account gets it
    /// all.
    pub(crate) fn weights(&self, state: &State, block: &BlockRow) -> Result<Weights, LedgerError> {
        let (last, work) = (block.slice, block.network_work);
        let account_of = |id| state.known_worker(id).map(|worker| worker.account);
        let newest = |length, unit| window::weights(self.conn, &account_of, last, length, unit);
        match block.rule {
            Rule::Finder | Rule::Reserve => Ok(Weights::new()),
            Rule::Round => window::of_slices(self.conn, &rounds::of(self.conn, block)?),
            Rule::Scores { hundredths } => newest(blocks(hundredths), Unit::Score),
            Rule::Time { millis } => window::since(self.conn, &account_of, last, millis),
            Rule::Work { hundredths } => newest(length(hundredths, work), Unit::Work),
        }
    }

    /// The value of a block at which the newest slice was paid for; `None` where none ever was.
    pub(crate) fn last_value(&self) -> Result<Option<Sats>, LedgerError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT block_value FROM slice_paid ORDER BY slice DESC LIMIT 1")?;
        let value: Option<Amount> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(value.map(|value| value.0))
    }

    /// What accounts get for a slice under pay per share.
    pub(crate) fn pays(&self, slice: SliceIndex, rate: Rate) -> Result<Vec<Pay>, LedgerError> {
        project_reserve::pays(self.conn, slice, rate)
    }

    pub(crate) fn pinned_key(&self, worker: WorkerId) -> Result<Option<[u8; 32]>, LedgerError> {
        let mut statement = self.conn.prepare_cached("SELECT key FROM pin WHERE worker = ?1")?;
        Ok(statement.query_row([worker.get()], |row| row.get(0)).optional()?)
    }

    /// Epoch and highest total of a meter's counter; `None` before its first reading.
    pub(crate) fn counter(
        &self,
        worker: WorkerId,
        meter: &str,
    ) -> Result<Option<(u64, u128)>, LedgerError> {
        let sums = project_energy::meter_sums(self.conn, worker.get(), meter)?;
        Ok(sums.map(|sums| (sums.epoch, sums.total)))
    }

    pub(crate) fn meter_count(&self, worker: WorkerId) -> Result<u32, LedgerError> {
        let mut statement =
            self.conn.prepare_cached("SELECT count(*) FROM meter WHERE worker = ?1")?;
        Ok(statement.query_row([worker.get()], |row| row.get(0))?)
    }

    pub(crate) fn metered(&self, worker: WorkerId) -> Result<MeteredWorker, LedgerError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT account.name, worker.name, worker_energy.energy, worker_energy.covered
             FROM worker JOIN account ON account.id = worker.account
             LEFT JOIN worker_energy ON worker_energy.worker = worker.id WHERE worker.id = ?1",
        )?;
        let wide = |wide: Option<Wide>| wide.map_or(0, |wide| wide.0);
        Ok(statement.query_row([worker.get()], |row| {
            Ok(MeteredWorker {
                account: row.get(0)?,
                name: row.get(1)?,
                energy: MicroJoules::new(wide(row.get(2)?)),
                covered_work: Work::new(wide(row.get(3)?)),
            })
        })?)
    }

    pub(crate) fn meters(&self) -> Result<Vec<MeterView>, LedgerError> {
        rows::meters(self.conn, None)
    }
}
