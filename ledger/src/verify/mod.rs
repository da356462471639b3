//! An auditor for ledgers: recomputes from the event log everything that the tables say, by code
//! of its own, and lists what does not agree.
//!
//! What it checks: every share's header is hashed again and must prove the work that it was
//! credited with, at the network work of its own bits, and stand in the log once; the sums,
//! rows and roots of slices; of those that were pruned (see `docs/retention.md`) the sums, the
//! root by what is kept of it, and the best headers; the blocks expected of each account's shares; every found block's
//! header, proof of work, merkle root and coinbase value, and that what its coinbase pays accounts
//! itself goes to the addresses that name them; who may have become what when; every credit of
//! every settlement to the satoshi; balances, totals, readings, covered work, pins, leases; every
//! payout's transaction, output by output, and every threshold's signature; and the file itself.
//!
//! It shares no function with what it checks: records are decoded, roots and windows computed
//! and amounts divided by other algorithms than the ledger's (windows are walked share by share
//! and slice by slice instead of by sums). It reads the same tables, through `store/raw.rs`.
//!
//! What it deliberately does not do: it never writes, and it cannot know whether blocks are on
//! the chain (a node does) or whether a meter told the truth. Nor can it know whether shares whose
//! headers were dropped proved their work, or stood in the log once; the report says how many.
//!
//! Memory: about 50 bytes for each account in each slice, and 16 to 32 for each share on the
//! newest 1,000 previous blocks. Time: about a microsecond a share.

mod aggregates;
mod audit;
mod blocks;
mod body;
pub mod bundle;
mod chain;
mod commitment;
mod compare;
mod direct;
mod entries;
mod meters;
mod money;
mod payouts;
mod pow;
mod pruned;
mod reserve;
mod root;
mod seen;
mod shares;
mod slices;
mod windows;

use std::path::Path;

use units::{MicroJoules, Sats, Work};

use self::audit::Audit;
pub(crate) use self::chain::open as open_block;
use crate::error::LedgerError;
use crate::store::RawLedger;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Whether nothing disagrees.
    pub ok: bool,
    /// Shares in the log.
    pub shares: u64,
    /// Those among them whose headers were dropped, so that they cannot be hashed again.
    pub without_header: u64,
    /// The work of all shares, summed anew.
    pub work: Work,
    /// Slices closed.
    pub slices: u64,
    /// Accounts opened.
    pub accounts: u64,
    /// Blocks found.
    pub blocks: u64,
    /// Credits of blocks on the chain that are not mature, worked out anew.
    pub immature: Sats,
    /// Credits of mature blocks that are not paid out, worked out anew.
    pub balance: Sats,
    /// In payouts that are not deep on the chain yet, worked out anew.
    pub sending: Sats,
    /// Paid out, worked out anew.
    pub paid: Sats,
    /// What is left in the reserve of pay per share.
    pub reserve: Sats,
    /// Payouts planned.
    pub payouts: u64,
    /// Energy of counted readings, summed anew.
    pub energy: MicroJoules,
    /// Work that this energy covers, worked out anew.
    pub covered_work: Work,
    /// What does not agree, one line each; after a hundred, only their number.
    pub problems: Vec<String>,
}

/// Audits the ledger at `path`, as of its newest event when the audit begins; the pool may go on
/// using it meanwhile.
///
/// # Errors
/// When the ledger cannot be read at all. What is wrong in it is no error but a problem of the
/// report.
pub fn ledger(path: &Path) -> Result<VerifyReport, LedgerError> {
    let name = |error: LedgerError| error.while_doing(&format!("auditing {}", path.display()));
    audit(&RawLedger::open(path)?).map_err(name)
}

fn audit(raw: &RawLedger) -> Result<VerifyReport, LedgerError> {
    let snapshot = raw.snapshot()?;
    let mut audit = Audit::new(raw, snapshot.total.tallied);
    for problem in raw.store_problems()? {
        audit.problem(format!("the file: {problem}"));
    }
    let mut after = 0;
    while after < snapshot.last_event {
        let events = raw.events(after, snapshot.last_event)?;
        if events.is_empty() {
            audit.problem(format!("the events after {after} are missing"));
            break;
        }
        for event in events {
            after = event.seq;
            audit.event(&event)?;
        }
    }
    audit.pruned_since(snapshot.last_event)?;
    audit.compare(&snapshot)?;
    Ok(audit.report())
}
