//! What can go wrong, by name. [`Refusal`] is the caller's doing and changes nothing; the other
//! errors are the store's, and leave the ledger as it was before the call.

use std::path::PathBuf;

use units::Sats;

use crate::block::display_hex;
use crate::payout::PayoutId;
use crate::types::{BlockId, SliceIndex, WorkerId};

/// Why a ledger could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file in a copy's place is another ledger.
    #[error("{path} is another ledger than the one that was copied: move it away first")]
    AnotherLedger {
        /// The file.
        path: PathBuf,
    },
    /// A ledger that a copy is to replace has gone on since the copy was made.
    #[error(
        "{path} has {has} events and the copy {copied}: move it away if the later ones are to go"
    )]
    BeyondCopy {
        /// The ledger's file.
        path: PathBuf,
        /// Its events.
        has: u64,
        /// Those of the copy.
        copied: u64,
    },
    /// The stored data contradicts itself.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// A copy is to be made where there is a file.
    #[error("there is a file at {path} already: a copy replaces none")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process (or another handle in this one) writes to it.
    #[error("the ledger {path} is in use by another pool: stop it first, or name another file")]
    Locked {
        /// The ledger's file.
        path: PathBuf,
    },
    /// No file of that name, for a reader.
    #[error("there is no ledger at {path}")]
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// Written by a newer version of this program.
    #[error("the ledger {path} has format {found}; this version knows formats up to {known}")]
    Newer {
        /// The ledger's file.
        path: PathBuf,
        /// The format that it has.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The file is something else.
    #[error("{path} is not a ledger of this program")]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// Its tables are of an older version; opening it to write rebuilds them.
    #[error("the ledger {path} was last used by an older version: start the pool on it once")]
    Older {
        /// The ledger's file.
        path: PathBuf,
    },
    /// A sum left its range.
    #[error("the sum of {0} is out of range")]
    Overflow(&'static str),
    /// The request cannot be granted; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk or the store failed; nothing was changed.
    #[error("{doing}: {reason}")]
    Store {
        /// What was being done.
        doing: String,
        /// Whether trying again later may help (busy, disk full), by the store's own account.
        passing: bool,
        /// The store's own words.
        reason: String,
    },
}

/// Why a request was not granted. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The block is credited for good.
    #[error("block {} is mature: its credits cannot be reversed", display_hex(.0))]
    AlreadyMature(BlockId),
    /// An account's or worker's name is empty, too long, or has control characters.
    #[error("{what} {name:?} must be {least} to {most} bytes without control characters")]
    BadName {
        /// Which kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// Fewest bytes.
        least: usize,
        /// Most bytes.
        most: usize,
    },
    /// More shares at once than a batch may have.
    #[error("{shares} shares in one batch, the most is {most}")]
    BatchTooLarge {
        /// How many came.
        shares: usize,
        /// How many may.
        most: usize,
    },
    /// A block of this hash is recorded with another height, reward, finder, work or slice.
    #[error("block {} is already recorded with other particulars", display_hex(.0))]
    CandidateDiffers(BlockId),
    /// A reading credits more than its counter moved.
    #[error("meter {meter:?} of worker {worker} credits {credited} uJ but moved {moved} uJ")]
    CreditedBeyondCounter {
        /// Whose meter.
        worker: WorkerId,
        /// Which meter.
        meter: String,
        /// Microjoules to be credited.
        credited: u128,
        /// Microjoules between the counter's last and its new total.
        moved: u128,
    },
    /// Depth counts from 1, the block itself.
    #[error("block {} cannot be on the chain at depth 0", display_hex(.0))]
    DepthZero(BlockId),
    /// Nothing was asked for.
    #[error("a lease of no extranonces")]
    EmptyLease,
    /// Not as many extranonces are left.
    #[error("{asked} extranonces asked for, {left} left")]
    ExtranoncesExhausted {
        /// How many were asked for.
        asked: u32,
        /// How many have never been leased.
        left: u32,
    },
    /// A scheme that pays per share has nothing to pay out of.
    #[error("pay per share wants a reserve: none is declared")]
    NoReserve,
    /// Only an orphan can be given up.
    #[error("block {} is not orphaned: it cannot be given up", display_hex(.0))]
    NotOrphaned(BlockId),
    /// More is taken out of the reserve than is in it.
    #[error(
        "a reserve of {} satoshis is declared after {}: only {} of that are left",
        asked.to_sat(), declared.to_sat(), left.to_sat()
    )]
    ReserveSpent {
        /// What is declared now.
        asked: Sats,
        /// What was declared before.
        declared: Sats,
        /// What is in the reserve.
        left: Sats,
    },
    /// The scheme cannot be left before what it owes is paid.
    #[error(
        "{slices} slices of shares are not paid for: the reserve does not suffice to end pay per share"
    )]
    SlicesOwed {
        /// How many.
        slices: u64,
    },
    /// A statement would have more lines than were asked for.
    #[error("the statement has more than {most} lines: ask for a shorter time")]
    StatementTooLong {
        /// The most that were asked for.
        most: u32,
    },
    /// A text in a request is longer than is kept.
    #[error("{what} of {bytes} bytes, the most is {most}")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that is kept.
        most: usize,
    },
    /// A worker has as many meters as it can have.
    #[error("worker {worker} has {most} meters already")]
    TooManyMeters {
        /// Whose.
        worker: WorkerId,
        /// How many it can have.
        most: u32,
    },
    /// No candidate of that hash was recorded.
    #[error("block {} is unknown", display_hex(.0))]
    UnknownBlock(BlockId),
    /// The slice is not closed.
    #[error("slice {asked} is not closed, the newest is {newest}")]
    UnknownSlice {
        /// Which was named.
        asked: SliceIndex,
        /// The newest there is.
        newest: SliceIndex,
    },
    /// No worker of that id was registered.
    #[error("worker {0} is unknown")]
    UnknownWorker(WorkerId),
    /// A window of nothing pays nobody.
    #[error("a PPLNS window of 0.00 x network work")]
    WindowOfNothing,
    /// A share without work.
    #[error("share {position} of the batch has no work")]
    ZeroWork {
        /// Place in the batch, from 0.
        position: usize,
    },
    /// An account has less than it is to be paid.
    #[error("{account} is to be paid {asked} sat and has {balance}")]
    Overdrawn {
        /// Whose.
        account: String,
        /// Satoshis that it is to be paid.
        asked: u64,
        /// Satoshis that it has.
        balance: u64,
    },
    /// A payment of nothing, to the pool itself, or the second of one account.
    #[error("a payout cannot pay {sats} sat to {account}: nothing, again, or to the pool itself")]
    Payment {
        /// Whom.
        account: String,
        /// How much.
        sats: u64,
    },
    /// No payments, or too many.
    #[error("a payout of {count} payments; it has 1 to {most}")]
    Payments {
        /// How many there were.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// The payout's transaction is not what it must be.
    #[error("the payout's transaction: {0}")]
    Transaction(String),
    /// No payout has this number, or no version of it this txid.
    #[error("payout {0} is unknown, or no such version of it")]
    UnknownPayout(PayoutId),
    /// The payout's state does not allow it.
    #[error("payout {id} is {state}: it cannot be {asked}")]
    PayoutState {
        /// Which.
        id: PayoutId,
        /// Where it stands.
        state: &'static str,
        /// What was to become of it.
        asked: &'static str,
    },
    /// A coin is spent by another payout.
    #[error("the coin {coin} is spent by payout {payout}")]
    CoinTaken {
        /// The coin, as `txid:output`.
        coin: String,
        /// Which payout has it.
        payout: PayoutId,
    },
    /// Payouts rest.
    #[error("payouts are paused: {0:?}")]
    Paused(String),
    /// A threshold that its account's owner did not set.
    #[error("the threshold of {account} stays: {why}")]
    Threshold {
        /// Whose.
        account: String,
        /// What is wrong with the request.
        why: String,
    },
}

impl LedgerError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}
