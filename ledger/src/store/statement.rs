//! What readers ask about one account's money: its credits, its payouts, its statement.

use rusqlite::{Connection, OptionalExtension, Row, params};
use units::UnixMillis;

use super::reader::{Reader, block_event, credit_kind};
use super::values::{Amount, Instant};
use super::{paid_out, rows};
use crate::error::LedgerError;
use crate::settle::CreditKind;
use crate::statement::{self, AccountCredit, SlicePay, Statement, StatementItem};
use crate::types::{BlockId, SliceIndex};

/// An account as far as its money goes.
struct Found {
    id: u32,
    balance: i64,
}

const CREDITS: &str = "
    SELECT block.hash, block.height, block.state, credit.kind, credit.sats, block.found_at,
           block.state_at
    FROM credit JOIN block ON block.event = credit.block
    WHERE credit.account = ?1";

impl Reader {
    /// An account's credits in the `blocks` newest blocks that it has any in, of those recorded
    /// before the block `before`; newest first. `None` when it was never opened.
    ///
    /// # Errors
    /// When `before` is unknown, or the store fails.
    pub fn credits(
        &self,
        account: &str,
        before: Option<&BlockId>,
        blocks: u32,
    ) -> Result<Option<Vec<AccountCredit>>, LedgerError> {
        self.ask("reading an account's credits", |conn| {
            let before = before.map(|hash| block_event(conn, hash)).transpose()?;
            let Some(Found { id, .. }) = find(conn, account)? else { return Ok(None) };
            let sql = format!(
                "{CREDITS} AND credit.block IN
                     (SELECT DISTINCT block FROM credit WHERE account = ?1 AND block < ?2
                      ORDER BY block DESC LIMIT ?3)
                 ORDER BY credit.block DESC, credit.kind"
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let before = before.unwrap_or(u64::MAX >> 1);
            let credits = statement.query_map(params![id, before, blocks], credit)?;
            Ok(Some(credits.map(|credit| credit?).collect::<Result<_, _>>()?))
        })
    }

    /// What an account got and was paid from instant `from` on and before `to`, in at most
    /// `most` lines; `None` when it was never opened. See [`Statement`].
    ///
    /// # Errors
    /// When there are more lines, when what the tables have does not sum to the account's
    /// balance, or the store fails.
    pub fn statement(
        &self,
        account: &str,
        from: UnixMillis,
        to: UnixMillis,
        most: u32,
    ) -> Result<Option<Statement>, LedgerError> {
        self.ask("reading a statement", |conn| {
            let Some(found) = find(conn, account)? else { return Ok(None) };
            check_sum(conn, account, &found)?;
            let mut items = credits_between(conn, found.id, from, to, most)?;
            items.extend(
                paid_out::of_account(conn, account, from, to, most)?
                    .into_iter()
                    .map(StatementItem::Payout),
            );
            items.extend(slices_between(conn, found.id, from, to, most)?);
            statement::check_length(items.len(), most)?;
            let opening = moved(conn, account, found.id, from)?;
            Statement::of(account, (from, to), opening, items).map(Some)
        })
    }
}

fn find(conn: &Connection, account: &str) -> Result<Option<Found>, LedgerError> {
    let sql = "SELECT id, balance FROM account WHERE name = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let found =
        statement.query_row([account], |row| Ok(Found { id: row.get(0)?, balance: row.get(1)? }));
    Ok(found.optional()?)
}

/// That all credits of mature blocks, less all payouts, are the balance.
fn check_sum(conn: &Connection, account: &str, found: &Found) -> Result<(), LedgerError> {
    let sum = moved(conn, account, found.id, UnixMillis::new(u64::MAX))?;
    if sum == found.balance {
        return Ok(());
    }
    Err(LedgerError::damaged(format!(
        "credits and payouts of the account {account:?} sum to {sum}, its balance is {}",
        found.balance
    )))
}

/// What the balance came to before `end`: credits of blocks that were mature by then, less
/// payouts.
fn moved(conn: &Connection, account: &str, id: u32, end: UnixMillis) -> Result<i64, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(credit.sats), 0)
         FROM credit JOIN block ON block.event = credit.block
         WHERE credit.account = ?1 AND block.state = 'mature' AND block.state_at < ?2
               AND credit.kind NOT IN (?3, ?4)",
    )?;
    let elsewhere = [CreditKind::Direct.code(), CreditKind::Reserve.code()];
    let credited: i64 = statement
        .query_row(params![id, Instant(end), elsewhere[0], elsewhere[1]], |row| row.get(0))?;
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(slice_credit.sats), 0)
         FROM slice_credit JOIN slice_paid ON slice_paid.slice = slice_credit.slice
         WHERE slice_credit.account = ?1 AND slice_paid.paid_at < ?2",
    )?;
    let wages: i64 = statement.query_row(params![id, Instant(end)], |row| row.get(0))?;
    let credited = credited.checked_add(wages).ok_or(LedgerError::Overflow("satoshis"))?;
    let paid = paid_out::debited_before(conn, account, end)?;
    credited.checked_sub(paid).ok_or(LedgerError::Overflow("satoshis"))
}

fn credits_between(
    conn: &Connection,
    id: u32,
    from: UnixMillis,
    to: UnixMillis,
    most: u32,
) -> Result<Vec<StatementItem>, LedgerError> {
    let sql = format!(
        "{CREDITS} AND block.state_at >= ?2 AND block.state_at < ?3
         ORDER BY block.state_at, credit.block, credit.kind LIMIT ?4"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let limit = u64::from(most).saturating_add(1);
    let credits = statement.query_map(params![id, Instant(from), Instant(to), limit], credit)?;
    credits.map(|credit| Ok(StatementItem::Credit(credit??))).collect()
}

fn slices_between(
    conn: &Connection,
    id: u32,
    from: UnixMillis,
    to: UnixMillis,
    most: u32,
) -> Result<Vec<StatementItem>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT slice_credit.slice, slice_credit.sats, slice_paid.paid_at
         FROM slice_credit JOIN slice_paid ON slice_paid.slice = slice_credit.slice
         WHERE slice_credit.account = ?1 AND slice_paid.paid_at >= ?2 AND slice_paid.paid_at < ?3
         ORDER BY slice_credit.slice LIMIT ?4",
    )?;
    let limit = u64::from(most).saturating_add(1);
    let pays = statement.query_map(params![id, Instant(from), Instant(to), limit], |row| {
        Ok(StatementItem::Slice(SlicePay {
            slice: SliceIndex::new(row.get(0)?),
            sats: row.get::<_, Amount>(1)?.0,
            at: row.get::<_, Instant>(2)?.0,
        }))
    })?;
    Ok(pays.collect::<Result<_, _>>()?)
}

fn credit(row: &Row<'_>) -> rusqlite::Result<Result<AccountCredit, LedgerError>> {
    let (block, height, state) = (row.get(0)?, row.get(1)?, rows::block_state(row, 2)?);
    let sats = row.get::<_, Amount>(4)?.0;
    let (found_at, state_at) = (row.get::<_, Instant>(5)?.0, row.get::<_, Instant>(6)?.0);
    Ok(credit_kind(row.get(3)?).map(|kind| AccountCredit {
        block,
        height,
        state,
        kind,
        sats,
        found_at,
        state_at,
    }))
}
