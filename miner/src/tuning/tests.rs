//! What is believed of a cache, how it is written, and what a limit says.

use kernels::{Sha, Throughput};

use super::*;

fn tuning(folder: &Path) -> Tuning {
    Tuning { processor: "a processor".to_owned(), cache: Some(folder.join(FILE)), again: false }
}

/// Rates of all tiles, `best` the highest.
fn kept(tuning: &Tuning, best: Tile) -> Kept {
    let rate = |tile: Tile| (tile.to_string(), if tile == best { 2.0 } else { 1.0 });
    Kept::new(tuning, kernels::tiles().into_iter().map(rate).collect())
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
    assert_eq!(after.fastest(&kernels::tiles()), Some(chosen));
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

/// Has the file say this, and tells whether it was replaced by a measurement.
fn is_measured_again(tuning: &Tuning, text: &str) -> bool {
    let path = tuning.cache.as_deref().unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    let _ = choose(tuning, None, Clock::start());
    let after = fs::read_to_string(path).unwrap();
    assert!(after == text || read(path).unwrap().is_plausible(), "{after}");
    after != text
}

#[test]
fn rates_that_cannot_be_are_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let tuning = tuning(folder.path());
    let tile = kernels::tiles()[0];
    let text = serde_json::to_string(&kept(&tuning, tile)).unwrap();
    let with = |rate: &str| text.replace(":2.0", &format!(":{rate}"));
    if kernels::tiles().len() > 1 {
        for plausible in ["2.0", "1e-3", "1e12"] {
            assert!(!is_measured_again(&tuning, &with(plausible)), "{plausible}");
        }
        for wrong in ["0.0", "1.1e12", "1e999"] {
            assert!(is_measured_again(&tuning, &with(wrong)), "{wrong}");
        }
    }
    let mut kept = kept(&tuning, tile);
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, -5.0, 1e300] {
        kept.rates.insert(tile.to_string(), wrong);
        assert!(!kept.is_plausible(), "{wrong}");
    }
}

#[test]
fn rates_of_a_processor_without_a_name_are_neither_believed_nor_kept() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", " "] {
        let tuning = Tuning { processor: name.to_owned(), ..tuning(folder.path()) };
        let path = tuning.cache.clone().unwrap();
        let tiles = kernels::tiles();
        // Measured, not every tile can be the fastest.
        let differs = tiles.iter().any(|tile| {
            let text = kept(&tuning, *tile);
            write(&path, &text).unwrap();
            let chosen = choose(&tuning, None, Clock::start());
            assert_eq!(read(&path), Some(text), "the file is left alone");
            chosen != *tile
        });
        assert!(differs || tiles.len() == 1);
        fs::remove_file(&path).unwrap();
        let _ = choose(&tuning, None, Clock::start());
        assert!(!path.exists());
    }
}

#[test]
fn every_draft_has_a_name_of_its_own_and_none_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let tuning = tuning(folder.path());
    let path = tuning.cache.clone().unwrap();
    let drafts = [draft(&path).unwrap(), draft(&path).unwrap()];
    assert_ne!(drafts[0], drafts[1]);
    assert!(drafts.iter().all(|draft| draft.parent() == path.parent() && *draft != path));
    let kept = kept(&tuning, kernels::tiles()[0]);
    write(&path, &kept).unwrap();
    // What has the file's name cannot be replaced, so that the draft has nowhere to go.
    let taken = path.with_file_name("taken");
    fs::create_dir(&taken).unwrap();
    assert!(write(&taken, &kept).is_err());
    let names = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["kernels.json", "taken"]);
}

#[cfg(unix)]
#[test]
fn a_planted_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let tuning = tuning(folder.path());
    let kept = kept(&tuning, kernels::tiles()[0]);
    let at = |name: &str| folder.path().join(name);
    let (victim, draft, path) = (at("victim"), at("draft"), at("kernels.json"));
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &draft).unwrap();
    let refused = write_by(&draft, &path, &kept).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert!(!path.exists() && draft.is_symlink(), "what is another's is left alone");
    // Where the file itself is a link, it is replaced and not what it leads to.
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    write(&path, &kept).unwrap();
    assert!(!path.is_symlink() && read(&path) == Some(kept));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

impl Limit {
    /// Of SHA instructions on cores that were never built; its backend takes 64 versions.
    pub(crate) fn invented(cores: usize) -> Self {
        let one = |nanoseconds| Throughput { nanoseconds, cycles: nanoseconds / 0.25 };
        let sha = Sha { rounds: one(0.5), message_1: one(4.0), message_2: one(4.0) };
        let core = Core { cycle: one(0.25), avx512: None, avx2: None, sha: Some(sha) };
        Self::Cpu { tile: Backend::ShaNi.into(), core, cores }
    }
}

#[test]
fn a_limit_is_that_of_the_cores_in_use_and_of_the_versions_at_hand() {
    let of = |cores, versions| Limit::invented(cores).hashes_per_second(versions).unwrap();
    // Twelve groups of message words for each hash of two, of which versions share the first's.
    assert!((of(1, 1) - 1e9 / 96.0).abs() < 1.0, "{}", of(1, 1));
    assert!((of(1, 4) - 1e9 / 60.0).abs() < 1.0, "{}", of(1, 4));
    assert!((of(3, 4) - 3.0 * of(1, 4)).abs() < 1.0);
    // More versions than a slice has bring nothing, and there is always one.
    assert!((of(1, 1 << 16) - of(1, 64)).abs() < 1e-9 && (of(1, 0) - of(1, 1)).abs() < 1e-9);
    let Limit::Cpu { core, cores, .. } = Limit::invented(1) else { panic!("a processor's") };
    let unknown = Limit::Cpu { tile: Backend::Portable.into(), core, cores };
    assert_eq!(unknown.hashes_per_second(1), None);
}

#[test]
fn this_machine_has_a_limit_for_the_plan() {
    let cpus = Cpus::counted(4);
    let measured = |threads| {
        Limit::measure(Backend::Portable.into(), &Plan::free(threads), &cpus, Clock::start())
    };
    let cores = |threads| match measured(threads) {
        Some(Limit::Cpu { cores, .. }) => Some(cores),
        Some(Limit::Gpu { .. }) | None => None,
    };
    if cores(2).is_some() {
        assert_eq!((cores(2), cores(9)), (Some(2), Some(4)));
    }
}

#[test]
fn each_gpu_has_a_file_of_its_own_wherever_it_stands_in_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let cache =
        |name: &str| (name == "XDG_CACHE_HOME").then(|| folder.path().to_str().unwrap().to_owned());
    let tuning = |index, name: &str, driver: &str| {
        let (name, driver, api) = (name.to_owned(), driver.to_owned(), "vulkan".to_owned());
        let (software, integrated, computes) = (false, false, true);
        let pci = Some("0000:01:00.0".to_owned());
        let info = gpu::Info { index, name, driver, api, pci, software, integrated, computes };
        Tuning::of_gpu(&info, false, cache)
    };
    let one = tuning(0, "Card", "driver 1");
    let fastest = gpu::Tile::ALL[2];
    let rates =
        gpu::Tile::ALL.map(|tile| (tile.to_string(), if tile == fastest { 2.0 } else { 1.0 }));
    one.keep(BTreeMap::from(rates));
    assert_eq!(one.known(&gpu::Tile::ALL), Some(fastest));
    assert_eq!(tuning(3, "Card", "driver 1").known(&gpu::Tile::ALL), Some(fastest));
    for other in [tuning(0, "Other", "driver 1"), tuning(0, "Card", "driver 2")] {
        assert_eq!(other.known(&gpu::Tile::ALL), None);
    }
}
