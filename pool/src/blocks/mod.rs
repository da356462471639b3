//! Blocks: from a share that meets the network's target to money that may be spent.
//!
//! Read [`Finder::run`] first: each found block is written to the ledger and handed to the node
//! by a task of its own, so that neither a slow lookup nor another block is ever in its way. Then
//! [`Follower::run`], which looks where the blocks are until they are a hundred deep or lost. The
//! chain is the truth: what `submitblock` answers is only written down. On start every block
//! whose fate is open is looked up, and handed in again while the node does not know it.

mod desk;
mod follow;

pub use desk::Desk;
pub use follow::{Follower, Tracked};

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bitcoin::{ScriptBuf, Transaction, consensus::encode::deserialize};
use ledger::{BlockId, Candidate, Direct, SliceIndex, WorkerId};
use stratum::v1::server::AcceptedShare;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use crate::{
    coinbase::assemble_block,
    direct,
    ledger_task::LedgerUnavailable,
    node::{Seen, Template},
};

/// A block goes to the node once it is on disk, or after this long if the disk is slow: a crash
/// must not leave a block on the chain that the ledger never heard of, and a slow disk must not
/// lose the race.
pub(crate) const RECORD_FIRST: Duration = Duration::from_millis(500);

/// Nodes that have not answered to a block when another one has taken it get this long.
const SLOWER_NODES: Duration = Duration::from_secs(8);
/// Jobs whose templates are kept for each tip: more than any session keeps. A tip that stays for a
/// day must not fill the memory.
const JOBS_PER_TIP: usize = 1024;

/// A share that is a block, and the ledger's number of the worker that found it.
#[derive(Debug)]
pub struct Found {
    /// Who.
    pub finder: WorkerId,
    /// What.
    pub share: AcceptedShare,
    /// Told once the block is on disk, or cannot be: the share's own reply waits for that.
    pub recorded: oneshot::Sender<()>,
}

/// Takes shares that are blocks to disk and node.
#[derive(Debug)]
pub struct Finder {
    /// Ledger and node.
    pub desk: Desk,
    /// Shares that are blocks.
    pub found: mpsc::Receiver<Found>,
    /// Which template each job was built on.
    pub origins: mpsc::Receiver<(u64, Arc<Seen>)>,
    /// Where the follower hears of new blocks.
    pub tracked: mpsc::Sender<Tracked>,
    /// The pool's own output, and the network that the others' addresses are of.
    pub own: (ScriptBuf, bitcoin::Network),
}

impl Finder {
    /// Runs until nobody can find blocks any more (every connection has ended) and those found
    /// are written and handed in.
    ///
    /// # Errors
    /// When the ledger has stopped.
    pub async fn run(mut self) -> Result<(), LedgerUnavailable> {
        let mut origins = Origins::default();
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some((job, seen)) = self.origins.recv() => origins.add(job, seen),
                found = self.found.recv() => {
                    let Some(found) = found else { break };
                    if let Some(candidate) = origins.candidate(&found, &self.own) {
                        let (desk, tracked) = (self.desk.clone(), self.tracked.clone());
                        under_way.spawn(deliver(desk, candidate, tracked, found.recorded));
                    }
                }
                Some(delivered) = under_way.join_next() => {
                    if let Err(error) = finished(delivered) {
                        // The others are still on their way to the node.
                        while under_way.join_next().await.is_some() {}
                        return Err(error);
                    }
                }
            }
        }
        let mut outcome = Ok(());
        while let Some(delivered) = under_way.join_next().await {
            let finished = finished(delivered);
            outcome = outcome.and(finished);
        }
        outcome
    }
}

/// Writes one block down, hands it in, and has it followed.
async fn deliver(
    desk: Desk,
    candidate: Candidate,
    tracked: mpsc::Sender<Tracked>,
    told: oneshot::Sender<()>,
) -> Result<(), LedgerUnavailable> {
    let (hash, height) = (candidate.hash, candidate.height);
    let block = Arc::from(candidate.block.as_slice());
    let description = describe(&candidate);
    let mut record = Box::pin(desk.record(candidate));
    let recorded = timeout(RECORD_FIRST, &mut record).await;
    drop(told);
    tracing::info!(height, "found block {}", shown(&hash));
    if recorded.is_err() {
        // The last resort: whoever reads this can settle the block by hand.
        tracing::error!("block {} is not in the ledger yet; {description}", shown(&hash));
    }
    let submission = desk.hand_in(hash, &block).await;
    let recorded = match recorded {
        Ok(recorded) => recorded,
        Err(_) => record.await,
    };
    if let Err(error) = recorded {
        tracing::error!("block {} is not in the ledger: {error}; {description}", shown(&hash));
        return Err(error);
    }
    let answered = desk.note_submitted(hash, &submission.answer).await?;
    let handed_in = answered.then(|| desk.nodes.active_index());
    // A closed channel is a pool that stops; the next start takes the block up from the ledger.
    let _ = tracked.send(Tracked { hash, height, on_chain: false, handed_in }).await;
    // Whoever has not answered by now is not waited for when the pool stops.
    let _ = timeout(SLOWER_NODES, submission.finish(&desk.nodes)).await;
    Ok(())
}

fn finished(
    delivered: Result<Result<(), LedgerUnavailable>, tokio::task::JoinError>,
) -> Result<(), LedgerUnavailable> {
    delivered.unwrap_or_else(|error| {
        tracing::error!("a block's task failed: {error}");
        Ok(())
    })
}

/// Tips whose templates are kept: the newest, and those before it whose jobs sessions look for
/// blocks in (`Limits::late_epochs`).
const TIPS: usize = 2;

/// The templates that jobs were built on, for the newest tips.
#[derive(Debug, Default)]
struct Origins {
    jobs: BTreeMap<u64, Arc<Seen>>,
    tips: [Option<[u8; 32]>; TIPS],
}

impl Origins {
    fn add(&mut self, job: u64, seen: Arc<Seen>) {
        let tip = Some(seen.template.prev_hash);
        if self.tips[0] != tip {
            self.tips = [tip, self.tips[0]];
            let tips = self.tips;
            self.jobs.retain(|_, seen| tips.contains(&Some(seen.template.prev_hash)));
        }
        self.jobs.insert(job, seen);
        while self.jobs.len() > TIPS * JOBS_PER_TIP {
            self.jobs.pop_first();
        }
    }

    fn candidate(
        &self,
        Found { finder, share, .. }: &Found,
        (own, network): &(ScriptBuf, bitcoin::Network),
    ) -> Option<Candidate> {
        let hash = shown(&share.judged.hash);
        let Some(seen) = self.jobs.get(&share.job.id.get()) else {
            tracing::error!("block {hash} is of a job whose template is gone");
            return None;
        };
        let coinbase = share.coinbase();
        let direct = deserialize::<Transaction>(&coinbase)
            .map(|coinbase| direct::paid(&coinbase, own, *network))
            .unwrap_or_default();
        match assemble_block(&share.judged.header, &coinbase, &seen.template) {
            Ok(block) => Some(candidate(share, *finder, &seen.template, direct, block)),
            Err(error) => {
                tracing::error!("block {hash} cannot be assembled: {error}");
                None
            }
        }
    }
}

fn candidate(
    share: &AcceptedShare,
    finder: WorkerId,
    template: &Template,
    direct: Vec<Direct>,
    block: Vec<u8>,
) -> Candidate {
    Candidate {
        hash: share.judged.hash,
        height: template.height,
        reward: template.coinbase_value,
        network_work: share.job.template.network_target.work(),
        finder,
        committed_slice: SliceIndex::new(share.job.tag),
        direct,
        block,
        at: share.at,
    }
}

/// Everything that the ledger would have kept, as one line.
fn describe(candidate: &Candidate) -> String {
    format!(
        "height {} reward {} finder {} slice {} block {}",
        candidate.height,
        candidate.reward.to_sat(),
        candidate.finder,
        candidate.committed_slice,
        hex::encode(&candidate.block)
    )
}

/// A hash as people and explorers print it: the bytes reversed.
#[must_use]
pub fn shown(hash: &BlockId) -> String {
    let mut reversed = *hash;
    reversed.reverse();
    hex::encode(reversed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stratum::v1::server::Limits;
    use units::{Moment, UnixMillis};

    use super::*;

    fn seen(tip: u8) -> Arc<Seen> {
        let template = Template::from_json(
            &json!({
                "version": 0x2000_0000, "height": 101, "bits": "207fffff", "curtime": 1_700_000_000,
                "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64, "transactions": [],
                "previousblockhash": hex::encode([tip; 32]),
            })
            .to_string(),
        );
        let at = Moment { mono: Duration::ZERO, unix: UnixMillis::new(0) };
        Arc::new(Seen::new(template.unwrap(), at))
    }

    #[test]
    fn templates_are_kept_for_as_many_tips_as_sessions_look_for_blocks_in() {
        let mut origins = Origins::default();
        for (job, tip) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (6, 2)] {
            origins.add(job, seen(tip));
        }
        assert_eq!(origins.jobs.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(u64::try_from(TIPS).unwrap(), 1 + Limits::default().late_epochs);
    }
}
