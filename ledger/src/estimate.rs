//! How many hashes some headers speak for, by their lowest hashes alone: whatever a pool claims to
//! have been worked, this is what the headers show.
//!
//! A hash is an even number between 0 and 1 (as a part of 2^256). Of N of them, the K-th lowest,
//! h, makes N x h a Gamma variable of shape K, so N is about (K - 1) / h, with a relative standard
//! error of 1 / sqrt(K - 2), and lies between the quantiles of that Gamma over h. Where fewer than K
//! hashes are known, those below one threshold t are a Poisson count k: N is about k / t, with a
//! relative error of 1 / sqrt(k), between the quantiles of shapes k and k + 1 over t (Garwood 1936).
//! The threshold is the hardest target that one of the shares was credited by: hashes between it and
//! an easier one were sent in only while the easier one was in force.
//!
//! Quantiles are those of Wilson and Hilferty (1931), K (1 - 1 / (9 K) + z / (3 sqrt K))^3 at
//! z = -1.96 and 1.96 for the interval that holds in 95 of 100 cases; they are off
//! by less than 0.2 % from K = 10 on and by 0.01 % at 50, and for fewer the interval is too wide (the
//! lower end by 3 % at 3, and by half at 1, where it says next to nothing). All in integers, with 32 bits after
//! the point.
//!
//! It decides about no money, and is nobody's verdict: of a hundred honest accounts, five are outside.

use std::collections::BTreeSet;

use units::U256;

/// Headers that an estimate is made from at the most; its relative error is then 6.3 %.
pub(crate) const HEADERS: usize = 256;
/// 1, with 32 bits after the point.
const ONE: u128 = 1 << 32;
/// The 97.5 % quantile of the normal distribution, 1.95996, likewise.
const Z: u128 = 8_417_981_214;

/// The lowest hashes of some shares, and what was credited for all of them.
#[derive(Debug, Clone)]
pub struct Lowest {
    /// How many are kept.
    most: usize,
    /// Most significant byte first.
    hashes: BTreeSet<[u8; 32]>,
    hardest: u128,
    claimed: u128,
}

/// What the headers show, in hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkEstimate {
    /// How many headers it is made from.
    pub headers: u64,
    /// What was credited.
    pub claimed: u128,
    /// About so many hashes were done.
    pub estimated: u128,
    /// In 95 of 100 cases no fewer.
    pub low: u128,
    /// And no more.
    pub high: u128,
}

impl Default for Lowest {
    fn default() -> Self {
        Self::of(HEADERS)
    }
}

impl Lowest {
    /// Made from at most `most` headers, and 256: so many as are certainly the lowest of all.
    #[must_use]
    pub fn of(most: usize) -> Self {
        Self { most: most.clamp(1, HEADERS), hashes: BTreeSet::new(), hardest: 0, claimed: 0 }
    }

    /// Takes in a share of this work with this hash (as SHA-256 gives it).
    pub fn add(&mut self, hash: &[u8; 32], work: u128) {
        let mut hash = *hash;
        hash.reverse();
        self.hashes.insert(hash);
        if self.hashes.len() > self.most {
            self.hashes.pop_last();
        }
        self.hardest = self.hardest.max(work);
        self.claimed = self.claimed.saturating_add(work);
    }

    /// What they show; `None` where there are no shares.
    #[must_use]
    pub fn estimate(&self) -> Option<WorkEstimate> {
        let work = self.hardest;
        let threshold = U256::MAX.div_rem(U256::from(work)).map(|(threshold, _)| threshold)?;
        let below = |hash: &&[u8; 32]| U256::from_be_bytes(**hash) < threshold;
        let counted: Vec<_> = self.hashes.iter().filter(below).collect();
        let headers = u64::try_from(counted.len()).ok()?;
        let count = u128::from(headers);
        let claimed = self.claimed;
        let Some(last) = counted.last().filter(|_| counted.len() >= self.most) else {
            return Some(WorkEstimate {
                headers,
                claimed,
                estimated: count.saturating_mul(work),
                low: times(quantile(count, false), work),
                high: times(quantile(count.saturating_add(1), true), work),
            });
        };
        let over = |shape: u128| over_part(shape, U256::from_be_bytes(**last));
        Some(WorkEstimate {
            headers,
            claimed,
            estimated: over(count.saturating_sub(1).saturating_mul(ONE)),
            low: over(quantile(count, false)),
            high: over(quantile(count, true)),
        })
    }
}

impl WorkEstimate {
    /// Whether what was credited is within the interval.
    #[must_use]
    pub const fn agrees(&self) -> bool {
        self.low <= self.claimed && self.claimed <= self.high
    }
}

/// The quantile of a Gamma of this shape and scale 1, with 32 bits after the point.
fn quantile(shape: u128, upper: bool) -> u128 {
    if shape == 0 {
        return 0;
    }
    let root = shape.saturating_mul(ONE).saturating_mul(ONE).isqrt();
    let ninth = ONE.checked_div(shape.saturating_mul(9)).unwrap_or(0);
    let third = Z.saturating_mul(ONE).checked_div(root.saturating_mul(3)).unwrap_or(0);
    let base = ONE.saturating_sub(ninth);
    let base = if upper { base.saturating_add(third) } else { base.saturating_sub(third) };
    let cube = base.saturating_mul(base).saturating_mul(base).wrapping_shr(64);
    shape.saturating_mul(cube)
}

/// A number with 32 bits after the point times hashes.
fn times(factor: u128, hashes: u128) -> u128 {
    U256::product(factor, hashes).shifted_right(32).to_u128().unwrap_or(u128::MAX)
}

/// factor / (hash / 2^256), for a factor with 32 bits after the point: the hash's first 64 bits
/// count.
fn over_part(factor: u128, hash: U256) -> u128 {
    let dropped = hash.bits().saturating_sub(64);
    let part = hash.shifted_right(dropped);
    let shift = 224_u32.saturating_sub(dropped);
    let factor = U256::from(factor);
    if factor.bits().saturating_add(shift) > 256 {
        return u128::MAX;
    }
    let quotient = factor.shifted_left(shift).div_rem(part).map(|(quotient, _)| quotient);
    quotient.and_then(U256::to_u128).unwrap_or(u128::MAX)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use super::*;

    /// Even numbers of 64 bits (`SplitMix64`).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        /// Does so many hashes at a target of this work, and hands in those that meet it.
        fn mine(&mut self, hashes: u64, work: u64, into: &mut Lowest) {
            for _ in 0..hashes {
                let drawn = self.next();
                if drawn <= u64::MAX / work {
                    let mut hash = [0; 32];
                    hash[24..].copy_from_slice(&drawn.to_le_bytes());
                    into.add(&hash, u128::from(work));
                }
            }
        }
    }

    /// From tables of chi-square with 2 K degrees of freedom, halved, in thousandths.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (shape, low, high) in
            [(3, 619, 7_225), (10, 4_795, 17_085), (50, 37_111, 64_781), (256, 225_598, 288_296)]
        {
            for (upper, must) in [(false, low), (true, high)] {
                let found = quantile(shape, upper) * 1_000 / ONE;
                let off = found.abs_diff(must) * 1_000 / must;
                let most = if shape < 10 { 30 } else { 2 };
                assert!(off <= most, "{shape} {upper}: {found}, should be {must}");
            }
        }
    }

    /// How often of 400 times the truth is in the interval, and how far off the mean of all is, in
    /// thousandths.
    fn tried(seed: u64, runs: &[(u64, u64)], least: u64) -> (u32, u128) {
        let truth: u64 = runs.iter().map(|(hashes, _)| hashes).sum();
        let truth = u128::from(truth);
        let (mut inside, mut sum) = (0, 0);
        for trial in 0..400 {
            let mut lowest = Lowest::default();
            let mut random = Random(seed * 1_000 + trial);
            runs.iter().for_each(|(hashes, work)| random.mine(*hashes, *work, &mut lowest));
            let found = lowest.estimate().unwrap();
            assert!(found.headers >= least, "{found:?}");
            inside += u32::from(found.low <= truth && truth <= found.high);
            sum += found.estimated;
        }
        (inside, (sum / 400).abs_diff(truth) * 1_000 / truth)
    }

    /// 95 of 100 are 380 of 400, with a standard deviation of 4.4.
    #[test]
    fn the_interval_holds_in_ninety_five_of_a_hundred_cases() {
        // By order statistics: 256 of 400 and of 2,500 shares.
        for (seed, runs) in [(1, vec![(4_000, 10)]), (2, vec![(5_000, 2)])] {
            let (inside, off) = tried(seed, &runs, 256);
            assert!((362..=396).contains(&inside) && off <= 15, "{runs:?}: {inside} {off}");
        }
        // By the number of shares: about 40, and about 30 of the hardest target among easier ones.
        for (seed, runs) in [(3, vec![(4_000, 100)]), (4, vec![(1_500, 25), (1_500, 100)])] {
            let (inside, off) = tried(seed, &runs, 10);
            assert!((362..=399).contains(&inside) && off <= 25, "{runs:?}: {inside} {off}");
        }
    }

    #[test]
    fn a_claim_of_twice_the_work_does_not_agree() {
        let mut lowest = Lowest::default();
        Random(7).mine(20_000, 10, &mut lowest);
        let honest = lowest.estimate().unwrap();
        assert!(honest.agrees(), "{honest:?}");
        let padded = WorkEstimate { claimed: honest.claimed * 2, ..honest };
        assert!(!padded.agrees());
        // Shares that are credited twice what they prove: the hardest target is then one that half
        // of them do not meet.
        let mut padded = Lowest::default();
        let mut random = Random(7);
        for _ in 0..20_000 {
            let drawn = random.next();
            if drawn <= u64::MAX / 10 {
                let mut hash = [0; 32];
                hash[24..].copy_from_slice(&drawn.to_le_bytes());
                padded.add(&hash, 20);
            }
        }
        assert!(!padded.estimate().unwrap().agrees());
    }

    #[test]
    fn what_is_out_of_range_stops_at_the_end_of_it() {
        assert_eq!(Lowest::default().estimate(), None);
        let mut lowest = Lowest::default();
        lowest.add(&[0; 32], u128::MAX);
        let found = lowest.estimate().unwrap();
        assert_eq!((found.headers, found.estimated, found.high), (1, u128::MAX, u128::MAX));
        assert_eq!(over_part(256 * ONE, U256::from(9_u64)), u128::MAX);
    }
}
