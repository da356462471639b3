//! `devices`: what this machine can mine with, and where its joules would come from.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::OutputArgs;
use crate::clock::Clock;
use crate::cpus::list::CpuList;
use crate::cpus::plan::{Plan, Wishes};
use crate::cpus::quota::Quota;
use crate::cpus::{Cpus, system};
use crate::instruments::meter;
use crate::instruments::sensors::Processor;
use crate::{rig, settings};

/// What there is.
struct Found {
    processor: Processor,
    cpus: Cpus,
    backends: Vec<&'static str>,
    energy: String,
    gpus: Vec<gpu::Info>,
}

/// The text to print.
#[must_use]
pub fn devices(args: &OutputArgs) -> String {
    let processor = Processor::of_this_machine();
    let defaults = settings::Energy {
        chip: None,
        sysfs: PathBuf::from("/sys"),
        watts: None,
        uncertainty: settings::LEAST_UNCERTAINTY,
        key: None,
    };
    let energy = meter::describe(&defaults, &processor, Clock::start().now());
    let cpus = system::of_this_machine();
    let backends = kernels::available().into_iter().map(|backend| backend.name()).collect();
    let gpus = rig::all_adapters().into_iter().map(|adapter| adapter.info).collect();
    let found = Found { processor, cpus, backends, energy, gpus };
    if args.json { as_json(&found) } else { as_text(&found) }
}

/// The threads that mine where nothing else is asked for.
fn threads(cpus: &Cpus) -> usize {
    Plan::new(cpus, &Wishes::default()).threads()
}

fn as_json(found: &Found) -> String {
    let Found { processor, cpus, backends, energy, gpus } = found;
    let numbers = |list: &CpuList| list.iter().collect::<Vec<usize>>();
    let siblings: Vec<Vec<usize>> = cpus.cores().iter().map(numbers).collect();
    let cpu = json!({
        "device": "cpu",
        "name": processor.name,
        "cores": processor.cores,
        "cpus": numbers(cpus.allowed()),
        "cpus_by_core": siblings,
        "quota_cpus": cpus.quota().map(Quota::cpus),
        "threads": threads(cpus),
        "backends": backends,
        "energy_source": energy,
    });
    let gpus = gpus.iter().map(|gpu| {
        json!({
            "device": format!("gpu:{}", gpu.index),
            "name": gpu.name,
            "driver": gpu.driver,
            "api": gpu.api,
            "pci": gpu.pci,
            "software": gpu.software,
            "backends": ["wgpu"],
        })
    });
    let devices: Vec<Value> = std::iter::once(cpu).chain(gpus).collect();
    format!("{}\n", json!({ "schema": 1, "devices": devices }))
}

fn as_text(found: &Found) -> String {
    let Found { processor, cpus, backends, energy, gpus } = found;
    let name = if processor.name.is_empty() { "unknown processor" } else { &processor.name };
    let quota = match cpus.quota() {
        Some(quota) => {
            format!("the time of {:.2} CPUs, by the control group's quota", quota.cpus())
        }
        None => "all of their time".to_owned(),
    };
    let (allowed, layout) = (cpus.allowed(), cpus.layout_of(cpus.allowed()));
    let backends = backends.join(", ");
    let mut text = String::new();
    for (head, line) in [
        ("cpu", format!("{name}, {} cores", processor.cores)),
        ("", format!("usable:   CPUs {allowed} ({layout}), {quota}")),
        ("", format!("threads:  {} unless another number is asked for", threads(cpus))),
        ("", format!("backends: {backends}")),
        ("", format!("energy:   {energy}")),
    ] {
        writeln!(text, "{head:<4} {line}").expect("a String takes everything");
    }
    if gpus.is_empty() {
        text.push_str("gpu  none that a Vulkan, Metal or DirectX 12 driver shows\n");
    }
    for gpu in gpus {
        let place = gpu.pci.as_ref().map_or_else(String::new, |pci| format!(", at {pci}"));
        let software =
            if gpu.software { ", in software: mines if named or with --cpu off" } else { "" };
        writeln!(text, "{gpu}{place}{software}").expect("a String takes everything");
    }
    text
}
