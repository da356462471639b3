//! The pool's side of one connection.
//!
//! Read [`Session`]: `receive` what the socket brought, then `poll` until it gives nothing, then
//! write out what `transmit` gives; call `timeout` when `next_timeout` has come. The pool answers
//! [`Event::Authorize`], [`Event::Share`] and [`Event::Energy`] in its own time.
//!
//! It deliberately doesn't know who may mine, doesn't store anything, and never takes a share's
//! credit into its own hands: an [`AcceptedShare`] is made in one place only, from what
//! [`crate::judge()`] found. Requests may come in any order and before answers. Work is sent once a
//! subscription and one authorization were answered, difficulty always before the job that it
//! belongs to; what a slow reader hasn't been sent yet is replaced by what is newer.
//!
//! A subscription may outlive its connection: what [`Session::end`] gives is handed to the session
//! of the connection that asks for it ([`Event::Resume`]). An extranonce 1 that was
//! credited under still never serves twice: the memory of credited headers goes with it, in one
//! piece, and there is one owner of it at any time. Whoever does not keep that memory does not give
//! the extranonce 1 out again, unless [`Ended::unused_xn1`] says that there is none.
//!
//! Thousands of sessions wait most of the time: nothing is allocated for what is not under way,
//! jobs are in a list that all of them share ([`Jobs`]), and `tests/memory.rs` holds what is left.
//! A session can go on in another process ([`Session::save`]).

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use defences::{Defence, stands};
use serde_json::value::RawValue;
use units::{Difficulty, Moment, Target, UnixMillis};

use self::news::Agent;
use self::pending::{Asked, InFlight, Patience, Queue, Time, Waiting};
use self::resume::Resumption;
use self::roots::LastRoot;
use self::work::{Board, Bounds};
use self::workers::Workers;
use super::lines::LineBuffer;
use super::message::{Id, Message, write_error, write_true};
use super::{Fatal, Stop, scan};
use crate::device::DeviceClass;
use crate::job::{Job, coinbase};
use crate::jobs::Jobs;
use crate::judge::{Extranonce2, Judged, Reason};
use crate::vardiff::Vardiff;

mod given;
mod handover;
mod handshake;
mod news;
mod pending;
mod resume;
mod roots;
mod seen;
mod settings;
mod submit;
mod work;
mod workers;

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod given_tests;
#[cfg(test)]
mod handover_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod late_tests;
#[cfg(test)]
mod news_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;

pub use self::handover::{RestoreError, SavedSession};
pub use self::pending::{RequestToken, ShareToken};
pub use self::resume::{Ended, Kept, SubscriptionId};
pub use self::settings::{Limits, Settings};

/// One connection of a miner.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    lines: LineBuffer,
    outbox: Vec<u8>,
    events: Queue<Event>,
    subscribed: bool,
    resumption: Resumption,
    agent: Agent,
    /// What its software's name says of it.
    class: &'static DeviceClass,
    /// Whether the miner takes `mining.set_extranonce`.
    takes_xn1: bool,
    /// Whether the pool owes an answer to [`Event::Extranonce`].
    wants_xn1: bool,
    /// Whether this connection said anything about its difficulty.
    wished: bool,
    workers: Workers,
    waiting: Waiting,
    in_flight: InFlight,
    board: Board,
    last_root: LastRoot,
    vardiff: Vardiff,
    /// Version bits that this connection may roll in the work to come.
    mask: u32,
    /// For what brings the pool nothing.
    patience: Patience,
    /// For shares, under variable difficulty.
    appetite: Patience,
    garbage: u32,
    born: Time,
    heard: Time,
    sweep_at: Time,
    closed: bool,
}

/// The pool's number for a worker; opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerKey(u32);

/// What a session tells the pool.
#[derive(Debug)]
pub enum Event {
    /// The miner has named its software after all, as [`Event::Subscribed`] does.
    Agent {
        /// At most 128 characters, none of them control characters.
        agent: String,
        /// The name of its [`DeviceClass`].
        class: &'static str,
    },
    /// Somebody wants to mine as `user`: answer with [`Session::authorize`].
    Authorize {
        /// Names the request.
        token: RequestToken,
        /// As sent, at most `max_user` bytes.
        user: String,
        /// As sent; what it asks of the difficulty is already known here.
        password: String,
    },
    /// The connection ends, for this reason: write out what `transmit` gives and close it.
    Close {
        /// In plain words.
        reason: String,
    },
    /// A worker reports energy: answer with [`Session::answer_energy`].
    Energy {
        /// Names the request.
        token: RequestToken,
        /// The worker that the report names, which is authorized on this connection.
        worker: WorkerKey,
        /// The report's JSON text, as it was signed.
        report: Box<RawValue>,
    },
    /// The memory of credited headers is nearly full and this miner can change to an extranonce 1
    /// that nobody had: call [`Session::set_extranonce`]. Asked once until then.
    Extranonce,
    /// A share was refused, and the miner told so.
    Rejected {
        /// Whose, where that is known.
        worker: Option<WorkerKey>,
        /// Why.
        reason: Reason,
    },
    /// The miner wants to go on with a subscription of an earlier connection: answer with
    /// [`Session::resume`].
    Resume {
        /// Names the request.
        token: RequestToken,
        /// As the miner gives it.
        id: SubscriptionId,
    },
    /// A share holds: record it, then answer with [`Session::acknowledge`].
    Share {
        /// Names the share.
        token: ShareToken,
        /// What was proven.
        share: AcceptedShare,
    },
    /// A share of a job that was replaced, refused as such, meets the network's target: hand it
    /// to the node, since the block that came before it may still lose the race, and credit
    /// nothing for it. Comes once for a block, before its [`Event::Rejected`].
    StaleBlock {
        /// What was proven.
        share: AcceptedShare,
    },
    /// The miner subscribed.
    Subscribed {
        /// What it calls itself, at most 128 characters, none of them control characters; empty
        /// where it gives no name.
        agent: String,
        /// The name of its [`DeviceClass`].
        class: &'static str,
    },
}

/// A share that holds, with what a ledger and a block need. Only a session makes one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcceptedShare {
    /// Who is credited.
    pub worker: WorkerKey,
    /// The job.
    pub job: Arc<Job>,
    /// The extranonce 1 that the job was issued with.
    pub xn1: [u8; 4],
    /// The miner's extranonce 2.
    pub xn2: Extranonce2,
    /// Header, hash, work, and whether it is a block.
    pub judged: Judged,
    /// The target that the job was issued at.
    pub target: Target,
    /// That target as it was announced: for people.
    pub difficulty: Difficulty,
    /// When it came.
    pub at: UnixMillis,
}

impl WorkerKey {
    /// The worker numbered `key`.
    #[must_use]
    pub const fn new(key: u32) -> Self {
        Self(key)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl AcceptedShare {
    /// The coinbase transaction of this share, without witness.
    #[must_use]
    pub fn coinbase(&self) -> Vec<u8> {
        coinbase(&self.job.template, &self.xn1, &self.xn2)
    }
}

impl Session {
    /// A connection that has just been accepted. `xn1` must be its own among all connections that
    /// get the same jobs, for ever, but for those that [`Ended::unused_xn1`] gave back.
    #[must_use]
    pub fn new(settings: Arc<Settings>, xn1: [u8; 4], now: Moment) -> Self {
        let vardiff = Vardiff::new(&settings.difficulty, now.mono);
        let patience = Patience::new(settings.limits.nuisance_burst, now.mono);
        let appetite = Patience::new(settings.limits.share_burst, now.mono);
        Self {
            lines: LineBuffer::default(),
            outbox: Vec::new(),
            events: Queue::default(),
            subscribed: false,
            resumption: Resumption::Never,
            agent: Agent::Named,
            class: DeviceClass::unknown(),
            takes_xn1: false,
            wants_xn1: false,
            wished: false,
            workers: Workers::default(),
            waiting: Waiting::default(),
            in_flight: InFlight::default(),
            board: Board::new(xn1),
            last_root: LastRoot::default(),
            sweep_at: Time::of(now.mono).after(vardiff.look_again(&settings.difficulty)),
            vardiff,
            mask: 0,
            patience,
            appetite,
            garbage: 0,
            born: Time::of(now.mono),
            heard: Time::of(now.mono),
            closed: false,
            settings,
        }
    }

    /// Takes what the socket brought. Call [`Self::poll`] until it gives nothing before the next.
    ///
    /// # Errors
    /// When the connection must end: write out what `transmit` still gives and close it.
    pub fn receive(&mut self, bytes: &[u8], now: Moment) -> Result<(), Fatal> {
        if self.closed {
            return Err(Fatal::Closed);
        }
        self.heard = Time::of(now.mono);
        self.refill(now.mono);
        let mut lines = std::mem::take(&mut self.lines);
        let result = lines.feed(bytes, self, Self::max_line, |session, line| {
            session.line(line, now).map_err(Stop::Fatal)
        });
        self.lines = lines;
        result.map_err(|stop| {
            self.closed = true;
            stop.into_fatal(self.max_line())
        })
    }

    /// Gives out the newest job of a list that all connections share. Jobs of an older epoch are
    /// stale from now on, whether or not the miner has been told yet; a job that is replaced before
    /// it was written is never sent. Each list must hold what is still good of the one before, as
    /// [`Jobs::with`] makes them.
    pub fn set_jobs(&mut self, jobs: Arc<Jobs>, now: Moment) {
        if !self.board.has_given() {
            self.vardiff.restart(now.mono);
        }
        self.last_root.clear();
        self.board.set(jobs, &self.settings.limits);
    }

    /// The same with a list of this connection's own, for those who have few.
    pub fn set_job(&mut self, job: Arc<Job>, now: Moment) {
        let own = Jobs::default();
        let jobs = self.board.jobs().map_or(&own, AsRef::as_ref);
        let jobs = jobs.with(job, &self.settings.limits);
        self.set_jobs(Arc::new(jobs), now);
    }

    /// Gives out nothing until the next [`Self::set_jobs`]. Shares of work that is out are taken.
    pub fn withdraw_job(&mut self) {
        self.board.withdraw();
    }

    /// Looks at what [`Self::set_jobs`] and [`Self::transmit`] will touch, and does nothing with it.
    /// Most of new work's time goes by waiting for memory, a connection's being looked at so seldom
    /// that no cache holds it. Whoever is about to give new work to many calls this for a few dozen
    /// together, and then [`Self::glance_behind`] for the same: the processor waits for all of them
    /// at once, since no look needs what another finds.
    pub fn glance(&self) {
        black_box((self.closed, self.subscribed, self.wants_xn1, self.mask, self.agent));
        black_box((self.outbox.len(), self.vardiff.bounds(), self.workers.is_empty()));
        self.board.glance();
    }

    /// Looks at what [`Self::glance`] found the way to.
    pub fn glance_behind(&self) {
        self.board.glance_behind();
    }

    /// What happened, oldest first. Nothing is left allocated behind the last.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Appends what is to be written, and leaves nothing allocated here. Call it when the socket can
    /// take more, and not before the last was written: work that waits here is replaced by newer
    /// work.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        out.append(&mut std::mem::take(&mut self.outbox));
        if self.is_ready() && !self.closed {
            let (kept, xn2_size) = (self.settings.limits.max_jobs_kept, self.settings.xn2_size);
            let bounds = Bounds { mask: self.mask, kept, xn2_size, class: self.class };
            self.board.write(&self.vardiff, bounds, out);
            if self.board.has_given() {
                self.agent.ask(out);
            }
        }
    }

    /// Whether more input is welcome. While it isn't, leave the socket unread: what waits for an
    /// answer or a reader is at half its limit, or shares come in a flood. Past the limits shares
    /// are refused as [`Reason::Busy`]. Ask again after `acknowledge`, `transmit` and `timeout`.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let limits = &self.settings.limits;
        self.in_flight.len() <= limits.max_in_flight / 2
            && self.outbox.len() <= limits.max_outbox / 2
            && !self.is_flooded()
    }

    /// When [`Self::timeout`] wants to be called, on the monotonic clock; `None` once closed.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.closed {
            return None;
        }
        let (deadline, _) = self.deadline();
        let next = deadline.min(self.sweep_at.mono());
        Some(if self.is_flooded() { next.min(self.appetite.next_refill()) } else { next })
    }

    /// Looks at deadlines and at difficulty, so that a miner that falls quiet is lowered.
    pub fn timeout(&mut self, now: Moment) {
        if self.closed {
            return;
        }
        let (deadline, why) = self.deadline();
        if stands(Defence::SessionDeadline) && now.mono >= deadline {
            self.closed = true;
            self.events.push_back(Event::Close { reason: why.to_owned() });
            return;
        }
        self.refill(now.mono);
        if now.mono >= self.sweep_at.mono() {
            let difficulty = &self.settings.difficulty;
            if self.board.has_given() {
                self.vardiff.poll(difficulty, self.board.network_target(), now.mono);
            } else {
                self.vardiff.restart(now.mono);
            }
            self.sweep_at = Time::of(now.mono).after(self.vardiff.look_again(difficulty));
        }
    }

    /// Answers [`Event::Authorize`]; a token that was answered before is ignored.
    pub fn authorize(
        &mut self,
        token: RequestToken,
        answer: Result<WorkerKey, String>,
        now: Moment,
    ) {
        let Some((id, Asked::Authorize { user, wish })) = self.waiting.take(token) else { return };
        let known = self.workers.contains_key(&user);
        let room = known || self.workers.len() < self.settings.limits.max_workers;
        let room = room || !stands(Defence::WorkerBound);
        let answer = if room { answer } else { Err(TOO_MANY_WORKERS.to_owned()) };
        match answer {
            Ok(worker) => {
                self.workers.insert(user, worker);
                write_true(&mut self.outbox, &id);
                if let Some(wish) = wish {
                    self.grant(wish, now);
                }
            }
            Err(why) => {
                write_error(&mut self.outbox, &id, Reason::Unauthorized.code(), &why);
            }
        }
    }

    /// Answers [`Event::Share`] once the share is recorded, or could not be; a token that was
    /// answered before is ignored. A share that was not recorded may be sent again.
    pub fn acknowledge(&mut self, token: ShareToken, verdict: Result<(), Reason>) {
        let Some((id, key)) = self.in_flight.take(token) else { return };
        match verdict {
            Ok(()) => write_true(&mut self.outbox, &id),
            Err(reason) => {
                self.board.forget(key);
                write_error(&mut self.outbox, &id, reason.code(), reason.message());
            }
        }
    }

    /// Answers [`Event::Energy`]; a token that was answered before is ignored.
    pub fn answer_energy(&mut self, token: RequestToken, answer: Result<(), String>) {
        let Some((id, Asked::Energy)) = self.waiting.take(token) else { return };
        match answer {
            Ok(()) => write_true(&mut self.outbox, &id),
            Err(why) => write_error(&mut self.outbox, &id, OTHER, &why),
        }
    }

    /// Whether the miner has subscribed and a worker was authorized: it gets work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }

    /// Who is authorized on this connection, in no order.
    pub fn workers(&self) -> impl Iterator<Item = (&str, WorkerKey)> {
        self.workers.iter()
    }

    /// Shares handed out and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The connection's extranonce 1, of the work to come.
    #[must_use]
    pub const fn xn1(&self) -> [u8; 4] {
        self.board.xn1()
    }

    /// The difficulty aimed at now, before the network's is looked at.
    #[must_use]
    pub const fn difficulty(&self) -> Difficulty {
        self.vardiff.difficulty()
    }

    /// Ends this connection's life at once: what is still in `transmit` may be written.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// The next moment at which the connection is given up, and why.
    fn deadline(&self) -> (Duration, &'static str) {
        let limits = &self.settings.limits;
        let authorized = !self.workers.is_empty();
        let (from, within, why) = if self.subscribed && authorized {
            (self.heard, limits.idle, "nothing was heard for too long")
        } else if self.subscribed {
            (self.born, limits.authorize_within, "no worker was authorized in time")
        } else if authorized || self.waiting.len() > 0 {
            (self.born, limits.authorize_within, "no subscription came in time")
        } else {
            (self.born, limits.subscribe_within, "no subscription came in time")
        };
        (from.after(within).mono(), why)
    }

    /// The worker of this name, if it is authorized on this connection.
    fn worker(&self, user: &str) -> Option<WorkerKey> {
        let anybody = || self.workers.first().filter(|_| !stands(Defence::AuthorizedWorker));
        self.workers.get(user).or_else(anybody)
    }

    fn max_line(&self) -> usize {
        let limits = &self.settings.limits;
        let stranger = self.workers.is_empty() && stands(Defence::StrangersLine);
        if stranger { limits.max_line_unauthorized } else { limits.max_line }
    }

    /// Understands one line.
    fn line(&mut self, line: &[u8], now: Moment) -> Result<(), Fatal> {
        if let Some((id, params)) = scan::submit(line) {
            self.submit(id, Some(&params), now)?;
            return self.check_unread();
        }
        if line.trim_ascii().is_empty() {
            return self.bear();
        }
        let Some(message) = Message::parse(line) else {
            self.garbage += 1;
            write_error(&mut self.outbox, &Id::Null, OTHER, "not a JSON request");
            let too_much = self.garbage > self.settings.limits.max_garbage;
            if stands(Defence::GarbageLimit) && too_much {
                return Err(Fatal::Garbage(self.garbage));
            }
            return self.bear();
        };
        let Some(method) = &message.method else {
            // An answer to something this side sent, or nothing that can be answered.
            self.answered(&message, now);
            return self.bear();
        };
        let method = method.0.clone();
        let Some(id) = Id::parse(message.id) else {
            write_error(&mut self.outbox, &Id::Null, OTHER, "id must be a number or a string");
            return self.bear();
        };
        if method == "mining.submit" {
            let params = message.params.and_then(|raw| serde_json::from_str(raw.get()).ok());
            self.submit(id, params.as_ref(), now)?;
        } else {
            self.request(&id, &method, &message, now);
            self.bear()?;
        }
        self.check_unread()
    }

    /// Ends it where answers pile up.
    fn check_unread(&self) -> Result<(), Fatal> {
        let unread = self.outbox.len();
        if stands(Defence::OutboxBound) && unread > self.settings.limits.max_outbox {
            return Err(Fatal::NotReading(unread));
        }
        Ok(())
    }

    /// Counts something that brings the pool nothing.
    fn bear(&mut self) -> Result<(), Fatal> {
        let borne = self.patience.draw() || !stands(Defence::NuisanceLimit);
        if borne { Ok(()) } else { Err(Fatal::Nuisance) }
    }

    fn refill(&mut self, now: Duration) {
        let limits = &self.settings.limits;
        self.patience.refill(now, limits.nuisance_burst, limits.nuisance_per_second);
        self.appetite.refill(now, limits.share_burst, limits.shares_per_second);
    }

    /// Whether shares come faster than they should for long; never where the operator has
    /// switched variable difficulty off.
    fn is_flooded(&self) -> bool {
        let vardiff = self.settings.difficulty.vardiff && stands(Defence::ShareFlood);
        vardiff && self.appetite.left() == 0
    }
}

/// Stratum's "other" error.
const OTHER: u16 = 20;
const TOO_MANY_WORKERS: &str = "too many workers on one connection";
