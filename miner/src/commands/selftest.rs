//! `selftest`: every backend against the reference, on known blocks and random headers.

use std::fmt::Write as _;

use gpu::{Adapter, Engine, GpuKernel, Method, Tile};
use kernels::{Backend, suite};
use serde_json::{Value, json};

use crate::cli::OutputArgs;
use crate::rig;

/// Runs it: the text to print, and whether all is well. A backend that this machine lacks is
/// named and is no failure.
#[must_use]
pub fn selftest(args: &OutputArgs) -> (String, bool) {
    let seed = seed();
    let cpu = Backend::ALL.into_iter().map(|backend| on_cpu(backend, seed));
    let adapters = rig::all_adapters();
    let gpus = adapters.iter().flat_map(|adapter| Method::ALL.map(|method| (adapter, method)));
    let gpus = gpus.map(|(adapter, method)| on_gpu(adapter, method, seed));
    let results: Vec<Tested> = cpu.chain(gpus).collect();
    let passed = !results.iter().any(|tested| matches!(tested.outcome, Outcome::Wrong(_)));
    let text = if args.json { as_json(seed, passed, &results) } else { as_text(&results) };
    (text, passed)
}

/// A kernel of a device.
struct Tested {
    device: String,
    backend: Backend,
    kernel: String,
    outcome: Outcome,
}

enum Outcome {
    Right(suite::SuiteReport),
    Wrong(String),
    Missing(String),
}

fn on_cpu(backend: Backend, seed: u64) -> Tested {
    let outcome = match kernels::build(backend) {
        Err(error) => Outcome::Missing(error.to_string()),
        Ok(mut kernel) => outcome(suite::run(kernel.as_mut(), seed), seed),
    };
    Tested { device: "cpu".to_owned(), backend, kernel: backend.to_string(), outcome }
}

fn on_gpu(adapter: &Adapter, method: Method, seed: u64) -> Tested {
    let tile = Tile::usual(method);
    let outcome = match Engine::open(adapter, tile) {
        Err(error) => Outcome::Wrong(error.to_string()),
        Ok(engine) => {
            let mut kernel = GpuKernel::new(engine);
            let result = suite::run(&mut kernel, seed);
            match kernel.lost() {
                Some(lost) => Outcome::Wrong(lost.to_string()),
                None => outcome(result, seed),
            }
        }
    };
    let kernel = format!("wgpu/{}", method.name());
    Tested { device: rig::name(adapter), backend: Backend::Wgpu, kernel, outcome }
}

fn outcome(result: Result<suite::SuiteReport, suite::SuiteFailure>, seed: u64) -> Outcome {
    match result {
        Ok(report) => Outcome::Right(report),
        Err(failure) => Outcome::Wrong(format!("{failure} (seed {seed})")),
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

fn as_text(results: &[Tested]) -> String {
    let mut text = String::new();
    for Tested { device, kernel, outcome, .. } in results {
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
        writeln!(text, "{device:<6} {kernel:<18} {line}").expect("a String takes everything");
    }
    text
}

fn as_json(seed: u64, passed: bool, results: &[Tested]) -> String {
    let each = results.iter().map(|Tested { device, backend, kernel, outcome }| {
        let (ok, problem) = match outcome {
            Outcome::Right(_) => (Some(true), None),
            Outcome::Wrong(problem) => (Some(false), Some(problem)),
            Outcome::Missing(why) => (None, Some(why)),
        };
        let report = if let Outcome::Right(report) = outcome { Some(report) } else { None };
        json!({
            "device": device,
            "backend": backend.name(),
            "kernel": kernel,
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
