//! Walks the slices of a bundle, oldest first: every share, every row, every root.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use defences::{Defence, stands};

use super::Fault;
use super::lines::{Hex, Lines, ShareLine, SliceLine};
use super::sample::Chooser;
use super::window::Window;
use crate::estimate::{Lowest, WorkEstimate};
use crate::verify::{pow, root};

/// A slice whose root was found to be right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) index: u64,
    pub(super) form: u8,
    pub(super) root: [u8; 32],
    /// When the slice was closed, in milliseconds, where its root says so.
    pub(super) closed: Option<u64>,
}

impl Head {
    pub(super) fn of(slice: &SliceLine) -> Self {
        let closed = slice.head().and_then(|head| head.times).map(|(_, closed)| closed);
        Self { index: slice.index, form: slice.form, root: slice.root.0, closed }
    }
}

/// Where the walk is.
pub(super) struct Walk<'a> {
    names: &'a BTreeMap<u32, String>,
    /// The first slice's index, and the root that it names as the one before.
    first: Option<(u64, [u8; 32])>,
    newest: Option<Head>,
    slices: u64,
    /// The number of the share that was met last, once one was.
    last_share: Option<u64>,
    shares: Shares,
    /// Of each account, the lowest of the hashes that were taken.
    lowest: BTreeMap<u32, Lowest>,
}

/// What was found out about shares, one by one.
pub(super) struct Shares {
    chooser: Chooser,
    met: u64,
    hashed: u64,
    seen: HashSet<(u64, u64)>,
    keys: (RandomState, RandomState),
    /// Bits met last and the work that they ask for.
    bits: (u32, Option<u128>),
}

/// An account's part of a slice: as its row says, and as its shares sum up.
#[derive(Debug, Default)]
struct Part {
    said: (u64, u128),
    found: (u64, u128),
    leaves: Vec<root::Sum>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(names: &'a BTreeMap<u32, String>, chooser: Chooser) -> Self {
        let shares = Shares::new(chooser);
        let (first, newest, lowest) = (None, None, BTreeMap::new());
        Self { names, first, newest, slices: 0, last_share: None, shares, lowest }
    }

    /// Shares, shares whose headers were hashed, and slices.
    pub(super) const fn counts(&self) -> (u64, u64, u64) {
        (self.shares.met, self.shares.hashed, self.slices)
    }

    /// What the headers show of each account's work, where all were hashed.
    pub(super) fn work(&self) -> Vec<(String, WorkEstimate)> {
        let whole = self.shares.hashed == self.shares.met;
        let of =
            |(id, lowest): (&u32, &Lowest)| Some((self.names.get(id)?.clone(), lowest.estimate()?));
        self.lowest.iter().filter(|_| whole).filter_map(of).collect()
    }

    pub(super) const fn newest(&self) -> Option<Head> {
        self.newest
    }

    /// That there were as many shares as the first line said.
    pub(super) fn all_met(&self) -> Result<(), Fault> {
        self.shares.all_met()
    }

    /// The index of the first slice.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.first.map(|(oldest, _)| oldest)
    }

    /// The same, and the root that it names as the one before.
    pub(super) const fn first(&self) -> Option<(u64, [u8; 32])> {
        self.first
    }

    /// Reads what follows the line of a slice.
    pub(super) fn slice(
        &mut self,
        lines: &mut Lines<'_>,
        slice: SliceLine,
        window: &mut Window,
    ) -> Result<(), Fault> {
        check_place(self.newest, &slice)?;
        window.begin_slice(slice.head().and_then(|head| head.times))?;
        let mut parts = self.rows(lines, &slice)?;
        let mut work = 0_u128;
        for _ in 0..slice.shares {
            let Some(share) = lines.share()? else { return lines.missing("a share") };
            self.number(&slice, share.number)?;
            if let Some(hash) = self.shares.check(&share)? {
                self.lowest.entry(share.account).or_default().add(&hash, share.work.0);
            }
            work = work.checked_add(share.work.0).ok_or("the work sums past 2^128 - 1")?;
            let id = share.account;
            let part = parts.get_mut(&id).ok_or_else(|| format!("account {id} has no row"))?;
            part.found = (
                part.found.0.saturating_add(1),
                part.found.1.checked_add(share.work.0).ok_or("the work sums past 2^128 - 1")?,
            );
            part.leaves.push(leaf(&share));
            window.share(&share)?;
        }
        for (id, part) in &parts {
            if part.said != part.found {
                let (said, found) = (part.said, part.found);
                return Err(format!(
                    "account {id} has {} shares of {} hashes in slice {}, its row says {} of {}",
                    found.0, found.1, slice.index, said.0, said.1
                )
                .into());
            }
        }
        if work != slice.work.0 {
            let said = slice.work.0;
            return Err(format!("slice {} sums to {work} hashes, not {said}", slice.index).into());
        }
        self.root(&slice, parts)?;
        self.first.get_or_insert((slice.index, slice.previous.0));
        self.slices = self.slices.saturating_add(1);
        self.newest = Some(Head::of(&slice));
        Ok(())
    }

    fn rows(&self, lines: &mut Lines<'_>, slice: &SliceLine) -> Result<BTreeMap<u32, Part>, Fault> {
        let mut parts = BTreeMap::new();
        for _ in 0..slice.accounts {
            let Some(row) = lines.row()? else { return lines.missing("an account's row") };
            if parts.last_key_value().is_some_and(|(last, _)| *last >= row.account) {
                return Err(format!("the row of account {} is out of order", row.account).into());
            }
            if !self.names.contains_key(&row.account) {
                return Err(format!("account {} has no name", row.account).into());
            }
            let said = (row.shares, row.work.0);
            parts.insert(row.account, Part { said, ..Part::default() });
        }
        Ok(parts)
    }

    /// That a share has the number after the one before it.
    fn number(&mut self, slice: &SliceLine, number: u64) -> Result<(), Fault> {
        let must = match self.last_share {
            Some(last) => last.saturating_add(1),
            None if slice.index == 1 => 1,
            None => number,
        };
        if number != must {
            return Err(format!("share {number} is out of order, should be {must}").into());
        }
        self.last_share = Some(number);
        Ok(())
    }

    fn root(&self, slice: &SliceLine, parts: BTreeMap<u32, Part>) -> Result<(), Fault> {
        let said = slice.head().ok_or("the slice's instants are missing")?;
        let name = |id: &u32| self.names.get(id).map_or("", String::as_str);
        let root = if slice.form == 1 {
            let leaves = parts.iter().map(|(id, part)| (*id, name(id), part.found.1, part.found.0));
            Some(root::old_root(said.index, &said.previous, said.shares, said.work, leaves))
        } else {
            let leaf = |(id, part): (u32, Part)| {
                let (shares, work) = part.found;
                let records = root::records(part.leaves)?;
                Some(root::account((id, name(&id), work, shares), &records.0))
            };
            let leaves: Option<Vec<_>> = parts.into_iter().map(leaf).collect();
            leaves.and_then(|leaves| root::head(&said, leaves))
        };
        if root == Some(slice.root.0) || !stands(Defence::BundleRoot) {
            return Ok(());
        }
        Err(format!("slice {} has another root", slice.index).into())
    }
}

/// That a slice follows the one before it.
pub(super) fn check_place(newest: Option<Head>, slice: &SliceLine) -> Result<(), Fault> {
    let (index, Hex(previous)) = (slice.index, slice.previous);
    if !(1..=3).contains(&slice.form) {
        return Err(format!("nobody knows the form {} of slice {index}", slice.form).into());
    }
    let Some(head) = slice.head() else {
        let form = slice.form;
        return Err(format!("slice {index} says instants as its form {form} does not").into());
    };
    if let Some(newest) = newest {
        let must = newest.index.saturating_add(1);
        if index != must {
            return Err(format!("slice {index} follows, should be {must}").into());
        }
        if previous != newest.root {
            return Err(format!("slice {index} does not name the root before it").into());
        }
    }
    let before = if index == 1 { Some(0) } else { newest.and_then(|newest| newest.closed) };
    if let (Some((opened, _)), Some(must)) = (head.times, before)
        && opened != must
    {
        return Err(format!("slice {index} was opened at {opened}, should be {must}").into());
    }
    if index == 0 || (index == 1 && previous != [0; 32]) {
        return Err(format!("slice {index} does not name the root before it").into());
    }
    if slice.shares == 0 {
        return Err(format!("slice {index} is empty").into());
    }
    Ok(())
}

/// A share's leaf.
pub(super) fn leaf(share: &ShareLine) -> root::Sum {
    let ShareLine { number, work, network_work, at, header, .. } = share;
    root::record(&header.0, work.0, network_work.0, *number, *at)
}

impl Shares {
    pub(super) fn new(chooser: Chooser) -> Self {
        let keys = (RandomState::new(), RandomState::new());
        Self { chooser, met: 0, hashed: 0, seen: HashSet::new(), keys, bits: (0, None) }
    }

    /// How many headers were hashed.
    pub(super) const fn hashed(&self) -> u64 {
        self.hashed
    }

    pub(super) fn all_met(&self) -> Result<(), Fault> {
        match self.chooser.to_come() {
            0 => Ok(()),
            missing => Err(format!("{missing} shares are missing").into()),
        }
    }

    /// A share by itself: its work, its header, and that it was not met before.
    /// Its hash, where it is chosen.
    pub(super) fn check(&mut self, share: &ShareLine) -> Result<Option<[u8; 32]>, Fault> {
        let ShareLine { number, work, network_work, header, .. } = share;
        if self.chooser.to_come() == 0 {
            return Err(format!("share {number} is one more than the first line says").into());
        }
        self.met = self.met.saturating_add(1);
        let bits = pow::bits_of(&header.0);
        if self.bits.0 != bits {
            self.bits = (bits, pow::target_of_bits(bits).map(pow::work_of_target));
        }
        if self.bits.1 != Some(network_work.0) {
            let said = network_work.0;
            return Err(format!("share {number} is not of a block of {said} hashes").into());
        }
        if work.0 == 0 {
            return Err(format!("share {number} is of no work").into());
        }
        let hash = self.chooser.takes().then(|| pow::double_sha256(&header.0));
        if let Some(hash) = &hash {
            self.hashed = self.hashed.saturating_add(1);
            let proven = pow::proves(hash, work.0);
            if !proven && stands(Defence::BundleProof) {
                return Err(format!("share {number} does not prove {} hashes", work.0).into());
            }
        }
        // Two keyed hashes of 64 bits: nobody can make two headers that look alike.
        let key = (self.keys.0.hash_one(header.0), self.keys.1.hash_one(header.0));
        if !self.seen.insert(key) && stands(Defence::BundleDuplicate) {
            return Err(format!("share {number} is there twice").into());
        }
        Ok(hash)
    }
}
