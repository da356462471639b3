//! ePIC's firmware (`PowerPlay`, UMC OS): the supply's input power, where the supply measures it.
//!
//! Sources: the recorded answers in `fixtures/asic/epic`; ePIC's own interface description of `PowerPlay`
//! 1.22.5 and 1.30.0 (names and types, no meanings). HTTP on port 4028, which elsewhere is cgminer's.
//!
//! `Input Power` is what the supply takes in. Not every supply measures it: where `True Power` of
//! `/capabilities` is false (its name is all there is to go by) it is the firmware's estimate. Where
//! that is missing and volts and amperes are not reported either, as in the recorded answer (2166.6 W
//! beside 0 V and 0 A), the figure is taken as the maker calls it, and is believed less.
//!
//! Deliberately not read: the boards' own powers, which are behind the supply (0 in the recorded
//! answer), and the preset's `Target Power`, which is a setting.

use serde_json::Value;

use super::value::{hash_rate, number, text};
use super::web::{self, MOST_OF_A_RIG, Source, at};
use super::{Answers, Identity, Request, Telemetry, Unreadable};

const SUMMARY: &str = "/summary";
const CAPABILITIES: &str = "/capabilities";
const SUPPLY: &str = "Power Supply Stats";
const FIELD: &str = "summary: Power Supply Stats.Input Power";
const MEGAHASH: f64 = 1e6;

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    [SUMMARY, CAPABILITIES].map(|path| Request::Http { path: path.to_owned() }).to_vec()
}

/// What the answers say.
///
/// # Errors
/// Where nothing came, and where the summary is none or the device refused it.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let [summary, capabilities] = web::objects(["summary", "capabilities"], answers)?;
    web::known_by("summary", &summary, &[SUPPLY, "Session", "Software"])?;
    let mut telemetry = Telemetry {
        identity: Identity {
            maker: "ePIC".to_owned(),
            model: text(at(&capabilities, "/Model")),
            firmware: text(at(&summary, "/Software")),
            serial: text(at(&capabilities, "/Miner Serial Number")),
        },
        claimed_hashes_per_second: boards(&summary)
            .or_else(|| hash_rate(at(&summary, "/Session/Average MHs"), MEGAHASH)),
        uptime: web::seconds(at(&summary, "/Session/Uptime")),
        ..Telemetry::default()
    };
    let stats = at(&summary, "/Power Supply Stats");
    let power = telemetry.power(FIELD, at(stats, "/Input Power"), MOST_OF_A_RIG);
    if let Some(power) = power {
        let (source, meter, meaning) = source(stats, at(&capabilities, "/Psu Info/True Power"));
        let figure = source.power(meter, power, None, FIELD, meaning.to_owned());
        telemetry.figures.push(figure);
    }
    Ok(telemetry)
}

/// What the boards hash now, all of which say so. The session's average goes on claiming the full rate of
/// a device that has been paused.
fn boards(summary: &Value) -> Option<u128> {
    let boards = at(summary, "/HBs").as_array().filter(|boards| !boards.is_empty())?;
    let each = boards.iter().take(MOST_BOARDS);
    each.map(|board| hash_rate(at(board, "/Hashrate/0"), MEGAHASH)).sum()
}

/// So many boards of one device are read.
const MOST_BOARDS: usize = 64;

/// A supply's figure that nothing beside it supports.
const UNSUPPORTED: Source = Source { uncertainty_ppm: 150_000, ..Source::SUPPLY };

/// Where a supply's input power comes from.
fn source(stats: &Value, true_power: &Value) -> (Source, &'static str, &'static str) {
    let flows = |field| number(at(stats, field)).is_some_and(|figure| figure > 0.0);
    match true_power.as_bool() {
        Some(true) => {
            (Source::SUPPLY, "psu", "input power of a supply that the firmware says measures it")
        }
        Some(false) => (
            Source::ESTIMATE,
            "estimate",
            "input power by the firmware's estimate: it says that the supply does not measure it",
        ),
        None if flows("/Input Voltage") && flows("/Input Current") => {
            (Source::SUPPLY, "psu", "input power of a supply that also reports volts and amperes")
        }
        None => (
            UNSUPPORTED,
            "psu",
            "input power as the supply reports it, beside no input volts and amperes",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use units::MilliWatts;

    use super::*;
    use crate::device::{Figure, Quantity};
    use crate::meter::{Kind, Scope, Tier};

    const RECORDED: &[u8] = include_bytes!("../../fixtures/asic/epic/summary.json");
    const CAPABLE: &[u8] = include_bytes!("../../fixtures/asic/epic/capabilities.json");

    fn figure(stats: &Value, capabilities: &Value) -> Option<Figure> {
        let summary = json!({ SUPPLY: stats }).to_string();
        let capabilities = capabilities.to_string();
        let answers = [Some(summary.as_bytes()), Some(capabilities.as_bytes())];
        read(&answers).unwrap().figures.into_iter().next()
    }

    #[test]
    fn an_input_power_beside_no_volts_and_amperes_is_believed_less() {
        let telemetry = read(&[Some(RECORDED), Some(CAPABLE)]).unwrap();
        let [figure] = &telemetry.figures[..] else { panic!("{telemetry:?}") };
        assert_eq!(figure.quantity, Quantity::Power(MilliWatts::new(2_166_617)));
        assert_eq!((figure.kind, figure.scope), (Kind::AsicPsu, Scope::Rig));
        assert_eq!((figure.tier, figure.uncertainty_ppm), (Tier::DEVICE_REPORTED, 150_000));
        assert_eq!(figure.field, "summary: Power Supply Stats.Input Power");
        assert!(figure.meaning.contains("no input volts and amperes"));
        assert_eq!(telemetry.identity.model.as_deref(), Some("AntMiner S19 XP"));
        assert_eq!(telemetry.identity.firmware.as_deref(), Some("PowerPlay-BMS v1.5.13"));
        assert_eq!(telemetry.claimed_hashes_per_second, Some(99_365_848_000_000));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(23_170)));
    }

    #[test]
    fn an_input_power_that_is_measured_is_the_supplys() {
        let flowing = json!({"Input Power": 3200.5, "Input Voltage": 230, "Input Current": 13.9});
        let psu = figure(&flowing, &json!({})).unwrap();
        assert_eq!((psu.kind, psu.tier), (Kind::AsicPsu, Tier::DEVICE_REPORTED));
        assert_eq!(psu.quantity, Quantity::Power(MilliWatts::new(3_200_500)));
        let says = |answer: bool| json!({"Psu Info": {"True Power": answer}, "Model": "S19"});
        let silent = json!({"Input Power": 3000, "Input Voltage": 0.0, "Input Current": 0.0});
        assert_eq!(figure(&silent, &says(true)).unwrap().kind, Kind::AsicPsu);
        assert_eq!(figure(&flowing, &says(false)).unwrap().kind, Kind::AsicModel);
    }

    #[test]
    fn no_input_power_is_no_figure() {
        assert_eq!(figure(&json!({"Input Power": null, "Output Power": 3000}), &json!({})), None);
        assert_eq!(figure(&json!({"Input Power": 0.0}), &json!({})), None);
        assert_eq!(figure(&json!({}), &json!({})), None);
    }

    #[test]
    fn refusals_and_pages_say_nothing() {
        let refusal = read(&[Some(br#"{"result":false,"error":"MissingParam"}"#), None]);
        assert!(matches!(refusal, Err(Unreadable::Refused { .. })));
        let page = read(&[Some(b"<!doctype html>"), None]);
        assert!(matches!(page, Err(Unreadable::Malformed { .. })));
        assert!(matches!(read(&[Some(b"{}")]), Err(Unreadable::Malformed { .. })));
    }
}
