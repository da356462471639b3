//! Antminers with their maker's firmware, and firmware that is made of it (Hiveon, old `VNish`).
//!
//! The maker's firmware says no power at all, over this API or another (pyasic's issues 29 and 45;
//! `energy/fixtures/asic/antminer-bmminer`): such a device needs a meter, or its model's efficiency
//! times its proven work. Others add a row's `chain_power` ("3250 W"), `power` or `watt` to `STATS`
//! (asic-rs and pyasic read them), and nobody documents where these come from, so they count as what
//! the firmware computes.
//!
//! Deliberately not here: `chain_consumption1` and the like, which are boards and not the device,
//! and any guess of a power from frequency and voltage.
//!
//! Units: `GHS` fields are in 10^9 hashes a second.

use serde_json::Value;

use super::{
    Answers, Identity, Request, Telemetry, Unreadable,
    cgminer::{self, MOST, field, firmware_model, note_work, replies, row, rows},
    value::text,
};

const COMMANDS: [&str; 3] = ["stats", "summary", "version"];
/// Names under which firmware writes the device's power. A field's name counts in any case.
const POWERS: [&str; 3] = ["chain_power", "power", "watt"];

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
    let [stats, summary, version] = replies(COMMANDS, answers, &mut telemetry)?;
    telemetry.identity = identity(&stats, row(&version, "VERSION"));
    note_work(&mut telemetry, row(&summary, "SUMMARY"));
    if telemetry.claimed_hashes_per_second.is_none()
        && let Some(row) = rows(&stats, "STATS").nth(1)
    {
        note_work(&mut telemetry, row);
    }
    note_power(&mut telemetry, &stats);
    Ok(telemetry)
}

fn note_power(telemetry: &mut Telemetry, stats: &Value) {
    let said = rows(stats, "STATS").find_map(|row| {
        POWERS.iter().map(|name| (*name, field(row, name))).find(|(_, value)| !value.is_null())
    });
    let Some((name, value)) = said else {
        let reason = if stats.is_null() {
            "no answer in which a power could stand"
        } else {
            "this firmware says no power: it takes a meter, or its model times the proven work"
        };
        telemetry.refuse("stats", &Value::Null, reason);
        return;
    };
    let place = format!("stats: STATS[].{name}");
    if let Some(power) = telemetry.power(&place, value, MOST) {
        let meaning = "what the firmware says the device draws; where it has that from is not \
                       documented, so it counts as computed and not as measured";
        telemetry.figures.push(firmware_model(power, &place, meaning));
    }
}

fn identity(stats: &Value, version: &Value) -> Identity {
    let head = row(stats, "STATS");
    let said = |name| text(field(version, name)).or_else(|| text(field(head, name)));
    let model = said("Type");
    let firmware = match (said("Miner"), said("CompileTime")) {
        (Some(miner), Some(time)) => Some(format!("{miner}, {time}")),
        (miner, time) => miner.or(time),
    };
    let serial = rows(stats, "STATS").find_map(|row| text(field(row, "miner_id")));
    let named = model.iter().chain(&firmware).map(|text| text.to_ascii_lowercase());
    let others = [("hiveon", "Hiveon"), ("vnish", "VNish")];
    let other =
        named.flat_map(|text| others.map(|(word, maker)| text.contains(word).then_some(maker)));
    let maker = other.flatten().next().unwrap_or("Bitmain").to_owned();
    Identity { maker, model, firmware, serial }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::cgminer::testing::{figures, nothing_impossible_is_read, read_json, reasons},
        *,
    };
    use crate::meter::{Kind, Scope};

    const STATS: &[u8] = include_bytes!("../../fixtures/asic/antminer-bmminer/stats.json");
    const SUMMARY: &[u8] = include_bytes!("../../fixtures/asic/antminer-bmminer/summary.json");
    const VERSION: &[u8] = include_bytes!("../../fixtures/asic/antminer-bmminer/version.json");

    fn recorded() -> Telemetry {
        read(&[Some(STATS), Some(SUMMARY), Some(VERSION)]).unwrap()
    }

    #[test]
    fn the_makers_firmware_says_no_power_and_none_is_made_up() {
        let telemetry = recorded();
        assert_eq!(telemetry.figures, []);
        assert_eq!(telemetry.refused.len(), 1);
        assert!(telemetry.refused[0].reason.contains("takes a meter"));
        let identity = &telemetry.identity;
        assert_eq!(identity.maker, "Bitmain");
        assert_eq!(identity.model.as_deref(), Some("Antminer S19 Pro"));
        assert_eq!(identity.serial.as_deref(), Some("8144d5ca79104814"));
        let firmware = "49.0.1.3, Tue Dec  6 16:12:30 CST 2022";
        assert_eq!(identity.firmware.as_deref(), Some(firmware));
    }

    #[test]
    fn gigahashes_are_not_megahashes() {
        assert_eq!(recorded().claimed_hashes_per_second, Some(110_566_890_000_000));
        let stats = read(&[Some(STATS), None, None]).unwrap();
        assert_eq!(stats.claimed_hashes_per_second, Some(110_566_890_000_000));
        assert_eq!(stats.uptime.map(|uptime| uptime.as_secs()), Some(50_474));
    }

    #[test]
    fn proven_work_is_0_9932_of_the_claimed() {
        let telemetry = recorded();
        let proven = 1_305_083_904_f64 * 4_295_032_833.000_015;
        let seconds = telemetry.uptime.unwrap().as_secs_f64();
        assert!((proven / seconds / 1e12 - 111.05).abs() < 0.01);
        let claimed = 5_643_633_754_730_f64 * 1e6;
        assert!((proven / claimed - 0.9932).abs() < 5e-5);
    }

    #[test]
    fn a_power_that_other_firmware_adds_is_computed_and_its_unit_is_cut_off() {
        for (name, value) in [
            ("chain_power", json!("3250 W")),
            ("chain_power", json!("3250 W (9.1 W/TH)")),
            ("Power", json!(3250)),
            ("power", json!("3250")),
            ("watt", json!(3250.0)),
        ] {
            let stats = json!({"STATS": [{"Type": "Antminer S17 (Hiveon)"}, {name: value}]});
            let telemetry = read_json(read, &[stats]);
            let expected = [(3_250_000, Kind::AsicModel, Scope::Rig, 4)];
            assert_eq!(figures(&telemetry), expected, "{name}");
            assert_eq!(telemetry.identity.maker, "Hiveon");
            assert_eq!(telemetry.refused, []);
        }
    }

    #[test]
    fn codes_for_unknown_are_no_power() {
        for value in [json!("0 W"), json!(0), json!(-1), json!(""), json!("W"), json!(90_000)] {
            let telemetry = read_json(read, &[json!({"STATS": [{}, {"chain_power": value}]})]);
            assert_eq!(telemetry.figures, [], "{value}");
            assert!(reasons(&telemetry).contains("chain_power"), "{value}");
        }
        let nothing = read_json(read, &[json!({"STATS": [{"chain_power": null}]})]);
        assert!(reasons(&nothing).contains("takes a meter"));
    }

    #[test]
    fn rows_without_a_comma_between_them_are_read() {
        let old = b"{\"STATUS\":[{\"STATUS\":\"S\"}],\"STATS\":[{\"Type\":\"Antminer S9\"}\
                    {\"GHS av\":\"13500.5\",\"Elapsed\":9}],\"id\":1}\0";
        let telemetry = read(&[Some(old)]).unwrap();
        assert_eq!(telemetry.identity.model.as_deref(), Some("Antminer S9"));
        assert_eq!(telemetry.claimed_hashes_per_second, Some(13_500_500_000_000));
    }

    #[test]
    fn no_bytes_make_an_impossible_power() {
        nothing_impossible_is_read(read, &[STATS, SUMMARY, VERSION]);
        let other = br#"{"STATS":[{},{"chain_power":"3250 W"}]}"#;
        nothing_impossible_is_read(read, &[other]);
    }
}
