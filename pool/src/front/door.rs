//! Who comes in: one thread accepts on every port, turns away whom limits or bans refuse, reads
//! the PROXY header where one is due, and seats each miner at a shard.
//!
//! Read [`Door::run`]. It alone owns the counts of connections and the bans; shards tell it by
//! letter who has gone and how shares were judged.

use std::{
    collections::HashMap,
    io::{ErrorKind, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use tokio::sync::oneshot;

use super::{
    mail::{Letters, Mail, Mailbox, Newcomer},
    ports::Port,
    proxied::{Brought, Proxied},
};
use crate::{
    bans::{Bans, Offence},
    clock::Clock,
    config::HostPort,
    limits::{Admission, Limits, Refusal, Subnet, within},
    metrics::StratumMetrics,
    proxy_protocol::HEADER_TIME,
    tls::{LOOK_INTERVAL, Look, TlsFiles, TlsKeeper},
};

/// Connections accepted on a port in one turn.
const ACCEPTS_A_TURN: usize = 256;
/// Pause after the system refuses to accept (usually: out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two lines about connections that were turned away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// The letter box's event; listeners are numbered from 0, those with a PROXY header due after them.
const LETTERS: Token = Token(usize::MAX);

/// A letter to the door.
#[derive(Debug)]
pub enum DoorMail {
    /// A connection from this address has ended.
    Gone(IpAddr),
    /// An address has done something wrong.
    Offence(IpAddr, Offence),
    /// How shares from an address were judged lately.
    Conduct {
        /// Where they came from.
        address: IpAddr,
        /// Shares accepted.
        accepted: u32,
        /// Shares refused through a fault of the miner's.
        refused: u32,
    },
    /// Other limits and ports from now on, and certificates read again.
    Reload(Box<Rules>),
    /// Count connections in that another image of the pool had.
    TakeOver(Vec<IpAddr>),
    /// Accept nobody any more, and give the listeners away.
    Freeze(oneshot::Sender<Vec<std::net::TcpListener>>),
    /// Accept nobody any more.
    Stop,
}

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Connections at once, and new ones a second.
    pub limits: Limits,
    /// Who is never banned.
    pub never_banned: Vec<Subnet>,
    /// The listening addresses.
    pub ports: Arc<[Port]>,
    /// Where miners are sent when the pool stops.
    pub reconnect: Arc<[HostPort]>,
    /// The certificate's files.
    pub tls: Option<TlsFiles>,
}

/// The owner of listeners, counts and bans.
#[derive(Debug)]
pub struct Door {
    poll: Poll,
    letters: Letters<DoorMail>,
    /// One for each port.
    listeners: Vec<Listener>,
    ports: Arc<[Port]>,
    admission: Admission,
    bans: Bans,
    tls: Option<TlsKeeper>,
    shards: Vec<Mailbox>,
    /// The shard that the next miner is seated at.
    turn: usize,
    /// Connections whose PROXY header is not complete.
    proxied: HashMap<usize, Proxied>,
    next_token: usize,
    look_at_tls: Duration,
    complaints: Complaints,
    clock: Clock,
    metrics: StratumMetrics,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Whether somebody may be waiting.
    ready: bool,
}

impl Door {
    /// A door for `listeners`, one for each of the rules' ports.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub fn new(
        listeners: Vec<std::net::TcpListener>,
        rules: Rules,
        tls: Option<TlsKeeper>,
        clock: Clock,
        metrics: StratumMetrics,
    ) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let (_, letters) = Mailbox::new(&poll, LETTERS)?;
        let mut watched = Vec::new();
        for (port, socket) in listeners.into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            let mut socket = TcpListener::from_std(socket);
            poll.registry().register(&mut socket, Token(port), Interest::READABLE)?;
            watched.push(Listener { socket, ready: true });
        }
        Ok(Self {
            poll,
            letters,
            next_token: watched.len(),
            listeners: watched,
            ports: rules.ports,
            admission: Admission::new(rules.limits),
            bans: Bans::new(rules.never_banned),
            tls,
            shards: Vec::new(),
            turn: 0,
            proxied: HashMap::new(),
            look_at_tls: clock.now().mono.saturating_add(LOOK_INTERVAL),
            complaints: Complaints::default(),
            clock,
            metrics,
        })
    }

    /// The way to the door.
    pub fn mailbox(&self) -> Mailbox<DoorMail> {
        self.letters.mailbox()
    }

    /// Seats miners at `shards` until it is told to stop.
    ///
    /// # Errors
    /// When the system's poll fails.
    pub fn run(mut self, shards: Vec<Mailbox>) -> std::io::Result<()> {
        self.shards = shards;
        let mut events = Events::with_capacity(256);
        loop {
            if let Err(error) = self.poll.poll(&mut events, Some(self.timeout()))
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            let now = self.clock.now().mono;
            for event in &events {
                match self.listeners.get_mut(event.token().0) {
                    Some(listener) => listener.ready = true,
                    None => self.read_header(event.token().0, now),
                }
            }
            if self.letters.rung() && self.take_letters(now) {
                return Ok(());
            }
            for port in 0..self.listeners.len() {
                self.accept(port, now);
            }
            self.give_up_headers(now);
            if now >= self.look_at_tls {
                self.look_at_certificate(now);
            }
        }
    }

    fn timeout(&self) -> Duration {
        if self.listeners.iter().any(|listener| listener.ready) {
            return Duration::ZERO;
        }
        if self.proxied.is_empty() { LOOK_INTERVAL } else { Duration::from_secs(1) }
    }

    /// Reads all letters; true when one says stop.
    fn take_letters(&mut self, now: Duration) -> bool {
        while let Some(letter) = self.letters.next() {
            match letter {
                DoorMail::Gone(address) => self.admission.release(address),
                DoorMail::Offence(address, offence) => self.punish(address, offence, 1, now),
                DoorMail::Conduct { address, accepted, refused } => {
                    self.bans.good_work(address, accepted.into(), now);
                    if refused > 0 {
                        self.punish(address, Offence::RefusedShare, refused, now);
                    }
                }
                DoorMail::Reload(rules) => self.reload(*rules, now),
                DoorMail::TakeOver(addresses) => {
                    addresses.into_iter().for_each(|one| self.admission.take_over(one));
                }
                DoorMail::Freeze(reply) => {
                    // Nobody who waits for them has gone: the front does, and takes them.
                    let _ = reply.send(self.give_listeners());
                    return true;
                }
                DoorMail::Stop => return true,
            }
        }
        self.metrics.connections(self.admission.total());
        false
    }

    fn punish(&mut self, address: IpAddr, offence: Offence, times: u32, now: Duration) {
        if let Some(ban) = self.bans.offence(address, offence, times, now) {
            tracing::warn!("{ban}");
            self.metrics.banned();
        }
    }

    fn reload(&mut self, rules: Rules, now: Duration) {
        self.admission.set_limits(rules.limits);
        self.bans.set_exempt(rules.never_banned);
        self.ports = rules.ports;
        for shard in &self.shards {
            shard.post(Mail::Ports(Arc::clone(&self.ports), Arc::clone(&rules.reconnect)));
        }
        if let Some((keeper, files)) = self.tls.as_mut().zip(rules.tls) {
            keeper.follow(files);
        }
        self.look_at_certificate(now);
    }

    fn give_listeners(&mut self) -> Vec<std::net::TcpListener> {
        let all = std::mem::take(&mut self.listeners).into_iter().map(|mut listener| {
            let _ = self.poll.registry().deregister(&mut listener.socket);
            listener.socket.into()
        });
        all.collect()
    }

    fn accept(&mut self, port: usize, now: Duration) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(listener) = self.listeners.get_mut(port).filter(|one| one.ready) else {
                return;
            };
            match listener.socket.accept() {
                Ok((socket, address)) => self.admit(socket, address, port, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    std::thread::sleep(ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: TcpStream, address: SocketAddr, port: usize, now: Duration) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(peer = %address, "no TCP_NODELAY: {error}");
        }
        let proxies = self.ports.get(port).map_or(&[][..], |port| &port.proxies);
        if within(proxies, address.ip()) {
            return match self.admission.admit_proxied() {
                Ok(()) => self.await_header(socket, address, port, now),
                Err(refusal) => self.complaints.about(address, &refusal, now),
            };
        }
        if self.is_banned(&socket, address.ip(), port, now) {
            return;
        }
        match self.admission.admit(address.ip(), now) {
            Ok(()) => self.seat(socket, address, port, Vec::new()),
            Err(refusal) => self.complaints.about(address, &refusal, now),
        }
    }

    /// Whether the address is banned; it is told so once, where it can read that.
    fn is_banned(
        &mut self,
        mut socket: &TcpStream,
        address: IpAddr,
        port: usize,
        now: Duration,
    ) -> bool {
        let Some(refused) = self.bans.refuse(address, now) else { return false };
        if refused.tell && self.ports.get(port).is_some_and(|port| !port.tls) {
            // Whoever does not take it has missed nothing that it needs.
            let _ = socket.write(refused.ban.farewell(now).as_bytes());
        }
        true
    }

    fn seat(&mut self, socket: TcpStream, address: SocketAddr, port: usize, early: Vec<u8>) {
        self.metrics.connections(self.admission.total());
        let secret = self.ports.get(port).is_some_and(|port| port.tls);
        let tls = self.tls.as_ref().filter(|_| secret).map(|tls| Arc::clone(tls.config()));
        let newcomer = Box::new(Newcomer { socket, address, port, tls, early });
        self.turn = self.turn.wrapping_add(1);
        let place = self.turn.checked_rem(self.shards.len()).unwrap_or(0);
        if let Some(shard) = self.shards.get(place) {
            shard.post(Mail::Join(newcomer));
        }
    }

    fn await_header(
        &mut self,
        mut socket: TcpStream,
        proxy: SocketAddr,
        port: usize,
        now: Duration,
    ) {
        let token = self.next_token;
        self.next_token += 1;
        let watched = self.poll.registry().register(&mut socket, Token(token), Interest::READABLE);
        if let Err(error) = watched {
            tracing::error!(peer = %proxy, "connection refused: {error}");
            return self.admission.release_unidentified();
        }
        let until = now.saturating_add(HEADER_TIME);
        self.proxied.insert(token, Proxied::new(socket, proxy, port, until));
    }

    /// Reads more of a PROXY header; a complete one says where the miner is.
    fn read_header(&mut self, token: usize, now: Duration) {
        let Some(mut waiting) = self.proxied.remove(&token) else { return };
        let Brought { address, early } = match waiting.read() {
            Ok(Some(brought)) => brought,
            Ok(None) => {
                self.proxied.insert(token, waiting);
                return;
            }
            Err(why) => {
                tracing::warn!(peer = %waiting.proxy, "connection ended: {why}");
                return self.admission.release_unidentified();
            }
        };
        let _ = self.poll.registry().deregister(&mut waiting.socket);
        if self.is_banned(&waiting.socket, address.ip(), waiting.port, now) {
            return self.admission.release_unidentified();
        }
        match self.admission.identify(address.ip(), now) {
            Ok(()) => self.seat(waiting.socket, address, waiting.port, early),
            Err(refusal) => {
                self.admission.release_unidentified();
                self.complaints.about(address, &refusal, now);
            }
        }
    }

    fn give_up_headers(&mut self, now: Duration) {
        let before = self.proxied.len();
        self.proxied.retain(|_, waiting| !waiting.is_overdue(now));
        for _ in self.proxied.len()..before {
            tracing::warn!("a proxy sent no PROXY header within {} s", HEADER_TIME.as_secs());
            self.admission.release_unidentified();
        }
    }

    fn look_at_certificate(&mut self, now: Duration) {
        self.look_at_tls = now.saturating_add(LOOK_INTERVAL);
        let Some(tls) = &mut self.tls else { return };
        let unix = self.clock.now().unix;
        match tls.look() {
            Look::Unchanged => {}
            Look::Replaced => tracing::info!("the TLS certificate was read again"),
            Look::Kept(error) => tracing::error!("{error}; the certificate before is kept"),
        }
        for warning in tls.warnings(unix) {
            tracing::warn!("{warning}");
        }
    }
}

/// Connections turned away, told about now and then: a flood of them must not fill the log.
#[derive(Debug, Default)]
struct Complaints {
    untold: u64,
    told_at: Option<Duration>,
}

impl Complaints {
    fn about(&mut self, address: SocketAddr, refusal: &Refusal, now: Duration) {
        if self.told_at.is_some_and(|at| now.saturating_sub(at) < COMPLAIN_EVERY) {
            self.untold += 1;
            return;
        }
        tracing::info!(peer = %address, untold = self.untold, "connection refused: {refusal}");
        *self = Self { untold: 0, told_at: Some(now) };
    }
}

/// Whether an error of `accept` speaks of the connection and not of the system.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}
