//! Readings of a device's energy counter to an amount that only grows.
//!
//! A device's counter wraps (at a range that it states) or starts over (a driver reload, a
//! suspend); readings fail; and between two readings far apart it may have gone round more than
//! once, which nothing can see. [`Counter`] adds the difference where it is certain and reports a
//! gap where it is not. It never fills a gap, and a failed reading costs nothing if a later one
//! shows how far the counter went meanwhile.
//!
//! The rule for a fall: `range - last + now`, per counter and never on a sum; taken only if the
//! power that it implies is one that the device can draw.
//!
//! Units: microjoules; times are monotonic durations since any fixed instant.

use std::{collections::BTreeMap, time::Duration};

use units::{MicroJoules, MilliWatts};

use crate::{integrator, meter::PPM};

/// Why energy could not be told for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// The reading was refused for want of rights.
    Permission,
    /// The reading failed otherwise.
    ReadError,
    /// What was read is no number.
    Malformed,
    /// The counter is not there any more.
    Vanished,
    /// The counter stands still, which no powered device's does.
    Stuck,
    /// The counter started over.
    Reset,
    /// Too long since the last reading: it may have wrapped more than once.
    TooLong,
    /// The difference would take more power than the device can draw.
    Implausible,
    /// The time of the reading lies before the last one's.
    ClockBackwards,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Permission,
        Self::ReadError,
        Self::Malformed,
        Self::Vanished,
        Self::Stuck,
        Self::Reset,
        Self::TooLong,
        Self::Implausible,
        Self::ClockBackwards,
    ];

    /// The reason of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::ReadError => "read_error",
            Self::Malformed => "malformed",
            Self::Vanished => "vanished",
            Self::Stuck => "stuck",
            Self::Reset => "reset",
            Self::TooLong => "too_long",
            Self::Implausible => "implausible",
            Self::ClockBackwards => "clock_backwards",
        }
    }
}

/// What one reading did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first reading: differences count from here.
    Baseline,
    /// This much was added.
    Added(MicroJoules),
    /// Nothing was added, for this reason, since the last reading that counted, `length` ago. It
    /// may yet be made good by a later reading, except where the counter had to begin anew.
    Gap {
        /// Why.
        reason: GapReason,
        /// How long since the last reading that counted.
        length: Duration,
    },
    /// The device's counter started over: what it counted since the last reading is lost, and
    /// differences count from here. The amount kept here goes on from where it was.
    NewEpoch {
        /// How long is lost.
        length: Duration,
    },
}

/// How a device's counter behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Where the counter wraps to zero; `None` where it never does, so that a fall is a reset.
    pub range: Option<MicroJoules>,
    /// More than the device can draw. It tells a wrap from a reset.
    pub max_power: MilliWatts,
    /// How long the counter may stand still before that is a gap; `None` where zero is a value.
    pub stuck_after: Option<Duration>,
}

/// One counter's accumulated energy, with the time that it covers and the time that it does not.
#[derive(Clone, Debug)]
pub struct Counter {
    limits: Limits,
    first_at: Option<Duration>,
    last: Option<Reading>,
    total: MicroJoules,
    covered: Duration,
    lost: BTreeMap<GapReason, Duration>,
    failing: Option<GapReason>,
}

/// What a counter is to know after a restart of the program, to go on as if there had been none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When the first reading was.
    pub first_at: Duration,
    /// What the device showed at the last reading that counted.
    pub last_raw: MicroJoules,
    /// When that was.
    pub last_at: Duration,
    /// The energy so far.
    pub total: MicroJoules,
    /// The time that it covers.
    pub covered: Duration,
    /// Time lost for good, by reason.
    pub lost: BTreeMap<GapReason, Duration>,
}

impl Kept {
    /// The same for one that is metered by power from now on; of what it draws nothing is known yet.
    #[must_use]
    pub(crate) fn into_power(self) -> integrator::Kept {
        let Self { first_at, last_at, total, covered, lost, .. } = self;
        let half_picojoules = total.get().saturating_mul(integrator::HALF_PICOJOULES);
        integrator::Kept {
            first_at,
            last_power: MilliWatts::ZERO,
            last_at,
            half_picojoules,
            covered,
            lost,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    raw: u128,
    at: Duration,
}

impl Counter {
    /// A counter without a reading.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            first_at: None,
            last: None,
            total: MicroJoules::ZERO,
            covered: Duration::ZERO,
            lost: BTreeMap::new(),
            failing: None,
        }
    }

    /// Goes on from what was kept. The times of readings to come count from the same instant as the
    /// kept ones: what the device counted meanwhile is in its next reading.
    #[must_use]
    pub fn resume(limits: Limits, kept: Kept) -> Self {
        let Kept { first_at, last_raw, last_at, total, covered, lost } = kept;
        Self {
            limits,
            first_at: Some(first_at),
            last: Some(Reading { raw: last_raw.get(), at: last_at }),
            total,
            covered,
            lost,
            failing: None,
        }
    }

    /// What is to be kept over a restart; `None` before the first reading.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        let last = self.last?;
        Some(Kept {
            first_at: self.first_at?,
            last_raw: MicroJoules::new(last.raw),
            last_at: last.at,
            total: self.total,
            covered: self.covered,
            lost: self.lost.clone(),
        })
    }

    /// Takes a reading: `raw` is what the device shows, in microjoules.
    pub fn advance(&mut self, raw: MicroJoules, at: Duration) -> Step {
        let now = Reading { raw: raw.get(), at };
        let Some(last) = self.last else { return self.begin(now) };
        let Some(elapsed) = at.checked_sub(last.at) else {
            return Step::Gap { reason: GapReason::ClockBackwards, length: Duration::ZERO };
        };
        let most = self.limits.max_power.energy_over(elapsed).get();
        if self.limits.range.is_some_and(|range| most >= range.get()) {
            return self.begin_anew(now, elapsed, GapReason::TooLong);
        }
        let Some(difference) = self.difference(last.raw, now.raw, most) else {
            let fell = now.raw < last.raw;
            let reason = if fell { GapReason::Reset } else { GapReason::Implausible };
            return self.begin_anew(now, elapsed, reason);
        };
        if difference == 0 && self.limits.stuck_after.is_some() {
            return self.still(elapsed);
        }
        self.add(now, elapsed, MicroJoules::new(difference))
    }

    /// Takes a reading of a device that was away: whatever its counter shows, it may have started
    /// over meanwhile, so that what it counted since the last reading is lost.
    pub(crate) fn restart(&mut self, raw: MicroJoules, at: Duration) -> Step {
        let length = self.last.map_or(Duration::ZERO, |last| at.saturating_sub(last.at));
        self.begin_anew(Reading { raw: raw.get(), at }, length, GapReason::Reset)
    }

    /// Notes a reading that failed. Nothing is lost if a later one succeeds in time.
    pub fn failed(&mut self, reason: GapReason, at: Duration) -> Step {
        self.failing = Some(reason);
        let length = self.last.map_or(Duration::ZERO, |last| at.saturating_sub(last.at));
        Step::Gap { reason, length }
    }

    /// The energy since the first reading; never falls.
    #[must_use]
    pub const fn total(&self) -> MicroJoules {
        self.total
    }

    /// The part of the time since the first reading that `total` covers, in parts per million;
    /// rounded down, and 0 before the first reading.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        let Some(first) = self.first_at else { return 0 };
        ratio_ppm(self.covered, now.saturating_sub(first))
    }

    /// Time lost for good, by reason.
    #[must_use]
    pub const fn lost(&self) -> &BTreeMap<GapReason, Duration> {
        &self.lost
    }

    /// Why the last reading gave nothing, if it did.
    #[must_use]
    pub const fn failing(&self) -> Option<GapReason> {
        self.failing
    }

    /// What the device showed last.
    #[must_use]
    pub fn last_raw(&self) -> Option<MicroJoules> {
        self.last.map(|last| MicroJoules::new(last.raw))
    }

    /// When the last reading that counted was taken.
    #[must_use]
    pub fn last_at(&self) -> Option<Duration> {
        self.last.map(|last| last.at)
    }

    fn begin(&mut self, now: Reading) -> Step {
        self.first_at = Some(now.at);
        self.last = Some(now);
        self.failing = None;
        Step::Baseline
    }

    fn begin_anew(&mut self, now: Reading, length: Duration, reason: GapReason) -> Step {
        *self.lost.entry(reason).or_default() += length;
        self.last = Some(now);
        self.failing = None;
        if reason == GapReason::Reset {
            return Step::NewEpoch { length };
        }
        Step::Gap { reason, length }
    }

    fn add(&mut self, now: Reading, elapsed: Duration, energy: MicroJoules) -> Step {
        self.total = self.total.saturating_add(energy);
        self.covered = self.covered.saturating_add(elapsed);
        self.last = Some(now);
        self.failing = None;
        Step::Added(energy)
    }

    /// The counter has not moved: the last reading stays, so that a later rise covers this time.
    fn still(&mut self, elapsed: Duration) -> Step {
        if self.limits.stuck_after.is_some_and(|limit| elapsed > limit) {
            self.failing = Some(GapReason::Stuck);
            return Step::Gap { reason: GapReason::Stuck, length: elapsed };
        }
        self.failing = None;
        Step::Added(MicroJoules::ZERO)
    }

    /// How far the counter went, if that is certain and no more than `most`.
    fn difference(&self, last: u128, now: u128, most: u128) -> Option<u128> {
        let difference = match (now.checked_sub(last), self.limits.range) {
            (Some(rise), _) => rise,
            (None, Some(range)) => range.get().checked_sub(last)?.checked_add(now)?,
            (None, None) => return None,
        };
        // A counter shows whole steps: one second's worth forgives a reading taken late.
        let second = self.limits.max_power.energy_over(Duration::from_secs(1)).get();
        (difference <= most.saturating_add(second)).then_some(difference)
    }
}

/// `part / whole` in parts per million, rounded down; 0 where the whole is nothing.
pub(crate) fn ratio_ppm(part: Duration, whole: Duration) -> u32 {
    let scaled = part.as_nanos().saturating_mul(u128::from(PPM));
    let ppm = scaled.checked_div(whole.as_nanos()).unwrap_or(0);
    u32::try_from(ppm).map_or(PPM, |ppm| ppm.min(PPM))
}

#[cfg(test)]
mod tests;
