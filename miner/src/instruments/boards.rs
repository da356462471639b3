//! Which meters a rig has: one for its processor, and one for each graphics board that mines.
//!
//! Read [`open`]. A board's meter is found by its PCI address: NVIDIA's library knows NVIDIA's
//! boards, Linux's hardware monitors know others. What holds:
//! - A software adapter, and a graphics unit within the processor, draw the processor's power: its
//!   meter sees them.
//! - The owner's figure (`energy.watts`) is of the whole rig. Where it serves, it serves alone.
//! - So is a chip that the owner names (`energy.chip`): it goes before all else.
//! - A board without a meter draws what nobody knows. Joules of the rest would be too few for the
//!   work of all, so only the owner's figure can stand for it; without one no energy is reported.
//! - Beside boards the processor's packages are metered and never the platform, whose counter need
//!   not see a board.
//!
//! Deliberately not here: which boards mine, and what is done with the readings.

use energy::hwmon::Hwmon;
use energy::hwmon_chip::{Channel, ChipMeter};
use energy::meter::{MeterId, Scope};
use energy::nvml::{Board, Nvml};
use energy::pci::PciAddress;
use energy::rapl::Unavailable;
use units::Moment;

use super::meter::Meter;
use super::sensors::{Folder, Processor};
use crate::settings;

/// A graphics adapter that mines, as far as its energy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuToMeter {
    /// The device that it is, as in "gpu:0"; its meter is called the same.
    pub device: String,
    /// What its maker calls it.
    pub name: String,
    /// Where it is; `None` where nobody says, and then no meter can be tied to it.
    pub pci: Option<PciAddress>,
    /// Whether it runs on the processor (or is a part of it), whose meter then sees its power.
    pub software: bool,
}

/// The processor and those who mine on it.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// Which it is.
    pub processor: &'a Processor,
    /// The hashing threads; 0 where the processor does not mine by itself.
    pub threads: usize,
}

/// The rig's meters.
#[derive(Debug)]
pub struct Opened {
    /// Empty where the rig's energy is unknown; no two have one name.
    pub meters: Vec<Meter>,
    /// Why the processor's counters are not among them, where they were wanted.
    pub no_counters: Option<Unavailable>,
    /// Boards without a meter, each with why.
    pub unmetered: Vec<String>,
}

impl Opened {
    /// What there is, for people, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let no_counters = self.no_counters.iter().map(ToString::to_string);
        let stand_in = self.unmetered.iter().filter(|_| !self.meters.is_empty());
        let stand_in = stand_in.map(|board| format!("no meter for {board}; energy.watts serves"));
        let meters = self.meters.iter().map(|meter| {
            let spec = meter.spec();
            let percent = f64::from(spec.uncertainty_ppm) / 1e4;
            format!("{}: {} ({}), +-{percent:.0} %", spec.id, spec.kind.as_str(), spec.source)
        });
        no_counters.chain(stand_in).chain(meters).collect()
    }

    /// Why no energy can be reported, where none can.
    #[must_use]
    pub fn unknown(&self) -> Option<String> {
        self.meters.is_empty().then(|| {
            format!(
                "none is reported, as there is no meter for {}; set energy.watts to what the whole rig \
                 draws while it mines",
                self.unmetered.join(", ")
            )
        })
    }
}

/// Opens every meter that the rig needs; `board` finds a board that answers for itself.
#[must_use]
pub fn open(
    settings: &settings::Energy,
    host: Host<'_>,
    gpus: &[GpuToMeter],
    board: impl Fn(PciAddress) -> Result<Box<dyn Board + Send>, String>,
    at: Moment,
) -> Opened {
    if let Some(channel) = &settings.chip {
        return of_chip(settings, channel, at);
    }
    let boards: Vec<&GpuToMeter> = gpus.iter().filter(|gpu| !gpu.software).collect();
    let threads = if boards.len() < gpus.len() { all_cores(host.processor) } else { host.threads };
    let (mut meters, mut unmetered) = (Vec::new(), Vec::new());
    for gpu in distinct(&boards) {
        match of_board(settings, gpu, &board, at) {
            Ok(meter) => meters.push(meter),
            Err(why) => unmetered.push(format!("{} ({}): {why}", gpu.device, gpu.name)),
        }
    }
    if !unmetered.is_empty() {
        let meters = Meter::configured(settings, at).into_iter().collect();
        return Opened { meters, no_counters: None, unmetered };
    }
    let (host, no_counters) = match boards.is_empty() {
        true => Meter::open(settings, host.processor, threads, at),
        false => Meter::open_beside_boards(settings, host.processor, threads, at),
    };
    if host.spec().scope > Scope::Device {
        return Opened { meters: vec![host], no_counters, unmetered };
    }
    // A model of no cores at work has nothing to say.
    if no_counters.is_none() || threads > 0 {
        meters.insert(0, host);
    }
    Opened { meters, no_counters, unmetered }
}

/// The chip that the owner says sees the whole rig; where it cannot be read, the owner's figure.
fn of_chip(settings: &settings::Energy, channel: &Channel, at: Moment) -> Opened {
    let tree = Folder::new(&settings.sysfs);
    let id = MeterId::new("hwmon:rig").expect("a name that keeps to the rule");
    match ChipMeter::discover(&tree, channel, id, at.mono) {
        Ok(chip) => {
            let meter = Meter::of_chip(chip.seeing(Scope::Rig), tree, at);
            Opened { meters: vec![meter], no_counters: None, unmetered: Vec::new() }
        }
        Err(why) => {
            let meters = Meter::configured(settings, at).into_iter().collect();
            let unmetered = vec![format!("energy.chip ({}): {why}", channel.chip)];
            Opened { meters, no_counters: None, unmetered }
        }
    }
}

/// A software adapter takes every core.
fn all_cores(processor: &Processor) -> usize {
    usize::try_from(processor.cores).unwrap_or(usize::MAX)
}

/// One board may be several adapters, and has one meter.
fn distinct<'a>(boards: &[&'a GpuToMeter]) -> Vec<&'a GpuToMeter> {
    let mut distinct: Vec<&GpuToMeter> = Vec::with_capacity(boards.len());
    for gpu in boards {
        if gpu.pci.is_none() || distinct.iter().all(|known| known.pci != gpu.pci) {
            distinct.push(gpu);
        }
    }
    distinct
}

/// The board's own meter, else its hardware monitor, or why there is neither.
fn of_board(
    settings: &settings::Energy,
    gpu: &GpuToMeter,
    board: impl Fn(PciAddress) -> Result<Box<dyn Board + Send>, String>,
    at: Moment,
) -> Result<Meter, String> {
    let address = gpu.pci.ok_or("its PCI address is not known")?;
    let id = MeterId::new(&gpu.device).ok_or("its name is no meter's")?;
    let name = format!("{} at {address}", gpu.name);
    let of_library = board(address).and_then(|board| {
        let meter = Nvml::open(board.as_ref(), id.clone(), &name, at.mono);
        meter.map(|meter| Meter::of_board(meter, board, at)).map_err(|fault| fault.to_string())
    });
    let why_not = match of_library {
        Ok(meter) => return Ok(meter),
        Err(why) => why,
    };
    let tree = Folder::new(&settings.sysfs);
    match Hwmon::discover(&tree, address, id, at.mono) {
        Ok(monitor) => Ok(Meter::of_monitor(monitor, tree, at)),
        Err(why) => Err(format!("NVML: {why_not}; hwmon: {why}")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
