//! What each event does to the tables and to the state beside them. The same code runs when an
//! event is recorded and when the tables are rebuilt, so both give the same tables.
//!
//! Money is in `project_block.rs`, energy in `project_energy.rs`.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use units::{UnixMillis, Work};

use super::state::{OpenSlice, State, Tally, next};
use super::values::{Instant, Wide};
use super::window::{SUM_EVERY, encode_sums};
use super::{project_block, project_energy};
use crate::error::LedgerError;
use crate::event::{
    AccountOpened, Batch, Event, ExtranoncesLeased, KeyPinned, SliceClosed, WorkerOpened,
};
use crate::record;
use crate::types::{AccountId, Share, SliceHead, SliceIndex, WorkerId};

/// Does what event `seq` says.
pub(super) fn apply(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    event: &Event,
    data: Option<&[u8]>,
) -> Result<(), LedgerError> {
    let data =
        || data.ok_or_else(|| LedgerError::damaged(format!("event {seq} has lost its bytes")));
    match event {
        Event::AccountOpened(body) => account_opened(conn, state, body)?,
        Event::Batch(body) => batch(conn, state, body, &record::decode_shares(data()?)?)?,
        Event::BlockAbandoned(body) => project_block::abandoned(conn, at, body)?,
        Event::BlockMatured(body) => project_block::matured(conn, state, at, body)?,
        Event::BlockOrphaned(body) => project_block::orphaned(conn, state, at, body)?,
        Event::BlockRestored(body) => project_block::restored(conn, state, at, body)?,
        Event::BlockSettled(body) => {
            let credits = record::decode_credits(data()?)?;
            project_block::settled(conn, state, at, body, &credits)?;
        }
        Event::BlockSubmitted(body) => project_block::submitted(conn, at, body)?,
        Event::CandidateFound(body) => project_block::found(conn, seq, at, body)?,
        Event::ExtranoncesLeased(body) => leased(conn, state, body)?,
        Event::KeyPinned(body) => pinned(conn, body)?,
        Event::Metered(body) => project_energy::metered(conn, state, at, body)?,
        Event::SliceClosed(body) => slice_closed(conn, state, seq, at, body)?,
        Event::WorkerOpened(body) => worker_opened(conn, state, body)?,
    }
    state.next_event = next(seq, "events")?;
    Ok(())
}

fn account_opened(
    conn: &Connection,
    state: &mut State,
    body: &AccountOpened,
) -> Result<(), LedgerError> {
    in_order("account", body.id, state.accounts.checked_add(1))?;
    state.accounts = body.id;
    conn.prepare_cached("INSERT INTO account(id, name) VALUES (?1, ?2)")?
        .execute(params![body.id, body.name])?;
    Ok(())
}

fn worker_opened(
    conn: &Connection,
    state: &mut State,
    body: &WorkerOpened,
) -> Result<(), LedgerError> {
    let id = state.add_worker(AccountId::new(body.account))?;
    in_order("worker", body.id, Some(id))?;
    conn.prepare_cached("INSERT INTO worker(id, account, name) VALUES (?1, ?2, ?3)")?
        .execute(params![body.id, body.account, body.name])?;
    conn.prepare_cached("INSERT INTO tally(worker, shares, work) VALUES (?1, 0, ?2)")?
        .execute(params![body.id, Wide(0)])?;
    Ok(())
}

fn batch(
    conn: &Connection,
    state: &mut State,
    body: &Batch,
    shares: &[Share],
) -> Result<(), LedgerError> {
    let first = next(state.total.shares, "shares")?;
    let expected = Batch {
        first,
        shares: u64::try_from(shares.len()).map_err(|_| LedgerError::Overflow("shares"))?,
        slice: state.open.index.get(),
    };
    if *body != expected {
        return Err(LedgerError::damaged(format!("a batch says {body:?} but is {expected:?}")));
    }
    let mut sums: BTreeMap<WorkerId, (Tally, UnixMillis)> = BTreeMap::new();
    for share in shares {
        state.add_to_open(share)?;
        let (tally, last_at) = sums.entry(share.worker).or_default();
        tally.add(Tally { shares: 1, work: share.work.get() })?;
        *last_at = share.at;
    }
    let mut all = Tally { shares: state.total.shares, work: state.total.work };
    for (worker, (tally, last_at)) in sums {
        all.add(tally)?;
        add_to_worker(conn, state, worker, tally, last_at)?;
    }
    (state.total.shares, state.total.work) = (all.shares, all.work);
    state.total.save(conn)
}

fn add_to_worker(
    conn: &Connection,
    state: &mut State,
    id: WorkerId,
    tally: Tally,
    last_at: UnixMillis,
) -> Result<(), LedgerError> {
    let worker = state.worker_mut(id)?;
    let mut sum = Tally { shares: worker.shares, work: worker.work };
    sum.add(tally)?;
    (worker.shares, worker.work) = (sum.shares, sum.work);
    conn.prepare_cached("UPDATE tally SET shares = ?2, work = ?3, last_at = ?4 WHERE worker = ?1")?
        .execute(params![id.get(), sum.shares, Wide(sum.work), Instant(last_at)])?;
    Ok(())
}

fn slice_closed(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    body: &SliceClosed,
) -> Result<(), LedgerError> {
    let open = &state.open;
    if (body.index, body.shares, body.work) != (open.index.get(), open.shares, open.work) {
        return Err(LedgerError::damaged(format!(
            "slice {} is not the sum of its batches",
            body.index
        )));
    }
    state.line_end =
        state.line_end.checked_add(body.work).ok_or(LedgerError::Overflow("proven work"))?;
    insert_slice(conn, state, seq, at, body)?;
    insert_rows(conn, body.index, &state.open.accounts)?;
    for (account, tally) in &state.open.accounts {
        let sum = state.closed.entry(*account).or_insert(0);
        *sum = sum.checked_add(tally.work).ok_or(LedgerError::Overflow("proven work"))?;
    }
    if body.index.is_multiple_of(SUM_EVERY) {
        conn.prepare_cached("INSERT INTO slice_sum(slice, sums) VALUES (?1, ?2)")?
            .execute(params![body.index, encode_sums(&state.closed)])?;
    }
    state.newest = SliceHead {
        index: SliceIndex::new(body.index),
        root: body.root,
        work: Work::new(body.work),
        shares: body.shares,
    };
    state.open = OpenSlice::new(SliceIndex::new(next(body.index, "slices")?));
    Ok(())
}

fn insert_slice(
    conn: &Connection,
    state: &State,
    seq: u64,
    at: UnixMillis,
    body: &SliceClosed,
) -> Result<(), LedgerError> {
    let accounts =
        u64::try_from(state.open.accounts.len()).map_err(|_| LedgerError::Overflow("accounts"))?;
    conn.prepare_cached(
        "INSERT INTO slice(idx, close_event, closed_at, accounts, shares, work, line_end, root)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        body.index,
        seq,
        Instant(at),
        accounts,
        body.shares,
        Wide(body.work),
        Wide(state.line_end),
        body.root,
    ])?;
    Ok(())
}

fn insert_rows(
    conn: &Connection,
    slice: u64,
    accounts: &BTreeMap<AccountId, Tally>,
) -> Result<(), LedgerError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO slice_work(slice, account, shares, work) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (account, tally) in accounts {
        statement.execute(params![slice, account.get(), tally.shares, Wide(tally.work)])?;
    }
    Ok(())
}

fn pinned(conn: &Connection, body: &KeyPinned) -> Result<(), LedgerError> {
    conn.prepare_cached("INSERT INTO pin(worker, key) VALUES (?1, ?2)")?
        .execute(params![body.worker, body.key])?;
    Ok(())
}

fn leased(
    conn: &Connection,
    state: &mut State,
    body: &ExtranoncesLeased,
) -> Result<(), LedgerError> {
    if u64::from(body.first) != state.total.next_extranonce {
        return Err(LedgerError::damaged(format!("extranonce {} is leased twice", body.first)));
    }
    state.total.next_extranonce = u64::from(body.first)
        .checked_add(u64::from(body.count))
        .ok_or(LedgerError::Overflow("extranonces"))?;
    state.total.save(conn)
}

fn in_order(what: &str, id: u32, expected: Option<u32>) -> Result<(), LedgerError> {
    if Some(id) == expected {
        return Ok(());
    }
    Err(LedgerError::damaged(format!("{what} {id} is opened out of order")))
}
