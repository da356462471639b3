//! Readings of meters, and the keys that sign them.

use std::collections::BTreeMap;

use defences::{Defence, stands};
use units::{Hashes, UnixMillis};

use super::{Ledger, MAX_TEXT, check_worker};
use crate::error::{LedgerError, Refusal};
use crate::event::{Event, KeyPinned, Metered};
use crate::store::{Queries, Recorder};
use crate::types::{PinOutcome, Reading, WorkerId};
use crate::view::{MeterView, MeteredWorker};

/// Most meters that a worker can ever have.
pub const MAX_METERS: u32 = 64;
/// Longest gap that one reading can state: a hundred years, in milliseconds.
const MAX_GAP_MS: u64 = 3_155_760_000_000;

impl Ledger {
    /// Records one reading: [`Ledger::record_readings`] of one.
    ///
    /// # Errors
    /// As there.
    pub fn record_reading(&mut self, reading: &Reading) -> Result<(), LedgerError> {
        self.record_readings(core::slice::from_ref(reading))
    }

    /// Records readings in this order, all or none. A reading's energy is added to its meter, to
    /// the UTC hour of its instant and, when it counts, to its worker; the work that the worker
    /// was credited since the meter's reading before it becomes covered work.
    ///
    /// Readings that credit nothing are welcome: the first of an epoch is a baseline, and one
    /// that came late changes no total.
    ///
    /// # Errors
    /// When a worker is unknown, a text is longer than [`MAX_TEXT`], a reading credits more than
    /// its counter moved since the one before (or than its total, for the first of an epoch), a
    /// worker would have more than [`MAX_METERS`], or the store fails.
    pub fn record_readings(&mut self, readings: &[Reading]) -> Result<(), LedgerError> {
        let state = self.store.state()?;
        for reading in readings {
            check_worker(state, reading.worker)?;
            check_texts(reading)?;
        }
        if readings.is_empty() {
            return Ok(());
        }
        self.store.query("looking up meters", |ask| check_counters(ask, readings))?;
        self.store.transact("recording energy", |record| {
            readings.iter().try_for_each(|reading| record_one(record, reading))
        })
    }

    /// All meters as their last readings left them, by worker and name: what a book of readings
    /// is restored from.
    ///
    /// # Errors
    /// When the store fails.
    pub fn meters(&self) -> Result<Vec<MeterView>, LedgerError> {
        self.store.query("listing meters", |ask| ask.meters())
    }

    /// What a worker's energy amounts to, its readings up to now included; zeros before the first.
    ///
    /// # Errors
    /// When the worker is unknown or the store fails.
    pub fn metered(&self, worker: WorkerId) -> Result<MeteredWorker, LedgerError> {
        self.store.query("reading a worker's energy", |ask| ask.metered(worker))
    }

    /// Pins `key` for the worker if none is, and says whether it is the one pinned.
    ///
    /// # Errors
    /// When the worker is unknown or the store fails.
    pub fn pin_key(
        &mut self,
        worker: WorkerId,
        key: [u8; 32],
        at: UnixMillis,
    ) -> Result<PinOutcome, LedgerError> {
        check_worker(self.store.state()?, worker)?;
        let pinned = self.store.query("looking up a key", |ask| ask.pinned_key(worker))?;
        match pinned {
            Some(pinned) if pinned == key => Ok(PinOutcome::Pinned),
            Some(_) => Ok(PinOutcome::Mismatch),
            None => {
                let event = Event::KeyPinned(KeyPinned { worker: worker.get(), key });
                self.store.transact("pinning a key", |record| record.record(at, &event, None))?;
                Ok(PinOutcome::Pinned)
            }
        }
    }
}

fn record_one(record: &mut Recorder<'_>, reading: &Reading) -> Result<(), LedgerError> {
    let gap_ms = u64::try_from(reading.gap.as_millis()).unwrap_or(MAX_GAP_MS).min(MAX_GAP_MS);
    let metered = Metered {
        worker: reading.worker.get(),
        meter: reading.meter.clone(),
        kind: reading.kind.clone(),
        scope: reading.scope.clone(),
        tier: reading.tier,
        epoch: reading.epoch,
        microjoules_total: reading.total.get(),
        hashes_total: reading.hashes_total.map(Hashes::get),
        credited: reading.credited.get(),
        gap_ms,
        counted: reading.counted,
        coverage_ppm: reading.coverage_ppm,
        uncertainty_ppm: reading.uncertainty_ppm,
    };
    record.record(reading.at, &Event::Metered(metered), None)
}

/// A meter cannot have used more than its counter moved, from one reading to the next, and a
/// worker cannot have more than [`MAX_METERS`].
fn check_counters(ask: &Queries<'_>, readings: &[Reading]) -> Result<(), LedgerError> {
    let mut counters = BTreeMap::new();
    let mut meters: BTreeMap<WorkerId, u32> = BTreeMap::new();
    for reading in readings {
        let worker = reading.worker;
        let key = (worker, reading.meter.as_str());
        let before = match counters.get(&key) {
            Some(counter) => Some(*counter),
            None => ask.counter(worker, &reading.meter)?,
        };
        if before.is_none() {
            let known = match meters.get(&worker) {
                Some(count) => *count,
                None => ask.meter_count(worker)?,
            };
            if known >= MAX_METERS {
                return Err(Refusal::TooManyMeters { worker, most: MAX_METERS }.into());
            }
            meters.insert(worker, known.saturating_add(1));
        }
        let from = before.filter(|(epoch, _)| *epoch == reading.epoch).map_or(0, |(_, at)| at);
        counters.insert(key, (reading.epoch, reading.total.get().max(from)));
        check_credited(reading, from)?;
    }
    Ok(())
}

fn check_credited(reading: &Reading, from: u128) -> Result<(), Refusal> {
    let moved = reading.total.get().saturating_sub(from);
    let credited = reading.credited.get();
    if credited <= moved || !stands(Defence::CreditedCounter) {
        return Ok(());
    }
    let (worker, meter) = (reading.worker, reading.meter.clone());
    Err(Refusal::CreditedBeyondCounter { worker, meter, credited, moved })
}

fn check_texts(reading: &Reading) -> Result<(), Refusal> {
    let texts = [
        ("a meter's name", &reading.meter),
        ("a meter's kind", &reading.kind),
        ("a meter's scope", &reading.scope),
    ];
    let too_long = texts.into_iter().find(|(_, text)| text.len() > MAX_TEXT);
    too_long.map_or(Ok(()), |(what, text)| {
        Err(Refusal::TooLong { what, bytes: text.len(), most: MAX_TEXT })
    })
}
