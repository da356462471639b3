//! What a connection was given: runs of jobs by number, and what each was issued with.
//!
//! Read [`Given`]. Only what was really sent is in it; a number that was skipped ends a run, so that
//! a job that was never given out is not found. The jobs themselves are in the list that all
//! connections share ([`crate::Jobs`]). Names are given out by [`super::work`], which decides when.

use std::hint::black_box;

use defences::{Defence, stands};
use serde::{Deserialize, Serialize};
use units::{Difficulty, Target, Work};

use super::Limits;
use super::seen::Space;
use crate::job::Job;
use crate::jobs::Jobs;

/// What a job was given out with: shares on it are judged by nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    pub(super) difficulty: Difficulty,
    pub(super) target: Target,
    /// The target's.
    pub(super) work: Work,
    pub(super) mask: u32,
    pub(super) xn1: [u8; 4],
}

/// A job's number, and how often it had been given out before: `1f`, or `1f-2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) id: u64,
    pub(super) again: u8,
}

/// Jobs that were given out one after the other with the same terms.
#[derive(Debug, Clone)]
struct Run {
    terms: Terms,
    first: u64,
    count: u32,
    /// How often the first had been given out before; the others had not.
    again: u8,
}

/// Jobs given out, of the present epoch and those shortly before.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Oldest first.
    runs: Vec<Run>,
    /// How many of them are of earlier epochs.
    late: u32,
    /// Numbers of jobs of earlier epochs, which are stale, each range with its length; oldest
    /// first.
    stale: Vec<(u64, u32)>,
    /// Jobs of the present epoch whose transactions were listed.
    listed: Box<[u64]>,
}

/// [`Given`] on its way to another process. Floats go as their bits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedGiven {
    runs: Vec<SavedRun>,
    late: u32,
    stale: Vec<(u64, u32)>,
    listed: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedRun {
    difficulty: u64,
    /// Most significant byte first.
    target: [u8; 32],
    mask: u32,
    xn1: [u8; 4],
    first: u64,
    count: u32,
    again: u8,
}

impl Name {
    /// Reads `1f` or `1f-2`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hexadecimal = |text: &str| {
            let digits = !text.is_empty() && text.len() <= 16;
            (digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .then(|| u64::from_str_radix(text, 16).ok())
                .flatten()
        };
        let Some((id, again)) = text.split_once('-') else {
            return Some(Self { id: hexadecimal(text)?, again: 0 });
        };
        Some(Self { id: hexadecimal(id)?, again: hexadecimal(again)?.try_into().ok()? })
    }
}

impl Terms {
    /// Where the headers of a job with these terms are remembered.
    pub(super) fn space(&self, job: &Job) -> Space {
        Space::new(&job.template.prev_hash, self.xn1)
    }
}

impl Run {
    /// The number behind its last.
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    fn has(&self, Name { id, again }: Name) -> bool {
        let given = if id == self.first { self.again } else { 0 };
        let same = given == again || !stands(Defence::IssuedTarget);
        (self.first..self.end()).contains(&id) && same
    }
}

impl Given {
    fn present(&self) -> &[Run] {
        self.runs.split_at(self.late()).1
    }

    fn late(&self) -> usize {
        usize::try_from(self.late).unwrap_or(usize::MAX).min(self.runs.len())
    }

    /// Part of [`super::Session::glance_behind`].
    pub(super) fn glance(&self) {
        black_box(self.stale.last().copied());
        black_box([self.runs.first(), self.runs.last()].map(|run| Some(run?.first)));
    }

    /// Whether nothing of the present epoch was given out.
    pub(super) fn is_empty(&self) -> bool {
        self.present().is_empty()
    }

    /// The last job given out, of the present epoch.
    pub(super) fn last(&self) -> Option<(Name, &Terms)> {
        let run = self.present().last()?;
        let again = if run.count == 1 { run.again } else { 0 };
        Some((Name { id: run.end().saturating_sub(1), again }, &run.terms))
    }

    /// The terms of a job of the present epoch.
    pub(super) fn find(&self, name: Name) -> Option<&Terms> {
        self.present().iter().rev().find(|run| run.has(name)).map(|run| &run.terms)
    }

    /// The terms of a job of an epoch shortly before.
    pub(super) fn find_late(&self, name: Name) -> Option<&Terms> {
        let late = self.runs.split_at(self.late()).0;
        late.iter().rev().find(|run| run.has(name)).map(|run| &run.terms)
    }

    /// Whether this was the number of a job of an earlier epoch.
    pub(super) fn is_stale(&self, id: u64) -> bool {
        let range = |(first, count): &(u64, u32)| *first..first.saturating_add((*count).into());
        self.stale.iter().any(|numbers| range(numbers).contains(&id))
    }

    /// A job was given out; at most `kept` of the present epoch are remembered.
    pub(super) fn push(&mut self, Name { id, again }: Name, terms: Terms, kept: usize) {
        let late = self.late();
        if stands(Defence::JobsKept) && length(self.present()) >= kept.max(1) {
            drop_oldest(&mut self.runs, late);
        }
        match self.runs.get_mut(late..).and_then(<[_]>::last_mut) {
            Some(run) if again == 0 && run.end() == id && run.terms == terms => run.count += 1,
            _ => {
                self.runs.reserve_exact(1);
                self.runs.push(Run { terms, first: id, count: 1, again });
            }
        }
    }

    /// A new epoch has begun: what was given out is late, and stays findable as such as far as
    /// `jobs` go back.
    pub(super) fn retire(&mut self, jobs: &Jobs, limits: &Limits) {
        for run in self.runs.split_at(self.late()).1 {
            add_range(&mut self.stale, run);
        }
        keep_newest(&mut self.stale, limits.max_jobs_kept);
        if stands(Defence::LateJobs) {
            let oldest = jobs.epoch().unwrap_or(0).saturating_sub(limits.late_epochs);
            let good = |id| jobs.find(id).is_some_and(|job| job.epoch >= oldest);
            self.runs.retain(|run| good(run.end().saturating_sub(1)));
            while length(&self.runs) > limits.max_jobs_kept {
                drop_oldest(&mut self.runs, 0);
            }
            // With room for the run of the job that comes next.
            self.runs.shrink_to(self.runs.len() + 1);
        }
        self.late = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        self.listed = Box::default();
    }

    /// Whether a job's transactions were listed.
    pub(super) fn is_listed(&self, id: u64) -> bool {
        self.listed.contains(&id)
    }

    /// Notes that a job's transactions were listed.
    pub(super) fn list(&mut self, id: u64) {
        let given = |id: u64| self.present().iter().any(|run| (run.first..run.end()).contains(&id));
        let others = self.listed.iter().copied().filter(|other| given(*other) && *other != id);
        self.listed = others.chain([id]).collect();
    }

    pub(super) fn save(&self) -> SavedGiven {
        let run = |run: &Run| SavedRun {
            difficulty: run.terms.difficulty.get().to_bits(),
            target: run.terms.target.to_be_bytes(),
            mask: run.terms.mask,
            xn1: run.terms.xn1,
            first: run.first,
            count: run.count,
            again: run.again,
        };
        let (stale, listed) = (self.stale.clone(), self.listed.to_vec());
        SavedGiven { runs: self.runs.iter().map(run).collect(), late: self.late, stale, listed }
    }
}

impl SavedGiven {
    /// `None` where a difficulty is none.
    pub(super) fn restore(self) -> Option<Given> {
        let run = |saved: SavedRun| {
            let target = Target::from_be_bytes(saved.target);
            let terms = Terms {
                difficulty: Difficulty::new(f64::from_bits(saved.difficulty)).ok()?,
                target,
                work: target.work(),
                mask: saved.mask,
                xn1: saved.xn1,
            };
            Some(Run { terms, first: saved.first, count: saved.count, again: saved.again })
        };
        let runs = self.runs.into_iter().map(run).collect::<Option<_>>()?;
        Some(Given { runs, late: self.late, stale: self.stale, listed: self.listed.into() })
    }
}

/// Jobs in all of these.
fn length(runs: &[Run]) -> usize {
    runs.iter().map(|run| usize::try_from(run.count).unwrap_or(usize::MAX)).sum()
}

/// Adds a run's numbers, to the last range where they touch it.
fn add_range(ranges: &mut Vec<(u64, u32)>, run: &Run) {
    if let Some((first, count)) = ranges.last_mut() {
        let end = first.saturating_add((*count).into());
        if (*first..=end).contains(&run.first) {
            let numbers = end.max(run.end()) - *first;
            *count = u32::try_from(numbers).unwrap_or(u32::MAX);
            return;
        }
    }
    ranges.reserve_exact(1);
    ranges.push((run.first, run.count));
}

/// Forgets the first job of the run at `at`.
fn drop_oldest(runs: &mut Vec<Run>, at: usize) {
    let Some(run) = runs.get_mut(at) else { return };
    if run.count > 1 {
        (run.first, run.count, run.again) = (run.first.saturating_add(1), run.count - 1, 0);
    } else {
        runs.remove(at);
    }
}

/// Forgets the first numbers of what is more than `most`.
fn keep_newest(ranges: &mut Vec<(u64, u32)>, most: usize) {
    let numbers = ranges.iter().map(|(_, count)| usize::try_from(*count).unwrap_or(usize::MAX));
    let mut surplus = numbers.sum::<usize>().saturating_sub(most);
    ranges.retain_mut(|(first, count)| {
        let less = u32::try_from(surplus).unwrap_or(u32::MAX).min(*count);
        (*first, *count) = (first.saturating_add(less.into()), *count - less);
        surplus -= usize::try_from(less).unwrap_or(0);
        *count > 0
    });
}
