//! What all shards share and none owns: extranonces, and subscriptions that wait for their miner.
//!
//! Read [`Desk::run`]. One task answers all shards by letters, so that two connections never have
//! one extranonce 1, whichever shard they are on.

use std::ops::Range;

use stratum::v1::server::{Kept, RequestToken, SubscriptionId};
use tokio::sync::mpsc;

use super::mail::{Mail, Mailbox, PeerKey};
use crate::{
    clock::Clock,
    ledger_task::{Command, LedgerHandle, LedgerUnavailable},
    resume::Table,
};

/// Extranonces leased from the ledger at once, and given to a shard. A crash wastes at most these
/// for each shard, of 2^32.
pub(super) const LEASE: u32 = 4096;
/// Requests that may wait. A shard that finds no room keeps nothing and resumes nothing.
const QUEUE: usize = 8192;

/// What a shard asks.
#[derive(Debug)]
pub(super) enum Request {
    /// Keep this for its miner's return.
    Keep(Box<Kept>),
    /// Hand out what is kept under this id, if anything is.
    TakeUp(SubscriptionId, PeerKey, RequestToken, Mailbox),
    /// More extranonces.
    Lease(Mailbox),
}

/// The owner.
#[derive(Debug)]
pub(super) struct Desk {
    ledger: LedgerHandle,
    clock: Clock,
    waiting: Table,
    requests: mpsc::Receiver<Request>,
}

impl Desk {
    /// A desk with nothing kept, and the way to it.
    pub(super) fn new(ledger: LedgerHandle, clock: Clock) -> (Self, mpsc::Sender<Request>) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Self { ledger, clock, waiting: Table::new(), requests }, sender)
    }

    /// Answers until every shard has gone.
    ///
    /// # Errors
    /// When the ledger has stopped or has no extranonces left.
    pub(super) async fn run(mut self) -> Result<(), LedgerUnavailable> {
        while let Some(request) = self.requests.recv().await {
            let now = self.clock.now().mono;
            match request {
                Request::Keep(kept) => self.waiting.put(*kept, now),
                Request::TakeUp(id, peer, token, shard) => {
                    let kept = self.waiting.take(id, now).map(Box::new);
                    shard.post(Mail::Resumed(peer, token, kept));
                }
                Request::Lease(shard) => {
                    shard.post(Mail::Extranonces(lease(&self.ledger).await?));
                }
            }
        }
        Ok(())
    }
}

/// Extranonces that nobody had.
///
/// # Errors
/// When the ledger has stopped or has none left.
pub(super) async fn lease(ledger: &LedgerHandle) -> Result<Range<u32>, LedgerUnavailable> {
    ledger.ask(|reply| Command::LeaseExtranonces(LEASE, reply)).await
}
