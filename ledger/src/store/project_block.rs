//! What events do to blocks, credits and balances. Each event moves exactly the credits of its
//! own block, all of them, from one column to another:
//!
//! | event | immature | balance |
//! |---|---|---|
//! | settled, restored | + | |
//! | matured | - | + |
//! | orphaned, after it was on the chain | - | |
//!
//! What a block gives the reserve becomes part of that, and of nobody's balance; what its coinbase
//! paid itself is paid.

use rusqlite::{Connection, OptionalExtension, params};
use units::{Sats, UnixMillis};

use super::query::Queries;
use super::rounds;
use super::state::{State, Total};
use super::values::{Amount, Instant, Wide};
use crate::block::{BlockState, display_hex};
use crate::error::LedgerError;
use crate::event::{BlockSeen, BlockSettled, BlockSubmitted, CandidateFound};
use crate::settle::{Credit, CreditKind};
use crate::types::{AccountId, BlockId};

/// Where the credits of a block go.
#[derive(Debug, Clone, Copy)]
enum Move {
    IntoImmature,
    OutOfImmature,
    ToBalance,
}

/// The event that found a block, which is its key, and its state.
struct Found {
    event: u64,
    state: BlockState,
}

pub(super) fn found(
    conn: &Connection,
    seq: u64,
    at: UnixMillis,
    body: &CandidateFound,
) -> Result<(), LedgerError> {
    let reward = Sats::from_sat(body.reward)
        .map_err(|error| LedgerError::damaged(format!("event {seq}: {error}")))?;
    conn.prepare_cached(
        "INSERT INTO block(event, hash, height, reward, network_work, finder, slice,
                           window_hundredths, fee_basis_points, fee_account, state, found_at,
                           state_at, window_ms, scheme)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?14)",
    )?
    .execute(params![
        seq,
        body.hash,
        body.height,
        Amount(reward),
        Wide(body.network_work),
        body.finder,
        body.slice,
        body.window_hundredths,
        body.fee_basis_points,
        body.fee_account,
        BlockState::Candidate.as_str(),
        Instant(at),
        body.window_ms,
        body.scheme,
    ])?;
    let mut statement =
        conn.prepare_cached("INSERT INTO direct(block, account, sats) VALUES (?1, ?2, ?3)")?;
    for one in &body.direct {
        statement.execute(params![seq, one.account, one.sats])?;
    }
    Ok(())
}

pub(super) fn submitted(
    conn: &Connection,
    at: UnixMillis,
    body: &BlockSubmitted,
) -> Result<(), LedgerError> {
    let block = find(conn, &body.hash)?;
    conn.prepare_cached("UPDATE block SET answer = ?2 WHERE event = ?1")?
        .execute(params![block.event, body.answer])?;
    if block.state == BlockState::Candidate {
        set_state(conn, at, block.event, BlockState::Submitted)?;
    }
    Ok(())
}

pub(super) fn settled(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: &BlockSettled,
    credits: &[Credit],
) -> Result<(), LedgerError> {
    let block = find(conn, &body.hash)?;
    let row = Queries::new(conn).block(&body.hash)?.ok_or_else(|| never_found(&body.hash))?;
    rounds::take(conn, block.event, &rounds::paid_for(conn, &row)?)?;
    {
        let mut statement = conn.prepare_cached(
            "INSERT INTO credit(block, account, kind, sats) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for credit in credits {
            let (account, kind) = (credit.account.get(), credit.kind.code());
            statement.execute(params![block.event, account, kind, Amount(credit.sats)])?;
        }
    }
    conn.prepare_cached("UPDATE block SET settled_at = ?2 WHERE event = ?1")?
        .execute(params![block.event, Instant(at)])?;
    shift(conn, &mut state.total, credits, Move::IntoImmature)?;
    set_state(conn, at, block.event, BlockState::OnChain)
}

pub(super) fn restored(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: &BlockSeen,
) -> Result<(), LedgerError> {
    let block = find(conn, &body.hash)?;
    shift(conn, &mut state.total, &credits_of(conn, block.event)?, Move::IntoImmature)?;
    set_state(conn, at, block.event, BlockState::OnChain)
}

pub(super) fn matured(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: &BlockSeen,
) -> Result<(), LedgerError> {
    let block = find(conn, &body.hash)?;
    shift(conn, &mut state.total, &credits_of(conn, block.event)?, Move::ToBalance)?;
    set_state(conn, at, block.event, BlockState::Mature)
}

pub(super) fn orphaned(
    conn: &Connection,
    state: &mut State,
    at: UnixMillis,
    body: &BlockSeen,
) -> Result<(), LedgerError> {
    let block = find(conn, &body.hash)?;
    if block.state == BlockState::OnChain {
        shift(conn, &mut state.total, &credits_of(conn, block.event)?, Move::OutOfImmature)?;
    }
    set_state(conn, at, block.event, BlockState::Orphaned)
}

pub(super) fn abandoned(
    conn: &Connection,
    at: UnixMillis,
    body: &BlockSeen,
) -> Result<(), LedgerError> {
    set_state(conn, at, find(conn, &body.hash)?.event, BlockState::Abandoned)
}

fn find(conn: &Connection, hash: &BlockId) -> Result<Found, LedgerError> {
    let mut statement = conn.prepare_cached("SELECT event, state FROM block WHERE hash = ?1")?;
    let row: Option<(u64, String)> =
        statement.query_row([hash], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    row.and_then(|(event, state)| Some(Found { event, state: BlockState::parse(&state)? }))
        .ok_or_else(|| never_found(hash))
}

fn never_found(hash: &BlockId) -> LedgerError {
    LedgerError::damaged(format!("block {} was never found", display_hex(hash)))
}

fn set_state(
    conn: &Connection,
    at: UnixMillis,
    event: u64,
    state: BlockState,
) -> Result<(), LedgerError> {
    conn.prepare_cached("UPDATE block SET state = ?2, state_at = ?3 WHERE event = ?1")?
        .execute(params![event, state.as_str(), Instant(at)])?;
    Ok(())
}

fn credits_of(conn: &Connection, block: u64) -> Result<Vec<Credit>, LedgerError> {
    let mut statement =
        conn.prepare_cached("SELECT account, kind, sats FROM credit WHERE block = ?1")?;
    let rows = statement.query_map([block], |row| {
        Ok((row.get(0)?, row.get::<_, u8>(1)?, row.get::<_, Amount>(2)?.0))
    })?;
    rows.map(|row| {
        let (account, code, sats) = row?;
        let kind = CreditKind::from_code(code)
            .ok_or_else(|| LedgerError::damaged(format!("a credit of unknown kind {code}")))?;
        Ok(Credit { account: AccountId::new(account), kind, sats })
    })
    .collect()
}

/// Moves credits in the accounts and in the totals. The tables refuse a column below zero.
fn shift(
    conn: &Connection,
    total: &mut Total,
    credits: &[Credit],
    to: Move,
) -> Result<(), LedgerError> {
    for credit in credits {
        let mut statement = conn.prepare_cached(match (to, credit.kind) {
            (Move::IntoImmature, _) => "UPDATE account SET immature = immature + ?2 WHERE id = ?1",
            (Move::OutOfImmature, _) | (Move::ToBalance, CreditKind::Reserve) => {
                "UPDATE account SET immature = immature - ?2 WHERE id = ?1"
            }
            (Move::ToBalance, CreditKind::Direct) => {
                "UPDATE account SET immature = immature - ?2, paid = paid + ?2 WHERE id = ?1"
            }
            (Move::ToBalance, _) => {
                "UPDATE account SET immature = immature - ?2, balance = balance + ?2 WHERE id = ?1"
            }
        })?;
        let changed = statement.execute(params![credit.account.get(), Amount(credit.sats)])?;
        if changed != 1 {
            let id = credit.account;
            return Err(LedgerError::damaged(format!("account {id} was never opened")));
        }
        shift_total(total, credit, to).ok_or(LedgerError::Overflow("satoshis"))?;
    }
    total.save(conn)
}

fn shift_total(total: &mut Total, credit: &Credit, to: Move) -> Option<()> {
    let fee = if credit.kind == CreditKind::Fee { credit.sats } else { Sats::ZERO };
    match to {
        Move::IntoImmature => {
            total.immature = total.immature.checked_add(credit.sats)?;
            total.fees = total.fees.checked_add(fee)?;
        }
        Move::OutOfImmature => {
            total.immature = total.immature.checked_sub(credit.sats)?;
            total.fees = total.fees.checked_sub(fee)?;
        }
        Move::ToBalance => {
            total.immature = total.immature.checked_sub(credit.sats)?;
            let to = match credit.kind {
                CreditKind::Direct => &mut total.paid,
                CreditKind::Reserve => &mut total.reserve,
                CreditKind::Fee | CreditKind::Finder | CreditKind::Share => &mut total.balance,
            };
            *to = to.checked_add(credit.sats)?;
        }
    }
    Some(())
}
