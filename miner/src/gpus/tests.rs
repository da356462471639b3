//! A real thread with a real adapter, in software where there is no other: what it finds is right
//! and found once, new work is taken up, and its loss is survived.
//!
//! Without an adapter there is nothing to run, which is a failure where `WATTPROOF_NEEDS_GPU` is
//! set: the test command sets it once it has seen to a software adapter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gpu::{Breaker, Method, adapters};

use super::*;
use crate::hands::Crew;
use crate::restraint::duty::Allowance;
use crate::space::Layout;
use crate::testing::crew::{Bench, check, check_count};

const MANY: usize = 100;
const FEW: Tile = Tile::usual(Method::NonceMajor);

/// One test at a time: they would take the adapter's time from one another.
static TURN: Mutex<()> = Mutex::new(());

struct Rigged {
    bench: Bench,
    breakers: Vec<Breaker>,
    _turn: MutexGuard<'static, ()>,
}

/// A GPU's thread; `None` where there is no GPU and none is needed.
fn rigged(many: Tile) -> Option<Rigged> {
    let adapter = adapters::all().into_iter().next();
    let needed = std::env::var_os("WATTPROOF_NEEDS_GPU").is_some();
    assert!(!needed || adapter.is_some(), "no GPU, not even in software");
    let adapter = adapter?;
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let shaders = Shaders { many, few: FEW };
    let mut breakers = Vec::new();
    let layouts = vec![Layout::of_gpu(many.method.versions_log2())];
    let bench = Bench::new(Device::new("gpu:0", many, 1), layouts, |crew: &Crew, device| {
        let card = Card::open(adapter, shaders).unwrap();
        breakers = card.breakers();
        let worker = Worker::new(crew.hands(device, 0), card, DISPATCH);
        thread::spawn(move || worker.run());
    });
    Some(Rigged { bench, breakers, _turn: turn })
}

#[test]
fn everything_found_is_right_and_found_once_either_way() {
    for method in Method::ALL {
        let Some(mut rig) = rigged(Tile::usual(method)) else { return };
        let work = rig.bench.work("a", true);
        rig.bench.order(Orders::Mine(Arc::clone(&work)));
        let mut found = rig.bench.take(MANY);
        // What is under way when it idles is taken all the same: then the count can be held.
        rig.bench.order(Orders::Idle);
        thread::sleep(Duration::from_millis(300));
        let (rest, device) = rig.bench.stop();
        found.extend(rest);
        check(&work, &found);
        check_count(&work, &found, device.hashes());
        assert_eq!(device.hardware_errors(), 0);
        assert!(device.busy() > Duration::ZERO);
    }
}

#[test]
fn new_work_follows_what_is_under_way() {
    let Some(mut rig) = rigged(FEW) else { return };
    let barren = rig.bench.work("barren", false);
    rig.bench.order(Orders::Mine(barren));
    thread::sleep(Duration::from_millis(100));
    let fertile = rig.bench.work("fertile", true);
    let told = rig.bench.clock.elapsed();
    rig.bench.order(Orders::Mine(Arc::clone(&fertile)));
    let found = rig.bench.take(1);
    let took = rig.bench.clock.elapsed() - told;
    assert_eq!(found[0].work.serial, fertile.serial);
    // Two dispatches of 10 ms; the rest is room for a busy machine.
    assert!(took < Duration::from_secs(2), "{took:?}");
    let _stopped = rig.bench.stop();
}

#[test]
fn a_pool_that_grants_few_versions_gets_the_shader_for_few() {
    let many = Tile::usual(Method::VersionMajor);
    let Some(mut rig) = rigged(many) else { return };
    for mask in [0x1fff_e000, 0, 0x6000, 0x1fff_e000] {
        let mut job = crate::testing::job();
        job.coinbase1 = u32::to_be_bytes(mask ^ job.ntime).to_vec();
        job.version_mask = mask;
        job.received = rig.bench.clock.now();
        let work = Arc::new(rig.bench.book.work(Arc::new(job), 1));
        rig.bench.order(Orders::Mine(Arc::clone(&work)));
        let mut found = Vec::new();
        while found.len() < 10 {
            found.extend(rig.bench.take(1).into_iter().filter(|f| f.work.serial == work.serial));
        }
        check(&work, &found);
    }
    let (_, device) = rig.bench.stop();
    assert_eq!((device.losses(), device.hardware_errors()), (0, 0));
}

#[test]
fn a_lost_gpu_is_opened_again_and_stops_nobody_meanwhile() {
    let Some(mut rig) = rigged(FEW) else { return };
    let work = rig.bench.work("a", true);
    rig.bench.order(Orders::Mine(Arc::clone(&work)));
    let mut found = rig.bench.take(5);
    rig.breakers.iter().for_each(Breaker::lose);
    // Whatever was under way may still come; then there is silence until it is opened again.
    while rig.bench.device.losses() == 0 {
        while let Ok(late) = rig.bench.ends.found.try_recv() {
            found.push(late);
        }
        thread::sleep(Duration::from_millis(5));
    }
    while let Ok(late) = rig.bench.ends.found.try_recv() {
        found.push(late);
    }
    assert!(rig.bench.device.lost().is_some());
    found.extend(rig.bench.take(20));
    let (rest, device) = rig.bench.stop();
    found.extend(rest);
    check(&work, &found);
    assert_eq!((device.losses(), device.lost()), (1, None));
}

#[test]
fn a_gpu_that_is_lost_while_idle_or_stopping_ends_all_the_same() {
    let Some(mut rig) = rigged(FEW) else { return };
    rig.breakers.iter().for_each(Breaker::lose);
    let work = rig.bench.work("a", true);
    rig.bench.order(Orders::Mine(work));
    while rig.bench.device.losses() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    // Stopped in the pause before it is opened again.
    let (_, device) = rig.bench.stop();
    assert!(device.lost().is_some());
}

#[test]
fn new_orders_are_heard_in_a_space_that_is_used_up() {
    let Some(mut rig) = rigged(FEW) else { return };
    let mut job = crate::testing::job();
    job.xn2_size = 0;
    job.version_mask = 0;
    job.received = rig.bench.clock.now();
    let work = Arc::new(rig.bench.book.work(Arc::new(job), 1));
    while let Claimed::Part(_) = work.claim(0, rig.bench.clock.now()) {}
    rig.bench.order(Orders::Mine(Arc::clone(&work)));
    thread::sleep(Duration::from_millis(30));
    let fresh = rig.bench.work("fresh", true);
    rig.bench.order(Orders::Mine(Arc::clone(&fresh)));
    // The old space opens again with each second: whoever missed the orders would stay there.
    let found = rig.bench.take(200);
    assert!(found.iter().rev().take(100).all(|found| found.work.serial == fresh.serial));
    let (_, device) = rig.bench.stop();
    assert!(device.starved() > Duration::ZERO);
}

#[test]
fn a_lost_gpu_returns_while_new_work_keeps_coming() {
    let Some(mut rig) = rigged(FEW) else { return };
    let work = rig.bench.work("a", true);
    rig.bench.order(Orders::Mine(work));
    rig.bench.take(1);
    rig.breakers.iter().for_each(Breaker::lose);
    while rig.bench.device.losses() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    // More often than the pause before it is opened again.
    let mut jobs = 0;
    while rig.bench.device.lost().is_some() {
        jobs += 1;
        assert!(jobs < 600, "it does not return");
        let work = rig.bench.work(&format!("job {jobs}"), true);
        rig.bench.order(Orders::Mine(work));
        while rig.bench.ends.found.try_recv().is_ok() {}
        thread::sleep(Duration::from_millis(100));
    }
    rig.bench.take(1);
    let _stopped = rig.bench.stop();
}

#[test]
fn held_back_it_rests_with_nothing_under_way_and_a_pause_ends_at_once() {
    let Some(mut rig) = rigged(Tile::usual(Method::NonceMajor)) else { return };
    rig.bench.throttle.set(Allowance { duty: 0, ..Allowance::FULL });
    let work = rig.bench.work("a", false);
    rig.bench.order(Orders::Mine(work));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(rig.bench.device.hashes(), Hashes::ZERO);
    rig.bench.throttle.set(Allowance { duty: 300, threads: 0, batch: 50 });
    let paused = rig.bench.device.rested();
    while rig.bench.device.rested() < paused + Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(10));
    }
    let (_, device) = rig.bench.stop();
    let (busy, rested) = (device.busy().as_secs_f64(), (device.rested() - paused).as_secs_f64());
    let part = busy / (busy + rested);
    assert!((0.2..0.45).contains(&part), "{part} of the time");
    assert!(!device.was_held_back(), "a GPU's speed is its own, however long it rests");
}
