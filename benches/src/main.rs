//! `wattproof-bench`: measured cases, each of which asserts its answer in every pass. A number
//! from a run that got a wrong answer is never printed.
//!
//! Read [`measure`] first, then one file of [`cases`]; [`pairs`] is for what is measured in turn,
//! [`delays`] for what should not take long. `record/` keeps dated results with machine and
//! command. It deliberately judges nothing: no run fails because it was slow.
//!
//! Units: every rate is in units of the case's own kind (hashes, shares) per second of wall-clock
//! time.

mod books;
mod cases;
mod clock;
mod delays;
mod load;
mod machine;
mod measure;
mod pairs;
mod report;
mod service;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use kernels::Backend;

use cases::{Case, CaseError, Choices, Finding, RIVAL};
use measure::Meter;

/// Measures what this machine does with the parts that work is counted in.
#[derive(Debug, Parser)]
#[command(
    name = "wattproof-bench",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure; all but the rival when left out.
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// How long each measurement runs, in seconds; one pass at least. When left out, 1 for kernels
    /// and miner, 3 for judge and ledger, 5 for each turn of a rival, who takes whole ones only.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Only this backend in kernels, miner and rival.
    #[arg(long)]
    backend: Option<Backend>,
    /// Only these numbers of versions, with commas between them: 1, 2, 4, 8, 16 and 64 for kernels,
    /// one power of two up to 65536 for rival.
    #[arg(long, value_delimiter = ',')]
    versions: Vec<u32>,
    /// These numbers of threads, with commas between them; one and all for kernels, all for miner,
    /// one for rival when left out.
    #[arg(long, value_delimiter = ',', value_parser = threads)]
    threads: Vec<usize>,
    /// Pairs of turns in miner and rival.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Jobs that the miner's threads are given, to see how long they take to change.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    changes: u32,
    /// Another miner's binary, which takes cpuminer's letters.
    #[arg(long, env = RIVAL)]
    rival: Option<PathBuf>,
    /// Our miner's binary for rival; the one beside this program when left out.
    #[arg(long)]
    miner: Option<PathBuf>,
    /// What the rival calls SHA-256d.
    #[arg(long, default_value = "sha256d")]
    algo: String,
    /// Where the ledger case makes its database; the system's place for temporary files when left
    /// out. On a file system in memory its figures mean nothing.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// What needs another process beside this one, and has options of its own.
#[derive(Debug, Subcommand)]
enum Command {
    /// Put a pool under load with real shares, any pool that speaks Stratum V1.
    Load(load::Options),
    /// Start our pool and measure it: shares, memory, new work.
    Pool(service::Options),
    /// Settle a block over millions of shares, in a process that has just started.
    Settle(books::settle::Options),
    /// Write ten-minute aggregates of many workers, and reckon a year's bytes.
    Aggregates(books::aggregates::Options),
    /// Drop the headers of shares that no block needs any more.
    Prune(books::prune::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The load beside a pool should take little from it; a pool's own process does the same.
    pool::large_pages::begin_again();
    let mut said = results(&options);
    if let Some(text) = &said.text
        && let Err(error) = writeln!(io::stdout(), "{text}")
    {
        said.failures.push(format!("standard output: {error}"));
    }
    for message in &said.failures {
        // Where even standard error is closed there is nobody left to tell.
        let _ = writeln!(io::stderr(), "wattproof-bench: {message}");
    }
    if said.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What there is to print.
struct Said {
    text: Option<String>,
    failures: Vec<String>,
}

fn results(options: &Options) -> Said {
    let outcome = match &options.command {
        Some(Command::Load(load)) => load::run(load, &clock::read())
            .map(|report| if load.json { report.json().to_string() } else { report.text() })
            .map_err(|error| error.to_string()),
        Some(Command::Aggregates(aggregates)) => books::aggregates::run(aggregates, &clock::read())
            .map(|kept| if aggregates.json { kept.json().to_string() } else { kept.text() })
            .map_err(|error| error.to_string()),
        Some(Command::Prune(prune)) => books::prune::run(prune, &clock::read())
            .map(|dropped| if prune.json { dropped.json().to_string() } else { dropped.text() })
            .map_err(|error| error.to_string()),
        Some(Command::Settle(settle)) => match books::settle::run(settle, &clock::read()) {
            Ok(None) => return Said { text: None, failures: Vec::new() },
            Ok(Some(done)) => Ok(if settle.json { done.json().to_string() } else { done.text() }),
            Err(error) => Err(error.to_string()),
        },
        Some(Command::Pool(service::Options {
            command: Some(service::Command::Soak(soak)),
            ..
        })) => {
            return match service::soak::run(soak, &clock::read()) {
                Ok(found) => Said {
                    text: Some(if soak.json { found.json().to_string() } else { found.text() }),
                    failures: found.faults(),
                },
                Err(error) => Said { text: None, failures: vec![error.to_string()] },
            };
        }
        Some(Command::Pool(pool)) => {
            let (outcomes, failures) = service::measure(pool, &clock::read());
            let text = if pool.json { service::json } else { service::table };
            let text = (!outcomes.is_empty()).then(|| text(&outcomes));
            return Said { text, failures: failures.iter().map(ToString::to_string).collect() };
        }
        None => measure_all(options)
            .map(|all| if options.json { report::json(&all) } else { report::table(&all) })
            .map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(text) => Said { text: Some(text), failures: Vec::new() },
        Err(failure) => Said { text: None, failures: vec![failure] },
    }
}

fn measure_all(options: &Options) -> Result<Vec<Finding>, CaseError> {
    let cases = if options.cases.is_empty() { &Case::ALONE } else { &options.cases[..] };
    let choices = options.choices();
    let mut findings = Vec::new();
    for case in cases {
        let seconds = options.seconds.unwrap_or_else(|| case.usual_seconds());
        let meter = Meter::new(Duration::from_secs_f64(seconds), clock::read());
        findings.extend(case.run(&meter, &choices)?);
    }
    Ok(findings)
}

impl Options {
    fn choices(&self) -> Choices {
        Choices {
            backend: self.backend,
            versions: self.versions.clone(),
            threads: self.threads.clone(),
            pairs: self.pairs,
            changes: self.changes,
            rival: self.rival.clone(),
            miner: self.miner.clone(),
            algorithm: self.algo.clone(),
            dir: self.dir.clone().unwrap_or_else(std::env::temp_dir),
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let range = 0.0..=3600.0;
    if range.contains(&value) { Ok(value) } else { Err(format!("{text} is not in 0 to 3600")) }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        Ok(_) | Err(_) => Err(format!("{text:?} is not in 1 to 1024")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_hold_together() {
        Options::command().debug_assert();
        let options = Options::parse_from(["wattproof-bench", "ledger", "kernels", "--json"]);
        assert_eq!(options.cases, [Case::Ledger, Case::Kernels]);
        let options = Options::parse_from(["wattproof-bench", "--backend", "sha-ni"]);
        assert!(options.cases.is_empty() && options.backend == Some(Backend::ShaNi));
        let line = "wattproof-bench kernels --versions 1,64 --threads 2,1 --pairs 3";
        let options = Options::parse_from(line.split(' '));
        assert_eq!((options.versions, options.threads), (vec![1, 64], vec![2, 1]));
        assert_eq!(options.pairs, 3);
        let line = "wattproof-bench load --connect 127.0.0.1:3334 --rate 20000 --roll";
        let options = Options::parse_from(line.split(' '));
        let Some(Command::Load(load)) = options.command else { panic!("{options:?}") };
        assert_eq!((load.connect.port(), load.rate, load.roll), (3334, Some(20_000.0), true));
        assert_eq!(load.connections, 200);
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_up_to_an_hour() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["-1", "3601", "NaN", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_at_least_one_thread() {
        assert_eq!(threads("2"), Ok(2));
        for wrong in ["0", "1025", "-1", "all"] {
            assert!(threads(wrong).is_err(), "{wrong}");
        }
    }
}
