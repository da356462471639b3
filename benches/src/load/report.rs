//! What a load run found, in words and as JSON.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{bursts::Burst, tally::Window};
use crate::machine;

/// The figures of one run. Memory in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) connections: u32,
    /// Until the last miner had its first job.
    pub(crate) connecting: Duration,
    pub(crate) window: Window,
    /// Length of the window.
    pub(crate) elapsed: Duration,
    /// The pool's processor time in the window.
    pub(crate) cpu: Option<Duration>,
    /// Shares accepted from the first to the last, window or not.
    pub(crate) accepted: u64,
    /// Refused likewise, by code and words.
    pub(crate) refused: BTreeMap<(i64, String), u64>,
    /// Shares that were never answered.
    pub(crate) unanswered: usize,
    /// Shares that an even pace asked for and that were not sent.
    pub(crate) given_up: u64,
    /// Connections that the pool ended, by reason.
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) resident_before: Option<u64>,
    pub(crate) resident_ready: Option<u64>,
    pub(crate) resident_end: Option<u64>,
    pub(crate) bursts: Vec<Burst>,
}

impl Report {
    pub(crate) fn per_second(&self) -> f64 {
        number(self.window.accepted) / self.elapsed.as_secs_f64()
    }

    /// The pool's processor time for one accepted share, in microseconds.
    pub(crate) fn cpu_per_share_us(&self) -> Option<f64> {
        let accepted = Some(self.window.accepted).filter(|accepted| *accepted > 0)?;
        Some(self.cpu?.as_secs_f64() * 1e6 / number(accepted))
    }

    /// Of the pool's resident memory, a connection's part after all were ready, and at the end.
    pub(crate) fn bytes_per_connection(&self) -> Option<[f64; 2]> {
        let part = |resident: u64| {
            let more = resident.saturating_sub(self.resident_before?);
            Some(number(more) / f64::from(self.connections))
        };
        Some([part(self.resident_ready?)?, part(self.resident_end?)?])
    }

    /// Median, 95th and 99th percentile and maximum of the answers' delays, in milliseconds.
    pub(crate) fn delays_ms(&self) -> [f64; 4] {
        self.window.delays_ms()
    }

    /// One figure a line, under the machine's name.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![
            machine::describe(),
            format!(
                "{} connections, all with work after {:.2} s",
                self.connections,
                self.connecting.as_secs_f64()
            ),
        ];
        if self.accepted > 0 || !self.refused.is_empty() {
            lines.extend(self.share_lines());
        }
        lines.extend(self.memory_lines());
        lines.extend(self.bursts.iter().map(|burst| burst_line(burst, self.connections)));
        let lost = |(why, count): (&String, &u64)| format!("lost {count} connections: {why}");
        lines.extend(self.lost.iter().map(lost));
        lines.join("\n")
    }

    fn share_lines(&self) -> Vec<String> {
        let [median, p95, p99, most] = self.window.delays_ms();
        let mut lines = vec![
            format!(
                "{:.0} shares a second accepted ({} in {:.2} s); {} with warm-up and end",
                self.per_second(),
                self.window.accepted,
                self.elapsed.as_secs_f64(),
                self.accepted
            ),
            format!(
                "answered after {median:.2} ms in the median, {p95:.2} ms at 95 %, \
                 {p99:.2} ms at 99 %, {most:.2} ms at most"
            ),
        ];
        if let Some(cost) = self.cpu_per_share_us() {
            lines.push(format!("{cost:.2} us of the pool's processor time a share"));
        }
        for ((code, message), count) in &self.refused {
            lines.push(format!("refused {count}: {code} {message}"));
        }
        if self.unanswered > 0 {
            lines.push(format!("never answered: {}", self.unanswered));
        }
        if self.given_up > 0 {
            lines.push(format!("due and not sent: {}", self.given_up));
        }
        lines
    }

    fn memory_lines(&self) -> Option<String> {
        let [ready, end] = self.bytes_per_connection()?;
        let text = |bytes: Option<u64>| format!("{:.1}", bytes.map_or(0.0, mebibytes));
        Some(format!(
            "resident {} MiB before, {} MiB when all had work, {} MiB at the end: \
             {ready:.0} and {end:.0} bytes a connection",
            text(self.resident_before),
            text(self.resident_ready),
            text(self.resident_end)
        ))
    }

    /// One object; times in seconds where the key does not say otherwise.
    pub(crate) fn json(&self) -> Value {
        let [median, p95, p99, most] = self.window.delays_ms();
        let refused: Vec<Value> = self
            .refused
            .iter()
            .map(|((code, message), count)| json!({"code": code, "message": message, "count": count}))
            .collect();
        let per_connection = self.bytes_per_connection();
        json!({
            "schema": 1,
            "machine": machine::describe(),
            "connections": self.connections,
            "connecting_seconds": self.connecting.as_secs_f64(),
            "seconds": self.elapsed.as_secs_f64(),
            "accepted": self.window.accepted,
            "accepted_per_second": self.per_second(),
            "answer_ms": {"median": median, "p95": p95, "p99": p99, "max": most},
            "cpu_seconds": self.cpu.map(|cpu| cpu.as_secs_f64()),
            "cpu_us_per_share": self.cpu_per_share_us(),
            "accepted_total": self.accepted,
            "refused_total": refused,
            "unanswered": self.unanswered,
            "not_sent": self.given_up,
            "lost": self.lost,
            "resident_bytes": {
                "before": self.resident_before,
                "ready": self.resident_ready,
                "end": self.resident_end,
            },
            "bytes_per_connection": per_connection.map(|[ready, _]| ready),
            "bytes_per_connection_end": per_connection.map(|[_, end]| end),
            "bursts": self.bursts.iter().map(|burst| self.burst_object(burst)).collect::<Vec<_>>(),
        })
    }

    fn burst_object(&self, burst: &Burst) -> Value {
        let jobs: Vec<Value> = burst
            .jobs
            .iter()
            .map(|job| {
                json!({
                    "miners": job.miners,
                    "clean": job.clean,
                    "first_to_last_ms": job.width().as_secs_f64() * 1e3,
                })
            })
            .collect();
        json!({
            "jobs": jobs,
            "miners": burst.any.miners,
            "first_to_last_ms": burst.any.width().as_secs_f64() * 1e3,
            "cpu_seconds": burst.cpu.map(|cpu| cpu.as_secs_f64()),
            "cpu_us_per_miner": burst.cpu_per_miner_us(self.connections),
        })
    }
}

impl Burst {
    /// The pool's processor time for one miner, in microseconds.
    pub(crate) fn cpu_per_miner_us(&self, miners: u32) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / f64::from(miners))
    }
}

fn burst_line(burst: &Burst, connections: u32) -> String {
    let jobs: Vec<String> = burst
        .jobs
        .iter()
        .map(|job| {
            let clean = if job.clean { "clean " } else { "" };
            format!("{clean}job to {} in {:.1} ms", job.miners, job.width().as_secs_f64() * 1e3)
        })
        .collect();
    let cost = burst
        .cpu_per_miner_us(connections)
        .map(|cost| format!("; {cost:.2} us of the pool's processor time a miner"));
    format!("new work: {}{}", jobs.join(", "), cost.unwrap_or_default())
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    number(bytes) / 1_048_576.0
}

/// Counts of one run are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}
