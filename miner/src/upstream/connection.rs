//! One connection to one pool, from the first line to the last.
//!
//! Read [`Conversation::run`]: a loop over what may happen next, with the protocol's session
//! inside. After the worker is authorized an energy report goes out before any work is dealt, so
//! that the pool's baseline is older than every hash it will be shown. At the end the workers are
//! stopped first, then their last findings are sent and judged, then the last energy report goes
//! out.

mod reports;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use stratum::v1::client::{
    ClientEvent, ClientJob, ClientSession, PoolError, Solution, SubmitToken,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use units::{Moment, Target};

use super::dial::{Dialer, Wire};
use super::reason::{self, Stage};
use super::redirect::{self, Allowance};
use super::status::{Phase, Verdict};
use super::url::PoolUrl;
use super::{Pool, Upstream, WorkersGone, probe, session_settings};
use crate::clock::Clock;
use crate::hands::{Found, Orders};

/// Shares that may be without a verdict at a time; pools bound this too.
const IN_FLIGHT_MAX: usize = 128;
/// How long writing may take before the connection counts as dead.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long a pool may be silent: jobs come at least every minute or two.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);
/// How long the last verdicts, and then the last energy report's answer, are waited for.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// The longest wait that a pool may ask of us before it is reconnected to.
const REDIRECT_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long saying goodbye may take where the other side doesn't listen any more.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// A pool that gave work for so long was of use, whether or not it took a share.
const OF_USE_AFTER: Duration = Duration::from_secs(60);
/// Lines that a pool may make us print within a minute.
const PRINTED_MAX: usize = 20;

/// How a conversation ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// We were told to stop, and everything is said.
    Stopped,
    /// A pool that we prefer works again, and everything is said here.
    Outbid,
    /// The connection is gone, or the pool won't have us.
    Lost {
        /// Why, in plain words.
        reason: String,
        /// Whether a share was taken, or work came for a good while: a pool that gives work and
        /// hangs up at once is not tried first again.
        of_use: bool,
        /// Whether the pool hung up on our first words, which a simpler opening may mend.
        hung_up: bool,
    },
    /// The pool asks us to connect elsewhere.
    Redirected {
        /// Where.
        to: PoolUrl,
        /// After how long.
        wait: Duration,
    },
}

/// A share that was sent.
#[derive(Debug)]
struct Sent {
    target: Target,
    hash: [u8; 32],
    is_block: bool,
}

/// Where the end stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// Nobody asked for it.
    No,
    /// The workers are ending; shares without a verdict are waited for until then.
    Shares { until: Duration },
    /// The last report's answer is waited for until then.
    Report { until: Duration },
}

/// What happens next.
enum Next {
    Read(std::io::Result<usize>),
    Found(Option<Found>),
    Timer,
    Cancelled,
    Probed(bool),
}

/// A question whether a pool that we prefer works again.
type Probe = Pin<Box<dyn Future<Output = bool> + Send>>;

pub(super) struct Conversation<'a> {
    upstream: &'a mut Upstream,
    pool: &'a Pool,
    /// Which of the configured pools it is.
    index: usize,
    wire: Wire,
    session: ClientSession,
    stage: Stage,
    /// When work must have come.
    first_job_by: Duration,
    worked_since: Option<Duration>,
    share_taken: bool,
    /// When the pool last answered a share.
    answered_at: Option<Duration>,
    pending: Option<Arc<ClientJob>>,
    /// Findings of older works are for a job that has ended.
    oldest_live: u64,
    sent: HashMap<SubmitToken, Sent>,
    report_every: Option<Duration>,
    report_at: Option<Duration>,
    reports_unanswered: u32,
    heard_at: Duration,
    farewell: Farewell,
    /// How it ends when the farewell is over.
    parting: Ended,
    workers_ended: bool,
    probe: Option<Probe>,
    probe_at: Option<Duration>,
    printed: Allowance,
    input: BytesMut,
    output: Vec<u8>,
    ended: Option<Ended>,
}

impl<'a> Conversation<'a> {
    /// A connection that is open. With `plain` it begins with `mining.subscribe` as in the first
    /// days: some pools hang up on anything else, and then there is no version rolling and no
    /// energy report. It is left, in good order, once a pool before `index` gives work.
    pub(super) fn new(
        upstream: &'a mut Upstream,
        wire: Wire,
        pool: &'a Pool,
        index: usize,
        plain: bool,
    ) -> Self {
        let now = upstream.clock.now();
        let wanted = &upstream.settings;
        let mask = if plain { 0 } else { wanted.version_mask };
        let energy = upstream.energy.is_some() && !plain;
        let settings = session_settings(pool, mask, wanted.suggest_difficulty, energy);
        let probe_at = (index > 0).then(|| now.mono + wanted.timing.probe_every);
        let first_job_by = now.mono + wanted.timing.first_job;
        Self {
            upstream,
            pool,
            index,
            wire,
            session: ClientSession::new(settings, now),
            stage: Stage::Silent,
            first_job_by,
            worked_since: None,
            share_taken: false,
            answered_at: None,
            pending: None,
            oldest_live: 0,
            sent: HashMap::new(),
            report_every: None,
            report_at: None,
            reports_unanswered: 0,
            heard_at: now.mono,
            farewell: Farewell::No,
            parting: Ended::Stopped,
            workers_ended: false,
            probe: None,
            probe_at,
            printed: Allowance::new(PRINTED_MAX, Duration::from_secs(60)),
            input: BytesMut::with_capacity(16 * 1024),
            output: Vec::new(),
            ended: None,
        }
    }

    /// Talks until there is nothing more to say.
    pub(super) async fn run(mut self) -> Result<Ended, WorkersGone> {
        let ended = loop {
            self.settle().await;
            self.flush().await;
            if let Some(ended) = self.ended.take() {
                break ended;
            }
            match self.next().await {
                Next::Read(read) => self.read(read),
                Next::Found(Some(found)) => self.submit(&found),
                Next::Found(None) if !self.is_stopping() => return Err(WorkersGone),
                Next::Found(None) => self.workers_ended = true,
                Next::Timer => self.session.timeout(self.now()),
                Next::Cancelled => {
                    self.upstream.set_phase(Phase::Stopping);
                    self.begin_farewell(Orders::Stop, Ended::Stopped);
                }
                Next::Probed(gives_work) => self.probed(gives_work),
            }
        };
        for _ in 0..self.sent.len() {
            self.upstream.count(Verdict::Unanswered);
        }
        // Over TLS the other side learns that this was the end; it may have gone itself.
        let _gone = timeout(CLOSE_LIMIT, self.wire.shutdown()).await;
        Ok(ended)
    }

    async fn next(&mut self) -> Next {
        let room = self.sent.len() < IN_FLIGHT_MAX && !self.workers_ended;
        let wait = self.next_deadline().saturating_sub(self.upstream.clock.elapsed());
        let parting = self.farewell != Farewell::No;
        let found = &mut self.upstream.ends.found;
        tokio::select! {
            read = self.wire.read_buf(&mut self.input) => Next::Read(read),
            found = found.recv(), if room => Next::Found(found),
            () = sleep(wait) => Next::Timer,
            () = self.upstream.cancel.cancelled(), if !parting => Next::Cancelled,
            gives_work = answer_of(&mut self.probe) => Next::Probed(gives_work),
        }
    }

    fn next_deadline(&self) -> Duration {
        let farewell = match self.farewell {
            Farewell::No => None,
            Farewell::Shares { until } | Farewell::Report { until } => Some(until),
        };
        let probe = self.probe_at.filter(|_| self.probe.is_none());
        let first_job = (self.stage < Stage::Working).then_some(self.first_job_by);
        [self.session.next_timeout(), self.report_at, farewell, probe, first_job]
            .into_iter()
            .flatten()
            .fold(self.heard_at + SILENCE_LIMIT, Duration::min)
    }

    fn read(&mut self, read: std::io::Result<usize>) {
        match read {
            Ok(0) => self.closed(),
            Err(error) if reason::is_cut(&error) && self.stage < Stage::Authorized => self.closed(),
            Err(error) => self.lose(reason::of_io(&error)),
            Ok(_) if self.stage == Stage::Silent && reason::is_tls(&self.input) => {
                self.stage = Stage::Talking;
                self.lose("this port speaks TLS: write stratum+ssl instead of stratum+tcp");
            }
            Ok(_) => {
                let now = self.now();
                self.heard_at = now.mono;
                self.stage = self.stage.max(Stage::Talking);
                let taken = self.session.receive(&self.input, now);
                self.input.clear();
                if let Err(fatal) = taken {
                    self.lose(fatal.to_string());
                }
            }
        }
    }

    async fn flush(&mut self) {
        self.session.transmit(&mut self.output);
        if self.output.is_empty() {
            return;
        }
        let writing = async {
            self.wire.write_all(&self.output).await?;
            self.wire.flush().await
        };
        let written = timeout(WRITE_LIMIT, writing).await;
        self.output.clear();
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.lose(reason::of_io(&error)),
            Err(_) => {
                self.lose(format!("the pool took nothing for {} s", WRITE_LIMIT.as_secs()));
            }
        }
    }

    /// Does all that can be done without waiting: what is due may bring events, and these may make
    /// something due.
    async fn settle(&mut self) {
        loop {
            self.keep_time().await;
            if !self.take_events().await {
                return;
            }
        }
    }

    /// What is due by the clock, apart from the session's own timers.
    async fn keep_time(&mut self) {
        let now = self.upstream.clock.elapsed();
        if now.saturating_sub(self.heard_at) >= SILENCE_LIMIT {
            self.lose(format!("the pool said nothing for {} s", SILENCE_LIMIT.as_secs()));
        }
        if self.stage < Stage::Working && now >= self.first_job_by {
            let seconds = self.upstream.settings.timing.first_job.as_secs_f64();
            self.lose(format!("the pool gave no work within {seconds:.0} s"));
        }
        if self.report_at.is_some_and(|at| now >= at) {
            self.report().await;
        }
        if self.probe_at.is_some_and(|at| now >= at) && self.probe.is_none() {
            self.probe = Some(self.ask_better_pools());
        }
        match self.farewell {
            Farewell::No => {}
            Farewell::Shares { until } => {
                let all_found = self.workers_ended || self.parting == Ended::Outbid;
                if (all_found && self.sent.is_empty()) || now >= until {
                    self.last_report(now).await;
                }
            }
            Farewell::Report { until } => {
                if self.reports_unanswered == 0 || now >= until {
                    self.part();
                }
            }
        }
    }

    fn probed(&mut self, gives_work: bool) {
        self.probe = None;
        let every = self.upstream.settings.timing.probe_every;
        self.probe_at = Some(self.upstream.clock.elapsed() + every);
        if gives_work && self.farewell == Farewell::No {
            tracing::info!("a pool preferred to {} works again", self.pool.url);
            self.begin_farewell(Orders::Idle, Ended::Outbid);
        }
    }

    fn begin_farewell(&mut self, orders: Orders, parting: Ended) {
        self.upstream.ends.orders.send_replace(orders);
        self.parting = parting;
        self.farewell = Farewell::Shares { until: self.upstream.clock.elapsed() + FAREWELL_LIMIT };
    }

    fn part(&mut self) {
        let parting = std::mem::replace(&mut self.parting, Ended::Stopped);
        self.ended.get_or_insert(parting);
    }

    fn is_stopping(&self) -> bool {
        self.farewell != Farewell::No && self.parting == Ended::Stopped
    }

    async fn last_report(&mut self, now: Duration) {
        if self.report_every.is_some() && self.stage >= Stage::Authorized {
            self.report().await;
        }
        self.report_at = None;
        self.farewell = Farewell::Report { until: now + FAREWELL_LIMIT };
        if self.reports_unanswered == 0 {
            self.part();
        }
    }

    fn now(&self) -> Moment {
        self.upstream.clock.now()
    }

    fn ask_better_pools(&self) -> Probe {
        let Upstream { settings, dialer, clock, .. } = &*self.upstream;
        let pools = settings.pools[..self.index].to_vec();
        Box::pin(any_gives_work(pools, dialer.clone(), *clock, settings.timing.first_job))
    }

    /// The pool closed the connection without a word.
    fn closed(&mut self) {
        let hung_up = self.stage < Stage::Authorized;
        self.end(reason::of_close(self.stage).to_owned(), hung_up);
    }

    fn lose(&mut self, reason: impl Into<String>) {
        self.end(reason.into(), self.stage == Stage::Silent);
    }

    fn end(&mut self, reason: String, hung_up: bool) {
        let now = self.upstream.clock.elapsed();
        let lasted = self.worked_since.map(|since| now.saturating_sub(since));
        let of_use = self.share_taken || lasted.is_some_and(|lasted| lasted >= OF_USE_AFTER);
        let ended = match self.is_stopping() {
            true => Ended::Stopped,
            false => Ended::Lost { reason, of_use, hung_up },
        };
        self.ended.get_or_insert(ended);
    }

    /// Whether one more line may be printed that the pool is the cause of.
    fn may_print(&mut self) -> bool {
        self.printed.take(self.upstream.clock.elapsed())
    }
}

async fn answer_of(probe: &mut Option<Probe>) -> bool {
    match probe {
        Some(probe) => probe.await,
        None => std::future::pending().await,
    }
}

async fn any_gives_work(pools: Vec<Pool>, dialer: Dialer, clock: Clock, limit: Duration) -> bool {
    for pool in pools {
        if probe::gives_work(&pool, &dialer, clock, limit).await {
            return true;
        }
    }
    false
}

/// What the session tells.
impl Conversation<'_> {
    /// Says whether there was any.
    async fn take_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.session.poll() {
            any = true;
            match event {
                ClientEvent::Authorized => self.authorized().await,
                ClientEvent::AuthorizationFailed { message } => {
                    let user = &self.pool.user;
                    self.lose(format!("the pool does not take the user name {user}: {message}"));
                }
                ClientEvent::Job(job) => self.take_job(job),
                ClientEvent::Verdict { token, result, latency } => {
                    self.judged(&token, result, latency);
                }
                ClientEvent::EnergyAccepted { interval } => self.energy_accepted(interval).await,
                ClientEvent::EnergyVerdict { result, .. } => self.energy_judged(result),
                ClientEvent::Message(text) if self.may_print() => {
                    tracing::info!("{} says: {text}", self.pool.url);
                }
                ClientEvent::Notice(text) if self.may_print() => {
                    tracing::info!("{}: {text}", self.pool.url);
                }
                ClientEvent::Message(_)
                | ClientEvent::Notice(_)
                | ClientEvent::WorkerVerdict { .. } => {}
                ClientEvent::Reconnect { host, port, wait } => {
                    self.redirect(host.as_deref(), port, wait);
                }
                ClientEvent::Closed { reason } => self.lose(reason),
            }
        }
        any
    }

    async fn authorized(&mut self) {
        if self.stage >= Stage::Authorized {
            return;
        }
        self.stage = Stage::Authorized;
        tracing::info!("{}: {} is authorized", self.pool.url, self.pool.user);
        let now = self.upstream.clock.elapsed();
        let mines_for = self.upstream.settings.pools[self.index].url.to_string();
        self.upstream.status.send_modify(|status| {
            status.connected_at = Some(now);
            status.mines_for = Some(mines_for);
        });
        if self.report_every.is_some() {
            self.report().await;
        }
        if let Some(job) = self.pending.take() {
            self.take_job(job);
        }
    }

    fn take_job(&mut self, job: Arc<ClientJob>) {
        if self.stage < Stage::Authorized {
            self.pending = Some(job);
            return;
        }
        self.stage = Stage::Working;
        self.worked_since.get_or_insert_with(|| self.upstream.clock.elapsed());
        let connection = self.upstream.connections;
        let work = Arc::new(self.upstream.book.work(job, connection));
        if work.job.clean {
            self.oldest_live = work.serial;
        }
        if self.farewell == Farewell::No {
            self.upstream.ends.orders.send_replace(Orders::Mine(Arc::clone(&work)));
        }
        let (difficulty, network) =
            (work.job.target.difficulty(), work.job.network_target.difficulty());
        tracing::debug!(job = work.job.id, clean = work.job.clean, %difficulty, "new work");
        self.upstream.status.send_modify(|status| {
            if status.phase != Phase::Stopping {
                status.phase = Phase::Mining;
            }
            status.difficulty = Some(difficulty);
            status.network_difficulty = Some(network);
        });
    }

    fn submit(&mut self, found: &Found) {
        let work = &found.work;
        let is_block = work.job.network_target.is_met_by(&found.hash);
        let elsewhere = work.connection != self.upstream.connections;
        if elsewhere || (work.serial < self.oldest_live && !is_block) {
            self.upstream.count(Verdict::Unsent);
            return;
        }
        let solution = Solution {
            job_id: work.job.id.clone(),
            xn2: found.xn2.clone(),
            ntime: found.ntime,
            nonce: found.nonce,
            version_bits: work.version_bits(found.version),
        };
        let now = self.now();
        let token = self.session.submit(&solution, now);
        self.sent.insert(token, Sent { target: work.job.target, hash: found.hash, is_block });
    }

    fn judged(&mut self, token: &SubmitToken, result: Result<(), PoolError>, latency: Duration) {
        let Some(sent) = self.sent.remove(token) else { return };
        let verdict =
            result.as_ref().map_or_else(|e| Verdict::of_code(e.code), |()| Verdict::Accepted);
        match result {
            Ok(()) => self.share_taken = true,
            // Every new block makes a few: not worth a line each.
            Err(error) if verdict == Verdict::Stale => tracing::debug!("stale share: {error}"),
            Err(error) if self.may_print() => {
                tracing::warn!("{}: share refused: {error}", self.pool.url);
            }
            Err(_) => {}
        }
        self.upstream.count(verdict);
        let now = self.upstream.clock.elapsed();
        if verdict != Verdict::Unanswered {
            self.answered_at = Some(now);
        } else if self.answered_at.is_none_or(|at| at < now.saturating_sub(latency)) {
            self.lose(format!("the pool answered no share for {} s", latency.as_secs()));
        }
        self.upstream.status.send_modify(|status| {
            status.latency = Some(latency);
            if verdict == Verdict::Accepted {
                let mut hash = sent.hash;
                hash.reverse();
                let difficulty = Target::from_be_bytes(hash).difficulty();
                status.best = Some(status.best.map_or(difficulty, |best| best.harder(difficulty)));
                status.proven = status.proven.saturating_add(sent.target.work());
                status.blocks += u64::from(sent.is_block);
            }
        });
    }

    fn redirect(&mut self, host: Option<&str>, port: Option<u16>, wait: Duration) {
        if self.ended.is_some() || self.farewell != Farewell::No {
            return;
        }
        let now = self.upstream.clock.elapsed();
        let origin = &self.upstream.settings.pools[self.index].url;
        let to = redirect::target(origin, &self.pool.url, host, port).and_then(|to| {
            let often = || "it has sent us on often enough for now".to_owned();
            self.upstream.redirections[self.index].take(now).then_some(to).ok_or_else(often)
        });
        match to {
            Ok(to) => {
                let wait = wait.min(REDIRECT_WAIT_MAX);
                self.ended = Some(Ended::Redirected { to, wait });
            }
            Err(why) if self.may_print() => {
                tracing::warn!("{}: wants us elsewhere, and we stay: {why}", self.pool.url);
            }
            Err(_) => {}
        }
    }
}
