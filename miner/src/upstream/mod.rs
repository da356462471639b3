//! The upstream task: keeps a connection to the first pool that works, turns its jobs into work
//! for the workers and their findings into shares.
//!
//! Read [`Upstream::run`], then [`connection`]. Pools are tried in the order given; a round in
//! which none worked is followed by a pause ([`backoff`]). Every failure has a reason in plain
//! words, which is logged, shown in the API and kept for the pool's next attempt. What it
//! deliberately does not do: hash, judge shares, or speak the protocol itself (that is
//! [`stratum::v1::client`]).

pub mod backoff;
mod connection;
mod probe;
mod reason;
pub mod status;
pub mod url;

use std::time::Duration;

use config::Secret;
use stratum::v1::client::ClientSettings;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use units::Difficulty;

use self::backoff::Backoff;
use self::connection::{Conversation, Ended};
use self::status::{Phase, Status, Verdict};
use self::url::PoolUrl;
use crate::clock::Clock;
use crate::instruments::Desk;
use crate::metrics::ShareMetrics;
use crate::space::Layout;
use crate::work::Book;
use crate::workers::{Ends, Found, Orders};

/// How long opening a TCP connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connections in a row to one pool that redirects us, or that needs a plainer opening.
const ATTEMPTS_MAX: usize = 5;

/// A pool and who we are there.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Where it is.
    pub url: PoolUrl,
    /// The user name: at a Wattproof pool the payout address, a dot, and the rig's name.
    pub user: String,
    /// The password, often only "x".
    pub password: Secret,
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
    /// How often pools that are preferred to the present one are tried again.
    pub probe_every: Duration,
}

/// The task.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
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
    /// A pool gave work and was lost.
    Worked,
    /// No pool gave work.
    Failed,
}

/// The workers ended although nobody told them to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hashing threads ended by themselves")]
pub struct WorkersGone;

impl Upstream {
    /// A task that is ready to run; `energy` is whom it asks for reports, where there is
    /// anything to report.
    #[must_use]
    pub fn new(
        settings: Settings,
        clock: Clock,
        ends: Ends,
        layout: Layout,
        energy: Option<Desk>,
        metrics: ShareMetrics,
        cancel: CancellationToken,
    ) -> (Self, watch::Receiver<Status>) {
        let (status, listener) = watch::channel(Status::new());
        let book = Book::new(layout);
        let connections = 0;
        let task =
            Self { settings, clock, ends, book, energy, metrics, status, cancel, connections };
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

    /// Tries each pool once, in order, until one has given work.
    async fn round(&mut self) -> Result<Round, WorkersGone> {
        let pools = self.settings.pools.clone();
        for (index, pool) in pools.iter().enumerate() {
            if let Some(round) = self.try_pool(pool, &pools[..index]).await? {
                return Ok(round);
            }
        }
        Ok(Round::Failed)
    }

    /// Follows one pool through redirections, and to a plainer opening where it hangs up on the
    /// usual one. `None`: it gave no work, the next is to be tried.
    async fn try_pool(
        &mut self,
        pool: &Pool,
        better: &[Pool],
    ) -> Result<Option<Round>, WorkersGone> {
        let mut target = pool.clone();
        let mut plain = false;
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(&target, better, plain).await? {
                Ended::Stopped | Ended::Outbid => return Ok(Some(Round::Ended)),
                Ended::Lost { hung_up: true, reason, .. } if !plain => {
                    self.note_failure(&target, reason);
                    tracing::info!("{}: once more, with the simplest opening", target.url);
                    plain = true;
                }
                Ended::Lost { reason, mined, .. } => {
                    self.note_failure(&target, reason);
                    return Ok(mined.then_some(Round::Worked));
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
        self.note_failure(&target, "it only ever sends us elsewhere".to_owned());
        Ok(None)
    }

    /// One connection from its opening to its end.
    async fn attempt(
        &mut self,
        pool: &Pool,
        better: &[Pool],
        plain: bool,
    ) -> Result<Ended, WorkersGone> {
        self.status.send_modify(|status| {
            status.phase = Phase::Connecting;
            status.pool = pool.url.to_string();
            status.user.clone_from(&pool.user);
        });
        let stream = match self.connect(&pool.url).await? {
            Some(Ok(stream)) => stream,
            Some(Err(reason)) => {
                return Ok(Ended::Lost { reason, mined: false, hung_up: false });
            }
            None => return Ok(Ended::Stopped),
        };
        self.connections += 1;
        let ended = Conversation::new(self, stream, pool, better, plain).run().await;
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
    async fn connect(
        &mut self,
        url: &PoolUrl,
    ) -> Result<Option<Result<TcpStream, String>>, WorkersGone> {
        let opening = timeout(CONNECT_LIMIT, TcpStream::connect((url.host(), url.port())));
        let cancel = self.cancel.clone();
        let opened = tokio::select! {
            opened = opening => opened,
            () = cancel.cancelled() => return Ok(None),
            gone = discard(&mut self.ends.found, &self.status, &self.metrics) => return Err(gone),
        };
        Ok(Some(match opened {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|error| reason::of_io(&error)).map(|()| stream)
            }
            Ok(Err(error)) => Err(reason::of_io(&error)),
            Err(_) => Err(format!("no answer within {} s", CONNECT_LIMIT.as_secs())),
        }))
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
fn random() -> u64 {
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

/// A pool that redirects us may do so to a host that we were told of ourselves, and to no other:
/// an unencrypted connection could carry anybody's redirection.
fn redirect_target(
    pools: &[Pool],
    current: &PoolUrl,
    host: Option<&str>,
    port: Option<u16>,
) -> Option<PoolUrl> {
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| current.host());
    let known = current.host().eq_ignore_ascii_case(host)
        || pools.iter().any(|pool| pool.url.host().eq_ignore_ascii_case(host));
    known.then(|| PoolUrl::new(host, port.unwrap_or_else(|| current.port()))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(url: &str) -> Pool {
        let url = url.parse().unwrap();
        Pool { url, user: "u".to_owned(), password: Secret::new("x") }
    }

    #[test]
    fn a_redirection_is_followed_to_hosts_that_we_were_told_of_only() {
        let pools = [pool("stratum+tcp://a.example:3333"), pool("stratum+tcp://b.example:3333")];
        let follow = |host, port| redirect_target(&pools, &pools[0].url, host, port);
        let to = |url: &str| Some(url.parse::<PoolUrl>().unwrap());
        assert_eq!(follow(None, None), to("stratum+tcp://a.example:3333"));
        assert_eq!(follow(Some(""), Some(4444)), to("stratum+tcp://a.example:4444"));
        assert_eq!(follow(Some("B.example"), Some(5)), to("stratum+tcp://B.example:5"));
        assert_eq!(follow(Some("c.example"), None), None);
        assert_eq!(follow(Some("evil.a.example"), None), None);
        assert_eq!(follow(Some("a.example.evil"), None), None);
        assert_eq!(follow(None, Some(0)), None);
    }
}
