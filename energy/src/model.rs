//! Energy where nothing measures it: a known power times the time for which it was drawn.
//!
//! The power is configured, or taken from the table of host processors (`data/host_power.csv`).
//! Either way the kind is `model` and the tier 5: it is an estimate, says so, and its uncertainty
//! is never below 30 %. Deliberately without any reading of load: a miner's threads are busy or not.
//!
//! Units: milliwatts, microjoules; times are monotonic.

use std::time::Duration;

use units::{MicroJoules, MilliWatts};

use crate::{
    counter::ratio_ppm,
    meter::{Kind, MeterId, MeterSpec, PPM, Scope, Tier},
    table,
};

/// No estimate claims to be better than this.
pub const LEAST_UNCERTAINTY_PPM: u32 = Kind::Model.least_uncertainty_ppm();

const HOST_POWER: &str = include_str!("../data/host_power.csv");

/// A row of the table of host processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPower {
    /// Power of one physical core under full load.
    pub per_core: MilliWatts,
    /// How far that may be off, in parts per million.
    pub uncertainty_ppm: u32,
    /// Whose figure it is.
    pub source: String,
}

impl HostPower {
    /// The first row whose text occurs in the processor's model name, as `/proc/cpuinfo` gives it;
    /// the last row takes any.
    ///
    /// # Panics
    /// Never: the table ships with this crate, and a test reads all of it.
    #[must_use]
    pub fn of(model_name: &str) -> Self {
        // A space at the end lets a row end a model's number: "8280 " is not "8280L".
        let name = format!("{} ", model_name.trim());
        let rows = host_table().expect("the shipped table is well formed: a test reads all of it");
        let row = rows.into_iter().find(|(pattern, _)| name.contains(pattern.as_str()));
        row.expect("the last row of the shipped table takes any name: a test says so").1
    }
}

/// Power times the time that something ran.
#[derive(Clone, Debug)]
pub struct ModelMeter {
    spec: MeterSpec,
    power: MilliWatts,
    first_at: Option<Duration>,
    last_at: Duration,
    running: bool,
    /// Time that ended before `last_at`; the energy follows from it, so that no rounding adds up.
    ran: Duration,
}

impl ModelMeter {
    /// The rig's power as its owner states it, for the whole rig at the plug. An uncertainty below
    /// [`LEAST_UNCERTAINTY_PPM`] is raised to it.
    #[must_use]
    pub fn configured(power: MilliWatts, uncertainty_ppm: u32) -> Self {
        let source = format!("configured: {} mW while mining", power.get());
        Self::new("model:configured", Scope::Rig, power, uncertainty_ppm, source)
    }

    /// The processor's power from the table: `cores` physical cores at work (where two threads
    /// share a core, it counts once).
    #[must_use]
    pub fn host(model_name: &str, cores: u32) -> Self {
        let HostPower { per_core, uncertainty_ppm, source } = HostPower::of(model_name);
        let power = MilliWatts::new(per_core.get().saturating_mul(cores.into()));
        let source = format!("{cores} cores of {:?}: {source}", model_name.trim());
        Self::new("model:host", Scope::Device, power, uncertainty_ppm, source)
    }

    /// What this meter is.
    #[must_use]
    pub const fn spec(&self) -> &MeterSpec {
        &self.spec
    }

    /// The power drawn while running.
    #[must_use]
    pub const fn power(&self) -> MilliWatts {
        self.power
    }

    /// Says whether it runs from now on. The time since the last call counts if it ran then.
    pub fn poll(&mut self, running: bool, at: Duration) {
        self.first_at.get_or_insert(at);
        if self.running {
            self.ran = self.ran.saturating_add(at.saturating_sub(self.last_at));
        }
        self.last_at = at.max(self.last_at);
        self.running = running;
    }

    /// The energy until the last call of `poll`; never falls.
    #[must_use]
    pub const fn total(&self) -> MicroJoules {
        self.power.energy_over(self.ran)
    }

    /// The part of the time since the first call of `poll` that was covered, in parts per million:
    /// a model knows the time it stood still as well, so all but the time since the last call.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        let Some(first) = self.first_at else { return 0 };
        let whole = now.saturating_sub(first);
        if whole.is_zero() { PPM } else { ratio_ppm(self.last_at.saturating_sub(first), whole) }
    }

    fn new(
        id: &'static str,
        scope: Scope,
        power: MilliWatts,
        uncertainty_ppm: u32,
        source: String,
    ) -> Self {
        let spec = MeterSpec {
            id: MeterId::known(id),
            kind: Kind::Model,
            scope,
            tier: Tier::TABLE,
            uncertainty_ppm: uncertainty_ppm.clamp(LEAST_UNCERTAINTY_PPM, PPM),
            source,
        };
        let (last_at, ran) = (Duration::ZERO, Duration::ZERO);
        Self { spec, power, first_at: None, last_at, running: false, ran }
    }
}

/// The table's rows with the text that each matches.
fn host_table() -> Result<Vec<(String, HostPower)>, String> {
    let columns = ["match", "watts_per_core", "source", "uncertainty"];
    let rows = table::rows(HOST_POWER, columns)?.into_iter();
    rows.map(|(line, [pattern, watts, source, uncertainty])| {
        let per_core = milli(&watts).ok_or_else(|| format!("line {line}: {watts:?} watts"))?;
        let uncertainty_ppm = milli(&uncertainty)
            .and_then(|thousandths| u32::try_from(thousandths.checked_mul(1000)?).ok())
            .ok_or_else(|| format!("line {line}: uncertainty {uncertainty:?}"))?;
        let per_core = MilliWatts::new(per_core);
        Ok((pattern, HostPower { per_core, uncertainty_ppm, source }))
    })
    .collect()
}

/// A decimal with at most three decimals, in thousandths.
fn milli(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{decimals:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_an_honest_estimate() {
        let rows = host_table().unwrap();
        assert!(rows.len() > 10);
        let (last, generic) = rows.last().unwrap();
        assert_eq!(last, "");
        for (pattern, row) in &rows {
            assert!((1_000..=40_000).contains(&row.per_core.get()), "{pattern}");
            assert!((LEAST_UNCERTAINTY_PPM..PPM).contains(&row.uncertainty_ppm), "{pattern}");
            assert!(row.source.len() > 10, "{pattern}");
            assert!(row.uncertainty_ppm <= generic.uncertainty_ppm, "{pattern}");
            // Each row is found by its own text: no earlier row hides it.
            assert_eq!(HostPower::of(pattern), *row, "{pattern}");
        }
    }

    #[test]
    fn processors_are_found_by_name() {
        let known = HostPower::of("AMD EPYC 7763 64-Core Processor");
        assert_eq!(known.per_core, MilliWatts::new(4_375));
        let other = HostPower::of("Some Processor of Tomorrow");
        assert_eq!(other.per_core, MilliWatts::from_watts(8));
        assert_eq!(other.uncertainty_ppm, 700_000);
        assert_eq!(HostPower::of("Intel(R) Xeon(R) Platinum 8280L CPU"), other);
    }

    #[test]
    fn energy_is_power_times_running_time() {
        let mut meter = ModelMeter::host("AMD EPYC 7763 64-Core Processor", 2);
        assert_eq!(meter.power(), MilliWatts::new(8_750));
        assert_eq!(meter.coverage_ppm(Duration::ZERO), 0);
        for (running, second) in [(false, 5), (true, 10), (true, 15), (false, 20), (true, 30)] {
            meter.poll(running, Duration::from_secs(second));
        }
        assert_eq!(meter.total().joules(), "87.500000");
        assert_eq!(meter.coverage_ppm(Duration::from_secs(30)), PPM);
        assert_eq!(meter.coverage_ppm(Duration::from_secs(55)), 500_000);
        // A clock that goes back adds nothing.
        meter.poll(true, Duration::from_secs(1));
        meter.poll(true, Duration::from_secs(30));
        assert_eq!(meter.total().joules(), "87.500000");
        assert_eq!((meter.spec().kind, meter.spec().tier), (Kind::Model, Tier::TABLE));
        assert!(meter.spec().source.starts_with("2 cores of \"AMD EPYC 7763"));
    }

    #[test]
    fn a_configured_figure_is_never_surer_than_an_estimate() {
        for (stated, kept) in [(0, 300_000), (500_000, 500_000), (2_000_000, 1_000_000)] {
            let meter = ModelMeter::configured(MilliWatts::from_watts(65), stated);
            assert_eq!(meter.spec().uncertainty_ppm, kept);
            assert_eq!(meter.spec().scope, Scope::Rig);
        }
    }
}
