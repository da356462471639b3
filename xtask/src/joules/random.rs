//! Numbers that look random and are the same for the same seed: what a run does can be asked for
//! again. It deliberately is nothing to make keys of.

use std::hash::{BuildHasher, Hasher, RandomState};

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that nobody chose, short enough to be typed.
    pub(crate) fn seed() -> u64 {
        RandomState::new().build_hasher().finish() >> 40
    }

    /// Another row of numbers, for somebody who takes them at times of his own.
    pub(crate) const fn part(&mut self) -> Self {
        Self(self.next())
    }

    /// A whole number from `least` to `most`, both included; `least` where `most` is no more.
    pub(crate) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most.saturating_sub(least) + 1)
    }

    /// Puts them into another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.between(0, u64::try_from(last).unwrap_or(u64::MAX));
            items.swap(last, usize::try_from(other).unwrap_or(last));
        }
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_numbers() {
        let mut random = Random::new(1_234_567);
        let numbers = [(); 3].map(|()| random.next());
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn numbers_keep_to_their_bounds_and_a_shuffle_keeps_all() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.between(4, 4), 4);
        let mut items: Vec<u32> = (0..20).collect();
        random.shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, Vec::from_iter(0..20));
    }
}
