//! Replays a run of the simulated world: `cargo run -p sim -- SEED [STEPS]`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use std::process::ExitCode;

use clap::Parser;
use sim::World;

/// Run the simulated world of one seed and check what must hold.
#[derive(Debug, Parser)]
struct Cli {
    /// The seed
    seed: u64,
    /// Steps of 20 simulated milliseconds
    #[arg(default_value_t = 3000)]
    steps: u32,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match World::run(cli.seed, cli.steps) {
        Ok(outcome) => {
            println!("{outcome:?}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
