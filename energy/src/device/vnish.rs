//! Vnish's firmware: an estimate of the consumption.
//!
//! Sources: Vnish's API description of 1.2.6, 1.2.7 and 1.3.4 as stored with 256foundation/asic-rs,
//! and an answer of 1.2.0 that is quoted in a public client's tests. There is no recorded answer
//! in `fixtures`: the tests are written after those two.
//!
//! Two keys have been read as watts. `power_consumption` is. `power_usage` is a trap: 1.2.0 has the
//! same watts in it, and later descriptions call it deprecated and "same as `power_efficiency`", which
//! is joules per terahash. It counts only where there is no `power_consumption` and it is far above
//! any efficiency.
//!
//! Deliberately tier 4 also where `psu_power_metering` is true: nothing says that the figure is then
//! the supply's. The meaning names it.

use serde_json::Value;
use units::MilliWatts;

use super::value::{hash_rate, text};
use super::web::{self, MOST_OF_A_RIG, Source, at};
use super::{Answers, Identity, Request, Telemetry, Unreadable};

const SUMMARY: &str = "/api/v1/summary";
const INFO: &str = "/api/v1/info";
const CONSUMPTION: &str = "summary: miner.power_consumption";
const USAGE: &str = "summary: miner.power_usage";
/// Joules per terahash of the devices that run this firmware are below this, their watts above.
const LEAST: MilliWatts = MilliWatts::from_watts(200);

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    [SUMMARY, INFO].map(|path| Request::Http { path: path.to_owned() }).to_vec()
}

/// What the answers say.
///
/// # Errors
/// Where nothing came, and where the summary is none or the device refused it.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let [summary, info] = web::objects(["summary", "info"], answers)?;
    web::known_by("summary", &summary, &["miner"])?;
    let miner = at(&summary, "/miner");
    let mut telemetry = Telemetry {
        identity: identity(miner, &info),
        claimed_hashes_per_second: hash_rate(at(miner, "/hr_realtime"), unit(&info)),
        uptime: web::seconds(at(miner, "/miner_status/miner_state_time")),
        ..Telemetry::default()
    };
    if let Some((field, power)) = consumption(&mut telemetry, miner) {
        let mut meaning = "the firmware's estimate of the rig's consumption".to_owned();
        if at(miner, "/psu/psu_power_metering") == &Value::Bool(true) {
            meaning
                .push_str("; its supply can measure, and whether this comes from it is not said");
        }
        let figure = Source::ESTIMATE.power("estimate", power, None, field, meaning);
        telemetry.figures.push(figure);
    }
    Ok(telemetry)
}

/// The key that has watts, and those.
fn consumption(telemetry: &mut Telemetry, miner: &Value) -> Option<(&'static str, MilliWatts)> {
    let (watts, usage) = (at(miner, "/power_consumption"), at(miner, "/power_usage"));
    if !watts.is_null() {
        let power = telemetry.power(CONSUMPTION, watts, MOST_OF_A_RIG);
        if !usage.is_null() && usage != watts {
            telemetry.refuse(USAGE, usage, "deprecated: an efficiency by VNish's own description");
        }
        return power.map(|power| (CONSUMPTION, power));
    }
    let power = telemetry.power(USAGE, usage, MOST_OF_A_RIG)?;
    if power < LEAST {
        telemetry.refuse(USAGE, usage, "so little is an efficiency, which newer versions put here");
        return None;
    }
    Some((USAGE, power))
}

/// How many hashes a second the unit of `hr_realtime` is: gigahashes, but for devices that say else.
fn unit(info: &Value) -> f64 {
    let measure = ["/hr_measure", "/model/hr_measure"].into_iter().find_map(|p| text(at(info, p)));
    if measure.as_deref() == Some("MH/s") { 1e6 } else { 1e9 }
}

fn identity(miner: &Value, info: &Value) -> Identity {
    let first = |paths: &[&str]| paths.iter().find_map(|path| text(at(info, path)));
    Identity {
        maker: "VNish".to_owned(),
        model: first(&["/miner", "/model"]).or_else(|| text(at(miner, "/miner_type"))),
        firmware: first(&["/fw_version"]).or_else(|| text(at(miner, "/miner_type"))),
        serial: first(&["/serial", "/system/network_status/mac"]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::device::Quantity;
    use crate::meter::{Kind, Scope, Tier};

    fn of(miner: &Value) -> Telemetry {
        let summary = json!({ "miner": miner }).to_string();
        read(&[Some(summary.as_bytes()), None]).unwrap()
    }

    fn milliwatts(telemetry: &Telemetry) -> Vec<MilliWatts> {
        let power = |figure: &crate::device::Figure| match figure.quantity {
            Quantity::Power(power) => power,
            Quantity::Energy { .. } => panic!("{figure:?}"),
        };
        telemetry.figures.iter().map(power).collect()
    }

    #[test]
    fn the_consumption_is_an_estimate() {
        let summary = json!({"miner": {
            "miner_status": {"miner_state": "mining", "miner_state_time": 3564},
            "miner_type": "Antminer S19j Pro (Vnish 1.2.0-rc3)", "hr_realtime": 54478.543,
            "power_consumption": 2631, "power_usage": 2631, "power_efficiency": 0.048_267_957,
        }});
        let info = json!({"fw_version": "1.2.0-rc3", "serial": "S1", "miner": "Antminer S19j Pro"});
        let (summary, info) = (summary.to_string(), info.to_string());
        let telemetry = read(&[Some(summary.as_bytes()), Some(info.as_bytes())]).unwrap();
        assert_eq!(milliwatts(&telemetry), [MilliWatts::new(2_631_000)]);
        let figure = &telemetry.figures[0];
        assert_eq!((figure.kind, figure.scope), (Kind::AsicModel, Scope::Rig));
        assert_eq!((figure.tier, figure.uncertainty_ppm), (Tier::FIRMWARE_MODEL, 150_000));
        assert_eq!(figure.meaning, "the firmware's estimate of the rig's consumption");
        assert_eq!(telemetry.refused, []);
        assert_eq!(telemetry.claimed_hashes_per_second, Some(54_478_543_000_000));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(3564)));
        assert_eq!(telemetry.identity.firmware.as_deref(), Some("1.2.0-rc3"));
    }

    #[test]
    fn a_usage_that_is_an_efficiency_is_no_power() {
        let telemetry = of(&json!({"power_consumption": 3250, "power_usage": 29.5}));
        assert_eq!(milliwatts(&telemetry), [MilliWatts::from_watts(3250)]);
        assert_eq!(telemetry.refused[0].field, USAGE);
        let telemetry = of(&json!({"power_usage": 29}));
        assert!(telemetry.figures.is_empty());
        assert!(telemetry.refused[0].reason.contains("efficiency"));
    }

    #[test]
    fn an_old_firmwares_usage_counts_where_there_is_nothing_else() {
        let telemetry = of(&json!({"power_usage": "3100"}));
        assert_eq!(milliwatts(&telemetry), [MilliWatts::from_watts(3100)]);
        assert_eq!(telemetry.figures[0].field, USAGE);
        // A consumption of 0 is not replaced by what another key may still show.
        assert!(of(&json!({"power_consumption": 0, "power_usage": 3100})).figures.is_empty());
    }

    #[test]
    fn a_supply_that_can_measure_is_named_and_changes_no_tier() {
        let miner = json!({"power_consumption": 3000, "psu": {"psu_power_metering": true}});
        let figure = of(&miner).figures.remove(0);
        assert_eq!(figure.tier, Tier::FIRMWARE_MODEL);
        assert!(figure.meaning.contains("not said"));
    }

    #[test]
    fn a_rig_that_is_not_running_has_no_figure_and_a_refusal_is_one() {
        assert_eq!(of(&Value::Null).figures, []);
        let error = read(&[Some(br#"{"err":"locked"}"#)]).unwrap_err();
        assert!(matches!(error, Unreadable::Refused { .. }));
    }

    #[test]
    fn a_device_of_megahashes_says_so() {
        let info = br#"{"hr_measure":"MH/s"}"#;
        let summary = br#"{"miner":{"hr_realtime":9500}}"#;
        let telemetry = read(&[Some(summary), Some(info)]).unwrap();
        assert_eq!(telemetry.claimed_hashes_per_second, Some(9_500_000_000));
    }
}
