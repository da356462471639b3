//! Readings, covered work, keys.

use std::time::Duration;

use ledger::{MAX_METERS, PinOutcome, Reading, Refusal, Scheme, WorkerId};
use units::{Hashes, MicroJoules, UnixMillis, Work};

use crate::support::{World, refused};

fn reading(worker: WorkerId, meter: &str, epoch: u64, total: u128, credited: u128) -> Reading {
    Reading {
        worker,
        meter: meter.to_owned(),
        kind: "rapl".to_owned(),
        scope: "rig".to_owned(),
        tier: 3,
        epoch,
        total: MicroJoules::new(total),
        hashes_total: Some(Hashes::new(total / 2)),
        credited: MicroJoules::new(credited),
        gap: Duration::from_millis(5),
        counted: true,
        coverage_ppm: 990_000,
        uncertainty_ppm: 80_000,
        at: UnixMillis::new(1_790_000_000_000),
    }
}

fn covered(world: &World) -> (u128, u128) {
    let totals = world.reader().totals().unwrap();
    (totals.energy.get(), totals.covered_work.get())
}

#[test]
fn joules_and_the_work_they_cover_go_together() {
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "r");
    world.commit(&[(alice, 10)]);
    world.ledger.record_reading(&reading(alice, "psys", 1, 500, 0)).unwrap();
    assert_eq!(covered(&world), (0, 0), "a baseline");
    world.commit(&[(alice, 20)]);
    world.ledger.record_reading(&reading(alice, "psys", 1, 800, 300)).unwrap();
    assert_eq!(covered(&world), (300, 20));
    // Another meter of the same rig covers the same work.
    world.ledger.record_reading(&reading(alice, "gpu", 1, 5, 0)).unwrap();
    world.commit(&[(alice, 40)]);
    let both = [reading(alice, "psys", 1, 900, 100), reading(alice, "gpu", 1, 55, 50)];
    world.ledger.record_readings(&both).unwrap();
    assert_eq!(covered(&world), (450, 60));
    // A new epoch: nobody knows what was used meanwhile, so that work is not covered.
    world.commit(&[(alice, 30)]);
    world.ledger.record_reading(&reading(alice, "psys", 2, 7, 0)).unwrap();
    world.commit(&[(alice, 5)]);
    world.ledger.record_reading(&reading(alice, "psys", 2, 17, 10)).unwrap();
    world.commit(&[(alice, 31)]);
    assert_eq!(covered(&world), (460, 65));
    let view = world.reader().account("alice").unwrap().unwrap();
    let worker = &view.workers[0];
    assert_eq!(
        (worker.work.get(), worker.covered_work, worker.energy.get()),
        (136, Work::new(65), 460)
    );
    let psys = &worker.meters[1];
    assert_eq!((&*psys.meter, psys.epoch, psys.total.get()), ("psys", 2, 17));
    assert_eq!((psys.credited.get(), psys.gap), (410, Duration::from_millis(25)));
    assert_eq!(psys.hashes_total, Some(Hashes::new(8)));
    let metered = world.ledger.metered(alice).unwrap();
    assert_eq!((&*metered.account, &*metered.name), ("alice", "r"));
    assert_eq!((metered.energy, metered.covered_work), (worker.energy, worker.covered_work));
    let bob = world.worker("bob", "");
    world.commit(&[(bob, 7)]);
    assert_eq!(world.ledger.metered(bob).unwrap().covered_work, Work::ZERO);
    // What came before the first reading, after the last, and across the new epoch.
    let mut uncovered = Vec::new();
    let each = |account: &str, name: &str, work| {
        uncovered.push((account.to_owned(), name.to_owned(), work));
    };
    world.reader().each_uncovered(each).unwrap();
    let of = |account: &str, name: &str, work| (account.to_owned(), name.to_owned(), work);
    assert_eq!(uncovered, [of("alice", "r", Work::new(136 - 65)), of("bob", "", Work::new(7))]);
    assert_eq!(world.ledger.meters().unwrap(), worker.meters);
    assert_eq!(world.reader().meters().unwrap(), worker.meters);
    world.assert_sound();
}

#[test]
fn included_meters_do_not_count() {
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "r");
    for (total, credited) in [(0, 0), (100, 100)] {
        let plug = reading(alice, "plug", 1, total, credited);
        let inner = Reading { counted: false, ..reading(alice, "psys", 1, total, credited) };
        world.ledger.record_readings(&[plug, inner]).unwrap();
        world.commit(&[(alice, 10)]);
    }
    assert_eq!(covered(&world), (100, 10));
    let meters = world.reader().meters().unwrap();
    assert_eq!((meters[1].credited.get(), meters[1].energy.get()), (100, 0));
    assert!(!meters[1].counted);
    world.assert_sound();
}

#[test]
fn late_and_repeated_totals_change_nothing() {
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "r");
    world.ledger.record_reading(&reading(alice, "psys", 1, 500, 0)).unwrap();
    world.ledger.record_reading(&reading(alice, "psys", 1, 800, 300)).unwrap();
    world.ledger.record_reading(&reading(alice, "psys", 1, 600, 0)).unwrap();
    assert_eq!(world.reader().meters().unwrap()[0].total.get(), 800);
    assert_eq!(covered(&world).0, 300);
    world.assert_sound();
}

#[test]
fn more_than_the_counter_moved_is_refused() {
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "r");
    world.ledger.record_reading(&reading(alice, "psys", 1, 500, 0)).unwrap();
    // The second of these moves by 100 from the first, not by 400 from what is stored.
    let pair = [reading(alice, "psys", 1, 800, 300), reading(alice, "psys", 1, 900, 101)];
    let error = world.ledger.record_readings(&pair).unwrap_err();
    assert!(matches!(
        refused(error),
        Refusal::CreditedBeyondCounter { credited: 101, moved: 100, .. }
    ));
    assert_eq!(covered(&world).0, 0, "all or none");
    let error = world.ledger.record_reading(&reading(alice, "new", 1, 5, 6)).unwrap_err();
    assert!(matches!(refused(error), Refusal::CreditedBeyondCounter { moved: 5, .. }));
    let long = Reading { kind: "k".repeat(257), ..reading(alice, "psys", 1, 800, 0) };
    let error = world.ledger.record_reading(&long).unwrap_err();
    assert!(matches!(refused(error), Refusal::TooLong { bytes: 257, .. }));
    let stranger = reading(WorkerId::new(9), "psys", 1, 1, 0);
    let error = world.ledger.record_reading(&stranger).unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownWorker(WorkerId::new(9)));
    world.ledger.record_readings(&[]).unwrap();
    world.assert_sound();
}

#[test]
fn a_worker_has_so_many_meters_and_no_more() {
    let mut world = World::new(Scheme::Solo);
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    let of = |worker, number: u32| reading(worker, &format!("meter{number}"), 1, 5, 0);
    let many: Vec<_> = (0..MAX_METERS - 1).map(|number| of(alice, number)).collect();
    world.ledger.record_readings(&many).unwrap();
    let error = world.ledger.record_readings(&[of(alice, 100), of(alice, 101)]).unwrap_err();
    assert_eq!(refused(error), Refusal::TooManyMeters { worker: alice, most: MAX_METERS });
    world.ledger.record_readings(&[of(alice, 100), of(alice, 100), of(bob, 101)]).unwrap();
    world.ledger.record_reading(&of(alice, 0)).unwrap();
    assert!(world.ledger.record_reading(&of(alice, 101)).is_err());
    assert_eq!(world.reader().meters().unwrap().len(), 65);
    world.assert_sound();
}

#[test]
fn extreme_figures_are_kept_exactly() {
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "r");
    let mut extreme = reading(alice, "psys", u64::MAX, u128::MAX, u128::MAX);
    extreme.gap = Duration::MAX;
    world.ledger.record_reading(&extreme).unwrap();
    let meter = &world.reader().meters().unwrap()[0];
    assert_eq!((meter.epoch, meter.total.get()), (u64::MAX, u128::MAX));
    assert_eq!(meter.gap, Duration::from_millis(3_155_760_000_000));
    world.assert_sound();
}

#[test]
fn hours_hold_what_was_read_in_them() {
    const HOUR: u64 = 3_600_000;
    let mut world = World::new(Scheme::Solo);
    let alice = world.worker("alice", "r");
    for (at, total, credited) in
        [(HOUR * 5, 10, 0), (HOUR * 6 - 1, 40, 30), (HOUR * 6, 45, 5), (HOUR * 9, 145, 100)]
    {
        let at = UnixMillis::new(at);
        world
            .ledger
            .record_reading(&Reading { at, ..reading(alice, "psys", 1, total, credited) })
            .unwrap();
        world.commit(&[(alice, 8)]);
    }
    let hours = |from, to| -> Vec<(u64, u128, u128)> {
        let hours =
            world.reader().energy_hours(UnixMillis::new(from), UnixMillis::new(to)).unwrap();
        hours
            .iter()
            .map(|hour| (hour.hour.get() / HOUR, hour.energy.get(), hour.covered_work.get()))
            .collect()
    };
    assert_eq!(hours(0, u64::MAX), [(5, 30, 8), (6, 5, 8), (9, 100, 8)]);
    assert_eq!(hours(HOUR * 5 + 1, HOUR * 9), [(6, 5, 8)]);
    world.assert_sound();
}

#[test]
fn a_key_is_pinned_at_first_use() {
    let mut world = World::new(Scheme::Solo);
    let (alice, bob) = (world.worker("alice", "r"), world.worker("bob", "r"));
    let now = world.now();
    let pin = |world: &mut World, worker, key| world.ledger.pin_key(worker, key, now).unwrap();
    assert_eq!(pin(&mut world, alice, [1; 32]), PinOutcome::Pinned);
    assert_eq!(pin(&mut world, alice, [1; 32]), PinOutcome::Pinned);
    assert_eq!(pin(&mut world, alice, [2; 32]), PinOutcome::Mismatch);
    assert_eq!(pin(&mut world, bob, [2; 32]), PinOutcome::Pinned);
    let mut world = world.reopen(Scheme::Solo);
    assert_eq!(pin(&mut world, alice, [2; 32]), PinOutcome::Mismatch);
    world.assert_sound();
}
