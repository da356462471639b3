//! Moving the best chain: connecting, disconnecting, choosing by work, and an operator's verdicts
//! (`ActivateBestChain`, `InvalidateBlock`, `ResetBlockFailureFlags`).

use std::borrow::Cow;
use std::cmp::Reverse;

use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash, Transaction};

use super::super::Reject;
use super::super::index::{GENESIS, Id};
use super::super::store::{Kind, Place, StoreError};
use super::{DevChain, Submission, median_at, next_spot};

impl DevChain {
    /// Declares a block invalid, with all that descends from it; returns false where the block
    /// is unknown or the genesis block.
    ///
    /// # Errors
    /// The file cannot be written or read.
    pub fn invalidate(&mut self, hash: &BlockHash) -> Result<bool, StoreError> {
        let Some(id) = self.index.find(hash).filter(|id| *id != GENESIS) else { return Ok(false) };
        let now = self.now();
        self.store.append(Kind::Invalidate, now.unix, hash.as_byte_array())?;
        self.apply_invalidate(id).map(|()| true)
    }

    /// Takes a verdict back, for the block, its ancestors and its descendants; returns false
    /// where the block is unknown.
    ///
    /// # Errors
    /// The file cannot be written or read.
    pub fn reconsider(&mut self, hash: &BlockHash) -> Result<bool, StoreError> {
        let Some(id) = self.index.find(hash) else { return Ok(false) };
        let now = self.now();
        self.store.append(Kind::Reconsider, now.unix, hash.as_byte_array())?;
        self.apply_reconsider(id).map(|()| true)
    }

    /// Prefers a block to others of as much work that came before it; returns false where the
    /// block is unknown.
    ///
    /// # Errors
    /// The file cannot be written or read.
    pub fn prefer(&mut self, hash: &BlockHash) -> Result<bool, StoreError> {
        let Some(id) = self.index.find(hash) else { return Ok(false) };
        let now = self.now();
        self.store.append(Kind::Prefer, now.unix, hash.as_byte_array())?;
        self.apply_prefer(id).map(|()| true)
    }

    /// Notes a stored block and follows the best chain; the answer is about this block.
    pub(super) fn receive(
        &mut self,
        id: Id,
        place: Place,
        block: &Block,
    ) -> Result<Submission, StoreError> {
        for linked in self.index.receive(id, place, block.txdata.len()) {
            self.offer(linked);
        }
        Ok(match self.activate(Some((id, block)))? {
            None => Submission::Inconclusive,
            Some(Ok(())) => Submission::Accepted,
            Some(Err(reject)) => reject.into(),
        })
    }

    pub(super) fn apply_invalidate(&mut self, id: Id) -> Result<(), StoreError> {
        let mut returned = Vec::new();
        while self.is_active(id) {
            let transactions = self.disconnect_tip()?;
            returned.splice(0..0, transactions);
        }
        self.mark_failed(id);
        self.offer_all();
        self.activate_with(None, returned).map(drop)
    }

    pub(super) fn apply_reconsider(&mut self, id: Id) -> Result<(), StoreError> {
        let mut cleared = self.index.subtree(id);
        cleared.extend(self.index.lineage(id));
        for id in cleared {
            self.index.entry_mut(id).failed = false;
        }
        self.offer_all();
        self.activate(None).map(drop)
    }

    /// Puts a block before all of its work, those preferred earlier included (`PreciousBlock`).
    pub(super) fn apply_prefer(&mut self, id: Id) -> Result<(), StoreError> {
        let tip = self.tip_entry().work;
        let entry = self.index.entry(id);
        // Of less work than the tip, or not here with all its ancestors: never at the end.
        let Some(sequence) = entry.sequence.filter(|_| entry.work >= tip) else { return Ok(()) };
        self.candidates.remove(&(entry.work, Reverse(sequence), id));
        if self.preferred.work.is_none_or(|before| tip > before) {
            self.preferred.times = 0;
        }
        self.preferred.work = Some(tip);
        self.preferred.times += 1;
        self.index.entry_mut(id).sequence = Some(-self.preferred.times);
        self.offer(id);
        self.activate(None).map(drop)
    }

    /// Makes a block a candidate for the best chain's end, unless it is worse than the tip.
    pub(super) fn offer(&mut self, id: Id) {
        let entry = self.index.entry(id);
        let Some(sequence) = entry.sequence.filter(|_| !entry.failed) else { return };
        let candidate = (entry.work, Reverse(sequence), id);
        if self.tip_rank().is_none_or(|tip| candidate >= tip) {
            self.candidates.insert(candidate);
        }
    }

    /// Marks a block and its descendants as invalid.
    pub(super) fn mark_failed(&mut self, id: Id) {
        for id in self.index.subtree(id) {
            let entry = self.index.entry_mut(id);
            entry.failed = true;
            if let Some(sequence) = entry.sequence {
                let candidate = (entry.work, Reverse(sequence), id);
                self.candidates.remove(&candidate);
            }
        }
    }

    /// After a verdict any block may be a candidate again: looks at all of them. Rare.
    fn offer_all(&mut self) {
        for id in self.index.ids() {
            self.offer(id);
        }
    }

    fn activate(
        &mut self,
        fresh: Option<(Id, &Block)>,
    ) -> Result<Option<Result<(), Reject>>, StoreError> {
        self.activate_with(fresh, Vec::new())
    }

    /// Follows the best candidate until the tip is it. `fresh` is the block just received; the
    /// answer is what became of it, `None` where it was not tried.
    fn activate_with(
        &mut self,
        fresh: Option<(Id, &Block)>,
        mut returned: Vec<Transaction>,
    ) -> Result<Option<Result<(), Reject>>, StoreError> {
        let start = self.tip_id();
        let mut verdict = None;
        while let Some((_, _, best)) = self.candidates.last().copied() {
            if best == self.tip_id() {
                break;
            }
            let mut path: Vec<Id> = Vec::new();
            path.extend(self.index.lineage(best).take_while(|id| !self.is_active(*id)));
            let Some(lowest) = path.last() else { break };
            let fork = self.index.entry(*lowest).parent.unwrap_or(GENESIS);
            while self.tip_id() != fork {
                let transactions = self.disconnect_tip()?;
                returned.splice(0..0, transactions);
            }
            for id in path.into_iter().rev() {
                let outcome = self.connect_tip(id, fresh)?;
                let failed = outcome.is_err();
                if fresh.is_some_and(|(fresh, _)| fresh == id) {
                    verdict = Some(outcome);
                }
                if failed {
                    self.mark_failed(id);
                    break;
                }
            }
            self.drop_worse_candidates();
        }
        if self.tip_id() != start || !returned.is_empty() {
            self.rebuild_mempool(returned);
        }
        Ok(verdict)
    }

    fn connect_tip(
        &mut self,
        id: Id,
        fresh: Option<(Id, &Block)>,
    ) -> Result<Result<(), Reject>, StoreError> {
        let block = match fresh {
            Some((fresh, block)) if fresh == id => Cow::Borrowed(block),
            _ => Cow::Owned(self.stored_block(id)?),
        };
        let (index, active) = (&self.index, &self.active);
        let median_at = |height| median_at(index, active, height);
        let spot = next_spot(self.tip_entry(), &median_at);
        Ok(self.coins.connect(&block, &spot).map(|undo| {
            self.index.entry_mut(id).undo = undo;
            self.active.push(id);
        }))
    }

    /// Takes the tip off; returns its transactions but the coinbase.
    fn disconnect_tip(&mut self) -> Result<Vec<Transaction>, StoreError> {
        let id = self.tip_id();
        let mut block = self.stored_block(id)?;
        let undo = std::mem::take(&mut self.index.entry_mut(id).undo);
        self.coins.disconnect(&block, undo);
        self.active.pop();
        Ok(block.txdata.split_off(1))
    }

    fn stored_block(&self, id: Id) -> Result<Block, StoreError> {
        Ok(self.block(id)?.expect("only blocks that have come are on a candidate's path"))
    }

    fn rebuild_mempool(&mut self, returned: Vec<Transaction>) {
        let (index, active) = (&self.index, &self.active);
        let median_at = |height| median_at(index, active, height);
        let spot = next_spot(self.tip_entry(), &median_at);
        self.mempool.rebuild(returned, &self.coins, &spot);
    }

    /// Keeps the tip and what is better.
    fn drop_worse_candidates(&mut self) {
        if let Some(tip) = self.tip_rank() {
            self.candidates = self.candidates.split_off(&tip);
        }
    }

    fn tip_rank(&self) -> Option<(bitcoin::Work, Reverse<i64>, Id)> {
        let id = self.tip_id();
        let entry = self.index.entry(id);
        entry.sequence.map(|sequence| (entry.work, Reverse(sequence), id))
    }
}
