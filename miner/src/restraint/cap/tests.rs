//! Simulated rigs under a cap: how they come to it, stay below it, and what no duty or meter can keep.

use proptest::prelude::*;

use super::*;
use crate::restraint::testing::Noise;

const SECOND: Duration = Duration::from_secs(1);

/// A rig: power at rest, power more at full duty, the exponent of its curve, how many seconds
/// late its meter is, and the noise of that.
#[derive(Debug, Clone, Copy)]
struct Plant {
    rest: f64,
    full: f64,
    curve: f64,
    late: usize,
    noise: f64,
}

impl Plant {
    fn draws(&self, duty: u16) -> f64 {
        let part = f64::from(duty) / f64::from(WHOLE);
        self.full.mul_add(part.powf(self.curve), self.rest)
    }

    /// True power and duty, second by second.
    fn run(&self, cap: f64, seconds: usize, seed: u64) -> Vec<(f64, u16)> {
        let mut noise = Noise::new(seed);
        let mut control = Cap::new();
        let mut shown = std::collections::VecDeque::from(vec![self.rest; self.late]);
        let mut duty = control.duty();
        let mut course = Vec::new();
        for _ in 0..seconds {
            let truth = self.draws(duty);
            course.push((truth, duty));
            shown.push_back(truth * self.noise.mul_add(noise.normal(), 1.0));
            duty = control.step(shown.pop_front(), cap, true, SECOND);
        }
        course
    }
}

#[test]
fn a_plain_rig_settles_just_below_its_cap_and_stands_still() {
    let plant = Plant { rest: 30.0, full: 100.0, curve: 1.0, late: 0, noise: 0.0 };
    let course = plant.run(80.0, 200, 0);
    let (settled, duty) = course[150];
    assert!((0.94 * 80.0..=80.0).contains(&settled), "{settled} W");
    assert!(course[150..].iter().all(|(_, later)| *later == duty), "it still moves");
    let most = course.iter().map(|(watts, _)| *watts).fold(0.0, f64::max);
    assert!(most < 80.0 * 1.02, "{most} W on the way");
}

#[test]
fn a_cap_above_what_the_rig_draws_is_no_restraint() {
    let plant = Plant { rest: 30.0, full: 100.0, curve: 1.0, late: 1, noise: 0.02 };
    assert_eq!(plant.run(200.0, 120, 1).last().unwrap().1, WHOLE);
}

#[test]
fn a_rig_that_draws_too_much_at_rest_is_paused_until_it_does_not() {
    let plant = Plant { rest: 50.0, full: 100.0, curve: 1.0, late: 0, noise: 0.0 };
    let mut control = Cap::new();
    let mut duty = control.duty();
    for _ in 0..100 {
        duty = control.step(Some(plant.draws(duty)), 40.0, true, SECOND);
    }
    assert!(duty == 0 && matches!(control.standing(), Standing::Hopeless { .. }));
    assert_eq!(control.step(Some(39.0), 40.0, true, SECOND), 0, "too near for another try");
    assert_eq!(control.step(Some(30.0), 40.0, true, SECOND), LEAST);
}

/// 55 W at rest and 70 W at the least duty, under a cap of 65 W: no duty keeps it, and only trying
/// tells.
#[test]
fn a_cap_between_rest_and_the_least_duty_is_tried_ever_less_often() {
    let plant = Plant { rest: 55.0, full: 100.0, curve: 0.412, late: 0, noise: 0.01 };
    assert!((69.0..71.0).contains(&plant.draws(LEAST)));
    let course = plant.run(65.0, 7_200, 3);
    let mean = |course: &[(f64, u16)]| {
        let seconds = f64::from(u32::try_from(course.len()).unwrap());
        course.iter().map(|(watts, _)| watts).sum::<f64>() / seconds
    };
    assert!(mean(&course[..180]) < 65.0, "{} W in three minutes", mean(&course[..180]));
    let above = |course: &[(f64, u16)]| course.iter().filter(|(watts, _)| *watts > 65.0).count();
    assert!(above(&course[3_600..]) <= 80, "{} s in the second hour", above(&course[3_600..]));
    let tries = course[3_600..].windows(2).filter(|two| two[0].1 == 0 && two[1].1 > 0).count();
    assert!((5..=8).contains(&tries), "{tries} tries in the second hour");
}

#[test]
fn a_try_that_holds_or_a_higher_cap_ends_the_long_hold_off() {
    let hopeless = |control: &mut Cap| {
        let mut seconds = 0;
        while control.duty() > 0 {
            control.step(Some(70.0), 65.0, true, SECOND);
            seconds += 1;
            assert!(seconds < 300, "it never gives up");
        }
    };
    let waits = |control: &mut Cap, cap: f64| {
        (1..1_000).find(|_| control.step(Some(55.0), cap, true, SECOND) > 0).unwrap()
    };
    let mut control = Cap::new();
    hopeless(&mut control);
    let first = waits(&mut control, 65.0);
    assert!((15..=30).contains(&first), "{first} s");
    for _ in 0..8 {
        hopeless(&mut control);
        waits(&mut control, 65.0);
    }
    hopeless(&mut control);
    let longest = waits(&mut control, 65.0);
    assert!((590..=610).contains(&longest), "{longest} s");
    hopeless(&mut control);
    assert_eq!(waits(&mut control, 200.0), 1, "what failed was another cap");
    for _ in 0..300 {
        control.step(Some(60.0), 65.0, true, SECOND);
    }
    hopeless(&mut control);
    assert_eq!(waits(&mut control, 65.0), first, "it held for five minutes");
}

#[test]
fn a_cap_that_falls_while_the_meter_gives_nothing_takes_the_duty_along() {
    let plant = Plant { rest: 0.0, full: 300.0, curve: 1.0, late: 0, noise: 0.0 };
    let mut control = Cap::new();
    let mut duty = control.duty();
    for _ in 0..200 {
        duty = control.step(Some(plant.draws(duty)), 250.0, true, SECOND);
    }
    assert!(duty > 750);
    let fallen = control.step(None, 50.0, true, SECOND);
    assert!((100..=duty / 5).contains(&fallen), "{fallen} of {duty}");
    assert_eq!(control.step(None, 50.0, true, SECOND), fallen, "once");
    assert_eq!(control.step(None, 250.0, true, SECOND), fallen, "and not up again unseen");
}

#[test]
fn a_power_nobody_can_read_is_borne_for_a_moment_and_not_longer() {
    let mut control = Cap::new();
    let mut duty = 0;
    for _ in 0..100 {
        duty = control.step(Some(40.0), 80.0, true, SECOND);
    }
    assert!(duty > 100);
    for _ in 0..10 {
        assert_eq!(control.step(None, 80.0, true, SECOND), duty);
    }
    assert_eq!(control.step(Some(f64::NAN), 80.0, true, SECOND), 0);
    assert_eq!(control.standing(), Standing::Blind);
    assert_eq!(control.step(Some(40.0), 80.0, true, SECOND), LEAST, "from the least again");
}

#[test]
fn without_work_it_does_not_rise() {
    let mut control = Cap::new();
    for _ in 0..20 {
        control.step(Some(5.0), 80.0, true, SECOND);
    }
    let before = control.duty();
    for _ in 0..100 {
        assert_eq!(control.step(Some(5.0), 80.0, false, SECOND), before);
    }
    // Held back by something else it falls all the same.
    assert!(control.step(Some(100.0), 80.0, false, SECOND) < before);
}

#[test]
fn a_model_is_divided_by() {
    assert_eq!(of_model(40.0, 65.0), 615);
    assert_eq!(of_model(80.0, 65.0), WHOLE);
    assert_eq!(of_model(0.5, 65.0), 0, "below the least duty it is a pause");
    assert_eq!(of_model(40.0, 0.0), WHOLE);
}

proptest! {
    /// Also where the cap is little above rest, from the first second on: it comes from below.
    #[test]
    fn no_cap_is_passed_on_the_way_to_it(
        rest in 0.0_f64..60.0,
        full in 20.0_f64..2_000.0,
        curve in 0.6_f64..2.0,
        late in 0_usize..3,
        part in 0.1_f64..0.95,
        seed: u64,
    ) {
        let plant = Plant { rest, full, curve, late, noise: 0.02 };
        let cap = full.mul_add(part, rest);
        let course = plant.run(cap, 180, seed);
        let most = course.iter().map(|(watts, _)| *watts).fold(0.0, f64::max);
        prop_assert!(most <= 1.05 * cap, "{most} W of {cap} W");
    }

    /// Noisy by 2 %, late by up to two seconds, from root to cube: after three minutes the mean
    /// is below the cap, no second is over it by more than 3 %, and the duty stays within a
    /// quarter of its mean.
    #[test]
    fn any_rig_is_brought_below_its_cap_without_hunting(
        rest in 0.0_f64..60.0,
        full in 20.0_f64..2_000.0,
        curve in 0.6_f64..2.0,
        late in 0_usize..3,
        part in 0.1_f64..0.95,
        seed: u64,
    ) {
        let plant = Plant { rest, full, curve, late, noise: 0.02 };
        let cap = full.mul_add(part, rest);
        let course = plant.run(cap, 480, seed);
        let late = &course[180..];
        let seconds = f64::from(u32::try_from(late.len()).unwrap());
        let mean = late.iter().map(|(watts, _)| watts).sum::<f64>() / seconds;
        prop_assert!(mean <= cap, "{mean} W of {cap} W on average");
        let wanted = (cap - rest).mul_add(0.75, rest).min(0.85 * cap);
        prop_assert!(mean >= wanted, "{mean} W of {cap} W: too timid");
        let most = late.iter().map(|(watts, _)| *watts).fold(0.0, f64::max);
        prop_assert!(most <= 1.03 * cap, "{most} W of {cap} W");
        let duty = |(_, duty): &(f64, u16)| f64::from(*duty);
        let mean = late.iter().map(duty).sum::<f64>() / seconds;
        for second in late {
            prop_assert!((duty(second) - mean).abs() <= mean / 4.0 + 2.0, "hunting: {second:?}");
        }
    }
}
