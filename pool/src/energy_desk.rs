//! Takes reports of energy: checks the signature, pins the key, takes differences, and writes
//! what is credited.
//!
//! It lives in the ledger's thread, because a difference and its record must not come apart. It
//! deliberately does no arithmetic of its own: the book takes differences, the ledger sums.

use std::time::Duration;

use energy::{
    book::{Book, Row, Step, Taken},
    meter::{MeterId, Scope},
    report,
};
use ledger::{Ledger, LedgerError, MeterView, PinOutcome, Reading, WorkerId};
use units::{Hashes, UnixMillis};

/// Intervals without a report after which a meter no longer stands in another's way.
const LIVE_INTERVALS: u32 = 5;

/// The counters of every worker's meters, as of their last accepted report.
#[derive(Debug)]
pub struct EnergyDesk {
    book: Book,
}

impl EnergyDesk {
    /// Takes up where the ledger's records end. Miners report every `interval`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn restore(ledger: &Ledger, interval: Duration) -> Result<Self, LedgerError> {
        let mut book = Book::new(interval.saturating_mul(LIVE_INTERVALS));
        book.restore(ledger.meters()?.into_iter().filter_map(row));
        Ok(Self { book })
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
        let signed = report::verify(report).map_err(|error| error.to_string())?;
        let broken = |error: LedgerError| {
            tracing::error!("a report of energy could not be written: {error}");
            "the pool's ledger cannot be written just now".to_owned()
        };
        match ledger.pin_key(worker, *signed.key(), at).map_err(broken)? {
            PinOutcome::Pinned => {}
            PinOutcome::Mismatch => {
                return Err("this worker's reports are signed with another key".to_owned());
            }
        }
        // The book changes only after the ledger: a failed write must lose nothing.
        let (taking, change) =
            self.book.weigh(worker.get(), &signed, at).map_err(|refusal| refusal.to_string())?;
        let claimed = signed.report().hashes.as_ref().map(|hashes| hashes.total);
        let readings = taking.meters.into_iter().filter(|taken| taken.step != Step::Late);
        let readings: Vec<Reading> =
            readings.map(|taken| reading(worker, taken, claimed, at)).collect();
        ledger.record_readings(&readings).map_err(broken)?;
        self.book.accept(change);
        Ok(())
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
