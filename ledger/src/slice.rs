//! The root of a slice: what a coinbase commits to before a block can be found.
//!
//! All hashes are tagged as in BIP 340: `H(tag, m) = SHA-256(SHA-256(tag) || SHA-256(tag) || m)`,
//! so that none can stand for another. Integers are big-endian.
//!
//! ```text
//! leaf = H("wattproof/slice/leaf", account id u32 | work u128 | shares u64 | account's name)
//! node = H("wattproof/slice/node", left 32 | right 32)
//! head = H("wattproof/slice/head", index u64 | previous head 32 | shares u64 | work u128
//!                                  | number of accounts u32 | top of the tree 32)
//! ```
//!
//! Leaves stand in rising order of account id. A level with an odd number of nodes passes its
//! last one up unchanged (it is never paired with itself, so no two lists share a top). The head
//! names the one before it: the newest root commits to every slice.

use sha2::{Digest, Sha256};
use units::Work;

use crate::types::{AccountId, SliceIndex};

/// One account's part of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SliceRow {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) work: u128,
    pub(crate) shares: u64,
}

/// What the head is made of besides the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadParts {
    pub(crate) index: SliceIndex,
    pub(crate) previous: [u8; 32],
    pub(crate) shares: u64,
    pub(crate) work: Work,
}

/// The root of a slice whose `rows` stand in rising order of account id.
pub(crate) fn root(parts: &HeadParts, rows: &[SliceRow]) -> [u8; 32] {
    let accounts = u32::try_from(rows.len()).expect("account ids are u32 and each stands once");
    tagged(
        b"wattproof/slice/head",
        &[
            &parts.index.get().to_be_bytes(),
            &parts.previous,
            &parts.shares.to_be_bytes(),
            &parts.work.get().to_be_bytes(),
            &accounts.to_be_bytes(),
            &top(rows.iter().map(leaf).collect()),
        ],
    )
}

fn leaf(row: &SliceRow) -> [u8; 32] {
    tagged(
        b"wattproof/slice/leaf",
        &[
            &row.account.get().to_be_bytes(),
            &row.work.to_be_bytes(),
            &row.shares.to_be_bytes(),
            row.name.as_bytes(),
        ],
    )
}

/// The top of the tree over `level`; zeros over nothing.
fn top(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    while level.len() > 1 {
        level = level.chunks(2).map(parent).collect();
    }
    level.first().copied().unwrap_or([0; 32])
}

fn parent(pair: &[[u8; 32]]) -> [u8; 32] {
    match pair {
        [left, right] => tagged(b"wattproof/slice/node", &[left, right]),
        [single] => *single,
        _ => unreachable!("chunks of two have one or two"),
    }
}

fn tagged(tag: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let tag = Sha256::digest(tag);
    let mut hasher = Sha256::new();
    hasher.update(tag);
    hasher.update(tag);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u32, work: u128) -> SliceRow {
        SliceRow { account: AccountId::new(id), name: format!("account{id}"), work, shares: 1 }
    }

    fn parts() -> HeadParts {
        HeadParts { index: SliceIndex::new(1), previous: [0; 32], shares: 3, work: Work::new(60) }
    }

    /// Worked out with another implementation (Python's hashlib) from the text above.
    #[test]
    fn known_root_of_three_accounts() {
        let root = root(&parts(), &[row(1, 10), row(2, 20), row(3, 30)]);
        assert_eq!(
            hex::encode(root),
            "0741d3d4a1b4ce415b35448bbeaea97152210912522df10fe7054fc9b44a91f9"
        );
    }

    #[test]
    fn every_ingredient_changes_the_root() {
        let rows = [row(1, 10), row(2, 20), row(3, 30)];
        let base = root(&parts(), &rows);
        let mut seen = vec![base];
        seen.push(root(&HeadParts { index: SliceIndex::new(2), ..parts() }, &rows));
        seen.push(root(&HeadParts { previous: [1; 32], ..parts() }, &rows));
        seen.push(root(&HeadParts { shares: 4, ..parts() }, &rows));
        seen.push(root(&HeadParts { work: Work::new(61), ..parts() }, &rows));
        seen.push(root(&parts(), &rows[..2]));
        seen.push(root(&parts(), &[row(1, 10), row(3, 30), row(2, 20)]));
        let mut renamed = rows.clone();
        renamed[1].name = "someone else".to_owned();
        seen.push(root(&parts(), &renamed));
        let mut doubled = rows.to_vec();
        doubled.push(row(3, 30));
        seen.push(root(&parts(), &doubled));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9);
    }
}
