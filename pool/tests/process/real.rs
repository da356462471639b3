//! The pool as a process on a real Bitcoin Core: regtest, where every second hash is a block, so
//! that each share is one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ledger::{BlockId, BlockState, BlockView, CreditView, Reader};
use pool::node::{NodeClient, TipPosition};
use serde_json::json;
use stratum::job::sha256d;
use stratum::v1::client::{ClientJob, Solution};
use tokio::task::block_in_place;

use crate::support::{ADDRESS, Miner, PATIENCE, Pool, node::Node};

/// A second account.
pub(crate) const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";

/// The RPC address and cookie of a node, as the pool's configuration has them.
pub(crate) fn rpc(port: u16, node: &Node) -> String {
    format!("url = \"http://127.0.0.1:{port}\"\ncookie = \"{}\"\n", node.cookie.display())
}

/// Starts the pool in `dir` on the nodes that `nodes` describes.
pub(crate) fn start(dir: &Path, nodes: &str) -> Pool {
    Pool::run(&configure(dir, nodes))
}

/// Writes the configuration of such a pool.
pub(crate) fn configure(dir: &Path, nodes: &str) -> PathBuf {
    configure_ledger(dir, nodes, "")
}

/// As [`configure`], with more keys of the ledger, a line each.
pub(crate) fn configure_ledger(dir: &Path, nodes: &str, ledger: &str) -> PathBuf {
    let text = format!(
        "[stratum]\nlisten = [\"127.0.0.1:0\"]\ndifficulty = {{ vardiff = false }}\n\
         [payout]\naddress = \"{ADDRESS}\"\n\
         [ledger]\npath = \"{}\"\nslice_seconds = 0.2\n{ledger}\
         [http]\nlisten = \"127.0.0.1:0\"\n[node]\nnetwork = \"regtest\"\n{nodes}",
        dir.join("pool.sqlite").display()
    );
    let config = dir.join("pool.toml");
    std::fs::write(&config, text).unwrap();
    config
}

/// What the ledger says of blocks, oldest first.
pub(crate) fn blocks(dir: &Path) -> Vec<BlockView> {
    let mut blocks = reader(dir).blocks(1000).unwrap();
    blocks.reverse();
    blocks
}

/// Shares ever credited.
pub(crate) fn shares(dir: &Path) -> u64 {
    reader(dir).totals().unwrap().shares
}

pub(crate) fn credits(dir: &Path, hash: &BlockId) -> Vec<CreditView> {
    reader(dir).credits_of(hash).unwrap()
}

/// Every account's immature satoshis, the pool's included.
pub(crate) fn immature(dir: &Path) -> Vec<(String, u64)> {
    let balances = reader(dir).balances().unwrap();
    balances.into_iter().map(|row| (row.account, row.immature.to_sat())).collect()
}

fn reader(dir: &Path) -> Reader {
    Reader::open(&dir.join("pool.sqlite")).unwrap()
}

/// Waits until the ledger has this block in this state.
pub(crate) async fn state(dir: &Path, hash: BlockId, wanted: BlockState) -> BlockView {
    let found = || blocks(dir).into_iter().find(|block| block.hash == hash);
    let wait = async {
        loop {
            if let Some(block) = found().filter(|block| block.state == wanted) {
                return block;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("block is not {wanted:?}: {:?}", found()))
}

/// A share, and with it a block, of the newest job; not sent.
pub(crate) fn solve(miner: &mut Miner) -> (Arc<ClientJob>, Solution, BlockId) {
    let job = miner.next_job(None);
    let (solution, hash) = solve_job(miner, &job);
    (job, solution, hash)
}

/// A share of this job; not sent.
pub(crate) fn solve_job(miner: &mut Miner, job: &ClientJob) -> (Solution, BlockId) {
    let solution = miner.solve(job);
    let mut header = job.header(&solution.xn2, solution.ntime, job.version);
    header[76..].copy_from_slice(&solution.nonce.to_le_bytes());
    let hash = sha256d(&header);
    (solution, hash)
}

/// Finds a block whose share is taken; one that came too late, for a tip that has just moved as it
/// may after a start, is not the one.
pub(crate) fn take_block(miner: &mut Miner) -> (Arc<ClientJob>, BlockId) {
    for _ in 0..20 {
        let (job, solution, hash) = solve(miner);
        match miner.send(&solution) {
            Ok(()) => return (job, hash),
            Err(why) => assert!(why.contains("21"), "{why}"),
        }
    }
    panic!("the tip never stays");
}

/// Finds a block and waits for the work on top of it.
pub(crate) fn find_block(miner: &mut Miner) -> BlockId {
    let (job, hash) = take_block(miner);
    newer_work(miner, &job);
    hash
}

/// Finds blocks until one is on the chain: the first after a start may lose to one from before it,
/// which the pool hands in again.
pub(crate) async fn find_block_that_stays(dir: &Path, miner: &mut Miner) -> BlockId {
    for _ in 0..20 {
        let hash = block_in_place(|| find_block(miner));
        let decided = || {
            let block = blocks(dir).into_iter().find(|block| block.hash == hash)?;
            let open = matches!(block.state, BlockState::Candidate | BlockState::Submitted);
            (!open).then_some(block.state)
        };
        let wait = async {
            loop {
                if let Some(state) = decided() {
                    return state;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let state = tokio::time::timeout(PATIENCE, wait).await.expect("a block's fate is known");
        if state == BlockState::OnChain {
            return hash;
        }
    }
    panic!("no block stays on the chain");
}

/// Waits for work on another block than this job's.
pub(crate) fn newer_work(miner: &mut Miner, job: &ClientJob) -> Arc<ClientJob> {
    let mut newest = miner.next_job(None);
    while newest.prev_hash == job.prev_hash {
        newest = miner.next_job(Some(&newest.id));
    }
    newest
}

/// A block that the node mines by itself.
pub(crate) async fn block_from_elsewhere(node: &Node) {
    let mined = node.client.call("generatetoaddress", json!([1, OTHER])).await;
    assert_eq!(mined.unwrap().as_array().unwrap().len(), 1);
}

pub(crate) async fn tip(client: &NodeClient) -> TipPosition {
    client.wait_for_new_block(1, None).await.unwrap()
}
