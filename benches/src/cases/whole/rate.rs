//! The miner's threads against the kernel alone, in turn: what claims, headers, slices and queues
//! cost. Both sides run the same kernel on as many threads, with as many versions a slice.
//!
//! The hits say whether the hashes were done: those of the first claim are known from the reference
//! and must be there, and all of them must be as many as the hashes promise, within five standard
//! errors.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use kernels::{Hit, Tile};
use miner::{
    cpus::plan::Plan,
    hands::{Found, Orders},
    space::{Claim, Claimed},
    work::Work,
};
use units::{Hashes, Target};

use super::{LOOK, PATIENCE, Workers, header_of, holders, job, nothing};
use crate::{
    cases::{CaseError, counted, search},
    measure::{Meter, WrongAnswer, rate},
    pairs::{Pairs, Side, in_turn},
};

/// How long the threads hash before their rate is taken: they find their pace in it.
const WARM_UP: Duration = Duration::from_millis(50);
/// One hash in so many is a hit.
const HASHES_PER_HIT: f64 = 65_536.0;
/// How many standard errors the hits may be off.
const ERRORS_MAX: f64 = 5.0;

pub(super) fn run(
    meter: &Meter,
    tile: Tile,
    threads: usize,
    pairs: u32,
) -> Result<Pairs, CaseError> {
    let mut workers = Workers::start(tile, &Plan::free(threads))?;
    let versions = tile.backend.versions_per_slice();
    let rates = in_turn(pairs, |side| match side {
        Side::Ours => Ok::<f64, CaseError>(turn(&mut workers, meter.duration())?),
        Side::Theirs => Ok(search::measure(meter, tile, versions, threads)?.per_second),
    })?;
    Ok(Pairs {
        name: format!("miner/{tile}/{}", counted(threads, "thread")),
        ours: "the miner's threads".to_owned(),
        theirs: "the kernel alone".to_owned(),
        unit: "hashes",
        rates,
    })
}

/// One turn of the miner's threads, each from the same first header on: hashes per second.
fn turn(workers: &mut Workers, duration: Duration) -> Result<f64, WrongAnswer> {
    let work = Arc::new(workers.book().work(job(1, target(), workers.clock.now()), 0));
    let mut known = Known::of_first_claim(&work, workers);
    // The claim that was looked at is dealt: the threads get a space of their own.
    let work = Arc::new(workers.book().work(Arc::clone(&work.job), 0));
    let before = workers.device.hashes();
    workers.order(Orders::Mine(Arc::clone(&work)));
    let mut hits = known.take(workers.listen(WARM_UP))?;
    let (first, begin) = (workers.device.hashes(), workers.clock.elapsed());
    hits += known.take(workers.listen(duration))?;
    let (last, end) = (workers.device.hashes(), workers.clock.elapsed());
    while !known.is_complete() {
        let more = workers.next_found().map_err(|_| known.missing())?;
        hits += known.take(vec![more])?;
    }
    hits += known.take(rest(workers, &work)?)?;
    workers.check()?;
    check_number(difference(workers.device.hashes(), before), hits)?;
    Ok(rate(difference(last, first), end.saturating_sub(begin)))
}

/// Lets the threads rest, and gives what they had still found.
fn rest(workers: &mut Workers, work: &Arc<Work>) -> Result<Vec<Found>, WrongAnswer> {
    workers.order(Orders::Idle);
    let begin = workers.clock.elapsed();
    let mut found = Vec::new();
    // A hit holds its work, too: those at hand are counted off.
    while holders(work) > 1 + found.len() {
        if workers.clock.elapsed().saturating_sub(begin) > PATIENCE {
            return Err(nothing("rest"));
        }
        found.extend(workers.listen(LOOK));
        thread::sleep(LOOK);
    }
    Ok(found)
}

/// The hits must be as many as the hashes promise, within the noise of a Poisson count.
fn check_number(hashes: u64, hits: usize) -> Result<(), WrongAnswer> {
    let (hashes, hits) = (Hashes::new(hashes.into()), Hashes::new(hits_as_u128(hits)));
    let expected = hashes.as_f64() / HASHES_PER_HIT;
    if (hits.as_f64() - expected).abs() <= ERRORS_MAX * expected.max(1.0).sqrt() {
        return Ok(());
    }
    let (expected, got) = (format!("about {expected:.0}"), hits.get().to_string());
    Err(WrongAnswer { what: "hits of the miner's threads".to_owned(), expected, got })
}

fn hits_as_u128(hits: usize) -> u128 {
    u128::try_from(hits).expect("a usize has at most 64 bits")
}

fn difference(later: Hashes, earlier: Hashes) -> u64 {
    let hashes = later.checked_sub(earlier).map_or(0, Hashes::get);
    u64::try_from(hashes).unwrap_or(u64::MAX)
}

/// 2^240 - 1: one hash in 2^16, often enough to count and too seldom to cost anything.
fn target() -> Target {
    let mut bytes = [0xff; 32];
    bytes[..2].fill(0);
    Target::from_be_bytes(bytes)
}

/// The hits of the first claim, which whoever takes it must find.
struct Known {
    part: Claim,
    expected: BTreeSet<Hit>,
    found: BTreeSet<Hit>,
}

impl Known {
    fn of_first_claim(work: &Work, workers: &Workers) -> Self {
        let Claimed::Part(part) = work.claim(0, workers.clock.now()) else {
            unreachable!("a space that nothing was dealt from has a first claim")
        };
        let header = work.header(&part);
        let pairs = part.versions.iter().flat_map(|version| {
            let nonces = part.first_nonce..part.first_nonce + part.nonces;
            nonces.map(|nonce| Hit { version: *version, nonce })
        });
        let is_hit = |hit: &Hit| {
            let header = kernels::with_version_and_nonce(&header, hit.version, hit.nonce);
            work.job.target.is_met_by(&kernels::hash_header(&header))
        };
        let expected = pairs.filter(is_hit).collect();
        Self { part, expected, found: BTreeSet::new() }
    }

    /// Looks at what was found, and says how many that is. Each must be a hit.
    fn take(&mut self, found: Vec<Found>) -> Result<usize, WrongAnswer> {
        for one in &found {
            let meets = one.work.job.target.is_met_by(&kernels::hash_header(&header_of(one)));
            WrongAnswer::unless_equal("a hit meets its target", &true, &meets)?;
            if self.is_of_the_part(one) {
                let hit = Hit { version: one.version, nonce: one.nonce };
                let new = self.expected.contains(&hit) && self.found.insert(hit);
                WrongAnswer::unless_equal("a hit of the first claim is one, once", &true, &new)?;
            }
        }
        Ok(found.len())
    }

    fn is_of_the_part(&self, found: &Found) -> bool {
        let nonces = self.part.first_nonce..=self.part.first_nonce + (self.part.nonces - 1);
        found.xn2 == self.part.xn2
            && found.ntime == self.part.ntime
            && self.part.versions.contains(&found.version)
            && nonces.contains(&found.nonce)
    }

    fn is_complete(&self) -> bool {
        self.found == self.expected
    }

    fn missing(&self) -> WrongAnswer {
        WrongAnswer {
            what: "hits of the first claim".to_owned(),
            expected: format!("{:08x?}", self.expected),
            got: format!("{:08x?}", self.found),
        }
    }
}

#[cfg(test)]
mod tests {
    use kernels::Backend;

    use super::*;

    fn workers() -> Workers {
        Workers::start(Backend::Portable.into(), &Plan::free(1)).unwrap()
    }

    fn known(workers: &Workers) -> (Arc<Work>, Known) {
        let work = Arc::new(workers.book().work(job(1, target(), workers.clock.now()), 0));
        let known = Known::of_first_claim(&work, workers);
        (work, known)
    }

    #[test]
    fn the_first_claim_has_hits() {
        for backend in Backend::ALL {
            let mut workers = workers();
            workers.layout = miner::space::Layout::of_cpu(backend);
            assert!(!known(&workers).1.expected.is_empty(), "{backend}");
        }
    }

    /// A hit that is none, one that comes twice, and one that never comes.
    #[test]
    fn wrong_hits_are_seen() {
        let workers = workers();
        let (work, mut known) = known(&workers);
        let hit = *known.expected.first().unwrap();
        let found = |nonce| Found {
            work: Arc::clone(&work),
            xn2: known.part.xn2.clone(),
            ntime: known.part.ntime,
            version: hit.version,
            nonce,
            hash: [0; 32],
        };
        let (right, wrong) = (found(hit.nonce), found(hit.nonce ^ 1));
        assert!(known.take(vec![wrong]).is_err());
        assert!(!known.is_complete());
        assert_eq!(known.take(vec![right.clone()]), Ok(1));
        assert!(known.take(vec![right]).is_err());
        assert!(known.missing().to_string().contains("first claim"));
    }

    #[test]
    fn too_few_and_too_many_hits_are_seen() {
        assert_eq!(check_number(65_536 * 100, 149), Ok(()));
        for hits in [40, 160] {
            let error = check_number(65_536 * 100, hits).unwrap_err();
            assert!(error.to_string().contains("about 100"), "{error}");
        }
    }
}
