//! Which transactions of payouts are in blocks of the best chain, by looking through the blocks:
//! a node without an index of transactions cannot be asked for one whose outputs are spent again.
//!
//! A look goes on where the last one ended, and begins anew where the chain no longer has the
//! block that it ended with. It deliberately remembers nothing over a restart: the ledger knows
//! from which height on each payout can be in a block.

use std::collections::{BTreeMap, BTreeSet};

use ledger::PayoutTxid;
use serde_json::json;

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
    /// Looks through the blocks from after height `from` on for these transactions. True when the
    /// look has reached the tip at `tip`.
    pub(super) async fn look(
        &mut self,
        node: &NodeClient,
        wanted: &BTreeSet<PayoutTxid>,
        from: u32,
        tip: u32,
    ) -> Result<bool, NodeError> {
        if !self.is_on_chain(node).await? {
            (self.end, self.found) = (None, BTreeMap::new());
        }
        let mut height = self.end.as_ref().map_or(from, |(height, _)| *height);
        let last = tip.min(height.saturating_add(BLOCKS_AT_ONCE));
        while height < last {
            height += 1;
            let hash = node.call("getblockhash", json!([height])).await?;
            let block = node.call("getblock", json!([hash, 1])).await?;
            for txid in
                block["tx"].as_array().into_iter().flatten().filter_map(|id| parse(id.as_str()?))
            {
                if wanted.contains(&txid) {
                    self.found.insert(txid, height);
                }
            }
            self.end = Some((height, hash.as_str().unwrap_or_default().to_owned()));
        }
        Ok(height >= tip)
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
