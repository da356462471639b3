//! A processor's energy counter as Linux shows it, in a folder: a `psys` zone of `powercap` that a
//! thread raises by random amounts, and whose every figure is known.
//!
//! It wraps often, and as late as a real one would be believed to: what is more than the miner takes
//! for possible (2 kW) would go round once in 16 s, and it is read every second. Deliberately not here:
//! other zones, and readings that fail.
//!
//! Units: microjoules.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::failure::Failure;
use crate::joules::history::History;
use crate::joules::random::Random;
use crate::joules::repeat::{Again, Repeat};

/// The zone's folder.
const ZONE: &str = "class/powercap/intel-rapl:0";
/// Where it wraps to 0; no round number, as on processors.
const RANGE: u64 = 31_999_877_929;
/// How long before its first wrap it begins, at the most that it rises.
const BEFORE_WRAP: u64 = 3_500_000_000;
/// How often it rises.
const EVERY: Duration = Duration::from_millis(50);
/// By how much: 0.8 to 1.7 kW, where nothing holds the thread up.
const STEP: (u64, u64) = (40_000_000, 85_000_000);

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    history: History,
    raising: Repeat,
}

impl Tree {
    /// Makes it below `root`, and begins to raise it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn start(root: PathBuf, mut random: Random) -> Result<Self, Failure> {
        let zone = root.join(ZONE);
        let failed = |e| Failure::new(format!("{} cannot be made: {e}", zone.display()));
        fs::create_dir_all(&zone).map_err(failed)?;
        fs::write(zone.join("name"), "psys\n").map_err(failed)?;
        fs::write(zone.join("max_energy_range_uj"), format!("{RANGE}\n")).map_err(failed)?;
        let mut value = u128::from(RANGE - BEFORE_WRAP);
        let history = History::default();
        let notes = history.clone();
        let show = move |value: u128| {
            notes.note(clock::now(), value)?;
            write(&zone, value)
        };
        show(value).map_err(Failure::new)?;
        let raising = Repeat::start(EVERY, move || {
            value += u128::from(random.between(STEP.0, STEP.1));
            show(value).map(|()| Again::Yes)
        });
        Ok(Self { root, history, raising })
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What it has shown, wraps undone.
    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    /// Nothing while it is raised.
    ///
    /// # Errors
    /// Why it no longer is.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.raising.check()
    }
}

/// How often the counter has wrapped on its way from one figure to the other.
pub(crate) fn wraps(from: u128, to: u128) -> u128 {
    let range = u128::from(RANGE);
    (to / range).saturating_sub(from / range)
}

/// Shows a figure, so that nobody ever reads half of it.
fn write(zone: &Path, value: u128) -> Result<(), String> {
    let (draft, place) = (zone.join("energy_uj.new"), zone.join("energy_uj"));
    fs::write(&draft, format!("{}\n", value % u128::from(RANGE)))
        .and_then(|()| fs::rename(&draft, &place))
        .map_err(|e| format!("{} cannot be written: {e}", place.display()))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_zone_rises_and_wraps_as_it_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::start(folder.path().to_owned(), Random::new(1)).unwrap();
        let read = |name| {
            let text = fs::read_to_string(folder.path().join(ZONE).join(name)).unwrap();
            text.trim().to_owned()
        };
        assert_eq!(read("name"), "psys");
        assert_eq!(read("max_energy_range_uj"), RANGE.to_string());
        while tree.history().all().len() < 4 {
            let raw: u128 = read("energy_uj").parse().unwrap();
            assert!(tree.history().all().iter().any(|shown| shown.value == raw));
            thread::sleep(Duration::from_millis(10));
        }
        tree.check().unwrap();
        let history = tree.history().all();
        let rises = history.windows(2).map(|two| two[1].value - two[0].value);
        assert!(rises.min().unwrap() >= u128::from(STEP.0));
        drop(tree);
        write(&folder.path().join(ZONE), u128::from(RANGE) + 5).unwrap();
        assert_eq!(read("energy_uj"), "5");
    }

    #[test]
    fn wraps_are_counted() {
        let range = u128::from(RANGE);
        assert_eq!(wraps(range - 1, range - 1), 0);
        assert_eq!(wraps(range - 1, range), 1);
        assert_eq!(wraps(5, 3 * range + 1), 3);
    }
}
