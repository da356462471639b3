//! The kernels on half a million nonces around the genesis block's, as a miner calls them: header
//! in, confirmed hits out, one slice of a few milliseconds after the other. Beside each rate stands
//! what the core could do at the most with the same operations.

use kernels::{Backend, Core, Hit, Kernel, Slice, Tile};
use units::Target;

use super::{CaseError, Choices, counted};
use crate::measure::{Measured, Meter, WrongAnswer};

/// The genesis block's header.
const HEADER: &str = "0100000000000000000000000000000000000000000000000000000000000000\
                      000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
                      4b1e5e4a29ab5f49ffff001d1dac2b7c";
/// The hit that makes it a block.
const GENESIS: Hit = Hit { version: 1, nonce: 0x7c2b_ac1d };
/// Hashes in one pass of one thread.
const HASHES: u32 = 1 << 19;
/// Slices in one pass.
const SLICES: u32 = 8;
/// The lowest version bit that BIP 320 leaves to miners.
const VERSION_SHIFT: u32 = 13;

/// So many versions, with what the reference says is in a pass.
#[derive(Debug, Clone, Copy)]
struct Work {
    versions: u32,
    /// Hits among the 2^19 hashes of a pass at a target of 2^242 - 1 (one hash in 2^14).
    hits: usize,
}

/// Plain nonces, as many versions as a pool may grant, and enough for any backend's full speed.
const WORK: [Work; 6] = [
    Work { versions: 1, hits: 41 },
    Work { versions: 2, hits: 34 },
    Work { versions: 4, hits: 28 },
    Work { versions: 8, hits: 32 },
    Work { versions: 16, hits: 35 },
    Work { versions: 64, hits: 38 },
];

impl Work {
    fn count(self) -> usize {
        usize::try_from(self.versions).expect("64 at most")
    }
}

/// Every tile, or those of the named backend, with every number of versions and of threads.
pub(super) fn run(meter: &Meter, choices: &Choices) -> Result<Vec<Measured>, CaseError> {
    let mut measured = Vec::new();
    for tile in tiles(choices.backend)? {
        for work in chosen(&choices.versions)? {
            for threads in choices.threads_or(&[1, super::usable_threads()]) {
                measured.push(on_threads(meter, tile, work, threads)?);
            }
        }
    }
    Ok(measured)
}

/// A tile with so many versions, a kernel on each of so many threads.
pub(super) fn measure(
    meter: &Meter,
    tile: Tile,
    versions: usize,
    threads: usize,
) -> Result<Measured, CaseError> {
    let same = |work: &&Work| work.count() == versions;
    let work = WORK.iter().find(same).ok_or_else(|| unknown(&versions))?;
    on_threads(meter, tile, *work, threads)
}

fn tiles(backend: Option<Backend>) -> Result<Vec<Tile>, CaseError> {
    let Some(backend) = backend else { return Ok(kernels::tiles()) };
    kernels::build(backend)?;
    Ok(backend.shapes().iter().map(|shape| Tile { backend, shape: *shape }).collect())
}

/// All of the work, or what has one of these numbers of versions.
fn chosen(versions: &[u32]) -> Result<Vec<Work>, CaseError> {
    if versions.is_empty() {
        return Ok(WORK.to_vec());
    }
    let find = |versions: &u32| WORK.into_iter().find(|work| work.versions == *versions);
    versions.iter().map(|versions| find(versions).ok_or_else(|| unknown(versions))).collect()
}

fn unknown(versions: &impl ToString) -> CaseError {
    let known: Vec<String> = WORK.iter().map(|work| work.versions.to_string()).collect();
    CaseError::Versions { versions: versions.to_string(), known: known.join(", ") }
}

fn on_threads(
    meter: &Meter,
    tile: Tile,
    work: Work,
    threads: usize,
) -> Result<Measured, CaseError> {
    let versions = work.count();
    let (many, beside) = (counted(versions, "version"), counted(threads, "thread"));
    let name = format!("kernels/{tile}/{many}/{beside}");
    let mut passes = Vec::new();
    for _ in 0..threads {
        let mut kernel = kernels::build(tile)?;
        passes.push(move || pass(kernel.as_mut(), work));
    }
    let before = limit(meter, tile, versions);
    let mut measured = meter.run_on_threads(name, "hashes", passes)?;
    // A probe that was disturbed gives too low a limit: the higher of the two is nearer the truth.
    let higher = before.into_iter().chain(limit(meter, tile, versions)).reduce(f64::max);
    measured.limit_per_second = higher.map(|limit| limit * count(threads));
    Ok(measured)
}

/// What this core could do with the tile at the most, in hashes per second.
fn limit(meter: &Meter, tile: Tile, versions: usize) -> Option<f64> {
    Core::measure(&|| meter.now())?.limit(tile, versions)
}

#[expect(clippy::cast_precision_loss, reason = "a machine has a few thousand threads")]
const fn count(threads: usize) -> f64 {
    threads as f64
}

/// 2^19 hashes, and whether the hits among them are the right ones. The kernel has confirmed
/// each against the reference already; here it is their number, and that none is missing.
fn pass(kernel: &mut dyn Kernel, work: Work) -> Result<u64, WrongAnswer> {
    let header = header();
    let target = target();
    let versions = versions(work);
    let nonces = HASHES / work.versions;
    let first_nonce = GENESIS.nonce - nonces / 2;
    let mut hits = Vec::new();
    let mut hashes = 0;
    for slice in 0..SLICES {
        let slice = Slice {
            header: &header,
            target: &target,
            versions: &versions,
            first_nonce: first_nonce + slice * (nonces / SLICES),
            nonces: nonces / SLICES,
        };
        hashes += kernel.scan(&slice, &mut hits).get();
    }
    WrongAnswer::unless_equal("hashes", &u128::from(HASHES), &hashes)?;
    WrongAnswer::unless_equal("hits", &work.hits, &hits.len())?;
    WrongAnswer::unless_equal("the genesis block", &true, &hits.contains(&GENESIS))?;
    Ok(HASHES.into())
}

fn header() -> [u8; 80] {
    let mut header = [0; 80];
    hex::decode_to_slice(HEADER, &mut header).expect("a constant of 160 hex digits");
    header
}

/// 2^242 - 1.
fn target() -> Target {
    let mut bytes = [0xff; 32];
    bytes[..2].copy_from_slice(&[0, 0x03]);
    Target::from_be_bytes(bytes)
}

fn versions(work: Work) -> Vec<u32> {
    (0..work.versions).map(|i| GENESIS.version ^ (i << VERSION_SHIFT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in [`WORK`] come from the reference, not from a kernel.
    #[test]
    fn the_reference_counts_the_hits() {
        let (header, target) = (header(), target());
        let counted = WORK.map(|work| {
            let nonces = HASHES / work.versions;
            let first = GENESIS.nonce - nonces / 2;
            let meets = |version, nonce| {
                let header = kernels::with_version_and_nonce(&header, version, nonce);
                target.is_met_by(&kernels::hash_header(&header))
            };
            let of_version =
                |version| (first..first + nonces).filter(|n| meets(version, *n)).count();
            versions(work).into_iter().map(of_version).sum::<usize>()
        });
        assert_eq!(counted, WORK.map(|work| work.hits));
    }

    #[test]
    fn every_backends_full_speed_is_among_the_work() {
        for backend in Backend::ALL {
            let wanted = u32::try_from(backend.versions_per_slice()).unwrap();
            assert!(WORK.iter().any(|work| work.versions == wanted), "{backend}");
        }
    }

    #[test]
    fn versions_that_are_not_measured_are_named() {
        let error = chosen(&[64, 3]).unwrap_err().to_string();
        assert_eq!(error, "--versions 3: kernels are measured with 1, 2, 4, 8, 16, 64");
        assert_eq!(chosen(&[4, 1]).unwrap().len(), 2);
    }
}
