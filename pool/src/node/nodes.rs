//! All nodes of a pool: one that is followed, and others that stand by and get every block too.
//!
//! Read [`Nodes::active`] and [`Nodes::submit_block`]. Which node is followed is the watcher's
//! decision ([`super::watch_templates`]), and nobody else's. A block goes to all of them at once:
//! it reaches the network by the quickest, and is there whichever of them fails next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::client::{NodeClient, SubmitAnswer};
use super::error::NodeError;
use super::settings::NodeSettings;

/// The nodes in the operator's order of preference.
#[derive(Debug)]
pub struct Nodes {
    clients: Box<[NodeClient]>,
    active: AtomicUsize,
}

/// One node's answer to a block.
type Answer = Result<SubmitAnswer, NodeError>;

/// A block on its way to every node.
#[derive(Debug)]
pub struct Submission {
    /// The best answer: the first that took the block, or, when none did, the kindest.
    pub answer: Answer,
    slower: JoinSet<(usize, Answer)>,
}

impl Nodes {
    /// Prepares a client for each; nothing is sent yet. The first is the one to be followed.
    ///
    /// # Errors
    /// [`NodeError::Settings`] where an address cannot work.
    pub fn new(first: NodeSettings, backups: Vec<NodeSettings>) -> Result<Self, NodeError> {
        let clients =
            std::iter::once(first).chain(backups).map(NodeClient::new).collect::<Result<_, _>>()?;
        Ok(Self { clients, active: AtomicUsize::new(0) })
    }

    /// The node that is followed now.
    #[must_use]
    pub fn active(&self) -> &NodeClient {
        &self.clients[self.active_index()]
    }

    /// Its place in the operator's order.
    #[must_use]
    pub fn active_index(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// All of them, in the operator's order; never empty.
    #[must_use]
    pub fn all(&self) -> &[NodeClient] {
        &self.clients
    }

    pub(super) fn activate(&self, index: usize) {
        self.active.store(index, Ordering::Relaxed);
    }

    /// Hands a block to every node at once, and returns with the first that takes it. Run
    /// [`Submission::finish`] so that the slower ones get it as well.
    pub async fn submit_block(self: &Arc<Self>, block: &Arc<[u8]>) -> Submission {
        let mut under_way = JoinSet::new();
        for index in 0..self.clients.len() {
            let (nodes, block) = (Arc::clone(self), Arc::clone(block));
            under_way
                .spawn(async move { (index, nodes.clients[index].submit_block(&block).await) });
        }
        let mut best: Option<Answer> = None;
        while let Some(joined) = under_way.join_next().await {
            let Ok((index, answer)) = joined else { continue };
            self.report(index, &answer);
            let taken = rank(&answer) <= TAKEN;
            if best.as_ref().is_none_or(|best| rank(&answer) < rank(best)) {
                best = Some(answer);
            }
            if taken {
                break;
            }
        }
        let answer = best.unwrap_or_else(|| Err(self.clients[0].lost("submitblock")));
        Submission { answer, slower: under_way }
    }

    /// Makes every node prefer this block (internal order) to others of the same height that it
    /// saw first. What a node answers changes nothing for the pool, and is only told.
    pub async fn prefer_block(self: &Arc<Self>, hash: [u8; 32]) {
        let mut under_way = JoinSet::new();
        for index in 0..self.clients.len() {
            let nodes = Arc::clone(self);
            under_way.spawn(async move { nodes.clients[index].prefer_block(&hash).await });
        }
        while let Some(joined) = under_way.join_next().await {
            if let Ok(Err(error)) = joined {
                tracing::warn!("{error}");
            }
        }
    }

    /// Says what a node answered, where the pool has more than one.
    fn report(&self, index: usize, answer: &Answer) {
        let client = &self.clients[index];
        match answer {
            Ok(answer) if self.clients.len() > 1 => {
                tracing::info!("node {}: submitblock: {}", client.url(), answer.as_str());
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

impl Submission {
    /// Waits for the nodes that have not answered yet.
    pub async fn finish(mut self, nodes: &Nodes) {
        while let Some(joined) = self.slower.join_next().await {
            if let Ok((index, answer)) = joined {
                nodes.report(index, &answer);
            }
        }
    }
}

/// The worst rank at which a node has the block on its best chain, as far as it says.
const TAKEN: u8 = 1;

/// Answers from the best to the worst.
const fn rank(answer: &Answer) -> u8 {
    match answer {
        Ok(SubmitAnswer::Accepted) => 0,
        Ok(SubmitAnswer::Duplicate) => TAKEN,
        Ok(SubmitAnswer::Inconclusive) => 2,
        Ok(SubmitAnswer::Rejected(_)) => 3,
        Ok(SubmitAnswer::DuplicateInvalid) => 4,
        Err(_) => 5,
    }
}
