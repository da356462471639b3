//! Auradine Teraflux devices (`FluxOS`).
//!
//! `psu` lists the supplies with strings such as "58.94W". `PowerIn` is what a supply takes: in the
//! recorded answer (`energy/fixtures/asic/auradine`) 245 V times 0.28 A is 69 VA where it says 58.94 W,
//! while the boards get nothing. With several supplies the device's power is the sum, and there is
//! none where one of them says nothing.
//!
//! Deliberately not here: the power that `mode` says, which is a target.
//!
//! Units: watts; `MHS` fields are in 10^6 hashes a second.

use serde_json::Value;
use units::MilliWatts;

use super::{
    Answers, Identity, Request, Telemetry, Unreadable,
    cgminer::{
        self, MOST, field, note_work, replies, row, rows, supply_input, supply_output, total,
    },
    value::{number, text},
};

const COMMANDS: [&str; 4] = ["psu", "summary", "version", "ipreport"];

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
    let [psu, summary, version, report] = replies(COMMANDS, answers, &mut telemetry)?;
    let report = row(&report, "IPReport");
    telemetry.identity = Identity {
        maker: "Auradine".to_owned(),
        model: text(field(report, "model")),
        firmware: text(field(report, "version"))
            .or_else(|| text(field(row(&version, "VERSION"), "GCMiner"))),
        serial: text(field(report, "SerialNo")).or_else(|| text(field(report, "mac"))),
    };
    note_work(&mut telemetry, row(&summary, "SUMMARY"));
    if let Some(power) = sum(&mut telemetry, &psu, "PowerIn") {
        let meaning = "alternating current into all supplies, by their own sensors";
        telemetry.figures.push(supply_input(power, "psu: PSU[].PowerIn", meaning));
    }
    // Nothing comes out while a device is idle: that is true, and no figure of it.
    let idle = rows(&psu, "PSU").any(|row| number(field(row, "PowerOut")) == Some(0.0));
    if !idle && let Some(power) = sum(&mut telemetry, &psu, "PowerOut") {
        let meaning = "direct current out of all supplies; what they lose is missing";
        telemetry.figures.push(supply_output(power, "psu: PSU[].PowerOut", meaning));
    }
    Ok(telemetry)
}

fn sum(telemetry: &mut Telemetry, psu: &Value, name: &str) -> Option<MilliWatts> {
    let place = |index| format!("psu: PSU[{index}].{name}");
    let parts: Vec<_> = rows(psu, "PSU")
        .enumerate()
        .map(|(index, row)| telemetry.power(&place(index), field(row, name), MOST))
        .collect();
    total(telemetry, &format!("psu: PSU[].{name}"), &parts)
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

    const PSU: &[u8] = include_bytes!("../../fixtures/asic/auradine/psu.json");
    const SUMMARY: &[u8] = include_bytes!("../../fixtures/asic/auradine/summary.json");
    const VERSION: &[u8] = include_bytes!("../../fixtures/asic/auradine/version.json");
    const REPORT: &[u8] = include_bytes!("../../fixtures/asic/auradine/ipreport.json");

    #[test]
    fn watts_with_a_unit_behind_them_are_read_to_the_milliwatt() {
        let telemetry = all(read, &[PSU, SUMMARY, VERSION, REPORT]);
        assert_eq!(figures(&telemetry), [(58_940, Kind::AsicPsu, Scope::Rig, 3)]);
        assert_eq!(telemetry.figures[0].uncertainty_ppm, 50_000);
        assert_eq!(telemetry.refused, []);
        assert_eq!(telemetry.claimed_hashes_per_second, Some(10_256_844_549_017));
        let identity = &telemetry.identity;
        assert_eq!(identity.model.as_deref(), Some("AT1500"));
        assert_eq!(identity.firmware.as_deref(), Some("2023-12.27"));
        assert_eq!(identity.serial.as_deref(), Some("AU23200006"));
    }

    #[test]
    fn several_supplies_are_summed_or_say_nothing() {
        let supply = |watts: &str, out: &str| json!({"PowerIn": watts, "PowerOut": out});
        let both = json!({"PSU": [supply("1700.5W", "1600W"), supply("1699.5 W", "1590W")]});
        let telemetry = read_json(read, &[both]);
        let expected = [
            (3_400_000, Kind::AsicPsu, Scope::Rig, 3),
            (3_190_000, Kind::AsicPsu, Scope::Device, 3),
        ];
        assert_eq!(figures(&telemetry), expected);
        for second in [json!({}), supply("0.00W", "0.00W"), supply("-1", "0"), supply("N/A", "0")] {
            let one = json!({"PSU": [supply("1700W", "1600W"), second]});
            let telemetry = read_json(read, &[one]);
            assert!(figures(&telemetry).iter().all(|one| one.2 != Scope::Rig));
            assert!(reasons(&telemetry).contains("1 of 2 parts say nothing"));
        }
    }

    #[test]
    fn no_bytes_make_an_impossible_power() {
        nothing_impossible_is_read(read, &[PSU, SUMMARY, VERSION, REPORT]);
    }
}
