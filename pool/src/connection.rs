//! One miner's connection: bytes in, the session's events out to the ledger and the block task,
//! answers and jobs back.
//!
//! Read [`Connection::run`]. The session decides everything about the protocol; this task only
//! moves bytes and messages, and it alone owns both socket and session. It deliberately holds no
//! lock and shares nothing with other connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bitcoin::Network;
use defences::{Defence, stands};
use ledger::{Share, WorkerId};
use stratum::v1::server::{
    AcceptedShare, Event, RequestToken, Session, Settings, ShareToken, SubscriptionId, WorkerKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    blocks::{Found, RECORD_FIRST},
    clock::Clock,
    config::{Ack, HostPort},
    jobs::Announcement,
    ledger_task::{Answer, Command, Done, LedgerHandle, LedgerUnavailable},
    metrics::StratumMetrics,
    resume::Subscriptions,
    user::User,
};

/// Bytes read from the socket at once.
const READ_SIZE: usize = 4096;
/// A peer that takes no bytes for this long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// How long an ending connection waits for the ledger's last answers.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// When the pool stops, miners come back to other hosts over this many seconds, not all at once.
const RECONNECT_OVER: u32 = 10;
/// With no timer set the session is looked at this often all the same.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// What every connection of a pool is given.
#[derive(Debug, Clone)]
pub struct Shared {
    /// How sessions behave.
    pub settings: Arc<Settings>,
    /// The chain that payout addresses must belong to.
    pub network: Network,
    /// When a share is answered.
    pub ack: Ack,
    /// Jobs as they come.
    pub jobs: watch::Receiver<Option<Arc<Announcement>>>,
    /// What people at every miner are to be shown, while there is something.
    pub notice: watch::Receiver<Option<Arc<str>>>,
    /// Where miners are sent when the pool stops.
    pub reconnect: Arc<[HostPort]>,
    /// The ledger.
    pub ledger: LedgerHandle,
    /// Where shares that are blocks go first.
    pub found: mpsc::Sender<Found>,
    /// The pool's clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: StratumMetrics,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The miner closed it.
    #[error("closed by the miner")]
    Peer,
    /// The pool is stopping.
    #[error("the pool is stopping")]
    Stopping,
    /// The session ended it, and says why.
    #[error("{0}")]
    Session(String),
    /// The network failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer takes no bytes.
    #[error("the miner took no bytes for {} s", WRITE_LIMIT.as_secs())]
    SlowReader,
    /// Shares can no longer be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
}

/// One connection's state.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    peer: SocketAddr,
    session: Session,
    shared: Shared,
    subscriptions: Subscriptions,
    /// Decides where the miner is sent when the pool stops, and when.
    number: u32,
    /// A notice that the miner is not ready for yet.
    unsaid: Option<Arc<str>>,
    answers_in: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    /// The workers authorized here; a session's key is a place in this list.
    workers: Vec<Worker>,
    /// Requests that the ledger still has to answer.
    open: usize,
    /// The job to be timed once its bytes are written.
    announcing: Option<Arc<Announcement>>,
    outgoing: Vec<u8>,
}

/// A worker of this connection. It gets its row in the ledger with its first accepted share: a
/// name costs proof of work, so that nobody fills the ledger with names.
#[derive(Debug)]
struct Worker {
    user: User,
    id: Option<WorkerId>,
    /// A report of energy that came before the first share, to be taken with it: the baseline.
    baseline: Option<(RequestToken, String)>,
}

impl Connection {
    /// A session for a freshly accepted socket. Its subscription can be resumed by `id`.
    #[must_use]
    pub fn new(
        socket: TcpStream,
        peer: SocketAddr,
        xn1: [u8; 4],
        id: SubscriptionId,
        subscriptions: Subscriptions,
        mut shared: Shared,
    ) -> Self {
        let now = shared.clock.now();
        let session = Session::new(Arc::clone(&shared.settings), xn1, now).resumable(id);
        // Room for every request that a session may have open, so that the ledger never waits.
        let limits = &shared.settings.limits;
        let (answers_in, answers) = mpsc::channel(limits.max_in_flight + limits.max_waiting);
        shared.jobs.mark_changed();
        shared.notice.mark_changed();
        Self {
            socket,
            peer,
            session,
            shared,
            subscriptions,
            number: u32::from_be_bytes(xn1),
            unsaid: None,
            answers_in,
            answers,
            workers: Vec::new(),
            open: 0,
            announcing: None,
            outgoing: Vec::new(),
        }
    }

    /// Serves the miner until either side ends it.
    pub async fn run(mut self, cancel: CancellationToken) -> End {
        let end = match self.serve(&cancel).await {
            Ok(end) | Err(end) => end,
        };
        // At once, so that a miner that is quickly back finds it; answers may still be under way.
        if let Some(kept) = self.session.end() {
            self.subscriptions.keep(kept).await;
        }
        // A peer that takes no bytes, or is gone, is owed none.
        let reachable = !matches!(end, End::SlowReader | End::Io(_));
        if reachable && let Err(error) = self.finish(&end).await {
            tracing::debug!(peer = %self.peer, "last answers were lost: {error}");
        }
        tracing::debug!(peer = %self.peer, "connection ended: {end}");
        end
    }

    async fn serve(&mut self, cancel: &CancellationToken) -> Result<End, End> {
        let mut buffer = [0; READ_SIZE];
        loop {
            let now = self.shared.clock.now();
            let wake = self.session.next_timeout().unwrap_or(now.mono + IDLE_CHECK);
            tokio::select! {
                () = cancel.cancelled() => return Ok(End::Stopping),
                read = self.socket.read(&mut buffer), if self.session.wants_input() => {
                    let length = read?;
                    if length == 0 {
                        return Ok(End::Peer);
                    }
                    let now = self.shared.clock.now();
                    let received = self.session.receive(&buffer[..length], now);
                    // What came before the fatal byte is still handled and answered.
                    self.handle_events().await?;
                    if let Err(fatal) = received {
                        return Ok(End::Session(fatal.to_string()));
                    }
                }
                Some(answer) = self.answers.recv() => self.take_answers(answer),
                changed = self.shared.jobs.changed() => {
                    if changed.is_err() {
                        return Ok(End::Stopping);
                    }
                    self.take_job();
                }
                Ok(()) = self.shared.notice.changed() => {
                    self.unsaid = self.shared.notice.borrow_and_update().clone();
                }
                () = sleep_until(self.shared.clock.instant(wake)) => {
                    self.session.timeout(self.shared.clock.now());
                    self.handle_events().await?;
                }
            }
            if self.session.is_ready()
                && let Some(notice) = self.unsaid.take()
            {
                self.session.show_message(&notice);
            }
            self.write().await?;
        }
    }

    /// Waits for the answers that the ledger still owes, and writes what is left.
    async fn finish(&mut self, end: &End) -> Result<(), End> {
        let drained = timeout(DRAIN_LIMIT, async {
            while self.open > 0 {
                let Some(answer) = self.answers.recv().await else { break };
                self.take_answers(answer);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(peer = %self.peer, "{} requests were left unanswered", self.open);
        }
        if matches!(end, End::Stopping) {
            self.send_on();
        }
        self.write().await?;
        self.socket.shutdown().await?;
        Ok(())
    }

    /// Tells the miner where to go on, where the operator has somewhere.
    fn send_on(&mut self) {
        let hosts = &self.shared.reconnect;
        let Ok(count) = u32::try_from(hosts.len()) else { return };
        let Some(place) = self.number.checked_rem(count) else { return };
        let wait = Duration::from_secs((self.number / count % RECONNECT_OVER).into());
        if let Some(HostPort { host, port }) = hosts.get(usize::try_from(place).unwrap_or(0)) {
            self.session.reconnect(host, *port, wait);
        }
    }

    fn take_job(&mut self) {
        let announcement = self.shared.jobs.borrow_and_update().clone();
        if let Some(announcement) = announcement {
            self.session.set_job(Arc::clone(&announcement.job), self.shared.clock.now());
            self.announcing = Some(announcement);
        } else {
            self.session.withdraw_job();
        }
    }

    /// Takes this answer and all others that have come, so that they are written together.
    fn take_answers(&mut self, first: Answer) {
        let mut next = Some(first);
        while let Some(answer) = next {
            self.open = self.open.saturating_sub(1);
            match answer {
                Answer::Share(token, verdict, received) => {
                    let now = self.shared.clock.now().mono;
                    self.shared.metrics.submitted(now.saturating_sub(received));
                    if let Err(reason) = verdict {
                        self.shared.metrics.rejected(reason);
                    }
                    self.session.acknowledge(token, verdict);
                }
                Answer::Energy(token, taken) => self.session.answer_energy(token, taken),
            }
            next = self.answers.try_recv().ok();
        }
    }

    async fn handle_events(&mut self) -> Result<(), End> {
        while let Some(event) = self.session.poll() {
            match event {
                Event::Authorize { token, user, .. } => self.authorize(token, &user),
                Event::Share { token, share } => {
                    let finder = self.id_of(share.worker).await?;
                    if share.judged.is_block {
                        // Before the share itself: a block's race is lost in milliseconds.
                        self.hand_in(finder, share.clone()).await;
                    }
                    self.credit(token, finder, &share).await?;
                }
                Event::StaleBlock { share } => {
                    tracing::info!(peer = %self.peer, "a stale share is a block");
                    let finder = self.id_of(share.worker).await?;
                    self.hand_in(finder, share).await;
                }
                Event::Rejected { reason, .. } => self.shared.metrics.rejected(reason),
                Event::Energy { token, worker, report } => {
                    self.report(token, worker, report.get().to_owned()).await?;
                }
                Event::Subscribed { agent } => {
                    tracing::debug!(peer = %self.peer, ?agent, "subscribed");
                }
                Event::Agent { agent } => {
                    tracing::debug!(peer = %self.peer, ?agent, "said what it is");
                }
                Event::Resume { token, id } => {
                    let kept = self.subscriptions.take_up(id).await;
                    let resumed = kept.is_some();
                    tracing::debug!(peer = %self.peer, resumed, "asked for its subscription");
                    self.session.resume(token, kept, self.shared.clock.now());
                }
                Event::Extranonce => {
                    if let Some(xn1) = self.subscriptions.extranonce().await {
                        self.session.set_extranonce(xn1);
                    }
                }
                Event::Close { reason } => return Err(End::Session(reason)),
            }
        }
        Ok(())
    }

    fn authorize(&mut self, token: RequestToken, user: &str) {
        let answer = match User::parse(user, self.shared.network) {
            Ok(user) => self.key_of(user),
            Err(reason) => {
                tracing::info!(peer = %self.peer, "authorization refused: {reason}");
                Err(reason)
            }
        };
        self.session.authorize(token, answer, self.shared.clock.now());
    }

    fn key_of(&mut self, user: User) -> Result<WorkerKey, String> {
        let known = self.workers.iter().position(|worker| worker.user == user);
        let place = known.unwrap_or(self.workers.len());
        if place >= self.shared.settings.limits.max_workers {
            return Err("too many workers on one connection".to_owned());
        }
        if known.is_none() {
            self.workers.push(Worker { user, id: None, baseline: None });
        }
        Ok(WorkerKey::new(u32::try_from(place).unwrap_or(u32::MAX)))
    }

    /// The worker's number in the ledger, given to it now if this is its first share. A report
    /// that waited for that goes to the ledger first, so that it comes before the share.
    async fn id_of(&mut self, key: WorkerKey) -> Result<WorkerId, End> {
        let place = usize::try_from(key.get()).unwrap_or(usize::MAX);
        let Some(worker) = self.workers.get_mut(place) else {
            return Err(End::Session("a share of no worker".to_owned()));
        };
        if let Some(id) = worker.id {
            return Ok(id);
        }
        let User { account, worker: name } = worker.user.clone();
        let register =
            |reply| Command::Register { account: account.clone(), worker: name.clone(), reply };
        let id = self.shared.ledger.ask(register).await?;
        worker.id = Some(id);
        if let Some((token, report)) = worker.baseline.take() {
            self.send_report(token, id, report).await?;
        }
        Ok(id)
    }

    async fn report(
        &mut self,
        token: RequestToken,
        key: WorkerKey,
        report: String,
    ) -> Result<(), End> {
        let place = usize::try_from(key.get()).unwrap_or(usize::MAX);
        let Some(worker) = self.workers.get_mut(place) else { return Ok(()) };
        if worker.id.is_none() {
            // An agent reports for workers whose shares come over other connections.
            let User { account, worker: name } = worker.user.clone();
            let find =
                |reply| Command::Find { account: account.clone(), worker: name.clone(), reply };
            worker.id = self.shared.ledger.ask(find).await?;
        }
        if let Some(id) = worker.id {
            return self.send_report(token, id, report).await;
        }
        // The first report is the baseline; later ones add nothing to it before there is work.
        if worker.baseline.is_none() {
            worker.baseline = Some((token, report));
        } else {
            let why = "a report is waiting for this worker's first share".to_owned();
            self.session.answer_energy(token, Err(why));
        }
        Ok(())
    }

    async fn send_report(
        &mut self,
        token: RequestToken,
        worker: WorkerId,
        report: String,
    ) -> Result<(), End> {
        let done = self.done(token);
        Ok(self.shared.ledger.send(Command::Energy { worker, report, done }).await?)
    }

    /// Hands a block to the block task, and waits until it is on disk: who hears that the share
    /// was taken may rely on the block as well. A slow disk is not waited for longer than the
    /// block task waits.
    async fn hand_in(&self, finder: WorkerId, share: AcceptedShare) {
        let (recorded, on_disk) = oneshot::channel();
        // A closed channel is a pool whose block task has failed: it is stopping.
        let _ = self.shared.found.send(Found { finder, share, recorded }).await;
        let _ = timeout(RECORD_FIRST, on_disk).await;
    }

    async fn credit(
        &mut self,
        token: ShareToken,
        worker: WorkerId,
        share: &AcceptedShare,
    ) -> Result<(), End> {
        let done = self.done(token);
        let share = Share {
            worker,
            work: share.judged.work,
            network_work: share.job.template.network_target.work(),
            at: share.at,
            header: share.judged.header,
        };
        self.shared.ledger.send(Command::Share { share, done }).await?;
        if self.shared.ack == Ack::Received || !stands(Defence::DurableAnswer) {
            self.session.acknowledge(token, Ok(()));
        }
        Ok(())
    }

    fn done<T>(&mut self, token: T) -> Done<T> {
        self.open += 1;
        let received = self.shared.clock.now().mono;
        Done { connection: self.answers_in.clone(), token, received }
    }

    async fn write(&mut self) -> Result<(), End> {
        self.session.transmit(&mut self.outgoing);
        if !self.outgoing.is_empty() {
            timeout(WRITE_LIMIT, self.socket.write_all(&self.outgoing))
                .await
                .map_err(|_| End::SlowReader)??;
            self.outgoing.clear();
        }
        if let Some(announcement) = self.announcing.take() {
            announcement.written(self.shared.clock.now());
        }
        Ok(())
    }
}
