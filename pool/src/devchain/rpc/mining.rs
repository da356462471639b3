//! `getblocktemplate`, `submitblock`, `getmininginfo`, and an operator's verdicts.

use std::collections::HashMap;

use bitcoin::hashes::Hash as _;
use bitcoin::{Block, Target, Txid};
use serde_json::{Value, json};

use super::super::chain::DevChain;
use super::super::context::{COMMITMENT_HEAD, commitment};
use super::super::decode;
use super::super::mempool::Waiting;
use super::super::{ADJUSTMENT_INTERVAL, MAX_BLOCK_WEIGHT, MAX_SIGOPS_COST, subsidy};
use super::{
    Args, DESERIALIZATION, INVALID_PARAMETER, NOT_FOUND, RpcError, WRONG_TYPE, difficulty, shown,
    wrong_type,
};

/// The version that new blocks should carry.
const VERSION: u32 = 0x2000_0000;
/// Seconds by which an adjustment block may be earlier than its parent (BIP 94).
const MAX_TIMEWARP: u32 = 600;

impl DevChain {
    pub(super) fn get_block_template(&mut self, args: Args<'_>) -> Result<Value, RpcError> {
        let request = args.required(0, "template_request")?;
        if !request.is_object() {
            return Err(wrong_type(request, "object"));
        }
        match request.get("mode") {
            None | Some(Value::Null) => {}
            Some(Value::String(mode)) if mode == "template" => {}
            Some(Value::String(mode)) if mode == "proposal" => return self.proposal(request),
            Some(_) => return Err(RpcError::new(INVALID_PARAMETER, "Invalid mode")),
        }
        let rules = request.get("rules").and_then(Value::as_array);
        if !rules.is_some_and(|rules| rules.iter().any(|rule| rule == "segwit")) {
            let message = "getblocktemplate must be called with the segwit rule set \
                           (call with {\"rules\": [\"segwit\"]})";
            return Err(RpcError::new(INVALID_PARAMETER, message));
        }
        Ok(self.template())
    }

    pub(super) fn submit_block(&mut self, args: Args<'_>) -> Result<Value, RpcError> {
        let block = read_block(args.text(0, "hexdata")?)?;
        let height = self.tip().0;
        let submission = self.submit(block)?;
        let reason = submission.reason();
        tracing::debug!(height, reason, "submitblock");
        Ok(json!(reason))
    }

    pub(super) fn mining_info(&self) -> Value {
        let (height, _) = self.tip();
        let tip = self.tip_entry();
        let bits = self.offered_bits();
        let target = Target::from_compact(bitcoin::CompactTarget::from_consensus(bits));
        json!({
            "blocks": height,
            "bits": format!("{:08x}", tip.header.bits.to_consensus()),
            "difficulty": difficulty(tip.header.bits.to_consensus()),
            "target": format!("{:064x}", tip.header.target()),
            "pooledtx": self.mempool.iter().count(),
            "chain": "regtest",
            "next": {
                "height": height + 1,
                "bits": format!("{bits:08x}"),
                "difficulty": difficulty(bits),
                "target": format!("{target:064x}"),
            },
            "warnings": [],
        })
    }

    pub(super) fn invalidate_block(&mut self, args: Args<'_>) -> Result<Value, RpcError> {
        let hash = args.hash(0, "blockhash")?;
        if self.invalidate(&hash)? { Ok(Value::Null) } else { Err(no_block()) }
    }

    pub(super) fn reconsider_block(&mut self, args: Args<'_>) -> Result<Value, RpcError> {
        let hash = args.hash(0, "blockhash")?;
        if self.reconsider(&hash)? { Ok(Value::Null) } else { Err(no_block()) }
    }

    pub(super) fn precious_block(&mut self, args: Args<'_>) -> Result<Value, RpcError> {
        let hash = args.hash(0, "blockhash")?;
        if self.prefer(&hash)? { Ok(Value::Null) } else { Err(no_block()) }
    }

    fn proposal(&mut self, request: &Value) -> Result<Value, RpcError> {
        let Some(data) = request.get("data").and_then(Value::as_str) else {
            return Err(RpcError::new(WRONG_TYPE, "Missing data String key for proposal"));
        };
        let block = read_block(data)?;
        Ok(json!(self.propose(&block)))
    }

    fn template(&self) -> Value {
        let tip = self.tip_entry();
        let height = tip.height + 1;
        let mut min_time = tip.median_time + 1;
        if height.is_multiple_of(ADJUSTMENT_INTERVAL) {
            min_time = min_time.max(tip.header.time.saturating_sub(MAX_TIMEWARP));
        }
        let clock = u32::try_from(self.now().unix.seconds()).unwrap_or(u32::MAX);
        let bits = self.offered_bits();
        let target = Target::from_compact(bitcoin::CompactTarget::from_consensus(bits));
        let fees: u64 = self.mempool.iter().map(|waiting| waiting.fee).sum();
        json!({
            "capabilities": ["proposal"],
            "version": VERSION,
            "rules": ["csv", "!segwit", "taproot"],
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": shown(tip.hash),
            "transactions": self.template_transactions(),
            "coinbaseaux": {},
            "coinbasevalue": subsidy(height) + fees,
            "longpollid": self.pulse().id(),
            "target": format!("{target:064x}"),
            "mintime": min_time,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "sigoplimit": MAX_SIGOPS_COST,
            "sizelimit": MAX_BLOCK_WEIGHT,
            "weightlimit": MAX_BLOCK_WEIGHT,
            "curtime": clock.max(min_time),
            "bits": format!("{bits:08x}"),
            "height": height,
            "default_witness_commitment": hex::encode(self.commitment_script()),
        })
    }

    fn template_transactions(&self) -> Vec<Value> {
        let places: HashMap<Txid, usize> =
            self.mempool.iter().zip(1..).map(|(waiting, place)| (waiting.txid, place)).collect();
        self.mempool.iter().map(|waiting| template_transaction(waiting, &places)).collect()
    }

    fn commitment_script(&self) -> Vec<u8> {
        let wtxids = self.mempool.iter().map(|waiting| waiting.wtxid.to_byte_array());
        let mut script = COMMITMENT_HEAD.to_vec();
        script.extend_from_slice(&commitment(wtxids, &[0; 32]));
        script
    }
}

fn template_transaction(waiting: &Waiting, places: &HashMap<Txid, usize>) -> Value {
    let inputs = waiting.tx.input.iter();
    let depends: Vec<_> =
        inputs.filter_map(|input| places.get(&input.previous_output.txid)).collect();
    json!({
        "data": bitcoin::consensus::encode::serialize_hex(&waiting.tx),
        "txid": shown(waiting.txid),
        "hash": shown(waiting.wtxid),
        "depends": depends,
        "fee": waiting.fee,
        "sigops": waiting.sigops,
        "weight": waiting.weight,
    })
}

fn read_block(text: &str) -> Result<Block, RpcError> {
    hex::decode(text)
        .ok()
        .and_then(|bytes| decode::block(&bytes).ok())
        .ok_or_else(|| RpcError::new(DESERIALIZATION, "Block decode failed"))
}

fn no_block() -> RpcError {
    RpcError::new(NOT_FOUND, "Block not found")
}
