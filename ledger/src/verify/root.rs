//! Roots of slices. Those of the present form are made as the text of `slice.rs` says, level by
//! level (where the ledger keeps a stack of finished parts). Those of form 2 have a head without
//! instants, and those of the first one pass over the accounts alone:
//!
//! ```text
//! head of form 2 = H("wattproof/slice/head/2", index u64 | previous head 32 | shares u64 | work u128
//!                                             | number of accounts u32 | accounts 32)
//!
//! of form 1:
//! leaf = H("wattproof/slice/leaf", account id u32 | work u128 | shares u64 | account's name)
//! node = H("wattproof/slice/node", left 32 | right 32)
//! head = H("wattproof/slice/head", index u64 | previous head 32 | shares u64 | work u128
//!                                  | number of accounts u32 | top of the tree 32)
//! ```

use sha2::{Digest, Sha256};

/// One account of a slice: id, name, work, shares.
pub(super) type Leaf<'a> = (u32, &'a str, u128, u64);

/// A hash and the work below it.
pub(super) type Sum = ([u8; 32], u128);

/// What a head says besides its accounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) index: u64,
    pub(super) previous: [u8; 32],
    /// When the slice before was closed, and when this one, in milliseconds; not said before form 3.
    pub(super) times: Option<(u64, u64)>,
    pub(super) shares: u64,
    pub(super) work: u128,
}

/// The leaf of a share with this number and instant.
pub(super) fn record(header: &[u8; 80], work: u128, network: u128, number: u64, at: u64) -> Sum {
    let mut message = header.to_vec();
    message.extend_from_slice(&work.to_be_bytes());
    message.extend_from_slice(&network.to_be_bytes());
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&at.to_be_bytes());
    (tagged("wattproof/slice/record", &message), work)
}

/// The top over an account's shares; `None` when their work is out of range.
pub(super) fn records(leaves: Vec<Sum>) -> Option<Sum> {
    folded("wattproof/slice/records", leaves)
}

/// The leaf of an account.
pub(super) fn account((id, name, work, shares): Leaf<'_>, records: &[u8; 32]) -> Sum {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&work.to_be_bytes());
    message.extend_from_slice(&shares.to_be_bytes());
    message.extend_from_slice(records);
    message.extend_from_slice(name.as_bytes());
    (tagged("wattproof/slice/account", &message), work)
}

/// The node above two, with this tag; `None` when their work is out of range.
pub(super) fn sum_node(tag: &str, left: &Sum, right: &Sum) -> Option<Sum> {
    let sum = left.1.checked_add(right.1)?;
    let message =
        [left.0.as_slice(), &left.1.to_be_bytes(), right.0.as_slice(), &right.1.to_be_bytes()];
    Some((tagged(tag, &message.concat()), sum))
}

/// The root over accounts whose leaves stand in rising order of id; `None` when their work is out
/// of range.
pub(super) fn head(head: &Head, leaves: Vec<Sum>) -> Option<[u8; 32]> {
    let count = u32::try_from(leaves.len()).ok()?;
    let (top, _) = folded(ACCOUNTS, leaves)?;
    Some(head_over(head, count, &top))
}

/// The tag of the nodes over accounts.
pub(super) const ACCOUNTS: &str = "wattproof/slice/accounts";

/// The root over `count` accounts with this top.
pub(super) fn head_over(head: &Head, count: u32, top: &[u8; 32]) -> [u8; 32] {
    let mut message = head.index.to_be_bytes().to_vec();
    message.extend_from_slice(&head.previous);
    let tag = if let Some((opened, closed)) = head.times {
        message.extend_from_slice(&opened.to_be_bytes());
        message.extend_from_slice(&closed.to_be_bytes());
        "wattproof/slice/head/3"
    } else {
        "wattproof/slice/head/2"
    };
    message.extend_from_slice(&head.shares.to_be_bytes());
    message.extend_from_slice(&head.work.to_be_bytes());
    message.extend_from_slice(&count.to_be_bytes());
    message.extend_from_slice(top);
    tagged(tag, &message)
}

fn folded(tag: &str, mut level: Vec<Sum>) -> Option<Sum> {
    while level.len() > 1 {
        let pair = |pair: &[Sum]| match pair {
            [left, right] => sum_node(tag, left, right),
            [last] => Some(*last),
            _ => None,
        };
        level = level.chunks(2).map(pair).collect::<Option<_>>()?;
    }
    Some(level.pop().unwrap_or(([0; 32], 0)))
}

/// The root, as logs of earlier versions have it, of slice `index` whose leaves stand in rising order of id.
pub(super) fn old_root<'a>(
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
    use units::{UnixMillis, Work};

    use super::*;
    use crate::evidence::Evidence;
    use crate::slice::{HeadParts, SliceRow};
    use crate::types::{AccountId, Share, SliceIndex, WorkerId};

    /// Worked out with another implementation (Python's hashlib) from the text above.
    #[test]
    fn known_old_root_of_three_accounts() {
        let leaves = [(1, "account1", 10, 1), (2, "account2", 20, 1), (3, "account3", 30, 1)];
        let root = old_root(1, &[0; 32], 3, 60, leaves.into_iter());
        assert_eq!(
            hex::encode(root),
            "0741d3d4a1b4ce415b35448bbeaea97152210912522df10fe7054fc9b44a91f9"
        );
    }

    /// Worked out in the same way.
    #[test]
    fn known_root_of_the_second_form() {
        let account_of = |id: u8, works: [u128; 3]| {
            let records_of = (3 * id - 2..).zip(works).map(|(number, work)| {
                record(&[number; 80], work, 512, number.into(), 1_790_000_000_000)
            });
            let (top, work) = records(records_of.collect()).unwrap();
            account((id.into(), &format!("account{id}"), work, 3), &top)
        };
        let leaves = vec![account_of(1, [10, 20, 30]), account_of(2, [40, 50, 60])];
        let said = Head { index: 1, previous: [9; 32], times: None, shares: 6, work: 210 };
        assert_eq!(
            hex::encode(head(&said, leaves).unwrap()),
            "49d12995923b536e4e0afc51b6ef53b3d485442e4b6c32df78aa24f71d26b8f5"
        );
    }

    /// Share `number` of account `id`.
    fn share(id: u32, number: u64) -> Share {
        let mut header = [0; 80];
        header[..8].copy_from_slice(&number.to_le_bytes());
        Share {
            worker: WorkerId::new(id),
            work: Work::new(u128::from(number).pow(5)),
            network_work: Work::new(7),
            at: UnixMillis::new(number),
            header,
        }
    }

    #[test]
    fn agrees_with_the_ledgers_own_for_any_number_of_accounts_and_shares() {
        for count in 1_u32..24 {
            let mut evidence = Evidence::new();
            let mut rows: Vec<SliceRow> = Vec::new();
            let mut leaves = Vec::new();
            let mut number = 0;
            for id in 1..=count {
                let name = format!("account {id}");
                let (mut records_of, mut work) = (Vec::new(), 0);
                for _ in 0..id {
                    number += 1;
                    let share = share(id, number);
                    evidence.add(AccountId::new(id), number, &share).unwrap();
                    work += share.work.get();
                    records_of.push(record(&share.header, share.work.get(), 7, number, number));
                }
                let (top, sum) = records(records_of).unwrap();
                assert_eq!(sum, work);
                leaves.push(account((id, &name, work, id.into()), &top));
                rows.push(SliceRow { account: AccountId::new(id), name, work, shares: id.into() });
            }
            let work = rows.iter().map(|row| row.work).sum();
            let parts = HeadParts {
                index: SliceIndex::new(7),
                previous: [9; 32],
                opened: UnixMillis::new(5),
                closed: UnixMillis::new(6),
                shares: number,
                work: Work::new(work),
            };
            let times = Some((5, 6));
            let said = Head { index: 7, previous: [9; 32], times, shares: number, work };
            assert_eq!(head(&said, leaves).unwrap(), evidence.root(&parts, &rows).unwrap());
        }
    }

    #[test]
    fn sums_past_the_range_have_no_root() {
        let leaves = vec![([1; 32], u128::MAX), ([2; 32], 1)];
        assert_eq!(records(leaves), None);
    }
}
