//! What callers hand to the ledger and get back at once. Read [`Share`] and [`Candidate`] first.
//! Plain data: no rule lives here, and nothing here knows a store.

use std::time::Duration;

use units::{BasisPoints, Hashes, MicroJoules, Sats, UnixMillis, Work};

/// SHA-256d of a block's header, in internal order (the order that SHA-256 gives it).
pub type BlockId = [u8; 32];

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// The id with this number.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number of this id.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Who is paid: one per payout address. Counts from 1 in order of first appearance.
    AccountId(u32)
}

id! {
    /// One named machine of an account. Counts from 1 in order of first appearance.
    WorkerId(u32)
}

id! {
    /// The number of a closed slice, from 1; 0 says that none is closed yet.
    SliceIndex(u64)
}

/// How a ledger settles. What a block's candidate was recorded under stays with the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who shares a reward.
    pub scheme: Scheme,
    /// The pool's part of each reward, rounded down to a satoshi and taken first.
    pub fee: BasisPoints,
    /// The account that the fee goes to; opened when the first block is found.
    pub fee_account: String,
    /// Confirmations at which a reward is credited for good; 100 on every network so far.
    /// A value below 1 counts as 1.
    pub maturity: u32,
    /// How many headers with the lowest hashes each slice keeps of each account, as evidence of
    /// its work; 0 keeps none, and 1,024 is the most.
    pub best_headers: u32,
}

/// Who shares a reward. All windows end with the slice that the block's job had committed to. Where
/// nothing is in the window, the account that found the block gets all but the fee.
/// `docs/schemes.md` has the rules in full, with an example of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Full pay per share: as [`Scheme::Pps`], with the fees that blocks have lately had.
    Fpps,
    /// Pay per last N shares: the newest `window_hundredths / 100` blocks' worth of shares, each
    /// measured by what a block took when it was found. The
    /// share on the window's edge counts with the part that is inside. While there are fewer, the
    /// reward is divided by what there is.
    Pplns {
        /// Hundredths of a block, 200 for twice the work that a block takes. At least 1.
        window_hundredths: u32,
    },
    /// Pay per last N time: shares accepted so long before the slice was closed.
    Pplnt {
        /// How long; whole milliseconds. At least one.
        window: Duration,
    },
    /// Pay per share: each is paid for when its slice is closed, out of a reserve that gets the
    /// rewards.
    Pps,
    /// Proportional: what was accepted since the block before.
    Prop,
    /// The account that found the block gets all but the fee.
    Solo,
    /// PPLNS over eight blocks' worth of shares.
    Tides,
}

/// A share that was judged and accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Whose.
    pub worker: WorkerId,
    /// The expected hashes of the target that its job was issued at. More than zero.
    pub work: Work,
    /// The expected hashes of a block at that time, from the header's own bits.
    pub network_work: Work,
    /// When it was accepted.
    pub at: UnixMillis,
    /// The header as hashed: the evidence.
    pub header: [u8; 80],
}

/// The numbers that a batch of shares was given; they count from 1 without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Number of the batch's first share.
    pub first_seq: u64,
    /// Number of its last share; one less than `first_seq` for an empty batch.
    pub last_seq: u64,
}

/// A closed slice in short: what a coinbase commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceHead {
    /// Which slice; 0 when none is closed yet.
    pub index: SliceIndex,
    /// Commits to the slice's shares, to their sums per account and to the root before; zeros at
    /// index 0.
    pub root: [u8; 32],
    /// Work of the shares in it.
    pub work: Work,
    /// Number of shares in it.
    pub shares: u64,
}

impl SliceHead {
    /// What stands for "no slice is closed yet".
    pub const NONE: Self =
        Self { index: SliceIndex::new(0), root: [0; 32], work: Work::ZERO, shares: 0 };
}

/// How long the headers of shares are kept: see `docs/retention.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// For good.
    pub all: bool,
    /// Until no block can be paid by them that was found on a job of so long ago; at least as long as
    /// jobs are mined on.
    pub at_least: Duration,
}

/// What one call of [`crate::Ledger::prune`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Shares whose headers were dropped.
    pub shares: u64,
    /// The newest slice of which there is nothing left to drop; 0 for none.
    pub newest: SliceIndex,
    /// Whether there is more to do now.
    pub more: bool,
}

/// An account's first shares in a slice: what a receipt says. The slice may be open, and get more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whose.
    pub account: String,
    /// Which slice.
    pub slice: SliceIndex,
    /// How many of the account's shares in it, from its first on.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// The top of the tree over them, as `docs/slices.md` has it.
    pub records: [u8; 32],
    /// The number of the last of them.
    pub last_share: u64,
}

/// A block that the pool found, recorded before (or while) it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Hash of its header.
    pub hash: BlockId,
    /// Height that it would have.
    pub height: u32,
    /// What its coinbase pays to the pool: all of its outputs.
    pub reward: Sats,
    /// Expected hashes of its own target (from the header's bits).
    pub network_work: Work,
    /// Whose share it was.
    pub finder: WorkerId,
    /// The newest slice when its job was made; shares committed later count for later blocks.
    pub committed_slice: SliceIndex,
    /// What its coinbase pays to accounts themselves, in rising order of account: at most what the
    /// window gives them. The rest of the reward is the pool's to keep for them.
    pub direct: Vec<Direct>,
    /// The whole serialized block, so that it can be submitted again after a crash.
    pub block: Vec<u8>,
    /// When it was found.
    pub at: UnixMillis,
}

/// What a coinbase pays to an account itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direct {
    /// The account.
    pub account: String,
    /// The output's script.
    pub script: Vec<u8>,
    /// How much.
    pub sats: Sats,
}

/// One meter's part of an energy report, with the difference that the pool's book took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Whose machine.
    pub worker: WorkerId,
    /// Name of the meter, unique for the worker ("rapl:psys").
    pub meter: String,
    /// Kind of meter ("rapl", "plug", "model" ...).
    pub kind: String,
    /// What it includes: "device", "rig" or "site".
    pub scope: String,
    /// 1 (revenue-grade) to 5 (table x proven work).
    pub tier: u8,
    /// Rises when the meter's counter started anew.
    pub epoch: u64,
    /// The meter's counter within the epoch.
    pub total: MicroJoules,
    /// Hashes that the device says it has done, if it says.
    pub hashes_total: Option<Hashes>,
    /// What this reading adds; at most what the counter moved since the last one.
    pub credited: MicroJoules,
    /// Time within the interval that the meter did not see; whole milliseconds are kept.
    pub gap: Duration,
    /// Whether it counts in sums; `false` when a meter of wider scope includes it.
    pub counted: bool,
    /// Part of the interval that was measured, in millionths.
    pub coverage_ppm: u32,
    /// Relative uncertainty of the figure, in millionths.
    pub uncertainty_ppm: u32,
    /// When the reading was taken; decides the UTC hour that it is added to.
    pub at: UnixMillis,
}

/// What became of a key shown for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinOutcome {
    /// Another key is pinned; nothing was changed.
    Mismatch,
    /// The key is the one pinned for this worker, since now or earlier.
    Pinned,
}
