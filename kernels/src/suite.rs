//! What every backend must get right before it may mine: the same cases in the unit tests of each
//! backend and in a miner's self test.
//!
//! Real blocks check the reference itself and targets above difficulty 1; random headers are
//! searched by brute force with [`hash_header`], which shares nothing with any kernel, and the
//! answers must be equal hit for hit. About 2 x 10^5 hashes: a fraction of a second.

mod cases;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use units::Hashes;

use crate::{
    Backend, Hit, Kernel,
    reference::{hash_header, with_version_and_nonce},
};
use cases::Case;

/// What was checked, when all of it was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuiteReport {
    /// The backend that ran.
    pub backend: Backend,
    /// Slices scanned.
    pub cases: usize,
    /// Hashes done by the kernel.
    pub hashes: Hashes,
    /// Hits found, each of them right and none missing.
    pub hits: usize,
}

/// The first thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend}, case {case:?}: {problem}")]
pub struct SuiteFailure {
    /// The backend that ran.
    pub backend: Backend,
    /// What was being checked.
    pub case: String,
    /// What was wrong.
    pub problem: Problem,
}

/// What can be wrong with a kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A known block does not hash to its published hash: the build or the machine is broken.
    #[error("the reference does not give the block's published hash")]
    Reference,
    /// A pair that meets the target was not reported.
    #[error("missed version {:08x}, nonce {:08x}", .0.version, .0.nonce)]
    Missed(Hit),
    /// A pair was reported that does not meet the target or was not asked for.
    #[error("reported version {:08x}, nonce {:08x}, which is no hit", .0.version, .0.nonce)]
    NoHit(Hit),
    /// A pair was reported twice.
    #[error("reported version {:08x}, nonce {:08x} twice", .0.version, .0.nonce)]
    Twice(Hit),
    /// The number of hashes returned is not versions x nonces.
    #[error("counted {counted} hashes instead of {expected}")]
    Count {
        /// What it returned.
        counted: u128,
        /// Versions x nonces.
        expected: u128,
    },
    /// The kernel computed hashes that the reference does not confirm.
    #[error("computed {0} hashes that the reference does not confirm")]
    Faults(u64),
}

/// Runs every case. `seed` picks the random headers; the same seed gives the same cases.
///
/// # Errors
/// At the first answer that is wrong.
pub fn run(kernel: &mut dyn Kernel, seed: u64) -> Result<SuiteReport, SuiteFailure> {
    let backend = kernel.backend();
    let mut report = SuiteReport { backend, cases: 0, hashes: Hashes::ZERO, hits: 0 };
    let fail = |case: &str, problem| SuiteFailure { backend, case: case.to_owned(), problem };
    for block in cases::KNOWN_BLOCKS {
        if !block.has_its_hash() {
            return Err(fail(block.name, Problem::Reference));
        }
    }
    for case in cases::all(seed) {
        let (hashes, hits) = check(kernel, &case).map_err(|problem| fail(&case.name, problem))?;
        report.cases += 1;
        report.hashes = report.hashes.saturating_add(hashes);
        report.hits += hits;
    }
    Ok(report)
}

/// One scan against the answers of the reference.
fn check(kernel: &mut dyn Kernel, case: &Case) -> Result<(Hashes, usize), Problem> {
    let faults = kernel.faults();
    let slice = case.slice();
    let mut hits = Vec::new();
    let hashes = kernel.scan(&slice, &mut hits);
    if hashes != slice.hashes() {
        let (counted, expected) = (hashes.get(), slice.hashes().get());
        return Err(Problem::Count { counted, expected });
    }
    let mut reported = BTreeSet::new();
    for hit in &hits {
        if !reported.insert(*hit) {
            return Err(Problem::Twice(*hit));
        }
    }
    let expected = expected_hits(case);
    if let Some(hit) = expected.difference(&reported).next() {
        return Err(Problem::Missed(*hit));
    }
    if let Some(hit) = reported.difference(&expected).next() {
        return Err(Problem::NoHit(*hit));
    }
    match kernel.faults() - faults {
        0 => Ok((hashes, hits.len())),
        new => Err(Problem::Faults(new)),
    }
}

/// Brute force, with nothing of the kernels in it.
fn expected_hits(case: &Case) -> BTreeSet<Hit> {
    let mut expected = BTreeSet::new();
    for &version in &case.versions {
        for step in 0..case.nonces {
            let nonce = case.first_nonce + step;
            let hash = hash_header(&with_version_and_nonce(&case.header, version, nonce));
            if case.target.is_met_by(&hash) {
                expected.insert(Hit { version, nonce });
            }
        }
    }
    expected
}
