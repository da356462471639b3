//! Servers' management controllers by Redfish.
//!
//! Older ones answer `Chassis/<id>/Power`, whose `PowerControl` may have several members: one may be
//! the whole chassis and another a part of it, and nothing in the answer says so. One is read, the first
//! unless another is named, and the others are noted; none are added. Newer ones answer
//! `Chassis/<id>/EnvironmentMetrics`, whose `EnergykWh` is a counter, and have metrics for each supply.
//!
//! Facts: DMTF's schemas `Power`, `EnvironmentMetrics` and `PowerSupplyMetrics`.
//! Deliberately not here: looking for what there is (the configuration names chassis and supplies),
//! sessions, limits of power, minimum and maximum. An average over half an hour is a figure of its own
//! and comes last: it says little of now.

use std::time::Duration;

use serde_json::Value;
use units::{MicroJoules, MilliWatts};

use super::{
    Answers, Quantity, Request, Telemetry, Unreadable,
    exact::{KILOWATT_HOUR, Meter, Parsed},
    value::{text, whole},
};
use crate::meter::{Kind, Scope};

/// More than a chassis draws, blades included.
const MOST: MilliWatts = MilliWatts::from_watts(50_000);
/// Averages over longer are none that a controller makes.
const LONGEST_MINUTES: u64 = 7 * 24 * 60;

/// What of a controller is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The chassis, such as `1` or `System.Embedded.1`.
    pub chassis: String,
    /// Which member of `PowerControl`, by its name or its `MemberId`; the first if it is not named.
    pub control: Option<String>,
    /// Supplies whose own metrics are read too.
    pub supplies: Vec<String>,
}

/// What to ask.
#[must_use]
pub fn requests(place: &Place) -> Vec<Request> {
    let chassis = format!("/redfish/v1/Chassis/{}", segment(&place.chassis));
    let supply =
        |id: &String| format!("{chassis}/PowerSubsystem/PowerSupplies/{}/Metrics", segment(id));
    let mut paths =
        vec![format!("{chassis}/EnvironmentMetrics"), format!("{chassis}/Power"), chassis.clone()];
    paths.extend(place.supplies.iter().map(supply));
    paths.into_iter().map(|path| Request::Http { path }).collect()
}

/// What the answers say.
///
/// # Errors
/// Where no answer came, or none that a controller gives.
pub fn read(place: &Place, answers: &Answers<'_>) -> Result<Telemetry, Unreadable> {
    let mut parsed = Parsed::new(answers, |value| {
        let error = value.get("error")?;
        error.get("message").or(Some(error))
    });
    let mut telemetry = Telemetry::default();
    let metrics = parsed.take(0, "EnvironmentMetrics");
    reading(&chassis("chassis"), "EnvironmentMetrics", "PowerWatts", &metrics, &mut telemetry);
    let power = parsed.take(1, "Power");
    controls(place, &power["PowerControl"], &mut telemetry);
    let device = parsed.take(2, "Chassis");
    for (at, id) in place.supplies.iter().enumerate() {
        let command = format!("PowerSupplies/{id}/Metrics");
        let metrics = parsed.take(at + 3, &command);
        let meter = Meter { scope: Scope::Device, ..chassis(&format!("supply:{id}")) };
        reading(&meter, &command, "InputPowerWatts", &metrics, &mut telemetry);
    }
    telemetry.identity.maker =
        text(&device["Manufacturer"]).unwrap_or_else(|| "Redfish".to_owned());
    telemetry.identity.model = text(&device["Model"]);
    telemetry.identity.serial = text(&device["SerialNumber"]);
    // Averages, which are last among the figures of one meter, are last of all.
    telemetry.figures.sort_by_key(|figure| figure.window.is_some());
    parsed.finish(telemetry)
}

fn chassis(name: &str) -> Meter {
    Meter::new(name, Kind::Redfish, Scope::Rig)
}

/// A name as a part of a path: what else could be in it is written as its bytes.
fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// A counter and a power in the newer form. What a counter was since it was made is preferred to what
/// it was since its last reset.
fn reading(meter: &Meter, command: &str, watts: &str, metrics: &Value, telemetry: &mut Telemetry) {
    let energy = &metrics["EnergykWh"];
    let name = if energy["LifetimeReading"].is_null() { "Reading" } else { "LifetimeReading" };
    let field = format!("{command}: EnergykWh.{name}");
    if let Some(count) = telemetry.count(&field, &energy[name], KILOWATT_HOUR) {
        // Trailing zeros do not show: rather coarser than it is.
        let step = KILOWATT_HOUR.microjoules / 10_u128.pow(count.places.min(6));
        let quantity = Quantity::Energy { total: count.total, step: MicroJoules::new(step) };
        let meaning = match name {
            "Reading" => "energy in kWh since the metrics were last reset",
            _ => "energy in kWh since the device was made",
        };
        telemetry.figures.push(meter.figure(quantity, &field, meaning));
    }
    let field = format!("{command}: {watts}.Reading");
    if let Some(power) = telemetry.power(&field, &metrics[watts]["Reading"], MOST) {
        let meaning = "power that the controller's sensor shows now";
        telemetry.figures.push(meter.figure(Quantity::Power(power), &field, meaning));
    }
}

/// So many members of one list are looked at.
const MOST_MEMBERS: usize = 64;

/// Reads one member and notes the others.
fn controls(place: &Place, list: &Value, telemetry: &mut Telemetry) {
    let members = list.as_array().map_or(&[][..], Vec::as_slice);
    let wanted = |member: &Value| {
        place.control.as_ref().is_none_or(|name| {
            [&member["Name"], &member["MemberId"]].into_iter().any(|it| it.as_str() == Some(name))
        })
    };
    let chosen = members.iter().position(wanted);
    for (at, member) in members.iter().take(MOST_MEMBERS).enumerate() {
        if Some(at) == chosen {
            control(at, member, telemetry);
        } else {
            let reason = "not read: it may be a part of another member, so that they are not \
                          added; the configuration can name it";
            let field = format!("Power: PowerControl[{at}].PowerConsumedWatts");
            telemetry.refuse(&field, &member["PowerConsumedWatts"], reason);
        }
    }
}

fn control(at: usize, member: &Value, telemetry: &mut Telemetry) {
    let name = text(&member["Name"]).map_or_else(String::new, |name| format!(" of {name:?}"));
    let field = format!("Power: PowerControl[{at}].PowerConsumedWatts");
    let value = &member["PowerConsumedWatts"];
    if let Some(power) = telemetry.power(&field, value, MOST) {
        let meaning = format!("power{name} now, as the controller reports it");
        let meter = chassis(&format!("control:{at}"));
        telemetry.figures.push(meter.figure(Quantity::Power(power), &field, &meaning));
    } else if value.is_null() {
        telemetry.refuse(&field, value, "the controller has no reading");
    }
    let metrics = &member["PowerMetrics"];
    let minutes = whole(&metrics["IntervalInMin"]).filter(|m| (1..=LONGEST_MINUTES).contains(m));
    let field = format!("Power: PowerControl[{at}].PowerMetrics.AverageConsumedWatts");
    let Some(minutes) = minutes else { return };
    if let Some(power) = telemetry.power(&field, &metrics["AverageConsumedWatts"], MOST) {
        let meaning = format!("average power{name} over the last {minutes} minutes");
        let meter = chassis(&format!("control:{at}:average"));
        let mut figure = meter.figure(Quantity::Power(power), &field, &meaning);
        figure.window = Some(Duration::from_secs(minutes * 60));
        telemetry.figures.push(figure);
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

    /// The shape of a public mockup: a server and the chassis that it is in.
    const POWER: &[u8] = br##"{"@odata.type":"#Power.v1_5_0.Power","PowerControl":[{"MemberId":"0","Name":"Server Power Control","PowerConsumedWatts":344,"PowerRequestedWatts":800,"PowerMetrics":{"IntervalInMin":30,"MinConsumedWatts":271,"MaxConsumedWatts":489,"AverageConsumedWatts":319}},{"MemberId":"1","Name":"Chassis Power Control","PowerConsumedWatts":45}]}"##;
    const METRICS: &[u8] =
        br#"{"PowerWatts":{"Reading":374},"EnergykWh":{"Reading":3638,"LifetimeReading":6491}}"#;
    const CHASSIS: &[u8] = br#"{"Manufacturer":"Contoso","Model":"3500RX","SerialNumber":"437XR"}"#;

    fn place() -> Place {
        Place { chassis: "1U".to_owned(), ..Place::default() }
    }

    #[test]
    fn the_first_member_is_read_and_members_are_never_added() {
        let telemetry = read(&place(), &[None, Some(POWER), Some(CHASSIS)]).unwrap();
        assert_eq!(quantities(&telemetry), [power(344_000), power(319_000)]);
        let [now, average] = &telemetry.figures[..] else { panic!() };
        assert_eq!((now.kind, now.scope, now.tier), (Kind::Redfish, Scope::Rig, Tier::METERED));
        assert_eq!((now.uncertainty_ppm, now.window), (20_000, None));
        assert_eq!(now.field, "Power: PowerControl[0].PowerConsumedWatts");
        assert!(now.meaning.contains("Server Power Control"));
        assert_eq!(average.window, Some(Duration::from_secs(1_800)));
        assert_ne!(now.meter, average.meter);
        assert_eq!(telemetry.refused.len(), 1);
        assert!(telemetry.refused[0].text == "45" && telemetry.refused[0].reason.contains("added"));
        assert_eq!(telemetry.identity.model.as_deref(), Some("3500RX"));
    }

    #[test]
    fn a_member_is_chosen_by_its_name_or_number() {
        for name in ["Chassis Power Control", "1"] {
            let place = Place { control: Some(name.to_owned()), ..place() };
            let telemetry = read(&place, &[None, Some(POWER)]).unwrap();
            assert_eq!(quantities(&telemetry), [power(45_000)]);
            assert_eq!(telemetry.refused[0].text, "344");
        }
        let place = Place { control: Some("no such".to_owned()), ..place() };
        let telemetry = read(&place, &[None, Some(POWER)]).unwrap();
        assert_eq!((telemetry.figures.len(), telemetry.refused.len()), (0, 2));
    }

    #[test]
    fn a_counter_comes_first_and_since_the_device_was_made() {
        let telemetry = read(&place(), &[Some(METRICS), Some(POWER)]).unwrap();
        let counter = energy(23_367_600_000_000_000, 3_600_000_000_000);
        let expected = [counter, power(374_000), power(344_000), power(319_000)];
        assert_eq!(quantities(&telemetry), expected);
        assert!(telemetry.figures[0].meaning.contains("since the device was made"));
        let reset = br#"{"PowerWatts":{"Reading":"1349.26"},"EnergykWh":{"Reading":12.5}}"#;
        let telemetry = read(&place(), &[Some(reset)]).unwrap();
        let expected = [energy(45_000_000_000_000, 360_000_000_000), power(1_349_260)];
        assert_eq!(quantities(&telemetry), expected);
        assert!(telemetry.figures[0].meaning.contains("reset"));
    }

    #[test]
    fn supplies_are_meters_of_their_own() {
        let supply = br#"{"InputPowerWatts":{"Reading":937.4},"EnergykWh":{"Reading":63.9}}"#;
        let place = Place { supplies: vec!["PSU0".to_owned()], ..place() };
        let telemetry = read(&place, &[None, None, None, Some(supply)]).unwrap();
        let expected = [energy(230_040_000_000_000, 360_000_000_000), power(937_400)];
        assert_eq!(quantities(&telemetry), expected);
        assert_eq!(telemetry.figures[0].meter, "supply:PSU0");
        assert_eq!(telemetry.figures[0].scope, Scope::Device);
    }

    #[test]
    fn nulls_and_zeros_are_no_figures() {
        let nulls = br#"{"PowerControl":[{"Name":null,"PowerConsumedWatts":null,"PowerMetrics":{"IntervalInMin":null,"AverageConsumedWatts":null}}]}"#;
        let metrics = br#"{"PowerWatts":{"Reading":null},"EnergykWh":null}"#;
        let telemetry = read(&place(), &[Some(metrics), Some(nulls)]).unwrap();
        assert_eq!(telemetry.figures, []);
        assert!(telemetry.refused[0].reason.contains("no reading"));
        let zero = br#"{"PowerControl":[{"PowerConsumedWatts":0}]}"#;
        assert_eq!(read(&place(), &[None, Some(zero)]).unwrap().figures, []);
        let average = br#"{"PowerControl":[{"PowerConsumedWatts":null,"PowerMetrics":{"IntervalInMin":30,"AverageConsumedWatts":319}}]}"#;
        let telemetry = read(&place(), &[None, Some(average)]).unwrap();
        assert_eq!(quantities(&telemetry), [power(319_000)]);
    }

    #[test]
    fn an_error_object_is_a_refusal_and_a_page_is_malformed() {
        let error = br#"{"error":{"code":"Base.1.0.GeneralError","message":"no session","@Message.ExtendedInfo":[]}}"#;
        let refused = read(&place(), &[Some(error), Some(error), Some(error)]).unwrap_err();
        assert!(refused.to_string().contains("no session"), "{refused}");
        assert!(read(&place(), &[None, Some(b"<html></html>")]).is_err());
        assert_eq!(read(&place(), &[None, None, None]), Err(Unreadable::Silent));
        // Older controllers do not have the newer path.
        let telemetry = read(&place(), &[Some(error), Some(POWER)]).unwrap();
        assert_eq!(telemetry.figures.len(), 2);
    }

    #[test]
    fn names_stay_within_their_part_of_the_path() {
        let place = Place {
            chassis: "../Managers/1?x".to_owned(),
            supplies: vec!["a/b".to_owned()],
            control: None,
        };
        let paths = requests(&place);
        let path = |path: &str| Request::Http { path: path.to_owned() };
        assert_eq!(paths[2], path("/redfish/v1/Chassis/..%2FManagers%2F1%3Fx"));
        let supply =
            "/redfish/v1/Chassis/..%2FManagers%2F1%3Fx/PowerSubsystem/PowerSupplies/a%2Fb/Metrics";
        assert_eq!(paths[3], path(supply));
    }

    /// A megabyte of them once cost a gigabyte.
    #[test]
    fn a_list_without_end_is_looked_at_in_part() {
        let list = format!(r#"{{"PowerControl":[{}{{}}]}}"#, "{},".repeat(300_000));
        let answers = [None, Some(list.as_bytes()), None];
        let place = Place { chassis: "1".to_owned(), ..Place::default() };
        let telemetry = read(&place, &answers).unwrap();
        assert!(telemetry.refused.len() <= 64 && telemetry.figures.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            old in mutated(POWER),
            new in mutated(METRICS),
        ) {
            prop_assert!(plausible(&read(&place(), &[Some(&bytes), Some(&bytes)]), MOST));
            prop_assert!(plausible(&read(&place(), &[Some(&new), Some(&old)]), MOST));
        }
    }
}
