//! Figures of payouts and their transactions, and how they are told.

use bitcoin::{
    FeeRate, OutPoint, Transaction, Txid, consensus::encode::deserialize, hashes::Hash as _,
};
use ledger::{Payment, PayoutTransaction};
use serde_json::{Value, json};

use super::order::{PayoutError, refused};

/// The next whole number; 0 where it is none.
#[expect(clippy::as_conversions, reason = "a float becomes an integer by nothing else")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
pub(super) fn whole_sats(rate: f64) -> u64 {
    rate.ceil() as u64
}

pub(super) fn sat_per_vb(rate: u64) -> FeeRate {
    FeeRate::from_sat_per_vb(rate).unwrap_or(FeeRate::MAX)
}

pub(super) fn read(bytes: &[u8]) -> Result<Transaction, PayoutError> {
    deserialize(bytes).map_err(|error| refused(format!("a payout's transaction: {error}")))
}

pub(super) fn vsize(tx: &Transaction) -> u64 {
    u64::try_from(tx.vsize()).unwrap_or(u64::MAX).max(1)
}

pub(super) fn point((txid, vout): ([u8; 32], u32)) -> OutPoint {
    OutPoint { txid: Txid::from_byte_array(txid), vout }
}

pub(super) fn sum(payments: &[Payment]) -> u64 {
    payments.iter().fold(0, |sum, payment| sum.saturating_add(payment.sats.to_sat()))
}

/// What is said of a version.
pub(super) fn shown(
    version: &PayoutTransaction,
    payments: &[Payment],
) -> Result<Value, PayoutError> {
    let tx = read(&version.transaction)?;
    let paid =
        tx.output.iter().fold(0_u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    Ok(json!({
        "txid": tx.compute_txid().to_string(),
        "accounts": payments.len(),
        "satoshis": sum(payments),
        "fee": version.inputs.to_sat().saturating_sub(paid),
        "signed": version.psbt.is_empty(),
    }))
}

pub(super) fn listed(payments: &[Payment]) -> Value {
    let one =
        |payment: &Payment| json!({"account": payment.account, "satoshis": payment.sats.to_sat()});
    payments.iter().map(one).collect()
}

pub(super) fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}
