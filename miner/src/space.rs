//! The search space of a job, dealt out in claims: no header is ever dealt twice, and none is
//! left out.
//!
//! Read [`Space::claim`] first. The space is a line of numbered claims, nonces innermost, then
//! versions, then extranonce2, then the header's time; one shared atomic number says which claim
//! is next, so workers of any speed share it without idling at its end. The time is rolled last
//! and never beyond the seconds that have passed since the job came: before they have passed the
//! space is simply exhausted, and says so.
//!
//! It deliberately knows nothing of hashing or of threads. Units: nonces, seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernels::Backend;

/// Number of nonces of one header.
const NONCES: u64 = 1 << 32;
/// Extranonce2 bytes that are counted through; any further ones stay zero.
const XN2_BYTES_MAX: usize = 8;

/// How large one claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Hashes of a claim, as a power of two.
    hashes_log2: u32,
    /// Versions of a claim where the pool grants as many, as a power of two.
    versions_log2: u32,
}

/// A part of the space that belongs to whoever claimed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Extranonce2, as wide as the pool asks for.
    pub xn2: Vec<u8>,
    /// The header's time.
    pub ntime: u32,
    /// Full version fields, at least one.
    pub versions: Vec<u32>,
    /// First nonce.
    pub first_nonce: u32,
    /// Number of nonces.
    pub nonces: u32,
}

/// What asking for a claim gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// A part to search.
    Part(Claim),
    /// All is dealt out until another second has passed.
    Exhausted,
}

/// Which claim is next. Shared by all workers, and by all jobs with the same content.
#[derive(Debug, Default)]
pub struct Cursor(AtomicU64);

/// The space itself.
#[derive(Debug, Clone)]
pub struct Space {
    layout: Layout,
    version: u32,
    mask: u32,
    xn2_size: usize,
    first_ntime: u32,
    cursor: Arc<Cursor>,
}

impl Layout {
    /// Claims of `2^hashes_log2` hashes (at most 2^31), if possible over `2^versions_log2`
    /// versions (at most 2^16).
    ///
    /// # Panics
    /// Beyond those limits, and when the versions are more than the hashes.
    #[must_use]
    pub const fn new(hashes_log2: u32, versions_log2: u32) -> Self {
        assert!(hashes_log2 <= 31, "a claim's nonces are counted in 32 bits");
        assert!(versions_log2 <= 16, "a claim lists its versions");
        assert!(versions_log2 <= hashes_log2, "a claim has at least one nonce");
        Self { hashes_log2, versions_log2 }
    }

    /// What suits a CPU thread with this backend: 2^18 hashes, a few hundredths of a second, so
    /// that dealing costs nothing and a dropped claim wastes nothing.
    #[must_use]
    pub const fn of_cpu(backend: Backend) -> Self {
        Self::new(18, backend.versions_per_slice().ilog2())
    }
}

impl Space {
    /// A space whose headers have `version` with any bits of `mask` flipped, an extranonce2 of
    /// `xn2_size` bytes and a time from `first_ntime` on; `cursor` says what is dealt already.
    #[must_use]
    pub const fn new(
        layout: Layout,
        version: u32,
        mask: u32,
        xn2_size: usize,
        first_ntime: u32,
        cursor: Arc<Cursor>,
    ) -> Self {
        Self { layout, version, mask, xn2_size, first_ntime, cursor }
    }

    /// Takes the next part. `last_ntime` is the latest time that a header may have by now.
    #[must_use]
    pub fn claim(&self, last_ntime: u32) -> Claimed {
        let claims = self.claims_up_to(last_ntime);
        let taken = self.cursor.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            (u128::from(next) < claims).then(|| next.checked_add(1)).flatten()
        });
        taken.map_or(Claimed::Exhausted, |number| Claimed::Part(self.part(number)))
    }

    /// The time of the headers that are dealt next, as far as it is known.
    #[must_use]
    pub fn reached_ntime(&self) -> u32 {
        let next = u128::from(self.cursor.0.load(Ordering::Relaxed));
        let seconds = next / self.claims_per_second();
        self.first_ntime.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// Deals nothing that `other` has dealt or may still have dealt out, by going on at the
    /// extranonce2 after the one that it has reached. For the same headers under another version
    /// or mask, whose parts can't be told apart one by one.
    pub fn start_after(&self, other: &Self) {
        let next = u128::from(other.cursor.0.load(Ordering::Relaxed));
        let seconds = next / other.claims_per_second();
        let xn2 = next % other.claims_per_second() / u128::from(other.claims_per_xn2()) + 1;
        let position = seconds
            .saturating_mul(self.claims_per_second())
            .saturating_add(xn2.saturating_mul(u128::from(self.claims_per_xn2())));
        let position = u64::try_from(position).unwrap_or(u64::MAX);
        self.cursor.0.fetch_max(position, Ordering::Relaxed);
    }

    /// Whether the headers' versions are those of `version` under `mask`.
    #[must_use]
    pub const fn has_versions(&self, version: u32, mask: u32) -> bool {
        self.version == version && self.mask == mask
    }

    /// The time of the first headers dealt.
    #[must_use]
    pub const fn first_ntime(&self) -> u32 {
        self.first_ntime
    }

    /// Number of different versions.
    #[must_use]
    pub const fn versions(&self) -> u64 {
        1 << self.mask.count_ones()
    }

    const fn versions_per_claim_log2(&self) -> u32 {
        let available = self.mask.count_ones();
        if available < self.layout.versions_log2 { available } else { self.layout.versions_log2 }
    }

    /// Nonces of a claim, as a power of two.
    const fn nonces_log2(&self) -> u32 {
        self.layout.hashes_log2 - self.versions_per_claim_log2()
    }

    const fn claims_per_version_block(&self) -> u64 {
        NONCES >> self.nonces_log2()
    }

    const fn version_blocks(&self) -> u64 {
        self.versions() >> self.versions_per_claim_log2()
    }

    /// Claims that share one extranonce2 and one time.
    const fn claims_per_xn2(&self) -> u64 {
        self.claims_per_version_block() * self.version_blocks()
    }

    /// Claims that share one header time: at most 2^32 x 2^32 x 2^64.
    fn claims_per_second(&self) -> u128 {
        let counted = self.xn2_size.min(XN2_BYTES_MAX);
        let values = 1_u128 << (8 * counted);
        values.saturating_mul(u128::from(self.claims_per_xn2()))
    }

    fn claims_up_to(&self, last_ntime: u32) -> u128 {
        match last_ntime.checked_sub(self.first_ntime) {
            Some(rolled) => (u128::from(rolled) + 1).saturating_mul(self.claims_per_second()),
            None => 0,
        }
    }

    fn part(&self, number: u64) -> Claim {
        let per_second = self.claims_per_second();
        let seconds = u128::from(number) / per_second;
        let within = u128::from(number) % per_second;
        let per_xn2 = u128::from(self.claims_per_xn2());
        let xn2 = u64::try_from(within / per_xn2).expect("a quotient of a u64 fits in one");
        let within = u64::try_from(within % per_xn2).expect("a remainder of a u64 fits in one");
        let chunk = within % self.claims_per_version_block();
        let first_nonce = u32::try_from(chunk << self.nonces_log2());
        let seconds = u32::try_from(seconds).expect("claim() bounds it by a difference of u32");
        Claim {
            xn2: self.xn2_bytes(xn2),
            ntime: self.first_ntime + seconds,
            versions: self.version_block(within / self.claims_per_version_block()),
            first_nonce: first_nonce.expect("chunk < 2^32 / nonces of a claim"),
            nonces: 1 << self.nonces_log2(),
        }
    }

    fn version_block(&self, block: u64) -> Vec<u32> {
        let first = block << self.versions_per_claim_log2();
        let end = first + (1 << self.versions_per_claim_log2());
        (first..end).map(|index| self.version ^ spread(index, self.mask)).collect()
    }

    /// Big-endian, with zeros in front where the pool's extranonce2 is wider than a u64.
    fn xn2_bytes(&self, value: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.xn2_size];
        for (byte, source) in bytes.iter_mut().rev().zip(value.to_le_bytes()) {
            *byte = source;
        }
        bytes
    }
}

/// The low bits of `index`, laid into the set bits of `mask` from the lowest up.
fn spread(index: u64, mask: u32) -> u32 {
    let mut spread = 0;
    let mut index = index;
    let mut left = mask;
    while left != 0 {
        let lowest = left & left.wrapping_neg();
        if index & 1 == 1 {
            spread |= lowest;
        }
        index >>= 1;
        left ^= lowest;
    }
    spread
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NTIME: u32 = 1_700_000_000;
    const VERSION: u32 = 0x2000_4000;

    fn space(layout: Layout, mask: u32, xn2_size: usize) -> Space {
        Space::new(layout, VERSION, mask, xn2_size, NTIME, Arc::default())
    }

    fn parts(space: &Space, last_ntime: u32) -> Vec<Claim> {
        std::iter::from_fn(|| match space.claim(last_ntime) {
            Claimed::Part(claim) => Some(claim),
            Claimed::Exhausted => None,
        })
        .collect()
    }

    /// Every (time, extranonce2, version, nonce range) that the claims hold, one by one.
    fn cells(claims: &[Claim]) -> Vec<(u32, Vec<u8>, u32, u32)> {
        let cell = |claim: &Claim, version: u32| {
            (claim.ntime, claim.xn2.clone(), version, claim.first_nonce)
        };
        claims.iter().flat_map(|c| c.versions.iter().map(move |v| cell(c, *v))).collect()
    }

    #[test]
    fn the_whole_space_is_dealt_once_without_gap_or_overlap() {
        for versions_log2 in [0, 1, 3, 5] {
            let space = space(Layout::new(30, versions_log2), 0x0000_e000, 1);
            let nonces = 1 << (30 - versions_log2.min(3));
            let claims = parts(&space, NTIME);
            let cells = cells(&claims);
            let distinct: BTreeSet<_> = cells.iter().cloned().collect();
            assert_eq!(distinct.len(), cells.len(), "overlap with 2^{versions_log2} versions");
            let dealt: u64 = cells.iter().map(|_| nonces).sum();
            assert_eq!(dealt, 256 * 8 * (1 << 32), "gap with 2^{versions_log2} versions");
            let whole = |c: &Claim| u64::from(c.nonces) == nonces && c.ntime == NTIME;
            assert!(claims.iter().all(whole));
            let versions: BTreeSet<_> = cells.iter().map(|cell| cell.2).collect();
            assert_eq!(versions.len(), 8);
            assert!(versions.iter().all(|version| version & !0xe000 == VERSION & !0xe000));
        }
    }

    #[test]
    fn the_jobs_own_version_and_nonce_zero_come_first() {
        let first = |mask| match space(Layout::new(18, 6), mask, 8).claim(NTIME) {
            Claimed::Part(claim) => claim,
            Claimed::Exhausted => panic!("a fresh space is not exhausted"),
        };
        let rolled = first(0x1fff_e000);
        assert_eq!((rolled.versions.len(), rolled.versions[0]), (64, VERSION));
        assert_eq!((rolled.first_nonce, rolled.nonces), (0, 1 << 12));
        let plain = first(0);
        assert_eq!(plain.versions, [VERSION], "without a grant the version stays");
        assert_eq!((plain.first_nonce, plain.nonces), (0, 1 << 18));
        assert_eq!(plain.xn2, [0; 8]);
    }

    #[test]
    fn extranonce2_is_rolled_when_versions_and_nonces_are_used_up() {
        let space = space(Layout::new(31, 0), 0, 2);
        let claims: Vec<_> = parts(&space, NTIME).into_iter().take(5).collect();
        let seen: Vec<_> = claims.iter().map(|c| (c.xn2.as_slice(), c.first_nonce)).collect();
        assert_eq!(
            seen,
            [(&[0, 0][..], 0), (&[0, 0], 1 << 31), (&[0, 1], 0), (&[0, 1], 1 << 31), (&[0, 2], 0)]
        );
    }

    #[test]
    fn time_is_rolled_last_and_only_by_the_seconds_that_passed() {
        let space = space(Layout::new(31, 0), 0, 0);
        assert_eq!(parts(&space, NTIME).len(), 2, "no extranonce2: one header a second");
        assert_eq!(space.claim(NTIME), Claimed::Exhausted);
        assert_eq!(space.claim(NTIME), Claimed::Exhausted, "asking in vain uses nothing up");
        assert_eq!(space.reached_ntime(), NTIME + 1);
        let later = parts(&space, NTIME + 3);
        let times: Vec<_> = later.iter().map(|claim| claim.ntime - NTIME).collect();
        assert_eq!(times, [1, 1, 2, 2, 3, 3]);
        assert_eq!(space.claim(NTIME - 1), Claimed::Exhausted, "a time before the first");
    }

    #[test]
    fn another_mask_goes_on_behind_what_was_dealt() {
        let wide = space(Layout::new(31, 0), 0x0000_6000, 1);
        let dealt: Vec<_> = (0..11).map(|_| wide.claim(NTIME)).collect();
        assert_eq!(dealt.len(), 11, "8 claims of extranonce 0, 3 of extranonce 1");
        let narrow = space(Layout::new(31, 0), 0, 1);
        narrow.start_after(&wide);
        let Claimed::Part(next) = narrow.claim(NTIME) else { panic!("there is room") };
        assert_eq!((next.xn2, next.first_nonce), (vec![2], 0));

        let full = space(Layout::new(31, 0), 0, 0);
        let _both = parts(&full, NTIME);
        let after = space(Layout::new(31, 0), 0x2000, 0);
        after.start_after(&full);
        assert_eq!(after.claim(NTIME), Claimed::Exhausted);
        assert_eq!(after.reached_ntime(), NTIME + 2, "never before what was reached");
    }

    #[test]
    fn the_last_nonce_is_covered() {
        let space = space(Layout::new(18, 0), 0, 1);
        let covered: u64 = parts(&space, NTIME)
            .iter()
            .filter(|claim| claim.xn2 == [0])
            .inspect(|c| assert!(c.first_nonce.checked_add(c.nonces - 1).is_some()))
            .map(|claim| u64::from(claim.nonces))
            .sum();
        assert_eq!(covered, 1 << 32);
    }

    #[test]
    fn wide_extranonces_keep_their_width() {
        let wide = space(Layout::new(18, 0), 0, 12);
        assert_eq!(wide.xn2_bytes(0x0102), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(space(Layout::new(18, 0), 0, 3).xn2_bytes(0x0102), [0, 1, 2]);
        assert_eq!(wide.claims_per_second(), 1 << (64 + 14));
    }

    #[test]
    fn many_threads_claim_disjoint_parts() {
        let space = space(Layout::new(28, 0), 0x0000_6000, 1);
        let dealt: Vec<Claim> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| parts(&space, NTIME))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let cells = cells(&dealt);
        assert_eq!(cells.len(), 256 * 4 * 16);
        assert_eq!(cells.iter().collect::<BTreeSet<_>>().len(), cells.len());
    }

    #[test]
    fn bits_are_spread_over_the_mask() {
        assert_eq!(spread(0b101, 0x1fff_e000), 0b101 << 13);
        assert_eq!(spread(0b11, 0x8000_0001), 0x8000_0001);
        assert_eq!(spread(0xffff, 0x1fff_e000), 0x1fff_e000);
    }
}
