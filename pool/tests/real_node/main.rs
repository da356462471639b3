//! Jobs on a real Bitcoin Core: blocks found on empty jobs are blocks for it as well.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/between.rs"]
#[expect(dead_code, reason = "the tests of the embedded chain need the rest")]
mod between;
#[path = "../support/node.rs"]
mod node;
#[path = "../support/work.rs"]
#[expect(dead_code, reason = "the tests of the embedded chain need the rest")]
mod work;

use between::Between;
use bitcoin::Block;
use bitcoin::consensus::encode::deserialize;
use config::Secret;
use pool::clock::Clock;
use pool::node::{Auth, Network, NodeClient, NodeSettings, SubmitAnswer};
use serde_json::json;
use work::{Given, Work, rarely};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// A second way to the node, for the server between it and the pool.
fn another_client(node: &node::Node) -> NodeClient {
    let cookie = std::fs::read_to_string(&node.cookie).unwrap();
    let (user, password) = cookie.trim().split_once(':').unwrap();
    NodeClient::new(NodeSettings {
        url: format!("http://127.0.0.1:{}", node.port),
        auth: Auth::UserPassword(user.to_owned(), Secret::new(password)),
        network: Network::Regtest,
        timeout: std::time::Duration::from_secs(60),
    })
    .unwrap()
}

async fn submit(node: &node::Node, given: &Given) -> Block {
    let block = given.solve();
    assert_eq!(node.client.submit_block(&block).await.unwrap(), SubmitAnswer::Accepted);
    deserialize(&block).unwrap()
}

#[tokio::test]
async fn blocks_on_empty_jobs_are_taken_before_and_after_the_subsidy_halves() {
    let Some(node) = node::Node::start(None).await else { return };
    node.client.call("generatetoaddress", json!([146, ADDRESS])).await.unwrap();
    let between = Between::start(another_client(&node)).await;
    let clock = Clock::start();
    let mut work = Work::start(between.settings(Network::Regtest), Vec::new(), rarely(), clock);
    assert_eq!(work.next().await.is(), (147, false, true, 1));
    between.open(false);
    node.client.call("generatetoaddress", json!([1, ADDRESS])).await.unwrap();
    for (height, epoch) in (148..153).zip(2..) {
        let empty = work.next().await;
        assert_eq!(empty.is(), (height, true, true, epoch));
        let block = submit(&node, &empty).await;
        let reward = if height < 150 { 5_000_000_000 } else { 2_500_000_000 };
        assert_eq!(block.txdata[0].output[0].value.to_sat(), reward);
    }
    assert_eq!(work.next().await.is(), (153, true, true, 7));
    between.open(true);
    let whole = work.next().await;
    assert_eq!(whole.is(), (153, false, false, 7));
    submit(&node, &whole).await;
    let mut next = work.next().await;
    while next.seen.empty {
        next = work.next().await;
    }
    assert_eq!((next.is().0, next.is().3), (154, 8));
}
