//! The chain: headers, blocks, coins and mempool under one owner, judged in Bitcoin Core's order
//! (`ProcessNewBlock`, `AcceptBlockHeader`, `AcceptBlock`).
//!
//! `activate` moves the best chain. Nothing here knows of HTTP or JSON, and time is an argument.

mod activate;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::consensus::encode::{Error, serialize};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash, Network, Transaction, Txid, Work};
use units::{Moment, UnixMillis};

use super::check::{self, Proof};
use super::coins::{Coins, Spot};
use super::index::{Entry, GENESIS, Id, Index};
use super::mempool::Mempool;
use super::pulse::Pulse;
use super::retarget::Retarget;
use super::store::{Kind, Record, Store, StoreError};
use super::{LIMIT_BITS, Reject, context, decode};
use crate::node::Clock;

/// How the chain behaves. It is a regtest chain in all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// True: the difficulty follows the clock, towards one block each `spacing`. False: regtest's
    /// own rule, every second nonce is a block.
    pub retarget: bool,
    /// The wanted time between blocks.
    pub spacing: Duration,
    /// Hashes that the first block takes.
    pub start_work: u32,
}

impl Default for Options {
    /// Two blocks a second, beginning at a million hashes a block.
    fn default() -> Self {
        Self { retarget: true, spacing: Duration::from_millis(500), start_work: 1_000_000 }
    }
}

/// What became of a block that was handed in, as `submitblock` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// Valid, and on the best chain.
    Accepted,
    /// Known already.
    Duplicate,
    /// Valid as far as is known, but another chain has at least as much work.
    Inconclusive,
    /// Invalid; the reason in Bitcoin Core's words.
    Rejected(String),
}

impl Submission {
    /// The text of BIP 22; `None` for an accepted block.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted => None,
            Self::Duplicate => Some("duplicate"),
            Self::Inconclusive => Some("inconclusive"),
            Self::Rejected(reason) => Some(reason),
        }
    }
}

impl From<Reject> for Submission {
    fn from(reject: Reject) -> Self {
        Self::Rejected(reject.reason.into_owned())
    }
}

/// Chains by work, then by who came first; the best is the last.
type Candidates = BTreeSet<(Work, Reverse<i64>, Id)>;

/// How often blocks were preferred to others of as much work.
#[derive(Debug, Default)]
struct Preferred {
    /// The tip's work when that was last done.
    work: Option<Work>,
    /// Times that it was done at tips of no more work.
    times: i64,
}

/// The embedded development chain. One value is one chain and one owner.
pub struct DevChain {
    clock: Clock,
    retarget: Option<Retarget>,
    pub(super) index: Index,
    /// The best chain by height.
    pub(super) active: Vec<Id>,
    candidates: Candidates,
    preferred: Preferred,
    pub(super) coins: Coins,
    pub(super) mempool: Mempool,
    store: Store,
}

impl fmt::Debug for DevChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (height, hash) = self.tip();
        let mut text = f.debug_struct("DevChain");
        text.field("height", &height).field("tip", &hash).field("store", &self.store);
        text.finish_non_exhaustive()
    }
}

impl DevChain {
    /// Opens the chain in `dir`, or begins one there. Blocks that were answered are all there
    /// again; a torn last record is cut off. `clock` is asked whenever the time matters.
    ///
    /// # Errors
    /// The file cannot be used, belongs to a running process, or was made with other rules.
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<Self, StoreError> {
        let (store, records) = Store::open(dir, options.retarget)?;
        let retarget = options.retarget.then(|| Retarget::new(options.spacing, options.start_work));
        let first_bits = retarget.map_or(LIMIT_BITS, |rule| rule.start_bits());
        let mut chain = Self {
            clock,
            retarget,
            index: Index::new(genesis_block(Network::Regtest).header, first_bits),
            active: vec![GENESIS],
            candidates: Candidates::new(),
            preferred: Preferred::default(),
            coins: Coins::default(),
            mempool: Mempool::default(),
            store,
        };
        chain.offer(GENESIS);
        for record in records {
            chain.replay(&record)?;
        }
        Ok(chain)
    }

    /// Height and hash of the best chain's end.
    #[must_use]
    pub fn tip(&self) -> (u32, BlockHash) {
        let tip = self.tip_entry();
        (tip.height, tip.hash)
    }

    /// Judges a block that was handed in, keeps it where it is valid, and follows it where it
    /// makes the best chain. It is on disk before this returns.
    ///
    /// # Errors
    /// The file cannot be written; the block is then not accepted.
    pub fn submit(&mut self, mut block: Block) -> Result<Submission, StoreError> {
        let now = self.now();
        if self.index.find(&block.header.prev_blockhash).is_some() {
            context::add_reserved_value(&mut block);
        }
        if let Err(reject) = check::check_block(&block, Proof::Required) {
            return Ok(reject.into());
        }
        let id = match self.accept_header(&block.header, now) {
            Ok(id) => id,
            Err(reject) => return Ok(reject.into()),
        };
        let entry = self.index.entry(id);
        if entry.has_data() {
            return Ok(Submission::Duplicate);
        }
        let parent = self.index.entry(entry.parent.unwrap_or(GENESIS)).as_parent();
        if let Err(reject) = context::check_block(&block, parent) {
            if !reject.mutated {
                self.mark_failed(id);
            }
            return Ok(reject.into());
        }
        let place = self.store.append(Kind::Block, now.unix, &serialize(&block))?;
        self.receive(id, place, &block)
    }

    /// What the clock says.
    pub(super) fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Judges a block without proof of work that builds on the tip; changes nothing (BIP 23).
    pub(super) fn propose(&mut self, block: &Block) -> Option<String> {
        if let Some(id) = self.index.find(&block.block_hash()) {
            let entry = self.index.entry(id);
            let known = if entry.failed {
                "duplicate-invalid"
            } else if self.is_active(id) {
                "duplicate"
            } else {
                "duplicate-inconclusive"
            };
            return Some(known.to_owned());
        }
        let tip = self.tip_id();
        if block.header.prev_blockhash != self.index.entry(tip).hash {
            return Some("inconclusive-not-best-prevblk".to_owned());
        }
        self.test_block(block, tip, self.now()).err().map(|reject| reject.reason.into_owned())
    }

    /// Takes a transaction into the mempool, or says why not.
    pub(super) fn accept_transaction(&mut self, tx: Transaction) -> Result<Txid, Reject> {
        let (index, active) = (&self.index, &self.active);
        let median_at = |height| median_at(index, active, height);
        let spot = next_spot(self.tip_entry(), &median_at);
        self.mempool.accept(tx, &self.coins, &spot)
    }

    /// What callers that wait for news compare.
    pub(super) fn pulse(&self) -> Pulse {
        let tip = self.tip_entry();
        let eased = self.eased_steps(tip, self.now());
        Pulse { tip: tip.hash, height: tip.height, eased, updates: self.mempool.updates() }
    }

    /// Bits to offer for the next block.
    pub(super) fn offered_bits(&self) -> u32 {
        let tip = self.tip_entry();
        let steps = self.eased_steps(tip, self.now());
        self.retarget.map_or(LIMIT_BITS, |rule| rule.eased(tip.next_bits, steps))
    }

    /// A block's transactions; `None` where only its header is known.
    pub(super) fn block(&self, id: Id) -> Result<Option<Block>, StoreError> {
        if id == GENESIS {
            return Ok(Some(genesis_block(Network::Regtest)));
        }
        let Some(place) = self.index.entry(id).place else { return Ok(None) };
        let bytes = self.store.read(place)?;
        let record = Record { kind: Kind::Block, at: UnixMillis::new(0), place };
        let damaged = |error: Error| self.store.damaged(&record, error.to_string());
        decode::block(&bytes).map(Some).map_err(damaged)
    }

    pub(super) fn tip_id(&self) -> Id {
        self.active.last().copied().unwrap_or(GENESIS)
    }

    pub(super) fn tip_entry(&self) -> &Entry {
        self.index.entry(self.tip_id())
    }

    /// True where `id` is on the best chain.
    pub(super) fn is_active(&self, id: Id) -> bool {
        self.at_height(self.index.entry(id).height) == Some(id)
    }

    /// The best chain's block at `height`.
    pub(super) fn at_height(&self, height: u32) -> Option<Id> {
        self.active.get(usize::try_from(height).ok()?).copied()
    }

    /// Bytes on disk.
    pub(super) const fn size_on_disk(&self) -> u64 {
        self.store.size()
    }

    fn accept_header(&mut self, header: &Header, now: Moment) -> Result<Id, Reject> {
        let known = self.index.find(&header.block_hash());
        if let Some(id) = known {
            if self.index.entry(id).failed {
                return Err(Reject::new("duplicate-invalid"));
            }
            return Ok(id);
        }
        let Some(parent) = self.index.find(&header.prev_blockhash) else {
            return Err(Reject::new("prev-blk-not-found"));
        };
        let above = self.index.entry(parent);
        if above.failed {
            return Err(Reject::new("bad-prevblk"));
        }
        let bits_fit = self.bits_fit(above, header.bits.to_consensus(), now);
        context::check_header(header, above.as_parent(), bits_fit, now.unix)?;
        Ok(self.add_header(*header, parent, now.unix))
    }

    fn add_header(&mut self, header: Header, parent: Id, received: UnixMillis) -> Id {
        let bits = header.bits.to_consensus();
        let before = self.index.entry(parent).received;
        let solve = before.map(|before| received.saturating_since(before));
        let next_bits = self.retarget.map_or(LIMIT_BITS, |rule| rule.next_bits(bits, solve));
        self.index.add(header, parent, received, next_bits)
    }

    fn bits_fit(&self, parent: &Entry, bits: u32, now: Moment) -> bool {
        let steps = self.eased_steps(parent, now);
        self.retarget.map_or(bits == LIMIT_BITS, |rule| rule.allows(parent.next_bits, steps, bits))
    }

    /// Steps by which a child of `parent` has become easier by now.
    fn eased_steps(&self, parent: &Entry, now: Moment) -> u32 {
        let Some((rule, before)) = self.retarget.zip(parent.received) else { return 0 };
        rule.steps(parent.next_bits, now.unix.saturating_since(before))
    }

    fn test_block(&mut self, block: &Block, tip: Id, now: Moment) -> Result<(), Reject> {
        check::check_block(block, Proof::NotYet)?;
        let above = self.index.entry(tip);
        let bits_fit = self.bits_fit(above, block.header.bits.to_consensus(), now);
        context::check_header(&block.header, above.as_parent(), bits_fit, now.unix)?;
        context::check_block(block, above.as_parent())?;
        let (index, active) = (&self.index, &self.active);
        let median_at = |height| median_at(index, active, height);
        let undo = self.coins.connect(block, &next_spot(index.entry(tip), &median_at))?;
        self.coins.disconnect(block, undo);
        Ok(())
    }

    /// Does again what a record says was done.
    fn replay(&mut self, record: &Record) -> Result<(), StoreError> {
        let payload = self.store.read(record.place)?;
        let damaged = |reason: &str| self.store.damaged(record, reason.to_owned());
        match record.kind {
            Kind::Block => {
                let block = decode::block(&payload).map_err(|error| damaged(&error.to_string()))?;
                let Some(parent) = self.index.find(&block.header.prev_blockhash) else {
                    return Err(damaged("a block without its parent"));
                };
                let known = self.index.find(&block.block_hash());
                let id = known.unwrap_or_else(|| self.add_header(block.header, parent, record.at));
                self.receive(id, record.place, &block).map(drop)
            }
            Kind::Invalidate | Kind::Reconsider | Kind::Prefer => {
                let bytes = payload.try_into().map_err(|_| damaged("not a hash"))?;
                let hash = BlockHash::from_byte_array(bytes);
                let Some(id) = self.index.find(&hash) else {
                    // A header that never became a block: nothing rests on it.
                    return Ok(());
                };
                match record.kind {
                    Kind::Invalidate => self.apply_invalidate(id),
                    Kind::Prefer => self.apply_prefer(id),
                    Kind::Reconsider | Kind::Block => self.apply_reconsider(id),
                }
            }
        }
    }
}

/// The place of the block after `tip`.
fn next_spot<'a>(tip: &Entry, median_at: &'a dyn Fn(u32) -> u32) -> Spot<'a> {
    Spot { height: tip.height + 1, median_time: tip.median_time, median_at }
}

/// Median time of the best chain's block at `height`.
fn median_at(index: &Index, active: &[Id], height: u32) -> u32 {
    let id = usize::try_from(height).ok().and_then(|height| active.get(height));
    id.map_or(u32::MAX, |id| index.entry(*id).median_time)
}
