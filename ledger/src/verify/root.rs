//! Roots of slices, from the text of `slice.rs`: one pass with a stack of finished subtrees
//! (where the ledger folds level by level).

use sha2::{Digest, Sha256};

/// One account of a slice: id, name, work, shares.
pub(super) type Leaf<'a> = (u32, &'a str, u128, u64);

/// The root of slice `index` whose leaves stand in rising order of id.
pub(super) fn slice_root<'a>(
    index: u64,
    previous: &[u8; 32],
    shares: u64,
    work: u128,
    leaves: impl Iterator<Item = Leaf<'a>>,
) -> [u8; 32] {
    let mut count = 0_u32;
    let mut stack: Vec<(u32, [u8; 32])> = Vec::new();
    for leaf in leaves {
        count = count.saturating_add(1);
        stack.push((0, leaf_hash(leaf)));
        while let [.., (left_height, left), (height, right)] = stack.as_slice()
            && left_height == height
        {
            let joined = (height.saturating_add(1), join(left, right));
            stack.truncate(stack.len().saturating_sub(2));
            stack.push(joined);
        }
    }
    let top =
        stack.into_iter().map(|(_, hash)| hash).rev().reduce(|right, left| join(&left, &right));
    let mut message = Vec::with_capacity(104);
    message.extend_from_slice(&index.to_be_bytes());
    message.extend_from_slice(previous);
    message.extend_from_slice(&shares.to_be_bytes());
    message.extend_from_slice(&work.to_be_bytes());
    message.extend_from_slice(&count.to_be_bytes());
    message.extend_from_slice(&top.unwrap_or_default());
    tagged("wattproof/slice/head", &message)
}

fn leaf_hash((id, name, work, shares): Leaf<'_>) -> [u8; 32] {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&work.to_be_bytes());
    message.extend_from_slice(&shares.to_be_bytes());
    message.extend_from_slice(name.as_bytes());
    tagged("wattproof/slice/leaf", &message)
}

fn join(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    tagged("wattproof/slice/node", &[*left, *right].concat())
}

fn tagged(tag: &str, message: &[u8]) -> [u8; 32] {
    let tag: [u8; 32] = Sha256::digest(tag).into();
    let whole = [&tag, &tag, message].concat();
    Sha256::digest(whole).into()
}

#[cfg(test)]
mod tests {
    use units::Work;

    use super::*;
    use crate::slice::{HeadParts, SliceRow, root};
    use crate::types::{AccountId, SliceIndex};

    #[test]
    fn agrees_with_the_ledgers_own_for_any_number_of_accounts() {
        for count in 0_u32..40 {
            let rows: Vec<_> = (1..=count)
                .map(|id| SliceRow {
                    account: AccountId::new(id),
                    name: format!("account {id}"),
                    work: u128::from(id).pow(9),
                    shares: id.into(),
                })
                .collect();
            let parts = HeadParts {
                index: SliceIndex::new(7),
                previous: [9; 32],
                shares: 3,
                work: Work::new(u128::MAX),
            };
            let leaves =
                rows.iter().map(|row| (row.account.get(), &*row.name, row.work, row.shares));
            assert_eq!(slice_root(7, &[9; 32], 3, u128::MAX, leaves), root(&parts, &rows));
        }
    }
}
