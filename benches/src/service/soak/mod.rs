//! `wattproof-bench pool soak`: hours of ordinary trouble, and whether the pool is as it was.
//!
//! Read [`Options`], then [`run`] and [`Findings::faults`], which says what must be so. [`plan`] is
//! a guest's life, [`guest`] one connection, [`house`] all of them, [`offence`] what they do wrong,
//! [`samples`] the rule for memory, [`tally`] the counts, [`report`] the words.
//!
//! About 400 connections at a time, each of which lives 5 to 60 seconds, bring real shares at an
//! even pace while blocks come every 25 seconds or so. Half of them go without waiting for their
//! answers, by a reset or in the middle of a line; 40 of a hundred come back and ask for their
//! subscription; some read slowly, some say nothing, and everybody does something wrong now and
//! then. What happens follows from a seed, but for what the clock and the network make of it.
//!
//! It deliberately judges nothing by the clock: shares that were due and could not be sent are
//! counted and forgiven. Loopback is exempt from bans and from caps of connections, so those are
//! not tried here.

mod dice;
mod guest;
mod house;
mod offence;
mod plan;
mod report;
mod samples;
mod tally;

use std::{io, path::PathBuf, time::Duration};

use clap::Args;
use ledger::Reader;

use super::{
    beside,
    node::Node,
    pool::{Pool, PoolError},
};
use crate::load::{
    self,
    process::{Process, ProcessError},
};
use dice::Dice;
use house::House;
use samples::{Rule, Sample};
use tally::{Shares, Tally};

/// Longest wait for half of the guests to have work, for the last answers, and until the pool has
/// closed the last files.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files that the pool may have open more than before anybody came: its database's and its node's.
const MORE_FILES: u64 = 8;

/// Keeps the pool under load with connections that come and go, and looks whether it stays sound.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How long.
    #[arg(long, default_value_t = 3600.0, value_parser = crate::seconds)]
    seconds: f64,
    /// Shares a second over all connections.
    #[arg(long, default_value_t = 2000.0, value_parser = load::rate)]
    rate: f64,
    /// Connections at a time.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// What chance follows from; drawn when left out. It is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// The pool's binary; the one beside this program when left out.
    #[arg(long)]
    pool: Option<PathBuf>,
    /// Where the pool keeps its ledger; the system's place for temporary files when left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoakError {
    #[error("soak: {0}")]
    Pool(#[from] PoolError),
    #[error("soak: {0}")]
    Process(#[from] ProcessError),
    #[error("soak: the stand-in for a node, or a connection: {0}")]
    System(#[from] io::Error),
    #[error("soak: only {ready} of {wanted} guests had work after {} s", PATIENCE.as_secs())]
    NotReady { ready: usize, wanted: usize },
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Findings {
    seed: u64,
    options: Options,
    elapsed: Duration,
    blocks: u64,
    tally: Tally,
    rule: Rule,
    samples: Vec<Sample>,
    cpu: Duration,
    /// Open files of the pool before anybody came and after all had gone.
    files: [u64; 2],
    /// Who had not gone at the end, and shares and offences without an answer.
    left: (usize, usize),
    longest_pause: Duration,
    /// Shares in the ledger, or why it could not be said.
    ledger: Result<u64, String>,
    /// Shares in the ledger of each worker, by its number.
    workers: Vec<u64>,
    /// The pool's directory, kept where something is wrong.
    kept: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// What kept it from being run; what the pool did wrong is among the findings.
pub(crate) fn run(options: &Options, clock: &dyn Fn() -> Duration) -> Result<Findings, SoakError> {
    let seed = options
        .seed
        .unwrap_or_else(|| u64::from(std::process::id()) ^ crate::clock::unix_seconds() << 20);
    let length = Duration::from_secs_f64(options.seconds);
    let mut dice = Dice::new(seed);
    let node = Node::start(0)?;
    let binary = options.pool.clone().unwrap_or_else(beside);
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let mut pool = Pool::start(&binary, &dir, &node)?;
    let process = Process::new(pool.pid());
    let files_before = process.files()?;

    let places = usize::try_from(options.connections).unwrap_or(0);
    let mut house = House::new(pool.stratum(), places, dice.clone())?;
    gather(&mut house, places, clock)?;
    let (start, cpu) = (clock(), process.cpu()?);
    house.start(options.rate, start);
    let course = Course { length, node: &node, process, dice: &mut dice };
    let (samples, blocks) = course.run(&mut house, start, clock)?;
    let (elapsed, cpu) = (clock().saturating_sub(start), process.cpu()?.saturating_sub(cpu));

    let left = part(&mut house, clock)?;
    let files_after = settled_files(process, files_before + MORE_FILES, clock)?;
    let ledger = pool.finish().map_err(|error| error.to_string());
    let workers = by_worker(&pool).unwrap_or_default();
    let mut findings = Findings {
        seed,
        options: options.clone(),
        elapsed,
        blocks,
        longest_pause: house.longest_pause(),
        tally: house.tally,
        rule: Rule::of(length),
        samples,
        cpu,
        files: [files_before, files_after],
        left,
        ledger,
        workers,
        kept: None,
    };
    if !findings.faults().is_empty() {
        findings.kept = Some(pool.keep_folder().to_owned());
    }
    Ok(findings)
}

fn gather(house: &mut House, places: usize, clock: &dyn Fn() -> Duration) -> Result<(), SoakError> {
    let deadline = clock() + PATIENCE;
    while house.at_work() * 2 < places {
        if clock() > deadline {
            return Err(SoakError::NotReady { ready: house.at_work(), wanted: places });
        }
        house.turn(clock)?;
    }
    Ok(())
}

/// The measured part.
struct Course<'a> {
    length: Duration,
    node: &'a Node,
    process: Process,
    dice: &'a mut Dice,
}

impl Course<'_> {
    fn run(
        self,
        house: &mut House,
        start: Duration,
        clock: &dyn Fn() -> Duration,
    ) -> Result<(Vec<Sample>, u64), SoakError> {
        let (end, every) = (start + self.length, samples::every(self.length));
        let (mut samples, mut blocks) = (Vec::new(), 0);
        let mut sample_at = start + every;
        let mut block_at = start + plan::until_block(self.dice);
        let mut now = start;
        while now < end {
            house.turn(clock)?;
            now = clock();
            if now >= block_at {
                self.node.announce();
                blocks += 1;
                block_at = now + plan::until_block(self.dice);
            }
            if now >= sample_at {
                let (resident, files) = (self.process.resident()?, self.process.files()?);
                samples.push(Sample { resident, files });
                sample_at += every;
            }
        }
        Ok((samples, blocks))
    }
}

/// Waits until everybody has gone; who has not, stays behind.
fn part(house: &mut House, clock: &dyn Fn() -> Duration) -> Result<(usize, usize), SoakError> {
    house.close();
    let deadline = clock() + PATIENCE;
    while house.left().0 > 0 && clock() < deadline {
        house.turn(clock)?;
    }
    Ok(house.left())
}

/// The pool's open files once they are no more than this, or as they are after a while.
fn settled_files(
    process: Process,
    wanted: u64,
    clock: &dyn Fn() -> Duration,
) -> Result<u64, SoakError> {
    let deadline = clock() + PATIENCE;
    loop {
        let files = process.files()?;
        if files <= wanted || clock() >= deadline {
            return Ok(files);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the ledger holds of each worker, by its number.
fn by_worker(pool: &Pool) -> Option<Vec<u64>> {
    let reader = Reader::open(&pool.ledger()).ok()?;
    let account = reader.account(load::ADDRESS).ok()??;
    let shares = |worker| {
        let name = house::worker_name(worker);
        let known = account.workers.iter().find(|known| known.name == name);
        known.map_or(0, |known| known.shares)
    };
    Some((0..house::WORKERS).map(shares).collect())
}

impl Findings {
    /// Everything that is not as it must be, in words; nothing where the pool is sound.
    pub(crate) fn faults(&self) -> Vec<String> {
        let counted = |(what, count): (&String, &u64)| format!("{what} ({count} times)");
        let mut faults: Vec<String> = self.tally.faults.iter().map(counted).collect();
        let mut must = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        let Shares { accepted, unheard } = self.tally.sum();
        must(accepted > 0, "no share was accepted".to_owned());
        must(self.tally.returned == 0 || self.tally.resumed > 0, "nobody was resumed".to_owned());
        let (here, unanswered) = self.left;
        must(here == 0, format!("{here} guests could not go; {unanswered} answers are missing"));
        match &self.ledger {
            Err(error) => must(false, error.clone()),
            Ok(shares) => must(
                self.tally.sum().allow(*shares),
                format!(
                    "{accepted} shares were accepted and {unheard} not heard of, the ledger has {shares}"
                ),
            ),
        }
        for (worker, (told, held)) in self.tally.workers.iter().zip(&self.workers).enumerate() {
            let Shares { accepted, unheard } = told;
            let what = format!(
                "worker {worker}: {accepted} accepted, {unheard} not heard of, {held} in the ledger"
            );
            must(told.allow(*held), what);
        }
        must(
            self.workers.len() == self.tally.workers.len(),
            "the ledger names no workers".to_owned(),
        );
        let [before, after] = self.files;
        must(
            after <= before + MORE_FILES,
            format!("{after} files open after all had gone, {before} before they came"),
        );
        faults.extend(self.growth_faults());
        let offender = |(offence, answered): (&offence::Offence, &tally::Answered)| {
            let unjust = answered.rightly > answered.done;
            unjust.then(|| format!("{}: more answers than offences", offence.name()))
        };
        faults.extend(self.tally.offences.iter().filter_map(offender));
        faults
    }

    fn growth_faults(&self) -> Vec<String> {
        let memory = self.rule.memory(&self.samples).filter(|growth| !growth.is_flat());
        let memory = memory.map(|growth| {
            format!(
                "memory grew from {} to {} bytes ({})",
                growth.second,
                growth.last,
                self.rule.text()
            )
        });
        let files = self.rule.files(&self.samples).filter(|growth| !growth.is_flat());
        let files = files.map(|growth| {
            format!(
                "open files grew from {} to {} ({})",
                growth.second,
                growth.last,
                self.rule.text()
            )
        });
        memory.into_iter().chain(files).collect()
    }
}

#[cfg(test)]
mod tests;
