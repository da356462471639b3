//! `selftest`: every backend against the reference, on known blocks and random headers.

use std::fmt::Write as _;

use kernels::{Backend, suite};
use serde_json::{Value, json};

use crate::cli::OutputArgs;

/// Runs it: the text to print, and whether all is well. A backend that this machine lacks is
/// named and is no failure.
#[must_use]
pub fn selftest(args: &OutputArgs) -> (String, bool) {
    let seed = seed();
    let results: Vec<(Backend, Outcome)> =
        Backend::ALL.into_iter().map(|backend| (backend, run(backend, seed))).collect();
    let passed = !results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Wrong(_)));
    let text = if args.json { as_json(seed, passed, &results) } else { as_text(&results) };
    (text, passed)
}

enum Outcome {
    Right(suite::SuiteReport),
    Wrong(String),
    Missing(String),
}

fn run(backend: Backend, seed: u64) -> Outcome {
    match kernels::build(backend) {
        Err(error) => Outcome::Missing(error.to_string()),
        Ok(mut kernel) => match suite::run(kernel.as_mut(), seed) {
            Ok(report) => Outcome::Right(report),
            Err(failure) => Outcome::Wrong(format!("{failure} (seed {seed})")),
        },
    }
}

/// Other headers each time; the seed is printed, so that a failure can be had again.
fn seed() -> u64 {
    let mut bytes = [0; 6];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte)),
        Err(_) => 1,
    }
}

fn as_text(results: &[(Backend, Outcome)]) -> String {
    let mut text = String::new();
    for (backend, outcome) in results {
        let line = match outcome {
            Outcome::Right(report) => format!(
                "ok: {} cases, {} hashes, {} hits",
                report.cases,
                report.hashes.get(),
                report.hits
            ),
            Outcome::Wrong(problem) => format!("WRONG: {problem}"),
            Outcome::Missing(why) => format!("not here: {why}"),
        };
        writeln!(text, "cpu  {backend:<9} {line}").expect("a String takes everything");
    }
    text
}

fn as_json(seed: u64, passed: bool, results: &[(Backend, Outcome)]) -> String {
    let each = results.iter().map(|(backend, outcome)| {
        let (ok, problem) = match outcome {
            Outcome::Right(_) => (Some(true), None),
            Outcome::Wrong(problem) => (Some(false), Some(problem)),
            Outcome::Missing(why) => (None, Some(why)),
        };
        let report = if let Outcome::Right(report) = outcome { Some(report) } else { None };
        json!({
            "device": "cpu",
            "backend": backend.name(),
            "ok": ok,
            "problem": problem,
            "cases": report.map(|report| report.cases),
            "hashes": report.map(|report| report.hashes.get().to_string()),
            "hits": report.map(|report| report.hits),
        })
    });
    let results: Value = each.collect();
    format!("{}\n", json!({ "schema": 1, "ok": passed, "seed": seed, "results": results }))
}
