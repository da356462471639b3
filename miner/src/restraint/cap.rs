//! A cap on the rig's power: from the watts that a meter shows to the duty that keeps below them.
//!
//! Read [`Cap::step`]. Power rises with duty, by how much nobody says, and a part of it is there at
//! rest. So the duty is corrected by a part of itself: by so much of it as the power is off, times a
//! gain. Whatever the rig, the loop's gain is then at most the controller's, since power at rest only
//! makes it less; where power rises with the square of the duty it is twice as much, which a meter
//! that is two seconds late bears. It aims below the cap, falls faster than it rises, leaves small
//! differences alone, and rises only while the rig does what it is allowed: a rig without work draws
//! little and says nothing about what it will draw.
//!
//! It begins at the least duty, as any more may be above the cap on a rig that nobody knows yet, and
//! climbs by how much of the way up from there is left ([`Cap::correction`]). Where the least duty is
//! too much already the rig is paused, and tried again after ever longer: see [`Standing::Hopeless`].
//! While no power is known the duty never rises: a lower cap takes it along, and after [`BLIND_MAX`]
//! the rig is paused. Where only a model tells, there is nothing to control by: see [`of_model`].
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
/// The first climb is over when so much of the way is left.
const CLIMBED: f64 = 0.05;
/// The most by which one step changes the duty, as a factor.
const STEP: (f64, f64) = (0.5, 1.25);
/// Longer than this no step is taken for.
const STEP_MAX: Duration = Duration::from_secs(3);
/// So long above the cap at the least duty, less the time below it, and the rig is paused.
const HOPELESS: Duration = Duration::from_secs(10);
/// How long it is paused then before another try: the first time, and at the most. It doubles.
const HOLD_OFF: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(600));
/// A try that lasted so long did not fail: the next hold-off is the first again.
const LASTED: Duration = Duration::from_secs(300);
/// Power at rest has to be so much below the cap, as a part of it, for another try.
const WORTH_A_TRY: f64 = 0.95;
/// So long without a reading is borne.
pub const BLIND_MAX: Duration = Duration::from_secs(10);

/// The controller.
#[derive(Debug, Clone)]
pub struct Cap {
    duty: f64,
    climb: Climb,
    /// The cap of the step before.
    cap: Option<f64>,
    blind: Duration,
    above_at_least: Duration,
    /// How long it has run since it began or tried again.
    lasted: Duration,
    /// How long the next pause is.
    hold_off: Duration,
    /// What is left of the pause that it is in.
    paused: Option<Duration>,
}

/// The first climb from the least duty.
#[derive(Debug, Clone, Copy)]
enum Climb {
    /// From this power, the least seen on it; infinite before any was.
    From(f64),
    Over,
}

/// How it stands, for those who show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The duty is what the cap leaves.
    Holds,
    /// It was too long without a reading, and the rig is paused.
    Blind,
    /// Even the least duty drew more than the cap, and the rig is paused. It is tried again after
    /// `wait`, if the power at rest is low enough then, or at once under a higher cap.
    Hopeless {
        /// Until another try.
        wait: Duration,
    },
}

impl Cap {
    /// At its start.
    #[must_use]
    pub fn new() -> Self {
        Self {
            duty: f64::from(LEAST),
            climb: Climb::From(f64::INFINITY),
            cap: None,
            blind: Duration::ZERO,
            above_at_least: Duration::ZERO,
            lasted: Duration::ZERO,
            hold_off: HOLD_OFF.0,
            paused: None,
        }
    }

    /// The duty for the next moment, after `dt` with this power; `free` says whether nothing else
    /// held the rig back meanwhile.
    pub fn step(&mut self, watts: Option<f64>, cap: f64, free: bool, dt: Duration) -> u16 {
        let before = self.cap.replace(cap).unwrap_or(cap);
        self.paused = self.paused.map(|wait| wait.saturating_sub(dt));
        if cap > before {
            // What failed was another cap.
            self.hold_off = HOLD_OFF.0;
            self.paused = self.paused.map(|_| Duration::ZERO);
        }
        match watts.filter(|watts| watts.is_finite()) {
            Some(watts) => {
                let was_blind = self.is_blind();
                self.blind = Duration::ZERO;
                match was_blind {
                    true => self.begin(),
                    false => self.correct(watts, cap, free, dt),
                }
            }
            None => {
                self.blind = self.blind.saturating_add(dt);
                self.duty = (self.duty * (cap / before).min(1.0)).max(f64::from(LEAST));
            }
        }
        self.duty()
    }

    fn correct(&mut self, watts: f64, cap: f64, free: bool, dt: Duration) {
        if let Some(wait) = self.paused {
            if wait.is_zero() && watts <= cap * WORTH_A_TRY {
                self.paused = None;
                self.begin();
            }
            return;
        }
        let correction = self.correction(watts, cap * AIM);
        if free || correction < 0.0 {
            let factor = correction.mul_add(dt.min(STEP_MAX).as_secs_f64(), 1.0);
            let duty = self.duty * factor.clamp(STEP.0, STEP.1);
            self.duty = duty.clamp(f64::from(LEAST), f64::from(WHOLE));
        }
        self.judge(watts > cap && self.duty <= f64::from(LEAST), dt);
    }

    /// By what part the duty is to change in a second. On the first climb, the way that is left
    /// counts from the power that it began with: where much of the cap is power at rest, a part of
    /// the cap would be a crawl.
    fn correction(&mut self, watts: f64, aim: f64) -> f64 {
        if let Climb::From(least) = self.climb {
            let least = least.min(watts);
            let left = (aim - watts) / (aim - least);
            if aim > least && left > CLIMBED && self.duty < f64::from(WHOLE) {
                self.climb = Climb::From(least);
                return RISE * left;
            }
            self.climb = Climb::Over;
        }
        let off = (aim - watts) / aim;
        match off.abs() > NEAR {
            true => off * if off < 0.0 { FALL } else { RISE },
            false => 0.0,
        }
    }

    /// Gives up for a while once it was too much at the least duty for too long. Time below takes
    /// from the time above: a noisy meter is right on average.
    fn judge(&mut self, too_much: bool, dt: Duration) {
        self.above_at_least = match too_much {
            true => self.above_at_least.saturating_add(dt),
            false => self.above_at_least.saturating_sub(dt),
        };
        self.lasted = self.lasted.saturating_add(dt);
        if self.lasted >= LASTED {
            self.hold_off = HOLD_OFF.0;
        }
        if self.above_at_least >= HOPELESS {
            self.paused = Some(self.hold_off);
            self.hold_off = self.hold_off.saturating_mul(2).min(HOLD_OFF.1);
        }
    }

    /// From the least duty.
    fn begin(&mut self) {
        self.duty = f64::from(LEAST);
        self.climb = Climb::From(f64::INFINITY);
        (self.above_at_least, self.lasted) = (Duration::ZERO, Duration::ZERO);
    }

    /// The duty as it stands.
    #[must_use]
    pub fn duty(&self) -> u16 {
        match self.standing() {
            Standing::Holds => thousandths(self.duty),
            Standing::Blind | Standing::Hopeless { .. } => 0,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.paused {
            _ if self.is_blind() => Standing::Blind,
            Some(wait) => Standing::Hopeless { wait },
            None => Standing::Holds,
        }
    }

    fn is_blind(&self) -> bool {
        self.blind > BLIND_MAX
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
        let above =
            |course: &[(f64, u16)]| course.iter().filter(|(watts, _)| *watts > 65.0).count();
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
}
