//! The task that holds the miner back: reads what [`Restraint`] wants to know, and hands on what it
//! decides.
//!
//! Read [`Keeper::run`]. It follows the instruments' snapshots, one a second, so that joules, hashes
//! and busy time are of the same instants as everywhere else; files are read only for what the owner
//! asked for. It deliberately decides nothing, and never waits for a worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use energy::meter::Kind as MeterKind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::duty::Throttle;
use super::{Kind, Readings, Restraint, State, activity, battery, heat};
use crate::device::Kernel;
use crate::instruments::sensors::Folder;
use crate::telemetry::{DeviceReading, Snapshot};
use crate::upstream::status::Phase;

/// Snapshots that follow sooner, as one for a report does, are passed over: power over a moment is
/// mostly noise.
const APART_MIN: Duration = Duration::from_millis(700);
/// Where terminals are.
const DEVICES: &str = "/dev";

/// The task.
#[derive(Debug)]
pub struct Keeper {
    restraint: Restraint,
    throttle: Throttle,
    /// The tree that Linux shows its sensors in.
    sysfs: Folder,
    devices: PathBuf,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    state: watch::Sender<Arc<State>>,
    stepped_at: Option<Duration>,
}

impl Keeper {
    /// Holds the followers of `throttle` back, from the first snapshot on, and shows it in `state`.
    #[must_use]
    pub fn new(
        restraint: Restraint,
        throttle: Throttle,
        sysfs: Folder,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        state: watch::Sender<Arc<State>>,
    ) -> Self {
        let devices = PathBuf::from(DEVICES);
        let stepped_at = None;
        let mut keeper = Self { restraint, throttle, sysfs, devices, snapshots, state, stepped_at };
        keeper.step();
        keeper
    }

    /// Runs until cancelled, or until there are no more snapshots.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.snapshots.changed() => match changed {
                    Ok(()) => self.step(),
                    Err(_) => return,
                },
            }
        }
    }

    fn step(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let now = snapshot.at.mono;
        if self.stepped_at.is_some_and(|then| now.saturating_sub(then) < APART_MIN) {
            return;
        }
        self.stepped_at = Some(now);
        let readings = self.readings(&snapshot);
        let state = self.restraint.step(&readings);
        self.throttle.set(state.allowance);
        say(&self.state.borrow(), &state);
        self.state.send_replace(Arc::new(state));
    }

    fn readings(&self, snapshot: &Snapshot) -> Readings {
        let settings = self.restraint.settings();
        let is_known = snapshot.counting_meters().all(|meter| meter.watts.is_some());
        let joules = snapshot.energy().filter(|_| is_known);
        let is_model = |kind: MeterKind| kind == MeterKind::Model;
        Readings {
            at: snapshot.at,
            mining: snapshot.upstream.phase == Phase::Mining,
            joules: joules.map(units::MicroJoules::joules_f64),
            modelled: snapshot.counting_meters().all(|meter| is_model(meter.spec.kind)),
            busy: snapshot.busiest(),
            hashes: snapshot.hashes().as_f64(),
            gpus: snapshot.devices.iter().any(is_gpu_at_work),
            source: match settings.pause_on_battery {
                true => battery::source(&self.sysfs),
                false => battery::Source::Mains,
            },
            input: settings.pause_when_active.and_then(|_| activity::newest_input(&self.devices)),
            hottest: settings.max_celsius.and_then(|_| heat::hottest(&self.sysfs)),
        }
    }
}

fn is_gpu_at_work(device: &DeviceReading) -> bool {
    matches!(device.kernel, Kernel::Gpu(_)) && device.lost.is_none()
}

/// Says in a line that mining pauses or goes on, and when a reason comes or goes.
fn say(before: &State, now: &State) {
    let kinds = |state: &State| -> Vec<(Kind, bool)> {
        state.reasons.iter().map(|reason| (reason.kind, reason.duty == 0)).collect()
    };
    if kinds(before) == kinds(now) {
        return;
    }
    match (now.line(), before.allowance.is_pause()) {
        (Some(line), _) => tracing::info!("{line}"),
        (None, true) => tracing::info!("going on: nothing holds the miner back any more"),
        (None, false) => tracing::info!("nothing holds the miner back any more"),
    }
}

#[cfg(test)]
mod tests;
