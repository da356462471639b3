//! Real threads with real kernels: orders are followed at once, everything found is right, once.

use std::collections::HashSet;

use kernels::Backend;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::space::Layout;
use crate::testing;
use crate::work::Book;

const MANY: usize = 200;

struct Bench {
    runtime: Runtime,
    clock: Clock,
    device: Arc<Device>,
    ends: Ends,
    book: Book,
}

impl Bench {
    fn new(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let clock = Clock::start();
        let device = Arc::new(Device::new("cpu", Backend::Portable, threads));
        let ends = start(&device, &Plan::free(threads), clock, runtime.handle()).unwrap();
        let book = Book::new(Layout::of_cpu(Backend::Portable));
        Self { runtime, clock, device, ends, book }
    }

    /// Work whose headers differ from all other work's; `hits` says whether any can be found.
    fn work(&mut self, id: &str, hits: bool) -> Arc<Work> {
        let mut job = testing::job();
        job.id = id.to_owned();
        job.coinbase1 = id.as_bytes().to_vec();
        job.received = self.clock.now();
        if !hits {
            job.target = units::Target::from_be_bytes([0; 32]);
        }
        Arc::new(self.book.work(Arc::new(job), 1))
    }

    fn take(&mut self, count: usize) -> Vec<Found> {
        let found = &mut self.ends.found;
        self.runtime.block_on(async {
            let mut taken = Vec::new();
            for _ in 0..count {
                let next = timeout(Duration::from_secs(60), found.recv()).await;
                taken.push(next.expect("workers find something").expect("workers are alive"));
            }
            taken
        })
    }

    /// Stops the threads and takes what is left.
    fn stop(mut self) -> (Vec<Found>, Arc<Device>) {
        self.ends.orders.send_replace(Orders::Stop);
        let rest = self.runtime.block_on(async {
            let mut rest = Vec::new();
            while let Some(found) = self.ends.found.recv().await {
                rest.push(found);
            }
            rest
        });
        (rest, self.device)
    }
}

fn header_of(found: &Found) -> [u8; 80] {
    let mut header = found.work.job.header(&found.xn2, found.ntime, found.version);
    header[76..].copy_from_slice(&found.nonce.to_le_bytes());
    header
}

#[test]
fn everything_found_is_right_and_found_once() {
    let mut bench = Bench::new(2);
    let work = bench.work("a", true);
    bench.ends.orders.send_replace(Orders::Mine(Arc::clone(&work)));
    let mut found = bench.take(MANY);
    let (rest, device) = bench.stop();
    found.extend(rest);
    let headers: Vec<_> = found.iter().map(header_of).collect();
    assert_eq!(headers.iter().collect::<HashSet<_>>().len(), headers.len(), "found twice");
    for (found, header) in found.iter().zip(&headers) {
        let hash = stratum::job::sha256d(header);
        assert_eq!(hash, found.hash);
        assert!(work.job.target.is_met_by(&hash));
    }
    assert_eq!(device.hardware_errors(), 0);
    // As many as the hashes promise, within six standard errors.
    let expected = device.hashes().as_f64() / work.job.target.work().as_f64();
    let count = f64::from(u32::try_from(found.len()).unwrap());
    assert!((count - expected).abs() < 6.0 * expected.sqrt(), "{count} found, {expected} expected");
    assert!(device.busy() > Duration::ZERO);
}

#[test]
fn new_work_is_taken_up_at_once_and_the_old_is_left() {
    let mut bench = Bench::new(2);
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
    let mut bench = Bench::new(1);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(bench.device.hashes(), units::Hashes::ZERO);
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
    let mut bench = Bench::new(1);
    let mut job = testing::job();
    job.xn2_size = 0;
    job.version_mask = 0;
    job.received = bench.clock.now();
    let work = Arc::new(bench.book.work(Arc::new(job), 1));
    while let Claimed::Part(_) = work.claim(bench.clock.now()) {}
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
fn threads_end_when_nobody_holds_the_orders() {
    let bench = Bench::new(2);
    let Ends { orders, mut found } = bench.ends;
    drop(orders);
    let ended =
        bench.runtime.block_on(async { timeout(Duration::from_secs(10), found.recv()).await });
    assert!(ended.expect("the threads end").is_none());
}
