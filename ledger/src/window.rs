//! The window of a PPLNS settlement on the line of shares.
//!
//! Lay all shares end to end in the order in which they were committed, each as long as its
//! score, or its work (see [`Unit`]): share 1 covers `[0, w1)`, share 2 `[w1, w1 + w2)` and so on. A closed slice ends at a
//! point of that line, and a window is a stretch of it that ends where a slice ends. What an
//! account gets weighs as much as the stretch of it that its shares cover, so the share on the
//! window's edge is cut exactly. No store and no accounts here: points and lengths only.

use units::Work;

use crate::score::BLOCK;

/// What the line of shares is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Expected hashes.
    Work,
    /// 2^-64 of a block: see `score.rs`.
    Score,
}

/// Length of a window of so many hundredths of a block: floor(hundredths x 2^64 / 100), at least 1.
pub(crate) fn blocks(hundredths: u32) -> u128 {
    u128::from(hundredths).wrapping_mul(BLOCK).wrapping_div(100).max(1)
}

/// Length of the window for a block of `network` work, at least 1 hash:
/// floor(hundredths x network / 100), stopping at `u128::MAX` (no line is that long).
pub(crate) fn length(hundredths: u32, network: Work) -> u128 {
    let times = u128::from(hundredths);
    let (whole, rest) = (network.get().wrapping_div(100), network.get().wrapping_rem(100));
    // hundredths x (100 whole + rest) / 100, and times x rest is below 2^32 x 100.
    let of_rest = times.wrapping_mul(rest).wrapping_div(100);
    whole.saturating_mul(times).saturating_add(of_rest).max(1)
}

/// Where a window of `length` begins that ends at `end`; the start of the line when there is
/// less work than that (the reward is then divided by the work that there is).
pub(crate) const fn start(end: u128, length: u128) -> u128 {
    end.saturating_sub(length)
}

/// How much of the share that ends at `share_end` and is `work` long lies at or after `start`.
pub(crate) fn inside(share_end: u128, work: u128, start: u128) -> u128 {
    share_end.saturating_sub(start).min(work)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows should panic")]
mod tests {
    use proptest::prelude::*;
    use units::U256;

    use super::*;

    #[test]
    fn the_share_on_the_edge_is_cut() {
        // Shares of 300 work each, a window of 750: 300 + 300 + 150.
        let start = start(1_200, 750);
        let inside: Vec<_> =
            [300, 600, 900, 1_200].map(|end| inside(end, 300, start)).into_iter().collect();
        assert_eq!(inside, [0, 150, 300, 300]);
    }

    #[test]
    fn a_window_is_never_empty_and_never_wraps() {
        assert_eq!(length(50, Work::new(1)), 1);
        assert_eq!(length(200, Work::new(2)), 4);
        assert_eq!(length(u32::MAX, Work::new(u128::MAX)), u128::MAX);
        assert_eq!(start(10, 11), 0);
    }

    proptest! {
        #[test]
        fn the_length_is_the_floor(hundredths in 1_u32.., network in 0..u128::MAX >> 33) {
            let product = U256::product(hundredths.into(), network);
            let (floor, _) = product.div_rem(U256::from(100_u64)).unwrap();
            prop_assert_eq!(length(hundredths, Work::new(network)), floor.to_u128().unwrap().max(1));
        }

        #[test]
        fn the_parts_inside_fill_the_window(
            works in prop::collection::vec(1_u128..1_000, 1..50),
            window in 1_u128..20_000,
        ) {
            let end: u128 = works.iter().sum();
            let start = start(end, window);
            let mut at = 0;
            let mut filled = 0;
            for work in works {
                at += work;
                filled += inside(at, work, start);
            }
            prop_assert_eq!(filled, window.min(end));
        }
    }
}
