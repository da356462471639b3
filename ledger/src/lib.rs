//! Exact accounts of work, satoshis and joules: an append-only log of events, and what follows
//! from it.
//!
//! Read [`Ledger`] first (the one writer), then [`Share`] and [`Candidate`] (what goes in),
//! [`Reader`] (what comes out) and [`verify::ledger`] (why to believe it).
//!
//! How the parts hang together:
//!
//! - Every change is an event. Events are appended and never changed; all other tables are
//!   projections of them, written in the same transaction, and rebuilt from the log whenever
//!   their shape changes. Only the sums of shares are written later (some seconds, or some ten
//!   thousand shares: see `store/tally.rs`), and whoever reads them adds what came since.
//!   When a call returns `Ok`, what it recorded is on disk.
//! - Shares are committed in batches, and batches are grouped into slices. A closed slice has
//!   the work of each account and a root (see `slice.rs`) that commits to every share, to those
//!   sums and to the root before it, so one root pins the whole history of work up to it. It keeps
//!   the best headers of each account as well (see `evidence.rs`).
//! - A block that the pool found is a [`Candidate`] and then follows [`BlockState`]. Its reward
//!   is settled over the slices up to the one that its job had committed to, so the accounting
//!   was fixed before the block could be found.
//! - Units: work in expected hashes, money in satoshis, energy in microjoules, time in
//!   milliseconds since the Unix epoch, hashes of blocks in internal byte order (as SHA-256
//!   gives them), but in display order wherever they are text.
//!
//! What it deliberately does not do: it has no clock (every instant is an argument), no socket,
//! no float and no thread; it does not judge shares (`stratum` does), does not talk to a node
//! (`pool` does), and makes no transaction: of a payout it keeps what is paid by which transaction
//! (see `payout.rs`), and holds it to that. Which store it uses is known under `store/` alone.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod aggregate;
mod block;
mod coverage;
mod error;
mod estimate;
mod event;
mod evidence;
mod export;
mod ledger;
mod packed;
mod payout;
mod pruning;
mod record;
mod reserve;
mod scheme;
mod score;
mod settle;
mod slice;
mod split;
mod statement;
mod store;
mod thin;
mod threshold;
mod types;
pub mod verify;
mod view;
mod window;

pub use block::{BlockChange, BlockState};
pub use error::{LedgerError, Refusal};
pub use estimate::{Lowest, WorkEstimate};
pub use evidence::BEST_MOST;
pub use export::{ExportError, Exporter, Over};
pub use ledger::{
    Ledger, MAX_ACCOUNT_NAME, MAX_BATCH, MAX_METERS, MAX_SLICE, MAX_TEXT, MAX_WORKER_NAME, Payday,
};
pub use payout::{
    MAX_PAYMENTS, Payment, PayoutBytes, PayoutId, PayoutPlan, PayoutState, PayoutTransaction,
    PayoutTxid, display_txid,
};
pub use settle::CreditKind;
pub use split::{SplitError, split};
pub use statement::{
    AccountCredit, AccountPayout, BlockFilter, PayoutFilter, SlicePay, Statement, StatementItem,
    StatementLine,
};
pub use store::{Reader, backup, restore};
pub use threshold::{ThresholdRequest, threshold_message};
pub use types::{
    AccountId, Acknowledged, BlockId, Candidate, Committed, Direct, PinOutcome, Pruned, Reading,
    Retention, Scheme, Settings, Share, SliceHead, SliceIndex, WorkerId,
};
pub use view::{
    AccountLuck, AccountSummary, AccountView, Aggregate, AggregatesKept, Balance, BlockCounts,
    BlockView, CreditView, EnergyHour, MeterView, MeteredWorker, OpenPayout, OutboxView, Payable,
    PayoutView, Totals, UnresolvedBlock, VersionView, WorkerView,
};
