//! A block's life on a real chain: other people's blocks, reorganisations, and a node that loses
//! an answer, comes late, or is not there when the pool dies.

use std::sync::Arc;

use ledger::BlockState;
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    real::{
        OTHER, block_from_elsewhere, blocks, credits, find_block, immature, newer_work, rpc,
        shares, solve, solve_job, start, state, take_block, tip,
    },
    support::{ADDRESS, Miner, PATIENCE, node::Node},
    verify,
    wire::{Fault, Wire},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_block_from_elsewhere_makes_old_work_stale() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let pool = start(dir.path(), &rpc(node.port, &node));
    let mut miner = Miner::connect(pool.stratum);
    let (job, solution, late) = block_in_place(|| solve(&mut miner));
    // Two, so that the solution is too late for a block as well.
    let mut newest = Arc::clone(&job);
    for _ in 0..2 {
        block_from_elsewhere(&node).await;
        newest = block_in_place(|| newer_work(&mut miner, &newest));
        assert!(newest.clean);
    }
    let refused = block_in_place(|| miner.send(&solution)).unwrap_err();
    assert!(refused.contains("21"), "{refused}");
    // What the new work brings is good, and it alone is credited.
    let hash = block_in_place(|| find_block(&mut miner));
    state(dir.path(), hash, BlockState::OnChain).await;
    let found: Vec<_> = blocks(dir.path()).iter().map(|block| block.hash).collect();
    assert_eq!((found, shares(dir.path())), (vec![hash], 1), "and not {late:?}");
    assert!(block_in_place(|| pool.stop()));
    verify(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_share_that_is_a_block_is_handed_in_and_not_credited() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let pool = start(path, &rpc(node.port, &node));
    let mut miner = Miner::connect(pool.stratum);
    let (job, solution, hash) = block_in_place(|| solve(&mut miner));
    block_from_elsewhere(&node).await;
    let rival = tip(&node.client).await;
    block_in_place(|| newer_work(&mut miner, &job));
    let refused = block_in_place(|| miner.send(&solution)).unwrap_err();
    assert!(refused.contains("21"), "{refused}");
    // The rival that made it stale loses: the pool's work goes on on its own block.
    let block = state(path, hash, BlockState::OnChain).await;
    assert_eq!(block.answer.as_deref(), Some("inconclusive"));
    let now = tip(&node.client).await;
    assert_eq!((now.hash, now.height), (hash, rival.height));
    assert!(!credits(path, &hash).is_empty());
    // Sent again it is refused again, and the ledger has it once.
    let refused = block_in_place(|| miner.send(&solution)).unwrap_err();
    assert!(refused.contains("21"), "{refused}");
    assert_eq!((blocks(path).len(), shares(path)), (1, 0));
    assert!(block_in_place(|| pool.stop()));
    verify(path);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_blocks_of_its_own_the_pool_keeps_the_first() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let pool = start(path, &rpc(node.port, &node));
    let mut miner = Miner::connect(pool.stratum);
    let (job, solution, first) = block_in_place(|| solve(&mut miner));
    let (late, second) = block_in_place(|| solve_job(&mut miner, &job));
    block_in_place(|| {
        miner.send(&solution).unwrap();
        newer_work(&mut miner, &job);
    });
    state(path, first, BlockState::OnChain).await;
    let refused = block_in_place(|| miner.send(&late)).unwrap_err();
    assert!(refused.contains("21"), "{refused}");
    let block = state(path, second, BlockState::Orphaned).await;
    assert_eq!(block.answer.as_deref(), Some("inconclusive"));
    assert!(credits(path, &second).is_empty());
    assert_eq!(tip(&node.client).await.hash, first);
    state(path, first, BlockState::OnChain).await;
    // Should the chain go on from the second after all, it is credited, and the first is not.
    let mut name = first;
    name.reverse();
    node.client.call("invalidateblock", json!([hex::encode(name)])).await.unwrap();
    state(path, second, BlockState::OnChain).await;
    state(path, first, BlockState::Orphaned).await;
    assert!(!credits(path, &second).is_empty());
    assert!(block_in_place(|| pool.stop()));
    verify(path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_takes_back_the_credits_of_its_blocks_and_no_others() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let pool = start(path, &rpc(node.port, &node));
    let mut miner = Miner::connect_as(pool.stratum, &format!("{ADDRESS}.a"));
    let mut other = Miner::connect_as(pool.stratum, &format!("{OTHER}.b"));
    let first = block_in_place(|| find_block(&mut miner));
    state(path, first, BlockState::OnChain).await;
    let _ = block_in_place(|| other.next_job(None));
    let second = block_in_place(|| find_block(&mut other));
    state(path, second, BlockState::OnChain).await;
    let before_third = immature(path);
    let third = block_in_place(|| find_block(&mut miner));
    state(path, third, BlockState::OnChain).await;
    let with_third = immature(path);
    let credited = [first, second, third].map(|hash| credits(path, &hash));
    assert!(credited.iter().all(|credits| !credits.is_empty()));
    assert_ne!(before_third, with_third);

    // The third goes, comes back, and goes for good; the others are never touched.
    let mut hash = third;
    hash.reverse();
    let name = json!([hex::encode(hash)]);
    for _ in 0..2 {
        node.client.call("invalidateblock", name.clone()).await.unwrap();
        state(path, third, BlockState::Orphaned).await;
        assert_eq!(sorted(immature(path)), sorted(before_third.clone()));
        node.client.call("reconsiderblock", name.clone()).await.unwrap();
        state(path, third, BlockState::OnChain).await;
        assert_eq!(sorted(immature(path)), sorted(with_third.clone()));
    }
    node.client.call("invalidateblock", name).await.unwrap();
    block_from_elsewhere(&node).await;
    state(path, third, BlockState::Orphaned).await;
    for (hash, credited) in [first, second, third].iter().zip(credited) {
        assert_eq!(credits(path, hash), credited, "amounts never change");
    }
    for hash in [first, second] {
        state(path, hash, BlockState::OnChain).await;
    }
    // The miner's work goes on, on the branch that won.
    let fourth = block_in_place(|| {
        miner.next_job(None);
        find_block(&mut miner)
    });
    state(path, fourth, BlockState::OnChain).await;
    assert!(block_in_place(|| pool.stop()));
    verify(path);
}

/// Nobody's zero is worth comparing.
fn sorted(mut balances: Vec<(String, u64)>) -> Vec<(String, u64)> {
    balances.retain(|(_, satoshis)| *satoshis > 0);
    balances.sort();
    balances
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_killed_between_finding_and_submitting_submits_when_it_is_back() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::to(node.port);
    let pool = start(dir.path(), &rpc(wire.address.port(), &node));
    let mut miner = Miner::connect(pool.stratum);
    let (_, solution, hash) = block_in_place(|| solve(&mut miner));
    wire.set(Fault::Held);
    block_in_place(|| {
        miner.send(&solution).unwrap();
        wire.wait_for_block();
        pool.kill();
    });
    // The node never had it; the ledger has.
    assert_eq!(tip(&node.client).await.height, 0);
    assert_eq!(blocks(dir.path()).len(), 1);
    assert!(credits(dir.path(), &hash).is_empty());
    let pool = start(dir.path(), &rpc(node.port, &node));
    state(dir.path(), hash, BlockState::OnChain).await;
    assert_eq!(tip(&node.client).await.hash, hash);
    assert!(!credits(dir.path(), &hash).is_empty());
    assert!(block_in_place(|| pool.stop()));
    verify(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_came_second_is_put_first() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::to(node.port);
    let pool = start(dir.path(), &rpc(wire.address.port(), &node));
    let mut miner = Miner::connect(pool.stratum);
    let (_, solution, hash) = block_in_place(|| solve(&mut miner));
    wire.set(Fault::Held);
    block_in_place(|| {
        miner.send(&solution).unwrap();
        wire.wait_for_block();
    });
    block_from_elsewhere(&node).await;
    let rival = tip(&node.client).await;
    wire.set(Fault::None);
    let block = state(dir.path(), hash, BlockState::OnChain).await;
    assert_eq!(block.answer.as_deref(), Some("inconclusive"));
    let now = tip(&node.client).await;
    assert_eq!((now.hash, now.height), (hash, rival.height), "preciousblock was asked for");
    assert!(block_in_place(|| pool.stop()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_whose_answer_was_lost_is_on_the_chain_all_the_same() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::to(node.port);
    let pool = start(dir.path(), &rpc(wire.address.port(), &node));
    let mut miner = Miner::connect(pool.stratum);
    let (_, solution, hash) = block_in_place(|| solve(&mut miner));
    // Every attempt at submitblock breaks after the node has the block.
    wire.set(Fault::Unanswered);
    block_in_place(|| miner.send(&solution)).unwrap();
    let block = state(dir.path(), hash, BlockState::OnChain).await;
    assert_eq!(tip(&node.client).await.hash, hash);
    assert!(!credits(dir.path(), &hash).is_empty());
    let answer = block.answer.unwrap_or_default();
    assert!(answer != "accepted", "{answer}");

    // With a wire that mends, the second attempt hears that it is known.
    let (_, solution, hash) = block_in_place(|| {
        let stale = miner.next_job(None).prev_hash;
        while miner.next_job(None).prev_hash == stale && stale != hash {
            assert!(miner.exchange());
        }
        solve(&mut miner)
    });
    wire.set(Fault::Unanswered);
    block_in_place(|| {
        miner.send(&solution).unwrap();
        wire.wait_for_block();
    });
    wire.set(Fault::None);
    state(dir.path(), hash, BlockState::OnChain).await;
    assert!(block_in_place(|| pool.stop()));
    verify(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_whose_share_was_answered_is_never_lost() {
    let Some(node) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for _ in 0..10 {
        let pool = start(dir.path(), &rpc(node.port, &node));
        let mut miner = Miner::connect(pool.stratum);
        block_in_place(|| {
            // Killed as soon as "true" has come.
            let (_, hash) = take_block(&mut miner);
            pool.kill();
            found.push(hash);
        });
        let kept: Vec<_> = blocks(dir.path()).into_iter().map(|block| block.hash).collect();
        assert!(found.iter().all(|hash| kept.contains(hash)), "{found:?} {kept:?}");
    }
    let pool = start(dir.path(), &rpc(node.port, &node));
    // Two may have been found at one height; but every block of the chain is in the ledger.
    let height = usize::try_from(tip(&node.client).await.height).unwrap();
    let on_chain = || {
        let all = blocks(dir.path());
        all.iter().filter(|block| block.state == BlockState::OnChain).count()
    };
    let settled = async {
        while on_chain() < height {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, settled).await.is_ok(), "{height} {}", on_chain());
    assert!(block_in_place(|| pool.stop()));
    verify(dir.path());
}
