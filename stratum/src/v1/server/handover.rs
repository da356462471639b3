//! A session on its way to another process, which goes on with the same socket: the miner notices
//! nothing.
//!
//! Read [`Session::save`] and [`Session::restore`]. Jobs go once for all sessions
//! ([`crate::SavedJobs`]); settings are the new process's own.
//!
//! It deliberately takes no session that waits for its pool: shares in flight are answered first.
//! Moments go as ages, floats as their bits.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Difficulty, Moment};

use super::given::SavedGiven;
use super::news::Agent;
use super::pending::{InFlight, Patience, Queue, Time, Waiting};
use super::resume::{Resumption, SubscriptionId};
use super::roots::LastRoot;
use super::seen::{Seen, Space};
use super::work::{Board, Told};
use super::{Session, Settings, WorkerKey};
use crate::device::DeviceClass;
use crate::jobs::Jobs;
use crate::v1::lines::LineBuffer;
use crate::vardiff::SavedVardiff;

/// All that a miner could notice of a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedSession {
    unfinished: Vec<u8>,
    outbox: Vec<u8>,
    subscribed: bool,
    subscription: Option<SubscriptionId>,
    agent: Agent,
    class: Box<str>,
    takes_xn1: bool,
    wished: bool,
    workers: Vec<Box<str>>,
    /// Tokens given out, of shares and of requests.
    tokens: (u64, u64),
    board: SavedBoard,
    vardiff: SavedVardiff,
    mask: u32,
    xn2_size: usize,
    patience: (u32, Duration),
    appetite: (u32, Duration),
    garbage: u32,
    /// Ages.
    born: Duration,
    heard: Duration,
    /// Time left.
    sweep_in: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedBoard {
    xn1: [u8; 4],
    used: bool,
    current: bool,
    afresh: bool,
    /// The newest job's number, and the newest epoch.
    newest: Option<(u64, u64)>,
    given: SavedGiven,
    difficulty: Option<u64>,
    told_mask: Option<u32>,
    told_xn1: Option<[u8; 4]>,
    seen: Seen,
}

/// Why a saved session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Its difficulties are none.
    #[error("a saved difficulty is no positive number")]
    Difficulty,
    /// The miner goes by another length of extranonce 2 than is set now.
    #[error("the miner's extranonce 2 has {saved} bytes, and {set} are set")]
    Extranonce2Size {
        /// What it was told.
        saved: usize,
        /// What the settings say.
        set: usize,
    },
}

impl Session {
    /// What another process needs to go on with this session; `None` where it has ended, events
    /// were not polled, or it waits for an answer of the pool's. Write nothing more to the socket
    /// and read nothing more from it afterwards.
    #[must_use]
    pub fn save(&self, now: Moment) -> Option<SavedSession> {
        let open = self.in_flight.len() > 0 || self.waiting.len() > 0 || !self.events.is_empty();
        if self.closed || open {
            return None;
        }
        let age = |time: Time| now.mono.saturating_sub(time.mono());
        Some(SavedSession {
            unfinished: self.lines.unfinished().to_vec(),
            outbox: self.outbox.clone(),
            subscribed: self.subscribed,
            subscription: self.resumption.offered(),
            agent: self.agent,
            class: self.class.name.into(),
            takes_xn1: self.takes_xn1,
            wished: self.wished,
            workers: self.workers.iter().map(|(user, _)| user.into()).collect(),
            tokens: (self.in_flight.next(), self.waiting.next()),
            board: SavedBoard::of(&self.board),
            vardiff: self.vardiff.save(now.mono),
            mask: self.mask,
            xn2_size: self.settings.xn2_size,
            patience: self.patience.save(now.mono),
            appetite: self.appetite.save(now.mono),
            garbage: self.garbage,
            born: age(self.born),
            heard: age(self.heard),
            sweep_in: self.sweep_at.mono().saturating_sub(now.mono),
        })
    }

    /// Goes on with a saved session. `jobs` is the list that all sessions share; it must hold what
    /// is still good of the list that was shared when the session was saved. `worker` gives the
    /// pool's number for each authorized name. Ages are kept as far as `now` goes back: let the
    /// clock go on from where the other process's was.
    ///
    /// # Errors
    /// Where the miner could not go on under these settings.
    pub fn restore(
        settings: Arc<Settings>,
        saved: SavedSession,
        jobs: &Arc<Jobs>,
        mut worker: impl FnMut(&str) -> WorkerKey,
        now: Moment,
    ) -> Result<Self, RestoreError> {
        let set = settings.xn2_size;
        if saved.subscribed && saved.xn2_size != set {
            return Err(RestoreError::Extranonce2Size { saved: saved.xn2_size, set });
        }
        let since = |age: Duration| Time::of(now.mono.saturating_sub(age));
        let class = DeviceClass::all().find(|class| *class.name == *saved.class);
        Ok(Self {
            lines: LineBuffer::from_unfinished(&saved.unfinished),
            outbox: saved.outbox,
            events: Queue::default(),
            subscribed: saved.subscribed,
            resumption: Resumption::from(saved.subscription),
            agent: saved.agent,
            class: class.unwrap_or_else(DeviceClass::unknown),
            takes_xn1: saved.takes_xn1,
            // It is asked for again: this pool was not asked yet.
            wants_xn1: false,
            wished: saved.wished,
            workers: saved.workers.into_iter().map(|user| (user.clone(), worker(&user))).collect(),
            waiting: Waiting::from(saved.tokens.1),
            in_flight: InFlight::from(saved.tokens.0),
            board: saved.board.restore(jobs, &settings).ok_or(RestoreError::Difficulty)?,
            last_root: LastRoot::default(),
            vardiff: saved.vardiff.restore(now.mono).ok_or(RestoreError::Difficulty)?,
            mask: saved.mask & settings.version_mask,
            patience: Patience::restore(saved.patience, now.mono),
            appetite: Patience::restore(saved.appetite, now.mono),
            garbage: saved.garbage,
            born: since(saved.born),
            heard: since(saved.heard),
            sweep_at: Time::of(now.mono).after(saved.sweep_in),
            closed: false,
            settings,
        })
    }
}

impl SavedBoard {
    fn of(board: &Board) -> Self {
        let newest = |jobs: &Arc<Jobs>| Some((jobs.newest()?.id.get(), jobs.epoch()?));
        Self {
            xn1: board.xn1,
            used: board.used,
            current: board.current,
            afresh: board.afresh,
            newest: board.jobs.as_ref().and_then(newest),
            given: board.given.save(),
            difficulty: board.told.difficulty.map(|told| told.get().to_bits()),
            told_mask: board.told.mask,
            told_xn1: board.told.xn1,
            seen: board.seen.clone(),
        }
    }

    fn restore(self, jobs: &Arc<Jobs>, settings: &Settings) -> Option<Board> {
        let difficulty = match self.difficulty {
            Some(bits) => Some(Difficulty::new(f64::from_bits(bits)).ok()?),
            None => None,
        };
        let mut board = Board::new(self.xn1);
        (board.used, board.current, board.afresh) = (self.used, self.current, self.afresh);
        board.told = Told { difficulty, mask: self.told_mask, xn1: self.told_xn1 };
        (board.given, board.seen) = (self.given.restore()?, self.seen);
        let Some((newest, epoch)) = self.newest else { return Some(board) };
        // The list may have become newer since this session was handed the last.
        if jobs.epoch().is_some_and(|now| now > epoch) {
            board.given.retire(jobs, &settings.limits);
        }
        if let Some(job) = jobs.newest().filter(|job| job.id.get() != newest) {
            board.seen.turn_to(Space::new(&job.template.prev_hash, board.xn1));
        }
        board.jobs = Some(Arc::clone(jobs));
        Some(board)
    }
}
