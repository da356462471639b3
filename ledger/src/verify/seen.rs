//! Whether a header stands in the log twice.

use std::collections::{HashMap, HashSet};

use defences::{Defence, stands};

/// Previous blocks whose shares are remembered; on the real chain a week.
const EPOCHS: usize = 1_000;

/// Headers seen, by the block that they build on: a header names it, so a duplicate has the same
/// one. A block that was left behind by 1,000 others is forgotten but for its name, and shares on
/// it are then reported, because they could not be checked.
#[derive(Debug, Default)]
pub(super) struct Seen {
    epochs: HashMap<[u8; 32], Epoch>,
    left_behind: HashSet<[u8; 32]>,
    now: u64,
}

#[derive(Debug, Default)]
struct Epoch {
    /// First halves of the hashes: the halves without the leading zeros.
    hashes: HashSet<[u8; 16]>,
    last: u64,
}

impl Seen {
    /// Takes note of a header and its hash; says what is wrong with it.
    pub(super) fn note(&mut self, header: &[u8; 80], hash: &[u8; 32]) -> Result<(), &'static str> {
        let previous = *header[4..].first_chunk().expect("a header has 76 bytes after its version");
        let half = *hash.first_chunk().expect("32 bytes have 16");
        if self.left_behind.contains(&previous) {
            return Err("builds on a block left behind long ago");
        }
        self.now = self.now.saturating_add(1);
        let epoch = self.epochs.entry(previous).or_default();
        epoch.last = self.now;
        let new = epoch.hashes.insert(half) || !stands(Defence::AuditDuplicate);
        if self.epochs.len() > EPOCHS {
            self.forget_oldest();
        }
        if new { Ok(()) } else { Err("stands in the log twice") }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.epochs.iter().min_by_key(|(_, epoch)| epoch.last);
        if let Some(previous) = oldest.map(|(previous, _)| *previous) {
            self.epochs.remove(&previous);
            self.left_behind.insert(previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(previous: u64) -> [u8; 80] {
        let mut header = [0; 80];
        header[4..12].copy_from_slice(&previous.to_le_bytes());
        header
    }

    #[test]
    fn duplicates_are_found_within_a_block_and_old_blocks_are_reported() {
        let mut seen = Seen::default();
        assert!(seen.note(&header(0), &[1; 32]).is_ok());
        assert!(seen.note(&header(0), &[2; 32]).is_ok());
        assert!(seen.note(&header(0), &[1; 32]).is_err());
        for previous in 1..=1_000 {
            assert!(seen.note(&header(previous), &[1; 32]).is_ok());
        }
        assert!(seen.note(&header(0), &[3; 32]).is_err());
        assert!(seen.note(&header(1), &[3; 32]).is_ok());
        assert_eq!(seen.epochs.len(), 1_000);
    }
}
