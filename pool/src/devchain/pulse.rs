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

/// Digits of a block hash.
const TIP_LENGTH: usize = 64;
/// How many steps of easing a long poll id can tell apart.
const EASED_SPAN: u64 = 256;

impl Pulse {
    /// The long poll id: the tip and one number, as Core's.
    pub(super) fn id(&self) -> String {
        let number = self.updates.wrapping_mul(EASED_SPAN).wrapping_add(u64::from(self.eased));
        format!("{}{number}", self.tip)
    }

    /// A long poll id as the tip's text and the steps and count behind it. Digits that are not
    /// there count as zero, as Core has it.
    pub(super) fn split_id(id: &str) -> (&str, u32, u64) {
        let (tip, number) = id.split_at_checked(TIP_LENGTH).unwrap_or((id, ""));
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let number: u64 = number.get(..digits).and_then(|n| n.parse().ok()).unwrap_or(0);
        let eased = u32::try_from(number % EASED_SPAN).unwrap_or(0);
        (tip, eased, number / EASED_SPAN)
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
        let tip = pulse.tip.to_string();
        assert_eq!(Pulse::split_id(&pulse.id()), (tip.as_str(), 255, 12));
        assert_eq!(Pulse::split_id(&tip), (tip.as_str(), 0, 0));
        assert_eq!(Pulse::split_id(&format!("{tip}256x9")), (tip.as_str(), 0, 1));
        assert_eq!(Pulse::split_id("short"), ("short", 0, 0));
    }
}
