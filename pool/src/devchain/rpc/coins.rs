//! What is asked about outputs and transactions.

use std::collections::HashSet;

use bitcoin::consensus::encode::deserialize;
use bitcoin::{Address, Amount, Network, OutPoint, Script, ScriptBuf, Transaction};
use serde_json::{Value, json};

use super::super::chain::DevChain;
use super::super::coins::Coin;
use super::{
    Args, DESERIALIZATION, IN_CHAIN, INVALID_PARAMETER, MISC, NOT_FOUND, REJECTED, RpcError,
    VERIFY, parse_hash, shown, wrong_type,
};

impl DevChain {
    pub(super) fn raw_mempool(&self, args: Args<'_>) -> Result<Value, RpcError> {
        if !args.flag(0, false)? {
            return Ok(self.mempool.iter().map(|waiting| shown(waiting.txid)).collect());
        }
        let details = self.mempool.iter().map(|waiting| {
            let entry = json!({
                "vsize": waiting.weight.div_ceil(4),
                "weight": waiting.weight,
                "wtxid": shown(waiting.wtxid),
                "fees": {"base": Amount::from_sat(waiting.fee).to_btc()},
            });
            (waiting.txid.to_string(), entry)
        });
        Ok(Value::Object(details.collect()))
    }

    pub(super) fn tx_out(&self, args: Args<'_>) -> Result<Value, RpcError> {
        let txid = parse_hash(args.text(0, "txid")?, "txid")?;
        let vout = u32::try_from(args.number(1, "n")?)
            .map_err(|_| RpcError::new(INVALID_PARAMETER, "n is out of range"))?;
        let point = OutPoint { txid, vout };
        let (height, best) = self.tip();
        let mut coin = self.coins.get(&point).cloned();
        if args.flag(2, true)? {
            coin = coin.or_else(|| self.mempool.coin(&point, height + 1));
            coin = coin.filter(|_| !self.mempool.is_spent(&point));
        }
        let Some(coin) = coin else { return Ok(Value::Null) };
        Ok(json!({
            "bestblock": shown(best),
            "confirmations": (height + 1).saturating_sub(coin.height),
            "value": coin.output.value.to_btc(),
            "scriptPubKey": script_json(&coin.output.script_pubkey),
            "coinbase": coin.coinbase,
        }))
    }

    pub(super) fn scan_tx_out_set(&self, args: Args<'_>) -> Result<Value, RpcError> {
        match args.text(0, "action")? {
            "start" => {}
            "status" => return Ok(Value::Null),
            "abort" => return Ok(json!(false)),
            other => {
                let message = format!("Invalid action '{other}'");
                return Err(RpcError::new(INVALID_PARAMETER, message));
            }
        }
        let Some(objects) = args.optional(1) else {
            let message = "scanobjects argument is required for the start action";
            return Err(RpcError::new(MISC, message));
        };
        let objects = objects.as_array().ok_or_else(|| wrong_type(objects, "array"))?;
        let needles: HashSet<ScriptBuf> = objects.iter().map(needle).collect::<Result<_, _>>()?;
        let mut found: Vec<(&OutPoint, &Coin)> =
            self.coins.iter().filter(|(_, c)| needles.contains(&c.output.script_pubkey)).collect();
        found.sort_by_key(|(point, _)| **point);
        let total: Amount = found.iter().map(|(_, coin)| coin.output.value).sum();
        let (height, best) = self.tip();
        let unspents: Vec<_> =
            found.into_iter().map(|(point, coin)| self.unspent_json(point, coin)).collect();
        Ok(json!({
            "success": true,
            "txouts": self.coins.len(),
            "height": height,
            "bestblock": shown(best),
            "unspents": unspents,
            "total_amount": total.to_btc(),
        }))
    }

    pub(super) fn send_raw_transaction(&mut self, args: Args<'_>) -> Result<Value, RpcError> {
        let bytes = hex::decode(args.text(0, "hexstring")?).ok();
        let tx = bytes.and_then(|bytes| deserialize::<Transaction>(&bytes).ok());
        let Some(tx) = tx else {
            let message = "TX decode failed. Make sure the tx has at least one input.";
            return Err(RpcError::new(DESERIALIZATION, message));
        };
        let txid = tx.compute_txid();
        let point = |vout| OutPoint { txid, vout };
        if (0_u32..).zip(&tx.output).any(|(vout, _)| self.coins.get(&point(vout)).is_some()) {
            return Err(RpcError::new(IN_CHAIN, "Transaction outputs already in utxo set"));
        }
        if self.mempool.contains(&txid) {
            // The call may be repeated.
            return Ok(shown(txid));
        }
        self.accept_transaction(tx).map(shown).map_err(|reject| {
            let code = match reject.reason.as_ref() {
                "bad-txns-inputs-missingorspent" => VERIFY,
                _ => REJECTED,
            };
            RpcError::new(code, reject.reason)
        })
    }

    fn unspent_json(&self, point: &OutPoint, coin: &Coin) -> Value {
        let block = self.at_height(coin.height).map(|id| self.index.entry(id).hash);
        let script = hex::encode(coin.output.script_pubkey.as_bytes());
        json!({
            "txid": shown(point.txid),
            "vout": point.vout,
            "scriptPubKey": script,
            "desc": format!("raw({script})"),
            "amount": coin.output.value.to_btc(),
            "coinbase": coin.coinbase,
            "height": coin.height,
            "blockhash": block.map(shown),
            "confirmations": (self.tip().0 + 1).saturating_sub(coin.height),
        })
    }
}

/// An output script as Core shows it, but for the readable forms.
pub(super) fn script_json(script: &Script) -> Value {
    let kind = if script.is_p2pkh() {
        "pubkeyhash"
    } else if script.is_p2sh() {
        "scripthash"
    } else if script.is_p2wpkh() {
        "witness_v0_keyhash"
    } else if script.is_p2wsh() {
        "witness_v0_scripthash"
    } else if script.is_p2tr() {
        "witness_v1_taproot"
    } else if script.is_witness_program() {
        "witness_unknown"
    } else if script.is_op_return() {
        "nulldata"
    } else if script.is_p2pk() {
        "pubkey"
    } else {
        "nonstandard"
    };
    let mut answer = json!({
        "hex": hex::encode(script.as_bytes()),
        "type": kind,
    });
    if let Ok(address) = Address::from_script(script, Network::Regtest) {
        answer["address"] = json!(address.to_string());
    }
    answer
}

/// A script to look for: `addr(ADDRESS)` or `raw(HEX)`, with or without a checksum, alone or as
/// an object's `desc`.
fn needle(object: &Value) -> Result<ScriptBuf, RpcError> {
    let text = object.as_str().or_else(|| object.get("desc").and_then(Value::as_str));
    let text = text.ok_or_else(|| wrong_type(object, "string"))?;
    let bare = text.split_once('#').map_or(text, |(bare, _)| bare);
    let inner = |name: &str| bare.strip_prefix(name)?.strip_suffix(')');
    let script = if let Some(address) = inner("addr(") {
        let parsed = address.parse::<Address<_>>().ok();
        let checked = parsed.and_then(|address| address.require_network(Network::Regtest).ok());
        checked.map(|address| address.script_pubkey())
    } else {
        inner("raw(").and_then(|bytes| hex::decode(bytes).ok()).map(ScriptBuf::from_bytes)
    };
    script.ok_or_else(|| {
        let message = format!("'{text}' is not addr(ADDRESS) or raw(HEX) of this chain");
        RpcError::new(NOT_FOUND, message)
    })
}
