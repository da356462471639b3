//! What goes wrong in the world, drawn in each step.

use core::time::Duration;

use units::UnixMillis;

use super::World;
use crate::pool::Pool;

/// A broken link is noticed by the pool within this many milliseconds: until then it serves two
/// connections of one miner.
const NOTICED_WITHIN: u64 = 3000;
/// A miner is back within this many milliseconds.
const BACK_WITHIN: u64 = 1500;
/// A link carries nothing for at most this many milliseconds.
const STALLED: u64 = 12_000;
/// The node is silent for at most this many milliseconds: longer than its template lasts.
const SILENT: u64 = 12_000;
/// The disk is full for at most this many milliseconds.
const FULL: u64 = 2500;
/// The wall clock jumps by at most this many milliseconds: three hours, which is more than a
/// header's time may be ahead.
const JUMP: u64 = 3 * 3600 * 1000;

impl World {
    /// Draws what happens in this step.
    pub(super) fn disturb(&mut self) -> Result<(), String> {
        let rates = self.rates;
        if self.rng.per_mille(rates.block) {
            self.chain.grow(&mut self.rng);
        }
        if self.rng.per_mille(rates.fork) {
            self.chain.reorganise(&mut self.rng);
        }
        if self.rng.per_mille(rates.slice) {
            self.with_pool(|pool, around| pool.close_slice(around))?;
        }
        if self.rng.per_mille(rates.jump) {
            self.counts.jumps += 1;
            let shifted = self.now.unix.get() + self.rng.below(2 * JUMP);
            self.now.unix = UnixMillis::new(shifted.saturating_sub(JUMP));
        }
        if self.rng.per_mille(rates.outage) && self.now.mono >= self.silent_until {
            self.counts.outages += 1;
            self.silent_until = self.now.mono + self.rng.millis(SILENT);
        }
        if self.rng.per_mille(rates.disk) && !self.disk.is_full(self.now.mono) {
            self.counts.full += 1;
            let time = self.rng.millis(FULL);
            self.disk.fill(self.now.mono, time);
        }
        self.disturb_links();
        if self.rng.per_mille(rates.replace) && !self.disk.is_full(self.now.mono) {
            self.replace()?;
        }
        if self.rng.per_mille(rates.kill) {
            self.kill()?;
        }
        Ok(())
    }

    fn disturb_links(&mut self) {
        for index in 0..self.miners.len() {
            if self.rng.per_mille(self.rates.cut) {
                self.counts.cuts += 1;
                self.break_link(index);
            }
            if self.rng.per_mille(self.rates.stall) {
                self.stall(index);
            }
        }
    }

    /// The link of a miner breaks. The miner knows at once, the pool later.
    pub(super) fn break_link(&mut self, index: usize) {
        let back = self.now.mono + self.rng.millis(BACK_WITHIN);
        let noticed = self.now.mono + self.rng.millis(NOTICED_WITHIN);
        let miner = &mut self.miners[index];
        if let Some(connection) = miner.link {
            self.links.remove(&connection);
            self.broken.push((noticed, connection));
            miner.hang_up(back);
        }
    }

    /// The link of a miner carries nothing for a while; it may be given up in the end.
    fn stall(&mut self, index: usize) {
        let until = self.now.mono + self.rng.millis(STALLED);
        let given_up = self.rng.per_mille(300);
        let miner = &mut self.miners[index];
        let Some(link) = miner.link.and_then(|connection| self.links.get_mut(&connection)) else {
            return;
        };
        self.counts.stalls += 1;
        link.stall(until);
        if given_up {
            self.break_link(index);
            self.miners[index].comes_back = until;
        }
    }

    pub(super) fn notice_broken_links(&mut self) {
        let (now, broken) = (self.now, core::mem::take(&mut self.broken));
        for (at, connection) in broken {
            if at > now.mono {
                self.broken.push((at, connection));
            } else if let Some(pool) = &mut self.pool {
                pool.hang_up(connection, now);
            }
        }
    }

    /// The pool is killed; sometimes between a commit and its answers.
    fn kill(&mut self) -> Result<(), String> {
        self.counts.kills += 1;
        if self.rng.per_mille(500) {
            self.with_pool(|pool, around| pool.commit_unanswered(around))?;
        }
        let path = self.files.path().join(format!("pool-{}.sqlite", self.counts.kills));
        let pool = self.pool.take().ok_or("the pool is gone")?;
        self.counts.recycled += pool.recycled();
        let pool = pool.kill(&path, &mut self.rng)?;
        self.books.compare(&path).map_err(|why| format!("killed: {why}"))?;
        self.books.forget_jobs();
        self.begin(pool)?;
        for index in 0..self.miners.len() {
            self.break_link(index);
        }
        self.broken.clear();
        Ok(())
    }

    /// Another image of the pool takes over.
    fn replace(&mut self) -> Result<(), String> {
        self.counts.replaced += 1;
        let pool = self.pool.take().ok_or("the pool is gone")?;
        self.counts.recycled += pool.recycled();
        let mut around = crate::pool::Around {
            now: self.now,
            rng: &mut self.rng,
            disk: &self.disk,
            books: &mut self.books,
            trace: &mut self.trace,
            sabotage: self.sabotage,
        };
        let (pool, ended) = pool.replace(&mut around)?;
        self.books.compare(pool.path()).map_err(|why| format!("replaced: {why}"))?;
        self.begin(pool)?;
        for connection in ended {
            if let Some(index) = self.links.get(&connection).map(|link| link.miner) {
                self.break_link(index);
            }
        }
        Ok(())
    }

    /// A pool begins, and asks the node for what it missed.
    fn begin(&mut self, mut pool: Pool) -> Result<(), String> {
        self.told = ([0; 32], Duration::ZERO);
        pool.look_up_blocks(&self.chain).map_err(|error| error.to_string())?;
        self.pool = Some(pool);
        Ok(())
    }
}
