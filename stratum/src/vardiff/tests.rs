//! What is asked of the difficulty, and within which bounds.

use super::*;

pub(super) fn settings(start: f64) -> DifficultySettings {
    let difficulty = |value| Difficulty::new(value).unwrap();
    DifficultySettings {
        start: difficulty(start),
        min: difficulty(1e-9),
        max: difficulty(1e12),
        shares_per_minute: 10.0,
        vardiff: true,
    }
}

#[test]
fn wire_difficulty_lies_between_the_floor_and_the_network() {
    let network = Target::from_compact(0x207f_ffff).unwrap();
    let vardiff = Vardiff::new(&settings(1.0), Duration::ZERO);
    let (difficulty, target) = vardiff.issue(Target::from_compact(0x1a44_b9f2).unwrap());
    assert_eq!((difficulty.get(), target), (1.0, Target::difficulty_one()));
    let (difficulty, target) = vardiff.issue(network);
    assert_eq!(difficulty.get(), 1e-9, "the floor wins over a chain easier than it");
    assert!(target < network);

    let none = DifficultySettings { min: Difficulty::new(1e-300).unwrap(), ..settings(1e-300) };
    let vardiff = Vardiff::new(&none, Duration::ZERO);
    assert_eq!(vardiff.difficulty(), Target::MAX.difficulty(), "every hash counts there");

    let low = DifficultySettings { min: Difficulty::new(1e-15).unwrap(), ..settings(1.0) };
    let (difficulty, target) = Vardiff::new(&low, Duration::ZERO).issue(network);
    assert_eq!((difficulty, target), (network.difficulty(), network));
}

#[test]
fn a_fixed_difficulty_moves_only_in_a_flood() {
    let second = Duration::from_secs(1);
    let settings = settings(1.0);
    let mut vardiff = Vardiff::new(&settings, Duration::ZERO);
    let fixed = Difficulty::new(0.001).unwrap();
    vardiff.fix(&settings, fixed, Duration::ZERO);
    vardiff.suggest(&settings, Difficulty::ONE, second);
    for tick in 0..600_u32 {
        for _ in 0..50 {
            vardiff.share(&settings, fixed, second * tick);
        }
        assert_eq!(
            vardiff.poll(&settings, None, second * tick),
            None,
            "50 shares a second are borne"
        );
    }
    for _ in 0..10_000 {
        vardiff.share(&settings, fixed, second * 601);
    }
    assert!(vardiff.poll(&settings, None, second * 601).is_some());
    assert!(vardiff.difficulty() > fixed);
}

#[test]
fn wishes_stay_within_the_operators_bounds() {
    let bounds = DifficultySettings {
        min: Difficulty::new(0.5).unwrap(),
        max: Difficulty::new(8.0).unwrap(),
        ..settings(1000.0)
    };
    let mut vardiff = Vardiff::new(&bounds, Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 8.0);
    vardiff.suggest(&bounds, Difficulty::new(0.1).unwrap(), Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 0.5);
    vardiff.raise_floor(&bounds, Difficulty::new(2.0).unwrap());
    assert_eq!(vardiff.difficulty().get(), 2.0);
    vardiff.suggest(&bounds, Difficulty::new(1.0).unwrap(), Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 2.0);
    vardiff.raise_floor(&bounds, Difficulty::new(1e9).unwrap());
    assert_eq!(vardiff.difficulty().get(), 8.0);
    vardiff.suggest_rate(&bounds, f64::NAN, Duration::ZERO);
    assert_eq!(vardiff.difficulty().get(), 8.0);
}

/// A share every so many seconds, exactly, where one in six is aimed at: when it is first changed.
fn first_change(seconds_a_share: f64) -> Option<f64> {
    let settings = settings(1000.0);
    let mut vardiff = Vardiff::new(&settings, Duration::ZERO);
    let said = vardiff.difficulty();
    vardiff.suggest(&settings, said, Duration::ZERO);
    (1..200).map(|share| f64::from(share) * seconds_a_share).find(|seconds| {
        let now = Duration::from_secs_f64(*seconds);
        vardiff.share(&settings, said, now);
        vardiff.poll(&settings, None, now).is_some()
    })
}

#[test]
fn a_difference_that_lasts_is_made_good_and_a_smaller_one_is_not() {
    for right in [4.9, 6.0, 7.9] {
        assert_eq!(first_change(right), None, "a share each {right} s");
    }
    for off in [4.5, 9.0] {
        let changed = first_change(off).unwrap();
        assert!((600.0..620.0).contains(&changed), "a share each {off} s: after {changed} s");
    }
}

#[test]
fn a_difficulty_above_the_networks_comes_down_to_that_first() {
    let settings = settings(0.02);
    let network = Target::from_difficulty(Difficulty::new(0.001).unwrap());
    let mut vardiff = Vardiff::new(&settings, Duration::ZERO);
    assert_eq!(vardiff.poll(&settings, Some(network), Duration::from_secs(10)), None);
    assert_eq!(vardiff.difficulty(), network.difficulty(), "what was issued was no other");
    let lower = vardiff.poll(&settings, Some(network), Duration::from_secs(20)).unwrap();
    assert_eq!(lower.get(), 3.13e-5, "and then further");
}

#[test]
fn a_hash_rate_starts_at_what_suits_it() {
    let settings = settings(1.0);
    let mut vardiff = Vardiff::new(&settings, Duration::ZERO);
    vardiff.suggest_rate(&settings, 100.0, Duration::ZERO);
    // 100 TH/s x 6 s / 4,295,032,833, to three digits.
    assert_eq!(vardiff.difficulty().get(), 140_000.0);
}

#[test]
fn off_means_off() {
    let off = DifficultySettings { vardiff: false, ..settings(1.0) };
    let mut vardiff = Vardiff::new(&off, Duration::ZERO);
    for _ in 0..1000 {
        vardiff.share(&off, Difficulty::ONE, Duration::ZERO);
    }
    assert_eq!(vardiff.poll(&off, None, Duration::from_secs(1)), None);
    assert_eq!(vardiff.poll(&off, None, Duration::from_secs(100_000)), None);
}
