//! A miner as a Poisson process against the difficulty it is given, on a virtual clock.

use super::*;

/// Hashes that a share of difficulty 1 takes.
const HASHES: f64 = 4_295_032_833.0;
/// A connection carries no more shares a second than this, however fast the miner.
const WIRE_LIMIT: f64 = 2000.0;

struct World {
    vardiff: Vardiff,
    now: f64,
    next_sweep: f64,
    seed: u64,
    changes: u32,
}

impl World {
    fn new(start: f64) -> Self {
        Self {
            vardiff: Vardiff::new(settings(start), Duration::ZERO),
            now: 0.0,
            next_sweep: 0.0,
            seed: 1,
            changes: 0,
        }
    }

    /// Mines for so long, and says how many shares came.
    fn mine(&mut self, hashes_per_second: f64, seconds: f64) -> u32 {
        let end = self.now + seconds;
        let mut shares = 0;
        while self.now < end {
            let rate = hashes_per_second / (self.vardiff.difficulty().get() * HASHES);
            let wait = -self.random().ln() / rate.min(WIRE_LIMIT);
            if self.now + wait < self.next_sweep {
                self.now += wait;
                self.vardiff.share(self.vardiff.difficulty());
                shares += 1;
            } else {
                self.now = self.next_sweep;
                self.next_sweep += 6.0;
            }
            if self.vardiff.poll(Duration::from_secs_f64(self.now)).is_some() {
                self.changes += 1;
            }
        }
        shares
    }

    /// Above 0, at most 1.
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        f64::from(u32::try_from(self.seed >> 33).unwrap() + 1) / 2_147_483_648.0
    }
}

fn settings(start: f64) -> DifficultySettings {
    let difficulty = |value| Difficulty::new(value).unwrap();
    DifficultySettings {
        start: difficulty(start),
        min: difficulty(1e-9),
        max: difficulty(1e12),
        shares_per_minute: 10.0,
        vardiff: true,
    }
}

/// Off by less than a factor of two from what gives a share each six seconds.
fn suits(world: &World, hashes_per_second: f64) -> bool {
    let ratio = world.vardiff.difficulty().get() * HASHES / (hashes_per_second * 6.0);
    (0.5..2.0).contains(&ratio)
}

#[test]
fn converges_from_any_start_to_any_rate() {
    for start in [1e-9, 1e-3, 1.0, 1e6, 1e12] {
        for hashes_per_second in [1e6, 35e6, 1e12, 500e12] {
            let mut world = World::new(start);
            world.mine(hashes_per_second, 900.0);
            assert!(
                suits(&world, hashes_per_second),
                "{start} to {hashes_per_second}: {}",
                world.vardiff.difficulty()
            );
            let shares = world.mine(hashes_per_second, 3600.0);
            assert!((400..900).contains(&shares), "{shares} shares an hour");
        }
    }
}

#[test]
fn rises_within_seconds() {
    let mut world = World::new(1e-9);
    world.mine(500e12, 10.0);
    assert!(world.vardiff.difficulty().get() > 1e5, "{}", world.vardiff.difficulty());
}

#[test]
fn falls_for_a_miner_that_falls_quiet() {
    let mut world = World::new(1.0);
    world.mine(1e12, 1800.0);
    assert!(suits(&world, 1e12));
    world.mine(1e8, 600.0);
    assert!(suits(&world, 1e8), "a ten-thousandth of the rate: {}", world.vardiff.difficulty());
    world.mine(1e-9, 3600.0);
    assert_eq!(world.vardiff.difficulty().get(), 1e-9, "silence goes to the floor");
}

#[test]
fn stays_where_it_is_right() {
    let mut world = World::new(1.0);
    world.mine(1e12, 1800.0);
    world.changes = 0;
    world.mine(1e12, 100.0 * 3600.0);
    assert!(world.changes < 150, "{} changes in 100 hours", world.changes);
}

#[test]
fn wire_difficulty_lies_between_the_floor_and_the_network() {
    let network = Target::from_compact(0x207f_ffff).unwrap();
    let vardiff = Vardiff::new(settings(1.0), Duration::ZERO);
    let (difficulty, target) = vardiff.issue(Target::from_compact(0x1a44_b9f2).unwrap());
    assert_eq!((difficulty.get(), target), (1.0, Target::difficulty_one()));
    let (difficulty, target) = vardiff.issue(network);
    assert_eq!(difficulty.get(), 1e-9, "the floor wins over a chain easier than it");
    assert!(target < network);

    let none = DifficultySettings { min: Difficulty::new(1e-300).unwrap(), ..settings(1e-300) };
    let vardiff = Vardiff::new(none, Duration::ZERO);
    assert_eq!(vardiff.difficulty(), Target::MAX.difficulty(), "every hash counts there");

    let low = DifficultySettings { min: Difficulty::new(1e-15).unwrap(), ..settings(1.0) };
    let (difficulty, target) = Vardiff::new(low, Duration::ZERO).issue(network);
    assert_eq!((difficulty, target), (network.difficulty(), network));
}

#[test]
fn a_fixed_difficulty_moves_only_in_a_flood() {
    let second = Duration::from_secs(1);
    let mut vardiff = Vardiff::new(settings(1.0), Duration::ZERO);
    let fixed = Difficulty::new(0.001).unwrap();
    vardiff.fix(fixed, Duration::ZERO);
    vardiff.suggest(Difficulty::ONE, second);
    for tick in 0..600_u32 {
        for _ in 0..50 {
            vardiff.share(fixed);
        }
        assert_eq!(vardiff.poll(second * tick), None, "50 shares a second are borne");
    }
    for _ in 0..10_000 {
        vardiff.share(fixed);
    }
    assert!(vardiff.poll(second * 601).is_some());
    assert!(vardiff.difficulty() > fixed);
}

#[test]
fn wishes_stay_within_the_operators_bounds() {
    let bounds = DifficultySettings {
        min: Difficulty::new(0.5).unwrap(),
        max: Difficulty::new(8.0).unwrap(),
        ..settings(1000.0)
    };
    let mut vardiff = Vardiff::new(bounds, Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 8.0);
    vardiff.suggest(Difficulty::new(0.1).unwrap(), Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 0.5);
    vardiff.raise_floor(Difficulty::new(2.0).unwrap());
    assert_eq!(vardiff.difficulty().get(), 2.0);
    vardiff.suggest(Difficulty::new(1.0).unwrap(), Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 2.0);
    vardiff.raise_floor(Difficulty::new(1e9).unwrap());
    assert_eq!(vardiff.difficulty().get(), 8.0);
    vardiff.suggest_rate(f64::NAN, Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 8.0);
}

#[test]
fn a_hash_rate_starts_at_what_suits_it() {
    let mut vardiff = Vardiff::new(settings(1.0), Duration::ZERO);
    vardiff.suggest_rate(100.0, Duration::ZERO);
    // 100 TH/s x 6 s / 4,295,032,833, to three digits.
    assert_eq!(vardiff.difficulty().get(), 140_000.0);
}

#[test]
fn off_means_off() {
    let off = DifficultySettings { vardiff: false, ..settings(1.0) };
    let mut vardiff = Vardiff::new(off, Duration::ZERO);
    for _ in 0..1000 {
        vardiff.share(Difficulty::ONE);
    }
    assert_eq!(vardiff.poll(Duration::from_secs(1)), None);
    assert_eq!(vardiff.poll(Duration::from_secs(100_000)), None);
}
