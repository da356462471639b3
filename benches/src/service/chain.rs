//! A chain on which nothing is ever found: what a pool's node says of it.
//!
//! Read [`Chain::call`]. Its network difficulty lies far above that of the shares, so a pool under
//! load is measured with shares alone; a block comes when [`Chain::advance`] says so. Transactions
//! are whole and add up, because the pool checks them. It deliberately takes no block, has no
//! scripts, signatures or coins, and its hashes are those of no header.

use std::borrow::Cow;

use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    WitnessMerkleNode, Wtxid,
    absolute::LockTime,
    consensus::encode::serialize,
    hashes::{Hash as _, sha256d},
    merkle_tree,
    transaction::Version,
};
use serde_json::{Value, json};
use units::{Difficulty, Target};

/// Of the network.
const DIFFICULTY: f64 = 1e6;
/// What each transaction pays, satoshis.
const FEE: u64 = 1000;
/// Where the chain begins.
const FIRST_HEIGHT: u64 = 1000;
/// Seconds by which a header's time may lie before the present.
const MIN_TIME_BEFORE: u64 = 3600;

/// JSON-RPC's and Bitcoin Core's error codes.
const NOT_FOUND: i64 = -5;
const BAD_HEIGHT: i64 = -8;
const NO_SUCH_METHOD: i64 = -32601;

/// The chain at one moment.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// Of the tip.
    height: u64,
}

/// What every template of the chain has in common.
#[derive(Debug)]
pub(super) struct Blank {
    /// The list of transactions as JSON.
    transactions: String,
    count: u64,
    commitment: String,
    bits: String,
    target: String,
}

/// Code and words.
pub(super) type Refusal = (i64, &'static str);

impl Chain {
    pub(super) const fn new() -> Self {
        Self { height: FIRST_HEIGHT }
    }

    /// A block more.
    pub(super) const fn advance(&mut self) {
        self.height += 1;
    }

    /// The tip's hash.
    pub(super) fn tip(&self) -> String {
        hash_at(self.height)
    }

    /// Answers every call that waits for nothing and is no template.
    pub(super) fn call(&self, method: &str, params: &Value) -> Result<Value, Refusal> {
        match method {
            "getblockchaininfo" => Ok(json!({
                "chain": "regtest",
                "blocks": self.height,
                "headers": self.height,
                "bestblockhash": self.tip(),
                "difficulty": DIFFICULTY,
                "initialblockdownload": false,
            })),
            "getblockcount" => Ok(json!(self.height)),
            "getbestblockhash" => Ok(json!(self.tip())),
            "waitfornewblock" => Ok(json!({"hash": self.tip(), "height": self.height})),
            "getblockhash" => {
                let height = params[0].as_u64().filter(|height| *height <= self.height);
                height.map(|height| json!(hash_at(height))).ok_or((BAD_HEIGHT, "no such height"))
            }
            "getblockheader" => self.header(params[0].as_str().unwrap_or_default()),
            "submitblock" => Ok(json!("high-hash")),
            _ => Err((NO_SUCH_METHOD, "this node answers only what a pool asks")),
        }
    }

    fn header(&self, hash: &str) -> Result<Value, Refusal> {
        let found = (FIRST_HEIGHT..=self.height).rev().find(|height| hash_at(*height) == hash);
        let height = found.ok_or((NOT_FOUND, "Block not found"))?;
        let confirmations = self.height - height + 1;
        Ok(json!({"hash": hash, "height": height, "confirmations": confirmations}))
    }

    /// The template of the block after the tip, as JSON text in pieces: the transactions are copied
    /// nowhere, so that little of the time that a pool is measured by is this node's. `now` in Unix
    /// seconds.
    pub(super) fn template<'a>(&self, blank: &'a Blank, now: u64) -> [Cow<'a, str>; 3] {
        let Blank { transactions, count, commitment, bits, target } = blank;
        let (height, tip) = (self.height + 1, self.tip());
        let (value, min_time) = (count * FEE, now - MIN_TIME_BEFORE);
        let before = format!(
            "{{\"version\":536870912,\"rules\":[\"csv\",\"!segwit\"],\"vbavailable\":{{}},\
             \"vbrequired\":0,\"capabilities\":[\"proposal\"],\"coinbaseaux\":{{}},\
             \"mutable\":[\"time\",\"transactions\",\"prevblock\"],\"noncerange\":\"00000000ffffffff\",\
             \"sigoplimit\":80000,\"sizelimit\":4000000,\"weightlimit\":4000000,\
             \"previousblockhash\":\"{tip}\",\"longpollid\":\"{tip}\",\"height\":{height},\
             \"curtime\":{now},\"mintime\":{min_time},\"bits\":\"{bits}\",\"target\":\"{target}\",\
             \"coinbasevalue\":{value},\"default_witness_commitment\":\"{commitment}\",\
             \"transactions\":"
        );
        [before.into(), transactions.into(), "}".into()]
    }
}

impl Blank {
    /// With so many transactions besides the coinbase.
    pub(super) fn new(count: u32) -> Self {
        let transactions: Vec<Transaction> = (0..count).map(transaction).collect();
        let difficulty = Difficulty::new(DIFFICULTY).expect("a million is a difficulty");
        let bits = Target::from_difficulty(difficulty).to_compact();
        let target = Target::from_compact(bits).expect("they come from a target");
        let listed: Vec<String> = transactions.iter().map(listed).collect();
        Self {
            transactions: format!("[{}]", listed.join(",")),
            count: count.into(),
            commitment: hex::encode(commitment(&transactions)),
            bits: format!("{bits:08x}"),
            target: hex::encode(target.to_be_bytes()),
        }
    }
}

/// As a payment from one key to another looks like, without a signature that holds.
fn transaction(number: u32) -> Transaction {
    let previous = sha256d::Hash::hash(&number.to_le_bytes());
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_raw_hash(previous), 0),
            script_sig: ScriptBuf::from_bytes(vec![0x51; 107]),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(100_000),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51; 25]),
        }],
    }
}

fn listed(transaction: &Transaction) -> String {
    let (data, txid) = (hex::encode(serialize(transaction)), transaction.compute_txid());
    let (wtxid, weight) = (transaction.compute_wtxid(), transaction.weight().to_wu());
    format!(
        "{{\"data\":\"{data}\",\"txid\":\"{txid}\",\"hash\":\"{wtxid}\",\"depends\":[],\
         \"fee\":{FEE},\"sigops\":4,\"weight\":{weight}}}"
    )
}

/// The script of the witness commitment's output (BIP 141), for a reserved value of zeros.
fn commitment(transactions: &[Transaction]) -> Vec<u8> {
    let rest = transactions.iter().map(Transaction::compute_wtxid);
    let leaves = std::iter::once(Wtxid::all_zeros()).chain(rest);
    let root = merkle_tree::calculate_root(leaves).expect("one leaf at the least");
    let root = WitnessMerkleNode::from_raw_hash(root.to_raw_hash());
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend(Block::compute_witness_commitment(&root, &[0; 32]).to_byte_array());
    script
}

fn hash_at(height: u64) -> String {
    hex::encode(sha256d::Hash::hash(&height.to_le_bytes()).to_byte_array())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_whole() {
        let chain = Chain::new();
        let text = chain.template(&Blank::new(3), 1_795_309_039).concat();
        let template: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(template["height"], 1001);
        assert_eq!(template["previousblockhash"], json!(chain.tip()));
        assert_eq!(template["transactions"].as_array().unwrap().len(), 3);
        assert_eq!(template["coinbasevalue"], 3000);
        let bits = u32::from_str_radix(template["bits"].as_str().unwrap(), 16).unwrap();
        let target = Target::from_compact(bits).unwrap();
        assert_eq!(template["target"], json!(hex::encode(target.to_be_bytes())));
        let difficulty = target.difficulty().get();
        assert!((0.99..1.01).contains(&(difficulty / DIFFICULTY)), "{difficulty}");
    }

    #[test]
    fn blocks_are_found_by_hash_and_height() {
        let mut chain = Chain::new();
        let first = chain.tip();
        chain.advance();
        let call = |method: &str, param: Value| chain.call(method, &json!([param]));
        assert_eq!(call("getblockhash", json!(1000)), Ok(json!(first)));
        assert_eq!(call("getblockhash", json!(1002)), Err((BAD_HEIGHT, "no such height")));
        assert_eq!(call("getblockheader", json!(first)).unwrap()["confirmations"], 2);
        assert_eq!(call("getblockheader", json!("00")).unwrap_err().0, NOT_FOUND);
        assert_eq!(call("getblockchaininfo", json!(null)).unwrap()["blocks"], 1001);
        assert_eq!(call("stop", json!(null)).unwrap_err().0, NO_SUCH_METHOD);
    }
}
