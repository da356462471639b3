//! The hashing threads: a rayon pool whose every thread owns one kernel.
//!
//! Read [`start`] and [`Worker::search`]. Each thread first goes where [`crate::cpus`] has a place
//! for it. A worker takes a claim from the newest work's space and scans it slice by slice; after each slice (at most about 2 ms) it looks whether its orders
//! changed, so that new work is taken up at once. What it finds goes into a bounded queue: where
//! the pool can't keep up, hashing waits rather than memory growing.
//!
//! It deliberately knows nothing of connections: orders come in, findings go out. The threads end
//! on [`Orders::Stop`], and the queue's other end sees that the last one has gone when the queue
//! closes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use kernels::{BackendError, Hit, Kernel, Slice};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::cpus::list::CpuList;
use crate::cpus::plan::Plan;
use crate::cpus::system::{self, Settled};
use crate::device::{Device, Place};
use crate::pace::Pace;
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

/// Why the hashing threads could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A kernel could not be made.
    #[error("kernel {0}: {1}")]
    Kernel(&'static str, BackendError),
    /// A thread could not be made.
    #[error("hashing threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// The two ends of the hashing threads that the upstream task holds.
#[derive(Debug)]
pub struct Ends {
    /// Orders go in here.
    pub orders: watch::Sender<Orders>,
    /// Findings come out here; closed when every thread has ended.
    pub found: mpsc::Receiver<Found>,
}

/// One hashing thread.
#[derive(Debug)]
struct Worker {
    kernel: Box<dyn Kernel>,
    device: Arc<Device>,
    orders: watch::Receiver<Orders>,
    found: mpsc::Sender<Found>,
    clock: Clock,
    runtime: Handle,
    pace: Pace,
    hits: Vec<Hit>,
    faults: u64,
}

/// Starts the threads of `device`, which are as many as `plan` has, and returns once each is where
/// the plan puts it. Their waiting is done on `runtime`. A thread that panics takes the process
/// down: a device that loses workers in silence would be worse.
///
/// # Errors
/// When a kernel or a thread can't be made.
pub fn start(
    device: &Arc<Device>,
    plan: &Plan,
    clock: Clock,
    runtime: &Handle,
) -> Result<Ends, StartError> {
    let (orders, listener) = watch::channel(Orders::Idle);
    let (finder, found) = mpsc::channel(FOUND_QUEUE);
    let tile = device.tile();
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(device.threads())
        .thread_name(|index| format!("hash-{index}"))
        .build()?;
    let (tell, told) = sync_channel(device.threads());
    for thread in 0..device.threads() {
        let (cpus, nice, tell) = (plan.cpus_of(thread), plan.nice(), tell.clone());
        let kernel =
            kernels::build(tile).map_err(|e| StartError::Kernel(tile.backend.name(), e))?;
        let worker = Worker {
            kernel,
            device: Arc::clone(device),
            orders: listener.clone(),
            found: finder.clone(),
            clock,
            runtime: runtime.clone(),
            pace: Pace::new(),
            hits: Vec::new(),
            faults: 0,
        };
        threads.spawn(move || {
            settle(cpus.as_ref(), nice, tell);
            worker.run();
        });
    }
    drop(tell);
    device.set_place(place(&told.iter().collect::<Vec<Settled>>()));
    Ok(Ends { orders, found })
}

/// Puts this thread where it is to be, and tells where it is.
fn settle(cpus: Option<&CpuList>, nice: i32, tell: SyncSender<Settled>) {
    let settled = system::settle(cpus, nice);
    // Whoever starts the threads listens until the last has told.
    let _heard = tell.send(settled);
}

/// Where the threads are, all together. What could not be had is said once, of however many
/// threads it is true.
fn place(each: &[Settled]) -> Place {
    let problems: BTreeSet<&String> = each.iter().flat_map(|settled| &settled.problems).collect();
    for problem in problems {
        tracing::warn!("{problem}");
    }
    let nice = each.first().and_then(|first| first.nice);
    let nice = nice.filter(|nice| each.iter().all(|settled| settled.nice == Some(*nice)));
    let kept: Option<Vec<&CpuList>> = each.iter().map(|settled| settled.cpus.as_ref()).collect();
    let cpus = kept.map(|lists| lists.into_iter().flat_map(CpuList::iter).collect());
    Place { cpus, nice }
}

impl Worker {
    fn run(mut self) {
        while self.orders.has_changed().is_ok() {
            let orders = self.orders.borrow_and_update().clone();
            match orders {
                Orders::Idle => _ = self.wait(Duration::MAX),
                Orders::Mine(work) => self.mine(&work),
                Orders::Stop => return,
            }
        }
    }

    /// Searches `work` until there are other orders.
    fn mine(&mut self, work: &Arc<Work>) {
        while !self.is_called() {
            match work.claim(self.clock.now()) {
                Claimed::Part(part) => self.search(work, &part),
                Claimed::Exhausted if self.starve(work) => return,
                Claimed::Exhausted => {}
            }
        }
    }

    /// Waits for a moment, and says so, once for each job. Says whether there are other orders.
    fn starve(&mut self, work: &Work) -> bool {
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

    /// Searches one claim, slice by slice, and leaves it where it stands when called away: the
    /// space has no end that would be missed.
    fn search(&mut self, work: &Arc<Work>, part: &Claim) {
        let header = work.header(part);
        let mut done = 0;
        while done < part.nonces && !self.is_called() {
            let nonces = self.pace.nonces(part.versions.len(), part.nonces - done);
            let slice = Slice {
                header: &header,
                target: &work.job.target,
                versions: &part.versions,
                first_nonce: part.first_nonce + done,
                nonces,
            };
            self.scan(&slice);
            self.send_hits(work, part, &header);
            done += nonces;
        }
    }

    fn scan(&mut self, slice: &Slice<'_>) {
        let begin = self.clock.elapsed();
        let hashes = self.kernel.scan(slice, &mut self.hits);
        let took = self.clock.elapsed().saturating_sub(begin);
        self.pace.measured(hashes, took);
        self.device.add_slice(hashes, took);
        let faults = self.kernel.faults();
        if faults > self.faults {
            self.note_faults(faults - self.faults);
            self.faults = faults;
        }
    }

    fn send_hits(&mut self, work: &Arc<Work>, part: &Claim, header: &[u8; 80]) {
        for hit in std::mem::take(&mut self.hits) {
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

    fn is_called(&self) -> bool {
        self.orders.has_changed().unwrap_or(true)
    }

    /// Sleeps until there are new orders, `longest` at most, and says whether there are. They
    /// then count as seen: the caller goes and reads them.
    fn wait(&mut self, longest: Duration) -> bool {
        let orders = &mut self.orders;
        self.runtime.block_on(async { timeout(longest, orders.changed()).await }).is_ok()
    }
}

#[cfg(test)]
mod tests;
