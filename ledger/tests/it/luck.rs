//! What accounts were expected to find, beside what they found.

use ledger::AccountLuck;

use crate::support::{NETWORK_WORK, REWARD, World, pplns};

/// One block expected.
const BLOCK: u128 = 1 << 64;

fn luck(account: &str, score: u128, found: u64, decided: u64, orphaned: u64) -> AccountLuck {
    AccountLuck { account: account.to_owned(), score, found, decided, orphaned }
}

#[test]
fn work_is_counted_in_blocks_as_its_slice_closes() {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "a"), world.worker("bob", "b"));
    let second = world.worker("alice", "b");
    world.commit(&[(alice, 256), (bob, 3), (second, 128)]);
    assert_eq!(world.reader().luck().unwrap(), [], "the slice is open");
    world.close();
    let score = BLOCK / NETWORK_WORK;
    let expected = [luck("alice", score * 384, 0, 0, 0), luck("bob", score * 3, 0, 0, 0)];
    assert_eq!(world.reader().luck().unwrap(), expected);
    world.commit(&[(bob, 1)]);
    world.commit(&[(bob, 2)]);
    world.close();
    let mut world = world.reopen(pplns(100));
    world.commit(&[(bob, 4)]);
    world.close();
    let bob = world.reader().luck_of("bob").unwrap().unwrap();
    assert_eq!(bob, luck("bob", score * 10, 0, 0, 0));
    assert_eq!(world.reader().luck_of("nobody").unwrap(), None);
    world.assert_sound();
}

#[test]
fn a_block_counts_for_its_finder_whatever_became_of_it() {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "a"), world.worker("bob", "b"));
    world.commit(&[(bob, 2)]);
    world.close();
    let blocks: Vec<_> = (0..4).map(|n| world.find(alice, 1, REWARD + n)).collect();
    world.find(bob, 1, REWARD);
    world.on_chain(blocks[0], 100);
    world.on_chain(blocks[1], 1);
    world.orphan(blocks[2]);
    let expected = [luck("alice", 0, 4, 3, 1), luck("bob", 2 * (BLOCK / NETWORK_WORK), 1, 0, 0)];
    assert_eq!(world.reader().luck().unwrap(), expected);
    world.on_chain(blocks[2], 1);
    assert_eq!(world.reader().luck_of("alice").unwrap().unwrap(), luck("alice", 0, 4, 3, 0));
}
