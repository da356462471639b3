//! The slices of the log: their sums, their roots, and the best headers that they keep.

use std::collections::BTreeMap;

use super::audit::{Audit, Fault, expect, length, nth, rows};
use super::body::Body;
use super::root::{self, Sum};
use super::shares::{self, AuditedShare};
use crate::store::RawEvent;

/// What the shares of one account in the open slice prove.
#[derive(Debug, Default)]
pub(super) struct Proven {
    leaves: Vec<Sum>,
    /// Hashes, most significant byte first, and numbers.
    hashes: Vec<([u8; 32], u64)>,
}

/// Account, shares, work and score.
type Row = (u32, u64, u128, u128);

/// A closed slice.
#[derive(Debug)]
pub(super) struct Slice {
    /// The event that closed it.
    pub(super) closed_by: u64,
    /// When, in milliseconds.
    pub(super) closed_at: u64,
    pub(super) shares: u64,
    pub(super) work: u128,
    /// How its root is made: 1 and 2 in logs of earlier versions, 3 now.
    pub(super) form: u8,
    pub(super) root: [u8; 32],
    /// Account, shares, work and score, in rising order of account.
    pub(super) rows: Vec<(u32, u64, u128, u128)>,
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
        let proven = core::mem::take(&mut self.proven);
        let shares = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.1));
        let work = rows.iter().fold(0_u128, |sum, row| sum.saturating_add(row.2));
        let form = body.optional_number("form")?.unwrap_or(1);
        let previous = self.slices.last().map_or([0; 32], |slice| slice.root);
        let opened = self.slices.last().map_or(0, |slice| slice.closed_at);
        let times = (form > 2).then_some((opened, event.at));
        let said = root::Head { index, previous, times, shares, work };
        let root = match form {
            1 => self.old_root(&said, &rows),
            2 | 3 => self.root(&said, &rows, &proven).unwrap_or_default(),
            other => return Err(format!("nobody knows the form {other} of its root").into()),
        };
        let (closed_by, closed_at) = (event.seq, event.at);
        self.slices.push(Slice { closed_by, closed_at, shares, work, form, root, rows });
        expect("index", body.number("index")?, index)?;
        expect("shares", body.number("shares")?, shares)?;
        expect("work", body.decimal("work")?, work)?;
        expect("root", hex::encode(body.bytes("root")?), hex::encode(root))?;
        if shares == 0 {
            return Err("it is empty".to_owned().into());
        }
        self.check_best(index, body.optional_number("best")?.unwrap_or(0), &proven)
    }

    fn old_root(&self, said: &root::Head, rows: &[Row]) -> [u8; 32] {
        let leaves =
            rows.iter().map(|(id, shares, work, _)| (*id, self.name_of(*id), *work, *shares));
        root::old_root(said.index, &said.previous, said.shares, said.work, leaves)
    }

    fn root(
        &self,
        said: &root::Head,
        rows: &[Row],
        proven: &BTreeMap<u32, Proven>,
    ) -> Option<[u8; 32]> {
        let leaf = |(id, shares, work, _): &Row| {
            let records = root::records(proven.get(id)?.leaves.clone())?;
            Some(root::account((*id, self.name_of(*id), *work, *shares), &records.0))
        };
        root::head(said, rows.iter().map(leaf).collect::<Option<_>>()?)
    }

    fn name_of(&self, account: u32) -> &str {
        nth(&self.accounts, account).map_or("", |account| account.name.as_str())
    }

    /// That the table has the `most` best headers of each account, and those alone.
    fn check_best(
        &self,
        slice: u64,
        most: usize,
        proven: &BTreeMap<u32, Proven>,
    ) -> Result<(), Fault> {
        let stored = self.raw.slice_best(slice)?;
        let must = proven.iter().filter(|_| most > 0).map(|(account, proven)| {
            let mut hashes = proven.hashes.clone();
            hashes.sort_unstable();
            hashes.truncate(most);
            (*account, hashes)
        });
        let read = stored.iter().map(|(account, numbers, shares)| {
            let hashes = shares::decode("shares", shares).ok()?.into_iter().map(|share| {
                let mut hash = super::pow::double_sha256(&share.header);
                hash.reverse();
                hash
            });
            let numbers =
                numbers.as_chunks::<8>().0.iter().map(|number| u64::from_be_bytes(*number));
            Some((*account, hashes.zip(numbers).collect::<Vec<_>>()))
        });
        if must.map(Some).eq(read) {
            return Ok(());
        }
        Err(format!("slice {slice} does not keep its best headers").into())
    }
}
