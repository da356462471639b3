//! `devices`: what this machine can mine with, and where its joules would come from.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::OutputArgs;
use crate::clock::Clock;
use crate::instruments::meter;
use crate::instruments::sensors::Processor;
use crate::settings;

/// The text to print.
#[must_use]
pub fn devices(args: &OutputArgs) -> String {
    let processor = Processor::of_this_machine();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let backends: Vec<&str> = kernels::available().into_iter().map(|b| b.name()).collect();
    let defaults = settings::Energy {
        sysfs: PathBuf::from("/sys"),
        watts: None,
        uncertainty: settings::LEAST_UNCERTAINTY,
        key: None,
    };
    let energy = meter::describe(&defaults, &processor, Clock::start().now());
    if args.json {
        let cpu = json!({
            "device": "cpu",
            "name": processor.name,
            "cores": processor.cores,
            "threads": threads,
            "backends": backends,
            "energy_source": energy,
        });
        return format!("{}\n", json!({ "schema": 1, "devices": Value::Array(vec![cpu]) }));
    }
    let name = if processor.name.is_empty() { "unknown processor" } else { &processor.name };
    let cores = processor.cores;
    format!(
        "cpu  {name}, {cores} cores, {threads} threads\n     backends: {}\n     energy:   \
         {energy}\ngpu  none: this version has no GPU backend\n",
        backends.join(", ")
    )
}
