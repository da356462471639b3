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

use defences::{Defence, stands};
use ledger::SliceHead;
use stratum::job::{Job, Listing};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use units::Moment;

use crate::{
    clock::Clock,
    coinbase::Payee,
    ledger_task::{Command, LedgerHandle, LedgerUnavailable},
    metrics::JobMetrics,
    node::{Seen, Template},
};

/// A job is renewed this often even on the same template, so that miners see a living pool and
/// headers a current time. The node's template is fetched anew a little more often, which renews
/// the job as well: both at once would send every job twice.
const REFRESH: Duration = Duration::from_secs(40);

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
    /// On a template older than this no work is given out.
    pub max_age: Duration,
    /// Where jobs are announced; `None` while there is no work.
    pub announce: watch::Sender<Option<Arc<Announcement>>>,
    /// What miners are told while there is no work.
    pub notice: watch::Sender<Option<Arc<str>>>,
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
            let (expires, gives_work) = (self.expires(), self.announce.borrow().is_some());
            let gives_work = gives_work && stands(Defence::OldTemplate);
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                changed = self.templates.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    refresh.reset();
                }
                () = sleep_until(expires), if gives_work => {
                    self.withdraw();
                    continue;
                }
                _ = refresh.tick() => {}
                _ = slice_ends.tick() => {
                    self.newest_slice = self.ledger.ask(Command::CloseSlice).await?;
                    continue;
                }
            }
            let seen = self.templates.borrow_and_update().clone();
            if let Some(seen) = seen.filter(|seen| self.age(seen) < self.max_age) {
                self.announce(&seen, &mut counter).await;
            }
        }
    }

    fn age(&self, seen: &Seen) -> Duration {
        self.clock.now().mono.saturating_sub(seen.at.mono)
    }

    /// When the newest template is too old.
    fn expires(&self) -> Instant {
        let arrived = self.templates.borrow().as_ref().map(|seen| seen.at);
        let arrived = arrived.unwrap_or_else(|| self.clock.now());
        self.clock.instant(arrived.mono.saturating_add(self.max_age))
    }

    /// Gives nobody new work, and says why. Work that is out stays good for shares until the next
    /// job: it may still be a block, and whoever has no other pool loses nothing by going on.
    fn withdraw(&self) {
        let seconds = self.max_age.as_secs();
        let why = format!(
            "no new work: the pool's Bitcoin node has not answered for {seconds} s; \
             use your backup pool until it does"
        );
        tracing::error!("{why}");
        self.announce.send_replace(None);
        self.notice.send_replace(Some(why.into()));
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
        let job = Job::new(id, template, clean, counter.epoch, self.newest_slice.index.get());
        let job = Arc::new(with_rules(job, &seen.template));
        // A renewed job was not caused by the template's arrival, so it is timed from now.
        let seen_at = if clean { seen.at } else { now };
        self.notice.send_if_modified(|notice| notice.take().is_some());
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

/// The job with what its template allows and holds beside the header.
fn with_rules(mut job: Job, template: &Template) -> Job {
    job.version_mask = !template.vb_required;
    job.transactions = Listing::of(template.transactions.iter().map(|one| one.data.as_slice()));
    job
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_permits_what_its_template_does_and_lists_what_it_holds() {
        let template = Template::from_json(json!({
            "version": 0x2000_2000, "vbrequired": 0x2000, "height": 101, "bits": "207fffff",
            "curtime": 1_700_000_000, "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64,
            "previousblockhash": "00".repeat(32),
            "transactions": [{"data": "0102", "txid": "07".repeat(32)}],
        }));
        let template = template.unwrap();
        let facts = stratum::JobTemplate {
            height: template.height,
            version: template.version,
            prev_hash: template.prev_hash,
            nbits: template.bits,
            ntime: template.cur_time,
            min_ntime: template.min_time,
            coinbase1: Vec::new(),
            coinbase2: Vec::new(),
            branch: Vec::new(),
            network_target: template.target,
        };
        let job = with_rules(Job::new(1, facts, true, 1, 0), &template);
        assert_eq!(job.version_mask, 0xffff_dfff);
        assert_eq!(job.transactions, Listing::Json(r#"["0102"]"#.into()));
    }
}
