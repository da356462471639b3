//! One meter of the rig and its newest sample: the processor's own counters where they can be
//! read, otherwise a model that says that it is one; a graphics board's counter or power.
//!
//! A model's clock is the time that devices were busy, so that a miner without work claims no
//! energy. Counters see everything that the processor or the board does, idling included. Which
//! meters a rig has, and what is done where one is missing, is said in [`super::boards`].

use std::collections::BTreeMap;
use std::time::Duration;

use energy::counter::{GapReason, Step};
use energy::hwmon::Hwmon;
use energy::hwmon_chip::ChipMeter;
use energy::meter::{MeterSpec, PPM};
use energy::model::ModelMeter;
use energy::nvml::{Board, Nvml};
use energy::rapl::{Rapl, Tree, Unavailable};
use units::{MicroJoules, Moment, UnixMillis};

use super::sensors::{Folder, Processor};
use crate::settings;
use crate::telemetry::MeterReading;

/// A meter and its newest sample.
#[derive(Debug)]
pub struct Meter {
    source: Source,
    sampled_at: Option<UnixMillis>,
    newest: Sample,
    previous: Option<(Duration, MicroJoules)>,
    watts: Option<f64>,
}

/// What a meter's newest sample is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// The total holds the energy of all the time since the last good one.
    Good,
    /// It could not be read, and a later one may make it good. Until then the total is of an
    /// earlier time, and what was done since must not be set against it.
    Held,
    /// Energy since the last good one is lost for good; the total goes on from here.
    Lost,
}

#[derive(Debug)]
enum Source {
    Counters(Box<Rapl>, Folder),
    Model(ModelMeter),
    Monitor(Box<Hwmon>, Folder),
    Board(Box<Nvml>, Box<dyn Board + Send>),
    Chip(Box<ChipMeter>, Folder),
}

impl Meter {
    /// Opens the best meter there is for `threads` hashing threads, and says why it is not the
    /// processor's counters.
    #[must_use]
    pub fn open(
        settings: &settings::Energy,
        processor: &Processor,
        threads: usize,
        at: Moment,
    ) -> (Self, Option<Unavailable>) {
        Self::of_host(Rapl::discover, settings, processor, threads, at)
    }

    /// As [`Self::open`], for a processor beside graphics boards with meters of their own.
    #[must_use]
    pub fn open_beside_boards(
        settings: &settings::Energy,
        processor: &Processor,
        threads: usize,
        at: Moment,
    ) -> (Self, Option<Unavailable>) {
        Self::of_host(Rapl::discover_packages, settings, processor, threads, at)
    }

    fn of_host(
        discover: fn(&dyn Tree, Duration) -> Result<Rapl, Unavailable>,
        settings: &settings::Energy,
        processor: &Processor,
        threads: usize,
        at: Moment,
    ) -> (Self, Option<Unavailable>) {
        let tree = Folder::new(&settings.sysfs);
        let (source, why_not) = match discover(&tree, at.mono) {
            Ok(rapl) => (Source::Counters(Box::new(rapl), tree), None),
            Err(why) => (Source::Model(model(settings, processor, threads)), Some(why)),
        };
        (Self::new(source, at), why_not)
    }

    /// The owner's own figure for the whole rig, where there is one.
    #[must_use]
    pub fn configured(settings: &settings::Energy, at: Moment) -> Option<Self> {
        Some(Self::new(Source::Model(configured(settings)?), at))
    }

    /// A board's hardware monitor in that tree.
    #[must_use]
    pub fn of_monitor(monitor: Hwmon, tree: Folder, at: Moment) -> Self {
        Self::new(Source::Monitor(Box::new(monitor), tree), at)
    }

    /// A chip's channel in that tree.
    #[must_use]
    pub fn of_chip(chip: ChipMeter, tree: Folder, at: Moment) -> Self {
        Self::new(Source::Chip(Box::new(chip), tree), at)
    }

    /// A board that answers for itself.
    #[must_use]
    pub fn of_board(meter: Nvml, board: Box<dyn Board + Send>, at: Moment) -> Self {
        Self::new(Source::Board(Box::new(meter), board), at)
    }

    fn new(source: Source, at: Moment) -> Self {
        let (sampled_at, newest) = (None, Sample::Held);
        let mut meter = Self { source, sampled_at, newest, previous: None, watts: None };
        meter.sample(at, Duration::ZERO);
        meter
    }

    /// What the meter is.
    #[must_use]
    pub const fn spec(&self) -> &MeterSpec {
        match &self.source {
            Source::Counters(rapl, _) => rapl.spec(),
            Source::Model(model) => model.spec(),
            Source::Monitor(monitor, _) => monitor.spec(),
            Source::Board(meter, _) => meter.spec(),
            Source::Chip(chip, _) => chip.spec(),
        }
    }

    /// Takes a sample; `busy` is the time that the devices of a model were busy so far.
    pub fn sample(&mut self, at: Moment, busy: Duration) -> Sample {
        let lost = self.lost();
        let step = match &mut self.source {
            Source::Counters(rapl, tree) => rapl.poll(tree, at.mono),
            Source::Model(model) => {
                model.poll(true, busy);
                Step::Added(MicroJoules::ZERO)
            }
            Source::Monitor(monitor, tree) => monitor.poll(tree, at.mono),
            Source::Board(meter, board) => meter.poll(board.as_ref(), at.mono),
            Source::Chip(chip, tree) => chip.poll(tree, at.mono),
        };
        self.newest = match step {
            _ if self.lost() > lost => Sample::Lost,
            Step::NewEpoch { .. } => Sample::Lost,
            Step::Added(_) | Step::Baseline => Sample::Good,
            Step::Gap { .. } => Sample::Held,
        };
        self.show(at);
        self.newest
    }

    /// Power since the sample before this one.
    fn show(&mut self, at: Moment) {
        let total = self.total();
        self.watts = match self.newest {
            Sample::Good => self.previous.and_then(|(then, before)| {
                let seconds = at.mono.saturating_sub(then).as_secs_f64();
                let joules = total.checked_sub(before)?.joules_f64();
                (seconds > 0.0).then(|| joules / seconds)
            }),
            Sample::Held | Sample::Lost => None,
        };
        if self.newest != Sample::Held {
            self.previous = Some((at.mono, total));
        }
        if self.newest == Sample::Good {
            self.sampled_at = Some(at.unix);
        }
    }

    /// Whether the newest sample was good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.newest == Sample::Good
    }

    /// Energy since the meter was opened.
    #[must_use]
    pub fn total(&self) -> MicroJoules {
        match &self.source {
            Source::Counters(rapl, _) => rapl.total(),
            Source::Model(model) => model.total(),
            Source::Monitor(monitor, _) => monitor.total(),
            Source::Board(meter, _) => meter.total(),
            Source::Chip(chip, _) => chip.total(),
        }
    }

    /// The part of the time that the total covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, at: Moment) -> u32 {
        match &self.source {
            Source::Counters(rapl, _) => rapl.coverage_ppm(at.mono),
            // Its clock is the busy time, all of which it has seen.
            Source::Model(_) => PPM,
            Source::Monitor(monitor, _) => monitor.coverage_ppm(at.mono),
            Source::Board(meter, _) => meter.coverage_ppm(at.mono),
            Source::Chip(chip, _) => chip.coverage_ppm(at.mono),
        }
    }

    /// Everything, as of the newest sample.
    #[must_use]
    pub fn reading(&self) -> MeterReading {
        let gaps = self.gaps().into_iter();
        MeterReading {
            spec: self.spec().clone(),
            total: self.total(),
            watts: self.watts,
            gaps: gaps.map(|(why, length)| (why.as_str().to_owned(), length)).collect(),
            sampled_at: self.sampled_at,
        }
    }

    /// Time lost for good, by reason.
    fn gaps(&self) -> BTreeMap<GapReason, Duration> {
        match &self.source {
            Source::Counters(rapl, _) => rapl.lost(),
            Source::Model(_) => BTreeMap::new(),
            Source::Monitor(monitor, _) => monitor.lost().clone(),
            Source::Board(meter, _) => meter.lost().clone(),
            Source::Chip(chip, _) => chip.lost().clone(),
        }
    }

    /// Time lost for good.
    fn lost(&self) -> Duration {
        self.gaps().into_values().sum()
    }
}

/// The owner's own figure, else the table's for the cores that the threads keep busy.
fn model(settings: &settings::Energy, processor: &Processor, threads: usize) -> ModelMeter {
    configured(settings).unwrap_or_else(|| {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        ModelMeter::host(&processor.name, processor.cores.min(threads))
    })
}

fn configured(settings: &settings::Energy) -> Option<ModelMeter> {
    let uncertainty = parts_per_million(settings.uncertainty);
    Some(ModelMeter::configured(settings.watts?, uncertainty))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bounds of the setting, 0.3 to 1, are positive and far inside u32 as millionths"
)]
fn parts_per_million(part: f64) -> u32 {
    (part * 1e6).round() as u32
}

/// What a processor's meter would be for the record of `devices`: nothing is kept open.
#[must_use]
pub fn describe(settings: &settings::Energy, processor: &Processor, at: Moment) -> String {
    let threads = usize::try_from(processor.cores).unwrap_or(1);
    let (meter, why_not) = Meter::open(settings, processor, threads, at);
    let spec = meter.spec();
    let source = format!("{} ({})", spec.kind.as_str(), spec.source);
    match why_not {
        Some(why) => format!("{source}; {why}"),
        None => source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use energy::meter::{Kind, Scope};
    use units::MilliWatts;

    use super::*;

    fn settings(sysfs: &Path, configured: Option<MilliWatts>) -> settings::Energy {
        let sysfs = sysfs.to_owned();
        settings::Energy { sysfs, watts: configured, chip: None, uncertainty: 0.4, key: None }
    }

    fn processor() -> Processor {
        Processor { name: "A Processor of Tomorrow".to_owned(), cores: 2 }
    }

    fn at(seconds: u64) -> Moment {
        Moment { mono: Duration::from_secs(seconds), unix: UnixMillis::new(seconds * 1000) }
    }

    fn zone(root: &Path, energy: u64) {
        let folder = root.join("class/powercap/intel-rapl:0");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("name", "package-0\n".to_owned()),
            ("max_energy_range_uj", "262143328850\n".to_owned()),
            ("energy_uj", format!("{energy}\n")),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn counters_are_preferred_and_read_from_the_tree() {
        let root = tempfile::tempdir().unwrap();
        zone(root.path(), 1_000_000);
        let (mut meter, why_not) = Meter::open(
            &settings(root.path(), Some(MilliWatts::from_watts(65))),
            &processor(),
            2,
            at(10),
        );
        assert_eq!(why_not, None);
        assert_eq!(meter.spec().kind, Kind::Rapl);
        zone(root.path(), 61_000_000);
        meter.sample(at(12), Duration::ZERO);
        assert_eq!(meter.total().joules(), "60.000000");
        let reading = meter.reading();
        assert_eq!(reading.watts, Some(30.0));
        assert_eq!(reading.sampled_at, Some(UnixMillis::new(12_000)));
        assert_eq!(meter.coverage_ppm(at(12)), 1_000_000);
    }

    #[test]
    fn a_counter_that_fails_leaves_a_gap_and_no_zero() {
        let root = tempfile::tempdir().unwrap();
        zone(root.path(), 1_000_000);
        let (mut meter, _) = Meter::open(&settings(root.path(), None), &processor(), 2, at(0));
        fs::remove_dir_all(root.path().join("class")).unwrap();
        meter.sample(at(1), Duration::ZERO);
        assert_eq!(meter.reading().sampled_at, Some(UnixMillis::new(0)), "no good sample since");
        zone(root.path(), 21_000_000);
        meter.sample(at(2), Duration::ZERO);
        assert_eq!(meter.total().joules(), "20.000000", "the counter went on meanwhile");
    }

    #[test]
    fn a_counter_that_starts_over_has_lost_what_it_counted() {
        let root = tempfile::tempdir().unwrap();
        let chip = |energy: &str| {
            let folder = root.path().join("bus/pci/devices/0000:03:00.0/hwmon/hwmon0");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("name"), "xe").unwrap();
            fs::write(folder.join("energy1_input"), energy).unwrap();
        };
        chip("900000000");
        let (tree, board) = (Folder::new(root.path()), "0000:03:00.0".parse().unwrap());
        let id = energy::meter::MeterId::new("gpu:0").unwrap();
        let monitor = Hwmon::discover(&tree, board, id, at(0).mono).unwrap();
        let mut meter = Meter::of_monitor(monitor, tree, at(0));
        chip("950000000");
        assert_eq!(meter.sample(at(1), Duration::ZERO), Sample::Good);
        assert_eq!(meter.reading().watts, Some(50.0));
        chip("10000000");
        assert_eq!(meter.sample(at(3), Duration::ZERO), Sample::Lost);
        let reading = meter.reading();
        assert_eq!((meter.is_good(), reading.watts), (false, None));
        assert_eq!(reading.sampled_at, Some(UnixMillis::new(1_000)));
        assert_eq!(reading.gaps, [("reset".to_owned(), Duration::from_secs(2))]);
        chip("40000000");
        assert_eq!(meter.sample(at(4), Duration::ZERO), Sample::Good);
        // Of the last second alone: the two before it are lost.
        assert_eq!(meter.reading().watts, Some(30.0));
        assert_eq!(meter.total().joules(), "80.000000");
    }

    #[test]
    fn without_counters_a_configured_figure_counts_busy_time_only() {
        let root = tempfile::tempdir().unwrap();
        let (mut meter, why_not) = Meter::open(
            &settings(root.path(), Some(MilliWatts::from_watts(65))),
            &processor(),
            2,
            at(0),
        );
        assert_eq!(why_not, Some(Unavailable::Absent));
        assert_eq!((meter.spec().kind, meter.spec().scope), (Kind::Model, Scope::Rig));
        assert_eq!(meter.spec().uncertainty_ppm, 400_000);
        meter.sample(at(100), Duration::from_secs(10));
        assert_eq!(meter.total().joules(), "650.000000");
        meter.sample(at(200), Duration::from_secs(10));
        assert_eq!(meter.total().joules(), "650.000000", "an idle miner claims nothing");
        assert_eq!(meter.reading().watts, Some(0.0));
    }

    #[test]
    fn the_table_counts_no_more_cores_than_there_are_or_than_hash() {
        let root = tempfile::tempdir().unwrap();
        let power = |threads| {
            let (mut meter, _) =
                Meter::open(&settings(root.path(), None), &processor(), threads, at(0));
            meter.sample(at(1), Duration::from_secs(1));
            meter.total()
        };
        assert_eq!(power(4), power(2));
        assert_eq!(power(1).get() * 2, power(2).get());
    }
}
