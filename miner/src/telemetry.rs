//! One picture of the miner, taken at one instant, for everyone who shows it.
//!
//! [`Snapshot`] is made once a second by [`crate::instruments::Instruments`], which reads the hash
//! counters and the meters together; metrics, API and progress line all show the same one.

use std::sync::Arc;
use std::time::Duration;

use energy::meter::MeterSpec;
use units::{Hashes, JoulesPerTerahash, MicroJoules, Moment, UnixMillis, Work};

use crate::device::{Kernel, Place};
use crate::rates::{Rate, WINDOWS};
use crate::restraint::State;
use crate::upstream::status::Status;

/// Everything, at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When; `mono` is the time since the miner started.
    pub at: Moment,
    /// What each device has done.
    pub devices: Vec<DeviceReading>,
    /// Rates over [`WINDOWS`].
    pub rates: [Option<Rate>; WINDOWS.len()],
    /// The highest rate over the shortest window so far, in hashes a second.
    pub highest: f64,
    /// What each meter has counted.
    pub meters: Vec<MeterReading>,
    /// What was done up to the newest instant when every meter was read, without what was done while
    /// a meter lost energy: it is what their totals are of.
    pub metered: Metered,
    /// The pool's side.
    pub upstream: Status,
    /// What holds the miner back.
    pub restraint: Arc<State>,
}

/// Work that the meters saw done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metered {
    /// Hashes of all devices.
    pub hashes: Hashes,
    /// Work that accepted shares prove.
    pub proven: Work,
}

/// A device's counters.
#[derive(Debug, Clone)]
pub struct DeviceReading {
    /// Its name.
    pub name: String,
    /// The kernel it runs.
    pub kernel: Kernel,
    /// Number of workers.
    pub threads: usize,
    /// Where they run.
    pub place: Place,
    /// Hashes done.
    pub hashes: Hashes,
    /// Time spent in the kernel, summed over the workers.
    pub busy: Duration,
    /// Hashes per second that it cannot exceed, where that is known.
    pub limit: Option<f64>,
    /// Time without anything to search although there was a job, summed over the workers.
    pub starved: Duration,
    /// Time that its workers rested because they were held back, summed over them.
    pub rested: Duration,
    /// Whether its workers ever hashed while they were held back.
    pub was_held_back: bool,
    /// Hits that did not hash again.
    pub hardware_errors: u64,
    /// How often it was lost.
    pub losses: u64,
    /// Why it is lost now, if it is.
    pub lost: Option<String>,
}

/// A meter's counters.
#[derive(Debug, Clone)]
pub struct MeterReading {
    /// What the meter is.
    pub spec: MeterSpec,
    /// Energy counted since the miner started.
    pub total: MicroJoules,
    /// Power over the time between the last two samples, in watts.
    pub watts: Option<f64>,
    /// Time that could not be measured, by reason.
    pub gaps: Vec<(String, Duration)>,
    /// The newest good sample.
    pub sampled_at: Option<UnixMillis>,
}

impl DeviceReading {
    /// What is reached of the device's limit while it hashes, in percent; `None` where the limit
    /// is not known, before anything was hashed, and once a CPU was held back: what a thread reaches
    /// then, with a core to itself, is not what it reaches with all of them at work.
    #[must_use]
    pub fn percent_of_limit(&self) -> Option<f64> {
        let busy = self.busy.as_secs_f64();
        let threads = f64::from(u32::try_from(self.threads).unwrap_or(u32::MAX));
        let rate = self.hashes.as_f64() / busy * threads;
        (busy > 0.0 && !self.was_held_back).then_some(())?;
        Some(100.0 * rate / self.limit?)
    }
}

impl Snapshot {
    /// Hashes of all devices.
    #[must_use]
    pub fn hashes(&self) -> Hashes {
        self.devices.iter().fold(Hashes::ZERO, |sum, device| sum.saturating_add(device.hashes))
    }

    /// Time that the busiest device was busy, on average over its threads.
    #[must_use]
    pub fn busiest(&self) -> Duration {
        let each = self.devices.iter().map(|device| {
            let threads = u32::try_from(device.threads).unwrap_or(u32::MAX).max(1);
            device.busy / threads
        });
        each.max().unwrap_or(Duration::ZERO)
    }

    /// Workers that may hash at the moment.
    #[must_use]
    pub fn active_threads(&self) -> usize {
        let allowance = self.restraint.allowance;
        if allowance.is_pause() {
            return 0;
        }
        let of_device = |device: &DeviceReading| match device.kernel {
            Kernel::Cpu(_) => device.threads.min(allowance.threads.into()),
            Kernel::Gpu(_) => device.threads,
        };
        self.devices.iter().map(of_device).sum()
    }

    /// Part of the workers' time that they had nothing to search although there was a job, 0 to 1.
    #[must_use]
    pub fn starved_part(&self) -> f64 {
        let starved: f64 = self.devices.iter().map(|device| device.starved.as_secs_f64()).sum();
        let workers: usize = self.devices.iter().map(|device| device.threads).sum();
        let workers = f64::from(u32::try_from(workers).unwrap_or(u32::MAX));
        let whole = self.at.mono.as_secs_f64() * workers;
        if whole > 0.0 { (starved / whole).min(1.0) } else { 0.0 }
    }

    /// Hits of all devices that did not hash again.
    #[must_use]
    pub fn hardware_errors(&self) -> u64 {
        self.devices.iter().map(|device| device.hardware_errors).sum()
    }

    /// The meters that count: those of the widest scope, since a wider one includes the narrower.
    pub fn counting_meters(&self) -> impl Iterator<Item = &MeterReading> {
        let widest = self.meters.iter().map(|meter| meter.spec.scope).max();
        self.meters.iter().filter(move |meter| Some(meter.spec.scope) == widest)
    }

    /// Energy of the meters that count; `None` without one.
    #[must_use]
    pub fn energy(&self) -> Option<MicroJoules> {
        self.counting_meters().map(|meter| meter.total).reduce(MicroJoules::saturating_add)
    }

    /// Where the energy figure comes from, as in "rapl" or "rapl+nvml": the kinds of the meters
    /// that count, each once; `None` without a meter.
    #[must_use]
    pub fn energy_source(&self) -> Option<String> {
        let mut kinds: Vec<&str> = Vec::new();
        for meter in self.counting_meters() {
            let kind = meter.spec.kind.as_str();
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        (!kinds.is_empty()).then(|| kinds.join("+"))
    }

    /// How far the energy may be off, in parts per million: the worst of the meters that count.
    #[must_use]
    pub fn energy_uncertainty_ppm(&self) -> Option<u32> {
        self.counting_meters().map(|meter| meter.spec.uncertainty_ppm).max()
    }

    /// Energy per terahash that the devices claim.
    #[must_use]
    pub fn joules_per_terahash_reported(&self) -> Option<JoulesPerTerahash> {
        JoulesPerTerahash::of(self.energy()?, Work::new(self.metered.hashes.get()))
    }

    /// Energy per terahash that accepted shares prove.
    #[must_use]
    pub fn joules_per_terahash_proven(&self) -> Option<JoulesPerTerahash> {
        JoulesPerTerahash::of(self.energy()?, self.metered.proven)
    }
}

/// A snapshot with known figures, for the tests of those who show it.
#[cfg(test)]
pub(crate) fn sample() -> Snapshot {
    use energy::meter::{Kind, MeterId, Scope, Tier};
    use units::Difficulty;

    use crate::upstream::status::{Phase, Verdict};

    let mut upstream = Status::new();
    upstream.phase = Phase::Mining;
    upstream.pool = "stratum+tcp://127.0.0.1:3333".to_owned();
    upstream.user = "someone.rig1".to_owned();
    upstream.connected_at = Some(Duration::from_secs(5));
    upstream.difficulty = Some(Difficulty::new(0.0025).unwrap());
    upstream.proven = Work::new(900_000_000);
    for _ in 0..12 {
        upstream.shares.add(Verdict::Accepted);
    }
    upstream.shares.add(Verdict::Stale);
    let rate = |claimed| Rate {
        span: Duration::from_secs(10),
        claimed,
        proven: claimed,
        shares: 4,
        proven_error: Some(0.5),
    };
    Snapshot {
        at: Moment { mono: Duration::from_secs(3_725), unix: UnixMillis::new(1_795_309_039_123) },
        devices: vec![DeviceReading {
            name: "cpu".to_owned(),
            kernel: kernels::Backend::Portable.into(),
            lost: None,
            losses: 0,
            threads: 2,
            place: Place { cpus: "0-1".parse().ok(), nice: Some(10) },
            hashes: Hashes::new(1_000_000_000),
            busy: Duration::ZERO,
            limit: None,
            starved: Duration::ZERO,
            rested: Duration::ZERO,
            was_held_back: false,
            hardware_errors: 0,
        }],
        rates: [Some(rate(12_340_000.0)), Some(rate(12_000_000.0)), None],
        highest: 13_000_000.0,
        meters: vec![MeterReading {
            spec: MeterSpec {
                id: MeterId::new("model:cpu").unwrap(),
                kind: Kind::Model,
                scope: Scope::Device,
                tier: Tier::TABLE,
                uncertainty_ppm: 300_000,
                source: "a table".to_owned(),
            },
            total: MicroJoules::new(6_123_456_789),
            watts: Some(65.0),
            gaps: vec![("permission".to_owned(), Duration::from_millis(1_500))],
            sampled_at: Some(UnixMillis::new(1_795_309_039_123)),
        }],
        metered: Metered { hashes: Hashes::new(1_000_000_000), proven: Work::new(900_000_000) },
        upstream,
        restraint: Arc::new(State::free()),
    }
}

#[cfg(test)]
mod tests {
    use energy::meter::Scope;

    use super::*;

    #[test]
    fn a_wider_meter_counts_alone() {
        let mut snapshot = sample();
        assert_eq!(snapshot.energy().unwrap().joules(), "6123.456789");
        let mut rig = snapshot.meters[0].clone();
        rig.spec.scope = Scope::Rig;
        rig.total = MicroJoules::new(10_000_000_000);
        snapshot.meters.push(rig);
        assert_eq!(snapshot.energy().unwrap().joules(), "10000.000000");
        assert_eq!(snapshot.energy_source().as_deref(), Some("model"));
        snapshot.meters.clear();
        assert_eq!(snapshot.energy(), None);
        assert_eq!(snapshot.energy_source(), None);
    }

    #[test]
    fn meters_of_one_scope_are_added_and_each_kind_is_named_once() {
        use energy::meter::{Kind, MeterId};

        let mut snapshot = sample();
        for (id, kind, joules) in
            [("gpu:0", Kind::Nvml, 1_000), ("gpu:1", Kind::Nvml, 2_000), ("gpu:2", Kind::Hwmon, 4)]
        {
            let mut board = snapshot.meters[0].clone();
            board.spec.id = MeterId::new(id).unwrap();
            board.spec.kind = kind;
            board.total = MicroJoules::new(joules * 1_000_000);
            snapshot.meters.push(board);
        }
        assert_eq!(snapshot.energy().unwrap().joules(), "9127.456789");
        assert_eq!(snapshot.energy_source().as_deref(), Some("model+nvml+hwmon"));
    }

    #[test]
    fn joules_per_terahash_have_two_bases() {
        let snapshot = sample();
        let reported = snapshot.joules_per_terahash_reported().unwrap();
        assert_eq!(reported.to_string(), "6123456.789000");
        let proven = snapshot.joules_per_terahash_proven().unwrap();
        assert_eq!(proven.to_string(), "6803840.876667");
    }
}
