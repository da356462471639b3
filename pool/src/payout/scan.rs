//! Which transactions of payouts are in blocks of the best chain, by looking through the blocks:
//! a node without an index of transactions cannot be asked for one whose outputs are spent again.
//!
//! A look goes on where the last one ended, and begins anew where the chain no longer has the
//! block that it ended with, or changes during the look: each block must follow the one before it,
//! so what was found is all of one chain. It deliberately remembers nothing over a restart: the
//! ledger knows from which height on each payout can be in a block.

use std::collections::{BTreeMap, BTreeSet};

use ledger::PayoutTxid;
use serde_json::{Value, json};

use crate::node::{NodeClient, NodeError};

/// Blocks that one look goes through, so that orders are not kept waiting.
const BLOCKS_AT_ONCE: u32 = 200;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The newest block looked through, and its hash in display order.
    end: Option<(u32, String)>,
    /// The height of the block that a transaction is in.
    pub(super) found: BTreeMap<PayoutTxid, u32>,
}

impl Scan {
    /// Looks through the blocks from after height `from` on for these transactions, none of which
    /// can be in an earlier one. True when the look has reached the tip at `tip`.
    pub(super) async fn look(
        &mut self,
        node: &NodeClient,
        wanted: &BTreeSet<PayoutTxid>,
        from: u32,
        tip: u32,
    ) -> Result<bool, NodeError> {
        if !self.is_on_chain(node).await? {
            *self = Self::default();
        }
        let mut height = self.begin(from);
        let last = tip.min(height.saturating_add(BLOCKS_AT_ONCE));
        while height < last {
            height += 1;
            let hash = node.call("getblockhash", json!([height])).await?;
            let block = node.call("getblock", json!([hash, 1])).await?;
            if !self.take(height, &hash, &block, wanted) {
                return Ok(false);
            }
        }
        Ok(height >= tip)
    }

    /// The height after which to look: where the last look ended, or `from` where that is later,
    /// after a long time in which no payout was out.
    fn begin(&mut self, from: u32) -> u32 {
        match self.end {
            Some((height, _)) if height >= from => height,
            Some(_) | None => {
                *self = Self::default();
                from
            }
        }
    }

    /// Takes in the next block. False where it does not follow the one before, since the chain
    /// has changed meanwhile: then all that was seen is forgotten.
    fn take(
        &mut self,
        height: u32,
        hash: &Value,
        block: &Value,
        wanted: &BTreeSet<PayoutTxid>,
    ) -> bool {
        if let Some((_, before)) = &self.end
            && block["previousblockhash"].as_str() != Some(before)
        {
            *self = Self::default();
            return false;
        }
        let ids = block["tx"].as_array().into_iter().flatten();
        for txid in ids.filter_map(|id| parse(id.as_str()?)).filter(|txid| wanted.contains(txid)) {
            self.found.insert(txid, height);
        }
        self.end = Some((height, hash.as_str().unwrap_or_default().to_owned()));
        true
    }

    async fn is_on_chain(&self, node: &NodeClient) -> Result<bool, NodeError> {
        let Some((height, hash)) = &self.end else { return Ok(true) };
        match node.call("getblockhash", json!([height])).await {
            Ok(now) => Ok(now.as_str() == Some(hash)),
            // The chain has become shorter.
            Err(error) if error.rpc_code().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn parse(text: &str) -> Option<PayoutTxid> {
    let mut txid = [0; 32];
    hex::decode_to_slice(text, &mut txid).ok()?;
    txid.reverse();
    Some(txid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block that follows `before`, with these transactions.
    fn block(before: &str, txids: &[PayoutTxid]) -> Value {
        let txids: Vec<String> = txids.iter().map(ledger::display_txid).collect();
        json!({"previousblockhash": before, "tx": txids})
    }

    #[test]
    fn a_chain_that_changes_during_a_look_is_looked_through_anew() {
        let (ours, other) = ([1; 32], [2; 32]);
        let wanted = BTreeSet::from([ours]);
        let mut scan = Scan::default();
        assert_eq!(scan.begin(6), 6);
        assert!(scan.take(7, &json!("a7"), &block("a6", &[other, ours]), &wanted));
        assert!(scan.take(8, &json!("a8"), &block("a7", &[]), &wanted));
        assert_eq!(scan.found, BTreeMap::from([(ours, 7)]));
        assert_eq!(scan.begin(6), 8, "it goes on");

        // Blocks 7 and 8 were replaced before block 9 was asked for.
        assert!(!scan.take(9, &json!("b9"), &block("b8", &[]), &wanted));
        assert_eq!((scan.begin(6), scan.found.len()), (6, 0));
        assert!(scan.take(7, &json!("b7"), &block("a6", &[]), &wanted));
        assert!(scan.take(8, &json!("b8"), &block("b7", &[ours]), &wanted));
        assert_eq!(scan.found, BTreeMap::from([(ours, 8)]));
    }

    #[test]
    fn blocks_that_can_hold_nothing_wanted_are_passed_over() {
        let mut scan = Scan::default();
        assert!(scan.take(7, &json!("a7"), &block("a6", &[]), &BTreeSet::new()));
        assert_eq!(scan.begin(9_000), 9_000);
        assert!(scan.take(9_001, &json!("a9001"), &block("a9000", &[]), &BTreeSet::new()));
    }
}
