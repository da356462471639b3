//! One miner's side of one connection, without the connection: lines in, shares out.
//!
//! Read [`Miner::hear`] and [`Miner::add_shares`]. No share is ever sent twice: each extranonce 2
//! is used for one header only, also across jobs, and each of that header's nonces once. Its
//! shares are always for the newest job.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use sha2::Sha256;
use units::{Difficulty, Target};

use super::{
    jobs::Jobs,
    wire::{self, AUTHORIZE, Line, SUBSCRIBE, Unreadable},
    work::{Bar, Job, Search},
};

/// A miner and what it has to do.
#[derive(Debug)]
pub(crate) struct Miner {
    user: String,
    /// Extranonce 1 and the length of extranonce 2.
    subscribed: Option<(Vec<u8>, usize)>,
    /// What the pool calls the subscription.
    name: Option<String>,
    /// Extranonce 1 of the connection before this one.
    earlier: Option<Vec<u8>>,
    authorized: bool,
    /// As announced last.
    announced: Bar,
    job: Option<Rc<Job>>,
    /// What shares of the newest job had to meet when it came.
    bar: Bar,
    work: Option<Work>,
    /// The next extranonce 2.
    xn2: u64,
    number: u64,
    /// Shares without an answer, oldest first: number and time of sending.
    unanswered: VecDeque<(u64, Duration)>,
}

/// The newest job with this miner's extranonces in it.
#[derive(Debug)]
struct Work {
    start: Sha256,
    middle: Vec<u8>,
    xn2: Vec<u8>,
    ntime: [u8; 8],
    search: Search,
    /// Whether a share came of this extranonce 2.
    used: bool,
}

/// What a line meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A share was accepted, so long after it was sent.
    Accepted(Duration),
    /// A share was refused, with code and words.
    Refused(Duration, i64, String),
    /// A job came.
    Job(Rc<Job>),
    /// Nothing that is counted.
    Nothing,
}

/// Why a miner cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MinerError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the pool refused {what}: {code} {message:?}")]
    Refused { what: &'static str, code: i64, message: String },
    #[error("an extranonce 2 of {0} bytes is used up")]
    UsedUp(usize),
}

/// How shares are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// A new extranonce 2 for every share.
    pub(crate) roll: bool,
    /// Most nonces to try for one share before somebody else has a turn.
    pub(crate) tries: u64,
}

impl Miner {
    pub(crate) fn new(user: String) -> Self {
        // What Stratum V1 starts from.
        let announced = Bar::new(Target::difficulty_one());
        Self {
            user,
            subscribed: None,
            name: None,
            earlier: None,
            authorized: false,
            announced,
            job: None,
            bar: announced,
            work: None,
            xn2: 0,
            number: AUTHORIZE,
            unanswered: VecDeque::new(),
        }
    }

    /// What is said first.
    pub(crate) fn greeting(&self) -> Vec<u8> {
        wire::greeting(&self.user, self.name.as_deref())
    }

    /// The connection is gone. On the next one it asks for its subscription again. Gives the number
    /// of shares that will never be answered.
    pub(crate) fn part(&mut self) -> usize {
        if let Some((xn1, _)) = self.subscribed.take() {
            self.earlier = Some(xn1);
        }
        (self.authorized, self.job, self.work) = (false, None, None);
        self.announced = Bar::new(Target::difficulty_one());
        std::mem::take(&mut self.unanswered).len()
    }

    /// Whether it goes on with the extranonce 1 of the connection before.
    pub(crate) fn is_resumed(&self) -> bool {
        let present = self.subscribed.as_ref().map(|(xn1, _)| xn1);
        present.is_some() && present == self.earlier.as_ref()
    }

    /// Whether it has all that it needs to mine.
    pub(crate) const fn is_ready(&self) -> bool {
        self.subscribed.is_some() && self.authorized && self.job.is_some()
    }

    /// Shares without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Takes a line of the pool's, without its end.
    pub(crate) fn hear(
        &mut self,
        line: &[u8],
        now: Duration,
        jobs: &mut Jobs,
    ) -> Result<News, MinerError> {
        if let Some(job) = jobs.known(line) {
            return Ok(self.take_job(job));
        }
        match wire::read(line)? {
            Line::Notify(params) => {
                let job = jobs.keep(line, Job::read(params, line)?);
                Ok(self.take_job(job))
            }
            Line::Difficulty(value) => {
                let wrong = |_| Unreadable::new("a difficulty that is none", line);
                let difficulty = Difficulty::new(value).map_err(wrong)?;
                self.announced = Bar::new(Target::from_difficulty(difficulty));
                // Whether it holds for the present job already is not the same in every pool.
                self.bar = self.bar.harder_of(self.announced);
                Ok(News::Nothing)
            }
            Line::Besides => Ok(News::Nothing),
            Line::Other(SUBSCRIBE, result) => {
                let wrong = || Unreadable::new("a subscription that does not read", line);
                self.subscribed = Some(wire::subscription(result).ok_or_else(wrong)?);
                self.name = wire::subscription_name(result);
                Ok(News::Nothing)
            }
            Line::Yes(AUTHORIZE) => {
                self.authorized = true;
                Ok(News::Nothing)
            }
            Line::No(SUBSCRIBE, code, message) => {
                Err(MinerError::Refused { what: "mining.subscribe", code, message })
            }
            Line::No(AUTHORIZE, code, message) => {
                Err(MinerError::Refused { what: "mining.authorize", code, message })
            }
            Line::Yes(number) => Ok(News::Accepted(self.answered(number, now, line)?)),
            Line::No(number, code, message) => {
                Ok(News::Refused(self.answered(number, now, line)?, code, message))
            }
            Line::Other(..) => Err(Unreadable::new("an answer that is no answer", line).into()),
        }
    }

    fn take_job(&mut self, job: Rc<Job>) -> News {
        // The same job again is no reason to start over.
        if self.job.as_ref().is_none_or(|present| present != &job) {
            self.work = None;
        }
        self.bar = self.announced;
        self.job = Some(Rc::clone(&job));
        News::Job(job)
    }

    /// How long the answer to a share took.
    fn answered(
        &mut self,
        number: u64,
        now: Duration,
        line: &[u8],
    ) -> Result<Duration, Unreadable> {
        let place = self.unanswered.iter().position(|(sent, _)| *sent == number);
        let share = place.and_then(|place| self.unanswered.remove(place));
        let (_, sent) =
            share.ok_or_else(|| Unreadable::new("an answer to nothing unanswered", line))?;
        Ok(now.saturating_sub(sent))
    }

    /// Appends the lines of up to so many shares to `out`, and says how many; fewer where the
    /// tries were not enough.
    pub(crate) fn add_shares(
        &mut self,
        count: usize,
        manner: Manner,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<usize, MinerError> {
        for made in 0..count {
            if !self.add_share(manner, now, out)? {
                return Ok(made);
            }
        }
        Ok(count)
    }

    fn add_share(
        &mut self,
        manner: Manner,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<bool, MinerError> {
        let spent = self
            .work
            .as_ref()
            .is_none_or(|work| work.search.is_spent() || (manner.roll && work.used));
        if spent && !self.next_work()? {
            return Ok(false);
        }
        let Some(work) = &mut self.work else { return Ok(false) };
        let Some(nonce) = work.search.next(&self.bar, manner.tries) else { return Ok(false) };
        work.used = true;
        self.number += 1;
        wire::write_share(out, self.number, &work.middle, &work.xn2, &work.ntime, nonce);
        self.unanswered.push_back((self.number, now));
        Ok(true)
    }

    /// The newest job under the next extranonce 2; false while there is none.
    fn next_work(&mut self) -> Result<bool, MinerError> {
        let (Some(job), Some((xn1, length))) = (&self.job, &self.subscribed) else {
            return Ok(false);
        };
        let bytes = self.xn2.to_be_bytes();
        let (unused, xn2) = bytes.split_at(8 - length);
        if unused.iter().any(|byte| *byte != 0) {
            return Err(MinerError::UsedUp(*length));
        }
        self.xn2 += 1;
        let mut text = Vec::with_capacity(16);
        wire::push_hex(&mut text, xn2);
        if let Some(work) = &mut self.work {
            work.search = job.search(&work.start, xn2);
            (work.xn2, work.used) = (text, false);
        } else {
            let start = job.coinbase_start(xn1);
            self.work = Some(Work {
                search: job.search(&start, xn2),
                start,
                middle: wire::share_middle(&self.user, job),
                xn2: text,
                ntime: job.ntime_text,
                used: false,
            });
        }
        Ok(true)
    }
}

#[cfg(test)]
#[path = "miner_tests.rs"]
mod tests;
