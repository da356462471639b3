//! `getblocktemplate`'s answer, parsed once into types.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use defences::{Defence, stands};
use serde::Deserialize;
use stratum::job::sha256d;
use units::{Sats, Target, TargetError};

/// Most transactions that a block can hold: 4,000,000 weight units, 240 at the least for each.
const MAX_TRANSACTIONS: usize = 16_667;

/// What the node would like to see mined. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The header's version field.
    pub version: u32,
    /// Bits of the version that must stay as they are (BIP 9's `vbrequired`).
    pub vb_required: u32,
    /// Height of the block to be found.
    pub height: u32,
    /// The parent's hash, internal byte order.
    pub prev_hash: [u8; 32],
    /// The header's compact target.
    pub bits: u32,
    /// The same target, expanded.
    pub target: Target,
    /// The target as the node says it besides; it must be the same.
    pub said_target: Option<Target>,
    /// The time to put into the header now.
    pub cur_time: u32,
    /// The earliest time that the header may carry.
    pub min_time: u32,
    /// Subsidy and fees: the most that the coinbase may pay.
    pub coinbase_value: Sats,
    /// The fees in it, where the node says them of every transaction.
    pub fees: Option<Sats>,
    /// What the transactions besides the coinbase weigh, where the node says it of every one.
    pub weight: Option<u64>,
    /// Transactions besides the coinbase, in order.
    pub transactions: Vec<TemplateTransaction>,
    /// The script of the witness commitment's output, for exactly these transactions.
    pub witness_commitment: Option<Vec<u8>>,
    /// Names this template in the next long poll.
    pub longpollid: String,
    /// What may be changed: `time`, `transactions`, `prevblock` and others of BIP 22 and 23.
    pub mutable: Vec<String>,
}

/// A transaction to be included as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateTransaction {
    /// Serialized with its witness.
    pub data: Arc<[u8]>,
    /// Its id as the node says, internal byte order: a leaf of the merkle tree.
    pub txid: [u8; 32],
    /// The hash of `data`, internal byte order: a leaf of the witnesses' tree (BIP 141).
    pub wtxid: [u8; 32],
}

impl TemplateTransaction {
    /// A transaction, which the node calls by this id.
    #[must_use]
    pub fn new(data: Arc<[u8]>, txid: [u8; 32]) -> Self {
        Self { wtxid: sha256d(&data), data, txid }
    }
}

/// A template that cannot be mined; the message names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Missing, or of the wrong type.
    #[error("template: {0}")]
    Shape(String),
    /// A field whose hex does not read.
    #[error("template: field '{field}' is not {expected}")]
    Hex {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A number out of its range.
    #[error("template: field '{field}' is {value}, which is out of range")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// `bits` is no target.
    #[error("template: field 'bits': {0}")]
    Bits(#[from] TargetError),
    /// A field that cannot be true.
    #[error("template: field '{field}' cannot be true: {why}")]
    Untrue {
        /// The field.
        field: &'static str,
        /// What shows it.
        why: String,
    },
    /// More transactions than a block can hold.
    #[error("template: {0} transactions are more than a block holds")]
    TooMany(usize),
}

impl Template {
    /// Holds the transactions that it has in common with an earlier template only once: those of
    /// one tip differ by few, and many are kept while shares may come for them.
    pub fn share_with(&mut self, earlier: &Self) {
        let known: HashMap<[u8; 32], &Arc<[u8]>> =
            earlier.transactions.iter().map(|one| (one.wtxid, &one.data)).collect();
        for one in &mut self.transactions {
            // Equal hashes are equal bytes; to look at the bytes would be to read megabytes that no
            // cache holds, while miners wait.
            if let Some(data) = known.get(&one.wtxid) {
                one.data = Arc::clone(data);
            }
        }
    }

    /// Reads the JSON text of `getblocktemplate`'s result, without a tree of it: it is megabytes.
    ///
    /// # Errors
    /// Names the first field that is missing, malformed or out of range.
    pub fn from_json(text: &str) -> Result<Self, TemplateError> {
        let raw: Raw<'_> =
            serde_json::from_str(text).map_err(|e| TemplateError::Shape(e.to_string()))?;
        if stands(Defence::TemplateSize) && raw.transactions.len() > MAX_TRANSACTIONS {
            return Err(TemplateError::TooMany(raw.transactions.len()));
        }
        let bits = u32::from_str_radix(&raw.bits, 16)
            .map_err(|_| TemplateError::Hex { field: "bits", expected: "8 hex digits" })?;
        let coinbase_value = u64::try_from(raw.coinbasevalue)
            .ok()
            .and_then(|sats| Sats::from_sat(sats).ok())
            .ok_or(TemplateError::Range { field: "coinbasevalue", value: raw.coinbasevalue })?;
        Ok(Self {
            version: version("version", raw.version)?,
            vb_required: version("vbrequired", raw.vbrequired)?,
            height: unsigned("height", raw.height)?,
            prev_hash: hash("previousblockhash", &raw.previousblockhash)?,
            bits,
            target: Target::from_compact(bits)?,
            said_target: raw.target.map(|target| said_target(&target)).transpose()?,
            cur_time: unsigned("curtime", raw.curtime)?,
            min_time: unsigned("mintime", raw.mintime)?,
            coinbase_value,
            fees: fees(&raw.transactions)?,
            weight: raw.transactions.iter().map(|one| one.weight).sum(),
            transactions: raw.transactions.iter().map(transaction).collect::<Result<_, _>>()?,
            witness_commitment: raw
                .default_witness_commitment
                .map(|script| bytes("default_witness_commitment", &script))
                .transpose()?,
            longpollid: raw.longpollid,
            mutable: raw.mutable,
        })
    }
}

/// The fields used, as they come.
#[derive(Deserialize)]
struct Raw<'a> {
    version: i64,
    #[serde(default)]
    vbrequired: i64,
    height: i64,
    previousblockhash: String,
    bits: String,
    target: Option<String>,
    curtime: i64,
    mintime: i64,
    coinbasevalue: i64,
    #[serde(borrow)]
    transactions: Vec<RawTransaction<'a>>,
    default_witness_commitment: Option<String>,
    #[serde(default)]
    longpollid: String,
    #[serde(default)]
    mutable: Vec<String>,
}

#[derive(Deserialize)]
struct RawTransaction<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    txid: Cow<'a, str>,
    fee: Option<i64>,
    weight: Option<u64>,
}

/// The sum of all fees; `None` where one is not said (BIP 22 leaves that open).
fn fees(transactions: &[RawTransaction<'_>]) -> Result<Option<Sats>, TemplateError> {
    let mut sum = Sats::ZERO;
    for transaction in transactions {
        let Some(value) = transaction.fee else { return Ok(None) };
        let fee = u64::try_from(value).ok().and_then(|fee| Sats::from_sat(fee).ok());
        let added = fee.and_then(|fee| sum.checked_add(fee));
        sum = added.ok_or(TemplateError::Range { field: "transactions.fee", value })?;
    }
    Ok(Some(sum))
}

fn transaction(raw: &RawTransaction<'_>) -> Result<TemplateTransaction, TemplateError> {
    let data = bytes("transactions.data", &raw.data)?.into();
    Ok(TemplateTransaction::new(data, hash("transactions.txid", &raw.txid)?))
}

/// The version is a signed number in JSON and 32 plain bits in the header.
fn version(field: &'static str, value: i64) -> Result<u32, TemplateError> {
    i32::try_from(value).map(i32::cast_unsigned).map_err(|_| TemplateError::Range { field, value })
}

fn unsigned(field: &'static str, value: i64) -> Result<u32, TemplateError> {
    u32::try_from(value).map_err(|_| TemplateError::Range { field, value })
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, TemplateError> {
    // Two megabytes of it in each template, which all miners wait for: `const_hex` reads many digits
    // at once. It passes over a prefix, which no node writes.
    let prefixed = text.starts_with("0x") || text.starts_with("0X");
    let bytes = if prefixed { None } else { const_hex::decode(text).ok() };
    bytes.ok_or(TemplateError::Hex { field, expected: "hex" })
}

fn said_target(text: &str) -> Result<Target, TemplateError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| TemplateError::Hex { field: "target", expected: "64 hex digits" })?;
    Ok(Target::from_be_bytes(bytes))
}

fn hash(field: &'static str, text: &str) -> Result<[u8; 32], TemplateError> {
    parse_hash(text).ok_or(TemplateError::Hex { field, expected: "a hash of 64 hex digits" })
}

/// A hash from the order in which people and RPC write it into internal order.
pub(super) fn parse_hash(text: &str) -> Option<[u8; 32]> {
    // With a prefix it would be longer.
    if text.len() != 64 {
        return None;
    }
    let mut bytes: [u8; 32] = const_hex::decode_to_array(text).ok()?;
    bytes.reverse();
    Some(bytes)
}

/// A hash from internal order into the order in which people and RPC write it.
pub(super) fn display_hash(hash: &[u8; 32]) -> String {
    let mut bytes = *hash;
    bytes.reverse();
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer() -> Value {
        json!({
            "version": 0x2000_0000, "height": 101, "bits": "207fffff", "curtime": 1_700_000_000,
            "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64,
            "previousblockhash": "00000000000000000000000000000000000000000000000000000000000000ff",
            "transactions": [{"data": "0102", "txid": format!("{:064x}", 7), "fee": 1}],
            "default_witness_commitment": "6a24aa21a9ed", "longpollid": "x1",
            "mutable": ["time"], "rules": ["!segwit"], "vbrequired": 0x2000
        })
    }

    #[test]
    fn a_template_is_read_into_internal_order() {
        let template = Template::from_json(&answer().to_string()).unwrap();
        assert_eq!((template.prev_hash[0], template.vb_required), (0xff, 0x2000));
        assert_eq!(template.transactions[0].txid[0], 7);
        assert_eq!(template.target, Target::from_compact(0x207f_ffff).unwrap());
        assert_eq!(template.witness_commitment.unwrap()[0], 0x6a);
        let text = "000000000000000000000000000000000000000000000000000000000000a0ff";
        assert_eq!(display_hash(&parse_hash(text).unwrap()), text);
    }

    #[test]
    fn a_bad_field_is_named() {
        for (field, value) in [
            ("height", json!(-1)),
            ("bits", json!("zz")),
            ("bits", json!("ff123456")),
            ("coinbasevalue", json!(i64::MAX)),
            ("previousblockhash", json!("00")),
            ("default_witness_commitment", json!("0")),
            ("default_witness_commitment", json!("0x6a24")),
            ("default_witness_commitment", json!("0X6a24")),
            ("previousblockhash", json!(format!("0x{}", "0".repeat(64)))),
            ("previousblockhash", json!(format!("0X{}", "0".repeat(62)))),
            ("version", json!(1_u64 << 40)),
            ("vbrequired", json!(1_u64 << 40)),
        ] {
            let mut broken = answer();
            broken[field] = value.clone();
            let error = Template::from_json(&broken.to_string()).unwrap_err().to_string();
            assert!(error.contains(field), "{field} = {value}: {error}");
        }
        let error = Template::from_json(r#"{"height": 1}"#).unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
    }

    #[test]
    fn templates_hold_what_they_have_in_common_once() {
        let of = |transactions: &[(&str, u8)]| {
            let transactions = transactions
                .iter()
                .map(|(data, id)| json!({"data": data, "txid": format!("{id:064x}"), "fee": 1}));
            let transactions: Vec<_> = transactions.collect();
            Template::from_json(
                &json!({
                    "version": 1, "height": 101, "bits": "207fffff", "curtime": 1_700_000_000,
                    "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64,
                    "previousblockhash": "00".repeat(32), "transactions": transactions,
                })
                .to_string(),
            )
            .unwrap()
        };
        let earlier = of(&[("01", 1), ("02", 2)]);
        // The second has another witness, the third is new.
        let mut later = of(&[("01", 1), ("03", 2), ("04", 4)]);
        let alone = later.clone();
        later.share_with(&earlier);
        assert_eq!(later, alone, "what it says is the same");
        let shared = later.transactions.iter().map(|one| Arc::strong_count(&one.data));
        // Twice each: in the copy for comparison as well.
        assert_eq!(shared.collect::<Vec<_>>(), [2, 2, 2]);
        drop(alone);
        let shared = later.transactions.iter().map(|one| Arc::strong_count(&one.data));
        assert_eq!(shared.collect::<Vec<_>>(), [2, 1, 1]);
    }
}
