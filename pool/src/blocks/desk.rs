//! What both block tasks do with the ledger and the node: write down, hand in, note answers.

use std::sync::Arc;

use ledger::{BlockId, Candidate, LedgerError};

use super::shown;
use crate::{
    ledger_task::{BlockNews, Command, LedgerHandle, LedgerUnavailable},
    node::{NodeClient, NodeError, SubmitAnswer},
};

/// The ledger and the node, side by side.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The node.
    pub node: Arc<NodeClient>,
    /// The ledger.
    pub ledger: LedgerHandle,
}

impl Desk {
    /// Writes a found block down; it is on disk when this returns.
    pub(super) async fn record(&self, candidate: Candidate) -> Result<(), LedgerUnavailable> {
        self.ledger.ask(|reply| Command::Candidate(Box::new(candidate), reply)).await
    }

    /// Hands in a block that the node does not know: it was found by a former run, or while the
    /// node was down. True when the node has answered now.
    pub(super) async fn submit_again(&self, hash: BlockId) -> Result<bool, LedgerUnavailable> {
        let bytes = self.ledger.ask(|reply| Command::BlockBytes(hash, reply)).await?;
        let Some(bytes) = bytes else { return Ok(true) };
        tracing::info!("handing in block {} again", shown(&hash));
        let answer = self.node.submit_block(&bytes).await;
        self.note_submitted(hash, answer).await
    }

    /// Writes down what the node said; true when it said anything.
    pub(super) async fn note_submitted(
        &self,
        hash: BlockId,
        answer: Result<SubmitAnswer, NodeError>,
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
