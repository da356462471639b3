//! The blocks that each account's shares were expected to find, beside those that it found: what
//! luck, and the withholding of blocks, are judged by.
//!
//! A share of work `w` is a block with the probability `w / D`, with `D` the network work recorded
//! with it; floor(w x 2^64 / D) is its score, and a score of 2^64 one block expected. Closed slices
//! count: the slice that is still open does not, so that an account is never held to a share whose
//! block may still be on its way.
//!
//! It deliberately judges nobody: probabilities are no integers, and `pool/src/luck.rs` has them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::reader::Reader;
use super::{rows, window};
use crate::block::BlockState;
use crate::error::LedgerError;
use crate::types::SliceIndex;
use crate::view::AccountLuck;

impl Reader {
    /// What every account was expected to find, and found, in order of first appearance; those
    /// with neither are left out. O(accounts and blocks).
    ///
    /// # Errors
    /// When the store fails.
    pub fn luck(&self) -> Result<Vec<AccountLuck>, LedgerError> {
        self.ask("reading luck", |conn| {
            let names = "SELECT id, name FROM account ORDER BY id";
            let mut statement = conn.prepare_cached(names)?;
            let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut by_account = parts(conn, 0, u32::MAX)?;
            let luck = names.filter_map(|row: rusqlite::Result<(u32, String)>| match row {
                Ok((id, name)) => {
                    by_account.remove(&id).map(|luck| Ok(AccountLuck { account: name, ..luck }))
                }
                Err(error) => Some(Err(error.into())),
            });
            luck.collect()
        })
    }

    /// The same of one account; `None` when it was never opened.
    ///
    /// # Errors
    /// When the store fails.
    pub fn luck_of(&self, account: &str) -> Result<Option<AccountLuck>, LedgerError> {
        self.ask("reading an account's luck", |conn| {
            let sql = "SELECT id FROM account WHERE name = ?1";
            let mut statement = conn.prepare_cached(sql)?;
            let id: Option<u32> = statement.query_row([account], |row| row.get(0)).optional()?;
            let Some(id) = id else { return Ok(None) };
            let luck = parts(conn, id, id)?.remove(&id).unwrap_or_default();
            Ok(Some(AccountLuck { account: account.to_owned(), ..luck }))
        })
    }
}

/// Scores and blocks of the accounts in this range of ids; the names are the caller's to add.
fn parts(
    conn: &Connection,
    least: u32,
    most: u32,
) -> Result<BTreeMap<u32, AccountLuck>, LedgerError> {
    let mut luck: BTreeMap<u32, AccountLuck> = BTreeMap::new();
    let newest = "SELECT coalesce(max(idx), 0) FROM slice";
    let newest = conn.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    for (account, sum) in window::sums(conn, SliceIndex::new(newest))? {
        if (least..=most).contains(&account.get()) {
            luck.entry(account.get()).or_default().score = sum.score;
        }
    }
    let mut statement = conn.prepare_cached(
        "SELECT worker.account, block.state, count(*)
         FROM block JOIN worker ON worker.id = block.finder
         WHERE worker.account BETWEEN ?1 AND ?2 GROUP BY 1, 2",
    )?;
    let mut found = statement.query(params![least, most])?;
    while let Some(row) = found.next()? {
        let (state, count) = (rows::block_state(row, 1)?, row.get::<_, u64>(2)?);
        let luck = luck.entry(row.get(0)?).or_default();
        luck.found = luck.found.saturating_add(count);
        match state {
            BlockState::Candidate | BlockState::Submitted => continue,
            BlockState::OnChain | BlockState::Mature => {}
            BlockState::Orphaned | BlockState::Abandoned => {
                luck.orphaned = luck.orphaned.saturating_add(count);
            }
        }
        luck.decided = luck.decided.saturating_add(count);
    }
    Ok(luck)
}
