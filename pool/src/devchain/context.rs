//! Checks that need the parent but no unspent outputs, in Bitcoin Core's order
//! (`ContextualCheckBlockHeader`, `ContextualCheckBlock`).

use bitcoin::block::Header;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::script::Builder;
use bitcoin::{Block, Sequence, Transaction, Witness};
use units::UnixMillis;

use super::check::merkle_root;
use super::{MAX_BLOCK_WEIGHT, Reject};

/// Lock times below this are heights, others are times.
pub(super) const LOCK_TIME_THRESHOLD: u32 = 500_000_000;
/// How far a header's time may be ahead of the clock, in seconds.
const MAX_FUTURE: u64 = 7_200;
/// `OP_RETURN`, a push of 36 bytes, and the commitment's mark (BIP 141).
pub(super) const COMMITMENT_HEAD: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The parent, as its child's checks see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent {
    pub(super) height: u32,
    pub(super) median_time: u32,
}

/// A header against its parent; whether its bits are right is the caller's to say.
pub(super) fn check_header(
    header: &Header,
    parent: Parent,
    bits_fit: bool,
    now: UnixMillis,
) -> Result<(), Reject> {
    if !bits_fit {
        return Err(Reject::new("bad-diffbits"));
    }
    if header.time <= parent.median_time {
        return Err(Reject::new("time-too-old"));
    }
    // In milliseconds, as Core compares with its clock unrounded.
    if u64::from(header.time).saturating_sub(MAX_FUTURE).saturating_mul(1000) > now.get() {
        return Err(Reject::new("time-too-new"));
    }
    let version = header.version.to_consensus();
    if version < 4 {
        return Err(Reject::owned(format!("bad-version(0x{:08x})", version.cast_unsigned())));
    }
    Ok(())
}

/// A block against its parent, after [`super::check::check_block`].
pub(super) fn check_block(block: &Block, parent: Parent) -> Result<(), Reject> {
    let height = parent.height.saturating_add(1);
    if !block.txdata.iter().all(|tx| is_final(tx, height, parent.median_time)) {
        return Err(Reject::new("bad-txns-nonfinal"));
    }
    let expected = Builder::new().push_int(i64::from(height)).into_script();
    let script = block.txdata.first().and_then(|tx| tx.input.first()).map(|i| &i.script_sig);
    if !script.is_some_and(|script| script.as_bytes().starts_with(expected.as_bytes())) {
        return Err(Reject::new("bad-cb-height"));
    }
    check_witness(block)?;
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT {
        return Err(Reject::new("bad-blk-weight"));
    }
    Ok(())
}

/// True where `tx` may stand in a block at `height` whose parent's median time is `time`.
pub(super) fn is_final(tx: &Transaction, height: u32, time: u32) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let limit = if lock < LOCK_TIME_THRESHOLD { height } else { time };
    lock == 0 || lock < limit || tx.input.iter().all(|input| input.sequence == Sequence::MAX)
}

/// The output that commits to the witnesses: the last that looks like it.
pub(super) fn commitment_index(block: &Block) -> Option<usize> {
    block.txdata.first()?.output.iter().rposition(|output| {
        output.script_pubkey.len() >= 38
            && output.script_pubkey.as_bytes().starts_with(&COMMITMENT_HEAD)
    })
}

/// Puts the reserved value into a coinbase that commits to witnesses but carries none, as Core
/// does for blocks handed in by RPC.
pub(super) fn add_reserved_value(block: &mut Block) {
    if commitment_index(block).is_none() || block.txdata.first().is_none_or(has_witness) {
        return;
    }
    if let Some(input) = block.txdata.first_mut().and_then(|tx| tx.input.first_mut()) {
        input.witness = Witness::from_slice(&[[0_u8; 32]]);
    }
}

/// The commitment for `wtxids` (without the coinbase's) and a reserved value.
pub(super) fn commitment(wtxids: impl Iterator<Item = [u8; 32]>, reserved: &[u8]) -> [u8; 32] {
    let leaves = std::iter::once([0; 32]).chain(wtxids).collect();
    let (root, _) = merkle_root(leaves);
    sha256d::Hash::hash(&[root.as_slice(), reserved].concat()).to_byte_array()
}

fn check_witness(block: &Block) -> Result<(), Reject> {
    let Some(at) = commitment_index(block) else {
        if block.txdata.iter().any(has_witness) {
            return Err(Reject::mutated("unexpected-witness"));
        }
        return Ok(());
    };
    let coinbase = block.txdata.first();
    let witness = coinbase.and_then(|tx| tx.input.first()).map(|input| &input.witness);
    let reserved = witness.filter(|w| w.len() == 1).and_then(|w| w.nth(0));
    let Some(reserved) = reserved.filter(|value| value.len() == 32) else {
        return Err(Reject::mutated("bad-witness-nonce-size"));
    };
    let wtxids = block.txdata.iter().skip(1).map(|tx| tx.compute_wtxid().to_byte_array());
    let script = coinbase.and_then(|tx| tx.output.get(at)).map(|output| &output.script_pubkey);
    let committed = script.and_then(|script| script.as_bytes().get(6..38));
    if committed != Some(commitment(wtxids, reserved).as_slice()) {
        return Err(Reject::mutated("bad-witness-merkle-match"));
    }
    Ok(())
}

fn has_witness(tx: &Transaction) -> bool {
    tx.input.iter().any(|input| !input.witness.is_empty())
}
