//! The connections: one thread, one poll, and no more system calls than it takes, because whoever
//! measures a pool on the same machine takes the processor time away from it.
//!
//! Read [`Crowd::turn`]. It deliberately reads and writes only; what is said is up to [`Miner`],
//! and what is counted to [`Tally`].

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    mem,
    net::SocketAddr,
    thread,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, event::Event, net::TcpStream};

use super::{
    LoadError,
    bursts::Bursts,
    jobs::Jobs,
    miner::{Manner, Miner, News},
    pace::Pace,
    tally::Tally,
};

/// Connections that may be on their way at once: fewer than any pool's backlog.
const ON_THEIR_WAY: usize = 128;
/// One read; a pool that answers in batches fills some of it.
const READ: usize = 64 * 1024;
/// Where shares are hard to find: so many get their tries before the sockets are looked at again.
const HUNGRY_A_TURN: usize = 8;
/// Longest wait for anything.
const WAIT: Duration = Duration::from_millis(50);

/// Where miners only listen and fewer than so many had something to hear, this long a pause before
/// the next look. Whoever waits at the poll is woken for each line that a pool writes, and the
/// waking is paid for by the pool, which has no such neighbour in the field. Times of hearing are
/// too late by so much at most.
const FEW: usize = 64;
const PAUSE: Duration = Duration::from_micros(500);

/// What the miners do.
#[derive(Debug)]
pub(super) enum Task {
    /// Listen.
    Hold,
    /// Keep so many shares unanswered on each connection.
    Flood(usize),
    /// Send shares at an even pace, the next one always on the next connection.
    Pace(Pace),
}

/// All miners with their connections.
pub(super) struct Crowd<'a> {
    poll: Poll,
    events: Events,
    clock: &'a dyn Fn() -> Duration,
    pool: SocketAddr,
    peers: Vec<Peer>,
    /// Miners without a connection yet.
    waiting: VecDeque<Miner>,
    on_their_way: usize,
    ready: usize,
    manner: Manner,
    task: Task,
    /// Whose turn it is at an even pace.
    turn: usize,
    /// Shares that were due and could not be found or sent.
    missed: u64,
    /// Those whose tries were not enough, in [`Task::Flood`].
    hungry: VecDeque<usize>,
    scratch: Vec<u8>,
    jobs: Jobs,
    pub(super) tally: Tally,
    pub(super) bursts: Option<Bursts>,
    /// Lost connections, by reason.
    pub(super) lost: BTreeMap<String, u64>,
}

/// One connection.
struct Peer {
    stream: Option<TcpStream>,
    connected: bool,
    ready: bool,
    hungry: bool,
    miner: Miner,
    /// A line's beginning.
    inbox: Vec<u8>,
    /// What the system did not take yet.
    outbox: Vec<u8>,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(
        pool: SocketAddr,
        miners: VecDeque<Miner>,
        manner: Manner,
        clock: &'a dyn Fn() -> Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clock,
            pool,
            peers: Vec::with_capacity(miners.len()),
            waiting: miners,
            on_their_way: 0,
            ready: 0,
            manner,
            task: Task::Hold,
            turn: 0,
            missed: 0,
            hungry: VecDeque::new(),
            scratch: vec![0; READ],
            jobs: Jobs::default(),
            tally: Tally::default(),
            bursts: None,
            lost: BTreeMap::new(),
        })
    }

    /// Miners that have all that they need.
    pub(super) const fn ready(&self) -> usize {
        self.ready
    }

    /// Shares without an answer, on all connections that live.
    pub(super) fn unanswered(&self) -> usize {
        let living = self.peers.iter().filter(|peer| peer.stream.is_some());
        living.map(|peer| peer.miner.unanswered()).sum()
    }

    /// Shares that were due and not sent, because nobody asked in time or nobody could.
    pub(super) const fn given_up(&self) -> u64 {
        let late = if let Task::Pace(pace) = &self.task { pace.given_up() } else { 0 };
        late + self.missed
    }

    /// From now on the miners do this.
    pub(super) fn set_task(&mut self, task: Task) -> Result<(), LoadError> {
        self.task = task;
        self.hungry.clear();
        for peer in &mut self.peers {
            peer.hungry = false;
        }
        for number in 0..self.peers.len() {
            self.top_up(number)?;
        }
        Ok(())
    }

    /// Waits for whatever comes next and does it, once.
    pub(super) fn turn(&mut self) -> Result<(), LoadError> {
        self.connect_more()?;
        let wait = match &self.task {
            Task::Pace(_) => Duration::from_millis(1),
            Task::Flood(_) if !self.hungry.is_empty() => Duration::ZERO,
            Task::Hold | Task::Flood(_) => WAIT,
        };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        let mut heard = 0;
        for event in &events {
            heard += 1;
            self.attend(event)?;
        }
        self.events = events;
        if matches!(self.task, Task::Hold) && (1..FEW).contains(&heard) {
            thread::sleep(PAUSE);
        }
        for _ in 0..self.hungry.len().min(HUNGRY_A_TURN) {
            let Some(number) = self.hungry.pop_front() else { break };
            self.peers[number].hungry = false;
            self.top_up(number)?;
        }
        self.keep_pace()?;
        let now = (self.clock)();
        if let Some(bursts) = &mut self.bursts {
            bursts.tick(now)?;
        }
        Ok(())
    }

    fn connect_more(&mut self) -> Result<(), LoadError> {
        while self.on_their_way < ON_THEIR_WAY {
            let Some(miner) = self.waiting.pop_front() else { return Ok(()) };
            let number = self.peers.len();
            let connect = || {
                let mut stream = TcpStream::connect(self.pool)?;
                stream.set_nodelay(true)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, Token(number), interest)?;
                Ok(stream)
            };
            let stream = connect().map_err(|error| LoadError::Connect { number, error })?;
            self.on_their_way += 1;
            self.peers.push(Peer::new(stream, miner));
        }
        Ok(())
    }

    fn attend(&mut self, event: &Event) -> Result<(), LoadError> {
        let Token(number) = event.token();
        if self.peers[number].stream.is_none() {
            return Ok(());
        }
        let outcome = self.exchange(number, event);
        match outcome {
            Ok(()) => self.top_up(number),
            Err(LoadError::Connection(why)) => self.lose(number, why),
            Err(other) => Err(other),
        }
    }

    fn exchange(&mut self, number: usize, event: &Event) -> Result<(), LoadError> {
        let peer = &mut self.peers[number];
        if !peer.connected {
            if !peer.is_through()? {
                return Ok(());
            }
            peer.outbox = peer.miner.greeting();
        }
        if event.is_writable() {
            peer.flush()?;
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(number, event.is_read_closed())?;
        }
        Ok(())
    }

    /// Reads until there is no more. Where less came than there was room for there is no more,
    /// unless the connection's end follows.
    fn read(&mut self, number: usize, ended: bool) -> Result<(), LoadError> {
        let mut scratch = mem::take(&mut self.scratch);
        let outcome = loop {
            let stream = self.peers[number].stream.as_mut();
            match stream.map_or(Ok(0), |stream| stream.read(&mut scratch)) {
                Ok(0) => break Err(LoadError::Connection("the pool closed it".to_owned())),
                Ok(length) => {
                    if let Err(error) = self.take_in(number, &scratch[..length]) {
                        break Err(error);
                    }
                    if length < READ && !ended {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(LoadError::Connection(error.to_string())),
            }
        };
        self.scratch = scratch;
        outcome
    }

    fn take_in(&mut self, number: usize, bytes: &[u8]) -> Result<(), LoadError> {
        let now = (self.clock)();
        if self.peers[number].inbox.is_empty() {
            let whole = self.hear_lines(number, bytes, now)?;
            self.peers[number].inbox.extend_from_slice(&bytes[whole..]);
            return Ok(());
        }
        let mut inbox = mem::take(&mut self.peers[number].inbox);
        inbox.extend_from_slice(bytes);
        let whole = self.hear_lines(number, &inbox, now)?;
        inbox.drain(..whole);
        self.peers[number].inbox = inbox;
        Ok(())
    }

    /// Takes every whole line, and says how many bytes they are.
    fn hear_lines(
        &mut self,
        number: usize,
        bytes: &[u8],
        now: Duration,
    ) -> Result<usize, LoadError> {
        let Self { peers, jobs, tally, bursts, ready, on_their_way, .. } = self;
        let peer = &mut peers[number];
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &bytes[start..]) {
            let line = &bytes[start..start + length];
            start += length + 1;
            match peer.miner.hear(line, now, jobs)? {
                News::Accepted(delay) => tally.accept(delay),
                News::Refused(delay, code, message) => tally.refuse(delay, code, message),
                News::Job(job) => {
                    if let Some(bursts) = bursts {
                        bursts.came(number, &job, now);
                    }
                }
                News::Nothing => {}
            }
            if !peer.ready && peer.miner.is_ready() {
                peer.ready = true;
                *ready += 1;
                *on_their_way -= 1;
            }
        }
        Ok(start)
    }

    /// In [`Task::Flood`], sends what is missing, in one write.
    fn top_up(&mut self, number: usize) -> Result<(), LoadError> {
        let Task::Flood(wanted) = self.task else { return Ok(()) };
        let peer = &mut self.peers[number];
        if peer.stream.is_none() || !peer.ready || peer.hungry || !peer.outbox.is_empty() {
            return Ok(());
        }
        let missing = wanted.saturating_sub(peer.miner.unanswered());
        if missing == 0 {
            return Ok(());
        }
        if self.send(number, missing)? < missing && self.peers[number].stream.is_some() {
            self.peers[number].hungry = true;
            self.hungry.push_back(number);
        }
        Ok(())
    }

    /// In [`Task::Pace`], sends what is due, one share a write.
    fn keep_pace(&mut self) -> Result<(), LoadError> {
        let now = (self.clock)();
        let Task::Pace(pace) = &mut self.task else { return Ok(()) };
        let due = pace.take(now);
        for _ in 0..due {
            let number = self.turn;
            self.turn = (self.turn + 1) % self.peers.len();
            let alive = self.peers[number].stream.is_some();
            if !alive || self.send(number, 1)? == 0 {
                self.missed += 1;
            }
        }
        Ok(())
    }

    /// Makes up to so many shares and writes them together; says how many there were.
    fn send(&mut self, number: usize, shares: usize) -> Result<usize, LoadError> {
        let now = (self.clock)();
        let peer = &mut self.peers[number];
        let made = peer.miner.add_shares(shares, self.manner, now, &mut peer.outbox)?;
        match peer.flush() {
            Ok(()) => Ok(made),
            Err(LoadError::Connection(why)) => self.lose(number, why).map(|()| made),
            Err(other) => Err(other),
        }
    }

    /// Before everybody is ready a lost connection ends the run; afterwards it is counted.
    fn lose(&mut self, number: usize, why: String) -> Result<(), LoadError> {
        let peer = &mut self.peers[number];
        peer.stream = None;
        if !peer.ready {
            return Err(LoadError::Lost { number, why });
        }
        *self.lost.entry(why).or_default() += 1;
        Ok(())
    }
}

impl Peer {
    fn new(stream: TcpStream, miner: Miner) -> Self {
        let (inbox, outbox) = (Vec::new(), Vec::new());
        let stream = Some(stream);
        Self { stream, connected: false, ready: false, hungry: false, miner, inbox, outbox }
    }

    /// Whether the connection stands by now.
    fn is_through(&mut self) -> Result<bool, LoadError> {
        let Some(stream) = &self.stream else { return Ok(false) };
        let lost = |error: io::Error| LoadError::Connection(error.to_string());
        if let Some(error) = stream.take_error().map_err(lost)? {
            return Err(lost(error));
        }
        self.connected = stream.peer_addr().is_ok();
        Ok(self.connected)
    }

    /// Writes as much as the system takes.
    fn flush(&mut self) -> Result<(), LoadError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut written = 0;
        while written < self.outbox.len() {
            match stream.write(&self.outbox[written..]) {
                Ok(0) => return Err(LoadError::Connection("it takes no more".to_owned())),
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(LoadError::Connection(error.to_string())),
            }
        }
        self.outbox.drain(..written);
        Ok(())
    }
}
