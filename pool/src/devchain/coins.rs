//! The unspent outputs, and what a block does to them (`ConnectBlock`, `DisconnectBlock`).
//!
//! A block is applied as a whole or not at all. What it spent is kept beside it, so that it can
//! be taken back; what it created is in the block itself.

use std::collections::HashMap;

use bitcoin::{Block, OutPoint, Transaction, TxOut};

use super::check::{MAX_MONEY, value_out};
use super::{COINBASE_MATURITY, MAX_SIGOPS_COST, Reject, script, subsidy};

/// Scripts longer than this can never be spent, nor can those that start with `OP_RETURN`.
const MAX_SCRIPT: usize = 10_000;

/// An unspent output and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coin {
    pub(super) output: TxOut,
    pub(super) height: u32,
    pub(super) coinbase: bool,
}

/// What a block spent, in the order of its inputs.
pub(super) type Undo = Vec<(OutPoint, Coin)>;

/// The place in the chain at which transactions are judged.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    /// Height of the block that holds them.
    pub(super) height: u32,
    /// Median time of that block's parent.
    pub(super) median_time: u32,
    /// Median time of the best chain's block at a height below `height`.
    pub(super) median_at: &'a dyn Fn(u32) -> u32,
}

/// Every unspent output of the best chain.
#[derive(Debug, Default)]
pub(super) struct Coins(HashMap<OutPoint, Coin>);

impl Coins {
    pub(super) fn get(&self, point: &OutPoint) -> Option<&Coin> {
        self.0.get(point)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.0.iter()
    }

    /// Applies a block; nothing is changed where it is refused.
    pub(super) fn connect(&mut self, block: &Block, spot: &Spot<'_>) -> Result<Undo, Reject> {
        let mut undo = Undo::new();
        let mut applied = 0;
        let verdict = self.apply(block, spot, &mut undo, &mut applied);
        if let Err(reject) = verdict {
            self.revert(block.txdata.iter().take(applied), undo);
            return Err(reject);
        }
        Ok(undo)
    }

    /// Takes back the block that was applied last.
    pub(super) fn disconnect(&mut self, block: &Block, undo: Undo) {
        self.revert(block.txdata.iter(), undo);
    }

    fn apply(
        &mut self,
        block: &Block,
        spot: &Spot<'_>,
        undo: &mut Undo,
        applied: &mut usize,
    ) -> Result<(), Reject> {
        if block.txdata.iter().any(|tx| self.would_overwrite(tx)) {
            return Err(Reject::new("bad-txns-BIP30"));
        }
        let (mut fees, mut sigops) = (0_u64, 0_usize);
        for tx in &block.txdata {
            if !tx.is_coinbase() {
                let lookup = |point: &OutPoint| self.get(point).cloned();
                fees = fees.saturating_add(check_inputs(tx, lookup, spot.height)?);
                if fees > MAX_MONEY {
                    return Err(Reject::new("bad-txns-accumulated-fee-outofrange"));
                }
                if !sequence_locks_pass(tx, lookup, spot) {
                    return Err(Reject::new("bad-txns-nonfinal"));
                }
            }
            sigops = sigops.saturating_add(self.sigop_cost(tx));
            if sigops > MAX_SIGOPS_COST {
                return Err(Reject::new("bad-blk-sigops"));
            }
            self.spend_and_create(tx, spot.height, undo);
            *applied += 1;
        }
        let reward = subsidy(spot.height).saturating_add(fees);
        if block.txdata.first().is_some_and(|tx| value_out(tx) > reward) {
            return Err(Reject::new("bad-cb-amount"));
        }
        check_scripts(block, undo)
    }

    fn would_overwrite(&self, tx: &Transaction) -> bool {
        let txid = tx.compute_txid();
        (0_u32..).zip(&tx.output).any(|(vout, _)| self.0.contains_key(&OutPoint { txid, vout }))
    }

    fn sigop_cost(&self, tx: &Transaction) -> usize {
        tx.total_sigop_cost(|point| self.get(point).map(|coin| coin.output.clone()))
    }

    fn spend_and_create(&mut self, tx: &Transaction, height: u32, undo: &mut Undo) {
        let coinbase = tx.is_coinbase();
        if !coinbase {
            for input in &tx.input {
                let point = input.previous_output;
                undo.extend(self.0.remove(&point).map(|coin| (point, coin)));
            }
        }
        let txid = tx.compute_txid();
        for (vout, output) in (0_u32..).zip(&tx.output) {
            if is_spendable(output) {
                let coin = Coin { output: output.clone(), height, coinbase };
                self.0.insert(OutPoint { txid, vout }, coin);
            }
        }
    }

    fn revert<'a>(
        &mut self,
        transactions: impl DoubleEndedIterator<Item = &'a Transaction>,
        mut undo: Undo,
    ) {
        for tx in transactions.rev() {
            let txid = tx.compute_txid();
            for (vout, _) in (0_u32..).zip(&tx.output) {
                self.0.remove(&OutPoint { txid, vout });
            }
            let spent = if tx.is_coinbase() { 0 } else { tx.input.len() };
            let keep = undo.len().saturating_sub(spent);
            self.0.extend(undo.drain(keep..));
        }
    }
}

/// The fee of a transaction whose inputs are all there, mature and worth enough.
pub(super) fn check_inputs(
    tx: &Transaction,
    lookup: impl Fn(&OutPoint) -> Option<Coin>,
    height: u32,
) -> Result<u64, Reject> {
    let coins: Option<Vec<Coin>> =
        tx.input.iter().map(|input| lookup(&input.previous_output)).collect();
    let Some(coins) = coins else {
        return Err(Reject::new("bad-txns-inputs-missingorspent"));
    };
    let mut total = 0_u64;
    for coin in &coins {
        if coin.coinbase && height.saturating_sub(coin.height) < COINBASE_MATURITY {
            return Err(Reject::new("bad-txns-premature-spend-of-coinbase"));
        }
        total = total.saturating_add(coin.output.value.to_sat());
        if total > MAX_MONEY {
            return Err(Reject::new("bad-txns-inputvalues-outofrange"));
        }
    }
    total.checked_sub(value_out(tx)).ok_or(Reject::new("bad-txns-in-belowout"))
}

/// BIP 68: true where every input is old enough for its sequence number.
pub(super) fn sequence_locks_pass(
    tx: &Transaction,
    lookup: impl Fn(&OutPoint) -> Option<Coin>,
    spot: &Spot<'_>,
) -> bool {
    const DISABLED: u32 = 1 << 31;
    const BY_TIME: u32 = 1 << 22;
    const MASK: u32 = 0xffff;
    // The version is a 32-bit unsigned number for this rule.
    if tx.version.0.cast_unsigned() < 2 {
        return true;
    }
    tx.input.iter().all(|input| {
        let sequence = input.sequence.to_consensus_u32();
        if sequence & DISABLED != 0 {
            return true;
        }
        let born = lookup(&input.previous_output).map_or(spot.height, |coin| coin.height);
        if sequence & BY_TIME == 0 {
            // Core keeps the last invalid height: height + lock - 1 must be below this block's.
            return born.saturating_add(sequence & MASK) <= spot.height;
        }
        let since = u64::from((spot.median_at)(born.saturating_sub(1)));
        since + (u64::from(sequence & MASK) << 9) <= u64::from(spot.median_time)
    })
}

/// Runs every input's script of a block whose spent outputs are in `undo`.
fn check_scripts(block: &Block, undo: &Undo) -> Result<(), Reject> {
    let mut spent = undo.iter().map(|(_, coin)| coin.output.clone());
    for tx in block.txdata.iter().filter(|tx| !tx.is_coinbase()) {
        let outputs: Vec<TxOut> = spent.by_ref().take(tx.input.len()).collect();
        script::verify(tx, &outputs).map_err(|failure| {
            Reject::owned(format!("block-script-verify-flag-failed ({failure})"))
        })?;
    }
    Ok(())
}

fn is_spendable(output: &TxOut) -> bool {
    !output.script_pubkey.is_op_return() && output.script_pubkey.len() <= MAX_SCRIPT
}
