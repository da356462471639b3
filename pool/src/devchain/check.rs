//! Checks that need nothing but the block itself, in Bitcoin Core's order (`CheckBlock`,
//! `CheckTransaction`).

use std::collections::HashSet;

use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{Block, CompactTarget, OutPoint, Target, Transaction};

use super::{LIMIT_BITS, MAX_BLOCK_WEIGHT, MAX_SIGOPS_COST, Reject, WITNESS_SCALE};

/// All satoshis there can ever be.
pub(super) const MAX_MONEY: u64 = 2_100_000_000_000_000;

/// Which parts of [`check_block`] to leave out: a proposal has no proof of work yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Required,
    NotYet,
}

/// Everything that can be said about a block without its parent.
pub(super) fn check_block(block: &Block, proof: Proof) -> Result<(), Reject> {
    if proof == Proof::Required && !has_work(block) {
        return Err(Reject::new("high-hash"));
    }
    check_merkle_root(block)?;
    check_size(block)?;
    if !block.txdata.first().is_some_and(Transaction::is_coinbase) {
        return Err(Reject::new("bad-cb-missing"));
    }
    if block.txdata.iter().skip(1).any(Transaction::is_coinbase) {
        return Err(Reject::new("bad-cb-multiple"));
    }
    block.txdata.iter().try_for_each(check_transaction)?;
    let sigops: usize = block.txdata.iter().map(legacy_sigops).sum();
    if sigops.saturating_mul(4) > MAX_SIGOPS_COST {
        return Err(Reject::new("bad-blk-sigops"));
    }
    Ok(())
}

/// Everything that can be said about a transaction without its inputs.
pub(super) fn check_transaction(tx: &Transaction) -> Result<(), Reject> {
    if tx.input.is_empty() {
        return Err(Reject::new("bad-txns-vin-empty"));
    }
    if tx.output.is_empty() {
        return Err(Reject::new("bad-txns-vout-empty"));
    }
    if weight_without_witness(tx) > MAX_BLOCK_WEIGHT {
        return Err(Reject::new("bad-txns-oversize"));
    }
    check_outputs(tx)?;
    let mut seen = HashSet::with_capacity(tx.input.len());
    if !tx.input.iter().all(|input| seen.insert(input.previous_output)) {
        return Err(Reject::new("bad-txns-inputs-duplicate"));
    }
    if tx.is_coinbase() {
        let length = tx.input.first().map_or(0, |input| input.script_sig.len());
        if !(2..=100).contains(&length) {
            return Err(Reject::new("bad-cb-length"));
        }
    } else if tx.input.iter().any(|input| input.previous_output == OutPoint::null()) {
        return Err(Reject::new("bad-txns-prevout-null"));
    }
    Ok(())
}

/// Sum of a checked transaction's outputs, in satoshis.
pub(super) fn value_out(tx: &Transaction) -> u64 {
    tx.output.iter().fold(0, |sum, output| sum.saturating_add(output.value.to_sat()))
}

/// The merkle root over `leaves`, and whether two equal neighbours were hashed together: such a
/// list has the same root as a shorter one (CVE-2012-2459).
pub(super) fn merkle_root(mut leaves: Vec<[u8; 32]>) -> ([u8; 32], bool) {
    let mut mutated = false;
    while leaves.len() > 1 {
        mutated |= leaves.chunks_exact(2).any(|pair| pair.first() == pair.last());
        leaves = leaves
            .chunks(2)
            .map(|pair| {
                let left = pair.first().copied().unwrap_or_default();
                let right = pair.last().copied().unwrap_or_default();
                sha256d::Hash::hash(&[left, right].concat()).to_byte_array()
            })
            .collect();
    }
    (leaves.first().copied().unwrap_or_default(), mutated)
}

fn has_work(block: &Block) -> bool {
    let Some(target) = valid_target(block.header.bits.to_consensus()) else { return false };
    target.is_met_by(block.block_hash())
}

/// The target of `bits`, unless negative, zero, over 256 bits or easier than the chain's limit
/// (Core's `DeriveTarget`).
fn valid_target(bits: u32) -> Option<Target> {
    let own = units::Target::from_compact(bits).ok()?;
    let target = Target::from_be_bytes(own.to_be_bytes());
    let limit = Target::from_compact(CompactTarget::from_consensus(LIMIT_BITS));
    (target <= limit && target != Target::ZERO).then_some(target)
}

fn check_merkle_root(block: &Block) -> Result<(), Reject> {
    let leaves = block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array()).collect();
    let (root, mutated) = merkle_root(leaves);
    if block.header.merkle_root.to_byte_array() != root {
        return Err(Reject::mutated("bad-txnmrklroot"));
    }
    if mutated {
        return Err(Reject::mutated("bad-txns-duplicate"));
    }
    Ok(())
}

fn check_size(block: &Block) -> Result<(), Reject> {
    let count = u64::try_from(block.txdata.len()).unwrap_or(u64::MAX);
    let header = 80 + compact_size(count);
    let bytes = block.txdata.iter().map(base_size).fold(header, u64::saturating_add);
    let fits = |size: u64| size.saturating_mul(WITNESS_SCALE) <= MAX_BLOCK_WEIGHT;
    if block.txdata.is_empty() || !fits(count) || !fits(bytes) {
        return Err(Reject::new("bad-blk-length"));
    }
    Ok(())
}

fn check_outputs(tx: &Transaction) -> Result<(), Reject> {
    let mut total = 0_u64;
    for output in &tx.output {
        let value = output.value.to_sat();
        if value > i64::MAX.unsigned_abs() {
            return Err(Reject::new("bad-txns-vout-negative"));
        }
        if value > MAX_MONEY {
            return Err(Reject::new("bad-txns-vout-toolarge"));
        }
        total = total.saturating_add(value);
        if total > MAX_MONEY {
            return Err(Reject::new("bad-txns-txouttotal-toolarge"));
        }
    }
    Ok(())
}

fn legacy_sigops(tx: &Transaction) -> usize {
    let inputs = tx.input.iter().map(|input| input.script_sig.count_sigops_legacy());
    let outputs = tx.output.iter().map(|output| output.script_pubkey.count_sigops_legacy());
    inputs.chain(outputs).sum()
}

fn base_size(tx: &Transaction) -> u64 {
    u64::try_from(tx.base_size()).unwrap_or(u64::MAX)
}

fn weight_without_witness(tx: &Transaction) -> u64 {
    base_size(tx).saturating_mul(WITNESS_SCALE)
}

/// Bytes that a count takes in a serialized block.
const fn compact_size(count: u64) -> u64 {
    match count {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merkle_roots_follow_bitcoins_rule_for_odd_levels() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let id = genesis.txdata[0].compute_txid().to_byte_array();
        assert_eq!(merkle_root(vec![id]).0, genesis.header.merkle_root.to_byte_array());
        let three = merkle_root(vec![[1; 32], [2; 32], [3; 32]]);
        let four = merkle_root(vec![[1; 32], [2; 32], [3; 32], [3; 32]]);
        assert_eq!(three.0, four.0);
        assert!(!three.1 && four.1);
    }

    #[test]
    fn the_genesis_block_passes() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        assert_eq!(check_block(&genesis, Proof::Required), Ok(()));
    }

    #[test]
    fn targets_that_mean_nothing_hold_no_work() {
        for bits in [0, 0x0180_0000, 0x2080_ffff, 0x2100_ffff, 0x2200_0100, 0xff12_3456] {
            assert_eq!(valid_target(bits), None, "{bits:08x}");
        }
        assert!(valid_target(LIMIT_BITS).is_some() && valid_target(0x1d00_ffff).is_some());
    }
}
