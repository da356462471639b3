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
    Wiring {
        id,
        place: "a plug at 192.0.2.1".to_owned(),
        interval: secs(10),
        most: MilliWatts::from_watts(25_000),
        scope: None,
        calibration: None,
    }
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
    assert_eq!((taken.new_firmware.as_deref(), taken.changed), (Some("2"), None));
    assert_eq!(meter.take(&power(100), secs(20)).new_firmware, None, "it did not say");
    let taken = meter.take(&with("2", Scope::Device), secs(30));
    assert_eq!(taken.changed.as_deref(), Some("its scope was rig and is device"));
    assert_eq!(taken.step, Step::NewEpoch { length: secs(10) });
}

/// What was used while it was changed is a gap, and the total goes on: over a restart as well.
#[test]
fn another_device_under_the_same_name_adds_nothing_that_never_flowed() {
    let serial = |number: &str, microjoules| {
        let mut answer = energy(microjoules, 100);
        answer.identity.serial = Some(number.to_owned());
        answer
    };
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&serial("A", 5_000_000), secs(0));
    meter.take(&serial("A", 1_005_000_000), secs(10));
    let kept = meter.kept().unwrap();
    let mut meter = DeviceMeter::resume(wiring(), kept.clone());
    let taken = meter.take(&serial("B", 9_000_000_000), secs(200));
    assert_eq!(taken.changed.as_deref(), Some("the device's number was A and is B"));
    assert_eq!(taken.step, Step::NewEpoch { length: secs(190) });
    meter.take(&serial("B", 9_500_000_000), secs(210));
    assert_eq!(meter.total(), MicroJoules::new(1_500_000_000));
    assert_eq!(meter.lost()[&GapReason::Reset], secs(190));
    // One that says no number and has gone on by more than goes through it.
    let mut meter = DeviceMeter::resume(wiring(), kept.clone());
    let step = meter.take(&energy(9_000_000_000_000, 100), secs(200)).step;
    assert_eq!(step, Step::Gap { reason: GapReason::Implausible, length: secs(190) });
    // One whose owner says that it is another.
    let elsewhere = Wiring { place: "a plug at 192.0.2.2".to_owned(), ..wiring() };
    let mut meter = DeviceMeter::resume(elsewhere, kept);
    assert!(meter.take(&serial("A", 1_105_000_000), secs(20)).changed.is_some());
    assert_eq!(meter.total(), MicroJoules::new(1_000_000_000));
}

#[test]
fn a_meter_that_has_not_answered_yet_keeps_what_it_had() {
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&energy(5_000_000, 100), secs(0));
    meter.take(&energy(15_000_000, 100), secs(10));
    let kept = meter.kept().unwrap();
    let mut silent = DeviceMeter::resume(wiring(), kept.clone());
    silent.failed(GapReason::ReadError, secs(20));
    assert_eq!(silent.kept(), Some(kept));
}

#[test]
fn a_device_that_started_again_may_have_begun_its_count_anew() {
    let up =
        |seconds, microjoules| Telemetry { uptime: Some(secs(seconds)), ..energy(microjoules, 1) };
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&up(1_000, 5_000_000), secs(0));
    meter.take(&up(1_010, 15_000_000), secs(10));
    // Three hours later it has been up for one, and shows more than before.
    let step = meter.take(&up(3_600, 25_000_000), secs(10_810)).step;
    assert_eq!(step, Step::NewEpoch { length: secs(10_800) });
    assert_eq!(meter.total(), MicroJoules::new(10_000_000));
}

#[test]
fn the_figure_that_counts_is_held_to_and_a_counter_goes_before_power() {
    let named = |field: &str, watts| {
        let mut answer = power(watts);
        answer.figures[0].field = field.to_owned();
        answer
    };
    let mut meter = DeviceMeter::new(wiring());
    meter.take(&named("Power_RT", 3_000), secs(0));
    // Another field alone, once: a failed reading, which the next makes good.
    let step = meter.take(&named("Power", 5_000), secs(10)).step;
    assert_eq!(step, Step::Gap { reason: GapReason::Malformed, length: secs(10) });
    meter.take(&named("Power_RT", 3_000), secs(20));
    assert_eq!(meter.total(), MicroJoules::new(60_000_000_000));
    // For good: it is turned to, with a gap.
    meter.take(&named("Power", 5_000), secs(40));
    let taken = meter.take(&named("Power", 5_000), secs(60));
    assert!(taken.changed.unwrap().contains("Power_RT"));
    meter.take(&named("Power", 5_000), secs(70));
    assert_eq!(meter.total(), MicroJoules::new(110_000_000_000));
    // A counter that was missing at first takes over, and the total goes on.
    let taken = meter.take(&energy(7, 100), secs(80));
    assert!(taken.changed.is_some(), "{taken:?}");
    meter.take(&energy(1_000_007, 100), secs(90));
    assert_eq!(meter.total(), MicroJoules::new(110_001_000_000));
    assert_eq!(meter.lost()[&GapReason::Reset], secs(50));
}

#[test]
fn wide_steps_are_part_of_what_an_hour_may_be_off() {
    let mut meter = DeviceMeter::new(wiring());
    let wide = |watts| {
        let step = MicroJoules::new(360_000_000_000);
        let total = MicroJoules::new(720_000_000_000);
        let counter = figure(Quantity::Energy { total, step });
        answer(vec![counter, figure(Quantity::Power(MilliWatts::from_watts(watts)))])
    };
    meter.take(&wide(3_000), secs(0));
    // 360 kJ in an hour's 10.8 MJ.
    assert_eq!(meter.uncertainty_ppm(), 50_000 + 33_333);
    meter.take(&wide(50), secs(10));
    assert_eq!(meter.uncertainty_ppm(), PPM);
}

#[test]
fn a_calibration_holds_for_its_firmware_alone() {
    let calibration = Calibration {
        firmware: Some("1".to_owned()),
        ..Calibration::of_parts(1.5, 0.0, 0.01, 0.02)
    };
    let mut meter = DeviceMeter::new(Wiring { calibration: Some(calibration), ..wiring() });
    let with = |firmware: &str| {
        let mut answer = power(100);
        answer.identity.firmware = Some(firmware.to_owned());
        answer
    };
    meter.take(&with("1"), secs(0));
    assert_eq!(meter.power(), Some(MilliWatts::from_watts(150)));
    assert_eq!(meter.spec().unwrap().tier, Tier::METERED);
    let taken = meter.take(&with("2"), secs(10));
    assert_eq!(meter.power(), Some(MilliWatts::from_watts(100)));
    assert_eq!(meter.spec().unwrap().tier, Tier::DEVICE_REPORTED);
    assert!(matches!(taken.step, Step::NewEpoch { .. }));
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
