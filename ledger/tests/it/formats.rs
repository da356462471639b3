//! Ledgers that earlier versions wrote.

use ledger::{Ledger, Reader, verify};
use rusqlite::Connection;
use units::Work;

use crate::support::{Forge, assert_sound, pplns, settings};

/// A whole ledger of format 1, as the version before format 2 left it: three closed slices and
/// shares in a fourth, readings, a key, a lease, a mature, an immature and an orphaned block.
const FORMAT_1: &str = include_str!("format1.sql");

/// The same of format 2, as the version before format 3 left it: four closed slices and shares in
/// a fifth.
const FORMAT_2: &str = include_str!("format2.sql");

/// The same of format 3, as the version before format 4 left it: a slice with a root over shares and
/// without instants behind the ones of format 2, and a block under PPLNT.
const FORMAT_3: &str = include_str!("format3.sql");

pub(crate) fn third() -> (tempfile::TempDir, std::path::PathBuf) {
    of_format(FORMAT_3, 3)
}

fn old() -> (tempfile::TempDir, std::path::PathBuf) {
    of_format(FORMAT_1, 1)
}

fn of_format(dump: &str, format: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pool.sqlite");
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    conn.execute_batch(dump).unwrap();
    let numbers = format!("PRAGMA application_id = 1464881734; PRAGMA user_version = {format}");
    conn.execute_batch(&numbers).unwrap();
    (dir, path)
}

fn log(path: &std::path::Path) -> Vec<String> {
    let rows = crate::support::tables(path);
    rows.into_iter().filter(|row| row.starts_with("event:")).collect()
}

#[test]
fn a_ledger_of_the_first_format_is_taken_over() {
    let (_dir, path) = old();
    let before = log(&path);
    assert!(before.iter().any(|row| row.contains("\"batch\"")), "{before:?}");
    let mut ledger = Ledger::open(&path, settings(pplns(100))).unwrap();
    assert_eq!(log(&path), before, "the log is never changed");
    assert_sound(&path);
    let reader = Reader::open(&path).unwrap();
    let totals = reader.totals().unwrap();
    // What the version that wrote it said.
    assert_eq!((totals.shares, totals.work), (11, Work::new(1_146)));
    assert_eq!((totals.immature.to_sat(), totals.balance.to_sat()), (5_000_000_003, 5_000_000_001));
    assert_eq!((totals.energy.get(), totals.covered_work), (600, Work::new(403)));
    let alice = reader.account("alice").unwrap().unwrap();
    assert_eq!((alice.work, alice.shares), (Work::new(610), 4));
    assert_eq!((alice.immature.to_sat(), alice.balance.to_sat()), (1_952_929_689, 2_640_000_001));
    assert_eq!(alice.workers[0].last_share_at.unwrap().get(), 1_790_000_023_000);
    assert_eq!(ledger.open_slice().unwrap(), (2, Work::new(18)));
    // And it goes on: a block whose window reaches back into the old batches.
    let mut forge = Forge::starting_at(1_000);
    let bob = ledger.find_worker("bob", "r").unwrap().unwrap();
    let committed = ledger.commit(&[forge.share(bob, 100)]).unwrap();
    assert_eq!(committed.first_seq, 12);
    let slice = ledger.close_slice(forge.now()).unwrap();
    assert_eq!((slice.index.get(), slice.shares, slice.work), (4, 3, Work::new(118)));
    forge.roots.insert(4, slice.root);
    let candidate = forge.candidate(bob, 4, 5_000_000_000);
    ledger.candidate(&candidate).unwrap();
    ledger.on_chain(candidate.hash, 1, forge.now()).unwrap();
    assert!(reader.credits_of(&candidate.hash).unwrap().len() == 3);
    assert_sound(&path);
    assert_eq!(verify::ledger(&path).unwrap().shares, 12);
    drop(ledger);
    Ledger::open(&path, settings(pplns(100))).unwrap();
    assert_sound(&path);
}

#[test]
fn a_ledger_of_the_second_format_is_taken_over() {
    let (_dir, path) = of_format(FORMAT_2, 2);
    let before = log(&path);
    let error = Reader::open(&path).unwrap_err();
    assert!(matches!(error, ledger::LedgerError::Older { .. }), "{error}");
    let mut ledger = Ledger::open(&path, settings(pplns(100))).unwrap();
    assert_eq!(log(&path), before, "the log is never changed");
    assert_sound(&path);
    let reader = Reader::open(&path).unwrap();
    let totals = reader.totals().unwrap();
    // What the version that wrote it said.
    assert_eq!((totals.shares, totals.work), (14, Work::new(1_524)));
    assert_eq!((totals.immature.to_sat(), totals.balance.to_sat()), (5_000_000_003, 5_000_000_001));
    assert_eq!((totals.energy.get(), totals.covered_work), (1_200, Work::new(806)));
    let alice = reader.account("alice").unwrap().unwrap();
    assert_eq!((alice.work, alice.shares), (Work::new(824), 6));
    assert_eq!((alice.immature.to_sat(), alice.balance.to_sat()), (1_962_597_657, 2_640_000_001));
    assert_eq!(ledger.open_slice().unwrap(), (2, Work::new(18)));
    // An orphan comes back with the amounts that it was settled for then, and it goes on.
    let orphan = ledger.unresolved().unwrap().into_iter().find(|block| block.height == 15).unwrap();
    let mut forge = Forge::starting_at(1_000);
    assert!(ledger.on_chain(orphan.hash, 1, forge.now()).unwrap().changed());
    let bob = ledger.find_worker("bob", "r").unwrap().unwrap();
    assert_eq!(ledger.commit(&[forge.share(bob, 100)]).unwrap().first_seq, 15);
    let slice = ledger.close_slice(forge.now()).unwrap();
    assert_eq!((slice.index.get(), slice.shares, slice.work), (5, 3, Work::new(118)));
    forge.roots.insert(5, slice.root);
    let candidate = forge.candidate(bob, 5, 5_000_000_000);
    ledger.candidate(&candidate).unwrap();
    ledger.on_chain(candidate.hash, 1, forge.now()).unwrap();
    assert!(!reader.credits_of(&candidate.hash).unwrap().is_empty());
    assert_sound(&path);
    drop(ledger);
    Ledger::open(&path, settings(pplns(100))).unwrap();
    assert_sound(&path);
}

#[test]
fn a_ledger_of_the_third_format_is_taken_over() {
    let (_dir, path) = third();
    let before = log(&path);
    assert!(before.iter().any(|row| row.contains(r#"form\":2"#)));
    let scheme = ledger::Scheme::Pplnt { window: std::time::Duration::from_secs(40) };
    let mut ledger = Ledger::open(&path, settings(scheme)).unwrap();
    assert_eq!(log(&path), before, "the log is never changed");
    assert_sound(&path);
    let reader = Reader::open(&path).unwrap();
    let totals = reader.totals().unwrap();
    // What the version that wrote it said.
    assert_eq!((totals.shares, totals.work, totals.slices), (20, Work::new(1_783), 7));
    assert_eq!(
        (totals.immature.to_sat(), totals.balance.to_sat()),
        (15_000_000_005, 5_000_000_001)
    );
    let alice = reader.account("alice").unwrap().unwrap();
    assert_eq!((alice.work, alice.shares), (Work::new(965), 9));
    assert_eq!((alice.immature.to_sat(), alice.balance.to_sat()), (6_764_173_605, 2_640_000_001));
    // And it goes on: the next slice's root says when the one before was closed.
    let mut forge = Forge::starting_at(2_000);
    let bob = ledger.find_worker("bob", "r").unwrap().unwrap();
    assert_eq!(ledger.commit(&[forge.share(bob, 100)]).unwrap().first_seq, 21);
    let slice = ledger.close_slice(forge.now()).unwrap();
    assert_eq!((slice.index.get(), slice.shares, slice.work), (8, 2, Work::new(111)));
    forge.roots.insert(8, slice.root);
    let candidate = forge.candidate(bob, 8, 5_000_000_000);
    ledger.candidate(&candidate).unwrap();
    ledger.on_chain(candidate.hash, 1, forge.now()).unwrap();
    assert!(log(&path).iter().any(|row| row.contains(r#"form\":3"#)));
    assert_sound(&path);
    drop(ledger);
    Ledger::open(&path, settings(scheme)).unwrap();
    assert_sound(&path);
}

#[test]
fn an_old_ledger_that_was_changed_is_found() {
    let (_dir, path) = old();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TRIGGER event_is_not_changed;
         UPDATE event SET data = CAST(substr(data, 2) AS BLOB) 
         WHERE seq = (SELECT max(seq) FROM event WHERE kind = 'batch')",
    )
    .unwrap();
    assert_eq!(conn.changes(), 1);
    drop(conn);
    let error = Ledger::open(&path, settings(pplns(100))).unwrap_err();
    assert!(error.to_string().contains("ends inside a share"), "{error}");
}
