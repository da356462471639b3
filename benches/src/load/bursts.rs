//! New work on its way to every miner: from the first that has it to the last, and what it costs
//! the pool.
//!
//! Read [`Burst`]. Jobs that follow each other without a quiet moment between them (one of an
//! empty block and the full one after it) are one burst with several jobs. The processor time of a
//! burst is the pool's from the quiet before it to the quiet after, so it holds also what the pool
//! does with the template.

use std::{rc::Rc, time::Duration};

use super::{
    process::{Process, ProcessError},
    work::Job,
};

/// No job for so long, and it is quiet again.
const QUIET: Duration = Duration::from_millis(700);
/// Between looks at the pool's processor time while it is quiet.
const LOOK: Duration = Duration::from_millis(100);

/// New work, seen from the miners.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Burst {
    /// In the order in which they came.
    pub(crate) jobs: Vec<Spread>,
    /// From the first miner that had any of them to the last that had its first.
    pub(crate) any: Spread,
    /// The pool's processor time from the quiet before to the quiet after.
    pub(crate) cpu: Option<Duration>,
}

/// One job's way. Times are those of the clock that the load runs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    /// When the first miner had it.
    pub(crate) first: Duration,
    /// When the last had it.
    pub(crate) last: Duration,
    /// How many got it.
    pub(crate) miners: usize,
    /// Whether earlier work is to be dropped.
    pub(crate) clean: bool,
}

/// Watches for bursts.
#[derive(Debug)]
pub(super) struct Bursts {
    pool: Option<Process>,
    quiet_cpu: Option<Duration>,
    looked: Duration,
    present: Vec<(Rc<Job>, Spread)>,
    any: Option<Spread>,
    /// Of each miner, the number of the burst that it heard of last.
    heard: Vec<usize>,
    done: Vec<Burst>,
}

impl Bursts {
    /// `pool` is asked for its processor time, where it is known.
    pub(super) fn new(pool: Option<Process>, now: Duration) -> Result<Self, ProcessError> {
        let quiet_cpu = pool.map(Process::cpu).transpose()?;
        let (present, heard, done) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { pool, quiet_cpu, looked: now, present, any: None, heard, done })
    }

    /// The miner with this number has this job now.
    pub(super) fn came(&mut self, miner: usize, job: &Rc<Job>, now: Duration) {
        if self.heard.len() <= miner {
            self.heard.resize(miner + 1, 0);
        }
        let number = self.done.len() + 1;
        if self.heard[miner] != number {
            self.heard[miner] = number;
            let fresh = Spread { first: now, last: now, miners: 0, clean: false };
            let any = self.any.get_or_insert(fresh);
            (any.last, any.miners) = (now, any.miners + 1);
        }
        if let Some(any) = &mut self.any {
            any.clean |= job.clean;
        }
        let known = self.present.iter_mut().rev().find(|(known, _)| known == job);
        if let Some((_, spread)) = known {
            (spread.last, spread.miners) = (now, spread.miners + 1);
            return;
        }
        let spread = Spread { first: now, last: now, miners: 1, clean: job.clean };
        self.present.push((Rc::clone(job), spread));
    }

    /// To be called about every [`LOOK`].
    pub(super) fn tick(&mut self, now: Duration) -> Result<(), ProcessError> {
        if now.saturating_sub(self.looked) < LOOK {
            return Ok(());
        }
        let last = self.present.iter().map(|(_, spread)| spread.last).max();
        if last.is_some_and(|last| now.saturating_sub(last) < QUIET) {
            return Ok(());
        }
        self.looked = now;
        self.finish()
    }

    /// What came since it was quiet last is a burst.
    fn finish(&mut self) -> Result<(), ProcessError> {
        let cpu = self.pool.map(Process::cpu).transpose()?;
        if let Some(any) = self.any.take() {
            let jobs = self.present.drain(..).map(|(_, spread)| spread).collect();
            let cpu = cpu.zip(self.quiet_cpu).map(|(after, before)| after.saturating_sub(before));
            self.done.push(Burst { jobs, any, cpu });
        }
        self.quiet_cpu = cpu;
        Ok(())
    }

    /// All, the last of them as far as it has come.
    pub(super) fn into_all(mut self) -> Result<Vec<Burst>, ProcessError> {
        self.finish()?;
        Ok(self.done)
    }
}

impl Spread {
    /// From the first miner to the last.
    pub(crate) fn width(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn job(name: &str, clean: bool) -> Rc<Job> {
        let zeros = "0".repeat(64);
        let params = format!(
            r#"["{name}","{zeros}","01","02",[],"20000000","1703a30c","6a001234",{clean}]"#
        );
        Rc::new(Job::read(&params, b"").unwrap())
    }

    #[test]
    fn jobs_between_two_quiet_moments_are_one_burst() {
        let mut bursts = Bursts::new(None, at(0)).unwrap();
        let (empty, full, later) = (job("1", true), job("2", false), job("3", true));
        // The third miner gets the full job at once.
        for (miner, job, millis) in
            [(0, &empty, 500), (2, &full, 520), (1, &empty, 530), (0, &full, 540), (1, &full, 570)]
        {
            bursts.came(miner, job, at(millis));
        }
        bursts.tick(at(1260)).unwrap();
        assert_eq!(bursts.done, [], "not quiet yet");
        bursts.tick(at(1270)).unwrap();
        bursts.came(1, &later, at(2000));
        bursts.tick(at(2800)).unwrap();
        bursts.tick(at(3000)).unwrap();
        bursts.came(0, &later, at(3100));

        let done = bursts.into_all().unwrap();
        assert_eq!(done.len(), 3, "and the one that is not over");
        assert_eq!((done[2].any.first, done[2].any.miners), (at(3100), 1));
        let spread =
            |first, last, miners, clean| Spread { first: at(first), last: at(last), miners, clean };
        assert_eq!(done[0].jobs, [spread(500, 530, 2, true), spread(520, 570, 3, false)]);
        assert_eq!(done[0].any, spread(500, 530, 3, true));
        assert_eq!(done[1].jobs, [spread(2000, 2000, 1, true)]);
        assert_eq!((done[0].any.width(), done[1].any.miners), (at(30), 1));
    }
}
