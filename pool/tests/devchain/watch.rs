//! The watcher of templates, on one chain and on two.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use pool::node::{
    NodeStatus, Nodes, Seen, SubmitAnswer, TemplateSink, WatchSettings, watch_templates,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::rig::FIXED;
use super::served::{Server, mine, next_block, soon};

type Templates = watch::Receiver<Option<Arc<Seen>>>;

/// Looks at the nodes that stand by come quickly here.
const QUICK: WatchSettings = WatchSettings {
    poll: Duration::from_secs(30),
    look: Duration::from_millis(30),
    max_age: Duration::from_secs(90),
};

async fn reach(seen: &mut Templates, height: u32) {
    let reached =
        |seen: &Option<Arc<Seen>>| seen.as_ref().is_some_and(|s| s.template.height == height);
    soon(seen.wait_for(reached)).await.unwrap();
}

/// Two chains with the same blocks, and a watcher on both.
struct Two {
    nodes: Arc<Nodes>,
    seen: Templates,
    health: watch::Receiver<NodeStatus>,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Two {
    fn watch(first: &Server, second: &Server) -> Self {
        let backups = vec![second.settings("hunter2")];
        let nodes = Arc::new(Nodes::new(first.settings("hunter2"), backups).unwrap());
        let (templates, seen) = watch::channel(None);
        let (status, health) = watch::channel(NodeStatus::Starting);
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let sink = TemplateSink { templates, status };
        let watching = Arc::clone(&nodes);
        tasks.spawn(watch_templates(watching, QUICK, first.hand.clock(), sink, cancel.clone()));
        Self { nodes, seen, health, cancel, tasks }
    }

    /// A block on the active node's tip, given to all.
    async fn mine(&self) -> SubmitAnswer {
        let block: Arc<[u8]> = serialize(&next_block(self.nodes.active()).await).into();
        let submission = self.nodes.submit_block(&block).await;
        let answer = submission.answer.clone().unwrap();
        submission.finish(&self.nodes).await;
        answer
    }

    async fn follow(&self, index: usize) {
        soon(async {
            while self.nodes.active_index() != index {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn stop(mut self) {
        self.cancel.cancel();
        soon(self.tasks.join_next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_watcher_follows_the_tip_says_when_it_cannot_and_comes_back() {
    let server = Server::start(FIXED).await;
    let (templates, mut seen) = watch::channel(None);
    let (status, mut health) = watch::channel(NodeStatus::Starting);
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_templates(
        Arc::new(Nodes::new(server.settings("hunter2"), Vec::new()).unwrap()),
        WatchSettings::default(),
        server.hand.clock(),
        TemplateSink { templates, status },
        cancel.clone(),
    ));
    reach(&mut seen, 1).await;
    let miner = server.client();
    for next in 2..10 {
        mine(&miner).await;
        reach(&mut seen, next).await;
    }
    let (dir, address, hand) = server.stop().await;
    let failing = |status: &NodeStatus| matches!(status, NodeStatus::Failing { .. });
    let reason = format!("{:?}", *soon(health.wait_for(failing)).await.unwrap());
    assert!(reason.contains(&address.to_string()) && !reason.contains("hunter2"), "{reason}");
    let server = Server::start_in(dir, address, hand, FIXED).await;
    soon(health.wait_for(|status| *status == NodeStatus::Working)).await.unwrap();
    mine(&server.client()).await;
    reach(&mut seen, 10).await;
    cancel.cancel();
    soon(tasks.join_next()).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn the_second_node_takes_over_and_the_first_comes_back() {
    let (first, second) = (Server::start(FIXED).await, Server::start(FIXED).await);
    let mut two = Two::watch(&first, &second);
    reach(&mut two.seen, 1).await;
    assert_eq!(two.mine().await, SubmitAnswer::Accepted);
    reach(&mut two.seen, 2).await;
    let tips = [first.client(), second.client()].map(|c| async move { c.block_hash(1).await });
    let [one, other] = tips;
    assert_eq!(one.await.unwrap(), other.await.unwrap(), "both have the block");

    let (dir, address, hand) = first.stop().await;
    two.follow(1).await;
    assert_eq!(two.mine().await, SubmitAnswer::Accepted, "one of two is enough");
    reach(&mut two.seen, 3).await;
    assert_eq!(*two.health.borrow(), NodeStatus::Working, "miners need not know");

    // Back, but without the block that it missed: not yet the better one.
    let first = Server::start_in(dir, address, hand, FIXED).await;
    tokio::time::sleep(QUICK.look * 6).await;
    assert_eq!(two.nodes.active_index(), 1);
    let missed = second.client().call("getblock", serde_json::json!([tip(&second).await, 0])).await;
    let missed = hex::decode(missed.unwrap().as_str().unwrap()).unwrap();
    assert_eq!(first.client().submit_block(&missed).await.unwrap(), SubmitAnswer::Accepted);
    two.follow(0).await;
    assert_eq!(two.mine().await, SubmitAnswer::Accepted);
    reach(&mut two.seen, 4).await;

    let _ = (first.stop().await, second.stop().await);
    let failing = |status: &NodeStatus| matches!(status, NodeStatus::Failing { .. });
    soon(two.health.wait_for(failing)).await.unwrap();
    two.stop().await;
}

#[tokio::test]
async fn a_node_that_is_behind_does_not_take_over() {
    let (first, second) = (Server::start(FIXED).await, Server::start(FIXED).await);
    let mut two = Two::watch(&first, &second);
    reach(&mut two.seen, 1).await;
    mine(&first.client()).await;
    mine(&first.client()).await;
    reach(&mut two.seen, 3).await;
    let kept = first.stop().await;
    let failing = |status: &NodeStatus| matches!(status, NodeStatus::Failing { .. });
    let reason = format!("{:?}", *soon(two.health.wait_for(failing)).await.unwrap());
    assert!(reason.contains("height 1") || reason.contains("reach"), "{reason}");
    tokio::time::sleep(QUICK.look * 4).await;
    reach(&mut two.seen, 3).await;
    // Back, and followed again.
    let first = Server::start_in(kept.0, kept.1, kept.2, FIXED).await;
    mine(&first.client()).await;
    reach(&mut two.seen, 4).await;
    two.stop().await;
    let _ = (first.stop().await, second.stop().await);
}

#[tokio::test]
async fn a_node_that_stays_behind_is_left() {
    let (first, second) = (Server::start(FIXED).await, Server::start(FIXED).await);
    let mut two = Two::watch(&first, &second);
    reach(&mut two.seen, 1).await;
    mine(&second.client()).await;
    tokio::time::sleep(QUICK.look * 6).await;
    assert_eq!(two.nodes.active_index(), 0, "one block is in the order of things");
    mine(&second.client()).await;
    two.follow(1).await;
    reach(&mut two.seen, 3).await;
    two.stop().await;
    let _ = (first.stop().await, second.stop().await);
}

async fn tip(server: &Server) -> String {
    let hash = server.client().call("getbestblockhash", serde_json::json!([])).await.unwrap();
    hash.as_str().unwrap().to_owned()
}
