//! A miner of the simulated world: a real client session and a few thousand real hashes a step.

use std::{collections::HashSet, sync::Arc};

use stratum::{
    job::sha256d,
    v1::client::{ClientEvent, ClientJob, ClientSession, ClientSettings, Solution, SubmitToken},
};
use units::Moment;

use crate::{link::Pipe, rng::Rng};

/// Nonces tried in one step.
const NONCES_A_STEP: u32 = 300;
/// Shares that may wait for an answer.
const OPEN_MAX: usize = 100;

/// One miner and its link to the pool.
#[derive(Debug)]
pub(crate) struct Miner {
    user: String,
    session: ClientSession,
    job: Option<Arc<ClientJob>>,
    xn2: u64,
    nonce: u32,
    open: HashSet<SubmitToken>,
    /// Lines sent twice whose refusal has not come.
    repeated: u32,
    /// Bytes to the pool.
    pub(crate) up: Pipe,
    /// Bytes from the pool.
    pub(crate) down: Pipe,
    /// Shares that this miner was told are accepted.
    pub(crate) accepted: u64,
    /// Refusals that no honest miner should see.
    pub(crate) unfair: Vec<String>,
}

impl Miner {
    pub(crate) fn new(user: String, now: Moment) -> Self {
        Self {
            session: session(&user, now),
            user,
            job: None,
            xn2: 0,
            nonce: 0,
            open: HashSet::new(),
            repeated: 0,
            up: Pipe::default(),
            down: Pipe::default(),
            accepted: 0,
            unfair: Vec::new(),
        }
    }

    /// The connection is gone, with everything on it.
    pub(crate) fn reconnect(&mut self, now: Moment) {
        self.session = session(&self.user, now);
        self.job = None;
        self.open.clear();
        self.up = Pipe::default();
        self.down = Pipe::default();
    }

    /// Reads, hashes, and gives what is to be sent.
    pub(crate) fn step(&mut self, now: Moment) -> Vec<u8> {
        let arrived = self.down.receive(now.mono);
        if let Err(fatal) = self.session.receive(&arrived, now) {
            self.unfair.push(fatal.to_string());
        }
        self.session.timeout(now);
        while let Some(event) = self.session.poll() {
            self.take(event);
        }
        self.hash(now);
        let mut out = Vec::new();
        self.session.transmit(&mut out);
        out
    }

    /// Sends the same share twice, as a broken firmware would: the second must be refused.
    pub(crate) fn repeat_something(&mut self, bytes: &mut Vec<u8>, rng: &mut Rng) {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let mut submits =
            lines.filter(|line| line.windows(13).any(|word| word == b"mining.submit"));
        let again = submits.nth(usize::from(rng.per_mille(500))).map(<[u8]>::to_vec);
        if let Some(line) = again {
            self.repeated += 1;
            bytes.extend(line);
        }
    }

    fn hash(&mut self, now: Moment) {
        let Some(job) = self.job.clone() else { return };
        if self.open.len() >= OPEN_MAX {
            return;
        }
        if self.nonce > 10 * NONCES_A_STEP {
            (self.xn2, self.nonce) = (self.xn2 + 1, 0);
        }
        let xn2 = self.xn2.to_be_bytes().to_vec();
        let mut header = job.header(&xn2, job.ntime, job.version);
        for nonce in self.nonce..self.nonce + NONCES_A_STEP {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            if job.target.is_met_by(&sha256d(&header)) {
                let (job_id, xn2) = (job.id.clone(), xn2.clone());
                let solution =
                    Solution { job_id, xn2, ntime: job.ntime, nonce, version_bits: None };
                self.open.insert(self.session.submit(&solution, now));
            }
        }
        self.nonce += NONCES_A_STEP;
    }

    fn take(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Job(job) => {
                if !job.continues {
                    (self.xn2, self.nonce) = (0, 0);
                }
                self.job = Some(job);
            }
            ClientEvent::Verdict { token, result, .. } => {
                // A repeated line is answered twice under one id; the session gives it once.
                self.open.remove(&token);
                match result {
                    Ok(()) => self.accepted += 1,
                    // Stale is the network's doing; -1 is a link that broke.
                    Err(error) if matches!(error.code, 21 | -1) => {}
                    // A repetition is refused at once, while the share itself is being written.
                    Err(error) if error.code == 22 && self.repeated > 0 => self.repeated -= 1,
                    Err(error) => self.unfair.push(error.to_string()),
                }
            }
            ClientEvent::AuthorizationFailed { message } => self.unfair.push(message),
            ClientEvent::Closed { reason } => self.unfair.push(reason),
            ClientEvent::Authorized
            | ClientEvent::EnergyAccepted { .. }
            | ClientEvent::EnergyVerdict { .. }
            | ClientEvent::Message(_)
            | ClientEvent::Notice(_)
            | ClientEvent::Reconnect { .. } => {}
        }
    }
}

fn session(user: &str, now: Moment) -> ClientSession {
    let settings = ClientSettings {
        user: user.to_owned(),
        password: "x".to_owned(),
        agent: "sim".to_owned(),
        version_mask: 0,
        suggest_difficulty: None,
        energy: false,
    };
    ClientSession::new(settings, now)
}
