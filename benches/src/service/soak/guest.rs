//! One connection of a soak, from connect to farewell.
//!
//! Read [`Guest::look`] and [`Guest::hear`]. Shares and jobs are [`Miner`]'s; here is how a guest
//! behaves, well or badly. What the pool does wrong is a fault in the [`Tally`], and no end of the
//! soak.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use socket2::SockRef;

use super::{
    dice::Dice,
    offence::{self, Offence},
    plan::{self, Farewell, Plan, Temper},
    tally::Tally,
};
use crate::load::{
    jobs::Jobs,
    miner::{Manner, Miner, News},
    wire::{self, Line},
};

/// A slow reader's room for what waits, what it reads at a time, and how often.
const SLOW_ROOM: usize = 4096;
const SLOW_READ: usize = 1024;
const SLOW_EVERY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// Longer than any line that a pool takes.
const TOO_LONG: usize = 20_000;
/// Nonces tried for one share: at the soak's difficulty every fourth is one.
const MANNER: Manner = Manner { roll: false, tries: 1 << 12 };

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// As it was planned.
    Planned,
    /// The pool ended it, or it broke.
    Lost(String),
    /// The pool said something that it must not say.
    Fault(String),
}

/// A connection with its miner.
pub(super) struct Guest {
    stream: TcpStream,
    connected: bool,
    ready: bool,
    parting: bool,
    pub(super) miner: Miner,
    pub(super) worker: usize,
    pub(super) plan: Plan,
    /// Whether it asks for an earlier subscription.
    returning: bool,
    ends: Duration,
    wrong_at: Duration,
    reads_at: Duration,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// The line of the newest share.
    share: Vec<u8>,
    offences: u64,
    /// Without an answer yet.
    open: BTreeMap<u64, Offence>,
    /// Lines without a number that were not answered yet.
    garbage: u64,
}

impl Guest {
    pub(super) fn connect(
        pool: SocketAddr,
        (registry, token): (&Registry, Token),
        (miner, worker, returning): (Miner, usize, bool),
        dice: &mut Dice,
        now: Duration,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(pool)?;
        stream.set_nodelay(true)?;
        let plan = Plan::draw(dice);
        if plan.temper == Temper::Slow {
            SockRef::from(&stream).set_recv_buffer_size(SLOW_ROOM)?;
        }
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            connected: false,
            ready: false,
            parting: false,
            miner,
            worker,
            plan,
            returning,
            ends: now + plan.life,
            wrong_at: now + plan::good_for(dice),
            reads_at: now,
            inbox: Vec::new(),
            outbox: Vec::new(),
            share: Vec::new(),
            offences: 0,
            open: BTreeMap::new(),
            garbage: 0,
        })
    }

    /// Whether it takes part in the work.
    pub(super) const fn is_at_work(&self) -> bool {
        self.ready && !self.parting
    }

    /// Whether it has had work.
    pub(super) const fn was_ready(&self) -> bool {
        self.ready
    }

    /// The socket can be read or written.
    pub(super) fn attend(
        &mut self,
        scratch: &mut [u8],
        now: Duration,
        (jobs, tally): (&mut Jobs, &mut Tally),
    ) -> Result<(), Over> {
        if !self.connected {
            let lost = |error: io::Error| Over::Lost(error.to_string());
            if let Some(error) = self.stream.take_error().map_err(lost)? {
                return Err(lost(error));
            }
            self.connected = self.stream.peer_addr().is_ok();
            if !self.connected {
                return Ok(());
            }
            if self.plan.temper != Temper::Mute {
                self.outbox = self.miner.greeting();
            }
        }
        self.flush()?;
        if self.plan.temper == Temper::Slow && !self.parting {
            return Ok(());
        }
        self.read(scratch, now, (jobs, tally))
    }

    /// What time brings: the end, an offence, a slow reader's read.
    pub(super) fn look(
        &mut self,
        scratch: &mut [u8],
        dice: &mut Dice,
        now: Duration,
        (jobs, tally): (&mut Jobs, &mut Tally),
    ) -> Result<(), Over> {
        if self.parting {
            self.read(scratch, now, (jobs, tally))?;
            self.flush()?;
            let thrown = self.plan.farewell == Farewell::Thrown;
            let owed = self.unanswered() > 0 || !self.outbox.is_empty();
            return if thrown || owed { Ok(()) } else { Err(Over::Planned) };
        }
        if now >= self.ends {
            return self.part(now);
        }
        if self.plan.temper == Temper::Slow && now >= self.reads_at {
            self.reads_at = now + dice.between(SLOW_EVERY[0], SLOW_EVERY[1]);
            self.read(&mut scratch[..SLOW_READ], now, (jobs, tally))?;
        }
        if now >= self.wrong_at && self.is_at_work() {
            self.wrong_at = now + plan::good_for(dice);
            self.offend(Offence::draw(dice), tally)?;
        }
        Ok(())
    }

    /// From now on it waits for its answers and goes.
    pub(super) const fn let_go(&mut self) {
        if !self.parting {
            self.parting = true;
            self.plan.farewell = Farewell::Polite;
        }
    }

    /// Shares and offences without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.miner.unanswered() + self.open.len()
    }

    fn part(&mut self, now: Duration) -> Result<(), Over> {
        if self.plan.temper == Temper::Mute {
            return Err(Over::Planned);
        }
        match self.plan.farewell {
            Farewell::Polite => {}
            Farewell::Reset => {
                self.send_share(now)?;
                let lost = |error: io::Error| Over::Lost(error.to_string());
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).map_err(lost)?;
                return Err(Over::Planned);
            }
            Farewell::Midway => {
                self.send_share(now)?;
                self.outbox.extend_from_slice(b"{\"id\":5,\"method\":\"mining.sub");
                self.flush()?;
                return Err(Over::Planned);
            }
            Farewell::Thrown => {
                self.outbox.resize(self.outbox.len() + TOO_LONG, b'x');
                self.flush()?;
            }
        }
        self.parting = true;
        Ok(())
    }

    /// Sends a share, if it has work and the system takes it; says whether it did.
    pub(super) fn send_share(&mut self, now: Duration) -> Result<bool, Over> {
        if !self.is_at_work() || !self.outbox.is_empty() {
            return Ok(false);
        }
        let made = self.miner.add_shares(1, MANNER, now, &mut self.outbox);
        let made = made.map_err(|error| Over::Fault(error.to_string()))?;
        if made == 0 {
            return Ok(false);
        }
        self.share.clone_from(&self.outbox);
        self.flush()?;
        Ok(true)
    }

    fn offend(&mut self, offence: Offence, tally: &mut Tally) -> Result<(), Over> {
        let number = offence::FIRST + self.offences;
        let Some(line) = offence.line(number, &self.share) else { return Ok(()) };
        self.offences += 1;
        tally.offences.entry(offence).or_default().done += 1;
        if offence == Offence::Garbage {
            self.garbage += 1;
        } else {
            self.open.insert(number, offence);
        }
        self.outbox.extend_from_slice(&line);
        self.flush()
    }

    /// Reads until there is no more; a slow reader reads once.
    fn read(
        &mut self,
        scratch: &mut [u8],
        now: Duration,
        (jobs, tally): (&mut Jobs, &mut Tally),
    ) -> Result<(), Over> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(self.ended("the pool closed it".to_owned())),
                Ok(length) => {
                    self.inbox.extend_from_slice(&scratch[..length]);
                    self.hear_lines(now, (jobs, tally))?;
                    if self.plan.temper == Temper::Slow && !self.parting {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended(error.to_string())),
            }
        }
    }

    /// Some ends are what was asked for.
    fn ended(&self, why: String) -> Over {
        let thrown = self.parting && self.plan.farewell == Farewell::Thrown;
        if thrown { Over::Planned } else { Over::Lost(why) }
    }

    fn hear_lines(
        &mut self,
        now: Duration,
        (jobs, tally): (&mut Jobs, &mut Tally),
    ) -> Result<(), Over> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &inbox[start..]) {
            self.hear(&inbox[start..start + length], now, (jobs, tally))?;
            start += length + 1;
        }
        self.inbox = inbox;
        self.inbox.drain(..start);
        Ok(())
    }

    fn hear(
        &mut self,
        line: &[u8],
        now: Duration,
        (jobs, tally): (&mut Jobs, &mut Tally),
    ) -> Result<(), Over> {
        if self.is_about_an_offence(line, tally)? {
            return Ok(());
        }
        let heard = self.miner.hear(line, now, jobs);
        match heard.map_err(|error| Over::Fault(error.to_string()))? {
            News::Accepted(delay) => {
                tally.workers[self.worker].accepted += 1;
                if self.plan.temper == Temper::Attentive {
                    tally.delays.add(delay);
                }
            }
            News::Refused(_, 21, _) => tally.stale += 1,
            News::Refused(_, code, message) => {
                tally.fault(format!("a good share was refused: {code} {message}"));
            }
            News::Job(_) | News::Nothing => {}
        }
        if !self.ready && self.miner.is_ready() {
            self.ready = true;
            tally.resumed += u64::from(self.returning && self.miner.is_resumed());
        }
        Ok(())
    }

    /// Takes the answers to offences.
    fn is_about_an_offence(&mut self, line: &[u8], tally: &mut Tally) -> Result<bool, Over> {
        if self.garbage > 0 && line.starts_with(b"{\"id\":null,\"result\":null,") {
            self.garbage -= 1;
            tally.offences.entry(Offence::Garbage).or_default().rightly += 1;
            return Ok(true);
        }
        if self.open.is_empty() {
            return Ok(false);
        }
        let fault = |error: wire::Unreadable| Over::Fault(error.to_string());
        let (number, code, said) = match wire::read(line).map_err(fault)? {
            Line::No(number, code, message) => (number, code, message),
            Line::Yes(number) => (number, 0, "yes".to_owned()),
            Line::Other(..) | Line::Difficulty(_) | Line::Notify(_) | Line::Besides => {
                return Ok(false);
            }
        };
        let Some(offence) = self.open.remove(&number) else { return Ok(false) };
        if offence.deserves(code) {
            tally.offences.entry(offence).or_default().rightly += 1;
        } else {
            tally.fault(format!("{} was answered with {code} {said}", offence.name()));
        }
        Ok(true)
    }

    /// Writes as much as the system takes.
    fn flush(&mut self) -> Result<(), Over> {
        let mut written = 0;
        while self.connected && written < self.outbox.len() {
            match self.stream.write(&self.outbox[written..]) {
                Ok(0) => return Err(self.ended("it takes no more".to_owned())),
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended(error.to_string())),
            }
        }
        self.outbox.drain(..written);
        Ok(())
    }
}
