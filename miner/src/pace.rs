//! How many nonces a slice has, so that whoever scans it looks up for new work as often as it
//! should whatever its speed: a CPU thread every 2 ms, a GPU after a dispatch.
//!
//! Pure integers: hashes per second, measured slice by slice and smoothed.

use std::time::Duration;

use units::Hashes;

/// A CPU thread's slice aims at this long: below the 2 ms it may take, so that noise stays within
/// them.
const CPU_SLICE: Duration = Duration::from_micros(1_500);
/// Hashes of a CPU thread's first slice, before anything is measured: under 2 ms from 0.25 MH/s
/// up.
const CPU_FIRST_HASHES: u64 = 512;
/// Fewest hashes of a CPU thread's slice: below this the call itself would cost more than the
/// hashing.
const CPU_HASHES_MIN: u64 = 256;
/// Nonces of a CPU kernel's largest vector.
const CPU_VECTOR: u32 = 16;
/// How many times as large as before one measurement may make the next slice.
const GROWTH_MAX: u64 = 4;

/// A worker's measured speed, and what its slices aim at.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    target_micros: u64,
    first_hashes: u64,
    hashes_min: u64,
    vector: u32,
    growth_max: u64,
    /// 0 before the first measurement, never after.
    hashes_per_second: u64,
}

impl Pace {
    /// Nothing measured yet. Slices aim at `target` (whole microseconds, at least one), start with
    /// `first_hashes`, and have `hashes_min` or more where so many are left, in whole groups of
    /// `vector` nonces. From one to the next they grow fourfold at most, so that one odd
    /// measurement can't make a slice that nobody can call back for seconds.
    #[must_use]
    pub fn new(target: Duration, first_hashes: u64, hashes_min: u64, vector: u32) -> Self {
        Self {
            target_micros: u64::try_from(target.as_micros()).unwrap_or(u64::MAX).max(1),
            first_hashes,
            hashes_min,
            vector: vector.max(1),
            growth_max: GROWTH_MAX,
            hashes_per_second: 0,
        }
    }

    /// A CPU thread's: 1.5 ms. It grows at once to what was measured: a claim, where every slice
    /// ends, is too small to take long.
    #[must_use]
    pub fn of_cpu_thread() -> Self {
        let limited = Self::new(CPU_SLICE, CPU_FIRST_HASHES, CPU_HASHES_MIN, CPU_VECTOR);
        Self { growth_max: u64::MAX, ..limited }
    }

    /// Slices aim at `target` from now on.
    pub fn aim(&mut self, target: Duration) {
        self.target_micros = u64::try_from(target.as_micros()).unwrap_or(u64::MAX).max(1);
    }

    /// Nonces of the next slice: at least 1, at most `left`.
    #[must_use]
    pub fn nonces(&self, versions: usize, left: u32) -> u32 {
        let hashes = match self.hashes_per_second {
            0 => self.first_hashes,
            rate => (rate.saturating_mul(self.target_micros) / 1_000_000).max(self.hashes_min),
        };
        let versions = u64::try_from(versions).unwrap_or(u64::MAX).max(1);
        let nonces = u32::try_from((hashes / versions).max(1)).unwrap_or(u32::MAX);
        // A vector that is cut in two would be hashed twice.
        let whole = if nonces > self.vector { nonces - nonces % self.vector } else { nonces };
        whole.min(left)
    }

    /// Takes the measurement of a slice.
    pub fn measured(&mut self, hashes: Hashes, took: Duration) {
        let nanos = took.as_nanos().max(1);
        let rate = hashes.get().saturating_mul(1_000_000_000) / nanos;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        // What is held against the limit is the rate and not the slice alone: an odd rate that
        // got in whole would have the slices grow for as long as it takes to be forgotten.
        let rate = rate.min(self.rate_aimed_at().saturating_mul(self.growth_max)).max(1);
        self.hashes_per_second = match self.hashes_per_second {
            0 => rate,
            smooth => (smooth - smooth / 4 + rate / 4).max(1),
        };
    }

    /// The rate at which a slice as large as they are now takes what it should.
    fn rate_aimed_at(&self) -> u64 {
        let of = |hashes: u64| hashes.saturating_mul(1_000_000) / self.target_micros;
        match self.hashes_per_second {
            0 => of(self.first_hashes).max(1),
            rate => rate.max(of(self.hashes_min)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a GPU of these tests aims at.
    const DISPATCH: Duration = Duration::from_millis(10);
    const FIRST: u64 = 1 << 20;
    const LEAST: u64 = 1 << 16;
    const GROUP: u32 = 64;
    const ALL: u32 = 1 << 31;

    fn gpu() -> Pace {
        Pace::new(DISPATCH, FIRST, LEAST, GROUP)
    }

    /// The next slice at this true rate.
    fn step(pace: &mut Pace, rate: u64) -> u32 {
        let nonces = pace.nonces(1, ALL);
        let nanos = u128::from(nonces) * 1_000_000_000 / u128::from(rate);
        let took = Duration::from_nanos(nanos.try_into().unwrap());
        pace.measured(Hashes::new(nonces.into()), took);
        nonces
    }

    #[test]
    fn slices_take_one_and_a_half_milliseconds_at_any_speed() {
        for rate in [1_000_000_u64, 5_000_000, 100_000_000] {
            let mut pace = Pace::of_cpu_thread();
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
    fn a_cpu_thread_has_its_pace_after_one_slice() {
        let mut pace = Pace::of_cpu_thread();
        assert_eq!(step(&mut pace, 128_000_000), 512);
        assert_eq!(step(&mut pace, 128_000_000), 192_000);
    }

    #[test]
    fn a_slice_has_at_least_one_nonce_and_at_most_what_is_left() {
        let mut pace = Pace::of_cpu_thread();
        pace.measured(Hashes::new(1), Duration::from_secs(100));
        assert_eq!(pace.nonces(1, 1 << 18), 256);
        assert_eq!(pace.nonces(65_536, 1 << 18), 1);
        assert_eq!(pace.nonces(1, 7), 7);
        assert_eq!(pace.nonces(0, 9), 9);
    }

    #[test]
    fn one_slow_slice_does_not_upset_the_pace() {
        let mut pace = Pace { hashes_per_second: 1_000_000, ..Pace::of_cpu_thread() };
        pace.measured(Hashes::new(1_000), Duration::from_millis(100));
        assert_eq!(pace.hashes_per_second, 752_500);
        pace.measured(Hashes::new(0), Duration::ZERO);
        assert_eq!(pace.hashes_per_second, 564_375);
    }

    #[test]
    fn a_gpus_dispatches_come_to_their_ten_milliseconds_at_any_speed() {
        for rate in [10_000_000_u64, 1_000_000_000, 20_000_000_000] {
            let mut pace = gpu();
            for _ in 0..40 {
                step(&mut pace, rate);
            }
            let nonces = pace.nonces(1, ALL);
            let micros = u64::from(nonces) * 1_000_000 / rate;
            assert!((9_000..=10_000).contains(&micros), "{micros} us at {rate} H/s");
            assert_eq!(nonces % GROUP, 0);
        }
    }

    #[test]
    fn one_odd_measurement_never_makes_a_long_dispatch() {
        let rate = 1_000_000_000;
        let longest = rate / 1_000_000 * 40_000;
        // From the first dispatch on, and when the pace is long found.
        for before in [0, 1, 40] {
            let mut pace = gpu();
            for _ in 0..before {
                step(&mut pace, rate);
            }
            pace.measured(Hashes::new(u128::from(u64::MAX)), Duration::ZERO);
            for _ in 0..100 {
                let nonces = u64::from(step(&mut pace, rate));
                assert!(nonces <= longest, "{nonces} nonces, {before} measured before");
            }
            let back = u64::from(pace.nonces(1, ALL)) * 1_000_000 / rate;
            assert!((9_000..=10_000).contains(&back), "{back} us");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_measured_dispatches_grow_fourfold_at_most_and_have_the_least(
            measured in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..40),
        ) {
            let mut pace = gpu();
            let mut before = u64::from(pace.nonces(1, ALL));
            for (hashes, nanos) in measured {
                pace.measured(Hashes::new(hashes.into()), Duration::from_nanos(nanos));
                let next = u64::from(pace.nonces(1, ALL));
                prop_assert!(next <= 4 * (before + u64::from(GROUP)), "{before}, then {next}");
                prop_assert!(next >= LEAST);
                before = next;
            }
        }
    }
}
