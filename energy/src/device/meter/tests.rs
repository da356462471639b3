//! A device over time: counters and power, restarts, firmware, what it claims.

use proptest::prelude::*;

use super::*;
use crate::device::Identity;
use crate::meter::{PPM, Tier};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wiring() -> Wiring {
    let id = MeterId::new("rig-1").unwrap();
    Wiring { id, interval: secs(10), scope: None, calibration: None }
}

fn figure(quantity: Quantity) -> Figure {
    Figure {
        meter: "psu".to_owned(),
        quantity,
        kind: Kind::AsicPsu,
        scope: Scope::Rig,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: 50_000,
        window: None,
        field: "power".to_owned(),
        meaning: "at the wall".to_owned(),
    }
}

fn answer(figures: Vec<Figure>) -> Telemetry {
    let identity = Identity { maker: "A".to_owned(), ..Identity::default() };
    Telemetry { identity, figures, ..Telemetry::default() }
}

fn power(watts: u64) -> Telemetry {
    answer(vec![figure(Quantity::Power(MilliWatts::from_watts(watts)))])
}

fn energy(microjoules: u128, watts: u64) -> Telemetry {
    let step = MicroJoules::new(1);
    let counter = figure(Quantity::Energy { total: MicroJoules::new(microjoules), step });
    answer(vec![counter, figure(Quantity::Power(MilliWatts::from_watts(watts)))])
}

#[test]
fn a_counter_counts_and_the_power_beside_it_is_shown() {
    let mut meter = DeviceMeter::new(wiring());
    assert_eq!(meter.take(&energy(5_000_000, 100), secs(0)).step, Step::Baseline);
    let taken = meter.take(&energy(1_005_000_000, 90), secs(10));
    assert_eq!(taken.step, Step::Added(MicroJoules::new(1_000_000_000)));
    assert_eq!(meter.power(), Some(MilliWatts::from_watts(90)));
    assert_eq!(
        meter.spec().unwrap().source,
        "A of a model that it does not say, power: at the wall"
    );
    // Without its counter an answer is a failed reading: power is not put in its place.
    let step = meter.take(&power(90), secs(20)).step;
    assert_eq!(step, Step::Gap { reason: GapReason::Malformed, length: secs(10) });
    meter.take(&energy(2_505_000_000, 90), secs(25));
    assert_eq!(meter.total(), MicroJoules::new(2_500_000_000), "the counter went on meanwhile");
    // Switched off, it stands still, and that is no gap.
    let step = meter.take(&energy(2_505_000_000, 0), secs(3_000)).step;
    assert_eq!(step, Step::Added(MicroJoules::ZERO));
    assert!(meter.lost().is_empty());
    assert_eq!(meter.coverage_ppm(secs(3_000)), PPM);
}

#[test]
fn power_is_joined_over_three_intervals_and_no_more() {
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&power(3_000), secs(0));
    meter.failed(GapReason::ReadError, secs(10));
    meter.failed(GapReason::ReadError, secs(20));
    let step = meter.take(&power(3_000), secs(30)).step;
    assert_eq!(step, Step::Added(MicroJoules::new(90_000_000_000)));
    let step = meter.take(&power(3_000), secs(61)).step;
    assert_eq!(step, Step::Gap { reason: GapReason::TooLong, length: secs(31) });
    assert_eq!(meter.lost()[&GapReason::TooLong], secs(31));
}

#[test]
fn a_refused_figure_is_no_figure() {
    let mut meter = DeviceMeter::new(wiring());
    assert_eq!(
        meter.take(&answer(Vec::new()), secs(0)).step,
        Step::Gap { reason: GapReason::Malformed, length: Duration::ZERO }
    );
    assert_eq!((meter.spec(), meter.kept()), (None, None));
}

#[test]
fn another_firmware_and_another_scope_are_told() {
    let mut meter = DeviceMeter::new(wiring());
    let with = |firmware: &str, scope| {
        let mut answer = power(100);
        answer.identity.firmware = Some(firmware.to_owned());
        answer.figures[0].scope = scope;
        answer
    };
    assert_eq!(meter.take(&with("1", Scope::Rig), secs(0)).new_firmware, None);
    let taken = meter.take(&with("2", Scope::Rig), secs(10));
    assert_eq!((taken.new_firmware.as_deref(), taken.scope_changed), (Some("2"), false));
    assert_eq!(meter.take(&power(100), secs(20)).new_firmware, None, "it did not say");
    assert!(meter.take(&with("2", Scope::Device), secs(30)).scope_changed);
}

#[test]
fn claimed_hashes_are_those_of_the_time_that_was_watched() {
    let mut meter = DeviceMeter::new(wiring());
    let claims = |rate: Option<u128>| Telemetry { claimed_hashes_per_second: rate, ..power(100) };
    meter.take(&claims(Some(100)), secs(0));
    meter.take(&claims(Some(200)), secs(10));
    assert_eq!(meter.claimed(), Hashes::new(1_500));
    meter.take(&claims(None), secs(20));
    meter.take(&claims(Some(200)), secs(30));
    meter.take(&claims(Some(200)), secs(90));
    assert_eq!(meter.claimed(), Hashes::new(1_500));
}

#[test]
fn over_a_restart_a_counter_loses_nothing_and_power_shows_a_gap() {
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&energy(1_000_000, 100), secs(0));
    meter.take(&energy(11_000_000, 100), secs(10));
    let mut meter = DeviceMeter::resume(wiring(), meter.kept().unwrap());
    assert_eq!(meter.total(), MicroJoules::new(10_000_000));
    meter.take(&energy(511_000_000, 100), secs(5_000));
    assert_eq!(meter.total(), MicroJoules::new(510_000_000));
    assert_eq!((meter.lost().len(), meter.coverage_ppm(secs(5_000))), (0, PPM));

    let mut meter = DeviceMeter::new(wiring());
    meter.take(&power(100), secs(0));
    meter.take(&power(100), secs(10));
    let mut meter = DeviceMeter::resume(wiring(), meter.kept().unwrap());
    meter.take(&power(100), secs(5_000));
    meter.take(&power(100), secs(5_010));
    assert_eq!(meter.total(), MicroJoules::new(2_000_000_000));
    assert_eq!(meter.lost()[&GapReason::TooLong], secs(4_990));
}

#[test]
fn a_device_that_counts_from_zero_again_begins_a_new_epoch() {
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&energy(900_000_000, 100), secs(0));
    let step = meter.take(&energy(1_000_000, 100), secs(10)).step;
    assert_eq!(step, Step::NewEpoch { length: secs(10) });
    meter.take(&energy(3_000_000, 100), secs(20));
    assert_eq!(meter.total(), MicroJoules::new(2_000_000));
}

proptest! {
    /// Wherever the program is ended and begun again, a counter's energy is the same to the last
    /// microjoule.
    #[test]
    fn restarts_change_nothing(
        rises in prop::collection::vec(0_u128..5_000_000_000, 1..60),
        restarts in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut meter = DeviceMeter::new(wiring());
        let (mut raw, mut at) = (7_u128, secs(0));
        meter.take(&energy(raw, 1), at);
        for (rise, restart) in rises.iter().zip(restarts) {
            raw += rise;
            at += secs(10);
            meter.take(&energy(raw, 1), at);
            if restart {
                meter = DeviceMeter::resume(wiring(), meter.kept().unwrap());
            }
        }
        prop_assert_eq!(meter.total(), MicroJoules::new(raw - 7));
    }

    /// Of a power that steps at will, the sum is the area of the trapezoids, restarted or not.
    #[test]
    fn power_is_the_same_area_over_restarts(
        watts in prop::collection::vec((1_u64..5_000, 1_u64..30), 2..40),
        restart_at in 0_usize..40,
    ) {
        let mut meter = DeviceMeter::new(wiring());
        let (mut at, mut halves, mut last) = (secs(0), 0_u128, None);
        for (index, (watts, seconds)) in watts.iter().enumerate() {
            if let Some(before) = last {
                at += secs(*seconds);
                halves += u128::from((before + watts) * seconds) * 1_000_000;
            }
            meter.take(&power(*watts), at);
            if index == restart_at {
                meter = DeviceMeter::resume(wiring(), meter.kept().unwrap());
            }
            last = Some(watts);
        }
        prop_assert_eq!(meter.total(), MicroJoules::new(halves / 2));
    }
}
