//! What a device has done: counters that only rise, written by its workers, read by anyone.
//!
//! Relaxed atomics are enough: a reader wants each counter's value at about an instant, and
//! nothing is decided by two of them together. 64 bits count 584 years of 1 GH/s, or of one
//! thread's nanoseconds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernels::{Backend, Tile};
use units::Hashes;

use crate::cpus::list::CpuList;

/// A device's counters.
#[derive(Debug)]
pub struct Device {
    name: String,
    tile: Tile,
    threads: usize,
    place: OnceLock<Place>,
    limit: OnceLock<f64>,
    hashes: AtomicU64,
    busy_nanos: AtomicU64,
    starved_nanos: AtomicU64,
    hardware_errors: AtomicU64,
}

/// Where a device's threads run, as the system has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The CPUs that they are kept to, all together; `None` where any of them may run anywhere.
    pub cpus: Option<CpuList>,
    /// How nice they are; `None` where they differ or the system does not say.
    pub nice: Option<i32>,
}

impl Device {
    /// A device at rest, with `threads` workers of one kernel.
    pub fn new(name: impl Into<String>, tile: impl Into<Tile>, threads: usize) -> Self {
        Self {
            name: name.into(),
            tile: tile.into(),
            threads,
            place: OnceLock::new(),
            limit: OnceLock::new(),
            hashes: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            starved_nanos: AtomicU64::new(0),
            hardware_errors: AtomicU64::new(0),
        }
    }

    /// Its name in metrics and in the API.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel that it runs.
    #[must_use]
    pub const fn tile(&self) -> Tile {
        self.tile
    }

    /// The kernel's backend.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.tile.backend
    }

    /// Hashes per second that it cannot exceed; `None` where that is not known.
    #[must_use]
    pub fn limit(&self) -> Option<f64> {
        self.limit.get().copied()
    }

    /// Its limit was measured; said once.
    pub fn set_limit(&self, hashes_per_second: f64) {
        let _first = self.limit.set(hashes_per_second);
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

    /// More hits did not hash again; says how many have not so far.
    pub fn add_hardware_errors(&self, errors: u64) -> u64 {
        self.hardware_errors.fetch_add(errors, Ordering::Relaxed) + errors
    }
}
