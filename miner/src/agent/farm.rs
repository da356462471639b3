//! The farm's book: every device's meter, every worker's report, all under one owner.
//!
//! Read [`Farm::run`]. Pollers bring answers, links ask for reports, everybody else sees snapshots.
//! A report is made of answers that were asked for it, so that its joules and its instant belong
//! together; before it is handed out, the totals in it are on disk. While one of a worker's meters
//! cannot be read there is no report for it: the next covers the joules and the work of the whole
//! time. Where joules are lost for good, its next report begins another series, and the pool then
//! sets none of that time's work against the joules of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use energy::SigningKey;
use energy::counter::Step;
use energy::device::Telemetry;
use energy::device::meter::DeviceMeter;
use energy::report::{ClaimedHashes, EnergyReport, MeterReading};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
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
    reply: oneshot::Sender<Vec<Reported>>,
}

/// One worker's report: signed, or why there is none.
pub type Reported = (String, Result<Value, String>);

/// A question that waits for the devices' answers.
#[derive(Debug)]
struct Waiting {
    asked: Asked,
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
    /// The reports of these workers, of this very moment; none where the farm has ended.
    pub async fn reports(&self, workers: Vec<String>) -> Vec<Reported> {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Asked { workers, reply }).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
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
                _ = show.tick() => self.show(),
            }
            self.answer_who_waited();
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
        let of_them = |entry: &Entry| {
            let worker = entry.device.worker.as_ref();
            entry.device.counts && worker.is_some_and(|worker| asked.workers.contains(worker))
        };
        let devices = self.entries.iter().enumerate().filter(|(_, entry)| of_them(entry));
        let devices: BTreeSet<usize> = devices.map(|(index, _)| index).collect();
        devices
            .iter()
            .filter_map(|index| self.wakes.get(*index))
            .for_each(|wake| wake.notify_one());
        self.waiting.push(Waiting { asked, devices });
    }

    fn answer_who_waited(&mut self) {
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.devices.is_empty());
        self.waiting = waiting;
        for Waiting { asked, .. } in ready {
            let reports = self.reports(asked.workers);
            // Nobody waits any more: nothing is lost, totals are cumulative.
            let _gone = asked.reply.send(reports);
        }
    }

    /// The reports, whose totals are on disk.
    fn reports(&mut self, workers: Vec<String>) -> Vec<Reported> {
        let now = self.clock.now();
        let held: BTreeMap<String, Option<String>> =
            workers.iter().map(|worker| (worker.clone(), self.held(worker))).collect();
        for worker in held.iter().filter(|(_, held)| held.is_none()).map(|(worker, _)| worker) {
            let unix = now.unix.get();
            let series = self.series.entry(worker.clone());
            let series = series.or_insert(Series { epoch: unix, lost: false });
            if std::mem::take(&mut series.lost) {
                series.epoch = unix.max(series.epoch.saturating_add(1));
            }
        }
        if !self.save() {
            let why = "the state file cannot be written";
            return workers.into_iter().map(|worker| (worker, Err(why.to_owned()))).collect();
        }
        let report = |worker: String| {
            let report = match held.get(&worker).cloned().flatten() {
                Some(why) => Err(why),
                None => self.signed(&worker, now),
            };
            (worker, report)
        };
        workers.into_iter().map(report).collect()
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
        self.entries.iter().filter(move |entry| {
            entry.device.counts && entry.device.worker.as_deref() == Some(worker)
        })
    }

    fn signed(&self, worker: &str, now: Moment) -> Result<Value, String> {
        let epoch = self.series.get(worker).map_or_else(|| now.unix.get(), |series| series.epoch);
        let reading = |entry: &Entry| {
            let spec = entry.meter.spec()?;
            Some(MeterReading::of(spec, epoch, entry.meter.total(), entry.coverage_ppm))
        };
        let meters = self.counted(worker).filter_map(reading).collect();
        let claimed = self.counted(worker).map(|entry| entry.meter.claimed());
        let total = claimed.fold(Hashes::ZERO, Hashes::saturating_add);
        let hashes = (total > Hashes::ZERO).then_some(ClaimedHashes { total, epoch });
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
                self.note(refusal(&telemetry, taken.step));
                self.telemetry = Some(telemetry);
                if taken.scope_changed {
                    Step::NewEpoch { length: Duration::ZERO }
                } else {
                    taken.step
                }
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
