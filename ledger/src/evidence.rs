//! What the shares of the open slice prove, as far as it is needed when the slice is closed: the
//! trees that its root is made of, and the best headers of each account.
//!
//! It grows with each share, so that closing a slice costs O(accounts) and holds up nobody, and is
//! made again from the log when a ledger is opened. It knows no store.
//!
//! Size: for an account at most 17 nodes and [`BEST_MOST`] shares, 100 and 200 bytes each; a slice
//! of [`crate::MAX_SLICE`] shares has 14 MiB at the most.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::error::LedgerError;
use crate::packed;
use crate::slice::{Hashes, HeadParts, Node, SliceRow, SumTree};
use crate::types::{AccountId, Share};

/// Most headers that are kept of an account in a slice.
pub const BEST_MOST: u32 = 1_024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Evidence {
    hashes: Hashes,
    accounts: BTreeMap<AccountId, Proven>,
}

/// One account's shares of the open slice.
#[derive(Debug, Default)]
struct Proven {
    records: SumTree,
    /// The shares with the lowest hashes, by hash (most significant byte first) and number.
    best: BTreeMap<([u8; 32], u64), Share>,
}

/// The best shares of an account in the form in which they are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BestRow {
    pub(crate) account: AccountId,
    /// The top over all of its shares.
    pub(crate) records: [u8; 32],
    /// Their numbers, 8 bytes each, lowest hash first.
    pub(crate) numbers: Vec<u8>,
    /// The shares in the same order, as `packed.rs` has them.
    pub(crate) shares: Vec<u8>,
}

impl Evidence {
    pub(crate) fn new() -> Self {
        Self { hashes: Hashes::new(), accounts: BTreeMap::new() }
    }

    /// Takes in share `number`, the next one.
    pub(crate) fn add(
        &mut self,
        account: AccountId,
        number: u64,
        share: &Share,
    ) -> Result<(), LedgerError> {
        let proven = self.accounts.entry(account).or_default();
        proven.records.push(&self.hashes.records, self.hashes.record(number, share))?;
        proven.note((hash_of(&share.header), number), share);
        Ok(())
    }

    /// The root of the slice of these rows, which stand in rising order of account id.
    pub(crate) fn root(
        &self,
        parts: &HeadParts,
        rows: &[SliceRow],
    ) -> Result<[u8; 32], LedgerError> {
        let leaf = |row: &SliceRow| {
            let records = self.records(row.account)?;
            assert_eq!(records.sum, row.work, "an account's shares must sum to its work");
            Ok(self.hashes.account(row, &records))
        };
        let leaves: Vec<Node> = rows.iter().map(leaf).collect::<Result<_, LedgerError>>()?;
        self.hashes.head(parts, &leaves)
    }

    /// Each account with the `most` best of its shares.
    pub(crate) fn best(&self, most: u32) -> Result<Vec<BestRow>, LedgerError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let row = |(account, proven): (&AccountId, &Proven)| {
            let best = || proven.best.iter().take(most);
            let shares: Vec<_> = best().map(|(_, share)| share.clone()).collect();
            Ok(BestRow {
                account: *account,
                records: proven.records.top(&self.hashes.records)?.hash,
                numbers: best().flat_map(|((_, number), _)| number.to_be_bytes()).collect(),
                shares: packed::encode(&shares),
            })
        };
        self.accounts.iter().map(row).collect()
    }

    /// Forgets everything: another slice is open.
    pub(crate) fn clear(&mut self) {
        self.accounts.clear();
    }

    fn records(&self, account: AccountId) -> Result<Node, LedgerError> {
        let proven = self.accounts.get(&account).ok_or_else(|| {
            LedgerError::damaged(format!("the shares of account {account} are missing"))
        })?;
        proven.records.top(&self.hashes.records)
    }
}

impl Proven {
    /// Keeps a share if it is among the best.
    fn note(&mut self, key: ([u8; 32], u64), share: &Share) {
        let most = usize::try_from(BEST_MOST).unwrap_or(usize::MAX);
        if self.best.len() < most {
            self.best.insert(key, share.clone());
        } else if self.best.last_key_value().is_some_and(|(worst, _)| key < *worst) {
            self.best.pop_last();
            self.best.insert(key, share.clone());
        }
    }
}

/// A header's hash as a number, most significant byte first.
fn hash_of(header: &[u8; 80]) -> [u8; 32] {
    let mut hash: [u8; 32] = Sha256::digest(Sha256::digest(header)).into();
    hash.reverse();
    hash
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use proptest::prelude::*;
    use units::{UnixMillis, Work};

    use super::*;
    use crate::types::{SliceIndex, WorkerId};

    fn share(serial: u64) -> Share {
        let mut header = [0; 80];
        header[..8].copy_from_slice(&serial.to_le_bytes());
        Share {
            worker: WorkerId::new(1),
            work: Work::new(u128::from(serial % 7 + 1)),
            network_work: Work::new(512),
            at: UnixMillis::new(serial),
            header,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_best_are_the_lowest_hashes_of_all(shares in 0_u64..3_000, most in 1_u32..=BEST_MOST) {
            let mut evidence = Evidence::new();
            let mut all = Vec::new();
            for number in 1..=shares {
                evidence.add(AccountId::new(1), number, &share(number)).unwrap();
                all.push((hash_of(&share(number).header), number));
            }
            all.sort_unstable();
            let must: Vec<_> = all
                .iter()
                .take(usize::try_from(most).unwrap())
                .flat_map(|(_, number)| number.to_be_bytes())
                .collect();
            let best = evidence.best(most).unwrap();
            prop_assert_eq!(best.first().map_or(&[][..], |row| &row.numbers), must);
            let none = evidence.best(0).unwrap();
            prop_assert!(none.iter().all(|row| row.numbers.is_empty()));
        }
    }

    #[test]
    fn a_slice_without_its_shares_has_no_root() {
        let parts = HeadParts {
            index: SliceIndex::new(1),
            previous: [0; 32],
            opened: UnixMillis::new(0),
            closed: UnixMillis::new(1),
            shares: 1,
            work: Work::new(1),
        };
        let row = SliceRow { account: AccountId::new(1), name: "a".to_owned(), work: 1, shares: 1 };
        assert!(Evidence::new().root(&parts, &[row]).is_err());
    }
}
