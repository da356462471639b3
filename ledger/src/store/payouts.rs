//! Payouts as they are asked about, by the writer and by readers.

use rusqlite::{Connection, OptionalExtension, Row, params};
use units::Sats;

use super::project_payout;
use super::query::Queries;
use super::values::{Amount, Instant};
use crate::error::LedgerError;
use crate::payout::{self, Payment, PayoutBytes, PayoutId, PayoutState, PayoutTxid};
use crate::view::{OpenPayout, OutboxView, Payable, PayoutView, VersionView};

/// What the writer wants to know of a payout before it changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayoutRow {
    pub(crate) state: PayoutState,
    pub(crate) released: bool,
    pub(crate) custody: String,
    /// The newest version.
    pub(crate) txid: PayoutTxid,
    pub(crate) confirmed: Option<(PayoutTxid, u32)>,
}

impl Queries<'_> {
    pub(crate) fn payout(&self, id: PayoutId) -> Result<Option<PayoutRow>, LedgerError> {
        let mut statement = self.conn().prepare_cached(
            "SELECT state, released, custody, txid, confirmed, height FROM payout WHERE id = ?1",
        )?;
        let found = statement.query_row([id.get()], |row| {
            let confirmed: Option<PayoutTxid> = row.get(4)?;
            let height: Option<u32> = row.get(5)?;
            Ok(PayoutRow {
                state: state(row, 0)?,
                released: row.get(1)?,
                custody: row.get(2)?,
                txid: row.get(3)?,
                confirmed: confirmed.zip(height),
            })
        });
        Ok(found.optional()?)
    }

    pub(crate) fn payments(&self, id: PayoutId) -> Result<Vec<Payment>, LedgerError> {
        payments(self.conn(), id)
    }

    /// The payout that spends a coin, and whether the coin is its anchor.
    pub(crate) fn spender(
        &self,
        coin: &([u8; 32], u32),
    ) -> Result<Option<(PayoutId, bool)>, LedgerError> {
        project_payout::spender(self.conn(), coin)
    }

    /// The payout that a transaction is a version of, and whether it is signed.
    pub(crate) fn version(
        &self,
        txid: &PayoutTxid,
    ) -> Result<Option<(PayoutId, bool)>, LedgerError> {
        let mut statement = self.conn().prepare_cached(
            "SELECT payout, signed_event IS NOT NULL FROM payout_version WHERE txid = ?1",
        )?;
        let found =
            statement.query_row([txid], |row| Ok((PayoutId::new(row.get(0)?), row.get(1)?)));
        Ok(found.optional()?)
    }

    /// A version's transaction and PSBT, signed where it is by now.
    pub(crate) fn version_bytes(
        &self,
        txid: &PayoutTxid,
    ) -> Result<Option<PayoutBytes>, LedgerError> {
        version_bytes(self.conn(), txid)
    }

    pub(crate) fn balance(&self, account: u32) -> Result<Sats, LedgerError> {
        let sql = "SELECT balance FROM account WHERE id = ?1";
        let found: Amount =
            self.conn().prepare_cached(sql)?.query_row([account], |row| row.get(0))?;
        Ok(found.0)
    }

    pub(crate) fn next_payout(&self) -> Result<u64, LedgerError> {
        let sql = "SELECT coalesce(max(id), 0) + 1 FROM payout";
        Ok(self.conn().prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    pub(crate) fn outbox(&self) -> Result<OutboxView, LedgerError> {
        outbox(self.conn())
    }

    pub(crate) fn threshold_stamp(&self, account: u32) -> Result<Option<u64>, LedgerError> {
        let sql = "SELECT stamp FROM threshold WHERE account = ?1";
        Ok(self.conn().prepare_cached(sql)?.query_row([account], |row| row.get(0)).optional()?)
    }

    pub(crate) fn payables(&self) -> Result<Vec<Payable>, LedgerError> {
        payables(self.conn())
    }

    pub(crate) fn open_payouts(&self) -> Result<Vec<OpenPayout>, LedgerError> {
        let mut statement = self.conn().prepare_cached(
            "SELECT payout.id, payout.state, payout.released, version.txid, payout.height,
                    version.event, version.signed_event, version.fee, payout.txid = version.txid,
                    payout.confirmed IS version.txid
             FROM payout JOIN payout_version AS version ON version.payout = payout.id
             WHERE payout.state IN ('confirmed', 'signed', 'unsigned')
             ORDER BY payout.id, version.number",
        )?;
        let mut rows = statement.query([])?;
        let mut open: Vec<OpenPayout> = Vec::new();
        while let Some(row) = rows.next()? {
            let id = PayoutId::new(row.get(0)?);
            if open.last().is_none_or(|last| last.id != id) {
                open.push(OpenPayout {
                    id,
                    state: state(row, 1)?,
                    released: row.get(2)?,
                    height: row.get(4)?,
                    versions: Vec::new(),
                });
            }
            let versions = open.last_mut().map(|last| &mut last.versions);
            versions.expect("one was just pushed").push(VersionView {
                txid: row.get(3)?,
                signed: row.get::<_, Option<u64>>(6)?.is_some(),
                fee: row.get::<_, Amount>(7)?.0,
                newest: row.get(8)?,
                on_chain: row.get(9)?,
            });
        }
        Ok(open)
    }

    /// The coins that payouts spend, but for cancelled ones.
    pub(crate) fn taken_coins(&self) -> Result<Vec<(PayoutTxid, u32)>, LedgerError> {
        let mut statement = self.conn().prepare_cached("SELECT txid, vout FROM payout_input")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

pub(super) fn payments(conn: &Connection, id: PayoutId) -> Result<Vec<Payment>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT account.name, payment.sats FROM payment
         JOIN account ON account.id = payment.account
         WHERE payment.payout = ?1 ORDER BY payment.account",
    )?;
    let rows = statement.query_map([id.get()], |row| {
        Ok(Payment { account: row.get(0)?, sats: row.get::<_, Amount>(1)?.0 })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn version_bytes(
    conn: &Connection,
    txid: &PayoutTxid,
) -> Result<Option<PayoutBytes>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT event.kind, event.data, version.payout FROM payout_version AS version
         JOIN event ON event.seq = coalesce(version.signed_event, version.event)
         WHERE version.txid = ?1",
    )?;
    let found: Option<(String, Vec<u8>)> =
        statement.query_row([txid], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((kind, data)) = found else { return Ok(None) };
    let version = match kind.as_str() {
        "payout_signed" => return Ok(Some((data, Vec::new()))),
        "payout_planned" => payout::decode_plan(&data)?.1,
        _ => &data,
    };
    let (transaction, psbt) = payout::decode_version(version)?;
    Ok(Some((transaction.to_vec(), psbt.to_vec())))
}

pub(super) fn outbox(conn: &Connection) -> Result<OutboxView, LedgerError> {
    let sql = "SELECT paused, reason, sending, network_fees FROM outbox";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| {
        Ok(OutboxView {
            paused: row.get(0)?,
            reason: row.get(1)?,
            sending: row.get::<_, Amount>(2)?.0,
            network_fees: row.get::<_, Amount>(3)?.0,
        })
    })?)
}

pub(super) fn payables(conn: &Connection) -> Result<Vec<Payable>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT account.name, account.balance, threshold.sats FROM account
         LEFT JOIN threshold ON threshold.account = account.id
         WHERE account.balance > 0 ORDER BY account.id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Payable {
            account: row.get(0)?,
            balance: row.get::<_, Amount>(1)?.0,
            threshold: row.get::<_, Option<Amount>>(2)?.map(|sats| sats.0),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn payouts(conn: &Connection, limit: u32) -> Result<Vec<PayoutView>, LedgerError> {
    let mut statement = conn.prepare_cached(
        "SELECT payout.id, payout.state, payout.released, payout.sats, payout.height,
                payout.planned_at, payout.state_at, version.txid, version.fee, version.number,
                (SELECT count(*) FROM payment WHERE payment.payout = payout.id)
         FROM payout JOIN payout_version AS version
         ON version.txid = coalesce(payout.confirmed, payout.txid)
         ORDER BY payout.id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map(params![limit], |row| {
        Ok(PayoutView {
            id: PayoutId::new(row.get(0)?),
            state: state(row, 1)?,
            released: row.get(2)?,
            sats: row.get::<_, Amount>(3)?.0,
            height: row.get(4)?,
            planned_at: row.get::<_, Instant>(5)?.0,
            state_at: row.get::<_, Instant>(6)?.0,
            txid: row.get(7)?,
            fee: row.get::<_, Amount>(8)?.0,
            version: row.get(9)?,
            payments: row.get(10)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<PayoutState> {
    let name: String = row.get(column)?;
    PayoutState::parse(&name).ok_or_else(|| {
        let reason = format!("{name:?} is no state of a payout");
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, reason.into())
    })
}
