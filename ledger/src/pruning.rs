//! Drops the headers of shares that no block can be paid by any more, a little at a time
//! (`docs/retention.md`). What must stay is decided in `store/prune.rs`.

use units::UnixMillis;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::types::{Pruned, Retention, SliceIndex};

/// Where it is. Slices are pruned in their order, each to its end before the next is begun; a slice
/// that was begun by another writer of the file is gone on with.
#[derive(Debug, Default)]
pub(crate) struct Pruning {
    /// The slice under way, and the event after which to go on; nothing until the file was asked.
    at: Option<(SliceIndex, u64)>,
    /// Whether nothing is left to drop of that slice.
    done: bool,
}

impl Ledger {
    /// Drops the headers of some shares, if there are any that `retention` lets go: one transaction
    /// of a few milliseconds. Call it again while there is more to do.
    ///
    /// # Errors
    /// When the store fails. Nothing is lost then but this call's work.
    pub fn prune(&mut self, now: UnixMillis, retention: Retention) -> Result<Pruned, LedgerError> {
        let (slice, after) = match self.pruning.at {
            Some(at) => at,
            None => (self.store.newest_pruned()?, 0),
        };
        if slice.get() > 0 && !self.pruning.done {
            return self.drop_headers(slice, after);
        }
        let newest = slice;
        let nothing = Pruned { shares: 0, newest, more: false };
        let next = SliceIndex::new(slice.get().saturating_add(1));
        if retention.all || next > self.newest.index {
            return Ok(nothing);
        }
        let age = u64::try_from(retention.at_least.as_millis()).unwrap_or(u64::MAX);
        if next >= self.store.oldest_needed(self.settings.scheme, age)? {
            return Ok(nothing);
        }
        if self.store.is_rooted(next)? {
            self.store.transact("pruning a slice", |record| record.announce_pruning(now, next))?;
            self.pruning = Pruning { at: Some((next, 0)), done: false };
        } else {
            self.pruning = Pruning { at: Some((next, 0)), done: true };
        }
        Ok(Pruned { shares: 0, newest, more: true })
    }

    fn drop_headers(&mut self, slice: SliceIndex, after: u64) -> Result<Pruned, LedgerError> {
        let dropped =
            self.store.transact("dropping headers", |record| record.thin(slice, after))?;
        let (shares, after) = dropped.unwrap_or((0, after));
        self.pruning = Pruning { at: Some((slice, after)), done: dropped.is_none() };
        let newest = if dropped.is_none() { slice } else { before(slice) };
        Ok(Pruned { shares, newest, more: true })
    }
}

const fn before(slice: SliceIndex) -> SliceIndex {
    SliceIndex::new(slice.get().saturating_sub(1))
}
