//! The farm's book: every device's meter, every worker's report, all under one owner.
//!
//! Read [`Farm::run`]. Pollers bring answers, links ask for reports, everybody else sees snapshots.
//! A report is made of answers that were asked for it, so that its joules and its instant belong
//! together, and handed out within a second of the last of them; before it is handed out, the totals in it are on disk. While one of a worker's meters
//! cannot be read there is no report for it: the next covers the joules and the work of the whole
//! time. Where joules are lost for good, or other meters count than before, its next report begins
//! another series, and the pool then sets none of that time's work against the joules of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use energy::SigningKey;
use energy::counter::Step;
use energy::device::Telemetry;
use energy::device::meter::DeviceMeter;
use energy::report::{ClaimedHashes, EnergyReport, MeterReading};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use units::{Hashes, Moment, UnixMillis};

use super::poller::Polled;
use super::settings::{Config, Device};
use super::sites::{Books, Comparison};
use super::store::{Axis, Saved, Series, Store};
use crate::clock::Clock;

/// Requests for reports that may wait.
const REQUESTS: usize = 256;
/// How often what is new is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// At most this often is the state written where nobody asks for a report.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// The task.
#[derive(Debug)]
pub struct Farm {
    clock: Clock,
    axis: Axis,
    store: Store,
    key: SigningKey,
    pool: Option<String>,
    entries: Vec<Entry>,
    series: BTreeMap<String, Series>,
    wakes: Vec<Arc<Notify>>,
    results: mpsc::Receiver<Polled>,
    requests: mpsc::Receiver<Asked>,
    waiting: Vec<Waiting>,
    saved_at: Duration,
    /// Something was taken since the last snapshot.
    news: bool,
    sites: Books,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// The farm at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every device.
    pub entries: Vec<Entry>,
    /// Each site's meter against what is behind it, where both can be compared.
    pub sites: Vec<Comparison>,
}

/// One device, with what is known of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As configured.
    pub device: Device,
    /// What its answers add up to.
    pub meter: DeviceMeter,
    /// Whether the last answer counted.
    pub state: State,
    /// When the last good answer was.
    pub sampled_at: Option<UnixMillis>,
    /// What it said last.
    pub telemetry: Option<Telemetry>,
    /// Why it said nothing, if it did not.
    pub error: Option<String>,
    /// The coverage as of the newest answer, in parts per million.
    pub coverage_ppm: u32,
}

/// What a meter's newest answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There was none yet.
    Waiting,
    /// The total holds the energy of all the time since the last good one.
    Good,
    /// There was no figure, and a later one may make it good.
    Held,
    /// Energy is lost for good, and the total goes on from here.
    Lost,
}

/// Where reports are asked for.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::Sender<Asked>);

/// A question for some workers' reports.
#[derive(Debug)]
struct Asked {
    workers: Vec<String>,
    reply: mpsc::Sender<Reported>,
}

/// One worker's report: signed, or why there is none.
pub type Reported = (String, Result<Value, String>);

/// A worker whose report waits for its devices' answers.
#[derive(Debug)]
struct Waiting {
    worker: String,
    reply: mpsc::Sender<Reported>,
    devices: BTreeSet<usize>,
}

/// What a farm is made of.
#[derive(Debug)]
pub struct Parts {
    /// The clock.
    pub clock: Clock,
    /// Time over restarts.
    pub axis: Axis,
    /// Where totals are kept.
    pub store: Store,
    /// What the last run kept.
    pub saved: Saved,
    /// The key that signs.
    pub key: SigningKey,
    /// What pollers bring.
    pub results: mpsc::Receiver<Polled>,
    /// How each device's poller is woken.
    pub wakes: Vec<Arc<Notify>>,
}

impl Desk {
    /// Has the devices of these workers asked. Their reports come to `reply` one by one, each as soon as
    /// its own devices have answered: a slow one keeps no other waiting.
    pub async fn ask(&self, workers: Vec<String>, reply: mpsc::Sender<Reported>) {
        // Where the farm has ended, nothing comes.
        let _gone = self.0.send(Asked { workers, reply }).await;
    }
}

impl Farm {
    /// A farm that goes on from what was kept.
    #[must_use]
    pub fn new(config: &Config, parts: Parts) -> (Self, Desk, watch::Receiver<Arc<Snapshot>>) {
        let Parts { clock, axis, store, mut saved, key, results, wakes } = parts;
        let entry = |device: &Device| {
            let wiring = device.wiring.clone();
            let meter = match saved.meters.remove(wiring.id.as_str()) {
                Some(kept) => DeviceMeter::resume(wiring, kept),
                None => DeviceMeter::new(wiring),
            };
            Entry {
                device: device.clone(),
                meter,
                state: State::Waiting,
                sampled_at: None,
                telemetry: None,
                error: None,
                coverage_ppm: 0,
            }
        };
        let entries: Vec<Entry> = config.devices.iter().map(entry).collect();
        let pool = config.pool.as_ref().map(|pool| pool.url.to_string());
        // A pool that is returned to must not be shown what was used for others meanwhile.
        let elsewhere = saved.pool.is_some() && saved.pool != pool;
        let mut series = saved.series;
        series.values_mut().for_each(|series| series.lost |= elsewhere);
        for (worker, series) in &mut series {
            let counted = config.devices.iter().filter(|device| device.counts_for(worker));
            let names = counted.map(|device| device.wiring.id.to_string());
            // What was counted for others meanwhile must not be counted again on its return.
            series.lost |= names.collect::<BTreeSet<_>>() != series.meters;
        }
        let (snapshots, listener) = watch::channel(Arc::default());
        let (desk, requests) = mpsc::channel(REQUESTS);
        let farm = Self {
            clock,
            axis,
            store,
            key,
            pool,
            entries,
            series,
            wakes,
            results,
            requests,
            waiting: Vec::new(),
            saved_at: clock.elapsed(),
            news: true,
            sites: Books::new(&config.sites),
            snapshots,
        };
        (farm, Desk(desk), listener)
    }

    /// Keeps the book until cancelled, and then writes it down.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut show = interval(SHOW_EVERY);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(polled) = self.results.recv() => self.take(polled),
                Some(asked) = self.requests.recv() => self.begin(asked),
                _ = show.tick() => {
                    self.show();
                    self.answer_who_waited();
                }
            }
            // One by one they would each be a write of the whole book.
            if self.waiting.iter().all(|waiting| waiting.devices.is_empty()) {
                self.answer_who_waited();
            }
            let now = self.clock.elapsed();
            if now.saturating_sub(self.saved_at) >= SAVE_EVERY && self.save() {
                self.saved_at = now;
            }
        }
        self.save();
        self.show();
    }

    fn show(&mut self) {
        if std::mem::take(&mut self.news) {
            let sites = self.sites.take(&self.entries, self.axis.at(self.clock.now()));
            let entries = self.entries.clone();
            self.snapshots.send_replace(Arc::new(Snapshot { entries, sites }));
        }
    }

    /// Takes what came of asking a device.
    fn take(&mut self, polled: Polled) {
        for waiting in &mut self.waiting {
            waiting.devices.remove(&polled.index);
        }
        let at = self.axis.at(polled.at);
        let Some(entry) = self.entries.get_mut(polled.index) else { return };
        let lost = entry.take(polled, at);
        let worker = entry.device.worker.as_ref().filter(|_| lost && entry.device.counts);
        if let Some(series) = worker.and_then(|worker| self.series.get_mut(worker)) {
            series.lost = true;
        }
        self.news = true;
    }

    /// Has the devices of these workers asked, for a report of now.
    fn begin(&mut self, asked: Asked) {
        for worker in asked.workers {
            let devices = self.entries.iter().enumerate();
            let devices = devices.filter(|(_, entry)| entry.device.counts_for(&worker));
            let devices: BTreeSet<usize> = devices.map(|(index, _)| index).collect();
            let wakes = devices.iter().filter_map(|index| self.wakes.get(*index));
            wakes.for_each(|wake| wake.notify_one());
            self.waiting.push(Waiting { worker, reply: asked.reply.clone(), devices });
        }
    }

    fn answer_who_waited(&mut self) {
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.devices.is_empty());
        self.waiting = waiting;
        if ready.is_empty() {
            return;
        }
        let reports = self.reports(ready.iter().map(|ready| ready.worker.clone()).collect());
        for (ready, report) in ready.into_iter().zip(reports) {
            // Nobody waits any more, or has room for it: nothing is lost, totals are cumulative.
            let _gone = ready.reply.try_send(report);
        }
    }

    /// The reports in this order, whose totals are on disk.
    fn reports(&mut self, workers: Vec<String>) -> Vec<Reported> {
        let now = self.clock.now();
        let held: Vec<Option<String>> = workers.iter().map(|worker| self.held(worker)).collect();
        for (worker, _) in workers.iter().zip(&held).filter(|(_, held)| held.is_none()) {
            self.settle_series(worker, now);
        }
        if !self.save() {
            let why = "the state file cannot be written";
            return workers.into_iter().map(|worker| (worker, Err(why.to_owned()))).collect();
        }
        let report = |(worker, held): (String, Option<String>)| {
            let report = held.map_or_else(|| self.signed(&worker, now), Err);
            (worker, report)
        };
        workers.into_iter().zip(held).map(report).collect()
    }

    /// Begins another series where this one cannot go on.
    fn settle_series(&mut self, worker: &str, now: Moment) {
        let meters = self.counted(worker).map(|entry| entry.meter.id().to_string());
        let meters: BTreeSet<String> = meters.collect();
        let unix = now.unix.get();
        match self.series.get_mut(worker) {
            None => {
                let first = Series { epoch: unix, lost: false, meters };
                self.series.insert(worker.to_owned(), first);
            }
            Some(series) if series.lost || series.meters != meters => {
                let epoch = unix.max(series.epoch.saturating_add(1));
                *series = Series { epoch, lost: false, meters };
            }
            Some(_) => {}
        }
    }

    /// Why there is no report for this worker just now.
    fn held(&self, worker: &str) -> Option<String> {
        let mut of_worker = self.counted(worker).peekable();
        if of_worker.peek().is_none() {
            return Some("no device of its counts".to_owned());
        }
        let bad = of_worker.find(|entry| !matches!(entry.state, State::Good | State::Lost))?;
        let why = bad.error.as_deref().unwrap_or("no answer yet");
        Some(format!("{} gives no figure: {why}", bad.meter.id()))
    }

    fn counted<'a>(&'a self, worker: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.device.counts_for(worker))
    }

    /// The hashes that a worker's devices claim, those that count for nothing among them; `None` where
    /// there are none, or one of them does not say: the sum of the others would be too small.
    fn claimed(&self, worker: &str) -> Option<Hashes> {
        let of_worker = |entry: &&Entry| {
            entry.device.worker.as_deref() == Some(worker) && entry.device.interface.mines()
        };
        let mut mining = self.entries.iter().filter(of_worker).peekable();
        mining.peek()?;
        mining.try_fold(Hashes::ZERO, |sum, entry| {
            entry.telemetry.as_ref()?.claimed_hashes_per_second?;
            Some(sum.saturating_add(entry.meter.claimed()))
        })
    }

    fn signed(&self, worker: &str, now: Moment) -> Result<Value, String> {
        let epoch = self.series.get(worker).map_or_else(|| now.unix.get(), |series| series.epoch);
        let reading = |entry: &Entry| {
            let spec = entry.meter.spec()?;
            let total = entry.meter.total();
            let reading = MeterReading::of(spec, epoch, total, entry.coverage_ppm);
            Some(MeterReading { uncertainty_ppm: entry.meter.uncertainty_ppm(), ..reading })
        };
        let meters = self.counted(worker).filter_map(reading).collect();
        let hashes = self.claimed(worker).map(|total| ClaimedHashes { total, epoch });
        let report = EnergyReport { worker: worker.to_owned(), at: now.unix, meters, hashes };
        report.sign(&self.key).map_err(|error| error.to_string())
    }

    /// Writes everything down; whether that went well.
    fn save(&self) -> bool {
        let meters = self.entries.iter();
        let meters = meters.filter_map(|e| Some((e.meter.id().to_string(), e.meter.kept()?)));
        let saved = Saved {
            pool: self.pool.clone(),
            meters: meters.collect(),
            series: self.series.clone(),
        };
        match self.store.save(&saved, self.axis, self.clock.now()) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("{error}; no report goes out until it can be");
                false
            }
        }
    }
}

impl Entry {
    /// Takes what came of asking; whether joules are lost for good.
    fn take(&mut self, polled: Polled, at: Duration) -> bool {
        let before = self.meter.lost().into_values().sum::<Duration>();
        let id = self.meter.id().clone();
        let step = match polled.result {
            Ok(telemetry) => {
                let taken = self.meter.take(&telemetry, at);
                if let Some(firmware) = taken.new_firmware {
                    tracing::warn!(
                        "{id}: new firmware {firmware}: its figures may mean another thing"
                    );
                }
                if let Some(changed) = taken.changed {
                    tracing::warn!("{id}: {changed}: its total goes on in another series");
                }
                self.note(refusal(&telemetry, taken.step));
                self.telemetry = Some(telemetry);
                taken.step
            }
            Err(error) => {
                let step = self.meter.failed(error.gap(), at);
                self.note(Some(error.to_string()));
                step
            }
        };
        let lost = self.meter.lost().into_values().sum::<Duration>() > before;
        self.state = match step {
            _ if lost => State::Lost,
            Step::NewEpoch { .. } => State::Lost,
            Step::Added(_) | Step::Baseline => State::Good,
            Step::Gap { .. } => State::Held,
        };
        if matches!(self.state, State::Good | State::Lost) {
            self.sampled_at = Some(polled.at.unix);
        }
        self.coverage_ppm = self.meter.coverage_ppm(at);
        self.state == State::Lost
    }

    /// Says in a line that a device gives no figure, and that it does again.
    fn note(&mut self, error: Option<String>) {
        let id = self.meter.id();
        match (&self.error, &error) {
            (None, Some(why)) => tracing::warn!("{id}: {why}"),
            (Some(_), None) => tracing::info!("{id}: answers again"),
            (Some(_) | None, _) => {}
        }
        self.error = error;
    }
}

/// Why an answer has no figure, as it says itself.
fn refusal(telemetry: &Telemetry, step: Step) -> Option<String> {
    if !matches!(step, Step::Gap { .. }) || !telemetry.figures.is_empty() {
        return None;
    }
    let refused = telemetry.refused.first();
    Some(refused.map_or_else(
        || "its answer has no power and no energy".to_owned(),
        |refused| format!("{} is {:?}: {}", refused.field, refused.text, refused.reason),
    ))
}

#[cfg(test)]
mod tests;
