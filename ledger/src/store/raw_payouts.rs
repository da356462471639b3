//! The tables of payouts as they stand, for the auditor: numbers and bytes, nothing interpreted.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::raw::list;
use crate::error::LedgerError;

/// All that the tables say of payouts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawOutbox {
    pub(crate) payouts: BTreeMap<u64, RawPayout>,
    /// Satoshis by payout and account.
    pub(crate) payments: BTreeMap<(u64, u32), u64>,
    /// Payout and fee by txid.
    pub(crate) versions: BTreeMap<[u8; 32], (u64, u64)>,
    /// The payout that spends a coin.
    pub(crate) coins: BTreeMap<([u8; 32], u32), u64>,
    /// Satoshis and time by account.
    pub(crate) thresholds: BTreeMap<u32, (u64, u64)>,
    pub(crate) paused: bool,
    pub(crate) sending: u64,
    pub(crate) network_fees: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawPayout {
    pub(crate) state: String,
    pub(crate) released: bool,
    pub(crate) newest: [u8; 32],
    pub(crate) confirmed: Option<([u8; 32], u32)>,
}

pub(super) fn outbox(conn: &Connection) -> Result<RawOutbox, LedgerError> {
    let sql = "SELECT id, state, released, txid, confirmed, height FROM payout";
    let payouts = list(conn, sql, [], |row| {
        let (confirmed, height): (Option<[u8; 32]>, Option<u32>) = (row.get(4)?, row.get(5)?);
        let (state, released, newest) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let confirmed = confirmed.zip(height);
        Ok((row.get(0)?, RawPayout { state, released, newest, confirmed }))
    })?;
    let payments = list(conn, "SELECT payout, account, sats FROM payment", [], |row| {
        Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
    })?;
    let versions = list(conn, "SELECT txid, payout, fee FROM payout_version", [], |row| {
        Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
    })?;
    let coins = list(conn, "SELECT txid, vout, payout FROM payout_input", [], |row| {
        Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
    })?;
    let thresholds = list(conn, "SELECT account, sats, stamp FROM threshold", [], |row| {
        Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
    })?;
    let sql = "SELECT paused, sending, network_fees FROM outbox";
    let (paused, sending, network_fees) =
        conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(RawOutbox {
        payouts: payouts.into_iter().collect(),
        payments: payments.into_iter().collect(),
        versions: versions.into_iter().collect(),
        coins: coins.into_iter().collect(),
        thresholds: thresholds.into_iter().collect(),
        paused,
        sending,
        network_fees,
    })
}
