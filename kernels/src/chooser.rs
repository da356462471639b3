//! Which backend is the fastest here, and in which shape, by measuring: instruction sets alone do
//! not tell.
//!
//! The clock is the caller's, any monotonic one. A measurement keeps one core busy for an eighth of
//! a second a tile and keeps nothing between calls. Other load disturbs it, so tiles take turns and
//! the best turn of each counts.

use core::time::Duration;

use units::{Hashes, Target};

use crate::{Kernel, Slice, Tile, build};

/// How long one turn of one backend takes.
const TURN: Duration = Duration::from_millis(40);
/// Turns of each backend.
const TURNS: usize = 3;
/// Hashes in one slice of a measurement: a few milliseconds at most.
const SLICE: u32 = 32_768;
/// Slices in one turn at most, so that a clock that stands still cannot hold it for ever.
const SLICES_MAX: u32 = 64;

/// What one tile did here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The backend in one of its shapes.
    pub tile: Tile,
    /// Hashes per second of one thread; zero when the clock stood still.
    pub hashes_per_second: f64,
}

/// Measures these tiles and names the fastest, with all rates; none where none of them can be
/// built here. [`crate::tiles`] gives all that can.
///
/// Each is given as many versions as it needs for its full speed.
#[must_use]
pub fn choose(tiles: &[Tile], clock: &dyn Fn() -> Duration) -> (Option<Tile>, Vec<Rate>) {
    let mut kernels: Vec<_> =
        tiles.iter().filter_map(|tile| Some((*tile, build(*tile).ok()?))).collect();
    let mut rates: Vec<_> =
        kernels.iter().map(|(tile, _)| Rate { tile: *tile, hashes_per_second: 0.0 }).collect();
    for _ in 0..TURNS {
        for ((_, kernel), rate) in kernels.iter_mut().zip(&mut rates) {
            let turn = hashes_per_second(kernel.as_mut(), clock);
            rate.hashes_per_second = rate.hashes_per_second.max(turn);
        }
    }
    (fastest(&rates), rates)
}

fn fastest(rates: &[Rate]) -> Option<Tile> {
    let best = rates.iter().max_by(|a, b| a.hashes_per_second.total_cmp(&b.hashes_per_second));
    best.map(|rate| rate.tile)
}

/// One turn: slices of work without hits, until the time is up.
fn hashes_per_second(kernel: &mut dyn Kernel, clock: &dyn Fn() -> Duration) -> f64 {
    let target = Target::from_be_bytes([0; 32]);
    let versions: Vec<u32> = (0_u32..).take(kernel.backend().versions_per_slice()).collect();
    let nonces = SLICE / u32::try_from(versions.len()).expect("a handful of versions");
    let mut hits = Vec::new();
    let mut hashes = Hashes::ZERO;
    let start = clock();
    let mut elapsed = Duration::ZERO;
    for turn in 0..SLICES_MAX {
        if elapsed >= TURN {
            break;
        }
        let slice = Slice {
            header: &[0; 80],
            target: &target,
            versions: &versions,
            first_nonce: turn * nonces,
            nonces,
        };
        hashes = hashes.saturating_add(kernel.scan(&slice, &mut hits));
        elapsed = clock().saturating_sub(start);
    }
    if elapsed.is_zero() { 0.0 } else { hashes.as_f64() / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::{Backend, tiles};

    fn rate(backend: Backend, hashes_per_second: f64) -> Rate {
        Rate { tile: backend.into(), hashes_per_second }
    }

    #[test]
    fn the_highest_rate_wins() {
        let portable = rate(Backend::Portable, 1.0);
        let shani = rate(Backend::ShaNi, 2.0);
        assert_eq!(fastest(&[portable, shani]), Some(Backend::ShaNi.into()));
        let slow = rate(Backend::ShaNi, 0.5);
        assert_eq!(fastest(&[portable, slow]), Some(Backend::Portable.into()));
        assert_eq!(fastest(&[]), None);
    }

    #[test]
    fn measures_every_tile() {
        let now = Cell::new(Duration::ZERO);
        let clock = || {
            now.set(now.get() + Duration::from_millis(10));
            now.get()
        };
        let (chosen, rates) = choose(&tiles(), &clock);
        let measured: Vec<_> = rates.iter().map(|rate| rate.tile).collect();
        assert_eq!(measured, tiles());
        assert!(measured.contains(&chosen.unwrap()));
        // By this clock every slice takes 10 ms.
        for rate in rates {
            assert!((rate.hashes_per_second / 3_276_800.0 - 1.0).abs() < 1e-9, "{rate:?}");
        }
    }

    #[test]
    fn a_clock_that_stands_still_ends_too() {
        let (_, rates) = choose(&tiles(), &|| Duration::from_secs(5));
        assert!(rates.iter().all(|rate| rate.hashes_per_second == 0.0));
    }
}
