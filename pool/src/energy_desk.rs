//! Takes reports of energy: checks the signature, pins the key, takes differences, and writes
//! what is credited.
//!
//! It lives in the ledger's thread, because a difference and its record must not come apart. Every
//! report costs that thread a signature and a synced write, so each worker is held to the interval
//! that the pool asked for, before anything else is looked at. It deliberately takes no difference
//! and sums nothing itself: the book and the ledger do. What the sums of late are worth is in
//! `standings.rs`.
//!
//! Units: times are Unix milliseconds by the pool's clock.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use defences::{Defence, stands};
use energy::{
    book::{Book, Row, Step, Taken},
    meter::{MeterId, Scope},
    profile::Profiles,
    report,
};
use ledger::{Ledger, LedgerError, MeterView, PinOutcome, Reading, WorkerId};
use units::{Hashes, UnixMillis, Work};

mod standings;

pub use self::standings::{Accounts, Standing, Standings};
use self::standings::{Heard, Keeper};

/// Intervals without a report after which a meter no longer stands in another's way.
const LIVE_INTERVALS: u32 = 5;
/// Reports that a worker may send at once: a line that was broken may have held some up, a miner that
/// leaves sends one more, and each that starts again sends two, the first of them for the run before.
const BURST: u32 = 8;
/// Workers that may be sending reports at a time.
const MAX_WORKERS: usize = 65_536;

/// The counters of every worker's meters, as of their last accepted report.
#[derive(Debug)]
pub struct EnergyDesk {
    book: Book,
    pace: Pace,
    keeper: Keeper,
}

impl EnergyDesk {
    /// Takes up where the ledger's records end. Miners report every `interval`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn restore(ledger: &Ledger, interval: Duration) -> Result<Self, LedgerError> {
        let mut book = Book::new(interval.saturating_mul(LIVE_INTERVALS));
        book.restore(ledger.meters()?.into_iter().filter_map(row));
        Ok(Self { book, pace: Pace::new(interval), keeper: Keeper::default() })
    }

    /// The same desk, which holds workers against the models that the operator says they are.
    #[must_use]
    pub fn with_profiles(self, profiles: Profiles) -> Self {
        Self { keeper: Keeper::new(profiles), ..self }
    }

    /// Counts an accepted share, which the next report of its worker covers.
    pub fn count(&mut self, worker: WorkerId, work: Work) {
        self.keeper.count(worker, work);
    }

    /// How every worker that reports stands, as of its last report; and which accounts are flagged as
    /// a whole, as of the last look at them, ten minutes ago at most.
    pub fn standings(&mut self, now: UnixMillis) -> (Standings, Accounts) {
        (self.keeper.standings(now), self.keeper.accounts())
    }

    /// Takes one report of `worker`, or says why not.
    ///
    /// # Errors
    /// A reason in plain words for the miner.
    pub fn take(
        &mut self,
        ledger: &mut Ledger,
        worker: WorkerId,
        report: &str,
        at: UnixMillis,
    ) -> Result<(), String> {
        if stands(Defence::ReportPace) {
            self.pace.admit(worker, at)?;
        }
        let signed = report::verify(report).map_err(|error| error.to_string())?;
        let broken = |error: LedgerError| {
            tracing::error!("a report of energy could not be written: {error}");
            "the pool's ledger cannot be written just now".to_owned()
        };
        match ledger.pin_key(worker, *signed.key(), at).map_err(broken)? {
            PinOutcome::Mismatch if stands(Defence::PinnedKey) => {
                return Err("this worker's reports are signed with another key".to_owned());
            }
            PinOutcome::Pinned | PinOutcome::Mismatch => {}
        }
        // The book changes only after the ledger: a failed write must lose nothing.
        let (taking, change) =
            self.book.weigh(worker.get(), &signed, at).map_err(|refusal| refusal.to_string())?;
        let claimed = signed.report().hashes.as_ref().map(|hashes| hashes.total);
        let heard = Heard::of(&taking);
        let before = ledger.metered(worker).map_err(broken)?;
        let readings = taking.meters.into_iter().filter(|taken| taken.step != Step::Late);
        let readings: Vec<Reading> =
            readings.map(|taken| reading(worker, taken, claimed, at)).collect();
        ledger.record_readings(&readings).map_err(broken)?;
        self.book.accept(change);
        match ledger.metered(worker) {
            Ok(after) => self.keeper.note(worker, &heard, (&before, &after), at),
            // The report is taken; its figures are missing from the windows alone.
            Err(error) => tracing::error!("a worker's energy could not be read: {error}"),
        }
        Ok(())
    }
}

/// Holds each worker to one report every half interval, after a burst.
#[derive(Debug)]
struct Pace {
    /// Half an interval: what one report costs, in time.
    step: Duration,
    /// The workers whose buckets are not full; whoever is not here has a full one.
    buckets: BTreeMap<WorkerId, Bucket>,
    /// When full buckets were last let go.
    swept_at: UnixMillis,
}

/// Time saved up by not reporting.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    saved: Duration,
    at: UnixMillis,
}

impl Pace {
    fn new(interval: Duration) -> Self {
        Self { step: interval / 2, buckets: BTreeMap::new(), swept_at: UnixMillis::new(0) }
    }

    /// Counts a report of `worker`, or says why it comes too soon.
    fn admit(&mut self, worker: WorkerId, at: UnixMillis) -> Result<(), String> {
        self.sweep(at);
        let full = self.full();
        let room = self.buckets.len() < MAX_WORKERS || !stands(Defence::ReportersBound);
        let bucket = match self.buckets.entry(worker) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if room => new.insert(Bucket { saved: full, at }),
            Entry::Vacant(_) => {
                return Err("too many workers report their energy just now".to_owned());
            }
        };
        bucket.fill(at, full);
        let too_soon =
            || format!("reports come more often than every {} s", self.step.as_secs_f64());
        bucket.saved = bucket.saved.checked_sub(self.step).ok_or_else(too_soon)?;
        Ok(())
    }

    /// Lets go of full buckets, once a step at most: that a worker is not here says the same.
    fn sweep(&mut self, at: UnixMillis) {
        if at >= self.swept_at && at.saturating_since(self.swept_at) < self.step {
            return;
        }
        self.swept_at = at;
        let full = self.full();
        self.buckets.retain(|_, bucket| {
            bucket.fill(at, full);
            bucket.saved < full
        });
    }

    const fn full(&self) -> Duration {
        self.step.saturating_mul(BURST)
    }
}

impl Bucket {
    /// Saves up the time that has passed. A clock that was set back saves nothing up, and counts on
    /// from where it was set.
    fn fill(&mut self, at: UnixMillis, full: Duration) {
        self.saved = self.saved.saturating_add(at.saturating_since(self.at)).min(full);
        self.at = at;
    }
}

fn reading(worker: WorkerId, taken: Taken, claimed: Option<Hashes>, at: UnixMillis) -> Reading {
    Reading {
        worker,
        meter: taken.meter.id.to_string(),
        kind: taken.meter.kind.as_str().to_owned(),
        scope: taken.meter.scope.as_str().to_owned(),
        tier: taken.meter.tier.get(),
        epoch: taken.meter.epoch,
        total: taken.meter.total,
        hashes_total: claimed,
        credited: taken.credited,
        gap: taken.gap,
        counted: taken.counted,
        coverage_ppm: taken.meter.coverage_ppm,
        uncertainty_ppm: taken.meter.uncertainty_ppm,
        at,
    }
}

/// A recorded meter in the book's terms; one that no longer reads as a meter is left out, and
/// its next report is a baseline.
fn row(meter: MeterView) -> Option<Row> {
    Some(Row {
        worker: meter.worker.get(),
        meter: MeterId::new(&meter.meter)?,
        scope: Scope::parse(&meter.scope)?,
        epoch: meter.epoch,
        total: meter.total,
        heard_at: meter.last_at,
    })
}

#[cfg(test)]
mod tests;
