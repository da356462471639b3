//! From the news of a block to jobs: an empty block's first where the template is late, the whole
//! one after it, and renewals when they are due and not before.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, serialize, serialize_hex};
use bitcoin::{Block, Txid};
use pool::clock::Clock;
use pool::config::JobsConfig;
use pool::devchain::Options;
use pool::node::{Network, NodeClient, NodeStatus, SubmitAnswer};
use serde_json::{Value, json};

use super::between::Between;
use super::rig::{FIXED, Hand, spend};
use super::served::{Server, mine, next_block, soon};
use super::work::{Given, Work, rarely};

/// A chain on the machine's clock, and the server between it and the pool.
struct Node {
    server: Server,
    direct: NodeClient,
    between: Between,
    clock: Clock,
}

impl Node {
    async fn start(options: Options) -> Self {
        let clock = Clock::start();
        let (dir, address) = (tempfile::tempdir().unwrap(), "127.0.0.1:0".parse().unwrap());
        let now: pool::node::Clock = Arc::new(move || clock.now());
        let server = Server::start_by(dir, address, (Hand::new(), now), options).await;
        let between = Between::start(server.client()).await;
        Self { direct: server.client(), between, clock, server }
    }

    fn work(&self, jobs: JobsConfig) -> Work {
        let settings = self.between.settings(Network::Regtest);
        Work::start(settings, Vec::new(), jobs, self.clock)
    }

    /// Blocks whose coinbases anyone may spend; their ids, oldest first.
    async fn grow(&self, count: usize) -> Vec<Txid> {
        let mut coins = Vec::new();
        for _ in 0..count {
            let block = next_block(&self.direct).await;
            coins.push(block.txdata[0].compute_txid());
            let answer = self.direct.submit_block(&serialize(&block)).await.unwrap();
            assert_eq!(answer, SubmitAnswer::Accepted);
        }
        coins
    }

    /// Spends a coinbase of the first 149 blocks, for this fee.
    async fn pay(&self, coin: Txid, fee: u64) {
        let transaction = serialize_hex(&spend(coin, 5_000_000_000 - fee));
        self.direct.call("sendrawtransaction", json!([transaction])).await.unwrap();
    }

    async fn submit(&self, given: &Given) -> Block {
        let block = given.solve();
        assert_eq!(self.direct.submit_block(&block).await.unwrap(), SubmitAnswer::Accepted);
        deserialize(&block).unwrap()
    }
}

fn fees(given: &Given) -> u64 {
    given.seen.template.fees.unwrap().to_sat()
}

#[tokio::test]
async fn an_empty_block_is_mined_until_the_template_is_there_and_the_chain_takes_it() {
    let node = Node::start(FIXED).await;
    let coins = node.grow(101).await;
    node.pay(coins[0], 10_000).await;
    let mut work = node.work(rarely());
    let first = work.next().await;
    assert_eq!((first.is(), fees(&first)), ((102, false, true, 1), 10_000));

    // The node has a block, and keeps its template back.
    node.between.open(false);
    mine_empty(&node.direct).await;
    let empty = work.next().await;
    assert_eq!(empty.is(), (103, true, true, 2));
    assert!(empty.job().template.branch.is_empty() && fees(&empty) == 0);
    // The block is good, and the next empty one builds on it.
    let block = node.submit(&empty).await;
    assert_eq!((block.txdata.len(), block.txdata[0].output[0].value.to_sat()), (1, 5_000_000_000));
    let next = work.next().await;
    assert_eq!(next.is(), (104, true, true, 3));
    assert_eq!(next.job().template.prev_hash, *AsRef::<[u8; 32]>::as_ref(&block.block_hash()));

    node.between.open(true);
    let whole = work.next().await;
    assert_eq!((whole.is(), fees(&whole)), ((104, false, false, 3), 10_000));
    // What was found on the empty one meanwhile is as good.
    node.submit(&next).await;
    soon(work.templates.wait_for(|seen| seen.as_ref().is_some_and(|s| s.template.height == 105)))
        .await
        .unwrap();
}

/// A block on the tip that leaves every transaction where it is.
async fn mine_empty(node: &NodeClient) {
    let mut template = node.get_block_template(None).await.unwrap();
    template.coinbase_value = template.coinbase_value.checked_sub(template.fees.unwrap()).unwrap();
    template.transactions.clear();
    let mut block = super::rig::assemble(&template);
    super::rig::commit(&mut block);
    super::rig::seal(&mut block);
    let answer = node.submit_block(&serialize(&block)).await.unwrap();
    assert_eq!(answer, SubmitAnswer::Accepted);
}

#[tokio::test]
async fn the_empty_block_has_the_bits_of_a_chain_that_follows_the_clock() {
    let node = Node::start(Options { start_work: 64, ..Options::default() }).await;
    let mut work = node.work(rarely());
    let first = work.next().await;
    node.between.open(false);
    let mut bits = vec![first.job().template.nbits];
    let mut last = first;
    for _ in 0..5 {
        node.submit(&last).await;
        last = work.next().await;
        assert!(last.seen.empty);
        bits.push(last.job().template.nbits);
    }
    bits.dedup();
    // Nobody knows when the first block came, so that the second is no harder.
    assert_eq!(bits.len(), 5, "each block has another target: {bits:08x?}");
}

#[tokio::test]
async fn each_block_of_a_quick_node_brings_one_whole_job() {
    let node = Node::start(FIXED).await;
    let mut work = node.work(rarely());
    work.next().await;
    for height in 2..12 {
        mine(&node.direct).await;
        let mut given = work.next().await;
        // A machine that stands still for 20 ms makes the template late.
        if given.seen.empty {
            given = work.next().await;
        }
        assert_eq!((given.is().0, given.seen.empty, given.is().3), (height, false, height.into()));
        assert!(given.seen.heard.mono <= given.seen.at.mono);
    }
    assert!(!work.has_next());
}

/// A node of the main network, as far as the pool can see, about to set its difficulty anew.
fn near_an_adjustment(method: &str, answer: &mut Value) {
    const HIGHER: u64 = 2010;
    let key = if method == "getblockchaininfo" { "blocks" } else { "height" };
    if method == "getblockchaininfo" {
        answer["chain"] = json!("main");
    }
    if let Some(height) = answer.get(key).and_then(Value::as_u64) {
        answer[key] = json!(height + HIGHER);
    }
}

#[tokio::test]
async fn there_is_no_empty_block_where_the_difficulty_is_set_anew() {
    let node = Node::start(FIXED).await;
    node.grow(3).await;
    node.between.change(near_an_adjustment);
    let settings = node.between.settings(Network::Bitcoin);
    let mut work = Work::start(settings, Vec::new(), rarely(), node.clock);
    assert_eq!(work.next().await.is(), (2014, false, true, 1));
    for height in 2015..2018 {
        node.between.open(false);
        mine(&node.direct).await;
        let epoch = u64::from(height) - 2013;
        if height == 2016 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        } else {
            assert_eq!(work.next().await.is(), (height, true, true, epoch));
        }
        node.between.open(true);
        assert_eq!(work.next().await.is(), (height, false, height == 2016, epoch));
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_waited_on_is_followed_by_the_long_poll() {
    let node = Node::start(FIXED).await;
    node.between.refuse("waitfornewblock");
    let mut work = node.work(rarely());
    work.next().await;
    for height in 2..5 {
        mine(&node.direct).await;
        assert_eq!(work.next().await.is(), (height, false, true, height.into()));
    }
}

#[tokio::test]
async fn fees_that_have_grown_by_the_share_bring_a_job_and_less_does_not() {
    let node = Node::start(FIXED).await;
    let coins = node.grow(104).await;
    let mut work = node.work(JobsConfig { poll: Duration::from_millis(20), ..rarely() });
    assert_eq!(fees(&work.next().await), 0);
    node.pay(coins[0], 10_000).await;
    let more = work.next().await;
    assert_eq!((more.is(), fees(&more)), ((105, false, false, 1), 10_000));
    // Exactly the share is not more than it.
    for (coin, fee, sum) in [(coins[1], 400, 10_400), (coins[2], 600, 11_000)] {
        node.pay(coin, fee).await;
        let there = |seen: &Option<Arc<pool::node::Seen>>| {
            seen.as_ref().is_some_and(|seen| seen.template.fees.unwrap().to_sat() == sum)
        };
        soon(work.templates.wait_for(there)).await.unwrap();
    }
    node.pay(coins[3], 200).await;
    let grown = work.next().await;
    assert_eq!((grown.is(), fees(&grown)), ((105, false, false, 1), 11_200));
    assert_eq!(grown.job().id.get(), 3);
}

#[tokio::test]
async fn a_job_is_renewed_when_it_is_old_and_only_once() {
    let (refresh, poll) = (Duration::from_millis(200), Duration::from_millis(20));
    let node = Node::start(FIXED).await;
    let mut work = node.work(JobsConfig { refresh, poll, ..rarely() });
    let mut last = work.next().await;
    for id in 2..8 {
        let next = work.next().await;
        assert_eq!((next.is(), next.job().id.get()), ((1, false, false, 1), id));
        let (before, after) = (last.announcement.seen(), next.announcement.seen());
        let age = after.mono.saturating_sub(before.mono);
        // The first is timed from its template, which is a moment before the job.
        assert!(age >= refresh - poll, "job {id} came after {age:?}");
        last = next;
    }
}

/// A block that nobody has.
fn another_tip(method: &str, answer: &mut Value) {
    if method == "getblocktemplate" {
        answer["previousblockhash"] = json!("07".repeat(32));
    }
}

#[tokio::test]
async fn a_node_whose_templates_build_on_another_block_than_its_tip_is_left() {
    let node = Node::start(FIXED).await;
    let (liar, honest) = (node.between.settings(Network::Regtest), node.server.settings("hunter2"));
    let mut work = Work::start(liar.clone(), vec![honest], rarely(), node.clock);
    assert_eq!(work.next().await.is().0, 1);
    let asked = node.between.templates();
    node.between.change(another_tip);
    let hash = mine(&node.direct).await;
    // The empty block is true, whatever the template says.
    let mut given = work.next().await;
    while given.seen.empty {
        assert_eq!(given.seen.template.prev_hash, hash);
        given = work.next().await;
    }
    assert_eq!((given.is().0, given.seen.template.prev_hash), (2, hash));
    assert_eq!(work.nodes.active_index(), 1, "the next node is followed");
    let asked = node.between.templates() - asked;
    assert!((2..=8).contains(&asked), "{asked} templates of a node that lies");

    // Where there is no other it is said, and not asked without end.
    let mut alone = Work::start(liar, Vec::new(), rarely(), node.clock);
    let failing = |status: &NodeStatus| matches!(status, NodeStatus::Failing { .. });
    let said = format!("{:?}", *soon(alone.status.wait_for(failing)).await.unwrap());
    assert!(said.contains("previousblockhash") && said.contains("070707"), "{said}");
    assert!(!alone.has_next(), "nobody mines on it");
}
