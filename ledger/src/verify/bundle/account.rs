//! Checks an account's proof: its leaf, and where they are in it its shares, below the roots of some
//! slices in a row, and the newest of them below a block's coinbase where there is one.

use std::collections::BTreeMap;
use std::io::BufRead;

use defences::{Defence, stands};

use super::lines::{AbsentLine, Decimal, Hex, Lines, PathLine, SliceLine};
use super::sample::Sample;
use super::terms::Terms;
use super::walk::{Head, Shares, check_place, leaf};
use super::{BundleError, Fault};
use crate::estimate::{Lowest, WorkEstimate};
use crate::types::{Acknowledged, BlockId};
use crate::verify::root::{self, Sum};

/// What an account's proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// The account's name.
    pub account: String,
    /// The block whose coinbase commits to the newest slice, in internal order, if one is there.
    pub block: Option<BlockId>,
    /// The slices of the proof: the first and the newest.
    pub slices: (u64, u64),
    /// In how many of them the account is.
    pub present: u64,
    /// The root of the newest: where there is no block, compare it with what the pool shows.
    pub root: [u8; 32],
    /// The account's shares below the roots.
    pub shares: u64,
    /// Their work.
    pub work: u128,
    /// The work of all accounts in these slices.
    pub all_work: u128,
    /// Shares that came along and were found below the roots.
    pub listed: u64,
    /// Shares whose headers were hashed again.
    pub hashed: u64,
    /// What those headers show of its work, where all of its shares came along and were hashed.
    pub estimate: Option<WorkEstimate>,
}

/// Checks the proof of an account, of this one where `name` is given, and that it has the shares of
/// a `receipt` where one is given.
///
/// # Errors
/// At the first thing that is wrong.
pub fn account(
    reader: &mut dyn BufRead,
    name: Option<&str>,
    receipt: Option<&Acknowledged>,
    sample: Sample,
) -> Result<AccountProof, BundleError> {
    let mut lines = Lines::new(reader);
    let proof = read(&mut lines, name, receipt, sample);
    proof.map_err(|fault| fault.at(&lines))
}

/// What was added up so far.
struct Sums {
    shares: u64,
    work: u128,
    all_work: u128,
    present: u64,
    listed: u64,
    last_share: u64,
    headers: Shares,
    lowest: Lowest,
    /// The receipt whose shares were not met yet.
    owed: Option<Acknowledged>,
}

fn read(
    lines: &mut Lines<'_>,
    asked: Option<&str>,
    receipt: Option<&Acknowledged>,
    sample: Sample,
) -> Result<AccountProof, Fault> {
    let shares = lines.begin("account")?;
    let block = lines.block()?.map(|block| Terms::of(*block, None)).transpose()?;
    let accounts = lines.accounts()?;
    let (id, name) = only(accounts)?;
    if let Some(asked) = asked.filter(|asked| *asked != name) {
        return Err(format!("it is of the account {name:?}, should be {asked:?}").into());
    }
    if let Some(block) = &block {
        block.check_name(id, &name)?;
    }
    let mut sums = Sums {
        shares: 0,
        work: 0,
        all_work: 0,
        present: 0,
        listed: 0,
        last_share: 0,
        headers: Shares::new(sample.of(shares)),
        lowest: Lowest::default(),
        owed: receipt.cloned(),
    };
    let mut heads: Option<(u64, Head)> = None;
    while let Some(slice) = lines.slice()? {
        check_place(heads.map(|(_, newest)| newest), &slice)?;
        if slice.form == 1 {
            let index = slice.index;
            return Err(format!("slice {index} has an old root, which proves no account").into());
        }
        sums.slice(lines, &slice, (id, &name))?;
        let newest = Head::of(&slice);
        heads = Some((heads.map_or(slice.index, |(first, _)| first), newest));
    }
    if let Some(block) = &block {
        block.check_commitment(heads.map(|(_, newest)| newest))?;
    }
    sums.headers.all_met()?;
    if let Some(owed) = &sums.owed {
        return Err(format!("the shares of the receipt in slice {} are missing", owed.slice).into());
    }
    lines.end()?;
    let (first, newest) = heads.ok_or("it has no slice")?;
    Ok(AccountProof {
        account: name,
        block: block.map(|block| block.hash),
        slices: (first, newest.index),
        present: sums.present,
        root: newest.root,
        shares: sums.shares,
        work: sums.work,
        all_work: sums.all_work,
        listed: sums.listed,
        hashed: sums.headers.hashed(),
        estimate: sums.lowest.estimate().filter(|_| sums.headers.hashed() == sums.shares),
    })
}

fn only(accounts: BTreeMap<u32, String>) -> Result<(u32, String), Fault> {
    let count = accounts.len();
    let mut accounts = accounts.into_iter();
    match (accounts.next(), accounts.next()) {
        (Some(account), None) => Ok(account),
        _ => Err(format!("it names {count} accounts, should be one").into()),
    }
}

impl Sums {
    fn slice(
        &mut self,
        lines: &mut Lines<'_>,
        slice: &SliceLine,
        (id, name): (u32, &str),
    ) -> Result<(), Fault> {
        let top = match lines.path()? {
            Some(path) => self.path(lines, slice, (id, name), &path)?,
            None => match lines.absent()? {
                Some(AbsentLine { top: Hex(top) }) => (top, slice.work.0),
                None => return lines.missing("a path"),
            },
        };
        if top.1 != slice.work.0 {
            let (found, said) = (top.1, slice.work.0);
            let index = slice.index;
            return Err(format!("slice {index} sums to {found} hashes, not {said}").into());
        }
        let root = slice.head().map(|head| root::head_over(&head, slice.accounts, &top.0));
        if root != Some(slice.root.0) {
            return Err(format!("slice {} has another root", slice.index).into());
        }
        let all = self.all_work.checked_add(slice.work.0);
        self.all_work = all.ok_or("the work sums past 2^128 - 1")?;
        Ok(())
    }

    /// The top over the accounts that a path leads to.
    fn path(
        &mut self,
        lines: &mut Lines<'_>,
        slice: &SliceLine,
        (id, name): (u32, &str),
        path: &PathLine,
    ) -> Result<Sum, Fault> {
        if path.account != id {
            return Err(format!("the path is of account {}, should be {id}", path.account).into());
        }
        if path.with_shares {
            self.shares(lines, slice.index, path)?;
        }
        let (Hex(records), Decimal(work)) = (path.records, path.work);
        let leaf = root::account((id, name, work, path.shares), &records);
        self.present = self.present.saturating_add(1);
        self.shares = self.shares.checked_add(path.shares).ok_or("too many shares")?;
        self.work = self.work.checked_add(work).ok_or("the work sums past 2^128 - 1")?;
        climb(leaf, path, slice.accounts)
    }

    /// The shares that follow must be those of the leaf.
    fn shares(&mut self, lines: &mut Lines<'_>, slice: u64, path: &PathLine) -> Result<(), Fault> {
        let mut leaves = Vec::new();
        for _ in 0..path.shares {
            let Some(share) = lines.share()? else { return lines.missing("a share") };
            if share.account != path.account {
                return Err(format!("share {} is of another account", share.number).into());
            }
            if share.number <= self.last_share {
                return Err(format!("share {} is out of order", share.number).into());
            }
            self.last_share = share.number;
            if let Some(hash) = self.headers.check(&share)? {
                self.lowest.add(&hash, share.work.0);
            }
            leaves.push(leaf(&share));
            self.listed = self.listed.saturating_add(1);
        }
        if let Some(owed) = self.owed.take_if(|owed| owed.slice.get() == slice) {
            check_receipt(&owed, &leaves)?;
        }
        let (top, work) = root::records(leaves).ok_or("the work sums past 2^128 - 1")?;
        if work != path.work.0 {
            return Err(format!("the shares sum to {work} hashes, not {}", path.work.0).into());
        }
        if top != path.records.0 {
            return Err("the shares are not those of the account's leaf".into());
        }
        Ok(())
    }
}

/// That an account's shares in a slice begin with those that a receipt was given for.
fn check_receipt(owed: &Acknowledged, leaves: &[Sum]) -> Result<(), Fault> {
    let first = usize::try_from(owed.shares).ok().and_then(|shares| leaves.get(..shares));
    let met = first.and_then(|first| root::records(first.to_vec()));
    if met == Some((owed.records, owed.work.get())) || !stands(Defence::ReceiptShares) {
        return Ok(());
    }
    let (shares, slice) = (owed.shares, owed.slice);
    Err(format!("the {shares} shares of the receipt are not the first in slice {slice}").into())
}

/// Follows a path from a leaf to the top over `count` accounts. Which side each node is on, and how
/// many there are, follows from the leaf's position.
fn climb(leaf: Sum, path: &PathLine, count: u32) -> Result<Sum, Fault> {
    let (mut node, mut position, mut width) = (leaf, path.position, count);
    let mut beside = path.beside.iter().map(|(Hex(hash), Decimal(sum))| (*hash, *sum));
    if position >= width {
        return Err(format!("position {position} is past the {width} accounts").into());
    }
    while width > 1 {
        let is_right = !position.is_multiple_of(2);
        let has_right = position.checked_add(1).is_some_and(|right| right < width);
        if is_right || has_right {
            let other = beside.next().ok_or("the path is too short")?;
            let (left, right) = if is_right { (other, node) } else { (node, other) };
            let above = root::sum_node(root::ACCOUNTS, &left, &right);
            node = above.ok_or("the work sums past 2^128 - 1")?;
        }
        position = position.wrapping_div(2);
        width = width.div_ceil(2);
    }
    if beside.next().is_some() {
        return Err("the path is too long".into());
    }
    Ok(node)
}
