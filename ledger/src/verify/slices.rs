//! The slices of the log: their sums, their roots, and the best headers that they keep.

use std::collections::BTreeMap;

use super::audit::{Audit, Fault, expect, length, nth, rows};
use super::body::Body;
use super::pruned;
use super::root::{self, Sum};
use super::shares::AuditedShare;
use crate::store::RawEvent;

/// What the shares of one account in the open slice prove.
#[derive(Debug, Default)]
pub(super) struct Proven {
    leaves: Vec<Sum>,
    /// Hashes, most significant byte first, and numbers.
    hashes: Vec<([u8; 32], u64)>,
}

/// Account, shares, work and score.
pub(super) type Row = (u32, u64, u128, u128);

/// A closed slice.
#[derive(Debug)]
pub(super) struct Slice {
    /// The event that closed it.
    pub(super) closed_by: u64,
    /// When, in milliseconds.
    pub(super) closed_at: u64,
    pub(super) shares: u64,
    /// The number of its last share.
    pub(super) last: u64,
    pub(super) work: u128,
    /// How its root is made: 1 and 2 in logs of earlier versions, 3 now.
    pub(super) form: u8,
    /// Made from its shares; as it is said where they have no headers any more.
    pub(super) root: [u8; 32],
    /// How many best headers it keeps of each account.
    pub(super) best: u64,
    /// Whether some of its batches have no headers.
    pub(super) bare: bool,
    /// Whether the table has others than its best headers: fewer of them stay when it is pruned.
    pub(super) doubted: bool,
    /// The event that says that it was pruned.
    pub(super) pruned: Option<u64>,
    /// Account, shares, work and score, in rising order of account.
    pub(super) rows: Vec<Row>,
}

impl Audit<'_> {
    /// Takes in what share `number` of an account proves by its `hash`.
    pub(super) fn note_proof(
        &mut self,
        account: u32,
        number: u64,
        share: &AuditedShare,
        hash: &[u8; 32],
    ) {
        let AuditedShare { header, work, network_work, at, .. } = share;
        let leaf = root::record(header, *work, *network_work, number, *at);
        let mut hash = *hash;
        hash.reverse();
        let proven = self.proven.entry(account).or_default();
        proven.leaves.push(leaf);
        proven.hashes.push((hash, number));
    }

    pub(super) fn slice_closed(&mut self, event: &RawEvent, body: &Body) -> Result<(), Fault> {
        let index = length(self.slices.len()).saturating_add(1);
        let rows = rows(&core::mem::take(&mut self.open));
        let (proven, bare) = (core::mem::take(&mut self.proven), core::mem::take(&mut self.bare));
        let shares = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.1));
        let work = rows.iter().fold(0_u128, |sum, row| sum.saturating_add(row.2));
        let form = body.optional_number("form")?.unwrap_or(1);
        if ![1, 2, 3].contains(&form) {
            return Err(format!("nobody knows the form {form} of its root").into());
        }
        let best = body.optional_number("best")?.unwrap_or(0);
        let said = body.bytes("root");
        self.slices.push(Slice {
            closed_by: event.seq,
            closed_at: event.at,
            shares,
            last: self.shares,
            work,
            form,
            root: said.clone().unwrap_or_default(),
            best,
            bare,
            doubted: false,
            pruned: None,
            rows,
        });
        let tops = if bare { BTreeMap::new() } else { tops(form, &proven) };
        let root = self.remade(&tops);
        if let Some(slice) = self.slices.last_mut() {
            slice.root = root;
        }
        expect("index", body.number("index")?, index)?;
        expect("shares", body.number("shares")?, shares)?;
        expect("work", body.decimal("work")?, work)?;
        expect("root", hex::encode(said?), hex::encode(root))?;
        if shares == 0 {
            return Err("it is empty".to_owned().into());
        }
        match (bare, form) {
            (true, 1) => {
                Err("its shares have no headers, and its root is not over them".to_owned().into())
            }
            (true, _) => Ok(()),
            (false, _) => {
                let kept = self.keeps_best(index, best, &proven, &tops)?;
                if let Some(slice) = self.slices.last_mut() {
                    slice.doubted = !kept;
                }
                Ok(())
            }
        }
    }

    /// The root of the newest slice: made again, or left as it is said while nobody can.
    fn remade(&self, tops: &BTreeMap<u32, [u8; 32]>) -> [u8; 32] {
        let Some(slice) = self.slices.last() else { return [0; 32] };
        let head = self.head_of(self.slices.len().saturating_sub(1));
        match slice.form {
            1 => self.old_root(&head, &slice.rows),
            _ if slice.bare => slice.root,
            _ => self.root(&head, &slice.rows, tops).unwrap_or_default(),
        }
    }

    /// What the head of the closed slice at `place` says besides its accounts.
    pub(super) fn head_of(&self, place: usize) -> root::Head {
        let slice = self.slices.get(place);
        let before = place.checked_sub(1).and_then(|place| self.slices.get(place));
        let opened = before.map_or(0, |slice| slice.closed_at);
        root::Head {
            index: length(place).saturating_add(1),
            previous: before.map_or([0; 32], |slice| slice.root),
            times: slice.filter(|slice| slice.form > 2).map(|slice| (opened, slice.closed_at)),
            shares: slice.map_or(0, |slice| slice.shares),
            work: slice.map_or(0, |slice| slice.work),
        }
    }

    fn old_root(&self, said: &root::Head, rows: &[Row]) -> [u8; 32] {
        let leaves =
            rows.iter().map(|(id, shares, work, _)| (*id, self.name_of(*id), *work, *shares));
        root::old_root(said.index, &said.previous, said.shares, said.work, leaves)
    }

    /// The root of the slice of these rows; `None` when an account has no top over its shares.
    pub(super) fn root(
        &self,
        said: &root::Head,
        rows: &[Row],
        tops: &BTreeMap<u32, [u8; 32]>,
    ) -> Option<[u8; 32]> {
        let leaf = |(id, shares, work, _): &Row| {
            Some(root::account((*id, self.name_of(*id), *work, *shares), tops.get(id)?))
        };
        root::head(said, rows.iter().map(leaf).collect::<Option<_>>()?)
    }

    fn name_of(&self, account: u32) -> &str {
        nth(&self.accounts, account).map_or("", |account| account.name.as_str())
    }

    /// Whether the table has the tops and the `most` best headers of each account, and those alone.
    fn keeps_best(
        &self,
        slice: u64,
        most: u64,
        proven: &BTreeMap<u32, Proven>,
        tops: &BTreeMap<u32, [u8; 32]>,
    ) -> Result<bool, Fault> {
        let stored = self.raw.slice_best(slice)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let must = proven.iter().map(|(account, proven)| {
            let mut hashes = proven.hashes.clone();
            hashes.sort_unstable();
            hashes.truncate(most);
            (*account, tops.get(account).copied(), Some(hashes))
        });
        let read = stored.iter().map(|row| {
            let hashes = pruned::best(&row.numbers, &row.shares)
                .map(|best| best.iter().map(|one| (one.hash, one.number)).collect::<Vec<_>>());
            (row.account, Some(row.records), hashes)
        });
        Ok(must.eq(read))
    }
}

/// The top over each account's shares, where their work is in range; zeros where the root has none.
fn tops(form: u8, proven: &BTreeMap<u32, Proven>) -> BTreeMap<u32, [u8; 32]> {
    let top = |proven: &Proven| {
        if form < 2 { Some([0; 32]) } else { Some(root::records(proven.leaves.clone())?.0) }
    };
    proven.iter().filter_map(|(account, proven)| Some((*account, top(proven)?))).collect()
}
