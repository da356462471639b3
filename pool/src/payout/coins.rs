//! The pool's coins, as the node's set of unspent outputs has them, with the transactions that
//! they come from: `scantxoutset` needs no wallet and no index, and takes a minute or two on the
//! main chain.
//!
//! Only coins that can be counted on are taken: coinbases that are mature, and change that is as
//! deep as a paid payout. The greatest come first, and no more than are needed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bdk_wallet::chain::BlockId;
use bitcoin::{
    Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid, consensus::encode::deserialize_hex,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::order::{PayoutError, refused};
use super::wallet::{Coin, Purse};
use crate::node::NodeClient;

/// The longest that the node may look through its unspent outputs.
const SCAN_LIMIT: Duration = Duration::from_secs(900);
/// Blocks from a coinbase to the tip, both counted, before its coins can be spent.
const MATURE: u32 = 100;
/// Most coins that one transaction is chosen from.
const COINS_MAX: usize = 400;
/// Bitcoin Core's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32_601;

#[derive(Debug, Deserialize)]
struct Scan {
    height: u32,
    bestblock: BlockHash,
    unspents: Vec<Unspent>,
}

#[derive(Debug, Deserialize)]
struct Unspent {
    txid: Txid,
    vout: u32,
    amount: f64,
    height: u32,
    #[serde(default)]
    coinbase: bool,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Need<'a> {
    pub(super) scripts: &'a [ScriptBuf],
    /// Satoshis that are to be spent, with a good allowance for fees.
    pub(super) sats: u64,
    /// Depth from which on change may be spent.
    pub(super) confirmations: u32,
    /// Coins to be there whatever they are worth.
    pub(super) must: &'a [OutPoint],
    /// Coins of other payouts.
    pub(super) taken: &'a [OutPoint],
}

/// Finds coins worth at least what is needed, where there are such.
pub(super) async fn gather(node: &NodeClient, need: &Need<'_>) -> Result<Purse, PayoutError> {
    let objects: Vec<Value> = need
        .scripts
        .iter()
        .map(|script| json!(format!("raw({})", script.to_hex_string())))
        .collect();
    let found = node.call_within("scantxoutset", json!(["start", objects]), SCAN_LIMIT).await?;
    let Scan { height, bestblock, mut unspents } = serde_json::from_value(found)
        .map_err(|error| refused(format!("the node's scantxoutset: {error}")))?;
    let taken: HashSet<&OutPoint> = need.taken.iter().collect();
    let must: HashSet<&OutPoint> = need.must.iter().collect();
    let point = |coin: &Unspent| OutPoint { txid: coin.txid, vout: coin.vout };
    unspents.retain(|coin| {
        let depth = (height + 1).saturating_sub(coin.height);
        let least = if coin.coinbase { MATURE } else { need.confirmations };
        must.contains(&point(coin)) || (depth >= least && !taken.contains(&point(coin)))
    });
    unspents.sort_by(|a, b| {
        let first = |coin: &Unspent| must.contains(&point(coin));
        first(b).cmp(&first(a)).then(b.amount.total_cmp(&a.amount)).then(a.txid.cmp(&b.txid))
    });
    let (mut coins, mut sum) = (Vec::new(), 0_u64);
    for coin in unspents.iter().take(COINS_MAX) {
        if sum >= need.sats && !must.contains(&point(coin)) {
            break;
        }
        let (transaction, block) = transaction(node, coin).await?;
        let output = usize::try_from(coin.vout).ok().and_then(|vout| transaction.output.get(vout));
        let output = output.ok_or_else(|| refused(format!("{}: no such output", coin.txid)))?;
        sum = sum.saturating_add(output.value.to_sat());
        coins.push(Coin { outpoint: point(coin), transaction: Arc::new(transaction), block });
    }
    Ok(Purse { coins, tip: BlockId { height, hash: bestblock } })
}

/// The whole transaction that a coin is an output of, and its block.
async fn transaction(
    node: &NodeClient,
    coin: &Unspent,
) -> Result<(Transaction, BlockId), PayoutError> {
    let unread = |why: String| refused(format!("the transaction {}: {why}", coin.txid));
    let hash = node.call("getblockhash", json!([coin.height])).await?;
    let block: BlockHash =
        serde_json::from_value(hash.clone()).map_err(|error| unread(error.to_string()))?;
    let params = json!([coin.txid.to_string(), false, hash]);
    let found: Transaction = match node.call("getrawtransaction", params).await {
        Ok(text) => deserialize_hex(text.as_str().unwrap_or_default())
            .map_err(|error| unread(error.to_string()))?,
        Err(error) if error.rpc_code() == Some(METHOD_NOT_FOUND) => {
            let text = node.call("getblock", json!([hash, 0])).await?;
            let whole: Block = deserialize_hex(text.as_str().unwrap_or_default())
                .map_err(|error| unread(error.to_string()))?;
            let mut transactions = whole.txdata.into_iter();
            transactions
                .find(|tx| tx.compute_txid() == coin.txid)
                .ok_or_else(|| unread("it is not in its block".to_owned()))?
        }
        Err(error) => return Err(error.into()),
    };
    if found.compute_txid() != coin.txid {
        return Err(unread("the node gave another one".to_owned()));
    }
    Ok((found, BlockId { height: coin.height, hash: block }))
}
