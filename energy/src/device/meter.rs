//! One device's answers over time: one of its figures to an amount that only grows.
//!
//! Read [`DeviceMeter::take`]. A counter is preferred, since it sees what happens between two answers
//! and while nobody asks; power is summed over short gaps alone. Which figure a device is metered by is
//! settled by its first answer, and held to: one that is missing from a later answer is a failed
//! reading, and another is not put in its place, unless it stays away. What a total is of is its
//! [`Origin`]; where that changes, what was used meanwhile is a gap and the total goes on in another
//! series.
//!
//! The hash rate that the device claims is summed over the same time, so that the claim can be held
//! against what shares prove.
//!
//! Deliberately not here: when to ask, what becomes of the totals, and whether they are reported.
//!
//! Units: microjoules, hashes; times count from any fixed instant, the same before a restart and after.

use std::{collections::BTreeMap, time::Duration};

use units::{Hashes, MicroJoules, MilliWatts};

use super::{Figure, Quantity, Telemetry};
use crate::{
    calibration::Calibration,
    counter::{self, Counter, GapReason, Limits, Step},
    integrator::{self, PowerIntegrator},
    meter::{Kind, MeterId, MeterSpec, PPM, Scope, Tier},
};

/// Answers may be this many intervals apart and still be joined.
const JOINED_INTERVALS: u32 = 3;
/// A report's uncertainty is of about so much time, as far as the steps of a counter go.
const STATED_FOR: Duration = Duration::from_secs(3_600);

/// How a device is metered, as its owner says.
#[derive(Clone, Debug, PartialEq)]
pub struct Wiring {
    /// What the meter is called.
    pub id: MeterId,
    /// Which device that is: how it is spoken to, and where.
    pub place: String,
    /// How often the device is asked.
    pub interval: Duration,
    /// More than goes through it: a counter that rose by more shows another thing.
    pub most: MilliWatts,
    /// What it sees, where that is not what its maker assumes: a plug may feed a whole site.
    pub scope: Option<Scope>,
    /// How its figures compare with a better meter's.
    pub calibration: Option<Calibration>,
}

/// What a total is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which device, as its owner names it.
    pub place: String,
    /// Which device, as it says itself.
    pub serial: Option<String>,
    /// Where in its answers the figure stands.
    pub field: String,
    /// Where the figure comes from.
    pub kind: Kind,
    /// What it sees.
    pub scope: Scope,
    /// How good it is.
    pub tier: Tier,
    /// The calibration in force, in words; empty where there is none.
    pub calibration: String,
}

/// One device's meter.
#[derive(Clone, Debug)]
pub struct DeviceMeter {
    wiring: Wiring,
    spec: Option<MeterSpec>,
    origin: Option<Origin>,
    gauge: Option<Gauge>,
    /// The least by which its counter can rise.
    step: MicroJoules,
    power: Option<MilliWatts>,
    claimed: Claimed,
    firmware: Option<String>,
}

/// Either way to energy.
#[derive(Clone, Debug)]
enum Gauge {
    Counter(Counter),
    Power(PowerIntegrator),
}

/// Hashes that the device says it made, over the time between answers that can be joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Claimed {
    last: Option<(u128, Duration)>,
    /// Half hashes times nanoseconds: nothing is lost to rounding.
    halves: u128,
}

/// What is to be known of a meter after a restart of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How it counts, and how far it has come.
    pub gauge: KeptGauge,
    /// What its total is of.
    pub origin: Origin,
    /// Hashes claimed so far.
    pub claimed: Hashes,
    /// The firmware that gave the last answer.
    pub firmware: Option<String>,
}

/// Either way to energy, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptGauge {
    /// By a counter.
    Counter(counter::Kept),
    /// By power.
    Power(integrator::Kept),
}

/// What an answer did beside its energy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The energy that it added, or why none.
    pub step: Step,
    /// The firmware is another than that of the answer before, and may count otherwise.
    pub new_firmware: Option<String>,
    /// What the total is of has changed, in plain words.
    pub changed: Option<String>,
}

impl DeviceMeter {
    /// A meter without an answer.
    #[must_use]
    pub const fn new(wiring: Wiring) -> Self {
        Self {
            wiring,
            spec: None,
            origin: None,
            gauge: None,
            step: MicroJoules::ZERO,
            power: None,
            claimed: Claimed { last: None, halves: 0 },
            firmware: None,
        }
    }

    /// Goes on from what was kept.
    #[must_use]
    pub fn resume(wiring: Wiring, kept: Kept) -> Self {
        let mut meter = Self::new(wiring);
        meter.gauge = Some(match kept.gauge {
            KeptGauge::Counter(kept) => Gauge::Counter(Counter::resume(meter.limits(), kept)),
            KeptGauge::Power(kept) => Gauge::Power(PowerIntegrator::resume(meter.joined(), kept)),
        });
        meter.origin = Some(kept.origin);
        meter.claimed.halves = kept.claimed.get().saturating_mul(2 * NANOS);
        meter.firmware = kept.firmware;
        meter
    }

    /// Takes an answer that came `at`.
    pub fn take(&mut self, telemetry: &Telemetry, at: Duration) -> Taken {
        let new_firmware = self.note_firmware(telemetry);
        let Some(figure) = self.figure(telemetry, at).cloned() else {
            let step = self.failed(GapReason::Malformed, at);
            return Taken { step, new_firmware, changed: None };
        };
        self.claimed.take(telemetry.claimed_hashes_per_second, at, self.joined());
        self.power = power(telemetry).map(|power| self.calibrated_power(power));
        let spec = self.spec_of(telemetry, &figure);
        let origin = self.origin_of(telemetry, &figure, &spec);
        self.spec = Some(spec);
        let changed =
            self.origin.replace(origin.clone()).and_then(|before| before.differs(&origin));
        let restarted = changed.is_none() && self.has_restarted(telemetry, at);
        let step = match changed.is_some() || restarted {
            true => self.begin_anew(figure.quantity, at),
            false => self.count(figure.quantity, at),
        };
        Taken { step, new_firmware, changed }
    }

    /// Notes that the device gave no answer, or none with the figure that it is metered by.
    pub fn failed(&mut self, reason: GapReason, at: Duration) -> Step {
        self.power = None;
        match &mut self.gauge {
            None => Step::Gap { reason, length: Duration::ZERO },
            Some(Gauge::Counter(counter)) => counter.failed(reason, at),
            Some(Gauge::Power(integrator)) => integrator.failed(reason, at),
        }
    }

    /// What the meter is; `None` before the first answer of this run.
    #[must_use]
    pub const fn spec(&self) -> Option<&MeterSpec> {
        self.spec.as_ref()
    }

    /// What its total is of; `None` before the first answer of any run.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// What it is called.
    #[must_use]
    pub const fn id(&self) -> &MeterId {
        &self.wiring.id
    }

    /// The least by which its counter can rise; nothing where it has none.
    #[must_use]
    pub const fn step(&self) -> MicroJoules {
        self.step
    }

    /// How far an hour's energy may be off, in parts per million: what the meter is good for, and a
    /// step of its counter.
    #[must_use]
    pub fn uncertainty_ppm(&self) -> u32 {
        let own = self.spec.as_ref().map_or(PPM, |spec| spec.uncertainty_ppm);
        let Some(power) = self.power.filter(|_| self.step > MicroJoules::ZERO) else { return own };
        let scaled = self.step.get().saturating_mul(PPM.into());
        let of_steps = scaled.checked_div(power.energy_over(STATED_FOR).get());
        let of_steps = of_steps.and_then(|ppm| u32::try_from(ppm).ok()).unwrap_or(PPM);
        own.saturating_add(of_steps).min(PPM)
    }

    /// The energy since the first answer; never falls.
    #[must_use]
    pub fn total(&self) -> MicroJoules {
        match &self.gauge {
            None => MicroJoules::ZERO,
            Some(Gauge::Counter(counter)) => counter.total(),
            Some(Gauge::Power(integrator)) => integrator.total(),
        }
    }

    /// The part of the time since the first answer that the total covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        match &self.gauge {
            None => 0,
            Some(Gauge::Counter(counter)) => counter.coverage_ppm(now),
            Some(Gauge::Power(integrator)) => integrator.coverage_ppm(now),
        }
    }

    /// Time lost for good, by reason.
    #[must_use]
    pub fn lost(&self) -> BTreeMap<GapReason, Duration> {
        match &self.gauge {
            None => BTreeMap::new(),
            Some(Gauge::Counter(counter)) => counter.lost().clone(),
            Some(Gauge::Power(integrator)) => integrator.lost().clone(),
        }
    }

    /// The power that the last answer said, if it came and said one.
    #[must_use]
    pub const fn power(&self) -> Option<MilliWatts> {
        self.power
    }

    /// Hashes that the device claims to have made while it was watched.
    #[must_use]
    pub const fn claimed(&self) -> Hashes {
        Hashes::new(self.claimed.halves / (2 * NANOS))
    }

    /// What is to be kept over a restart; `None` before there is anything.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        let gauge = match self.gauge.as_ref()? {
            Gauge::Counter(counter) => KeptGauge::Counter(counter.kept()?),
            Gauge::Power(integrator) => KeptGauge::Power(integrator.kept()?),
        };
        let origin = self.origin.clone()?;
        Some(Kept { gauge, origin, claimed: self.claimed(), firmware: self.firmware.clone() })
    }

    /// The figure that counts: the one that did before, if it is there; a counter in the place of a
    /// power; another once the one before has stayed away for longer than can be joined.
    fn figure<'a>(&self, telemetry: &'a Telemetry, at: Duration) -> Option<&'a Figure> {
        let first = telemetry.figures.first()?;
        let Some(origin) = &self.origin else { return Some(first) };
        let counts = |figure: &&Figure| matches!(figure.quantity, Quantity::Energy { .. });
        let is_power = matches!(self.gauge, Some(Gauge::Power(_)));
        let fits = |figure: &&Figure| figure.field == origin.field && counts(figure) != is_power;
        let better = || telemetry.figures.iter().find(counts).filter(|_| is_power);
        let away = self.last_at().is_none_or(|last| at.saturating_sub(last) > self.joined());
        better().or_else(|| telemetry.figures.iter().find(fits)).or_else(|| away.then_some(first))
    }

    /// When the last reading that counted was.
    fn last_at(&self) -> Option<Duration> {
        match self.gauge.as_ref()? {
            Gauge::Counter(counter) => counter.kept().map(|kept| kept.last_at),
            Gauge::Power(integrator) => integrator.kept().map(|kept| kept.last_at),
        }
    }

    fn note_firmware(&mut self, telemetry: &Telemetry) -> Option<String> {
        let firmware = telemetry.identity.firmware.clone();
        let changed = self.firmware.is_some() && firmware.is_some() && firmware != self.firmware;
        let new = firmware.clone().filter(|_| changed);
        self.firmware = firmware.or_else(|| self.firmware.take());
        new
    }

    /// The calibration, unless it is of another firmware than the device has now.
    fn calibration(&self) -> Option<&Calibration> {
        let calibration = self.wiring.calibration.as_ref()?;
        let other = calibration.firmware.is_some() && calibration.firmware != self.firmware;
        (!other).then_some(calibration)
    }

    fn origin_of(&self, telemetry: &Telemetry, figure: &Figure, spec: &MeterSpec) -> Origin {
        let known = self.origin.as_ref().and_then(|origin| origin.serial.clone());
        Origin {
            place: self.wiring.place.clone(),
            serial: telemetry.identity.serial.clone().or(known),
            field: figure.field.clone(),
            kind: spec.kind,
            scope: spec.scope,
            tier: spec.tier,
            calibration: self.calibration().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Whether a device that counts by itself was away and began anew, by its own word: it may have
    /// begun its count anew as well.
    fn has_restarted(&self, telemetry: &Telemetry, at: Duration) -> bool {
        let counts = matches!(self.gauge, Some(Gauge::Counter(_)));
        let since = self.last_at().map(|last| at.saturating_sub(last));
        // Seconds are cut off, and a clock may run a little slow.
        let margin = Duration::from_secs(5);
        let younger = telemetry.uptime.zip(since).is_some_and(|(up, since)| up + margin < since);
        counts && younger
    }

    fn spec_of(&self, telemetry: &Telemetry, figure: &Figure) -> MeterSpec {
        let identity = &telemetry.identity;
        let model = identity.model.as_deref().unwrap_or("of a model that it does not say");
        let source = format!("{} {model}, {}: {}", identity.maker, figure.field, figure.meaning);
        let mut spec = MeterSpec {
            id: self.wiring.id.clone(),
            kind: figure.kind,
            scope: self.wiring.scope.unwrap_or(figure.scope),
            tier: figure.tier,
            uncertainty_ppm: figure.uncertainty_ppm.max(figure.kind.least_uncertainty_ppm()),
            source,
        };
        if let Some(calibration) = self.calibration() {
            calibration.improve(&mut spec);
        }
        spec
    }

    fn count(&mut self, quantity: Quantity, at: Duration) -> Step {
        let (joined, limits) = (self.joined(), self.limits());
        match quantity {
            Quantity::Energy { total, step } => {
                self.step = step;
                let gauge = self.gauge.get_or_insert_with(|| Gauge::Counter(Counter::new(limits)));
                match gauge {
                    Gauge::Counter(counter) => counter.advance(total, at),
                    Gauge::Power(integrator) => integrator.failed(GapReason::Malformed, at),
                }
            }
            Quantity::Power(power) => {
                let power = self.calibrated_power(power);
                let gauge =
                    self.gauge.get_or_insert_with(|| Gauge::Power(PowerIntegrator::new(joined)));
                match gauge {
                    Gauge::Power(integrator) => integrator.advance(power, at),
                    Gauge::Counter(counter) => counter.failed(GapReason::Malformed, at),
                }
            }
        }
    }

    /// Goes on from here by this figure: what was used since the last one is not known.
    fn begin_anew(&mut self, quantity: Quantity, at: Duration) -> Step {
        let power = match quantity {
            Quantity::Power(power) => Some(self.calibrated_power(power)),
            Quantity::Energy { .. } => None,
        };
        self.turn_to(power.is_some());
        match (&mut self.gauge, quantity, power) {
            (Some(Gauge::Counter(counter)), Quantity::Energy { total, step }, _) => {
                self.step = step;
                counter.restart(total, at)
            }
            (Some(Gauge::Power(integrator)), _, Some(power)) => {
                integrator.restart(power, at, GapReason::Reset)
            }
            _ => self.count(quantity, at),
        }
    }

    /// Counts in the other way from now on, with what is known so far.
    fn turn_to(&mut self, power: bool) {
        let (joined, limits) = (self.joined(), self.limits());
        self.gauge = self.gauge.take().map(|gauge| match gauge {
            Gauge::Counter(counter) if power => match counter.kept() {
                Some(kept) => Gauge::Power(PowerIntegrator::resume(joined, kept.into_power())),
                None => Gauge::Power(PowerIntegrator::new(joined)),
            },
            Gauge::Power(integrator) if !power => match integrator.kept() {
                Some(kept) => Gauge::Counter(Counter::resume(limits, kept.into_counter())),
                None => Gauge::Counter(Counter::new(limits)),
            },
            same @ (Gauge::Counter(_) | Gauge::Power(_)) => same,
        });
        if power {
            self.step = MicroJoules::ZERO;
        }
    }

    fn calibrated_power(&self, power: MilliWatts) -> MilliWatts {
        self.calibration().map_or(power, |calibration| calibration.apply(power))
    }

    /// A device's counter wraps nowhere: a fall is a new start. It may stand still, where nothing is
    /// drawn or its steps are wide.
    const fn limits(&self) -> Limits {
        Limits { range: None, max_power: self.wiring.most, stuck_after: None }
    }

    const fn joined(&self) -> Duration {
        self.wiring.interval.saturating_mul(JOINED_INTERVALS)
    }
}

const NANOS: u128 = 1_000_000_000;

impl Origin {
    /// What differs, in plain words; a device that does not say its number may be the same.
    fn differs(&self, now: &Self) -> Option<String> {
        let told = |what: &str, before: &dyn std::fmt::Display, now: &dyn std::fmt::Display| {
            Some(format!("{what} was {before} and is {now}"))
        };
        match (&self.serial, &now.serial) {
            (Some(before), Some(serial)) if before != serial => {
                return told("the device's number", before, serial);
            }
            _ => {}
        }
        if self.place != now.place {
            told("the device", &self.place, &now.place)
        } else if self.field != now.field {
            told("the figure", &self.field, &now.field)
        } else if self.kind != now.kind {
            told("its kind", &self.kind.as_str(), &now.kind.as_str())
        } else if self.tier != now.tier {
            told("its tier", &self.tier.as_str(), &now.tier.as_str())
        } else if self.scope != now.scope {
            told("its scope", &self.scope.as_str(), &now.scope.as_str())
        } else if self.calibration != now.calibration {
            Some("its calibration has changed".to_owned())
        } else {
            None
        }
    }
}

/// The power that goes with what counts: of the same device, whichever way it is metered.
fn power(telemetry: &Telemetry) -> Option<MilliWatts> {
    telemetry.figures.iter().find_map(|figure| match figure.quantity {
        Quantity::Power(power) => Some(power),
        Quantity::Energy { .. } => None,
    })
}

impl Claimed {
    fn take(&mut self, rate: Option<u128>, at: Duration, joined: Duration) {
        let before = std::mem::replace(&mut self.last, rate.map(|rate| (rate, at)));
        let (Some((last, then)), Some(now)) = (before, rate) else { return };
        let elapsed = at.saturating_sub(then);
        if elapsed <= joined {
            let both = last.saturating_add(now);
            self.halves = self.halves.saturating_add(both.saturating_mul(elapsed.as_nanos()));
        }
    }
}

/// Whether a meter of this kind may be calibrated: only what is modelled or seen from within.
#[must_use]
pub const fn may_be_calibrated(kind: Kind) -> bool {
    matches!(kind, Kind::AsicModel | Kind::AsicPsu | Kind::Hwmon)
}

#[cfg(test)]
mod tests;
