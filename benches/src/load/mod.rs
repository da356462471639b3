//! `wattproof-bench load`: miners for any pool that speaks Stratum V1, who find real shares.
//!
//! Read [`Options`], then [`run`]. [`crowd`] holds the connections, [`miner`] is one of them,
//! [`work`] makes shares, [`wire`] reads and writes lines, [`tally`] counts answers, [`bursts`]
//! watches new work spread, [`process`] asks the kernel what the pool costs.
//!
//! It deliberately uses one thread: it shares the machine with the pool that it measures. Time
//! that an answer lies in the socket while that thread is at other connections counts as the
//! pool's: delays are an upper bound.

mod bursts;
mod crowd;
pub(crate) mod jobs;
pub(crate) mod miner;
pub(crate) mod pace;
pub(crate) mod process;
mod report;
mod tally;
pub(crate) mod wire;
mod work;

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use clap::Args;

use bursts::Bursts;
use crowd::{Crowd, Task};
use miner::{Manner, Miner, MinerError};
use pace::Pace;
use process::{Process, ProcessError};

pub(crate) use bursts::Burst;
#[cfg(test)]
pub(crate) use bursts::Spread;
pub(crate) use report::{Report, mebibytes};
#[cfg(test)]
pub(crate) use tally::Window;

/// Files that a process has open besides its connections.
const OTHER_FILES: u64 = 24;
/// How long memory is left to settle before it is read.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest wait for the last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// Nonces tried for one share before the next connection has its turn.
const TRIES: u64 = 1 << 12;
/// Regtest's form of an address that belongs to nobody.
pub(crate) const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// Puts a pool under load with real shares and says what it takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The pool.
    #[arg(long, default_value = "127.0.0.1:3333")]
    pub(crate) connect: SocketAddr,
    /// How many miners.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Shares that each keeps unanswered; what is missing is sent in one write.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) in_flight: u16,
    /// Instead, so many shares a second over all connections, evenly, each in its own write.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// A new extranonce 2 for every share instead of another nonce.
    #[arg(long)]
    pub(crate) roll: bool,
    /// Length of the measured window.
    #[arg(long, default_value_t = 10.0, value_parser = crate::seconds)]
    pub(crate) seconds: f64,
    /// Load before the window, which is not measured.
    #[arg(long, default_value_t = 2.0, value_parser = crate::seconds)]
    pub(crate) warm_up: f64,
    /// Longest wait until every miner has its first job.
    #[arg(long, default_value_t = 120.0, value_parser = crate::seconds)]
    pub(crate) patience: f64,
    /// The miners' names are this one, a point, w and a number.
    #[arg(long, default_value = ADDRESS)]
    pub(crate) user: String,
    /// The pool's process, whose processor time and memory are measured too.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Connect, authorize and listen only.
    #[arg(long)]
    pub(crate) idle: bool,
    /// One JSON object instead of words.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{needed} connections need {} open files, but the limit is {limit} (ulimit -n)", needed + OTHER_FILES)]
    Files { needed: u64, limit: u64 },
    #[error("connection {number}: {error}")]
    Connect { number: usize, error: io::Error },
    #[error("connection {number} was lost before it had work: {why}")]
    Lost { number: usize, why: String },
    #[error("only {ready} of {wanted} miners had work after {} s", waited.as_secs())]
    NotReady { ready: usize, wanted: u32, waited: Duration },
    #[error("{0}")]
    Connection(String),
    #[error(transparent)]
    Miner(#[from] MinerError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("poll: {0}")]
    Poll(#[from] io::Error),
}

impl Options {
    /// The same as on an empty command line.
    pub(crate) fn usual(connect: SocketAddr) -> Self {
        Self {
            connect,
            connections: 200,
            in_flight: 32,
            rate: None,
            roll: false,
            seconds: 10.0,
            warm_up: 2.0,
            patience: 120.0,
            user: ADDRESS.to_owned(),
            pid: None,
            idle: false,
            json: false,
        }
    }

    fn task(&self, now: Duration) -> Task {
        match self.rate {
            _ if self.idle => Task::Hold,
            Some(rate) => Task::Pace(Pace::new(rate, now)),
            None => Task::Flood(usize::from(self.in_flight)),
        }
    }
}

/// Connects everybody, loads, and lets everybody go again.
///
/// # Errors
/// What kept the miners from getting work, or the pool from being measured.
pub(crate) fn run(options: &Options, clock: &dyn Fn() -> Duration) -> Result<Report, LoadError> {
    run_with(options, clock, &mut |_| {})
}

/// The same, with something else to do during the window: it is told the time, often.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with(
    options: &Options,
    clock: &dyn Fn() -> Duration,
    during: &mut dyn FnMut(Duration),
) -> Result<Report, LoadError> {
    enough_files(options.connections)?;
    let pool = options.pid.map(Process::new);
    let resident = || pool.map(Process::resident).transpose();
    let before = resident()?;
    let started = clock();
    let mut crowd = gather(options, clock)?;
    let connecting = clock().saturating_sub(started);
    pass(&mut crowd, SETTLE, clock, &mut |_| {})?;
    let ready = resident()?;

    crowd.bursts = Some(Bursts::new(pool.filter(|_| options.idle), clock())?);
    crowd.set_task(options.task(clock()))?;
    pass(&mut crowd, Duration::from_secs_f64(options.warm_up), clock, &mut |_| {})?;

    let cpu = || pool.map(Process::cpu).transpose();
    let (from, cpu_before) = (clock(), cpu()?);
    crowd.tally.open();
    pass(&mut crowd, Duration::from_secs_f64(options.seconds), clock, during)?;
    let window = crowd.tally.close();
    let (elapsed, cpu_after) = (clock().saturating_sub(from), cpu()?);

    let given_up = crowd.given_up();
    crowd.set_task(Task::Hold)?;
    let deadline = clock() + LAST_ANSWERS;
    while crowd.unanswered() > 0 && clock() < deadline {
        crowd.turn()?;
    }
    let unanswered = crowd.unanswered();
    pass(&mut crowd, SETTLE, clock, &mut |_| {})?;
    let bursts = crowd.bursts.map_or(Ok(Vec::new()), Bursts::into_all)?;
    Ok(Report {
        connections: options.connections,
        connecting,
        window,
        elapsed,
        cpu: cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before)),
        accepted: crowd.tally.accepted,
        refused: crowd.tally.refused,
        unanswered,
        given_up,
        lost: crowd.lost,
        resident_before: before,
        resident_ready: ready,
        resident_end: resident()?,
        bursts,
    })
}

/// Connects all miners and waits until each has a job.
fn gather<'a>(options: &Options, clock: &'a dyn Fn() -> Duration) -> Result<Crowd<'a>, LoadError> {
    let name = |number| format!("{}.w{number}", options.user);
    let miners: VecDeque<Miner> =
        (0..options.connections).map(|number| Miner::new(name(number))).collect();
    let wanted = miners.len();
    let manner = Manner { roll: options.roll, tries: TRIES };
    let mut crowd = Crowd::new(options.connect, miners, manner, clock)?;
    let patience = Duration::from_secs_f64(options.patience);
    let deadline = clock() + patience;
    while crowd.ready() < wanted {
        if clock() > deadline {
            let (ready, wanted) = (crowd.ready(), options.connections);
            return Err(LoadError::NotReady { ready, wanted, waited: patience });
        }
        crowd.turn()?;
    }
    Ok(crowd)
}

fn pass(
    crowd: &mut Crowd<'_>,
    time: Duration,
    clock: &dyn Fn() -> Duration,
    during: &mut dyn FnMut(Duration),
) -> Result<(), LoadError> {
    let mut now = clock();
    let end = now + time;
    while now < end {
        during(now);
        crowd.turn()?;
        now = clock();
    }
    Ok(())
}

fn enough_files(connections: u32) -> Result<(), LoadError> {
    let needed = u64::from(connections);
    match process::file_limit() {
        Some(limit) if limit < needed + OTHER_FILES => Err(LoadError::Files { needed, limit }),
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let range = 0.001..=10_000_000.0;
    if range.contains(&value) { Ok(value) } else { Err(format!("{text} is not in 0.001 to 1e7")) }
}

#[cfg(test)]
mod tests;
