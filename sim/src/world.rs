//! The world's clock and events, and what must hold through all of them.

use core::time::Duration;
use std::collections::HashSet;

use ledger::{BlockId, Reader, verify};
use tempfile::TempDir;
use units::{Moment, UnixMillis};

use crate::{
    miner::Miner,
    pool::{Pool, REWARD},
    rng::Rng,
};

/// One step of the world's clock.
const STEP: Duration = Duration::from_millis(20);
/// A miner's real seconds-since-epoch at the start: any time after all checks on time.
const START: UnixMillis = UnixMillis::new(1_790_000_000_000);

/// A run in progress.
pub struct World {
    seed: u64,
    rng: Rng,
    now: Moment,
    disk: TempDir,
    pool: Option<Pool>,
    miners: Vec<Miner>,
    /// Hashes of the pool's blocks that are on the chain now.
    chain: HashSet<BlockId>,
    tip: u32,
    crashes: u32,
    latency: Duration,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Shares in the ledger at the end.
    pub shares: u64,
    /// Shares that were answered with `true`.
    pub answered: u64,
    /// Times that the pool was killed.
    pub crashes: u32,
    /// Blocks found.
    pub blocks: usize,
    /// Blocks of those that are on the chain at the end.
    pub on_chain: usize,
}

impl World {
    /// Runs `steps` steps of the world that `seed` describes, then checks what must hold.
    ///
    /// # Errors
    /// What did not hold, with the command that replays the run.
    pub fn run(seed: u64, steps: u32) -> Result<Outcome, String> {
        let replay = |why: String| format!("{why}\nreplay: cargo run -p sim -- {seed} {steps}");
        let mut world = Self::new(seed).map_err(replay)?;
        for _ in 0..steps {
            world.step().map_err(replay)?;
        }
        world.check().map_err(replay)
    }

    fn new(seed: u64) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let disk = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = disk.path().join("pool-0.sqlite");
        let now = Moment { mono: Duration::ZERO, unix: START };
        let pool = Pool::open(&path).map_err(|error| error.to_string())?;
        let miners = (0..1 + rng.below(4)).map(|n| Miner::new(format!("miner-{n}"), now)).collect();
        let latency = Duration::from_millis(1 + rng.below(150));
        let mut world = Self {
            seed,
            rng,
            now,
            disk,
            pool: Some(pool),
            miners,
            chain: HashSet::new(),
            tip: 0,
            crashes: 0,
            latency,
        };
        world.reconnect_all()?;
        Ok(world)
    }

    /// One step: the world does something or nothing, miners hash, the pool serves and commits.
    fn step(&mut self) -> Result<(), String> {
        self.now = self.now.after(STEP);
        self.disturb()?;
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        for (index, miner) in self.miners.iter_mut().enumerate() {
            let mut sent = miner.step(self.now);
            if self.rng.per_mille(20) {
                miner.repeat_something(&mut sent, &mut self.rng);
            }
            miner.up.send(&sent, self.now.mono, self.latency, &mut self.rng);
            let answers = pool.serve(index, miner, self.now)?;
            miner.down.send(&answers, self.now.mono, self.latency, &mut self.rng);
        }
        if self.rng.per_mille(400) {
            pool.commit()?;
        }
        Ok(())
    }

    fn disturb(&mut self) -> Result<(), String> {
        if self.rng.per_mille(30) || self.tip == 0 {
            self.move_chain()?;
        }
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        if self.rng.per_mille(40) {
            pool.new_slice(self.now).map_err(|error| error.to_string())?;
        }
        if self.rng.per_mille(10) {
            self.break_a_link()?;
        }
        if self.rng.per_mille(5) {
            self.jump_the_clock();
        }
        if self.rng.per_mille(4) {
            self.kill_the_pool()?;
        }
        Ok(())
    }

    /// A new block: often one of the pool's own candidates, sometimes another's that overtakes
    /// the last two.
    fn move_chain(&mut self) -> Result<(), String> {
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        let reorganised = self.rng.per_mille(150) && self.tip > 2;
        if reorganised {
            let lost = pool.found.iter().filter(|(_, height)| height + 2 > self.tip);
            for (hash, _) in lost {
                self.chain.remove(hash);
            }
        }
        // At one height there is at most one block on the chain: the first that was found.
        let next = self.tip + 1;
        let own = pool.found.iter().find(|(_, height)| *height == next && !reorganised);
        if let Some((hash, _)) = own {
            self.chain.insert(*hash);
        }
        self.tip = next;
        let chain = &self.chain;
        let sighted = pool.sight(self.tip, |hash| chain.contains(hash), self.now);
        // A block that was mature before a reorganisation deeper than maturity stays mature.
        sighted.map_err(|error| error.to_string())?;
        pool.new_block(self.tip + 1, &mut self.rng, self.now);
        Ok(())
    }

    fn break_a_link(&mut self) -> Result<(), String> {
        let count = u64::try_from(self.miners.len()).unwrap_or(1);
        let index = usize::try_from(self.rng.below(count)).unwrap_or(0);
        self.miners[index].reconnect(self.now);
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        pool.connect(index, self.now).map_err(|error| error.to_string())
    }

    /// The wall clock alone jumps, by up to a minute either way.
    fn jump_the_clock(&mut self) {
        let shifted = self.now.unix.get() + self.rng.below(120_000);
        self.now.unix = UnixMillis::new(shifted.saturating_sub(60_000));
    }

    fn kill_the_pool(&mut self) -> Result<(), String> {
        let pool = self.pool.take().ok_or("the pool is gone")?;
        self.crashes += 1;
        let path = self.disk.path().join(format!("pool-{}.sqlite", self.crashes));
        let pool = pool.crash(&path, &mut self.rng).map_err(|error| error.to_string())?;
        let kept = Reader::open(pool.path()).and_then(|reader| reader.totals());
        let kept = kept.map_err(|error| error.to_string())?.shares;
        if kept < pool.answered {
            return Err(format!("killed: {} answered, {kept} kept", pool.answered));
        }
        self.pool = Some(pool);
        self.reconnect_all()
    }

    fn reconnect_all(&mut self) -> Result<(), String> {
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        for (index, miner) in self.miners.iter_mut().enumerate() {
            miner.reconnect(self.now);
            pool.connect(index, self.now).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What must hold whatever happened: every answered share is in the ledger and none twice;
    /// miners heard of no more acceptances than there were, and of no refusal that was not the
    /// network's doing; money is exactly the rewards of blocks on the chain; and the ledger's own
    /// verification, which recomputes all of it, agrees.
    fn check(mut self) -> Result<Outcome, String> {
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        pool.commit()?;
        let chain = &self.chain;
        let sighted = pool.sight(self.tip, |hash| chain.contains(hash), self.now);
        sighted.map_err(|error| error.to_string())?;
        let (path, answered) = (pool.path().to_owned(), pool.answered);
        let (blocks, credited) = (pool.found.len(), pool.credited());
        drop(self.pool.take());

        let reader = Reader::open(&path).map_err(|error| error.to_string())?;
        let totals = reader.totals().map_err(|error| error.to_string())?;
        let report = verify::ledger(&path).map_err(|error| error.to_string())?;
        let heard: u64 = self.miners.iter().map(|miner| miner.accepted).sum();
        let unfair: Vec<&String> = self.miners.iter().flat_map(|miner| &miner.unfair).collect();
        let on_chain = self.chain.len();
        let owed = totals.immature.to_sat() + totals.balance.to_sat();
        let rewards = u64::try_from(on_chain).unwrap_or(u64::MAX).saturating_mul(REWARD);
        let held = [
            (report.ok, format!("verification: {:?}", report.problems)),
            (totals.shares >= answered, format!("{} kept of {answered}", totals.shares)),
            (
                totals.shares == u64::try_from(credited).unwrap_or(u64::MAX),
                format!("{} shares in the ledger, {credited} credited", totals.shares),
            ),
            (heard <= answered, format!("{heard} heard, {answered} answered")),
            (unfair.is_empty(), format!("honest miners heard {unfair:?}")),
            (owed == rewards, format!("{owed} sat owed for {rewards} sat of rewards")),
        ];
        match held.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(why),
            None => Ok(Outcome {
                seed: self.seed,
                shares: totals.shares,
                answered,
                crashes: self.crashes,
                blocks,
                on_chain,
            }),
        }
    }
}

impl core::fmt::Debug for World {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
