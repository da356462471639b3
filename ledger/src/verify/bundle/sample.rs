//! Which headers are hashed again: all of them, or a random part that nobody could foresee.

use sha2::{Digest, Sha256};

/// How many headers are hashed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Every one.
    All,
    /// So many of them, each set of that size with the same chance.
    Some {
        /// How many; all where there are fewer.
        wanted: u64,
        /// Random, and not known to the pool beforehand.
        seed: [u8; 32],
    },
}

/// Takes each share or not (Knuth's algorithm S: so many of those that are still to come).
#[derive(Debug)]
pub(super) struct Chooser {
    seed: [u8; 32],
    wanted: u64,
    to_come: u64,
    drawn: u64,
}

impl Sample {
    /// Chooses among so many shares.
    pub(super) fn of(self, shares: u64) -> Chooser {
        let (wanted, seed) = match self {
            Self::All => (shares, [0; 32]),
            Self::Some { wanted, seed } => (wanted.min(shares), seed),
        };
        Chooser { seed, wanted, to_come: shares, drawn: 0 }
    }
}

impl Chooser {
    /// Whether the next share is taken; past as many as were said, every one.
    pub(super) fn takes(&mut self) -> bool {
        let taken = self.wanted >= self.to_come || self.draw_below(self.to_come) < self.wanted;
        self.to_come = self.to_come.saturating_sub(1);
        self.wanted = self.wanted.saturating_sub(u64::from(taken));
        taken
    }

    /// How many of the shares that were said are still to come.
    pub(super) const fn to_come(&self) -> u64 {
        self.to_come
    }

    /// A random number below `end`: off from even by at most `end` / 2^64.
    fn draw_below(&mut self, end: u64) -> u64 {
        self.drawn = self.drawn.saturating_add(1);
        let message = [self.seed.as_slice(), &self.drawn.to_be_bytes()].concat();
        let drawn: [u8; 32] = Sha256::digest(message).into();
        let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = drawn;
        let random = u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let scaled = u128::from(random).wrapping_mul(end.into()).wrapping_shr(64);
        u64::try_from(scaled).expect("a product of two u64 ends below 2^128")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wanted: u64, shares: u64, seed: u8) -> Vec<u64> {
        let mut chooser = Sample::Some { wanted, seed: [seed; 32] }.of(shares);
        let taken = (0..shares).filter(|_| chooser.takes()).collect();
        assert_eq!(chooser.to_come(), 0);
        taken
    }

    #[test]
    fn exactly_as_many_are_taken_as_are_wanted() {
        for wanted in [0, 1, 7, 999, 1_000, u64::MAX] {
            let count = taken(wanted, 1_000, 1).len();
            assert_eq!(u64::try_from(count).unwrap(), wanted.min(1_000));
        }
        assert_ne!(taken(7, 1_000, 1), taken(7, 1_000, 2));
        let mut all = Sample::All.of(3);
        assert!((0..4).all(|_| all.takes()));
    }

    #[test]
    fn each_share_has_the_same_chance() {
        let mut counts = [0_u32; 10];
        for seed in 0..=255 {
            for place in taken(3, 10, seed) {
                counts[usize::try_from(place).unwrap()] += 1;
            }
        }
        // 256 x 3 / 10 = 77 each, with a standard deviation of 7.
        assert!(counts.iter().all(|count| (50..105).contains(count)), "{counts:?}");
    }
}
