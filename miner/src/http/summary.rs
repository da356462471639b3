//! `/api/v1/summary`: the snapshot as JSON. Counts beyond 2^53, energy and work are decimal
//! strings, as everywhere in our API.

use serde_json::{Map, Value, json};
use units::Difficulty;

use super::restraint::restraint;
use crate::rates::{Rate, WINDOWS};
use crate::telemetry::{MeterReading, Snapshot};

pub(super) fn summary(snapshot: &Snapshot) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": snapshot.at.mono.as_secs(),
        "pool": pool(snapshot),
        "hashes": snapshot.hashes().get().to_string(),
        "work_hashes": snapshot.upstream.proven.get().to_string(),
        "hashrate_hashes_per_second": windows(snapshot, |rate| json!(rate.claimed)),
        "hashrate_proven_hashes_per_second": windows(snapshot, |rate| {
            json!({
                "value": rate.proven,
                "relative_error": rate.proven_error,
                "shares": rate.shares,
                "seconds": rate.span.as_secs_f64(),
            })
        }),
        "shares": shares(snapshot),
        "devices": devices(snapshot),
        "energy": energy(snapshot),
        "restraint": restraint(snapshot),
    })
}

fn pool(snapshot: &Snapshot) -> Value {
    let status = &snapshot.upstream;
    let connected = status.connected_at.map(|at| snapshot.at.mono.saturating_sub(at).as_secs());
    json!({
        "url": status.pool,
        "user": status.user,
        "state": status.phase.label(),
        "connected_seconds": connected,
        "difficulty": status.difficulty.map(Difficulty::get),
        "network_difficulty": status.network_difficulty.map(Difficulty::get),
        "latency_seconds": status.latency.map(|latency| latency.as_secs_f64()),
        "failures": status.failures,
        "last_failure": status.last_failure,
        "energy_reports": status.energy_reports,
    })
}

fn shares(snapshot: &Snapshot) -> Value {
    let status = &snapshot.upstream;
    let by_verdict: Map<String, Value> = status
        .shares
        .each()
        .map(|(verdict, count)| (verdict.label().to_owned(), count.into()))
        .collect();
    json!({
        "by_verdict": by_verdict,
        "rejected": status.shares.rejected(),
        "blocks": status.blocks,
        "best_difficulty": status.best.map(Difficulty::get),
    })
}

fn devices(snapshot: &Snapshot) -> Value {
    let each = snapshot.devices.iter().map(|device| {
        json!({
            "device": device.name,
            "backend": device.kernel.backend().name(),
            "kernel": device.kernel.to_string(),
            "limit_hashes_per_second": device.limit,
            "percent_of_limit": device.percent_of_limit(),
            "threads": device.threads,
            "cpus": device.place.cpus.as_ref().map(|cpus| cpus.iter().collect::<Vec<_>>()),
            "nice": device.place.nice,
            "hashes": device.hashes.get().to_string(),
            "starved_seconds": device.starved.as_secs_f64(),
            "rested_seconds": device.rested.as_secs_f64(),
            "hardware_errors": device.hardware_errors,
            "losses": device.losses,
            "lost": device.lost,
        })
    });
    each.collect()
}

fn energy(snapshot: &Snapshot) -> Value {
    let decimal = |ratio: Option<units::JoulesPerTerahash>| ratio.map(|ratio| ratio.to_string());
    json!({
        "joules": snapshot.energy().map(units::MicroJoules::joules),
        "source": snapshot.energy_source(),
        "uncertainty": snapshot.energy_uncertainty_ppm().map(|ppm| f64::from(ppm) / 1e6),
        "joules_per_terahash": {
            "proven": decimal(snapshot.joules_per_terahash_proven()),
            "reported": decimal(snapshot.joules_per_terahash_reported()),
        },
        "meters": snapshot.meters.iter().map(meter).collect::<Value>(),
    })
}

fn meter(reading: &MeterReading) -> Value {
    let spec = &reading.spec;
    let gaps = reading.gaps.iter().map(|(why, length)| (why.clone(), length.as_secs_f64().into()));
    json!({
        "id": spec.id.as_str(),
        "kind": spec.kind.as_str(),
        "scope": spec.scope.as_str(),
        "tier": spec.tier.get(),
        "uncertainty": f64::from(spec.uncertainty_ppm) / 1e6,
        "source": spec.source,
        "joules": reading.total.joules(),
        "watts": reading.watts,
        "gap_seconds": gaps.collect::<Map<String, Value>>(),
    })
}

fn windows(snapshot: &Snapshot, show: impl Fn(Rate) -> Value) -> Value {
    let each = WINDOWS.iter().zip(snapshot.rates);
    each.map(|(window, rate)| {
        let shown = rate.map_or(Value::Null, &show);
        (window.label.to_owned(), shown)
    })
    .collect::<Map<String, Value>>()
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Place;
    use crate::telemetry::sample;

    #[test]
    fn exact_figures_are_decimal_strings_and_missing_ones_are_null() {
        let summary = summary(&sample());
        assert_eq!(summary["hashes"], "1000000000");
        assert_eq!(summary["energy"]["joules"], "6123.456789");
        assert_eq!(summary["energy"]["source"], "model");
        assert_eq!(summary["energy"]["joules_per_terahash"]["proven"], "6803840.876667");
        assert_eq!(summary["shares"]["by_verdict"]["accepted"], 12);
        assert_eq!(summary["shares"]["rejected"], 1);
        assert_eq!(summary["hashrate_hashes_per_second"]["10s"], 12_340_000.0);
        assert_eq!(summary["hashrate_hashes_per_second"]["15m"], Value::Null);
        assert_eq!(summary["hashrate_proven_hashes_per_second"]["60s"]["relative_error"], 0.5);
        assert_eq!(summary["pool"]["connected_seconds"], 3_720);
    }

    #[test]
    fn every_meter_is_shown_with_its_own_figures() {
        let mut snapshot = sample();
        let mut board = snapshot.meters[0].clone();
        board.spec.id = energy::meter::MeterId::new("gpu:0").unwrap();
        board.spec.kind = energy::meter::Kind::Nvml;
        board.watts = None;
        board.gaps = vec![("reset".to_owned(), std::time::Duration::from_secs(2))];
        snapshot.meters.push(board);
        let shown = summary(&snapshot)["energy"].clone();
        assert_eq!(shown["source"], "model+nvml");
        let meters = &shown["meters"];
        assert_eq!((&meters[0]["id"], &meters[1]["id"]), (&json!("model:cpu"), &json!("gpu:0")));
        assert_eq!((&meters[0]["watts"], &meters[1]["watts"]), (&json!(65.0), &Value::Null));
        assert_eq!(meters[0]["gap_seconds"], json!({ "permission": 1.5 }));
        assert_eq!(meters[1]["gap_seconds"], json!({ "reset": 2.0 }));
    }

    #[test]
    fn threads_that_are_kept_to_no_cpu_name_none() {
        let mut snapshot = sample();
        let summary_of = |snapshot: &Snapshot| summary(snapshot)["devices"][0].clone();
        let device = summary_of(&snapshot);
        assert_eq!((&device["cpus"], &device["nice"]), (&json!([0, 1]), &json!(10)));
        snapshot.devices[0].place = Place::default();
        let device = summary_of(&snapshot);
        assert!(device["cpus"].is_null() && device["nice"].is_null(), "{device}");
    }

    #[test]
    fn a_miner_without_a_meter_claims_no_joules() {
        let mut snapshot = sample();
        snapshot.meters.clear();
        let summary = summary(&snapshot);
        assert_eq!(summary["energy"]["joules"], Value::Null);
        assert_eq!(summary["energy"]["joules_per_terahash"]["proven"], Value::Null);
    }
}
