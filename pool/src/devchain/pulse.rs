//! What a waiting caller compares: the tip, the difficulty on offer, and the mempool's count.

use bitcoin::BlockHash;

/// A block template in one glance. Two templates with equal pulses are alike but for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) tip: BlockHash,
    pub(super) height: u32,
    /// Steps by which the next block has become easier (see `retarget`).
    pub(super) eased: u32,
    /// Transactions taken into the mempool so far.
    pub(super) updates: u64,
}

/// How many steps of easing a long poll id can tell apart.
const EASED_SPAN: u64 = 256;

impl Pulse {
    /// The long poll id: the tip and one number, as Core's.
    pub(super) fn id(&self) -> String {
        let number = self.updates.wrapping_mul(EASED_SPAN).wrapping_add(u64::from(self.eased));
        format!("{}{number}", self.tip)
    }

    /// Tip, steps and count out of a long poll id.
    pub(super) fn parse_id(id: &str) -> Option<(BlockHash, u32, u64)> {
        let (tip, number) = id.split_at_checked(64)?;
        let number: u64 = number.parse().ok()?;
        let eased = u32::try_from(number % EASED_SPAN).ok()?;
        Some((tip.parse().ok()?, eased, number / EASED_SPAN))
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;

    use super::*;

    #[test]
    fn ids_read_back() {
        let pulse =
            Pulse { tip: BlockHash::from_byte_array([9; 32]), height: 7, eased: 255, updates: 12 };
        assert_eq!(Pulse::parse_id(&pulse.id()), Some((pulse.tip, 255, 12)));
        assert_eq!(Pulse::parse_id("short"), None);
        assert_eq!(Pulse::parse_id(&"zz".repeat(40)), None);
    }
}
