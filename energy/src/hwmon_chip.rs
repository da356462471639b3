//! One channel of a hardware monitor chip, which the configuration names.
//!
//! Read [`Channel`], then [`ChipMeter::discover`] and [`ChipMeter::poll`]. A mainboard's or a carrier
//! board's chips lie below `class/hwmon` of the [`Tree`], in an order that changes from start to start,
//! so that they are known by name. A channel is, best first:
//! - a counter (`energyN_input`);
//! - a power (`powerN_average`, else `powerN_input`);
//! - a voltage and a current that belong together, of which the product is the power.
//!
//! Which voltage belongs to which current is known where both have one label, and of Texas Instruments'
//! INA chips, by number: their other inputs are voltages over a shunt, a thousandth of the rail's. Of
//! other chips it is not guessed: by number, a converter's input would be taken times its output.
//!
//! Facts: the kernel's documentation of the sysfs interface and of ina2xx, ina238 and ina3221.
//! Deliberately not here: sums of channels (a chip's rails may lie one behind the other), a board's own
//! chip, which [`crate::hwmon`] finds by its address.
//!
//! Units: files hold microjoules, microwatts, millivolts and milliamperes; times are monotonic.

use std::{collections::BTreeMap, time::Duration};

use units::MicroJoules;

use crate::{
    board::Gauge,
    counter::{GapReason, Step},
    meter::{Kind, MeterId, MeterSpec, Scope, Tier},
    tree::{Failure, Tree, read_number, read_text},
};

/// Where the chips are, from the root of the tree.
const FOLDER: &str = "class/hwmon";
/// More than any chip has of one kind, and more chips than a machine has.
const MOST: usize = 256;

/// Which channel of which chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What its driver calls the chip, such as `ina3221`.
    pub chip: String,
    /// The channel's label, such as `VDD_CPU`, or where it has none its files' name, such as `power1`
    /// or, of a voltage and a current, `curr1`. Not needed where the chip has one channel.
    pub label: Option<String>,
}

/// Why there is no such meter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No chip has this name.
    #[error("no chip of {FOLDER} is called {chip:?}; there are {found:?}")]
    NoChip {
        /// The name.
        chip: String,
        /// Those that are there.
        found: Vec<String>,
    },
    /// The chip has no such channel.
    #[error("{chip} has no channel {label:?}; {passed_over:?} were passed over")]
    NoChannel {
        /// The chip.
        chip: String,
        /// The label that was looked for.
        label: Option<String>,
        /// Other channels and those that are none, with the reason.
        passed_over: Vec<String>,
    },
    /// Several channels fit, and they are not added.
    #[error("{fitting:?} all fit: name one by its label")]
    Ambiguous {
        /// Those that fit.
        fitting: Vec<String>,
    },
    /// A file that could not be read, or that holds nothing that can be true.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file, from the tree's root.
        path: String,
        /// What was wrong.
        reason: String,
    },
}

/// The meter of one channel.
#[derive(Clone, Debug)]
pub struct ChipMeter {
    spec: MeterSpec,
    channel: Channel,
    /// Where it is now, from the tree's root.
    folder: String,
    sensor: Sensor,
    gauge: Gauge,
}

/// What of a channel is read; each is the name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sensor {
    Energy(String),
    Power(String),
    Product { volts: String, amperes: String },
}

impl Sensor {
    fn describe(&self) -> String {
        match self {
            Self::Energy(file) | Self::Power(file) => file.clone(),
            Self::Product { volts, amperes } => format!("{volts} x {amperes}"),
        }
    }

    /// Microjoules or microwatts.
    fn read(&self, tree: &dyn Tree, folder: &str) -> Result<u128, Failure> {
        let number = |file: &String| read_number(tree, &format!("{folder}/{file}"));
        match self {
            Self::Energy(file) | Self::Power(file) => Ok(number(file)?.into()),
            Self::Product { volts, amperes } => {
                Ok(u128::from(number(volts)?) * u128::from(number(amperes)?))
            }
        }
    }
}

/// A channel that was found, or why what looks like one is none.
struct Found {
    /// Its label and its files' name.
    names: [String; 2],
    folder: String,
    sensor: Result<Sensor, String>,
}

impl Found {
    fn is(&self, label: Option<&String>) -> bool {
        label.is_none_or(|label| self.names.contains(label))
    }

    fn describe(&self) -> String {
        let [label, stem] = &self.names;
        let label = if label.is_empty() { stem } else { label };
        match &self.sensor {
            Ok(sensor) => format!("{label} ({}/{})", self.folder, sensor.describe()),
            Err(reason) => format!("{label} ({}/{stem}: {reason})", self.folder),
        }
    }
}

impl ChipMeter {
    /// Looks for the channel, and takes the first reading. The meter will be called `id`.
    ///
    /// # Errors
    /// Why there is nothing to read, or not one thing.
    pub fn discover(
        tree: &dyn Tree,
        channel: &Channel,
        id: MeterId,
        at: Duration,
    ) -> Result<Self, Unavailable> {
        let Found { names, folder, sensor } = find(tree, channel)?;
        let sensor = sensor.map_err(|reason| Unavailable::Unreadable {
            path: format!("{folder}/{}", names[1]),
            reason,
        })?;
        let path = || format!("{folder}/{}", sensor.describe());
        let unreadable = |reason: String| Unavailable::Unreadable { path: path(), reason };
        let first = sensor.read(tree, &folder).map_err(|failure| unreadable(failure.reason()))?;
        let gauge = match sensor {
            Sensor::Energy(_) => Gauge::counter(first, at),
            Sensor::Power(_) | Sensor::Product { .. } => Gauge::power(first, at)
                .map_err(|_| unreadable(format!("{first} microwatts, which no rail carries")))?,
        };
        let spec = spec(id, channel, &sensor);
        Ok(Self { spec, channel: channel.clone(), folder, sensor, gauge })
    }

    /// The same meter by the word of whoever knows the wiring: what the channel sees is this.
    #[must_use]
    pub fn seeing(mut self, scope: Scope) -> Self {
        self.spec.scope = scope;
        self
    }

    /// What this meter is.
    #[must_use]
    pub const fn spec(&self) -> &MeterSpec {
        &self.spec
    }

    /// Reads the channel: the energy added since the last poll, or why there is none.
    pub fn poll(&mut self, tree: &dyn Tree, at: Duration) -> Step {
        let mut reading = self.read(tree);
        if reading == Err(GapReason::Vanished) {
            // What was away is a gap also where it is found again at once: the gauge must hear.
            let step = self.gauge.take(reading, at);
            if !self.found_again(tree) {
                return step;
            }
            reading = self.read(tree);
        }
        self.gauge.take(reading, at)
    }

    /// The energy since the discovery; never falls.
    #[must_use]
    pub const fn total(&self) -> MicroJoules {
        self.gauge.total()
    }

    /// The part of the time since the discovery that the total covers, in parts per million.
    #[must_use]
    pub fn coverage_ppm(&self, now: Duration) -> u32 {
        self.gauge.coverage_ppm(now)
    }

    /// Time lost for good, by reason.
    #[must_use]
    pub const fn lost(&self) -> &BTreeMap<GapReason, Duration> {
        self.gauge.lost()
    }

    fn read(&self, tree: &dyn Tree) -> Result<u128, GapReason> {
        self.sensor.read(tree, &self.folder).map_err(|failure| failure.gap())
    }

    /// Looks for the channel where it is now; after a driver's reload the chip has another number.
    fn found_again(&mut self, tree: &dyn Tree) -> bool {
        let again = find(tree, &self.channel).ok().filter(|found| {
            found.sensor.as_ref() == Ok(&self.sensor)
                && self.sensor.read(tree, &found.folder).is_ok()
        });
        again.map(|found| self.folder = found.folder).is_some()
    }
}

fn spec(id: MeterId, channel: &Channel, sensor: &Sensor) -> MeterSpec {
    let label = channel.label.as_ref().map_or_else(String::new, |label| format!(" {label}"));
    MeterSpec {
        id,
        kind: Kind::Hwmon,
        scope: Scope::Device,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: Kind::Hwmon.least_uncertainty_ppm(),
        source: format!("hwmon {}{label}, {}", channel.chip, sensor.describe()),
    }
}

/// The one channel that fits. Of several the best kind is taken, and of that kind there must be one.
fn find(tree: &dyn Tree, channel: &Channel) -> Result<Found, Unavailable> {
    let folders = chips(tree, &channel.chip)?;
    let all: Vec<Found> =
        folders.iter().flat_map(|folder| channels(tree, folder, &channel.chip)).collect();
    let (fitting, others): (Vec<Found>, Vec<Found>) =
        all.into_iter().partition(|found| found.sensor.is_ok() && found.is(channel.label.as_ref()));
    let best = fitting.iter().map(rank).min();
    let mut fitting: Vec<Found> =
        fitting.into_iter().filter(|found| Some(rank(found)) == best).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(one), false) => {
            fitting.push(one);
            Err(Unavailable::Ambiguous { fitting: fitting.iter().map(Found::describe).collect() })
        }
        (None, _) => Err(Unavailable::NoChannel {
            chip: channel.chip.clone(),
            label: channel.label.clone(),
            passed_over: others.iter().map(Found::describe).collect(),
        }),
    }
}

const fn rank(found: &Found) -> u8 {
    match found.sensor {
        Ok(Sensor::Energy(_)) => 0,
        Ok(Sensor::Power(_)) => 1,
        Ok(Sensor::Product { .. }) => 2,
        Err(_) => 3,
    }
}

/// The folders of the chips of that name, in the order of their numbers.
fn chips(tree: &dyn Tree, chip: &str) -> Result<Vec<String>, Unavailable> {
    let mut folders = tree.list(FOLDER).map_err(|error| {
        let failure = Failure::of(FOLDER, &error);
        Unavailable::Unreadable { path: failure.path().clone(), reason: failure.reason() }
    })?;
    folders.sort_by_key(|name| (name.len(), name.clone()));
    folders.truncate(MOST);
    let named: Vec<(String, String)> = folders
        .into_iter()
        .map(|name| format!("{FOLDER}/{name}"))
        .filter_map(|folder| Some((read_text(tree, &format!("{folder}/name")).ok()?, folder)))
        .collect();
    let fitting: Vec<String> =
        named.iter().filter(|(name, _)| name == chip).map(|(_, folder)| folder.clone()).collect();
    if fitting.is_empty() {
        let mut found: Vec<String> = named.into_iter().map(|(name, _)| name).collect();
        found.dedup();
        return Err(Unavailable::NoChip { chip: chip.to_owned(), found });
    }
    Ok(fitting)
}

/// Everything of a chip that is a channel or looks like one.
fn channels(tree: &dyn Tree, folder: &str, chip: &str) -> Vec<Found> {
    let mut files = tree.list(folder).unwrap_or_default();
    files.sort();
    files.truncate(MOST);
    let chip = Chip { tree, folder, name: chip, files };
    let energy = chip.stems("energy").map(|stem| chip.found(&stem, chip.single(&stem)));
    let power = chip.stems("power").map(|stem| chip.found(&stem, chip.single(&stem)));
    let products = chip.stems("curr").map(|stem| chip.found(&stem, chip.product(&stem)));
    energy.chain(power).chain(products).collect()
}

/// A chip's files.
struct Chip<'a> {
    tree: &'a dyn Tree,
    folder: &'a str,
    name: &'a str,
    files: Vec<String>,
}

impl Chip<'_> {
    /// The names of the channels of a kind, such as `power1`.
    fn stems(&self, kind: &str) -> impl Iterator<Item = String> {
        let mut stems: Vec<String> = self
            .files
            .iter()
            .filter_map(|file| {
                file.strip_suffix("_input").or_else(|| file.strip_suffix("_average"))
            })
            .filter(|stem| {
                let number = stem.strip_prefix(kind).unwrap_or_default();
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
            .map(str::to_owned)
            .collect();
        stems.sort();
        stems.dedup();
        stems.into_iter()
    }

    fn found(&self, stem: &str, sensor: Result<Sensor, String>) -> Found {
        // Of a rail some drivers label the voltage alone.
        let of_voltage = || self.voltage(stem).ok().and_then(|voltage| self.label(&voltage));
        let is_product = matches!(sensor, Ok(Sensor::Product { .. }));
        let label = self.label(stem).or_else(|| is_product.then(of_voltage).flatten());
        let names = [label.unwrap_or_default(), stem.to_owned()];
        Found { names, folder: self.folder.to_owned(), sensor }
    }

    fn label(&self, stem: &str) -> Option<String> {
        let label = read_text(self.tree, &format!("{}/{stem}_label", self.folder)).ok();
        label.filter(|label| !label.is_empty())
    }

    fn has(&self, file: &str) -> bool {
        self.files.iter().any(|one| one == file)
    }

    /// Refuses a channel that is switched off: its file shows what it showed last, or nothing.
    fn on(&self, stem: &str) -> Result<(), String> {
        match read_number(self.tree, &format!("{}/{stem}_enable", self.folder)) {
            Ok(0) => Err(format!("{stem} is switched off")),
            _ => Ok(()),
        }
    }

    /// A counter or a power.
    fn single(&self, stem: &str) -> Result<Sensor, String> {
        self.on(stem)?;
        let (average, input) = (format!("{stem}_average"), format!("{stem}_input"));
        match (stem.starts_with("energy"), self.has(&average)) {
            (true, _) => Ok(Sensor::Energy(input)),
            (false, true) => Ok(Sensor::Power(average)),
            (false, false) => Ok(Sensor::Power(input)),
        }
    }

    /// A current with its voltage: both averages, or both readings of the moment.
    fn product(&self, current: &str) -> Result<Sensor, String> {
        let voltage = self.voltage(current)?;
        self.on(current)?;
        self.on(&voltage)?;
        let kind = ["_average", "_input"]
            .into_iter()
            .find(|kind| [current, &voltage].iter().all(|stem| self.has(&format!("{stem}{kind}"))));
        let kind = kind.ok_or_else(|| format!("{current} and {voltage} do not go together"))?;
        let (volts, amperes) = (format!("{voltage}{kind}"), format!("{current}{kind}"));
        Ok(Sensor::Product { volts, amperes })
    }

    /// The voltage that belongs to a current.
    fn voltage(&self, current: &str) -> Result<String, String> {
        if let Some(label) = self.label(current) {
            let fitting: Vec<String> =
                self.stems("in").filter(|stem| self.label(stem).as_ref() == Some(&label)).collect();
            match &fitting[..] {
                [] => {}
                [one] => return Ok(one.clone()),
                _ => return Err(format!("{fitting:?} are all labelled {label:?}")),
            }
        }
        let voltage = format!("in{}", current.trim_start_matches("curr"));
        if !rail(self.name, &voltage) {
            return Err(format!(
                "which voltage belongs to {current} is not known of {}",
                self.name
            ));
        }
        let there = self.stems("in").any(|stem| stem == voltage);
        there.then_some(voltage).ok_or_else(|| format!("{current} has no voltage of a rail"))
    }
}

/// Whether this input of this chip is the voltage of the rail whose current has the same number.
fn rail(chip: &str, input: &str) -> bool {
    match chip {
        // Inputs 4 to 7 are over the shunts, and the sum of them.
        "ina3221" => ["in1", "in2", "in3"].contains(&input),
        // Input 0 is over the shunt.
        "ina209" | "ina219" | "ina220" | "ina226" | "ina230" | "ina231" | "ina237" | "ina238"
        | "ina260" | "ina228" => input == "in1",
        _ => false,
    }
}

/// What this module's meters can say of themselves, for the test of what reports may claim.
#[cfg(test)]
pub(crate) fn a_spec() -> MeterSpec {
    let channel = Channel { chip: "ina3221".to_owned(), label: Some("VDD_CPU".to_owned()) };
    spec(MeterId::known("board:cpu"), &channel, &Sensor::Power("power1_input".to_owned()))
}

#[cfg(test)]
mod tests;
