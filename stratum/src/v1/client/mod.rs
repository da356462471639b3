//! The miner's side of one connection.
//!
//! Read [`ClientSession`]: `receive` what the socket brought, `poll` until it gives nothing, write
//! out what `transmit` gives, call `timeout` when `next_timeout` has come. On its own it
//! negotiates, subscribes and authorizes, in that order and without waiting in between.
//!
//! It deliberately doesn't hash, connect, reconnect or decide whom to follow: it says what the
//! pool said. Difficulty, extranonce and version mask take effect with the next job, which is
//! complete in itself. A pool that knows no `mining.configure` is used without version rolling;
//! one that hangs up on it is for the caller to try again, with a mask of 0.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use defences::{Defence, stands};
use serde_json::Value;
use units::{Difficulty, Moment, Target};

use self::job::Notify;
use self::requests::{Asked, Requests};
use super::lines::LineBuffer;
use super::message::{Message, difficulty_json, quoted};
use super::{Fatal, Stop};

mod answers;
mod job;
mod notices;
mod requests;

#[cfg(test)]
mod tests;

pub use self::job::ClientJob;
pub use self::requests::SubmitToken;

/// What a miner brings to a connection.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The user to authorize and to submit as.
    pub user: String,
    /// Its password; `x` where there is none.
    pub password: String,
    /// What the miner calls itself, such as `wattproof-miner/0.1.0`.
    pub agent: String,
    /// The version bits it can roll; 0 asks for none.
    pub version_mask: u32,
    /// The difficulty it would like, if any.
    pub suggest_difficulty: Option<Difficulty>,
    /// Whether it would report energy.
    pub energy: bool,
}

/// A nonce found, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// [`ClientJob::id`].
    pub job_id: String,
    /// Extranonce 2, of the job's size.
    pub xn2: Vec<u8>,
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's version under the job's mask; `None` where the mask is 0.
    pub version_bits: Option<u32>,
}

/// A pool's refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct PoolError {
    /// Stratum's code; -1 where no answer came.
    pub code: i64,
    /// The pool's words, at most 256 characters.
    pub message: String,
}

/// What a session tells the miner.
#[derive(Debug, Clone)]
pub enum ClientEvent {
    /// The user may not mine here.
    AuthorizationFailed {
        /// The pool's words.
        message: String,
    },
    /// The user may mine.
    Authorized,
    /// The session has ended: close the connection.
    Closed {
        /// In plain words.
        reason: String,
    },
    /// The pool takes energy reports.
    EnergyAccepted {
        /// How often it wants one.
        interval: Duration,
    },
    /// An energy report was taken or refused.
    EnergyVerdict {
        /// Names the report.
        token: SubmitToken,
        /// The pool's answer.
        result: Result<(), PoolError>,
    },
    /// Work. It replaces what came before; see [`ClientJob::clean`] and [`ClientJob::continues`].
    Job(Arc<ClientJob>),
    /// The pool shows a message to people.
    Message(String),
    /// Something odd, in plain words; mining goes on.
    Notice(String),
    /// The pool asks to connect elsewhere. Whether to follow is the caller's: the line is not
    /// authenticated.
    Reconnect {
        /// Where to; the same host where none is named.
        host: Option<String>,
        /// The same port where none is named.
        port: Option<u16>,
        /// How long to wait before, at most an hour.
        wait: Duration,
    },
    /// Another worker was let in or not.
    WorkerVerdict {
        /// Names the question.
        token: SubmitToken,
        /// The pool's answer.
        result: Result<(), PoolError>,
    },
    /// A share was taken or refused.
    Verdict {
        /// Names the share.
        token: SubmitToken,
        /// The pool's answer.
        result: Result<(), PoolError>,
        /// From submitting to the answer.
        latency: Duration,
    },
}

/// One connection to a pool.
#[derive(Debug)]
pub struct ClientSession {
    settings: ClientSettings,
    lines: LineBuffer,
    outbox: Vec<u8>,
    events: VecDeque<ClientEvent>,
    requests: Requests,
    extranonce: Option<Extranonce>,
    /// Version bits granted, for jobs to come.
    mask: u32,
    /// Announced, for jobs to come.
    difficulty: Option<Difficulty>,
    energy_accepted: bool,
    /// The newest job's parameters, which may have come before the extranonce.
    notify: Option<Notify>,
    job: Option<Arc<ClientJob>>,
    generation: u64,
    garbage: u32,
    closed: bool,
}

/// What the pool adds to each coinbase, and how much room it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extranonce {
    xn1: Vec<u8>,
    xn2_size: usize,
}

/// Longest line a pool may send, bytes.
const MAX_LINE: usize = 65_536;
/// Lines that are no JSON, or jobs that are no jobs, before a pool is given up.
const MAX_GARBAGE: u32 = 10;
/// Answers not read by the pool, bytes, before it is given up.
const MAX_OUTBOX: usize = 1_048_576;
/// Longest extranonces taken, bytes.
const MAX_EXTRANONCE: usize = 32;

impl ClientSession {
    /// A connection that has just been made: configures, subscribes and authorizes.
    #[must_use]
    pub fn new(settings: ClientSettings, now: Moment) -> Self {
        let mut session = Self {
            lines: LineBuffer::default(),
            outbox: Vec::new(),
            events: VecDeque::new(),
            requests: Requests::default(),
            extranonce: None,
            mask: 0,
            difficulty: None,
            energy_accepted: false,
            notify: None,
            job: None,
            generation: 0,
            garbage: 0,
            closed: false,
            settings,
        };
        session.introduce(now);
        session
    }

    /// Takes what the socket brought. Call [`Self::poll`] until it gives nothing before the next.
    ///
    /// # Errors
    /// When the connection must end.
    pub fn receive(&mut self, bytes: &[u8], now: Moment) -> Result<(), Fatal> {
        if self.closed {
            return Err(Fatal::Closed);
        }
        let mut lines = std::mem::take(&mut self.lines);
        let result = lines.feed(
            bytes,
            self,
            |_| MAX_LINE,
            |session, line| session.line(line, now).map_err(Stop::Fatal),
        );
        self.lines = lines;
        result.map_err(|stop| {
            self.closed = true;
            stop.into_fatal(MAX_LINE)
        })
    }

    /// What happened, oldest first.
    pub fn poll(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Appends what is to be written.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.outbox);
    }

    /// When [`Self::timeout`] wants to be called, on the monotonic clock.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.closed { None } else { self.requests.next_timeout() }
    }

    /// Gives up requests that were not answered in time.
    pub fn timeout(&mut self, now: Moment) {
        while !self.closed
            && let Some((asked, waited)) = self.requests.expired(now.mono)
        {
            self.unanswered(asked, waited);
        }
    }

    /// Sends a share. Its verdict comes as an event, always, if only to say that no answer came.
    pub fn submit(&mut self, solution: &Solution, now: Moment) -> SubmitToken {
        let bits =
            solution.version_bits.map_or_else(String::new, |bits| format!(",\"{bits:08x}\""));
        let params = format!(
            "[{},{},\"{}\",\"{:08x}\",\"{:08x}\"{bits}]",
            quoted(&self.settings.user),
            quoted(&solution.job_id),
            hex::encode(&solution.xn2),
            solution.ntime,
            solution.nonce,
        );
        let room = !self.closed && self.requests.has_room();
        let token = self.requests.next_token();
        if room {
            self.requests.send(&mut self.outbox, "mining.submit", &params, Asked::Submit, now.mono);
        } else {
            let why =
                if self.closed { "the session has ended" } else { "too many unanswered shares" };
            let result = Err(PoolError { code: -1, message: why.to_owned() });
            self.requests.skip();
            self.events.push_back(ClientEvent::Verdict { token, result, latency: Duration::ZERO });
        }
        token
    }

    /// Asks for one more worker on this connection, to report for. The verdict comes as an event.
    pub fn authorize_too(&mut self, user: &str, now: Moment) -> SubmitToken {
        let token = self.requests.next_token();
        if self.closed || !self.requests.has_room() {
            self.requests.skip();
            let message = "too many unanswered requests".to_owned();
            let result = Err(PoolError { code: -1, message });
            self.events.push_back(ClientEvent::WorkerVerdict { token, result });
            return token;
        }
        let params = format!("[{},{}]", quoted(user), quoted(&self.settings.password));
        self.ask("mining.authorize", &params, Asked::Worker, now);
        token
    }

    /// Sends an energy report, the contract's object with its signature. Its verdict comes as an
    /// event.
    pub fn report_energy(&mut self, report: Value, now: Moment) -> SubmitToken {
        let token = self.requests.next_token();
        let refusal = if self.closed {
            Some("the session has ended")
        } else if !self.energy_accepted {
            Some("the pool takes no energy reports")
        } else if !self.requests.has_room() {
            Some("too many unanswered requests")
        } else {
            None
        };
        if let Some(why) = refusal {
            let result = Err(PoolError { code: -1, message: why.to_owned() });
            self.requests.skip();
            self.events.push_back(ClientEvent::EnergyVerdict { token, result });
            return token;
        }
        let params = Value::Array(vec![report]).to_string();
        self.ask("mining.report_energy", &params, Asked::Energy, now);
        token
    }

    /// Requests sent and not yet answered, shares among them.
    #[must_use]
    pub fn unanswered_requests(&self) -> usize {
        self.requests.len()
    }

    /// The difficulty announced last, which the next job is given out at.
    #[must_use]
    pub const fn difficulty(&self) -> Option<Difficulty> {
        self.difficulty
    }

    fn introduce(&mut self, now: Moment) {
        let (mask, energy) = (self.settings.version_mask, self.settings.energy);
        if mask != 0 || energy {
            let mut names = vec!["\"subscribe-extranonce\""];
            let mut options = Vec::new();
            if mask != 0 {
                names.push("\"version-rolling\"");
                options.push(format!("\"version-rolling.mask\":\"{mask:08x}\""));
                options.push("\"version-rolling.min-bit-count\":2".to_owned());
            }
            if energy {
                names.push("\"energy-report\"");
                options.push("\"energy-report.version\":1".to_owned());
            }
            let params = format!("[[{}],{{{}}}]", names.join(","), options.join(","));
            self.ask("mining.configure", &params, Asked::Configure, now);
        }
        let agent = format!("[{}]", quoted(&self.settings.agent));
        self.ask("mining.subscribe", &agent, Asked::Subscribe, now);
        let (user, password) = (quoted(&self.settings.user), quoted(&self.settings.password));
        self.ask("mining.authorize", &format!("[{user},{password}]"), Asked::Authorize, now);
        if let Some(difficulty) = self.settings.suggest_difficulty {
            let params = format!("[{}]", difficulty_json(difficulty));
            self.ask("mining.suggest_difficulty", &params, Asked::Suggest, now);
        }
    }

    fn ask(&mut self, method: &str, params: &str, asked: Asked, now: Moment) {
        self.requests.send(&mut self.outbox, method, params, asked, now.mono);
    }

    /// Understands one line.
    fn line(&mut self, line: &[u8], now: Moment) -> Result<(), Fatal> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Some(message) = Message::parse(line) else {
            return self.odd("the pool sent a line that is no JSON".to_owned());
        };
        match &message.method {
            Some(method) => {
                let method = method.0.clone();
                self.notified(&method, &message, now)?;
            }
            None => self.answered(&message, now),
        }
        let unread = self.outbox.len();
        if unread > MAX_OUTBOX { Err(Fatal::NotReading(unread)) } else { Ok(()) }
    }

    fn notice(&mut self, text: String) {
        self.events.push_back(ClientEvent::Notice(text));
    }

    /// A notice that is borne only so often.
    fn odd(&mut self, text: String) -> Result<(), Fatal> {
        self.garbage += 1;
        self.notice(text);
        if self.garbage > MAX_GARBAGE && stands(Defence::GarbageLimit) {
            Err(Fatal::Garbage(self.garbage))
        } else {
            Ok(())
        }
    }

    fn end(&mut self, reason: String) {
        self.closed = true;
        self.events.push_back(ClientEvent::Closed { reason });
    }

    /// Makes a job of the newest parameters and what is in force, and hands it out; nothing while
    /// the extranonce is unknown, or where it would be the last job over again.
    fn hand_out(&mut self, now: Moment) {
        let (Some(notify), Some(extranonce)) = (&self.notify, &self.extranonce) else { return };
        let target = self.difficulty.map_or_else(Target::difficulty_one, Target::from_difficulty);
        let last = self.job.as_deref();
        let continues = last.is_some_and(|job| repeats(job, notify, extranonce));
        if continues
            && last.is_some_and(|job| job.target == target && job.version_mask == self.mask)
        {
            return;
        }
        let takes_its_name = stands(Defence::TakenName)
            && !continues
            && last.is_some_and(|job| takes_name(job, notify));
        self.generation += 1;
        let job = Arc::new(ClientJob {
            id: notify.id.clone(),
            prev_hash: notify.prev_hash,
            coinbase1: notify.coinbase1.clone(),
            coinbase2: notify.coinbase2.clone(),
            branch: notify.branch.clone(),
            version: notify.version,
            nbits: notify.nbits,
            ntime: notify.ntime,
            clean: (notify.clean && !continues) || takes_its_name,
            target,
            network_target: notify.network_target,
            version_mask: self.mask,
            xn1: extranonce.xn1.clone(),
            xn2_size: extranonce.xn2_size,
            received: now,
            generation: self.generation,
            continues,
        });
        self.job = Some(Arc::clone(&job));
        self.events.push_back(ClientEvent::Job(job));
    }
}

/// Whether a job's headers would be those of the job before.
fn repeats(job: &ClientJob, notify: &Notify, extranonce: &Extranonce) -> bool {
    job.id == notify.id
        && job.prev_hash == notify.prev_hash
        && job.coinbase1 == notify.coinbase1
        && job.coinbase2 == notify.coinbase2
        && job.branch == notify.branch
        && job.version == notify.version
        && job.nbits == notify.nbits
        && job.ntime == notify.ntime
        && job.xn1 == extranonce.xn1
        && job.xn2_size == extranonce.xn2_size
}

/// Whether a job has the name of the one before and other content: a share of that one would be
/// judged by the new content, and refused.
fn takes_name(job: &ClientJob, notify: &Notify) -> bool {
    let same = job.prev_hash == notify.prev_hash
        && job.coinbase1 == notify.coinbase1
        && job.coinbase2 == notify.coinbase2
        && job.branch == notify.branch
        && job.version == notify.version
        && job.nbits == notify.nbits;
    job.id == notify.id && !same
}

/// Extranonce 1 and the size of extranonce 2, as `mining.subscribe` and `mining.set_extranonce`
/// give them; `None` where they are missing or too long.
fn extranonce(xn1: Option<&str>, size: Option<u64>) -> Option<Extranonce> {
    let xn1 = hex::decode(xn1?).ok()?;
    let xn2_size = usize::try_from(size?).ok()?;
    let fits = xn1.len() <= MAX_EXTRANONCE && xn2_size <= MAX_EXTRANONCE;
    (fits || !stands(Defence::PoolExtranonce)).then_some(Extranonce { xn1, xn2_size })
}
