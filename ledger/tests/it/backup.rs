//! Copies of a ledger in use, and their way back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ledger::{Ledger, LedgerError, Reader, backup, restore};

use crate::support::{REWARD, World, assert_sound, pplns, settings, tables};

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A ledger with shares, slices and a settled block.
fn world() -> World {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    for _ in 0..4 {
        world.commit(&[(alice, 30), (bob, 20)]);
        world.close();
    }
    let hash = world.find(alice, 4, REWARD);
    world.on_chain(hash, 1);
    world
}

#[test]
fn a_copy_is_made_while_the_ledger_is_written() {
    let mut world = world();
    let path = world.path();
    let copies = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    let mut before = 0;
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            let copy = |number| {
                let copy = copies.path().join(format!("{number}.sqlite"));
                (backup(&path, &copy).unwrap().shares, copy)
            };
            let made: Vec<_> = (0..5).map(copy).collect();
            done.store(true, Ordering::Relaxed);
            made
        });
        let alice = world.worker("alice", "r");
        while !done.load(Ordering::Relaxed) {
            world.commit(&[(alice, 3), (alice, 2)]);
            world.close();
        }
        for (shares, copy) in made.join().unwrap() {
            assert!(shares >= before, "{shares} {before}");
            before = shares;
            assert_eq!(Reader::open(&copy).unwrap().totals().unwrap().shares, shares);
            assert_sound(&copy);
        }
    });
    let names = ["0.sqlite", "1.sqlite", "2.sqlite", "3.sqlite", "4.sqlite"];
    assert_eq!(files(copies.path()), names, "one file each, and nothing beside them");
    world.assert_sound();
}

#[test]
fn a_copy_replaces_no_file() {
    let world = world();
    let there = world.dir.path().join("there");
    std::fs::copy(world.path(), &there).unwrap();
    let error = backup(&world.path(), &there).unwrap_err();
    assert!(matches!(error, LedgerError::Exists { .. }), "{error}");
    let error = backup(&world.dir.path().join("missing"), &world.dir.path().join("x")).unwrap_err();
    assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
}

#[test]
fn a_pool_goes_on_with_a_copy_that_was_put_back() {
    let mut world = world();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    backup(&world.path(), &copy).unwrap();
    let said = tables(&world.path());

    let error = restore(&copy, &world.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Locked { .. }), "a pool runs on it: {error}");

    // On a new disk.
    let place = copies.path().join("new/pool.sqlite");
    assert_eq!(restore(&copy, &place).unwrap().shares, 8);
    let mut ledger = Ledger::open(&place, settings(pplns(100))).unwrap();
    assert_eq!(tables(&place), said);
    let now = world.now();
    let alice = ledger.worker("alice", "r", now).unwrap();
    assert_eq!(ledger.commit(&[world.forge.share(alice, 9)]).unwrap().first_seq, 9);
    drop(ledger);
    assert_sound(&place);

    // It has gone on since, so that the copy would take something from it.
    let error = restore(&copy, &place).unwrap_err();
    let LedgerError::BeyondCopy { has, copied, .. } = error else { panic!("{error}") };
    assert_eq!(has, copied + 1);

    // The same ledger as it was when it was copied: nothing is lost.
    let other = copies.path().join("old.sqlite");
    restore(&copy, &other).unwrap();
    assert_eq!(restore(&copy, &other).unwrap().shares, 8);
    assert_sound(&other);
}

#[test]
fn another_ledger_or_a_damaged_copy_is_not_put_back() {
    let world = world();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    backup(&world.path(), &copy).unwrap();
    let mut other = World::new(pplns(100));
    other.worker("carol", "r");
    let World { dir, ledger, .. } = other;
    drop(ledger);
    let path = dir.path().join("pool.sqlite");
    let error = restore(&copy, &path).unwrap_err();
    assert!(matches!(error, LedgerError::AnotherLedger { .. }), "{error}");
    assert_sound(&path);

    let conn = rusqlite::Connection::open(&copy).unwrap();
    conn.execute_batch("UPDATE account SET immature = immature + 1 WHERE id = 1").unwrap();
    drop(conn);
    let place = dir.path().join("new");
    let error = restore(&copy, &place).unwrap_err();
    assert!(error.to_string().contains("its audit finds"), "{error}");
    assert!(!place.exists());
}
