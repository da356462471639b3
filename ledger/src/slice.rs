//! The root of a slice: what a coinbase commits to before a block can be found. Two levels of
//! Merkle-sum trees: over each account's shares, and over the accounts.
//!
//! All hashes are tagged as in BIP 340: `H(tag, m) = SHA-256(SHA-256(tag) || SHA-256(tag) || m)`,
//! so that none can stand for another. Integers are big-endian. A node is a hash and a sum of
//! work.
//!
//! ```text
//! record      = H("wattproof/slice/record", header 80 | work u128 | network work u128
//!                                         | number of the share u64 | instant u64 (ms)),  work
//! records     = the tree over an account's records, in the order of their numbers, joined by
//!               H("wattproof/slice/records", left 32 | left sum u128 | right 32 | right sum u128)
//! account     = H("wattproof/slice/account", id u32 | work u128 | shares u64 | records 32 | name),
//!               work
//! accounts    = the tree over the accounts with shares, in rising order of id, joined by
//!               H("wattproof/slice/accounts", left 32 | left sum u128 | right 32 | right sum u128)
//! head        = H("wattproof/slice/head/3", index u64 | previous head 32 | opened u64 (ms)
//!                                         | closed u64 (ms) | shares u64 | work u128
//!                                         | number of accounts u32 | accounts 32)
//! ```
//!
//! A level with an odd number of nodes passes its last one up unchanged (it is never paired with
//! itself, so no two lists share a top). A joined node's sum is that of both, so a sum that an
//! account did not prove cannot be hidden anywhere below a head. The head names the one before it:
//! the newest root commits to every slice. Slices of earlier versions have a root without instants,
//! or over accounts alone; it stays as it is, and `verify/root.rs` says how it is made.

use sha2::{Digest, Sha256};
use units::{UnixMillis, Work};

use crate::error::LedgerError;
use crate::packed::put;
use crate::types::{AccountId, Share, SliceIndex};

/// The form of root that is written into the log beside it.
pub(crate) const FORM: u8 = 3;

/// A hash and the work below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) hash: [u8; 32],
    pub(crate) sum: u128,
}

/// A tree that grows at its end and keeps the tops of its finished parts alone: at most 64 nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct SumTree {
    /// Heights fall from the bottom of the stack to its top.
    finished: Vec<(u32, Node)>,
}

/// One account's part of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SliceRow {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) work: u128,
    pub(crate) shares: u64,
}

/// What the head is made of besides the accounts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadParts {
    pub(crate) index: SliceIndex,
    pub(crate) previous: [u8; 32],
    /// When the slice before was closed; 0 where there is none.
    pub(crate) opened: UnixMillis,
    pub(crate) closed: UnixMillis,
    pub(crate) shares: u64,
    pub(crate) work: Work,
}

/// The hashes by what they are of, each with its tag taken in.
#[derive(Debug, Clone)]
pub(crate) struct Hashes {
    record: Sha256,
    pub(crate) records: Sha256,
    account: Sha256,
    pub(crate) accounts: Sha256,
    head: Sha256,
}

impl Hashes {
    pub(crate) fn new() -> Self {
        Self {
            record: tagged("wattproof/slice/record"),
            records: tagged("wattproof/slice/records"),
            account: tagged("wattproof/slice/account"),
            accounts: tagged("wattproof/slice/accounts"),
            head: tagged("wattproof/slice/head/3"),
        }
    }

    /// The leaf of share `number`.
    pub(crate) fn record(&self, number: u64, share: &Share) -> Node {
        let mut message = [0; 128];
        let mut rest = message.as_mut_slice();
        put(&mut rest, share.header);
        put(&mut rest, share.work.get().to_be_bytes());
        put(&mut rest, share.network_work.get().to_be_bytes());
        put(&mut rest, number.to_be_bytes());
        put(&mut rest, share.at.get().to_be_bytes());
        Node { hash: finish(&self.record, &[&message]), sum: share.work.get() }
    }

    /// The leaf of an account whose records have this top.
    pub(crate) fn account(&self, row: &SliceRow, records: &Node) -> Node {
        let hash = finish(
            &self.account,
            &[
                &row.account.get().to_be_bytes(),
                &row.work.to_be_bytes(),
                &row.shares.to_be_bytes(),
                &records.hash,
                row.name.as_bytes(),
            ],
        );
        Node { hash, sum: row.work }
    }

    /// The root of a slice with these leaves, in rising order of account id.
    pub(crate) fn head(&self, parts: &HeadParts, leaves: &[Node]) -> Result<[u8; 32], LedgerError> {
        let accounts =
            u32::try_from(leaves.len()).map_err(|_| LedgerError::Overflow("accounts"))?;
        let mut tree = SumTree::default();
        leaves.iter().try_for_each(|leaf| tree.push(&self.accounts, *leaf))?;
        let top = tree.top(&self.accounts)?;
        assert_eq!(top.sum, parts.work.get(), "the accounts of a slice must sum to its work");
        Ok(finish(
            &self.head,
            &[
                &parts.index.get().to_be_bytes(),
                &parts.previous,
                &parts.opened.get().to_be_bytes(),
                &parts.closed.get().to_be_bytes(),
                &parts.shares.to_be_bytes(),
                &parts.work.get().to_be_bytes(),
                &accounts.to_be_bytes(),
                &top.hash,
            ],
        ))
    }
}

impl SumTree {
    /// Adds a leaf at the end. `joined` is the hash that this tree joins by.
    pub(crate) fn push(&mut self, joined: &Sha256, leaf: Node) -> Result<(), LedgerError> {
        let (mut height, mut node) = (0_u32, leaf);
        while let Some((_, left)) = self.finished.pop_if(|(below, _)| *below == height) {
            node = join(joined, &left, &node)?;
            height = height.saturating_add(1);
        }
        self.finished.push((height, node));
        Ok(())
    }

    /// The top of the tree; zeros over nothing.
    pub(crate) fn top(&self, joined: &Sha256) -> Result<Node, LedgerError> {
        let mut nodes = self.finished.iter().rev().map(|(_, node)| *node);
        let Some(last) = nodes.next() else { return Ok(Node { hash: [0; 32], sum: 0 }) };
        nodes.try_fold(last, |right, left| join(joined, &left, &right))
    }
}

/// The node above two.
pub(crate) fn join(joined: &Sha256, left: &Node, right: &Node) -> Result<Node, LedgerError> {
    let sum = left.sum.checked_add(right.sum).ok_or(LedgerError::Overflow("proven work"))?;
    let mut message = [0; 96];
    let mut rest = message.as_mut_slice();
    for node in [left, right] {
        put(&mut rest, node.hash);
        put(&mut rest, node.sum.to_be_bytes());
    }
    Ok(Node { hash: finish(joined, &[&message]), sum })
}

fn tagged(tag: &str) -> Sha256 {
    let tag = Sha256::digest(tag);
    Sha256::new().chain_update(tag).chain_update(tag)
}

fn finish(begun: &Sha256, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = begun.clone();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use super::*;
    use crate::types::WorkerId;

    fn share(filling: u8, work: u128) -> Share {
        Share {
            worker: WorkerId::new(1),
            work: Work::new(work),
            network_work: Work::new(512),
            at: UnixMillis::new(1_790_000_000_000),
            header: [filling; 80],
        }
    }

    fn row(id: u32, work: u128) -> SliceRow {
        SliceRow { account: AccountId::new(id), name: format!("account{id}"), work, shares: 3 }
    }

    fn parts(work: u128) -> HeadParts {
        HeadParts {
            index: SliceIndex::new(1),
            previous: [9; 32],
            opened: UnixMillis::new(0),
            closed: UnixMillis::new(1_790_000_060_000),
            shares: 6,
            work: Work::new(work),
        }
    }

    /// Accounts 1 and 2 with the shares 1, 2, 3 and 4, 5, 6 of so much work.
    fn root(works: [u128; 6]) -> [u8; 32] {
        let hashes = Hashes::new();
        let mut leaves = Vec::new();
        for (id, part) in (1..).zip(works.chunks(3)) {
            let mut tree = SumTree::default();
            for (place, work) in (0_u8..).zip(part) {
                let number = u64::from(place) + (u64::from(id) - 1) * 3 + 1;
                let leaf = hashes.record(number, &share(u8::try_from(number).unwrap(), *work));
                tree.push(&hashes.records, leaf).unwrap();
            }
            let row = row(id, part.iter().sum());
            leaves.push(hashes.account(&row, &tree.top(&hashes.records).unwrap()));
        }
        hashes.head(&parts(works.iter().sum()), &leaves).unwrap()
    }

    /// Worked out with another implementation (Python's hashlib) from the text above.
    #[test]
    fn known_root_of_two_accounts_with_three_shares() {
        assert_eq!(
            hex::encode(root([10, 20, 30, 40, 50, 60])),
            "26821d4cd03f1df5424afdb8dd4ea77fe762c611e7a3e825d74ccc63adcc0672"
        );
        assert_ne!(root([10, 20, 30, 40, 50, 60]), root([10, 30, 20, 40, 50, 60]));
    }

    #[test]
    fn a_sum_past_the_range_is_refused() {
        let hashes = Hashes::new();
        let mut tree = SumTree::default();
        tree.push(&hashes.records, hashes.record(1, &share(1, u128::MAX))).unwrap();
        assert!(tree.push(&hashes.records, hashes.record(2, &share(2, 1))).is_err());
    }

    #[test]
    #[should_panic(expected = "must sum to its work")]
    fn accounts_that_do_not_sum_to_the_slice_are_no_slice() {
        let hashes = Hashes::new();
        let leaf = hashes.account(&row(1, 10), &Node { hash: [0; 32], sum: 10 });
        let _ = hashes.head(&parts(11), &[leaf]);
    }
}
