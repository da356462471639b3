//! Shares lose their headers once no block needs them, and nothing else changes: not a satoshi, not
//! a root, nothing that tables say.

use std::time::Duration;

use ledger::{BlockId, Exporter, Ledger, Over, Pruned, Retention, Scheme, SliceIndex, verify};
use rusqlite::Connection;
use units::UnixMillis;

use crate::support::{REWARD, World, assert_sound, pplns, settings, spoil_projections, tables};

/// Far later than anything.
const LATER: UnixMillis = UnixMillis::new(1_800_000_000_000);

/// Twelve slices of about 150 hashes; blocks that had committed to the fourth and the twelfth, the first
/// of them mature.
fn world(scheme: Scheme) -> (World, [BlockId; 2]) {
    let mut world = World::new(scheme);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.worker(name, "rig"));
    let slices = |world: &mut World, rounds: std::ops::Range<u128>| {
        for round in rounds {
            world.commit(&[(alice, 40 + round), (bob, 31), (alice, 5)]);
            world.commit(&[(bob, 25), (carol, 1 + round), (alice, 40)]);
            world.close();
        }
    };
    slices(&mut world, 0..4);
    let old = world.find(carol, 4, REWARD + 7);
    world.on_chain(old, 100);
    slices(&mut world, 4..12);
    let new = world.find(alice, 12, REWARD + 9);
    world.on_chain(new, 1);
    world.commit(&[(bob, 99)]);
    (world, [old, new])
}

/// Prunes until there is nothing left to do; what was done, and in how many calls.
fn prune(ledger: &mut Ledger, retention: Retention) -> (u64, SliceIndex, usize) {
    let mut shares = 0;
    for call in 1..10_000 {
        let Pruned { shares: some, newest, more } = ledger.prune(LATER, retention).unwrap();
        shares += some;
        if !more {
            return (shares, newest, call);
        }
    }
    panic!("it does not end");
}

fn without_header(world: &World) -> u64 {
    let report = verify::ledger(&world.path()).unwrap();
    assert!(report.ok, "{:#?}", report.problems);
    report.without_header
}

/// What is not the log itself.
fn projections(world: &World) -> Vec<String> {
    // Fewer best headers stay. Sums of shares are written down now and then, and the total says up to
    // which event.
    let late = ["event:", "pruned:", "slice_best:", "total:", "tally:", "slice_work: [Integer(13)"];
    let outside = |row: &String| !late.iter().any(|one| row.starts_with(one));
    tables(&world.path()).into_iter().filter(outside).collect()
}

#[test]
fn what_no_block_needs_loses_its_headers_and_nothing_else_changes() {
    let (mut world, [old, new]) = world(pplns(100));
    let before = projections(&world);
    let credits = [old, new].map(|hash| world.credits(&hash));
    let (shares, newest, _) = prune(&mut world.ledger, Retention::default());
    // The newest block's window of 512 hashes reaches back into slice 9; 8 x 6 shares lie before it,
    // but a block found on a job that had committed to slice 9 would reach back into slice 6.
    assert_eq!((shares, newest.get()), (30, 5));
    assert_eq!(without_header(&world), 30);
    let conn = Connection::open(world.path()).unwrap();
    let sql = "SELECT sum(length(data)) FROM event WHERE kind = ?1";
    let [thin, whole]: [u64; 2] =
        ["entries", "shares"].map(|kind| conn.query_row(sql, [kind], |row| row.get(0)).unwrap());
    assert!(thin < 400 && whole > 3_000, "{thin} and {whole} bytes");
    assert_eq!(projections(&world), before);
    assert_eq!([old, new].map(|hash| world.credits(&hash)), credits);
    // Made anew from the log that is left, the tables are the same.
    let World { dir, ledger, forge } = world;
    drop(ledger);
    spoil_projections(&dir.path().join("pool.sqlite"));
    let ledger = Ledger::open(&dir.path().join("pool.sqlite"), settings(pplns(100))).unwrap();
    let mut world = World { dir, ledger, forge };
    assert_eq!(projections(&world), before);
    // And it goes on.
    let bob = world.worker("bob", "rig");
    world.commit(&[(bob, 300)]);
    world.close();
    let next = world.find(bob, 13, REWARD);
    world.on_chain(next, 1);
    assert_eq!(world.credits(&next).len(), 4);
    assert_eq!(without_header(&world), 30);
    world.on_chain(new, 100);
    assert!(prune(&mut world.ledger, Retention::default()).0 > 0);
    world.assert_sound();
}

#[test]
fn headers_stay_as_long_as_they_are_asked_for() {
    let (mut world, _) = world(pplns(100));
    let all = Retention { all: true, at_least: Duration::ZERO };
    assert_eq!(prune(&mut world.ledger, all), (0, SliceIndex::new(0), 1));
    // As long as blocks are found on a job that had committed to slice 6, whose window begins in the
    // third; whatever a clock says that was set.
    let conn = Connection::open(world.path()).unwrap();
    let sql = "SELECT (SELECT closed_at FROM slice WHERE idx = 12) - closed_at FROM slice
               WHERE idx = 6";
    let age = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    let at_least = Duration::from_millis(age);
    let (shares, newest, _) = prune(&mut world.ledger, Retention { all: false, at_least });
    assert_eq!((shares, newest.get()), (12, 2));
    assert_eq!(without_header(&world), 12);
}

#[test]
fn every_scheme_keeps_what_its_blocks_look_at() {
    let minute = Scheme::Pplnt { window: Duration::from_secs(30) };
    for (scheme, newest) in [
        (Scheme::Solo, 8),
        // The block before took slices 1 to 4.
        (Scheme::Prop, 4),
        (pplns(100), 5),
        (minute, 4),
        (Scheme::Tides, 0),
    ] {
        let (mut world, [old, new]) = world(scheme);
        let (_, pruned, _) = prune(&mut world.ledger, Retention::default());
        assert_eq!(pruned.get(), newest, "{scheme:?}");
        world.assert_sound();
        // The immature block's bundle is there; the old one's is not, unless nothing was dropped.
        let export = |hash| Exporter::open(&world.path()).unwrap().block(&hash, &mut Vec::new());
        export(new).unwrap();
        if newest >= 4 {
            let error = export(old).unwrap_err().to_string();
            assert!(error.contains("are not kept any more (ledger.keep_days"), "{error}");
        }
    }
}

#[test]
fn an_accounts_proof_says_which_headers_are_gone() {
    let (mut world, _) = world(pplns(100));
    prune(&mut world.ledger, Retention::default());
    for with_shares in [true, false] {
        let exporter = Exporter::open(&world.path()).unwrap();
        let over = Over::Slice(3);
        let error = exporter.account("alice", over, with_shares, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("headers of slice 3 are not kept"), "{error}");
    }
    // Nor are the best ones of so few.
    let estimate = |last| {
        let (first, last) = (SliceIndex::new(1), SliceIndex::new(last));
        world.reader().work_estimate("alice", first, last).unwrap()
    };
    assert!(estimate(3).is_none());
}

#[test]
fn a_ledger_that_is_cut_off_while_it_prunes_goes_on() {
    let (mut world, _) = world(pplns(100));
    let (_, newest, calls) =
        prune(&mut World::killed_copy(&world, pplns(100)).ledger, Retention::default());
    for cut in 0..calls {
        let mut copy = World::killed_copy(&world, pplns(100));
        for _ in 0..cut {
            copy.ledger.prune(LATER, Retention::default()).unwrap();
        }
        let mut copy = copy.killed(pplns(100));
        copy.assert_sound();
        let (_, after, _) = prune(&mut copy.ledger, Retention::default());
        assert_eq!(after, newest, "after {cut} calls");
        assert_eq!(without_header(&copy), 30);
        // Tables made anew in the middle are the same, too.
        let World { dir, ledger, .. } = copy;
        drop(ledger);
        let path = dir.path().join("pool.sqlite");
        spoil_projections(&path);
        drop(Ledger::open(&path, settings(pplns(100))).unwrap());
        assert_sound(&path);
    }
    world.commit(&[]);
}

#[test]
fn a_large_slice_is_pruned_a_little_at_a_time() {
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "rig");
    for _ in 0..200 {
        world.commit(&[(alice, 1)]);
    }
    world.close();
    for _ in 0..4 {
        world.commit(&[(alice, 1)]);
        world.close();
    }
    let (shares, newest, calls) = prune(&mut world.ledger, Retention::default());
    // 64 batches a call, the announcement, the call that finds none left, and the last.
    assert_eq!((shares, newest.get(), calls), (200, 1, 4 + 3));
    world.assert_sound();
    // Of 200 shares the best twelve would stay, but a slice keeps four here.
    let first = SliceIndex::new(1);
    assert_eq!(world.reader().best_shares("alice", first, first).unwrap().len(), 4);
    assert!(world.reader().work_estimate("alice", first, first).unwrap().is_some());
}

#[test]
fn the_log_takes_no_other_change() {
    let (mut world, _) = world(pplns(100));
    prune(&mut world.ledger, Retention::default());
    let conn = Connection::open(world.path()).unwrap();
    for change in [
        "UPDATE event SET data = NULL WHERE kind = 'shares'",
        "UPDATE event SET data = NULL WHERE kind = 'entries'",
        "UPDATE event SET kind = 'entries' WHERE kind = 'slice_closed'",
        "UPDATE event SET kind = 'shares' WHERE kind = 'entries'",
        "UPDATE event SET kind = 'entries', at = at + 1 WHERE kind = 'shares'",
        "UPDATE event SET kind = 'entries', body = '{}' WHERE kind = 'shares'",
        "UPDATE event SET kind = 'entries', seq = seq + 100 WHERE kind = 'shares'",
        "DELETE FROM event WHERE kind = 'entries'",
        "DELETE FROM event WHERE kind = 'shares'",
        "DELETE FROM event WHERE kind = 'slice_pruned'",
        "INSERT OR REPLACE INTO event SELECT seq, at, 'entries', body, data FROM event
         WHERE kind = 'shares'",
        "INSERT INTO event SELECT max(seq) + 2, at, 'entries', body, data FROM event",
        "INSERT INTO thinned SELECT seq, at, body, data FROM event WHERE kind = 'slice_closed'",
        "INSERT INTO thinned SELECT seq, at, body, data FROM event WHERE kind = 'entries'",
        // Of a slice that is not pruned.
        "INSERT INTO thinned SELECT seq, at, body, data FROM event WHERE kind = 'shares'",
        "INSERT INTO thinned SELECT seq, at, 'forged', data FROM event WHERE kind = 'shares'",
    ] {
        let error = conn.execute(change, []).unwrap_err().to_string();
        assert!(error.contains("events are "), "{change}: {error}");
    }
}

#[test]
fn a_pruned_log_that_was_changed_is_found() {
    for (sql, word) in [
        (
            "UPDATE event SET data = CAST(substr(data, 2) AS BLOB) WHERE kind = 'entries'",
            "different works",
        ),
        (
            "UPDATE event SET data = unhex(hex(data) || '00') WHERE kind = 'entries'",
            "follow its shares",
        ),
        // Another worker for the second share of a batch.
        (
            "UPDATE event SET data = unhex(replace(hex(data), '0201D00F', '0301D00F'))
             WHERE kind = 'entries'",
            "root",
        ),
        (
            "UPDATE event SET kind = 'entries' WHERE seq = (SELECT max(seq) FROM event WHERE kind = 'shares')",
            "0 shares",
        ),
        (
            "UPDATE event SET data = zeroblob(length(data)) WHERE kind = 'slice_pruned'",
            "it is cut short",
        ),
        (
            "UPDATE event SET data = CAST(substr(data, 1, 60) AS BLOB) WHERE kind = 'slice_pruned'",
            "it is cut short",
        ),
        (
            "UPDATE event SET body = '{\"slice\":99}' WHERE kind = 'slice_pruned'",
            "slice 99 is not closed",
        ),
        (
            "UPDATE event SET body = '{\"slice\":1}' WHERE kind = 'slice_pruned'",
            "slice 1 was pruned before",
        ),
        (
            "UPDATE slice_best SET records = zeroblob(32) WHERE slice = 1 AND account = 1",
            "slice 1 does not keep",
        ),
        (
            "UPDATE slice_best SET records = zeroblob(32) WHERE slice = 10 AND account = 1",
            "slice 10 does not keep",
        ),
        ("DELETE FROM slice_best WHERE slice = 1 AND account = 1", "slice 1 does not keep"),
        ("DELETE FROM pruned WHERE slice = 2", "pruned"),
        (
            "UPDATE event SET body = replace(body, '\"form\":3', '\"form\":1') WHERE kind = 'slice_closed'",
            "its root is",
        ),
    ] {
        let (mut world, _) = world(pplns(100));
        prune(&mut world.ledger, Retention::default());
        let conn = Connection::open(world.path()).unwrap();
        conn.execute_batch("DROP TRIGGER event_is_not_changed").unwrap();
        conn.execute(sql, []).unwrap();
        assert!(conn.changes() > 0, "{sql}");
        let report = verify::ledger(&world.path()).unwrap();
        assert!(!report.ok, "{sql}");
        let found = report.problems.iter().any(|problem| problem.contains(word));
        assert!(found, "{sql}: {:#?}", report.problems);
    }
}
