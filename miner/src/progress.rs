//! The line that people watch.

use std::time::Duration;

use units::JoulesPerTerahash;

use crate::rates::WINDOWS;
use crate::telemetry::Snapshot;
use crate::upstream::status::{Phase, Verdict};

/// How often it is printed.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Rates, shares, difficulty, energy with its source, and uptime, on one line.
#[must_use]
pub fn line(snapshot: &Snapshot) -> String {
    let status = &snapshot.upstream;
    let shares = &status.shares;
    let mut parts = vec![rates(snapshot)];
    parts.extend(proven(snapshot));
    parts.push(format!(
        "{} accepted, {} rejected",
        shares.of(Verdict::Accepted),
        shares.rejected()
    ));
    if snapshot.hardware_errors() > 0 {
        parts.push(format!("{} hardware errors", snapshot.hardware_errors()));
    }
    parts.extend(of_limit(snapshot));
    let starved = snapshot.starved_part() * 100.0;
    if starved >= 1.0 {
        parts.push(format!("idle {starved:.0} % for want of work from the pool"));
    }
    parts.extend(snapshot.restraint.line());
    match (&status.phase, status.difficulty) {
        (Phase::Mining, Some(difficulty)) => {
            parts.push(format!("difficulty {}", significant(difficulty.get())));
        }
        (phase, _) => parts.push(phase.label().to_owned()),
    }
    parts.extend(energy(snapshot));
    parts.push(format!("up {}", clock(snapshot.at.mono)));
    parts.join(" | ")
}

/// What is reached of the devices' limits, where that is known.
fn of_limit(snapshot: &Snapshot) -> Option<String> {
    let percents: Option<Vec<String>> = snapshot
        .devices
        .iter()
        .map(|device| device.percent_of_limit().map(|percent| format!("{percent:.0}")))
        .collect();
    percents.filter(|p| !p.is_empty()).map(|p| format!("{} % of the limit", p.join(", ")))
}

/// What it all came to, for the end.
#[must_use]
pub fn summary(snapshot: &Snapshot) -> String {
    let status = &snapshot.upstream;
    let mut parts = vec![
        format!("{} hashes in {}", snapshot.hashes().get(), clock(snapshot.at.mono)),
        format!("{} proven", status.proven.get()),
    ];
    let counted = status.shares.each().filter(|(_, count)| *count > 0);
    let shares: Vec<String> =
        counted.map(|(verdict, count)| format!("{count} {}", verdict.label())).collect();
    parts.push(if shares.is_empty() { "no shares".to_owned() } else { shares.join(", ") });
    if let Some(energy) = snapshot.energy() {
        parts.push(format!("{} J", energy.joules()));
    }
    parts.extend(energy(snapshot));
    parts.join(" | ")
}

/// A hash rate with a prefix people use: "12.34 MH/s".
#[must_use]
pub fn rate(hashes_per_second: f64) -> String {
    scaled(hashes_per_second, "H/s")
}

fn rates(snapshot: &Snapshot) -> String {
    let each: Vec<String> = WINDOWS
        .iter()
        .zip(snapshot.rates)
        .map(|(window, known)| {
            let covered = known.filter(|r| r.span >= window.length.mul_f64(0.5));
            let shown = covered.map_or_else(|| "-".to_owned(), |known| rate(known.claimed));
            format!("{} {shown}", window.label)
        })
        .collect();
    each.join("  ")
}

/// What the accepted shares of the longest window prove, with its standard error.
fn proven(snapshot: &Snapshot) -> Option<String> {
    let longest = snapshot.rates.into_iter().rev().flatten().next()?;
    let percent = longest.proven_error? * 100.0;
    Some(format!("proven {} +-{percent:.0} %", rate(longest.proven)))
}

/// Energy per terahash, proven where shares prove enough, with where the joules come from.
fn energy(snapshot: &Snapshot) -> Option<String> {
    let source = snapshot.energy_source()?;
    let proven = snapshot.joules_per_terahash_proven();
    let (ratio, basis) = match proven {
        Some(ratio) => (ratio, "proven"),
        None => (snapshot.joules_per_terahash_reported()?, "claimed"),
    };
    let percent = f64::from(snapshot.energy_uncertainty_ppm()?) / 1e4;
    Some(format!("{} {basis} ({source}, +-{percent:.0} %)", per_terahash(ratio)))
}

fn per_terahash(ratio: JoulesPerTerahash) -> String {
    scaled(ratio.value_f64(), "J/TH")
}

fn scaled(value: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P", "E"];
    let mut scaled = value;
    let mut prefix = 0;
    while scaled >= 1000.0 && prefix + 1 < prefixes.len() {
        scaled /= 1000.0;
        prefix += 1;
    }
    format!("{scaled:.2} {}{unit}", prefixes[prefix])
}

/// Four significant digits, without an exponent where that is short.
fn significant(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.3}"),
        v if v >= 1e-4 => format!("{v:.6}"),
        v => format!("{v:.3e}"),
    }
}

/// Hours, minutes and seconds.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sample;

    #[test]
    fn the_line_says_it_all() {
        assert_eq!(
            line(&sample()),
            "10s 12.34 MH/s  60s -  15m - | proven 12.00 MH/s +-50 % | 12 accepted, 1 rejected | \
             difficulty 0.002500 | 6.80 MJ/TH proven (model, +-30 %) | up 1:02:05"
        );
    }

    #[test]
    fn without_a_pool_or_a_meter_it_says_so() {
        let mut snapshot = sample();
        snapshot.meters.clear();
        snapshot.upstream.phase = Phase::Waiting;
        snapshot.devices[0].hardware_errors = 3;
        snapshot.devices[0].starved = Duration::from_secs(745);
        let line = line(&snapshot);
        assert!(line.contains("idle 10 % for want of work"), "{line}");
        assert!(line.contains("waiting") && line.contains("3 hardware errors"), "{line}");
        assert!(!line.contains("J/TH"), "{line}");
    }

    #[test]
    fn before_the_first_share_energy_is_per_claimed_hash() {
        let mut snapshot = sample();
        snapshot.metered.proven = units::Work::ZERO;
        assert!(line(&snapshot).contains("6.12 MJ/TH claimed (model"), "{}", line(&snapshot));
    }

    #[test]
    fn the_summary_counts_every_verdict() {
        let summary = summary(&sample());
        for part in ["1000000000 hashes in 1:02:05", "12 accepted, 1 stale", "6123.456789 J"] {
            assert!(summary.contains(part), "{part} is not in: {summary}");
        }
    }

    #[test]
    fn numbers_read_well_at_any_size() {
        assert_eq!(rate(0.0), "0.00 H/s");
        assert_eq!(rate(999.0), "999.00 H/s");
        assert_eq!(rate(2.5e21), "2500.00 EH/s");
        assert_eq!(significant(4.656e-10), "4.656e-10");
        assert_eq!(significant(65_536.4), "65536");
        assert_eq!(significant(1.5), "1.500");
        assert_eq!(clock(Duration::from_secs(90_061)), "25:01:01");
    }
}
