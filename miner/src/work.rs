//! From a pool's job to work for the hashing threads.
//!
//! Read [`Work`] and [`Book::work`]. The book's one task is that no header is ever searched
//! twice: it knows recent jobs by their content, so that a job which comes again (under the same
//! id, under another, after a change of difficulty, on a new connection with the same
//! extranonce) goes on where its search stopped. It deliberately doesn't choose between jobs:
//! the newest wins, in [`crate::upstream`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use defences::{Defence, stands};
use sha2::{Digest as _, Sha256};
use stratum::v1::client::ClientJob;
use units::Moment;

use crate::space::{Claim, Claimed, Layout, Space};

/// Contents remembered. A pool sends a job or two a minute and a block ends all of them, so this
/// reaches back further than any job lives.
const REMEMBERED: usize = 256;

/// A job as the workers search it.
#[derive(Debug)]
pub struct Work {
    /// The job.
    pub job: Arc<ClientJob>,
    /// Which connection it came over: a share goes nowhere else.
    pub connection: u64,
    /// Counts works in the order they were made.
    pub serial: u64,
    space: Space,
    exhaustion_noted: AtomicBool,
}

/// Recent jobs by content.
#[derive(Debug)]
pub struct Book {
    layouts: Vec<Layout>,
    pages: VecDeque<Page>,
    serial: u64,
}

#[derive(Debug)]
struct Page {
    content: [u8; 32],
    space: Space,
}

impl Work {
    /// Takes the next part of this work's space for this device, which is its place among the
    /// book's layouts.
    ///
    /// # Panics
    /// When there is no such device.
    #[must_use]
    pub fn claim(&self, device: usize, now: Moment) -> Claimed {
        // A job may come again under an earlier time, whose first header is dealt all the same:
        // the pool itself gave that time to the job's content before.
        self.space.claim(device, self.last_ntime(now.mono).max(self.space.least_ntime()))
    }

    /// Whether this is the first time that anybody notes this work to be exhausted.
    pub fn note_exhaustion(&self) -> bool {
        !self.exhaustion_noted.swap(true, Ordering::Relaxed)
    }

    /// The 80 header bytes of a part, with its first version and nonce 0.
    #[must_use]
    pub fn header(&self, part: &Claim) -> [u8; 80] {
        self.job.header(&part.xn2, part.ntime, part.versions[0])
    }

    /// The version bits to submit with a header of `version`; `None` where the pool doesn't take
    /// any.
    #[must_use]
    pub fn version_bits(&self, version: u32) -> Option<u32> {
        (self.job.version_mask != 0).then_some(version & self.job.version_mask)
    }

    /// The job's time and the whole seconds since it came, by the monotonic clock.
    fn last_ntime(&self, now: Duration) -> u32 {
        let since = now.saturating_sub(self.job.received.mono).as_secs();
        let since = if stands(Defence::RolledTime) { since } else { u64::MAX };
        self.job.ntime.saturating_add(u32::try_from(since).unwrap_or(u32::MAX))
    }
}

impl Book {
    /// An empty book, dealing claims to one device for each layout.
    #[must_use]
    pub const fn new(layouts: Vec<Layout>) -> Self {
        Self { layouts, pages: VecDeque::new(), serial: 0 }
    }

    /// Makes work of a job.
    pub fn work(&mut self, job: Arc<ClientJob>, connection: u64) -> Work {
        self.serial += 1;
        let content = content_of(&job);
        let known = self.pages.iter().position(|page| page.content == content);
        let known = known.and_then(|index| self.pages.remove(index)).map(|page| page.space);
        let known = known.filter(|_| stands(Defence::RepeatedJob));
        let space = self.space(&job, known.as_ref());
        if self.pages.len() == REMEMBERED {
            self.pages.pop_front();
        }
        self.pages.push_back(Page { content, space: space.clone() });
        let exhaustion_noted = AtomicBool::new(false);
        Work { job, connection, serial: self.serial, space, exhaustion_noted }
    }

    /// Where the search of a job goes on: in `known`, the space of earlier jobs with the same
    /// content, from the job's time on.
    fn space(&self, job: &ClientJob, known: Option<&Space>) -> Space {
        let (version, mask) = (job.version, job.version_mask);
        match known {
            None => Space::new(&self.layouts, version, mask, job.xn2_size, job.ntime),
            Some(known) => known.again(version, mask, job.ntime),
        }
    }
}

/// A digest of all that a job's headers are made of but what is rolled, their time and version:
/// jobs with the same content have headers in common. Every variable part goes in with its length.
fn content_of(job: &ClientJob) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(job.nbits.to_be_bytes());
    hasher.update(job.prev_hash);
    hasher.update(length(job.xn2_size));
    for part in [&job.xn1, &job.coinbase1, &job.coinbase2] {
        hasher.update(length(part.len()));
        hasher.update(part);
    }
    for node in &job.branch {
        hasher.update(node);
    }
    hasher.finalize().into()
}

fn length(bytes: usize) -> [u8; 8] {
    u64::try_from(bytes).unwrap_or(u64::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests;
