//! The upstream task: keeps a connection to the first pool that works, turns its jobs into work
//! for the workers and their findings into shares.
//!
//! Read [`Upstream::run`], then [`dial`] and [`connection`]. Pools are tried in the order given; a
//! round in which none worked is followed by a pause ([`backoff`]). What proves that a pool works
//! is a job, and one that gives a job and nothing after it is passed over too. Every failure has
//! a reason in plain words, which is logged, shown in the API and kept for the pool's next attempt.
//! What it deliberately does not do: hash, judge shares, or speak the protocol itself (that is
//! [`stratum::v1::client`]).

pub mod backoff;
mod connection;
pub(crate) mod dial;
mod probe;
pub mod proxy;
pub(crate) mod reason;
mod redirect;
pub mod status;
pub mod tls;
pub mod url;

use std::time::Duration;

use config::Secret;
use stratum::v1::client::ClientSettings;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use units::Difficulty;

use self::backoff::Backoff;
use self::connection::{Conversation, Ended};
use self::dial::{Dialer, Wire};
use self::proxy::Proxy;
use self::redirect::Allowance;
use self::status::{Phase, Status, Verdict};
use self::tls::Fingerprint;
use self::url::PoolUrl;
use crate::clock::Clock;
use crate::hands::{Ends, Found, Orders};
use crate::instruments::Desk;
use crate::metrics::ShareMetrics;
use crate::space::Layout;
use crate::work::Book;

/// A pool and who we are there.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Where it is.
    pub url: PoolUrl,
    /// The user name: at a Wattproof pool the payout address, a dot, and the rig's name.
    pub user: String,
    /// The password, often only "x".
    pub password: Secret,
    /// The one certificate that it may show; without, a known authority must have signed it.
    pub fingerprint: Option<Fingerprint>,
    /// Through which proxy it is reached.
    pub proxy: Option<Proxy>,
}

/// How long things may take; no key sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Each step of opening a connection.
    pub connect: Duration,
    /// From an open connection to the first job, which is what proves that a pool works.
    pub first_job: Duration,
    /// How often pools that are preferred to the present one are tried again.
    pub probe_every: Duration,
}

/// What the upstream task is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// In the order of preference; at least one.
    pub pools: Vec<Pool>,
    /// Version bits that we offer to roll; 0 for none.
    pub version_mask: u32,
    /// A difficulty to ask for.
    pub suggest_difficulty: Option<Difficulty>,
    /// How long things may take.
    pub timing: Timing,
}

/// The task.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    dialer: Dialer,
    /// One for each pool.
    redirections: Vec<Allowance>,
    clock: Clock,
    ends: Ends,
    book: Book,
    energy: Option<Desk>,
    metrics: ShareMetrics,
    status: watch::Sender<Status>,
    cancel: CancellationToken,
    connections: u64,
}

/// How a round over the pools came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// In good order: there is no need to wait before the next.
    Ended,
    /// A pool was of use and was lost.
    Worked,
    /// No pool was of use.
    Failed,
}

/// The workers ended although nobody told them to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hashing threads ended by themselves")]
pub struct WorkersGone;

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_job: Duration::from_secs(60),
            // Often enough to be back at a pool soon, and seldom enough to be no burden to it.
            probe_every: Duration::from_secs(60),
        }
    }
}

impl Upstream {
    /// A task that is ready to run, with work for one device of each layout; `energy` is whom it asks for reports, where there is
    /// anything to report.
    #[must_use]
    pub fn new(
        settings: Settings,
        clock: Clock,
        ends: Ends,
        layouts: Vec<Layout>,
        energy: Option<Desk>,
        metrics: ShareMetrics,
        cancel: CancellationToken,
    ) -> (Self, watch::Receiver<Status>) {
        let (status, listener) = watch::channel(Status::new());
        let book = Book::new(layouts);
        let task = Self {
            dialer: Dialer::new(tls::authorities(), settings.timing.connect),
            redirections: vec![Allowance::of_redirections(); settings.pools.len()],
            settings,
            clock,
            ends,
            book,
            energy,
            metrics,
            status,
            cancel,
            connections: 0,
        };
        (task, listener)
    }

    /// Mines until cancelled; then the workers have ended and every verdict that came in time is
    /// counted.
    ///
    /// # Errors
    /// When the workers end by themselves.
    pub async fn run(mut self) -> Result<(), WorkersGone> {
        let mut backoff = Backoff::new();
        while !self.cancel.is_cancelled() {
            match self.round().await? {
                Round::Ended => continue,
                Round::Worked => backoff.reset(),
                Round::Failed => {}
            }
            let wait = backoff.next(random());
            self.set_phase(Phase::Waiting);
            tracing::info!("trying again in {:.1} s", wait.as_secs_f64());
            self.pause(wait).await?;
        }
        self.stop_workers().await;
        Ok(())
    }

    /// Tries each pool once, in order, until one was of use.
    async fn round(&mut self) -> Result<Round, WorkersGone> {
        for index in 0..self.settings.pools.len() {
            if let Some(round) = self.try_pool(index).await? {
                return Ok(round);
            }
        }
        Ok(Round::Failed)
    }

    /// Follows one pool through redirections, of which only so many are followed, and to a plainer
    /// opening where it hangs up on the usual one. `None`: it was of no use, the next is to be
    /// tried.
    async fn try_pool(&mut self, index: usize) -> Result<Option<Round>, WorkersGone> {
        let mut target = self.settings.pools[index].clone();
        let mut plain = false;
        loop {
            match self.attempt(index, &target, plain).await? {
                Ended::Stopped | Ended::Outbid => return Ok(Some(Round::Ended)),
                Ended::Lost { hung_up: true, reason, .. } if !plain => {
                    self.note_failure(&target, reason);
                    tracing::info!("{}: once more, with the simplest opening", target.url);
                    plain = true;
                }
                Ended::Lost { reason, of_use, .. } => {
                    self.note_failure(&target, reason);
                    return Ok(of_use.then_some(Round::Worked));
                }
                Ended::Redirected { to, wait } => {
                    tracing::info!("{} sends us to {to}", target.url);
                    self.pause(wait).await?;
                    target.url = to;
                }
            }
            if self.cancel.is_cancelled() {
                return Ok(Some(Round::Ended));
            }
        }
    }

    /// One connection from its opening to its end: to the pool of this index, wherever that has
    /// sent us.
    async fn attempt(
        &mut self,
        index: usize,
        pool: &Pool,
        plain: bool,
    ) -> Result<Ended, WorkersGone> {
        self.status.send_modify(|status| {
            status.phase = Phase::Connecting;
            status.pool = pool.url.to_string();
            status.user.clone_from(&pool.user);
        });
        let wire = match self.connect(pool).await? {
            Some(Ok(wire)) => wire,
            Some(Err(reason)) => {
                return Ok(Ended::Lost { reason, of_use: false, hung_up: false });
            }
            None => return Ok(Ended::Stopped),
        };
        self.connections += 1;
        let ended = Conversation::new(self, wire, pool, index, plain).run().await;
        if !self.cancel.is_cancelled() {
            self.ends.orders.send_replace(Orders::Idle);
        }
        self.status.send_modify(|status| {
            status.connected_at = None;
            status.difficulty = None;
        });
        ended
    }

    /// Opens a connection; `None` when told to stop meanwhile.
    async fn connect(&mut self, pool: &Pool) -> Result<Option<Result<Wire, String>>, WorkersGone> {
        let (dialer, cancel) = (self.dialer.clone(), self.cancel.clone());
        tokio::select! {
            opened = dialer.open(pool) => Ok(Some(opened)),
            () = cancel.cancelled() => Ok(None),
            gone = discard(&mut self.ends.found, &self.status, &self.metrics) => Err(gone),
        }
    }

    /// Waits without a connection.
    async fn pause(&mut self, wait: Duration) -> Result<(), WorkersGone> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.cancel.cancelled() => Ok(()),
            gone = discard(&mut self.ends.found, &self.status, &self.metrics) => Err(gone),
        }
    }

    /// Tells the workers to end and waits until they have.
    async fn stop_workers(&mut self) {
        self.set_phase(Phase::Stopping);
        self.ends.orders.send_replace(Orders::Stop);
        let _all = discard(&mut self.ends.found, &self.status, &self.metrics).await;
    }

    fn note_failure(&self, pool: &Pool, reason: String) {
        tracing::warn!("{}: {reason}", pool.url);
        self.status.send_modify(|status| {
            status.failures += 1;
            status.last_failure = Some(format!("{}: {reason}", pool.url));
        });
    }

    fn set_phase(&self, phase: Phase) {
        self.status.send_modify(|status| status.phase = phase);
    }

    fn count(&self, verdict: Verdict) {
        count(&self.status, &self.metrics, verdict);
    }
}

/// Counts findings that have nowhere to go, until the last worker has ended.
async fn discard(
    found: &mut mpsc::Receiver<Found>,
    status: &watch::Sender<Status>,
    metrics: &ShareMetrics,
) -> WorkersGone {
    while found.recv().await.is_some() {
        count(status, metrics, Verdict::Unsent);
    }
    WorkersGone
}

/// The one place where a share's verdict is counted.
fn count(status: &watch::Sender<Status>, metrics: &ShareMetrics, verdict: Verdict) {
    metrics.add(verdict);
    status.send_modify(|status| status.shares.add(verdict));
}

/// For jitter only: without a source of randomness the wait is merely not spread.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return u64::MAX;
    }
    u64::from_le_bytes(bytes)
}

/// What we bring to a connection.
fn session_settings(
    pool: &Pool,
    version_mask: u32,
    suggest_difficulty: Option<Difficulty>,
    energy: bool,
) -> ClientSettings {
    ClientSettings {
        user: pool.user.clone(),
        password: pool.password.expose().to_owned(),
        agent: format!("wattproof-miner/{}", env!("CARGO_PKG_VERSION")),
        version_mask,
        suggest_difficulty,
        energy,
    }
}
