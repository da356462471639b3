//! Blocks: from a share that meets the network's target to money that may be spent.
//!
//! Read [`BlockTask::run`]. A found block is given to the node and written to the ledger at the
//! same time, neither waiting for the other; then it is followed until it is a hundred deep or
//! lost. The chain is the truth: what `submitblock` answers is only written down. On start, every
//! block whose fate is open is looked up, and handed in again if the node does not know it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    coinbase::assemble_block,
    ledger_task::{BlockNews, Command, LedgerHandle, LedgerUnavailable},
    node::{NodeClient, NodeError, Seen, SubmitAnswer, Template},
};
use ledger::{BlockId, BlockState, Candidate, LedgerError, SliceIndex, WorkerId};
use stratum::v1::server::AcceptedShare;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

/// How often blocks are looked up while no new template says that the chain has moved.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);
/// Templates kept for jobs that may still be solved.
const TEMPLATES_KEPT: usize = 256;

/// What the block task owns.
#[derive(Debug)]
pub struct BlockTask {
    /// The node.
    pub node: Arc<NodeClient>,
    /// The ledger.
    pub ledger: LedgerHandle,
    /// Shares that are blocks.
    pub found: mpsc::Receiver<AcceptedShare>,
    /// Which template each job was built on.
    pub origins: mpsc::Receiver<(u64, Arc<Seen>)>,
    /// A new template says that the chain has moved.
    pub templates: watch::Receiver<Option<Arc<Seen>>>,
    /// Confirmations at which a coinbase may be spent.
    pub maturity: u32,
}

/// The blocks whose fate is open.
#[derive(Debug, Default)]
struct Open {
    blocks: HashMap<BlockId, Followed>,
    /// The last tip seen, to notice a reorganisation by.
    tip: Option<[u8; 32]>,
}

#[derive(Debug)]
struct Followed {
    height: u32,
    /// Whether the ledger has it on the chain.
    on_chain: bool,
}

impl BlockTask {
    /// Runs until nobody can find blocks any more: every connection has ended.
    ///
    /// # Errors
    /// When the ledger has stopped.
    pub async fn run(mut self) -> Result<(), LedgerUnavailable> {
        let mut open = self.reconcile().await?;
        let mut origins = BTreeMap::new();
        let mut tick = interval(FOLLOW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some((job, template)) = self.origins.recv() => keep(&mut origins, job, template),
                share = self.found.recv() => {
                    let Some(share) = share else { return Ok(()) };
                    self.found(&share, &origins, &mut open).await?;
                }
                changed = self.templates.changed() => {
                    if changed.is_ok() {
                        self.follow(&mut open).await?;
                    } else {
                        // No more templates: the shutdown has begun; found blocks still come.
                        self.templates = watch::channel(None).1;
                    }
                }
                _ = tick.tick() => self.follow(&mut open).await?,
            }
        }
    }

    /// Takes up the blocks that a former run left open.
    async fn reconcile(&self) -> Result<Open, LedgerUnavailable> {
        let mut open = Open::default();
        for block in self.ledger.ask(Command::Unresolved).await? {
            tracing::info!(height = block.height, "taking up block {}", shown(&block.hash));
            let on_chain = block.state == BlockState::OnChain;
            if !on_chain && matches!(self.node.block_header(&block.hash).await, Ok(None)) {
                self.submit_again(block.hash).await?;
            }
            open.blocks.insert(block.hash, Followed { height: block.height, on_chain });
        }
        self.follow(&mut open).await?;
        Ok(open)
    }

    async fn submit_again(&self, hash: BlockId) -> Result<(), LedgerUnavailable> {
        let bytes = self.ledger.ask(|reply| Command::BlockBytes(hash, reply)).await?;
        if let Some(bytes) = bytes {
            let answer = self.node.submit_block(&bytes).await;
            self.note_submitted(hash, answer).await?;
        }
        Ok(())
    }

    async fn found(
        &self,
        share: &AcceptedShare,
        origins: &BTreeMap<u64, Arc<Seen>>,
        open: &mut Open,
    ) -> Result<(), LedgerUnavailable> {
        let hash = share.judged.hash;
        let Some(seen) = origins.get(&share.job.id.get()) else {
            tracing::error!("block {} of a job whose template is gone", shown(&hash));
            return Ok(());
        };
        let Some(candidate) = candidate(share, &seen.template) else { return Ok(()) };
        tracing::info!(height = candidate.height, "found block {}", shown(&hash));
        let followed = Followed { height: candidate.height, on_chain: false };
        let block = candidate.block.clone();
        let record = self.ledger.ask(|reply| Command::Candidate(Box::new(candidate), reply));
        // Both at once: a slow disk must not cost the block, nor a slow node its record.
        let (recorded, submitted) = tokio::join!(record, self.node.submit_block(&block));
        recorded?;
        self.note_submitted(hash, submitted).await?;
        open.blocks.insert(hash, followed);
        Ok(())
    }

    async fn note_submitted(
        &self,
        hash: BlockId,
        answer: Result<SubmitAnswer, NodeError>,
    ) -> Result<(), LedgerUnavailable> {
        let said = match answer {
            Ok(answer) => answer.as_str().to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!("block {}: {said}", shown(&hash));
        self.news(hash, BlockNews::Submitted(said)).await
    }

    /// Looks where the open blocks are. While the last tip is still on the chain, blocks that
    /// were on it are on it still, and only the others and those about to mature are asked for.
    async fn follow(&self, open: &mut Open) -> Result<(), LedgerUnavailable> {
        if open.blocks.is_empty() {
            return Ok(());
        }
        let Ok(info) = self.node.blockchain_info().await else { return Ok(()) };
        let extends = match open.tip {
            Some(tip) => {
                matches!(self.node.block_header(&tip).await, Ok(Some(seen)) if seen.confirmations > 0)
            }
            None => false,
        };
        let mut resolved = Vec::new();
        for (hash, followed) in &mut open.blocks {
            let depth = (info.blocks + 1).saturating_sub(followed.height);
            if extends && followed.on_chain && depth < self.maturity {
                continue;
            }
            if self.look_up(*hash, followed, info.blocks).await? {
                resolved.push(*hash);
            }
        }
        for hash in resolved {
            open.blocks.remove(&hash);
        }
        open.tip = Some(info.best_block);
        Ok(())
    }

    /// Writes what the chain says of one block; true when nothing more can happen to it.
    async fn look_up(
        &self,
        hash: BlockId,
        followed: &mut Followed,
        tip_height: u32,
    ) -> Result<bool, LedgerUnavailable> {
        let Ok(header) = self.node.block_header(&hash).await else { return Ok(false) };
        match header.map(|header| header.confirmations) {
            Some(confirmations) if confirmations > 0 => {
                let depth = u32::try_from(confirmations).unwrap_or(u32::MAX);
                self.news(hash, BlockNews::OnChain(depth)).await?;
                followed.on_chain = true;
                Ok(depth >= self.maturity)
            }
            // Known to the node, but beside the chain; or unknown and overtaken.
            other => {
                let behind = tip_height.saturating_sub(followed.height);
                if other.is_none() && behind == 0 {
                    return Ok(false);
                }
                self.news(hash, BlockNews::Orphaned).await?;
                followed.on_chain = false;
                if behind >= self.maturity {
                    self.news(hash, BlockNews::GivenUp).await?;
                }
                Ok(behind >= self.maturity)
            }
        }
    }

    async fn news(&self, hash: BlockId, news: BlockNews) -> Result<(), LedgerUnavailable> {
        let written = self.ledger.ask(|reply| Command::Block { hash, news, reply }).await;
        match written {
            // The ledger's own refusal (an order of events that cannot be) must not end the pool.
            Err(LedgerUnavailable::Ledger(error @ LedgerError::Refused(_))) => {
                tracing::error!("block {}: {error}", shown(&hash));
                Ok(())
            }
            other => other,
        }
    }
}

fn candidate(share: &AcceptedShare, template: &Template) -> Option<Candidate> {
    let block = assemble_block(&share.judged.header, &share.coinbase(), template);
    let Ok(block) = block else {
        tracing::error!("block {} cannot be assembled", shown(&share.judged.hash));
        return None;
    };
    Some(Candidate {
        hash: share.judged.hash,
        height: template.height,
        reward: template.coinbase_value,
        network_work: share.job.template.network_target.work(),
        finder: WorkerId::new(share.worker.get()),
        committed_slice: SliceIndex::new(share.job.tag),
        block,
        at: share.at,
    })
}

fn keep(origins: &mut BTreeMap<u64, Arc<Seen>>, job: u64, seen: Arc<Seen>) {
    origins.insert(job, seen);
    while origins.len() > TEMPLATES_KEPT {
        origins.pop_first();
    }
}

/// A hash as people and explorers print it: the bytes reversed.
#[must_use]
pub fn shown(hash: &BlockId) -> String {
    let mut reversed = *hash;
    reversed.reverse();
    hex::encode(reversed)
}
