//! The instruments: hash counters and meters, read together once a second and whenever a report
//! is asked for.
//!
//! Read [`Instruments`] and [`Desk`]. Joules and hashes are read at the same instants, so that
//! their ratio is of the same stretch of time. One task owns the meter, the key and the history
//! of rates; others get [`Snapshot`]s, or ask the desk for a signed report. Totals count from the
//! start of the process, under an epoch that is the wall clock's milliseconds at that start: a
//! restart is a new epoch, and no total ever falls within one. Another pool is a new epoch too: a
//! pool that is returned to must not be shown the energy that was used for others meanwhile. While
//! the meter cannot be read there is no report: the next one covers the joules and the work of
//! the whole time, or neither.

pub mod key;
pub mod meter;
pub mod sensors;

use std::sync::Arc;
use std::time::Duration;

use energy::SigningKey;
use energy::report::{ClaimedHashes, EnergyReport, MeterReading};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use units::{Hashes, Moment, Work};

use self::meter::Meter;
use crate::clock::Clock;
use crate::device::Device;
use crate::progress;
use crate::rates::{Rates, Reading, WINDOWS};
use crate::telemetry::{DeviceReading, Metered, Snapshot};
use crate::upstream::status::Status;

/// How often everything is read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Reports that may be asked for at a time; there is one asker.
const REQUESTS: usize = 4;

/// A meter and the key that signs what it says.
#[derive(Debug)]
pub struct Metering {
    /// The meter.
    pub meter: Meter,
    /// The key.
    pub key: SigningKey,
}

/// The task.
#[derive(Debug)]
pub struct Instruments {
    clock: Clock,
    epoch: u64,
    /// The pool of the newest report.
    reported_to: Option<String>,
    metered: Metered,
    devices: Vec<Arc<Device>>,
    metering: Option<Metering>,
    rates: Rates,
    highest: f64,
    upstream: watch::Receiver<Status>,
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
    reply: oneshot::Sender<Option<Value>>,
}

impl Desk {
    /// A desk, and the end that [`Instruments`] answers at.
    #[must_use]
    pub fn open() -> (Self, Requests) {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        (Self { requests }, Requests(receiver))
    }

    /// A signed report of this very instant for `worker` at `pool`; `None` when none can be made.
    pub async fn report(&self, worker: &str, pool: &str) -> Option<Value> {
        let (reply, answer) = oneshot::channel();
        let request = Request { worker: worker.to_owned(), pool: pool.to_owned(), reply };
        self.requests.send(request).await.ok()?;
        answer.await.ok().flatten()
    }
}

/// The answering end of a [`Desk`].
#[derive(Debug)]
pub struct Requests(mpsc::Receiver<Request>);

impl Instruments {
    /// Instruments on `devices`, and with a meter where there is one.
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
        let first = Snapshot {
            at: now,
            devices: Vec::new(),
            rates: [None; WINDOWS.len()],
            highest: 0.0,
            meters: Vec::new(),
            metered,
            upstream: upstream.borrow().clone(),
        };
        let (snapshots, listener) = watch::channel(Arc::new(first));
        let mut instruments = Self {
            clock,
            epoch: now.unix.get(),
            reported_to: None,
            metered,
            devices,
            metering,
            rates: Rates::new(),
            highest: 0.0,
            upstream,
            requests: requests.0,
            snapshots,
        };
        instruments.sample();
        (instruments, listener)
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
                    self.sample();
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
        let busy = self.busy();
        if let Some(metering) = &mut self.metering {
            metering.meter.sample(now, busy);
        }
        let upstream = self.upstream.borrow().clone();
        let mut snapshot = Snapshot {
            at: now,
            devices,
            rates: [None; WINDOWS.len()],
            highest: self.highest,
            meters: self.metering.iter().map(|metering| metering.meter.reading()).collect(),
            metered: self.metered,
            upstream,
        };
        if self.metering.as_ref().is_none_or(|metering| metering.meter.is_good()) {
            let (hashes, proven) = (snapshot.hashes(), snapshot.upstream.proven);
            self.metered = Metered { hashes, proven };
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

    /// Time that the threads were busy, on average over them.
    fn busy(&self) -> Duration {
        let each = self.devices.iter().map(|device| {
            let threads = u32::try_from(device.threads()).unwrap_or(u32::MAX).max(1);
            device.busy() / threads
        });
        each.max().unwrap_or(Duration::ZERO)
    }

    fn answer(&mut self, request: Request) {
        let report = self.signed(request.worker, request.pool);
        // Nobody waits any more: nothing is lost, totals are cumulative.
        let _gone = request.reply.send(report);
    }

    fn signed(&mut self, worker: String, pool: String) -> Option<Value> {
        let at = self.sample();
        let metering = self.metering.as_ref().filter(|metering| metering.meter.is_good())?;
        let before = self.reported_to.replace(pool);
        if before.is_some() && before != self.reported_to {
            self.epoch = at.unix.get().max(self.epoch.saturating_add(1));
        }
        let hashes = self.snapshots.borrow().hashes();
        let report = report(self.epoch, worker, at, &metering.meter, hashes);
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
        tile: device.tile(),
        threads: device.threads(),
        place: device.place(),
        hashes: device.hashes(),
        busy: device.busy(),
        limit: device.limit(),
        starved: device.starved(),
        hardware_errors: device.hardware_errors(),
    }
}

fn report(epoch: u64, worker: String, at: Moment, meter: &Meter, hashes: Hashes) -> EnergyReport {
    let spec = meter.spec();
    let reading = MeterReading {
        id: spec.id.clone(),
        kind: spec.kind,
        scope: spec.scope,
        tier: spec.tier,
        epoch,
        total: meter.total(),
        coverage_ppm: meter.coverage_ppm(at),
        uncertainty_ppm: spec.uncertainty_ppm,
    };
    let hashes = Some(ClaimedHashes { total: hashes, epoch });
    EnergyReport { worker, at: at.unix, meters: vec![reading], hashes }
}

#[cfg(test)]
mod tests;
