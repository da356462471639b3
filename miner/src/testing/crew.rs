//! Workers of one device with a book of their own, given orders and listened to by a test.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use units::Hashes;

use crate::clock::Clock;
use crate::device::Device;
use crate::hands::{Crew, Ends, Found, Orders};
use crate::restraint::duty::Throttle;
use crate::space::Layout;
use crate::work::{Book, Work};

pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) clock: Clock,
    pub(crate) device: Arc<Device>,
    pub(crate) ends: Ends,
    pub(crate) book: Book,
    pub(crate) throttle: Throttle,
}

impl Bench {
    pub(crate) fn new(
        device: Device,
        layouts: Vec<Layout>,
        start: impl FnOnce(&Crew, &Arc<Device>),
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let clock = Clock::start();
        let device = Arc::new(device);
        let (crew, ends) = Crew::new(clock, runtime.handle());
        start(&crew, &device);
        let throttle = crew.throttle().clone();
        Self { runtime, clock, device, ends, book: Book::new(layouts), throttle }
    }

    /// Work whose headers differ from all other work's; `hits` says whether any can be found.
    pub(crate) fn work(&mut self, id: &str, hits: bool) -> Arc<Work> {
        let mut job = super::job();
        job.id = id.to_owned();
        job.coinbase1 = id.as_bytes().to_vec();
        job.received = self.clock.now();
        if !hits {
            job.target = units::Target::from_be_bytes([0; 32]);
        }
        Arc::new(self.book.work(Arc::new(job), 1))
    }

    pub(crate) fn order(&self, orders: Orders) {
        self.ends.orders.send_replace(orders);
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<Found> {
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

    /// Stops the workers and takes what is left.
    pub(crate) fn stop(mut self) -> (Vec<Found>, Arc<Device>) {
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

/// Everything meets the work's target, and nothing was found twice.
pub(crate) fn check(work: &Work, found: &[Found]) {
    let headers: Vec<_> = found.iter().map(header_of).collect();
    assert_eq!(headers.iter().collect::<HashSet<_>>().len(), headers.len(), "found twice");
    for (found, header) in found.iter().zip(&headers) {
        let hash = stratum::job::sha256d(header);
        assert_eq!(hash, found.hash);
        assert!(work.job.target.is_met_by(&hash));
    }
}

/// As many were found as the hashes promise, within six standard errors.
pub(crate) fn check_count(work: &Work, found: &[Found], hashes: Hashes) {
    let expected = hashes.as_f64() / work.job.target.work().as_f64();
    let count = f64::from(u32::try_from(found.len()).unwrap());
    assert!((count - expected).abs() < 6.0 * expected.sqrt(), "{count} found, {expected} expected");
}

fn header_of(found: &Found) -> [u8; 80] {
    let mut header = found.work.job.header(&found.xn2, found.ntime, found.version);
    header[76..].copy_from_slice(&found.nonce.to_le_bytes());
    header
}
