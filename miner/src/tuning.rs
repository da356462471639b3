//! Which kernel mines, and what it could reach: measured once on each processor and kept.
//!
//! Read [`choose`] and, for GPUs, [`choose_shaders`]. The rates of all tiles are measured in turns (an eighth of a second a tile) and
//! kept in the user's cache directory, under the processor's name and this program's version (for a
//! GPU: its name, its driver and the shaders): what was quickest stays so until one of them changes. `--retune` measures again, and so does every
//! start where the processor has no name. A cache that cannot be read or written, or holds what
//! cannot be, costs the measurement and nothing else.
//!
//! [`Limit`] is what mining and `bench` alike compare a device's rate with.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gpu::limit::Rates;
use gpu::{Adapter, Method, OpenError};
use kernels::chooser;
use kernels::{Backend, Core, Tile};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::Clock;
use crate::cpus::Cpus;
use crate::cpus::plan::Plan;
use crate::gpus::Shaders;

/// The folder in the cache directory, and the file there; each GPU has one of its own.
const FOLDER: &str = "wattproof";
const FILE: &str = "kernels.json";
/// The longest file that is read; a tile takes 40 bytes.
const FILE_MAX: u64 = 64 << 10;
/// No thread and no GPU hashes more a second; a file that says so is damaged.
const RATE_MAX: f64 = 1e12;

/// What stands for a shader that a GPU cannot run, in hashes per second.
const RATE_OF_NONE: f64 = 1e-3;

/// The rates of one processor under one version of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: String,
    processor: String,
    /// Hashes per second of one thread or GPU, by tile.
    rates: BTreeMap<String, f64>,
}

/// What a choice is made from.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The processor's name; rates of another one do not count. Where it is empty none do, and none
    /// are kept: any processor could be meant.
    pub processor: String,
    /// Where rates are kept; `None` measures every time.
    pub cache: Option<PathBuf>,
    /// Whether rates that are kept do not count either.
    pub again: bool,
}

impl Tuning {
    /// The usual place, `$XDG_CACHE_HOME/wattproof/kernels.json` or below `~/.cache`; `variable`
    /// looks up an environment variable.
    #[must_use]
    pub fn new(processor: &str, again: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let cache = folder(variable).map(|folder| folder.join(FILE));
        Self { processor: processor.to_owned(), cache, again }
    }

    /// The same for a GPU, whose place in the list of all does not count.
    #[must_use]
    pub fn of_gpu(
        info: &gpu::Info,
        again: bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let shaders = gpu::fingerprint();
        let processor = format!("{} ({}, {}), {shaders:016x}", info.name, info.api, info.driver);
        let digest = hex::encode(&Sha256::digest(&processor)[..8]);
        let cache = folder(variable).map(|folder| folder.join(format!("gpu-{digest}.json")));
        Self { processor, cache, again }
    }

    /// The file, where rates can be kept.
    fn file(&self) -> Option<&Path> {
        self.cache.as_deref().filter(|_| !self.processor.trim().is_empty())
    }
}

fn folder(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    absolute("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join(FOLDER))
}

/// The fastest tile here, of one backend where that is asked for.
///
/// # Panics
/// Never: the portable backend is always there, and a backend that is asked for was built before.
#[must_use]
pub fn choose(tuning: &Tuning, backend: Option<Backend>, clock: Clock) -> Tile {
    let mut tiles = kernels::tiles();
    let usable = tiles.clone();
    tiles.retain(|tile| backend.is_none_or(|backend| tile.backend == backend));
    if let [only] = tiles[..] {
        return only;
    }
    if let Some(tile) = tuning.known(&tiles) {
        return tile;
    }
    tracing::info!("measuring {} kernels, once on this processor", usable.len());
    let (_, rates) = chooser::choose(&usable, &|| clock.elapsed());
    let rates = rates.into_iter().map(|rate| (rate.tile.to_string(), rate.hashes_per_second));
    tuning.keep(rates.collect()).fastest(&tiles).unwrap_or(tiles[0])
}

/// The fastest shaders on a GPU, in their sizes: with many versions, and with few.
///
/// # Errors
/// When the GPU cannot be opened or is lost.
pub fn choose_shaders(
    tuning: &Tuning,
    adapter: &Adapter,
    clock: Clock,
) -> Result<Shaders, OpenError> {
    let many = gpu::Tile::ALL.to_vec();
    let few: Vec<gpu::Tile> =
        many.iter().copied().filter(|tile| tile.method.versions_log2() == 0).collect();
    if let (Some(many), Some(few)) = (tuning.known(&many), tuning.known(&few)) {
        return Ok(Shaders { many, few });
    }
    tracing::info!("{}: measuring {} shaders, once", adapter.info, many.len());
    let rates = gpu::chooser::measure(adapter, &many, &|| clock.elapsed())?;
    // A shader that does not run here is kept as one that nobody would choose.
    let rates = rates.into_iter().map(|rate| rate.unwrap_or(RATE_OF_NONE));
    let kept = tuning.keep(many.iter().map(ToString::to_string).zip(rates).collect());
    let fastest = |tiles: &[gpu::Tile]| kept.fastest(tiles).unwrap_or(tiles[0]);
    Ok(Shaders { many: fastest(&many), few: fastest(&few) })
}

impl Tuning {
    /// The fastest of these tiles, where that is known from before.
    fn known<T: Display + Copy>(&self, tiles: &[T]) -> Option<T> {
        let kept = self.file().filter(|_| !self.again).and_then(read)?;
        if kept.is_for(self) && kept.is_plausible() { kept.fastest(tiles) } else { None }
    }

    /// Keeps what was measured, if it can.
    fn keep(&self, rates: BTreeMap<String, f64>) -> Kept {
        let kept = Kept::new(self, rates);
        for (tile, rate) in &kept.rates {
            tracing::debug!("{tile}: {:.2} MH/s", rate / 1e6);
        }
        if let Some(Err(error)) = self.file().map(|path| write(path, &kept)) {
            tracing::debug!("the rates are not kept: {error}");
        }
        kept
    }
}

/// What a device's method allows, by the number of versions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Of threads on so many cores that are like the measured one.
    Cpu {
        /// The method.
        tile: Tile,
        /// The measured core.
        core: Core,
        /// How many there are.
        cores: usize,
    },
    /// Of a GPU.
    Gpu {
        /// The method.
        method: Method,
        /// What the GPU does of each operation.
        rates: Rates,
    },
}

impl Limit {
    /// Measures the core that this thread runs on, for threads that run as `plan` has it: those
    /// that share a core share its limit. `None` where there is no probe for the processor.
    ///
    /// A quota does not lower it: that says how long the cores run, not how fast.
    #[must_use]
    pub fn measure(tile: Tile, plan: &Plan, cpus: &Cpus, clock: Clock) -> Option<Self> {
        let core = Core::measure(&|| clock.elapsed())?;
        Some(Self::Cpu { tile, core, cores: plan.cores(cpus) })
    }

    /// Measures a GPU, in a second or less.
    ///
    /// # Errors
    /// When it cannot be opened or is lost.
    pub fn of_gpu(adapter: &Adapter, method: Method, clock: Clock) -> Result<Self, OpenError> {
        let rates = Rates::measure(adapter, &|| clock.elapsed())?;
        Ok(Self::Gpu { method, rates })
    }

    /// Hashes per second that cannot be exceeded with so many versions at hand; `None` where the
    /// method's limit is not known.
    #[must_use]
    pub fn hashes_per_second(&self, versions: usize) -> Option<f64> {
        match self {
            Self::Cpu { tile, core, cores } => {
                let versions = versions.clamp(1, tile.backend.versions_per_slice());
                let one = core.limit(*tile, versions)?;
                Some(one * f64::from(u32::try_from(*cores).unwrap_or(u32::MAX)))
            }
            Self::Gpu { method, rates } => {
                // With fewer versions the other shader runs, which shares nothing.
                let most = 1 << method.versions_log2();
                let method = if versions < most { Method::NonceMajor } else { *method };
                Some(rates.limit(method, most))
            }
        }
    }
}

impl Kept {
    fn new(tuning: &Tuning, rates: BTreeMap<String, f64>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, processor: tuning.processor.clone(), rates }
    }

    /// Whether they were measured on this processor by this version.
    fn is_for(&self, tuning: &Tuning) -> bool {
        self.version == env!("CARGO_PKG_VERSION") && self.processor == tuning.processor
    }

    /// Whether all of them can be rates.
    fn is_plausible(&self) -> bool {
        // What is no number fails both comparisons.
        self.rates.values().all(|rate| *rate > 0.0 && *rate <= RATE_MAX)
    }

    /// The fastest of these tiles, if all were measured.
    fn fastest<T: Display + Copy>(&self, tiles: &[T]) -> Option<T> {
        let rate = |tile: &T| self.rates.get(&tile.to_string()).copied();
        let rates: Option<Vec<(f64, T)>> =
            tiles.iter().map(|tile| Some((rate(tile)?, *tile))).collect();
        let best = rates?.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, tile)| tile)
    }
}

fn read(path: &Path) -> Option<Kept> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whole or not at all: two miners may start at once.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    write_by(&draft(path)?, path, kept)
}

/// Beside `path`, under a name that nobody else has.
fn draft(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(path.with_extension(format!("{}.new", hex::encode(random))))
}

/// By way of `draft`, of which nothing is left. Nothing may have that name yet, not even a link:
/// what it leads to would be overwritten.
fn write_by(draft: &Path, path: &Path, kept: &Kept) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(kept)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(draft)?;
    let named = file.write_all(&text).and_then(|()| fs::rename(draft, path));
    if named.is_err() {
        let _tidied = fs::remove_file(draft);
    }
    named
}

#[cfg(test)]
mod tests;
