//! Found blocks: who gets what, and what becomes of it.

use ledger::{BlockState, Refusal, Scheme, SliceIndex, WorkerId};

use crate::support::{REWARD, World, pplns, refused};

const FEE: u64 = REWARD / 100;
const REST: u64 = REWARD - FEE;

fn share(name: &str, sats: u64) -> (String, &'static str, u64) {
    (name.to_owned(), "share", sats)
}

fn fee() -> (String, &'static str, u64) {
    ("pool".to_owned(), "fee", FEE)
}

#[test]
fn the_window_is_cut_inside_the_share_on_its_edge() {
    // A window of 100 % of 512: 300 of bob's, and 212 of alice's 300.
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(bob, 100), (alice, 300), (bob, 120)]);
    world.commit(&[(bob, 180)]);
    world.close();
    let hash = world.find(bob, 1, REWARD);
    world.on_chain(hash, 1);
    let alice_sats = REST * 212 / 512;
    assert_eq!(
        world.credits(&hash),
        [share("alice", alice_sats), share("bob", REST - alice_sats), fee()]
    );
    world.assert_sound();
}

#[test]
fn a_window_that_is_not_full_divides_by_the_work_there_is() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(alice, 30), (bob, 10)]);
    world.close();
    let hash = world.find(alice, 1, REWARD);
    world.on_chain(hash, 1);
    assert_eq!(world.credits(&hash), [share("alice", REST / 4 * 3), share("bob", REST / 4), fee()]);
    world.assert_sound();
}

#[test]
fn shares_after_the_committed_slice_count_for_later_blocks() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(alice, 30)]);
    world.close();
    world.commit(&[(bob, 300)]);
    world.close();
    world.commit(&[(bob, 300)]);
    let hash = world.find(bob, 1, REWARD);
    world.on_chain(hash, 1);
    assert_eq!(world.credits(&hash), [share("alice", REST), fee()]);
    world.assert_sound();
}

#[test]
fn windows_begin_at_slice_edges_and_span_many_slices() {
    // 256 work a window, 2 a slice: exactly 128 slices, of which the sums of two stretches of 64
    // are written down; alice mines the even ones.
    let mut world = World::new(pplns(50));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    for slice in 1_u64..=200 {
        let worker = if slice % 2 == 0 { alice } else { bob };
        world.commit(&[(worker, 2)]);
        assert_eq!(world.close(), SliceIndex::new(slice));
        // Any window that ends after slice 128 is full, half each.
        if [128, 150, 199, 200].contains(&slice) {
            let hash = world.find(bob, slice, REWARD);
            world.on_chain(hash, 1);
            assert_eq!(
                world.credits(&hash),
                [share("alice", REST / 2), share("bob", REST / 2), fee()]
            );
        }
    }
    let hash = world.find(bob, 65, REWARD);
    world.on_chain(hash, 1);
    let alice_sats = REST * 32 / 65;
    let credits = world.credits(&hash);
    assert_eq!(credits[0].2, alice_sats + 1, "33 of 65 rounds down, 32 of 65 leaves more");
    assert_eq!(credits[1].2, REST - alice_sats - 1);
    world.assert_sound();
}

#[test]
fn long_windows_are_cut_inside_a_share_too() {
    // 51 % of 512 is 261.12: 130 slices of 2, and 1.12 of the 2 of slice 70, which is alice's.
    let mut world = World::new(pplns(51));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    for slice in 1_u64..=200 {
        world.commit(&[(if slice % 2 == 0 { alice } else { bob }, 2)]);
        assert_eq!(world.close(), SliceIndex::new(slice));
    }
    let hash = world.find(bob, 200, REWARD);
    world.on_chain(hash, 1);
    // 131.12 x 4,950,000,000 / 261.12 = 2,485,615,808.8, bob's is 130 of them: 2,464,384,191.2.
    assert_eq!(
        world.credits(&hash),
        [share("alice", 2_485_615_809), share("bob", 2_464_384_191), fee()]
    );
    world.assert_sound();
}

#[test]
fn solo_and_empty_windows_pay_the_finder() {
    for scheme in [Scheme::Solo, pplns(200)] {
        let mut world = World::new(scheme);
        let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
        world.commit(&[(alice, 30)]);
        let slice = if scheme == Scheme::Solo { world.close().get() } else { 0 };
        let hash = world.find(bob, slice, REWARD);
        world.on_chain(hash, 1);
        assert_eq!(world.credits(&hash), [("bob".to_owned(), "finder", REST), fee()]);
        world.assert_sound();
    }
}

#[test]
fn the_terms_are_those_of_the_find() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(alice, 30)]);
    world.close();
    let hash = world.find(bob, 1, REWARD);
    let mut world = world.reopen(Scheme::Solo);
    world.on_chain(hash, 1);
    assert_eq!(world.credits(&hash), [share("alice", REST), fee()]);
    world.assert_sound();
}

#[test]
fn credits_ripen_and_orphans_take_only_their_own() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "r");
    world.commit(&[(alice, 30)]);
    world.close();
    let first = world.find(alice, 1, REWARD);
    let second = world.find(alice, 1, REWARD / 2);
    let third = world.find(alice, 1, REWARD / 4);
    for hash in [first, second, third] {
        let change = world.on_chain(hash, 1);
        assert_eq!((change.before, change.after), (BlockState::Candidate, BlockState::OnChain));
    }
    assert!(!world.on_chain(first, 99).changed());
    assert_eq!(world.on_chain(first, 100).after, BlockState::Mature);
    assert_eq!(world.orphan(second).after, BlockState::Orphaned);
    assert_eq!(world.money("alice"), (REST / 4, REST));
    assert_eq!(world.money("pool"), (FEE / 4, FEE));
    let totals = world.reader().totals().unwrap();
    assert_eq!(totals.immature.to_sat() + totals.balance.to_sat(), REWARD + REWARD / 4);
    assert_eq!(totals.fees.to_sat(), FEE + FEE / 4);
    assert_eq!((totals.blocks.immature, totals.blocks.mature, totals.blocks.orphaned), (1, 1, 1));
    assert_eq!(totals.blocks.found(), 3);
    world.assert_sound();
}

#[test]
fn an_orphan_that_comes_back_gets_the_same_amounts() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    world.commit(&[(alice, 30), (bob, 7)]);
    world.close();
    let hash = world.find(alice, 1, REWARD);
    world.on_chain(hash, 1);
    let credits = world.credits(&hash);
    world.orphan(hash);
    assert_eq!(world.money("alice"), (0, 0));
    assert_eq!(world.reader().totals().unwrap().fees.to_sat(), 0);
    world.commit(&[(bob, 300)]);
    world.close();
    let mut world = world.reopen(pplns(100));
    assert_eq!(world.on_chain(hash, 150).after, BlockState::Mature);
    assert_eq!(world.credits(&hash), credits);
    assert_eq!(world.money("alice").1, credits[0].2);
    let now = world.now();
    let error = world.ledger.orphaned(hash, now).unwrap_err();
    assert_eq!(refused(error), Refusal::AlreadyMature(hash));
    world.assert_sound();
}

#[test]
fn unresolved_lists_what_must_be_looked_for() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "r");
    let candidate = world.forge.candidate(alice, 0, REWARD);
    world.ledger.candidate(&candidate).unwrap();
    let hash = candidate.hash;
    let states = |world: &World| -> Vec<BlockState> {
        world.ledger.unresolved().unwrap().iter().map(|block| block.state).collect()
    };
    assert_eq!(states(&world), [BlockState::Candidate]);
    assert_eq!(world.ledger.block_bytes(&hash).unwrap(), Some(candidate.block.clone()));
    assert_eq!(world.ledger.block_bytes(&[0; 32]).unwrap(), None);
    let now = world.now();
    let change = world.ledger.submitted(hash, "inconclusive", now).unwrap();
    assert_eq!(change.after, BlockState::Submitted);
    world.orphan(hash);
    assert_eq!(states(&world), [BlockState::Orphaned]);
    assert!(!world.orphan(hash).changed());
    assert_eq!(world.ledger.give_up(hash, now).unwrap().after, BlockState::Abandoned);
    assert_eq!(states(&world), []);
    // The chain is the truth, even so late.
    assert_eq!(world.on_chain(hash, 1).after, BlockState::OnChain);
    let error = world.ledger.give_up(hash, now).unwrap_err();
    assert_eq!(refused(error), Refusal::NotOrphaned(hash));
    assert_eq!(world.on_chain(hash, 100).after, BlockState::Mature);
    assert_eq!(states(&world), []);
    assert_eq!(world.reader().blocks(9).unwrap()[0].answer.as_deref(), Some("inconclusive"));
    world.assert_sound();
}

#[test]
fn a_candidate_is_recorded_once_and_checked() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "r");
    let candidate = world.forge.candidate(alice, 0, REWARD);
    world.ledger.candidate(&candidate).unwrap();
    world.ledger.candidate(&candidate).unwrap();
    assert_eq!(world.reader().totals().unwrap().blocks.candidate, 1);
    let mut other = candidate.clone();
    other.height += 1;
    let error = world.ledger.candidate(&other).unwrap_err();
    assert_eq!(refused(error), Refusal::CandidateDiffers(candidate.hash));
    let mut early = world.forge.candidate(alice, 1, REWARD);
    let error = world.ledger.candidate(&early).unwrap_err();
    let (asked, newest) = (SliceIndex::new(1), SliceIndex::new(0));
    assert_eq!(refused(error), Refusal::UnknownSlice { asked, newest });
    early.committed_slice = newest;
    early.finder = WorkerId::new(9);
    let error = world.ledger.candidate(&early).unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownWorker(WorkerId::new(9)));
    let now = world.now();
    let error = world.ledger.on_chain(early.hash, 1, now).unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownBlock(early.hash));
    let error = world.ledger.on_chain(candidate.hash, 0, now).unwrap_err();
    assert_eq!(refused(error), Refusal::DepthZero(candidate.hash));
    world.assert_sound();
}

#[test]
fn long_answers_are_cut_between_characters() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "r");
    let hash = world.find(alice, 0, REWARD);
    let now = world.now();
    world.ledger.submitted(hash, &"\u{e9}".repeat(200), now).unwrap();
    let answer = world.reader().blocks(1).unwrap()[0].answer.clone().unwrap();
    assert_eq!(answer, "\u{e9}".repeat(128));
    assert_eq!(world.reader().blocks(1).unwrap()[0].state, BlockState::Submitted);
    world.assert_sound();
}
