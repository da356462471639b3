//! Whatsminers with their maker's first or second protocol (the cgminer API on port 4028).
//!
//! `summary` has two powers. `Power_RT` is the real-time one and comes first: a caller who asks every
//! half minute integrates what is drawn then, starts and stops included. `Power` is steadier; the
//! third protocol splits the two into `power-realtime` and `power-5min`, so it is an average, whose
//! window this one does not say. Old firmware has `Power` alone. -1 is the code for unknown
//! (pyasic's btminer.py). Recorded answers: `energy/fixtures/asic/whatsminer-v1`.
//!
//! Deliberately not here: `Power Limit` and `Power Mode`, which are settings; `Power Current`, whose
//! unit nobody documents; `get_psu`'s `vin` times `iin`, which are volt-amperes and not watts. The
//! third protocol has a module of its own.
//!
//! Units: watts; `MHS` fields are in 10^6 hashes a second.

use serde_json::Value;

use super::{
    Answers, Figure, Identity, Request, Telemetry, Unreadable,
    cgminer::{self, MOST, field, note_work, replies, row, supply_input},
    value::text,
};

const COMMANDS: [&str; 4] = ["summary", "get_version", "get_psu", "devdetails"];

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
    let [summary, version, psu, details] = replies(COMMANDS, answers, &mut telemetry)?;
    let summary = row(&summary, "SUMMARY");
    telemetry.identity = Identity {
        maker: "MicroBT".to_owned(),
        model: text(field(row(&details, "DEVDETAILS"), "Model")),
        firmware: text(field(field(&version, "Msg"), "fw_ver"))
            .or_else(|| text(field(summary, "Firmware Version")))
            .map(|version| version.trim_matches('\'').to_owned()),
        serial: text(field(summary, "MAC")),
    };
    note_work(&mut telemetry, summary);
    let supply = text(field(field(&psu, "Msg"), "model"));
    let supply = supply.map_or_else(String::new, |model| format!(" ({model})"));
    note_power(
        &mut telemetry,
        summary,
        "psu",
        "Power_RT",
        &format!("power now, as the supply{supply} says it"),
    );
    let average =
        format!("average power, as the supply{supply} says it; over how long is not said");
    note_power(&mut telemetry, summary, "psu-average", "Power", &average);
    Ok(telemetry)
}

fn note_power(telemetry: &mut Telemetry, summary: &Value, meter: &str, name: &str, meaning: &str) {
    let place = format!("summary: SUMMARY[0].{name}");
    if let Some(power) = telemetry.power(&place, field(summary, name), MOST) {
        let figure = supply_input(power, &place, meaning);
        telemetry.figures.push(Figure { meter: meter.to_owned(), ..figure });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::cgminer::testing::{
            figures, nothing_impossible_is_read, read as all, read_json, reasons,
        },
        *,
    };
    use crate::meter::{Kind, Scope};

    const SUMMARY: &[u8] = include_bytes!("../../fixtures/asic/whatsminer-v1/summary.json");
    const VERSION: &[u8] = include_bytes!("../../fixtures/asic/whatsminer-v1/get_version.json");
    const PSU: &[u8] = include_bytes!("../../fixtures/asic/whatsminer-v1/get_psu.json");

    #[test]
    fn the_power_of_now_comes_before_the_average() {
        let telemetry = all(read, &[SUMMARY, VERSION, PSU]);
        let expected =
            [(3_427_000, Kind::AsicPsu, Scope::Rig, 3), (3_417_000, Kind::AsicPsu, Scope::Rig, 3)];
        assert_eq!(figures(&telemetry), expected);
        assert_eq!(telemetry.figures[0].meter, "psu");
        assert_eq!(telemetry.figures[1].meter, "psu-average");
        assert!(telemetry.figures[0].meaning.contains("P21-12-3600-E"));
        assert_eq!(telemetry.figures[0].uncertainty_ppm, 50_000);
        assert_eq!(telemetry.refused, []);
        assert_eq!(telemetry.identity.firmware.as_deref(), Some("20210322.22.REL"));
        assert_eq!(telemetry.identity.serial.as_deref(), Some("C4:08:28:00:A4:19"));
        let summary = all(read, &[SUMMARY]);
        assert_eq!(summary.identity.firmware.as_deref(), Some("20210322.22.REL"));
    }

    #[test]
    fn megahashes_are_not_gigahashes() {
        let telemetry = all(read, &[SUMMARY]);
        assert_eq!(telemetry.claimed_hashes_per_second, Some(67_439_352_490_000));
        assert_eq!(telemetry.uptime.map(|uptime| uptime.as_secs()), Some(10_154));
    }

    #[test]
    fn a_proven_terahash_takes_51_joules() {
        let telemetry = all(read, &[SUMMARY]);
        let seconds = telemetry.uptime.unwrap().as_secs_f64();
        let proven = 158_334_976_f64 * 4_295_032_833.000_015 / seconds / 1e12;
        assert!((proven - 66.97).abs() < 0.005, "{proven}");
        assert!((proven / 67.753_251_19 - 0.9885).abs() < 5e-5);
        assert!((3417.0 / proven - 51.0).abs() < 0.05);
    }

    #[test]
    fn minus_one_is_unknown_and_a_limit_is_no_power() {
        let summary = json!({"SUMMARY": [{"Power": -1, "Power_RT": -1, "Power Limit": 3500}]});
        let telemetry = read_json(read, &[summary]);
        assert_eq!(telemetry.figures, []);
        assert_eq!(reasons(&telemetry).matches("unknown").count(), 2);
        let limit = json!({"SUMMARY": {"Power": null, "Power Limit": 3300}});
        assert_eq!(read_json(read, &[limit]).figures, []);
    }

    #[test]
    fn firmware_without_a_power_of_now_gives_the_average() {
        let old = json!({"SUMMARY": [{"Power": "3200", "Power Limit": 3300}]});
        let version = json!({"STATUS": "E", "Code": 14, "Msg": "invalid cmd"});
        let telemetry = read_json(read, &[old, version]);
        assert_eq!(figures(&telemetry), [(3_200_000, Kind::AsicPsu, Scope::Rig, 3)]);
        assert_eq!(telemetry.figures[0].meter, "psu-average");
        assert!(reasons(&telemetry).contains("invalid cmd"));
    }

    #[test]
    fn no_bytes_make_an_impossible_power() {
        nothing_impossible_is_read(read, &[SUMMARY, VERSION, PSU]);
    }
}
