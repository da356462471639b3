//! Real threads with real kernels: orders are followed at once, everything found is right, once.

use kernels::Backend;
use tokio::time::timeout;
use units::Hashes;

use super::*;
use crate::hands::Ends;
use crate::restraint::duty::Allowance;
use crate::space::Layout;
use crate::testing;
use crate::testing::crew::{Bench, check, check_count};
use crate::tuning::Limit;
use crate::work::Book;

const MANY: usize = 200;
/// Two devices have a place in the book; the threads are the second.
const CPU: usize = 1;
const OTHER: usize = 0;

fn bench(threads: usize) -> Bench {
    let device = Device::new("cpu", Backend::Portable, threads);
    Bench::new(device, vec![Layout::of_cpu(Backend::Portable); 2], |crew, device| {
        start(crew, device, CPU, Backend::Portable.into(), &Plan::free(threads)).unwrap();
    })
}

#[test]
fn everything_found_is_right_and_found_once() {
    let mut bench = bench(2);
    let work = bench.work("a", true);
    bench.ends.orders.send_replace(Orders::Mine(Arc::clone(&work)));
    let mut found = bench.take(MANY);
    let (rest, device) = bench.stop();
    found.extend(rest);
    check(&work, &found);
    assert_eq!(device.hardware_errors(), 0);
    check_count(&work, &found, device.hashes());
    assert!(device.busy() > Duration::ZERO);
}

#[test]
fn another_devices_field_is_left_to_it() {
    let mut bench = bench(2);
    let work = bench.work("a", true);
    let Claimed::Part(others) = work.claim(OTHER, bench.clock.now()) else {
        panic!("fresh work is not exhausted")
    };
    bench.ends.orders.send_replace(Orders::Mine(work));
    assert!(bench.take(20).iter().all(|found| found.xn2 != others.xn2));
    bench.stop();
}

#[test]
fn new_work_is_taken_up_at_once_and_the_old_is_left() {
    let mut bench = bench(2);
    let barren = bench.work("barren", false);
    bench.ends.orders.send_replace(Orders::Mine(barren));
    std::thread::sleep(Duration::from_millis(50));
    let fertile = bench.work("fertile", true);
    let told = bench.clock.elapsed();
    bench.ends.orders.send_replace(Orders::Mine(Arc::clone(&fertile)));
    let found = bench.take(1);
    let took = bench.clock.elapsed() - told;
    assert_eq!(found[0].work.serial, fertile.serial);
    // A slice of the old work (2 ms), then a few thousand hashes to the first hit; the rest is
    // room for a busy machine.
    assert!(took < Duration::from_millis(500), "{took:?}");
    let (rest, _) = bench.stop();
    assert!(rest.iter().all(|found| found.work.serial == fertile.serial));
}

#[test]
fn idle_workers_do_nothing_and_wake_up_again() {
    let mut bench = bench(1);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(bench.device.hashes(), Hashes::ZERO);
    let work = bench.work("a", true);
    bench.ends.orders.send_replace(Orders::Mine(work));
    bench.take(1);
    bench.ends.orders.send_replace(Orders::Idle);
    std::thread::sleep(Duration::from_millis(100));
    while bench.ends.found.try_recv().is_ok() {}
    let before = bench.device.hashes();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(bench.device.hashes(), before);
    let work = bench.work("b", true);
    bench.ends.orders.send_replace(Orders::Mine(work));
    bench.take(1);
    bench.stop();
}

#[test]
fn an_exhausted_space_is_waited_for_and_new_work_ends_the_wait() {
    let mut bench = bench(1);
    let mut job = testing::job();
    job.xn2_size = 0;
    job.version_mask = 0;
    job.received = bench.clock.now();
    let work = Arc::new(bench.book.work(Arc::new(job), 1));
    while let Claimed::Part(_) = work.claim(OTHER, bench.clock.now()) {}
    bench.ends.orders.send_replace(Orders::Mine(Arc::clone(&work)));
    std::thread::sleep(Duration::from_millis(30));
    let fresh = bench.work("fresh", true);
    bench.ends.orders.send_replace(Orders::Mine(Arc::clone(&fresh)));
    // The next second opens the old space too, so look for the fresh work among what comes.
    let found = bench.take(1);
    assert_eq!(found[0].work.serial, fresh.serial);
    assert!(!work.note_exhaustion(), "it was said");
    let (_, device) = bench.stop();
    let starved = device.starved();
    assert!(starved > Duration::ZERO && starved < Duration::from_secs(2), "{starved:?}");
}

#[test]
fn the_limit_is_that_of_the_versions_a_pool_grants() {
    let mut bench = bench(1);
    bench.book = Book::new(vec![Layout::of_cpu(Backend::ShaNi); 2]);
    let limit = Limit::invented(1);
    bench.device.set_limit(limit);
    assert_eq!(bench.device.limit(), limit.hashes_per_second(64), "no work has come yet");
    for (mask, versions) in [(0, 1), (0x6000, 4), (0x1fff_e000, 64)] {
        let mut job = testing::job();
        job.version_mask = mask;
        job.coinbase1 = mask.to_be_bytes().to_vec();
        job.received = bench.clock.now();
        let work = Arc::new(bench.book.work(Arc::new(job), 1));
        bench.ends.orders.send_replace(Orders::Mine(Arc::clone(&work)));
        while bench.take(1)[0].work.serial != work.serial {}
        assert_eq!(bench.device.limit(), limit.hashes_per_second(versions), "{versions}");
    }
    bench.stop();
}

#[test]
fn threads_end_when_nobody_holds_the_orders() {
    let bench = bench(2);
    let Ends { orders, mut found } = bench.ends;
    drop(orders);
    let ended =
        bench.runtime.block_on(async { timeout(Duration::from_secs(10), found.recv()).await });
    assert!(ended.expect("the threads end").is_none());
}

#[test]
fn held_back_to_three_tenths_they_rest_for_the_rest_of_the_time() {
    let mut bench = bench(2);
    bench.throttle.set(Allowance { duty: 300, ..Allowance::FULL });
    let work = bench.work("a", false);
    bench.order(Orders::Mine(work));
    // Rest is asked for by what was hashed, however busy this machine is with something else.
    while bench.device.rested() < Duration::from_millis(1_500) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (_, device) = bench.stop();
    let (busy, rested) = (device.busy().as_secs_f64(), device.rested().as_secs_f64());
    let part = busy / (busy + rested);
    assert!((0.27..0.33).contains(&part), "{part} of the time");
    assert!(device.hashes() > Hashes::ZERO);
    assert!(device.was_held_back());
}

#[test]
fn a_pause_stops_them_and_its_end_wakes_them() {
    let mut bench = bench(2);
    bench.throttle.set(Allowance { duty: 0, ..Allowance::FULL });
    let work = bench.work("a", true);
    bench.order(Orders::Mine(Arc::clone(&work)));
    std::thread::sleep(Duration::from_millis(100));
    // New work does not end a pause.
    let work = bench.work("b", true);
    bench.order(Orders::Mine(Arc::clone(&work)));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(bench.device.hashes(), Hashes::ZERO);
    assert_eq!(bench.device.busy(), Duration::ZERO, "a model counts nothing");
    bench.throttle.set(Allowance::FULL);
    let found = bench.take(20);
    assert!(found.iter().all(|found| found.work.job.id == "b"));
    bench.throttle.set(Allowance { duty: 0, ..Allowance::FULL });
    // Told to stop, they do not wait for the pause to end.
    let (_, device) = bench.stop();
    assert!(device.rested() > Duration::from_millis(100));
}

#[test]
fn with_fewer_threads_the_last_ones_wait() {
    let mut bench = bench(3);
    bench.throttle.set(Allowance { threads: 1, ..Allowance::FULL });
    let work = bench.work("a", false);
    bench.order(Orders::Mine(work));
    std::thread::sleep(Duration::from_millis(50));
    bench.order(Orders::Idle);
    std::thread::sleep(Duration::from_millis(50));
    bench.throttle.set(Allowance::FULL);
    let (_, device) = bench.stop();
    let (busy, rested) = (device.busy(), device.rested());
    assert!(rested > busy, "two rested, {rested:?}, and one hashed, {busy:?}");
}
