//! What the agent knows of its meters over a restart: one file, written whole, locked while in use.
//!
//! Read [`Store::open`] and [`Saved`]. Before a report goes out, what it says is on disk: a total that
//! the pool has seen is never fallen behind. A file that is no such file is an error and not a new
//! beginning, since a new beginning would lose joules without a word.
//!
//! Units: microjoules as decimal texts; times in nanoseconds on the agent's axis.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use defences::{Defence, stands};
use energy::counter::{self, GapReason};
use energy::device::meter::{Kept, KeptGauge, Origin};
use energy::integrator;
use energy::meter::{Kind, Scope, Tier};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use units::{Hashes, MicroJoules, MilliWatts, Moment, UnixMillis};

/// The form of the file.
const VERSION: u32 = 1;
/// A farm of ten thousand meters has a few megabytes.
const LONGEST: u64 = 64 << 20;

/// The agent's own time: it goes on from where the last run saved it, by what the wall clock says has
/// passed since. A wall clock that was set meanwhile moves no more than that one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    offset: Duration,
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// The pool that was reported to.
    pub pool: Option<String>,
    /// Each meter, by its name.
    pub meters: BTreeMap<String, Kept>,
    /// Each worker's series, by its name.
    pub series: BTreeMap<String, Series>,
}

/// In which series a worker's totals count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Its number.
    pub epoch: u64,
    /// Whether joules were lost for good since the newest report: the next one begins another series.
    pub lost: bool,
    /// The meters whose totals are in it: other ones begin another series.
    pub meters: BTreeSet<String>,
}

/// The file, which nobody else has while this lives.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    _lock: File,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be read or written.
    #[error("state file {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another agent has it.
    #[error("state file {0}: another agent is using it")]
    Taken(PathBuf),
    /// It holds something else.
    #[error(
        "state file {path}: {reason}; move it away to begin anew, which the pool sees as a gap"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Axis {
    /// The axis of a run that begins `now`, after what was saved.
    fn after(saved: Option<(Duration, UnixMillis)>, now: Moment) -> Self {
        let Some((at, unix)) = saved else { return Self { offset: Duration::ZERO } };
        let so_far = at.saturating_add(now.unix.saturating_since(unix));
        Self { offset: so_far.saturating_sub(now.mono) }
    }

    /// A moment of this run on the axis.
    #[must_use]
    pub const fn at(&self, now: Moment) -> Duration {
        self.offset.saturating_add(now.mono)
    }
}

impl Store {
    /// Takes the file, and reads what the last run kept; nothing where there is no file yet.
    ///
    /// # Errors
    /// When it can't be had, or is none of ours.
    pub fn open(path: &Path, now: Moment) -> Result<(Self, Saved, Axis), StoreError> {
        let of_io = |error| StoreError::Io { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(of_io)?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.with_extension("lock"))
            .map_err(of_io)?;
        let alone = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        if alone.is_err() && stands(Defence::StateLock) {
            return Err(StoreError::Taken(path.to_owned()));
        }
        let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
        let store = Self { path: path.to_owned(), _lock: lock };
        match read(path).map_err(of_io)? {
            None => Ok((store, Saved::default(), Axis::after(None, now))),
            Some(text) => {
                let file: Form = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
                let clock = (Duration::from_nanos(file.at), UnixMillis::new(file.unix));
                let saved = file.understand().ok_or_else(|| damaged("not our form".to_owned()))?;
                Ok((store, saved, Axis::after(Some(clock), now)))
            }
        }
    }

    /// Writes everything, so that it is on disk when this returns.
    ///
    /// # Errors
    /// When it can't be written; the file is then as it was.
    pub fn save(&self, saved: &Saved, axis: Axis, now: Moment) -> Result<(), StoreError> {
        let form = Form::of(saved, nanos(axis.at(now)), now.unix.get());
        let text = serde_json::to_string(&form).unwrap_or_default();
        self.write(&text).map_err(|error| StoreError::Io { path: self.path.clone(), error })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut text = String::new();
            file.take(LONGEST).read_to_string(&mut text).map(|_| Some(text))
        }
    }
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    version: u32,
    /// When it was written, on the axis.
    at: u64,
    /// The same by the wall clock, in Unix milliseconds.
    unix: u64,
    pool: Option<String>,
    meters: BTreeMap<String, MeterForm>,
    series: BTreeMap<String, Series>,
}

/// A meter as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct MeterForm {
    origin: OriginForm,
    firmware: Option<String>,
    claimed_hashes: String,
    first_at: u64,
    last_at: u64,
    covered: u64,
    /// Nanoseconds by reason.
    lost: BTreeMap<String, u64>,
    gauge: GaugeForm,
}

/// What a total is of, as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct OriginForm {
    place: String,
    serial: Option<String>,
    field: String,
    kind: String,
    scope: String,
    tier: u8,
    calibration: String,
}

/// A gauge as it is written. The texts are integers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GaugeForm {
    /// In microjoules.
    Counter { raw: String, total: String },
    /// In milliwatts and half picojoules.
    Power { power: u64, half_picojoules: String },
}

impl Form {
    fn of(saved: &Saved, at: u64, unix: u64) -> Self {
        let meters = saved.meters.iter();
        Self {
            version: VERSION,
            at,
            unix,
            pool: saved.pool.clone(),
            meters: meters.map(|(name, kept)| (name.clone(), MeterForm::of(kept))).collect(),
            series: saved.series.clone(),
        }
    }

    fn understand(self) -> Option<Saved> {
        if self.version != VERSION {
            return None;
        }
        let meters = self.meters.into_iter();
        let meters = meters.map(|(name, form)| Some((name, form.understand()?)));
        let meters = meters.collect::<Option<_>>()?;
        Some(Saved { pool: self.pool, meters, series: self.series })
    }
}

impl MeterForm {
    fn of(kept: &Kept) -> Self {
        let (first_at, last_at, covered, lost, gauge) = match &kept.gauge {
            KeptGauge::Counter(kept) => {
                let (raw, total) = (kept.last_raw.get(), kept.total.get());
                let gauge = GaugeForm::Counter { raw: raw.to_string(), total: total.to_string() };
                (kept.first_at, kept.last_at, kept.covered, &kept.lost, gauge)
            }
            KeptGauge::Power(kept) => {
                let half_picojoules = kept.half_picojoules.to_string();
                let gauge = GaugeForm::Power { power: kept.last_power.get(), half_picojoules };
                (kept.first_at, kept.last_at, kept.covered, &kept.lost, gauge)
            }
        };
        let lost = lost.iter().map(|(why, length)| (why.as_str().to_owned(), nanos(*length)));
        Self {
            origin: OriginForm::of(&kept.origin),
            firmware: kept.firmware.clone(),
            claimed_hashes: kept.claimed.get().to_string(),
            first_at: nanos(first_at),
            last_at: nanos(last_at),
            covered: nanos(covered),
            lost: lost.collect(),
            gauge,
        }
    }

    fn understand(self) -> Option<Kept> {
        let duration = Duration::from_nanos;
        let lost = self.lost.iter();
        let lost = lost.map(|(why, length)| Some((GapReason::parse(why)?, duration(*length))));
        let lost = lost.collect::<Option<_>>()?;
        let (first_at, last_at) = (duration(self.first_at), duration(self.last_at));
        let covered = duration(self.covered);
        let gauge = match self.gauge {
            GaugeForm::Counter { raw, total } => KeptGauge::Counter(counter::Kept {
                first_at,
                last_raw: MicroJoules::new(raw.parse().ok()?),
                last_at,
                total: MicroJoules::new(total.parse().ok()?),
                covered,
                lost,
            }),
            GaugeForm::Power { power, half_picojoules } => KeptGauge::Power(integrator::Kept {
                first_at,
                last_power: MilliWatts::new(power),
                last_at,
                half_picojoules: half_picojoules.parse().ok()?,
                covered,
                lost,
            }),
        };
        Some(Kept {
            gauge,
            origin: self.origin.understand()?,
            claimed: Hashes::new(self.claimed_hashes.parse().ok()?),
            firmware: self.firmware,
        })
    }
}

impl OriginForm {
    fn of(origin: &Origin) -> Self {
        Self {
            place: origin.place.clone(),
            serial: origin.serial.clone(),
            field: origin.field.clone(),
            kind: origin.kind.as_str().to_owned(),
            scope: origin.scope.as_str().to_owned(),
            tier: origin.tier.get(),
            calibration: origin.calibration.clone(),
        }
    }

    fn understand(self) -> Option<Origin> {
        Some(Origin {
            place: self.place,
            serial: self.serial,
            field: self.field,
            kind: Kind::parse(&self.kind)?,
            scope: Scope::parse(&self.scope)?,
            tier: Tier::new(self.tier)?,
            calibration: self.calibration,
        })
    }
}

/// Nanoseconds fill 64 bits after five centuries.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(mono: u64, unix: u64) -> Moment {
        Moment { mono: Duration::from_secs(mono), unix: UnixMillis::new(unix * 1000) }
    }

    fn saved() -> Saved {
        let kept = |gauge| Kept {
            gauge,
            origin: Origin {
                place: "antminer at 192.0.2.7:4028, channel 0".to_owned(),
                serial: Some("A1".to_owned()),
                field: "stats: STATS[1].chain_power".to_owned(),
                kind: Kind::AsicModel,
                scope: Scope::Rig,
                tier: Tier::FIRMWARE_MODEL,
                calibration: String::new(),
            },
            claimed: Hashes::new(1 << 70),
            firmware: Some("49.0.1.3".to_owned()),
        };
        let lost = BTreeMap::from([(GapReason::TooLong, Duration::from_millis(1_500))]);
        let (first_at, last_at) = (Duration::from_nanos(1), Duration::from_secs(90));
        let covered = Duration::from_secs(80);
        let counter = counter::Kept {
            first_at,
            last_raw: MicroJoules::new(u128::MAX),
            last_at,
            total: MicroJoules::new(1 << 100),
            covered,
            lost: lost.clone(),
        };
        let power = integrator::Kept {
            first_at,
            last_power: MilliWatts::new(3_417_000),
            last_at,
            half_picojoules: u128::MAX,
            covered,
            lost,
        };
        Saved {
            pool: Some("stratum+tcp://127.0.0.1:3333".to_owned()),
            meters: BTreeMap::from([
                ("plug".to_owned(), kept(KeptGauge::Counter(counter))),
                ("rig".to_owned(), kept(KeptGauge::Power(power))),
            ]),
            series: BTreeMap::from([(
                "a.rig".to_owned(),
                Series { epoch: 7, lost: true, meters: BTreeSet::from(["rig".to_owned()]) },
            )]),
        }
    }

    #[test]
    fn what_is_saved_is_read_again_to_the_last_digit_and_time_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/agent.json");
        let (store, nothing, axis) = Store::open(&path, moment(5, 1_000)).unwrap();
        assert_eq!(
            (nothing, axis.at(moment(5, 1_000))),
            (Saved::default(), Duration::from_secs(5))
        );
        store.save(&saved(), axis, moment(65, 1_060)).unwrap();
        assert!(matches!(Store::open(&path, moment(0, 0)), Err(StoreError::Taken(_))));
        drop(store);
        // Another process, a hundred seconds later.
        let (_, read, axis) = Store::open(&path, moment(1, 1_160)).unwrap();
        assert_eq!(read, saved());
        assert_eq!(axis.at(moment(1, 1_160)), Duration::from_secs(165));
        assert_eq!(axis.at(moment(3, 1_162)), Duration::from_secs(167));
    }

    #[test]
    fn a_wall_clock_that_was_set_back_takes_no_time_away() {
        let saved = Some((Duration::from_secs(65), UnixMillis::new(1_060_000)));
        let axis = Axis::after(saved, moment(1, 3));
        assert_eq!(axis.at(moment(1, 3)), Duration::from_secs(65));
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_named_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.json");
        for text in [
            "",
            "{}",
            "{\"version\":2,\"at\":0,\"unix\":0,\"pool\":null,\"meters\":{},\"series\":{}}",
        ] {
            fs::write(&path, text).unwrap();
            let error = Store::open(&path, moment(0, 0)).unwrap_err();
            assert!(error.to_string().contains("agent.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
