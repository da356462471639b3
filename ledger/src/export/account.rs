//! Writes an account's proof: the way from its leaf to the roots of some slices.

use std::io::Write;

use sha2::Sha256;

use super::lines::{Out, PathLine, hexed};
use super::{ExportError, Exporter, Found, Slices, missing, share_line};
use crate::error::LedgerError;
use crate::slice::{Hashes, Node, SliceRow, SumTree, join};
use crate::store::RawSlice;
use crate::types::{AccountId, BlockId};

/// Which slices an account's proof is over.
#[derive(Debug, Clone, Copy)]
pub enum Over<'a> {
    /// The window of a block, up to its coinbase.
    Block(&'a BlockId),
    /// One slice, by its index.
    Slice(u64),
    /// The newest closed slice.
    Newest,
}

/// The tree over the accounts of a slice.
struct Accounts {
    rows: Vec<(u32, u64, u128, u128)>,
    /// The top over each account's shares.
    records: Vec<Node>,
    leaves: Vec<Node>,
}

impl Exporter {
    /// Writes an account's proof over some slices; `with_shares` writes its shares as well.
    ///
    /// # Errors
    /// When the account, the block or the slice is unknown, the slice was closed by an earlier
    /// version, the ledger cannot be read, or `out` fails.
    pub fn account(
        &self,
        name: &str,
        over: Over<'_>,
        with_shares: bool,
        out: &mut dyn Write,
    ) -> Result<(), ExportError> {
        let place = self.names.iter().position(|known| known == name);
        let id = place.and_then(|place| u32::try_from(place.saturating_add(1)).ok());
        let id = id.ok_or_else(|| missing(format!("there is no account {name:?}")))?;
        let (slices, block) = self.over(over)?;
        let mut shares = 0_u64;
        for (index, _) in slices.iter().filter(|_| with_shares) {
            let row = self.raw.slice_rows(*index)?.into_iter().find(|row| row.0 == id);
            shares = shares.saturating_add(row.map_or(0, |row| row.1));
        }
        let mut out = Out::begin(out, "account", shares)?;
        if let Some(found) = block {
            out.block(&self.block_line(&found)?)?;
        }
        out.account(id, name)?;
        for (index, slice) in slices {
            self.path(&mut out, id, (index, slice), with_shares)?;
        }
        Ok(out.end()?)
    }

    fn over(&self, over: Over<'_>) -> Result<(Slices<'_>, Option<Found>), ExportError> {
        let index = match over {
            Over::Block(hash) => {
                let found = self.found(hash)?;
                return Ok((self.window(&found)?.0, Some(found)));
            }
            Over::Slice(index) => index,
            Over::Newest => u64::try_from(self.slices.len()).unwrap_or(u64::MAX),
        };
        Ok((vec![(index, self.slice(index)?)], None))
    }

    fn path(
        &self,
        out: &mut Out<'_>,
        id: u32,
        (index, slice): (u64, &RawSlice),
        with_shares: bool,
    ) -> Result<(), ExportError> {
        let line = self.slice_line(index, slice)?;
        if line.form < 2 {
            return Err(missing(format!(
                "slice {index} was closed by an earlier version: its root proves no account alone"
            )));
        }
        out.slice(&line)?;
        let hashes = Hashes::new();
        let accounts = self.accounts(&hashes, index, slice)?;
        let place = accounts.rows.iter().position(|row| row.0 == id);
        let (beside, top) = climb(&hashes.accounts, accounts.leaves, place.unwrap_or(0))?;
        let row = place.and_then(|place| accounts.rows.get(place).zip(accounts.records.get(place)));
        let Some(((_, shares, work, _), records)) = row else { return Ok(out.absent(&top.hash)?) };
        out.path(&PathLine {
            account: id,
            shares: *shares,
            work: work.to_string(),
            records: hexed(&records.hash),
            position: place.and_then(|place| u64::try_from(place).ok()).unwrap_or(0),
            beside: beside.iter().map(|node| (hexed(&node.hash), node.sum.to_string())).collect(),
            with_shares,
        })?;
        if with_shares {
            self.for_each_share(index, slice, |number, account, share| {
                if account == id {
                    out.share(&share_line(number, account, share))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn accounts(
        &self,
        hashes: &Hashes,
        index: u64,
        slice: &RawSlice,
    ) -> Result<Accounts, ExportError> {
        let rows = self.raw.slice_rows(index)?;
        let mut trees = vec![SumTree::default(); rows.len()];
        self.for_each_share(index, slice, |number, account, share| {
            let place = rows.binary_search_by_key(&account, |row| row.0).ok();
            let tree = place.and_then(|place| trees.get_mut(place));
            let tree = tree.ok_or_else(|| LedgerError::damaged("a share's account has no row"))?;
            Ok(tree.push(&hashes.records, hashes.record(number, share))?)
        })?;
        let (mut records, mut leaves) = (Vec::new(), Vec::new());
        for ((account, shares, work, _), tree) in rows.iter().zip(&trees) {
            let top = tree.top(&hashes.records)?;
            let row = SliceRow {
                account: AccountId::new(*account),
                name: self.name_of(*account)?.to_owned(),
                work: *work,
                shares: *shares,
            };
            leaves.push(hashes.account(&row, &top));
            records.push(top);
        }
        Ok(Accounts { rows, records, leaves })
    }
}

/// The nodes beside the leaf at `place` on its way up, and the top.
fn climb(
    joined: &Sha256,
    mut level: Vec<Node>,
    mut place: usize,
) -> Result<(Vec<Node>, Node), LedgerError> {
    let mut beside = Vec::new();
    while level.len() > 1 {
        beside.extend(level.get(place ^ 1));
        let above = |pair: &[Node]| match pair {
            [left, right] => join(joined, left, right),
            [last] => Ok(*last),
            _ => Err(LedgerError::damaged("chunks of two have one or two")),
        };
        level = level.chunks(2).map(above).collect::<Result<_, _>>()?;
        place = place.wrapping_div(2);
    }
    let top = level.pop().ok_or_else(|| LedgerError::damaged("a slice has no account"))?;
    Ok((beside, top))
}
