//! What a share is worth in blocks: its score, in 2^-64 of a block.
//!
//! A share that proves `w` hashes while a block takes `D` of them is `w / D` of a block, whatever
//! the difficulty is before or after it; that is what a window in blocks is filled with, and what
//! pay per share is paid for. `D` is the network work that was recorded with this very share, so
//! that a change of difficulty inside a window weighs each share by the difficulty that it was
//! found under (M. Rosenfeld, arXiv:1112.4980, section 5.2). Rounded down: by less than 2^-64 of a
//! block for each share.

use units::U256;

use crate::error::LedgerError;

/// The score of one block.
pub(crate) const BLOCK: u128 = 1 << 64;

/// floor(work x 2^64 / network work).
///
/// # Errors
/// When a block takes no work, or the share is worth 2^64 blocks.
pub(crate) fn of(work: u128, network_work: u128) -> Result<u128, LedgerError> {
    let score = if work < BLOCK {
        work.wrapping_mul(BLOCK).checked_div(network_work)
    } else {
        let quotient = U256::product(work, BLOCK).div_rem(U256::from(network_work));
        quotient.and_then(|(quotient, _)| quotient.to_u128())
    };
    score.ok_or(LedgerError::Overflow("a share's part of a block"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_is_its_part_of_a_block_rounded_down() {
        assert_eq!(of(1, 1).unwrap(), BLOCK);
        assert_eq!(of(1, 3).unwrap(), 0x5555_5555_5555_5555);
        assert_eq!(of(5, 2).unwrap(), BLOCK * 5 / 2);
        assert_eq!(of(0, 7).unwrap(), 0);
        assert_eq!(of(u128::MAX, u128::MAX).unwrap(), BLOCK);
        assert!(of(1, 0).is_err());
        assert!(of(u128::MAX, 1).is_err());
    }

    proptest! {
        #[test]
        fn both_ways_of_dividing_agree(work in any::<u128>(), shift in 0..128_u32, network in 1_u128..) {
            let work = work >> shift;
            let (long, _) = U256::product(work, BLOCK).div_rem(U256::from(network)).unwrap();
            prop_assert_eq!(of(work, network).ok(), long.to_u128());
        }
    }
}
