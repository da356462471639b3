//! The one writer of the ledger: a thread that takes commands from a bounded queue, commits the
//! shares of a burst together, and answers once they are on disk.
//!
//! Read [`Command`], then [`run`]. Shards send shares by the list, and a stream of lists is committed
//! every 5 ms: a lone share waits for one sync, and many share one. Everything that
//! changes the ledger passes here in order; reading goes through [`ledger::Reader`] elsewhere.
//! Between commits the headers of old shares are dropped, as `pruning.rs` says when.

use std::{collections::HashMap, fmt, ops::Range, sync::Arc, time::Duration};

use ledger::{
    BlockId, Candidate, Ledger, LedgerError, Payday, Retention, Share, SliceHead, UnresolvedBlock,
    WorkerId,
};
use stratum::{judge::Reason, v1::server::RequestToken};
use tokio::sync::{Mutex, mpsc, mpsc::error::TryRecvError, oneshot};
use units::{Sats, UnixMillis};

use crate::{
    blocks::shown,
    clock::Clock,
    energy_desk::{Accounts, EnergyDesk, Standings},
    front::mail::{Early, Mail, Mailbox, PeerKey, ShareFrom},
    metrics::LedgerMetrics,
    rates::{Hashrate, Rates},
    user::User,
};

mod pruning;
mod worker;

pub use self::worker::WorkerCell;
use self::{
    pruning::{Pruning, ends_the_pool},
    worker::{Baseline, keep},
};

/// Commands that may wait; past it, connections wait in turn, so pressure reaches the sockets.
pub const QUEUE_LENGTH: usize = 8192;
/// From so many shares on a commit takes no further list.
const BATCH_MAX: usize = 4096;
/// Between the beginnings of two commits in a stream of shares.
const COMMIT_EVERY: Duration = Duration::from_millis(5);
/// From so many waiting commands on there is no rest between commits.
const BACKLOG: usize = 64;
/// Rates are worked out at most this often.
const RATES_EVERY: Duration = Duration::from_secs(1);
/// A disk that fails for longer than this, though it says that the error is a passing one, ends
/// the pool.
const FAILING_MAX: Duration = Duration::from_secs(30);

/// Between attempts at a command that the disk had no room for.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What the ledger is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Credit accepted shares, in this order, then answer all of them.
    Shares {
        /// The shares.
        list: Vec<Credit>,
        /// Whom to tell.
        home: Mailbox,
    },
    /// Take a report of energy, then answer.
    Energy {
        /// The report.
        report: Box<Early>,
        /// The connection that it came by, where its worker is authorized.
        peer: PeerKey,
        /// Whom to tell.
        home: Mailbox,
    },
    /// Find or make a worker's row.
    Register {
        /// The worker, who knows its number afterwards.
        worker: Arc<WorkerCell>,
        /// The worker's number.
        reply: oneshot::Sender<Result<WorkerId, LedgerError>>,
    },
    /// Close the open slice if it holds work.
    CloseSlice(oneshot::Sender<Result<SliceHead, LedgerError>>),
    /// Pay for closed slices, where shares are paid for as they come, by this value of a block.
    PaySlices(Sats, oneshot::Sender<Result<Payday, LedgerError>>),
    /// Write down a found block before anything else is known of it.
    Candidate(Box<Candidate>, oneshot::Sender<Result<(), LedgerError>>),
    /// What became of a block.
    Block {
        /// Its hash.
        hash: BlockId,
        /// What is known now.
        news: BlockNews,
        /// When it is written.
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
    /// The blocks whose fate is open.
    Unresolved(oneshot::Sender<Result<Vec<UnresolvedBlock>, LedgerError>>),
    /// A recorded block's bytes, to hand it in again.
    BlockBytes(BlockId, oneshot::Sender<Result<Option<Vec<u8>>, LedgerError>>),
    /// Extranonces that nobody had before.
    LeaseExtranonces(u32, oneshot::Sender<Result<Range<u32>, LedgerError>>),
    /// Hash rates now.
    Rates(oneshot::Sender<RatesNow>),
    /// Something about payouts; it answers on its own.
    Payouts(PayoutWork),
}

/// What is done to the ledger for payouts.
pub struct PayoutWork(Box<Work>);

type Work = dyn FnOnce(&mut Ledger, UnixMillis) + Send;

impl fmt::Debug for PayoutWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayoutWork")
    }
}

/// An accepted share on its way to the ledger and back to its connection.
#[derive(Debug)]
pub struct Credit {
    /// What is credited. Where `first` is there, its worker is not known yet.
    pub share: Share,
    /// Where it is answered.
    pub from: ShareFrom,
    /// When it was judged, on the monotonic clock.
    pub received: Duration,
    /// Its worker, while that may have no row in the ledger.
    pub first: Option<Arc<WorkerCell>>,
}

/// What became of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockNews {
    /// A node was given it and said this.
    Submitted(String),
    /// It is on the main chain under this many blocks, itself included.
    OnChain(u32),
    /// It is on no main chain.
    Orphaned,
    /// It is on no main chain, and so long overtaken that it is not looked for any more.
    GivenUp,
}

/// Hash rates of the pool and of its workers, and how those stand that report energy.
#[derive(Debug, Clone, Default)]
pub struct RatesNow {
    /// The whole pool's.
    pub pool: Hashrate,
    /// Each recent worker's.
    pub workers: HashMap<WorkerId, Hashrate>,
    /// Joules beside work of each worker that reports.
    pub standings: Standings,
    /// Accounts whose workers are flagged together.
    pub flagged: Accounts,
}

/// The way to the ledger's thread.
#[derive(Debug, Clone)]
pub struct LedgerHandle {
    commands: mpsc::Sender<Command>,
    clock: Clock,
    /// The last answer about rates: whoever asks more often than once a second gets it again, so
    /// that no number of readers keeps the ledger's thread from its shares.
    rates: Arc<Mutex<Option<(Duration, RatesNow)>>>,
}

/// The ledger's thread has ended: the pool is shutting down or its disk failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerUnavailable {
    /// The thread is gone.
    #[error("the ledger has stopped")]
    Stopped,
    /// The ledger refused or its disk failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl LedgerHandle {
    /// A handle and the queue for [`run`].
    #[must_use]
    pub fn new(clock: Clock) -> (Self, mpsc::Receiver<Command>) {
        let (commands, queue) = mpsc::channel(QUEUE_LENGTH);
        (Self { commands, clock, rates: Arc::default() }, queue)
    }

    /// Queues a command that answers on its own, waiting while the queue is full.
    ///
    /// # Errors
    /// When the ledger has stopped.
    pub async fn send(&self, command: Command) -> Result<(), LedgerUnavailable> {
        self.commands.send(command).await.map_err(|_| LedgerUnavailable::Stopped)
    }

    /// Queues a command if there is room.
    ///
    /// # Errors
    /// The command, when the queue is full; nothing when the ledger has stopped.
    pub fn offer(&self, command: Command) -> Result<(), Option<Box<Command>>> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(command) => Some(Box::new(command)),
            mpsc::error::TrySendError::Closed(_) => None,
        })
    }

    /// Queues a command made around a reply, and waits for the reply. While the disk is full or
    /// busy the command is made again: a block that was found must not be lost for that.
    ///
    /// # Errors
    /// When the ledger has stopped, or what it answered.
    pub async fn ask<T>(
        &self,
        command: impl Fn(oneshot::Sender<Result<T, LedgerError>>) -> Command,
    ) -> Result<T, LedgerUnavailable> {
        let start = self.clock.now().mono;
        loop {
            let (reply, answer) = oneshot::channel();
            self.send(command(reply)).await?;
            let error = match answer.await.map_err(|_| LedgerUnavailable::Stopped)? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let waited = self.clock.now().mono.saturating_sub(start);
            if !is_passing(&error) || waited >= FAILING_MAX {
                return Err(error.into());
            }
            tracing::error!("{error}; trying again");
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Has something done about payouts, and waits for it.
    ///
    /// # Errors
    /// When the ledger has stopped, or what it answered.
    pub async fn payouts<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger, UnixMillis) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerUnavailable> {
        let (reply, answer) = oneshot::channel();
        let work = PayoutWork(Box::new(move |ledger, now| {
            let _ = reply.send(work(ledger, now));
        }));
        self.send(Command::Payouts(work)).await?;
        Ok(answer.await.map_err(|_| LedgerUnavailable::Stopped)??)
    }

    /// Hash rates as of the last second.
    ///
    /// # Errors
    /// When the ledger has stopped.
    pub async fn rates(&self) -> Result<RatesNow, LedgerUnavailable> {
        let mut last = self.rates.lock().await;
        let now = self.clock.now().mono;
        if let Some((at, rates)) = &*last
            && now.saturating_sub(*at) < RATES_EVERY
            && !self.commands.is_closed()
        {
            return Ok(rates.clone());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Command::Rates(reply)).await?;
        let rates = answer.await.map_err(|_| LedgerUnavailable::Stopped)?;
        *last = Some((now, rates.clone()));
        Ok(rates)
    }
}

/// Runs until every handle is gone and the queue is empty. Headers are dropped from the ledger
/// beside that, but for those that are to be kept.
///
/// # Errors
/// When the disk fails: the shares of that commit are answered as not taken, and the pool must
/// stop rather than take work that it cannot keep.
pub fn run(
    (ledger, kept): (Ledger, Retention),
    desk: EnergyDesk,
    mut queue: mpsc::Receiver<Command>,
    clock: Clock,
    metrics: LedgerMetrics,
) -> Result<(), LedgerError> {
    let mut writer = Writer {
        ledger,
        desk,
        rates: Rates::default(),
        clock,
        metrics,
        failing_since: None,
        committed_at: Duration::ZERO,
        shares: Vec::new(),
        pruning: Pruning::new(kept),
    };
    loop {
        // With more to prune there is no sleep; nor does the end wait for that.
        let next = if writer.pruning.is_behind() {
            queue.try_recv()
        } else {
            queue.blocking_recv().ok_or(TryRecvError::Disconnected)
        };
        let done = match next {
            Ok(first) => writer.turn(first, &mut queue),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => return Ok(()),
        };
        if let Err(error) = done.and_then(|()| writer.prune(!queue.is_empty())) {
            refuse_the_rest(&mut queue);
            return Err(error);
        }
    }
}

/// A disk that is full or busy may have room a moment later.
const fn is_passing(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Store { passing: true, .. })
}

/// Tells everyone who still waits that their shares were not taken. Whoever asked for something
/// else notices that the reply is gone.
fn refuse_the_rest(queue: &mut mpsc::Receiver<Command>) {
    queue.close();
    while let Some(command) = queue.blocking_recv() {
        if let Ok((list, home)) = as_shares(command) {
            home.post(Mail::Shares(list, Err(Reason::LedgerUnavailable)));
        }
    }
}

/// Shares of one shard, and where they are answered.
type List = (Vec<Credit>, Mailbox);

/// Takes lists of shares until none waits, there are `limit` shares, or another command comes,
/// which is given back to be executed after the commit. The order is kept because it has a
/// meaning: a report of energy covers the shares before it and not those after.
fn gather<C, S, H>(
    first: C,
    limit: usize,
    mut more: impl FnMut() -> Option<C>,
    as_list: impl Fn(C) -> Result<(Vec<S>, H), C>,
) -> (Vec<(Vec<S>, H)>, Option<C>) {
    let (mut lists, mut count) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(command) = next {
        match as_list(command) {
            Ok(list) => {
                count += list.0.len();
                lists.push(list);
            }
            Err(other) => return (lists, Some(other)),
        }
        next = if count < limit { more() } else { None };
    }
    (lists, None)
}

fn as_shares(command: Command) -> Result<List, Command> {
    if let Command::Shares { list, home } = command { Ok((list, home)) } else { Err(command) }
}

/// What the thread owns.
struct Writer {
    ledger: Ledger,
    desk: EnergyDesk,
    rates: Rates,
    clock: Clock,
    metrics: LedgerMetrics,
    /// Since when commits fail.
    failing_since: Option<Duration>,
    /// When the last commit began.
    committed_at: Duration,
    /// The shares of the commit under way, in one piece.
    shares: Vec<Share>,
    pruning: Pruning,
}

impl Writer {
    /// Commits the shares that wait, up to another command, and then executes that.
    fn turn(
        &mut self,
        first: Command,
        queue: &mut mpsc::Receiver<Command>,
    ) -> Result<(), LedgerError> {
        self.rest(&first, queue.len());
        let (lists, other) = gather(first, BATCH_MAX, || queue.try_recv().ok(), as_shares);
        self.metrics.queue_length(queue.len());
        self.commit(lists)?;
        if let Some(command) = other {
            self.execute(command);
        }
        Ok(())
    }

    /// Drops a few headers that nobody needs, where that is due: one step, so that no share waits
    /// for more than that.
    fn prune(&mut self, waiting: bool) -> Result<(), LedgerError> {
        let now = self.clock.now();
        if !self.pruning.is_due(now.mono, waiting) {
            return Ok(());
        }
        let pruned = self.pruning.step(&mut self.ledger, now.unix);
        let more = pruned.as_ref().is_ok_and(|pruned| pruned.more);
        self.pruning.note(self.clock.now().mono, more);
        match pruned {
            Ok(pruned) => self.metrics.pruned(&pruned),
            Err(error) if ends_the_pool(&error) => return Err(error),
            Err(error) => tracing::warn!("old shares' headers could not be dropped: {error}"),
        }
        Ok(())
    }

    /// Lets shares gather where the last commit has just begun: one costs as much for a few as for
    /// many. The first after a pause is not kept waiting; nor is anybody where many commands `wait`
    /// already: among them may be reports of energy, at each of which a commit ends.
    fn rest(&self, next: &Command, wait: usize) {
        let since = self.clock.now().mono.saturating_sub(self.committed_at);
        let rests = matches!(next, Command::Shares { .. }) && wait < BACKLOG;
        if rests && since < COMMIT_EVERY {
            std::thread::sleep(COMMIT_EVERY.saturating_sub(since));
        }
    }

    /// Commits lists of shares together and answers them. A disk that is full or busy refuses them,
    /// and the next ones are tried again.
    fn commit(&mut self, mut lists: Vec<List>) -> Result<(), LedgerError> {
        if lists.is_empty() {
            return Ok(());
        }
        let before = self.clock.now().mono;
        self.committed_at = before;
        let committed = self.settle_names(&mut lists).and_then(|()| {
            self.shares.clear();
            self.shares
                .extend(lists.iter().flat_map(|(list, _)| list).map(|credit| credit.share.clone()));
            self.ledger.commit(&self.shares)
        });
        let after = self.clock.now().mono;
        self.metrics.commit(after.saturating_sub(before));
        let verdict = match &committed {
            Ok(_) => Ok(()),
            Err(error) => {
                let count: usize = lists.iter().map(|(list, _)| list.len()).sum();
                tracing::error!("the ledger could not write {count} shares: {error}");
                Err(Reason::LedgerUnavailable)
            }
        };
        if committed.is_ok() {
            self.count(after);
        }
        for (list, home) in lists {
            home.post(Mail::Shares(list, verdict));
        }
        self.bear(committed.err(), after)
    }

    /// Gives every new worker its number.
    fn settle_names(&mut self, lists: &mut [List]) -> Result<(), LedgerError> {
        let credits = || lists.iter().flat_map(|(list, _)| list);
        let unknown = credits().filter_map(|credit| credit.first.as_deref());
        let unknown: Vec<&WorkerCell> = unknown.filter(|worker| worker.id().is_none()).collect();
        if !unknown.is_empty() {
            let names = unknown.iter().map(|one| (&*one.user.account, &*one.user.worker));
            let at = self.clock.now().unix;
            let ids = self.ledger.workers(&names.collect::<Vec<_>>(), at)?;
            for (worker, id) in unknown.into_iter().zip(ids) {
                self.introduce(worker, id);
            }
        }
        for credit in lists.iter_mut().flat_map(|(list, _)| list) {
            if let Some(id) = credit.first.as_deref().and_then(WorkerCell::id) {
                credit.share.worker = id;
            }
        }
        Ok(())
    }

    /// Tells a worker its number, and takes the report that waited for that: before the first
    /// share, whichever way its number came.
    fn introduce(&mut self, worker: &WorkerCell, id: WorkerId) {
        if let Some(waited) = worker.introduce(id) {
            let Baseline { token, report, peer, home } = *waited;
            self.take_report(id, &report, (peer, token), &home);
        }
    }

    /// Takes a report, unless its worker has proven nothing yet: an agent may report for workers
    /// whose shares come over other connections, so the ledger is asked.
    fn report(&mut self, early: Early, peer: PeerKey, home: &Mailbox) {
        let User { account, worker } = &early.worker.user;
        let id = match early.worker.id() {
            Some(id) => Ok(Some(id)),
            None => self.ledger.find_worker(account, worker),
        };
        match id {
            Ok(Some(id)) => {
                self.introduce(&early.worker, id);
                self.take_report(id, &early.report, (peer, early.token), home);
            }
            Ok(None) => keep(early, peer, home),
            Err(error) => {
                tracing::error!("{error}");
                let why = "the pool could not record the report".to_owned();
                home.post(Mail::Energy(peer, early.token, Err(why)));
            }
        }
    }

    fn take_report(
        &mut self,
        id: WorkerId,
        report: &str,
        (peer, token): (PeerKey, RequestToken),
        home: &Mailbox,
    ) {
        let now = self.clock.now().unix;
        let taken = self.desk.take(&mut self.ledger, id, report, now);
        home.post(Mail::Energy(peer, token, taken));
    }

    /// Whether the pool can go on after a commit that ended like this.
    fn bear(&mut self, error: Option<LedgerError>, now: Duration) -> Result<(), LedgerError> {
        let Some(error) = error else {
            self.failing_since = None;
            return Ok(());
        };
        let since = *self.failing_since.get_or_insert(now);
        if is_passing(&error) && now.saturating_sub(since) < FAILING_MAX {
            Ok(())
        } else {
            Err(error)
        }
    }

    fn count(&mut self, now: Duration) {
        for share in &self.shares {
            self.rates.add(share.worker, share.work, now);
            self.desk.count(share.worker, share.work);
        }
        self.metrics.accepted(self.shares.len());
    }

    /// Replies may find nobody: whoever asked has gone, and what was asked is done all the same.
    fn execute(&mut self, command: Command) {
        match command {
            Command::Shares { .. } => {} // gathered into a batch, never given back
            Command::Energy { report, peer, home } => self.report(*report, peer, &home),
            Command::Register { worker, reply } => {
                let (User { account, worker: name }, at) = (&worker.user, self.clock.now().unix);
                let id = self.ledger.worker(account, name, at);
                if let Ok(id) = id {
                    self.introduce(&worker, id);
                }
                let _ = reply.send(id);
            }
            Command::CloseSlice(reply) => {
                let _ = reply.send(self.ledger.close_slice(self.clock.now().unix));
            }
            Command::PaySlices(value, reply) => {
                let _ = reply.send(self.ledger.pay_slices(value, self.clock.now().unix));
            }
            Command::Candidate(candidate, reply) => {
                let _ = reply.send(self.ledger.candidate(&candidate));
            }
            Command::Block { hash, news, reply } => {
                let _ = reply.send(self.record(hash, &news));
            }
            Command::Unresolved(reply) => {
                let _ = reply.send(self.ledger.unresolved());
            }
            Command::BlockBytes(hash, reply) => {
                let _ = reply.send(self.ledger.block_bytes(&hash));
            }
            Command::LeaseExtranonces(count, reply) => {
                let at = self.clock.now().unix;
                let _ = reply.send(self.ledger.lease_extranonces(count, at));
            }
            Command::Payouts(work) => work.0(&mut self.ledger, self.clock.now().unix),
            Command::Rates(reply) => {
                let now = self.clock.now();
                let (pool, workers) = self.rates.snapshot(now.mono);
                let (standings, flagged) = self.desk.standings(now.unix);
                let _ = reply.send(RatesNow { pool, workers, standings, flagged });
            }
        }
    }

    fn record(&mut self, hash: BlockId, news: &BlockNews) -> Result<(), LedgerError> {
        let at = self.clock.now().unix;
        let change = match news {
            BlockNews::Submitted(answer) => self.ledger.submitted(hash, answer, at),
            BlockNews::OnChain(depth) => self.ledger.on_chain(hash, *depth, at),
            BlockNews::Orphaned => self.ledger.orphaned(hash, at),
            BlockNews::GivenUp => self.ledger.give_up(hash, at),
        }?;
        if change.changed() {
            let (before, after) = (change.before.as_str(), change.after.as_str());
            tracing::debug!("block {}: {before} -> {after}", shown(&hash));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Other = Result<usize, &'static str>;

    /// A list of as many shares as the number says, or another command.
    fn list(command: Other) -> Result<(Vec<()>, ()), Other> {
        command.map(|shares| (vec![(); shares], ())).map_err(Err)
    }

    fn counts(lists: &[(Vec<()>, ())]) -> Vec<usize> {
        lists.iter().map(|(list, ())| list.len()).collect()
    }

    #[test]
    fn a_batch_ends_where_another_command_comes() {
        let mut queue = vec![Ok(4), Err("report"), Ok(3), Ok(2)];
        let mut take = || {
            let first = queue.pop()?;
            let (lists, other) = gather(first, 10, || queue.pop(), list);
            Some((counts(&lists), other))
        };
        assert_eq!(take(), Some((vec![2, 3], Some(Err("report")))));
        assert_eq!(take(), Some((vec![4], None)));
        assert_eq!(take(), None);
    }

    #[test]
    fn a_batch_has_a_limit() {
        let mut queue = vec![Ok(4), Ok(3), Ok(2)];
        let (lists, other) = gather(Ok(1), 3, || queue.pop(), list);
        assert_eq!((counts(&lists), other), (vec![1, 2], None));
    }
}
