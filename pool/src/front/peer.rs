//! One miner's connection: bytes between its socket and its session, and what the session says to
//! the rest of the pool.
//!
//! Read [`Peer::read`], then [`Peer::take_events`]. The session decides everything about the
//! protocol. A peer does nothing by itself: its shard calls it, and hands it the [`Hall`], where
//! everything lies that the shard's connections share. What it keeps is counted in bytes: a pool
//! holds very many that do nothing.

use std::{
    hint::black_box,
    io::{ErrorKind, Read},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bitcoin::Network;
use defences::{Defence, stands};
use ledger::{Share, WorkerId};
use mio::net::TcpStream;
use stratum::{
    judge::Reason,
    v1::server::{AcceptedShare, Event, RequestToken, Session, ShareToken, WorkerKey},
};
use units::Moment;

use super::{
    end::End,
    hall::Hall,
    mail::{Early, PeerKey, ShareFrom},
    timers::Due,
    unsent::{Unsent, push},
};
use crate::{
    config::{Ack, HostPort},
    handover::{FrozenPeer, SavedPeer},
    ledger_task::{Credit, WorkerCell},
    proxy_protocol::{self, ProxyError},
    tls::{self, TlsEnd, TlsLink},
    user::User,
};

/// How long an ending connection waits for the ledger's last answers.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// When the pool stops, miners come back to other hosts over this many seconds, not all at once.
const RECONNECT_OVER: u32 = 10;

/// One connection's state.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its name among the shard's.
    pub(super) key: PeerKey,
    /// Where the miner is.
    pub(super) address: SocketAddr,
    pub(super) session: Session,
    /// When its shard looks at it next.
    pub(super) due: Due,
    /// Whether something happened that may have to be written.
    pub(super) dirty: bool,
    /// Whether its socket may have something to read.
    pub(super) readable: bool,
    /// Whether it is among those to be read.
    pub(super) queued: bool,
    /// Its port's place in the configuration.
    pub(super) port: u16,
    /// Whether anything has come.
    heard: bool,
    /// The last notice that was shown.
    noticed: u32,
    /// Requests that the ledger still has to answer.
    open: u32,
    /// Shares accepted and refused since it was last told about.
    good: u32,
    bad: u32,
    socket: TcpStream,
    tls: Option<Box<TlsLink>>,
    /// The workers authorized here; a session's key is a place in this list.
    workers: Vec<Arc<WorkerCell>>,
    /// What the socket had no room for.
    unsent: Option<Box<Unsent>>,
    ending: Option<Box<Ending>>,
}

#[derive(Debug)]
struct Ending {
    why: End,
    until: Duration,
    /// Whether the miner was told where to go on.
    sent_on: bool,
}

/// Whether a socket may have more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Maybe,
    No,
}

impl Peer {
    /// A connection that is to be served by `session`.
    pub(super) fn new(
        key: PeerKey,
        socket: TcpStream,
        address: SocketAddr,
        port: u16,
        tls: Option<TlsLink>,
        session: Session,
    ) -> Self {
        Self {
            key,
            address,
            session,
            due: Due::NEVER,
            dirty: false,
            readable: false,
            queued: false,
            port,
            heard: false,
            noticed: 0,
            open: 0,
            good: 0,
            bad: 0,
            socket,
            tls: tls.map(Box::new),
            workers: Vec::new(),
            unsent: None,
            ending: None,
        }
    }

    /// The socket, to be watched.
    pub(super) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether more input is welcome.
    pub(super) fn wants_input(&self) -> bool {
        self.ending.is_none() && self.session.wants_input()
    }

    /// Reads once, and hands what came to the session.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) fn read(&mut self, hall: &mut Hall, now: Moment) -> Result<More, End> {
        let mut buffer = std::mem::take(&mut hall.buffer);
        let outcome = self.read_into(&mut buffer, hall, now);
        hall.buffer = buffer;
        outcome
    }

    fn read_into(&mut self, buffer: &mut [u8], hall: &mut Hall, now: Moment) -> Result<More, End> {
        let length = loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err(End::Peer),
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(More::No),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        self.receive(&buffer[..length], hall, now)?;
        Ok(if length == buffer.len() { More::Maybe } else { More::No })
    }

    /// Takes bytes of the socket's stream.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        hall: &mut Hall,
        now: Moment,
    ) -> Result<(), End> {
        if !self.heard {
            self.heard = true;
            if stands(Defence::ProxyPeer) && proxy_protocol::looks_like_header(bytes) {
                return Err(ProxyError::Stranger.into());
            }
            if self.tls.is_none() && tls::looks_like_tls(bytes) {
                return Err(TlsEnd::OnPlainPort.into());
            }
        }
        let Some(tls) = &mut self.tls else { return self.understand(bytes, hall, now) };
        let mut plain = std::mem::take(&mut hall.plain);
        let deciphered = tls.receive(bytes, &mut plain);
        let understood = if plain.is_empty() { Ok(()) } else { self.understand(&plain, hall, now) };
        plain.clear();
        hall.plain = plain;
        deciphered?;
        understood
    }

    fn understand(&mut self, bytes: &[u8], hall: &mut Hall, now: Moment) -> Result<(), End> {
        let received = self.session.receive(bytes, now);
        // What came before the fatal byte is still handled and answered.
        self.take_events(hall, now)?;
        Ok(received?)
    }

    /// Has the session look at its clock.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) fn timeout(&mut self, hall: &mut Hall, now: Moment) -> Result<(), End> {
        self.report_conduct(hall);
        if self.unsent.as_ref().is_some_and(|unsent| unsent.is_overdue(now.mono)) {
            return Err(End::SlowReader);
        }
        self.session.timeout(now);
        self.take_events(hall, now)
    }

    /// When to look at it again.
    pub(super) fn next_timeout(&self) -> Duration {
        let session = self.session.next_timeout().unwrap_or(Duration::MAX);
        let stuck = self.unsent.as_ref().map(|unsent| unsent.deadline());
        let ending = self.ending.as_ref().map(|ending| ending.until);
        [stuck, ending].into_iter().flatten().fold(session, Duration::min)
    }

    /// Looks at what new work will touch, as [`Session::glance`] does.
    pub(super) fn glance(&self) {
        black_box((self.tls.is_some(), self.unsent.is_some(), self.dirty, self.noticed));
        self.session.glance();
    }

    /// The second part, as [`Session::glance_behind`] is.
    pub(super) fn glance_behind(&self) {
        self.session.glance_behind();
    }

    /// Hands on what the session says.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) fn take_events(&mut self, hall: &mut Hall, now: Moment) -> Result<(), End> {
        while let Some(event) = self.session.poll() {
            match event {
                Event::Share { token, share } => self.credit(token, share, hall, now),
                Event::Rejected { reason, .. } => {
                    hall.shared.metrics.rejected(reason);
                    self.bad = self.bad.saturating_add(u32::from(is_the_miners_fault(reason)));
                }
                Event::StaleBlock { share } => {
                    tracing::info!(peer = %self.address, "a stale share is a block");
                    if let Some(worker) = self.worker(share.worker) {
                        hall.hand_in(Arc::clone(worker), share, None);
                    }
                }
                Event::Authorize { token, user, .. } => {
                    let answer = self.authorize(&user, hall.shared.network);
                    self.session.authorize(token, answer, now);
                }
                Event::Energy { token, worker, report } => {
                    self.report(token, worker, report.get().to_owned(), hall, now);
                }
                Event::Subscribed { agent, .. } => {
                    tracing::debug!(peer = %self.address, ?agent, "subscribed");
                }
                Event::Agent { agent, .. } => {
                    tracing::debug!(peer = %self.address, ?agent, "said what it is");
                }
                Event::Resume { token, id } => {
                    if !hall.take_up(id, self.key, token) {
                        hall.free(self.session.resume(token, None, now));
                    }
                }
                Event::Extranonce => {
                    if let Some(xn1) = hall.extranonce() {
                        hall.free(self.session.set_extranonce(xn1));
                    }
                }
                Event::Close { reason } => return Err(End::Late(reason)),
            }
        }
        Ok(())
    }

    fn worker(&self, key: WorkerKey) -> Option<&Arc<WorkerCell>> {
        self.workers.get(usize::try_from(key.get()).ok()?)
    }

    fn authorize(&mut self, user: &str, network: Network) -> Result<WorkerKey, String> {
        let user = User::parse(user, network).inspect_err(|reason| {
            tracing::debug!(peer = %self.address, "authorization refused: {reason}");
        })?;
        Ok(self.key_of(user))
    }

    /// The session's key for a worker of this connection.
    pub(super) fn key_of(&mut self, user: User) -> WorkerKey {
        let known = self.workers.iter().position(|worker| worker.user == user);
        let place = known.unwrap_or_else(|| {
            self.workers.reserve_exact(1);
            self.workers.push(Arc::new(WorkerCell::new(user)));
            self.workers.len() - 1
        });
        WorkerKey::new(u32::try_from(place).unwrap_or(u32::MAX))
    }

    fn credit(&mut self, token: ShareToken, share: AcceptedShare, hall: &mut Hall, now: Moment) {
        let peer = self.key;
        let Some(worker) = self.worker(share.worker) else { return };
        let id = worker.id();
        let first = id.is_none().then(|| Arc::clone(worker));
        let credit = Credit {
            share: Share {
                worker: id.unwrap_or(WorkerId::new(0)),
                work: share.judged.work,
                network_work: share.job.network_work,
                at: share.at,
                header: share.judged.header,
            },
            from: ShareFrom { peer, token },
            received: now.mono,
            first,
        };
        if share.judged.is_block {
            // A block's race is lost in milliseconds: it goes its own way, and its share after it.
            hall.hand_in(Arc::clone(worker), share, Some(Box::new(credit)));
        } else {
            hall.credits.add(credit);
        }
        self.open = self.open.saturating_add(1);
        if hall.shared.ack == Ack::Received || !stands(Defence::DurableAnswer) {
            self.session.acknowledge(token, Ok(()));
        }
    }

    /// A share was committed, or could not be.
    pub(super) fn acknowledge(&mut self, token: ShareToken, verdict: Result<(), Reason>) {
        self.open = self.open.saturating_sub(1);
        self.good = self.good.saturating_add(u32::from(verdict.is_ok()));
        self.session.acknowledge(token, verdict);
    }

    fn report(
        &mut self,
        token: RequestToken,
        key: WorkerKey,
        report: String,
        hall: &mut Hall,
        now: Moment,
    ) {
        let peer = self.key;
        let Some(worker) = self.worker(key).map(Arc::clone) else { return };
        // No work was proven for the asking; it may be proven on another connection.
        if worker.has_baseline() && !worker.may_ask_again(now.mono) {
            let why = "a report is waiting for this worker's first share: wait a second".to_owned();
            return self.session.answer_energy(token, Err(why));
        }
        let early = Early { token, worker, report };
        hall.report(Box::new(early), peer, now.mono);
        self.open = self.open.saturating_add(1);
    }

    /// A report was taken, or why not.
    pub(super) fn answer_energy(&mut self, token: RequestToken, answer: Result<(), String>) {
        self.open = self.open.saturating_sub(1);
        self.session.answer_energy(token, answer);
    }

    /// Whether the ledger owes it an answer.
    pub(super) fn is_open(&self) -> bool {
        self.owed() > 0
    }

    /// Answers that the ledger owes it: a report that waits for a first share may wait for ever.
    fn owed(&self) -> u32 {
        let waiting = self.workers.iter().filter(|worker| worker.has_baseline()).count();
        self.open.saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    /// Reports that wait for a first share are given back: the next image does not know them.
    fn drop_baselines(&mut self) {
        let forgotten = self.workers.iter().filter_map(|worker| worker.forget_report());
        for token in forgotten.collect::<Vec<_>>() {
            let why = "the pool is being renewed: report again".to_owned();
            self.answer_energy(token, Err(why));
        }
    }

    /// Puts the connection down for another image of the pool; gives it back where that cannot go
    /// on with it.
    ///
    /// # Errors
    /// The connection as it was.
    pub(super) fn freeze(
        mut self: Box<Self>,
        port: SocketAddr,
        now: Moment,
    ) -> Result<FrozenPeer, Box<Self>> {
        self.drop_baselines();
        if self.tls.is_some() || self.ending.is_some() || self.open > 0 {
            return Err(self);
        }
        let Some(session) = self.session.save(now) else { return Err(self) };
        let unsent = self.unsent.map(|unsent| unsent.into_bytes()).unwrap_or_default();
        let saved = SavedPeer { address: self.address, port, session, unsent };
        Ok(FrozenPeer { socket: self.socket.into(), saved })
    }

    /// Goes on with what another image left unsent.
    pub(super) fn go_on(&mut self, unsent: Vec<u8>, now: Moment) {
        self.heard = true;
        if !unsent.is_empty() {
            self.unsent = Some(Box::new(Unsent::new(unsent, now.mono)));
        }
    }

    /// Knows a worker again that was authorized on this connection before. What was taken once is
    /// a good name still; on another network it would not be, and its shares are refused.
    pub(super) fn known_worker(&mut self, user: &str, network: Network) -> WorkerKey {
        User::parse(user, network).map_or(WorkerKey::new(u32::MAX), |user| self.key_of(user))
    }

    /// Puts a session in the place of the one that it was made with.
    pub(super) fn resume(&mut self, session: Session) {
        self.session = session;
    }

    /// Writes what the session has to say and what is still unsent.
    ///
    /// # Errors
    /// When the network fails.
    pub(super) fn write(&mut self, hall: &mut Hall, now: Moment) -> Result<(), End> {
        if let Some(unsent) = &mut self.unsent {
            if !unsent.send(&mut self.socket)? {
                return Ok(());
            }
            self.unsent = None;
        }
        self.notice(hall);
        let mut out = std::mem::take(&mut hall.out);
        out.clear();
        let outcome = self.write_new(&mut out, hall, now);
        hall.out = out;
        outcome
    }

    fn write_new(&mut self, out: &mut Vec<u8>, hall: &mut Hall, now: Moment) -> Result<(), End> {
        self.session.transmit(out);
        if let Some(tls) = &mut self.tls {
            hall.sealed.clear();
            if !out.is_empty() {
                tls.seal(out, &mut hall.sealed)?;
            }
            tls.transmit(&mut hall.sealed);
            std::mem::swap(out, &mut hall.sealed);
        }
        if out.is_empty() {
            return Ok(());
        }
        let taken = push(&mut self.socket, out)?;
        if taken < out.len() {
            let bytes = out.get(taken..).unwrap_or_default().to_vec();
            self.unsent = Some(Box::new(Unsent::new(bytes, now.mono)));
        }
        Ok(())
    }

    /// Shows the notice that is not shown yet.
    fn notice(&mut self, hall: &Hall) {
        if self.noticed != hall.notice_number && self.session.is_ready() {
            self.noticed = hall.notice_number;
            if let Some(notice) = &hall.notice {
                self.session.show_message(notice);
            }
        }
    }

    /// Begins to end the connection: at once its subscription is kept for a miner that is quickly
    /// back, while answers may still be under way.
    pub(super) fn begin_end(&mut self, why: End, hall: &mut Hall, now: Moment) {
        if self.ending.is_some() {
            return;
        }
        if matches!(why, End::Ledger) {
            tracing::error!(peer = %self.address, "connection ended: {why}");
        } else {
            tracing::debug!(peer = %self.address, "connection ended: {why}");
        }
        self.report_conduct(hall);
        // Who has mined and falls silent has done nothing wrong.
        let silent = matches!(why, End::Late(_)) && self.session.is_ready();
        if let Some(offence) = why.offence().filter(|_| !silent) {
            hall.offence(self.address.ip(), offence);
        }
        if let End::Tls(end) = &why
            && let Some(farewell) = end.farewell()
        {
            // Whoever does not take it will see the end all the same.
            let _ = push(&mut self.socket, farewell.as_bytes());
        }
        hall.keep(self.session.end());
        let until = now.mono.saturating_add(DRAIN_LIMIT);
        self.ending = Some(Box::new(Ending { why, until, sent_on: false }));
    }

    /// Whether it is ending and everything is said, or nobody is there to hear it.
    pub(super) fn is_done(&mut self, hall: &mut Hall, now: Moment) -> bool {
        let owed = if self.ending.is_some() { self.owed() } else { 0 };
        let Some(ending) = &mut self.ending else { return false };
        // A peer that takes no bytes, or is gone, is owed none.
        if matches!(ending.why, End::SlowReader | End::Io(_)) {
            return true;
        }
        let late = now.mono >= ending.until;
        if owed > 0 && !late {
            return false;
        }
        if owed > 0 {
            tracing::warn!(peer = %self.address, "{owed} requests were left unanswered");
        }
        let stopping = matches!(ending.why, End::Stopping);
        if stopping && !std::mem::replace(&mut ending.sent_on, true) {
            self.send_on(hall);
        }
        self.write(hall, now).is_err() || late || self.unsent.is_none()
    }

    /// Tells the miner where to go on, where the operator has somewhere.
    fn send_on(&mut self, hall: &Hall) {
        let hosts = &hall.shared.reconnect;
        let number = u32::from_be_bytes(self.session.xn1());
        let Ok(count) = u32::try_from(hosts.len()) else { return };
        let Some(place) = number.checked_rem(count) else { return };
        let wait = Duration::from_secs((number / count % RECONNECT_OVER).into());
        if let Some(HostPort { host, port }) = hosts.get(usize::try_from(place).unwrap_or(0)) {
            self.session.reconnect(host, *port, wait);
        }
    }

    /// Tells the door how this address has behaved lately.
    fn report_conduct(&mut self, hall: &Hall) {
        let (good, bad) = (std::mem::take(&mut self.good), std::mem::take(&mut self.bad));
        if good > 0 || bad > 0 {
            hall.conduct(self.address.ip(), good, bad);
        }
    }

    /// Says goodbye to the socket, after what was written.
    pub(super) fn hang_up(&mut self) {
        if let Some(tls) = &mut self.tls {
            let mut farewell = Vec::new();
            tls.close(&mut farewell);
            let _ = push(&mut self.socket, &farewell);
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

/// Whether a share was refused for what its miner did, and neither for the time it took nor for
/// what the pool lacks.
const fn is_the_miners_fault(reason: Reason) -> bool {
    !matches!(reason, Reason::StaleJob | Reason::Busy | Reason::LedgerUnavailable)
}
