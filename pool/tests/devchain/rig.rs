//! A chain in a temporary directory, under a clock that moves when told, and blocks to order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::{deserialize, serialize_hex};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::opcodes::all::OP_PUSHNUM_1;
use bitcoin::script::{Builder, ScriptBuf};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Witness, transaction,
};
use pool::devchain::{DevChain, Options, Submission};
use pool::node::{Clock, Template};
use serde_json::{Value, json};
use units::{Moment, UnixMillis};

/// Where the clock starts: some day in 2026.
const START: u64 = 1_790_000_000_000;

/// Regtest's own rule of difficulty.
pub(crate) const FIXED: Options =
    Options { retarget: false, spacing: Duration::from_millis(500), start_work: 1 };

/// A clock for the chain, and the hand that moves it.
#[derive(Debug, Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let hand = Arc::clone(&self.0);
        Arc::new(move || {
            let passed = Duration::from_millis(hand.load(Ordering::SeqCst));
            Moment { mono: Duration::ZERO, unix: UnixMillis::new(START) }.after(passed)
        })
    }

    pub(crate) fn forward(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

/// The chain under test.
pub(crate) struct Rig {
    pub(crate) chain: DevChain,
    pub(crate) hand: Hand,
    pub(crate) dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(FIXED)
    }

    pub(crate) fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hand = Hand::new();
        let chain = DevChain::open(dir.path(), options, hand.clock()).unwrap();
        Self { chain, hand, dir }
    }

    /// Lets go of the file and opens it again.
    pub(crate) fn reopen(self, options: Options) -> Self {
        let Self { chain, hand, dir } = self;
        drop(chain);
        let chain = DevChain::open(dir.path(), options, hand.clock()).unwrap();
        Self { chain, hand, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let params = params.as_array().unwrap();
        self.chain.call(method, params).map_err(|error| error.to_string())
    }

    pub(crate) fn template(&mut self) -> Template {
        let answer = self.call("getblocktemplate", json!([{"rules": ["segwit"]}])).unwrap();
        Template::from_json(&answer.to_string()).unwrap()
    }

    /// A valid, solved block on the tip, after `change`.
    pub(crate) fn block(&mut self, change: impl FnOnce(&mut Block)) -> Block {
        let mut block = assemble(&self.template());
        change(&mut block);
        seal(&mut block);
        block
    }

    /// What becomes of a block that is valid but for `change`, made before it is sealed.
    pub(crate) fn verdict(&mut self, change: impl FnOnce(&mut Block)) -> String {
        let block = self.block(change);
        self.submit(&block)
    }

    /// `submitblock`'s answer, `accepted` for its null, or the error.
    pub(crate) fn submit(&mut self, block: &Block) -> String {
        match self.call("submitblock", json!([serialize_hex(block)])) {
            Ok(Value::Null) => "accepted".to_owned(),
            Ok(value) => value.as_str().unwrap().to_owned(),
            Err(error) => error,
        }
    }

    /// Adds `count` blocks; returns the coinbases' ids.
    pub(crate) fn grow(&mut self, count: usize) -> Vec<Txid> {
        let grow_one = |_| {
            self.hand.forward(Duration::from_secs(1));
            let block = self.block(|_| {});
            assert_eq!(self.chain.submit(block.clone()).unwrap(), Submission::Accepted);
            block.txdata[0].compute_txid()
        };
        (0..count).map(grow_one).collect()
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.chain.tip().1
    }
}

/// The block that a template describes, not yet sealed.
pub(crate) fn assemble(template: &Template) -> Block {
    let commitment = template.witness_commitment.clone().unwrap();
    let coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new()
                .push_int(i64::from(template.height))
                .push_slice(b"wattproof")
                .into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![
            TxOut {
                value: Amount::from_sat(template.coinbase_value.to_sat()),
                script_pubkey: anyone(),
            },
            TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(commitment) },
        ],
    };
    let others = template.transactions.iter().map(|tx| deserialize(&tx.data).unwrap());
    Block {
        header: Header {
            version: Version::from_consensus(template.version.cast_signed()),
            prev_blockhash: BlockHash::from_byte_array(template.prev_hash),
            merkle_root: TxMerkleNode::all_zeros(),
            time: template.cur_time,
            bits: CompactTarget::from_consensus(template.bits),
            nonce: 0,
        },
        txdata: std::iter::once(coinbase).chain(others).collect(),
    }
}

/// Sets the merkle root and finds a nonce.
pub(crate) fn seal(block: &mut Block) {
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    solve(block, true);
}

/// Finds a nonce whose hash meets the block's own target, or one that does not.
pub(crate) fn solve(block: &mut Block, met: bool) {
    let target = block.header.target();
    while target.is_met_by(block.block_hash()) != met {
        block.header.nonce += 1;
    }
}

/// Puts the right witness commitment into the coinbase's last output.
pub(crate) fn commit(block: &mut Block) {
    let root = block.witness_root().unwrap();
    let whole = [root.to_byte_array(), [0; 32]].concat();
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend(sha256d::Hash::hash(&whole).to_byte_array());
    let output = block.txdata[0].output.last_mut().unwrap();
    output.script_pubkey = ScriptBuf::from_bytes(script);
}

/// A script that anyone may spend.
pub(crate) fn anyone() -> ScriptBuf {
    Builder::new().push_opcode(OP_PUSHNUM_1).into_script()
}

/// Spends the first output of `txid` into one of `sats` that anyone may spend.
pub(crate) fn spend(txid: Txid, sats: u64) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint { txid, vout: 0 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(sats),
            script_pubkey: ScriptBuf::new_p2wsh(&anyone().wscript_hash()),
        }],
    }
}
