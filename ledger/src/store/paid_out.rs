//! What payouts have paid to accounts, one account's part at a time, as readers and statements see it.

use rusqlite::{Connection, Row, params};
use units::UnixMillis;

use super::reader::Reader;
use super::values::{Amount, Instant};
use crate::error::LedgerError;
use crate::payout::PayoutState;
use crate::statement::{AccountPayout, PayoutFilter};

impl Reader {
    /// The parts of payouts that `filter` lets through, newest payout first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn account_payouts(
        &self,
        filter: &PayoutFilter,
    ) -> Result<Vec<AccountPayout>, LedgerError> {
        self.ask("reading payouts", |conn| list(conn, filter))
    }
}

/// An account's parts of payouts planned from instant `from` on and before `to`, at most `most` and
/// one, so that whoever asked sees that there are more.
pub(super) fn of_account(
    conn: &Connection,
    account: &str,
    from: UnixMillis,
    to: UnixMillis,
    most: u32,
) -> Result<Vec<AccountPayout>, LedgerError> {
    let filter = PayoutFilter {
        state: None,
        account: Some(account.to_owned()),
        from: Some(from),
        to: Some(to),
        limit: most.saturating_add(1),
    };
    list(conn, &filter)
}

/// Satoshis that an account's payouts planned before `end` have taken out of its balance.
pub(super) fn debited_before(
    conn: &Connection,
    account: &str,
    end: UnixMillis,
) -> Result<i64, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(payment.sats), 0) FROM payment
         JOIN payout ON payout.id = payment.payout JOIN account ON account.id = payment.account
         WHERE account.name = ?1 AND payout.planned_at < ?2 AND payout.state <> 'cancelled'",
    )?;
    Ok(statement.query_row(params![account, Instant(end)], |row| row.get(0))?)
}

fn list(conn: &Connection, filter: &PayoutFilter) -> Result<Vec<AccountPayout>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT payment.payout, account.name, payment.sats, payout.state, payout.txid,
                payout.planned_at
         FROM payment
         JOIN payout ON payout.id = payment.payout JOIN account ON account.id = payment.account
         WHERE (?1 IS NULL OR payout.state = ?1) AND (?2 IS NULL OR account.name = ?2)
               AND (?3 IS NULL OR payout.planned_at >= ?3)
               AND (?4 IS NULL OR payout.planned_at < ?4)
         ORDER BY payment.payout DESC, payment.account LIMIT ?5",
    )?;
    let PayoutFilter { state, account, from, to, limit } = filter;
    let (from, to) = (from.map(Instant), to.map(Instant));
    let rows = statement.query_map(params![state, account, from, to, limit], part)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn part(row: &Row<'_>) -> rusqlite::Result<AccountPayout> {
    let state: String = row.get(3)?;
    Ok(AccountPayout {
        payout: row.get(0)?,
        account: row.get(1)?,
        sats: row.get::<_, Amount>(2)?.0,
        debited: state != PayoutState::Cancelled.as_str(),
        state,
        txid: Some(row.get(4)?),
        at: row.get::<_, Instant>(5)?.0,
    })
}
