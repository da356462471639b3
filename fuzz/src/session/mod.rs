//! A whole conversation: what a miner sends, what the pool answers and when, the clock, new work,
//! connections that end and come back, processes that hand over.
//!
//! Read [`session`], then [`Talk::act`]: each byte of the input chooses what happens next. What must
//! hold is in `check.rs`.

mod check;
mod miner;
pub(crate) mod world;

use std::sync::Arc;
use std::time::Duration;

use stratum::{
    Jobs,
    judge::Reason,
    v1::server::{
        AcceptedShare, Event, Kept, RequestToken, Session, Settings, ShareToken, SubscriptionId,
        WorkerKey,
    },
};
use units::{Moment, UnixMillis};

use self::check::Books;
use crate::bytes::Bytes;

/// No header is credited twice, whoever brings it; nothing is kept past its limits; work is what
/// the target says; two connections that live have two extranonces.
///
/// # Panics
/// Where that does not hold.
pub fn session(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut talk = Talk::new();
    while !bytes.is_empty() {
        talk.act(&mut bytes);
        talk.look();
    }
}

/// Two connections, and what the pool has for them.
struct Talk {
    settings: Arc<Settings>,
    sessions: [Session; 2],
    now: Moment,
    jobs: Arc<Jobs>,
    epoch: u64,
    block: u8,
    kept: Vec<Kept>,
    shares: Vec<(usize, ShareToken, AcceptedShare)>,
    requests: Vec<(usize, Asked)>,
    /// Extranonces that may be given out again.
    free: Vec<[u8; 4]>,
    next_xn1: u32,
    books: Books,
}

/// What a session asked the pool.
enum Asked {
    Authorize(RequestToken),
    Energy(RequestToken),
    Resume(RequestToken, SubscriptionId),
    Extranonce,
}

impl Talk {
    fn new() -> Self {
        let settings = world::settings();
        let (now, jobs) = (world::NOW, Arc::new(Jobs::default()));
        let fresh = |n: u8| connection(&settings, u32::from(n), now);
        Self {
            sessions: [fresh(0), fresh(1)],
            settings,
            now,
            jobs,
            epoch: 0,
            block: 0,
            kept: Vec::new(),
            shares: Vec::new(),
            requests: Vec::new(),
            free: Vec::new(),
            next_xn1: 2,
            books: Books::default(),
        }
    }

    /// One thing happens.
    fn act(&mut self, bytes: &mut Bytes<'_>) {
        let byte = bytes.byte();
        let who = usize::from(byte >> 7);
        match byte & 15 {
            0..=4 => {
                let said = miner::say(bytes, self.jobs.newest(), &self.kept_names());
                self.receive(who, &said);
            }
            5 => {
                let length = usize::from(bytes.byte());
                self.receive(who, bytes.take(length));
            }
            6 | 7 => self.answer_requests(bytes),
            8 => self.answer_shares(bytes),
            9 => self.new_job(bytes.byte()),
            10 => self.pass(bytes.byte()),
            11 => self.transmit(who),
            12 => self.end(who),
            13 => self.hand_over(who),
            14 => {
                let text: String = bytes.take(8).iter().map(|byte| char::from(*byte)).collect();
                self.sessions[who].show_message(&text);
                self.sessions[who].reconnect(&text, 3333, Duration::from_secs(1));
            }
            _ => self.sessions[who].withdraw_job(),
        }
    }

    fn kept_names(&self) -> Vec<u32> {
        self.kept.iter().map(|kept| u32::from_be_bytes(kept.xn1())).collect()
    }

    fn receive(&mut self, who: usize, said: &[u8]) {
        let received = self.sessions[who].receive(said, self.now);
        self.poll(who);
        if received.is_err() {
            assert!(
                self.sessions[who].receive(b"\n", self.now).is_err(),
                "it goes on after its end"
            );
            self.end(who);
        }
    }

    fn poll(&mut self, who: usize) {
        while let Some(event) = self.sessions[who].poll() {
            let asked = match event {
                Event::Share { token, share } => {
                    self.books.credit(&share);
                    self.shares.push((who, token, share));
                    continue;
                }
                Event::StaleBlock { share } => {
                    self.books.stale_block(&share);
                    continue;
                }
                Event::Authorize { token, .. } => Asked::Authorize(token),
                Event::Energy { token, .. } => Asked::Energy(token),
                Event::Resume { token, id } => Asked::Resume(token, id),
                Event::Extranonce => Asked::Extranonce,
                Event::Close { .. } => return self.end(who),
                Event::Agent { .. } | Event::Subscribed { .. } | Event::Rejected { .. } => continue,
            };
            self.requests.push((who, asked));
        }
    }

    /// Answers the oldest or the newest request.
    fn answer_requests(&mut self, bytes: &mut Bytes<'_>) {
        let how = bytes.byte();
        if self.requests.is_empty() {
            return;
        }
        let place = if how & 1 == 0 { 0 } else { self.requests.len() - 1 };
        let (who, asked) = self.requests.remove(place);
        let now = self.now;
        match asked {
            Asked::Authorize(token) => {
                let no = how & 14 == 2;
                let key = WorkerKey::new(u32::from(how >> 4));
                let answer = if no { Err("no".to_owned()) } else { Ok(key) };
                self.sessions[who].authorize(token, answer, now);
            }
            Asked::Energy(token) => {
                let answer = if how & 2 == 0 { Ok(()) } else { Err("\"no\n".to_owned()) };
                self.sessions[who].answer_energy(token, answer);
            }
            Asked::Resume(token, id) => {
                let place = self.kept.iter().position(|kept| kept.id() == id);
                let kept = place.filter(|_| how & 2 == 0).map(|place| self.kept.remove(place));
                let free = self.sessions[who].resume(token, kept, now);
                self.free.extend(free);
            }
            Asked::Extranonce => {
                let xn1 = self.extranonce();
                let free = self.sessions[who].set_extranonce(xn1);
                self.free.extend(free);
            }
        }
    }

    /// Writes some shares down, or cannot.
    fn answer_shares(&mut self, bytes: &mut Bytes<'_>) {
        let how = bytes.byte();
        let count = usize::from(how >> 1).min(self.shares.len());
        for (who, token, share) in self.shares.drain(..count) {
            let verdict = if how & 1 == 0 { Ok(()) } else { Err(Reason::LedgerUnavailable) };
            self.sessions[who].acknowledge(token, verdict);
            if verdict.is_err() {
                self.books.forget(&share);
            }
        }
    }

    fn new_job(&mut self, how: u8) {
        let clean = how & 1 == 0 || self.epoch == 0;
        if clean {
            self.epoch += 1;
            // Sometimes a block that was there before: the chain goes back.
            self.block = if how & 2 == 0 { self.block.wrapping_add(1) } else { how >> 6 };
        }
        let id = self.jobs.newest().map_or(0, |job| job.id.get()) + 1;
        let job = world::job(id, self.epoch, self.block, clean);
        self.jobs = Arc::new(self.jobs.with(job, &self.settings.limits));
        for session in &mut self.sessions {
            session.set_jobs(Arc::clone(&self.jobs), self.now);
        }
    }

    /// Time passes; the wall clock may go back.
    fn pass(&mut self, how: u8) {
        self.now.mono += Duration::from_millis(1 << (how & 15));
        let unix = self.now.unix.get() + (1 << (how & 15));
        self.now.unix = UnixMillis::new(unix.saturating_sub(u64::from(how >> 4) * 60_000));
        for who in 0..self.sessions.len() {
            self.sessions[who].timeout(self.now);
            self.poll(who);
        }
    }

    fn transmit(&mut self, who: usize) {
        let mut out = Vec::new();
        self.sessions[who].transmit(&mut out);
        self.books.wrote(&out, &self.settings.limits);
        let again = out.len();
        self.sessions[who].transmit(&mut out);
        assert_eq!(out.len(), again, "it says something twice");
    }

    /// The connection ends, and the miner makes another.
    fn end(&mut self, who: usize) {
        let ended = self.sessions[who].end();
        assert!(ended.kept.is_none() || ended.unused_xn1.is_none(), "kept and free");
        self.books.may_be_free(ended.unused_xn1);
        self.free.extend(ended.unused_xn1);
        self.kept.extend(ended.kept);
        let again = self.sessions[who].end();
        assert!(again.kept.is_none() && again.unused_xn1.is_none(), "given away twice");
        // Nobody is left to answer.
        self.requests.retain(|(whose, _)| *whose != who);
        self.shares.retain(|(whose, ..)| *whose != who);
        let xn1 = u32::from_be_bytes(self.extranonce());
        self.sessions[who] = connection(&self.settings, xn1, self.now);
        self.sessions[who].set_jobs(Arc::clone(&self.jobs), self.now);
    }

    /// Another process goes on, if it can.
    fn hand_over(&mut self, who: usize) {
        let Some(saved) = self.sessions[who].save(self.now) else { return };
        let key = |_: &str| WorkerKey::new(0);
        let settings = Arc::clone(&self.settings);
        let restored = Session::restore(settings, saved, &self.jobs, key, self.now);
        let mut restored = restored.expect("nothing was changed");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        self.sessions[who].transmit(&mut before);
        restored.transmit(&mut after);
        assert_eq!(before, after, "the miner notices");
        self.sessions[who] = restored;
        self.requests.retain(|(whose, _)| *whose != who);
    }

    /// One that is free, or one that nobody had.
    fn extranonce(&mut self) -> [u8; 4] {
        self.free.pop().unwrap_or_else(|| {
            self.next_xn1 += 1;
            self.next_xn1.to_be_bytes()
        })
    }

    fn look(&self) {
        let [one, other] = &self.sessions;
        assert_ne!(one.xn1(), other.xn1(), "one extranonce 1 for two");
        for session in &self.sessions {
            check::bounds(session, &self.settings.limits);
        }
        check::kept(&self.kept, &self.settings.limits);
    }
}

/// A connection whose subscription is named after its extranonce 1.
fn connection(settings: &Arc<Settings>, xn1: u32, now: Moment) -> Session {
    let id = SubscriptionId::new(miner::subscription(xn1));
    Session::new(Arc::clone(settings), xn1.to_be_bytes(), now).resumable(id)
}
