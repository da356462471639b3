//! The pool of the simulated world: real sessions and the real ledger, driven by hand instead of
//! by tasks, so that it can be killed between any two steps.
//!
//! Read [`Pool::read`] and [`Pool::turn`]; `life.rs` has its deaths. What the pool's own tasks do in
//! between is here in the same order: `work.rs` for `pool::jobs`, `desk.rs` for the front's desk,
//! `writer.rs` for `pool::ledger_task`. It deliberately checks nothing of itself: [`crate::books`]
//! does.

mod coinbase;
mod desk;
mod life;
mod work;
mod writer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use ledger::{BlockId, Ledger, LedgerError};
use stratum::{
    DifficultySettings,
    v1::server::{AcceptedShare, Event, Limits, Session, Settings, WorkerKey},
};
use units::{BasisPoints, Difficulty, Moment, Target, Work};

use self::{
    desk::Desk,
    work::{News, WorkMaker},
    writer::{Answer, Credit, Writer},
};
use crate::{
    books::Books,
    chain::Chain,
    disk::{Disk, is_passing},
    rng::Rng,
    sabotage::Sabotage,
    trace::Trace,
};

pub(crate) use self::{coinbase::REWARD, work::Template};

/// Confirmations at which a simulated reward matures.
const MATURITY: u32 = 5;

/// What is around the pool while it does something.
pub(crate) struct Around<'a> {
    pub(crate) now: Moment,
    pub(crate) rng: &'a mut Rng,
    pub(crate) disk: &'a Disk,
    pub(crate) books: &'a mut Books,
    pub(crate) trace: &'a mut Trace,
    pub(crate) sabotage: Option<Sabotage>,
}

/// A pool between two of its steps.
pub(crate) struct Pool {
    ledger: Ledger,
    path: PathBuf,
    settings: Arc<Settings>,
    seats: BTreeMap<u64, Seat>,
    /// Connections that wait for an extranonce 1.
    waiting: Vec<u64>,
    desk: Desk,
    work: WorkMaker,
    writer: Writer,
    /// Whether the next job is due for another reason than its age.
    renew: bool,
    was_withdrawn: bool,
}

/// A connection.
#[derive(Debug)]
struct Seat {
    session: Session,
    /// The accounts authorized on it; a session's key is a place in this list.
    accounts: Vec<String>,
}

impl Pool {
    pub(crate) fn open(path: &Path, max_seen: usize) -> Result<Self, LedgerError> {
        Ok(Self {
            ledger: Ledger::open(path, accounting())?,
            path: path.to_owned(),
            settings: Arc::new(sessions(max_seen)),
            seats: BTreeMap::new(),
            waiting: Vec::new(),
            desk: Desk::new(),
            work: WorkMaker::default(),
            writer: Writer::default(),
            renew: false,
            was_withdrawn: false,
        })
    }

    /// A miner has connected.
    pub(crate) fn connect(&mut self, connection: u64) {
        self.waiting.push(connection);
    }

    /// Whether it reads from this connection now.
    pub(crate) fn wants_input(&self, connection: u64) -> bool {
        self.seats.get(&connection).is_some_and(|seat| seat.session.wants_input())
    }

    /// Takes what came from a connection, and says why it is to end, if it is.
    pub(crate) fn read(
        &mut self,
        connection: u64,
        bytes: &[u8],
        around: &Around<'_>,
    ) -> Result<Option<String>, String> {
        let Some(seat) = self.seats.get_mut(&connection) else { return Ok(None) };
        let received = seat.session.receive(bytes, around.now);
        seat.session.timeout(around.now);
        let mut ended = received.err().map(|fatal| fatal.to_string());
        while let Some(event) = self.seats.get_mut(&connection).and_then(|seat| seat.session.poll())
        {
            if let Event::Close { reason } = event {
                ended = Some(reason);
            } else {
                self.take(connection, event, around)?;
            }
        }
        Ok(ended)
    }

    fn take(&mut self, connection: u64, event: Event, around: &Around<'_>) -> Result<(), String> {
        let now = around.now;
        let Some(seat) = self.seats.get_mut(&connection) else { return Ok(()) };
        match event {
            Event::Authorize { token, user, .. } => {
                let key = seat.key_of(user);
                seat.session.authorize(token, Ok(key), now);
            }
            Event::Share { token, share } => {
                let work = credited(&share, seat, around.sabotage);
                let account = seat.account(share.worker)?;
                let credit = Credit { connection, token, share, account, work };
                self.writer.add(credit, now.mono);
            }
            Event::StaleBlock { share } => {
                let account = seat.account(share.worker)?;
                self.writer.add_stale(share, account, now.mono);
            }
            Event::Resume { token, id } => {
                let kept = self.desk.take(id, now);
                let free = seat.session.resume(token, kept, now);
                self.desk.free(free);
            }
            Event::Extranonce => {
                if let Some(xn1) = self.desk.extranonce(&mut self.ledger, around)? {
                    around.books.begins_with(xn1)?;
                    self.desk.free(seat.session.set_extranonce(xn1));
                }
            }
            Event::Energy { token, .. } => seat.session.answer_energy(token, Ok(())),
            Event::Agent { .. }
            | Event::Close { .. }
            | Event::Rejected { .. }
            | Event::Subscribed { .. } => {}
        }
        Ok(())
    }

    /// Everything that is not about one connection's bytes.
    pub(crate) fn turn(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        self.seat_who_waits(around)?;
        self.give_work(around);
        self.writer.blocks(&mut self.ledger, around)?;
        if around.sabotage == Some(Sabotage::EarlyAnswer) {
            let answers = self.writer.answer_early();
            self.answer(answers);
        }
        if around.rng.per_mille(400) {
            let answers = self.writer.commit(&mut self.ledger, around)?;
            self.answer(answers);
        }
        Ok(())
    }

    fn seat_who_waits(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        for connection in core::mem::take(&mut self.waiting) {
            let Some(xn1) = self.desk.extranonce(&mut self.ledger, around)? else {
                self.waiting.push(connection);
                continue;
            };
            around.books.begins_with(xn1)?;
            let name = self.desk.name(around);
            let session = Session::new(Arc::clone(&self.settings), xn1, around.now).resumable(name);
            let mut seat = Seat { session, accounts: Vec::new() };
            if let Some(jobs) = self.work.jobs() {
                seat.session.set_jobs(Arc::clone(jobs), around.now);
            }
            self.seats.insert(connection, seat);
        }
        Ok(())
    }

    fn give_work(&mut self, around: &mut Around<'_>) {
        let (slice, renew) = (self.ledger.newest_slice(), core::mem::take(&mut self.renew));
        match self.work.turn(around.now, &slice, renew) {
            Some(News::Jobs(jobs)) => {
                let (id, epoch) = self.work.newest();
                around.books.job(id, epoch);
                if self.was_withdrawn && around.sabotage == Some(Sabotage::NoWorkAgain) {
                    return;
                }
                for seat in self.seats.values_mut() {
                    seat.session.set_jobs(Arc::clone(&jobs), around.now);
                }
            }
            Some(News::Withdrawn) => {
                self.was_withdrawn = true;
                for seat in self.seats.values_mut() {
                    seat.session.withdraw_job();
                    seat.session.show_message("no new work: the node does not answer");
                }
            }
            None => {}
        }
    }

    fn answer(&mut self, answers: Vec<Answer>) {
        for (connection, token, verdict) in answers {
            if let Some(seat) = self.seats.get_mut(&connection) {
                seat.session.acknowledge(token, verdict);
            }
        }
    }

    /// What is to be sent to a miner.
    pub(crate) fn write(&mut self, connection: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(seat) = self.seats.get_mut(&connection) {
            seat.session.transmit(&mut out);
        }
        out
    }

    /// A connection has ended.
    pub(crate) fn hang_up(&mut self, connection: u64, now: Moment) {
        self.waiting.retain(|waiting| *waiting != connection);
        if let Some(mut seat) = self.seats.remove(&connection) {
            self.desk.ended(seat.session.end(), now);
        }
    }

    /// The node answered.
    pub(crate) fn learn(&mut self, template: Template) {
        self.work.learn(template);
    }

    /// Closes the open slice; the next job commits to it.
    pub(crate) fn close_slice(&mut self, around: &Around<'_>) -> Result<(), String> {
        let room = around.disk.room(around.now.mono);
        match room.and_then(|()| self.ledger.close_slice(around.now.unix)) {
            Ok(_) => {
                self.renew = true;
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The node says where each found block is.
    pub(crate) fn sight(&mut self, chain: &Chain, now: Moment) -> Result<(), LedgerError> {
        for block in self.ledger.unresolved()? {
            match chain.depth(&block.hash) {
                Some(depth) => self.ledger.on_chain(block.hash, depth, now.unix)?,
                None => self.ledger.orphaned(block.hash, now.unix)?,
            };
        }
        Ok(())
    }

    /// Blocks to be handed to the node, each with the one that it builds on.
    pub(crate) fn hand_in(&mut self) -> Vec<(BlockId, [u8; 32])> {
        core::mem::take(&mut self.writer.to_hand_in)
    }

    /// The extranonce 1 of each connection.
    pub(crate) fn extranonces(&self) -> impl Iterator<Item = [u8; 4]> {
        self.seats.values().map(|seat| seat.session.xn1())
    }

    /// The ledger's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Extranonces that were given out a second time.
    pub(crate) fn recycled(&self) -> u64 {
        self.desk.recycled
    }
}

impl Seat {
    fn key_of(&mut self, account: String) -> WorkerKey {
        let known = self.accounts.iter().position(|known| *known == account);
        let place = known.unwrap_or_else(|| {
            self.accounts.push(account);
            self.accounts.len() - 1
        });
        WorkerKey::new(u32::try_from(place).unwrap_or(u32::MAX))
    }

    fn account(&self, key: WorkerKey) -> Result<String, String> {
        let place = usize::try_from(key.get()).unwrap_or(usize::MAX);
        self.accounts.get(place).cloned().ok_or_else(|| "a share of nobody".to_owned())
    }
}

/// What a share is credited with.
fn credited(share: &AcceptedShare, seat: &Seat, sabotage: Option<Sabotage>) -> Work {
    if sabotage == Some(Sabotage::PresentDifficulty) {
        return Target::from_difficulty(seat.session.difficulty()).work();
    }
    share.judged.work
}

/// Shares a hundred times easier than blocks and more, and many of them.
fn sessions(max_seen: usize) -> Settings {
    let difficulty = |value| Difficulty::new(value).unwrap_or(Difficulty::ONE);
    Settings {
        difficulty: DifficultySettings {
            start: difficulty(4e-8),
            min: difficulty(1e-9),
            max: Difficulty::ONE,
            shares_per_minute: 600.0,
            vardiff: true,
        },
        limits: Limits { max_seen, ..Limits::default() },
        ..Settings::default()
    }
}

fn accounting() -> ledger::Settings {
    ledger::Settings {
        scheme: ledger::Scheme::Pplns { window_hundredths: 200 },
        fee: BasisPoints::new(150).unwrap_or_default(),
        fee_account: "the-pool".to_owned(),
        maturity: MATURITY,
        best_headers: 256,
    }
}
