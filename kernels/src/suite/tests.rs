//! The suite must refuse a kernel that is wrong in any one way, and kernels must agree on slices
//! that nobody thought of.

use proptest::prelude::*;
use units::Target;

use super::*;
use crate::{Slice, build, tiles};

/// A right kernel with one thing made wrong.
#[derive(Debug)]
struct Wrong {
    inner: Box<dyn Kernel>,
    fault: Fault,
    faults: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    LosesLastNonce,
    LosesFirstNonce,
    LosesLastVersion,
    IgnoresLowBitsOfTarget,
    RefusesTheLimitItself,
    WrapsPastTheEnd,
    RepeatsAHit,
    CountsOneShort,
    MiscomputesSometimes,
}

impl Wrong {
    fn new(fault: Fault) -> Self {
        Self { inner: build(Backend::Portable).unwrap(), fault, faults: 0 }
    }

    fn loses(&self, slice: &Slice<'_>, hit: Hit) -> bool {
        match self.fault {
            Fault::LosesLastNonce => hit.nonce == slice.first_nonce + (slice.nonces - 1),
            Fault::LosesFirstNonce => hit.nonce == slice.first_nonce,
            Fault::LosesLastVersion => {
                slice.versions.len() > 1 && slice.versions.last() == Some(&hit.version)
            }
            Fault::RefusesTheLimitItself => {
                let header = with_version_and_nonce(slice.header, hit.version, hit.nonce);
                let mut hash = hash_header(&header);
                hash.reverse();
                Target::from_be_bytes(hash) == *slice.target
            }
            Fault::None
            | Fault::IgnoresLowBitsOfTarget
            | Fault::WrapsPastTheEnd
            | Fault::RepeatsAHit
            | Fault::CountsOneShort
            | Fault::MiscomputesSometimes => false,
        }
    }
}

impl Kernel for Wrong {
    fn backend(&self) -> Backend {
        self.inner.backend()
    }

    fn scan(&mut self, slice: &Slice<'_>, hits: &mut Vec<Hit>) -> Hashes {
        let mut asked = *slice;
        let mut easier = slice.target.to_be_bytes();
        if self.fault == Fault::IgnoresLowBitsOfTarget {
            easier[4..].fill(0xff);
        }
        let easier = Target::from_be_bytes(easier);
        asked.target = &easier;
        let mut hashes = self.inner.scan(&asked, hits);
        hits.retain(|hit| !self.loses(slice, *hit));
        match (self.fault, slice.versions.first()) {
            (Fault::WrapsPastTheEnd, Some(&version))
                if slice.first_nonce.checked_add(slice.nonces).is_none() =>
            {
                hits.push(Hit { version, nonce: 0 });
            }
            (Fault::RepeatsAHit, Some(_)) => hits.extend(hits.last().copied()),
            (Fault::CountsOneShort, Some(_)) => {
                hashes = hashes.checked_sub(Hashes::new(1)).unwrap_or(Hashes::ZERO);
            }
            (Fault::MiscomputesSometimes, Some(_)) => self.faults += 1,
            _ => {}
        }
        hashes
    }

    fn faults(&self) -> u64 {
        self.faults
    }
}

#[test]
fn passes_a_right_kernel_and_says_what_was_done() {
    let report = run(&mut Wrong::new(Fault::None), 0).unwrap();
    assert!(report.cases > 700, "{report:?}");
    assert!(report.hits > 10_000 && report.hashes > Hashes::new(200_000), "{report:?}");
}

#[test]
fn fails_every_kind_of_wrong_kernel() {
    let hit = Hit { version: 0, nonce: 0 };
    for (fault, expected) in [
        (Fault::LosesLastNonce, Problem::Missed(hit)),
        (Fault::LosesFirstNonce, Problem::Missed(hit)),
        (Fault::LosesLastVersion, Problem::Missed(hit)),
        (Fault::IgnoresLowBitsOfTarget, Problem::NoHit(hit)),
        (Fault::RefusesTheLimitItself, Problem::Missed(hit)),
        (Fault::WrapsPastTheEnd, Problem::NoHit(hit)),
        (Fault::RepeatsAHit, Problem::Twice(hit)),
        (Fault::CountsOneShort, Problem::Count { counted: 0, expected: 0 }),
        (Fault::MiscomputesSometimes, Problem::Faults(1)),
    ] {
        let failure = run(&mut Wrong::new(fault), 0).unwrap_err();
        let kind = core::mem::discriminant(&failure.problem);
        assert_eq!(kind, core::mem::discriminant(&expected), "{fault:?}: {failure}");
    }
}

#[test]
fn a_failure_names_backend_case_and_hit() {
    let failure = run(&mut Wrong::new(Fault::LosesFirstNonce), 0).unwrap_err();
    let message = failure.to_string();
    assert_eq!(
        message,
        "portable, case \"block 0, first nonce\": missed version 00000001, nonce 7c2bac1d"
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn all_tiles_find_the_same(
        fields in (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 16]>()),
        top in 0_u32..=0x1fff_ffff,
        versions in proptest::collection::btree_set(any::<u32>(), 0..80),
        first_nonce in any::<u32>(),
        nonces in 0_u32..100,
    ) {
        let header: Vec<u8> = [&fields.0[..], &fields.1, &fields.2].concat();
        let mut target = [0xff; 32];
        target[..4].copy_from_slice(&top.to_be_bytes());
        let case = Case {
            name: "random".to_owned(),
            header: header.try_into().unwrap(),
            target: Target::from_be_bytes(target),
            versions: versions.into_iter().collect(),
            first_nonce: first_nonce.min(u32::MAX - nonces),
            nonces,
        };
        for tile in tiles() {
            let mut kernel = build(tile).unwrap();
            let answer = check(kernel.as_mut(), &case);
            prop_assert!(answer.is_ok(), "{}: {:?}", tile, answer);
        }
    }
}
