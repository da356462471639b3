//! Dispatches of different claims under way at once, and blocks of Bitcoin's chain.

use core::time::Duration;

use gpu::{Finished, IN_FLIGHT, PATIENCE};
use kernels::Hit;
use units::Target;

use crate::case::{Case, Random, small_engines};

/// Headers that everyone can look up, by their height: 0 and 125552.
const BLOCKS: [&str; 2] = [
    "0100000000000000000000000000000000000000000000000000000000000000\
     000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
     4b1e5e4a29ab5f49ffff001d1dac2b7c",
    "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a3080000\
     00000000e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0\
     f1fc122bc7f5d74df2b9441a42a14695",
];

#[test]
fn blocks_of_the_chain_are_found_by_their_nonces() {
    for mut engine in small_engines() {
        for block in BLOCKS {
            let mut header = [0; 80];
            hex::decode_to_slice(block, &mut header).unwrap();
            let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
            let (version, nonce) = (word(0), word(76));
            let versions: Vec<u32> = (0..70).map(|i| version | (i << 13)).collect();
            for (versions, before, nonces) in
                [(&versions[..1], 20_000, 32_000), (&versions[..1], 0, 1), (&versions, 17, 18)]
            {
                let case = Case {
                    header,
                    target: Target::difficulty_one(),
                    versions: versions.to_vec(),
                    first_nonce: nonce - before,
                    nonces,
                };
                engine.submit(&case.slice()).unwrap();
                let mut hits = Vec::new();
                let done = engine.finish(&mut hits, PATIENCE).unwrap();
                assert!(matches!(done, Finished::Done(_)), "{}: {done:?}", engine.tile());
                assert_eq!(hits, [Hit { version, nonce }], "{}", engine.tile());
            }
        }
    }
}

#[test]
fn each_answer_is_its_own_claims() {
    for mut engine in small_engines() {
        let mut random = Random(6);
        let claims = claims(&mut random);
        let mut order: Vec<usize> = (0..claims.len()).flat_map(|at| [at, 0, at, at]).collect();
        // In no order, each among others.
        order.extend((0..12).map(|at| at * 7 % claims.len()));
        let mut submitted = 0;
        for (finished, claim) in order.iter().enumerate() {
            while submitted < order.len() && engine.under_way() < IN_FLIGHT {
                engine.submit(&claims[order[submitted]].slice()).unwrap();
                submitted += 1;
            }
            assert_eq!(engine.under_way(), submitted - finished);
            claims[*claim].check_finished(&mut engine);
        }
        assert_eq!(engine.finish(&mut Vec::new(), PATIENCE), Ok(Finished::Nothing));
    }
}

/// Claims that differ in one thing each from the first, and others that differ in all.
fn claims(random: &mut Random) -> Vec<Case> {
    let first = random.case(0x0fff_ffff, 9, 12_345, 100);
    let target = Case { target: random.target(0x1fff_ffff), ..first.clone() };
    let version = Case { versions: random.versions(9), ..first };
    let fewer = Case { versions: first.versions[1..].to_vec(), ..first.clone() };
    let mut turned = first.clone();
    turned.versions.reverse();
    let range = Case { first_nonce: 12_445, ..first.clone() };
    // The last byte that counts, and one of the first.
    let [mut time, mut previous] = [first.clone(), first.clone()];
    time.header[75] ^= 1;
    previous.header[4] ^= 0x80;
    let others = [(65, 4, 50), (1, 1 << 31, 700), (300, 9, 3)];
    let others = others.map(|(versions, first_nonce, nonces)| {
        random.case(0x07ff_ffff, versions, first_nonce, nonces)
    });
    let mut all = vec![first, target, version, fewer, turned, range, time, previous];
    all.extend(others);
    all
}

#[test]
fn a_header_that_differs_in_version_and_nonce_alone_is_the_same_claim() {
    for mut engine in small_engines() {
        let mut case = Random(7).case(0x0fff_ffff, 3, 0, 200);
        engine.submit(&case.slice()).unwrap();
        let expected = case.expected();
        case.header[..4].fill(0xee);
        case.header[76..].fill(0xee);
        assert_eq!(case.expected(), expected);
        engine.submit(&case.slice()).unwrap();
        case.check_finished(&mut engine);
        case.check_finished(&mut engine);
    }
}

#[test]
fn what_is_not_done_yet_stays_under_way() {
    for mut engine in small_engines() {
        let case = Random(8).case(0x0001_ffff, 4, 1, 30_000);
        engine.submit(&case.slice()).unwrap();
        let mut hits = Vec::new();
        let mut finished = engine.finish(&mut hits, Duration::ZERO).unwrap();
        while finished == Finished::NotYet {
            assert_eq!((hits.len(), engine.under_way()), (0, 1));
            finished = engine.finish(&mut hits, Duration::from_millis(1)).unwrap();
        }
        case.is_answered(engine.tile(), finished, &hits);
        assert_eq!(engine.under_way(), 0);
    }
}
