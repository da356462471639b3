//! Processors' energy counters as Linux shows them under `class/powercap`.
//!
//! Read [`Rapl::discover`], then [`Rapl::poll`]. The files come through a [`Tree`], whose root
//! (`/sys` on a machine) is the caller's business; nothing here opens anything.
//!
//! Zones overlap and must not be summed blindly. The rule:
//! 1. A zone by way of MMIO is the same counter as the standard one of that name: dropped.
//! 2. If there is a `psys` zone that has ever counted, it is the meter: it includes the packages.
//!    Its scope is the rig.
//! 3. Otherwise the packages are summed, with the `dram` zones in them, which servers' packages do
//!    not include. Their scope is the device. `core` and `uncore` lie within a package: never read.
//! 4. Two packages that show the same figure mirror one counter (dies of one socket), and one of
//!    them counts until they part.
//!
//! Deliberately not here: model-specific registers. No such counter sees the power supply, the
//! board, fans or disks, so the figure is less than what a plug would show.
//!
//! Units: microjoules; times are monotonic.

use std::{collections::BTreeMap, io, time::Duration};

use units::{MicroJoules, MilliWatts};

use crate::{
    counter::{Counter, GapReason, Limits, Step},
    meter::{Kind, MeterId, MeterSpec, Scope, Tier},
    tree::{Failure, read_number, read_text},
};

pub use crate::tree::Tree;

/// Where the zones are, from the root of the tree.
const FOLDER: &str = "class/powercap";
/// More than any one zone draws; it tells a wrap from a reset.
const MAX_POWER: MilliWatts = MilliWatts::from_watts(2_000);
/// A counter that stands still for longer is not counting.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Mirrors of one counter are read a moment apart: a joule is some milliseconds of a busy socket.
const MIRROR_TOLERANCE: MicroJoules = MicroJoules::new(1_000_000);
/// The platform counter misses some of the losses before it.
const PSYS_UNCERTAINTY_PPM: u32 = 80_000;
/// The packages' counters are the processor alone.
const PACKAGE_UNCERTAINTY_PPM: u32 = 100_000;

/// Why there is no meter here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No such tree: not Linux, a virtual machine, or a processor without counters.
    #[error("no processor energy counters here ({FOLDER} has no zones)")]
    Absent,
    /// The counters are there and may not be read.
    #[error("{path} may not be read by this user: the processor's energy counters are root's")]
    Permission {
        /// The file, from the tree's root.
        path: String,
    },
    /// A file that could not be read, or that holds no number.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file, from the tree's root.
        path: String,
        /// What was wrong.
        reason: String,
    },
}

impl Unavailable {
    /// The word for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Permission { .. } => "permission",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    fn of(failure: Failure) -> Self {
        let path = failure.path().clone();
        if failure.gap() == GapReason::Permission {
            return Self::Permission { path };
        }
        Self::Unreadable { path, reason: failure.reason() }
    }
}

/// The processor meter of a machine.
#[derive(Clone, Debug)]
pub struct Rapl {
    spec: MeterSpec,
    zones: Vec<Zone>,
    power: Option<MilliWatts>,
    last_poll: Duration,
}

#[derive(Clone, Debug)]
struct Zone {
    folder: String,
    name: String,
    range: MicroJoules,
    counter: Counter,
    /// The earlier zone whose counter this one repeats, for as long as it does.
    mirrors: Option<usize>,
}

impl Rapl {
    /// Looks for the zones, chooses among them, and takes the first reading.
    ///
    /// # Errors
    /// Why there is nothing to read; then the machine has no such meter, which is not zero energy.
    pub fn discover(tree: &dyn Tree, at: Duration) -> Result<Self, Unavailable> {
        let found = find_zones(tree)?;
        let psys: Vec<Found> =
            found.iter().filter(|zone| zone.counts_platform()).cloned().collect();
        Self::choose(found, psys, at)
    }

    /// As [`Self::discover`], without the platform: beside boards with meters of their own, since
    /// a platform's counter need not see what a board draws from the power supply by itself.
    ///
    /// # Errors
    /// Why there is nothing to read.
    pub fn discover_packages(tree: &dyn Tree, at: Duration) -> Result<Self, Unavailable> {
        Self::choose(find_zones(tree)?, Vec::new(), at)
    }

    fn choose(found: Vec<Found>, psys: Vec<Found>, at: Duration) -> Result<Self, Unavailable> {
        let is_platform = !psys.is_empty();
        let chosen = if is_platform { psys } else { packages_and_dram(found) };
        if chosen.is_empty() {
            return Err(Unavailable::Absent);
        }
        let spec = spec(is_platform, &chosen);
        let mut zones: Vec<Zone> = Vec::with_capacity(chosen.len());
        for found in chosen {
            let mirrors =
                zones.iter().position(|zone| zone.mirrors.is_none() && zone.shows(&found));
            zones.push(found.into_zone(at, mirrors));
        }
        Ok(Self { spec, zones, power: None, last_poll: at })
    }

    /// What this meter is.
    #[must_use]
    pub const fn spec(&self) -> &MeterSpec {
        &self.spec
    }

    /// Reads every zone. The energy added since the last poll, or the reason why a zone gave
    /// nothing; the other zones' energy counts all the same.
    pub fn poll(&mut self, tree: &dyn Tree, at: Duration) -> Step {
        let before = self.total();
        let mut gap = None;
        for zone in &mut self.zones {
            let step = match read_microjoules(tree, &zone.file("energy_uj")) {
                Ok(raw) => zone.counter.advance(raw, at),
                Err(failure) => zone.counter.failed(failure.gap(), at),
            };
            if matches!(step, Step::Gap { .. } | Step::NewEpoch { .. }) {
                gap.get_or_insert(step);
            }
        }
        self.part_mirrors();
        let added = self.total().checked_sub(before).unwrap_or_default();
        self.power = mean_power(added, at.saturating_sub(self.last_poll));
        self.last_poll = at;
        gap.unwrap_or(Step::Added(added))
    }

    /// Poll at least this often: a quarter of the time in which the smallest counter could go round
    /// once. Past that time a difference is ambiguous and becomes a gap.
    #[must_use]
    pub fn poll_within(&self) -> Duration {
        let ranges = self.zones.iter().map(|zone| zone.range).filter(|r| *r > MicroJoules::ZERO);
        let smallest = ranges.min().map_or(u128::MAX, MicroJoules::get);
        // Microjoules over milliwatts are milliseconds.
        let millis = u64::try_from(smallest / u128::from(MAX_POWER.get()) / 4);
        Duration::from_millis(millis.unwrap_or(u64::MAX)).min(STUCK_AFTER)
    }

    /// The energy since the discovery; never falls.
    #[must_use]
    pub fn total(&self) -> MicroJoules {
        let counted = self.zones.iter().filter(|zone| zone.mirrors.is_none());
        counted.fold(MicroJoules::ZERO, |sum, zone| sum.saturating_add(zone.counter.total()))
    }

    /// The mean power between the last two polls; `None` where nothing was added.
    #[must_use]
    pub const fn power(&self) -> Option<MilliWatts> {
        self.power
    }

    /// The part of the time since the discovery that every zone covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        self.counted().map(|zone| zone.counter.coverage_ppm(now)).min().unwrap_or(0)
    }

    /// Time lost for good by reason: of the zone that lost most.
    #[must_use]
    pub fn lost(&self) -> BTreeMap<GapReason, Duration> {
        let mut worst = BTreeMap::new();
        for (reason, length) in self.counted().flat_map(|zone| zone.counter.lost()) {
            let entry: &mut Duration = worst.entry(*reason).or_default();
            *entry = (*entry).max(*length);
        }
        worst
    }

    /// The zones that count, by name.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.counted().map(|zone| zone.name.as_str())
    }

    fn counted(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().filter(|zone| zone.mirrors.is_none())
    }

    /// Zones that no longer show the same figure are two counters; what the second has counted
    /// since the discovery then counts as well.
    fn part_mirrors(&mut self) {
        for index in 0..self.zones.len() {
            let zone = &self.zones[index];
            let Some(original) = zone.mirrors.map(|original| &self.zones[original]) else {
                continue;
            };
            let comparable =
                original.counter.failing().is_none() && zone.counter.failing().is_none();
            let (Some(a), Some(b)) = (original.counter.last_raw(), zone.counter.last_raw()) else {
                continue;
            };
            if comparable && apart(a, b, zone.range) > MIRROR_TOLERANCE.get() {
                self.zones[index].mirrors = None;
            }
        }
    }
}

impl Zone {
    fn file(&self, name: &str) -> String {
        format!("{FOLDER}/{}/{name}", self.folder)
    }

    fn shows(&self, other: &Found) -> bool {
        let same = self.counter.last_raw();
        let close =
            same.is_some_and(|raw| apart(raw, other.raw, self.range) <= MIRROR_TOLERANCE.get());
        self.is_package() && other.is_package() && self.range == other.range && close
    }

    fn is_package(&self) -> bool {
        self.name.starts_with("package")
    }
}

/// A zone as it was found, with its first reading.
#[derive(Clone, Debug)]
struct Found {
    folder: String,
    name: String,
    range: MicroJoules,
    raw: MicroJoules,
}

impl Found {
    fn is_package(&self) -> bool {
        self.name.starts_with("package")
    }

    /// A platform zone that still shows zero was never connected: it would report nothing for ever.
    fn counts_platform(&self) -> bool {
        self.name == "psys" && self.raw > MicroJoules::ZERO
    }

    fn into_zone(self, at: Duration, mirrors: Option<usize>) -> Zone {
        let range = (self.range > MicroJoules::ZERO).then_some(self.range);
        let limits = Limits { range, max_power: MAX_POWER, stuck_after: Some(STUCK_AFTER) };
        let mut counter = Counter::new(limits);
        counter.advance(self.raw, at);
        Zone { folder: self.folder, name: self.name, range: self.range, counter, mirrors }
    }
}

/// The standard zones, and those by MMIO whose name no standard one has; only the names that this
/// module uses, so that a `core` zone that may not be read hides nothing.
fn find_zones(tree: &dyn Tree) -> Result<Vec<Found>, Unavailable> {
    let mut folders = match tree.list(FOLDER) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unavailable::Absent),
        Err(error) => return Err(Unavailable::of(Failure::of(FOLDER, &error))),
    };
    folders.sort();
    let (standard, others): (Vec<&String>, Vec<&String>) =
        folders.iter().partition(|folder| folder.starts_with("intel-rapl:"));
    let mmio = others.into_iter().filter(|folder| folder.starts_with("intel-rapl-mmio:"));
    let mut found: Vec<Found> = Vec::new();
    for folder in standard {
        found.extend(open(tree, folder)?);
    }
    let names: Vec<String> = found.iter().map(|zone| zone.name.clone()).collect();
    for folder in mmio {
        found.extend(open(tree, folder)?.filter(|zone| !names.contains(&zone.name)));
    }
    Ok(found)
}

fn open(tree: &dyn Tree, folder: &str) -> Result<Option<Found>, Unavailable> {
    let file = |name: &str| format!("{FOLDER}/{folder}/{name}");
    let name = read_text(tree, &file("name")).map_err(Unavailable::of)?;
    if !(name.starts_with("package") || name == "psys" || name == "dram") {
        return Ok(None);
    }
    let number = |path: &str| read_microjoules(tree, path).map_err(Unavailable::of);
    let (range, raw) = (number(&file("max_energy_range_uj"))?, number(&file("energy_uj"))?);
    Ok(Some(Found { folder: folder.to_owned(), name, range, raw }))
}

fn packages_and_dram(found: Vec<Found>) -> Vec<Found> {
    let has_package = found.iter().any(Found::is_package);
    let keep = |zone: &Found| zone.is_package() || (has_package && zone.name == "dram");
    found.into_iter().filter(keep).collect()
}

fn spec(is_platform: bool, zones: &[Found]) -> MeterSpec {
    let with_dram = zones.iter().any(|zone| zone.name == "dram");
    let (id, scope, uncertainty_ppm) = match (is_platform, with_dram) {
        (true, _) => ("rapl:psys", Scope::Rig, PSYS_UNCERTAINTY_PPM),
        (false, true) => ("rapl:package+dram", Scope::Device, PACKAGE_UNCERTAINTY_PPM),
        (false, false) => ("rapl:package", Scope::Device, PACKAGE_UNCERTAINTY_PPM),
    };
    let names: Vec<&str> = zones.iter().map(|zone| zone.name.as_str()).collect();
    MeterSpec {
        id: MeterId::known(id),
        kind: Kind::Rapl,
        scope,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm,
        source: format!("powercap zones {}", names.join(", ")),
    }
}

/// What this module's meters can say of themselves, for the test of what reports may claim.
#[cfg(test)]
pub(crate) fn every_spec() -> [MeterSpec; 3] {
    let zone = |name: &str| Found {
        folder: String::new(),
        name: name.to_owned(),
        range: MicroJoules::ZERO,
        raw: MicroJoules::ZERO,
    };
    let (package, dram) = (zone("package-0"), zone("dram"));
    [spec(true, &[zone("psys")]), spec(false, &[zone("package-0")]), spec(false, &[package, dram])]
}

/// How far two counters of one range are apart, the short way round.
fn apart(a: MicroJoules, b: MicroJoules, range: MicroJoules) -> u128 {
    let direct = a.get().abs_diff(b.get());
    direct.min(range.get().saturating_sub(direct))
}

/// Microjoules over nanoseconds are gigawatts by the thousand: a factor of 10^6 makes milliwatts.
fn mean_power(energy: MicroJoules, elapsed: Duration) -> Option<MilliWatts> {
    let milliwatts = energy.get().checked_mul(1_000_000)?.checked_div(elapsed.as_nanos())?;
    u64::try_from(milliwatts).ok().filter(|milliwatts| *milliwatts > 0).map(MilliWatts::new)
}

fn read_microjoules(tree: &dyn Tree, path: &str) -> Result<MicroJoules, Failure> {
    read_number(tree, path).map(|microjoules| MicroJoules::new(microjoules.into()))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth;
