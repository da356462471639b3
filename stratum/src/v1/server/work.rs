//! The work side of a session: which jobs this connection was given, at which target each, and
//! which headers it was credited for.
//!
//! Read [`Board`]. Only what was really sent is recorded as issued: a job replaced before the
//! connection could be written to was never given out. Duplicates are kept by header hash and
//! previous hash, across jobs, so that neither a repeated template nor a reorganisation lets one
//! header count twice.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use units::{Difficulty, Target};

use crate::job::{Job, JobId};
use crate::judge::Reason;
use crate::v1::message::{Id, difficulty_json, write_request};
use crate::vardiff::Vardiff;

/// A job as it was sent to this connection.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) job: Arc<Job>,
    /// 0 the first time, then how often the same job was given out again.
    again: u8,
    pub(super) difficulty: Difficulty,
    pub(super) target: Target,
    pub(super) mask: u32,
}

/// All work of one connection.
#[derive(Debug, Default)]
pub(super) struct Board {
    current: Option<Arc<Job>>,
    epoch: u64,
    given: VecDeque<Given>,
    /// Numbers of jobs of older epochs, newest last.
    stale: VecDeque<u64>,
    announced: Option<Difficulty>,
    /// What the last [`Board::write`] looked at, so that most need look no further.
    settled: Option<(JobId, (Difficulty, Difficulty), u32)>,
    seen: Seen,
}

/// What identifies a credited header: the low half of its hash, which no proof of work fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HeaderKey(u128);

/// Headers credited, by previous hash, newest first.
#[derive(Debug, Default)]
struct Seen {
    by_block: VecDeque<([u8; 32], HashSet<HeaderKey>)>,
}

/// How often one job is given out again for a new difficulty or mask; later changes wait for the
/// next job.
const MAX_AGAIN: u8 = 15;
/// Previous hashes whose credited headers are remembered: a reorganisation comes back to one.
const BLOCKS_REMEMBERED: usize = 4;

impl HeaderKey {
    pub(super) fn of(hash: &[u8; 32]) -> Self {
        let low = hash.first_chunk().expect("16 of 32 bytes");
        Self(u128::from_le_bytes(*low))
    }
}

impl Board {
    /// Takes the newest job; one of an older epoch than the present is ignored.
    pub(super) fn set(&mut self, job: Arc<Job>, max_jobs_kept: usize) {
        if self.current.is_some() && job.epoch < self.epoch {
            return;
        }
        if self.current.is_none() || job.epoch > self.epoch {
            self.epoch = job.epoch;
            self.stale.extend(self.given.drain(..).map(|given| given.job.id.get()));
            let surplus = self.stale.len().saturating_sub(max_jobs_kept);
            self.stale.drain(..surplus);
            self.seen.turn_to(job.template.prev_hash);
        }
        self.current = Some(job);
    }

    /// Whether any work has been sent.
    pub(super) fn has_given(&self) -> bool {
        self.announced.is_some()
    }

    /// Writes the newest job, with the difficulty before it where that changed; nothing where the
    /// connection has it already. A changed difficulty or mask gives the same job out again under
    /// a new name, since a share is judged by what its name was issued with.
    pub(super) fn write(&mut self, vardiff: &Vardiff, mask: u32, kept: usize, out: &mut Vec<u8>) {
        let Some(job) = &self.current else { return };
        let wanted = Some((job.id, vardiff.bounds(), mask));
        if self.settled == wanted {
            return;
        }
        self.settled = wanted;
        let (difficulty, target) = vardiff.issue(job.template.network_target);
        let again = match self.given.back() {
            Some(last) if last.job.id == job.id => {
                let same = last.target == target && last.mask == mask;
                if same || last.again >= MAX_AGAIN {
                    return;
                }
                last.again + 1
            }
            _ => 0,
        };
        if self.announced != Some(difficulty) {
            let params = format!("[{}]", difficulty_json(difficulty));
            write_request(out, &Id::Null, "mining.set_difficulty", &params);
            self.announced = Some(difficulty);
        }
        if again == 0 {
            out.extend_from_slice(job.notify_line());
        } else {
            out.extend_from_slice(&job.notify_again(again));
        }
        if self.given.len() >= kept.max(1) {
            self.given.pop_front();
        }
        self.given.push_back(Given { job: Arc::clone(job), again, difficulty, target, mask });
    }

    /// The job that a share names.
    pub(super) fn find(&self, name: &str) -> Result<&Given, Reason> {
        let (id, again) = parse_name(name).ok_or(Reason::UnknownJob)?;
        let matches = |given: &&Given| given.job.id.get() == id && given.again == again;
        match self.given.iter().rev().find(matches) {
            Some(given) => Ok(given),
            None if self.stale.contains(&id) => Err(Reason::StaleJob),
            None => Err(Reason::UnknownJob),
        }
    }

    /// Remembers a credited header.
    pub(super) fn remember(&mut self, key: HeaderKey, max_seen: usize) -> Result<(), Reason> {
        let Some((_, seen)) = self.seen.by_block.front_mut() else {
            return Err(Reason::UnknownJob);
        };
        if seen.len() >= max_seen {
            return Err(if seen.contains(&key) { Reason::Duplicate } else { Reason::Busy });
        }
        if seen.insert(key) { Ok(()) } else { Err(Reason::Duplicate) }
    }

    /// Forgets a header whose share was not recorded after all, so that it may be sent again.
    pub(super) fn forget(&mut self, key: HeaderKey) {
        for (_, seen) in &mut self.seen.by_block {
            seen.remove(&key);
        }
    }
}

impl Seen {
    /// Makes `prev_hash` the one that shares are remembered for.
    fn turn_to(&mut self, prev_hash: [u8; 32]) {
        let known = self.by_block.iter().position(|(block, _)| *block == prev_hash);
        let entry = known
            .and_then(|at| self.by_block.remove(at))
            .unwrap_or_else(|| (prev_hash, HashSet::new()));
        self.by_block.push_front(entry);
        self.by_block.truncate(BLOCKS_REMEMBERED);
    }
}

/// `1f` or `1f-2`: the job's number and how often it had been given out before.
fn parse_name(name: &str) -> Option<(u64, u8)> {
    let hexadecimal = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 16;
        (digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
    };
    match name.split_once('-') {
        Some((id, again)) => Some((hexadecimal(id)?, hexadecimal(again)?.try_into().ok()?)),
        None => Some((hexadecimal(name)?, 0)),
    }
}
