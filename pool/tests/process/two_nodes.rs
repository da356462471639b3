//! Two nodes behind one pool: every block is given to both, and the second takes over without a
//! miner's noticing.

use ledger::BlockState;
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    real::{find_block, rpc, solve, start, state, tip},
    support::{Miner, node::Node},
    verify,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_second_node_takes_over_and_no_connection_drops() {
    let Some(first) = Node::start(None).await else { return };
    let Some(second) = Node::start(None).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let nodes =
        format!("{}[[node.backup]]\n{}", rpc(first.port, &first), rpc(second.port, &second));
    let pool = start(dir.path(), &nodes);
    let mut miner = Miner::connect(pool.stratum);
    for height in 1..=3 {
        let hash = block_in_place(|| find_block(&mut miner));
        state(dir.path(), hash, BlockState::OnChain).await;
        let tips = [tip(&first.client).await, tip(&second.client).await];
        assert_eq!(tips.map(|tip| (tip.hash, tip.height)), [(hash, height); 2]);
    }
    // A share of work that the first node gave, handed in when it has gone.
    let (_, solution, hash) = block_in_place(|| solve(&mut miner));
    first.client.call("stop", json!([])).await.unwrap();
    drop(first);
    block_in_place(|| miner.send(&solution)).unwrap();
    state(dir.path(), hash, BlockState::OnChain).await;
    assert_eq!(tip(&second.client).await.hash, hash);
    // The same connection gets the second node's work.
    for height in 5..=7 {
        let hash = block_in_place(|| {
            while miner.next_job(None).prev_hash != hash && height == 5 {
                assert!(miner.exchange(), "the connection was dropped");
            }
            find_block(&mut miner)
        });
        state(dir.path(), hash, BlockState::OnChain).await;
        assert_eq!(tip(&second.client).await.height, height);
    }
    assert_eq!(miner.rejected, Vec::<String>::new());
    let ready = pool.get("/readyz");
    assert!(ready.contains("ready") || ready.contains("ok"), "{ready}");
    assert!(block_in_place(|| pool.stop()));
    verify(dir.path());
}
