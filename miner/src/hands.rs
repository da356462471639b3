//! What every worker of a device has in its hands: the orders that it follows, the way for what it
//! finds, and its device's counters.
//!
//! A worker looks for new orders after each slice, so that new work is taken up at once. What it
//! finds goes into a bounded queue: where the pool can't keep up, hashing waits rather than memory
//! growing. Between slices it rests, where [`crate::restraint`] holds the miner back. It deliberately
//! does not search: that is [`crate::workers`] on the CPU and
//! [`crate::gpus`] on a GPU.

use std::sync::Arc;
use std::time::Duration;

use kernels::Hit;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use units::Hashes;

use crate::clock::Clock;
use crate::device::{Device, Kernel};
use crate::restraint::duty::{Due, Follower, Throttle};
use crate::space::{Claim, Claimed};
use crate::verify::verify;
use crate::work::Work;

/// Findings that wait to be submitted.
pub const FOUND_QUEUE: usize = 1024;
/// How often a worker with an exhausted space looks whether a second has passed.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What the workers are to do; the newest wins.
#[derive(Debug, Clone)]
pub enum Orders {
    /// Wait: there is no work.
    Idle,
    /// Search this.
    Mine(Arc<Work>),
    /// End.
    Stop,
}

/// A hit that was hashed again and holds.
#[derive(Debug, Clone)]
pub struct Found {
    /// What was searched.
    pub work: Arc<Work>,
    /// Extranonce2.
    pub xn2: Vec<u8>,
    /// The header's time.
    pub ntime: u32,
    /// The header's version, in full.
    pub version: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's hash, in internal byte order.
    pub hash: [u8; 32],
}

/// The two ends of all workers that the upstream task holds.
#[derive(Debug)]
pub struct Ends {
    /// Orders go in here.
    pub orders: watch::Sender<Orders>,
    /// Findings come out here; closed when every worker has ended.
    pub found: mpsc::Receiver<Found>,
}

/// The workers' sides of [`Ends`], to give [`Hands`] to each of them.
#[derive(Debug)]
pub struct Crew {
    orders: watch::Receiver<Orders>,
    found: mpsc::Sender<Found>,
    clock: Clock,
    runtime: Handle,
    throttle: Throttle,
}

/// One worker's.
#[derive(Debug)]
pub struct Hands {
    /// Whose worker it is.
    pub device: Arc<Device>,
    /// What the time is.
    pub clock: Clock,
    /// As which device it claims.
    index: usize,
    orders: watch::Receiver<Orders>,
    found: mpsc::Sender<Found>,
    runtime: Handle,
    /// What it may do.
    follower: Follower,
    /// Of the kernel's faults, those that are counted already.
    faults: u64,
}

impl Crew {
    /// A crew without anybody yet, whose waiting is done on `runtime`. The queue of findings closes
    /// when the crew and all who got hands from it are gone.
    #[must_use]
    pub fn new(clock: Clock, runtime: &Handle) -> (Self, Ends) {
        let (orders, listener) = watch::channel(Orders::Idle);
        let (finder, found) = mpsc::channel(FOUND_QUEUE);
        let (runtime, throttle) = (runtime.clone(), Throttle::new());
        let crew = Self { orders: listener, found: finder, clock, runtime, throttle };
        (crew, Ends { orders, found })
    }

    /// What holds everybody of this crew back.
    #[must_use]
    pub const fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Hands for a worker of `device`, which has the place `index` in every work.
    #[must_use]
    pub fn hands(&self, device: &Arc<Device>, index: usize) -> Hands {
        self.hands_of(device, index, None)
    }

    /// Hands for one of the CPU's threads, by its number: those with the highest wait first.
    #[must_use]
    pub fn hands_of_thread(&self, device: &Arc<Device>, index: usize, thread: usize) -> Hands {
        // Nobody has so many threads that the last of them could not be told apart.
        self.hands_of(device, index, Some(u16::try_from(thread).unwrap_or(u16::MAX - 1)))
    }

    fn hands_of(&self, device: &Arc<Device>, index: usize, thread: Option<u16>) -> Hands {
        Hands {
            device: Arc::clone(device),
            clock: self.clock,
            index,
            orders: self.orders.clone(),
            found: self.found.clone(),
            runtime: self.runtime.clone(),
            follower: self.throttle.follow(thread),
            faults: 0,
        }
    }
}

impl Hands {
    /// The newest orders, which then count as seen; [`Orders::Stop`] where nobody gives any more.
    pub fn orders(&mut self) -> Orders {
        if self.orders.has_changed().is_err() {
            return Orders::Stop;
        }
        self.orders.borrow_and_update().clone()
    }

    /// Whether there are orders that were not seen.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.orders.has_changed().unwrap_or(true)
    }

    /// Sleeps until there are new orders, `longest` at most, and says whether there are. They
    /// then count as seen: the caller goes and reads them.
    pub fn wait(&mut self, longest: Duration) -> bool {
        let orders = &mut self.orders;
        self.runtime.block_on(async { timeout(longest, orders.changed()).await }).is_ok()
    }

    /// The next part of this work's space for this worker's device.
    #[must_use]
    pub fn claim(&self, work: &Work) -> Claimed {
        let claimed = work.claim(self.index, self.clock.now());
        if let Claimed::Part(part) = &claimed {
            self.device.set_versions(part.versions.len());
        }
        claimed
    }

    /// Waits for a moment, and says so, once for each job. Says whether there are other orders.
    pub fn starve(&mut self, work: &Work) -> bool {
        if work.note_exhaustion() {
            tracing::warn!(
                job = work.job.id,
                "this job is used up until another second has passed: its extranonce2 of {} bytes \
                 leaves too little to search",
                work.job.xn2_size
            );
        }
        let begin = self.clock.elapsed();
        let called = self.wait(EXHAUSTED_PAUSE);
        self.device.add_starved(self.clock.elapsed().saturating_sub(begin));
        called
    }

    /// Whether this worker is to rest before it hashes on.
    #[must_use]
    pub fn must_rest(&self) -> bool {
        self.follower.must_rest()
    }

    /// Rests for as long as this worker is to, or until there are other orders, which do not count
    /// as seen.
    pub fn rest(&mut self) {
        while !self.is_called() {
            let longest = match self.follower.due() {
                Due::Nothing => return,
                Due::Sleep(time) => time,
                Due::Wait => Duration::MAX,
            };
            let begin = self.clock.elapsed();
            self.doze(longest);
            let rested = self.clock.elapsed().saturating_sub(begin);
            self.follower.rested(rested);
            self.device.add_rested(rested);
        }
    }

    /// Sleeps until there are new orders or another allowance, `longest` at most.
    fn doze(&mut self, longest: Duration) {
        let (orders, follower) = (&mut self.orders, &mut self.follower);
        let woken = async {
            tokio::select! {
                called = orders.changed() => called.is_ok(),
                () = follower.changed() => false,
            }
        };
        let called = self.runtime.block_on(async { timeout(longest, woken).await });
        if called == Ok(true) {
            self.orders.mark_changed();
        }
    }

    /// How long a GPU's dispatches are to be, in percent of their usual length.
    #[must_use]
    pub fn batch(&self) -> u16 {
        self.follower.batch()
    }

    /// Counts what a kernel did; `faults` are all that it ever had.
    pub fn count(&mut self, hashes: Hashes, took: Duration, faults: u64) {
        self.device.add_slice(hashes, took);
        if self.follower.worked(took) && matches!(self.device.kernel(), Kernel::Cpu(_)) {
            self.device.note_held_back();
        }
        if faults > self.faults {
            self.note_faults(faults - self.faults);
        }
        self.faults = faults;
    }

    /// Hashes every hit again and sends those that hold.
    pub fn send(&self, hits: Vec<Hit>, work: &Arc<Work>, part: &Claim, header: &[u8; 80]) {
        for hit in hits {
            let Some(verified) = verify(header, hit, &work.job.target) else {
                self.note_faults(1);
                continue;
            };
            let found = Found {
                work: Arc::clone(work),
                xn2: part.xn2.clone(),
                ntime: part.ntime,
                version: hit.version,
                nonce: hit.nonce,
                hash: verified.hash,
            };
            if self.found.blocking_send(found).is_err() {
                return; // nobody listens any more: the orders' channel is closed too
            }
        }
    }

    fn note_faults(&self, faults: u64) {
        let device = self.device.name();
        let errors = self.device.add_hardware_errors(faults);
        tracing::warn!(device, errors, "hardware error: a hit does not hash again, and isn't sent");
    }
}
