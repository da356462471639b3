//! The auditor finds what is wrong: each test spoils one thing behind the ledger's back.

use ledger::{Share, WorkerId, verify};
use units::Work;

use crate::support::{REWARD, World, pplns, spoil_projections};

/// A ledger with a bit of everything: 2 accounts, 3 slices, a mature, an immature and an
/// orphaned block.
fn world() -> World {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    for round in 0..3 {
        world.commit(&[(alice, 200 + round), (bob, 150)]);
        world.commit(&[(bob, 25)]);
        world.close();
    }
    for (slice, depth) in [(1, 100), (3, 1), (2, 1)] {
        let hash = world.find(alice, slice, REWARD + slice);
        world.on_chain(hash, depth);
        if slice == 2 {
            world.orphan(hash);
        }
    }
    world
}

/// Runs `sql` with the triggers out of the way, and returns what the auditor says.
fn after(world: World, sql: &str) -> Vec<String> {
    let path = world.path();
    let World { dir, ledger, .. } = world;
    drop(ledger);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TRIGGER event_is_not_changed; DROP TRIGGER event_is_not_deleted;
         DROP TRIGGER event_is_appended;",
    )
    .unwrap();
    conn.execute_batch(sql).unwrap();
    assert!(conn.changes() > 0, "the test changed nothing: {sql}");
    drop(conn);
    let report = verify::ledger(&path).unwrap();
    assert_eq!(report.ok, report.problems.is_empty());
    drop(dir);
    report.problems
}

#[test]
fn a_sound_ledger_has_no_problems_and_the_right_sums() {
    let world = world();
    let report = verify::ledger(&world.path()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.ok);
    assert_eq!((report.shares, report.work), (9, Work::new(1_128)));
    assert_eq!((report.slices, report.accounts, report.blocks), (3, 3, 3));
    assert_eq!((report.immature.to_sat(), report.balance.to_sat()), (REWARD + 3, REWARD + 1));
}

#[test]
fn tables_that_differ_from_the_log_are_found() {
    for (sql, word) in [
        ("UPDATE account SET balance = balance + 1 WHERE id = 1", "balance"),
        ("UPDATE account SET immature = immature + 1 WHERE id = 2", "immature"),
        ("UPDATE account SET paid = 5 WHERE id = 2", "paid"),
        ("UPDATE account SET name = 'mallory' WHERE id = 2", "name"),
        ("UPDATE tally SET shares = shares + 1 WHERE worker = 1", "worker"),
        ("UPDATE tally SET work = zeroblob(16) WHERE worker = 1", "worker"),
        ("UPDATE total SET shares = 1", "totals"),
        ("UPDATE total SET fees = fees + 1", "totals"),
        ("UPDATE slice SET root = zeroblob(32) WHERE idx = 2", "slice 2"),
        ("UPDATE slice SET line_end = zeroblob(16) WHERE idx = 3", "slice 3"),
        ("UPDATE slice SET score_end = zeroblob(16) WHERE idx = 3", "slice 3"),
        ("UPDATE slice_work SET work = zeroblob(16) WHERE slice = 1 AND account = 1", "slice 1"),
        ("UPDATE slice_work SET score = zeroblob(16) WHERE slice = 1 AND account = 1", "slice 1"),
        ("INSERT INTO round VALUES (1, 1, 1)", "paid for"),
        ("INSERT INTO carry VALUES (1, zeroblob(16))", "carried"),
        ("INSERT INTO slice_paid VALUES (1, 1, 1, 1, 1)", "slices paid for"),
        ("UPDATE total SET reserve = 1", "totals"),
        ("DELETE FROM slice_work WHERE slice = 1 AND account = 1", "slice 1"),
        ("INSERT INTO slice_sum VALUES (2, zeroblob(20))", "sums at slice 2"),
        ("UPDATE block SET state = 'mature' WHERE state = 'orphaned'", "state"),
        ("UPDATE credit SET sats = sats + 1 WHERE kind = 3 AND account = 1", "credits"),
        ("DELETE FROM credit WHERE kind = 1", "credits nothing where it should credit"),
        ("UPDATE slice_best SET numbers = zeroblob(24) WHERE slice = 2", "slice 2 does not keep"),
        (
            "UPDATE slice_best SET shares = (SELECT shares FROM slice_best WHERE slice = 3 AND account = 2)
             WHERE slice = 2 AND account = 2",
            "slice 2 does not keep",
        ),
        ("DELETE FROM slice_best WHERE slice = 3 AND account = 1", "slice 3 does not keep"),
        ("INSERT INTO pin VALUES (1, zeroblob(32))", "pinned keys"),
        ("DELETE FROM worker WHERE id = 2", "table of workers"),
        ("UPDATE total SET tallied = 1", "as of event 1, which cannot be"),
        ("UPDATE total SET tallied = 1000", "as of event 1000, which cannot be"),
        ("INSERT INTO slice_work VALUES (4, 1, 1, zeroblob(16), zeroblob(16))", "the open slice"),
    ] {
        let problems = after(world(), sql);
        assert!(problems.iter().any(|problem| problem.contains(word)), "{sql}: {problems:#?}");
    }
}

#[test]
fn sums_of_the_open_slice_that_differ_from_the_log_are_found() {
    for (sql, word) in [
        ("UPDATE slice_work SET work = zeroblob(16) WHERE slice = 4 AND account = 1", "open slice"),
        ("DELETE FROM slice_work WHERE slice = 4 AND account = 2", "open slice"),
        ("UPDATE tally SET shares = shares - 1 WHERE worker = 2", "worker"),
        ("UPDATE total SET work = zeroblob(16)", "totals"),
        ("UPDATE total SET tallied = tallied - 1", "open slice"),
        ("UPDATE total SET tallied = tallied + 1", "worker"),
    ] {
        let mut world = world();
        // 12 seconds by the shares' own instants: the sums are written on the way.
        for _ in 0..6 {
            world.commit(&[(WorkerId::new(1), 7), (WorkerId::new(2), 11)]);
        }
        assert_eq!(world.ledger.open_slice().unwrap().0, 12);
        world.assert_sound();
        let problems = after(world, sql);
        assert!(problems.iter().any(|problem| problem.contains(word)), "{sql}: {problems:#?}");
    }
}

#[test]
fn a_batch_in_another_form_is_found() {
    // Lengths of the tables at 0, 4 and 8, then one block, 52 bytes, and two works.
    for (sql, word) in [
        ("X'00000001000000010000'", "no whole shares"),
        ("substr(data, 1, 11) || X'01' || substr(data, 13)", "no whole shares"),
        ("substr(data, 1, 80) || substr(data, 65, 16) || substr(data, 97)", "no whole shares"),
        ("substr(data, 1, 63) || X'55' || substr(data, 65)", "not of a block of 597"),
        ("substr(data, 1, length(data) - 54)", "no whole shares"),
        ("data || substr(data, -54)", "its shares is 2, should be 3"),
    ] {
        let set = format!("UPDATE event SET data = CAST({sql} AS BLOB) WHERE seq = 5");
        let problems = after(world(), &set);
        assert!(problems.iter().any(|problem| problem.contains(word)), "{sql}: {problems:#?}");
    }
}

#[test]
fn a_log_that_was_changed_is_found() {
    for (sql, word) in [
        ("DELETE FROM event WHERE seq = 3", "follows event"),
        ("DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)", "state"),
        ("UPDATE event SET body = replace(body, 'alice', 'mallory')", "name"),
        ("UPDATE event SET body = '{}' WHERE kind = 'slice_closed'", "its index"),
        ("UPDATE event SET body = 'x' WHERE seq = 1", "its body"),
        ("UPDATE event SET body = replace(body, '\"form\":3', '\"form\":1')", "its root"),
        (
            "UPDATE event SET body = replace(body, '\"form\":3', '\"form\":4')",
            "the form 4 of its root",
        ),
        ("UPDATE event SET body = replace(body, '\"best\":4', '\"best\":1')", "does not keep"),
        ("UPDATE event SET kind = 'gift' WHERE seq = 1", "nobody knows"),
        (
            "UPDATE event SET body = replace(body, '\"fee_basis_points\":100', '\"fee_basis_points\":99')",
            "it credits",
        ),
        (
            "UPDATE event SET body = replace(body, '\"reward\":\"5000000001', '\"reward\":\"5000000002')",
            "its reward",
        ),
        (
            "UPDATE event SET body = replace(body, '\"slice\":3,\"window', '\"slice\":2,\"window')",
            "it credits",
        ),
        (
            "UPDATE event SET kind = 'block_restored' WHERE kind = 'block_matured'",
            "it was immature",
        ),
        (
            "UPDATE event SET data = CAST(substr(data, 2) AS BLOB) WHERE kind = 'shares' AND seq = 5",
            "no whole shares",
        ),
        (
            "UPDATE event SET data = substr(data, 1, 150) WHERE kind = 'candidate_found'",
            "cut short",
        ),
        (
            "UPDATE event SET data = CAST(data || x'00' AS BLOB) WHERE kind = 'candidate_found'",
            "follow",
        ),
    ] {
        let problems = after(world(), sql);
        assert!(problems.iter().any(|problem| problem.contains(word)), "{sql}: {problems:#?}");
    }
}

/// Commits `share` as it is, closes its slice and returns the problems.
fn with_share(spoil: impl FnOnce(&mut Share)) -> Vec<String> {
    let mut world = world();
    let alice = world.worker("alice", "r");
    let mut share = world.forge.share(alice, 4);
    spoil(&mut share);
    world.ledger.commit(&[share]).unwrap();
    world.close();
    verify::ledger(&world.path()).unwrap().problems
}

#[test]
fn shares_that_do_not_prove_their_work_are_found() {
    assert_eq!(with_share(|_| ()), Vec::<String>::new());
    let problems = with_share(|share| share.work = Work::new(1 << 60));
    assert!(problems[0].contains("share 10 does not prove"), "{problems:?}");
    let problems = with_share(|share| share.network_work = Work::new(511));
    assert!(problems[0].contains("not of a block of 511"), "{problems:?}");
    let problems = with_share(|share| share.header[0] ^= 1);
    assert!(problems.len() <= 1, "{problems:?}");
}

#[test]
fn the_same_share_twice_is_found() {
    let mut world = world();
    let alice = world.worker("alice", "r");
    let share = world.forge.share(alice, 4);
    for _ in 0..2 {
        world.ledger.commit(core::slice::from_ref(&share)).unwrap();
    }
    let report = verify::ledger(&world.path()).unwrap();
    assert_eq!(report.problems, ["event 24 (shares): share 11 stands in the log twice"]);
}

#[test]
fn a_block_that_is_not_what_it_says_is_found() {
    for spoil in 0..3 {
        let mut world = world();
        let alice = world.worker("alice", "r");
        let mut candidate = world.forge.candidate(alice, 1, REWARD);
        match spoil {
            0 => candidate.reward = crate::support::sats(REWARD - 1),
            1 => candidate.network_work = Work::new(1),
            _ => candidate.hash[31] = 1,
        }
        world.ledger.candidate(&candidate).unwrap();
        let problems = verify::ledger(&world.path()).unwrap().problems;
        let words = ["its reward", "its network work", "its hash"];
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(words[spoil]), "{problems:?}");
    }
}

#[test]
fn a_block_that_commits_to_another_slice_is_found() {
    for (root, found) in [(Some([3; 32]), true), (None, false)] {
        let mut world = world();
        let alice = world.worker("alice", "r");
        if let Some(root) = root {
            world.forge.roots.insert(3, root);
        }
        world.find(alice, 3, REWARD);
        let problems = verify::ledger(&world.path()).unwrap().problems;
        assert_eq!(problems.len(), usize::from(found), "{problems:?}");
        assert!(problems.iter().all(|one| one.contains("should be to slice 3")), "{problems:?}");
    }
}

#[test]
fn many_problems_are_counted_and_not_listed() {
    let mut world = World::new(pplns(100));
    let alice = world.worker("alice", "r");
    let share = world.forge.share(alice, 4);
    world.ledger.commit(&vec![share; 151]).unwrap();
    let problems = verify::ledger(&world.path()).unwrap().problems;
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], "and 50 more problems");
}

#[test]
fn spoiled_tables_are_rebuilt_sound() {
    let world = world();
    let path = world.path();
    let World { dir, ledger, .. } = world;
    drop(ledger);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("UPDATE account SET balance = 7; DELETE FROM slice_work").unwrap();
    drop(conn);
    assert!(!verify::ledger(&path).unwrap().ok);
    spoil_projections(&path);
    ledger::Ledger::open(&path, crate::support::settings(pplns(100))).unwrap();
    assert!(verify::ledger(&path).unwrap().ok);
    drop(dir);
}
