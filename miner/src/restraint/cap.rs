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
mod tests;
