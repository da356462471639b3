//! Dispatches under way on one GPU: slices in, hits out.
//!
//! Read [`Engine::submit`] and [`Engine::finish`]. Two dispatches are under way at a time, so that
//! the GPU begins the next while the host looks at the last. A dispatch counts its hits as it finds
//! them; where they are more than it can name, its range is searched again in halves, so that none
//! is missed however easy the target. Every hit is hashed again by the reference.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use kernels::{Hit, Search, Slice};
use units::{Hashes, Target};
use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, MapMode, PollError, PollType, QuerySet,
    QuerySetDescriptor, QueryType, SubmissionIndex,
};

use crate::device::{Device, Lost, OpenError, guarded};
use crate::generated::FOUND;
use crate::program::{Bindings, Program, Range, VERSIONS_MAX, bytes};
use crate::{Adapter, Tile};

/// Dispatches that may be under way.
pub const IN_FLIGHT: usize = 2;
/// A GPU that does not answer for so long is lost. Drivers end what hangs after a few seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the shaders' list of hits: their number, and pairs of version and nonce.
const FOUND_BYTES: u64 = 8 + 8 * FOUND as u64;
/// Bytes of two readings of the GPU's clock.
const TIMES_BYTES: u64 = 16;

/// One GPU, searching.
#[derive(Debug)]
pub struct Engine {
    device: Device,
    tile: Tile,
    program: Program,
    free: Vec<Slot>,
    under_way: VecDeque<(Slot, Asked)>,
    /// Whose versions are in the GPU's memory.
    loaded: Option<Arc<Job>>,
    faults: u64,
}

/// A dispatch that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Versions x nonces of its slice.
    pub hashes: Hashes,
    /// How long the GPU was at it, by its own clock; `None` where it has none.
    pub took: Option<Duration>,
}

/// Loses a GPU: see [`Engine::breaker`].
#[derive(Debug)]
pub struct Breaker(wgpu::Device);

impl Breaker {
    /// Loses it, whatever is under way.
    pub fn lose(&self) {
        self.0.destroy();
    }
}

/// How a dispatch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is done.
    Done(Done),
    /// It is still under way.
    NotYet,
    /// There is none under way.
    Nothing,
}

/// What slices of one claim have in common.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    header: [u8; 80],
    target: Target,
    versions: Vec<u32>,
}

/// What one dispatch was asked.
#[derive(Debug, Clone)]
struct Asked {
    job: Arc<Job>,
    range: Range,
    submission: SubmissionIndex,
    /// Set when its answer can be read, or cannot.
    mapped: Arc<OnceLock<bool>>,
}

/// The buffers of one dispatch.
#[derive(Debug)]
struct Slot {
    task: Buffer,
    found: Buffer,
    answer: Buffer,
    bindings: Bindings,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    queries: QuerySet,
    times: Buffer,
}

/// What the GPU wrote.
struct Answer {
    /// How many hits there were; those beyond [`FOUND`] are not named.
    count: usize,
    /// Place of the version in the list, and nonce.
    named: Vec<(usize, u32)>,
    took: Option<Duration>,
}

impl Engine {
    /// Opens a GPU and builds the shader, which is run once: drivers compile it then, for up to a
    /// second.
    ///
    /// # Errors
    /// When its driver refuses, or cannot build the shader.
    pub fn open(adapter: &Adapter, tile: Tile) -> Result<Self, OpenError> {
        guarded(|| Self::try_open(adapter, tile))
    }

    fn try_open(adapter: &Adapter, tile: Tile) -> Result<Self, OpenError> {
        let device = Device::open(adapter)?;
        let program = Program::new(&device, tile);
        // One more than are under way: a range that is searched again has it.
        let free = (0..=IN_FLIGHT).map(|_| Slot::new(&device, &program)).collect();
        device.check()?;
        let under_way = VecDeque::new();
        let mut engine = Self { device, tile, program, free, under_way, loaded: None, faults: 0 };
        engine.run_once()?;
        Ok(engine)
    }

    fn run_once(&mut self) -> Result<(), Lost> {
        let target = Target::from_be_bytes([0; 32]);
        let (header, versions) = (&[0; 80], &[0]);
        self.submit(&Slice { header, target: &target, versions, first_nonce: 0, nonces: 1 })?;
        match self.finish(&mut Vec::new(), PATIENCE)? {
            Finished::Done(_) => Ok(()),
            Finished::NotYet | Finished::Nothing => Err(self.device.lose("it does not answer")),
        }
    }

    /// The shader that it runs.
    #[must_use]
    pub const fn tile(&self) -> Tile {
        self.tile
    }

    /// The most nonces that one slice may have.
    #[must_use]
    pub const fn nonces_max(&self) -> u32 {
        self.program.nonces_max()
    }

    /// Dispatches under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Candidates so far whose hash the reference did not confirm: hardware errors.
    #[must_use]
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// Gives the GPU a slice to search, of at most [`VERSIONS_MAX`] versions and
    /// [`Self::nonces_max`] nonces.
    ///
    /// # Errors
    /// When the GPU is lost; the slice then is not searched.
    ///
    /// # Panics
    /// When [`IN_FLIGHT`] dispatches are under way, or the slice is empty, too large or runs past
    /// nonce `u32::MAX`.
    pub fn submit(&mut self, slice: &Slice<'_>) -> Result<(), Lost> {
        assert!(self.under_way.len() < IN_FLIGHT, "{IN_FLIGHT} dispatches are under way");
        assert!((1..=VERSIONS_MAX).contains(&slice.versions.len()), "a dispatch of no such size");
        assert!((1..=self.nonces_max()).contains(&slice.nonces), "a dispatch of no such size");
        let high = slice.first_nonce.checked_add(slice.nonces - 1).expect("nonces end at u32::MAX");
        let job = self.job(slice);
        guarded(|| self.dispatch(&job, Range { low: slice.first_nonce, high }))
    }

    /// Waits for the oldest dispatch, so long at most, and appends its hits to `hits`.
    ///
    /// # Errors
    /// When the GPU is lost; what was under way then is not searched. A GPU that does not answer is
    /// not found to be lost here: whoever has a clock gives it up after [`PATIENCE`].
    pub fn finish(&mut self, hits: &mut Vec<Hit>, patience: Duration) -> Result<Finished, Lost> {
        guarded(|| self.try_finish(hits, patience))
    }

    fn try_finish(&mut self, hits: &mut Vec<Hit>, patience: Duration) -> Result<Finished, Lost> {
        let Some((_, asked)) = self.under_way.front() else { return Ok(Finished::Nothing) };
        if !asked.wait(&self.device, patience)? {
            return Ok(Finished::NotYet);
        }
        let Some((slot, asked)) = self.under_way.pop_front() else { return Ok(Finished::Nothing) };
        self.conclude(slot, &asked, hits).map(Finished::Done)
    }

    /// What loses this GPU, as a driver that is reset or a card that is pulled would; for tests.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        Breaker(self.device.handle.clone())
    }

    fn job(&self, slice: &Slice<'_>) -> Arc<Job> {
        if let Some(job) = &self.loaded
            && job.header[4..76] == slice.header[4..76]
            && job.versions == slice.versions
            && job.target == *slice.target
        {
            return Arc::clone(job);
        }
        let (header, target) = (*slice.header, *slice.target);
        Arc::new(Job { header, target, versions: slice.versions.to_vec() })
    }

    fn dispatch(&mut self, job: &Arc<Job>, range: Range) -> Result<(), Lost> {
        self.device.check()?;
        if !self.loaded.as_ref().is_some_and(|loaded| Arc::ptr_eq(loaded, job)) {
            self.program.load(&self.device, &job.header, &job.versions);
            self.loaded = Some(Arc::clone(job));
        }
        let slot = self.free.pop().ok_or_else(|| self.device.lose("no buffers are left"))?;
        let task = [self.program.first(range), range.low, range.high, job.mask()];
        self.device.queue.write_buffer(&slot.task, 0, &bytes(&task));
        let mut encoder = self.device.handle.create_command_encoder(&Default::default());
        encoder.clear_buffer(&slot.found, 0, Some(8));
        let queries = slot.timer.as_ref().map(|timer| &timer.queries);
        self.program.encode(&mut encoder, &slot.bindings, job.count(), range, queries);
        encoder.copy_buffer_to_buffer(&slot.found, 0, &slot.answer, 0, FOUND_BYTES);
        if let Some(Timer { queries, times }) = &slot.timer {
            encoder.resolve_query_set(queries, 0..2, times, 0);
            encoder.copy_buffer_to_buffer(times, 0, &slot.answer, FOUND_BYTES, TIMES_BYTES);
        }
        let mapped = Arc::new(OnceLock::new());
        let told = Arc::clone(&mapped);
        encoder.map_buffer_on_submit(&slot.answer, MapMode::Read, .., move |result| {
            let _first = told.set(result.is_ok());
        });
        let submission = self.device.queue.submit([encoder.finish()]);
        let asked = Asked { job: Arc::clone(job), range, submission, mapped };
        self.under_way.push_back((slot, asked));
        Ok(())
    }

    /// Reads a dispatch that is done, and has searched again what it could not name all hits of.
    fn conclude(&mut self, slot: Slot, asked: &Asked, hits: &mut Vec<Hit>) -> Result<Done, Lost> {
        let answer = slot.read(&self.device, asked)?;
        self.free.push(slot);
        let hashes = asked.slice().hashes();
        if answer.count <= FOUND {
            self.confirm(asked, &answer, hits);
        } else if answer.count > asked.hits_max(self.tile) {
            return Err(self.device.lose("it reports more hits than it was given to search"));
        } else {
            for (job, range) in halves(&asked.job, asked.range) {
                self.again(&job, range, hits)?;
            }
        }
        Ok(Done { hashes, took: answer.took })
    }

    /// Searches a range at once, beside what is under way.
    fn again(&mut self, job: &Arc<Job>, range: Range, hits: &mut Vec<Hit>) -> Result<(), Lost> {
        self.dispatch(job, range)?;
        let Some((slot, asked)) = self.under_way.pop_back() else { return Ok(()) };
        if !asked.wait(&self.device, PATIENCE)? {
            return Err(self.device.lose("it does not answer"));
        }
        self.conclude(slot, &asked, hits).map(|_| ())
    }

    fn confirm(&mut self, asked: &Asked, answer: &Answer, hits: &mut Vec<Hit>) {
        let slice = asked.slice();
        let mut search = Search::new(&slice, hits);
        for &(place, nonce) in &answer.named {
            // A workgroup may be filled up with its last version.
            if let Some(&version) = asked.job.versions.get(place) {
                search.confirm_lane(Hit { version, nonce });
            }
        }
        self.faults += search.faults();
    }
}

impl Job {
    /// How many versions.
    fn count(&self) -> u32 {
        u32::try_from(self.versions.len()).expect("4096 at most")
    }

    fn mask(&self) -> u32 {
        let slice = Slice {
            header: &self.header,
            target: &self.target,
            versions: &self.versions,
            first_nonce: 0,
            nonces: 0,
        };
        Search::new(&slice, &mut Vec::new()).mask()
    }
}

impl Asked {
    fn slice(&self) -> Slice<'_> {
        Slice {
            header: &self.job.header,
            target: &self.job.target,
            versions: &self.job.versions,
            first_nonce: self.range.low,
            nonces: self.range.high - self.range.low + 1,
        }
    }

    /// The most hits that there can be; a workgroup may be filled up with its last version.
    fn hits_max(&self, tile: Tile) -> usize {
        let nonces = usize::try_from(self.slice().nonces).unwrap_or(usize::MAX);
        let filled = tile.workgroup as usize;
        nonces.saturating_mul(self.job.versions.len() + filled)
    }

    /// Waits so long at most; says whether the answer is there.
    fn wait(&self, device: &Device, patience: Duration) -> Result<bool, Lost> {
        let submission_index = Some(self.submission.clone());
        let wait = PollType::Wait { submission_index, timeout: Some(patience) };
        let waited = device.handle.poll(wait);
        device.check()?;
        match waited {
            Ok(_) => Ok(true),
            Err(PollError::Timeout) => Ok(false),
            Err(error) => Err(device.lose(error.to_string())),
        }
    }
}

/// The same in two: by nonces, or by versions where there is but one nonce.
fn halves(job: &Arc<Job>, range: Range) -> Vec<(Arc<Job>, Range)> {
    let Range { low, high } = range;
    if low < high {
        let middle = low + (high - low) / 2;
        let ranges = [Range { low, high: middle }, Range { low: middle + 1, high }];
        return ranges.map(|range| (Arc::clone(job), range)).to_vec();
    }
    let Job { header, target, versions } = &**job;
    let half = |versions: &[u32]| {
        let (header, target, versions) = (*header, *target, versions.to_vec());
        (Arc::new(Job { header, target, versions }), range)
    };
    versions.chunks(versions.len().div_ceil(2)).map(half).collect()
}

impl Slot {
    fn new(device: &Device, program: &Program) -> Self {
        let buffer = |size, usage| {
            let label = None;
            let mapped_at_creation = false;
            let descriptor = BufferDescriptor { label, size, usage, mapped_at_creation };
            device.handle.create_buffer(&descriptor)
        };
        let copied = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let task = buffer(16, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
        let found = buffer(FOUND_BYTES, BufferUsages::STORAGE | copied);
        let answer = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let timer = device.tick.map(|_| Timer {
            queries: device.handle.create_query_set(&QuerySetDescriptor {
                label: None,
                ty: QueryType::Timestamp,
                count: 2,
            }),
            times: buffer(TIMES_BYTES, BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
        });
        Self {
            bindings: program.bindings(device, &task, &found),
            task,
            found,
            answer: buffer(FOUND_BYTES + TIMES_BYTES, answer),
            timer,
        }
    }

    /// Reads the answer to what was asked, which is there.
    fn read(&self, device: &Device, asked: &Asked) -> Result<Answer, Lost> {
        if asked.mapped.get() != Some(&true) {
            return Err(device.lose("its answer cannot be read"));
        }
        let answer = {
            let view = self.answer.get_mapped_range(..);
            let view = view.map_err(|error| device.lose(error.to_string()))?;
            Answer::parse(&view, device.tick.filter(|_| self.timer.is_some()))
        };
        self.answer.unmap();
        Ok(answer)
    }
}

impl Answer {
    fn parse(bytes: &[u8], tick: Option<f32>) -> Self {
        let (found, times) = bytes.split_at(8 + 8 * FOUND);
        let words = |bytes: &[u8]| -> Vec<u32> {
            bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
        };
        let found = words(found);
        let count = usize::try_from(found[0]).unwrap_or(usize::MAX);
        let pairs = found[2..].as_chunks::<2>().0;
        let named = pairs.iter().take(count);
        let place = |place| usize::try_from(place).unwrap_or(usize::MAX);
        let named = named.map(|&[version, nonce]| (place(version), nonce)).collect();
        let times = times.as_chunks::<8>().0;
        let ticks = u64::from_le_bytes(times[1]).checked_sub(u64::from_le_bytes(times[0]));
        let took = tick.zip(ticks).map(|(tick, ticks)| duration(tick, ticks));
        // A clock that stood still timed nothing.
        Self { count, named, took: took.filter(|took| !took.is_zero()) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks of one dispatch: milliseconds")]
fn duration(tick: f32, ticks: u64) -> Duration {
    Duration::try_from_secs_f64(f64::from(tick) * ticks as f64 / 1e9).unwrap_or_default()
}

#[cfg(test)]
mod tests;
