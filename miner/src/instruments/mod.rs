//! The instruments: hash counters and meters, read together once a second and whenever a report
//! is asked for.
//!
//! Read [`Instruments`] and [`Desk`]. Joules and hashes are read at the same instants, so that
//! their ratio is of the same stretch of time. One task owns the meters, the key and the history
//! of rates; others get [`Snapshot`]s, or ask the desk for a signed report. Totals count from the
//! start of the process, under an epoch that is the wall clock's milliseconds at that start: a
//! restart is a new epoch, and no total ever falls within one; what a run that was killed had metered
//! and not reported is reported first ([`last_words`]). Another pool is a new epoch too: a
//! pool that is returned to must not be shown the energy that was used for others meanwhile. While
//! one of the meters cannot be read there is no report: the next one covers the joules and the work
//! of the whole time, or neither. Where a meter lost energy for good, the next report begins a new
//! epoch, of all meters: the pool then sets none of that time's work against the joules of the
//! others.

pub mod boards;
pub mod key;
pub mod last_words;
pub mod meter;
pub mod nvml;
pub mod sensors;

use std::sync::Arc;
use std::time::Duration;

use energy::SigningKey;
use energy::meter::{MeterSpec, Scope};
use energy::report::{ClaimedHashes, EnergyReport, MeterReading};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use units::{Hashes, Moment, Work};

use self::last_words::LastWords;
use self::meter::{Meter, Sample};
use crate::clock::Clock;
use crate::device::Device;
use crate::progress;
use crate::rates::{Rates, Reading, WINDOWS};
use crate::restraint::State;
use crate::telemetry::{DeviceReading, Metered, Snapshot};
use crate::upstream::status::Status;

/// How often everything is read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Reports that may be asked for at a time; there is one asker.
const REQUESTS: usize = 4;

/// The rig's meters and the key that signs what they say.
#[derive(Debug)]
pub struct Metering {
    /// The meters, at least one, no two of one name; a board's is called as its device.
    pub meters: Vec<Meter>,
    /// The key.
    pub key: SigningKey,
    /// Where it is written down what is not reported yet; `None` for nowhere.
    pub words: Option<LastWords>,
}

impl Metering {
    /// What the meters are that count: those of the widest scope.
    pub fn counting(&self) -> impl Iterator<Item = &MeterSpec> {
        let widest = self.meters.iter().map(|meter| meter.spec().scope).max();
        self.meters.iter().map(Meter::spec).filter(move |spec| Some(spec.scope) == widest)
    }
}

/// The task.
#[derive(Debug)]
pub struct Instruments {
    clock: Clock,
    epoch: u64,
    /// The pool of the newest report, and the worker.
    reported_to: Option<(String, String)>,
    /// Reports that pools had taken when that began.
    taken_before: u64,
    /// Reports that are to be taken since before there are words of this run: its own first one, and
    /// what the run before had to say.
    taken_needed: u64,
    /// Another pool was mined for since the newest report, whether or not it takes any.
    elsewhere: bool,
    metered: Metered,
    /// Work at the newest instant when every meter was read.
    read_at: Metered,
    /// A meter lost energy for good since then.
    lost: bool,
    /// A meter lost energy for good since the newest report.
    lost_unreported: bool,
    devices: Vec<Arc<Device>>,
    metering: Option<Metering>,
    rates: Rates,
    highest: f64,
    upstream: watch::Receiver<Status>,
    restraint: watch::Receiver<Arc<State>>,
    requests: mpsc::Receiver<Request>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// Where reports are asked for.
#[derive(Debug, Clone)]
pub struct Desk {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    worker: String,
    pool: String,
    reply: oneshot::Sender<Vec<Value>>,
}

impl Desk {
    /// A desk, and the end that [`Instruments`] answers at.
    #[must_use]
    pub fn open() -> (Self, Requests) {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        (Self { requests }, Requests(receiver))
    }

    /// What is to be reported for `worker` at `pool`, in this order: what a run before this one could
    /// not say any more, where there is that, and a signed report of this very instant, where one can
    /// be made.
    pub async fn reports(&self, worker: &str, pool: &str) -> Vec<Value> {
        let (reply, answer) = oneshot::channel();
        let request = Request { worker: worker.to_owned(), pool: pool.to_owned(), reply };
        if self.requests.send(request).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }
}

/// The answering end of a [`Desk`].
#[derive(Debug)]
pub struct Requests(mpsc::Receiver<Request>);

impl Instruments {
    /// Instruments on `devices`, and with meters where the rig has them.
    #[must_use]
    pub fn new(
        clock: Clock,
        devices: Vec<Arc<Device>>,
        metering: Option<Metering>,
        upstream: watch::Receiver<Status>,
        requests: Requests,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let now = clock.now();
        let metered = Metered { hashes: Hashes::ZERO, proven: Work::ZERO };
        // Whose sender is gone: what it holds stays.
        let (_, restraint) = watch::channel(Arc::new(State::free()));
        let first = Snapshot {
            at: now,
            devices: Vec::new(),
            rates: [None; WINDOWS.len()],
            highest: 0.0,
            meters: Vec::new(),
            metered,
            upstream: upstream.borrow().clone(),
            restraint: Arc::clone(&restraint.borrow()),
        };
        let (snapshots, listener) = watch::channel(Arc::new(first));
        let mut instruments = Self {
            clock,
            epoch: now.unix.get(),
            reported_to: None,
            taken_before: 0,
            taken_needed: 1,
            elsewhere: false,
            metered,
            read_at: metered,
            lost: false,
            lost_unreported: false,
            devices,
            metering,
            rates: Rates::new(),
            highest: 0.0,
            upstream,
            restraint,
            requests: requests.0,
            snapshots,
        };
        instruments.sample();
        (instruments, listener)
    }

    /// Shows this in every snapshot.
    #[must_use]
    pub fn showing(mut self, restraint: watch::Receiver<Arc<State>>) -> Self {
        self.restraint = restraint;
        self
    }

    /// Reads until cancelled, and prints a progress line now and then; gives the last reading.
    pub async fn run(mut self, cancel: CancellationToken) -> Arc<Snapshot> {
        let mut tick = interval(SAMPLE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line_at = self.clock.elapsed() + progress::INTERVAL;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(request) = self.requests.recv() => self.answer(request),
                _ = tick.tick() => {
                    let at = self.sample();
                    self.note_words(at, false);
                    let snapshot = Arc::clone(&self.snapshots.borrow());
                    if snapshot.at.mono >= line_at {
                        line_at += progress::INTERVAL;
                        tracing::info!("{}", progress::line(&snapshot));
                    }
                }
            }
        }
        self.sample();
        Arc::clone(&self.snapshots.borrow())
    }

    /// Reads everything, all at one instant.
    fn sample(&mut self) -> Moment {
        let now = self.clock.now();
        let devices: Vec<DeviceReading> = self.devices.iter().map(|device| read(device)).collect();
        let all_read = self.read_meters(now);
        let upstream = self.upstream.borrow().clone();
        let others = self.reported_to.as_ref().zip(upstream.mines_for.as_ref());
        self.elsewhere |= others.is_some_and(|((pool, _), mines_for)| pool != mines_for);
        let mut snapshot = Snapshot {
            at: now,
            devices,
            rates: [None; WINDOWS.len()],
            highest: self.highest,
            meters: self.meters().iter().map(Meter::reading).collect(),
            metered: self.metered,
            upstream,
            restraint: Arc::clone(&self.restraint.borrow()),
        };
        let (hashes, proven) = (snapshot.hashes(), snapshot.upstream.proven);
        if all_read {
            self.settle(Metered { hashes, proven });
            snapshot.metered = self.metered;
        }
        self.rates.take(Reading {
            at: now.mono,
            hashes: snapshot.hashes(),
            proven: snapshot.upstream.proven,
            shares: snapshot.upstream.shares.of(crate::upstream::status::Verdict::Accepted),
        });
        snapshot.rates = self.rates.all();
        let full = snapshot.rates[0].filter(|rate| rate.span >= WINDOWS[0].length);
        self.highest = self.highest.max(full.map_or(0.0, |rate| rate.claimed));
        snapshot.highest = self.highest;
        self.snapshots.send_replace(Arc::new(snapshot));
        now
    }

    fn meters(&self) -> &[Meter] {
        self.metering.as_ref().map_or(&[], |metering| &metering.meters)
    }

    /// Reads every meter; whether all could be read.
    fn read_meters(&mut self, now: Moment) -> bool {
        let everything = self.busiest(|_| true);
        let on_processor = self.busiest(|device| {
            self.meters().iter().all(|meter| meter.spec().id.as_str() != device.name())
        });
        let mut all_read = true;
        for meter in self.metering.iter_mut().flat_map(|metering| &mut metering.meters) {
            let is_wide = meter.spec().scope > Scope::Device;
            let before = meter.is_good();
            let newest = meter.sample(now, if is_wide { everything } else { on_processor });
            say(meter, before);
            all_read &= newest != Sample::Held;
            self.lost |= newest == Sample::Lost;
            self.lost_unreported |= newest == Sample::Lost;
        }
        all_read
    }

    /// Time that the busiest of these devices was busy, on average over its threads.
    fn busiest(&self, among: impl Fn(&Device) -> bool) -> Duration {
        let each = self.devices.iter().filter(|device| among(device)).map(|device| {
            let threads = u32::try_from(device.threads()).unwrap_or(u32::MAX).max(1);
            device.busy() / threads
        });
        each.max().unwrap_or(Duration::ZERO)
    }

    /// Adds the work up to now to what the meters' totals are of, unless joules of it are lost.
    fn settle(&mut self, done: Metered) {
        let before = std::mem::replace(&mut self.read_at, done);
        if std::mem::take(&mut self.lost) {
            return;
        }
        let hashes = done.hashes.get().saturating_sub(before.hashes.get());
        let proven = done.proven.get().saturating_sub(before.proven.get());
        self.metered.hashes = self.metered.hashes.saturating_add(Hashes::new(hashes));
        self.metered.proven = self.metered.proven.saturating_add(Work::new(proven));
    }

    fn answer(&mut self, request: Request) {
        let earlier = self.metering.as_ref().and_then(|metering| {
            let words = metering.words.as_ref()?;
            words.of_the_run_before(&request.pool, &request.worker, &metering.key)
        });
        self.taken_needed = if earlier.is_some() { 2 } else { 1 };
        let now = self.signed(request.worker, request.pool);
        // Nobody waits any more: nothing is lost, totals are cumulative.
        let _gone = request.reply.send(earlier.into_iter().chain(now).collect());
    }

    /// Writes down what would be reported now, once the pool has taken a report of this run: before
    /// that it could make nothing of it, and the words of the run before may still be needed. Not where
    /// joules are lost: the next report begins another epoch, and there is nothing more to say in this.
    fn note_words(&mut self, at: Moment, synced: bool) {
        let taken = self.upstream.borrow().energy_reports.saturating_sub(self.taken_before);
        if taken < self.taken_needed
            || self.lost_unreported
            || self.elsewhere
            || self.metering.as_ref().is_none_or(|known| known.words.is_none())
        {
            return;
        }
        let Some((pool, worker)) = self.reported_to.clone() else { return };
        let report = self.sign(worker.clone(), at);
        let words = self.metering.as_mut().and_then(|metering| metering.words.as_mut());
        if let (Some(report), Some(words)) = (report, words) {
            words.note(&pool, &worker, &report, synced);
        }
    }

    fn signed(&mut self, worker: String, pool: String) -> Option<Value> {
        let at = self.sample();
        if !self.meters().iter().all(Meter::is_good) {
            return None;
        }
        let now_to = Some((pool, worker.clone()));
        if self.reported_to != now_to {
            self.taken_before = self.upstream.borrow().energy_reports;
        }
        let before = std::mem::replace(&mut self.reported_to, now_to);
        let pool_of = |to: &Option<(String, String)>| to.as_ref().map(|(pool, _)| pool.clone());
        let moved = before.is_some() && pool_of(&before) != pool_of(&self.reported_to);
        let elsewhere = std::mem::take(&mut self.elsewhere) || moved;
        if std::mem::take(&mut self.lost_unreported) || elsewhere {
            self.epoch = at.unix.get().max(self.epoch.saturating_add(1));
        }
        let report = self.sign(worker, at)?;
        // What the pool hears, the next run knows of, whatever becomes of this one.
        self.note_words(at, true);
        Some(report)
    }

    /// A report of the newest sample; `None` without meters, or while one of them gives nothing.
    fn sign(&self, worker: String, at: Moment) -> Option<Value> {
        let metering = self.metering.as_ref()?;
        if !metering.meters.iter().all(Meter::is_good) {
            return None;
        }
        let hashes = self.snapshots.borrow().hashes();
        let report = report(self.epoch, worker, at, &metering.meters, hashes);
        match report.sign(&metering.key) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }
}

fn read(device: &Device) -> DeviceReading {
    DeviceReading {
        name: device.name().to_owned(),
        kernel: device.kernel(),
        lost: device.lost(),
        losses: device.losses(),
        threads: device.threads(),
        place: device.place(),
        hashes: device.hashes(),
        busy: device.busy(),
        limit: device.limit(),
        starved: device.starved(),
        rested: device.rested(),
        was_held_back: device.was_held_back(),
        hardware_errors: device.hardware_errors(),
    }
}

/// Says in a line that a meter can't be read, and that it can again.
fn say(meter: &Meter, was_good: bool) {
    let id = &meter.spec().id;
    match (was_good, meter.is_good()) {
        (true, false) => {
            tracing::warn!("energy: {id} cannot be read; no report is made until it can");
        }
        (false, true) => tracing::info!("energy: {id} can be read again"),
        (true, true) | (false, false) => {}
    }
}

fn report(
    epoch: u64,
    worker: String,
    at: Moment,
    meters: &[Meter],
    hashes: Hashes,
) -> EnergyReport {
    let reading = |meter: &Meter| {
        MeterReading::of(meter.spec(), epoch, meter.total(), meter.coverage_ppm(at))
    };
    let meters = meters.iter().map(reading).collect();
    let hashes = Some(ClaimedHashes { total: hashes, epoch });
    EnergyReport { worker, at: at.unix, meters, hashes }
}

#[cfg(test)]
mod tests;
