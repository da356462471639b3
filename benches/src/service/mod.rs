//! `wattproof-bench pool`: the whole pool as a process of its own, under load, run by run.
//!
//! Read [`Options`] and [`measure`]. [`runs`] says what is measured, [`node`] and [`chain`] are
//! what the pool takes for its node, [`pool`] is the process, [`mod@table`] the result. The load is
//! that of [`crate::load`].
//!
//! Every run asserts its answers: a share refused for another reason than that a block was found,
//! a share without an answer, a lost connection, or a ledger that does not hold exactly the shares
//! that were accepted is a failure, and none of that run's figures is printed.

mod broadcasts;
mod chain;
mod node;
mod pool;
mod runs;
pub(crate) mod soak;
mod table;

use std::{env, io, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::{
    load::{self, LoadError, Report},
    measure::WrongAnswer,
};
use broadcasts::Broadcasts;
use node::Node;
use pool::{Pool, PoolError};
pub(crate) use runs::Run;
pub(crate) use table::{json, table};

/// The code of shares on a job that is over.
const STALE: i64 = 21;

/// Measures the pool: shares, memory, new work.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// What to measure; everything when left out.
    #[arg(value_enum)]
    runs: Vec<Run>,
    /// The pool's binary; the one beside this program when left out.
    #[arg(long)]
    pool: Option<PathBuf>,
    /// Where the pools keep their ledgers; the system's place for temporary files when left out.
    /// On a file system in memory the figures mean nothing.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Length of the measured window of each run with shares.
    #[arg(long, default_value_t = 10.0, value_parser = crate::seconds)]
    seconds: f64,
    /// Connections where memory and new work are measured.
    #[arg(long, default_value_t = runs::MANY, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    many: u32,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is looked at for long.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Keep it under load with connections that come and go, and look whether it stays sound.
    Soak(soak::Options),
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    run: Run,
    report: Report,
    /// When blocks were announced, by the clock of the load.
    announced: Vec<Duration>,
    /// What the pool says of the jobs that it sent in the window.
    broadcasts: Broadcasts,
    /// What new work costs the pool besides writing it: its processor time for a block with one
    /// miner. Where new work is measured.
    template: Option<Duration>,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("{run}: {error}")]
    Load { run: &'static str, error: LoadError },
    #[error("{run}: {error}")]
    Pool { run: &'static str, error: PoolError },
    #[error("{run}: wrong answer: {error}")]
    Wrong { run: &'static str, error: WrongAnswer },
    #[error("the stand-in for a node: {0}")]
    Node(#[from] io::Error),
}

/// Does all runs, one after the other. A run that fails is named and leaves no figure; the others
/// are done all the same.
pub(crate) fn measure(
    options: &Options,
    clock: &dyn Fn() -> Duration,
) -> (Vec<Outcome>, Vec<ServiceError>) {
    let runs = if options.runs.is_empty() { &Run::ALL } else { &options.runs[..] };
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for run in runs {
        match one(*run, options, clock) {
            Ok(outcome) => outcomes.push(outcome),
            Err(failure) => failures.push(failure),
        }
    }
    (outcomes, failures)
}

/// One run; where new work is measured, after the same with one miner.
fn one(run: Run, options: &Options, clock: &dyn Fn() -> Duration) -> Result<Outcome, ServiceError> {
    let alone = (run == Run::Broadcast).then(|| under_load(run, 1, options, clock)).transpose()?;
    let outcome = under_load(run, options.many, options, clock)?;
    Ok(Outcome { template: alone.and_then(|alone| alone.block_cpu()), ..outcome })
}

fn under_load(
    run: Run,
    many: u32,
    options: &Options,
    clock: &dyn Fn() -> Duration,
) -> Result<Outcome, ServiceError> {
    let failed = |error| ServiceError::Pool { run: run.name(), error };
    let node = Node::start(run.transactions())?;
    let binary = options.pool.clone().unwrap_or_else(beside);
    let dir = options.dir.clone().unwrap_or_else(env::temp_dir);
    let mut pool = Pool::start(&binary, &dir, &node).map_err(failed)?;
    let usual = load::Options { pid: Some(pool.pid()), ..load::Options::usual(pool.stratum()) };
    let load = run.load(options.seconds, many, usual);

    let mut announced = Vec::new();
    let (mut start, mut number, mut earlier) = (None, 0, None);
    let mut during = |now: Duration| {
        earlier.get_or_insert_with(|| pool.broadcasts());
        let since = now.saturating_sub(*start.get_or_insert(now));
        if number < run.blocks() && since >= run.block_at(number, load.seconds) {
            number += 1;
            announced.push(now);
            node.announce();
        }
    };
    let report = load::run_with(&load, clock, &mut during)
        .map_err(|error| ServiceError::Load { run: run.name(), error })?;
    let broadcasts = pool.broadcasts().since(&earlier.unwrap_or_default());
    let shares = pool.finish().map_err(failed)?;
    check(run, &report, shares, &announced)
        .map_err(|error| ServiceError::Wrong { run: run.name(), error })?;
    Ok(Outcome { run, report, announced, broadcasts, template: None })
}

/// Holds a report against what must be so.
fn check(
    run: Run,
    report: &Report,
    shares: u64,
    announced: &[Duration],
) -> Result<(), WrongAnswer> {
    let stale_allowed = run.blocks() > 0;
    let wrongly: Vec<_> =
        report.refused.iter().filter(|((code, _), _)| !(stale_allowed && *code == STALE)).collect();
    WrongAnswer::unless_equal("shares refused", &Vec::new(), &wrongly)?;
    WrongAnswer::unless_equal("shares without an answer", &0, &report.unanswered)?;
    WrongAnswer::unless_equal("connections lost", &Vec::new(), &report.lost.iter().collect())?;
    WrongAnswer::unless_equal("shares in the ledger", &report.accepted, &shares)?;
    let blocks = usize::try_from(run.blocks()).unwrap_or(usize::MAX);
    WrongAnswer::unless_equal("blocks announced", &blocks, &announced.len())?;
    let all = usize::try_from(report.connections).unwrap_or(usize::MAX);
    if run == Run::Broadcast {
        // Times of a burst that is not whole would be times of something else.
        let heard = report.bursts.iter().map(|burst| burst.any);
        let whole = heard.filter(|any| any.clean && any.miners == all).count();
        return WrongAnswer::unless_equal("blocks that every miner heard of", &blocks, &whole);
    }
    // Under load one block's news may have a pause in the middle, or run into the next one's.
    let jobs = report.bursts.iter().flat_map(|burst| &burst.jobs).filter(|job| job.clean);
    let (expected, miners) = (blocks * all, jobs.map(|job| job.miners).sum::<usize>());
    WrongAnswer::unless_equal("miners who heard of a block", &expected, &miners.min(expected))
}

/// The pool's binary beside this program's.
fn beside() -> PathBuf {
    let name = format!("wattproof-pool{}", env::consts::EXE_SUFFIX);
    env::current_exe().map_or_else(|_| PathBuf::from(&name), |own| own.with_file_name(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::{Burst, Spread, Window};

    fn report() -> Report {
        let zero = Duration::ZERO;
        let any = Spread { first: zero, last: zero, miners: 2, clean: true };
        let burst = Burst { jobs: vec![any], any, cpu: None };
        Report {
            connections: 2,
            connecting: zero,
            window: Window::default(),
            elapsed: Duration::from_secs(1),
            cpu: None,
            accepted: 5,
            refused: BTreeMap::new(),
            unanswered: 0,
            given_up: 0,
            lost: BTreeMap::new(),
            resident_before: None,
            resident_ready: None,
            resident_end: None,
            bursts: vec![burst; 3],
        }
    }

    fn with_miners(burst: &Burst, miners: usize) -> Burst {
        let any = Spread { miners, ..burst.any };
        Burst { any, jobs: vec![any], cpu: None }
    }

    #[test]
    fn a_wrong_answer_leaves_no_figure() {
        let announced = [Duration::ZERO; 3];
        let check_used = |report: &Report, shares| check(Run::Used, report, shares, &announced);
        assert_eq!(check_used(&report(), 5), Ok(()));
        let refused = |code| BTreeMap::from([((code, String::new()), 1)]);
        let stale = Report { refused: refused(STALE), ..report() };
        assert_eq!(check_used(&stale, 5), Ok(()));
        let quiet = Report { bursts: Vec::new(), ..stale };
        assert!(check(Run::Batches, &quiet, 5, &[]).is_err(), "nothing made it stale");

        let mut missed = report();
        missed.bursts[1] = with_miners(&missed.bursts[1], 1);
        let lost = BTreeMap::from([(String::new(), 1)]);
        for wrong in [
            Report { refused: refused(22), ..report() },
            Report { unanswered: 1, ..report() },
            Report { lost, ..report() },
            Report { accepted: 6, ..report() },
            missed,
        ] {
            assert!(check_used(&wrong, 5).is_err(), "{wrong:?}");
        }
        let split = |miners: [usize; 4]| {
            let mut split = report();
            split.bursts = miners.map(|miners| with_miners(&split.bursts[0], miners)).to_vec();
            split
        };
        assert_eq!(check_used(&split([2, 1, 1, 2]), 5), Ok(()));
        let announced = [Duration::ZERO; 8];
        let mut news = Report { bursts: vec![report().bursts[0].clone(); 8], ..report() };
        assert_eq!(check(Run::Broadcast, &news, 5, &announced), Ok(()));
        news.bursts[7] = with_miners(&news.bursts[7], 1);
        assert!(check(Run::Broadcast, &news, 5, &announced).is_err());
    }

    #[test]
    fn tables_and_json_hold_every_run() {
        let outcomes = [Run::Batches, Run::Broadcast].map(|run| {
            let announced = vec![Duration::ZERO; 3];
            let broadcasts = Broadcasts::default();
            let template = Some(Duration::from_millis(20));
            Outcome { run, report: report(), announced, broadcasts, template }
        });
        let text = table(&outcomes);
        let starts: Vec<&str> = text.lines().filter_map(|line| line.split("  ").next()).collect();
        assert!(starts.contains(&"batches") && starts.contains(&"new work"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&json(&outcomes)).unwrap();
        assert_eq!(value["runs"][1]["run"], "new work");
        assert_eq!(value["runs"][1]["announced_to_last_ms"], serde_json::json!([0.0, 0.0, 0.0]));
    }
}
