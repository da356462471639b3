//! Takes reports of energy: checks the signature, pins the key, takes differences, and writes
//! what is credited.
//!
//! It lives in the ledger's thread, because a difference and its record must not come apart. Every
//! report costs that thread a signature and a synced write, so each worker is held to the interval
//! that the pool asked for, before anything else is looked at. It deliberately takes no difference
//! and sums nothing itself: the book and the ledger do.
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
    report,
};
use ledger::{Ledger, LedgerError, MeterView, PinOutcome, Reading, WorkerId};
use units::{Hashes, UnixMillis};

/// Intervals without a report after which a meter no longer stands in another's way.
const LIVE_INTERVALS: u32 = 5;
/// Reports that a worker may send at once: a line that was broken may have held some up, and a
/// miner that connects or leaves sends one more.
const BURST: u32 = 4;
/// Workers that may be sending reports at a time.
const MAX_WORKERS: usize = 65_536;

/// The counters of every worker's meters, as of their last accepted report.
#[derive(Debug)]
pub struct EnergyDesk {
    book: Book,
    pace: Pace,
}

impl EnergyDesk {
    /// Takes up where the ledger's records end. Miners report every `interval`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn restore(ledger: &Ledger, interval: Duration) -> Result<Self, LedgerError> {
        let mut book = Book::new(interval.saturating_mul(LIVE_INTERVALS));
        book.restore(ledger.meters()?.into_iter().filter_map(row));
        Ok(Self { book, pace: Pace::new(interval) })
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
        let readings = taking.meters.into_iter().filter(|taken| taken.step != Step::Late);
        let readings: Vec<Reading> =
            readings.map(|taken| reading(worker, taken, claimed, at)).collect();
        ledger.record_readings(&readings).map_err(broken)?;
        self.book.accept(change);
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
mod tests {
    use energy::{
        SigningKey,
        meter::{Kind, Tier},
        report::{EnergyReport, MeterReading},
    };
    use ledger::{Scheme, Settings};
    use units::{BasisPoints, MicroJoules};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn seconds(seconds: u64) -> UnixMillis {
        UnixMillis::new(1_800_000_000_000 + seconds * 1000)
    }

    fn signed(at: UnixMillis, joules: u128) -> String {
        signed_by(&SigningKey::from_bytes(&[7; 32]), at, joules)
    }

    fn signed_by(key: &SigningKey, at: UnixMillis, joules: u128) -> String {
        let meter = MeterReading {
            id: MeterId::new("rapl:psys").unwrap(),
            kind: Kind::Rapl,
            scope: Scope::Rig,
            tier: Tier::DEVICE_REPORTED,
            epoch: 1,
            total: MicroJoules::new(joules * 1_000_000),
            coverage_ppm: 1_000_000,
            uncertainty_ppm: 80_000,
        };
        let report =
            EnergyReport { worker: "a.rig".to_owned(), at, meters: vec![meter], hashes: None };
        report.sign(key).unwrap().to_string()
    }

    #[test]
    fn a_worker_is_held_to_its_interval_before_anything_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            scheme: Scheme::Solo,
            fee: BasisPoints::new(0).unwrap(),
            fee_account: "pool".to_owned(),
            maturity: 100,
        };
        let mut ledger = Ledger::open(&folder.path().join("ledger"), settings).unwrap();
        let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
        let other = ledger.worker("a", "other", seconds(0)).unwrap();
        let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
        // 127 reports in a second: the burst is taken, and no more is written.
        let often = Err("reports come more often than every 30 s".to_owned());
        for count in 0..127 {
            let at = UnixMillis::new(seconds(0).get() + count * 8);
            let taken = desk.take(&mut ledger, rig, &signed(at, count.into()), at);
            assert_eq!(taken, if count < 4 { Ok(()) } else { often.clone() }, "{count}");
        }
        assert_eq!(ledger.meters().unwrap()[0].total, MicroJoules::new(3_000_000));
        // Not even its text is looked at; one that is, and is wrong, costs as much as a good one.
        assert_eq!(desk.take(&mut ledger, rig, "{", seconds(2)), often);
        let looked_at = desk.take(&mut ledger, rig, "{", seconds(30)).unwrap_err();
        assert!(looked_at.contains("not a JSON object"), "{looked_at}");
        assert_eq!(desk.take(&mut ledger, rig, &signed(seconds(31), 9), seconds(31)), often);
        // Another's is its own affair, and half an interval makes room for one more.
        assert_eq!(desk.take(&mut ledger, other, &signed(seconds(31), 5), seconds(31)), Ok(()));
        assert_eq!(desk.take(&mut ledger, rig, &signed(seconds(60), 9), seconds(60)), Ok(()));
        // Who keeps to the interval is never refused.
        for minute in 2..100 {
            let at = seconds(minute * 60);
            let taken = desk.take(&mut ledger, rig, &signed(at, u128::from(minute) * 60), at);
            assert_eq!(taken, Ok(()), "{minute}");
        }
    }

    #[test]
    fn a_report_signed_with_another_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            scheme: Scheme::Solo,
            fee: BasisPoints::new(0).unwrap(),
            fee_account: "pool".to_owned(),
            maturity: 100,
        };
        let mut ledger = Ledger::open(&folder.path().join("ledger"), settings).unwrap();
        let rig = ledger.worker("a", "rig", seconds(0)).unwrap();
        let mut desk = EnergyDesk::restore(&ledger, INTERVAL).unwrap();
        let (own, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let mut take = |key, minute: u64| {
            let report = signed_by(key, seconds(minute * 60), u128::from(minute) * 1000);
            desk.take(&mut ledger, rig, &report, seconds(minute * 60))
        };
        assert_eq!(take(&own, 0), Ok(()));
        let stranger = take(&other, 1).unwrap_err();
        assert_eq!(stranger, "this worker's reports are signed with another key");
        assert_eq!(take(&own, 2), Ok(()));
        assert_eq!(ledger.meters().unwrap()[0].total, MicroJoules::new(2_000_000_000));
    }

    #[test]
    fn only_workers_seen_lately_are_remembered_and_not_without_end() {
        let mut pace = Pace::new(INTERVAL);
        let most = u32::try_from(MAX_WORKERS).unwrap();
        for worker in 0..most {
            pace.admit(WorkerId::new(worker), seconds(0)).unwrap();
        }
        let one_more = WorkerId::new(most);
        assert!(pace.admit(one_more, seconds(29)).unwrap_err().contains("too many workers"));
        assert!(pace.admit(WorkerId::new(0), seconds(29)).is_ok());
        assert_eq!(pace.buckets.len(), MAX_WORKERS);
        // Half an interval later all but the one that reported again are as if never seen.
        assert_eq!(pace.admit(one_more, seconds(30)), Ok(()));
        assert_eq!(pace.buckets.len(), 2);
    }

    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out() {
        let mut pace = Pace::new(INTERVAL);
        let worker = WorkerId::new(1);
        for _ in 0..4 {
            pace.admit(worker, seconds(7200)).unwrap();
        }
        assert!(pace.admit(worker, seconds(0)).is_err());
        assert!(pace.admit(worker, seconds(29)).is_err());
        assert_eq!(pace.admit(worker, seconds(30)), Ok(()));
        assert!(pace.admit(worker, seconds(31)).is_err());
    }
}
