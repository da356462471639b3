//! The embedded development chain beside the real node: the same blocks go to both through the
//! pool's own node client, and both must say the same, word for word.
//!
//! Read [`pair`] first: a [`pair::Pair`] is a Bitcoin Core on regtest and a development chain
//! with regtest's difficulty, under one clock that moves when told. `blocks`, `coins`, `scripts`
//! and `forks` hold what is handed in; `answers` compares what the other calls say.
//!
//! The real node is the one that `cargo xtask node` finds or builds. Where there is none, a test
//! says so and does nothing, unless `WATTPROOF_STRICT` is 1.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy allows it in their functions alone"
)]

mod answers;
mod blocks;
mod coins;
mod forks;
mod keys;
#[expect(dead_code, reason = "a pool on the node needs more of it than a comparison does")]
#[path = "../support/node.rs"]
mod node;
mod pair;
mod payees;
mod raw;
#[expect(dead_code, reason = "of the development chain's own rig, its blocks are used here")]
#[path = "../devchain/rig.rs"]
mod rig;
mod scripts;

use pair::Pair;

/// The kinds of invalid block that the two must agree on at the least.
const KINDS: usize = 20;

#[tokio::test]
async fn every_block_is_judged_the_same() {
    let Some(mut pair) = Pair::start().await else { return };
    pair.grow(12).await;
    blocks::what_a_block_says_of_itself(&mut pair).await;
    blocks::what_its_bytes_say(&mut pair).await;
    blocks::what_its_parent_says(&mut pair).await;
    blocks::what_its_witnesses_say(&mut pair).await;
    blocks::how_large_it_may_be(&mut pair).await;
    forks::known_blocks(&mut pair).await;
    forks::other_branches(&mut pair).await;
    coins::what_the_coins_say(&mut pair).await;
    coins::locks(&mut pair).await;
    coins::signature_operations(&mut pair).await;
    let kinds = pair.kinds();
    assert!(kinds.len() >= KINDS, "only {} kinds of invalid block: {kinds:?}", kinds.len());
}

#[tokio::test]
async fn every_script_is_judged_the_same() {
    let Some(mut pair) = Pair::start().await else { return };
    pair.grow(110).await;
    scripts::named(&mut pair).await;
    scripts::random(&mut pair).await;
}

#[tokio::test]
async fn a_coinbase_pays_every_kind_of_address() {
    let Some(mut pair) = Pair::start().await else { return };
    pair.grow(2).await;
    payees::every_address(&mut pair).await;
}

#[tokio::test]
async fn templates_headers_and_errors_are_the_same() {
    let Some(mut pair) = Pair::start().await else { return };
    pair.grow(105).await;
    answers::errors(&pair).await;
    answers::templates(&mut pair).await;
    answers::proposals(&mut pair).await;
    answers::operators_verdicts(&mut pair).await;
    Box::pin(answers::waiting(&pair)).await;
}
