//! A cap on the rig's power: from the watts that a meter shows to the duty that keeps below them.
//!
//! Read [`Cap::step`]. Power rises with duty, by how much nobody says, and a part of it is there at
//! rest. So the duty is corrected by a part of itself: by so much of it as the power is off, times a
//! gain. Whatever the rig, the loop's gain is then at most the controller's, since power at rest only
//! makes it less; where power rises with the square of the duty it is twice as much, which a meter
//! that is two seconds late bears. It aims below the cap, falls faster than it rises, leaves small differences alone,
//! and rises only while the rig does what it is allowed: a rig without work draws little and says
//! nothing about what it will draw. Where only a model tells, there is nothing to control by: see
//! [`of_model`].
//!
//! It does not read meters, and never decides what the cap is. Watts, seconds, thousandths.

use std::time::Duration;

use super::duty::{LEAST, WHOLE};

/// What is aimed at, as a part of the cap.
const AIM: f64 = 0.97;
/// So far off the aim, as a part of it, is near enough.
const NEAR: f64 = 0.015;
/// Part of the difference that a second corrects: upwards, and downwards.
const RISE: f64 = 0.12;
const FALL: f64 = 0.3;
/// The most by which one step changes the duty, as a factor.
const STEP: (f64, f64) = (0.5, 1.25);
/// Longer than this no step is taken for.
const STEP_MAX: Duration = Duration::from_secs(3);
/// Where it begins: low, as nobody knows yet what the rig draws.
const START: f64 = 100.0;
/// So long above the cap at the least duty, and the rig is paused.
const HOPELESS: Duration = Duration::from_secs(10);
/// Power at rest has to be so much below the cap, as a part of it, for another try.
const WORTH_A_TRY: f64 = 0.95;

/// The controller.
#[derive(Debug, Clone)]
pub struct Cap {
    duty: f64,
    above_at_least: Duration,
    paused: bool,
}

impl Cap {
    /// At its start.
    #[must_use]
    pub const fn new() -> Self {
        Self { duty: START, above_at_least: Duration::ZERO, paused: false }
    }

    /// The duty for the next moment, after `dt` with this power; `free` says whether nothing else
    /// held the rig back meanwhile. While the power is not known the duty stays as it is.
    pub fn step(&mut self, watts: Option<f64>, cap: f64, free: bool, dt: Duration) -> u16 {
        if let Some(watts) = watts.filter(|watts| watts.is_finite()) {
            self.correct(watts, cap, free, dt);
        }
        self.duty()
    }

    fn correct(&mut self, watts: f64, cap: f64, free: bool, dt: Duration) {
        if self.paused {
            self.paused = watts > cap * WORTH_A_TRY;
            return;
        }
        let aim = cap * AIM;
        let off = (aim - watts) / aim;
        let gain = if off < 0.0 { FALL } else { RISE };
        if off.abs() > NEAR && (free || off < 0.0) {
            let factor = (gain * off).mul_add(dt.min(STEP_MAX).as_secs_f64(), 1.0);
            let duty = self.duty * factor.clamp(STEP.0, STEP.1);
            self.duty = duty.clamp(f64::from(LEAST), f64::from(WHOLE));
        }
        let hopeless = watts > cap && self.duty <= f64::from(LEAST);
        self.above_at_least = if hopeless { self.above_at_least + dt } else { Duration::ZERO };
        if self.above_at_least >= HOPELESS {
            (self.paused, self.above_at_least) = (true, Duration::ZERO);
        }
    }

    /// The duty as it stands.
    #[must_use]
    pub fn duty(&self) -> u16 {
        if self.paused { 0 } else { thousandths(self.duty) }
    }

    /// Whether even the least duty draws more than the cap.
    #[must_use]
    pub const fn is_hopeless(&self) -> bool {
        self.paused
    }
}

/// The duty at which a model that counts hashing time times `full` watts comes to the cap.
#[must_use]
pub fn of_model(cap: f64, full: f64) -> u16 {
    let duty = thousandths(f64::from(WHOLE) * cap / full);
    if duty < LEAST { 0 } else { duty }
}

/// Rounded down: to keep below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held between 0 and 1000 before; what is no number becomes 0"
)]
pub(super) fn thousandths(duty: f64) -> u16 {
    duty.clamp(0.0, f64::from(WHOLE)) as u16
}

#[cfg(test)]
mod tests {
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
        assert!(duty == 0 && control.is_hopeless());
        assert_eq!(control.step(Some(39.0), 40.0, true, SECOND), 0, "too near for another try");
        assert_eq!(control.step(Some(30.0), 40.0, true, SECOND), LEAST);
    }

    #[test]
    fn without_work_or_without_a_reading_it_does_not_rise() {
        let mut control = Cap::new();
        let before = control.duty();
        for _ in 0..100 {
            assert_eq!(control.step(Some(5.0), 80.0, false, SECOND), before);
            assert_eq!(control.step(None, 80.0, true, SECOND), before);
            assert_eq!(control.step(Some(f64::NAN), 80.0, true, SECOND), before);
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
}
