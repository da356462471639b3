//! The recorded answers, and texts of devices of which the text alone is known.

use serde_json::json;

use super::{
    super::cgminer::testing::{
        figures, nothing_impossible_is_read, read as all, read_json, reasons,
    },
    *,
};
use crate::meter::Kind;

const A12: &[u8] = include_bytes!("../../../fixtures/asic/avalon/a_stats.json");
const Q: &[u8] = include_bytes!("../../../fixtures/asic/avalon/stats.json");
const Q_VERSION: &[u8] = include_bytes!("../../../fixtures/asic/avalon/version.json");

const WALL: (Kind, Scope, u8) = (Kind::AsicPsu, Scope::Rig, 3);
const BEHIND: (Kind, Scope, u8) = (Kind::AsicPsu, Scope::Device, 3);

fn watts(watts: u64, (kind, scope, tier): (Kind, Scope, u8)) -> (u64, Kind, Scope, u8) {
    (watts * 1000, kind, scope, tier)
}

/// What a device of one module with this text says.
fn said(text: &str) -> Telemetry {
    read_json(read, &[json!({"STATS": [{"STATS": 0, "MM ID0": text}, {"ID": "POOL0"}]})])
}

#[test]
fn the_sixth_number_is_a_voltage_and_never_watts() {
    let telemetry = read(&[Some(Q), None, Some(Q_VERSION)]).unwrap();
    assert_eq!(figures(&telemetry), [watts(146, WALL)]);
    assert_eq!(telemetry.refused, []);
    let six = said("Ver[Q-1] PS[0 1222 4 0 0 2245]");
    assert_eq!(six.figures, []);
    assert_eq!(reasons(&six).matches("0 stands for unknown").count(), 1);
}

#[test]
fn the_wall_is_counted_before_the_direct_current_behind_the_supply() {
    let telemetry = all(read, &[A12]);
    assert_eq!(figures(&telemetry), [watts(3504, WALL), watts(3189, BEHIND)]);
    assert_eq!(telemetry.figures[0].meter, "psu");
    assert_eq!(telemetry.figures[0].uncertainty_ppm, 50_000);
    assert_eq!(telemetry.figures[1].meter, "psu-output");
    assert!(telemetry.figures[1].meaning.contains("direct current"));
    assert_eq!(telemetry.refused, []);
}

#[test]
fn who_and_how_fast() {
    let telemetry = read(&[Some(Q), None, Some(Q_VERSION)]).unwrap();
    assert_eq!(telemetry.claimed_hashes_per_second, Some(0), "idle, whatever the average says");
    assert_eq!(telemetry.identity.model.as_deref(), Some("Avalon Q"));
    assert_eq!(telemetry.identity.firmware.as_deref(), Some("Q-25052801_14a19a2"));
    let telemetry = all(read, &[A12]);
    assert_eq!(telemetry.claimed_hashes_per_second, Some(81_072_680_000_000));
    assert_eq!(telemetry.uptime.map(|uptime| uptime.as_secs()), Some(24_684));
    assert_eq!(telemetry.identity.model.as_deref(), Some("Avalon 1246"));
    assert_eq!(telemetry.identity.serial.as_deref(), Some("02010000cbd2fd6d"));
}

#[test]
fn without_a_seventh_number_the_wall_is_not_known() {
    let telemetry = said("Ver[1047-19120401_d46bc64] PS[0 1212 1315 174 2288 1320] PLL0[1]");
    assert_eq!(figures(&telemetry), [watts(2288, BEHIND)]);
    assert_eq!(telemetry.figures[0].uncertainty_ppm, 150_000);
    assert!(telemetry.figures[0].meaning.contains("what the supply loses"));
}

#[test]
fn other_models_of_the_documented_layout() {
    for (text, wall, output) in [
        ("PS[0 1209 1187 297 3526 1188 3731] WALLPOWER[3731]", 3731, 3526),
        ("PS[0 1209 1187 297 3526 1188] WALLPOWER[3731]", 3731, 3526),
        ("PS[0 1223 2494 64 1599 2495 1659]", 1659, 1599),
        ("PS[0 1215 2034 37 756 2032 808]", 808, 756),
    ] {
        let telemetry = said(text);
        assert_eq!(figures(&telemetry), [watts(wall, WALL), watts(output, BEHIND)], "{text}");
        assert_eq!(telemetry.refused, [], "{text}");
    }
}

#[test]
fn a_nano_3_gives_no_figure_and_a_nano_3s_its_input() {
    let nano = "Ver[nano3-24071801_42c628d] PS[0 0 0 3 2792 89 324] GHSspd[2630.98] MPO[90]";
    for text in [nano, &nano.replace("Ver[nano3-", "Ver[x-")] {
        let telemetry = said(text);
        assert_eq!(telemetry.figures, [], "{text}");
        assert_eq!(telemetry.refused.len(), 1, "{text}");
    }
    let nano = said("Ver[Nano3s-25021401_56abae7] PS[0 0 27541 4 0 3756 133] MPO[140]");
    assert_eq!(figures(&nano), [watts(133, BEHIND)]);
    assert!(nano.figures[0].meaning.contains("separate supply"));
    assert_eq!(said("Ver[x] PS[0 0 27541 4 0 3756 133]").figures, []);
}

#[test]
fn what_is_wrong_with_a_supply_is_said() {
    for (text, reason) in [
        ("PS[1 1214 1316 242 3189 1320 3504]", "reports an error"),
        ("PS[0 1214 1316 242 3189 1320 2900]", "more comes out"),
        ("PS[0 1214 1316 100 3189 1320 3504]", "another layout"),
        ("PS[0 1214 1316]", "five numbers"),
        ("PS[]", "five numbers"),
        ("PS[0 a b c d e f]", "five numbers"),
        ("PS[0 1214 1316 242 3189 1320 99999]", "25000 W"),
        ("PS[0 1214 1316 242 3189 1320 -1]", "unknown"),
        ("Ver[x]", "five numbers"),
        ("XPS[0 1 1 1 1 1 1]", "no module's text"),
    ] {
        let telemetry = said(text);
        assert!(telemetry.figures.iter().all(|one| one.scope == Scope::Device), "{text}");
        assert!(reasons(&telemetry).contains(reason), "{text}: {}", reasons(&telemetry));
    }
}

#[test]
fn modules_are_summed_and_none_may_be_missing() {
    let one = "PS[0 1209 1187 297 3526 1188 3731] GHSspd[100]";
    let both = json!({"STATS": [{"MM ID1": one, "MM ID2": one, "MM Count": 2}]});
    let telemetry = read_json(read, &[json!({}), both]);
    assert_eq!(figures(&telemetry), [watts(7462, WALL), watts(7052, BEHIND)]);
    assert_eq!(telemetry.figures[0].field, "estats: MM ID.PS[6]");
    assert_eq!(telemetry.claimed_hashes_per_second, Some(200_000_000_000));
    let failed = json!({"STATS": [{"MM ID1": one, "MM ID2": "PS[1 0 0 0 0 0 0]"}]});
    let telemetry = read_json(read, &[failed]);
    assert_eq!(telemetry.figures, []);
    assert!(reasons(&telemetry).contains("1 of 2 parts"));
}

#[test]
fn no_bytes_make_an_impossible_power() {
    let q: Value = serde_json::from_slice(Q).unwrap();
    let text = bracket(q["STATS"][0]["MM ID0:Summary"].as_str().unwrap(), "PS").unwrap();
    let short = |text| json!({"STATS": [{"MM ID0": format!("PS[{text}]")}]}).to_string();
    for text in [text, "0 1214 1316 242 3189 1320 3504", "0 1212 1315 174 2288 1320"] {
        nothing_impossible_is_read(read, &[short(text).as_bytes()]);
    }
    nothing_impossible_is_read(read, &[Q, b"", Q_VERSION]);
}
