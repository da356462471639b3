//! How many nonces a slice has, so that a worker looks up for new work every 2 ms whatever its
//! speed.
//!
//! Pure integers: hashes per millisecond, measured slice by slice and smoothed.

use std::time::Duration;

use units::Hashes;

/// A slice aims at this long: below the 2 ms it may take, so that noise stays within them.
const SLICE_MICROS: u64 = 1_500;
/// Hashes of the first slice, before anything is measured: under 2 ms from 0.25 MH/s up.
const FIRST_HASHES: u64 = 512;
/// Fewest hashes of a slice: below this the call itself would cost more than the hashing.
const HASHES_MIN: u64 = 256;

/// Nonces of the largest vector.
const VECTOR: u32 = 16;

/// A worker's measured speed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// 0 before the first measurement, never after.
    hashes_per_second: u64,
}

impl Pace {
    /// Nothing measured yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { hashes_per_second: 0 }
    }

    /// Nonces of the next slice: at least 1, at most `left`.
    #[must_use]
    pub fn nonces(&self, versions: usize, left: u32) -> u32 {
        let hashes = match self.hashes_per_second {
            0 => FIRST_HASHES,
            rate => (rate.saturating_mul(SLICE_MICROS) / 1_000_000).max(HASHES_MIN),
        };
        let versions = u64::try_from(versions).unwrap_or(u64::MAX).max(1);
        let nonces = u32::try_from((hashes / versions).max(1)).unwrap_or(u32::MAX);
        // A vector that is cut in two would be hashed twice.
        let whole = if nonces > VECTOR { nonces - nonces % VECTOR } else { nonces };
        whole.min(left)
    }

    /// Takes the measurement of a slice.
    pub fn measured(&mut self, hashes: Hashes, took: Duration) {
        let nanos = took.as_nanos().max(1);
        let rate = hashes.get().saturating_mul(1_000_000_000) / nanos;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        self.hashes_per_second = match self.hashes_per_second {
            0 => rate,
            smooth => (smooth - smooth / 4 + rate / 4).max(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_take_one_and_a_half_milliseconds_at_any_speed() {
        for rate in [1_000_000_u64, 5_000_000, 100_000_000] {
            let mut pace = Pace::new();
            for _ in 0..50 {
                let hashes = u64::from(pace.nonces(1, 1 << 18));
                let took = Duration::from_nanos(hashes * 1_000_000_000 / rate);
                pace.measured(Hashes::new(hashes.into()), took);
            }
            let micros = u64::from(pace.nonces(1, 1 << 18)) * 1_000_000 / rate;
            assert!((1_400..=1_500).contains(&micros), "{micros} us at {rate} H/s");
        }
    }

    #[test]
    fn a_slice_has_at_least_one_nonce_and_at_most_what_is_left() {
        let mut pace = Pace::new();
        pace.measured(Hashes::new(1), Duration::from_secs(100));
        assert_eq!(pace.nonces(1, 1 << 18), 256);
        assert_eq!(pace.nonces(65_536, 1 << 18), 1);
        assert_eq!(pace.nonces(1, 7), 7);
        assert_eq!(pace.nonces(0, 9), 9);
    }

    #[test]
    fn one_slow_slice_does_not_upset_the_pace() {
        let mut pace = Pace { hashes_per_second: 1_000_000 };
        pace.measured(Hashes::new(1_000), Duration::from_millis(100));
        assert_eq!(pace.hashes_per_second, 752_500);
        pace.measured(Hashes::new(0), Duration::ZERO);
        assert_eq!(pace.hashes_per_second, 564_375);
    }
}
