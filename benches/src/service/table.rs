//! The runs' figures as a table for people and as JSON for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Outcome, Run};
use crate::{
    load::{Burst, mebibytes},
    machine,
};

/// Shares first, then memory, then new work; under the machine's name.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut lines = vec![machine::describe()];
    let of = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(move |one| wanted(one));
    let mut part = |head: String, rows: Vec<String>| {
        if !rows.is_empty() {
            lines.push(String::new());
            lines.push(head);
            lines.extend(rows);
        }
    };
    part(
        row("shares", ["a second", "us a share", "median ms", "95 % ms", "99 % ms", "max ms"]),
        of(|one| one.report.accepted > 0 && !one.run.many()).map(share_row).collect(),
    );
    part(
        row("memory", ["connections", "before MiB", "ready MiB", "end MiB", "ready B", "end B"]),
        of(|one| one.run.many()).map(memory_row).collect(),
    );
    part(
        row("new work", ["miners", "us a miner", "first-last", "at most", "to last ms", "at most"]),
        of(|one| one.run == Run::Broadcast).map(work_row).collect(),
    );
    part(
        row(
            "its own figures",
            ["jobs", "seen-last", "at most ms", "a block ms", "template ms", ""],
        ),
        of(|one| one.run == Run::Broadcast).map(own_row).collect(),
    );
    lines.join("\n")
}

/// One object; keys of each run as `load --json` has them, and a few more.
pub(crate) fn json(outcomes: &[Outcome]) -> String {
    let runs: Vec<Value> = outcomes
        .iter()
        .map(|one| {
            let mut object = one.report.json();
            object["run"] = json!(one.run.name());
            object["broadcasts"] = json!({
                "count": one.broadcasts.count,
                "mean_ms": one.broadcasts.mean_ms(),
                "at_most_ms": one.broadcasts.bound_ms(),
            });
            object["block_cpu_seconds"] = json!(one.block_cpu().map(|cpu| cpu.as_secs_f64()));
            object["template_cpu_seconds"] = json!(one.template.map(|cpu| cpu.as_secs_f64()));
            object["writing_us_per_miner"] = json!(one.writing_us_per_miner());
            object["announced_to_last_ms"] = json!(millis(&one.announced_to_last()));
            object
        })
        .collect();
    json!({"schema": 1, "machine": machine::describe(), "runs": runs}).to_string()
}

impl Outcome {
    /// Bursts that began with a block.
    fn blocks(&self) -> impl Iterator<Item = &Burst> {
        self.report.bursts.iter().filter(|burst| burst.any.clean)
    }

    /// The pool's processor time for a block, in the median.
    pub(super) fn block_cpu(&self) -> Option<Duration> {
        let mut costs: Vec<Duration> = self.blocks().filter_map(|burst| burst.cpu).collect();
        costs.sort_unstable();
        costs.get(costs.len() / 2).copied()
    }

    /// The same for one miner, without what a block costs with a single one.
    fn writing_us_per_miner(&self) -> Option<f64> {
        let writing = self.block_cpu()?.saturating_sub(self.template?);
        Some(writing.as_secs_f64() * 1e6 / f64::from(self.report.connections))
    }

    /// From each announcement of a block until every miner had its first job on it.
    fn announced_to_last(&self) -> Vec<Duration> {
        let last = |at: &Duration| {
            let burst = self.blocks().find(|burst| burst.any.first >= *at)?;
            Some(burst.any.last.saturating_sub(*at))
        };
        self.announced.iter().filter_map(last).collect()
    }

    /// Of each block, from the first miner to the last.
    fn first_to_last(&self) -> Vec<Duration> {
        self.blocks().map(|burst| burst.any.width()).collect()
    }
}

fn row(name: &str, cells: [&str; 6]) -> String {
    let cells: String = cells.iter().map(|cell| format!("  {cell:>11}")).collect();
    format!("{name:<22}{cells}")
}

fn share_row(one: &Outcome) -> String {
    let [median, p95, p99, most] = one.report.delays_ms().map(|ms| format!("{ms:.2}"));
    let rate = format!("{:.0}", one.report.per_second());
    let cost = figure(one.report.cpu_per_share_us(), 2);
    row(one.run.name(), [&rate, &cost, &median, &p95, &p99, &most])
}

fn memory_row(one: &Outcome) -> String {
    let mib = |bytes: Option<u64>| figure(bytes.map(mebibytes), 1);
    let report = &one.report;
    let [ready, end] = report.bytes_per_connection().map_or([None; 2], |both| both.map(Some));
    row(
        one.run.name(),
        [
            &report.connections.to_string(),
            &mib(report.resident_before),
            &mib(report.resident_ready),
            &mib(report.resident_end),
            &figure(ready, 0),
            &figure(end, 0),
        ],
    )
}

/// Medians, and the worst beside them.
fn work_row(one: &Outcome) -> String {
    let connections = one.report.connections;
    let (widths, delays) = (millis(&one.first_to_last()), millis(&one.announced_to_last()));
    row(
        one.run.name(),
        [
            &connections.to_string(),
            &figure(one.writing_us_per_miner(), 2),
            &figure(median(&widths), 1),
            &figure(most(&widths), 1),
            &figure(median(&delays), 1),
            &figure(most(&delays), 1),
        ],
    )
}

/// The pool's metric, its processor time for a block, and the part of it that is not writing.
fn own_row(one: &Outcome) -> String {
    let cpu = |cpu: Option<Duration>| figure(cpu.map(|cpu| cpu.as_secs_f64() * 1e3), 0);
    let jobs = one.broadcasts.count.to_string();
    let [mean, bound] = [one.broadcasts.mean_ms(), one.broadcasts.bound_ms()];
    let (mean, bound) = (figure(mean, 1), figure(bound, 0));
    let (block, template) = (cpu(one.block_cpu()), cpu(one.template));
    row(one.run.name(), [&jobs, &mean, &bound, &block, &template, ""])
}

fn millis(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1e3).collect()
}

/// The one in the middle; of an even number, the higher of the two.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
