//! Every block header known, as a tree: who descends from whom, with how much work, and what is
//! known about it.

use std::collections::HashMap;

use bitcoin::block::Header;
use bitcoin::{BlockHash, Work};
use units::UnixMillis;

use super::coins::Undo;
use super::context::Parent;
use super::store::Place;

/// An entry's place in the index; entries are never removed.
pub(super) type Id = usize;

/// The genesis block's.
pub(super) const GENESIS: Id = 0;

/// Blocks whose times make a median time.
const MEDIAN_SPAN: usize = 11;

/// One header and what is known about its block.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) header: Header,
    pub(super) hash: BlockHash,
    pub(super) parent: Option<Id>,
    pub(super) children: Vec<Id>,
    pub(super) height: u32,
    /// Of the whole chain up to here.
    pub(super) work: Work,
    /// Median time of this block and the ten before it, Unix seconds.
    pub(super) median_time: u32,
    /// When the header came; nobody knows for the genesis block.
    pub(super) received: Option<UnixMillis>,
    /// Bits that the next block must have (where the difficulty follows the clock).
    pub(super) next_bits: u32,
    /// Where the block is, once it has come.
    pub(super) place: Option<Place>,
    pub(super) tx_count: usize,
    /// Order in which blocks with all their ancestors came, below zero where somebody preferred the
    /// block since; `None` while some are missing.
    pub(super) sequence: Option<i64>,
    /// Invalid, or descends from an invalid block, or an operator said so.
    pub(super) failed: bool,
    /// What the block spent, while it is on the best chain.
    pub(super) undo: Undo,
}

impl Entry {
    /// The view that its children's checks need.
    pub(super) const fn as_parent(&self) -> Parent {
        Parent { height: self.height, median_time: self.median_time }
    }

    /// True once the block itself has come.
    pub(super) const fn has_data(&self) -> bool {
        self.tx_count > 0
    }
}

/// The tree.
#[derive(Debug)]
pub(super) struct Index {
    entries: Vec<Entry>,
    by_hash: HashMap<BlockHash, Id>,
    next_sequence: i64,
}

impl Index {
    /// A tree of the genesis block alone.
    pub(super) fn new(genesis: Header, next_bits: u32) -> Self {
        let entry = Entry {
            header: genesis,
            hash: genesis.block_hash(),
            parent: None,
            children: Vec::new(),
            height: 0,
            work: genesis.work(),
            median_time: genesis.time,
            received: None,
            next_bits,
            place: None,
            tx_count: 1,
            sequence: Some(0),
            failed: false,
            undo: Undo::new(),
        };
        let by_hash = HashMap::from([(entry.hash, GENESIS)]);
        Self { entries: vec![entry], by_hash, next_sequence: 1 }
    }

    pub(super) fn find(&self, hash: &BlockHash) -> Option<Id> {
        self.by_hash.get(hash).copied()
    }

    pub(super) fn entry(&self, id: Id) -> &Entry {
        &self.entries[id]
    }

    pub(super) fn entry_mut(&mut self, id: Id) -> &mut Entry {
        &mut self.entries[id]
    }

    pub(super) fn ids(&self) -> std::ops::Range<Id> {
        0..self.entries.len()
    }

    /// Adds a header whose parent is known.
    pub(super) fn add(
        &mut self,
        header: Header,
        parent: Id,
        received: UnixMillis,
        next_bits: u32,
    ) -> Id {
        let id = self.entries.len();
        let above = self.entry(parent);
        let entry = Entry {
            header,
            hash: header.block_hash(),
            parent: Some(parent),
            children: Vec::new(),
            height: above.height + 1,
            work: above.work + header.work(),
            median_time: self.median_time(header.time, parent),
            received: Some(received),
            next_bits,
            place: None,
            tx_count: 0,
            sequence: None,
            failed: false,
            undo: Undo::new(),
        };
        self.by_hash.insert(entry.hash, id);
        self.entries.push(entry);
        self.entry_mut(parent).children.push(id);
        id
    }

    /// Notes that a block has come; returns those that now have all their ancestors.
    pub(super) fn receive(&mut self, id: Id, place: Place, tx_count: usize) -> Vec<Id> {
        let entry = self.entry_mut(id);
        entry.place = Some(place);
        entry.tx_count = tx_count;
        let parent = entry.parent;
        if parent.is_some_and(|parent| self.entry(parent).sequence.is_none()) {
            return Vec::new();
        }
        let mut linked = vec![id];
        let mut next = 0;
        while let Some(id) = linked.get(next).copied() {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            self.entry_mut(id).sequence = Some(sequence);
            let children = &self.entry(id).children;
            linked.extend(children.iter().copied().filter(|child| self.entry(*child).has_data()));
            next += 1;
        }
        linked
    }

    /// `id` and everything that descends from it.
    pub(super) fn subtree(&self, id: Id) -> Vec<Id> {
        let mut found = vec![id];
        let mut next = 0;
        while let Some(id) = found.get(next) {
            found.extend_from_slice(&self.entry(*id).children);
            next += 1;
        }
        found
    }

    /// `id`, its parent, and so on to the genesis block.
    pub(super) fn lineage(&self, id: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(id), |id| self.entry(*id).parent)
    }

    /// The median of `time` and the ten times from `parent` back.
    fn median_time(&self, time: u32, parent: Id) -> u32 {
        let above = self.lineage(parent).take(MEDIAN_SPAN - 1);
        let mut times: Vec<u32> = above.map(|id| self.entry(id).header.time).collect();
        times.push(time);
        times.sort_unstable();
        times[times.len() / 2]
    }
}
