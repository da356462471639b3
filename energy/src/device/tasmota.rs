//! Metering plugs with Tasmota's firmware.
//!
//! `Status 8` answers with the sensors: `ENERGY.Total` in kilowatt-hours and `ENERGY.Power` in watts.
//! Plugs with two meters give both as lists. `Total` has three decimals, that is steps of 3.6 kJ, and up
//! to five where the owner set them (`EnergyRes`). It goes on over restarts and can be set by its owner.
//! A plug without a meter has no `ENERGY`.
//!
//! Facts: Tasmota's documentation (Commands, JSON Status Responses) and recorded answers.
//! Deliberately not here: `Time`, which is local time without a zone and no time of a sample; `Today`
//! and `Yesterday`, which begin at the plug's midnight; apparent power.

use serde_json::Value;
use units::{MicroJoules, MilliWatts};

use super::{
    Answers, Quantity, Request, Telemetry, Unreadable,
    exact::{KILOWATT_HOUR, Meter, Parsed},
    value::text,
};
use crate::meter::{Kind, Scope};

/// More than a plug carries: 16 A at 250 V, and a margin.
const MOST: MilliWatts = MilliWatts::from_watts(5_000);
/// Decimals of a kilowatt-hour, at least and at most.
const DECIMALS: (u32, u32) = (3, 5);

/// What to ask; the same for every channel.
#[must_use]
pub fn requests() -> Vec<Request> {
    // Status 8 is the sensors, Status 2 the firmware.
    let path = |number: u8| Request::Http { path: format!("/cm?cmnd=Status%20{number}") };
    vec![path(8), path(2)]
}

/// What the answers say of one of the plug's meters, counted from 0.
///
/// # Errors
/// Where no answer came, or none that such a plug gives.
pub fn read(channel: u8, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut parsed = Parsed::new(answers, refusal);
    let mut telemetry = Telemetry::default();
    let status = parsed.take(0, "Status 8");
    // Over HTTP it is wrapped; what was published over MQTT is not.
    let sensors = status.get("StatusSNS").unwrap_or(&status);
    let energy = &sensors["ENERGY"];
    if !status.is_null() && !energy.is_object() {
        telemetry.refuse("Status 8: ENERGY", energy, "this plug has no meter");
    }
    counter(channel, energy, &mut telemetry);
    power(channel, energy, &mut telemetry);
    let firmware = parsed.take(1, "Status 2");
    telemetry.identity.maker = "Tasmota".to_owned();
    telemetry.identity.firmware = text(&firmware["StatusFWR"]["Version"]);
    telemetry.identity.model = text(&firmware["StatusFWR"]["Hardware"]);
    parsed.finish(telemetry)
}

/// A plug that wants a password, or does not know the command, says so with a 200.
fn refusal(value: &Value) -> Option<&Value> {
    value.get("WARNING").or_else(|| value.get("Command")).or_else(|| value.get("ERROR"))
}

fn counter(channel: u8, energy: &Value, telemetry: &mut Telemetry) {
    let Some((field, value)) = item(channel, energy, "Total", telemetry) else { return };
    let Some(count) = telemetry.count(&field, value, KILOWATT_HOUR) else { return };
    // Trailing zeros do not show: never finer than the setting allows, rather coarser than it is.
    let decimals = count.places.clamp(DECIMALS.0, DECIMALS.1);
    let step = MicroJoules::new(KILOWATT_HOUR.microjoules / 10_u128.pow(decimals));
    let quantity = Quantity::Energy { total: count.total, step };
    let meaning =
        "energy through the plug in kWh, as its owner calibrated it; the owner can set it";
    telemetry.figures.push(meter(channel).figure(quantity, &field, meaning));
}

fn power(channel: u8, energy: &Value, telemetry: &mut Telemetry) {
    let Some((field, value)) = item(channel, energy, "Power", telemetry) else { return };
    let Some(watts) = telemetry.draw(&field, value, MOST) else { return };
    let meaning = "active power through the plug now, as its owner calibrated it";
    telemetry.figures.push(meter(channel).figure(Quantity::Power(watts), &field, meaning));
}

fn meter(channel: u8) -> Meter {
    Meter::new(format!("energy:{channel}"), Kind::Plug, Scope::Rig)
}

/// Where a channel's value of that name stands, and what it is: an item of a list, or the one value
/// of a plug with one meter.
fn item<'a>(
    channel: u8,
    energy: &'a Value,
    name: &str,
    telemetry: &mut Telemetry,
) -> Option<(String, &'a Value)> {
    let several = |name: &str| energy[name].as_array().is_some_and(|list| list.len() > 1);
    let value = &energy[name];
    let field = format!("Status 8: ENERGY.{name}");
    match value {
        Value::Null => None,
        Value::Array(list) => {
            let found = list.get(usize::from(channel));
            if found.is_none() {
                telemetry.refuse(&field, value, "this plug has no such channel");
            }
            found.map(|found| (format!("{field}[{channel}]"), found))
        }
        // One value beside a list is that of all channels together.
        _ if several("Total") || several("Power") => {
            telemetry.refuse(&field, value, "one value for all channels");
            None
        }
        _ if channel > 0 => {
            telemetry.refuse(&field, value, "this plug has one channel");
            None
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Some((field, value))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        device::exact::testing::{energy, mutated, plausible, power, quantities},
        meter::Tier,
    };

    /// As recorded, in the wrapping of HTTP.
    const PLUG: &[u8] = br#"{"StatusSNS":{"Time":"2023-05-19T20:52:56","ENERGY":{"TotalStartTime":"2022-03-20T15:20:48","Total":514.153,"Yesterday":1.495,"Today":0.537,"Period":0,"Power":56,"ApparentPower":92,"ReactivePower":73,"Factor":0.61,"Voltage":234,"Current":0.392}}}"#;
    /// As recorded of a plug with two meters.
    const DUAL: &[u8] = br#"{"Time":"2026-09-18T11:19:21","ENERGY":{"TotalStartTime":"2026-09-16T00:00:00","Total":[2.813,0.254],"Yesterday":[1.530,0.125],"Power":[52,5],"Voltage":235}}"#;

    fn one(channel: u8, answer: &[u8]) -> Telemetry {
        read(channel, &[Some(answer), None]).unwrap()
    }

    #[test]
    fn the_recorded_plug_counts_kilowatt_hours_in_steps_of_three_decimals() {
        let firmware = br#"{"StatusFWR":{"Version":"13.1.0(tasmota)","Hardware":"ESP8266EX"}}"#;
        let telemetry = read(0, &[Some(PLUG), Some(firmware)]).unwrap();
        let expected = [energy(1_850_950_800_000_000, 3_600_000_000), power(56_000)];
        assert_eq!(quantities(&telemetry), expected);
        let counter = &telemetry.figures[0];
        assert_eq!((counter.kind, counter.scope), (Kind::Plug, Scope::Rig));
        assert_eq!((counter.tier, counter.uncertainty_ppm), (Tier::METERED, 20_000));
        assert_eq!(counter.field, "Status 8: ENERGY.Total");
        assert!(counter.meaning.contains("kWh"));
        assert_eq!(telemetry.identity.firmware.as_deref(), Some("13.1.0(tasmota)"));
    }

    #[test]
    fn two_meters_are_told_apart_and_never_added() {
        let first = [energy(10_126_800_000_000, 3_600_000_000), power(52_000)];
        assert_eq!(quantities(&one(0, DUAL)), first);
        let second = [energy(914_400_000_000, 3_600_000_000), power(5_000)];
        assert_eq!(quantities(&one(1, DUAL)), second);
        let telemetry = one(2, DUAL);
        assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (0, 2));
        let telemetry = one(1, PLUG);
        assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (0, 2));
        let mixed = br#"{"ENERGY":{"Total":3.067,"Power":[52,5]}}"#;
        let telemetry = one(1, mixed);
        assert_eq!(quantities(&telemetry), [power(5_000)]);
        assert!(telemetry.refused[0].reason.contains("all channels"));
    }

    #[test]
    fn more_decimals_are_a_finer_step() {
        let fine = br#"{"ENERGY":{"Total":14.68792,"Power":32}}"#;
        assert_eq!(
            quantities(&one(0, fine)),
            [energy(52_876_512_000_000, 36_000_000), power(32_000)]
        );
        let text = br#"{"ENERGY":{"Total":"14.687","Power":"32"}}"#;
        assert_eq!(
            quantities(&one(0, text)),
            [energy(52_873_200_000_000, 3_600_000_000), power(32_000)]
        );
    }

    #[test]
    fn local_time_is_never_used() {
        let text = String::from_utf8(PLUG.to_vec()).unwrap();
        let later = text.replace("2023-05-19T20:52:56", "1970-01-01T00:00:00");
        assert_eq!(one(0, later.as_bytes()), one(0, PLUG));
        let without = text.replace(r#""Time":"2023-05-19T20:52:56","#, "");
        assert_eq!(one(0, without.as_bytes()), one(0, PLUG));
    }

    #[test]
    fn a_plug_without_a_meter_is_no_data_and_one_that_is_off_is_zero() {
        let bare = br#"{"StatusSNS":{"Time":"2018-02-15T01:00:50","Switch1":"OFF"}}"#;
        let telemetry = one(0, bare);
        assert_eq!(telemetry.figures, []);
        assert!(telemetry.refused[0].reason.contains("no meter"));
        let off = br#"{"StatusSNS":{"ENERGY":{"Total":0.003,"Power": 0,"Current":0.000}}}"#;
        let expected = [energy(10_800_000_000, 3_600_000_000), power(0)];
        assert_eq!(quantities(&one(0, off)), expected);
        let null = br#"{"StatusSNS":{"ENERGY":{"Total":null,"Power":null}}}"#;
        assert_eq!(quantities(&one(0, null)), []);
    }

    #[test]
    fn watt_hours_in_place_of_kilowatt_hours_are_refused() {
        let wrong = br#"{"ENERGY":{"Total":"514153 Wh","Power":56}}"#;
        let telemetry = one(0, wrong);
        assert_eq!(quantities(&telemetry), [power(56_000)]);
        assert!(telemetry.refused[0].reason.contains("Wh"));
    }

    #[test]
    fn a_password_or_a_page_is_no_figure() {
        let locked = br#"{"WARNING":"Need user=<username>&password=<password>"}"#;
        let error = read(0, &[Some(locked), Some(locked)]).unwrap_err();
        assert!(matches!(error, Unreadable::Refused { .. }), "{error}");
        let unknown = read(0, &[Some(br#"{"Command":"Unknown"}"#)]).unwrap_err();
        assert!(matches!(unknown, Unreadable::Refused { .. }), "{unknown}");
        assert!(read(0, &[Some(b"<!DOCTYPE html>"), None]).is_err());
        assert_eq!(read(0, &[None, None]), Err(Unreadable::Silent));
    }

    #[test]
    fn sensors_and_firmware_are_asked_for() {
        let path = |path: &str| Request::Http { path: path.to_owned() };
        assert_eq!(requests(), [path("/cm?cmnd=Status%208"), path("/cm?cmnd=Status%202")]);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            plug in mutated(PLUG),
            dual in mutated(DUAL),
        ) {
            for sample in [bytes, plug, dual] {
                prop_assert!(plausible(&read(0, &[Some(&sample)]), MOST));
                prop_assert!(plausible(&read(1, &[Some(&sample)]), MOST));
            }
        }
    }
}
