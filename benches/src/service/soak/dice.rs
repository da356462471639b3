//! Everything that a soak leaves to chance, from one seed. `SplitMix64` (Steele, Lea and Flood
//! 2014); it deliberately keeps no secret.

use std::time::Duration;

/// Numbers that follow from a seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of so many, from 0 on; 0 where there are none.
    pub(super) fn below(&mut self, count: u32) -> u32 {
        let scaled = ((self.next() >> 32) * u64::from(count)) >> 32;
        u32::try_from(scaled).expect("it is below the count")
    }

    /// Yes in so many of a hundred cases.
    pub(super) fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    /// A time from `least` up to `most`.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let part = f64::from(self.below(u32::MAX)) / f64::from(u32::MAX);
        least + most.saturating_sub(least).mul_f64(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_all_of_the_range() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            (0..200).map(|_| dice.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..10).all(|wanted| draw(7).contains(&wanted)));
        let (least, most) = (Duration::from_secs(5), Duration::from_secs(60));
        let mut dice = Dice::new(1);
        let times: Vec<Duration> = (0..200).map(|_| dice.between(least, most)).collect();
        assert!(times.iter().all(|time| (least..=most).contains(time)));
        assert!(times.iter().any(|time| *time < Duration::from_secs(15)));
        assert!(times.iter().any(|time| *time > Duration::from_secs(50)));
        assert!(!dice.percent(0) && dice.percent(100));
    }
}
