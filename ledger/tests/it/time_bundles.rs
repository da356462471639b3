//! Bundles of blocks under PPLNT: roots say when slices were closed, and no other instants are
//! believed.

use std::time::Duration;

use ledger::verify::bundle::{self, Sample};
use ledger::{BlockId, Exporter, Over, Scheme};
use serde_json::json;

use crate::bundles::{Falsehood, Lines, check, check_account, exported, proof_of, refuse_all};
use crate::support::{REWARD, World};

const fn pplnt(seconds: u64) -> Scheme {
    Scheme::Pplnt { window: Duration::from_secs(seconds) }
}

/// Seven slices of three seconds each: a share of alice's, one of bob's a second later, and the close.
fn world(scheme: Scheme) -> (World, BlockId) {
    let mut world = World::new(scheme);
    let [alice, bob] = ["alice", "bob"].map(|name| world.worker(name, "rig"));
    for round in 0..7 {
        world.commit(&[(alice, 40 + round), (bob, 31)]);
        world.close();
    }
    let hash = world.find(bob, 7, REWARD + 3);
    world.on_chain(hash, 1);
    world.commit(&[(bob, 99)]);
    world.close();
    world.assert_sound();
    (world, hash)
}

#[test]
fn a_bundle_proves_what_a_window_of_time_pays() {
    // Going back from the close: alice's shares at 2, 5, 8 seconds, bob's at 1, 4, 7, opened at 3, 6, 9:
    // what began at the window's very beginning is the edge.
    for (seconds, slices, window) in [
        (1, 1, 0),
        (2, 1, 31),
        (3, 1, 77),
        (6, 2, 77 + 76),
        (7, 3, 77 + 76),
        (8, 3, 77 + 76 + 31),
        (9, 3, 77 + 76 + 75),
        (500, 7, 7 * 31 + 40 + 41 + 42 + 43 + 44 + 45 + 46),
    ] {
        let (world, hash) = world(pplnt(seconds));
        let proof = check(&exported(&world, &hash)).unwrap();
        assert_eq!((proof.slices, proof.window), (slices, window), "of {seconds} s");
        assert_eq!(proof.credits, world.credits(&hash), "of {seconds} s");
        let mine = proof_of(&world, "alice", Over::Block(&hash), true);
        let proof = check_account(&mine).unwrap();
        assert_eq!(proof.slices, (8 - slices, 7), "of {seconds} s");
    }
}

#[test]
fn a_clock_that_was_set_back_has_a_bundle_that_says_the_same_as_the_ledger() {
    let mut world = World::new(pplnt(7));
    let [alice, bob] = ["alice", "bob"].map(|name| world.worker(name, "rig"));
    for round in 0..6_u64 {
        world.commit(&[(alice, 40 + u128::from(round)), (bob, 31)]);
        let now = world.now().get();
        // The fourth slice is closed a minute too early, the fifth a minute too late.
        let set = [0, 0, 0, -60_000, 60_000, 0][usize::try_from(round).unwrap()];
        world.close_at(units::UnixMillis::new(now.saturating_add_signed(set)));
    }
    for slice in 1..=6 {
        let hash = world.find(bob, slice, REWARD + slice);
        world.on_chain(hash, 1);
        let proof = check(&exported(&world, &hash)).unwrap();
        assert_eq!(proof.credits, world.credits(&hash), "up to slice {slice}");
    }
    world.assert_sound();
}

#[test]
fn a_block_without_work_has_a_bundle() {
    let mut world = World::new(pplnt(7));
    let alice = world.worker("alice", "rig");
    let hash = world.find(alice, 0, REWARD);
    world.on_chain(hash, 1);
    let proof = check(&exported(&world, &hash)).unwrap();
    assert_eq!((proof.slices, proof.window), (0, 0));
    assert_eq!(proof.credits, world.credits(&hash));
}

/// What is done to the bundle of a block whose window of 8 s has slices 5 to 7, the first in part.
const FALSEHOODS: &[Falsehood] = &[
    (
        "another close",
        |it| *it.nth("slice", 2) = moved(it.nth("slice", 2), "closed", 1),
        "slice 7 has another root",
    ),
    (
        "a close that fits the next slice's beginning",
        |it| {
            *it.nth("slice", 0) = moved(it.nth("slice", 0), "closed", 1);
            *it.nth("slice", 1) = moved(it.nth("slice", 1), "opened", 1);
        },
        "slice 5 has another root",
    ),
    (
        "a beginning that is not the close before",
        |it| *it.nth("slice", 1) = moved(it.nth("slice", 1), "opened", -1),
        "slice 6 was opened at",
    ),
    (
        "an edge that began later",
        |it| *it.nth("slice", 0) = moved(it.nth("slice", 0), "opened", 2_000),
        "slice 5 has another root",
    ),
    (
        "a share in the window that was accepted before",
        |it| *it.nth("share", 0) = moved(it.nth("share", 0), "at", 1),
        "slice 5 has another root",
    ),
    ("a shorter bundle", |it| it.remove_slice(0), "does not reach back over the window"),
    (
        "a longer window",
        |it| it.set("block", 0, "window_ms", 9_001),
        "does not reach back over the window",
    ),
    (
        "a shorter window",
        |it| it.set("block", 0, "window_ms", 5_999),
        "reaches back further than the window",
    ),
    (
        "a window that is a millisecond longer",
        |it| it.set("block", 0, "window_ms", 8_001),
        "should be the credit of",
    ),
    ("no window", |it| it.set("block", 0, "window_ms", 0), "nobody knows the scheme \"pplnt\""),
    (
        "a window of blocks besides",
        |it| it.set("block", 0, "window_hundredths", 100),
        "nobody knows the scheme \"pplnt\"",
    ),
    (
        "another scheme",
        |it| it.set("block", 0, "scheme", "prop"),
        "nobody knows the scheme \"prop\" with a window of 0 hundredths and 8000 ms",
    ),
    (
        "slices that do not say when",
        |it| {
            for nth in 0..3 {
                it.without_instants(nth);
            }
        },
        "says instants as its form 3 does not",
    ),
    (
        "slices of the form before",
        |it| {
            for nth in 0..3 {
                it.in_form(nth, 2);
            }
        },
        "does not say when it was closed",
    ),
    ("a satoshi moved", |it| it.move_satoshi(2, 1), "should be the credit of"),
];

/// A line with one of its instants moved.
fn moved(line: &serde_json::Value, key: &str, millis: i64) -> serde_json::Value {
    let mut line = line.clone();
    line[key] = json!(line[key].as_u64().map(|at| at.saturating_add_signed(millis)));
    line
}

#[test]
fn every_named_falsehood_about_instants_is_refused_with_its_reason() {
    let (world, hash) = world(pplnt(8));
    refuse_all(&exported(&world, &hash), FALSEHOODS);
}

#[test]
fn a_window_of_time_that_was_not_settled_by_it_is_refused() {
    // The first slice began at 0, whatever it says.
    let (world, hash) = world(pplnt(500));
    let mut lines = Lines::of(&exported(&world, &hash));
    *lines.nth("slice", 0) = moved(lines.nth("slice", 0), "opened", 1);
    let error = check(&lines.bytes()).unwrap_err().to_string();
    assert!(error.contains("slice 1 was opened at 1, should be 0"), "{error}");
    let bytes = exported(&world, &hash);
    assert!(bundle::block(&mut &*bytes, Some(&hash), Sample::All).is_ok());
}

#[test]
fn slices_of_earlier_versions_have_no_bundle_of_time() {
    let (_dir, path) = crate::formats::third();
    drop(ledger::Ledger::open(&path, crate::support::settings(pplnt(40))).unwrap());
    let reader = ledger::Reader::open(&path).unwrap();
    let newest = reader.blocks(1).unwrap().remove(0);
    let mut out = Vec::new();
    let error = Exporter::open(&path).unwrap().block(&newest.hash, &mut out).unwrap_err();
    assert!(error.to_string().contains("its root does not say when"), "{error}");
}
