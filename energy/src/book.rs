//! The pool's book of reports: what each adds to what was known.
//!
//! Totals are cumulative within an epoch, so the book credits differences: a lost report loses
//! nothing, a repeated or late one adds nothing. Read [`Book::take`].
//!
//! The rules:
//! 1. The first reading of a meter, or of a new epoch of it, is a baseline and credits nothing.
//! 2. A higher total of the same epoch credits the difference. An equal or lower total credits
//!    nothing if the report is not newer than the last one taken, or the epoch is an earlier one.
//! 3. A lower total in a newer report of the same epoch is refused: a meter does not run backwards.
//! 4. A wider meter includes the narrower, and they are never added: of one worker only the widest
//!    scope heard from lately counts, all its meters together. The others are kept, not counted.
//! 5. When the counting scope changes, a difference counts only if it begins after the last one
//!    counted in another scope has ended. So no moment counts in two scopes.
//! 6. A report is taken whole or not at all.
//! 7. A meter has an allowance: 200 MW times the time since its first reading, less what it has
//!    risen. Of what is not drawn, two minutes' worth are carried on, for reports that were held
//!    up. The time since the last reading is allowed in full, so an outage loses nothing. Neither a
//!    new epoch nor a restart fills it: after a restart nothing is carried.
//!
//! Deliberately not here: whose key may sign (the ledger pins it), sums by hour, and storage; the
//! caller records what was taken and gives it back after a restart ([`Book::restore`]).
//!
//! Units: microjoules; times are Unix milliseconds, the pool's own (`at`, of arrival) except for
//! the order of reports, which is by the miner's.

use std::{collections::BTreeMap, time::Duration};

use defences::{Defence, stands};
use units::{Hashes, MicroJoules, MilliWatts, UnixMillis};

use crate::{
    meter::{MeterId, Scope},
    report::{ClaimedHashes, EnergyReport, MeterReading, SignedReport},
};

/// One worker has at most this many meters, over time.
pub const MAX_METERS_PER_WORKER: usize = 64;
/// More than any meter sees: the largest that the design names is a site of 100 MW, and twice that
/// lets its reports bunch up. What a meter shows beyond it is refused.
const MAX_POWER: MilliWatts = MilliWatts::from_watts(200_000_000);
/// A report may have been on its way this long: so much time's allowance is carried on.
const DELAY: Duration = Duration::from_secs(120);
/// The longest gap that is believed by a miner's clock alone: a rig that was put away for a month.
const LONGEST_GAP: Duration = Duration::from_secs(31 * 86_400);
/// The pool's clock shows milliseconds: a first reading may be this much older than it seems.
const TICK: Duration = Duration::from_millis(1);

/// Every worker's meters as last reported. Workers go by the caller's numbers.
#[derive(Clone, Debug)]
pub struct Book {
    live_for: Duration,
    workers: BTreeMap<u32, Worker>,
}

#[derive(Clone, Debug, Default)]
struct Worker {
    meters: BTreeMap<MeterId, Known>,
    /// With the time of the report, by the miner's clock.
    hashes: Option<(ClaimedHashes, UnixMillis)>,
    /// Up to when energy was counted, by scope.
    counted_until: BTreeMap<Scope, UnixMillis>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    scope: Scope,
    epoch: u64,
    total: MicroJoules,
    /// By the miner's clock; not known after a restart.
    reported_at: Option<UnixMillis>,
    /// By the pool's clock.
    heard_at: UnixMillis,
    /// What of the allowance up to `heard_at` was not drawn, at most [`DELAY`] of [`MAX_POWER`].
    carried: MicroJoules,
}

/// What one meter's reading did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The meter as reported.
    pub meter: MeterReading,
    /// What it adds to the meter's sum.
    pub credited: MicroJoules,
    /// Whether that adds to the worker's energy as well: not where a wider scope covers it.
    pub counted: bool,
    /// What kind of reading it was.
    pub step: Step,
    /// When the time that `credited` covers began, by the pool's clock; `None` for a baseline.
    pub since: Option<UnixMillis>,
    /// With a new epoch: the time since the meter was last heard of, which nothing accounts for.
    pub gap: Duration,
}

/// What kind of reading it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first of its meter.
    First,
    /// The first of a new epoch of a known meter: what was used since the last report is a gap.
    NewEpoch,
    /// It went on from the last.
    Advanced,
    /// A repetition, or older than the last: it changes nothing and need not be recorded.
    Late,
}

/// What a report did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The meters, in the report's order.
    pub meters: Vec<Taken>,
    /// What it says of the miner's own count of hashes.
    pub hashes: HashStep,
}

/// What a report's claimed hashes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashStep {
    /// None are claimed, or only some that are older than the last.
    Nothing,
    /// The first, or the first of a new epoch: what was done since the last report is not known.
    Baseline,
    /// They went on from the last by so many.
    Advanced(Hashes),
}

/// What a weighed report makes of a worker's meters: see [`Book::weigh`].
#[derive(Clone, Debug)]
#[must_use = "a report that was written down is to be accepted"]
pub struct Change {
    worker: u32,
    becomes: Worker,
}

/// Why a report was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A total fell within an epoch.
    #[error("meter {meter} fell from {last} to {now} microjoules within epoch {epoch}")]
    Fell {
        /// Which.
        meter: MeterId,
        /// In which epoch.
        epoch: u64,
        /// The last total taken.
        last: u128,
        /// The total refused.
        now: u128,
    },
    /// The claimed hashes fell within an epoch.
    #[error("claimed hashes fell from {last} to {now} within epoch {epoch}")]
    HashesFell {
        /// In which epoch.
        epoch: u64,
        /// The last total taken.
        last: u128,
        /// The total refused.
        now: u128,
    },
    /// A meter changed its scope within an epoch.
    #[error("meter {meter} changed its scope within epoch {epoch}; a new scope is a new epoch")]
    ScopeChanged {
        /// Which.
        meter: MeterId,
        /// In which epoch.
        epoch: u64,
    },
    /// A difference beyond the meter's allowance of 200 MW.
    #[error(
        "meter {meter} rose by {joules} J in {seconds} s, beyond the 200 MW that a meter may show"
    )]
    Implausible {
        /// Which.
        meter: MeterId,
        /// By how much.
        joules: String,
        /// In how long.
        seconds: u64,
    },
    /// The worker has used up its meters.
    #[error("more than {MAX_METERS_PER_WORKER} meters for one worker")]
    TooManyMeters,
}

/// A meter as the caller recorded it, to go on from after a restart.
#[derive(Clone, Debug)]
pub struct Row {
    /// The caller's number of the worker.
    pub worker: u32,
    /// The meter.
    pub meter: MeterId,
    /// Its scope when last taken.
    pub scope: Scope,
    /// Its epoch when last taken.
    pub epoch: u64,
    /// Its total when last taken.
    pub total: MicroJoules,
    /// When that was, by the pool's clock.
    pub heard_at: UnixMillis,
}

impl HashStep {
    /// The claimed hashes that are new.
    #[must_use]
    pub const fn added(self) -> Hashes {
        match self {
            Self::Nothing | Self::Baseline => Hashes::ZERO,
            Self::Advanced(hashes) => hashes,
        }
    }
}

impl Book {
    /// An empty book. A meter counts as heard from lately for `live_for`: several report intervals.
    #[must_use]
    pub const fn new(live_for: Duration) -> Self {
        Self { live_for, workers: BTreeMap::new() }
    }

    /// Puts recorded meters back, before the first report is taken. The claimed hashes begin with
    /// a new baseline, and every scope is held to have counted up to its last reading: at worst one
    /// difference of another scope is kept and not counted, never one counted twice.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = Row>) {
        for Row { worker, meter, scope, epoch, total, heard_at } in rows {
            let worker = self.workers.entry(worker).or_default();
            let (reported_at, carried) = (None, MicroJoules::ZERO);
            let known = Known { scope, epoch, total, reported_at, heard_at, carried };
            worker.meters.insert(meter, known);
            worker.counted(scope, heard_at);
        }
    }

    /// Takes a report that arrived `at`, by the pool's clock.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn take(
        &mut self,
        worker: u32,
        signed: &SignedReport,
        at: UnixMillis,
    ) -> Result<Taking, Refusal> {
        let (taking, change) = self.weigh(worker, signed, at)?;
        self.accept(change);
        Ok(taking)
    }

    /// What [`Self::take`] would take, without taking it: for a caller that must first write it
    /// down. The change is to be accepted before the next report of the same worker is weighed.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn weigh(
        &self,
        worker: u32,
        signed: &SignedReport,
        at: UnixMillis,
    ) -> Result<(Taking, Change), Refusal> {
        self.weigh_report(worker, signed.report(), at)
    }

    /// Makes a weighed change.
    pub fn accept(&mut self, change: Change) {
        self.workers.insert(change.worker, change.becomes);
    }

    fn weigh_report(
        &self,
        worker: u32,
        report: &EnergyReport,
        at: UnixMillis,
    ) -> Result<(Taking, Change), Refusal> {
        let mut becomes = self.workers.get(&worker).cloned().unwrap_or_default();
        let taking = becomes.take(report, at, self.live_for)?;
        Ok((taking, Change { worker, becomes }))
    }

    #[cfg(test)]
    fn apply(
        &mut self,
        worker: u32,
        report: &EnergyReport,
        at: UnixMillis,
    ) -> Result<Taking, Refusal> {
        let (taking, change) = self.weigh_report(worker, report, at)?;
        self.accept(change);
        Ok(taking)
    }
}

impl Worker {
    fn take(
        &mut self,
        report: &EnergyReport,
        at: UnixMillis,
        live_for: Duration,
    ) -> Result<Taking, Refusal> {
        let mut taken = Vec::with_capacity(report.meters.len());
        for meter in &report.meters {
            taken.push(self.take_meter(meter, report.at, at)?);
        }
        let hashes = self.take_hashes(report)?;
        self.count(&mut taken, at, live_for);
        if stands(Defence::MetersBound) && self.meters.len() > MAX_METERS_PER_WORKER {
            return Err(Refusal::TooManyMeters);
        }
        Ok(Taking { meters: taken, hashes })
    }

    /// Credits one meter; whether it counts is decided when all are known.
    fn take_meter(
        &mut self,
        meter: &MeterReading,
        reported_at: UnixMillis,
        at: UnixMillis,
    ) -> Result<Taken, Refusal> {
        let gap = match self.meters.get(&meter.id) {
            Some(known) if meter.epoch > known.epoch => known.gap(reported_at, at),
            Some(_) | None => Duration::ZERO,
        };
        let baseline = if stands(Defence::Baseline) { MicroJoules::ZERO } else { meter.total };
        let (step, credited, since) = match self.meters.get(&meter.id) {
            None => (Step::First, baseline, None),
            Some(known) if meter.epoch > known.epoch => (Step::NewEpoch, baseline, None),
            Some(known) => match known.difference(meter, reported_at, at)? {
                Some(rise) => (Step::Advanced, rise, Some(known.heard_at)),
                None => (Step::Late, MicroJoules::ZERO, None),
            },
        };
        if step != Step::Late {
            let (scope, epoch, total) = (meter.scope, meter.epoch, meter.total);
            let earlier = self.meters.get(&meter.id);
            let heard_at = earlier.map_or(at, |known| known.heard_at.max(at));
            let reported_at = earlier.and_then(|known| known.reported_at).max(Some(reported_at));
            let carried = match earlier {
                Some(known) => known.left(credited, at),
                None => MAX_POWER.energy_over(TICK),
            };
            let known = Known { scope, epoch, total, reported_at, heard_at, carried };
            self.meters.insert(meter.id.clone(), known);
        }
        Ok(Taken { meter: meter.clone(), credited, counted: false, step, since, gap })
    }

    fn take_hashes(&mut self, report: &EnergyReport) -> Result<HashStep, Refusal> {
        let Some(now) = report.hashes else { return Ok(HashStep::Nothing) };
        let Some((last, last_at)) = self.hashes.filter(|(last, _)| last.epoch >= now.epoch) else {
            self.hashes = Some((now, report.at));
            return Ok(HashStep::Baseline);
        };
        if now.epoch < last.epoch {
            return Ok(HashStep::Nothing);
        }
        let Some(rise) = now.total.checked_sub(last.total) else {
            let (epoch, last, now) = (now.epoch, last.total.get(), now.total.get());
            let fell = report.at > last_at;
            return if fell {
                Err(Refusal::HashesFell { epoch, last, now })
            } else {
                Ok(HashStep::Nothing)
            };
        };
        self.hashes = Some((now, report.at.max(last_at)));
        Ok(HashStep::Advanced(rise))
    }

    /// Rules 4 and 5.
    fn count(&mut self, taken: &mut [Taken], at: UnixMillis, live_for: Duration) {
        let live =
            self.meters.values().filter(|known| at.saturating_since(known.heard_at) <= live_for);
        let Some(widest) = live.map(|known| known.scope).max() else { return };
        let others = self.counted_until.iter().filter(|(scope, _)| **scope != widest);
        let taken_until = others.map(|(_, until)| *until).max();
        let mut counts = false;
        for meter in taken.iter_mut().filter(|taken| taken.step != Step::Late) {
            let free =
                meter.since.is_none_or(|since| taken_until.is_none_or(|until| since >= until));
            meter.counted = (meter.meter.scope == widest && free) || !stands(Defence::OneScope);
            counts |= meter.counted && meter.since.is_some();
        }
        if counts {
            self.counted(widest, at);
        }
    }

    fn counted(&mut self, scope: Scope, until: UnixMillis) {
        let entry = self.counted_until.entry(scope).or_insert(until);
        *entry = (*entry).max(until);
    }
}

impl Known {
    /// How far a meter has gone on since; `None` if the report is a repetition or an older one.
    fn difference(
        &self,
        meter: &MeterReading,
        reported_at: UnixMillis,
        at: UnixMillis,
    ) -> Result<Option<MicroJoules>, Refusal> {
        if stands(Defence::OldEpoch) && meter.epoch < self.epoch {
            return Ok(None);
        }
        let newer = self.reported_at.is_some_and(|last| reported_at > last);
        let Some(rise) = meter.total.checked_sub(self.total) else {
            let fell = newer && stands(Defence::CounterFall);
            return if fell { Err(self.fell(meter)) } else { Ok(None) };
        };
        if rise == MicroJoules::ZERO && !newer {
            return Ok(None);
        }
        if stands(Defence::ScopeChange) && meter.scope != self.scope {
            let (meter, epoch) = (meter.id.clone(), meter.epoch);
            return Err(Refusal::ScopeChanged { meter, epoch });
        }
        if stands(Defence::PlausiblePower) && rise > self.allowance(at) {
            let elapsed = at.saturating_since(self.heard_at);
            let (meter, joules, seconds) = (meter.id.clone(), rise.joules(), elapsed.as_secs());
            return Err(Refusal::Implausible { meter, joules, seconds });
        }
        Ok(Some(rise))
    }

    /// The time that nothing accounts for before a new epoch: since the meter was last heard of, or,
    /// where that was a late word, since it was last read, by the miner's own clock. That clock is its
    /// word alone, so that it makes no gap longer than [`LONGEST_GAP`].
    fn gap(&self, reported_at: UnixMillis, at: UnixMillis) -> Duration {
        let heard = at.saturating_since(self.heard_at);
        let read =
            self.reported_at.map_or(Duration::ZERO, |last| reported_at.saturating_since(last));
        heard.max(read.min(LONGEST_GAP))
    }

    /// How far the meter may have risen since it was last heard of.
    const fn allowance(&self, at: UnixMillis) -> MicroJoules {
        let elapsed = at.saturating_since(self.heard_at);
        self.carried.saturating_add(MAX_POWER.energy_over(elapsed))
    }

    /// What is carried on after `drawn`.
    fn left(&self, drawn: MicroJoules, at: UnixMillis) -> MicroJoules {
        let left = self.allowance(at).checked_sub(drawn).unwrap_or(MicroJoules::ZERO);
        left.min(MAX_POWER.energy_over(DELAY))
    }

    fn fell(&self, meter: &MeterReading) -> Refusal {
        Refusal::Fell {
            meter: meter.id.clone(),
            epoch: meter.epoch,
            last: self.total.get(),
            now: meter.total.get(),
        }
    }
}

#[cfg(test)]
mod tests;
