//! Bitcoin Core's JSON-RPC methods over a [`DevChain`], with Core's answers and error codes.
//!
//! [`DevChain::call`] is the door. `mining` holds templates and submissions, `blocks` what is
//! asked about blocks, `coins` what is asked about outputs and transactions. Calls that wait for
//! something (the long poll, `waitfornewblock`) wait in [`super::server`], not here.

mod blocks;
mod coins;
mod mining;

use bitcoin::BlockHash;
use serde_json::{Value, json};

use super::chain::DevChain;
use super::store::StoreError;

/// A refused call: Bitcoin Core's code and words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error {code}: {message}")]
pub struct RpcError {
    /// One of Bitcoin Core's `RPC_*` codes.
    pub code: i64,
    /// What is wrong.
    pub message: String,
}

/// `RPC_MISC_ERROR`, which is also Core's code for a wrong number of arguments.
pub(super) const MISC: i64 = -1;
/// `RPC_TYPE_ERROR`.
pub(super) const WRONG_TYPE: i64 = -3;
/// `RPC_INVALID_ADDRESS_OR_KEY`.
pub(super) const NOT_FOUND: i64 = -5;
/// `RPC_INVALID_PARAMETER`.
pub(super) const INVALID_PARAMETER: i64 = -8;
/// `RPC_CLIENT_NOT_CONNECTED`, which a long poll gets at shutdown.
pub(super) const NOT_CONNECTED: i64 = -9;
/// `RPC_DATABASE_ERROR`.
pub(super) const DATABASE: i64 = -20;
/// `RPC_DESERIALIZATION_ERROR`.
pub(super) const DESERIALIZATION: i64 = -22;
/// `RPC_VERIFY_ERROR`.
pub(super) const VERIFY: i64 = -25;
/// `RPC_VERIFY_REJECTED`.
pub(super) const REJECTED: i64 = -26;
/// `RPC_VERIFY_ALREADY_IN_UTXO_SET`.
pub(super) const IN_CHAIN: i64 = -27;
/// `RPC_INVALID_REQUEST`.
pub(super) const INVALID_REQUEST: i64 = -32_600;
/// `RPC_METHOD_NOT_FOUND`.
pub(super) const METHOD_NOT_FOUND: i64 = -32_601;
/// `RPC_PARSE_ERROR`.
pub(super) const PARSE: i64 = -32_700;

impl RpcError {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        Self::new(DATABASE, error.to_string())
    }
}

impl DevChain {
    /// Answers one call, now. `getblocktemplate` with a long poll id and
    /// `waitfornewblock` answer at once.
    ///
    /// # Errors
    /// Core's code and words for what it would refuse.
    pub fn call(&mut self, method: &str, params: &[Value]) -> Result<Value, RpcError> {
        let args = Args(params);
        match method {
            "getblocktemplate" => self.get_block_template(args),
            "submitblock" => self.submit_block(args),
            "getmininginfo" => Ok(self.mining_info()),
            "invalidateblock" => self.invalidate_block(args),
            "reconsiderblock" => self.reconsider_block(args),
            "preciousblock" => self.precious_block(args),
            "waitfornewblock" => Ok(self.tip_json()),
            "getbestblockhash" => Ok(shown(self.tip().1)),
            "getblockcount" => Ok(json!(self.tip().0)),
            "getblockhash" => self.block_hash_at(args),
            "getblockheader" => self.block_header(args),
            "getblock" => self.get_block(args),
            "getblockstats" => self.block_stats(args),
            "getblockchaininfo" => Ok(self.blockchain_info()),
            "getrawmempool" => self.raw_mempool(args),
            "gettxout" => self.tx_out(args),
            "scantxoutset" => self.scan_tx_out_set(args),
            "sendrawtransaction" => self.send_raw_transaction(args),
            _ => Err(RpcError::new(METHOD_NOT_FOUND, "Method not found")),
        }
    }

    fn tip_json(&self) -> Value {
        let (height, hash) = self.tip();
        json!({"hash": shown(hash), "height": height})
    }
}

/// Positional parameters; a missing one and a null are the same.
#[derive(Debug, Clone, Copy)]
struct Args<'a>(&'a [Value]);

impl<'a> Args<'a> {
    fn optional(self, index: usize) -> Option<&'a Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    fn required(self, index: usize, name: &str) -> Result<&'a Value, RpcError> {
        self.optional(index).ok_or_else(|| {
            RpcError::new(MISC, format!("argument {} '{name}' is missing", index + 1))
        })
    }

    fn text(self, index: usize, name: &str) -> Result<&'a str, RpcError> {
        let value = self.required(index, name)?;
        value.as_str().ok_or_else(|| wrong_type(value, "string"))
    }

    fn number(self, index: usize, name: &str) -> Result<i64, RpcError> {
        let value = self.required(index, name)?;
        value.as_i64().ok_or_else(|| wrong_type(value, "number"))
    }

    fn flag(self, index: usize, default: bool) -> Result<bool, RpcError> {
        let Some(value) = self.optional(index) else { return Ok(default) };
        value.as_bool().ok_or_else(|| wrong_type(value, "bool"))
    }

    fn hash(self, index: usize, name: &str) -> Result<BlockHash, RpcError> {
        parse_hash(self.text(index, name)?, name)
    }
}

/// A hash or an id in the order in which people write it.
pub(super) fn shown(hash: impl ToString) -> Value {
    Value::String(hash.to_string())
}

/// The difficulty of compact `bits`, to the sixteen digits that Core shows (`GetDifficulty`).
pub(super) fn difficulty(bits: u32) -> f64 {
    const ONE: i32 = 29;
    let [exponent, mantissa @ ..] = bits.to_be_bytes();
    let [high, middle, low] = mantissa;
    let mantissa = f64::from(u32::from_be_bytes([0, high, middle, low]));
    let exact = f64::from(0xffff_u16) / mantissa * 256_f64.powi(ONE - i32::from(exponent));
    format!("{exact:.15e}").parse().unwrap_or(exact)
}

/// A block hash or a transaction id, in Core's words where it is neither.
pub(super) fn parse_hash<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, RpcError> {
    if text.len() != 64 {
        let message = format!("{name} must be of length 64 (not {}, for '{text}')", text.len());
        return Err(RpcError::new(INVALID_PARAMETER, message));
    }
    text.parse().map_err(|_| {
        let message = format!("{name} must be hexadecimal string (not '{text}')");
        RpcError::new(INVALID_PARAMETER, message)
    })
}

pub(super) fn wrong_type(value: &Value, expected: &str) -> RpcError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let message = format!("JSON value of type {found} is not of expected type {expected}");
    RpcError::new(WRONG_TYPE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_have_cores_digits() {
        for (bits, shown) in [
            (0x207f_ffff, "4.656542373906925e-10"),
            (0x1d00_ffff, "1.0"),
            (0x1b04_04cb, "16307.42093852398"),
        ] {
            assert_eq!(json!(difficulty(bits)).to_string(), shown, "{bits:08x}");
        }
    }
}
