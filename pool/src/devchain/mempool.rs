//! Transactions that wait for a block. All of them fit into one, so the next template holds the
//! whole list, parents before children.
//!
//! Policy is only what keeps the list valid and bounded: no replacement, no standardness, the
//! minimum fee rate of Bitcoin Core.

use std::collections::HashMap;

use bitcoin::{OutPoint, Transaction, Txid, Wtxid};

use super::check::check_transaction;
use super::coins::{Coin, Coins, Spot, check_inputs, sequence_locks_pass};
use super::context::is_final;
use super::{Reject, script};

/// Weight of all transactions together: a block, less room for its coinbase.
const MAX_WEIGHT: u64 = 3_900_000;
/// Signature operations of all transactions together, likewise.
const MAX_SIGOPS: usize = 70_000;
/// Core's smallest transaction outside of a block, in bytes without witness.
const MIN_SIZE: usize = 65;
/// Satoshis for a thousand virtual bytes.
const MIN_FEE_RATE: u64 = 100;

/// A waiting transaction and its figures.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) tx: Transaction,
    pub(super) txid: Txid,
    pub(super) wtxid: Wtxid,
    /// Satoshis.
    pub(super) fee: u64,
    pub(super) sigops: usize,
    /// Weight units.
    pub(super) weight: u64,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Mempool {
    list: Vec<Waiting>,
    by_txid: HashMap<Txid, usize>,
    spends: HashMap<OutPoint, Txid>,
    weight: u64,
    sigops: usize,
    /// Rises with each transaction taken.
    updates: u64,
}

/// Whether scripts are run: they need not be for transactions that passed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scripts {
    Run,
    PassedBefore,
}

impl Mempool {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.list.iter()
    }

    pub(super) const fn updates(&self) -> u64 {
        self.updates
    }

    pub(super) fn contains(&self, txid: &Txid) -> bool {
        self.by_txid.contains_key(txid)
    }

    /// True where a waiting transaction spends `point`.
    pub(super) fn is_spent(&self, point: &OutPoint) -> bool {
        self.spends.contains_key(point)
    }

    /// An output of a waiting transaction, as a coin of the block at `height`.
    pub(super) fn coin(&self, point: &OutPoint, height: u32) -> Option<Coin> {
        let waiting = self.list.get(*self.by_txid.get(&point.txid)?)?;
        let output = waiting.tx.output.get(usize::try_from(point.vout).ok()?)?.clone();
        Some(Coin { output, height, coinbase: false })
    }

    /// Takes a transaction, or says why not (`AcceptToMemoryPool`).
    pub(super) fn accept(
        &mut self,
        tx: Transaction,
        coins: &Coins,
        spot: &Spot<'_>,
    ) -> Result<Txid, Reject> {
        let txid = self.take(tx, coins, spot, Scripts::Run)?;
        self.updates += 1;
        Ok(txid)
    }

    /// Judges everything anew on another tip: `returned` are the transactions of blocks that
    /// left the best chain. What does not pass any more is dropped.
    pub(super) fn rebuild(&mut self, returned: Vec<Transaction>, coins: &Coins, spot: &Spot<'_>) {
        if self.list.is_empty() && returned.is_empty() {
            return;
        }
        let before = std::mem::take(self);
        self.updates = before.updates + 1;
        for tx in returned.into_iter().chain(before.list.into_iter().map(|waiting| waiting.tx)) {
            let txid = tx.compute_txid();
            if let Err(reject) = self.take(tx, coins, spot, Scripts::PassedBefore) {
                tracing::debug!(%txid, reason = %reject.reason, "left the mempool");
            }
        }
    }

    fn take(
        &mut self,
        tx: Transaction,
        coins: &Coins,
        spot: &Spot<'_>,
        scripts: Scripts,
    ) -> Result<Txid, Reject> {
        let waiting = self.judge(tx, coins, spot, scripts)?;
        let txid = waiting.txid;
        self.weight += waiting.weight;
        self.sigops += waiting.sigops;
        self.spends.extend(waiting.tx.input.iter().map(|input| (input.previous_output, txid)));
        self.by_txid.insert(txid, self.list.len());
        self.list.push(waiting);
        Ok(txid)
    }

    fn judge(
        &self,
        tx: Transaction,
        coins: &Coins,
        spot: &Spot<'_>,
        scripts: Scripts,
    ) -> Result<Waiting, Reject> {
        check_transaction(&tx)?;
        self.check_alone(&tx, spot)?;
        let (txid, wtxid) = (tx.compute_txid(), tx.compute_wtxid());
        if let Some(known) = self.by_txid.get(&txid).and_then(|at| self.list.get(*at)) {
            let same = known.wtxid == wtxid;
            return Err(Reject::new(if same {
                "txn-already-in-mempool"
            } else {
                "txn-same-nonwitness-data-in-mempool"
            }));
        }
        if tx.input.iter().any(|input| self.is_spent(&input.previous_output)) {
            return Err(Reject::new("txn-mempool-conflict"));
        }
        let lookup =
            |point: &OutPoint| coins.get(point).cloned().or_else(|| self.coin(point, spot.height));
        let missing = tx.input.iter().any(|input| lookup(&input.previous_output).is_none());
        if missing && has_coin(&tx, txid, coins) {
            return Err(Reject::new("txn-already-known"));
        }
        if !missing && !sequence_locks_pass(&tx, lookup, spot) {
            return Err(Reject::new("non-BIP68-final"));
        }
        let fee = check_inputs(&tx, lookup, spot.height)?;
        let spent: Vec<_> =
            tx.input.iter().filter_map(|i| lookup(&i.previous_output)).map(|c| c.output).collect();
        let sigops = tx.total_sigop_cost(|point| lookup(point).map(|coin| coin.output));
        let weight = tx.weight().to_wu();
        if fee.saturating_mul(1000) < weight.div_ceil(4).saturating_mul(MIN_FEE_RATE) {
            return Err(Reject::new("min relay fee not met"));
        }
        if self.weight + weight > MAX_WEIGHT || self.sigops + sigops > MAX_SIGOPS {
            return Err(Reject::new("mempool full"));
        }
        if scripts == Scripts::Run {
            script::verify(&tx, &spent).map_err(|failure| {
                Reject::owned(format!("mempool-script-verify-flag-failed ({failure})"))
            })?;
        }
        Ok(Waiting { tx, txid, wtxid, fee, sigops, weight })
    }

    fn check_alone(&self, tx: &Transaction, spot: &Spot<'_>) -> Result<(), Reject> {
        if tx.is_coinbase() {
            return Err(Reject::new("coinbase"));
        }
        if tx.base_size() < MIN_SIZE {
            return Err(Reject::new("tx-size-small"));
        }
        if !is_final(tx, spot.height, spot.median_time) {
            return Err(Reject::new("non-final"));
        }
        Ok(())
    }
}

fn has_coin(tx: &Transaction, txid: Txid, coins: &Coins) -> bool {
    (0_u32..).zip(&tx.output).any(|(vout, _)| coins.get(&OutPoint { txid, vout }).is_some())
}
