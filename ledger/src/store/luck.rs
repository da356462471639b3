//! The blocks that each account's shares were expected to find, beside those that it found: what
//! luck, and the withholding of blocks, are judged by.
//!
//! A share of work `w` is a block with the probability `w / D`, with `D` the network work recorded
//! with it; floor(w x 2^64 / D) is its score, and a score of 2^64 one block expected. The table
//! `luck` has each account's sum over closed slices: the slice that is still open is not in it, so
//! that an account is never held to a share whose block may still be on its way.
//!
//! It deliberately judges nobody: probabilities are no integers, and `pool/src/luck.rs` has them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use units::U256;

use super::reader::Reader;
use super::state::State;
use super::values::Wide;
use super::{log, rows, window};
use crate::block::BlockState;
use crate::error::LedgerError;
use crate::types::{AccountId, SliceIndex};
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

/// Adds the scores of a slice that was just closed.
pub(super) fn add_slice(
    conn: &Connection,
    state: &State,
    slice: SliceIndex,
) -> Result<(), LedgerError> {
    let mut read = conn.prepare_cached("SELECT score FROM luck WHERE account = ?1")?;
    let mut write =
        conn.prepare_cached("INSERT OR REPLACE INTO luck(account, score) VALUES (?1, ?2)")?;
    for (account, score) in scores_of(conn, state, slice)? {
        let before: Option<Wide> = read.query_row([account.get()], |row| row.get(0)).optional()?;
        let sum = before.map_or(0, |before| before.0).saturating_add(score);
        write.execute(params![account.get(), Wide(sum)])?;
    }
    Ok(())
}

/// Each account's score in a closed slice, share by share.
fn scores_of(
    conn: &Connection,
    state: &State,
    slice: SliceIndex,
) -> Result<BTreeMap<AccountId, u128>, LedgerError> {
    let mut scores: BTreeMap<AccountId, u128> = BTreeMap::new();
    // Shares of one difficulty come in a row.
    let mut last = ((0, 0), 0);
    let (opened, closed) = window::bounds(conn, slice)?;
    log::for_each_batch(conn, opened, closed, |entries| {
        for share in entries {
            let key = (share.work, share.network_work);
            if last.0 != key {
                last = (key, score(share.work, share.network_work));
            }
            let sum = scores.entry(state.known_worker(share.worker)?.account).or_default();
            *sum = sum.saturating_add(last.1);
        }
        Ok(())
    })?;
    Ok(scores)
}

/// floor(work x 2^64 / network), stopping at `u128::MAX`; 0 where the network's work is 0.
fn score(work: u128, network: u128) -> u128 {
    let scaled = U256::product(work, 1 << 64);
    scaled
        .div_rem(U256::from(network))
        .map_or(0, |(quotient, _)| quotient.to_u128().unwrap_or(u128::MAX))
}

/// Scores and blocks of the accounts in this range of ids; the names are the caller's to add.
fn parts(
    conn: &Connection,
    least: u32,
    most: u32,
) -> Result<BTreeMap<u32, AccountLuck>, LedgerError> {
    let mut luck: BTreeMap<u32, AccountLuck> = BTreeMap::new();
    let sql = "SELECT account, score FROM luck WHERE account BETWEEN ?1 AND ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query(params![least, most])?;
    while let Some(row) = found.next()? {
        luck.entry(row.get(0)?).or_default().score = row.get::<_, Wide>(1)?.0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_a_part_of_a_block_rounded_down() {
        assert_eq!(score(512, 512), 1 << 64);
        assert_eq!(score(1, 3), 6_148_914_691_236_517_205);
        assert_eq!(score(128, 512), 1 << 62);
        assert_eq!(score(u128::MAX, u128::MAX), 1 << 64);
        assert_eq!(score(u128::MAX, 1), u128::MAX);
        assert_eq!(score(1, 0), 0);
    }
}
