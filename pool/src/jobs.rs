//! Makes work: whenever the node has a new template, and every [`REFRESH`] between, builds a job
//! and announces it to every connection.
//!
//! This task also closes slices of work, because a job must name the newest one: what a block
//! pays is thereby fixed before the block can be found. It deliberately keeps no list of jobs;
//! connections keep those that they gave out, and the block task the templates behind them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::SliceHead;
use stratum::job::Job;
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use units::Moment;

use crate::{
    clock::Clock,
    coinbase::Payee,
    ledger_task::{Command, LedgerHandle, LedgerUnavailable},
    metrics::JobMetrics,
    node::Seen,
};

/// A job is renewed this often even on the same template, so that miners see a living pool and
/// headers a current time.
const REFRESH: Duration = Duration::from_secs(30);

/// A job on its way to every miner.
#[derive(Debug)]
pub struct Announcement {
    /// The job.
    pub job: Arc<Job>,
    /// When the pool saw its template, or decided to renew it.
    seen: Moment,
    /// The latest time at which a connection had written it, in microseconds after `seen`.
    written_us: AtomicU64,
}

impl Announcement {
    /// Notes that one more connection has written the job to its socket.
    pub fn written(&self, now: Moment) {
        let took = now.mono.saturating_sub(self.seen.mono).as_micros();
        self.written_us.fetch_max(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Time from the template's sight to the last miner written so far; none when nobody was.
    fn broadcast_took(&self) -> Option<Duration> {
        let took = self.written_us.load(Ordering::Relaxed);
        (took > 0).then(|| Duration::from_micros(took))
    }
}

/// What the job task owns.
#[derive(Debug)]
pub struct JobMaker {
    /// The node's templates.
    pub templates: watch::Receiver<Option<Arc<Seen>>>,
    /// The ledger, for slices.
    pub ledger: LedgerHandle,
    /// Whom coinbases pay.
    pub payee: Payee,
    /// Length of a slice.
    pub slice: Duration,
    /// Where jobs are announced.
    pub announce: watch::Sender<Option<Arc<Announcement>>>,
    /// Where the block task learns which template a job was built on, before anyone can solve it.
    pub origins: mpsc::Sender<(u64, Arc<Seen>)>,
    /// The newest slice at start.
    pub newest_slice: SliceHead,
    /// The pool's clock.
    pub clock: Clock,
    /// Where broadcast times go.
    pub metrics: JobMetrics,
}

impl JobMaker {
    /// Runs until cancelled.
    ///
    /// # Errors
    /// When the ledger has stopped: no block could then be accounted for.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), LedgerUnavailable> {
        let mut slice_ends = every(self.slice);
        let mut refresh = every(REFRESH);
        let mut counter = JobCounter::default();
        self.templates.mark_changed();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                changed = self.templates.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    refresh.reset();
                }
                _ = refresh.tick() => {}
                _ = slice_ends.tick() => {
                    self.newest_slice = self.ledger.ask(Command::CloseSlice).await?;
                    continue;
                }
            }
            let seen = self.templates.borrow_and_update().clone();
            if let Some(seen) = seen {
                self.announce(&seen, &mut counter).await;
            }
        }
    }

    async fn announce(&self, seen: &Arc<Seen>, counter: &mut JobCounter) {
        let now = self.clock.now();
        let (id, clean) = counter.next(seen.template.prev_hash);
        let mut template = self.payee.job_template(&seen.template, &self.newest_slice, id);
        let age = now.mono.saturating_sub(seen.at.mono);
        template.ntime =
            template.ntime.saturating_add(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        if self.origins.send((id, Arc::clone(seen))).await.is_err() {
            return; // the block task has ended: the pool is shutting down
        }
        let job =
            Arc::new(Job::new(id, template, clean, counter.epoch, self.newest_slice.index.get()));
        // A renewed job was not caused by the template's arrival, so it is timed from now.
        let seen_at = if clean { seen.at } else { now };
        let before = self.announce.send_replace(Some(Arc::new(Announcement {
            job,
            seen: seen_at,
            written_us: AtomicU64::new(0),
        })));
        if let Some(took) = before.and_then(|announcement| announcement.broadcast_took()) {
            self.metrics.broadcast(took);
        }
    }
}

/// Numbers jobs, and epochs: one for each block that jobs build on.
#[derive(Debug, Default)]
struct JobCounter {
    id: u64,
    epoch: u64,
    prev_hash: Option<[u8; 32]>,
}

impl JobCounter {
    /// The next job's number, and whether it makes all earlier work stale.
    fn next(&mut self, prev_hash: [u8; 32]) -> (u64, bool) {
        let clean = self.prev_hash != Some(prev_hash);
        if clean {
            self.prev_hash = Some(prev_hash);
            self.epoch += 1;
        }
        self.id += 1;
        (self.id, clean)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}
