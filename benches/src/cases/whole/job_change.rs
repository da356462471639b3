//! How long it takes from a job's arrival until every thread of the miner has taken it up, while
//! all of them hash. The threads are put where the miner puts them, as nice as there.
//!
//! A thread that searches work holds it, which is how it is seen here: it takes new work up when
//! its slice of the old has ended, and what remains before its first hash is a header, some
//! microseconds. The looks are 50 us apart or a little more, so that times are too long by as much
//! and never too short. Work is let go of before other work is taken up, and that is checked; at
//! the end there is work with hits, and they must be its own.

use std::{sync::Arc, thread, time::Duration};

use kernels::Tile;
use miner::{
    cpus::{
        plan::{Plan, Wishes},
        system,
    },
    hands::Orders,
    work::{Book, Work},
};
use units::{Hashes, Target};

use super::{LOOK, PATIENCE, Workers, header_of, holders, job, nothing};
use crate::{
    cases::{CaseError, counted},
    delays::Delays,
    measure::WrongAnswer,
};

/// Within this time every thread has the new work.
const BAR: Duration = Duration::from_millis(5);
/// The least time between two jobs: several slices, so that all threads hash.
const BETWEEN: Duration = Duration::from_millis(7);
/// Jobs come at any moment of a slice: each so much later than the one before, in turn.
const STEP: Duration = Duration::from_micros(137);
/// After so many of those steps it begins again.
const STEPS: u32 = 16;
/// Hits of the last work that are looked at.
const HITS: usize = 32;
/// Work is held here and by the orders, besides the threads.
const OTHER_HOLDERS: usize = 2;

pub(super) fn run(tile: Tile, threads: usize, changes: u32) -> Result<Delays, CaseError> {
    let wishes = Wishes { threads: Some(threads), ..Wishes::default() };
    let plan = Plan::new(&system::of_this_machine(), &wishes);
    let mut changing = Changing::start(Workers::start(tile, &plan)?)?;
    let delays: Result<Vec<Duration>, WrongAnswer> =
        (1..=changes).map(|number| changing.change(number)).collect();
    let delays = delays?;
    changing.finish(changes + 1)?;
    let name = format!("job change/{tile}/{}", counted(threads, "thread"));
    Ok(Delays::new(name, BAR, delays))
}

/// Threads that hash, and what.
struct Changing {
    workers: Workers,
    book: Book,
    work: Arc<Work>,
    /// What they had done when all of them had it.
    hashes: Hashes,
}

impl Changing {
    fn start(workers: Workers) -> Result<Self, WrongAnswer> {
        let mut book = workers.book();
        let work = Arc::new(book.work(job(0, barren(), workers.clock.now()), 0));
        workers.order(Orders::Mine(Arc::clone(&work)));
        let hashes = workers.device.hashes();
        let changing = Self { workers, book, work, hashes };
        changing.wait_until("every thread on the first work", || changing.is_taken_up())?;
        Ok(changing)
    }

    /// One job more; how long it took until all threads had it.
    fn change(&mut self, number: u32) -> Result<Duration, WrongAnswer> {
        thread::sleep(BETWEEN + STEP * (number % STEPS));
        self.wait_until("hashes of the work at hand", || {
            self.workers.device.hashes() > self.hashes
        })?;
        let next = job(number, barren(), self.workers.clock.now());
        let begin = self.workers.clock.elapsed();
        let next = Arc::new(self.book.work(next, 0));
        let last = std::mem::replace(&mut self.work, next);
        self.workers.order(Orders::Mine(Arc::clone(&self.work)));
        self.wait_until("every thread on the new work", || self.is_taken_up())?;
        let took = self.workers.clock.elapsed().saturating_sub(begin);
        WrongAnswer::unless_equal("who holds the work before", &1, &holders(&last))?;
        let all = OTHER_HOLDERS + self.workers.device.threads();
        WrongAnswer::unless_equal("who holds the work", &all, &holders(&self.work))?;
        self.hashes = self.workers.device.hashes();
        Ok(took)
    }

    fn is_taken_up(&self) -> bool {
        holders(&self.work) >= OTHER_HOLDERS + self.workers.device.threads()
    }

    fn wait_until(&self, what: &str, done: impl Fn() -> bool) -> Result<(), WrongAnswer> {
        let begin = self.workers.clock.elapsed();
        while !done() {
            if self.workers.clock.elapsed().saturating_sub(begin) > PATIENCE {
                return Err(nothing(what));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Work that has hits: nothing is found but that work's.
    fn finish(mut self, number: u32) -> Result<(), WrongAnswer> {
        let job = job(number, fertile(), self.workers.clock.now());
        let work = Arc::new(self.book.work(job, 0));
        self.workers.order(Orders::Mine(Arc::clone(&work)));
        for _ in 0..HITS {
            let found = self.workers.next_found()?;
            WrongAnswer::unless_equal("whose hit it is", &work.serial, &found.work.serial)?;
            let meets = work.job.target.is_met_by(&kernels::hash_header(&header_of(&found)));
            WrongAnswer::unless_equal("a hit meets its target", &true, &meets)?;
        }
        self.workers.check()
    }
}

/// A target that no hash meets: a hit would hold its work, too.
fn barren() -> Target {
    Target::from_be_bytes([0; 32])
}

/// One hash in 2^12.
fn fertile() -> Target {
    let mut bytes = [0xff; 32];
    bytes[..2].copy_from_slice(&[0, 0x0f]);
    Target::from_be_bytes(bytes)
}
