//! Blocks whose coinbase pays accounts itself.

use ledger::{BlockId, LedgerError, SliceIndex};
use units::UnixMillis;

use crate::support::{World, pplns};

const REWARD: u64 = 10_000;

/// Alice with three quarters of the work, bob with the rest, in slice 1.
fn world() -> World {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(alice, 384), (bob, 128)]);
    world.close();
    world
}

fn find(world: &mut World, direct: &[(&str, u64)]) -> BlockId {
    let bob = world.worker("bob", "r");
    let candidate = world.forge.candidate_paying(bob, 1, REWARD, direct);
    world.ledger.candidate(&candidate).unwrap();
    candidate.hash
}

/// Immature, credited and paid.
fn money(world: &World, account: &str) -> (u64, u64, u64) {
    let view = world.reader().account(account).unwrap().unwrap();
    (view.immature.to_sat(), view.balance.to_sat(), view.paid.to_sat())
}

#[test]
fn what_a_coinbase_pays_is_paid_when_it_is_mature_and_the_rest_is_owed() {
    let mut world = world();
    // 9,900 by 3 : 1. Bob's output was too small for the coinbase, and 25 of alice's are left.
    let hash = find(&mut world, &[("alice", 7_400)]);
    world.on_chain(hash, 1);
    let credit = |name: &str, kind, sats| (name.to_owned(), kind, sats);
    let mut credits = world.credits(&hash);
    credits.sort();
    assert_eq!(
        credits,
        [
            credit("alice", "direct", 7_400),
            credit("alice", "share", 25),
            credit("bob", "share", 2_475),
            credit("pool", "fee", 100),
        ]
    );
    assert_eq!(money(&world, "alice"), (7_425, 0, 0));
    world.assert_sound();
    world.orphan(hash);
    assert_eq!(money(&world, "alice"), (0, 0, 0));
    world.on_chain(hash, 100);
    assert_eq!(money(&world, "alice"), (0, 25, 7_400));
    assert_eq!(money(&world, "bob"), (0, 2_475, 0));
    let (from, to) = (UnixMillis::new(0), UnixMillis::new(u64::MAX));
    let statement = world.reader().statement("alice", from, to, 100).unwrap().unwrap();
    assert_eq!((statement.closing, statement.direct.to_sat()), (25, 7_400));
    let totals = world.reader().totals().unwrap();
    assert_eq!((totals.balance.to_sat(), totals.paid.to_sat()), (2_600, 7_400));
    world.assert_sound();
    world.reopen(pplns(100)).assert_sound();
}

#[test]
fn nobody_is_paid_more_than_the_window_gives() {
    for direct in [[("alice", 7_426)], [("pool", 1)]] {
        let mut world = world();
        // Opens the pool's own account.
        find(&mut world, &[]);
        let hash = find(&mut world, &direct);
        let now = world.now();
        let error = world.ledger.on_chain(hash, 1, now).unwrap_err();
        assert!(
            matches!(&error, LedgerError::Damaged(why) if why.contains("more than its window"))
        );
        // Nothing was credited, and the ledger goes on.
        assert_eq!(money(&world, "alice"), (0, 0, 0));
        world.assert_sound();
    }
}

#[test]
fn the_window_of_a_slice_is_what_its_block_pays_by() {
    let mut world = world();
    let slice = SliceIndex::new(1);
    let window = world.reader().window(pplns(100), slice).unwrap();
    let parts: Vec<_> =
        window.iter().map(|(id, name, weight)| (id.get(), &**name, *weight)).collect();
    assert_eq!(parts, [(1, "alice", 3 << 62), (2, "bob", 1 << 62)]);
    // Later work changes nothing of it.
    let bob = world.worker("bob", "r");
    world.commit(&[(bob, 500)]);
    world.close();
    assert_eq!(world.reader().window(pplns(100), slice).unwrap(), window);
}
