//! One thread that serves many miners: it waits for sockets and letters, lets sessions work, and
//! writes what they say.
//!
//! Read [`Shard::run`]. In one turn it reads every socket that has something, takes all letters,
//! looks at what is due, and then writes once to each connection that has something to say: the
//! answers of a commit go out in one piece. Sockets are watched by their edges, so a connection
//! that is not read now (because it has enough under way) is remembered and read later.
//!
//! It deliberately never waits for anything but its poll, and shares nothing with other shards.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use stratum::{
    Jobs,
    judge::Reason,
    v1::server::{Session, SubscriptionId},
};
use tokio::sync::oneshot;
use units::Moment;

use super::{
    Shared,
    desk::Request,
    door::DoorMail,
    end::End,
    hall::Hall,
    mail::{Letters, Mail, Mailbox, Newcomer, PeerKey},
    peer::{More, Peer},
    peers::Peers,
    ports::Port,
    timers::{Due, Timers},
};
use crate::{handover::FrozenPeer, ledger_task::Credit, tls::TlsLink};

/// Events taken from the system at once.
const EVENTS: usize = 1024;
/// Connections read in one turn before answers are written.
const READS_A_TURN: usize = 1024;
/// Turns that read something and begin within this time are a stream.
const STREAM: Duration = Duration::from_millis(5);
/// Pause between turns of a stream, unless so many sockets had something at once.
const REST: Duration = Duration::from_millis(2);
const CROWD: usize = 64;
/// How many connections' memory is looked at together, before they get new work: enough for the
/// processor to wait for many at once, and few enough to be still at hand when their turn comes.
const TOGETHER: usize = 32;
/// Connections get this long to finish once the pool stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The ledger gets this long to answer what is under way before connections are put down.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);
/// The letter box's event.
const LETTERS: Token = Token(usize::MAX);

/// One thread's connections.
#[derive(Debug)]
pub(super) struct Shard {
    poll: Poll,
    letters: Letters,
    ports: Arc<[Port]>,
    peers: Peers,
    hall: Hall,
    timers: Timers,
    /// Connections with something to read.
    to_read: VecDeque<u32>,
    /// Connections with something to write, or to end.
    to_write: Vec<u32>,
    /// Those that came while there was no extranonce for them.
    waiting: Vec<Newcomer>,
    /// What there is to hash now, if anything.
    jobs: Option<Arc<Jobs>>,
    /// Where the next broadcast begins, so that nobody is always the last.
    first: usize,
    stopping: Option<Duration>,
    freezing: Option<Freezing>,
    /// Sockets read in this turn, and when a turn last began in which some were.
    read_now: usize,
    read_at: Duration,
}

/// Connections are to be put down once the ledger owes them nothing, or at this time.
#[derive(Debug)]
struct Freezing {
    reply: oneshot::Sender<Vec<FrozenPeer>>,
    until: Duration,
}

/// What a shard is made of, before its thread runs.
#[derive(Debug)]
pub(super) struct Making {
    poll: Poll,
    letters: Letters,
}

impl Making {
    /// # Errors
    /// When the system has no more file descriptors.
    pub(super) fn new() -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let (_, letters) = Mailbox::new(&poll, LETTERS)?;
        Ok(Self { poll, letters })
    }

    /// The way to the shard.
    pub(super) fn mailbox(&self) -> Mailbox {
        self.letters.mailbox()
    }

    /// The shard. Tasks that it starts run where this is called.
    pub(super) fn finish(
        self,
        shared: Shared,
        ports: Arc<[Port]>,
        desk: tokio::sync::mpsc::Sender<Request>,
        door: Mailbox<DoorMail>,
    ) -> Shard {
        let runtime = tokio::runtime::Handle::current();
        let Self { poll, letters } = self;
        let mut hall = Hall::new(shared, letters.mailbox(), desk, door, runtime);
        hall.shared.jobs.mark_changed();
        hall.shared.notice.mark_changed();
        Shard {
            poll,
            letters,
            ports,
            peers: Peers::default(),
            hall,
            timers: Timers::default(),
            to_read: VecDeque::new(),
            to_write: Vec::new(),
            waiting: Vec::new(),
            jobs: None,
            first: 0,
            stopping: None,
            freezing: None,
            read_now: 0,
            read_at: Duration::ZERO,
        }
    }
}

impl Shard {
    /// Serves until it is told to stop and every connection has ended.
    ///
    /// # Errors
    /// When the system's poll fails, or the ledger has stopped.
    pub(super) fn run(mut self) -> Result<(), End> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(error.into());
            }
            let now = self.hall.shared.clock.now();
            for event in &events {
                self.note(event);
            }
            self.read(now);
            if self.letters.rung() {
                self.take_letters(now);
                self.take_news(now);
            }
            self.look_at_clocks(now);
            self.write(now);
            self.hall.credits.flush(now.mono);
            self.freeze(now);
            if self.hall.credits.is_stopped() && self.stopping.is_none() {
                return Err(End::Ledger);
            }
            if self.is_over(now.mono) {
                return Ok(());
            }
            self.rest(now.mono);
        }
    }

    /// In a stream of shares, lets some gather before the next turn: a turn costs as much for one
    /// as for many. Whoever comes alone is not kept waiting.
    fn rest(&mut self, began: Duration) {
        let read = std::mem::take(&mut self.read_now);
        let stream = read > 0 && began.saturating_sub(self.read_at) < STREAM;
        if read > 0 {
            self.read_at = began;
        }
        if stream && read < CROWD {
            std::thread::sleep(REST);
        }
    }

    /// How long to wait for sockets and letters.
    fn timeout(&self) -> Option<Duration> {
        let reads = self.freezing.is_none() && !self.hall.credits.is_full();
        if !self.to_read.is_empty() && reads {
            return Some(Duration::ZERO);
        }
        let freezing = self.freezing.as_ref().map(|freezing| freezing.until);
        let due = [self.timers.next(), self.hall.credits.due(), self.stopping, freezing];
        let due = due.into_iter().flatten().min()?;
        Some(due.saturating_sub(self.hall.shared.clock.now().mono))
    }

    /// Notes which connection can be read or written.
    fn note(&mut self, event: &mio::event::Event) {
        let Ok(slot) = u32::try_from(event.token().0) else { return };
        let Some(peer) = self.peers.get(slot) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            peer.readable = true;
            queue(peer, &mut self.to_read);
        }
        if event.is_writable() {
            mark(peer, &mut self.to_write);
        }
    }

    /// Reads connections that have something, each once and then again in turn.
    fn read(&mut self, now: Moment) {
        for _ in 0..READS_A_TURN {
            if self.hall.credits.is_full() || self.freezing.is_some() {
                return;
            }
            let Some(slot) = self.to_read.pop_front() else { return };
            let Some(peer) = self.peers.get(slot) else { continue };
            peer.queued = false;
            self.read_now += 1;
            if !peer.wants_input() {
                continue;
            }
            match peer.read(&mut self.hall, now) {
                Ok(More::Maybe) => queue(peer, &mut self.to_read),
                Ok(More::No) => peer.readable = false,
                Err(end) => {
                    peer.readable = false;
                    peer.begin_end(end, &mut self.hall, now);
                }
            }
            mark(peer, &mut self.to_write);
        }
    }

    fn take_letters(&mut self, now: Moment) {
        while let Some(mail) = self.letters.next() {
            match mail {
                Mail::Shares(list, verdict) => self.answer(list, verdict, now),
                Mail::Join(newcomer) => self.join(*newcomer, now),
                Mail::Recorded(credit) => self.hall.credits.add(*credit),
                Mail::Energy(key, token, answer) => {
                    self.with(key, |peer, _| peer.answer_energy(token, answer));
                }
                // An end may have waited for it.
                Mail::EnergyKept(key) => self.with(key, |_, _| {}),
                Mail::Resumed(key, token, mut kept) => {
                    self.with(key, |peer, hall| {
                        let kept = kept.take().map(|kept| *kept);
                        hall.free(peer.session.resume(token, kept, now));
                    });
                    // The connection has ended meanwhile: its miner may still come back.
                    if let Some(kept) = kept {
                        self.hall.keep_subscription(kept);
                    }
                }
                Mail::Extranonces(range) => {
                    self.hall.lease(range);
                    for newcomer in std::mem::take(&mut self.waiting) {
                        self.join(newcomer, now);
                    }
                }
                Mail::Ports(ports, reconnect) => {
                    self.ports = ports;
                    self.hall.shared.reconnect = reconnect;
                }
                Mail::TakeOver(peers, jobs) => self.take_over(peers, &jobs, now),
                Mail::Freeze(reply) => {
                    let until = now.mono.saturating_add(FREEZE_LIMIT);
                    self.freezing = Some(Freezing { reply, until });
                }
                Mail::Stop => {
                    self.stopping.get_or_insert_with(|| now.mono.saturating_add(STOP_LIMIT));
                    self.end_all(now);
                }
            }
        }
    }

    /// Calls `act` for a connection that is still there.
    fn with(&mut self, key: PeerKey, act: impl FnOnce(&mut Peer, &mut Hall)) {
        if let Some(peer) = self.peers.find(key) {
            act(peer, &mut self.hall);
            mark(peer, &mut self.to_write);
        }
    }

    /// Takes the verdict on a list of shares to their connections.
    fn answer(&mut self, list: Vec<Credit>, verdict: Result<(), Reason>, now: Moment) {
        let metrics = &self.hall.shared.metrics;
        // Shares that were read together have waited for the same time.
        for together in list.chunk_by(|one, next| one.received == next.received) {
            let received = together.first().map_or(now.mono, |one| one.received);
            metrics.submitted(now.mono.saturating_sub(received), together.len());
        }
        if let Err(reason) = verdict {
            list.iter().for_each(|_| metrics.rejected(reason));
        }
        for credit in &list {
            if let Some(peer) = self.peers.find(credit.from.peer) {
                peer.acknowledge(credit.from.token, verdict);
                mark(peer, &mut self.to_write);
            }
        }
        self.hall.credits.answered(list);
    }

    /// Takes a miner in.
    fn join(&mut self, newcomer: Newcomer, now: Moment) {
        let address = newcomer.address;
        if self.stopping.is_some() {
            return self.hall.gone(address.ip());
        }
        let Some(xn1) = self.hall.extranonce() else {
            return self.waiting.push(newcomer);
        };
        if let Err(error) = self.seat(newcomer, xn1, now) {
            tracing::error!(peer = %address, "connection refused: {error}");
            self.hall.free(Some(xn1));
            self.hall.gone(address.ip());
        }
    }

    fn seat(&mut self, newcomer: Newcomer, xn1: [u8; 4], now: Moment) -> Result<(), String> {
        let Newcomer { socket, address, port, tls, early } = newcomer;
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let settings = Arc::clone(&self.ports.get(port).ok_or("its port is gone")?.settings);
        let session = Session::new(settings, xn1, now).resumable(SubscriptionId::new(random));
        let tls = tls.map(TlsLink::new).transpose().map_err(|error| error.to_string())?;
        let key = self.peers.next_key();
        let port = u16::try_from(port).map_err(|error| error.to_string())?;
        let mut peer = Box::new(Peer::new(key, socket, address, port, tls, session));
        self.watch(&mut peer)?;
        if let Some(jobs) = &self.jobs {
            peer.session.set_jobs(Arc::clone(jobs), now);
        }
        if !early.is_empty()
            && let Err(end) = peer.receive(&early, &mut self.hall, now)
        {
            peer.begin_end(end, &mut self.hall, now);
        }
        mark(&mut peer, &mut self.to_write);
        self.peers.seat(peer);
        Ok(())
    }

    /// Has the system tell of a connection's socket.
    fn watch(&self, peer: &mut Peer) -> Result<(), String> {
        let token = Token(usize::try_from(peer.key.slot).map_err(|error| error.to_string())?);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watched = self.poll.registry().register(peer.socket(), token, interest);
        watched.map_err(|error| error.to_string())
    }

    /// Goes on with connections of another image of the pool.
    fn take_over(&mut self, peers: Vec<FrozenPeer>, jobs: &Arc<Jobs>, now: Moment) {
        for frozen in peers {
            let address = frozen.saved.address;
            if let Err(error) = self.thaw(frozen, jobs, now) {
                tracing::error!(peer = %address, "connection ended: {error}");
                self.hall.gone(address.ip());
            }
        }
    }

    fn thaw(&mut self, frozen: FrozenPeer, jobs: &Arc<Jobs>, now: Moment) -> Result<(), String> {
        let FrozenPeer { socket, saved } = frozen;
        let place = self.ports.iter().position(|port| port.address == saved.port);
        let place = place.ok_or("its port is gone")?;
        let settings = Arc::clone(&self.ports[place].settings);
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        let socket = TcpStream::from_std(socket);
        let key = self.peers.next_key();
        let port = u16::try_from(place).map_err(|error| error.to_string())?;
        let empty = Session::new(Arc::clone(&settings), [0; 4], now);
        let mut peer = Box::new(Peer::new(key, socket, saved.address, port, None, empty));
        let network = self.hall.shared.network;
        let known = |user: &str| peer.known_worker(user, network);
        let session = Session::restore(settings, saved.session, jobs, known, now)
            .map_err(|error| error.to_string())?;
        peer.resume(session);
        peer.go_on(saved.unsent, now);
        self.watch(&mut peer)?;
        if let Some(jobs) = &self.jobs {
            peer.session.set_jobs(Arc::clone(jobs), now);
        }
        mark(&mut peer, &mut self.to_write);
        self.peers.seat(peer);
        Ok(())
    }

    /// Puts all connections down, once the ledger owes them nothing; the others end as at a stop.
    fn freeze(&mut self, now: Moment) {
        let Some(freezing) = &self.freezing else { return };
        let mut open = self.to_write.len();
        self.peers.each(|peer| open += usize::from(peer.is_open()));
        if open > 0 && now.mono < freezing.until {
            return;
        }
        let Some(Freezing { reply, .. }) = self.freezing.take() else { return };
        let mut frozen = Vec::with_capacity(self.peers.held());
        for slot in 0..u32::try_from(self.peers.slots()).unwrap_or(u32::MAX) {
            let Some(mut peer) = self.peers.remove(slot) else { continue };
            let port = self.ports.get(usize::from(peer.port)).map(|port| port.address);
            let _ = self.poll.registry().deregister(peer.socket());
            match port.ok_or(()).map(|port| peer.freeze(port, now)) {
                Ok(Ok(peer)) => frozen.push(peer),
                Ok(Err(mut peer)) => {
                    if self.watch(&mut peer).is_ok() {
                        self.peers.seat_again(peer);
                    }
                }
                Err(()) => {}
            }
        }
        // Nobody who waits for them has gone: the front does, and takes them.
        let _ = reply.send(frozen);
        self.stopping = Some(now.mono.saturating_add(STOP_LIMIT));
        self.end_all(now);
        self.write(now);
    }

    /// Takes new work, or the lack of it, and notices to every connection.
    fn take_news(&mut self, now: Moment) {
        let shared = &mut self.hall.shared;
        if shared.notice.has_changed().unwrap_or(false) {
            self.hall.notice = shared.notice.borrow_and_update().clone();
            self.hall.notice_number = self.hall.notice_number.wrapping_add(1);
            self.peers.each(|peer| mark(peer, &mut self.to_write));
        }
        let shared = &mut self.hall.shared;
        if !shared.jobs.has_changed().unwrap_or(false) {
            return;
        }
        let announcement = shared.jobs.borrow_and_update().clone();
        let Some(announcement) = announcement else {
            self.jobs = None;
            return self.peers.each(|peer| peer.session.withdraw_job());
        };
        // A list of this thread's own: the count of its users would go from core to core.
        let jobs = Arc::new(announcement.jobs.as_ref().clone());
        self.jobs = Some(Arc::clone(&jobs));
        let written = self.broadcast(&jobs, now);
        announcement.finished(written, self.hall.shared.clock.now());
    }

    /// Gives new work to every connection, and returns to how many it was written.
    fn broadcast(&mut self, jobs: &Arc<Jobs>, now: Moment) -> usize {
        let slots = self.peers.slots();
        self.first = (self.first + slots / 3 + 1).checked_rem(slots).unwrap_or(0);
        let mut written = 0;
        let ring: [std::ops::Range<usize>; 2] = [self.first..slots, 0..self.first];
        for half in ring {
            for start in half.clone().step_by(TOGETHER) {
                let group = start..half.end.min(start + TOGETHER);
                self.peers.glance(group.clone());
                for place in group {
                    written += usize::from(self.give(place, jobs, now));
                }
            }
        }
        written
    }

    /// Gives new work to the connection in a slot, and says whether it was written.
    fn give(&mut self, place: usize, jobs: &Arc<Jobs>, now: Moment) -> bool {
        let slot = u32::try_from(place).ok();
        let Some(peer) = slot.and_then(|slot| self.peers.get(slot)) else { return false };
        peer.session.set_jobs(Arc::clone(jobs), now);
        let ready = peer.session.is_ready();
        if let Err(end) = peer.write(&mut self.hall, now) {
            peer.begin_end(end, &mut self.hall, now);
            mark(peer, &mut self.to_write);
        }
        ready
    }

    /// Looks at connections whose time has come.
    fn look_at_clocks(&mut self, now: Moment) {
        while let Some((due, key)) = self.timers.pop(now.mono) {
            let Some(peer) = self.peers.find(key).filter(|peer| peer.due == due) else { continue };
            peer.due = Due::NEVER;
            if let Err(end) = peer.timeout(&mut self.hall, now) {
                peer.begin_end(end, &mut self.hall, now);
            }
            mark(peer, &mut self.to_write);
        }
    }

    /// Writes to every connection that has something to say, and lets go of those that are done.
    fn write(&mut self, now: Moment) {
        let mut slots = std::mem::take(&mut self.to_write);
        for slot in slots.drain(..) {
            let Some(peer) = self.peers.get(slot) else { continue };
            peer.dirty = false;
            if let Err(end) = peer.write(&mut self.hall, now) {
                peer.begin_end(end, &mut self.hall, now);
            }
            if peer.is_done(&mut self.hall, now) {
                self.let_go(slot);
                continue;
            }
            if peer.readable && peer.wants_input() {
                queue(peer, &mut self.to_read);
            }
            peer.due = self.timers.schedule(peer.key, peer.next_timeout(), peer.due);
        }
        self.to_write = slots;
    }

    fn let_go(&mut self, slot: u32) {
        let Some(mut peer) = self.peers.remove(slot) else { return };
        peer.hang_up();
        let _ = self.poll.registry().deregister(peer.socket());
        self.hall.gone(peer.address.ip());
    }

    fn end_all(&mut self, now: Moment) {
        let (hall, to_write) = (&mut self.hall, &mut self.to_write);
        self.peers.each(|peer| {
            peer.begin_end(End::Stopping, hall, now);
            mark(peer, to_write);
        });
    }

    fn is_over(&self, now: Duration) -> bool {
        let Some(until) = self.stopping else { return false };
        if now >= until && self.peers.held() > 0 {
            tracing::warn!("{} connections were cut off", self.peers.held());
            return true;
        }
        self.peers.held() == 0
    }
}

/// Has a connection written to at the end of the turn.
fn mark(peer: &mut Peer, to_write: &mut Vec<u32>) {
    if !std::mem::replace(&mut peer.dirty, true) {
        to_write.push(peer.key.slot);
    }
}

/// Has a connection read in its turn.
fn queue(peer: &mut Peer, to_read: &mut VecDeque<u32>) {
    if !std::mem::replace(&mut peer.queued, true) {
        to_read.push_back(peer.key.slot);
    }
}
