//! What can be asked of the payouts, and how it is refused. The same value comes from the command
//! line and over HTTP, as JSON: `{"order": "bump", "payout": 3, "fee_rate": 12}`.

use ledger::LedgerError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{ledger_task::LedgerUnavailable, node::NodeError};

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Plan a payout and keep it; nothing goes out.
    Plan {
        /// Only show it.
        dry_run: bool,
    },
    /// Send what is planned and signed, or else plan and send.
    Run {
        /// Only show it.
        dry_run: bool,
    },
    /// The PSBT of a payout that waits for its signature.
    ExportPsbt {
        /// Which.
        payout: u64,
    },
    /// A PSBT with its signatures, in base64: keep and send it.
    ImportPsbt {
        /// The PSBT.
        psbt: String,
    },
    /// Replace a payout's transaction by one with a higher fee.
    Bump {
        /// Which.
        payout: u64,
        /// Satoshis a virtual byte; a good one where not given.
        #[serde(default)]
        fee_rate: Option<u64>,
        /// Only show it.
        #[serde(default)]
        dry_run: bool,
    },
    /// Take a payout back that nobody outside has seen.
    Cancel {
        /// Which.
        payout: u64,
    },
    /// Make no payouts.
    Pause {
        /// Why, for whoever reads it later.
        #[serde(default)]
        reason: String,
    },
    /// Make payouts again.
    Resume,
    /// An account's own threshold, signed by its address.
    Threshold {
        /// The account.
        account: String,
        /// From how much on it is paid.
        satoshis: u64,
        /// The message's time, Unix milliseconds.
        time: u64,
        /// The signature (BIP 322, simple, base64).
        signature: String,
    },
}

impl Order {
    /// Whether it takes a node to carry it out. What does not works while there is none.
    #[must_use]
    pub const fn wants_node(&self) -> bool {
        match self {
            Self::Plan { .. }
            | Self::Run { .. }
            | Self::ExportPsbt { .. }
            | Self::ImportPsbt { .. }
            | Self::Bump { .. } => true,
            Self::Cancel { .. } | Self::Pause { .. } | Self::Resume | Self::Threshold { .. } => {
                false
            }
        }
    }
}

/// An order on its way, and where its answer goes.
#[derive(Debug)]
pub struct Ticket {
    /// What to do.
    pub order: Order,
    /// What came of it.
    pub reply: oneshot::Sender<Result<Value, PayoutError>>,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// The ledger refused it or has stopped.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
    /// The node did not answer, or refused.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It cannot be done like this.
    #[error("{0}")]
    Refused(String),
}

impl PayoutError {
    /// Whether whoever asked can do something about it; else the pool or its node is in trouble.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Ledger(LedgerUnavailable::Ledger(LedgerError::Refused(_)))
        )
    }
}

impl From<LedgerError> for PayoutError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error.into())
    }
}

/// A refusal in one's own words.
pub(super) fn refused(why: impl Into<String>) -> PayoutError {
    PayoutError::Refused(why.into())
}
