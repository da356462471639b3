//! The Stratum front: a door that lets miners in, and a few threads that each serve many of them.
//!
//! Read [`Front::run`], then `door.rs` (who comes in), `shard.rs` (one thread's loop) and `peer.rs`
//! (one connection). A connection belongs to one shard for its life, so nothing on the way of a
//! share is locked: from its bytes to the ledger's queue it stays on one thread. What all shards
//! share is at the desk (`desk.rs`): extranonces, and subscriptions that wait for their miner.
//!
//! It deliberately uses no task for a connection: `docs/adr/0010` says what that is worth.

mod credits;
mod desk;
pub mod door;
mod end;
mod hall;
pub mod mail;
mod peer;
mod peers;
pub mod ports;
mod proxied;
mod shard;
mod timers;
mod unsent;

use std::{net::TcpListener, num::NonZeroUsize, sync::Arc};

use bitcoin::Network;
use stratum::Jobs;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{
    desk::Desk,
    door::{Door, DoorMail, Rules},
    mail::{Mail, Mailbox},
    shard::Making,
};
use crate::{
    blocks::Found,
    clock::Clock,
    config::{Ack, HostPort},
    handover::FrozenPeer,
    jobs::Announcement,
    ledger_task::{LedgerHandle, LedgerUnavailable},
    metrics::StratumMetrics,
    tls::TlsKeeper,
};

/// What every connection of a pool is given.
#[derive(Debug, Clone)]
pub struct Shared {
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

/// Why the front ended early.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The ledger has stopped.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
    /// The system gives no more of something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A thread ended early.
    #[error("a Stratum thread ended: {0}")]
    Thread(String),
}

/// The front before it runs.
#[derive(Debug)]
pub struct Front {
    /// What connections are given.
    pub shared: Shared,
    /// Who may connect, and how.
    pub rules: Rules,
    /// The certificate, where a port speaks TLS.
    pub tls: Option<TlsKeeper>,
    /// Threads that serve miners.
    pub threads: NonZeroUsize,
    /// Rules as they are changed while it runs.
    pub changes: watch::Receiver<Option<Rules>>,
    /// What another image of the pool left.
    pub taken: Vec<FrozenPeer>,
    /// The jobs that it had out.
    pub jobs: Arc<Jobs>,
    /// When everything is to be put down for another image.
    pub freeze: CancellationToken,
}

/// All that miners hold on to, put down.
#[derive(Debug, Default)]
pub struct Frozen {
    /// Miners with their sessions.
    pub peers: Vec<FrozenPeer>,
    /// Listening sockets.
    pub listeners: Vec<TcpListener>,
}

type Tasks = JoinSet<Result<(), FrontError>>;

impl Front {
    /// Serves until cancelled, then until every connection has ended; or until it is to freeze, and
    /// gives what is then to go over to another image of the pool.
    ///
    /// # Errors
    /// When the ledger has stopped or has no extranonces left, or the system has no more threads
    /// or file descriptors.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        cancel: CancellationToken,
    ) -> Result<Option<Frozen>, FrontError> {
        let Self { shared, rules, tls, threads, changes, taken, jobs, freeze } = self;
        let (desk, requests) = Desk::new(shared.ledger.clone(), shared.clock);
        let ports = Arc::clone(&rules.ports);
        let door = Door::new(listeners, rules, tls, shared.clock, shared.metrics.clone())?;
        let mut tasks = JoinSet::new();
        let mut running = Threads { door: door.mailbox(), shards: Vec::new() };
        for _ in 0..threads.get() {
            let making = Making::new()?;
            making.mailbox().post(Mail::Extranonces(desk::lease(&shared.ledger).await?));
            running.shards.push(making.mailbox());
            let (ports, door) = (Arc::clone(&ports), door.mailbox());
            let shard = making.finish(shared.clone(), ports, requests.clone(), door);
            tasks.spawn_blocking(move || {
                shard.run().map_err(|end| FrontError::Thread(end.to_string()))
            });
        }
        drop(requests);
        let seats = running.shards.clone();
        tasks.spawn_blocking(move || Ok(door.run(seats)?));
        tasks.spawn(async move { Ok(desk.run().await?) });
        running.take_over(taken, &jobs);
        let (jobs, notice) = (shared.jobs.clone(), shared.notice.clone());
        let crier = Crier { jobs, notice, changes, cancel, freeze };
        drop(shared);
        let outcome = match crier.run(&running, &mut tasks).await {
            Ok(Call::Stop) => Ok(None),
            Ok(Call::Freeze) => running.freeze().await.map(Some),
            Err(error) => Err(error),
        };
        drop(running);
        finish(tasks, outcome).await
    }
}

/// The ways into all threads. They are told to stop when this is dropped: a thread that waits for
/// sockets cannot be cancelled as a task can.
struct Threads {
    door: Mailbox<DoorMail>,
    shards: Vec<Mailbox>,
}

impl Threads {
    /// Gives connections of another image of the pool to the shards in turn.
    fn take_over(&self, taken: Vec<FrozenPeer>, jobs: &Arc<Jobs>) {
        if taken.is_empty() {
            return;
        }
        let addresses = taken.iter().map(|peer| peer.saved.address.ip()).collect();
        self.door.post(DoorMail::TakeOver(addresses));
        let mut parts: Vec<Vec<FrozenPeer>> = self.shards.iter().map(|_| Vec::new()).collect();
        let places = (0..parts.len()).cycle();
        for (place, peer) in places.zip(taken) {
            parts[place].push(peer);
        }
        for (shard, part) in self.shards.iter().zip(parts) {
            shard.post(Mail::TakeOver(part, Arc::clone(jobs)));
        }
    }

    /// Has everything put down.
    async fn freeze(&self) -> Result<Frozen, FrontError> {
        let gone = |_| FrontError::Thread("it ended while it was put down".to_owned());
        let (reply, listeners) = oneshot::channel();
        self.door.post(DoorMail::Freeze(reply));
        let mut frozen = Frozen { listeners: listeners.await.map_err(gone)?, peers: Vec::new() };
        let mut replies = Vec::new();
        for shard in &self.shards {
            let (reply, peers) = oneshot::channel();
            shard.post(Mail::Freeze(reply));
            replies.push(peers);
        }
        for peers in replies {
            frozen.peers.extend(peers.await.map_err(gone)?);
        }
        Ok(frozen)
    }

    /// Wakes every shard, to look for news.
    fn ring(&self) {
        self.shards.iter().for_each(Mailbox::ring);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.door.post(DoorMail::Stop);
        self.shards.iter().for_each(|shard| shard.post(Mail::Stop));
    }
}

/// Tells threads that wait for sockets what tasks have to say.
struct Crier {
    jobs: watch::Receiver<Option<Arc<Announcement>>>,
    notice: watch::Receiver<Option<Arc<str>>>,
    changes: watch::Receiver<Option<Rules>>,
    cancel: CancellationToken,
    freeze: CancellationToken,
}

/// What the pool has asked of the front.
enum Call {
    Stop,
    Freeze,
}

impl Crier {
    /// Rings every shard for new work and notices, until the front is asked to end or a thread
    /// fails.
    async fn run(mut self, threads: &Threads, tasks: &mut Tasks) -> Result<Call, FrontError> {
        let mut reloads = true;
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(Call::Stop),
                () = self.freeze.cancelled() => return Ok(Call::Freeze),
                Some(ended) = tasks.join_next() => return flatten(ended).map(|()| Call::Stop),
                changed = self.jobs.changed() => {
                    if changed.is_err() {
                        return Ok(Call::Stop);
                    }
                    threads.ring();
                }
                Ok(()) = self.notice.changed() => threads.ring(),
                changed = self.changes.changed(), if reloads => {
                    reloads = changed.is_ok();
                    if let Some(rules) = self.changes.borrow_and_update().clone() {
                        threads.door.post(DoorMail::Reload(Box::new(rules)));
                    }
                }
            }
        }
    }
}

async fn finish<T>(mut tasks: Tasks, mut outcome: Result<T, FrontError>) -> Result<T, FrontError> {
    while let Some(ended) = tasks.join_next().await {
        // The first failure is the cause; later ones follow from it.
        if let (Err(error), Ok(_)) = (flatten(ended), &outcome) {
            outcome = Err(error);
        }
    }
    outcome
}

fn flatten(
    ended: Result<Result<(), FrontError>, tokio::task::JoinError>,
) -> Result<(), FrontError> {
    ended.unwrap_or_else(|error| Err(FrontError::Thread(error.to_string())))
}
