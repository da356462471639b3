//! Workers, batches, slices, leases.

use ledger::{Ledger, LedgerError, MAX_SLICE, Refusal, Scheme, SliceHead, SliceIndex, WorkerId};
use units::{UnixMillis, Work};

use crate::support::{World, assert_sound, pplns, refused, settings};

#[test]
fn workers_are_registered_once_and_kept() {
    let mut world = World::new(pplns(200));
    let first = world.worker("alice", "rig1");
    let second = world.worker("alice", "rig2");
    let nameless = world.worker("bob", "");
    assert_eq!([first.get(), second.get(), nameless.get()], [1, 2, 3]);
    assert_eq!(world.worker("alice", "rig1"), first);
    let mut world = world.reopen(pplns(200));
    assert_eq!(world.worker("alice", "rig2"), second);
    assert_eq!(world.worker("alice", "Rig2").get(), 4);
    let totals = world.reader().totals().unwrap();
    assert_eq!((totals.accounts, totals.workers), (2, 4));
}

#[test]
fn bad_names_are_refused() {
    let mut world = World::new(pplns(200));
    let long = "a".repeat(129);
    for (account, worker) in
        [("", "x"), (&*long, "x"), ("a\nb", "x"), ("a", "x\u{7f}"), ("a", &long)]
    {
        let error = world.ledger.worker(account, worker, UnixMillis::new(0)).unwrap_err();
        assert!(matches!(refused(error), Refusal::BadName { .. }));
    }
    assert_eq!(world.reader().totals().unwrap().accounts, 0);
}

#[test]
fn shares_are_numbered_without_a_hole() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "rig1");
    let share = |world: &mut World| world.forge.share(alice, 3);
    let (one, two, three) = (share(&mut world), share(&mut world), share(&mut world));
    let committed = world.ledger.commit(&[one, two]).unwrap();
    assert_eq!((committed.first_seq, committed.last_seq), (1, 2));
    let nothing = world.ledger.commit(&[]).unwrap();
    assert_eq!((nothing.first_seq, nothing.last_seq), (3, 2));
    let committed = world.ledger.commit(&[three]).unwrap();
    assert_eq!((committed.first_seq, committed.last_seq), (3, 3));
    let totals = world.reader().totals().unwrap();
    assert_eq!((totals.shares, totals.work), (3, Work::new(9)));
    world.assert_sound();
}

#[test]
fn a_bad_share_spoils_its_batch_and_nothing_else() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "rig1");
    let good = world.forge.share(alice, 3);
    let mut workless = good.clone();
    workless.work = Work::ZERO;
    let error = world.ledger.commit(&[good.clone(), workless]).unwrap_err();
    assert_eq!(refused(error), Refusal::ZeroWork { position: 1 });
    let mut stranger = good.clone();
    stranger.worker = WorkerId::new(2);
    let error = world.ledger.commit(&[good.clone(), stranger]).unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownWorker(WorkerId::new(2)));
    assert_eq!(world.reader().totals().unwrap().shares, 0);
    world.ledger.commit(&[good]).unwrap();
    world.assert_sound();
}

#[test]
fn a_sum_past_the_end_commits_nothing_and_the_ledger_goes_on() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "rig1");
    world.commit(&[(alice, 3)]);
    let mut huge = world.forge.share(alice, 3);
    huge.work = Work::new(u128::MAX);
    let error = world.ledger.commit(&[huge]).unwrap_err();
    assert!(matches!(error, LedgerError::Overflow("proven work")), "{error}");
    world.commit(&[(alice, 4)]);
    let totals = world.reader().totals().unwrap();
    assert_eq!((totals.shares, totals.work), (2, Work::new(7)));
    world.assert_sound();
}

#[test]
fn slices_close_only_with_shares_and_chain_their_roots() {
    let mut world = World::new(pplns(200));
    assert_eq!(world.ledger.newest_slice(), SliceHead::NONE);
    assert_eq!(world.close(), SliceIndex::new(0));
    let (alice, bob) = (world.worker("alice", "rig1"), world.worker("bob", "rig1"));
    world.commit(&[(alice, 3), (bob, 5)]);
    world.commit(&[(alice, 2)]);
    assert_eq!(world.ledger.open_slice().unwrap(), (3, Work::new(10)));
    let now = world.now();
    let first = world.ledger.close_slice(now).unwrap();
    assert_eq!((first.index.get(), first.work, first.shares), (1, Work::new(10), 3));
    assert_eq!(world.ledger.close_slice(now).unwrap(), first);
    world.commit(&[(alice, 3), (bob, 5), (alice, 2)]);
    let second = world.ledger.close_slice(now).unwrap();
    assert_ne!(second.root, first.root, "the same sums after another slice");
    let world = world.reopen(pplns(200));
    assert_eq!(world.ledger.newest_slice(), second);
    world.assert_sound();
}

#[test]
fn a_slice_is_closed_before_it_grows_too_large() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "rig1");
    let share = world.forge.share(alice, 1);
    let most = usize::try_from(MAX_SLICE).unwrap();
    for (shares, closed, open) in
        [(1, 0, 1), (most - 1, 0, MAX_SLICE), (2, 1, 2), (most, 2, MAX_SLICE)]
    {
        world.ledger.commit(&vec![share.clone(); shares]).unwrap();
        assert_eq!(world.ledger.newest_slice().index, SliceIndex::new(closed));
        assert_eq!(world.ledger.open_slice().unwrap().0, open);
    }
    assert_eq!(world.ledger.newest_slice().shares, 2);
}

#[test]
fn slices_keep_the_best_headers_and_what_they_show_agrees() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "rig1"), world.worker("bob", "rig1"));
    for _ in 0..3 {
        world.commit(&[(alice, 2); 40]);
        world.commit(&[(bob, 3)]);
        world.close();
    }
    let (first, last) = (SliceIndex::new(1), SliceIndex::new(3));
    let reader = world.reader();
    // Four of each slice, by the settings of these tests.
    let best = reader.best_shares("alice", first, last).unwrap();
    assert_eq!(best.len(), 12);
    let hash = |share: &ledger::Share| {
        let mut hash = crate::support::double_sha256(&share.header);
        hash.reverse();
        hash
    };
    assert!(best.chunks(4).all(|slice| slice.is_sorted_by_key(hash)));
    let estimate = reader.work_estimate("alice", first, last).unwrap().unwrap();
    assert_eq!((estimate.claimed, estimate.headers), (240, 4));
    assert!(estimate.agrees(), "{estimate:?}");
    let estimate = reader.work_estimate("bob", first, last).unwrap().unwrap();
    assert_eq!((estimate.claimed, estimate.estimated, estimate.headers), (9, 9, 3));
    assert_eq!(reader.best_shares("bob", last, last).unwrap().len(), 1);
    assert_eq!(reader.work_estimate("nobody", first, last).unwrap(), None);
    let world = world.reopen(pplns(200));
    assert_eq!(world.reader().best_shares("alice", first, last).unwrap(), best);
}

/// The evidence of shares is made again from the log, wherever the ledger was killed.
#[test]
fn the_root_of_a_slice_survives_kills() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "rig1"), world.worker("bob", "rig1"));
    for works in [[1, 2, 3], [40, 5, 6], [7, 80, 9]] {
        world.commit(&[(alice, works[0]), (bob, works[1]), (alice, works[2])]);
        world = world.killed(pplns(200));
    }
    world.close();
    world.commit(&[(alice, 3)]);
    world = world.killed(pplns(200));
    world.close();
    world.assert_sound();
}

#[test]
fn the_open_slice_survives_a_restart() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "rig1"), world.worker("bob", "rig1"));
    world.commit(&[(alice, 1)]);
    world.close();
    world.commit(&[(alice, 3), (bob, 5)]);
    let mut world = world.reopen(pplns(200));
    assert_eq!(world.ledger.open_slice().unwrap(), (2, Work::new(8)));
    world.commit(&[(bob, 2)]);
    assert_eq!(world.close(), SliceIndex::new(2));
    world.assert_sound();
}

#[test]
fn extranonces_are_never_leased_twice() {
    let mut world = World::new(Scheme::Solo);
    let now = world.now();
    assert_eq!(world.ledger.lease_extranonces(10, now).unwrap(), 0..10);
    let mut world = world.reopen(Scheme::Solo);
    assert_eq!(world.ledger.lease_extranonces(5, now).unwrap(), 10..15);
    let error = world.ledger.lease_extranonces(0, now).unwrap_err();
    assert_eq!(refused(error), Refusal::EmptyLease);
    let most = u32::MAX - 15;
    assert_eq!(world.ledger.lease_extranonces(most, now).unwrap(), 15..u32::MAX);
    let error = world.ledger.lease_extranonces(1, now).unwrap_err();
    assert_eq!(refused(error), Refusal::ExtranoncesExhausted { asked: 1, left: 0 });
    world.assert_sound();
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let world = World::new(Scheme::Solo);
    let path = world.path();
    let error = Ledger::open(&path, settings(Scheme::Solo)).unwrap_err();
    assert!(matches!(&error, LedgerError::Locked { path: named } if *named == path), "{error}");
    assert!(error.to_string().contains("in use by another pool"), "{error}");
    let World { dir, ledger, .. } = world;
    drop(ledger);
    Ledger::open(&path, settings(Scheme::Solo)).unwrap();
    assert_sound(&path);
    drop(dir);
}

#[test]
fn settings_of_no_use_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/pool.sqlite");
    let error = Ledger::open(&path, settings(pplns(0))).unwrap_err();
    assert_eq!(refused(error), Refusal::WindowOfNothing);
    let mut nameless = settings(Scheme::Solo);
    nameless.fee_account.clear();
    let error = Ledger::open(&path, nameless).unwrap_err();
    assert!(matches!(refused(error), Refusal::BadName { what: "fee account", .. }));
    assert!(!path.exists());
    Ledger::open(&path, settings(Scheme::Solo)).unwrap();
    assert!(path.exists());
}

#[test]
fn a_store_that_fails_commits_nothing_and_the_ledger_goes_on() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "rig1");
    world.commit(&[(alice, 3)]);
    // A person with a database tool who forgot to finish: the writer waits 5 seconds for them.
    let other = rusqlite::Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let share = world.forge.share(alice, 4);
    let error = world.ledger.commit(core::slice::from_ref(&share)).unwrap_err();
    let LedgerError::Store { doing, passing, reason } = &error else { panic!("{error}") };
    assert!(doing.starts_with("committing shares (ledger /"), "{error}");
    assert!(*passing && reason.contains("locked"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    let committed = world.ledger.commit(&[share]).unwrap();
    assert_eq!((committed.first_seq, committed.last_seq), (2, 2));
    assert_eq!(world.reader().totals().unwrap().work, Work::new(7));
    world.assert_sound();
}
