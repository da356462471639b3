//! What each event does to the tables and to the state beside them. The same code runs when an
//! event is recorded and when the tables are rebuilt, so both give the same tables.
//!
//! Money is in `project_block.rs`, `project_payout.rs` and `project_reserve.rs`, energy in `project_energy.rs`.

use rusqlite::{Connection, params};
use units::{UnixMillis, Work};

use super::state::{State, Weight, next};
use super::values::{Instant, Wide};
use super::window::{SUM_EVERY, encode_sums};
use super::{
    aggregate, best, project_block, project_energy, project_payout, project_reserve, prune, tally,
};
use crate::error::LedgerError;
use crate::event::{
    AccountOpened, Batch, Event, ExtranoncesLeased, KeyPinned, SliceClosed, WorkerOpened,
};
use crate::packed;
use crate::record::{self, Entry};
use crate::thin;
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
        Event::Aggregated(body) => aggregate::apply(conn, seq, body, data()?)?,
        Event::Batch(body) => {
            add_all(state, body, record::decode_shares(data()?)?.into_iter())?;
            state.prove(body.first, &record::whole_shares(data()?)?)?;
        }
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
        Event::Entries(body) => {
            add_all(state, body, thin::decode(data()?)?.into_iter())?;
            state.open.thinned = true;
        }
        Event::ExtranoncesLeased(body) => leased(conn, state, body)?,
        Event::KeyPinned(body) => pinned(conn, body)?,
        Event::PayPerShareBegan(body) => project_reserve::began(conn, state, body)?,
        Event::PayPerShareEnded(body) => project_reserve::ended(conn, state, body)?,
        Event::ReserveDeclared(body) => project_reserve::declared(conn, state, body)?,
        Event::SlicePaid(body) => {
            let credits = record::decode_credits(data()?)?;
            project_reserve::paid(conn, state, seq, at, body, &credits)?;
        }
        Event::Metered(body) => project_energy::metered(conn, state, at, body)?,
        Event::Shares(body) => {
            add_all(state, body, packed::entries(data()?)?.into_iter())?;
            state.prove(body.first, &packed::shares(data()?)?)?;
        }
        Event::SlicePruned(body) => prune::apply(conn, seq, *body, data()?)?,
        Event::SliceClosed(body) => slice_closed(conn, state, seq, at, body)?,
        Event::WorkerOpened(body) => worker_opened(conn, state, body)?,
        Event::PayoutCancelled(body) => project_payout::cancelled(conn, state, at, *body)?,
        Event::PayoutConfirmed(body) => project_payout::confirmed(conn, at, body)?,
        Event::PayoutPlanned(body) => {
            project_payout::planned(conn, state, seq, at, body, data()?)?;
        }
        Event::PayoutReleased(body) => project_payout::released(conn, body)?,
        Event::PayoutReplaced(body) => project_payout::replaced(conn, seq, at, body, data()?)?,
        Event::PayoutSettled(body) => project_payout::settled(conn, state, at, *body)?,
        Event::PayoutSigned(body) => project_payout::signed(conn, seq, at, body)?,
        Event::PayoutUnconfirmed(body) => project_payout::unconfirmed(conn, at, *body)?,
        Event::PayoutsPaused(body) => project_payout::paused(conn, body)?,
        Event::ThresholdSet(body) => project_payout::threshold(conn, body)?,
    }
    applied(conn, state, seq, at, matches!(event, Event::SliceClosed(_)))
}

/// Does what a batch says whose shares are at hand.
pub(super) fn apply_shares(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    body: &Batch,
    shares: &[Share],
) -> Result<(), LedgerError> {
    add_all(state, body, shares.iter().map(Entry::of))?;
    state.prove(body.first, shares)?;
    applied(conn, state, seq, at, false)
}

fn applied(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    closed_a_slice: bool,
) -> Result<(), LedgerError> {
    state.next_event = next(seq, "events")?;
    tally::save_when_due(conn, state, seq, at, closed_a_slice)
}

fn account_opened(
    conn: &Connection,
    state: &mut State,
    body: &AccountOpened,
) -> Result<(), LedgerError> {
    in_order("account", body.id, state.accounts.checked_add(1))?;
    state.accounts = body.id;
    state.open.add_account();
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
    tally::open(conn, WorkerId::new(body.id))
}

/// Counts the shares of a batch. Nothing is written: see `tally.rs`.
fn add_all(
    state: &mut State,
    body: &Batch,
    shares: impl ExactSizeIterator<Item = Entry>,
) -> Result<(), LedgerError> {
    let expected = Batch {
        first: next(state.total.proven.shares, "shares")?,
        shares: u64::try_from(shares.len()).map_err(|_| LedgerError::Overflow("shares"))?,
        slice: state.open.index.get(),
    };
    if *body != expected {
        return Err(LedgerError::damaged(format!("a batch says {body:?} but is {expected:?}")));
    }
    state.add_all(shares)
}

fn slice_closed(
    conn: &Connection,
    state: &mut State,
    seq: u64,
    at: UnixMillis,
    body: &SliceClosed,
) -> Result<(), LedgerError> {
    let open = &state.open;
    if (body.index, body.shares, body.work) != (open.index.get(), open.sum.shares, open.sum.work) {
        return Err(LedgerError::damaged(format!(
            "slice {} is not the sum of its batches",
            body.index
        )));
    }
    state.line_end.add(Weight { work: body.work, score: state.open.score })?;
    insert_slice(conn, state, seq, at, body)?;
    tally::save_open_rows(conn, &mut state.open)?;
    for (account, weight) in state.open.weights() {
        state.closed.entry(account).or_default().add(weight)?;
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
    state.newest_closed = at;
    // What shares without headers prove is said where the slice is pruned.
    if !state.open.thinned {
        best::save(conn, state, body)?;
    }
    state.evidence.clear();
    state.open.start(SliceIndex::new(next(body.index, "slices")?));
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
        u64::try_from(state.open.present.len()).map_err(|_| LedgerError::Overflow("accounts"))?;
    conn.prepare_cached(
        "INSERT INTO slice(idx, close_event, closed_at, accounts, shares, work, line_end,
                           score_end, root)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        body.index,
        seq,
        Instant(at),
        accounts,
        body.shares,
        Wide(body.work),
        Wide(state.line_end.work),
        Wide(state.line_end.score),
        body.root,
    ])?;
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
