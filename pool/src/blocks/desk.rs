//! What both block tasks do with the ledger and the node: write down, hand in, note answers.

use std::sync::Arc;

use ledger::{BlockId, Candidate, LedgerError};
use tokio::time::timeout;

use super::{SLOWER_NODES, shown};
use crate::{
    ledger_task::{BlockNews, Command, LedgerHandle, LedgerUnavailable},
    node::{NodeError, Nodes, Submission, SubmitAnswer},
};

/// The ledger and the nodes, side by side.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The nodes.
    pub nodes: Arc<Nodes>,
    /// The ledger.
    pub ledger: LedgerHandle,
}

impl Desk {
    /// Writes a found block down; it is on disk when this returns.
    pub(super) async fn record(&self, candidate: Candidate) -> Result<(), LedgerUnavailable> {
        let candidate = Box::new(candidate);
        self.ledger.ask(|reply| Command::Candidate(candidate.clone(), reply)).await
    }

    /// Hands in a block that the followed node does not know: it was found by a former run, or
    /// while no node was there. True when a node has answered now.
    pub(super) async fn submit_again(&self, hash: BlockId) -> Result<bool, LedgerUnavailable> {
        let bytes = self.ledger.ask(|reply| Command::BlockBytes(hash, reply)).await?;
        let Some(bytes) = bytes else { return Ok(true) };
        tracing::info!("handing in block {} again", shown(&hash));
        let submission = self.hand_in(hash, &bytes.into()).await;
        let answered = self.note_submitted(hash, &submission.answer).await?;
        // Lookups of other blocks wait behind this one.
        let _ = timeout(SLOWER_NODES, submission.finish(&self.nodes)).await;
        Ok(answered)
    }

    /// Gives a block to every node. One that came second to another's of its height is put first:
    /// a node keeps to what it saw first, and the pool's own work would bury its own block. One
    /// that came second to the pool's own is not: the network has the first by now.
    pub(super) async fn hand_in(&self, hash: BlockId, block: &Arc<[u8]>) -> Submission {
        let submission = self.nodes.submit_block(block).await;
        if submission.answer == Ok(SubmitAnswer::Inconclusive) && !self.tip_is_ours().await {
            self.nodes.prefer_block(hash).await;
        }
        submission
    }

    /// Whether the newest block of the followed node is one of the pool's.
    async fn tip_is_ours(&self) -> bool {
        let Ok(info) = self.nodes.active().blockchain_info().await else { return false };
        let known = self.ledger.ask(|reply| Command::BlockBytes(info.best_block, reply)).await;
        matches!(known, Ok(Some(_)))
    }

    /// Writes down what the nodes said; true when one said anything.
    pub(super) async fn note_submitted(
        &self,
        hash: BlockId,
        answer: &Result<SubmitAnswer, NodeError>,
    ) -> Result<bool, LedgerUnavailable> {
        let answered = answer.is_ok();
        let said = match answer {
            Ok(answer) => answer.as_str().to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!("block {}: {said}", shown(&hash));
        self.news(hash, BlockNews::Submitted(said)).await?;
        Ok(answered)
    }

    /// Writes down what became of a block.
    pub(super) async fn news(
        &self,
        hash: BlockId,
        news: BlockNews,
    ) -> Result<(), LedgerUnavailable> {
        let written =
            self.ledger.ask(|reply| Command::Block { hash, news: news.clone(), reply }).await;
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
