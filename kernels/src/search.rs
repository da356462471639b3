//! The two tests between a kernel and its hits: a filter on one word, and the reference.
//!
//! The filter is exact in what it lets go: a hash whose top 32 bits exceed the target's cannot
//! meet it. What it keeps is hashed again and compared in all 256 bits, so one rule serves
//! targets of any size. At difficulty 1 and above the filter keeps one hash in 2^32.

use crate::{
    Hit, Slice,
    reference::{hash_header, with_version_and_nonce},
};

/// The end of every kernel's loop.
#[derive(Debug)]
pub struct Search<'a, 'b> {
    slice: &'a Slice<'a>,
    /// The target's most significant 32 bits.
    limit: u32,
    hits: &'b mut Vec<Hit>,
    faults: u64,
}

impl<'a, 'b> Search<'a, 'b> {
    /// The search of a slice; what it finds goes to `hits`.
    #[must_use]
    pub fn new(slice: &'a Slice<'a>, hits: &'b mut Vec<Hit>) -> Self {
        let [a, b, c, d, ..] = slice.target.to_be_bytes();
        Self { slice, limit: u32::from_be_bytes([a, b, c, d]), hits, faults: 0 }
    }

    /// Whether one of the hashes with these last words, as SHA-256 computes them, may meet the
    /// target. A word's last byte in memory is its hash's most significant one, hence the swap.
    ///
    /// One comparison whatever their number: with one for each, the compiler would move all of
    /// the second hash behind the first comparison, and nothing would be interleaved.
    #[inline]
    pub(crate) fn may_meet<const N: usize>(&self, words7: [u32; N]) -> bool {
        words7.into_iter().fold(u32::MAX, |least, word| least.min(word.swap_bytes())) <= self.limit
    }

    /// Hashes again what passed the filter with `word7`, and keeps it if it meets the target.
    #[cold]
    pub(crate) fn confirm(&mut self, hit: Hit, word7: u32) {
        let hash = hash_header(&with_version_and_nonce(self.slice.header, hit.version, hit.nonce));
        if !hash.ends_with(&word7.to_be_bytes()) {
            self.faults += 1;
        } else if self.slice.target.is_met_by(&hash) {
            self.hits.push(hit);
        }
    }

    /// Candidates whose hash was not what the kernel had computed.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults
    }
}

/// For kernels that compare in their own code.
impl Search<'_, '_> {
    /// The bits of a last word, as SHA-256 computes it, that are zero in every hash that meets the
    /// target: the zeros that the target begins with. A coarser filter than [`Self::may_meet`], and
    /// a single operation of a vector unit; from difficulty 1 on it is the whole word.
    #[inline]
    #[must_use]
    pub fn mask(&self) -> u32 {
        let zeros = self.limit.leading_zeros();
        let leading = u32::MAX.checked_shr(zeros).map_or(u32::MAX, |rest| !rest);
        leading.swap_bytes()
    }

    /// Hashes again what passed [`Self::mask`], and keeps it if it meets the target.
    #[cold]
    pub fn confirm_lane(&mut self, hit: Hit) {
        let hash = hash_header(&with_version_and_nonce(self.slice.header, hit.version, hit.nonce));
        let [.., a, b, c, d] = hash;
        if u32::from_be_bytes([a, b, c, d]) & self.mask() != 0 {
            self.faults += 1;
        } else if self.slice.target.is_met_by(&hash) {
            self.hits.push(hit);
        }
    }
}

#[cfg(test)]
mod tests {
    use units::Target;

    use super::*;

    fn word7(version: u32, nonce: u32) -> u32 {
        let hash = hash_header(&with_version_and_nonce(&[0; 80], version, nonce));
        u32::from_be_bytes(hash[28..].try_into().unwrap())
    }

    #[test]
    fn counts_a_wrong_word_and_never_reports_it() {
        let target = Target::MAX;
        let slice =
            Slice { header: &[0; 80], target: &target, versions: &[1], first_nonce: 0, nonces: 1 };
        let mut hits = Vec::new();
        let mut search = Search::new(&slice, &mut hits);
        let hit = Hit { version: 1, nonce: 0 };
        search.confirm(hit, word7(1, 0) ^ 1);
        assert_eq!(search.faults(), 1);
        search.confirm(hit, word7(1, 0));
        assert_eq!(search.faults(), 1);
        assert_eq!(hits, [hit]);
    }

    #[test]
    fn the_filter_keeps_the_limit_itself() {
        let mut bytes = [0xff; 32];
        bytes[..4].copy_from_slice(&0x0012_3456_u32.to_be_bytes());
        let target = Target::from_be_bytes(bytes);
        let slice =
            Slice { header: &[0; 80], target: &target, versions: &[1], first_nonce: 0, nonces: 1 };
        let mut hits = Vec::new();
        let search = Search::new(&slice, &mut hits);
        let (at, above) = (0x0012_3456_u32.swap_bytes(), 0x0012_3457_u32.swap_bytes());
        for keeps in [search.may_meet([at]), search.may_meet([0]), search.may_meet([above, at])] {
            assert!(keeps);
        }
        for keeps in [search.may_meet([above]), search.may_meet([above, u32::MAX])] {
            assert!(!keeps);
        }
    }
}
