//! The work side of a session: which jobs this connection was given, at which target each, and
//! which headers it was credited for.
//!
//! Read [`Board`]. Only what was really sent is recorded as issued ([`Given`]): a job replaced before
//! the connection could be written to was never given out. A share is taken only as long as the
//! memory that it belongs to is kept ([`Seen`]): memory is bounded by refusing shares and never by
//! forgetting what was credited. Jobs of the epoch before are kept too, for blocks alone: see
//! [`Board::late`]. The jobs themselves are in a list that all connections share.

use std::hint::black_box;
use std::sync::Arc;

use defences::{Defence, stands};
use units::{Difficulty, Target};

use super::Limits;
use super::given::{Given, Name, Terms};
use super::seen::{HeaderKey, Seen, Space};
use crate::device::DeviceClass;
use crate::job::{Job, Listing};
use crate::jobs::Jobs;
use crate::judge::{Judged, Reason};
use crate::v1::message::{Id, difficulty_json, quoted, write_request};
use crate::vardiff::Vardiff;

/// All work of one connection, or of several in turn where a subscription is resumed.
#[derive(Debug)]
pub(super) struct Board {
    /// For the jobs to come.
    pub(super) xn1: [u8; 4],
    /// Whether a header was ever credited under it.
    pub(super) used: bool,
    /// Whether the newest of `jobs` is to be given out.
    pub(super) current: bool,
    /// Gives the newest job out again, whatever it was given out as before.
    pub(super) afresh: bool,
    pub(super) jobs: Option<Arc<Jobs>>,
    pub(super) given: Given,
    pub(super) told: Told,
    /// The difficulty bounds that the last [`Board::write`] looked at, so that most need look no
    /// further; forgotten when anything else changes.
    settled: Option<(Difficulty, Difficulty)>,
    pub(super) seen: Seen,
}

/// What the miner at the other end was told and goes by.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) difficulty: Option<Difficulty>,
    /// What `mining.configure` granted, then what `mining.set_version_mask` said.
    pub(super) mask: Option<u32>,
    /// Said by `mining.subscribe`, then by `mining.set_extranonce`.
    pub(super) xn1: Option<[u8; 4]>,
}

/// What a connection's bounds are, for [`Board::write`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Version bits that were negotiated.
    pub(super) mask: u32,
    /// Jobs kept for each epoch.
    pub(super) kept: usize,
    /// Bytes of extranonce 2.
    pub(super) xn2_size: usize,
    /// What the miner's kind takes.
    pub(super) class: &'static DeviceClass,
}

/// How often one job is given out again for a new difficulty or mask; later changes wait for the
/// next job.
const MAX_AGAIN: u8 = 15;

impl Board {
    pub(super) fn new(xn1: [u8; 4]) -> Self {
        Self {
            xn1,
            used: false,
            current: false,
            afresh: false,
            jobs: None,
            given: Given::default(),
            told: Told::default(),
            settled: None,
            seen: Seen::default(),
        }
    }

    /// Takes the newest job of a list; one of an older epoch than the present is ignored.
    pub(super) fn set(&mut self, jobs: Arc<Jobs>, limits: &Limits) {
        let Some(job) = jobs.newest() else { return };
        let present = self.jobs.as_ref().and_then(|jobs| jobs.epoch());
        let older = present.is_some_and(|present| job.epoch < present);
        if stands(Defence::OutOfOrderJob) && older {
            return;
        }
        self.seen.turn_to(Space::new(&job.template.prev_hash, self.xn1));
        self.current = true;
        self.settled = None;
        let newer = present.is_none_or(|present| job.epoch > present);
        self.jobs = Some(jobs);
        if newer && stands(Defence::StaleShare) {
            self.retire(limits);
        }
    }

    /// Part of [`super::Session::glance`].
    pub(super) fn glance(&self) {
        black_box((self.current, self.told.difficulty, self.told.mask));
        black_box((self.given.is_empty(), self.seen.is_empty()));
    }

    /// Part of [`super::Session::glance_behind`].
    pub(super) fn glance_behind(&self) {
        self.given.glance();
        self.seen.glance();
    }

    /// Nothing that was given out before the newest epoch is credited any more.
    fn retire(&mut self, limits: &Limits) {
        if let Some(jobs) = &self.jobs {
            self.given.retire(jobs, limits);
        }
    }

    /// The list that all of this is about, to be added to.
    pub(super) fn jobs(&self) -> Option<&Arc<Jobs>> {
        self.jobs.as_ref()
    }

    /// The job to be given out.
    fn current(&self) -> Option<&Arc<Job>> {
        current(self.current, self.jobs.as_deref())
    }

    /// The network's target, as far as jobs have told.
    pub(super) fn network_target(&self) -> Option<Target> {
        self.jobs.as_ref()?.newest().map(|job| job.template.network_target)
    }

    /// Extranonce 1 of the jobs to come.
    pub(super) const fn xn1(&self) -> [u8; 4] {
        self.xn1
    }

    /// Extranonce 1 of the jobs to come, where no header was ever credited under it.
    pub(super) fn unused_xn1(&self) -> Option<[u8; 4]> {
        (!self.used).then_some(self.xn1)
    }

    /// The jobs to come have another extranonce 1; those given out keep theirs. It is told with
    /// the next job, which asks to drop earlier work; the newest is given out again for that.
    pub(super) fn set_xn1(&mut self, xn1: [u8; 4]) {
        (self.xn1, self.used, self.settled) = (xn1, false, None);
        if let Some(space) = self.current().map(|job| Space::new(&job.template.prev_hash, xn1)) {
            self.seen.turn_to(space);
        }
    }

    /// The extranonce 1 to subscribe with: the one that the miner goes by, or goes by from now on.
    pub(super) fn tell_xn1(&mut self) -> [u8; 4] {
        *self.told.xn1.get_or_insert(self.xn1)
    }

    /// The miner was told which version bits it may roll.
    pub(super) const fn tell_mask(&mut self, mask: u32) {
        self.told.mask = Some(mask);
        self.settled = None;
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
        // What was newest then may be long replaced; the pool has set what is newest now, and it
        // makes older work stale even where nothing is to be given out.
        self.current = false;
        if let Some(jobs) = fresh.jobs {
            let jobs = match &self.jobs {
                Some(known) => Jobs::joined(known, &jobs, limits),
                None => jobs,
            };
            self.set(jobs, limits);
        }
        self.current &= fresh.current;
    }

    /// Has nothing to give out until the next job. What was given out stays good.
    pub(super) fn withdraw(&mut self) {
        self.current = false;
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
        self.seen.len()
    }

    /// Whether the memory that shares on new work go into is more than three quarters full.
    pub(super) fn is_nearly_full(&self, max_seen: usize) -> bool {
        self.seen.present() > max_seen / 4 * 3
    }

    /// Writes the newest job, and before it what has changed of difficulty, version mask and
    /// extranonce 1; nothing where the connection has it already. A change gives the same job out
    /// again under a new name, since a share is judged by what its name was issued with.
    pub(super) fn write(&mut self, vardiff: &Vardiff, bounds: Bounds, out: &mut Vec<u8>) {
        let wanted = Some(vardiff.bounds());
        if !self.current || self.settled == wanted {
            return;
        }
        let Some(job) = current(self.current, self.jobs.as_deref()) else { return };
        let (longest, xn2_size) = (bounds.class.longest_coinbase, bounds.xn2_size);
        let takes_all = !stands(Defence::CoinbaseLength);
        let fitting = if takes_all { Some(job) } else { job.fitting(longest, xn2_size) };
        let Some(job) = fitting else {
            refuse_length(job.coinbase_length(xn2_size), bounds.class, out);
            self.settled = wanted;
            return;
        };
        self.settled = wanted;
        let (mask, xn1, id) = (bounds.mask & job.version_mask, self.xn1, job.id.get());
        let (difficulty, target) = vardiff.issue(job.template.network_target);
        let newest = self.given.last();
        let last = newest.filter(|(name, _)| name.id == id);
        let as_before =
            |last: &Terms| last.target == target && last.mask == mask && last.xn1 == xn1;
        let again = match last {
            None => 0,
            Some((name, last))
                if (name.again < MAX_AGAIN || !stands(Defence::JobsAgain))
                    && (self.afresh || !as_before(last)) =>
            {
                name.again + 1
            }
            // A connection that was resumed has nothing yet; it gets what it can be judged by.
            Some((name, last)) if self.afresh && as_before(last) => name.again,
            Some(_) => return,
        };
        let known = last.is_some_and(|(name, _)| name.again == again);
        let moved = self.told.announce(difficulty, mask, (xn1, bounds.xn2_size), out);
        if again == 0 && (job.clean || !moved) {
            out.extend_from_slice(job.notify_line());
        } else {
            out.extend_from_slice(&job.notify_again(again, moved));
        }
        self.afresh = false;
        if !known {
            let before = newest.filter(|(_, before)| before.target == target);
            let work = before.map_or_else(|| target.work(), |(_, before)| before.work);
            let terms = Terms { difficulty, target, work, mask, xn1 };
            self.given.push(Name { id, again }, terms, bounds.kept);
        }
    }

    /// The job that a share names, and what it was given out with.
    pub(super) fn find(&self, name: &str) -> Result<(&Arc<Job>, &Terms), Reason> {
        let name = Name::parse(name).ok_or(Reason::UnknownJob)?;
        let found = self.given.find(name);
        match found.and_then(|terms| Some((self.jobs.as_ref()?.find(name.id)?, terms))) {
            Some(given) => Ok(given),
            None if self.given.is_stale(name.id) => Err(Reason::StaleJob),
            None => Err(Reason::UnknownJob),
        }
    }

    /// The job of the epoch before that a share names. The share is stale and credited for
    /// nothing, but a block is a block: the one that came before it may still lose the race.
    pub(super) fn late(&self, name: &str) -> Option<(&Arc<Job>, &Terms)> {
        let name = Name::parse(name)?;
        let terms = self.given.find_late(name)?;
        Some((self.jobs.as_ref()?.find(name.id)?, terms))
    }

    /// The list of a given job's transactions, once; or why there is none. It must be no longer
    /// than `room`, in bytes.
    pub(super) fn list(&mut self, name: &str, room: usize) -> Result<Arc<str>, String> {
        let (job, _) = self.find(name).map_err(|reason| reason.message().to_owned())?;
        let id = job.id.get();
        let list = match &job.transactions {
            Listing::Json(list) => Arc::clone(list),
            Listing::TooLong(bytes) => {
                let most = Listing::MAX_BYTES;
                return Err(format!("{bytes} bytes of transactions; at most {most} are listed"));
            }
            Listing::None => return Err("the job's transactions are not known".to_owned()),
        };
        if stands(Defence::ListedOnce) && self.given.is_listed(id) {
            return Err("the job's transactions were sent already".to_owned());
        }
        if stands(Defence::ListingRoom) && list.len() > room {
            return Err(Reason::Busy.message().to_owned());
        }
        self.given.list(id);
        Ok(list)
    }

    /// Remembers the header of a share that holds, in the space that its job is in; refuses one
    /// that is remembered.
    pub(super) fn remember(
        &mut self,
        judged: &Judged,
        space: Space,
        max_seen: usize,
    ) -> Result<(), Reason> {
        self.seen.remember(judged, space, max_seen)?;
        self.used |= space.xn1 == self.xn1;
        Ok(())
    }

    /// Forgets a header whose share was not recorded after all, so that it may be sent again.
    pub(super) fn forget(&mut self, key: HeaderKey) {
        self.seen.forget(key);
    }
}

/// The newest job, where it is to be given out. Not the board's, so that the rest of the board may
/// change meanwhile: a count of users of a job that every connection changed would go from core to
/// core with each.
fn current(wanted: bool, jobs: Option<&Jobs>) -> Option<&Arc<Job>> {
    jobs.filter(|_| wanted)?.newest()
}

/// Tells a miner why it gets no work: better than shares of a coinbase that it cut short.
fn refuse_length(length: usize, class: &DeviceClass, out: &mut Vec<u8>) {
    let why = format!(
        "no work: the coinbase has {length} bytes and {} takes {} at most",
        class.name, class.longest_coinbase
    );
    write_request(out, &Id::Null, "client.show_message", &format!("[{}]", quoted(&why)));
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
