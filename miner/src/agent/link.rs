//! One connection to the pool that mines nothing: lets its workers in, and reports for them.
//!
//! Read [`Link::run`]. A pool takes only so many workers on a connection, so a farm has several links.
//! Each reports when its workers are let in, then at the pool's interval, and once more at the end. A
//! worker that the pool does not know, or whose report it refuses, keeps no other from reporting.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;
use stratum::v1::client::{ClientEvent, ClientSession, ClientSettings, PoolError, SubmitToken};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::farm::{Desk, Reported};
use crate::clock::Clock;
use crate::upstream::backoff::Backoff;
use crate::upstream::dial::{Dialer, Wire};
use crate::upstream::{Pool, random, reason};

/// Workers of one connection; our pool takes up to 128.
pub const WORKERS: usize = 100;
/// How long writing may take before the connection counts as dead.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long a pool may be silent: jobs come at least every minute or two.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);
/// How long the last reports' answers are waited for, beside what devices may take over theirs.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// Workers that are let in within so long report together.
const TOGETHER: Duration = Duration::from_secs(1);

/// How the links stand, for the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Workers that the pool let in.
    pub workers: usize,
    /// Reports that it took.
    pub reports: u64,
    /// What went wrong last, in plain words.
    pub last_failure: Option<String>,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where to report.
    pub pool: Pool,
    /// For whom, at most [`WORKERS`].
    pub workers: Vec<String>,
    /// Where reports are asked for.
    pub desk: Desk,
    /// How a connection is opened.
    pub dialer: Dialer,
    /// The clock.
    pub clock: Clock,
    /// Reports are this far apart at the least, whatever a pool asks for: devices are asked for each.
    pub spacing: Duration,
    /// How long the devices may take over the last ones.
    pub patience: Duration,
    /// Where it says how it stands.
    pub standing: watch::Sender<Standing>,
}

/// One connection's state.
struct Talk<'a> {
    link: &'a Link,
    session: ClientSession,
    /// Workers that were let in.
    admitted: Vec<String>,
    /// What was sent for which worker, and is not answered.
    asked: BTreeMap<SubmitToken, String>,
    reported: BTreeMap<SubmitToken, String>,
    /// Reports that were asked of the farm, and have not come.
    awaited: usize,
    made: mpsc::Receiver<Reported>,
    reply: mpsc::Sender<Reported>,
    report_every: Option<Duration>,
    report_at: Option<Duration>,
    heard_at: Duration,
}

impl Link {
    /// Reports until cancelled.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let mut backoff = Backoff::new();
        while !cancel.is_cancelled() {
            let ended = self.connection(&cancel).await;
            let Err(why) = ended else { return };
            tracing::warn!("{}: {why}", self.pool.url);
            let had_reported = self.standing.borrow().workers > 0;
            self.standing.send_modify(|standing| {
                standing.workers = 0;
                standing.last_failure = Some(why);
            });
            if had_reported {
                backoff.reset();
            }
            tokio::select! {
                () = sleep(backoff.next(random())) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// One connection from its opening to its end; `Ok` when told to stop.
    async fn connection(&self, cancel: &CancellationToken) -> Result<(), String> {
        let mut wire = tokio::select! {
            opened = self.dialer.open(&self.pool) => opened?,
            () = cancel.cancelled() => return Ok(()),
        };
        let mut talk = Talk::new(self);
        let mut input = BytesMut::with_capacity(16 * 1024);
        loop {
            talk.flush(&mut wire).await?;
            let wait = talk.next_deadline().saturating_sub(self.clock.elapsed());
            tokio::select! {
                read = wire.read_buf(&mut input) => match read {
                    Ok(0) => return Err("the pool closed the connection".to_owned()),
                    Ok(_) => talk.hear(&mut input)?,
                    Err(error) => return Err(reason::of_io(&error)),
                },
                Some(reported) = talk.made.recv() => talk.send(reported),
                () = sleep(wait) => talk.keep_time()?,
                () = cancel.cancelled() => break,
            }
            talk.ask_when_due().await;
        }
        talk.say_goodbye(&mut wire, &mut input).await;
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(change);
    }
}

impl<'a> Talk<'a> {
    fn new(link: &'a Link) -> Self {
        let now = link.clock.now();
        let (first, others) = link
            .workers
            .split_first()
            .map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
        let settings = ClientSettings {
            user: first.to_owned(),
            password: link.pool.password.expose().to_owned(),
            agent: format!("wattproof-agent/{}", env!("CARGO_PKG_VERSION")),
            version_mask: 0,
            suggest_difficulty: None,
            energy: true,
        };
        let mut session = ClientSession::new(settings, now);
        let ask = |worker: &String| (session.authorize_too(worker, now), worker.clone());
        let asked = others.iter().map(ask).collect();
        // Room for two turns of all workers: a slow device's report may come with the next one's.
        let (reply, made) = mpsc::channel(2 * WORKERS);
        Self {
            link,
            session,
            admitted: Vec::new(),
            asked,
            reported: BTreeMap::new(),
            awaited: 0,
            made,
            reply,
            report_every: None,
            report_at: None,
            heard_at: now.mono,
        }
    }

    async fn flush(&mut self, wire: &mut Wire) -> Result<(), String> {
        let mut output = Vec::new();
        self.session.transmit(&mut output);
        if output.is_empty() {
            return Ok(());
        }
        let writing = async {
            wire.write_all(&output).await?;
            wire.flush().await
        };
        match timeout(WRITE_LIMIT, writing).await {
            Ok(written) => written.map_err(|error| reason::of_io(&error)),
            Err(_) => Err(format!("the pool took nothing for {} s", WRITE_LIMIT.as_secs())),
        }
    }

    fn next_deadline(&self) -> Duration {
        let silence = self.heard_at + SILENCE_LIMIT;
        [self.session.next_timeout(), self.report_at]
            .into_iter()
            .flatten()
            .fold(silence, Duration::min)
    }

    fn keep_time(&mut self) -> Result<(), String> {
        let now = self.link.clock.now();
        if now.mono.saturating_sub(self.heard_at) >= SILENCE_LIMIT {
            return Err(format!("the pool said nothing for {} s", SILENCE_LIMIT.as_secs()));
        }
        self.session.timeout(now);
        self.take_events()
    }

    fn hear(&mut self, input: &mut BytesMut) -> Result<(), String> {
        let now = self.link.clock.now();
        self.heard_at = now.mono;
        let taken = self.session.receive(input, now);
        input.clear();
        self.take_events()?;
        taken.map_err(|fatal| fatal.to_string())
    }

    fn take_events(&mut self) -> Result<(), String> {
        while let Some(event) = self.session.poll() {
            match event {
                ClientEvent::Authorized => self.admit(self.link.workers[0].clone()),
                ClientEvent::AuthorizationFailed { message } => {
                    self.refused(&self.link.workers[0].clone(), &message);
                }
                ClientEvent::WorkerVerdict { token, result } => {
                    let Some(worker) = self.asked.remove(&token) else { continue };
                    match result {
                        Ok(()) => self.admit(worker),
                        Err(error) => self.refused(&worker, &error.message),
                    }
                }
                ClientEvent::EnergyAccepted { interval } => {
                    self.report_every = Some(interval.max(self.link.spacing));
                    self.report_soon();
                }
                ClientEvent::EnergyVerdict { token, result } => self.judged(token, result),
                ClientEvent::Closed { reason } => return Err(reason),
                ClientEvent::Reconnect { .. } => {
                    tracing::info!("{}: wants us elsewhere, and we stay", self.link.pool.url);
                }
                ClientEvent::Message(text) => {
                    tracing::info!("{} says: {text}", self.link.pool.url);
                }
                ClientEvent::Job(_) | ClientEvent::Notice(_) | ClientEvent::Verdict { .. } => {}
            }
        }
        Ok(())
    }

    fn admit(&mut self, worker: String) {
        self.admitted.push(worker);
        let admitted = self.admitted.len();
        self.link.note(|standing| standing.workers = admitted);
        self.report_soon();
    }

    fn refused(&self, worker: &str, why: &str) {
        tracing::warn!("{}: {worker} is not let in: {why}", self.link.pool.url);
        self.link.note(|standing| standing.last_failure = Some(format!("{worker}: {why}")));
    }

    /// Every worker that was let in since reports with the next: all of them come within a moment.
    fn report_soon(&mut self) {
        if self.report_every.is_some() {
            let soon = self.link.clock.elapsed() + TOGETHER;
            self.report_at = Some(self.report_at.map_or(soon, |at| at.min(soon)));
        }
    }

    async fn ask_when_due(&mut self) {
        let now = self.link.clock.elapsed();
        if self.report_at.is_some_and(|at| now >= at) {
            self.ask().await;
        }
    }

    /// Asks for everybody's reports, which then come one by one.
    async fn ask(&mut self) {
        let Some(interval) = self.report_every else { return };
        self.report_at = Some(self.link.clock.elapsed() + interval);
        self.awaited += self.admitted.len();
        self.link.desk.ask(self.admitted.clone(), self.reply.clone()).await;
    }

    fn send(&mut self, (worker, report): Reported) {
        self.awaited = self.awaited.saturating_sub(1);
        match report {
            Ok(report) => {
                let token = self.session.report_energy(report, self.link.clock.now());
                self.reported.insert(token, worker);
            }
            Err(why) => tracing::warn!("no report for {worker}: {why}"),
        }
    }

    fn judged(&mut self, token: SubmitToken, result: Result<(), PoolError>) {
        let Some(worker) = self.reported.remove(&token) else { return };
        match result {
            Ok(()) => self.link.note(|standing| standing.reports += 1),
            Err(error) => {
                let why = format!("{worker}: its report was refused: {}", error.message);
                tracing::warn!("{}: {why}", self.link.pool.url);
                self.link.note(|standing| standing.last_failure = Some(why));
            }
        }
    }

    /// The last reports, and their answers for as long as they are worth waiting for.
    async fn say_goodbye(&mut self, wire: &mut Wire, input: &mut BytesMut) {
        let limit = FAREWELL_LIMIT + self.link.patience;
        let parting = async {
            self.awaited = 0;
            self.ask().await;
            while self.awaited > 0 || !self.reported.is_empty() {
                self.flush(wire).await?;
                tokio::select! {
                    Some(reported) = self.made.recv() => self.send(reported),
                    read = wire.read_buf(input) => match read {
                        Ok(0) | Err(_) => return Ok(()),
                        Ok(_) => self.hear(input)?,
                    },
                }
            }
            wire.shutdown().await.map_err(|error| reason::of_io(&error))
        };
        match timeout(limit, parting).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::debug!("{}: {why}", self.link.pool.url),
            Err(_) => tracing::debug!("{}: not every last report was answered", self.link.pool.url),
        }
    }
}
