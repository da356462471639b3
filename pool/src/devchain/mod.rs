//! The embedded development chain: a blockchain in this process that speaks Bitcoin Core's
//! JSON-RPC, so that a first run needs nothing but this program.
//!
//! Read [`DevChain`] first (the chain, without any I/O but its file), then [`serve`] (the same
//! over HTTP). Blocks are judged by the rules and in the order of Bitcoin Core's `validation.cpp`
//! on regtest, and refused with its words: `check` holds what needs no chain, `context` what
//! needs the parent, `coins` what needs the unspent outputs. `index` and `chain` choose the best
//! chain, `store` keeps blocks on disk before any answer, `retarget` is the one departure: with
//! [`Options::retarget`] the difficulty follows the clock so that blocks come about twice a
//! second at any hash rate; without it, bits are regtest's `207fffff`.
//!
//! What it deliberately does not do: no peers, no wallet, no policy beyond what keeps a template
//! valid, no fee estimation, no deployments that miners signal for (regtest's dummy), no taproot
//! script paths (such a spend is refused). In all else `tests/parity` holds it to the verdicts and
//! the words of a real node. Its coins are worth nothing.
//!
//! Units: amounts in satoshis inside and in bitcoins on the wire (as Core has it), header times
//! in Unix seconds, arrival times in Unix milliseconds.

mod chain;
mod check;
mod coins;
mod context;
mod decode;
mod index;
mod mempool;
mod pulse;
mod retarget;
mod rpc;
mod script;
mod server;
mod store;

pub use chain::{DevChain, Options, Submission};
pub use rpc::RpcError;
pub use server::{Credentials, serve};
pub use store::StoreError;

use std::borrow::Cow;

/// Why a block or a transaction is invalid, in Bitcoin Core's words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reject {
    reason: Cow<'static, str>,
    /// The transactions may be another's: the header is not to be blamed.
    mutated: bool,
}

impl Reject {
    const fn new(reason: &'static str) -> Self {
        Self { reason: Cow::Borrowed(reason), mutated: false }
    }

    const fn mutated(reason: &'static str) -> Self {
        Self { reason: Cow::Borrowed(reason), mutated: true }
    }

    const fn owned(reason: String) -> Self {
        Self { reason: Cow::Owned(reason), mutated: false }
    }
}

/// Blocks until the next halving of the subsidy (regtest).
const HALVING_INTERVAL: u32 = 150;
/// Blocks until a coinbase may be spent.
const COINBASE_MATURITY: u32 = 100;
/// The most weight a block may have.
const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// The most signature operations a block may cost.
const MAX_SIGOPS_COST: usize = 80_000;
/// Witness data counts once, other data four times.
const WITNESS_SCALE: u64 = 4;
/// The easiest target of the chain, compact (regtest).
const LIMIT_BITS: u32 = 0x207f_ffff;
/// Blocks between difficulty adjustments on regtest, for the timewarp rule of templates.
const ADJUSTMENT_INTERVAL: u32 = 144;

/// What a block at `height` may create, besides fees, in satoshis.
const fn subsidy(height: u32) -> u64 {
    let halvings = height / HALVING_INTERVAL;
    if halvings >= 64 { 0 } else { 5_000_000_000 >> halvings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsidy_halves_every_150_blocks() {
        assert_eq!(subsidy(1), 5_000_000_000);
        assert_eq!(subsidy(149), 5_000_000_000);
        assert_eq!(subsidy(150), 2_500_000_000);
        assert_eq!(subsidy(150 * 64), 0);
    }
}
