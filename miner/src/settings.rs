//! What a miner is set up with: the file, the environment over it, flags over both.
//!
//! Read [`Config`], then [`load`]. Everything is parsed into types here, and every mistake is
//! reported at once with the file and key, the variable or the flag that it stands in. Loading
//! mechanics are the `config` crate's; what the keys mean is said here and in the shipped
//! miner.toml, which the tests load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use config::{Effective, Reader, Section, Source, Value, parse};
use energy::hwmon_chip::Channel;
use gpu::adapters::Wanted;
use kernels::Backend;
use units::{Difficulty, MilliWatts};

use crate::cli::RunArgs;
use crate::cpus::list::{CpuList, ListError};
use crate::cpus::plan::{Affinity, Plan, Smt, Wishes};
use crate::cpus::{Cpus, THREADS_MAX, system};
use crate::error::Failure;
use crate::restraint;
use crate::upstream::{Pool, Timing};

pub(crate) mod pools;
mod power;

/// Variables of ours that are no keys.
const NOT_KEYS: [&str; 1] = ["WATTPROOF_MINER_LOG"];
/// A figure that nobody metered is off by at least this part of it.
pub const LEAST_UNCERTAINTY: f64 = 0.3;
/// The version bits that BIP 320 leaves to miners.
const BIP320_MASK: u32 = 0x1fff_e000;

/// The whole of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to mine, in order of preference.
    pub pools: Vec<Pool>,
    /// With which backend, if on the CPU at all.
    pub cpu: Cpu,
    /// With how many threads, on which CPUs and how nicely.
    pub plan: Plan,
    /// The CPUs that this process may use.
    pub cpus: Cpus,
    /// Which version bits to offer to roll; 0 for none.
    pub version_mask: u32,
    /// A difficulty to ask for.
    pub difficulty: Option<Difficulty>,
    /// How energy is measured and reported; `None` for not at all.
    pub energy: Option<Energy>,
    /// Where to serve metrics and the summary.
    pub api: Option<SocketAddr>,
    /// How long things may take at a pool; no key sets it.
    pub timing: Timing,
    /// Which GPUs mine.
    pub gpus: Wanted,
    /// Whether somebody looks at what these GPUs show: dispatches are short then.
    pub interactive: bool,
    /// What holds the miner back.
    pub power: restraint::Settings,
    /// The root of the tree that Linux shows its sensors in.
    pub sysfs: PathBuf,
}

/// Which CPU backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// The one that a short measurement finds the fastest.
    Auto,
    /// This one, which this machine has.
    Named(Backend),
    /// None.
    Off,
}

/// How energy is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Energy {
    /// The root of the tree that Linux shows its sensors in.
    pub sysfs: PathBuf,
    /// What the rig draws while it mines, where no counter can be read.
    pub watts: Option<MilliWatts>,
    /// The chip that sees what the whole rig draws, where the owner says that one does.
    pub chip: Option<Channel>,
    /// How far `watts` may be off, as a part of it.
    pub uncertainty: f64,
    /// The file of the key that signs reports; at its usual place when `None`.
    pub key: Option<PathBuf>,
}

/// Reads flags, `variables` (the environment) and the file that the flags name.
///
/// # Errors
/// Every mistake, one to a line.
pub fn load(
    args: &RunArgs,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Effective), Failure> {
    refuse_what_is_not_there(args)?;
    let source = match &args.config {
        Some(path) => Source::read(path).map_err(|error| Failure::usage(error.to_string()))?,
        None => Source::none(),
    };
    let usage = |errors: config::Errors| Failure::usage(errors.to_string());
    let mut reader = Reader::new(source).map_err(usage)?;
    for (flag, path, text) in [
        ("-t", "cpu.threads", &args.threads),
        ("--cpu", "cpu.backend", &args.cpu),
        ("--gpu", "gpu.devices", &args.gpu),
        ("--api", "api.listen", &args.api),
        ("--power-cap", "power.cap_watts", &args.power_cap),
        ("--duty", "power.duty_percent", &args.duty),
    ] {
        if let Some(text) = text {
            reader = reader.flag(flag, path, text.clone());
        }
    }
    let mut reader = reader.environment("WATTPROOF_MINER", variables, &NOT_KEYS);
    let config = read(&mut reader, system::of_this_machine());
    let (mut config, effective) = reader.finish(config).map_err(usage)?;
    config.pools = pools::chosen(args, config.pools)?;
    if config.cpu == Cpu::Off && config.gpus == Wanted::Off {
        return Err(Failure::usage("nothing to mine with: the CPU and all GPUs are off"));
    }
    Ok((config, effective))
}

/// Reads a file for `check`: as mining with it would, and no pool is an error there too.
///
/// # Errors
/// Every mistake, one to a line.
pub fn check(
    path: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Effective, Failure> {
    let args = RunArgs { config: Some(path.to_owned()), ..RunArgs::default() };
    load(&args, variables).map(|(_, effective)| effective)
}

/// A backend by its name, which this machine must have.
///
/// # Errors
/// When the name is wrong, kept for a later version, or of a backend that can't run here.
pub fn backend(name: &str) -> Result<Backend, String> {
    let backend = Backend::from_str(name).map_err(|error| error.to_string())?;
    kernels::build(backend).map(|_| backend).map_err(|error| error.to_string())
}

fn refuse_what_is_not_there(args: &RunArgs) -> Result<(), Failure> {
    match args.algorithm.as_deref() {
        None | Some("sha256d") => {}
        Some(other) => {
            return Err(Failure::usage(format!("-a {other}: the only algorithm is sha256d")));
        }
    }
    if args.tui {
        return Err(Failure::usage("--tui: the full-screen display is not in this version"));
    }
    Ok(())
}

fn read(reader: &mut Reader, cpus: Cpus) -> Option<Config> {
    let pools = reader.root().each("pool", pools::pool);
    let mut section = reader.section("cpu");
    let cpu = section.or("backend", "\"auto\"", parse::text_as(cpu, "auto, off or a backend"));
    let wishes = wishes(&mut section, &cpus);
    let mut section = reader.section("gpu");
    let devices = section.or("devices", "\"auto\"", gpus);
    let interactive = section.or("interactive", "false", parse::boolean());
    let mut section = reader.section("mining");
    let rolling = section.or("version_rolling", "true", parse::boolean());
    let difficulty = section.optional("difficulty", difficulty);
    let energy = energy(&mut reader.section("energy"));
    let is_metered = energy.as_ref().is_none_or(|(energy, _)| energy.is_some());
    let power = power::power(&mut reader.section("power"), is_metered);
    let api = reader.section("api").or("listen", "\"127.0.0.1:4068\"", api);
    let (energy, sysfs) = energy?;
    Some(Config {
        pools: pools?,
        cpu: cpu?,
        plan: Plan::new(&cpus, &wishes?),
        cpus,
        version_mask: if rolling? { BIP320_MASK } else { 0 },
        difficulty: difficulty?,
        energy,
        api: api?,
        timing: Timing::default(),
        gpus: with_software(devices?, cpu? == Cpu::Off),
        interactive: interactive?,
        power: power?,
        sysfs,
    })
}

fn wishes(section: &mut Section<'_>, cpus: &Cpus) -> Option<Wishes> {
    let threads = section.or("threads", "\"auto\"", threads);
    let words = [("auto", Smt::All), ("all", Smt::All), ("cores", Smt::Cores)];
    let smt = section.or("smt", "\"auto\"", parse::one_of(&words));
    let hint = "auto, off or a list of CPUs such as 0-3,8";
    let affinity =
        section.or("affinity", "\"auto\"", parse::text_as(|text| affinity(text, cpus), hint));
    let nice = section.or("nice", "10", nice);
    Some(Wishes { threads: threads?, smt: smt?, affinity: affinity?, nice: nice? })
}

/// How energy is measured, and where sensors are in any case.
fn energy(section: &mut Section<'_>) -> Option<(Option<Energy>, PathBuf)> {
    let report = section.or("report", "true", parse::boolean());
    let sysfs = section.or("sysfs", "\"/sys\"", parse::path());
    let watts = section.optional("watts", parse::f64_in(0.001..=1e9));
    let uncertainty = section.or("uncertainty", "0.3", parse::f64_in(LEAST_UNCERTAINTY..=1.0));
    let key = section.optional("key", parse::path());
    let chip = chip(section);
    let sysfs = sysfs?;
    let energy = Energy {
        chip: chip?,
        sysfs: sysfs.clone(),
        watts: watts?.map(milliwatts),
        uncertainty: uncertainty?,
        key: key?,
    };
    Some((report?.then_some(energy), sysfs))
}

/// A chip by its driver's name, and which of its channels.
fn chip(section: &mut Section<'_>) -> Option<Option<Channel>> {
    let chip = section.optional("chip", parse::string());
    let label = section.optional("chip_channel", parse::string());
    match (chip?, label?) {
        (None, Some(_)) => {
            section.problem("chip_channel", "it is of no use without energy.chip");
            None
        }
        (chip, label) => Some(chip.map(|chip| Channel { chip, label })),
    }
}

fn cpu(name: &str) -> Result<Cpu, String> {
    match name {
        "auto" => Ok(Cpu::Auto),
        "off" => Ok(Cpu::Off),
        _ => backend(name).map(Cpu::Named),
    }
}

/// auto, off, or names: separated by commas, or in a list.
fn gpus(value: &Value) -> Result<Wanted, String> {
    let hint = "auto, off, or GPUs by number or a part of their names";
    let names: Option<Vec<String>> = match (value.as_str(), value.as_array()) {
        (Some("auto"), _) => return Ok(Wanted::Auto { software: false }),
        (Some("off"), _) => return Ok(Wanted::Off),
        (Some(text), _) => Some(text.split(',').map(|name| name.trim().to_owned()).collect()),
        (None, Some(list)) => list.iter().map(name_or_number).collect(),
        (None, None) => name_or_number(value).map(|number| vec![number]),
    };
    let names =
        names.filter(|names| !names.is_empty() && names.iter().all(|name| !name.is_empty()));
    names.map(Wanted::Named).ok_or_else(|| hint.to_owned())
}

fn name_or_number(value: &Value) -> Option<String> {
    let number = || value.as_integer().map(|number| number.to_string());
    value.as_str().map(str::to_owned).or_else(number)
}

/// Software adapters mine unasked where the CPU does not.
fn with_software(wanted: Wanted, software: bool) -> Wanted {
    match wanted {
        Wanted::Auto { .. } => Wanted::Auto { software },
        Wanted::Off | Wanted::Named(_) => wanted,
    }
}

fn threads(value: &Value) -> Result<Option<usize>, String> {
    if value.as_str() == Some("auto") {
        return Ok(None);
    }
    let number = parse::u64_in(1..=THREADS_MAX.into())(value);
    let number = number.map_err(|hint| format!("auto, or {hint}"))?;
    Ok(usize::try_from(number).ok())
}

fn affinity(text: &str, cpus: &Cpus) -> Result<Affinity, String> {
    match text {
        "auto" => return Ok(Affinity::Auto),
        "off" => return Ok(Affinity::Off),
        _ => {}
    }
    let list: CpuList = text.parse().map_err(|error: ListError| error.to_string())?;
    let beyond = list.without(cpus.allowed());
    if cpus.can_pin() && !beyond.is_empty() {
        let allowed = cpus.allowed();
        return Err(format!("this process may use {allowed}, and not {beyond}"));
    }
    Ok(Affinity::Only(list))
}

/// From -20 to 19, as the system has it; below 0 is for those whom the system lets.
fn nice(value: &Value) -> Result<i32, String> {
    let number = value.as_integer().and_then(|number| i32::try_from(number).ok());
    let number = number.filter(|number| (-20..=19).contains(number));
    number.ok_or_else(|| "a whole number from -20 to 19".to_owned())
}

fn difficulty(value: &Value) -> Result<Difficulty, String> {
    let number = parse::f64_in(f64::MIN_POSITIVE..=f64::MAX)(value);
    number.and_then(|number| Difficulty::new(number).map_err(|error| error.to_string()))
}

fn api(value: &Value) -> Result<Option<SocketAddr>, String> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    parse::socket_address()(value).map(Some).map_err(|hint| format!("off, or {hint}"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bounds, 0.001 to 1e9 W, are positive and far inside u64 as milliwatts"
)]
fn milliwatts(watts: f64) -> MilliWatts {
    MilliWatts::new((watts * 1e3).round() as u64)
}

#[cfg(test)]
mod tests;
