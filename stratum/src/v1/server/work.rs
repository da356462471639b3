//! The work side of a session: which jobs this connection was given, at which target each, and
//! which headers it was credited for.
//!
//! Read [`Board`]. Only what was really sent is recorded as issued: a job replaced before the
//! connection could be written to was never given out. Duplicates are kept by header hash, previous
//! hash and extranonce 1, across jobs, so that neither a repeated template nor a reorganisation
//! lets one header count twice. A share is taken only as long as the memory that it belongs to is
//! kept: memory is bounded by refusing shares and never by forgetting what was credited. Jobs of
//! the epoch before are kept too, for blocks alone: see [`Board::late`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use defences::{Defence, stands};
use units::{Difficulty, Target};

use super::Limits;
use crate::job::{Job, JobId, Listing};
use crate::judge::{Judged, Reason};
use crate::v1::message::{Id, difficulty_json, quoted, write_request};
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
    pub(super) xn1: [u8; 4],
    /// Whether its transactions were listed.
    listed: bool,
}

/// All work of one connection, or of several in turn where a subscription is resumed.
#[derive(Debug)]
pub(super) struct Board {
    /// For the jobs to come.
    xn1: [u8; 4],
    current: Option<Arc<Job>>,
    /// The newest that any job had.
    epoch: Option<u64>,
    given: VecDeque<Given>,
    /// Jobs of the epochs just before the current one, newest last.
    late: VecDeque<Given>,
    /// Numbers of jobs of older epochs, newest last.
    stale: VecDeque<u64>,
    told: Told,
    /// Gives the newest job out again, whatever it was given out as before.
    afresh: bool,
    /// What the last [`Board::write`] looked at, so that most need look no further.
    settled: Option<Settled>,
    seen: Seen,
}

/// What the miner at the other end was told and goes by.
#[derive(Debug, Default)]
struct Told {
    difficulty: Option<Difficulty>,
    /// What `mining.configure` granted, then what `mining.set_version_mask` said.
    mask: Option<u32>,
    /// Said by `mining.subscribe`, then by `mining.set_extranonce`.
    xn1: Option<[u8; 4]>,
}

/// Job, difficulty bounds, version mask, extranonce 1.
type Settled = (JobId, (Difficulty, Difficulty), u32, [u8; 4]);

/// What a connection's bounds are, for [`Board::write`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Version bits that were negotiated.
    pub(super) mask: u32,
    /// Jobs kept for each epoch.
    pub(super) kept: usize,
    /// Bytes of extranonce 2.
    pub(super) xn2_size: usize,
}

/// What identifies a credited header: the low half of its hash, which no proof of work fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HeaderKey(u128);

/// Headers credited, by previous hash and extranonce 1, the current ones first.
#[derive(Debug, Default)]
struct Seen {
    spaces: VecDeque<(Space, HashSet<HeaderKey>)>,
}

/// Headers of one space are told apart by their hash; those of two spaces are never the same.
type Space = ([u8; 32], [u8; 4]);

/// How often one job is given out again for a new difficulty or mask; later changes wait for the
/// next job.
const MAX_AGAIN: u8 = 15;
/// Spaces whose credited headers are remembered: a reorganisation comes back to one.
const SPACES_REMEMBERED: usize = 4;
/// Blocks remembered when there is no room for more shares: no block is lost to a full memory.
const BLOCKS_REMEMBERED: usize = 64;

impl HeaderKey {
    pub(super) fn of(hash: &[u8; 32]) -> Self {
        let low = hash.first_chunk().expect("16 of 32 bytes");
        Self(u128::from_le_bytes(*low))
    }
}

impl Board {
    pub(super) fn new(xn1: [u8; 4]) -> Self {
        Self {
            xn1,
            current: None,
            epoch: None,
            given: VecDeque::new(),
            late: VecDeque::new(),
            stale: VecDeque::new(),
            told: Told::default(),
            afresh: false,
            settled: None,
            seen: Seen::default(),
        }
    }

    /// Takes the newest job; one of an older epoch than the present is ignored.
    pub(super) fn set(&mut self, job: Arc<Job>, limits: &Limits) {
        let older = self.epoch.is_some_and(|epoch| job.epoch < epoch);
        if stands(Defence::OutOfOrderJob) && older {
            return;
        }
        if self.epoch.is_none_or(|epoch| job.epoch > epoch && stands(Defence::StaleShare)) {
            self.epoch = Some(job.epoch);
            self.retire(job.epoch, limits);
        }
        self.seen.turn_to((job.template.prev_hash, self.xn1));
        self.current = Some(job);
    }

    /// Nothing that was given out before `epoch` is credited any more.
    fn retire(&mut self, epoch: u64, limits: &Limits) {
        self.stale.extend(self.given.iter().map(|given| given.job.id.get()));
        keep_newest(&mut self.stale, limits.max_jobs_kept);
        self.late.append(&mut self.given);
        if stands(Defence::LateJobs) {
            let oldest = epoch.saturating_sub(limits.late_epochs);
            self.late.retain(|given| given.job.epoch >= oldest);
            keep_newest(&mut self.late, limits.max_jobs_kept);
        }
    }

    /// Extranonce 1 of the jobs to come.
    pub(super) const fn xn1(&self) -> [u8; 4] {
        self.xn1
    }

    /// The jobs to come have another extranonce 1; those given out keep theirs. It is told with
    /// the next job, which asks to drop earlier work; the newest is given out again for that.
    pub(super) fn set_xn1(&mut self, xn1: [u8; 4]) {
        self.xn1 = xn1;
        if let Some(job) = &self.current {
            self.seen.turn_to((job.template.prev_hash, xn1));
        }
    }

    /// The extranonce 1 to subscribe with: the one that the miner goes by, or goes by from now on.
    pub(super) fn tell_xn1(&mut self) -> [u8; 4] {
        *self.told.xn1.get_or_insert(self.xn1)
    }

    /// The miner was told which version bits it may roll.
    pub(super) const fn tell_mask(&mut self, mask: u32) {
        self.told.mask = Some(mask);
    }

    /// Whether this connection has negotiated version rolling.
    pub(super) const fn knows_mask(&self) -> bool {
        self.told.mask.is_some()
    }

    /// Takes the place of `fresh`, the board of a new connection of the same miner.
    pub(super) fn reopen(&mut self, fresh: Self, limits: &Limits) {
        // Who rolled versions before goes by none until it is told.
        let mask = fresh.told.mask.or_else(|| self.told.mask.map(|_| 0));
        self.told = Told { mask, ..fresh.told };
        self.afresh = true;
        self.settled = None;
        // What was newest then may be long replaced; the pool has set what is newest now.
        self.current = None;
        if let Some(job) = fresh.current {
            self.set(job, limits);
        }
    }

    /// Has nothing to give out until the next job. What was given out stays good.
    pub(super) fn withdraw(&mut self) {
        self.current = None;
    }

    /// Whether any work has been sent on this connection.
    pub(super) const fn has_given(&self) -> bool {
        self.told.difficulty.is_some()
    }

    /// Whether shares on work given out may come, on this connection or an earlier one.
    pub(super) fn is_used(&self) -> bool {
        !self.given.is_empty()
    }

    /// Headers remembered.
    pub(super) fn remembered(&self) -> usize {
        self.seen.spaces.iter().map(|(_, seen)| seen.len()).sum()
    }

    /// Whether the memory that shares on new work go into is more than three quarters full.
    pub(super) fn is_nearly_full(&self, max_seen: usize) -> bool {
        self.seen.spaces.front().is_some_and(|(_, seen)| seen.len() > max_seen / 4 * 3)
    }

    /// Writes the newest job, and before it what has changed of difficulty, version mask and
    /// extranonce 1; nothing where the connection has it already. A change gives the same job out
    /// again under a new name, since a share is judged by what its name was issued with.
    pub(super) fn write(&mut self, vardiff: &Vardiff, bounds: Bounds, out: &mut Vec<u8>) {
        let Some(job) = &self.current else { return };
        let mask = bounds.mask & job.version_mask;
        let wanted = Some((job.id, vardiff.bounds(), mask, self.xn1));
        if self.settled == wanted {
            return;
        }
        self.settled = wanted;
        let (difficulty, target) = vardiff.issue(job.template.network_target);
        let last = self.given.back().filter(|last| last.job.id == job.id);
        let as_before =
            |last: &&Given| last.target == target && last.mask == mask && last.xn1 == self.xn1;
        let again = match last {
            None => 0,
            Some(last)
                if (last.again < MAX_AGAIN || !stands(Defence::JobsAgain))
                    && (self.afresh || !as_before(&last)) =>
            {
                last.again + 1
            }
            // A connection that was resumed has nothing yet; it gets what it can be judged by.
            Some(last) if self.afresh && as_before(&last) => last.again,
            Some(_) => return,
        };
        let moved = self.told.announce(difficulty, mask, (self.xn1, bounds.xn2_size), out);
        if again == 0 && (job.clean || !moved) {
            out.extend_from_slice(job.notify_line());
        } else {
            out.extend_from_slice(&job.notify_again(again, moved));
        }
        self.afresh = false;
        if last.is_some_and(|last| last.again == again) {
            return;
        }
        let (job, xn1) = (Arc::clone(job), self.xn1);
        if stands(Defence::JobsKept) && self.given.len() >= bounds.kept.max(1) {
            self.given.pop_front();
        }
        self.given.push_back(Given { job, again, difficulty, target, mask, xn1, listed: false });
    }

    /// The job that a share names.
    pub(super) fn find(&self, name: &str) -> Result<&Given, Reason> {
        let name = parse_name(name).ok_or(Reason::UnknownJob)?;
        match self.given.iter().rev().find(|given| given.is(name)) {
            Some(given) => Ok(given),
            None if self.stale.contains(&name.0) => Err(Reason::StaleJob),
            None => Err(Reason::UnknownJob),
        }
    }

    /// The job of the epoch before that a share names. The share is stale and credited for
    /// nothing, but a block is a block: the one that came before it may still lose the race.
    pub(super) fn late(&self, name: &str) -> Option<&Given> {
        let name = parse_name(name)?;
        self.late.iter().rev().find(|given| given.is(name))
    }

    /// The list of a given job's transactions, once; or why there is none. It must be no longer
    /// than `room`, in bytes.
    pub(super) fn list(&mut self, name: &str, room: usize) -> Result<Arc<str>, String> {
        let job = Arc::clone(&self.find(name).map_err(|reason| reason.message().to_owned())?.job);
        let list = match &job.transactions {
            Listing::Json(list) => list,
            Listing::TooLong(bytes) => {
                let most = Listing::MAX_BYTES;
                return Err(format!("{bytes} bytes of transactions; at most {most} are listed"));
            }
            Listing::None => return Err("the job's transactions are not known".to_owned()),
        };
        let same = || self.given.iter().filter(|given| given.job.id == job.id);
        if stands(Defence::ListedOnce) && same().any(|given| given.listed) {
            return Err("the job's transactions were sent already".to_owned());
        }
        if stands(Defence::ListingRoom) && list.len() > room {
            return Err(Reason::Busy.message().to_owned());
        }
        for given in self.given.iter_mut().filter(|given| given.job.id == job.id) {
            given.listed = true;
        }
        Ok(Arc::clone(list))
    }

    /// Remembers the header of a share that holds, in the space that its job is in; refuses one
    /// that is remembered.
    pub(super) fn remember(
        &mut self,
        judged: &Judged,
        space: Space,
        max_seen: usize,
    ) -> Result<(), Reason> {
        let key = HeaderKey::of(&judged.hash);
        let blocks = if judged.is_block { BLOCKS_REMEMBERED } else { 0 };
        let max_seen = max_seen.saturating_add(blocks);
        let mut spaces = self.seen.spaces.iter_mut();
        let Some((_, seen)) = spaces.find(|(known, _)| *known == space) else {
            return Err(Reason::UnknownJob);
        };
        if stands(Defence::HeadersRemembered) && seen.len() >= max_seen {
            return Err(if seen.contains(&key) { Reason::Duplicate } else { Reason::Busy });
        }
        let new = seen.insert(key) || !stands(Defence::DuplicateShare);
        if new { Ok(()) } else { Err(Reason::Duplicate) }
    }

    /// Forgets a header whose share was not recorded after all, so that it may be sent again.
    pub(super) fn forget(&mut self, key: HeaderKey) {
        for (_, seen) in &mut self.seen.spaces {
            seen.remove(&key);
        }
    }
}

impl Told {
    /// Writes what differs from what the miner goes by, and says whether its extranonce 1 did.
    fn announce(
        &mut self,
        difficulty: Difficulty,
        mask: u32,
        (xn1, xn2_size): ([u8; 4], usize),
        out: &mut Vec<u8>,
    ) -> bool {
        let mut tell = |method: &str, params: String| {
            write_request(out, &Id::Null, method, &format!("[{params}]"));
        };
        if self.mask.is_some_and(|told| told != mask) {
            tell("mining.set_version_mask", quoted(&format!("{mask:08x}")));
            self.mask = Some(mask);
        }
        let moved = self.xn1.is_some_and(|told| told != xn1);
        if moved {
            tell("mining.set_extranonce", format!("\"{}\",{xn2_size}", hex::encode(xn1)));
            self.xn1 = Some(xn1);
        }
        if self.difficulty != Some(difficulty) {
            tell("mining.set_difficulty", difficulty_json(difficulty));
            self.difficulty = Some(difficulty);
        }
        moved
    }
}

impl Given {
    /// Whether it was given out under this name.
    fn is(&self, (id, again): (u64, u8)) -> bool {
        let same = self.again == again || !stands(Defence::IssuedTarget);
        self.job.id.get() == id && same
    }

    /// Where its headers are remembered.
    pub(super) fn space(&self) -> Space {
        (self.job.template.prev_hash, self.xn1)
    }
}

impl Seen {
    /// Makes `space` the one that shares on new work are remembered in.
    fn turn_to(&mut self, space: Space) {
        let known = self.spaces.iter().position(|(other, _)| *other == space);
        let known = known.filter(|_| stands(Defence::ReorganisedShare));
        let entry =
            known.and_then(|at| self.spaces.remove(at)).unwrap_or_else(|| (space, HashSet::new()));
        self.spaces.push_front(entry);
        self.spaces.truncate(SPACES_REMEMBERED);
    }
}

fn keep_newest<T>(list: &mut VecDeque<T>, most: usize) {
    let surplus = list.len().saturating_sub(most);
    list.drain(..surplus);
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
