//! Devices are found by what they answer on their ports, and what is printed of them is a file that
//! the agent takes. Only addresses of this machine are asked.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use miner::agent::discover::{Found, Ports, Target, entries, search};
use miner::agent::settings;
use serde_json::Value;

use crate::devices::{Device, Manner, Speech, recorded};

const PATIENCE: Duration = Duration::from_millis(400);
const SHELLY: &[u8] =
    br#"{"id":"shellyplus1pm-x","mac":"A8","model":"SNSW","gen":2,"ver":"1.0.3"}"#;
const COMPONENTS: &[u8] = br#"{"switch:0":{"id":0,"apower":10.7,"aenergy":{"total":46791.262}}}"#;
const TASMOTA: &[u8] = br#"{"StatusSNS":{"ENERGY":{"Total":514.153,"Power":56,"Voltage":234}}}"#;
const FIRMWARE: &[u8] = br#"{"StatusFWR":{"Version":"13.1.0(tasmota)","Hardware":"ESP8266EX"}}"#;
const VNISH: &[u8] = br#"{"miner":"Antminer S19","fw_name":"Vnish","fw_version":"1.2.6"}"#;

/// A port that nobody listens on.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A target of which no door opens.
fn nobody() -> Target {
    let ports = Ports {
        web: closed(),
        cgminer: closed(),
        framed: closed(),
        modbus: closed(),
        snmp: closed(),
    };
    Target { host: Ipv4Addr::LOCALHOST, ports }
}

fn behind(set: impl Fn(&mut Ports)) -> Target {
    let mut target = nobody();
    set(&mut target.ports);
    target
}

fn web(device: &Device) -> Target {
    behind(|ports| ports.web = device.port())
}

fn cgminer(device: &Device) -> Target {
    behind(|ports| ports.cgminer = device.port())
}

fn find(targets: &[Target]) -> Vec<Found> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut asked = 0;
    let found = runtime.block_on(search(targets.to_vec(), PATIENCE, |progress| {
        asked += 1;
        assert_eq!((progress.asked, progress.of), (asked, targets.len()));
    }));
    assert_eq!(asked, targets.len(), "every address is told of");
    found
}

fn honest(speech: Speech, answers: &[(&str, Vec<u8>)]) -> Device {
    Device::start(speech, Manner::Honest, answers)
}

/// Driver, model and firmware of what is behind that target.
fn known(target: Target) -> (&'static str, String, String) {
    let found = find(&[target]);
    let [Found { verdict, sure: true, .. }] = &found[..] else { panic!("{found:?}") };
    let [(driver, _)] = verdict.meters[..] else { panic!("{verdict:?}") };
    let identity = verdict.identity.clone();
    (driver, identity.model.unwrap_or_default(), identity.firmware.unwrap_or_default())
}

fn is(target: Target, driver: &str, model: &str, firmware: &str) {
    let (name, what, version) = known(target);
    assert_eq!((name, &*what, &*version), (driver, model, firmware));
}

#[test]
fn miners_are_found_behind_their_api() {
    let luxos = [("version", recorded("luxos/version.json"))];
    let luxos = honest(Speech::Cgminer, &luxos);
    is(cgminer(&luxos), "luxos", "Antminer S19k Pro", "2025.4.8.220305-57b389c7");
    // Its model stands where only its driver asks.
    let auradine = [
        ("version", recorded("auradine/version.json")),
        ("ipreport", recorded("auradine/ipreport.json")),
    ];
    let auradine = honest(Speech::Cgminer, &auradine);
    is(cgminer(&auradine), "auradine", "AT1500", "2023-12.27");
    let first = [
        ("summary", recorded("whatsminer-v1/summary.json")),
        ("get_version", recorded("whatsminer-v1/get_version.json")),
    ];
    let first = honest(Speech::Cgminer, &first);
    is(cgminer(&first), "whatsminer", "", "20210322.22.REL");
    let third = [("get.device.info", recorded("whatsminer-v3/get_device_info.json"))];
    let third = honest(Speech::Framed, &third);
    let target = behind(|ports| ports.framed = third.port());
    is(target, "whatsminer-v3", "M60S_VK40", "20251209.16.Rel2");
}

#[test]
fn what_has_pages_is_found_behind_them() {
    let bitaxe = honest(Speech::Http, &[("/api/system/info", recorded("bitaxe/system_info.json"))]);
    is(web(&bitaxe), "bitaxe", "Supra 401 BM1368", "v2.4.5-3-gb5d1e36-dirty");
    let vnish = honest(Speech::Http, &[("/api/v1/info", VNISH.to_vec())]);
    is(web(&vnish), "vnish", "Antminer S19", "1.2.6");
    let braiins =
        honest(Speech::Http, &[("/api/v1/version", recorded("braiins-25.07/version.json"))]);
    is(web(&braiins), "braiins", "", "");
    let epic = [
        ("/summary", recorded("epic/summary.json")),
        ("/capabilities", recorded("epic/capabilities.json")),
    ];
    let epic = honest(Speech::Http, &epic);
    assert_eq!(known(cgminer(&epic)).1, "AntMiner S19 XP");
    let plug =
        [("/cm?cmnd=Status%208", TASMOTA.to_vec()), ("/cm?cmnd=Status%202", FIRMWARE.to_vec())];
    let plug = honest(Speech::Http, &plug);
    is(web(&plug), "tasmota", "ESP8266EX", "13.1.0(tasmota)");
    let shelly = [("/shelly", SHELLY.to_vec()), ("/rpc/Shelly.GetStatus", COMPONENTS.to_vec())];
    let shelly = honest(Speech::Http, &shelly);
    is(web(&shelly), "shelly", "SNSW", "1.0.3");
    // What it is was asked, then its components, then what its driver asks: nothing else.
    let asked = shelly.asked.load(Ordering::Relaxed);
    assert!(asked <= 5, "{asked}");
}

#[test]
fn what_is_printed_is_a_file_that_the_agent_takes() {
    let avalon = honest(Speech::Cgminer, &[("version", recorded("avalon/version.json"))]);
    let shelly = [("/shelly", SHELLY.to_vec()), ("/rpc/Shelly.GetStatus", COMPONENTS.to_vec())];
    let shelly = honest(Speech::Http, &shelly);
    let meter = Device::modbus(|_| Vec::new());
    let hall = behind(|ports| ports.modbus = meter.port());
    let found = find(&[cgminer(&avalon), nobody(), web(&shelly), hall]);
    assert_eq!(found.len(), 3, "{found:?}");
    let text = entries::text(&found);
    assert!(text.contains("Canaan, Avalon Q, 25052801_14a19a2"), "{text}");
    assert!(text.contains("name the meter's model"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    // The owner names the hall's meter, as the line beside it says.
    std::fs::write(&path, text.replace("#model", "model")).unwrap();
    let (config, _) = settings::load(&path, []).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut said: Vec<_> = config
        .devices
        .iter()
        .map(|device| (device.wiring.id.as_str(), device.interface.as_str(), device.place.port))
        .collect();
    said.sort_unstable();
    let expected = [
        ("avalon-q-1", "avalon", avalon.port()),
        ("modbus-1", "modbus", meter.port()),
        ("snsw-1", "shelly", shelly.port()),
    ];
    assert_eq!(said, expected);
}

#[test]
fn whoever_is_broken_is_passed_over_in_time() {
    let book = [("version", recorded("avalon/version.json"))];
    let manners =
        [Manner::Silent, Manner::HangingUp, Manner::Endless, Manner::Noise, Manner::Refusing];
    let devices: Vec<Device> = manners
        .into_iter()
        .flat_map(|manner| {
            [Speech::Cgminer, Speech::Http, Speech::Framed]
                .map(|speech| Device::start(speech, manner, &book))
        })
        .collect();
    // Each is all of a target's doors but Modbus's.
    let everywhere =
        |port| behind(|ports| (ports.web, ports.cgminer, ports.framed) = (port, port, port));
    let mut targets: Vec<_> = devices.iter().map(|device| everywhere(device.port())).collect();
    let good = honest(Speech::Cgminer, &book);
    targets.push(cgminer(&good));
    let start = Instant::now();
    let found = find(&targets);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let mut found: Vec<_> = found.into_iter().filter(|found| found.sure).collect();
    // One that refuses in the words of Whatsminer's third protocol is one.
    found.retain(|found| found.verdict.meters != [("whatsminer-v3", 0)]);
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!(found.target, cgminer_again(&good, found.target));
    let busiest = devices.iter().map(|device| device.asked.load(Ordering::Relaxed)).max();
    // Every question once, a few more by the marks of asic-rs.
    assert!(busiest < Some(32), "{busiest:?}");
}

/// The same target, if that is the device behind it.
fn cgminer_again(device: &Device, target: Target) -> Target {
    Target { ports: Ports { cgminer: device.port(), ..target.ports }, ..target }
}

fn discover(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattproof-miner"));
    command.args(["agent", "--discover"]).args(arguments).output().unwrap()
}

#[test]
fn strangers_are_not_asked() {
    for network in ["8.8.8.0/24", "10.0.0.0/16", "fd00::/64"] {
        let output = discover(&[network]);
        assert_eq!(output.status.code(), Some(2), "{network}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(network) && text.lines().count() == 1, "{text}");
        assert!(output.stdout.is_empty());
    }
}

// The whole of 127.0.0.0/8 is this machine's only there.
#[cfg(target_os = "linux")]
#[test]
fn the_binary_finds_a_device_on_its_usual_port() {
    let book = [("version", recorded("avalon/version.json"))];
    let device = Device::start_at("127.77.31.5:4028", Speech::Cgminer, Manner::Honest, &book);
    let output = discover(&["127.77.31.4/30", "--patience", "0.5"]);
    let (text, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{text}{said}");
    let entry = "[[device]]\nname = \"avalon-q-5\"\ndriver = \"avalon\"\nhost = \"127.77.31.5\"\n";
    assert!(text.contains(entry) && !text.contains("port ="), "{text}");
    assert!(said.contains("discover: 2 of 2 addresses asked"), "{said}");
    let output = discover(&["127.77.31.5", "--patience", "0.5", "--json", "-q"]);
    assert!(output.stderr.is_empty());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["devices"][0]["entries"][0]["driver"], "avalon");
    assert_eq!(json["devices"][0]["model"], "Avalon Q");
    drop(device);
}
