//! What readers get: plain copies of what was true at one committed event. Read [`Totals`] first.

use std::time::Duration;

use units::{Hashes, MicroJoules, Sats, UnixMillis, Work};

use crate::block::BlockState;
use crate::payout::{PayoutId, PayoutState, PayoutTxid};
use crate::settle::CreditKind;
use crate::types::{BlockId, SliceIndex, WorkerId};

/// The pool as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Shares ever committed.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// Closed slices.
    pub slices: u64,
    /// Accounts ever opened.
    pub accounts: u64,
    /// Workers ever registered.
    pub workers: u64,
    /// Blocks by state.
    pub blocks: BlockCounts,
    /// Credits of blocks that are on the chain but not deep enough, fees included.
    pub immature: Sats,
    /// Credits of mature blocks that are not paid out, fees included.
    pub balance: Sats,
    /// In payouts that are not deep on the chain yet.
    pub sending: Sats,
    /// Paid out: in payouts that are deep on the chain.
    pub paid: Sats,
    /// The part of `immature + balance + sending + paid` that was credited as the pool's fee.
    pub fees: Sats,
    /// What pay per share has left to pay out of.
    pub reserve: Sats,
    /// Energy of counted meters.
    pub energy: MicroJoules,
    /// Work that this energy covers: see [`WorkerView::covered_work`].
    pub covered_work: Work,
}

/// How many blocks are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockCounts {
    /// Recorded, not answered by a node.
    pub candidate: u64,
    /// Answered by a node, not yet seen on the chain.
    pub submitted: u64,
    /// On the chain, not mature.
    pub immature: u64,
    /// Credited for good.
    pub mature: u64,
    /// Not on the chain, still looked for.
    pub orphaned: u64,
    /// Not on the chain, given up.
    pub abandoned: u64,
}

/// One line of a list of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Payout address.
    pub name: String,
    /// Work of its shares.
    pub work: Work,
    /// Number of its shares.
    pub shares: u64,
}

/// An account with its workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Payout address.
    pub name: String,
    /// Work of its shares.
    pub work: Work,
    /// Number of its shares.
    pub shares: u64,
    /// Credits of blocks that are not deep enough yet.
    pub immature: Sats,
    /// Credits of mature blocks that are not paid out.
    pub balance: Sats,
    /// In payouts that are not deep on the chain yet.
    pub sending: Sats,
    /// Paid out; stays zero until payouts are events.
    pub paid: Sats,
    /// Its workers in order of first appearance.
    pub workers: Vec<WorkerView>,
}

/// A worker with its meters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Its id.
    pub id: WorkerId,
    /// Its name within the account; may be empty.
    pub name: String,
    /// Work of its shares.
    pub work: Work,
    /// Number of its shares.
    pub shares: u64,
    /// When its newest share was accepted.
    pub last_share_at: Option<UnixMillis>,
    /// Energy of its counted meters.
    pub energy: MicroJoules,
    /// Work committed between the readings that this energy comes from: from the first reading
    /// to the newest, without what lies across a new start of a meter's counter.
    pub covered_work: Work,
    /// Its meters by name.
    pub meters: Vec<MeterView>,
}

/// What the energy of one worker amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeteredWorker {
    /// Payout address of its account.
    pub account: String,
    /// Its name within the account; may be empty.
    pub name: String,
    /// Energy of its counted meters.
    pub energy: MicroJoules,
    /// Work that this energy covers: see [`WorkerView::covered_work`].
    pub covered_work: Work,
}

/// What a worker did in ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregate {
    /// When they end: the first slice that was closed after ten minutes by the clock.
    pub until: UnixMillis,
    /// Shares accepted.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// Energy of counted readings that came in.
    pub energy: MicroJoules,
}

/// How much is kept of all aggregates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AggregatesKept {
    /// How many.
    pub aggregates: u64,
    /// Lines of workers in them.
    pub workers: u64,
    /// Bytes of all of them in the log.
    pub bytes: u64,
}

/// A meter as its last reading left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterView {
    /// Whose.
    pub worker: WorkerId,
    /// Name of the meter.
    pub meter: String,
    /// Kind of meter.
    pub kind: String,
    /// What it includes.
    pub scope: String,
    /// 1 (best) to 5.
    pub tier: u8,
    /// Epoch of its counter.
    pub epoch: u64,
    /// Highest total seen in that epoch.
    pub total: MicroJoules,
    /// Hashes that the device said it had done, if it said.
    pub hashes_total: Option<Hashes>,
    /// All that its readings credited, counted or not.
    pub credited: MicroJoules,
    /// The part of `credited` that counts in sums.
    pub energy: MicroJoules,
    /// Whether its last reading counted.
    pub counted: bool,
    /// Sum of the gaps of its readings.
    pub gap: Duration,
    /// Part of the last interval that was measured, in millionths.
    pub coverage_ppm: u32,
    /// Relative uncertainty, in millionths.
    pub uncertainty_ppm: u32,
    /// Its first reading.
    pub first_at: UnixMillis,
    /// Its newest reading.
    pub last_at: UnixMillis,
}

/// What a meter counted in one UTC hour (by the instants of the readings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnergyHour {
    /// Whose.
    pub worker: WorkerId,
    /// Name of the meter.
    pub meter: String,
    /// Start of the hour.
    pub hour: UnixMillis,
    /// All that the readings of that hour credited.
    pub credited: MicroJoules,
    /// The part that counts in sums.
    pub energy: MicroJoules,
    /// Work newly covered by the readings of that hour.
    pub covered_work: Work,
    /// Sum of their gaps.
    pub gap: Duration,
}

/// A block that the pool found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockView {
    /// Hash of its header, internal order.
    pub hash: BlockId,
    /// Its height.
    pub height: u32,
    /// What its coinbase pays to the pool.
    pub reward: Sats,
    /// Account that found it.
    pub finder: String,
    /// Worker that found it.
    pub finder_worker: String,
    /// Expected hashes of its own target.
    pub network_work: Work,
    /// The slice that its window ends with.
    pub committed_slice: SliceIndex,
    /// Where it stands.
    pub state: BlockState,
    /// The newest answer of a node.
    pub answer: Option<String>,
    /// When it was found.
    pub found_at: UnixMillis,
    /// When it was first seen on the chain.
    pub settled_at: Option<UnixMillis>,
    /// When it got to its present state.
    pub state_at: UnixMillis,
}

/// A block whose fate is not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnresolvedBlock {
    /// Hash of its header, internal order.
    pub hash: BlockId,
    /// Its height.
    pub height: u32,
    /// Where it stands: never `Mature` or `Abandoned`.
    pub state: BlockState,
    /// When it was found.
    pub found_at: UnixMillis,
}

/// One credit of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditView {
    /// Who.
    pub account: String,
    /// What for.
    pub kind: CreditKind,
    /// How much. Whether it is immature, a balance or reversed is the block's state.
    pub sats: Sats,
}

/// The blocks that an account's shares were expected to find, and those that it found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountLuck {
    /// Payout address.
    pub account: String,
    /// Blocks expected of its shares in closed slices, in parts of 2^64: the sum of
    /// floor(work x 2^64 / network work), with the network work at each share.
    pub score: u128,
    /// Blocks that it found, whatever became of them.
    pub found: u64,
    /// Those of them that the chain decided on.
    pub decided: u64,
    /// Those of the decided ones that are not on the chain.
    pub orphaned: u64,
}

/// An account's money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Payout address.
    pub account: String,
    /// Credits of blocks that are not deep enough yet.
    pub immature: Sats,
    /// Credits of mature blocks that are not paid out.
    pub balance: Sats,
    /// In payouts that are not deep on the chain yet.
    pub sending: Sats,
    /// Paid out: in payouts that are deep on the chain.
    pub paid: Sats,
}

/// An account with a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payable {
    /// Payout address.
    pub account: String,
    /// What it could be paid.
    pub balance: Sats,
    /// From how much on its owner wants to be paid, where the owner said so.
    pub threshold: Option<Sats>,
}

/// A payout whose fate is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPayout {
    /// Its number.
    pub id: PayoutId,
    /// Where it stands.
    pub state: PayoutState,
    /// Whether a version of it may be known outside.
    pub released: bool,
    /// The height of the block that a version of it is in, where one is.
    pub height: Option<u32>,
    /// The tip's height when it was planned: no version is in a block up to it.
    pub tip: u32,
    /// Its versions, oldest first. At most one can ever be on the chain.
    pub versions: Vec<VersionView>,
}

/// One version of a payout's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionView {
    /// Its number, internal order.
    pub txid: PayoutTxid,
    /// Whether the ledger has it with its signatures.
    pub signed: bool,
    /// What it leaves to whoever mines it.
    pub fee: Sats,
    /// Whether it is the newest one.
    pub newest: bool,
    /// Whether it is the one that was seen on the chain.
    pub on_chain: bool,
}

/// A payout as it is listed: of its versions the one on the chain, or the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutView {
    /// Its number.
    pub id: PayoutId,
    /// Where it stands.
    pub state: PayoutState,
    /// Whether a version of it may be known outside.
    pub released: bool,
    /// What it pays.
    pub sats: Sats,
    /// To how many accounts.
    pub payments: u64,
    /// The transaction's number, internal order.
    pub txid: PayoutTxid,
    /// Which version that is, from 1.
    pub version: u32,
    /// The transaction's fee.
    pub fee: Sats,
    /// The height of its block, where it is in one.
    pub height: Option<u32>,
    /// When it was planned.
    pub planned_at: UnixMillis,
    /// When it got to its present state.
    pub state_at: UnixMillis,
}

/// Payouts as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxView {
    /// Whether payouts rest.
    pub paused: bool,
    /// Why, in the operator's words.
    pub reason: String,
    /// Satoshis in payouts that are not deep on the chain yet.
    pub sending: Sats,
    /// Fees of the payouts that are: the pool's own money, which no account was charged.
    pub network_fees: Sats,
}

impl BlockCounts {
    /// All blocks ever found.
    #[must_use]
    pub fn found(self) -> u64 {
        [self.candidate, self.submitted, self.immature, self.mature, self.orphaned, self.abandoned]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub(crate) fn slot(&mut self, state: BlockState) -> &mut u64 {
        match state {
            BlockState::Candidate => &mut self.candidate,
            BlockState::Submitted => &mut self.submitted,
            BlockState::OnChain => &mut self.immature,
            BlockState::Mature => &mut self.mature,
            BlockState::Orphaned => &mut self.orphaned,
            BlockState::Abandoned => &mut self.abandoned,
        }
    }
}
