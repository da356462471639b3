//! The counter against a truth that the test knows.

use proptest::prelude::*;

use super::*;

/// A package's range as recorded, and a bound no such package reaches.
const RANGE: u128 = 262_143_328_850;
const LIMITS: Limits = Limits {
    range: Some(MicroJoules::new(RANGE)),
    max_power: MilliWatts::from_watts(1000),
    stuck_after: Some(Duration::from_secs(10)),
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn uj(microjoules: u128) -> MicroJoules {
    MicroJoules::new(microjoules)
}

#[test]
fn a_wrap_is_counted_and_a_reset_is_not() {
    let mut counter = Counter::new(LIMITS);
    assert_eq!(counter.advance(uj(RANGE - 50_000_000), secs(0)), Step::Baseline);
    assert_eq!(counter.advance(uj(50_000_000), secs(1)), Step::Added(uj(100_000_000)));
    // A fall from the middle of the range would be a wrap at 130 kW.
    assert_eq!(
        counter.advance(uj(RANGE / 2), secs(2)),
        Step::Gap { reason: GapReason::Implausible, length: secs(1) }
    );
    assert_eq!(counter.advance(uj(0), secs(3)), Step::NewEpoch { length: secs(1) });
    assert_eq!(counter.advance(uj(5_000_000), secs(4)), Step::Added(uj(5_000_000)));
    assert_eq!(counter.total(), uj(105_000_000));
    assert_eq!(counter.coverage_ppm(secs(4)), 500_000);
    assert_eq!(counter.lost()[&GapReason::Reset], secs(1));
}

#[test]
fn a_failed_reading_adds_nothing_and_costs_nothing() {
    let mut counter = Counter::new(LIMITS);
    counter.advance(uj(1000), secs(0));
    assert_eq!(
        counter.failed(GapReason::ReadError, secs(5)),
        Step::Gap { reason: GapReason::ReadError, length: secs(5) }
    );
    assert_eq!((counter.total(), counter.coverage_ppm(secs(5))), (MicroJoules::ZERO, 0));
    assert_eq!(counter.failing(), Some(GapReason::ReadError));
    assert_eq!(counter.advance(uj(11_000), secs(10)), Step::Added(uj(10_000)));
    assert_eq!((counter.failing(), counter.coverage_ppm(secs(10))), (None, 1_000_000));
    assert!(counter.lost().is_empty());
}

#[test]
fn readings_too_far_apart_are_a_gap() {
    let mut counter = Counter::new(LIMITS);
    counter.advance(uj(0), secs(0));
    // At a kilowatt the range is passed in 263 seconds, and then nobody knows how often.
    let gap = Step::Gap { reason: GapReason::TooLong, length: secs(263) };
    assert_eq!(counter.advance(uj(1_000_000), secs(263)), gap);
    assert_eq!(counter.total(), MicroJoules::ZERO);
    assert_eq!(counter.advance(uj(2_000_000), secs(264)), Step::Added(uj(1_000_000)));
}

#[test]
fn a_counter_that_stands_still_is_no_zero() {
    let mut counter = Counter::new(LIMITS);
    counter.advance(uj(7), secs(0));
    assert_eq!(counter.advance(uj(7), secs(10)), Step::Added(MicroJoules::ZERO));
    let gap = Step::Gap { reason: GapReason::Stuck, length: secs(11) };
    assert_eq!(counter.advance(uj(7), secs(11)), gap);
    assert_eq!(counter.coverage_ppm(secs(11)), 0);
    assert_eq!(counter.advance(uj(8), secs(12)), Step::Added(uj(1)));
    assert_eq!(counter.coverage_ppm(secs(12)), 1_000_000);
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut counter = Counter::new(LIMITS);
    counter.advance(uj(0), secs(10));
    let gap = Step::Gap { reason: GapReason::ClockBackwards, length: secs(0) };
    assert_eq!(counter.advance(uj(1_000), secs(9)), gap);
    assert_eq!(counter.advance(uj(1_000), secs(11)), Step::Added(uj(1_000)));
}

/// One moment of a device's life.
#[derive(Clone, Debug)]
enum Moment {
    /// It draws this much for this long, and is then read, or not.
    Runs { milliwatts: u64, millis: u64, read: bool },
    /// Its counter starts over.
    Resets,
}

fn life() -> impl Strategy<Value = Vec<Moment>> {
    let runs = (0..400_000_u64, 1..20_000_u64, prop::bool::weighted(0.8))
        .prop_map(|(milliwatts, millis, read)| Moment::Runs { milliwatts, millis, read });
    prop::collection::vec(prop_oneof![9 => runs, 1 => Just(Moment::Resets)], 1..200)
}

proptest! {
    /// The device wraps at a small range, starts over and is sometimes not read. The counter's
    /// total is the truth of exactly the spans that it says are covered, and it never falls.
    #[test]
    fn total_is_the_truth_of_what_is_covered(life in life(), start in 0..RANGE) {
        let mut counter = Counter::new(LIMITS);
        let (mut at, mut raw) = (Duration::ZERO, start);
        counter.advance(uj(raw), at);
        let (mut truth, mut pending) = (0_u128, 0_u128);
        let (mut covered, mut since) = (Duration::ZERO, Duration::ZERO);
        let mut was_reset = false;
        for moment in life {
            let (milliwatts, millis, read) = match moment {
                Moment::Resets => {
                    raw = 0;
                    was_reset = true;
                    continue;
                }
                Moment::Runs { milliwatts, millis, read } => (milliwatts, millis, read),
            };
            let elapsed = Duration::from_millis(millis);
            let used = MilliWatts::new(milliwatts).energy_over(elapsed).get();
            (at, since, pending) = (at + elapsed, since + elapsed, pending + used);
            raw = (raw + used) % RANGE;
            let before = counter.total();
            if !read {
                counter.failed(GapReason::ReadError, at);
                prop_assert_eq!(counter.total(), before);
                continue;
            }
            let step = counter.advance(uj(raw), at);
            prop_assert!(counter.total() >= before);
            match step {
                Step::Added(energy) if !was_reset => {
                    prop_assert!(energy == uj(pending) || energy == MicroJoules::ZERO);
                    if energy == uj(0) { continue; }
                    (truth, covered) = (truth + pending, covered + since);
                }
                // After a reset a small rise or a plausible wrap cannot be told from the real
                // thing; what is certain is that it is bounded by what the device can draw.
                Step::Added(energy) => {
                    prop_assert!(energy.get() <= LIMITS.max_power.energy_over(since + secs(1)).get());
                    if energy == uj(0) { continue; }
                    (truth, covered) = (truth + energy.get(), covered + since);
                }
                Step::Gap { reason: GapReason::Stuck, .. } => continue,
                Step::Gap { reason, .. } => {
                    prop_assert!(was_reset || reason == GapReason::TooLong);
                    if reason == GapReason::TooLong { prop_assert!(since >= secs(262)); }
                }
                Step::NewEpoch { length } => prop_assert!(was_reset && length == since),
                Step::Baseline => prop_assert!(false, "only the first reading is a baseline"),
            }
            (pending, since, was_reset) = (0, Duration::ZERO, false);
        }
        prop_assert_eq!(counter.total(), uj(truth));
        prop_assert_eq!(counter.coverage_ppm(at), ratio_ppm(covered, at));
    }

    #[test]
    fn no_readings_make_it_panic_or_fall(
        readings in prop::collection::vec((any::<u128>(), any::<u32>()), 0..50),
        range in prop::option::of(any::<u64>()),
    ) {
        let mut counter =
            Counter::new(Limits { range: range.map(|range| uj(range.into())), ..LIMITS });
        for (raw, at) in readings {
            let before = counter.total();
            counter.advance(uj(raw), secs(at.into()));
            prop_assert!(counter.total() >= before);
            prop_assert!(counter.coverage_ppm(secs(at.into())) <= PPM);
        }
    }
}
