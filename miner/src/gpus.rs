//! GPUs as devices that mine: a thread for each, which keeps its dispatches going.
//!
//! Read [`Worker::turn`], then [`card`]. Two dispatches are under way, each sized by its measured time; the thread
//! hands in the next, waits for the oldest, and looks for new orders after each. New work follows
//! what is under way: with dispatches of 10 ms that is 20 ms at the most, and nothing found is
//! dropped. A GPU that is lost is opened again, after a second at first and a minute at last; the
//! other devices never notice.
//!
//! It deliberately chooses no GPU and no shader: [`crate::tuning`] and the settings do.

mod card;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gpu::{Adapter, Finished, IN_FLIGHT, Lost, OpenError, PATIENCE, Tile};
use kernels::{Hit, Slice};
use units::Hashes;

use self::card::{Card, Returning};
use crate::device::Device;
use crate::hands::{Crew, Hands, Orders};
use crate::pace::Pace;
use crate::space::{Claim, Claimed};
use crate::work::Work;

/// A dispatch aims at this long: the half millisecond that the host needs is a thirtieth of it.
pub const DISPATCH: Duration = Duration::from_millis(16);
/// The same in software: each processor gets its part beforehand, and all wait for the slowest, the
/// less the longer a part takes.
pub const DISPATCH_IN_SOFTWARE: Duration = Duration::from_millis(40);
/// The same where somebody looks at what this GPU shows.
pub const DISPATCH_INTERACTIVE: Duration = Duration::from_millis(5);
/// Hashes of the first dispatch, before anything is measured: 16 ms at 8 MH/s.
const FIRST_HASHES: u64 = 1 << 17;
/// Hits that a dispatch may be expected to find, a quarter of what it can name.
const HITS: u128 = 256;
/// How long the thread waits for a dispatch before it looks whether it is told to stop.
const LOOK_UP: Duration = Duration::from_millis(20);

/// The shaders that a GPU searches with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shaders {
    /// Where the pool grants versions enough.
    pub many: Tile,
    /// Where it does not.
    pub few: Tile,
}

/// A GPU that is to mine.
#[derive(Debug)]
pub struct Gpu {
    /// Which it is.
    pub adapter: Adapter,
    /// With which shaders.
    pub shaders: Shaders,
    /// How long a dispatch should take.
    pub dispatch: Duration,
    /// Its counters.
    pub device: Arc<Device>,
}

/// Why a GPU's thread could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The GPU could not be opened.
    #[error("{name}: {error}")]
    Open {
        /// Which GPU.
        name: String,
        /// Why.
        error: OpenError,
    },
    /// There is no thread for it.
    #[error("a GPU's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The thread of one GPU.
#[derive(Debug)]
struct Worker {
    hands: Hands,
    card: Card,
    dispatch: Duration,
    /// How long dispatches are now, in percent of that.
    batch: u16,
    pace: Pace,
    /// The claim at hand, and how many of its nonces were handed in.
    claim: Option<(Arc<Part>, u32)>,
    /// Whose dispatches are under way, the oldest first.
    under_way: VecDeque<Dispatched>,
    /// When the newest answer came.
    answered: Duration,
}

/// A claim of a work.
#[derive(Debug)]
struct Part {
    work: Arc<Work>,
    claim: Claim,
    header: [u8; 80],
}

#[derive(Debug)]
struct Dispatched {
    part: Arc<Part>,
    at: Duration,
}

/// Opens a GPU and starts its thread, which claims as the device that has this `index` in every
/// work. The thread ends on [`Orders::Stop`].
///
/// # Errors
/// When the GPU cannot be opened or the thread cannot be made.
pub fn start(crew: &Crew, gpu: Gpu, index: usize) -> Result<(), StartError> {
    let Gpu { adapter, shaders, dispatch, device } = gpu;
    let name = device.name().to_owned();
    let card = Card::open(adapter, shaders)
        .map_err(|error| StartError::Open { name: name.clone(), error })?;
    let worker = Worker::new(crew.hands(&device, index), card, dispatch);
    thread::Builder::new().name(name).spawn(move || worker.run())?;
    Ok(())
}

impl Worker {
    fn new(hands: Hands, mut card: Card, dispatch: Duration) -> Self {
        let pace = paced(&mut card, dispatch);
        let (under_way, answered) = (VecDeque::new(), Duration::ZERO);
        Self { hands, card, dispatch, batch: 100, pace, claim: None, under_way, answered }
    }

    fn run(mut self) {
        loop {
            match self.hands.orders() {
                Orders::Idle => self.idle(),
                Orders::Mine(work) => self.mine(&work),
                Orders::Stop => break,
            }
        }
        if !self.under_way.is_empty() {
            self.card.leave();
        }
    }

    /// Takes what is still under way, and waits.
    fn idle(&mut self) {
        self.claim = None;
        while !self.hands.is_called() && !self.under_way.is_empty() {
            let finished = self.finish(LOOK_UP);
            self.note(finished);
        }
        if !self.hands.is_called() {
            self.hands.wait(Duration::MAX);
        }
    }

    /// Searches `work` until there are other orders.
    fn mine(&mut self, work: &Arc<Work>) {
        self.claim = None;
        let mut called = false;
        while !called && !self.hands.is_called() {
            if self.card.engine().is_none() {
                called = self.wait_for_return();
                continue;
            }
            match self.turn(work) {
                Ok(others) => called = others,
                Err(lost) => self.note(Err(lost)),
            }
        }
    }

    /// Hands in dispatches until enough are under way, and takes the answer of the oldest. Says
    /// whether there are other orders, which then count as seen.
    fn turn(&mut self, work: &Arc<Work>) -> Result<bool, Lost> {
        if self.hands.must_rest() {
            return self.rest().map(|()| false);
        }
        self.follow_batch();
        while self.under_way.len() < IN_FLIGHT && self.submit(work)? {
            // Where handing in is doing it, as in software, what is done waits for nothing more.
            self.finish(Duration::ZERO)?;
            if self.hands.is_called() {
                return Ok(false);
            }
        }
        if self.under_way.is_empty() {
            return Ok(self.hands.starve(work));
        }
        self.finish(LOOK_UP)?;
        Ok(false)
    }

    /// Takes what is still under way, so that the GPU rests too, and then rests.
    fn rest(&mut self) -> Result<(), Lost> {
        if !self.under_way.is_empty() {
            return self.finish(LOOK_UP);
        }
        self.hands.rest();
        Ok(())
    }

    /// Has dispatches as long as they are to be.
    fn follow_batch(&mut self) {
        let batch = self.hands.batch();
        if batch != self.batch {
            self.batch = batch;
            self.pace.aim(self.length());
        }
    }

    /// How long a dispatch is to take.
    fn length(&self) -> Duration {
        self.dispatch * u32::from(self.batch) / 100
    }

    /// Hands in the next dispatch; says whether there was anything to hand in.
    fn submit(&mut self, work: &Arc<Work>) -> Result<bool, Lost> {
        let Some((part, done)) = self.next(work) else { return Ok(false) };
        if !self.suit(part.claim.versions.len()) {
            self.claim = Some((part, done));
            return Ok(false);
        }
        let Some(engine) = self.card.engine() else { return Ok(false) };
        let claim = &part.claim;
        let most = engine.nonces_max().min(few_hits(&part.work, claim.versions.len()));
        let nonces = self.pace.nonces(claim.versions.len(), (claim.nonces - done).min(most));
        let at = self.hands.clock.elapsed();
        engine.submit(&Slice {
            header: &part.header,
            target: &part.work.job.target,
            versions: &claim.versions,
            first_nonce: claim.first_nonce + done,
            nonces,
        })?;
        self.under_way.push_back(Dispatched { part: Arc::clone(&part), at });
        let done = done + nonces;
        self.claim = (done < part.claim.nonces).then_some((part, done));
        Ok(true)
    }

    /// Changes to the shader that suits so many versions, once nothing is under way; says whether
    /// it is the one that runs.
    fn suit(&mut self, versions: usize) -> bool {
        if self.card.suits(versions) {
            return true;
        }
        if !self.under_way.is_empty() {
            return false;
        }
        self.card.change();
        self.begin_pace();
        true
    }

    /// Another engine has a pace of its own.
    fn begin_pace(&mut self) {
        let length = self.length();
        self.pace = paced(&mut self.card, length);
        if let Some(engine) = self.card.engine() {
            self.hands.device.set_kernel(engine.tile());
        }
    }

    /// The claim at hand, or a new one.
    fn next(&mut self, work: &Arc<Work>) -> Option<(Arc<Part>, u32)> {
        if let Some(at_hand) = self.claim.take() {
            return Some(at_hand);
        }
        match self.hands.claim(work) {
            Claimed::Part(claim) => {
                let header = work.header(&claim);
                Some((Arc::new(Part { work: Arc::clone(work), claim, header }), 0))
            }
            Claimed::Exhausted => None,
        }
    }

    /// Waits for the oldest dispatch for so long; sends what it found if it is done.
    fn finish(&mut self, patience: Duration) -> Result<(), Lost> {
        let Some(engine) = self.card.engine() else { return Ok(()) };
        let mut hits: Vec<Hit> = Vec::new();
        let finished = engine.finish(&mut hits, patience)?;
        let now = self.hands.clock.elapsed();
        let Some(oldest) = self.under_way.front() else { return Ok(()) };
        match finished {
            Finished::NotYet if now.saturating_sub(oldest.at) > PATIENCE => {
                Err(Lost(format!("it did not answer for {} s", PATIENCE.as_secs())))
            }
            Finished::NotYet | Finished::Nothing => Ok(()),
            Finished::Done(done) => {
                // It began when it was handed in, or when the one before was done.
                let waited = now.saturating_sub(self.answered.max(oldest.at));
                let took = done.took.unwrap_or(waited);
                self.answered = now;
                let faults = engine.faults();
                self.done(done.hashes, took, faults, hits);
                Ok(())
            }
        }
    }

    fn done(&mut self, hashes: Hashes, took: Duration, faults: u64, hits: Vec<Hit>) {
        self.pace.measured(hashes, took);
        self.hands.count(hashes, took, faults);
        self.card.worked();
        if let Some(Dispatched { part, .. }) = self.under_way.pop_front() {
            self.hands.send(hits, &part.work, &part.claim, &part.header);
        }
    }

    /// Gives a lost GPU up; what was under way was not searched and is not counted.
    fn note(&mut self, result: Result<(), Lost>) {
        let Err(lost) = result else { return };
        self.claim = None;
        self.under_way.clear();
        self.hands.device.note_loss(&lost.0);
        let wait = self.card.lose(self.hands.clock.elapsed()).as_secs();
        let device = self.hands.device.name();
        tracing::warn!(device, "{lost}; opening it again in {wait} s");
    }

    /// Waits for a lost GPU for a while; says whether there are other orders.
    fn wait_for_return(&mut self) -> bool {
        match self.card.returning(self.hands.clock.elapsed()) {
            Returning::After(time) => self.hands.wait(time),
            Returning::Returned => {
                tracing::info!(device = self.hands.device.name(), "opened again");
                self.hands.device.note_return();
                self.begin_pace();
                false
            }
            Returning::Failed(error, wait) => {
                let (device, wait) = (self.hands.device.name(), wait.as_secs());
                tracing::warn!(device, "{error}; trying again in {wait} s");
                false
            }
        }
    }
}

/// Nonces of a dispatch that finds few enough for its list, on average: what overflows is searched
/// again in halves. It matters on test chains, where every second hash may be a hit.
fn few_hits(work: &Work, versions: usize) -> u32 {
    let hashes = work.job.target.work().get().saturating_mul(HITS);
    let versions = u128::try_from(versions).unwrap_or(u128::MAX).max(1);
    u32::try_from((hashes / versions).max(1)).unwrap_or(u32::MAX)
}

/// Dispatches of whole workgroups: what is cut off would be searched all the same.
fn paced(card: &mut Card, dispatch: Duration) -> Pace {
    let step = card.engine().map_or(1, |engine| engine.tile().step());
    Pace::new(dispatch, FIRST_HASHES, u64::from(step), step)
}

#[cfg(test)]
mod tests;
