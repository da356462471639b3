//! Which kernel mines, and what it could reach: measured once on each processor and kept.
//!
//! Read [`choose`]. The rates of all tiles are measured in turns (an eighth of a second a tile) and
//! kept in the user's cache directory, under the processor's name and this program's version: what
//! was quickest stays so until one of them changes. `--retune` measures again. A cache that cannot
//! be read or written costs the measurement and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kernels::chooser::{self, Rate};
use kernels::{Backend, Core, Tile};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// The file in the cache directory.
const FILE: &str = "wattproof/kernels.json";
/// The longest file that is read; a tile takes 40 bytes.
const FILE_MAX: u64 = 64 << 10;

/// The rates of one processor under one version of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: String,
    processor: String,
    /// Hashes per second of one thread, by tile.
    rates: BTreeMap<String, f64>,
}

/// What a choice is made from.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The processor's name; rates of another one do not count.
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
        let absolute =
            |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join(FILE));
        Self { processor: processor.to_owned(), cache, again }
    }
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
    let kept = tuning.cache.as_deref().filter(|_| !tuning.again).and_then(read);
    if let Some(tile) = kept.and_then(|kept| kept.fastest(tuning, &tiles)) {
        return tile;
    }
    tracing::info!("measuring {} kernels, once on this processor", usable.len());
    let (_, rates) = chooser::choose(&usable, &|| clock.elapsed());
    let kept = Kept::new(tuning, &rates);
    for (tile, rate) in &kept.rates {
        tracing::debug!("{tile}: {:.2} MH/s", rate / 1e6);
    }
    if let Some(Err(error)) = tuning.cache.as_deref().map(|path| write(path, &kept)) {
        tracing::debug!("the rates are not kept: {error}");
    }
    kept.fastest(tuning, &tiles).unwrap_or(tiles[0])
}

/// Hashes per second that `threads` on `cores` of this machine cannot exceed with this tile;
/// threads that share a core share its limit. `None` where the limit is not known.
#[must_use]
pub fn limit(tile: Tile, threads: usize, cores: usize, clock: Clock) -> Option<f64> {
    let core = Core::measure(&|| clock.elapsed())?;
    let one = core.limit(tile, tile.backend.versions_per_slice())?;
    let cores = u32::try_from(threads.min(cores.max(1))).unwrap_or(u32::MAX);
    Some(one * f64::from(cores))
}

impl Kept {
    fn new(tuning: &Tuning, rates: &[Rate]) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: tuning.processor.clone(),
            rates: rates
                .iter()
                .map(|rate| (rate.tile.to_string(), rate.hashes_per_second))
                .collect(),
        }
    }

    /// The fastest of these tiles, if all were measured on this processor by this version.
    fn fastest(&self, tuning: &Tuning, tiles: &[Tile]) -> Option<Tile> {
        let known = self.version == env!("CARGO_PKG_VERSION") && self.processor == tuning.processor;
        if !known {
            return None;
        }
        let rate = |tile: &Tile| self.rates.get(&tile.to_string()).copied();
        let rates: Option<Vec<(f64, Tile)>> =
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
fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, serde_json::to_vec_pretty(kept)?)?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning(folder: &Path) -> Tuning {
        Tuning { processor: "a processor".to_owned(), cache: Some(folder.join(FILE)), again: false }
    }

    /// Rates of all tiles, `best` the highest.
    fn kept(tuning: &Tuning, best: Tile) -> Kept {
        let rate =
            |tile: Tile| Rate { tile, hashes_per_second: if tile == best { 2.0 } else { 1.0 } };
        Kept::new(tuning, &kernels::tiles().into_iter().map(rate).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_measured_is_not_measured_again_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut tuning = tuning(folder.path());
        let path = tuning.cache.clone().unwrap();
        for tile in kernels::tiles() {
            write(&path, &kept(&tuning, tile)).unwrap();
            assert_eq!(choose(&tuning, None, Clock::start()), tile, "the file is believed");
            assert_eq!(choose(&tuning, Some(tile.backend), Clock::start()), tile);
        }
        let before = fs::read(&path).unwrap();
        // Another processor: measured, and kept under its own name.
        tuning.processor = "another".to_owned();
        let chosen = choose(&tuning, None, Clock::start());
        let after = read(&path).unwrap();
        assert_eq!(after.processor, "another");
        assert_eq!(after.fastest(&tuning, &kernels::tiles()), Some(chosen));
        // Asked for: measured again.
        fs::write(&path, before).unwrap();
        tuning.again = true;
        let _ = choose(&tuning, None, Clock::start());
        assert_eq!(read(&path).unwrap().processor, "another");
    }

    #[test]
    fn a_cache_that_cannot_be_used_costs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut tuning = tuning(folder.path());
        let path = tuning.cache.clone().unwrap();
        fs::create_dir_all(&path).unwrap();
        let backend = choose(&tuning, Some(Backend::Portable), Clock::start()).backend;
        assert_eq!(backend, Backend::Portable);
        assert!(read(&path).is_none() && write(&path, &kept(&tuning, backend.into())).is_err());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "{").unwrap();
        assert!(read(&path).is_none());
        tuning.cache = None;
        assert!(kernels::tiles().contains(&choose(&tuning, None, Clock::start())));
    }

    #[test]
    fn threads_that_share_a_core_share_its_limit() {
        let Some(tile) = kernels::tiles().into_iter().find(|t| t.backend == Backend::Avx2) else {
            return;
        };
        let of = |threads, cores| limit(tile, threads, cores, Clock::start()).unwrap();
        // Two measurements of one core differ; twice the cores is more than that.
        assert!(of(4, 2) < of(4, 4) && of(1, 4) < of(4, 4));
    }
}
