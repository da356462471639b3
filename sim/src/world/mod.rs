//! The world's clock and what happens in it.
//!
//! Read [`run`], then [`World::step`]: first a fault may come (`faults.rs`), then miners hash, links
//! carry, the pool serves and commits, and bystanders look. What must hold at the end is in
//! `end.rs`.

mod end;
mod faults;

use core::time::Duration;
use std::collections::BTreeMap;

use tempfile::TempDir;
use units::{Moment, UnixMillis};

pub use self::end::{Counts, Outcome};
use crate::{
    books::Books,
    chain::Chain,
    disk::Disk,
    hunger::Hunger,
    link::Link,
    miner::{Miner, Said},
    pool::{Around, Pool, Template},
    rng::Rng,
    sabotage::Sabotage,
    scenario::{Rates, Scenario},
    trace::Trace,
};

/// One step of the world's clock.
const STEP: Duration = Duration::from_millis(20);
/// Steps of a usual run: a minute of the world.
pub const STEPS: u32 = 3000;
/// Seconds since the epoch at the start: any time that is not near either end.
const START: UnixMillis = UnixMillis::new(1_790_000_000_000);
/// The node is asked this often.
const POLL: Duration = Duration::from_secs(1);

/// What did not hold, and in which run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "seed {seed}, scenario {}, step {step}: {why}\n\
     replay: cargo run -p sim -- --seed {seed} --scenario {} --steps {steps}",
    scenario.name(), scenario.name()
)]
pub struct Failure {
    /// The run's seed.
    pub seed: u64,
    /// The run's kind of trouble.
    pub scenario: Scenario,
    /// How long it was to be.
    pub steps: u32,
    /// When it failed.
    pub step: u32,
    /// What did not hold.
    pub why: String,
}

/// Runs `steps` steps of the world that `seed` describes, and checks all along what must hold.
///
/// # Errors
/// What did not hold, with the command that replays the run.
pub fn run(seed: u64, scenario: Scenario, steps: u32) -> Result<Outcome, Failure> {
    run_with(seed, scenario, steps, None)
}

/// The same with a mistake in it.
pub(crate) fn run_with(
    seed: u64,
    scenario: Scenario,
    steps: u32,
    sabotage: Option<Sabotage>,
) -> Result<Outcome, Failure> {
    let failure = |step: u32, why: String| Failure { seed, scenario, steps, step, why };
    let mut world = World::new(seed, scenario, sabotage).map_err(|why| failure(0, why))?;
    for step in 1..=steps {
        world.step().map_err(|why| failure(step, why))?;
    }
    world.end().map_err(|why| failure(steps, why))
}

/// A run in progress.
pub(crate) struct World {
    seed: u64,
    scenario: Scenario,
    rates: Rates,
    sabotage: Option<Sabotage>,
    rng: Rng,
    /// The pool's clock.
    now: Moment,
    /// The node's clock, which is right.
    true_time: UnixMillis,
    files: TempDir,
    disk: Disk,
    pool: Option<Pool>,
    chain: Chain,
    /// The tip that the node last told of, and when.
    told: ([u8; 32], Duration),
    silent_until: Duration,
    miners: Vec<Miner>,
    hunger: Vec<Hunger>,
    links: BTreeMap<u64, Link>,
    connections: u64,
    /// Connections that the pool has not yet noticed to be broken, with the time when it does.
    broken: Vec<(Duration, u64)>,
    books: Books,
    trace: Trace,
    counts: Counts,
}

impl World {
    fn new(seed: u64, scenario: Scenario, sabotage: Option<Sabotage>) -> Result<Self, String> {
        let mut rng = Rng::new(seed.wrapping_mul(1000).wrapping_add(scenario.salt()));
        let files = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = files.path().join("pool-0.sqlite");
        let now = Moment { mono: Duration::from_secs(1), unix: START };
        let rates = scenario.rates();
        let pool = Pool::open(&path, rates.max_seen).map_err(|error| error.to_string())?;
        let count = 2 + rng.below(4);
        let mut miner = |n: u64| Miner::new(format!("miner-{n}"), rng.per_mille(500), now);
        let miners: Vec<Miner> = (0..count).map(&mut miner).collect();
        let chain = Chain::new(&mut rng);
        Ok(Self {
            seed,
            scenario,
            rates,
            sabotage,
            now,
            true_time: START,
            files,
            disk: Disk::default(),
            pool: Some(pool),
            told: ([0; 32], Duration::ZERO),
            chain,
            silent_until: Duration::ZERO,
            hunger: miners.iter().map(|_| Hunger::default()).collect(),
            miners,
            links: BTreeMap::new(),
            connections: 0,
            broken: Vec::new(),
            books: Books::default(),
            trace: Trace::default(),
            counts: Counts::default(),
            rng,
        })
    }

    /// One step: something happens or nothing, miners hash, the pool serves and commits.
    fn step(&mut self) -> Result<(), String> {
        self.now = self.now.after(STEP);
        self.true_time = self.true_time.saturating_add(STEP);
        self.disturb()?;
        self.ask_the_node()?;
        for index in 0..self.miners.len() {
            self.serve(index)?;
        }
        self.notice_broken_links();
        self.with_pool(|pool, around| pool.turn(around))?;
        self.hand_in_blocks()?;
        self.carry_answers()?;
        self.look()?;
        self.trace.fold();
        Ok(())
    }

    /// The pool, and what is around it.
    fn with_pool<T>(
        &mut self,
        act: impl FnOnce(&mut Pool, &mut Around<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        let mut around = Around {
            now: self.now,
            rng: &mut self.rng,
            disk: &self.disk,
            books: &mut self.books,
            trace: &mut self.trace,
            sabotage: self.sabotage,
        };
        act(pool, &mut around)
    }

    /// The node tells of its tip: at once where it is new, and every so often.
    fn ask_the_node(&mut self) -> Result<(), String> {
        let (tip, now) = (self.chain.tip(), self.now.mono);
        let due = self.told.0 != tip || now.saturating_sub(self.told.1) >= POLL;
        if now < self.silent_until || !due {
            return Ok(());
        }
        let moved = self.told.0 != tip;
        self.told = (tip, now);
        let template = Template {
            prev_hash: tip,
            height: self.chain.height() + 1,
            time: u32::try_from(self.true_time.seconds()).unwrap_or(u32::MAX),
            at: now,
        };
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        pool.learn(template);
        if moved && !self.disk.is_full(now) {
            pool.sight(&self.chain, self.now).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// One miner's step, and what comes of it.
    fn serve(&mut self, index: usize) -> Result<(), String> {
        let now = self.now;
        let miner = &mut self.miners[index];
        let Some(connection) = miner.link else {
            if now.mono >= miner.comes_back {
                self.connect(index)?;
            }
            return self.look_for_hunger(index, false);
        };
        let Some(link) = self.links.get_mut(&connection) else { return Ok(()) };
        let arrived = link.at_miner(now.mono);
        let mut said = miner.step(&arrived, now, link.up.has_room());
        if self.rng.per_mille(self.rates.repeat) {
            miner.repeat(&mut said, &mut self.rng);
        }
        link.carry_up(&said.bytes, now.mono, &mut self.rng);
        self.trace.note(b'm', connection, &said.bytes);
        self.hear(index, &said)?;
        self.deliver(connection)
    }

    /// What a miner heard and found.
    fn hear(&mut self, index: usize, said: &Said) -> Result<(), String> {
        let name = &self.miners[index].name;
        for found in &said.found {
            self.books.find(found);
        }
        let mut paid = false;
        for (found, result) in &said.verdicts {
            paid |= result.is_ok();
            let fair = self.books.hear(found, result, self.disk.failed);
            fair.map_err(|why| format!("{name}: {why}"))?;
        }
        if let Some(why) = &said.ended {
            self.end_link(index, why)?;
        }
        self.look_for_hunger(index, paid)
    }

    /// A connection is of no use to one of its sides: fair only where it was stalled.
    fn end_link(&mut self, index: usize, why: &str) -> Result<(), String> {
        let miner = &self.miners[index];
        let link = miner.link.and_then(|connection| self.links.get(&connection));
        if link.is_some_and(|link| !link.was_stalled) {
            return Err(format!("{}: the connection ends: {why}", miner.name));
        }
        self.break_link(index);
        Ok(())
    }

    /// The pool reads what has come to it.
    fn deliver(&mut self, connection: u64) -> Result<(), String> {
        let now = self.now.mono;
        let wants = self.pool.as_ref().is_some_and(|pool| pool.wants_input(connection));
        let Some(link) = self.links.get_mut(&connection).filter(|_| wants) else { return Ok(()) };
        let (arrived, index) = (link.at_pool(now), link.miner);
        match self.with_pool(|pool, around| pool.read(connection, &arrived, around))? {
            Some(why) => self.end_link(index, &why),
            None => Ok(()),
        }
    }

    /// The pool writes to every connection that takes it.
    fn carry_answers(&mut self) -> Result<(), String> {
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        for (connection, link) in &mut self.links {
            if link.down.has_room() {
                let bytes = pool.write(*connection);
                link.carry_down(&bytes, self.now.mono, &mut self.rng);
                self.trace.note(b'p', *connection, &bytes);
            }
        }
        Ok(())
    }

    fn connect(&mut self, index: usize) -> Result<(), String> {
        self.connections += 1;
        let latency = Duration::from_millis(1) + self.rng.millis(150);
        self.links.insert(self.connections, Link::new(index, latency));
        self.miners[index].connect(self.connections, self.now);
        self.pool.as_mut().ok_or("the pool is gone")?.connect(self.connections);
        Ok(())
    }

    /// Found blocks go to the node, once it answers.
    fn hand_in_blocks(&mut self) -> Result<(), String> {
        if self.now.mono < self.silent_until {
            return Ok(());
        }
        let pool = self.pool.as_mut().ok_or("the pool is gone")?;
        for (hash, parent) in pool.hand_in() {
            self.counts.blocks += 1;
            self.chain.submit(hash, parent, &mut self.rng);
        }
        Ok(())
    }

    /// No two connections share an extranonce 1.
    fn look(&self) -> Result<(), String> {
        let pool = self.pool.as_ref().ok_or("the pool is gone")?;
        let mut all: Vec<[u8; 4]> = pool.extranonces().collect();
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(format!("two connections have extranonce 1 {}", hex::encode(pair[0])))
            }
            None => Ok(()),
        }
    }

    /// Where nothing stands in the way of a miner's work, it has some before long.
    fn look_for_hunger(&mut self, index: usize, paid: bool) -> Result<(), String> {
        let (now, miner) = (self.now.mono, &self.miners[index]);
        let link = miner.link.and_then(|connection| self.links.get(&connection));
        let free = link.is_some_and(|link| !link.is_stalled(now))
            && now >= self.silent_until
            && !self.disk.is_full(now);
        let tip = Some(self.chain.tip()).filter(|_| free);
        let works_on = miner.job.as_ref().map(|job| job.prev_hash);
        let looked = self.hunger[index].look(now, tip, works_on, paid);
        looked.map_err(|why| format!("{}: {why}", miner.name))
    }
}
