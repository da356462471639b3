//! Blocks known already, blocks beside the best chain, and branches that take its place.

use bitcoin::script::Builder;
use bitcoin::{Amount, Block, Sequence};
use serde_json::json;

use super::pair::Pair;
use super::rig::{assemble, seal};

pub(crate) async fn known_blocks(pair: &mut Pair) {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    assert_eq!(pair.submit(&genesis).await, "duplicate");
    // A block that fails without its parent is not remembered, one that fails with it is.
    let shapeless = pair.block(|block| block.txdata[0].output.clear()).await;
    for _ in 0..2 {
        assert_eq!(pair.submit(&shapeless).await, "bad-txns-vout-empty");
    }
    let early = pair.block(|block| block.header.time = 1).await;
    for _ in 0..2 {
        assert_eq!(pair.submit(&early).await, "time-too-old");
    }
    let script = Builder::new().push_int(77_777).push_slice([0; 4]).into_script();
    let wrong = pair.block(|block| block.txdata[0].input[0].script_sig = script).await;
    assert_eq!(pair.submit(&wrong).await, "bad-cb-height");
    let greedy = pair.block(|block| block.txdata[0].output[0].value += Amount::ONE_SAT).await;
    assert_eq!(pair.submit(&greedy).await, "bad-cb-amount");
    for failed in [&wrong, &greedy] {
        assert_eq!(pair.submit(failed).await, "duplicate-invalid");
        let below = pair.block(|block| block.header.prev_blockhash = failed.block_hash()).await;
        for _ in 0..2 {
            assert_eq!(pair.submit(&below).await, "bad-prevblk");
        }
        let mut unsolved = (*failed).clone();
        unsolved.txdata[0].output.clear();
        assert_eq!(pair.submit(&unsolved).await, "bad-txnmrklroot");
    }
    let good = pair.block(|_| {}).await;
    assert_eq!(pair.submit(&good).await, "accepted");
    for _ in 0..2 {
        assert_eq!(pair.submit(&good).await, "duplicate");
    }
}

/// A branch of `count` blocks from the present tip, not handed in. Branches with different
/// `marks` are different.
pub(crate) async fn branch(pair: &Pair, count: u32, mark: u32) -> Vec<Block> {
    let template = pair.template().await;
    let mut blocks: Vec<Block> = Vec::new();
    for step in 0..count {
        let mut next = template.clone();
        next.height += step;
        next.cur_time += step;
        let mut block = assemble(&next);
        block.txdata[0].input[0].sequence = Sequence::from_consensus(mark);
        block.txdata[0].output[0].value = Amount::from_sat(1);
        if let Some(parent) = blocks.last() {
            block.header.prev_blockhash = parent.block_hash();
        }
        seal(&mut block);
        blocks.push(block);
    }
    blocks
}

async fn submit_all(pair: &mut Pair, blocks: &[Block], verdicts: &[&str]) {
    assert_eq!(blocks.len(), verdicts.len());
    for (block, verdict) in blocks.iter().zip(verdicts) {
        assert_eq!(pair.submit(block).await, *verdict);
    }
}

pub(crate) async fn other_branches(pair: &mut Pair) {
    let (first, second) = (branch(pair, 4, 1).await, branch(pair, 5, 2).await);
    submit_all(pair, &first[..2], &["accepted", "accepted"]).await;
    // Less work, as much work, more work.
    submit_all(pair, &second[..3], &["inconclusive", "inconclusive", "accepted"]).await;
    submit_all(pair, &second[..2], &["duplicate", "duplicate"]).await;
    headers(pair, &[&first[..2], &second[..3]].concat()).await;
    // And back; the branch that is left goes on without its parents' places.
    submit_all(pair, &first[2..], &["inconclusive", "accepted"]).await;
    submit_all(pair, &second[4..], &["prev-blk-not-found"]).await;
    submit_all(pair, &second[3..], &["inconclusive", "accepted"]).await;
    headers(pair, &[&first[..], &second[..]].concat()).await;
    a_better_branch_that_fails(pair).await;
}

/// The branch is left again; the block that was handed in was never looked at.
async fn a_better_branch_that_fails(pair: &mut Pair) {
    let mut other = branch(pair, 4, 3).await;
    let own = branch(pair, 2, 4).await;
    submit_all(pair, &own, &["accepted", "accepted"]).await;
    other[1].txdata[0].output[0].value = Amount::from_sat(6_000_000_000);
    seal(&mut other[1]);
    for step in 2..4 {
        other[step].header.prev_blockhash = other[step - 1].block_hash();
        seal(&mut other[step]);
    }
    let verdicts = ["inconclusive", "inconclusive", "inconclusive", "bad-prevblk"];
    submit_all(pair, &other, &verdicts).await;
    submit_all(pair, &other[..3], &["duplicate", "duplicate-invalid", "duplicate-invalid"]).await;
    headers(pair, &[&own[..], &other[..3]].concat()).await;
}

/// What both say of blocks that they know: place, confirmations, neighbours.
pub(crate) async fn headers(pair: &Pair, blocks: &[Block]) {
    for block in blocks {
        let hash = block.block_hash().to_string();
        pair.same("getblockheader", json!([hash])).await.unwrap();
        pair.same("getblockheader", json!([hash, false])).await.unwrap();
    }
}
