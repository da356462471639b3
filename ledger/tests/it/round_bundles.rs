//! Bundles of blocks under PROP: the block before shows where a round begins, and no other place is
//! believed.

use ledger::{BlockId, Exporter, Over, Scheme};
use serde_json::json;

use crate::bundles::{Falsehood, Lines, check, exported, refuse_all};
use crate::support::{REWARD, World, pplns};

/// Seven slices; the blocks had committed to 2, 5 and 5 again, in this order.
fn world(scheme: Scheme) -> (World, [BlockId; 3]) {
    let mut world = World::new(scheme);
    let [alice, bob] = ["alice", "bob"].map(|name| world.worker(name, "rig"));
    for round in 0..7 {
        world.commit(&[(alice, 40 + round), (bob, 31)]);
        world.close();
    }
    let blocks = [2, 5, 5].map(|slice| {
        let hash = world.find(bob, slice, REWARD + slice);
        world.on_chain(hash, 1);
        hash
    });
    world.assert_sound();
    (world, blocks)
}

#[test]
fn a_bundle_proves_a_round() {
    let (world, [first, second, third]) = world(Scheme::Prop);
    let proofs = [first, second, third].map(|hash| {
        let proof = check(&exported(&world, &hash)).unwrap();
        assert_eq!(proof.credits, world.credits(&hash));
        (proof.slices, proof.window, proof.before)
    });
    // 40 + 41 + 2 * 31, and 42 + 43 + 44 + 3 * 31; the third finds everything taken.
    let before = proofs.map(|(_, _, before)| before.map(|(hash, _)| hash));
    assert_eq!(before, [None, Some(first), Some(second)]);
    assert_eq!(proofs.map(|(slices, window, _)| (slices, window)), [(2, 143), (3, 222), (1, 0)]);
}

#[test]
fn a_block_without_work_has_a_bundle() {
    let mut world = World::new(Scheme::Prop);
    let alice = world.worker("alice", "rig");
    let hash = world.find(alice, 0, REWARD);
    world.on_chain(hash, 1);
    let proof = check(&exported(&world, &hash)).unwrap();
    assert_eq!((proof.slices, proof.before), (0, None));
    assert_eq!(proof.credits, world.credits(&hash));
}

#[test]
fn a_round_in_pieces_has_no_bundle() {
    let (mut world, [first, ..]) = world(Scheme::Prop);
    world.orphan(first);
    let bob = world.worker("bob", "rig");
    // Its round is what the orphan had, and what came after the others.
    let hash = world.find(bob, 7, REWARD);
    world.on_chain(hash, 1);
    let error = Exporter::open(&world.path()).unwrap().block(&hash, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("do not show the round"), "{error}");
}

#[test]
fn a_round_is_shown_by_blocks_that_are_on_the_chain() {
    // The last round was empty when its block was settled, by one that is an orphan now.
    let (mut world, [_, second, third]) = world(Scheme::Prop);
    world.orphan(second);
    let export = |world: &World, hash| {
        let mut out = Vec::new();
        Exporter::open(&world.path())
            .unwrap()
            .block(hash, &mut out)
            .map_err(|error| error.to_string())
    };
    assert!(export(&world, &third).unwrap_err().contains("do not show the round"));
    world.on_chain(second, 1);
    assert_eq!(export(&world, &third), Ok(()));
    // One of which nothing is known is no empty round.
    let bob = world.worker("bob", "rig");
    let open = world.find(bob, 7, REWARD);
    assert!(export(&world, &open).unwrap_err().contains("is not settled"));
    let mut out = Vec::new();
    let account =
        Exporter::open(&world.path()).unwrap().account("bob", Over::Block(&open), false, &mut out);
    assert!(account.unwrap_err().to_string().contains("is not settled"));
}

/// What is done to the bundle of the second block, whose round is slices 3 to 5.
const FALSEHOODS: &[Falsehood] = &[
    ("no block before", |it| it.remove("before", 0), "no block before says"),
    (
        "a round that is shorter",
        |it| it.remove_slice(0),
        "of the block before: its coinbase commits to something else, should be to slice 3",
    ),
    (
        "the block itself as the one before",
        |it| {
            let block = it.nth("block", 0).clone();
            for key in ["header", "coinbase", "branch"] {
                it.nth("before", 0)[key] = block[key].clone();
            }
        },
        "the block before is the block itself",
    ),
    ("another header before", |it| it.flip("before", 0, "header", 80), "of the block before: the"),
    ("another coinbase before", |it| it.flip("before", 0, "coinbase", 90), "of the block before: "),
    (
        "a branch that is longer",
        |it| it.nth("before", 0)["branch"] = json!(["00".repeat(32)]),
        "of the block before: the block's header does not commit to this coinbase",
    ),
    (
        "two blocks before",
        |it| {
            let before = it.nth("before", 0).clone();
            let at = it.all("before")[0];
            it.0.insert(at, before);
        },
        "the newest slice is 0",
    ),
    ("a key that nobody knows", |it| it.nth("before", 0)["note"] = json!(1), "unknown field"),
    ("a window", |it| it.set("block", 0, "window_hundredths", 100), "nobody knows the scheme"),
    (
        "another scheme",
        |it| it.set("block", 0, "scheme", "solo"),
        "a block before is nothing to solo",
    ),
    ("a satoshi moved", |it| it.move_satoshi(2, 1), "should be the credit of"),
];

#[test]
fn every_named_falsehood_about_a_round_is_refused_with_its_reason() {
    let (world, [_, second, _]) = world(Scheme::Prop);
    refuse_all(&exported(&world, &second), FALSEHOODS);
}

#[test]
fn a_block_before_is_believed_of_a_round_alone() {
    let (prop, [first, second, third]) = world(Scheme::Prop);
    let before = |hash| Lines::of(&exported(&prop, hash)).nth("before", 0).clone();
    let (one, two) = (before(&second), before(&third));
    // The first round begins with slice 1: nothing is in front of it.
    let mut lines = Lines::of(&exported(&prop, &first));
    lines.0.insert(2, two.clone());
    let error = check(&lines.bytes()).unwrap_err().to_string();
    assert!(error.contains("should be below"), "{error}");
    // Nor is a later block before.
    let mut lines = Lines::of(&exported(&prop, &second));
    let later = Lines::of(&exported(&prop, &third)).0[1].clone();
    for key in ["header", "coinbase", "branch"] {
        lines.nth("before", 0)[key] = later[key].clone();
    }
    let error = check(&lines.bytes()).unwrap_err().to_string();
    assert!(error.contains("of the block before: its height is"), "{error}");
    // An empty round has the committed slice alone.
    let mut lines = Lines::of(&exported(&prop, &second));
    *lines.nth("before", 0) = two;
    lines.0[1] = Lines::of(&exported(&prop, &third)).0[1].clone();
    let error = check(&lines.bytes()).unwrap_err().to_string();
    assert!(error.contains("the round is empty"), "{error}");
    let (pplns, [hash, ..]) = world(pplns(100));
    let mut lines = Lines::of(&exported(&pplns, &hash));
    lines.0.insert(2, one);
    let error = check(&lines.bytes()).unwrap_err().to_string();
    assert!(error.contains("a block before is nothing to pplns"), "{error}");
}
