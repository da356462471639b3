//! The rig's energy meter: the processor's own counters where they can be read, otherwise a model
//! that says that it is one.
//!
//! The model's clock is the time that the hashing threads were busy, so that a miner without work
//! claims no energy. The counters see everything that the processor does, idling included.

use std::time::Duration;

use energy::counter::Step;
use energy::meter::{MeterSpec, PPM};
use energy::model::ModelMeter;
use energy::rapl::{Rapl, Unavailable};
use units::{MicroJoules, Moment, UnixMillis};

use super::sensors::{Folder, Processor};
use crate::settings;
use crate::telemetry::MeterReading;

/// A meter and its newest sample.
#[derive(Debug)]
pub struct Meter {
    source: Source,
    sampled_at: Option<UnixMillis>,
    is_good: bool,
    previous: Option<(Duration, MicroJoules)>,
    watts: Option<f64>,
}

#[derive(Debug)]
enum Source {
    Counters(Box<Rapl>, Folder),
    Model(ModelMeter),
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
        let tree = Folder::new(&settings.sysfs);
        let (source, why_not) = match Rapl::discover(&tree, at.mono) {
            Ok(rapl) => (Source::Counters(Box::new(rapl), tree), None),
            Err(why) => (Source::Model(model(settings, processor, threads)), Some(why)),
        };
        let mut meter =
            Self { source, sampled_at: None, is_good: false, previous: None, watts: None };
        meter.sample(at, Duration::ZERO);
        (meter, why_not)
    }

    /// What the meter is.
    #[must_use]
    pub fn spec(&self) -> &MeterSpec {
        match &self.source {
            Source::Counters(rapl, _) => rapl.spec(),
            Source::Model(model) => model.spec(),
        }
    }

    /// Takes a sample; `busy` is the time that the threads were busy so far, on average.
    pub fn sample(&mut self, at: Moment, busy: Duration) {
        self.is_good = match &mut self.source {
            Source::Counters(rapl, tree) => {
                matches!(rapl.poll(tree, at.mono), Step::Added(_) | Step::Baseline)
            }
            Source::Model(model) => {
                model.poll(true, busy);
                true
            }
        };
        if !self.is_good {
            self.watts = None;
            return;
        }
        self.sampled_at = Some(at.unix);
        let total = self.total();
        self.watts = self.previous.and_then(|(then, before)| {
            let seconds = at.mono.saturating_sub(then).as_secs_f64();
            let joules = total.checked_sub(before)?.joules_f64();
            (seconds > 0.0).then(|| joules / seconds)
        });
        self.previous = Some((at.mono, total));
    }

    /// Whether the newest sample was good. If not, the total is of an earlier time, and what was
    /// done since then must not be set against it.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.is_good
    }

    /// Energy since the meter was opened.
    #[must_use]
    pub fn total(&self) -> MicroJoules {
        match &self.source {
            Source::Counters(rapl, _) => rapl.total(),
            Source::Model(model) => model.total(),
        }
    }

    /// The part of the time that the total covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, at: Moment) -> u32 {
        match &self.source {
            Source::Counters(rapl, _) => rapl.coverage_ppm(at.mono),
            // Its clock is the busy time, all of which it has seen.
            Source::Model(_) => PPM,
        }
    }

    /// Everything, as of the newest sample.
    #[must_use]
    pub fn reading(&self) -> MeterReading {
        let gaps = match &self.source {
            Source::Counters(rapl, _) => rapl.lost().into_iter().collect(),
            Source::Model(_) => Vec::new(),
        };
        MeterReading {
            spec: self.spec().clone(),
            total: self.total(),
            watts: self.watts,
            gaps: gaps.into_iter().map(|(why, length)| (why.as_str().to_owned(), length)).collect(),
            sampled_at: self.sampled_at,
        }
    }
}

/// The owner's own figure, else the table's for the cores that the threads keep busy.
fn model(settings: &settings::Energy, processor: &Processor, threads: usize) -> ModelMeter {
    match settings.watts {
        Some(power) => ModelMeter::configured(power, parts_per_million(settings.uncertainty)),
        None => {
            let threads = u32::try_from(threads).unwrap_or(u32::MAX);
            ModelMeter::host(&processor.name, processor.cores.min(threads))
        }
    }
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
        settings::Energy { sysfs, watts: configured, uncertainty: 0.4, key: None }
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
