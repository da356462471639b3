//! What events do to payouts and to the satoshis in them:
//!
//! | event | balance | sending | paid |
//! |---|---|---|---|
//! | planned | - | + | |
//! | cancelled | + | - | |
//! | settled | | - | + |
//!
//! All of a payout's payments move at once. What was signed, released, replaced and confirmed
//! moves none.

use rusqlite::{Connection, OptionalExtension, params};
use units::{Sats, UnixMillis};

use super::state::State;
use super::values::{Amount, Instant};
use crate::error::LedgerError;
use crate::event::{
    PayoutConfirmed, PayoutNoted, PayoutPlanned, PayoutReplaced, PayoutVersion, PayoutsPaused,
    ThresholdSet,
};
use crate::payout::{self, PayoutId, PayoutState, PayoutTxid};
use crate::types::AccountId;

pub(super) fn planned(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    body: &PayoutPlanned,
    data: &[u8],
) -> Result<(), LedgerError> {
    let (payments, version) = payout::decode_plan(data)?;
    conn.prepare_cached(
        "INSERT INTO payout(id, state, released, custody, sats, txid, planned_at, state_at)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![
        body.id,
        PayoutState::of_signed(body.signed).as_str(),
        body.custody,
        amount(body.sats)?,
        body.txid,
        Instant(at),
    ])?;
    insert_version(conn, seq, body.id, body.txid, body.signed, (body.inputs, body.fee))?;
    take_coins(conn, body.id, version, true)?;
    {
        let mut statement =
            conn.prepare_cached("INSERT INTO payment(payout, account, sats) VALUES (?1, ?2, ?3)")?;
        for (account, sats) in &payments {
            statement.execute(params![body.id, account.get(), Amount(*sats)])?;
        }
    }
    let sql = "UPDATE account SET balance = balance - ?2, sending = sending + ?2 WHERE id = ?1";
    let sum = shift(conn, &payments, sql)?;
    let total = &mut state.total;
    total.balance = total.balance.checked_sub(sum).ok_or(LedgerError::Overflow("satoshis"))?;
    total.save(conn)?;
    add_to_sending(conn, sum)
}

pub(super) fn replaced(
    conn: &Connection,
    seq: u64,
    at: UnixMillis,
    body: &PayoutReplaced,
    data: &[u8],
) -> Result<(), LedgerError> {
    insert_version(conn, seq, body.id, body.txid, body.signed, (body.inputs, body.fee))?;
    take_coins(conn, body.id, data, false)?;
    conn.prepare_cached("UPDATE payout SET txid = ?2 WHERE id = ?1")?
        .execute(params![body.id, body.txid])?;
    set_state(conn, at, body.id, PayoutState::of_signed(body.signed))
}

pub(super) fn signed(
    conn: &Connection,
    seq: u64,
    at: UnixMillis,
    body: &PayoutVersion,
) -> Result<(), LedgerError> {
    let changed = conn
        .prepare_cached(
            "UPDATE payout_version SET signed_event = ?3 WHERE payout = ?1 AND txid = ?2",
        )?
        .execute(params![body.id, body.txid, seq])?;
    one(changed, body.id)?;
    set_state(conn, at, body.id, PayoutState::Signed)
}

pub(super) fn released(conn: &Connection, body: &PayoutVersion) -> Result<(), LedgerError> {
    let changed = conn
        .prepare_cached("UPDATE payout SET released = 1 WHERE id = ?1")?
        .execute(params![body.id])?;
    one(changed, body.id)
}

pub(super) fn confirmed(
    conn: &Connection,
    at: UnixMillis,
    body: &PayoutConfirmed,
) -> Result<(), LedgerError> {
    conn.prepare_cached("UPDATE payout SET confirmed = ?2, height = ?3 WHERE id = ?1")?
        .execute(params![body.id, body.txid, body.height])?;
    set_state(conn, at, body.id, PayoutState::Confirmed)
}

pub(super) fn unconfirmed(
    conn: &Connection,
    at: UnixMillis,
    body: PayoutNoted,
) -> Result<(), LedgerError> {
    conn.prepare_cached("UPDATE payout SET confirmed = NULL, height = NULL WHERE id = ?1")?
        .execute(params![body.id])?;
    let newest_is_signed: bool = conn
        .prepare_cached(
            "SELECT signed_event IS NOT NULL FROM payout
             JOIN payout_version ON payout_version.txid = payout.txid WHERE payout.id = ?1",
        )?
        .query_row([body.id], |row| row.get(0))?;
    set_state(conn, at, body.id, PayoutState::of_signed(newest_is_signed))
}

pub(super) fn settled(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: PayoutNoted,
) -> Result<(), LedgerError> {
    let sql = "UPDATE account SET sending = sending - ?2, paid = paid + ?2 WHERE id = ?1";
    let sum = shift(conn, &payments_of(conn, body.id)?, sql)?;
    let total = &mut state.total;
    total.paid = total.paid.checked_add(sum).ok_or(LedgerError::Overflow("satoshis"))?;
    total.save(conn)?;
    take_from_sending(conn, sum)?;
    conn.prepare_cached(
        "UPDATE outbox SET network_fees = network_fees +
            (SELECT fee FROM payout JOIN payout_version
             ON payout_version.txid = payout.confirmed WHERE payout.id = ?1)",
    )?
    .execute([body.id])?;
    set_state(conn, at, body.id, PayoutState::Settled)
}

pub(super) fn cancelled(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: PayoutNoted,
) -> Result<(), LedgerError> {
    let sql = "UPDATE account SET sending = sending - ?2, balance = balance + ?2 WHERE id = ?1";
    let sum = shift(conn, &payments_of(conn, body.id)?, sql)?;
    let total = &mut state.total;
    total.balance = total.balance.checked_add(sum).ok_or(LedgerError::Overflow("satoshis"))?;
    total.save(conn)?;
    take_from_sending(conn, sum)?;
    conn.prepare_cached("DELETE FROM payout_input WHERE payout = ?1")?.execute([body.id])?;
    set_state(conn, at, body.id, PayoutState::Cancelled)
}

pub(super) fn paused(conn: &Connection, body: &PayoutsPaused) -> Result<(), LedgerError> {
    conn.prepare_cached("UPDATE outbox SET paused = ?1, reason = ?2")?
        .execute(params![body.paused, body.reason])?;
    Ok(())
}

pub(super) fn threshold(conn: &Connection, body: &ThresholdSet) -> Result<(), LedgerError> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO threshold(account, sats, stamp) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![body.account, amount(body.sats)?, body.stamp])?;
    Ok(())
}

fn insert_version(
    conn: &Connection,
    seq: u64,
    payout: u64,
    txid: PayoutTxid,
    signed: bool,
    (inputs, fee): (u64, u64),
) -> Result<(), LedgerError> {
    conn.prepare_cached(
        "INSERT INTO payout_version(txid, payout, number, event, signed_event, inputs, fee)
         VALUES (?1, ?2, (SELECT count(*) + 1 FROM payout_version WHERE payout = ?2), ?3, ?4, ?5,
                 ?6)",
    )?
    .execute(params![
        txid,
        payout,
        seq,
        signed.then_some(seq),
        amount(inputs)?,
        amount(fee)?,
    ])?;
    Ok(())
}

/// Notes what a version spends. A coin that another payout spends is refused by the table.
fn take_coins(
    conn: &Connection,
    payout: u64,
    version: &[u8],
    first: bool,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO payout_input(txid, vout, payout, anchor) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (txid, vout) DO UPDATE SET payout = excluded.payout
         WHERE payout = excluded.payout",
    )?;
    for (place, (txid, vout)) in payout::spends_of(version)?.into_iter().enumerate() {
        let changed = statement.execute(params![txid, vout, payout, first && place == 0])?;
        one(changed, payout)?;
    }
    Ok(())
}

fn payments_of(conn: &Connection, payout: u64) -> Result<Vec<(AccountId, Sats)>, LedgerError> {
    let mut statement =
        conn.prepare_cached("SELECT account, sats FROM payment WHERE payout = ?1")?;
    let rows = statement
        .query_map([payout], |row| Ok((AccountId::new(row.get(0)?), row.get::<_, Amount>(1)?.0)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves each payment by `sql`, and returns their sum. The tables refuse a column below zero.
fn shift(
    conn: &Connection,
    payments: &[(AccountId, Sats)],
    sql: &str,
) -> Result<Sats, LedgerError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut sum = Sats::ZERO;
    for (account, sats) in payments {
        if statement.execute(params![account.get(), Amount(*sats)])? != 1 {
            return Err(LedgerError::damaged(format!("account {account} was never opened")));
        }
        sum = sum.checked_add(*sats).ok_or(LedgerError::Overflow("satoshis"))?;
    }
    Ok(sum)
}

fn add_to_sending(conn: &Connection, sum: Sats) -> Result<(), LedgerError> {
    conn.prepare_cached("UPDATE outbox SET sending = sending + ?1")?.execute([Amount(sum)])?;
    Ok(())
}

fn take_from_sending(conn: &Connection, sum: Sats) -> Result<(), LedgerError> {
    conn.prepare_cached("UPDATE outbox SET sending = sending - ?1")?.execute([Amount(sum)])?;
    Ok(())
}

fn set_state(
    conn: &Connection,
    at: UnixMillis,
    payout: u64,
    state: PayoutState,
) -> Result<(), LedgerError> {
    let changed = conn
        .prepare_cached("UPDATE payout SET state = ?2, state_at = ?3 WHERE id = ?1")?
        .execute(params![payout, state.as_str(), Instant(at)])?;
    one(changed, payout)
}

fn one(changed: usize, payout: u64) -> Result<(), LedgerError> {
    if changed == 1 {
        return Ok(());
    }
    let id = PayoutId::new(payout);
    Err(LedgerError::damaged(format!("payout {id} was never planned, or not so")))
}

fn amount(sats: u64) -> Result<Amount, LedgerError> {
    let sats = Sats::from_sat(sats);
    Ok(Amount(sats.map_err(|error| LedgerError::damaged(format!("a payout: {error}")))?))
}

/// The payout that spends a coin, if one does.
pub(super) fn spender(
    conn: &Connection,
    coin: &([u8; 32], u32),
) -> Result<Option<(PayoutId, bool)>, LedgerError> {
    let mut statement = conn
        .prepare_cached("SELECT payout, anchor FROM payout_input WHERE txid = ?1 AND vout = ?2")?;
    let found = statement
        .query_row(params![coin.0, coin.1], |row| Ok((PayoutId::new(row.get(0)?), row.get(1)?)));
    Ok(found.optional()?)
}
