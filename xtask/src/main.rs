//! The project's own commands, run as `cargo xtask COMMAND`: `demo` starts the main job on this
//! machine and shows it, `joules` sees that no joule is lost or repeated over restarts, `node` provides
//! a real Bitcoin Core, `threats` sees each defence's test fail without it, `test` runs every check,
//! `ci` is `test` where anything left out fails.
//!
//! Read `demo::run`, `joules::run`, `node::provide` and `test::run` first. This program deliberately
//! does not link any package of the workspace: it starts the finished binaries and reads what outside
//! programs can read, so it sees what a user sees. Times are seconds unless a name says otherwise.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: what it prints is its result"
)]

mod clock;
mod debian;
mod demo;
mod failure;
mod joules;
mod node;
#[cfg(test)]
mod scripts;
mod test;
mod threats;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and run the chain, the pool and the miner on this machine, and show what they do
    Demo(demo::Options),
    /// Kill pool, miner and agent again and again, and see that no joule is lost or repeated
    Joules(joules::Options),
    /// Provide a real Bitcoin Core, building it where there is none, and print where it is
    Node,
    /// Take each defence of docs/threats.md away in turn and see its test fail
    Threats(threats::Options),
    /// Run every check: formatting, lints, tests, documentation, a short demo
    Test {
        /// Fail where something had to be left out
        #[arg(long)]
        strict: bool,
    },
    /// What continuous integration runs: test --strict
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Joules(options) => joules::run(&options),
        Command::Node => node::run(),
        Command::Threats(options) => threats::run(&options),
        Command::Test { strict } => test::run(strict),
        Command::Ci => test::run(true),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}
