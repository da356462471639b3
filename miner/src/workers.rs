//! The hashing threads: a rayon pool whose every thread owns one kernel.
//!
//! Read [`start`] and [`Worker::search`]. Each thread first goes where [`crate::cpus`] has a place
//! for it. A worker takes a claim from the newest work's space and scans it slice by slice (at most
//! about 2 ms each); after each slice it looks whether its orders changed, and rests if it
//! is held back.
//!
//! It deliberately knows nothing of connections: orders come in, findings go out ([`crate::hands`]).
//! The threads end on [`Orders::Stop`].

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use kernels::{BackendError, Hit, Kernel, Slice, Tile};

use crate::cpus::list::CpuList;
use crate::cpus::plan::Plan;
use crate::cpus::system::{self, Settled};
use crate::device::{Device, Place};
use crate::hands::{Crew, Hands, Orders};
use crate::pace::Pace;
use crate::space::{Claim, Claimed};
use crate::work::Work;

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

/// One hashing thread.
#[derive(Debug)]
struct Worker {
    kernel: Box<dyn Kernel>,
    hands: Hands,
    pace: Pace,
    hits: Vec<Hit>,
}

/// Starts the threads of `device`, which are as many as `plan` has, and returns once each is where
/// the plan puts it. They claim as the device that has this `index` in every work. A thread that
/// panics takes the process down: a device that loses workers in silence would be worse.
///
/// # Errors
/// When a kernel or a thread can't be made.
pub fn start(
    crew: &Crew,
    device: &Arc<Device>,
    index: usize,
    tile: Tile,
    plan: &Plan,
) -> Result<(), StartError> {
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(device.threads())
        .thread_name(|index| format!("hash-{index}"))
        .build()?;
    let (tell, told) = sync_channel(device.threads());
    for thread in 0..device.threads() {
        let (cpus, nice, tell) = (plan.cpus_of(thread), plan.nice(), tell.clone());
        let kernel =
            kernels::build(tile).map_err(|e| StartError::Kernel(tile.backend.name(), e))?;
        let hands = crew.hands_of_thread(device, index, thread);
        let worker = Worker { kernel, hands, pace: Pace::of_cpu_thread(), hits: Vec::new() };
        threads.spawn(move || {
            settle(cpus.as_ref(), nice, tell);
            worker.run();
        });
    }
    drop(tell);
    device.set_place(place(&told.iter().collect::<Vec<Settled>>()));
    Ok(())
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
        loop {
            match self.hands.orders() {
                Orders::Idle => _ = self.hands.wait(Duration::MAX),
                Orders::Mine(work) => self.mine(&work),
                Orders::Stop => return,
            }
        }
    }

    /// Searches `work` until there are other orders.
    fn mine(&mut self, work: &Arc<Work>) {
        while !self.hands.is_called() {
            if self.hands.must_rest() {
                self.hands.rest();
                continue;
            }
            match self.hands.claim(work) {
                Claimed::Part(part) => self.search(work, &part),
                Claimed::Exhausted if self.hands.starve(work) => return,
                Claimed::Exhausted => {}
            }
        }
    }

    /// Searches one claim, slice by slice, and leaves it where it stands when called away: the
    /// space has no end that would be missed.
    fn search(&mut self, work: &Arc<Work>, part: &Claim) {
        let header = work.header(part);
        let mut done = 0;
        while done < part.nonces && !self.hands.is_called() {
            let nonces = self.pace.nonces(part.versions.len(), part.nonces - done);
            let slice = Slice {
                header: &header,
                target: &work.job.target,
                versions: &part.versions,
                first_nonce: part.first_nonce + done,
                nonces,
            };
            self.scan(&slice);
            self.hands.send(mem::take(&mut self.hits), work, part, &header);
            done += nonces;
            if self.hands.must_rest() {
                self.hands.rest();
            }
        }
    }

    fn scan(&mut self, slice: &Slice<'_>) {
        let begin = self.hands.clock.elapsed();
        let hashes = self.kernel.scan(slice, &mut self.hits);
        let took = self.hands.clock.elapsed().saturating_sub(begin);
        self.pace.measured(hashes, took);
        self.hands.count(hashes, took, self.kernel.faults());
    }
}

#[cfg(test)]
mod tests;
