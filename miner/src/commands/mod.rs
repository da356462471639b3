//! What the binary can be told to do, one module a command; mining itself is [`crate::run`].

pub mod bench;
pub mod devices;
pub mod selftest;

use std::io::Write as _;

use kernels::{Backend, Tile};
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Command};
use crate::clock::Clock;
use crate::error::Failure;
use crate::instruments::sensors::Processor;
use crate::tuning::{self, Tuning};
use crate::{agent, run, settings};

/// Does what the command line asks for.
///
/// # Errors
/// Whatever kept it from being done.
pub fn execute(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Bench(args)) => print(&bench::bench(args)?),
        Some(Command::Devices(args)) => print(&devices::devices(args)),
        Some(Command::Selftest(args)) => {
            let (text, passed) = selftest::selftest(args);
            print(&text)?;
            if passed { Ok(()) } else { Err(Failure::failed("selftest: a backend is wrong")) }
        }
        Some(Command::Agent(args)) => agent::run(args),
        Some(Command::Calibrate(args)) => agent::run::run_calibrate(args),
        Some(Command::Check(args)) => {
            let effective = settings::check(&args.config, environment())?;
            print(&effective.to_string())
        }
    }
}

/// Prints to stdout, all at once; a reader that has gone is no failure.
///
/// # Errors
/// When stdout can't be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The environment's variables that are text; ours all are.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// A runtime with few threads: the cores are for hashing.
pub(crate) fn runtime(threads: usize) -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("runtime: {error}")))
}

/// The fastest kernel here, of one backend where that is asked for; measured, or known from before.
pub(crate) fn fastest(backend: Option<Backend>, again: bool, clock: Clock) -> Tile {
    let processor = Processor::of_this_machine();
    let tuning = Tuning::new(&processor.name, again, |name| std::env::var(name).ok());
    tuning::choose(&tuning, backend, clock)
}

#[cfg(test)]
mod tests;
