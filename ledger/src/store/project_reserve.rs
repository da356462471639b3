//! What pay per share does to balances and to the reserve: `sats` of a slice go from the reserve
//! into balances at once, and what is below a satoshi is carried to the account's next slice.

use rusqlite::{Connection, params};
use units::{Sats, UnixMillis};

use super::state::State;
use super::values::{Amount, Instant, Wide};
use crate::error::LedgerError;
use crate::event::{PayPerShare, ReserveDeclared, SlicePaid};
use crate::reserve::{Pay, Rate};
use crate::settle::Credit;
use crate::types::{AccountId, SliceIndex};

pub(super) fn began(
    conn: &Connection,
    state: &mut State,
    body: &PayPerShare,
) -> Result<(), LedgerError> {
    state.total.paid_slice = Some(body.slice);
    state.total.save(conn)
}

pub(super) fn ended(
    conn: &Connection,
    state: &mut State,
    body: &PayPerShare,
) -> Result<(), LedgerError> {
    if state.total.paid_slice != Some(body.slice) {
        return Err(LedgerError::damaged(format!("slices up to {} are not paid for", body.slice)));
    }
    state.total.paid_slice = None;
    state.total.save(conn)
}

/// The reserve moves by as much as the declared sum does.
pub(super) fn declared(
    conn: &Connection,
    state: &mut State,
    body: &ReserveDeclared,
) -> Result<(), LedgerError> {
    let total = &mut state.total;
    let sats = Sats::from_sat(body.sats)
        .map_err(|error| LedgerError::damaged(format!("a reserve: {error}")))?;
    let reserve = total.reserve.checked_add(sats).and_then(|sum| sum.checked_sub(total.declared));
    total.reserve = reserve.ok_or(LedgerError::Overflow("the reserve"))?;
    total.declared = sats;
    total.save(conn)
}

pub(super) fn paid(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    body: &SlicePaid,
    credits: &[Credit],
) -> Result<(), LedgerError> {
    let pays = pays(conn, SliceIndex::new(body.slice), Rate::of(body)?)?;
    save_carries(conn, &pays)?;
    let mut sum = Sats::ZERO;
    for credit in credits {
        conn.prepare_cached("UPDATE account SET balance = balance + ?2 WHERE id = ?1")?
            .execute(params![credit.account.get(), Amount(credit.sats)])?;
        conn.prepare_cached("INSERT INTO slice_credit(account, slice, sats) VALUES (?1, ?2, ?3)")?
            .execute(params![credit.account.get(), body.slice, Amount(credit.sats)])?;
        sum = sum.checked_add(credit.sats).ok_or(LedgerError::Overflow("satoshis"))?;
    }
    conn.prepare_cached(
        "INSERT INTO slice_paid(slice, event, paid_at, block_value, sats)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![body.slice, seq, Instant(at), body.block_value, Amount(sum)])?;
    let total = &mut state.total;
    let wrong = || LedgerError::damaged(format!("slice {} is paid for out of turn", body.slice));
    if total.paid_slice.and_then(|slice| slice.checked_add(1)) != Some(body.slice) {
        return Err(wrong());
    }
    total.paid_slice = Some(body.slice);
    total.reserve = total.reserve.checked_sub(sum).ok_or_else(wrong)?;
    total.balance = total.balance.checked_add(sum).ok_or(LedgerError::Overflow("satoshis"))?;
    total.save(conn)
}

/// What each account gets for a slice, in rising order of account.
pub(super) fn pays(
    conn: &Connection,
    slice: SliceIndex,
    rate: Rate,
) -> Result<Vec<Pay>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT slice_work.account, slice_work.score, carry.part FROM slice_work
         LEFT JOIN carry ON carry.account = slice_work.account
         WHERE slice_work.slice = ?1 ORDER BY slice_work.account",
    )?;
    let mut rows = statement.query([slice.get()])?;
    let mut pays = Vec::new();
    while let Some(row) = rows.next()? {
        let account = AccountId::new(row.get(0)?);
        let (score, carry) = (row.get::<_, Wide>(1)?.0, row.get::<_, Option<Wide>>(2)?);
        pays.push(rate.pay(account, score, carry.map_or(0, |carry| carry.0))?);
    }
    Ok(pays)
}

fn save_carries(conn: &Connection, pays: &[Pay]) -> Result<(), LedgerError> {
    let mut statement =
        conn.prepare_cached("INSERT OR REPLACE INTO carry(account, part) VALUES (?1, ?2)")?;
    for pay in pays {
        statement.execute(params![pay.account.get(), Wide(pay.carry)])?;
    }
    Ok(())
}
