//! `wattproof-bench`: measured cases, each of which asserts its answer in every pass. A number
//! from a run that got a wrong answer is never printed.
//!
//! Read [`measure`] first, then one file of [`cases`]. `record/` keeps dated results with machine
//! and command. It deliberately compares nothing and judges nothing: figures are read side by
//! side from the same machine.
//!
//! Units: every rate is in units of the case's own kind (hashes, shares) per second of wall-clock
//! time.

mod cases;
mod clock;
mod machine;
mod measure;
mod report;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use kernels::Backend;

use cases::{Case, CaseError, Choices};
use measure::{Measured, Meter};

/// Measures what this machine does with the parts that work is counted in.
#[derive(Debug, Parser)]
#[command(name = "wattproof-bench", version)]
struct Options {
    /// What to measure; all of it when left out.
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// How long each measurement runs, in seconds; one pass at least.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Only this backend in the kernels case.
    #[arg(long)]
    backend: Option<Backend>,
    /// Where the ledger case makes its database; the system's place for temporary files when left
    /// out. On a file system in memory its figures mean nothing.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let printed = measure_all(&options).map_err(|error| error.to_string()).and_then(|measured| {
        let text = if options.json { report::json(&measured) } else { report::table(&measured) };
        writeln!(io::stdout(), "{text}").map_err(|error| format!("standard output: {error}"))
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Where even standard error is closed there is nobody left to tell.
            let _ = writeln!(io::stderr(), "wattproof-bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(options: &Options) -> Result<Vec<Measured>, CaseError> {
    let meter = Meter::new(Duration::from_secs_f64(options.seconds), clock::read());
    let cases = if options.cases.is_empty() { &Case::ALL } else { &options.cases[..] };
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let choices = Choices { backend: options.backend, dir };
    let mut measured = Vec::new();
    for case in cases {
        measured.extend(case.run(&meter, &choices)?);
    }
    Ok(measured)
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let range = 0.0..=3600.0;
    if range.contains(&value) { Ok(value) } else { Err(format!("{text} is not in 0 to 3600")) }
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
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_up_to_an_hour() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["-1", "3601", "NaN", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
