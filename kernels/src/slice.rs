//! What a kernel is asked, and what it answers.

use units::{Hashes, Target};

/// A rectangle of work: every version with every nonce of a range.
///
/// One slice should take a millisecond or two: new work waits for its end. Of a given number of
/// hashes, few versions and many nonces are the better shape, because a version costs one
/// compression before its first nonce; [`crate::Backend::versions_per_slice`] says how many bring
/// the full speed.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a> {
    /// The 80 bytes as they are hashed. Their version and nonce fields are not read.
    pub header: &'a [u8; 80],
    /// The largest hash that is a hit; any value, above or below difficulty 1.
    pub target: &'a Target,
    /// Whole version fields, as numbers, each once. None is no work.
    pub versions: &'a [u32],
    /// The first nonce.
    pub first_nonce: u32,
    /// How many nonces; zero is no work. The last one is at most `u32::MAX`.
    pub nonces: u32,
}

/// A version and a nonce with which the header meets the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// The whole version field.
    pub version: u32,
    /// The nonce.
    pub nonce: u32,
}

impl Slice<'_> {
    /// Versions x nonces.
    #[must_use]
    pub fn hashes(&self) -> Hashes {
        // The length of a slice in memory is far below 2^64.
        let versions = u64::try_from(self.versions.len()).unwrap_or(u64::MAX);
        Hashes::new(u128::from(versions) * u128::from(self.nonces))
    }

    /// First and last nonce, or `None` when there are none.
    pub(crate) fn nonce_range(&self) -> Option<(u32, u32)> {
        let more = self.nonces.checked_sub(1)?;
        let room = u32::MAX - self.first_nonce;
        assert!(more <= room, "a slice ends at nonce u32::MAX at the latest");
        Some((self.first_nonce, self.first_nonce + more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(first_nonce: u32, nonces: u32) -> Slice<'static> {
        Slice { header: &[0; 80], target: &Target::MAX, versions: &[1, 2, 3], first_nonce, nonces }
    }

    #[test]
    fn counts_versions_times_nonces() {
        assert_eq!(slice(0, 5).hashes(), Hashes::new(15));
        assert_eq!(slice(7, 0).hashes(), Hashes::ZERO);
        assert_eq!(slice(1, u32::MAX).hashes(), Hashes::new(3 * u128::from(u32::MAX)));
    }

    #[test]
    fn the_range_includes_the_last_nonce() {
        assert_eq!(slice(u32::MAX, 1).nonce_range(), Some((u32::MAX, u32::MAX)));
        assert_eq!(slice(1, u32::MAX).nonce_range(), Some((1, u32::MAX)));
        assert_eq!(slice(u32::MAX, 0).nonce_range(), None);
    }

    #[test]
    #[should_panic(expected = "ends at nonce u32::MAX")]
    fn refuses_to_wrap() {
        slice(u32::MAX, 2).nonce_range();
    }
}
