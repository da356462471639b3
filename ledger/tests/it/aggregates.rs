//! What every worker did in ten minutes.

use ledger::{Aggregate, WorkerId};
use rusqlite::Connection;
use units::UnixMillis;

use crate::support::{World, assert_sound, pplns, settings, spoil_projections, tables};

/// Two workers over half an hour, of whom the second is idle for a while.
fn world() -> (World, [WorkerId; 2]) {
    let mut world = World::new(pplns(100));
    let workers = [world.worker("alice", "r"), world.worker("bob", "r")];
    for minute in 0..35 {
        world.commit(&[(workers[0], 10)]);
        if !(8..28).contains(&minute) {
            world.commit(&[(workers[1], 3), (workers[1], 4)]);
        }
        world.forge.now += 50_000;
        world.close();
    }
    (world, workers)
}

fn all(world: &World, worker: WorkerId) -> Vec<Aggregate> {
    let (first, last) = (UnixMillis::new(0), UnixMillis::new(u64::MAX >> 1));
    world.reader().aggregates(worker, first, last).unwrap()
}

#[test]
fn an_aggregate_is_what_was_done_since_the_one_before() {
    let (world, [alice, bob]) = world();
    let [alices, bobs] = [alice, bob].map(|worker| all(&world, worker));
    assert_eq!(alices.len(), 3, "{alices:?}");
    assert_eq!(bobs.len(), 2, "nothing was done in one: {bobs:?}");
    let minutes = |one: &Aggregate| one.until.get() / 600_000;
    assert!(alices.windows(2).all(|pair| minutes(&pair[0]) < minutes(&pair[1])), "{alices:?}");
    for one in alices.iter().chain(&bobs) {
        let each = if one.work.get() == u128::from(one.shares) * 10 { 10.0 } else { 3.5 };
        #[expect(clippy::cast_precision_loss, reason = "a few shares")]
        let work = one.shares as f64 * each;
        #[expect(clippy::cast_precision_loss, reason = "a few hashes")]
        let said = one.work.get() as f64;
        assert!((work - said).abs() < 0.01, "{one:?}");
    }
    let (after, last) = (alices[0].until, alices[1].until);
    assert_eq!(world.reader().aggregates(alice, after, last).unwrap(), alices[1..2]);
    let kept = world.reader().aggregates_kept().unwrap();
    assert_eq!((kept.aggregates, kept.workers), (3, 5));
    world.assert_sound();
}

#[test]
fn aggregates_are_rebuilt_from_the_log() {
    let (world, _) = world();
    let before = tables(&world.path());
    let (dir, path) = (world.dir, world.ledger);
    drop(path);
    let path = dir.path().join("pool.sqlite");
    spoil_projections(&path);
    drop(ledger::Ledger::open(&path, settings(pplns(100))).unwrap());
    assert_eq!(tables(&path), before);
    assert_sound(&path);
}

#[test]
fn an_aggregate_that_was_changed_is_found() {
    let (world, _) = world();
    let conn = Connection::open(world.path()).unwrap();
    conn.execute_batch(
        "DROP TRIGGER event_is_not_changed;
         UPDATE event SET data = CAST(x'01' || substr(data, 2, 1) || x'0b' || substr(data, 4)
                                      AS BLOB)
         WHERE seq = (SELECT min(event) FROM aggregate)",
    )
    .unwrap();
    drop(conn);
    let report = ledger::verify::ledger(&world.path()).unwrap();
    let problem = |words: &str| report.problems.iter().any(|problem| problem.contains(words));
    assert!(!report.ok && problem("aggregated"), "{:#?}", report.problems);
}
