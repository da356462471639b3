//! The findings of a soak as a table and as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Findings,
    samples::{Growth, Sample},
    tally::Shares,
};
use crate::{load::mebibytes, machine};

impl Findings {
    /// One figure a line, under the machine's name.
    pub(crate) fn text(&self) -> String {
        let Shares { accepted, unheard } = self.tally.sum();
        let tally = &self.tally;
        let [median, p99, most] = self.delays_ms();
        let ledger = self.ledger.as_ref().map_or_else(|_| "-".to_owned(), ToString::to_string);
        let growth = |growth: Option<Growth>, unit: &str, of: fn(u64) -> f64| {
            growth.map_or_else(
                || "too few samples".to_owned(),
                |growth| {
                    format!(
                        "{:.1} {unit} in the second quarter, {:.1} in the last, at most {:.1}",
                        of(growth.second),
                        of(growth.last),
                        of(growth.limit)
                    )
                },
            )
        };
        let (memory, files) = (self.rule.memory(&self.samples), self.rule.files(&self.samples));
        let mut lines = vec![
            machine::describe(),
            row("seed", format!("{} (--seed)", self.seed)),
            row("length", format!("{:.0} s, {} blocks", self.elapsed.as_secs_f64(), self.blocks)),
            row("shares", format!("{accepted} accepted, {:.0} a second", self.per_second())),
            row(
                "in the ledger",
                format!("{ledger}; {unheard} were sent by who did not stay for the answer"),
            ),
            row("stale", tally.stale.to_string()),
            row("not sent", tally.missed.to_string()),
            row(
                "answered after",
                format!("{median:.1} ms in the median, {p99:.1} at 99 %, {most:.0} at most"),
            ),
            row(
                "connections",
                format!("{} at a time, {} in all", self.options.connections, tally.guests),
            ),
            row("came back", format!("{}, resumed {}", tally.returned, tally.resumed)),
            row(
                "processor",
                format!(
                    "{:.1} % of one, {:.1} us a share",
                    self.share_of_cpu(),
                    self.cpu_per_share_us()
                ),
            ),
            row("memory", growth(memory, "MiB", mebibytes)),
            row("open files", growth(files, "", whole)),
            row("before and after", format!("{} and {} open files", self.files[0], self.files[1])),
        ];
        lines.extend(tally.offences.iter().map(|(offence, answered)| {
            row(offence.name(), format!("{}, answered rightly {}", answered.done, answered.rightly))
        }));
        let faults = self.faults();
        lines.push(row(
            "faults",
            if faults.is_empty() { "none".to_owned() } else { faults.len().to_string() },
        ));
        lines
            .extend(self.kept.iter().map(|kept| row("log and ledger", kept.display().to_string())));
        lines.join("\n")
    }

    /// One object; memory in bytes, times in seconds where the key does not say otherwise.
    pub(crate) fn json(&self) -> Value {
        let Shares { accepted, unheard } = self.tally.sum();
        let tally = &self.tally;
        let [median, p99, most] = self.delays_ms();
        let offences: Map<String, Value> = tally
            .offences
            .iter()
            .map(|(offence, answered)| {
                let counts = json!({"done": answered.done, "answered_rightly": answered.rightly});
                (offence.name().to_owned(), counts)
            })
            .collect();
        let growth = |growth: Option<Growth>| {
            growth.map(|growth| {
                json!({
                    "second_quarter": growth.second,
                    "last_quarter": growth.last,
                    "limit": growth.limit,
                    "flat": growth.is_flat(),
                })
            })
        };
        let each = |of: fn(&Sample) -> u64| self.samples.iter().map(of).collect::<Vec<u64>>();
        json!({
            "schema": 1,
            "machine": machine::describe(),
            "seed": self.seed,
            "seconds": self.elapsed.as_secs_f64(),
            "rate": self.options.rate,
            "blocks": self.blocks,
            "accepted": accepted,
            "accepted_per_second": self.per_second(),
            "unheard": unheard,
            "ledger_shares": self.ledger.as_ref().ok(),
            "stale": tally.stale,
            "not_sent": tally.missed,
            "answer_ms": {"median": median, "p99": p99, "max": most},
            "connections": {
                "at_a_time": self.options.connections,
                "in_all": tally.guests,
                "returned": tally.returned,
                "resumed": tally.resumed,
            },
            "offences": offences,
            "cpu_seconds": self.cpu.as_secs_f64(),
            "cpu_us_per_share": self.cpu_per_share_us(),
            "rule": self.rule.text(),
            "resident_bytes": growth(self.rule.memory(&self.samples)),
            "open_files": growth(self.rule.files(&self.samples)),
            "open_files_before": self.files[0],
            "open_files_after": self.files[1],
            "samples": {
                "every_seconds": super::samples::every(self.elapsed).as_secs(),
                "resident_bytes": each(|sample| sample.resident),
                "open_files": each(|sample| sample.files),
            },
            "longest_pause_seconds": self.longest_pause.as_secs_f64(),
            "faults": self.faults(),
            "kept": self.kept,
        })
    }

    fn per_second(&self) -> f64 {
        whole(self.tally.sum().accepted) / self.elapsed.as_secs_f64()
    }

    fn cpu_per_share_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / whole(self.tally.sum().accepted.max(1))
    }

    fn share_of_cpu(&self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    fn delays_ms(&self) -> [f64; 3] {
        [50, 99, 100].map(|percent| millis(self.tally.delays.percentile(percent)))
    }
}

fn row(name: &str, value: impl AsRef<str>) -> String {
    format!("{name:<28}{}", value.as_ref())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
const fn whole(count: u64) -> f64 {
    count as f64
}
