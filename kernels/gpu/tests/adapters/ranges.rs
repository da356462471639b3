//! Slices of every form: ranges that begin and end anywhere, any number of versions, targets on
//! both sides of difficulty 1, lists of hits that run over.

use gpu::{Engine, Tile};
use units::Target;

use crate::case::{Case, Random, adapters, small_engines};

/// About one hash in 16 is a hit.
const EASY: u32 = 0x0fff_ffff;
/// First nonces and how many: at both ends, one alone, across the bytes of a nonce's word.
const RANGES: [(u32, u32); 12] = [
    (0, 1),
    (0, 64),
    (0, 300),
    (1, 1),
    (3, 129),
    (63, 2),
    (0x00ff_fff0, 33),
    (0x7fff_ffff, 2),
    (0xffff_feff, 257),
    (u32::MAX - 99, 100),
    (u32::MAX - 1, 1),
    (u32::MAX, 1),
];

#[test]
fn every_pair_of_a_list_that_runs_over_is_found_once() {
    for mut engine in small_engines() {
        let mut random = Random(1);
        for (versions, first_nonce, nonces) in [
            // As many as the list has places, and one more.
            (1, 7, 1_024),
            (1, 7, 1_025),
            (1, 7, 5_000),
            (4096, 1_000, 3),
            (1, u32::MAX - 2, 3),
            (300, 12_345, 70),
        ] {
            let mut case = random.case(0, versions, first_nonce, nonces);
            case.target = Target::MAX;
            case.check(&mut engine);
        }
        // What was split has left nothing behind.
        random.case(EASY, 3, 5, 70).check(&mut engine);
    }
}

#[test]
fn lists_are_split_beside_what_is_under_way() {
    for mut engine in small_engines() {
        let mut random = Random(2);
        let mut over = random.case(0, 2, 100, 1_500);
        over.target = Target::MAX;
        // One nonce: it is split by versions, whose tables are then other ones.
        let mut by_versions = random.case(0, 3_000, 77, 1);
        by_versions.target = Target::MAX;
        let next = random.case(EASY, 5, 1 << 20, 77);
        let order = [&over, &next, &by_versions, &next, &next, &by_versions, &over];
        for pair in order.windows(2) {
            engine.submit(&pair[0].slice()).unwrap();
            engine.submit(&pair[1].slice()).unwrap();
            pair[0].check_finished(&mut engine);
            pair[1].check_finished(&mut engine);
        }
    }
}

#[test]
fn ranges_begin_and_end_anywhere() {
    for mut engine in small_engines() {
        let mut random = Random(3);
        for (first_nonce, nonces) in RANGES {
            for versions in [1, 2] {
                random.case(EASY, versions, first_nonce, nonces).check(&mut engine);
            }
        }
    }
}

#[test]
fn any_number_of_versions_is_searched() {
    for mut engine in small_engines() {
        let mut random = Random(4);
        for versions in [1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 4095, 4096] {
            random.case(EASY, versions, 0x1234_567d, 2).check(&mut engine);
        }
    }
}

#[test]
fn targets_on_both_sides_of_difficulty_1() {
    for mut engine in small_engines() {
        let mut random = Random(5);
        // First bits of zero are beyond difficulty 1, where nothing is found by chance.
        for top in [u32::MAX, 0x8000_0000, 0x7fff_ffff, 0x00ff_ffff, 0x000f_0000, 1, 0] {
            random.case(top, 4, 0x00ab_cd01, 513).check(&mut engine);
        }
    }
}

#[test]
fn every_tile_agrees_with_the_reference_on_random_slices() {
    for adapter in adapters() {
        for tile in Tile::ALL {
            let mut engine = Engine::open(&adapter, tile).unwrap();
            for seed in 0..4 {
                let mut random = Random(0x5eed + seed);
                random_slices(&mut random).for_each(|case| case.check(&mut engine));
            }
        }
    }
}

fn random_slices(random: &mut Random) -> impl Iterator<Item = Case> {
    (0..5).map(|_| {
        let (versions, nonces) = (random.up_to(6), random.up_to(700));
        let first_nonce = random.next_u32().min(u32::MAX - nonces);
        let top = u32::MAX >> random.up_to(9);
        random.case(top, versions, first_nonce, nonces)
    })
}
