//! A graphics board's hardware monitor, as Linux shows it below the board's PCI address.
//!
//! Read [`Hwmon::discover`], then [`Hwmon::poll`]. The files come through a [`Tree`], whose root
//! (`/sys` on a machine) is the caller's business. Channel 1 is the whole board: its counter
//! (`energy1_input`) where it can be read, else its power (`power1_average`, else `power1_input`).
//! A chip that vanishes is looked for again: after a driver's reload it has another number.
//!
//! Deliberately not here: further channels, which are parts of the board or something else, and
//! chips that are not found by an address. A graphics unit within a processor shows the processor's
//! power here; its joules are in the processor's counters, and such a meter is not to be added.
//!
//! Units: files hold microjoules and microwatts; times are monotonic.

use std::{collections::BTreeMap, io, time::Duration};

use units::MicroJoules;

use crate::{
    board::Gauge,
    counter::{GapReason, Step},
    meter::{Kind, MeterId, MeterSpec, Scope, Tier},
    pci::PciAddress,
    tree::{Failure, Tree, read_number, read_text},
};

/// Why a board has no such meter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No such device, or its driver shows no sensors.
    #[error("no hardware monitor at {folder}")]
    Absent {
        /// Where it would be, from the tree's root.
        folder: String,
    },
    /// The chip is there and shows neither energy nor power.
    #[error("{folder} shows neither energy nor power")]
    NoSensor {
        /// The chip, from the tree's root.
        folder: String,
    },
    /// The sensor is there and may not be read.
    #[error("{path} may not be read by this user")]
    Permission {
        /// The file, from the tree's root.
        path: String,
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

/// The meter of one board.
#[derive(Clone, Debug)]
pub struct Hwmon {
    spec: MeterSpec,
    address: PciAddress,
    /// Its driver's name for it.
    name: String,
    /// Where it is now, from the tree's root.
    folder: String,
    sensor: Sensor,
    gauge: Gauge,
}

/// What of a chip is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sensor {
    Energy,
    AveragePower,
    Power,
}

impl Sensor {
    /// Best first.
    const ALL: [Self; 3] = [Self::Energy, Self::AveragePower, Self::Power];

    const fn file(self) -> &'static str {
        match self {
            Self::Energy => "energy1_input",
            Self::AveragePower => "power1_average",
            Self::Power => "power1_input",
        }
    }

    /// The file that says whether the channel is switched on; most chips have none.
    const fn switch(self) -> &'static str {
        match self {
            Self::Energy => "energy1_enable",
            Self::AveragePower | Self::Power => "power1_enable",
        }
    }

    fn gauge(self, first: u64, at: Duration) -> Result<Gauge, GapReason> {
        match self {
            Self::Energy => Ok(Gauge::counter(first.into(), at)),
            Self::AveragePower | Self::Power => Gauge::power(first.into(), at),
        }
    }
}

impl Hwmon {
    /// Looks for the chip of the board at `address`, and takes the first reading. The meter will be
    /// called `id`.
    ///
    /// # Errors
    /// Why there is nothing to read; then the board has no such meter, which is not zero energy.
    pub fn discover(
        tree: &dyn Tree,
        address: PciAddress,
        id: MeterId,
        at: Duration,
    ) -> Result<Self, Unavailable> {
        let mut why = None;
        let chips = chips(tree, address)?;
        for sensor in Sensor::ALL {
            for folder in &chips {
                match open(tree, folder, sensor, at) {
                    Ok(Some(gauge)) => {
                        let name = read_text(tree, &format!("{folder}/name")).unwrap_or_default();
                        let spec = spec(id, &name, address, sensor);
                        return Ok(Self {
                            spec,
                            address,
                            name,
                            folder: folder.clone(),
                            sensor,
                            gauge,
                        });
                    }
                    Ok(None) => {}
                    Err(reason) => {
                        why.get_or_insert(reason);
                    }
                }
            }
        }
        let folder = chips.first().cloned().unwrap_or_else(|| monitors(address));
        Err(why.unwrap_or(Unavailable::NoSensor { folder }))
    }

    /// What this meter is.
    #[must_use]
    pub const fn spec(&self) -> &MeterSpec {
        &self.spec
    }

    /// Reads the sensor: the energy added since the last poll, or why there is none.
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
        let number = read_number(tree, &format!("{}/{}", self.folder, self.sensor.file()));
        number.map(u128::from).map_err(|failure| failure.gap())
    }

    /// Looks for a chip of the same name that shows the same, and turns to it.
    fn found_again(&mut self, tree: &dyn Tree) -> bool {
        let again = chips(tree, self.address).unwrap_or_default().into_iter().find(|folder| {
            let name = read_text(tree, &format!("{folder}/name")).unwrap_or_default();
            let file = format!("{folder}/{}", self.sensor.file());
            name == self.name && read_number(tree, &file).is_ok()
        });
        let found = again.is_some();
        self.folder = again.unwrap_or_else(|| std::mem::take(&mut self.folder));
        found
    }
}

fn spec(id: MeterId, name: &str, address: PciAddress, sensor: Sensor) -> MeterSpec {
    MeterSpec {
        id,
        kind: Kind::Hwmon,
        scope: Scope::Device,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: Kind::Hwmon.least_uncertainty_ppm(),
        source: format!("hwmon {name} at {address}, {}", sensor.file()),
    }
}

/// Where a board's chips are, from the root of the tree.
fn monitors(address: PciAddress) -> String {
    format!("bus/pci/devices/{address}/hwmon")
}

/// The folders of a board's chips, in the order of their numbers.
fn chips(tree: &dyn Tree, address: PciAddress) -> Result<Vec<String>, Unavailable> {
    let folder = monitors(address);
    let mut names = match tree.list(&folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Unavailable::Absent { folder });
        }
        Err(error) => return Err(Unavailable::of(Failure::of(&folder, &error))),
    };
    names.retain(|name| name.starts_with("hwmon"));
    // The whole board's chip is made before those of its parts: the lowest number first.
    names.sort_by_key(|name| (name.len(), name.clone()));
    if names.is_empty() {
        return Err(Unavailable::Absent { folder });
    }
    Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
}

/// The chip's gauge by this sensor; `None` where the chip has no such sensor, or it is off.
fn open(
    tree: &dyn Tree,
    folder: &str,
    sensor: Sensor,
    at: Duration,
) -> Result<Option<Gauge>, Unavailable> {
    if read_number(tree, &format!("{folder}/{}", sensor.switch())).is_ok_and(|on| on == 0) {
        return Ok(None);
    }
    let path = format!("{folder}/{}", sensor.file());
    let first = match read_number(tree, &path) {
        Ok(first) => first,
        Err(failure) if failure.gap() == GapReason::Vanished => return Ok(None),
        Err(failure) => return Err(Unavailable::of(failure)),
    };
    let impossible = |_| Unavailable::Unreadable {
        path,
        reason: format!("{first} microwatts, which no board in use draws"),
    };
    sensor.gauge(first, at).map(Some).map_err(impossible)
}

impl Unavailable {
    fn of(failure: Failure) -> Self {
        let path = failure.path().clone();
        if failure.gap() == GapReason::Permission {
            return Self::Permission { path };
        }
        Self::Unreadable { path, reason: failure.reason() }
    }
}

/// What this module's meters can say of themselves, for the test of what reports may claim.
#[cfg(test)]
pub(crate) fn every_spec() -> [MeterSpec; 3] {
    let address = "0000:03:00.0".parse().expect("an address written in the code");
    Sensor::ALL.map(|sensor| spec(MeterId::known("gpu:0"), "amdgpu", address, sensor))
}

#[cfg(test)]
mod tests;
