//! One device's answers over time: its first figure to an amount that only grows.
//!
//! Read [`DeviceMeter::take`]. A counter is preferred, since it sees what happens between two answers
//! and while nobody asks; power is summed over short gaps alone. What sort of figure a device is
//! metered by is settled by its first answer: a counter that is missing from a later one is a failed
//! reading, not a reason to sum power instead.
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
    meter::{Kind, MeterId, MeterSpec, Scope},
};

/// Answers may be this many intervals apart and still be joined.
const JOINED_INTERVALS: u32 = 3;
/// More than anything behind one meter draws; it tells a rise from a leap.
const MAX_POWER: MilliWatts = MilliWatts::from_watts(20_000_000);

/// How a device is metered, as its owner says.
#[derive(Clone, Debug, PartialEq)]
pub struct Wiring {
    /// What the meter is called.
    pub id: MeterId,
    /// How often the device is asked.
    pub interval: Duration,
    /// What it sees, where that is not what its maker assumes: a plug may feed a whole site.
    pub scope: Option<Scope>,
    /// How its figures compare with a better meter's.
    pub calibration: Option<Calibration>,
}

/// One device's meter.
#[derive(Clone, Debug)]
pub struct DeviceMeter {
    wiring: Wiring,
    spec: Option<MeterSpec>,
    gauge: Option<Gauge>,
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
    /// The scope that its total was counted under.
    pub scope: Scope,
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
    /// What the meter sees has changed: its total goes on, in another series.
    pub scope_changed: bool,
}

impl DeviceMeter {
    /// A meter without an answer.
    #[must_use]
    pub const fn new(wiring: Wiring) -> Self {
        let claimed = Claimed { last: None, halves: 0 };
        Self { wiring, spec: None, gauge: None, power: None, claimed, firmware: None }
    }

    /// Goes on from what was kept.
    #[must_use]
    pub fn resume(wiring: Wiring, kept: Kept) -> Self {
        let mut meter = Self::new(wiring);
        meter.gauge = Some(match kept.gauge {
            KeptGauge::Counter(kept) => Gauge::Counter(Counter::resume(limits(), kept)),
            KeptGauge::Power(kept) => Gauge::Power(PowerIntegrator::resume(meter.joined(), kept)),
        });
        meter.claimed.halves = kept.claimed.get().saturating_mul(2 * NANOS);
        meter.firmware = kept.firmware;
        meter
    }

    /// Takes an answer that came `at`.
    pub fn take(&mut self, telemetry: &Telemetry, at: Duration) -> Taken {
        let Some(figure) = self.figure(telemetry).cloned() else {
            let step = self.failed(GapReason::Malformed, at);
            return Taken { step, new_firmware: None, scope_changed: false };
        };
        let spec = self.spec_of(telemetry, &figure);
        let scope_changed = self.spec.as_ref().is_some_and(|known| known.scope != spec.scope);
        self.spec = Some(spec);
        let firmware = telemetry.identity.firmware.clone();
        let changed = self.firmware.is_some() && firmware.is_some() && firmware != self.firmware;
        let new_firmware = firmware.clone().filter(|_| changed);
        self.firmware = firmware.or_else(|| self.firmware.take());
        self.claimed.take(telemetry.claimed_hashes_per_second, at, self.joined());
        self.power = power(telemetry).map(|power| self.calibrated_power(power));
        let step = self.count(figure.quantity, at);
        Taken { step, new_firmware, scope_changed }
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

    /// What it is called.
    #[must_use]
    pub const fn id(&self) -> &MeterId {
        &self.wiring.id
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
        let scope = self.spec.as_ref()?.scope;
        Some(Kept { gauge, scope, claimed: self.claimed(), firmware: self.firmware.clone() })
    }

    /// The figure that counts: of the sort that this device is metered by, else its first.
    fn figure<'a>(&self, telemetry: &'a Telemetry) -> Option<&'a Figure> {
        let mut figures = telemetry.figures.iter();
        match &self.gauge {
            None => figures.next(),
            Some(Gauge::Counter(_)) => {
                figures.find(|figure| matches!(figure.quantity, Quantity::Energy { .. }))
            }
            Some(Gauge::Power(_)) => {
                figures.find(|figure| matches!(figure.quantity, Quantity::Power(_)))
            }
        }
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
        if let Some(calibration) = &self.wiring.calibration {
            calibration.improve(&mut spec);
        }
        spec
    }

    fn count(&mut self, quantity: Quantity, at: Duration) -> Step {
        let joined = self.joined();
        match quantity {
            Quantity::Energy { total, .. } => {
                let gauge =
                    self.gauge.get_or_insert_with(|| Gauge::Counter(Counter::new(limits())));
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

    fn calibrated_power(&self, power: MilliWatts) -> MilliWatts {
        match &self.wiring.calibration {
            Some(calibration) => calibration.apply(power),
            None => power,
        }
    }

    const fn joined(&self) -> Duration {
        self.wiring.interval.saturating_mul(JOINED_INTERVALS)
    }
}

const NANOS: u128 = 1_000_000_000;

/// A device's counter wraps nowhere: a fall is a new start. It may stand still, where nothing is drawn
/// or its steps are wide.
const fn limits() -> Limits {
    Limits { range: None, max_power: MAX_POWER, stuck_after: None }
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
