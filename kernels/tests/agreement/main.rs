//! Every tile that this machine can run finds what the reference finds, hit for hit, on many
//! random headers and slices: every lane's place, ranges at both ends, any versions, targets from
//! all hashes to hardly any, below difficulty 1 and above.
//!
//! Read [`case`] for what is asked, which is made from a seed or from the headers in [`blocks`]. The reference hashes each case once, and every tile is held to
//! that. `WATTPROOF_HEADERS` says how many headers (3,000 when unset), `WATTPROOF_SEED` which ones;
//! a seed is printed, and is another one each time when unset. Kernels keep tables between slices,
//! so a chunk of cases has its own kernels, and what fails once fails again with its seed. It
//! deliberately measures no time.

mod blocks;
mod case;
mod random;

use std::{
    collections::BTreeSet,
    env,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use kernels::{Hit, Kernel, Slice, Tile};
use units::Hashes;

use case::{Case, Parts};

/// Headers where nothing else is asked for.
const HEADERS: u64 = 3_000;
/// Cases in a row on the same kernels.
const CHUNK: u64 = 128;
/// From so many headers on, a single hit was in every place of a vector.
const HEADERS_FOR_EVERY_PLACE: u64 = 3_000;
/// The most lanes that any vector has.
const PLACES: usize = 16;

/// What was asked and found, of all tiles alike.
#[derive(Debug, Default)]
struct Tally {
    headers: u64,
    hashes: u64,
    hits: usize,
    /// Cases with one hit: its nonce's place in a vector, and its version's place in the list.
    single: BTreeSet<(u32, usize)>,
    /// Those among them at difficulty 1 or above.
    hard: BTreeSet<(u32, usize)>,
}

#[test]
#[expect(clippy::print_stdout, reason = "the test's own report, which cargo shows on failure")]
fn every_tile_agrees_with_the_reference() {
    let headers = number("WATTPROOF_HEADERS").unwrap_or(HEADERS);
    let seed = number("WATTPROOF_SEED").unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    let tiles = kernels::tiles();
    let names: Vec<String> = tiles.iter().map(Tile::to_string).collect();
    println!("seed {seed}: {headers} headers on {}", names.join(", "));
    let tally = on_all_threads(&tiles, seed, headers).unwrap_or_else(|problem| panic!("{problem}"));
    println!(
        "{} headers, {} hashes of each tile, {} hits, none missing, none wrong",
        tally.headers, tally.hashes, tally.hits
    );
    assert_eq!(tally.headers, headers);
    if headers >= HEADERS_FOR_EVERY_PLACE {
        for (what, found) in [("any target", &tally.single), ("difficulty 1", &tally.hard)] {
            let nonces: BTreeSet<u32> = found.iter().map(|(nonce, _)| *nonce).collect();
            let versions: BTreeSet<usize> = found.iter().map(|(_, place)| place % PLACES).collect();
            assert_eq!((nonces.len(), versions.len()), (PLACES, PLACES), "{what}: {found:?}");
        }
    }
}

#[test]
fn a_failure_names_seed_tile_and_case() {
    let problem = failure(7, 1234, kernels::tiles()[0], &case::make(7, 1234), "missed one");
    for part in ["WATTPROOF_SEED=7", "header 1234", "portable", "missed one", "versions x"] {
        assert!(problem.contains(part), "{problem}");
    }
}

/// A variable with a whole number.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a whole number")))
}

/// The cases of a seed, dealt out in chunks; the first problem that a thread met.
fn on_all_threads(tiles: &[Tile], seed: u64, headers: u64) -> Result<Tally, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let worker = || chunks(tiles, seed, headers, &next);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut tally = Tally::default();
        for worker in workers {
            tally.add(worker.join().expect("a panic on a thread ends the test")?);
        }
        Ok(tally)
    })
}

/// One thread's part: chunks until none is left.
fn chunks(tiles: &[Tile], seed: u64, headers: u64, next: &AtomicU64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    loop {
        let first = next.fetch_add(CHUNK, Ordering::Relaxed);
        if first >= headers {
            return Ok(tally);
        }
        let mut kernels: Vec<(Tile, Box<dyn Kernel>)> = tiles
            .iter()
            .map(|tile| (*tile, kernels::build(*tile).expect("it is in the list of those here")))
            .collect();
        for header in first..headers.min(first + CHUNK) {
            let case = case::make(seed, header);
            tally.count(&case);
            for (tile, kernel) in &mut kernels {
                check(kernel.as_mut(), &case)
                    .map_err(|problem| failure(seed, header, *tile, &case, &problem))?;
            }
        }
    }
}

fn failure(seed: u64, header: u64, tile: Tile, case: &Case, problem: &str) -> String {
    format!("{tile}: {problem}, in header {header} of WATTPROOF_SEED={seed}: {case}")
}

/// In some cases other work first, so that tables are there that must not be used; then the case,
/// in one slice or in two that follow one another.
fn check(kernel: &mut dyn Kernel, case: &Case) -> Result<(), String> {
    let faults = kernel.faults();
    let mut hits = Vec::new();
    if let Some(decoy) = case.decoy() {
        scan(kernel, &decoy, &mut hits)?;
        hits.clear();
    }
    for slice in case.slices() {
        scan(kernel, &slice, &mut hits)?;
    }
    if kernel.faults() != faults {
        return Err("computed a hash that the reference does not confirm".to_owned());
    }
    hits.sort_unstable();
    if hits == case.expected {
        return Ok(());
    }
    let [found, expected]: [BTreeSet<Hit>; 2] =
        [&hits, &case.expected].map(|hits| hits.iter().copied().collect());
    let missed: Vec<_> = expected.difference(&found).take(3).collect();
    let wrong: Vec<_> = found.difference(&expected).take(3).collect();
    let (found, expected) = (hits.len(), case.expected.len());
    Err(format!("{found} hits instead of {expected}; missed {missed:08x?}, wrong {wrong:08x?}"))
}

fn scan(kernel: &mut dyn Kernel, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Result<(), String> {
    let hashes = kernel.scan(slice, hits);
    if hashes == slice.hashes() {
        return Ok(());
    }
    Err(format!("counted {} hashes instead of {}", hashes.get(), slice.hashes().get()))
}

impl Tally {
    fn count(&mut self, case: &Case) {
        self.headers += 1;
        self.hashes += u64::try_from(case.hashes().get()).expect("70 times 70 at most");
        self.hits += case.expected.len();
        if let [hit] = case.expected[..] {
            let lanes = u32::try_from(PLACES).expect("a handful");
            let place = case.versions.iter().position(|version| *version == hit.version);
            let places = (hit.nonce % lanes, place.expect("a hit has one of the case's versions"));
            self.single.insert(places);
            if case.is_hard() {
                self.hard.insert(places);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.headers += other.headers;
        self.hashes += other.hashes;
        self.hits += other.hits;
        self.single.extend(other.single);
        self.hard.extend(other.hard);
    }
}

impl Case {
    fn hashes(&self) -> Hashes {
        self.slices().iter().fold(Hashes::ZERO, |sum, slice| sum.saturating_add(slice.hashes()))
    }

    /// The whole range, in the parts that the case names.
    fn slices(&self) -> Vec<Slice<'_>> {
        let slice = |first_nonce, nonces| Slice {
            header: &self.header,
            target: &self.target,
            versions: &self.versions,
            first_nonce,
            nonces,
        };
        match self.parts {
            Parts::Whole => vec![slice(self.first_nonce, self.nonces)],
            Parts::Split(at) => {
                vec![slice(self.first_nonce, at), slice(self.first_nonce + at, self.nonces - at)]
            }
        }
    }

    /// A slice of one nonce, of other work.
    fn decoy(&self) -> Option<Slice<'_>> {
        let (header, versions) = self.decoy.as_ref()?;
        let (target, first_nonce) = (&self.target, self.first_nonce);
        Some(Slice { header, target, versions, first_nonce, nonces: 1 })
    }
}
