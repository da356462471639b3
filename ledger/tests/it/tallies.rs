//! The sums of shares, which reach the tables some time after the shares: whoever looks, and
//! whenever the process dies, they are the same.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use ledger::{Reader, Reading, Share, WorkerId};
use proptest::prelude::*;
use units::{MicroJoules, UnixMillis, Work};

use crate::support::{Forge, World, assert_sound, pplns, spoil_projections, tables};

/// Names the ledger to the child process of [`a_reader_in_another_process_sees_each_commit`].
const CHILD: &str = "WATTPROOF_LEDGER_READER_TEST";

#[derive(Debug, Clone)]
enum Step {
    /// Shares of these workers and works, after so many milliseconds.
    Commit(Vec<(u32, u128)>, u64),
    Close,
    Meter(u32),
    Worker,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let shares = prop::collection::vec((1_u32..=3, 1_u128..=60), 1..6);
    prop_oneof![
        // The clock may go back.
        8 => (shares, prop::sample::select(vec![0_u64, 5, 700, 6_000, 11_000]))
            .prop_map(|(shares, pause)| Step::Commit(shares, pause)),
        1 => Just(Step::Close),
        2 => (1_u32..=3).prop_map(Step::Meter),
        1 => Just(Step::Worker),
        3 => Just(Step::Kill),
    ]
}

/// A ledger with three workers of two accounts.
fn begun() -> World {
    let mut world = World::new(pplns(200));
    for (account, worker) in [("alice", "r1"), ("bob", "r1"), ("alice", "r2")] {
        world.worker(account, worker);
    }
    world
}

fn reading(world: &mut World, worker: u32) -> Reading {
    Reading {
        worker: WorkerId::new(worker),
        meter: "psys".to_owned(),
        kind: "rapl".to_owned(),
        scope: "rig".to_owned(),
        tier: 3,
        epoch: 1,
        total: MicroJoules::new(world.forge.now.into()),
        hashes_total: None,
        credited: MicroJoules::new(1),
        gap: std::time::Duration::ZERO,
        counted: true,
        coverage_ppm: 1_000_000,
        uncertainty_ppm: 80_000,
        at: world.now(),
    }
}

/// One step; kills only if `dies`.
fn take(mut world: World, step: &Step, clock: &mut u64, dies: bool) -> World {
    match step {
        Step::Commit(shares, pause) => {
            *clock += pause;
            let mut batch: Vec<Share> = shares
                .iter()
                .map(|(worker, work)| world.forge.share(WorkerId::new(*worker), *work))
                .collect();
            batch.iter_mut().for_each(|share| share.at = UnixMillis::new(*clock));
            world.ledger.commit(&batch).unwrap();
        }
        Step::Close => {
            world.close();
        }
        Step::Meter(worker) => {
            let reading = reading(&mut world, *worker);
            world.ledger.record_reading(&reading).unwrap();
        }
        Step::Worker => {
            let name = format!("w{}", world.forge.now);
            world.worker("carol", &name);
        }
        Step::Kill if dies => world = world.killed(pplns(200)),
        Step::Kill => {}
    }
    world
}

/// Shares and work of each worker that has any, and of all, as `reader` says.
fn said(reader: &Reader) -> (Vec<(u64, u128)>, (u64, u128)) {
    let mut workers: Vec<_> = ["alice", "bob"]
        .iter()
        .flat_map(|account| reader.account(account).unwrap().unwrap().workers)
        .map(|worker| (worker.id, (worker.shares, worker.work.get())))
        .collect();
    workers.sort_unstable();
    let totals = reader.totals().unwrap();
    let all = (totals.shares, totals.work.get());
    let accounts = reader.accounts(99).unwrap();
    let sum = accounts
        .iter()
        .fold((0, 0), |sum, account| (sum.0 + account.shares, sum.1 + account.work.get()));
    assert_eq!(sum, all, "the accounts sum to the totals");
    (workers.into_iter().map(|(_, tally)| tally).collect(), all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_ledger_that_was_killed_has_the_tables_of_one_that_was_not(
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let (mut whole, mut killed) = (begun(), begun());
        let mut clocks = [1_790_000_000_000; 2];
        let mut must = vec![(0_u64, 0_u128); 3];
        let patient = whole.reader();
        for step in &steps {
            whole = take(whole, step, &mut clocks[0], false);
            killed = take(killed, step, &mut clocks[1], true);
            if let Step::Commit(shares, _) = step {
                for (worker, work) in shares {
                    let tally = &mut must[usize::try_from(*worker).unwrap() - 1];
                    *tally = (tally.0 + 1, tally.1 + work);
                }
            }
            let all = must.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            prop_assert_eq!(said(&patient), (must.clone(), all));
            prop_assert_eq!(said(&killed.reader()), (must.clone(), all));
            prop_assert_eq!(
                killed.ledger.open_slice().unwrap(), whole.ledger.open_slice().unwrap()
            );
        }
        let (path, other) = (whole.path(), killed.path());
        assert_sound(&path);
        assert_sound(&other);
        let live = tables(&path);
        prop_assert_eq!(&tables(&other), &live);
        spoil_projections(&path);
        let whole = whole.reopen(pplns(200));
        prop_assert_eq!(tables(&whole.path()), live, "the log gives the same tables again");
    }
}

/// The event as of which the tables have the sums, and the shares that they have.
fn tallied(world: &World) -> (u64, u64, u64) {
    let conn = rusqlite::Connection::open(world.path()).unwrap();
    let sql = "SELECT tallied, shares, (SELECT sum(shares) FROM tally) FROM total";
    conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

/// Commits `count` shares of worker 1, all at `at`; where they are very many, the same again.
fn commit_at(world: &mut World, count: usize, at: u64) {
    let forged: Vec<_> =
        (0..count.min(10)).map(|_| world.forge.share(WorkerId::new(1), 3)).collect();
    let mut batch: Vec<_> = forged.iter().cycle().take(count).cloned().collect();
    batch.iter_mut().for_each(|share| share.at = UnixMillis::new(at));
    world.ledger.commit(&batch).unwrap();
}

#[test]
fn the_sums_are_written_in_time() {
    const START: u64 = 1_790_000_000_000;
    let mut world = begun();
    // The first shares ever are long after the epoch.
    commit_at(&mut world, 1, START);
    let first = tallied(&world);
    assert_eq!((first.1, first.2), (1, 1));
    // Within 10 seconds of the last time: in the log alone.
    commit_at(&mut world, 5, START + 9_999);
    assert_eq!(tallied(&world), first);
    assert_eq!(world.reader().totals().unwrap().shares, 6);
    commit_at(&mut world, 1, START + 10_000);
    assert_eq!(tallied(&world), (first.0 + 2, 7, 7));
    // A clock that went back: by number of shares.
    commit_at(&mut world, 32_767, START - 5_000);
    assert_eq!(tallied(&world), (first.0 + 2, 7, 7));
    commit_at(&mut world, 1, START - 5_000);
    assert_eq!(tallied(&world), (first.0 + 4, 32_775, 32_775));
    // A slice that closes has all of its sums.
    commit_at(&mut world, 2, START - 5_000);
    world.close();
    assert_eq!(tallied(&world), (first.0 + 6, 32_777, 32_777));
    // And events of any kind count, however few shares there are.
    commit_at(&mut world, 1, START);
    let now = UnixMillis::new(START);
    for _ in 0..4_094 {
        world.ledger.lease_extranonces(1, now).unwrap();
    }
    assert_eq!(tallied(&world).1, 32_777);
    world.ledger.lease_extranonces(1, now).unwrap();
    assert_eq!(tallied(&world), (first.0 + 6 + 4_096, 32_778, 32_778));
}

#[test]
fn readings_cover_shares_that_the_tables_have_not() {
    let mut world = begun();
    let worker = WorkerId::new(1);
    commit_at(&mut world, 1, 1_790_000_000_000);
    let before = tallied(&world);
    for _ in 0..3 {
        let mut reading = reading(&mut world, 1);
        reading.at = UnixMillis::new(1_790_000_000_000);
        world.ledger.record_reading(&reading).unwrap();
        commit_at(&mut world, 10, 1_790_000_000_000);
        world = world.killed(pplns(200));
    }
    assert_eq!(tallied(&world), before, "nothing of it is in the tables");
    let totals = world.reader().totals().unwrap();
    assert_eq!((totals.energy.get(), totals.covered_work), (3, Work::new(60)));
    assert_eq!((totals.shares, totals.work), (31, Work::new(93)));
    let view = world.reader().account("alice").unwrap().unwrap();
    assert_eq!((view.workers[0].id, view.workers[0].covered_work), (worker, Work::new(60)));
    world.assert_sound();
}

#[test]
fn a_reader_in_another_process_sees_each_commit() {
    if let Some(path) = std::env::var_os(CHILD) {
        say(Path::new(&path));
    }
    let mut world = begun();
    for round in 1..=4 {
        commit_at(&mut world, 5, 1_790_000_000_000);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tallies::a_reader_in_another_process_sees_each_commit"])
            .arg("--nocapture")
            .env(CHILD, world.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        let (shares, work) = (5 * round, 15 * round);
        let must = format!("it says {shares} {work} {shares} {work} true");
        assert!(text.contains(&must), "{must}: {text}");
        if round == 2 {
            world = world.killed(pplns(200));
        }
    }
    assert_eq!(tallied(&world).1, 5, "only the first batch is in the tables");
}

/// The child: says what it reads.
#[expect(clippy::print_stdout, clippy::exit, reason = "its parent reads what it says")]
fn say(path: &Path) -> ! {
    let reader = Reader::open(path).unwrap();
    let totals = reader.totals().unwrap();
    let alice = reader.account("alice").unwrap().unwrap();
    let sound = ledger::verify::ledger(path).unwrap().ok;
    let (shares, work) = (totals.shares, totals.work.get());
    println!("\nit says {shares} {work} {} {} {sound}", alice.shares, alice.work.get());
    std::process::exit(0)
}

#[test]
fn a_window_is_cut_in_shares_that_were_never_tallied_alone() {
    // The first slice is written on the way and closed after a kill; the block's window ends in
    // the middle of it.
    let mut world = begun();
    let mut forge = Forge::starting_at(500);
    for _ in 0..20 {
        let batch = [forge.share(WorkerId::new(1), 20), forge.share(WorkerId::new(2), 30)];
        world.ledger.commit(&batch).unwrap();
        world = world.killed(pplns(100));
    }
    world.close();
    let hash = world.find(WorkerId::new(1), 1, 1_000_000);
    world.on_chain(hash, 1);
    // 512 of 1,000: ten whole batches and 12 of bob's 30.
    let rest = 990_000_u64;
    let alice = rest * 200 / 512;
    let credits = world.credits(&hash);
    assert_eq!(credits[0].2, alice + u64::from(rest * 200 % 512 * 2 > 512));
    assert_eq!(credits[0].2 + credits[1].2, rest);
    world.assert_sound();
}
