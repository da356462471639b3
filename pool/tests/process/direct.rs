//! Coinbases that pay miners themselves, on a real chain: what the node has in its blocks is what the
//! ledger says was paid, and what has no output is owed.

use std::collections::BTreeMap;
use std::path::Path;

use bitcoin::{Address, Block, Network, ScriptBuf, consensus::encode::deserialize_hex};
use ledger::{BlockId, BlockState, Reader};
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    real::{blocks, configure, rpc, state},
    support::{ADDRESS, Miner, Pool, node::Node},
    verify,
};

const ALICE: &str = crate::real::OTHER;

/// An address that nobody else has.
fn bob() -> String {
    let script = ScriptBuf::from_bytes([&[0, 20][..], &[9; 20]].concat());
    Address::from_script(&script, Network::Regtest).unwrap().to_string()
}

/// Satoshis by address in the coinbase of a block that the node has.
async fn coinbase(node: &Node, hash: &BlockId) -> BTreeMap<String, u64> {
    let mut name = *hash;
    name.reverse();
    let hex = node.client.call("getblock", json!([hex::encode(name), 0])).await.unwrap();
    let block: Block = deserialize_hex(hex.as_str().unwrap()).unwrap();
    let outputs =
        block.txdata[0].output.iter().filter(|output| !output.script_pubkey.is_op_return());
    let address = |script| Address::from_script(script, Network::Regtest).unwrap().to_string();
    outputs.map(|output| (address(&output.script_pubkey), output.value.to_sat())).collect()
}

/// What the ledger has credited as paid by a block's coinbase.
fn direct(dir: &Path, hash: &BlockId) -> BTreeMap<String, u64> {
    let reader = Reader::open(&dir.join("pool.sqlite")).unwrap();
    let credits = reader.credits_of(hash).unwrap();
    let direct = credits.into_iter().filter(|credit| credit.kind.as_str() == "direct");
    direct.map(|credit| (credit.account, credit.sats.to_sat())).collect()
}

fn start(dir: &Path, node: &Node) -> Pool {
    let config = configure(dir, &rpc(node.port, node));
    let text = std::fs::read_to_string(&config).unwrap();
    let keys = "[payout]\nscheme = \"pplns\"\nwindow = \"8.00\"\ndirect = true";
    std::fs::write(&config, text.replace("[payout]", keys)).unwrap();
    Pool::run(&config)
}

/// Sends one share, which is a block here, and lets its slice close.
fn mine_one(miner: &mut Miner) {
    let job = miner.next_job(None);
    let solution = miner.solve(&job);
    let _ = miner.send(&solution);
    miner.listen();
}

#[tokio::test(flavor = "multi_thread")]
async fn coinbases_pay_what_the_ledger_says() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let pool = start(path, &node);
    let mut miners =
        [ALICE.to_owned(), bob()].map(|who| Miner::connect_as(pool.stratum, &format!("{who}.rig")));
    block_in_place(|| {
        for _ in 0..4 {
            miners.iter_mut().for_each(mine_one);
        }
    });
    let newest = blocks(path).last().unwrap().hash;
    state(path, newest, BlockState::OnChain).await;
    let mut paid = 0;
    for block in blocks(path).iter().filter(|block| block.state == BlockState::OnChain) {
        let mut outputs = coinbase(&node, &block.hash).await;
        let own = outputs.remove(ADDRESS).unwrap();
        assert_eq!(outputs, direct(path, &block.hash), "{}", block.height);
        let sum = own + outputs.values().sum::<u64>();
        assert_eq!(sum, block.reward.to_sat());
        paid += outputs.len();
    }
    assert!(paid >= 4, "{paid} outputs to miners");
    // A hundred blocks later it is paid, and only what had no output is owed.
    let mature = json!([100, "raw(51)", 100_000_000]);
    node.client.call("generatetodescriptor", mature).await.unwrap();
    state(path, newest, BlockState::Mature).await;
    let by_coinbase: u64 = blocks(path)
        .iter()
        .filter(|block| block.state == BlockState::Mature)
        .flat_map(|block| direct(path, &block.hash).into_values())
        .sum();
    let totals = Reader::open(&path.join("pool.sqlite")).unwrap().totals().unwrap();
    assert_eq!(totals.paid.to_sat(), by_coinbase);
    assert!(block_in_place(|| pool.stop()));
    verify(path);
}
