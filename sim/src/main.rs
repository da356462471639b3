//! Runs the simulated world: `cargo run -p sim -- --seed N --scenario X` replays one run,
//! `cargo run -p sim -- --seeds N` runs the first N seeds of every scenario.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sim::{STEPS, Scenario, run};

/// Run the simulated world and check what must hold.
#[derive(Debug, Parser)]
struct Cli {
    /// The seed of one run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run, from that one on
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The kind of trouble; all kinds, one after the other, where none is named
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Steps of 20 simulated milliseconds in each run
    #[arg(long, default_value_t = STEPS)]
    steps: u32,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let named = cli.scenario.as_slice();
    let scenarios = if named.is_empty() { Scenario::value_variants() } else { named };
    let mut failed = false;
    for seed in cli.seed..cli.seed.saturating_add(cli.seeds) {
        for scenario in scenarios {
            match run(seed, *scenario, cli.steps) {
                Ok(outcome) => println!("{outcome:?}"),
                Err(failure) => {
                    failed = true;
                    eprintln!("{failure}");
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
