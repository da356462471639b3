//! Bitdeer's Sealminers.
//!
//! `stats` over the cgminer API has the supply's readings by name, input and output, and its
//! efficiency; the recorded answers (`energy/fixtures/asic/sealminer`) agree with each other: 15.671 V
//! times 206 A is 3228 W out, 3504 W go in. The page `miner-psu-status.php` has the input as `Power`
//! with the output's volts and amperes beside it. It wants a login, which is the caller's business,
//! so it is asked only for firmware whose `stats` says no power.
//!
//! Deliberately not here: `Power Limit`, which is a setting.
//!
//! Units: watts, volts, amperes; `MHS` fields are in 10^6 hashes a second.

use serde_json::Value;
use units::MilliWatts;

use super::{
    Answers, Identity, Request, Telemetry, Unreadable,
    cgminer::{self, MOST, field, note_work, replies, row, supply_input, supply_output},
    value::{number, text},
};

const COMMANDS: [&str; 4] = ["stats", "summary", "version", "miner-psu-status"];
const INPUT: &str = "stats: STATS[0].PSU Input Power";
const OUTPUT: &str = "stats: STATS[0].PSU Output Power";
const PAGE: &str = "miner-psu-status: Power";
const INTO: &str = "alternating current into the supply, by the supply's own sensors";

/// What to ask.
#[must_use]
pub fn requests() -> Vec<Request> {
    let mut requests = cgminer::requests(&COMMANDS[..3]);
    requests.push(Request::Http { path: "/cgi-bin/miner-psu-status.php".to_owned() });
    requests
}

/// What the answers say.
///
/// # Errors
///
/// If not one of them can be read.
pub fn read(answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut telemetry = Telemetry::default();
    let [stats, summary, version, page] = replies(COMMANDS, answers, &mut telemetry)?;
    let stats = row(&stats, "STATS");
    telemetry.identity = Identity {
        maker: "Bitdeer".to_owned(),
        model: text(field(stats, "Model")),
        firmware: text(field(stats, "Firmware"))
            .or_else(|| text(field(row(&version, "VERSION"), "BDMiner"))),
        serial: text(field(stats, "Ctrl Board SN")).or_else(|| text(field(stats, "MAC"))),
    };
    note_work(&mut telemetry, row(&summary, "SUMMARY"));
    note_stats(&mut telemetry, stats);
    if telemetry.figures.is_empty() {
        note_page(&mut telemetry, &page);
    }
    Ok(telemetry)
}

fn note_stats(telemetry: &mut Telemetry, stats: &Value) {
    if fails(field(stats, "PSU Error")) {
        telemetry.refuse(INPUT, field(stats, "PSU Error"), "the supply reports an error");
        return;
    }
    let output = number(field(stats, "PSU Output Power")).filter(|watts| *watts > 0.0);
    if let Some(power) = input(telemetry, INPUT, field(stats, "PSU Input Power"), output) {
        telemetry.figures.push(supply_input(power, INPUT, INTO));
    }
    // Nothing comes out while the boards are off: that is true, and no figure of it.
    let output = output.and_then(|watts| telemetry.power(OUTPUT, &Value::from(watts), MOST));
    if let Some(power) = output {
        let meaning = "direct current out of the supply; what it loses is missing";
        telemetry.figures.push(supply_output(power, OUTPUT, meaning));
    }
}

fn note_page(telemetry: &mut Telemetry, page: &Value) {
    if fails(field(page, "StatusCode")) {
        telemetry.refuse(PAGE, field(page, "StatusCode"), "the supply reports an error");
        return;
    }
    let output = number(field(page, "Voltage")).zip(number(field(page, "Current")));
    let output = output.map(|(volts, amperes)| volts * amperes);
    if let Some(power) = input(telemetry, PAGE, field(page, "Power"), output) {
        telemetry.figures.push(supply_input(power, PAGE, INTO));
    }
}

/// A power that goes in, if no more comes out: else it is not of the input, whatever its name.
fn input(
    telemetry: &mut Telemetry,
    place: &str,
    value: &Value,
    output: Option<f64>,
) -> Option<MilliWatts> {
    let power = telemetry.power(place, value, MOST)?;
    if output.is_some_and(|output| output > power.watts_f64() * 1.02) {
        telemetry.refuse(place, value, "more comes out of the supply than goes in");
        return None;
    }
    Some(power)
}

/// Whether a supply's code, such as "0x0000", says that something is wrong.
fn fails(code: &Value) -> bool {
    match code.as_str() {
        Some(code) => code.trim().trim_start_matches("0x").contains(|c| c != '0'),
        None => number(code).is_some_and(|code| code != 0.0),
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

    const STATS: &[u8] = include_bytes!("../../fixtures/asic/sealminer/stats.json");
    const SUMMARY: &[u8] = include_bytes!("../../fixtures/asic/sealminer/summary.json");
    const PSU: &[u8] = include_bytes!("../../fixtures/asic/sealminer/miner_psu_status.json");

    #[test]
    fn the_input_comes_first_and_the_output_is_a_narrower_figure() {
        let telemetry = all(read, &[STATS, SUMMARY]);
        let expected = [
            (3_504_000, Kind::AsicPsu, Scope::Rig, 3),
            (3_232_000, Kind::AsicPsu, Scope::Device, 3),
        ];
        assert_eq!(figures(&telemetry), expected);
        assert_eq!(telemetry.refused, []);
        assert_eq!(telemetry.claimed_hashes_per_second, Some(197_599_714_100_000));
        let identity = &telemetry.identity;
        assert_eq!(identity.model.as_deref(), Some("A2"));
        assert_eq!(identity.firmware.as_deref(), Some("2025091001"));
        assert_eq!(identity.serial.as_deref(), Some("S127200252001850"));
    }

    #[test]
    fn the_page_is_read_where_stats_says_no_power() {
        let telemetry = read(&[None, Some(SUMMARY), None, Some(PSU)]).unwrap();
        assert_eq!(figures(&telemetry), [(3_504_000, Kind::AsicPsu, Scope::Rig, 3)]);
        let login = read(&[Some(STATS), None, None, Some(b"<html>log in</html>")]).unwrap();
        assert_eq!(figures(&login).len(), 2);
    }

    #[test]
    fn a_supply_with_an_error_or_without_losses_is_not_believed() {
        let stats = |error, input, output| {
            json!({"STATS": {
                "PSU Error": error, "PSU Input Power": input, "PSU Output Power": output
            }})
        };
        let wrong = read_json(read, &[stats(json!("0x00000010"), 3504, 3232)]);
        assert_eq!(wrong.figures, []);
        assert!(reasons(&wrong).contains("reports an error"));
        let swapped = read_json(read, &[stats(json!(0), 3232, 3504)]);
        assert_eq!(figures(&swapped), [(3_504_000, Kind::AsicPsu, Scope::Device, 3)]);
        assert!(reasons(&swapped).contains("more comes out"));
        let idle = read_json(read, &[stats(json!("0x00000000"), 40, 0)]);
        assert_eq!(figures(&idle), [(40_000, Kind::AsicPsu, Scope::Rig, 3)]);
    }

    #[test]
    fn no_bytes_make_an_impossible_power() {
        nothing_impossible_is_read(read, &[STATS, SUMMARY, b"", PSU]);
        nothing_impossible_is_read(read, &[b"", SUMMARY, b"", PSU]);
    }
}
