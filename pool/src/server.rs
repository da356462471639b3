//! The accept loop: sockets in, one task a connection, caps kept, extranonces handed out.
//!
//! One loop serves all listening addresses, so that the caps, the extranonce counter and the
//! subscriptions that wait for their miners have one owner. When cancelled it stops accepting,
//! lets every connection finish its answers, and returns; nothing else tells connections to end.

use std::{net::SocketAddr, ops::Range, time::Duration};

use defences::{Defence, stands};
use stratum::v1::server::SubscriptionId;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{Connection, End, Shared},
    ledger_task::{Command, LedgerUnavailable},
    limits::{Admission, Limits},
    resume::{Request, Subscriptions, Table},
};

/// Extranonces leased from the ledger at once. A crash wastes at most these of 2^32.
const LEASE: u32 = 4096;
/// Pause after the system refuses to accept (usually: out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections get this long to finish once the pool stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Listens, admits and serves.
#[derive(Debug)]
pub struct Server {
    shared: Shared,
    admission: Admission,
    extranonces: Range<u32>,
    connections: JoinSet<SocketAddr>,
    waiting: Table,
    subscriptions: Subscriptions,
    requests: mpsc::Receiver<Request>,
}

impl Server {
    /// A server with nobody connected.
    #[must_use]
    pub fn new(shared: Shared, limits: Limits) -> Self {
        let (subscriptions, requests) = Subscriptions::channel();
        Self {
            shared,
            admission: Admission::new(limits),
            extranonces: 0..0,
            connections: JoinSet::new(),
            waiting: Table::new(),
            subscriptions,
            requests,
        }
    }

    /// Serves until cancelled, then until every connection has ended.
    ///
    /// # Errors
    /// When the ledger has stopped or has no extranonces left.
    pub async fn run(
        mut self,
        listeners: Vec<TcpListener>,
        cancel: CancellationToken,
    ) -> Result<(), LedgerUnavailable> {
        let mut accepting = Accepting::new(listeners);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                (socket, peer) = accepting.next() => self.admit(socket, peer, &cancel).await?,
                Some(ended) = self.connections.join_next() => self.release(ended),
                Some(request) = self.requests.recv() => self.answer(request).await?,
            }
        }
        drop(accepting);
        // Nobody comes back to a pool that stops: who asks now is answered by this.
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
        self.drain().await;
        Ok(())
    }

    async fn admit(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        cancel: &CancellationToken,
    ) -> Result<(), LedgerUnavailable> {
        let now = self.shared.clock.now();
        if let Err(refusal) = self.admission.admit(peer.ip(), now.mono) {
            tracing::info!(%peer, "connection refused: {refusal}");
            return Ok(());
        }
        self.shared.metrics.connections(self.admission.total());
        let xn1 = self.next_extranonce().await?;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, "no TCP_NODELAY: {error}");
        }
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%peer, "connection refused: the system gives no random bytes: {error}");
            self.admission.release(peer.ip());
            return Ok(());
        }
        let id = SubscriptionId::new(random);
        let subscriptions = self.subscriptions.clone();
        let connection = Connection::new(socket, peer, xn1, id, subscriptions, self.shared.clone());
        let cancel = cancel.clone();
        self.connections.spawn(async move {
            let end = connection.run(cancel).await;
            if let End::Ledger(error) = end {
                tracing::error!(%peer, "connection ended: {error}");
            }
            peer
        });
        Ok(())
    }

    async fn answer(&mut self, request: Request) -> Result<(), LedgerUnavailable> {
        let now = self.shared.clock.now().mono;
        match request {
            Request::Keep(kept) => self.waiting.put(*kept, now),
            Request::TakeUp(id, reply) => {
                let kept = self.waiting.take(id, now).map(Box::new);
                // The connection may have ended meanwhile: its miner may still come back.
                if let Err(Some(kept)) = reply.send(kept) {
                    self.waiting.put(*kept, now);
                }
            }
            Request::Extranonce(reply) => {
                let _ = reply.send(self.next_extranonce().await?);
            }
        }
        Ok(())
    }

    async fn next_extranonce(&mut self) -> Result<[u8; 4], LedgerUnavailable> {
        let next = match self.extranonces.next() {
            _ if !stands(Defence::OwnExtranonce) => 0,
            Some(next) => next,
            None => {
                let lease = |reply| Command::LeaseExtranonces(LEASE, reply);
                self.extranonces = self.shared.ledger.ask(lease).await?;
                self.extranonces.next().unwrap_or_default()
            }
        };
        Ok(next.to_be_bytes())
    }

    fn release(&mut self, ended: Result<SocketAddr, tokio::task::JoinError>) {
        match ended {
            Ok(peer) => self.admission.release(peer.ip()),
            Err(error) => tracing::error!("a connection's task failed: {error}"),
        }
        self.shared.metrics.connections(self.admission.total());
    }

    async fn drain(mut self) {
        let all = async { while self.connections.join_next().await.is_some() {} };
        if timeout(DRAIN_LIMIT, all).await.is_err() {
            tracing::warn!("{} connections were cut off", self.connections.len());
        }
    }
}

/// The next connection of any listener, in turn.
#[derive(Debug)]
struct Accepting {
    listeners: Vec<TcpListener>,
    turn: usize,
}

impl Accepting {
    fn new(listeners: Vec<TcpListener>) -> Self {
        Self { listeners, turn: 0 }
    }

    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.poll_listeners().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn poll_listeners(&mut self) -> std::io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|context| {
            for _ in 0..self.listeners.len() {
                self.turn = (self.turn + 1) % self.listeners.len();
                let polled = self.listeners[self.turn].poll_accept(context);
                if polled.is_ready() {
                    return polled;
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
