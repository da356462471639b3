//! What is asked about blocks and the chain.

use bitcoin::{Block, consensus::encode::serialize_hex};
use serde_json::{Map, Value, json};

use super::super::chain::DevChain;
use super::super::index::Id;
use super::super::subsidy;
use super::{Args, INVALID_PARAMETER, MISC, NOT_FOUND, RpcError, difficulty, shown, wrong_type};

impl DevChain {
    pub(super) fn block_hash_at(&self, args: Args<'_>) -> Result<Value, RpcError> {
        let height = args.number(0, "height")?;
        u32::try_from(height)
            .ok()
            .and_then(|height| self.at_height(height))
            .map(|id| shown(self.index.entry(id).hash))
            .ok_or_else(|| RpcError::new(INVALID_PARAMETER, "Block height out of range"))
    }

    pub(super) fn block_header(&self, args: Args<'_>) -> Result<Value, RpcError> {
        let id = self.find(args, "hash")?;
        if args.flag(1, true)? {
            return Ok(Value::Object(self.header_json(id)));
        }
        Ok(json!(serialize_hex(&self.index.entry(id).header)))
    }

    pub(super) fn get_block(&self, args: Args<'_>) -> Result<Value, RpcError> {
        let id = self.find(args, "blockhash")?;
        let verbosity = match args.optional(1) {
            None => 1,
            Some(Value::Bool(verbose)) => i64::from(*verbose),
            Some(value) => value.as_i64().ok_or_else(|| wrong_type(value, "number"))?,
        };
        let Some(block) = self.block(id)? else {
            return Err(RpcError::new(MISC, "Block not available (not fully downloaded)"));
        };
        if verbosity <= 0 {
            return Ok(json!(serialize_hex(&block)));
        }
        let mut answer = self.header_json(id);
        let stripped = (block.weight().to_wu() - as_u64(block.total_size())) / 3;
        answer.insert("strippedsize".to_owned(), json!(stripped));
        answer.insert("size".to_owned(), json!(block.total_size()));
        answer.insert("weight".to_owned(), json!(block.weight().to_wu()));
        answer.insert("tx".to_owned(), transactions(&block, verbosity));
        Ok(Value::Object(answer))
    }

    /// What the pool asks of a block's statistics. The fees are those that its coinbase took, which
    /// may be fewer than its transactions paid.
    pub(super) fn block_stats(&self, args: Args<'_>) -> Result<Value, RpcError> {
        let id = if args.required(0, "hash_or_height")?.is_number() {
            let height = u32::try_from(args.number(0, "hash_or_height")?).ok();
            let out_of_range =
                || RpcError::new(INVALID_PARAMETER, "Target block height out of range");
            height.and_then(|height| self.at_height(height)).ok_or_else(out_of_range)?
        } else {
            self.find(args, "hash_or_height")?
        };
        let Some(block) = self.block(id)? else {
            return Err(RpcError::new(MISC, "Block not available (not fully downloaded)"));
        };
        let height = self.index.entry(id).height;
        let taken = block.txdata.first().map_or(0, |coinbase| {
            coinbase.output.iter().map(|output| output.value.to_sat()).sum::<u64>()
        });
        Ok(json!({
            "blockhash": shown(self.index.entry(id).hash),
            "height": height,
            "subsidy": subsidy(height),
            "totalfee": taken.saturating_sub(subsidy(height)),
            "txs": block.txdata.len(),
        }))
    }

    pub(super) fn blockchain_info(&self) -> Value {
        let tip = self.tip_entry();
        json!({
            "chain": "regtest",
            "blocks": tip.height,
            "headers": tip.height,
            "bestblockhash": shown(tip.hash),
            "bits": format!("{:08x}", tip.header.bits.to_consensus()),
            "target": format!("{:064x}", tip.header.target()),
            "difficulty": difficulty(tip.header.bits.to_consensus()),
            "time": tip.header.time,
            "mediantime": tip.median_time,
            "verificationprogress": 1.0,
            "initialblockdownload": false,
            "chainwork": format!("{:064x}", tip.work),
            "size_on_disk": self.size_on_disk(),
            "pruned": false,
            "warnings": [],
        })
    }

    /// The block that the first argument, called `name`, is the hash of.
    fn find(&self, args: Args<'_>, name: &str) -> Result<Id, RpcError> {
        let hash = args.hash(0, name)?;
        self.index.find(&hash).ok_or_else(|| RpcError::new(NOT_FOUND, "Block not found"))
    }

    fn header_json(&self, id: Id) -> Map<String, Value> {
        let entry = self.index.entry(id);
        let header = &entry.header;
        let active = self.is_active(id);
        let confirmations =
            if active { i64::from(self.tip().0) - i64::from(entry.height) + 1 } else { -1 };
        let version = header.version.to_consensus();
        let mut answer = Map::new();
        let mut put = |key: &str, value: Value| answer.insert(key.to_owned(), value);
        put("hash", shown(entry.hash));
        put("confirmations", json!(confirmations));
        put("height", json!(entry.height));
        put("version", json!(version));
        put("versionHex", json!(format!("{:08x}", version.cast_unsigned())));
        put("merkleroot", shown(header.merkle_root));
        put("time", json!(header.time));
        put("mediantime", json!(entry.median_time));
        put("nonce", json!(header.nonce));
        put("bits", json!(format!("{:08x}", header.bits.to_consensus())));
        put("target", json!(format!("{:064x}", header.target())));
        put("difficulty", json!(difficulty(header.bits.to_consensus())));
        put("chainwork", json!(format!("{:064x}", entry.work)));
        put("nTx", json!(entry.tx_count));
        if entry.parent.is_some() {
            put("previousblockhash", shown(header.prev_blockhash));
        }
        let next = entry.height.checked_add(1).filter(|_| active);
        if let Some(next) = next.and_then(|height| self.at_height(height)) {
            put("nextblockhash", shown(self.index.entry(next).hash));
        }
        answer
    }
}

/// Ids at verbosity 1; ids, sizes and outputs above.
fn transactions(block: &Block, verbosity: i64) -> Value {
    if verbosity == 1 {
        return block.txdata.iter().map(|tx| shown(tx.compute_txid())).collect();
    }
    let details = |tx: &bitcoin::Transaction| {
        let vin: Vec<_> = tx.input.iter().map(|input| input_json(tx, input)).collect();
        let vout: Vec<_> = (0_u32..).zip(&tx.output).map(output_json).collect();
        json!({
            "txid": shown(tx.compute_txid()),
            "hash": shown(tx.compute_wtxid()),
            "version": tx.version.0,
            "size": tx.total_size(),
            "vsize": tx.vsize(),
            "weight": tx.weight().to_wu(),
            "locktime": tx.lock_time.to_consensus_u32(),
            "vin": vin,
            "vout": vout,
            "hex": serialize_hex(tx),
        })
    };
    block.txdata.iter().map(details).collect()
}

fn input_json(tx: &bitcoin::Transaction, input: &bitcoin::TxIn) -> Value {
    let sequence = input.sequence.to_consensus_u32();
    let witness: Vec<_> = input.witness.iter().map(hex::encode).collect();
    if tx.is_coinbase() {
        let script = hex::encode(input.script_sig.as_bytes());
        return json!({"coinbase": script, "txinwitness": witness, "sequence": sequence});
    }
    json!({
        "txid": shown(input.previous_output.txid),
        "vout": input.previous_output.vout,
        "scriptSig": {"hex": hex::encode(input.script_sig.as_bytes())},
        "txinwitness": witness,
        "sequence": sequence,
    })
}

fn output_json((n, output): (u32, &bitcoin::TxOut)) -> Value {
    json!({
        "value": output.value.to_btc(),
        "n": n,
        "scriptPubKey": super::coins::script_json(&output.script_pubkey),
    })
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
