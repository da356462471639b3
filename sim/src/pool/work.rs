//! Work from templates, as `pool::jobs` makes it: a new epoch with each other tip, renewed when it
//! is old, withdrawn when the node has been silent for too long.

use core::time::Duration;
use std::sync::Arc;

use ledger::SliceHead;
use pool::coinbase::commitment;
use stratum::{Job, JobTemplate, Jobs, SavedJobs, v1::server::Limits};
use units::{Moment, Target};

use super::coinbase;

/// On a template older than this no work is given out.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(4);
/// A job is renewed at this age.
const REFRESH: Duration = Duration::from_secs(5);
/// Every 131,072nd hash is a block: miners find one every few seconds.
const NETWORK_BITS: u32 = 0x1f00_7fff;

/// What the node says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template {
    pub(crate) prev_hash: [u8; 32],
    /// Of the block to be.
    pub(crate) height: u32,
    /// The node's own clock, Unix seconds.
    pub(crate) time: u32,
    /// When it came, on the pool's monotonic clock.
    pub(crate) at: Duration,
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct WorkMaker {
    template: Option<Template>,
    id: u64,
    epoch: u64,
    /// The block that the newest job builds on.
    prev_hash: Option<[u8; 32]>,
    jobs: Arc<Jobs>,
    /// When the newest was given out, while there is work.
    given: Option<Duration>,
}

/// What is to be told to everybody.
#[derive(Debug)]
pub(super) enum News {
    /// There is new work.
    Jobs(Arc<Jobs>),
    /// There is none any more.
    Withdrawn,
}

impl WorkMaker {
    /// The node answered.
    pub(super) fn learn(&mut self, template: Template) {
        self.template = Some(template);
    }

    /// What is due at `now`; `renew` where the last job is out of date for another reason.
    pub(super) fn turn(&mut self, now: Moment, slice: &SliceHead, renew: bool) -> Option<News> {
        let template = self.template?;
        if now.mono.saturating_sub(template.at) >= MAX_AGE {
            return self.given.take().map(|_| News::Withdrawn);
        }
        let old = self.given.is_none_or(|at| now.mono.saturating_sub(at) >= REFRESH);
        let moved = self.prev_hash != Some(template.prev_hash);
        if !(old || moved || renew) {
            return None;
        }
        self.given = Some(now.mono);
        if moved {
            self.epoch += 1;
            self.prev_hash = Some(template.prev_hash);
        }
        self.id += 1;
        let job =
            Job::new(self.id, self.facts(&template, slice), moved, self.epoch, slice.index.get());
        self.jobs = Arc::new(self.jobs.with(Arc::new(job), &Limits::default()));
        Some(News::Jobs(Arc::clone(&self.jobs)))
    }

    /// The list for who comes now; nothing while there is no work.
    pub(super) fn jobs(&self) -> Option<&Arc<Jobs>> {
        self.given.and(Some(&self.jobs))
    }

    /// The newest job's number and epoch.
    pub(super) const fn newest(&self) -> (u64, u64) {
        (self.id, self.epoch)
    }

    /// The same in another process, by way of text.
    pub(super) fn hand_over(&self) -> Result<Self, serde_json::Error> {
        let saved: SavedJobs = serde_json::from_slice(&serde_json::to_vec(&self.jobs.save())?)?;
        let jobs = Arc::new(saved.restore());
        // The next image asks the node for itself.
        let (template, given) = (None, None);
        Ok(Self {
            template,
            id: self.id,
            epoch: self.epoch,
            prev_hash: self.prev_hash,
            jobs,
            given,
        })
    }

    /// The list that connections had before.
    pub(super) const fn all(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    fn facts(&self, template: &Template, slice: &SliceHead) -> JobTemplate {
        JobTemplate {
            height: template.height,
            version: 0x2000_0000,
            prev_hash: template.prev_hash,
            nbits: NETWORK_BITS,
            ntime: template.time,
            min_ntime: template.time.saturating_sub(3600),
            coinbase1: coinbase::start(template.height, self.id, &commitment(slice)),
            coinbase2: coinbase::end(),
            branch: Vec::new(),
            network_target: network_target(),
        }
    }
}

/// What a block's hash must meet.
pub(super) fn network_target() -> Target {
    Target::from_compact(NETWORK_BITS).unwrap_or(Target::MAX)
}
