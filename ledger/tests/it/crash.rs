//! What is left when the process or the disk stops in the middle.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ledger::{Ledger, Reader, verify};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{Forge, REWARD, World, pplns, settings};

/// Names the ledger to the child process of [`killed_writers_lose_nothing_that_was_answered`].
const CHILD: &str = "WATTPROOF_LEDGER_CRASH_TEST";

/// A copy of the files as a crash would leave them now, with the write-ahead log cut to `keep`
/// bytes when that is less.
fn crashed(world: &World, keep: u64) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["pool.sqlite", "pool.sqlite-wal"] {
        std::fs::copy(world.dir.path().join(name), dir.path().join(name)).unwrap();
    }
    cut(&dir.path().join("pool.sqlite-wal"), keep);
    let path = dir.path().join("pool.sqlite");
    (dir, path)
}

#[expect(clippy::disallowed_types, reason = "a torn file is the point of these tests")]
fn cut(path: &Path, keep: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(keep.min(length)).unwrap();
}

/// A life of a few dozen transactions, and how long the log was after each of them.
fn life() -> (World, Vec<u64>) {
    let mut world = World::new(pplns(50));
    let mut lengths = Vec::new();
    let wal = world.dir.path().join("pool.sqlite-wal");
    let mut step = |world: &mut World, act: &mut dyn FnMut(&mut World)| {
        act(world);
        lengths.push(wal.metadata().unwrap().len());
    };
    step(&mut world, &mut |world| assert_eq!(world.worker("alice", "r").get(), 1));
    step(&mut world, &mut |world| assert_eq!(world.worker("bob", "r").get(), 2));
    let (alice, bob) = (ledger::WorkerId::new(1), ledger::WorkerId::new(2));
    for round in 0..6 {
        step(&mut world, &mut |world| world.commit(&[(alice, 40), (bob, 20)]));
        step(&mut world, &mut |world| world.commit(&[(bob, 10)]));
        step(&mut world, &mut |world| assert_eq!(world.close().get(), round + 1));
        let mut hash = [0; 32];
        step(&mut world, &mut |world| hash = world.find(alice, round, REWARD));
        step(&mut world, &mut |world| assert!(world.on_chain(hash, 1).changed()));
        if round % 2 == 0 {
            step(&mut world, &mut |world| assert!(world.orphan(hash).changed()));
        }
    }
    (world, lengths)
}

#[test]
fn a_log_cut_anywhere_leaves_a_sound_prefix() {
    let (world, lengths) = life();
    let whole = *lengths.last().unwrap();
    let mut shares = 0;
    // Around the end of every transaction, where the difference is made.
    for keep in lengths.iter().flat_map(|end| [end - 1, *end, end + 1]) {
        let (_dir, path) = crashed(&world, keep);
        let ledger = Ledger::open(&path, settings(pplns(50))).unwrap();
        let report = verify::ledger(&path).unwrap();
        assert!(report.ok, "cut at {keep}: {:#?}", report.problems);
        assert!(report.shares >= shares, "cut at {keep}");
        shares = report.shares;
        drop(ledger);
        if keep >= whole {
            assert_eq!(report.shares, 18);
        }
    }
    assert_eq!(shares, 18);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_ledger_goes_on_after_any_cut(part in 0.0_f64..1.0) {
        let (world, lengths) = life();
        let whole = u32::try_from(*lengths.last().unwrap()).unwrap();
        let keep = f64::from(whole) * part;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                 reason = "a place within the file")]
        let keep = keep as u64;
        let (_dir, path) = crashed(&world, keep);
        let mut ledger = Ledger::open(&path, settings(pplns(50))).unwrap();
        let mut forge = Forge::starting_at(1_000);
        let now = forge.now();
        let alice = ledger.worker("alice", "r", now).unwrap();
        let before = Reader::open(&path).unwrap().totals().unwrap().shares;
        let committed = ledger.commit(&[forge.share(alice, 9)]).unwrap();
        prop_assert_eq!(committed.first_seq, before + 1);
        for block in ledger.unresolved().unwrap() {
            ledger.on_chain(block.hash, 100, now).unwrap();
        }
        ledger.close_slice(now).unwrap();
        let report = verify::ledger(&path).unwrap();
        prop_assert!(report.ok, "{:#?}", report.problems);
    }
}

#[test]
fn killed_writers_lose_nothing_that_was_answered() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pool.sqlite");
    let mut least = 0;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::killed_writers_lose_nothing_that_was_answered",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answered = lines
            .map(|line| line.unwrap())
            .filter_map(|line| line.strip_prefix("answered ")?.parse::<u64>().ok())
            .take(30 * round)
            .last()
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let report = verify::ledger(&path).unwrap();
        assert!(report.ok, "{:#?}", report.problems);
        assert!(report.shares >= answered, "{} kept, {answered} answered", report.shares);
        assert!(answered > least);
        least = report.shares;
    }
}

/// The child: commits and says so, until it is killed.
#[expect(clippy::print_stdout, reason = "its parent reads what was answered")]
fn write_until_killed(path: &Path) -> ! {
    let mut ledger = Ledger::open(path, settings(pplns(50))).unwrap();
    let shares = Reader::open(path).unwrap().totals().unwrap().shares;
    let mut forge = Forge::starting_at(1_000_000 + shares);
    loop {
        let now = forge.now();
        let worker = ledger.worker("alice", "r", now).unwrap();
        let batch: Vec<_> = (0..5).map(|_| forge.share(worker, 3)).collect();
        let committed = ledger.commit(&batch).unwrap();
        println!("\nanswered {}", committed.last_seq);
        ledger.close_slice(now).unwrap();
    }
}
