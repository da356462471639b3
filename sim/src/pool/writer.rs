//! The ledger's one writer, as `pool::ledger_task` is: shares in batches, answered once they are on
//! disk; refused while it is full; found blocks written down before they are handed in, and tried
//! again until they are.

use core::time::Duration;
use std::collections::VecDeque;

use ledger::{BlockId, Candidate, Ledger, LedgerError, Share, SliceIndex, WorkerId};
use stratum::{
    judge::Reason,
    v1::server::{AcceptedShare, ShareToken},
};
use units::{Sats, Work};

use crate::{disk::is_passing, sabotage::Sabotage};

use super::{Around, coinbase::REWARD, work::network_target};

/// Most shares in one batch.
const BATCH_MAX: u64 = 40;
/// A block is handed in after this time in any case.
const BLOCK_WAITS: Duration = Duration::from_millis(500);

/// A share on its way to the ledger and back.
#[derive(Debug)]
pub(super) struct Credit {
    pub(super) connection: u64,
    pub(super) token: ShareToken,
    pub(super) share: AcceptedShare,
    pub(super) account: String,
    /// What is credited.
    pub(super) work: Work,
}

/// A block on its way to the ledger and to the node.
#[derive(Debug)]
struct Found {
    share: AcceptedShare,
    account: String,
    /// Its share, written after it; none where that was stale.
    credit: Option<Credit>,
    since: Duration,
    handed_in: bool,
}

/// Where a share is answered, and how.
pub(super) type Answer = (u64, ShareToken, Result<(), Reason>);

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    queue: VecDeque<Credit>,
    found: Vec<Found>,
    /// Blocks for the node, each with the block that it builds on.
    pub(super) to_hand_in: Vec<(BlockId, [u8; 32])>,
}

impl Writer {
    pub(super) fn add(&mut self, credit: Credit, now: Duration) {
        if credit.share.judged.is_block {
            let (share, account) = (credit.share.clone(), credit.account.clone());
            let credit = Some(credit);
            self.found.push(Found { share, account, credit, since: now, handed_in: false });
        } else {
            self.queue.push_back(credit);
        }
    }

    /// A stale share that is a block.
    pub(super) fn add_stale(&mut self, share: AcceptedShare, account: String, now: Duration) {
        self.found.push(Found { share, account, credit: None, since: now, handed_in: false });
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.found.is_empty()
    }

    /// Writes down found blocks, those that the disk takes.
    pub(super) fn blocks(
        &mut self,
        ledger: &mut Ledger,
        around: &Around<'_>,
    ) -> Result<(), String> {
        let now = around.now.mono;
        for mut found in core::mem::take(&mut self.found) {
            let recorded = around.disk.room(now).and_then(|()| record(ledger, &found));
            if let Err(error) = &recorded
                && !is_passing(error)
            {
                return Err(error.to_string());
            }
            let waited = now.saturating_sub(found.since) >= BLOCK_WAITS;
            if !found.handed_in && (recorded.is_ok() || waited) {
                let share = &found.share;
                let hash = share.judged.hash;
                self.to_hand_in.push((hash, share.job.template.prev_hash));
                self.queue.extend(found.credit.take());
                found.handed_in = true;
            }
            if recorded.is_err() {
                self.found.push(found);
            }
        }
        Ok(())
    }

    /// Commits one batch, and says how its shares are answered.
    pub(super) fn commit(
        &mut self,
        ledger: &mut Ledger,
        around: &mut Around<'_>,
    ) -> Result<Vec<Answer>, String> {
        let most = usize::try_from(1 + around.rng.below(BATCH_MAX)).unwrap_or(1);
        let batch: Vec<Credit> = self.queue.drain(..most.min(self.queue.len())).collect();
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let written = around.disk.room(around.now.mono).and_then(|()| write(ledger, &batch));
        let verdict = match written {
            Ok(()) => Ok(()),
            Err(error) if is_passing(&error) => Err(Reason::LedgerUnavailable),
            Err(error) => return Err(error.to_string()),
        };
        if verdict.is_ok() {
            for credit in &batch {
                around.books.credit(&credit.share, &credit.account, credit.work)?;
                around.trace.note(b'c', credit.connection, &credit.share.judged.header);
            }
            if around.sabotage == Some(Sabotage::TwiceCredited) {
                write(ledger, &batch).map_err(|error| error.to_string())?;
            }
        }
        let quiet = around.sabotage == Some(Sabotage::SilentDisk);
        let verdict = if quiet { Ok(()) } else { verdict };
        Ok(batch.iter().map(|credit| (credit.connection, credit.token, verdict)).collect())
    }

    /// The mistake of answering what is queued.
    pub(super) fn answer_early(&self) -> Vec<Answer> {
        self.queue.iter().map(|credit| (credit.connection, credit.token, Ok(()))).collect()
    }
}

fn write(ledger: &mut Ledger, batch: &[Credit]) -> Result<(), LedgerError> {
    let mut shares = Vec::with_capacity(batch.len());
    for credit in batch {
        let share = &credit.share;
        shares.push(Share {
            worker: ledger.worker(&credit.account, "", share.at)?,
            work: credit.work,
            network_work: share.job.network_work,
            at: share.at,
            header: share.judged.header,
        });
    }
    ledger.commit(&shares).map(|_| ())
}

fn record(ledger: &mut Ledger, found: &Found) -> Result<(), LedgerError> {
    let finder = ledger.worker(&found.account, "", found.share.at)?;
    ledger.candidate(&candidate(&found.share, finder))
}

fn candidate(share: &AcceptedShare, finder: WorkerId) -> Candidate {
    Candidate {
        hash: share.judged.hash,
        height: share.job.template.height,
        reward: Sats::from_sat(REWARD).unwrap_or(Sats::ZERO),
        network_work: network_target().work(),
        finder,
        committed_slice: SliceIndex::new(share.job.tag),
        direct: Vec::new(),
        block: [&share.judged.header[..], &[1], &share.coinbase()].concat(),
        at: share.at,
    }
}
