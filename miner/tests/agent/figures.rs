//! Every recorded device, over its own protocol: the figure, the unit, the tier and the meaning that
//! its maker defines.

use serde_json::Value;

use crate::devices::{Device, Manner, Speech, recorded};
use crate::support::{ask, entry, file, once};

/// A device with these recorded answers, each under what it is asked with.
fn replay(driver: &str, speech: Speech, answers: &[(&str, &str)]) -> Value {
    replay_in(driver, speech, answers, Manner::Honest)
}

fn replay_in(driver: &str, speech: Speech, answers: &[(&str, &str)], manner: Manner) -> Value {
    let answers: Vec<_> = answers.iter().map(|(name, file)| (*name, recorded(file))).collect();
    let device = Device::start(speech, manner, &answers);
    ask(&entry("d", driver, device.port(), ""))
}

/// Value, unit, kind, tier and scope of the figure that counts.
fn counted(said: &Value) -> (&str, &str, &str, u64, &str) {
    let figure = &said["figures"][0];
    let text = |key: &str| figure[key].as_str().unwrap_or_else(|| panic!("{key} of {said}"));
    (text("value"), text("unit"), text("kind"), figure["tier"].as_u64().unwrap(), text("scope"))
}

fn meaning(said: &Value) -> &str {
    said["figures"][0]["meaning"].as_str().unwrap()
}

fn refusals(said: &Value) -> String {
    said["refused"].to_string()
}

#[test]
fn avalons_field_six_is_wall_power_and_field_five_a_voltage() {
    let busy = replay("avalon", Speech::Cgminer, &[("stats", "avalon/a_stats.json")]);
    assert_eq!(counted(&busy), ("3504.000", "W", "asic-psu", 3, "rig"));
    assert!(meaning(&busy).contains("wall") || meaning(&busy).contains("alternating"), "{busy}");
    let dc = &busy["figures"][1];
    assert_eq!((dc["value"].as_str(), dc["scope"].as_str()), (Some("3189.000"), Some("device")));
    // The idle one has 2245 in its field five: 22.45 V.
    let idle = replay("avalon", Speech::Cgminer, &[("stats", "avalon/stats.json")]);
    assert_eq!(counted(&idle), ("146.000", "W", "asic-psu", 3, "rig"));
    assert!(!idle["figures"].to_string().contains("2245"), "{idle}");
}

#[test]
fn luxos_and_braiins_say_of_themselves_that_they_model() {
    let luxos = replay(
        "luxos",
        Speech::Cgminer,
        &[
            ("power", "luxos/power.json"),
            ("summary", "luxos/summary.json"),
            ("version", "luxos/version.json"),
        ],
    );
    assert_eq!(counted(&luxos), ("1051.000", "W", "asic-model", 4, "rig"));
    assert_eq!(luxos["model"], "Antminer S19k Pro");
    let braiins = replay(
        "braiins",
        Speech::Http,
        &[
            ("/api/v1/miner/stats", "braiins-25.07/miner_stats.json"),
            ("/api/v1/miner/details", "braiins-25.07/miner_details.json"),
            ("/api/v1/performance/tuner-state", "braiins-25.07/performance_tuner_state.json"),
        ],
    );
    assert_eq!(counted(&braiins), ("3137.000", "W", "asic-model", 4, "rig"));
    assert!(meaning(&braiins).contains("profile"), "{braiins}");
}

#[test]
fn a_stock_antminer_says_no_power_at_all() {
    let said = replay(
        "antminer",
        Speech::Cgminer,
        &[
            ("stats", "antminer-bmminer/stats.json"),
            ("summary", "antminer-bmminer/summary.json"),
            ("version", "antminer-bmminer/version.json"),
        ],
    );
    assert_eq!(said["figures"], Value::Array(Vec::new()));
    assert!(refusals(&said).contains("no power"), "{said}");
    assert_eq!(said["model"], "Antminer S19 Pro");
    assert!(said["claimed_hashes_per_second"].as_str().unwrap().len() > 14, "{said}");
}

#[test]
fn whatsminers_supply_is_read_in_both_protocols_and_minus_one_is_unknown() {
    let first =
        [("summary", "whatsminer-v1/summary.json"), ("get_psu", "whatsminer-v1/get_psu.json")];
    let said = replay("whatsminer", Speech::Cgminer, &first);
    assert_eq!(counted(&said), ("3427.000", "W", "asic-psu", 3, "rig"));
    let mut unknown: Value = serde_json::from_slice(&recorded(first[0].1)).unwrap();
    let row = &mut unknown["SUMMARY"][0];
    (row["Power"], row["Power_RT"]) = (Value::from(-1), Value::from(-1));
    let answers = [("summary", unknown.to_string().into_bytes())];
    let device = Device::start(Speech::Cgminer, Manner::Honest, &answers);
    let said = ask(&entry("d", "whatsminer", device.port(), ""));
    assert!(refusals(&said).contains("unknown"), "{said}");

    let third = replay(
        "whatsminer-v3",
        Speech::Framed,
        &[
            ("get.miner.status summary", "whatsminer-v3/get_miner_status_summary.json"),
            ("get.device.info", "whatsminer-v3/get_device_info.json"),
        ],
    );
    assert_eq!(counted(&third), ("3156.000", "W", "asic-psu", 3, "rig"));
    assert_eq!(third["model"], "M60S_VK40");
    let claimed = third["claimed_hashes_per_second"].as_str().unwrap();
    assert_eq!(claimed, "171259000000000", "TH/s, and not the MH/s of the first protocol");
}

#[test]
fn supplies_that_measure_alternating_current() {
    let auradine = replay(
        "auradine",
        Speech::Cgminer,
        &[("psu", "auradine/psu.json"), ("summary", "auradine/summary.json")],
    );
    assert_eq!(counted(&auradine), ("58.940", "W", "asic-psu", 3, "rig"));
    let epic = replay("epic", Speech::Http, &[("/summary", "epic/summary.json")]);
    assert_eq!(counted(&epic), ("2166.617", "W", "asic-psu", 3, "rig"));
    let sealminer = replay(
        "sealminer",
        Speech::Cgminer,
        &[("stats", "sealminer/stats.json"), ("summary", "sealminer/summary.json")],
    );
    assert_eq!(counted(&sealminer), ("3504.000", "W", "asic-psu", 3, "rig"));
}

#[test]
fn a_bitaxe_that_has_just_started_is_refused() {
    let said = replay("bitaxe", Speech::Http, &[("/api/system/info", "bitaxe/system_info.json")]);
    assert_eq!(said["figures"], Value::Array(Vec::new()));
    assert_eq!(said["uptime_seconds"], 4);
    assert!(refusals(&said).contains("2.65"), "{said}");
}

#[test]
fn slow_devices_say_the_same() {
    let answers = [("stats", "avalon/a_stats.json")];
    let said = replay_in("avalon", Speech::Cgminer, &answers, Manner::Dribbling);
    assert_eq!(counted(&said), ("3504.000", "W", "asic-psu", 3, "rig"));
    let answers = [("/summary", "epic/summary.json")];
    let said = replay_in("epic", Speech::Http, &answers, Manner::Dribbling);
    assert_eq!(counted(&said).0, "2166.617");
}

#[test]
fn plugs_count_first_and_show_power_second() {
    let shelly = br#"{"id":0,"source":"WS_in","output":true,"apower":10.7,"voltage":120.7,"current":0.133,"aenergy":{"total":46791.262,"by_minute":[73.921,177.749,177.749],"minute_ts":1682952864}}"#;
    let device = Device::start(
        Speech::Http,
        Manner::Honest,
        &[("/rpc/Switch.GetStatus?id=0", shelly.to_vec())],
    );
    let said = ask(&entry("d", "shelly", device.port(), ""));
    assert_eq!(counted(&said), ("168448543.200000", "J", "plug", 2, "rig"));
    assert_eq!(said["figures"][1]["value"], "10.700");

    let tasmota = br#"{"StatusSNS":{"Time":"2023-05-19T20:52:56","ENERGY":{"TotalStartTime":"2022-03-20T15:20:48","Total":514.153,"Yesterday":1.495,"Today":0.537,"Period":0,"Power":56,"ApparentPower":92,"ReactivePower":73,"Factor":0.61,"Voltage":234,"Current":0.392}}}"#;
    let device =
        Device::start(Speech::Http, Manner::Honest, &[("/cm?cmnd=Status%208", tasmota.to_vec())]);
    let said = ask(&entry("d", "tasmota", device.port(), "scope = \"site\""));
    assert_eq!(counted(&said), ("1850950800.000000", "J", "plug", 2, "rig"));
    assert_eq!(said["figures"][0]["step"], "3600.000000");
}

#[test]
fn a_modbus_meter_and_a_power_unit_answer_over_their_own_protocols() {
    let device = Device::modbus(|frame| {
        let start = u16::from_be_bytes([frame[8], frame[9]]);
        // 1234.56 kWh drawn, none returned, 3417.5 W.
        let registers: Vec<u8> = match start {
            0x5000 => 123_456_u64.to_be_bytes().to_vec(),
            0x5004 => 0_u64.to_be_bytes().to_vec(),
            _ => 341_750_i32.to_be_bytes().to_vec(),
        };
        let mut answer = frame[..4].to_vec();
        let length = u16::try_from(registers.len() + 3).unwrap();
        answer.extend(length.to_be_bytes());
        answer.extend([frame[6], frame[7], u8::try_from(registers.len()).unwrap()]);
        answer.extend(registers);
        answer
    });
    let said = ask(&entry("d", "modbus", device.port(), "model = \"abb-b23\""));
    assert_eq!(counted(&said), ("4444416000.000000", "J", "modbus", 1, "site"));
    assert_eq!(said["figures"][1]["value"], "3417.500");
    // The same by registers that the owner names.
    let registers = "[device.registers]\n\
        power = { address = 0x5b14, form = \"i32\", unit = \"W\", denominator = 100 }\n\
        energy = { address = 0x5000, form = \"u64\", unit = \"kWh\", denominator = 100 }\n";
    let said = ask(&entry("d", "modbus", device.port(), registers));
    assert_eq!(counted(&said).0, "4444416000.000000");
}

#[test]
fn what_it_prints_can_be_read() {
    let answers = [("stats", recorded("avalon/a_stats.json"))];
    let device = Device::start(Speech::Cgminer, Manner::Honest, &answers);
    let folder = tempfile::tempdir().unwrap();
    let output = once(&file(folder.path(), &entry("hall-1", "avalon", device.port(), "")), false);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("hall-1: ") && text.contains("3504.000 W, tier 3"), "{text}");
}
