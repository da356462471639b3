//! Antminers with `LuxOS`.
//!
//! Its command `power` gives one figure and a flag that no other firmware gives: `PSU` is true where
//! the supply said the figure, and false where the firmware computed it (so named by the maker;
//! recorded answers in `energy/fixtures/asic/luxos` have false). Without the flag it counts as
//! computed. Where the supply said it, the maker does not say of which side of the supply it is, so
//! its uncertainty is twice that of a figure known to be of the input.
//!
//! Deliberately not here: `psuget`, whose readings came later and of which no answer is recorded,
//! and the power of tuning profiles, which is a target.
//!
//! Units: watts; `GHS` fields are in 10^9 hashes a second.

use serde_json::Value;

use super::{
    Answers, Figure, Identity, Request, Telemetry, Unreadable,
    cgminer::{self, MOST, field, firmware_model, note_work, replies, row, supply_input},
    value::text,
};

const COMMANDS: [&str; 3] = ["power", "summary", "version"];
const PLACE: &str = "power: POWER[0].Watts";

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    cgminer::requests(&COMMANDS)
}

/// What the answers say.
///
/// # Errors
///
/// If not one of them can be read.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut telemetry = Telemetry::default();
    let [power, summary, version] = replies(COMMANDS, answers, &mut telemetry)?;
    let version = row(&version, "VERSION");
    telemetry.identity = Identity {
        maker: "LuxOS".to_owned(),
        model: text(field(version, "Type")),
        firmware: text(field(version, "LUXminer")).or_else(|| text(field(version, "Miner"))),
        serial: None,
    };
    note_work(&mut telemetry, row(&summary, "SUMMARY"));
    let row = row(&power, "POWER");
    if let Some(power) = telemetry.power(PLACE, field(row, "Watts"), MOST) {
        let figure = if is_true(field(row, "PSU")) {
            let meaning = "power that the supply says (PSU: true); the maker does not say on which \
                           side of the supply";
            Figure { uncertainty_ppm: 100_000, ..supply_input(power, PLACE, meaning) }
        } else {
            let meaning = "power that the firmware computes (PSU: false or missing)";
            firmware_model(power, PLACE, meaning)
        };
        telemetry.figures.push(figure);
    }
    Ok(telemetry)
}

/// Only a clear yes makes a figure a measured one.
fn is_true(flag: &Value) -> bool {
    let word = flag.as_str().is_some_and(|word| word.trim().eq_ignore_ascii_case("true"));
    word || flag.as_bool() == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::cgminer::testing::{figures, nothing_impossible_is_read, read as all, read_json},
        *,
    };
    use crate::meter::{Kind, Scope};

    const POWER: &[u8] = include_bytes!("../../fixtures/asic/luxos/power.json");
    const SUMMARY: &[u8] = include_bytes!("../../fixtures/asic/luxos/summary.json");
    const VERSION: &[u8] = include_bytes!("../../fixtures/asic/luxos/version.json");

    #[test]
    fn a_figure_without_the_supply_is_computed() {
        let telemetry = all(read, &[POWER, SUMMARY, VERSION]);
        assert_eq!(figures(&telemetry), [(1_051_000, Kind::AsicModel, Scope::Rig, 4)]);
        assert!(telemetry.figures[0].meaning.contains("computes"));
        assert_eq!(telemetry.figures[0].uncertainty_ppm, 150_000);
        assert_eq!(telemetry.refused, []);
        assert_eq!(telemetry.claimed_hashes_per_second, Some(60_829_480_000_000));
        assert_eq!(telemetry.uptime.map(|uptime| uptime.as_secs()), Some(3453));
        assert_eq!(telemetry.identity.model.as_deref(), Some("Antminer S19k Pro"));
        let firmware = "2025.4.8.220305-57b389c7";
        assert_eq!(telemetry.identity.firmware.as_deref(), Some(firmware));
    }

    #[test]
    fn the_flag_decides_between_measured_and_computed() {
        for (flag, kind, tier) in [
            (json!(true), Kind::AsicPsu, 3),
            (json!("True"), Kind::AsicPsu, 3),
            (json!(false), Kind::AsicModel, 4),
            (json!("false"), Kind::AsicModel, 4),
            (json!(null), Kind::AsicModel, 4),
            (json!(1), Kind::AsicModel, 4),
        ] {
            let answer = json!({"POWER": {"Watts": "1051", "PSU": flag}});
            let telemetry = read_json(read, &[answer]);
            assert_eq!(figures(&telemetry), [(1_051_000, kind, Scope::Rig, tier)], "{flag}");
        }
        let telemetry = read_json(read, &[json!({"POWER": [{"Watts": 1051.5}]})]);
        assert_eq!(figures(&telemetry), [(1_051_500, Kind::AsicModel, Scope::Rig, 4)]);
    }

    #[test]
    fn a_sleeping_device_says_no_power() {
        let telemetry = read_json(read, &[json!({"POWER": [{"Watts": 0, "PSU": true}]})]);
        assert_eq!(telemetry.figures, []);
        assert_eq!(telemetry.refused[0].field, PLACE);
        let refused = json!({"STATUS": [{"STATUS": "E", "Msg": "no"}]}).to_string();
        let telemetry = read(&[Some(refused.as_bytes()), Some(SUMMARY)]).unwrap();
        assert_eq!(telemetry.refused[0].reason, "power: the device says \"no\"");
    }

    #[test]
    fn no_bytes_make_an_impossible_power() {
        nothing_impossible_is_read(read, &[POWER, SUMMARY, VERSION]);
    }
}
