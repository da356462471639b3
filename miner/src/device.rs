//! What a device has done: counters that only rise, written by its workers, read by anyone.
//!
//! Relaxed atomics are enough: a reader wants each counter's value at about an instant, and
//! nothing is decided by two of them together. 64 bits count 584 years of 1 GH/s, or of one
//! thread's nanoseconds.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kernels::{Backend, Tile};
use units::Hashes;

use crate::cpus::list::CpuList;
use crate::tuning::Limit;

/// A device's counters.
#[derive(Debug)]
pub struct Device {
    name: String,
    kernel: Mutex<Kernel>,
    threads: usize,
    place: OnceLock<Place>,
    limit: OnceLock<Limit>,
    versions: AtomicUsize,
    hashes: AtomicU64,
    busy_nanos: AtomicU64,
    starved_nanos: AtomicU64,
    rested_nanos: AtomicU64,
    held_back: AtomicBool,
    hardware_errors: AtomicU64,
    losses: AtomicU64,
    /// Why it is lost now.
    lost: Mutex<Option<String>>,
}

/// What a device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// A kernel of this tile in each thread.
    Cpu(Tile),
    /// A shader.
    Gpu(gpu::Tile),
}

/// Where a device's threads run, as the system has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The CPUs that they are kept to, all together; `None` where any of them may run anywhere.
    pub cpus: Option<CpuList>,
    /// How nice they are; `None` where they differ or the system does not say.
    pub nice: Option<i32>,
}

impl Kernel {
    /// The backend.
    #[must_use]
    pub const fn backend(self) -> Backend {
        match self {
            Self::Cpu(tile) => tile.backend,
            Self::Gpu(_) => Backend::Wgpu,
        }
    }
}

/// As `avx512/double` or `wgpu/nonce-major/64x64`.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(tile) => tile.fmt(f),
            Self::Gpu(tile) => f.pad(&format!("{}/{tile}", Backend::Wgpu.name())),
        }
    }
}

impl From<Tile> for Kernel {
    fn from(tile: Tile) -> Self {
        Self::Cpu(tile)
    }
}

impl From<Backend> for Kernel {
    fn from(backend: Backend) -> Self {
        Self::Cpu(backend.into())
    }
}

impl From<gpu::Tile> for Kernel {
    fn from(tile: gpu::Tile) -> Self {
        Self::Gpu(tile)
    }
}

impl Device {
    /// A device at rest, with `threads` workers of one kernel.
    pub fn new(name: impl Into<String>, kernel: impl Into<Kernel>, threads: usize) -> Self {
        Self {
            name: name.into(),
            kernel: Mutex::new(kernel.into()),
            threads,
            place: OnceLock::new(),
            limit: OnceLock::new(),
            versions: AtomicUsize::new(usize::MAX),
            hashes: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            starved_nanos: AtomicU64::new(0),
            rested_nanos: AtomicU64::new(0),
            held_back: AtomicBool::new(false),
            hardware_errors: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            lost: Mutex::new(None),
        }
    }

    /// Its name in metrics and in the API.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it runs.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It runs another kernel from now on.
    pub fn set_kernel(&self, kernel: impl Into<Kernel>) {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) = kernel.into();
    }

    /// Hashes per second that it cannot exceed with the versions that its work has now, or, before
    /// there was any, with as many as bring its full speed; `None` where that is not known.
    #[must_use]
    pub fn limit(&self) -> Option<f64> {
        self.limit.get()?.hashes_per_second(self.versions.load(Ordering::Relaxed))
    }

    /// Its limit was measured; said once.
    pub fn set_limit(&self, limit: Limit) {
        let _first = self.limit.set(limit);
    }

    /// So many versions are searched at a time from now on: what the pool grants, up to what
    /// brings the full speed.
    pub fn set_versions(&self, versions: usize) {
        self.versions.store(versions, Ordering::Relaxed);
    }

    /// Number of workers.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Where its workers run; unknown until they have started.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place.get().cloned().unwrap_or_default()
    }

    /// Its workers have started, there; said once.
    pub fn set_place(&self, place: Place) {
        let _first = self.place.set(place);
    }

    /// Hashes done.
    #[must_use]
    pub fn hashes(&self) -> Hashes {
        Hashes::new(self.hashes.load(Ordering::Relaxed).into())
    }

    /// Time spent in the kernel, summed over the workers.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed))
    }

    /// Time without anything to search although there was a job, summed over the workers.
    #[must_use]
    pub fn starved(&self) -> Duration {
        Duration::from_nanos(self.starved_nanos.load(Ordering::Relaxed))
    }

    /// Time that its workers rested because they were held back, summed over them.
    #[must_use]
    pub fn rested(&self) -> Duration {
        Duration::from_nanos(self.rested_nanos.load(Ordering::Relaxed))
    }

    /// Whether its workers ever hashed while they were held back. Threads that share a core are
    /// faster then, one by one, than all of them are together.
    #[must_use]
    pub fn was_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }

    /// Hits that did not hash again.
    #[must_use]
    pub fn hardware_errors(&self) -> u64 {
        self.hardware_errors.load(Ordering::Relaxed)
    }

    /// A slice is done.
    pub fn add_slice(&self, hashes: Hashes, took: Duration) {
        let hashes = u64::try_from(hashes.get()).unwrap_or(u64::MAX);
        self.hashes.fetch_add(hashes, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// A worker had nothing to search for so long.
    pub fn add_starved(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.starved_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// A worker rested for so long.
    pub fn add_rested(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.rested_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// A worker hashed while it was held back.
    pub fn note_held_back(&self) {
        self.held_back.store(true, Ordering::Relaxed);
    }

    /// More hits did not hash again; says how many have not so far.
    pub fn add_hardware_errors(&self, errors: u64) -> u64 {
        self.hardware_errors.fetch_add(errors, Ordering::Relaxed) + errors
    }

    /// How often it was lost.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Why it is lost, while it is.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It was lost, and does nothing until it returns.
    pub fn note_loss(&self, why: &str) {
        self.losses.fetch_add(1, Ordering::Relaxed);
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// It was opened again.
    pub fn note_return(&self) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
