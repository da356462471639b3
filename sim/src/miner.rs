//! A miner of the simulated world: a real client session and some hundred real hashes a step. It
//! is honest, but for lines that its firmware sends twice, and it loses nothing: what was not
//! answered is sent again, to the subscription that it was found for.
//!
//! Read [`Miner::step`]. It deliberately judges no answer: [`crate::books`] does.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use core::time::Duration;

use stratum::{
    job::sha256d,
    v1::client::{
        ClientEvent, ClientJob, ClientSession, ClientSettings, PoolError, Solution, SubmitToken,
    },
};
use units::{Moment, Target};

use crate::rng::Rng;

/// Nonces tried in one step.
const NONCES_A_STEP: u32 = 300;
/// Nonces tried with one extranonce 2.
const NONCES_A_ROOT: u32 = 3000;
/// Shares that may wait for an answer.
const OPEN_MAX: usize = 100;
/// Shares kept to be sent again.
const LOST_MAX: usize = 100;
/// What it calls itself, as it stands in its request.
const AGENT: &str = "[\"sim\"]";

/// One miner.
#[derive(Debug)]
pub(crate) struct Miner {
    pub(crate) name: String,
    /// Its connection, while it has one.
    pub(crate) link: Option<u64>,
    /// When it connects again.
    pub(crate) comes_back: Duration,
    /// What it works on.
    pub(crate) job: Option<Arc<ClientJob>>,
    session: ClientSession,
    /// The name of its subscription, to go on with.
    subscription: Option<String>,
    /// What came, while that is not known.
    listened: String,
    /// Whether its request to subscribe has gone out.
    introduced: bool,
    rolls_versions: bool,
    /// Counted on for ever: no header is tried twice.
    xn2: u64,
    nonce: u32,
    open: BTreeMap<SubmitToken, Found>,
    /// To be sent again.
    lost: Vec<Found>,
    repeated: HashSet<[u8; 80]>,
}

/// A share that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) header: [u8; 80],
    /// What its job was announced with.
    pub(crate) target: Target,
    /// The number of its job.
    pub(crate) job: u64,
    xn1: Vec<u8>,
    solution: Solution,
    /// Whether it was or may have been sent before.
    pub(crate) again: bool,
}

/// What a step brought.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// To be sent.
    pub(crate) bytes: Vec<u8>,
    /// Shares found.
    pub(crate) found: Vec<Found>,
    /// Answers to shares.
    pub(crate) verdicts: Vec<(Found, Result<(), PoolError>)>,
    /// Why the connection is of no use.
    pub(crate) ended: Option<String>,
}

impl Miner {
    pub(crate) fn new(name: String, rolls_versions: bool, now: Moment) -> Self {
        Self {
            session: session(&name, rolls_versions, now),
            name,
            link: None,
            comes_back: now.mono,
            job: None,
            subscription: None,
            listened: String::new(),
            introduced: false,
            rolls_versions,
            xn2: 0,
            nonce: 0,
            open: BTreeMap::new(),
            lost: Vec::new(),
            repeated: HashSet::new(),
        }
    }

    /// The connection is gone; what was not answered is kept.
    pub(crate) fn hang_up(&mut self, comes_back: Duration) {
        (self.link, self.job, self.comes_back) = (None, None, comes_back);
        let open = core::mem::take(&mut self.open).into_values();
        self.lost.extend(open.map(|found| Found { again: true, ..found }));
        let many = self.lost.len().saturating_sub(LOST_MAX);
        self.lost.drain(..many);
    }

    /// A new connection.
    pub(crate) fn connect(&mut self, link: u64, now: Moment) {
        self.session = session(&self.name, self.rolls_versions, now);
        (self.link, self.introduced) = (Some(link), false);
        self.listened.clear();
    }

    /// Reads, hashes, and says what is to be sent; nothing where its link has no `room`.
    pub(crate) fn step(&mut self, arrived: &[u8], now: Moment, room: bool) -> Said {
        let mut said = Said::default();
        self.listen(arrived);
        if let Err(fatal) = self.session.receive(arrived, now) {
            said.ended = Some(fatal.to_string());
        }
        self.session.timeout(now);
        while let Some(event) = self.session.poll() {
            self.take(event, &mut said, now);
        }
        if room {
            self.hash(&mut said, now);
            self.session.transmit(&mut said.bytes);
        }
        if !self.introduced && !said.bytes.is_empty() {
            self.introduced = true;
            self.go_on_with_subscription(&mut said.bytes);
        }
        said
    }

    /// Sends one of its shares twice, as a broken firmware would: only one may be taken.
    pub(crate) fn repeat(&mut self, said: &mut Said, rng: &mut Rng) {
        let lines = said.bytes.split_inclusive(|byte| *byte == b'\n');
        let submits: Vec<&[u8]> =
            lines.filter(|line| line.windows(13).any(|word| word == b"mining.submit")).collect();
        let sent = said.found.len().min(submits.len());
        if sent == 0 {
            return;
        }
        let place = rng.place(sent);
        // What this step found stands behind what was sent again.
        let line = submits[submits.len() - sent + place].to_vec();
        let found = &said.found[said.found.len() - sent + place];
        self.repeated.insert(found.header);
        said.bytes.extend(line);
    }

    /// Asks for what the last connection had. The client of ours begins afresh with each; others
    /// do this.
    fn go_on_with_subscription(&self, bytes: &mut Vec<u8>) {
        let Some(name) = &self.subscription else { return };
        let text = String::from_utf8_lossy(bytes);
        *bytes = text.replacen(AGENT, &format!("[\"sim\",\"{name}\"]"), 1).into_bytes();
    }

    /// Notes the name of the subscription as it comes by.
    fn listen(&mut self, arrived: &[u8]) {
        const BEFORE: &str = "[\"mining.notify\",\"";
        if self.job.is_some() || arrived.is_empty() {
            return;
        }
        self.listened += &String::from_utf8_lossy(arrived);
        let name = self.listened.find(BEFORE).and_then(|at| {
            let from = at + BEFORE.len();
            self.listened.get(from..from + 32).map(str::to_owned)
        });
        self.subscription = name.or_else(|| self.subscription.take());
    }

    fn hash(&mut self, said: &mut Said, now: Moment) {
        let Some(job) = self.job.clone() else { return };
        if self.open.len() >= OPEN_MAX {
            return;
        }
        if self.nonce >= NONCES_A_ROOT {
            (self.xn2, self.nonce) = (self.xn2 + 1, 0);
        }
        let xn2 = self.xn2.to_be_bytes().to_vec();
        // Some roll the time as well, by as much as has passed.
        let passed = now.mono.saturating_sub(job.received.mono).as_secs();
        let ntime = job.ntime.saturating_add(u32::try_from(passed).unwrap_or(0));
        let bits = u32::try_from(self.xn2 & 0xffff).unwrap_or(0) << 13 & job.version_mask;
        let version = job.version & !job.version_mask | bits;
        let mut header = job.header(&xn2, ntime, version);
        for nonce in self.nonce..self.nonce + NONCES_A_STEP {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            if job.target.is_met_by(&sha256d(&header)) {
                let solution = Solution {
                    job_id: job.id.clone(),
                    xn2: xn2.clone(),
                    ntime,
                    nonce,
                    version_bits: (job.version_mask != 0).then_some(bits),
                };
                let found = Found {
                    header,
                    target: job.target,
                    job: number(&job.id),
                    xn1: job.xn1.clone(),
                    solution,
                    again: false,
                };
                said.found.push(found.clone());
                self.send(found, now);
            }
        }
        self.nonce += NONCES_A_STEP;
    }

    fn send(&mut self, found: Found, now: Moment) {
        let token = self.session.submit(&found.solution, now);
        self.open.insert(token, found);
    }

    fn take(&mut self, event: ClientEvent, said: &mut Said, now: Moment) {
        match event {
            ClientEvent::Job(job) => {
                // Counted on, whatever came before: a subscription may have been resumed.
                (self.xn2, self.nonce) = (self.xn2 + 1, 0);
                let lost = core::mem::take(&mut self.lost);
                for found in lost.into_iter().filter(|found| found.xn1 == job.xn1) {
                    self.send(found, now);
                }
                self.job = Some(job);
            }
            ClientEvent::Verdict { token, result, .. } => {
                let Some(mut found) = self.open.remove(&token) else { return };
                found.again |= self.repeated.contains(&found.header);
                if let Err(error) = &result
                    && error.message == UNRECORDED
                {
                    // It may come again, and is then as good as new.
                    self.send(found.clone(), now);
                }
                said.verdicts.push((found, result));
            }
            ClientEvent::AuthorizationFailed { message } => said.ended = Some(message),
            ClientEvent::Closed { reason } => said.ended = Some(reason),
            ClientEvent::Authorized
            | ClientEvent::EnergyAccepted { .. }
            | ClientEvent::EnergyVerdict { .. }
            | ClientEvent::WorkerVerdict { .. }
            | ClientEvent::Message(_)
            | ClientEvent::Notice(_)
            | ClientEvent::Reconnect { .. } => {}
        }
    }
}

/// The pool's words where its disk failed.
pub(crate) const UNRECORDED: &str = "the pool could not record the share";

/// The number in a job's name: `1f` or `1f-2`.
fn number(name: &str) -> u64 {
    let digits = name.split('-').next().unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or(u64::MAX)
}

fn session(user: &str, rolls_versions: bool, now: Moment) -> ClientSession {
    let settings = ClientSettings {
        user: user.to_owned(),
        password: "x".to_owned(),
        agent: "sim".to_owned(),
        // Who rolls versions also takes a new extranonce 1 on the way.
        version_mask: if rolls_versions { 0x1fff_e000 } else { 0 },
        suggest_difficulty: None,
        energy: false,
    };
    ClientSession::new(settings, now)
}
