//! Readers beside the writer.

use ledger::{LedgerError, Reader, verify};
use units::Work;

use crate::support::{REWARD, World, pplns, spoil_projections};

const fn sendable<T: Send>() {}
// The pool moves them into threads of their own.
const _: () = sendable::<ledger::Ledger>();
const _: () = sendable::<Reader>();

#[test]
fn a_reader_sees_each_commit_and_never_blocks() {
    let mut world = World::new(pplns(200));
    let reader = world.reader();
    let alice = world.worker("alice", "r");
    for shares in 1_u64..20 {
        world.commit(&[(alice, 2)]);
        assert_eq!(reader.totals().unwrap().shares, shares);
    }
}

#[test]
fn a_slow_reader_delays_nobody_and_the_log_of_writes_shrinks_after_it() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "r");
    let share = world.forge.share(alice, 2);
    let batch = vec![share; 4_000];
    let slow = rusqlite::Connection::open(world.path()).unwrap();
    slow.execute_batch("BEGIN; SELECT * FROM total;").unwrap();
    let wal = world.dir.path().join("pool.sqlite-wal");
    let length = || wal.metadata().unwrap().len();
    // A fifth of a megabyte each: far past the 64 MiB from which on the writer tends to it.
    for _ in 0..330 {
        world.ledger.commit(&batch).unwrap();
    }
    assert!(length() > 64 << 20, "the reader held it: {}", length());
    slow.execute_batch("COMMIT").unwrap();
    // It is looked at every 256 writes.
    for _ in 0..260 {
        world.ledger.commit(&batch[..1]).unwrap();
    }
    assert!(length() <= 64 << 20, "{}", length());
}

#[test]
fn accounts_and_blocks_are_listed() {
    let mut world = World::new(pplns(200));
    let (alice, bob) = (world.worker("alice", "r1"), world.worker("bob", "r1"));
    let spare = world.worker("alice", "r2");
    world.worker("carol", "r1");
    world.commit(&[(alice, 3), (bob, 5), (spare, 4), (alice, 1)]);
    world.close();
    let hash = world.find(bob, 1, REWARD);
    let reader = world.reader();
    let names = |limit| -> Vec<(String, Work, u64)> {
        let accounts = reader.accounts(limit).unwrap();
        accounts.into_iter().map(|one| (one.name, one.work, one.shares)).collect()
    };
    let alice_line = ("alice".to_owned(), Work::new(8), 3);
    let bob_line = ("bob".to_owned(), Work::new(5), 1);
    assert_eq!(names(2), [alice_line, bob_line]);
    assert_eq!(
        names(9)[2..],
        [("carol".to_owned(), Work::ZERO, 0), ("pool".to_owned(), Work::ZERO, 0)]
    );
    let view = reader.account("alice").unwrap().unwrap();
    let workers: Vec<_> = view
        .workers
        .iter()
        .map(|worker| (&*worker.name, worker.work.get(), worker.shares))
        .collect();
    assert_eq!(workers, [("r1", 4, 2), ("r2", 4, 1)]);
    assert!(view.workers[0].last_share_at > view.workers[1].last_share_at);
    assert_eq!(reader.account("nobody").unwrap(), None);
    let block = &reader.blocks(5).unwrap()[0];
    assert_eq!((block.hash, &*block.finder, &*block.finder_worker), (hash, "bob", "r1"));
    assert_eq!(block.settled_at, None);
    assert!(reader.balances().unwrap().is_empty());
    world.on_chain(hash, 1);
    let balances = reader.balances().unwrap();
    let accounts: Vec<_> = balances.iter().map(|balance| &*balance.account).collect();
    assert_eq!(accounts, ["alice", "bob", "pool"]);
    assert!(reader.blocks(5).unwrap()[0].settled_at.is_some());
}

#[test]
fn what_is_no_ledger_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.sqlite");
    for error in [Reader::open(&path).unwrap_err(), verify::ledger(&path).unwrap_err()] {
        assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
    }
    let other = dir.path().join("other.sqlite");
    let conn = rusqlite::Connection::open(&other).unwrap();
    conn.execute_batch("CREATE TABLE song(name TEXT)").unwrap();
    drop(conn);
    assert!(matches!(Reader::open(&other).unwrap_err(), LedgerError::NotALedger { .. }));
    let settings = crate::support::settings(pplns(200));
    let error = ledger::Ledger::open(&other, settings.clone()).unwrap_err();
    assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
    let text = dir.path().join("text.sqlite");
    std::fs::copy(std::env::current_exe().unwrap(), &text).unwrap();
    let error = ledger::Ledger::open(&text, settings.clone()).unwrap_err();
    assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
    let error = ledger::Ledger::open(dir.path(), settings).unwrap_err();
    assert!(matches!(error, LedgerError::Store { .. }), "{error}");
    assert!(error.to_string().starts_with("opening the ledger /"), "{error}");
}

#[test]
fn a_ledger_from_the_future_is_left_alone() {
    let world = World::new(pplns(200));
    let path = world.path();
    let World { dir, ledger, .. } = world;
    drop(ledger);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 5).unwrap();
    drop(conn);
    let error = ledger::Ledger::open(&path, crate::support::settings(pplns(200))).unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 5, known: 4, .. }), "{error}");
    assert!(matches!(Reader::open(&path).unwrap_err(), LedgerError::Newer { .. }));
    drop(dir);
}

#[test]
fn tables_of_another_version_are_not_read() {
    let world = World::new(pplns(200));
    spoil_projections(&world.path());
    let error = Reader::open(&world.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Older { .. }), "{error}");
    let world = world.reopen(pplns(200));
    assert_eq!(world.reader().totals().unwrap().shares, 0);
    let conn = rusqlite::Connection::open(world.path()).unwrap();
    conn.execute("UPDATE meta SET value = 99 WHERE key = 'projections'", []).unwrap();
    let error = Reader::open(&world.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_reader_opens_what_a_crash_left() {
    let mut world = World::new(pplns(200));
    let alice = world.worker("alice", "r");
    world.commit(&[(alice, 2)]);
    let copy = tempfile::tempdir().unwrap();
    for name in ["pool.sqlite", "pool.sqlite-wal"] {
        std::fs::copy(world.dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join("pool.sqlite");
    assert_eq!(Reader::open(&path).unwrap().totals().unwrap().shares, 1);
    assert!(verify::ledger(&path).unwrap().ok);
}
