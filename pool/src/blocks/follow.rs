//! Looks where found blocks are, until they are mature or given up.
//!
//! While the last tip seen is still on the chain, blocks that were on it are on it still, so that
//! only the others and those about to mature are asked for: a round costs a few calls, however
//! many blocks are open.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ledger::{BlockId, BlockState};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{Desk, shown};
use crate::{
    ledger_task::{BlockNews, Command, LedgerUnavailable},
    node::Seen,
};

/// How often blocks are looked up while no new template says that the chain has moved.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);
/// The most of these from one time that a block is handed in again to the next: a minute.
const AGAIN_MOST: u32 = 12;

/// A block whose fate is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// Its hash.
    pub hash: BlockId,
    /// The height that it would have.
    pub height: u32,
    /// Whether the ledger has it on the chain.
    pub on_chain: bool,
    /// The place of the node that was followed when a node answered to it: only that one's not
    /// knowing the block means anything.
    pub handed_in: Option<usize>,
}

/// Follows blocks on the chain.
#[derive(Debug)]
pub struct Follower {
    /// Ledger and node.
    pub desk: Desk,
    /// New blocks.
    pub tracked: mpsc::Receiver<Tracked>,
    /// A new template says that the chain has moved.
    pub templates: watch::Receiver<Option<Arc<Seen>>>,
    /// Confirmations at which a coinbase may be spent.
    pub maturity: u32,
}

/// What caused a round of lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Time has passed: what the node does not know may be handed in again.
    Tick,
    /// The chain has moved.
    Template,
}

/// The open blocks and the last tip that all of them were looked up under.
#[derive(Debug, Default)]
struct Open {
    blocks: HashMap<BlockId, (Tracked, Again)>,
    tip: Option<[u8; 32]>,
}

impl Open {
    fn add(&mut self, block: Tracked) {
        self.blocks.insert(block.hash, (block, Again::default()));
    }
}

/// When a block that the node does not know is handed in again: at the next look, then after
/// twice as many each time, since a node that lacks its parent may lack it for long.
#[derive(Debug, Default)]
struct Again {
    /// The node that it was last handed in to: another one gets it at once.
    node: Option<usize>,
    /// Looks to be let pass.
    left: u32,
    /// Looks from the last time to the next.
    step: u32,
}

impl Again {
    /// Whether this look is the one.
    fn due(&mut self, node: usize) -> bool {
        if self.node != Some(node) {
            *self = Self { node: Some(node), ..Self::default() };
        }
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        self.step = (self.step * 2).clamp(1, AGAIN_MOST);
        self.left = self.step - 1;
        true
    }
}

impl Follower {
    /// Runs until nobody can find blocks any more.
    ///
    /// # Errors
    /// When the ledger has stopped.
    pub async fn run(mut self) -> Result<(), LedgerUnavailable> {
        let mut open = self.take_up().await?;
        let mut tick = interval(FOLLOW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut templates_end, mut on) = (false, None);
        loop {
            tokio::select! {
                biased;
                tracked = self.tracked.recv() => {
                    let Some(tracked) = tracked else { return Ok(()) };
                    open.add(tracked);
                    // The template that the block brought about may have been here before it.
                    self.round(&mut open, Cause::Template).await?;
                }
                changed = self.templates.changed(), if !templates_end => match changed {
                    Ok(()) => {
                        let prev_hash = |seen: &Arc<Seen>| seen.template.prev_hash;
                        let tip = self.templates.borrow_and_update().as_ref().map(prev_hash);
                        if std::mem::replace(&mut on, tip) != tip {
                            self.round(&mut open, Cause::Template).await?;
                        }
                    }
                    // The shutdown has begun; found blocks still come.
                    Err(_) => templates_end = true,
                },
                _ = tick.tick() => self.round(&mut open, Cause::Tick).await?,
            }
        }
    }

    /// The blocks that a former run left open; the first tick looks them up.
    async fn take_up(&self) -> Result<Open, LedgerUnavailable> {
        let mut open = Open::default();
        for block in self.desk.ledger.ask(Command::Unresolved).await? {
            tracing::info!(height = block.height, "taking up block {}", shown(&block.hash));
            let on_chain = block.state == BlockState::OnChain;
            let (hash, height) = (block.hash, block.height);
            let handed_in = on_chain.then(|| self.desk.nodes.active_index());
            open.add(Tracked { hash, height, on_chain, handed_in });
        }
        Ok(open)
    }

    async fn round(&self, open: &mut Open, cause: Cause) -> Result<(), LedgerUnavailable> {
        if open.blocks.is_empty() {
            return Ok(());
        }
        let Ok(info) = self.desk.nodes.active().blockchain_info().await else { return Ok(()) };
        let extends = self.extends(open.tip).await;
        let mut complete = true;
        let mut resolved = Vec::new();
        for (hash, (block, again)) in &mut open.blocks {
            let depth = (info.blocks + 1).saturating_sub(block.height);
            if extends && block.on_chain && depth < self.maturity {
                continue;
            }
            match self.look_up(block, again, info.blocks, cause).await? {
                Some(true) => resolved.push(*hash),
                Some(false) => {}
                None => complete = false,
            }
        }
        for hash in resolved {
            open.blocks.remove(&hash);
        }
        // A tip counts as seen only when no lookup under it failed; else all are asked again.
        open.tip = complete.then_some(info.best_block);
        Ok(())
    }

    async fn extends(&self, tip: Option<[u8; 32]>) -> bool {
        let Some(tip) = tip else { return false };
        matches!(self.desk.nodes.active().block_header(&tip).await, Ok(Some(seen)) if seen.confirmations > 0)
    }

    /// Writes what the chain says of one block: `Some(true)` when nothing more can happen to it,
    /// `None` when the node did not say.
    async fn look_up(
        &self,
        block: &mut Tracked,
        again: &mut Again,
        tip_height: u32,
        cause: Cause,
    ) -> Result<Option<bool>, LedgerUnavailable> {
        let hash = block.hash;
        let Ok(header) = self.desk.nodes.active().block_header(&hash).await else {
            return Ok(None);
        };
        if let Some(depth) = header.and_then(|seen| u32::try_from(seen.confirmations).ok())
            && depth > 0
        {
            self.desk.news(hash, BlockNews::OnChain(depth)).await?;
            block.on_chain = true;
            return Ok(Some(depth >= self.maturity));
        }
        let behind = tip_height.saturating_sub(block.height);
        let active = self.desk.nodes.active_index();
        if header.is_none() && (behind == 0 || block.handed_in != Some(active)) {
            if cause == Cause::Tick && again.due(active) {
                block.handed_in = self.desk.submit_again(hash).await?.then_some(active);
            }
            return Ok(Some(false));
        }
        // Known to the node but beside the chain, or refused and overtaken.
        self.desk.news(hash, BlockNews::Orphaned).await?;
        block.on_chain = false;
        if behind >= self.maturity {
            self.desk.news(hash, BlockNews::GivenUp).await?;
        }
        Ok(Some(behind >= self.maturity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_does_not_know_is_handed_in_again_ever_more_rarely() {
        let mut again = Again::default();
        let looks = |again: &mut Again, node, count| -> Vec<usize> {
            (0..count).filter(|_| again.due(node)).collect()
        };
        assert_eq!(looks(&mut again, 0, 60), [0, 1, 3, 7, 15, 27, 39, 51]);
        assert_eq!(looks(&mut again, 1, 4), [0, 1, 3], "another node gets it at once");
    }
}
