//! The events of payouts and thresholds. Their bytes: `payout_planned` has the payments and the
//! transaction, `payout_replaced` a transaction, `payout_signed` a signed transaction (see
//! `payout.rs` for all three). Transactions' numbers are hex in display order.

use serde::{Deserialize, Serialize};

use crate::payout::PayoutTxid;

/// A payout with its first version. Its satoshis leave the balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutPlanned {
    pub(crate) id: u64,
    /// Where what is left over of the coins goes.
    pub(crate) custody: String,
    #[serde(with = "super::display_hash")]
    pub(crate) txid: PayoutTxid,
    pub(crate) signed: bool,
    /// Sum of the payments, in satoshis.
    #[serde(with = "super::decimal")]
    pub(crate) sats: u64,
    /// Sum of the coins that it spends.
    #[serde(with = "super::decimal")]
    pub(crate) inputs: u64,
    #[serde(with = "super::decimal")]
    pub(crate) fee: u64,
}

/// Another version of a payout, which spends the same first coin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutReplaced {
    pub(crate) id: u64,
    #[serde(with = "super::display_hash")]
    pub(crate) txid: PayoutTxid,
    pub(crate) signed: bool,
    #[serde(with = "super::decimal")]
    pub(crate) inputs: u64,
    #[serde(with = "super::decimal")]
    pub(crate) fee: u64,
}

/// Something about one version of a payout: `payout_signed`, and `payout_released`, which says
/// that it is about to leave the ledger, for the network or for whoever signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutVersion {
    pub(crate) id: u64,
    #[serde(with = "super::display_hash")]
    pub(crate) txid: PayoutTxid,
}

/// A version of it is in a block of the best chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutConfirmed {
    pub(crate) id: u64,
    #[serde(with = "super::display_hash")]
    pub(crate) txid: PayoutTxid,
    pub(crate) height: u32,
}

/// Something about a payout as a whole: `payout_cancelled`, `payout_settled`, and
/// `payout_unconfirmed`, after a reorganisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutNoted {
    pub(crate) id: u64,
}

/// Whether payouts rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutsPaused {
    pub(crate) paused: bool,
    /// The operator's words; may be empty.
    pub(crate) reason: String,
}

/// An account's own threshold, with what its owner signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThresholdSet {
    pub(crate) account: u32,
    #[serde(with = "super::decimal")]
    pub(crate) sats: u64,
    /// The time in the message, Unix milliseconds: it rises from one threshold to the next.
    pub(crate) stamp: u64,
    pub(crate) network: String,
    pub(crate) signature: String,
}
