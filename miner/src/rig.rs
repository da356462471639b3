//! What a rig mines with: found and measured before any of it starts.
//!
//! Read [`Rig::find`]. The CPU has its fastest kernel, each GPU its fastest shader. A GPU that is
//! there and does not mine is named in the log with the reason. Deliberately without threads: those
//! are started by [`Rig::start`], which hands each device its workers.

mod hush;

use std::sync::Arc;

use energy::pci::PciAddress;
use gpu::Adapter;
use gpu::adapters::{self, Wanted};
use kernels::Tile;

use crate::clock::Clock;
use crate::commands::fastest;
use crate::device::{Device, Place};
use crate::error::Failure;
use crate::gpus::{self, Gpu, Shaders};
use crate::hands::Crew;
use crate::instruments::boards::GpuToMeter;
use crate::restraint::governor::Range;
use crate::settings::{Config, Cpu};
use crate::space::Layout;
use crate::tuning::{self, Limit, Tuning};
use crate::workers;

/// The devices, in the order in which they claim.
#[derive(Debug)]
pub struct Rig {
    cpu: Option<Tile>,
    gpus: Vec<Ready>,
}

/// A GPU that was measured.
#[derive(Debug)]
pub struct Ready {
    adapter: Adapter,
    shaders: Shaders,
    /// What it could do at the most; `None` where that could not be measured.
    limit: Option<Limit>,
}

impl Rig {
    /// A CPU alone.
    #[must_use]
    pub const fn of_cpu(tile: Tile) -> Self {
        Self { cpu: Some(tile), gpus: Vec::new() }
    }

    /// Finds and measures what the configuration asks for; `again` measures what is known from
    /// before as well.
    ///
    /// # Errors
    /// When a GPU is named that is not there or cannot be opened, or nothing is left to mine with.
    pub fn find(config: &Config, again: bool, clock: Clock) -> Result<Self, Failure> {
        let cpu = match config.cpu {
            Cpu::Named(backend) => Some(fastest(Some(backend), again, clock)),
            Cpu::Auto => Some(fastest(None, again, clock)),
            Cpu::Off => None,
        };
        let gpus = find_gpus(&config.gpus, again, clock)?;
        if gpus.is_empty() {
            if cpu.is_none() {
                return Err(Failure::failed(
                    "nothing to mine with: the CPU is off, and no GPU mines",
                ));
            }
            if config.gpus != Wanted::Off {
                tracing::info!("gpu: none to mine with; mining on the CPU");
            }
        }
        Ok(Self { cpu, gpus })
    }

    /// How each device deals its part of a job's space.
    #[must_use]
    pub fn layouts(&self) -> Vec<Layout> {
        let cpu = self.cpu.iter().map(|tile| Layout::of_cpu(tile.backend));
        cpu.chain(self.gpus.iter().map(Ready::layout)).collect()
    }

    /// What there is to set for the least energy per hash, before any of it starts: what becomes of
    /// the GPUs, those that do not start included, the governor hears with each reading.
    #[must_use]
    pub fn range(&self, config: &Config) -> Range {
        let threads = if self.cpu.is_some() { config.plan.threads() } else { 0 };
        let threads = u16::try_from(threads).unwrap_or(u16::MAX);
        Range { threads, gpus: !self.gpus.is_empty(), interactive: config.interactive }
    }

    /// What there is to meter beside the CPU.
    #[must_use]
    pub fn to_meter(&self) -> Vec<GpuToMeter> {
        let of = |Ready { adapter, .. }: &Ready| GpuToMeter {
            device: name(adapter),
            name: adapter.info.name.clone(),
            pci: adapter.info.pci.as_deref().and_then(|text| text.parse::<PciAddress>().ok()),
            software: adapter.info.software || adapter.info.integrated,
        };
        self.gpus.iter().map(of).collect()
    }

    /// Starts the workers of all devices and gives the devices, in the order in which they claim.
    ///
    /// # Errors
    /// When the CPU's threads or a GPU's cannot be started.
    pub fn start(
        self,
        crew: &Crew,
        config: &Config,
        clock: Clock,
    ) -> Result<Vec<Arc<Device>>, Failure> {
        let mut devices = Vec::new();
        if let Some(tile) = self.cpu {
            devices.push(start_cpu(crew, tile, config, clock)?);
        }
        let first = devices.len();
        for (place, ready) in self.gpus.into_iter().enumerate() {
            match ready.start(crew, first + place, config.interactive) {
                Ok(device) => devices.push(device),
                Err(error) if matches!(config.gpus, Wanted::Named(_)) => {
                    return Err(Failure::failed(error.to_string()));
                }
                Err(error) => tracing::warn!("passed over: {error}"),
            }
        }
        if devices.is_empty() {
            return Err(nothing());
        }
        Ok(devices)
    }
}

fn nothing() -> Failure {
    Failure::failed("nothing to mine with: the CPU is off, and no GPU mines")
}

impl Ready {
    /// How it deals its part of a job's space.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout::of_gpu(self.shaders.many.method.versions_log2())
    }

    /// Starts its thread, which claims as the device that has this `index` in every work.
    ///
    /// # Errors
    /// When it cannot be opened any more, or there is no thread for it.
    pub fn start(
        self,
        crew: &Crew,
        index: usize,
        interactive: bool,
    ) -> Result<Arc<Device>, gpus::StartError> {
        let Self { adapter, shaders, limit } = self;
        let dispatch = match (interactive, adapter.info.software) {
            (true, _) => gpus::DISPATCH_INTERACTIVE,
            (false, true) => gpus::DISPATCH_IN_SOFTWARE,
            (false, false) => gpus::DISPATCH,
        };
        let device = Arc::new(Device::new(name(&adapter), shaders.many, 1));
        if let Some(limit) = limit {
            device.set_limit(limit);
        }
        let line = format!("{}: shader {}", adapter.info, shaders.many);
        let gpu = Gpu { adapter, shaders, dispatch, device: Arc::clone(&device) };
        gpus::start(crew, gpu, index)?;
        tracing::info!("{line}");
        Ok(device)
    }
}

fn start_cpu(
    crew: &Crew,
    tile: Tile,
    config: &Config,
    clock: Clock,
) -> Result<Arc<Device>, Failure> {
    let device = Arc::new(Device::new("cpu", tile, config.plan.threads()));
    if let Some(limit) = Limit::measure(tile, &config.plan, &config.cpus, clock) {
        device.set_limit(limit);
    }
    for warning in config.plan.warnings() {
        tracing::warn!("{warning}");
    }
    workers::start(crew, &device, 0, tile, &config.plan)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let Place { cpus, nice } = device.place();
    let threads = config.plan.describe(&config.cpus, cpus.as_ref());
    let nice = nice.map_or_else(String::new, |nice| format!(", nice {nice}"));
    tracing::info!("cpu: {threads}, backend {tile}{nice}");
    Ok(device)
}

/// The GPUs that mine. One that nobody named and that cannot be opened is passed over.
fn find_gpus(wanted: &Wanted, again: bool, clock: Clock) -> Result<Vec<Ready>, Failure> {
    if *wanted == Wanted::Off {
        return Ok(Vec::new());
    }
    let chosen = adapters::choose(all_adapters(), wanted)
        .map_err(|error| Failure::usage(format!("--gpu: {error}")))?;
    for line in &chosen.passed_over {
        tracing::info!("passed over: {line}");
    }
    let mut found = Vec::new();
    for adapter in chosen.adapters {
        let line = adapter.info.to_string();
        match ready(adapter, again, clock) {
            Ok(ready) => found.push(ready),
            Err(error) if matches!(wanted, Wanted::Named(_)) => {
                return Err(Failure::failed(format!("{line}: {error}")));
            }
            Err(error) => tracing::warn!("passed over: {line}: {error}"),
        }
    }
    Ok(found)
}

/// Measures a GPU: its fastest shaders, and its limit.
///
/// # Errors
/// When it cannot be opened or is lost.
pub fn ready(adapter: Adapter, again: bool, clock: Clock) -> Result<Ready, gpu::OpenError> {
    let tuning = Tuning::of_gpu(&adapter.info, again, |name| std::env::var(name).ok());
    let shaders = tuning::choose_shaders(&tuning, &adapter, clock)?;
    let limit = Limit::of_gpu(&adapter, shaders.many.method, clock);
    if let Err(error) = &limit {
        tracing::debug!("{}: its limit is not known: {error}", adapter.info);
    }
    Ok(Ready { adapter, shaders, limit: limit.ok() })
}

/// All GPUs of this machine, without their drivers' remarks.
#[must_use]
pub fn all_adapters() -> Vec<Adapter> {
    hush::hushed(adapters::all)
}

/// A GPU's name as a device.
#[must_use]
pub fn name(adapter: &Adapter) -> String {
    format!("gpu:{}", adapter.info.index)
}
