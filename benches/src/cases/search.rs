//! The kernels on a million or so nonces around the genesis block's, as a miner calls them:
//! header in, confirmed hits out, one slice of a few milliseconds after the other.

use kernels::{Backend, Hit, Kernel, Slice};
use units::Target;

use super::CaseError;
use crate::measure::{Measured, Meter, WrongAnswer};

/// The genesis block's header.
const HEADER: &str = "0100000000000000000000000000000000000000000000000000000000000000\
                      000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
                      4b1e5e4a29ab5f49ffff001d1dac2b7c";
/// The hit that makes it a block.
const GENESIS: Hit = Hit { version: 1, nonce: 0x7c2b_ac1d };
/// Hashes in one pass.
const HASHES: u32 = 1 << 21;
/// Slices in one pass.
const SLICES: u32 = 32;
/// The lowest version bit that BIP 320 leaves to miners.
const VERSION_SHIFT: u32 = 13;

/// One shape of work, with what the reference says is in it.
#[derive(Debug, Clone, Copy)]
struct Shape {
    versions: u32,
    /// Hits among the 2^21 hashes of a pass at a target of 2^242 - 1 (one hash in 2^14).
    hits: usize,
}

/// Plain nonces, and versions enough for any backend's full speed.
const SHAPES: [Shape; 2] = [Shape { versions: 1, hits: 149 }, Shape { versions: 64, hits: 137 }];

/// Every available backend, or the named one, on both shapes.
pub(super) fn run(meter: &Meter, backend: Option<Backend>) -> Result<Vec<Measured>, CaseError> {
    let backends = backend.map_or_else(kernels::available, |backend| vec![backend]);
    let mut measured = Vec::new();
    for backend in backends {
        let mut kernel = kernels::build(backend)?;
        for shape in SHAPES {
            let plural = if shape.versions == 1 { "" } else { "s" };
            let name = format!("kernels/{backend}/{} version{plural}", shape.versions);
            measured.push(meter.run(name, "hashes", || pass(kernel.as_mut(), shape))?);
        }
    }
    Ok(measured)
}

/// 2^21 hashes, and whether the hits among them are the right ones. The kernel has confirmed
/// each against the reference already; here it is their number, and that none is missing.
fn pass(kernel: &mut dyn Kernel, shape: Shape) -> Result<u64, WrongAnswer> {
    let header = header();
    let target = target();
    let versions = versions(shape);
    let nonces = HASHES / shape.versions;
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
    WrongAnswer::unless_equal("hits", &shape.hits, &hits.len())?;
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

fn versions(shape: Shape) -> Vec<u32> {
    (0..shape.versions).map(|i| GENESIS.version ^ (i << VERSION_SHIFT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in [`SHAPES`] come from the reference, not from a kernel.
    #[test]
    fn the_reference_counts_the_hits() {
        let (header, target) = (header(), target());
        for shape in SHAPES {
            let nonces = HASHES / shape.versions;
            let first = GENESIS.nonce - nonces / 2;
            let meets = |version, nonce| {
                let header = kernels::with_version_and_nonce(&header, version, nonce);
                target.is_met_by(&kernels::hash_header(&header))
            };
            let of_version =
                |version| (first..first + nonces).filter(|n| meets(version, *n)).count();
            let hits: usize = versions(shape).into_iter().map(of_version).sum();
            assert_eq!(hits, shape.hits, "{shape:?}");
        }
    }
}
