//! What the other calls say: templates, headers after an operator's verdict, waits, and errors.

use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, Block, BlockHash, OutPoint, Transaction, TxOut, Txid, Witness};
use serde_json::{Value, json};

use super::blocks::Case;
use super::coins::{spend, spend_to};
use super::forks::{branch, headers};
use super::pair::{Coin, Pair};
use super::rig::{anyone, assemble, seal, solve};

/// Long enough for the real node to make a new template of its own accord.
const TEMPLATE_AGE: u64 = 6;

/// Errors that the node client or its callers tell apart, or that a person reads.
pub(crate) async fn errors(pair: &Pair) {
    let none = "11".repeat(32);
    let same = [
        ("getblockhash", json!([-1])),
        ("getblockhash", json!([1_000_000])),
        ("getblockheader", json!([none])),
        ("getblockheader", json!(["12"])),
        ("getblockheader", json!(["zz".repeat(32)])),
        ("getblock", json!([none])),
        ("getblock", json!([none, 0])),
        ("submitblock", json!([""])),
        ("submitblock", json!(["0"])),
        ("submitblock", json!(["xx"])),
        ("submitblock", json!(["00"])),
        ("invalidateblock", json!([none])),
        ("reconsiderblock", json!([none])),
        ("getblocktemplate", json!([{}])),
        ("getblocktemplate", json!([{"rules": ["csv"]}])),
        ("getblocktemplate", json!([{"mode": "other", "rules": ["segwit"]}])),
        ("getblocktemplate", json!([{"mode": 1, "rules": ["segwit"]}])),
        ("getblocktemplate", json!([{"mode": "proposal"}])),
        ("getblocktemplate", json!([{"mode": "proposal", "data": "00"}])),
        ("getblocktemplate", json!([{"rules": ["segwit"], "longpollid": "short"}])),
        ("waitfornewblock", json!([-1])),
        ("waitfornewblock", json!([1, "12"])),
        ("sendrawtransaction", json!(["00"])),
        ("sendrawtransaction", json!(["zz"])),
        ("gettxout", json!(["12", 0])),
        ("gettxout", json!([none, 0])),
        ("nosuchmethod", json!([])),
    ];
    let mut different = Vec::new();
    for (method, params) in same {
        let (core, dev) = pair.ask(method, params.clone()).await;
        assert!(core.is_err() || method == "gettxout", "{method} {params}: {core:?}");
        if core != dev {
            different.push(format!("{method} {params}: node {core:?}, development chain {dev:?}"));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    // Where the real node's words are a page of help, the code is what counts.
    let code = [
        ("getblockhash", json!([])),
        ("getblockhash", json!(["1"])),
        ("getblockheader", json!([1])),
        ("submitblock", json!([])),
        ("submitblock", json!([1])),
        ("invalidateblock", json!([])),
        ("getblocktemplate", json!([])),
        ("getblocktemplate", json!([[]])),
    ];
    for (method, params) in code {
        let (core, dev) = pair.ask(method, params.clone()).await;
        let number = |answer: Result<Value, String>| {
            let error = answer.unwrap_err();
            error.split(':').next().unwrap().to_owned()
        };
        assert_eq!(number(dev), number(core), "{method} {params}");
    }
}

/// A transaction of a size that nodes pass on.
fn pay(points: &[OutPoint], sats: u64) -> Transaction {
    let output = |sats| TxOut { value: Amount::from_sat(sats), script_pubkey: anyone() };
    spend_to(points, vec![output(sats - 1_000), output(1_000)])
}

/// Hands a transaction to both; the codes must be equal, and the real node's words may go on
/// where the development chain's end.
async fn send(pair: &Pair, tx: &Transaction) -> String {
    let (core, dev) = pair.ask("sendrawtransaction", json!([serialize_hex(tx)])).await;
    match (core, dev) {
        (Ok(core), Ok(dev)) => {
            assert_eq!(dev, core);
            assert_eq!(core, json!(tx.compute_txid().to_string()));
            "taken".to_owned()
        }
        (Err(core), Err(dev)) => {
            assert!(core.starts_with(&dev), "development chain: {dev}; node: {core}");
            dev
        }
        (core, dev) => panic!("development chain: {dev:?}; node: {core:?}"),
    }
}

pub(crate) async fn templates(pair: &mut Pair) {
    whole_template(pair).await;
    let Coin { point, sats } = pair.ripe_coin().await;
    let parent = pay(&[point], sats - 50_000);
    let txid = parent.compute_txid();
    let child = pay(&[OutPoint { txid, vout: 0 }, OutPoint { txid, vout: 1 }], sats - 70_000);
    refusals(pair, point, sats).await;
    let early = "error -25: bad-txns-inputs-missingorspent";
    assert_eq!(send(pair, &child).await, early);
    assert_eq!(send(pair, &parent).await, "taken");
    assert_eq!(send(pair, &child).await, "taken");
    // What waits already is no error, so that a call may be repeated.
    assert_eq!(send(pair, &parent).await, "taken");
    pair.same("getrawmempool", json!([])).await.unwrap();
    pair.forward(TEMPLATE_AGE).await;
    whole_template(pair).await;
    assert_eq!(pair.template().await.transactions.len(), 2);
    pair.grow(1).await;
    assert_eq!(pair.same("getrawmempool", json!([])).await, Ok(json!([])));
    assert_eq!(send(pair, &child).await, "error -27: Transaction outputs already in utxo set");
    let created = child.compute_txid();
    for (txid, vout) in [(created, 0), (created, 1), (created, 9), (txid, 0)] {
        pair.output(&OutPoint { txid, vout }).await;
    }
    for height in [0, 1, 100, 106] {
        let hash = pair.same("getblockhash", json!([height])).await.unwrap();
        pair.same("getblockheader", json!([hash])).await.unwrap();
        pair.same("getblock", json!([hash, 0])).await.unwrap();
    }
    // Around the height whose block's time has a rule of its own.
    pair.grow(30).await;
    for _ in 0..12 {
        whole_template(pair).await;
        pair.grow(1).await;
    }
}

async fn refusals(pair: &Pair, point: OutPoint, sats: u64) {
    let green = pair.green_coin();
    let mut late = pay(&[point], sats - 10_000);
    late.lock_time = bitcoin::absolute::LockTime::from_consensus(100_000);
    late.input[0].sequence = bitcoin::Sequence::ZERO;
    let mut young = pay(&[point], sats - 10_000);
    young.input[0].sequence = bitcoin::Sequence::from_consensus(0xffff);
    let mut witnessed = pay(&[point], sats - 10_000);
    witnessed.input[0].witness = Witness::from_slice(&[[1]]);
    let coinbase = pair.block(|_| {}).await.txdata.remove(0);
    let cases = [
        ("error -26: coinbase", coinbase),
        ("error -26: tx-size-small", spend(&[point], sats - 10_000)),
        ("error -26: min relay fee not met", pay(&[point], sats)),
        ("error -26: bad-txns-in-belowout", pay(&[point], sats + 1)),
        ("error -26: bad-txns-inputs-duplicate", pay(&[point, point], sats)),
        ("error -26: bad-txns-premature-spend-of-coinbase", pay(&[green.point], sats - 10_000)),
        ("error -26: bad-txns-vout-toolarge", pay(&[point], 1 << 62)),
        ("error -26: non-final", late),
        ("error -26: non-BIP68-final", young),
        (
            "error -26: mempool-script-verify-flag-failed \
             (Witness provided for non-witness script)",
            witnessed,
        ),
    ];
    for (refusal, tx) in &cases {
        assert_eq!(send(pair, tx).await, *refusal);
    }
    assert_eq!(
        send(pair, &pay(&[OutPoint { txid: Txid::all_zeros(), vout: 0 }], 9_999)).await,
        "error -25: bad-txns-inputs-missingorspent"
    );
}

/// Every field but the long poll id, whose end counts what each has seen.
async fn whole_template(pair: &Pair) {
    let request = json!([{"rules": ["segwit"], "capabilities": ["coinbasevalue", "longpoll"]}]);
    let (core, dev) = pair.ask("getblocktemplate", request).await;
    let (mut core, mut dev) = (core.unwrap(), dev.unwrap());
    for template in [&mut core, &mut dev] {
        let id = template["longpollid"].take();
        let tip = template["previousblockhash"].as_str().unwrap();
        assert!(id.as_str().unwrap().starts_with(tip), "{id}");
    }
    assert_eq!(dev, core, "the templates differ (left: the development chain's)");
}

pub(crate) async fn proposals(pair: &mut Pair) {
    pair.grow(2).await;
    let mut wrong = pair.block(|block| block.txdata[0].output[0].value += Amount::ONE_SAT).await;
    assert_eq!(propose(pair, &wrong).await, json!("bad-cb-amount"));
    assert_eq!(pair.submit(&wrong).await, "bad-cb-amount");
    assert_eq!(propose(pair, &wrong).await, json!("duplicate-invalid"));
    wrong.header.time = 1;
    assert_eq!(propose(pair, &wrong).await, json!("time-too-old"));
    let changes: [Case; 6] = [
        ("inconclusive-not-best-prevblk", |b| b.header.prev_blockhash = BlockHash::all_zeros()),
        ("bad-cb-length", |b| b.txdata[0].input[0].script_sig = bitcoin::ScriptBuf::new()),
        ("bad-witness-nonce-size", |b| b.txdata[0].input[0].witness.clear()),
        ("bad-cb-height", |b| {
            b.txdata[0].input[0].script_sig = bitcoin::ScriptBuf::from_bytes(vec![1, 1, 1]);
        }),
        ("bad-diffbits", |b| b.header.bits = bitcoin::CompactTarget::from_consensus(0x1d00_ffff)),
        ("bad-version(0x00000001)", |b| b.header.version = bitcoin::block::Version::ONE),
    ];
    for (reason, change) in changes {
        let mut block = assemble(&pair.template().await);
        change(&mut block);
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        assert_eq!(propose(pair, &block).await, json!(reason));
    }
    let mut good = pair.block(|_| {}).await;
    solve(&mut good, false);
    assert_eq!(propose(pair, &good).await, Value::Null);
    seal(&mut good);
    assert_eq!(pair.submit(&good).await, "accepted");
    assert_eq!(propose(pair, &good).await, json!("duplicate"));
    let side = branch(pair, 2, 9).await;
    pair.grow(1).await;
    assert_eq!(pair.submit(&side[0]).await, "inconclusive");
    assert_eq!(propose(pair, &side[0]).await, json!("duplicate-inconclusive"));
    assert_eq!(propose(pair, &side[1]).await, json!("inconclusive-not-best-prevblk"));
}

async fn propose(pair: &Pair, block: &Block) -> Value {
    let request = json!([{"mode": "proposal", "data": serialize_hex(block)}]);
    pair.same("getblocktemplate", request).await.unwrap()
}

/// `invalidateblock` and `reconsiderblock`, and what headers say then.
pub(crate) async fn operators_verdicts(pair: &mut Pair) {
    let (own, other) = (branch(pair, 4, 1).await, branch(pair, 2, 2).await);
    for block in &own {
        assert_eq!(pair.submit(block).await, "accepted");
    }
    for block in &other {
        assert_eq!(pair.submit(block).await, "inconclusive");
    }
    let all = [&own[..], &other[..]].concat();
    let steps = [
        // The top alone, then all of the branch: the other is now the best.
        ("invalidateblock", &own[3]),
        ("invalidateblock", &own[0]),
        ("invalidateblock", &own[1]),
        ("invalidateblock", &other[1]),
        // A verdict taken back holds for descendants and ancestors.
        ("reconsiderblock", &own[1]),
        ("invalidateblock", &own[0]),
        ("reconsiderblock", &other[1]),
        ("reconsiderblock", &own[3]),
    ];
    for (method, block) in steps {
        let hash = block.block_hash().to_string();
        assert_eq!(pair.same(method, json!([hash])).await, Ok(Value::Null));
        pair.same("getbestblockhash", json!([])).await.unwrap();
        headers(pair, &all).await;
        for known in &all {
            pair.submit(known).await;
        }
    }
    let tip = own[3].block_hash().to_string();
    assert_eq!(pair.same("getbestblockhash", json!([])).await, Ok(json!(tip)));
    pair.grow(1).await;
}

/// The calls that the pool waits on.
pub(crate) async fn waiting(pair: &Pair) {
    let tip = pair.same("getbestblockhash", json!([])).await.unwrap();
    pair.same("waitfornewblock", json!([50])).await.unwrap();
    pair.same("waitfornewblock", json!([50, tip])).await.unwrap();
    pair.same("waitfornewblock", json!([60_000, "00".repeat(32)])).await.unwrap();
    let (core, dev) = (&pair.core.client, &pair.dev);
    let core_id = core.get_block_template(None).await.unwrap().longpollid;
    let dev_id = dev.get_block_template(None).await.unwrap().longpollid;
    let limit = Duration::from_secs(30);
    let block = pair.block(|_| {}).await;
    let bytes = bitcoin::consensus::encode::serialize(&block);
    let miner = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (core, dev) = tokio::join!(core.submit_block(&bytes), dev.submit_block(&bytes));
        assert_eq!(core.unwrap(), dev.unwrap());
    };
    let (core_next, dev_next, ()) = tokio::join!(
        core.get_block_template(Some((&core_id, limit))),
        dev.get_block_template(Some((&dev_id, limit))),
        miner,
    );
    let (core_next, dev_next) = (core_next.unwrap(), dev_next.unwrap());
    assert_eq!(dev_next.prev_hash, block.block_hash().to_byte_array());
    assert_eq!(dev_next.prev_hash, core_next.prev_hash);
}
