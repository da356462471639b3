//! The jobs that shares may still come for, in one list that all connections share.
//!
//! Read [`Jobs`]. The owner makes a new list with each new job and hands the same one to every
//! session, so that a connection holds one pointer and the names of what it was given. [`SavedJobs`]
//! is the list on its way to another process.
//!
//! It deliberately knows nothing of what a connection was given: a job in this list that was never
//! written to a connection is not taken from it.

use std::sync::Arc;

use defences::{Defence, stands};
use serde::{Deserialize, Serialize};
use units::Target;

use crate::job::{Job, JobTemplate, Listing};
use crate::v1::server::Limits;

/// The jobs of the newest epoch and of those shortly before, the newest job last. Never changes:
/// [`Jobs::with`] makes the next list.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    /// The newest of any.
    epoch: Option<u64>,
    /// With their numbers, so that most of a search touches this list alone.
    list: Box<[(u64, Arc<Job>)]>,
}

/// A list of jobs as it is handed to another process. What is rendered is rendered there again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedJobs(Vec<SavedJob>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedJob {
    id: u64,
    clean: bool,
    epoch: u64,
    tag: u64,
    version_mask: u32,
    transactions: SavedListing,
    smaller: Option<Box<Self>>,
    height: u32,
    version: u32,
    prev_hash: [u8; 32],
    nbits: u32,
    ntime: u32,
    min_ntime: u32,
    coinbase1: Vec<u8>,
    coinbase2: Vec<u8>,
    branch: Vec<[u8; 32]>,
    /// Most significant byte first.
    network_target: [u8; 32],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum SavedListing {
    Json(Box<str>),
    TooLong(usize),
    None,
}

impl Jobs {
    /// This list with one more job: at most `max_jobs_kept` of the newest epoch, and as many of the
    /// `late_epochs` before it. A job of an older epoch than the newest changes nothing; number
    /// jobs without gaps, since connections keep what they were given as runs of numbers.
    #[must_use]
    pub fn with(&self, job: Arc<Job>, limits: &Limits) -> Self {
        let older = self.epoch().is_some_and(|epoch| job.epoch < epoch);
        if stands(Defence::OutOfOrderJob) && older {
            return self.clone();
        }
        let id = job.id.get();
        let others = self.list.iter().filter(|(other, _)| *other != id).cloned();
        Self::bounded(others.chain([(id, job)]).collect(), limits)
    }

    /// The newest job.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Job>> {
        self.list.last().map(|(_, job)| job)
    }

    /// The job of this number, be it a smaller one of another.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<&Arc<Job>> {
        let found = self.list.iter().rev().find(|(other, _)| *other == id).map(|(_, job)| job);
        found.or_else(|| self.iter().rev().flat_map(chain).find(|job| job.id.get() == id))
    }

    /// All of them, the newest last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Job>> {
        self.list.iter().map(|(_, job)| job)
    }

    /// The same for another process.
    #[must_use]
    pub fn save(&self) -> SavedJobs {
        SavedJobs(self.iter().map(|job| SavedJob::of(job)).collect())
    }

    /// The newest epoch of any.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    fn of(list: Box<[(u64, Arc<Job>)]>) -> Self {
        Self { epoch: list.iter().map(|(_, job)| job.epoch).max(), list }
    }

    /// `newer` with what is still good of `older`; `newer` itself where that has all of it.
    pub(crate) fn joined(older: &Arc<Self>, newer: &Arc<Self>, limits: &Limits) -> Arc<Self> {
        let missing = older.list.iter().filter(|(id, _)| newer.find(*id).is_none());
        let list = missing.chain(&newer.list).cloned().collect();
        let joined = Self::bounded(list, limits);
        if joined.list.len() == newer.list.len() { Arc::clone(newer) } else { Arc::new(joined) }
    }

    /// What is left of `list` where bounds are kept, the newest of each kind.
    fn bounded(list: Vec<(u64, Arc<Job>)>, limits: &Limits) -> Self {
        let epoch = list.iter().map(|(_, job)| job.epoch).max().unwrap_or(0);
        let oldest = epoch.saturating_sub(limits.late_epochs);
        let (mut present, mut late) = (0, 0);
        let mut kept: Vec<_> = list
            .into_iter()
            .rev()
            .filter(|(_, job)| {
                let current = job.epoch == epoch;
                let count = if current { &mut present } else { &mut late };
                *count += 1;
                let most = if current { limits.max_jobs_kept.max(1) } else { limits.max_jobs_kept };
                let bound = if current { Defence::JobsKept } else { Defence::LateJobs };
                let good = *count <= most && (current || job.epoch >= oldest);
                good || !stands(bound)
            })
            .collect();
        kept.reverse();
        Self::of(kept.into())
    }
}

/// A job and its smaller ones.
fn chain(job: &Arc<Job>) -> impl Iterator<Item = &Arc<Job>> {
    std::iter::successors(Some(job), |job| job.smaller.as_ref())
}

impl SavedJobs {
    /// The list that was saved, rendered anew.
    #[must_use]
    pub fn restore(self) -> Jobs {
        let jobs = self.0.into_iter().map(|saved| (saved.id, Arc::new(saved.restore())));
        Jobs::of(jobs.collect())
    }
}

impl SavedJob {
    fn of(job: &Job) -> Self {
        let template = job.template.clone();
        Self {
            id: job.id.get(),
            clean: job.clean,
            epoch: job.epoch,
            tag: job.tag,
            version_mask: job.version_mask,
            transactions: match &job.transactions {
                Listing::Json(list) => SavedListing::Json(list.as_ref().into()),
                Listing::TooLong(bytes) => SavedListing::TooLong(*bytes),
                Listing::None => SavedListing::None,
            },
            smaller: job.smaller.as_ref().map(|job| Box::new(Self::of(job))),
            height: template.height,
            version: template.version,
            prev_hash: template.prev_hash,
            nbits: template.nbits,
            ntime: template.ntime,
            min_ntime: template.min_ntime,
            coinbase1: template.coinbase1,
            coinbase2: template.coinbase2,
            branch: template.branch,
            network_target: template.network_target.to_be_bytes(),
        }
    }

    fn restore(self) -> Job {
        let template = JobTemplate {
            height: self.height,
            version: self.version,
            prev_hash: self.prev_hash,
            nbits: self.nbits,
            ntime: self.ntime,
            min_ntime: self.min_ntime,
            coinbase1: self.coinbase1,
            coinbase2: self.coinbase2,
            branch: self.branch,
            network_target: Target::from_be_bytes(self.network_target),
        };
        let mut job = Job::new(self.id, template, self.clean, self.epoch, self.tag);
        job.version_mask = self.version_mask;
        job.smaller = self.smaller.map(|smaller| Arc::new(smaller.restore()));
        job.transactions = match self.transactions {
            SavedListing::Json(list) => Listing::Json(list.into()),
            SavedListing::TooLong(bytes) => Listing::TooLong(bytes),
            SavedListing::None => Listing::None,
        };
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_blocks::BLOCK_125552;

    fn job(id: u64, epoch: u64) -> Arc<Job> {
        let mut job = Job::new(id, BLOCK_125552.template(), true, epoch, 7);
        job.version_mask = 0x1fff_e000;
        job.transactions = Listing::Json("[\"01\"]".into());
        Arc::new(job)
    }

    fn limits() -> Limits {
        Limits { max_jobs_kept: 3, late_epochs: 1, ..Limits::default() }
    }

    fn list(jobs: &[(u64, u64)]) -> Jobs {
        let add = |list: Jobs, (id, epoch): &(u64, u64)| list.with(job(*id, *epoch), &limits());
        jobs.iter().fold(Jobs::default(), add)
    }

    fn ids(jobs: &Jobs) -> Vec<u64> {
        jobs.iter().map(|job| job.id.get()).collect()
    }

    #[test]
    fn the_newest_of_this_epoch_and_of_the_one_before_are_kept() {
        let jobs = list(&[(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]);
        assert_eq!(ids(&jobs), [1, 3, 4, 5]);
        let jobs = jobs.with(job(6, 3), &limits());
        assert_eq!(ids(&jobs), [3, 4, 5, 6]);
        assert_eq!(jobs.newest().map(|job| job.id.get()), Some(6));
        assert_eq!(ids(&jobs.with(job(7, 2), &limits())), [3, 4, 5, 6], "overtaken");
        assert_eq!(ids(&jobs.with(job(7, 5), &limits())), [7]);
        assert_eq!(ids(&jobs.with(job(6, 3), &limits())), [3, 4, 5, 6], "a number once");
        assert!(jobs.find(2).is_none() && jobs.find(3).is_some());
    }

    #[test]
    fn lists_are_joined_only_where_one_lacks_something() {
        let older = Arc::new(list(&[(1, 1), (2, 2), (3, 2)]));
        let newer = Arc::new(older.with(job(4, 2), &limits()));
        assert!(Arc::ptr_eq(&Jobs::joined(&older, &newer, &limits()), &newer));
        let own = Arc::new(list(&[(4, 2)]));
        assert_eq!(ids(&Jobs::joined(&older, &own, &limits())), [1, 2, 3, 4]);
        let next = Arc::new(list(&[(5, 3)]));
        assert_eq!(ids(&Jobs::joined(&older, &next, &limits())), [2, 3, 5]);
    }

    #[test]
    fn a_saved_list_comes_back_as_it_was() {
        let jobs = list(&[(1, 1), (2, 2), (3, 2)]);
        let text = serde_json::to_string(&jobs.save()).unwrap();
        let again = serde_json::from_str::<SavedJobs>(&text).unwrap().restore();
        for (was, is) in jobs.iter().zip(again.iter()) {
            assert_eq!(was.template, is.template);
            assert_eq!(
                (was.id, was.clean, was.epoch, was.tag),
                (is.id, is.clean, is.epoch, is.tag)
            );
            assert_eq!(was.transactions, is.transactions);
            assert_eq!(was.version_mask, is.version_mask);
            assert_eq!(was.notify_line(), is.notify_line());
        }
        assert_eq!(ids(&again), [1, 2, 3]);
    }
}
