//! `/2/summary`: the members that tools written for xmrig read, with their names and units there
//! (seconds, milliseconds, hashes a second). What does not apply to this miner is null or empty.

use serde_json::{Value, json};
use units::Difficulty;

use crate::rates::WINDOWS;
use crate::telemetry::Snapshot;
use crate::upstream::status::Verdict;

pub(super) fn summary(snapshot: &Snapshot) -> Value {
    let uptime = snapshot.at.mono.as_secs();
    json!({
        "id": null,
        "worker_id": worker(snapshot),
        "uptime": uptime,
        "restricted": true,
        "resources": { "memory": null, "load_average": [], "hardware_concurrency": threads(snapshot) },
        "features": ["api", "asm", "http"],
        "results": results(snapshot),
        "algo": "sha256d",
        "connection": connection(snapshot),
        "version": env!("CARGO_PKG_VERSION"),
        "kind": "miner",
        "ua": concat!("wattproof-miner/", env!("CARGO_PKG_VERSION")),
        "cpu": { "threads": threads(snapshot), "backend": backends(snapshot) },
        "donate_level": 0,
        "paused": snapshot.upstream.difficulty.is_none(),
        "algorithms": ["sha256d"],
        "hashrate": hashrate(snapshot),
        "hugepages": [0, 0],
    })
}

fn worker(snapshot: &Snapshot) -> &str {
    snapshot.upstream.user.split_once('.').map_or("", |(_, worker)| worker)
}

fn threads(snapshot: &Snapshot) -> usize {
    snapshot.devices.iter().map(|device| device.threads).sum()
}

fn backends(snapshot: &Snapshot) -> Vec<&'static str> {
    snapshot.devices.iter().map(|device| device.kernel.backend().name()).collect()
}

fn good_and_all(snapshot: &Snapshot) -> (u64, u64) {
    let shares = &snapshot.upstream.shares;
    let good = shares.of(Verdict::Accepted);
    (good, good + shares.rejected())
}

fn results(snapshot: &Snapshot) -> Value {
    let (good, all) = good_and_all(snapshot);
    let average = snapshot.at.mono.as_millis().checked_div(u128::from(good)).unwrap_or(0);
    let average = u64::try_from(average).unwrap_or(u64::MAX);
    let hashes = u64::try_from(snapshot.hashes().get()).unwrap_or(u64::MAX);
    json!({
        "diff_current": snapshot.upstream.difficulty.map(Difficulty::get),
        "shares_good": good,
        "shares_total": all,
        "avg_time": average / 1000,
        "avg_time_ms": average,
        "hashes_total": hashes,
        "best": snapshot.upstream.best.map(Difficulty::get).into_iter().collect::<Vec<_>>(),
    })
}

fn connection(snapshot: &Snapshot) -> Value {
    let status = &snapshot.upstream;
    let (good, all) = good_and_all(snapshot);
    let up = status.connected_at.map(|at| snapshot.at.mono.saturating_sub(at)).unwrap_or_default();
    let ping = status.latency.map_or(0, |latency| latency.as_millis());
    json!({
        "pool": status.pool.strip_prefix("stratum+tcp://").unwrap_or(&status.pool),
        "ip": null,
        "uptime": up.as_secs(),
        "uptime_ms": u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
        "ping": u64::try_from(ping).unwrap_or(u64::MAX),
        "failures": status.failures,
        "tls": null,
        "tls-fingerprint": null,
        "algo": "sha256d",
        "diff": status.difficulty.map(Difficulty::get),
        "accepted": good,
        "rejected": all - good,
        "error_log": status.last_failure.iter().collect::<Vec<_>>(),
    })
}

fn hashrate(snapshot: &Snapshot) -> Value {
    let covered = |(window, rate): (&crate::rates::Window, Option<crate::rates::Rate>)| {
        rate.filter(|rate| rate.span >= window.length.mul_f64(0.5)).map(|rate| rate.claimed)
    };
    let total: Vec<Option<f64>> = WINDOWS.iter().zip(snapshot.rates).map(covered).collect();
    json!({ "total": total, "highest": snapshot.highest, "threads": [] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sample;

    #[test]
    fn members_have_the_names_that_tools_read() {
        let summary = summary(&sample());
        assert_eq!(summary["worker_id"], "rig1");
        assert_eq!(summary["results"]["shares_good"], 12);
        assert_eq!(summary["results"]["shares_total"], 13);
        assert_eq!(summary["results"]["hashes_total"], 1_000_000_000);
        assert_eq!(summary["results"]["avg_time_ms"], 310_416);
        assert_eq!(summary["connection"]["pool"], "127.0.0.1:3333");
        assert_eq!(summary["connection"]["uptime"], 3_720);
        assert_eq!(summary["connection"]["rejected"], 1);
        assert_eq!(summary["hashrate"]["total"][0], 12_340_000.0);
        assert_eq!(summary["hashrate"]["total"][2], Value::Null);
        assert_eq!(summary["hashrate"]["highest"], 13_000_000.0);
        assert_eq!(summary["paused"], false);
    }
}
