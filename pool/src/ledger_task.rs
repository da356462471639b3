//! The one writer of the ledger: a thread that takes commands from a bounded queue, commits the
//! shares of a burst together, and answers once they are on disk.
//!
//! Read [`Command`], then [`run`]. Batching needs no timer: while one commit is being synced the
//! next batch gathers, so a lone share waits for one sync and a flood shares it. Everything that
//! changes the ledger passes here in order; reading goes through [`ledger::Reader`] elsewhere.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use ledger::{
    BlockId, Candidate, Ledger, LedgerError, Share, SliceHead, UnresolvedBlock, WorkerId,
};
use stratum::{
    judge::Reason,
    v1::server::{RequestToken, ShareToken},
};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    blocks::shown,
    clock::Clock,
    energy_desk::EnergyDesk,
    metrics::LedgerMetrics,
    rates::{Hashrate, Rates},
};

/// Commands that may wait; past it, connections wait in turn, so pressure reaches the sockets.
pub const QUEUE_LENGTH: usize = 8192;
/// Shares that one commit takes at most.
const BATCH_MAX: usize = 4096;
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
    /// Credit an accepted share, then answer.
    Share {
        /// The share.
        share: Share,
        /// Whom to tell.
        done: Done<ShareToken>,
    },
    /// Take a report of energy, then answer.
    Energy {
        /// The worker that it names, authorized on the connection that it came by.
        worker: WorkerId,
        /// The report's JSON as it arrived: its signature is over these very figures.
        report: String,
        /// Whom to tell.
        done: Done<RequestToken>,
    },
    /// Find the worker of an account, which its shares have made, perhaps over another connection.
    Find {
        /// The account: a payout address.
        account: String,
        /// The worker's name, may be empty.
        worker: String,
        /// The worker's number, if it has one.
        reply: oneshot::Sender<Result<Option<WorkerId>, LedgerError>>,
    },
    /// Find or make the worker of an account.
    Register {
        /// The account: a payout address.
        account: String,
        /// The worker's name, may be empty.
        worker: String,
        /// The worker's number.
        reply: oneshot::Sender<Result<WorkerId, LedgerError>>,
    },
    /// Close the open slice if it holds work.
    CloseSlice(oneshot::Sender<Result<SliceHead, LedgerError>>),
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

/// Hash rates of the pool and of its workers.
#[derive(Debug, Clone, Default)]
pub struct RatesNow {
    /// The whole pool's.
    pub pool: Hashrate,
    /// Each recent worker's.
    pub workers: HashMap<WorkerId, Hashrate>,
}

/// The connection that waits for an answer, and what it calls the request.
#[derive(Debug)]
pub struct Done<T> {
    /// The connection's queue of answers, which has room for everything that it may have open.
    pub connection: mpsc::Sender<Answer>,
    /// The request.
    pub token: T,
    /// When it was judged, on the monotonic clock.
    pub received: Duration,
}

/// An answer on its way to a connection.
#[derive(Debug)]
pub enum Answer {
    /// A share is on disk, or could not be written, with the time at which it was judged.
    Share(ShareToken, Result<(), Reason>, Duration),
    /// A report was taken, or why not.
    Energy(RequestToken, Result<(), String>),
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

/// Runs until every handle is gone and the queue is empty.
///
/// # Errors
/// When the disk fails: the shares of that commit are answered as not taken, and the pool must
/// stop rather than take work that it cannot keep.
pub fn run(
    ledger: Ledger,
    desk: EnergyDesk,
    mut queue: mpsc::Receiver<Command>,
    clock: Clock,
    metrics: LedgerMetrics,
) -> Result<(), LedgerError> {
    let mut writer =
        Writer { ledger, desk, rates: Rates::default(), clock, metrics, failing_since: None };
    while let Some(first) = queue.blocking_recv() {
        let (shares, other) = gather(first, BATCH_MAX, || queue.try_recv().ok(), as_share);
        writer.metrics.queue_length(queue.len());
        if let Err(error) = writer.commit(shares.into_iter().unzip()) {
            refuse_the_rest(&mut queue);
            return Err(error);
        }
        if let Some(command) = other {
            writer.execute(command);
        }
    }
    Ok(())
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
        if let Ok((_, done)) = as_share(command) {
            let refused = Err(Reason::LedgerUnavailable);
            answer(&done.connection, Answer::Share(done.token, refused, done.received));
        }
    }
}

/// Takes shares until none waits, there are `limit`, or another command comes, which is given
/// back to be executed after the commit. The order is kept because it has a meaning: a report of
/// energy covers the shares before it and not those after.
fn gather<C, S>(
    first: C,
    limit: usize,
    mut more: impl FnMut() -> Option<C>,
    as_share: impl Fn(C) -> Result<S, C>,
) -> (Vec<S>, Option<C>) {
    let mut shares = Vec::new();
    let mut next = Some(first);
    while let Some(command) = next {
        match as_share(command) {
            Ok(share) => shares.push(share),
            Err(other) => return (shares, Some(other)),
        }
        next = if shares.len() < limit { more() } else { None };
    }
    (shares, None)
}

#[expect(clippy::result_large_err, reason = "the other command is moved on, it is no error")]
fn as_share(command: Command) -> Result<(Share, Done<ShareToken>), Command> {
    if let Command::Share { share, done } = command { Ok((share, done)) } else { Err(command) }
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
}

impl Writer {
    /// Commits a batch and answers it. A disk that is full or busy refuses the batch, and the
    /// next one is tried again.
    fn commit(
        &mut self,
        (shares, done): (Vec<Share>, Vec<Done<ShareToken>>),
    ) -> Result<(), LedgerError> {
        if shares.is_empty() {
            return Ok(());
        }
        let before = self.clock.now().mono;
        let committed = self.ledger.commit(&shares);
        let after = self.clock.now().mono;
        self.metrics.commit(after.saturating_sub(before));
        let verdict = match &committed {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!("the ledger could not write {} shares: {error}", shares.len());
                Err(Reason::LedgerUnavailable)
            }
        };
        if committed.is_ok() {
            self.count(&shares, after);
        }
        for done in done {
            answer(&done.connection, Answer::Share(done.token, verdict, done.received));
        }
        self.bear(committed.err(), after)
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

    fn count(&mut self, shares: &[Share], now: Duration) {
        for share in shares {
            self.rates.add(share.worker, share.work, now);
        }
        self.metrics.accepted(shares.len());
    }

    /// Replies may find nobody: whoever asked has gone, and what was asked is done all the same.
    fn execute(&mut self, command: Command) {
        match command {
            Command::Share { .. } => {} // gathered into a batch, never given back
            Command::Energy { worker, report, done } => {
                let now = self.clock.now().unix;
                let taken = self.desk.take(&mut self.ledger, worker, &report, now);
                answer(&done.connection, Answer::Energy(done.token, taken));
            }
            Command::Find { account, worker, reply } => {
                let _ = reply.send(self.ledger.find_worker(&account, &worker));
            }
            Command::Register { account, worker, reply } => {
                let at = self.clock.now().unix;
                let _ = reply.send(self.ledger.worker(&account, &worker, at));
            }
            Command::CloseSlice(reply) => {
                let _ = reply.send(self.ledger.close_slice(self.clock.now().unix));
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
            Command::Rates(reply) => {
                let (pool, workers) = self.rates.snapshot(self.clock.now().mono);
                let _ = reply.send(RatesNow { pool, workers });
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

/// A connection's queue holds all that it may have open, so a full one is a connection that has
/// gone or cheats; either way this thread never waits for it.
fn answer(connection: &mpsc::Sender<Answer>, answer: Answer) {
    if connection.try_send(answer).is_err() {
        tracing::debug!("an answer found no connection");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_where_another_command_comes() {
        let mut queue = vec![Ok(4), Err("report"), Ok(3), Ok(2)];
        let mut take = |limit| {
            let first = queue.pop()?;
            Some(gather(first, limit, || queue.pop(), |command| command.map_err(Err)))
        };
        assert_eq!(take(10), Some((vec![2, 3], Some(Err("report")))));
        assert_eq!(take(10), Some((vec![4], None)));
        assert_eq!(take(10), None);
    }

    #[test]
    fn a_batch_has_a_limit() {
        let mut queue = vec![Ok(4), Ok(3), Ok::<i32, ()>(2)];
        let gathered =
            gather(Ok(1), 2, || queue.pop(), |command: Result<i32, ()>| command.map_err(Err));
        assert_eq!(gathered, (vec![1, 2], None));
    }
}
