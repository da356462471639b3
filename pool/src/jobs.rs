//! Makes work: builds a job and announces it to every connection when the node has a new tip, when
//! the whole template follows an empty block, when fees have grown by the share that the operator
//! set, and when the last job is as old as he lets it become.
//!
//! Read [`JobMaker::run`], and [`Announcement`] for what connections owe. Templates come more often
//! than jobs: most are only kept for the next job. This task also closes slices of work, because a job must name the newest one: what a block
//! pays is thereby fixed before the block can be found. It deliberately keeps no list of jobs;
//! connections keep those that they gave out, and the block task the templates behind them.

use std::{
    iter::successors,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use defences::{Defence, stands};
use ledger::{LedgerError, SliceHead};
use stratum::{
    JobTemplate, Jobs,
    job::{Job, Listing},
    v1::server::Limits,
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use units::{BasisPoints, Moment};

use crate::{
    clock::Clock,
    coinbase::{EXTRANONCE1_SIZE, EXTRANONCE2_SIZE, Payee},
    config::JobsConfig,
    direct::{self, Committed, DirectPay, Payroll},
    ledger_task::{Command, LedgerHandle, LedgerUnavailable},
    metrics::JobMetrics,
    node::{Seen, Template},
    wages::{self, Wages},
};

/// A job's number, and the template that it was built on.
pub type Origin = (u64, Arc<Seen>);

/// A job on its way to every miner.
#[derive(Debug)]
pub struct Announcement {
    /// The job.
    pub job: Arc<Job>,
    /// It, and those before it that shares may still come for: one list for all connections.
    pub jobs: Arc<Jobs>,
    /// When its cause was seen: the news of the block before it, or what made a renewal due.
    seen: Moment,
    /// Writers that have not finished with it.
    unfinished: AtomicUsize,
    /// The latest time at which a connection had been written, in microseconds after `seen`; 0
    /// while none was.
    latest_us: AtomicU64,
    metrics: JobMetrics,
}

impl Announcement {
    /// When its cause was seen.
    #[must_use]
    pub const fn seen(&self) -> Moment {
        self.seen
    }

    /// Told once by each writer, when it has written the job to all the connections that it had
    /// as the job was announced: how many these are, and when the last of them was written. The
    /// last writer to say so completes the broadcast, which is then counted; who connects later is
    /// given the job as well and is no part of it.
    pub fn finished(&self, written: usize, last: Moment) {
        if written > 0 {
            let took = last.mono.saturating_sub(self.seen.mono).as_micros();
            let took = u64::try_from(took).unwrap_or(u64::MAX).max(1);
            self.latest_us.fetch_max(took, Ordering::Relaxed);
        }
        let less = |left: usize| left.checked_sub(1);
        let left = self.unfinished.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        if left == Ok(1) {
            self.count();
        }
    }

    fn count(&self) {
        let latest = self.latest_us.load(Ordering::Relaxed);
        if latest > 0 {
            self.metrics.broadcast(Duration::from_micros(latest));
        }
    }
}

/// A job that gave way to another before every writer had taken it is counted as far as it came.
impl Drop for Announcement {
    fn drop(&mut self) {
        if *self.unfinished.get_mut() > 0 {
            self.count();
        }
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
    /// 4 random bytes of this run of the pool.
    pub run_mark: [u8; 4],
    /// When jobs are renewed.
    pub settings: JobsConfig,
    /// How many writers tell an announcement that they have finished with it.
    pub writers: usize,
    /// Length of a slice.
    pub slice: Duration,
    /// How shares are paid for, where that happens as they come.
    pub wages: Option<Wages>,
    /// On a template older than this no work is given out.
    pub max_age: Duration,
    /// Where jobs are announced; `None` while there is no work.
    pub announce: watch::Sender<Option<Arc<Announcement>>>,
    /// What miners are told while there is no work.
    pub notice: watch::Sender<Option<Arc<str>>>,
    /// Where the block task learns which template a job was built on, before anyone can solve it.
    pub origins: mpsc::Sender<Origin>,
    /// Where another image of the pool stopped, whose miners this one has.
    pub resume: JobState,
    /// How coinbases pay miners themselves, where they do.
    pub direct: Option<DirectPay>,
    /// The slice that jobs commit to, and what a block that does pays: the newest slice at start.
    pub committed: Committed,
    /// Payrolls that are being read; empty at start.
    pub reading: JoinSet<(SliceHead, Result<Payroll, LedgerError>)>,
    /// The pool's clock.
    pub clock: Clock,
    /// Where broadcast times go.
    pub metrics: JobMetrics,
}

impl JobMaker {
    /// Runs until cancelled, and says where it stopped.
    ///
    /// # Errors
    /// When the ledger has stopped: no block could then be accounted for.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<JobState, LedgerUnavailable> {
        let mut slice_ends = every(self.slice);
        let mut counter = std::mem::take(&mut self.resume);
        for origin in &counter.origins {
            // A block task that has ended is a pool that is shutting down.
            let _ = self.origins.send(origin.clone()).await;
        }
        let (mut given, mut halted): (Option<Given>, bool) = (None, false);
        self.templates.mark_changed();
        self.read_payroll(self.committed.0);
        loop {
            let gives_work = self.announce.borrow().is_some() && stands(Defence::OldTemplate);
            let (expires, due) = (self.expires(), self.due(given.as_ref()));
            let cause = tokio::select! {
                () = cancel.cancelled() => return Ok(counter),
                changed = self.templates.changed() => {
                    if changed.is_err() {
                        return Ok(counter);
                    }
                    let seen = self.templates.borrow_and_update().clone();
                    let growth = self.settings.fee_growth;
                    seen.and_then(|seen| Cause::of(given.as_ref(), &seen, growth))
                }
                () = sleep_until(expires), if gives_work => {
                    self.withdraw(node_is_silent(self.max_age));
                    given = None;
                    continue;
                }
                Some(read) = self.reading.join_next() => {
                    self.commit_to(read);
                    continue;
                }
                () = sleep_until(due), if given.is_some() => Some(Cause::Time),
                () = wages::fees_change(&mut self.wages), if halted => {
                    halted = false;
                    self.templates.mark_changed();
                    continue;
                }
                _ = slice_ends.tick() => {
                    let bar = self.end_slice().await?;
                    match bar {
                        Some(why) if !halted => {
                            self.withdraw(why.to_owned());
                            given = None;
                        }
                        None if halted => self.templates.mark_changed(),
                        Some(_) | None => {}
                    }
                    halted = bar.is_some();
                    continue;
                }
            };
            let seen = self.templates.borrow_and_update().clone();
            let seen = seen.filter(|seen| self.age(seen) < self.max_age);
            if let Some((seen, cause)) = seen.zip(cause).filter(|_| !halted) {
                if let Some(why) = self.bar(&seen, given.is_none()).await? {
                    self.withdraw(why.to_owned());
                    (given, halted) = (None, true);
                    continue;
                }
                let at = self.clock.now();
                self.announce(&seen, cause, &mut counter).await;
                given = Some(Given { seen, at });
            } else if cause == Some(Cause::Time) {
                given = None; // too old for another job: the next template is one
            }
        }
    }

    /// When the job that is out is to be renewed, whatever happens until then.
    fn due(&self, given: Option<&Given>) -> Instant {
        let at = given.map_or_else(|| self.clock.now(), |given| given.at);
        self.clock.instant(at.mono.saturating_add(self.settings.refresh))
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
    fn withdraw(&self, why: String) {
        tracing::error!("{why}");
        self.announce.send_replace(None);
        self.notice.send_replace(Some(why.into()));
    }

    /// What stands against giving out work on this template, where shares are paid for as they come.
    /// Before work of another subsidy, as at a halving, the slice of the one before ends, and is paid
    /// by that; before the `first` work, what is owed from before is paid.
    async fn bar(
        &mut self,
        seen: &Seen,
        first: bool,
    ) -> Result<Option<&'static str>, LedgerUnavailable> {
        let height = seen.template.height;
        let Some(wages) = &self.wages else { return Ok(None) };
        let bar = if wages.ends_at(height) {
            self.end_slice().await?
        } else if first {
            self.pay().await?
        } else {
            None
        };
        if let Some(wages) = self.wages.as_mut().filter(|_| bar.is_none()) {
            wages.work_at(height);
        }
        Ok(bar)
    }

    /// Closes the open slice and pays it; what then stands against giving out work.
    async fn end_slice(&mut self) -> Result<Option<&'static str>, LedgerUnavailable> {
        let slice = self.ledger.ask(Command::CloseSlice).await?;
        self.read_payroll(slice);
        self.pay().await
    }

    /// Pays for closed slices, where shares are paid for as they come, by the height of the work that
    /// was given out last; what then stands against giving out more.
    async fn pay(&self) -> Result<Option<&'static str>, LedgerUnavailable> {
        let Some(wages) = &self.wages else { return Ok(None) };
        let height = self.templates.borrow().as_ref().map(|seen| seen.template.height);
        let Some(height) = wages.height().or(height) else {
            return Ok(None); // without a template there is no work in any case
        };
        let Some(value) = wages.block_value(height) else { return Ok(Some(FEES_UNKNOWN)) };
        let payday = self.ledger.ask(|reply| Command::PaySlices(value, reply)).await?;
        if payday.owed_slices > 0 {
            let (owed, left) = (payday.owed_slices, payday.reserve.to_sat());
            tracing::error!("{owed} slices of shares are owed: the reserve has {left} satoshis");
        }
        Ok((payday.owed_slices > 0).then_some(RESERVE_USED_UP))
    }

    async fn announce(&self, seen: &Arc<Seen>, cause: Cause, counter: &mut JobState) {
        let now = self.clock.now();
        let job = self.job(seen, counter, now);
        for one in successors(Some(&job), |job| job.smaller.as_ref()) {
            if self.origins.send((one.id.get(), Arc::clone(seen))).await.is_err() {
                return; // the block task has ended: the pool is shutting down
            }
        }
        self.notice.send_if_modified(|notice| notice.take().is_some());
        counter.add(Arc::clone(&job), seen);
        self.announce.send_replace(Some(Arc::new(Announcement {
            job,
            jobs: Arc::clone(&counter.jobs),
            seen: match cause {
                Cause::Tip => seen.heard,
                Cause::Template => seen.at,
                Cause::Time => now,
            },
            unfinished: AtomicUsize::new(self.writers),
            latest_us: AtomicU64::new(0),
            metrics: self.metrics.clone(),
        })));
    }
}

/// What miners are told while the pool can pay for no more shares.
const RESERVE_USED_UP: &str =
    "no new work: the pool's reserve is used up; what was accepted is owed; use your backup pool";

/// What they are told while it does not know what a block is worth.
const FEES_UNKNOWN: &str = "no new work: the pool does not know yet what fees the last blocks had, \
    and so not what it pays for shares; use your backup pool until it does";

/// What they are told while its node gives no templates.
fn node_is_silent(max_age: Duration) -> String {
    let seconds = max_age.as_secs();
    format!(
        "no new work: the pool's Bitcoin node has not answered for {seconds} s; \
         use your backup pool until it does"
    )
}

impl JobMaker {
    /// The next job: with as many outputs to miners as there is room for, and behind it smaller ones
    /// for devices that hold no such coinbase.
    fn job(&self, seen: &Seen, counter: &mut JobState, now: Moment) -> Arc<Job> {
        let (slice, payroll) = &self.committed;
        let (id, clean) = counter.next(seen.template.prev_hash);
        let mut plain = self.payee.job_template(&seen.template, slice, id, self.run_mark);
        let age = now.mono.saturating_sub(seen.at.mono);
        plain.ntime = plain.ntime.saturating_add(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        let outputs = payroll.outputs(&seen.template);
        let length = plain.coinbase1.len() + plain.coinbase2.len() + EXTRANONCES;
        let sizes = direct::sizes(&outputs, length);
        let first = id;
        counter.id += u64::try_from(sizes.len() - 1).unwrap_or(0);
        let mut job = None;
        for (id, size) in (first..).zip(&sizes).collect::<Vec<_>>().into_iter().rev() {
            let mark = (id, self.run_mark);
            let paid = &outputs[..*size];
            let (coinbase1, coinbase2) = self.payee.halves(&seen.template, slice, mark, paid);
            let template = JobTemplate { coinbase1, coinbase2, ..plain.clone() };
            let mut one = Job::new(id, template, clean, counter.epoch, slice.index.get());
            one.smaller = job.take();
            job = Some(Arc::new(with_rules(one, &seen.template)));
        }
        job.expect("there is always the size of no outputs")
    }

    /// Reads what a block that commits to `slice` pays, where coinbases are to pay miners themselves.
    fn read_payroll(&mut self, slice: SliceHead) {
        let Some(direct) = self.direct.clone() else {
            self.committed = (slice, Payroll::default());
            return;
        };
        self.reading.spawn_blocking(move || (slice, direct.payroll(slice.index)));
    }

    /// A payroll was read: jobs commit to its slice from now on, if none of a later slice was quicker.
    fn commit_to(&mut self, read: Result<(SliceHead, Result<Payroll, LedgerError>), JoinError>) {
        match read {
            Ok((slice, _)) if slice.index < self.committed.0.index => {}
            Ok((slice, Ok(payroll))) => self.committed = (slice, payroll),
            Ok((slice, Err(error))) => {
                tracing::error!("coinbases pay nobody themselves for a while: {error}");
                self.committed = (slice, Payroll::default());
            }
            Err(error) => tracing::error!("a payroll was not read: {error}"),
        }
    }
}

/// Bytes of both extranonces in a coinbase.
const EXTRANONCES: usize = EXTRANONCE1_SIZE + EXTRANONCE2_SIZE;

/// What the last job was made of, and when.
#[derive(Debug)]
struct Given {
    seen: Arc<Seen>,
    at: Moment,
}

/// Why a job is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// There is a block that no job builds on yet.
    Tip,
    /// The template of the same tip is worth more, or has other rules.
    Template,
    /// The last job is old.
    Time,
}

impl Cause {
    /// Why a job of this template is announced at once; `None` where it can wait.
    fn of(given: Option<&Given>, seen: &Seen, growth: BasisPoints) -> Option<Self> {
        let Some(Given { seen: last, .. }) = given else { return Some(Self::Tip) };
        let (old, new) = (&last.template, &seen.template);
        if old.prev_hash != new.prev_hash {
            return Some(Self::Tip);
        }
        if seen.empty {
            return None;
        }
        let rules = |one: &Template| (one.height, one.bits, one.version, one.vb_required);
        let better = last.empty || rules(old) != rules(new) || have_grown(old, new, growth);
        better.then_some(Self::Template)
    }
}

/// All of an amount, in hundredths of a percent.
const WHOLE: u16 = 10_000;

/// Whether the fees of a template are by more than `growth` above those of the one before it, on
/// the same tip; not where the node does not say what they are.
fn have_grown(old: &Template, new: &Template, growth: BasisPoints) -> bool {
    let Some((old, new)) = old.fees.zip(new.fees) else { return false };
    let whole = u128::from(WHOLE);
    u128::from(new.to_sat()) * whole > u128::from(old.to_sat()) * (whole + u128::from(growth.get()))
}

/// Numbers jobs, and epochs (one for each block that jobs build on), and keeps those jobs that
/// shares may still come for.
#[derive(Debug, Clone, Default)]
pub struct JobState {
    /// The newest job's number.
    pub id: u64,
    /// The newest epoch.
    pub epoch: u64,
    /// The block that the newest job builds on.
    pub prev_hash: Option<[u8; 32]>,
    /// Jobs that shares may still come for: one list for all connections.
    pub jobs: Arc<Jobs>,
    /// What they were built on.
    pub origins: Vec<Origin>,
}

impl JobState {
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

    fn add(&mut self, job: Arc<Job>, seen: &Arc<Seen>) {
        let all = successors(Some(&job), |job| job.smaller.as_ref());
        self.origins.extend(all.map(|job| (job.id.get(), Arc::clone(seen))));
        let jobs = self.jobs.with(job, &Limits::default());
        self.origins.retain(|(id, _)| jobs.find(*id).is_some());
        self.jobs = Arc::new(jobs);
    }
}

/// The job with what its template allows and holds beside the header.
fn with_rules(mut job: Job, template: &Template) -> Job {
    job.version_mask = !template.vb_required;
    job.transactions = Listing::of(template.transactions.iter().map(|one| &*one.data));
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
    use crate::metrics::Metrics;

    #[test]
    fn a_job_permits_what_its_template_does_and_lists_what_it_holds() {
        let template = Template::from_json(&json!({
            "version": 0x2000_2000, "vbrequired": 0x2000, "height": 101, "bits": "207fffff",
            "curtime": 1_700_000_000, "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64,
            "previousblockhash": "00".repeat(32),
            "transactions": [{"data": "0102", "txid": "07".repeat(32)}],
        }).to_string());
        let template = template.unwrap();
        let facts = JobTemplate {
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

    fn announcement(writers: usize, metrics: &Metrics) -> Announcement {
        let template = JobTemplate {
            height: 1,
            version: 4,
            prev_hash: [0; 32],
            nbits: 0x207f_ffff,
            ntime: 1,
            min_ntime: 1,
            coinbase1: Vec::new(),
            coinbase2: Vec::new(),
            branch: Vec::new(),
            network_target: units::Target::from_compact(0x207f_ffff).unwrap(),
        };
        Announcement {
            job: Arc::new(Job::new(1, template, true, 1, 0)),
            jobs: Arc::default(),
            seen: at(0),
            unfinished: AtomicUsize::new(writers),
            latest_us: AtomicU64::new(0),
            metrics: metrics.jobs.clone(),
        }
    }

    fn at(millis: u64) -> Moment {
        let unix = units::UnixMillis::new(0);
        Moment { mono: Duration::from_millis(1000 + millis), unix }
    }

    /// How many broadcasts were counted, and the seconds that they took together.
    fn counted(metrics: &Metrics) -> (String, String) {
        let text = metrics.render();
        let sample = |suffix: &str| {
            let name = format!("wattproof_pool_job_broadcast_seconds_{suffix} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap_or("none").to_owned()
        };
        (sample("count"), sample("sum"))
    }

    #[test]
    fn a_broadcast_is_counted_with_its_last_writer_and_no_later_one() {
        let metrics = Metrics::new().unwrap();
        let announced = announcement(3, &metrics);
        announced.finished(2, at(70));
        announced.finished(0, at(900));
        assert_ne!(counted(&metrics).0, "1", "one has not finished");
        announced.finished(1, at(40));
        let all = ("1".to_owned(), "0.07".to_owned());
        assert_eq!(counted(&metrics), all);
        announced.finished(1, at(5000));
        drop(announced);
        assert_eq!(counted(&metrics), all, "who comes later is no part of it");
    }

    #[test]
    fn a_job_that_gave_way_to_another_is_counted_as_far_as_it_came() {
        let metrics = Metrics::new().unwrap();
        let announced = announcement(2, &metrics);
        announced.finished(5, at(30));
        drop(announced);
        assert_eq!(counted(&metrics), ("1".to_owned(), "0.03".to_owned()));
        drop(announcement(2, &metrics));
        let nobody = announcement(1, &metrics);
        nobody.finished(0, at(30));
        drop(nobody);
        assert_eq!(counted(&metrics).0, "1", "nobody was written");
    }
}
