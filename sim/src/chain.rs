//! The chain that the node sees: one active branch, and others that may overtake it.
//!
//! Only hashes and heights: whether a block is valid is decided elsewhere. No branch forks deeper
//! than [`DEEPEST`], so that what is mature stays where it is.

use std::collections::HashMap;

use crate::rng::Rng;

/// Blocks that a reorganisation takes off the chain at the most; less than it takes to mature.
const DEEPEST: usize = 3;

type Hash = [u8; 32];

/// All blocks known.
#[derive(Debug)]
pub(crate) struct Chain {
    /// From the first to the tip.
    active: Vec<Hash>,
    /// Branches that lost: what they fork from, and their blocks.
    others: Vec<(Hash, Vec<Hash>)>,
    heights: HashMap<Hash, u32>,
    /// Times that a tip was taken back.
    pub(crate) reorgs: u32,
    /// Times that a branch came back that had lost before.
    pub(crate) returns: u32,
}

impl Chain {
    /// A first block.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut chain = Self {
            active: Vec::new(),
            others: Vec::new(),
            heights: HashMap::new(),
            reorgs: 0,
            returns: 0,
        };
        chain.append(rng.bytes());
        chain
    }

    pub(crate) fn tip(&self) -> Hash {
        self.active.last().copied().unwrap_or_default()
    }

    /// Height of the tip.
    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.active.len()).unwrap_or(u32::MAX)
    }

    /// Blocks on top of this one, itself included, if it is on the chain.
    pub(crate) fn depth(&self, hash: &Hash) -> Option<u32> {
        let height = *self.heights.get(hash)?;
        let place = usize::try_from(height).ok()?.checked_sub(1)?;
        (self.active.get(place) == Some(hash)).then(|| self.height() + 1 - height)
    }

    /// Whether the node has heard of it.
    pub(crate) fn knows(&self, hash: &Hash) -> bool {
        self.heights.contains_key(hash)
            || self.others.iter().any(|(_, branch)| branch.contains(hash))
    }

    /// Somebody else finds the next block.
    pub(crate) fn grow(&mut self, rng: &mut Rng) {
        self.append(rng.bytes());
    }

    /// The pool hands in a block. On the tip it becomes the tip, unless another came first.
    pub(crate) fn submit(&mut self, hash: Hash, parent: Hash, rng: &mut Rng) {
        if self.knows(&hash) {
            return;
        }
        let first = parent == self.tip() && !rng.per_mille(150);
        if parent == self.tip() && !first {
            self.grow(rng);
        }
        if first {
            self.append(hash);
        } else {
            self.others.push((parent, vec![hash]));
        }
    }

    /// Another branch overtakes: one that lost before, where there is one, or a new one.
    pub(crate) fn reorganise(&mut self, rng: &mut Rng) {
        if self.active.len() <= DEEPEST + 1 {
            return;
        }
        let forks = self.active.len() - 1 - DEEPEST..self.active.len() - 1;
        let possible: Vec<usize> = (0..self.others.len())
            .filter(|place| self.active[forks.clone()].contains(&self.others[*place].0))
            .collect();
        let (parent, branch) = if possible.is_empty() || rng.per_mille(300) {
            (self.active[forks.start + rng.place(DEEPEST)], vec![rng.bytes()])
        } else {
            self.returns += 1;
            self.others.swap_remove(possible[rng.place(possible.len())])
        };
        let Some(place) = self.active.iter().position(|hash| *hash == parent) else { return };
        let long = self.active.len();
        let lost = self.active.split_off(place + 1);
        for hash in &lost {
            self.heights.remove(hash);
        }
        self.others.push((parent, lost));
        self.reorgs += 1;
        branch.into_iter().for_each(|hash| self.append(hash));
        while self.active.len() <= long {
            self.grow(rng);
        }
    }

    fn append(&mut self, hash: Hash) {
        self.active.push(hash);
        self.heights.insert(hash, self.height());
    }
}
