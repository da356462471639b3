//! Bitaxe and others with ESP-Miner (AxeOS): the board's direct current, measured or modelled.
//!
//! Sources: ESP-Miner's `main/power/power.c`, `INA260.c` and `device_config.h` as of August 2026, its
//! `openapi.yaml`, its issues by number below, and the recorded answer in `fixtures/asic/bitaxe`.
//!
//! Which board it is decides what `power` is ([`BOARDS`]):
//! - Boards with an INA260 measure the direct current that comes in, in steps of 10 mW. Where the
//!   chip does not answer, the firmware repeats the last reading and does not say so.
//! - Boards with a TPS546 multiply what that regulator gives out in volts and amperes, and add a
//!   constant of the family for all the rest. The regulator's own loss is in neither.
//!
//! Both see what is behind the wall adapter ([`Scope::Device`]). At the plug people measured 18 % to
//! 71 % more than a modelled Gamma showed (#908: 17 W and 20 W, 21 W and 35 W, 14 W and 24 W), of
//! which the adapter is a part; hence an uncertainty of 40 % for the model.
//!
//! Deliberately not read: `current` times `voltage`, which on modelled boards are of two sides of the
//! regulator, and `maxPower`, a limit. A device without a share is not refused: it draws power.

use std::time::Duration;

use serde_json::Value;
use units::MilliWatts;

use super::value::{hash_rate, number, text};
use super::web::{self, Source, at};
use super::{Answers, Identity, Request, Telemetry, Unreadable};
use crate::efficiency;
use crate::meter::{Kind, Scope, Tier};

const INFO: &str = "system/info";
const FIELD: &str = "system/info: power";
const GIGAHASH: f64 = 1e9;
/// More than any such board draws: the largest of the family is built for 120 W, relatives for more.
const MOST: MilliWatts = MilliWatts::from_watts(400);
/// Until then the chips are being started, and hash rate and power do not belong together.
const SETTLED: Duration = Duration::from_secs(60);

/// A board: its version, its family's name, and watts added to the regulator's output; `None` where
/// an INA260 measures instead.
type Board = (&'static str, &'static str, Option<f64>);

/// The boards of `device_config.h`.
const BOARDS: [Board; 23] = [
    ("2.2", "Max", None),
    ("102", "Max", None),
    ("0.11", "Ultra", None),
    ("201", "Ultra", None),
    ("202", "Ultra", None),
    ("203", "Ultra", None),
    ("204", "Ultra", None),
    ("205", "Ultra", None),
    ("207", "Ultra", Some(5.0)),
    ("302", "Hex", Some(12.0)),
    ("303", "Hex", Some(12.0)),
    ("400", "Supra", None),
    ("401", "Supra", None),
    ("402", "Supra", Some(5.0)),
    ("403", "Supra", Some(5.0)),
    ("600", "Gamma", Some(5.0)),
    ("601", "Gamma", Some(5.0)),
    ("602", "Gamma", Some(5.0)),
    ("603", "Gamma", Some(5.0)),
    ("650", "GammaDuo", Some(5.0)),
    ("701", "SupraHex", Some(25.0)),
    ("702", "SupraHex", Some(25.0)),
    ("801", "GammaTurbo", Some(10.0)),
];

const MEASURED: Source = Source {
    kind: Kind::AsicPsu,
    scope: Scope::Device,
    tier: Tier::DEVICE_REPORTED,
    uncertainty_ppm: 50_000,
};
const MODELLED: Source = Source {
    kind: Kind::AsicModel,
    scope: Scope::Device,
    tier: Tier::FIRMWARE_MODEL,
    uncertainty_ppm: 400_000,
};

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    vec![Request::Http { path: "/api/system/info".to_owned() }]
}

/// What the answer says.
///
/// # Errors
/// Where nothing came, and where the answer is none or the device refused it.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let [info] = web::objects([INFO], answers)?;
    web::known_by(INFO, &info, &["ASICModel", "boardVersion", "power"])?;
    let version = board_version(&info);
    let board = BOARDS.iter().find(|board| version.as_deref() == Some(board.0));
    let mut telemetry = Telemetry {
        identity: identity(&info, version.as_deref(), board),
        claimed_hashes_per_second: hash_rate(at(&info, "/hashRate"), GIGAHASH),
        uptime: web::seconds(at(&info, "/uptimeSeconds")),
        ..Telemetry::default()
    };
    note_empty_current(&mut telemetry, &info);
    let value = at(&info, "/power");
    let Some(power) = telemetry.power(FIELD, value, MOST) else { return Ok(telemetry) };
    if let Some(reason) = doubt(&info, power, board, telemetry.uptime) {
        telemetry.refuse(FIELD, value, reason);
        return Ok(telemetry);
    }
    let (source, meaning) = source(version.as_deref(), board);
    telemetry.figures.push(source.power("board", power, None, FIELD, meaning));
    Ok(telemetry)
}

/// Why a power is not believed, although it is a number that such a board can draw.
fn doubt(
    info: &Value,
    power: MilliWatts,
    board: Option<&Board>,
    uptime: Option<Duration>,
) -> Option<String> {
    if let Some(fault) = fault(info) {
        return Some(format!("the board reports a fault of its power: {fault}"));
    }
    if let Some(uptime) = uptime.filter(|uptime| *uptime < SETTLED) {
        let (now, settled) = (uptime.as_secs(), SETTLED.as_secs());
        return Some(format!("started {now} s ago; power and hash rate settle in {settled} s"));
    }
    let watts = power.watts_f64();
    if board.and_then(|board| board.2).is_some_and(|rest| (watts - rest).abs() < 0.001) {
        return Some("only the family's constant: the regulator gave no reading".to_owned());
    }
    let floor = efficiency::floor();
    let joules = watts / terahashes(info)?;
    (joules < floor.joules_per_terahash).then(|| {
        format!("{joules:.2} J/TH with its hash rate; the best device sold takes {} J/TH", {
            floor.joules_per_terahash
        })
    })
}

/// The lower of its hash rates now and over a minute, so that a burst of luck refuses nothing.
fn terahashes(info: &Value) -> Option<f64> {
    let rates = ["/hashRate", "/hashRate_1m"].into_iter().filter_map(|path| number(at(info, path)));
    rates.filter(|rate| *rate > 0.0).min_by(f64::total_cmp).map(|rate| rate / 1000.0)
}

/// A fault of the regulator. The field is there only while there is one; an empty text is none.
fn fault(info: &Value) -> Option<String> {
    let fault = at(info, "/power_fault");
    let none = fault.is_null()
        || fault == &Value::Bool(false)
        || number(fault) == Some(0.0)
        || fault.as_str().is_some_and(|text| text.trim().is_empty());
    (!none).then(|| web::shown(fault))
}

/// Some versions leave `current` at 0 (#732). It is not counted here, and is no zero elsewhere.
fn note_empty_current(telemetry: &mut Telemetry, info: &Value) {
    let current = at(info, "/current");
    if number(current) == Some(0.0) {
        let reason = "a board that answers draws a current; some versions leave this empty";
        telemetry.refuse("system/info: current", current, reason);
    }
}

/// What `power` is on that board. One that is not known may be a relative's, and is a model's.
fn source(version: Option<&str>, board: Option<&Board>) -> (Source, String) {
    match board {
        Some((_, _, None)) => {
            (MEASURED, "direct current into the board, measured behind the adapter".to_owned())
        }
        Some((_, _, Some(rest))) => (
            MODELLED,
            format!("the regulator's output plus a constant {rest} W, behind the adapter"),
        ),
        None => {
            let version = version.unwrap_or("unnamed");
            (MODELLED, format!("by the firmware, behind the adapter; board {version} is not known"))
        }
    }
}

/// The board's version, which some relatives write as a number.
fn board_version(info: &Value) -> Option<String> {
    let version = at(info, "/boardVersion");
    text(version).or_else(|| version.is_number().then(|| version.to_string()))
}

fn identity(info: &Value, version: Option<&str>, board: Option<&Board>) -> Identity {
    let chip = text(at(info, "/ASICModel"));
    let family = text(at(info, "/deviceModel")).or_else(|| board.map(|board| board.1.to_owned()));
    let model: Vec<_> =
        [family.as_deref(), version, chip.as_deref()].into_iter().flatten().collect();
    Identity {
        maker: "ESP-Miner".to_owned(),
        model: (!model.is_empty()).then(|| model.join(" ")),
        firmware: text(at(info, "/version")),
        serial: text(at(info, "/macAddr")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::device::Quantity;

    const RECORDED: &[u8] = include_bytes!("../../fixtures/asic/bitaxe/system_info.json");

    /// The recorded answer with other values.
    fn with(changes: &Value) -> Telemetry {
        let mut info: Value = serde_json::from_slice(RECORDED).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            info[key] = value.clone();
        }
        read(&[Some(info.to_string().as_bytes())]).unwrap()
    }

    fn reason(telemetry: &Telemetry) -> &str {
        assert!(telemetry.figures.is_empty(), "{telemetry:?}");
        let power = telemetry.refused.iter().find(|one| one.field == FIELD).unwrap();
        &power.reason
    }

    #[test]
    fn a_start_up_transient_is_refused() {
        let telemetry = read(&[Some(RECORDED)]).unwrap();
        assert_eq!(reason(&telemetry), "started 4 s ago; power and hash rate settle in 60 s");
        assert_eq!(telemetry.refused[0].text, "2.65000009536743");
        assert_eq!(telemetry.identity.model.as_deref(), Some("Supra 401 BM1368"));
        assert_eq!(telemetry.identity.serial.as_deref(), Some("AA:BB:CC:DD:EE:FF"));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_power_below_the_best_devices_is_refused() {
        let telemetry = with(&json!({"uptimeSeconds": 4000}));
        assert!(reason(&telemetry).starts_with("2.65 J/TH"), "{telemetry:?}");
        // Also where the uptime has vanished (#1556).
        assert!(reason(&with(&json!({"uptimeSeconds": null}))).starts_with("2.65 J/TH"));
        // A burst of luck does not make an honest power one.
        let lucky = json!({"uptimeSeconds": 99, "power": 14, "hashRate": 1900, "hashRate_1m": 700});
        assert_eq!(with(&lucky).figures.len(), 1);
    }

    #[test]
    fn a_board_with_an_ina260_measures_its_direct_current() {
        let telemetry = with(&json!({"uptimeSeconds": 4000, "power": 14.37, "hashRate": 650}));
        let [figure] = &telemetry.figures[..] else { panic!("{telemetry:?}") };
        assert_eq!(figure.quantity, Quantity::Power(MilliWatts::new(14_370)));
        assert_eq!((figure.kind, figure.scope), (Kind::AsicPsu, Scope::Device));
        assert_eq!((figure.tier, figure.uncertainty_ppm), (Tier::DEVICE_REPORTED, 50_000));
        assert_eq!(figure.meaning, "direct current into the board, measured behind the adapter");
    }

    #[test]
    fn a_board_with_a_tps546_is_a_model_far_below_the_plug() {
        let gamma =
            json!({"uptimeSeconds": 4000, "power": 14, "hashRate": 1000, "boardVersion": "601"});
        let figure = with(&gamma).figures.remove(0);
        assert_eq!((figure.kind, figure.scope), (Kind::AsicModel, Scope::Device));
        assert_eq!((figure.tier, figure.uncertainty_ppm), (Tier::FIRMWARE_MODEL, 400_000));
        assert_eq!(
            figure.meaning,
            "the regulator's output plus a constant 5 W, behind the adapter"
        );
        for board in [json!("9999"), json!(502), json!(null)] {
            let other = json!({"uptimeSeconds": 4000, "power": 14, "boardVersion": board});
            let figure = with(&other).figures.remove(0);
            assert_eq!(figure.tier, Tier::FIRMWARE_MODEL);
            assert!(figure.meaning.contains("not known"));
        }
    }

    #[test]
    fn the_constant_alone_is_no_power() {
        let dead =
            json!({"uptimeSeconds": 4000, "power": 25, "hashRate": 0, "boardVersion": "701"});
        assert!(reason(&with(&dead)).contains("constant"));
    }

    #[test]
    fn a_current_that_is_silently_0_is_no_zero() {
        let telemetry =
            with(&json!({"uptimeSeconds": 4000, "power": 14, "hashRate": 650, "current": 0}));
        assert_eq!(telemetry.figures.len(), 1);
        assert_eq!(telemetry.refused[0].field, "system/info: current");
    }

    #[test]
    fn fields_that_vanish_are_absent() {
        let telemetry = with(&json!({"power": null, "hashRate": null, "version": null}));
        assert!(telemetry.figures.is_empty() && telemetry.refused.is_empty());
        assert_eq!(telemetry.claimed_hashes_per_second, None);
        assert_eq!(telemetry.identity.firmware, None);
    }

    #[test]
    fn a_fault_of_the_power_refuses_it() {
        let running =
            |fault: Value| with(&json!({"uptimeSeconds": 4000, "power": 14, "power_fault": fault}));
        assert!(reason(&running(json!("VIN undervoltage"))).contains("VIN undervoltage"));
        for none in [json!(""), json!(null), json!(0), json!(false)] {
            assert_eq!(running(none).figures.len(), 1);
        }
    }

    #[test]
    fn the_hash_rate_is_in_gigahashes_and_the_firmware_is_part_of_the_record() {
        let telemetry = read(&[Some(RECORDED)]).unwrap();
        assert_eq!(telemetry.claimed_hashes_per_second, Some(1_000_000_000_000));
        assert_eq!(telemetry.identity.firmware.as_deref(), Some("v2.4.5-3-gb5d1e36-dirty"));
    }

    #[test]
    fn what_is_no_such_device_says_nothing() {
        for answer in ["<html>", "{}", "[]", "null", "{\"error\":\"Not found\"}"] {
            assert!(read(&[Some(answer.as_bytes())]).is_err(), "{answer}");
        }
        assert_eq!(read(&[None]), Err(Unreadable::Silent));
    }
}
