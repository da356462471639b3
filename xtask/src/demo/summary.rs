//! What a finished demo says: a table for people, one JSON object for programs. Both come from
//! the same cross-checked status; figures that the pool gives as decimals are passed on digit by
//! digit, deliberately without a float in between.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::demo::api::{Device, PoolStatus};
use crate::demo::course::Course;
use crate::demo::decimal::Decimal;
use crate::demo::line::{grouped, hash_rate, optional, percent};

/// The JSON object on the demo's last line.
#[derive(Debug, Serialize)]
struct Summary {
    /// Time from the miner's start to its stop.
    seconds: f64,
    /// Hashes proven by accepted shares.
    hashes: u128,
    shares: u64,
    rejected: u64,
    blocks: u64,
    satoshis_immature: Box<RawValue>,
    satoshis_credited: Box<RawValue>,
    joules: Option<Box<RawValue>>,
    energy_source: String,
    joules_per_terahash: Option<Box<RawValue>>,
    grams: Option<Box<RawValue>>,
    gas: Option<String>,
    factor: Option<String>,
    /// Hashes by the miner's own counter.
    hashes_claimed: u128,
    /// Hashes per second over the run.
    hashrate_claimed: f64,
    /// Hashes per second over the run.
    hashrate_proven: f64,
    /// Standard errors of the proven work that it lies above the claim.
    agreement_sigma: Option<f64>,
    /// Of the energy, relative.
    uncertainty: Option<f64>,
    tier: Option<u8>,
    /// Hashes of each device by its own counter, read just before the miner was stopped; absent
    /// but for a demo on GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<BTreeMap<String, u128>>,
}

/// The object that ends a demo with `--json`, on one line; with `devices` where these were checked.
pub(crate) fn json(course: &Course, status: &PoolStatus, devices: Option<&[Device]>) -> String {
    let summary = summary(course, status, devices);
    serde_json::to_string(&summary).expect("numbers and strings become JSON")
}

fn summary(course: &Course, status: &PoolStatus, devices: Option<&[Device]>) -> Summary {
    let counter = |device: &Device| (device.name.clone(), device.hashes.whole());
    let (last, rates) = (course.last(), course.overall_rates());
    Summary {
        seconds: (last.seconds * 1000.0).round() / 1000.0,
        hashes: status.work_hashes.whole(),
        shares: status.shares.accepted,
        rejected: status.shares.rejected,
        blocks: status.blocks.found,
        satoshis_immature: number(&status.satoshis.immature),
        satoshis_credited: number(&status.satoshis.credited),
        joules: status.energy.joules.as_ref().map(number),
        energy_source: status.energy.source(),
        joules_per_terahash: status.energy.joules_per_terahash.as_ref().map(number),
        grams: status.carbon.grams.as_ref().map(number),
        gas: status.carbon.gas.clone(),
        factor: status.carbon.factor.as_ref().map(ToString::to_string),
        hashes_claimed: last.claimed,
        hashrate_claimed: rates.claimed,
        hashrate_proven: rates.proven,
        agreement_sigma: course.sigmas(),
        uncertainty: status.energy.uncertainty,
        tier: status.energy.worst_tier,
        devices: devices.map(|devices| devices.iter().map(counter).collect()),
    }
}

/// Which devices hashed how much, as `gpu:0 10,000 hashes`.
pub(crate) fn hashed_on(devices: &[Device]) -> String {
    let of =
        |Device { name, hashes }: &Device| format!("{name} {} hashes", grouped(hashes.as_str()));
    devices.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// The table that ends a demo.
pub(crate) fn table(course: &Course, status: &PoolStatus) -> String {
    let mut text = String::from("summary\n");
    for (name, value) in work_rows(course, status).into_iter().chain(energy_rows(status)) {
        text.push_str(&format!("  {name:<16}{value}\n"));
    }
    text
}

fn work_rows(course: &Course, status: &PoolStatus) -> Vec<(&'static str, String)> {
    let (last, rates) = (course.last(), course.overall_rates());
    let PoolStatus { shares, blocks, satoshis, .. } = status;
    let claimed = grouped(last.claimed.to_string());
    let proven = grouped(status.work_hashes.as_str());
    let agreement = match course.sigmas() {
        Some(sigmas) => format!(", {sigmas:+.1} standard errors from the claim"),
        None => String::new(),
    };
    vec![
        ("time", format!("{:.1} s", last.seconds)),
        ("hashes claimed", format!("{claimed} ({})", hash_rate(rates.claimed))),
        ("hashes proven", format!("{proven} ({}{agreement})", hash_rate(rates.proven))),
        (
            "shares",
            format!("{} accepted, {} rejected", grouped_count(shares.accepted), shares.rejected),
        ),
        (
            "blocks",
            format!(
                "{} found: {} immature, {} mature, {} orphaned",
                blocks.found, blocks.immature, blocks.mature, blocks.orphaned
            ),
        ),
        (
            "satoshis",
            format!(
                "{} immature, {} credited",
                grouped(satoshis.immature.as_str()),
                grouped(satoshis.credited.as_str())
            ),
        ),
    ]
}

fn energy_rows(status: &PoolStatus) -> Vec<(&'static str, String)> {
    let (energy, carbon) = (&status.energy, &status.carbon);
    let tier = energy.worst_tier.map(|tier| format!(", tier {tier}")).unwrap_or_default();
    let uncertainty = energy.uncertainty.map(percent).unwrap_or_default();
    let gas = carbon.gas.as_deref().unwrap_or_default();
    let method = carbon.method.as_deref().unwrap_or("-");
    let factor = carbon.factor.as_ref().map_or_else(
        || "no factor".to_owned(),
        |factor| format!("{factor}, grade {}", factor.grade),
    );
    vec![
        (
            "energy",
            format!(
                "{} J, source {}{tier}{uncertainty}",
                optional(energy.joules.as_ref()),
                energy.source()
            ),
        ),
        (
            "energy per work",
            format!("{} J/TH proven", optional(energy.joules_per_terahash.as_ref())),
        ),
        (
            "carbon",
            format!("{} g {gas}, {method}-based, {factor}", optional(carbon.grams.as_ref())),
        ),
    ]
}

fn grouped_count(count: u64) -> String {
    grouped(count.to_string())
}

/// The decimal as a JSON number with the digits it came with.
fn number(decimal: &Decimal) -> Box<RawValue> {
    RawValue::from_string(decimal.as_str().to_owned())
        .expect("a plain decimal without leading zeros is a JSON number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::api::tests::SAMPLE;
    use crate::demo::course::Look;

    fn course() -> Course {
        let mut course = Course::new(Look { seconds: 0.0, claimed: 0, proven: 0, shares: 0 });
        let claimed = 204_000_000;
        course.add(Look { seconds: 20.0, claimed, proven: 206_123_456, shares: 123 });
        course
    }

    #[test]
    fn the_object_has_the_promised_keys_and_digits() {
        let status = serde_json::from_str(SAMPLE).unwrap();
        let text = json(&course(), &status, None);
        for part in [
            r#""seconds":20.0"#,
            r#""hashes":206123456"#,
            r#""shares":123"#,
            r#""rejected":1"#,
            r#""blocks":12"#,
            r#""satoshis_immature":50000000000"#,
            r#""satoshis_credited":10000000000"#,
            r#""joules":12.345678"#,
            r#""energy_source":"model""#,
            r#""joules_per_terahash":59894.580848"#,
            r#""grams":0.001911"#,
            r#""gas":"CO2e""#,
            r#""factor":"ember CHN 2024 557.5 g/kWh""#,
            r#""hashes_claimed":204000000"#,
            r#""hashrate_claimed":10200000.0"#,
            r#""uncertainty":0.5"#,
            r#""tier":5"#,
            r#""agreement_sigma":0.1"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains('\n') && !text.contains("devices"), "{text}");
    }

    #[test]
    fn a_demo_on_gpus_names_them() {
        let status = serde_json::from_str(SAMPLE).unwrap();
        let gpu = |at: u32| Device { name: format!("gpu:{at}"), hashes: Decimal::from(7_000) };
        let gpus = [gpu(0), gpu(1)];
        let text = json(&course(), &status, Some(&gpus));
        assert!(text.ends_with(r#""devices":{"gpu:0":7000,"gpu:1":7000}}"#), "{text}");
        assert_eq!(hashed_on(&gpus), "gpu:0 7,000 hashes, gpu:1 7,000 hashes");
    }

    #[test]
    fn the_table_names_source_and_factor() {
        let status = serde_json::from_str(SAMPLE).unwrap();
        let text = table(&course(), &status);
        for part in [
            "204,000,000 (10.20 MH/s)",
            "123 accepted, 1 rejected",
            "12 found: 10 immature, 2 mature, 0 orphaned",
            "12.345678 J, source model, tier 5 ±50 %",
            "59,894.580848 J/TH",
            "0.001911 g CO2e, location-based, ember CHN 2024 557.5 g/kWh, grade A",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
