//! Every recorded device is known for what it is, and nothing else is.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::device::interface::{Interface, Options};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../fixtures/asic/", $name))
    };
}

const SHELLY_PLUS: &[u8] =
    br#"{"id":"shellyplus1pm-x","mac":"A8","model":"SNSW","gen":2,"ver":"1.0.3","auth_en":false}"#;
const SHELLY_FIRST: &[u8] =
    br#"{"type":"SHPLG-S","mac":"AABBCC","auth":false,"fw":"20230913-113421/v1.14.0"}"#;
const TASMOTA: &[u8] = br#"{"StatusSNS":{"Time":"2023-05-19T20:52:56","ENERGY":{"Total":514.153,"Power":56,"Voltage":234}}}"#;
const SEALMINER: &[u8] = br#"{"VERSION":[{"BDMiner":"4.11.1"}]}"#;
const VNISH: &[u8] = br#"{"miner":"Antminer S19","fw_name":"Vnish","fw_version":"1.2.6"}"#;

/// What a device said, as one that answers nothing else.
fn heard(said: &[(Probe, &[u8])]) -> Heard {
    let mut heard = Heard::default();
    for (probe, bytes) in said {
        assert!(heard.wants(*probe), "{probe:?} would not be asked");
        heard.says(*probe, bytes.to_vec());
    }
    heard
}

fn verdict(said: &[(Probe, &[u8])]) -> Verdict {
    let verdict = identify(&heard(said)).unwrap_or_else(|| panic!("{said:?}"));
    for (name, channel) in &verdict.meters {
        let options = Options { channel: *channel, ..Options::default() };
        assert!(*name == "modbus" || Interface::named(name, options).is_some(), "{name}");
    }
    verdict
}

/// The driver, maker, model and firmware.
fn known(said: &[(Probe, &[u8])]) -> (&'static str, String, String, String) {
    let Verdict { meters, identity, .. } = verdict(said);
    let [(name, 0)] = meters[..] else { panic!("{meters:?}") };
    let or = |text: Option<String>| text.unwrap_or_default();
    (name, identity.maker, or(identity.model), or(identity.firmware))
}

fn is(said: &[(Probe, &[u8])], driver: &str, maker: &str, model: &str, firmware: &str) {
    let (name, of, what, version) = known(said);
    assert_eq!((name, &*of, &*what, &*version), (driver, maker, model, firmware));
}

#[test]
fn miners_are_known_by_the_program_that_answers() {
    let version = |bytes: &'static [u8]| [(Probe::Version, bytes)];
    is(
        &version(fixture!("antminer-bmminer/version.json")),
        "antminer",
        "Bitmain",
        "Antminer S19 Pro",
        "49.0.1.3, Tue Dec  6 16:12:30 CST 2022",
    );
    let luxos = version(fixture!("luxos/version.json"));
    is(&luxos, "luxos", "LuxOS", "Antminer S19k Pro", "2025.4.8.220305-57b389c7");
    let auradine = version(fixture!("auradine/version.json"));
    is(&auradine, "auradine", "Auradine", "", "0.5");
    let avalon = version(fixture!("avalon/version.json"));
    is(&avalon, "avalon", "Canaan", "Avalon Q", "25052801_14a19a2");
    is(&version(SEALMINER), "sealminer", "Bitdeer", "", "4.11.1");
    // Where the version is not answered, the head of the summary names the program.
    let summary: &[u8] = fixture!("sealminer/summary.json");
    is(&[(Probe::Summary, summary)], "sealminer", "Bitdeer", "", "");
}

#[test]
fn a_whatsminer_is_known_in_each_of_its_protocols() {
    let summary: (Probe, &[u8]) = (Probe::Summary, fixture!("whatsminer-v1/summary.json"));
    let plain: (Probe, &[u8]) =
        (Probe::Version, br#"{"STATUS":[{"STATUS":"S"}],"VERSION":[{"CGMiner":"4.9.2"}]}"#);
    is(&[plain, summary], "whatsminer", "MicroBT", "", "20210322.22.REL");
    let version: (Probe, &[u8]) = (Probe::GetVersion, fixture!("whatsminer-v1/get_version.json"));
    is(&[plain, version], "whatsminer", "MicroBT", "", "20210322.22.REL");
    let info: (Probe, &[u8]) = (Probe::DeviceInfo, fixture!("whatsminer-v3/get_device_info.json"));
    is(&[info], "whatsminer-v3", "Whatsminer", "M60S_VK40", "20251209.16.Rel2");
    // It answers both, and the third protocol says more.
    assert_eq!(known(&[plain, summary, info]).0, "whatsminer-v3");
    let locked: (Probe, &[u8]) = (Probe::DeviceInfo, br#"{"code":-2,"msg":"invalid command"}"#);
    assert_eq!(known(&[locked]).0, "whatsminer-v3");
}

#[test]
fn what_has_pages_is_known_by_them() {
    let bitaxe: (Probe, &[u8]) = (Probe::Bitaxe, fixture!("bitaxe/system_info.json"));
    is(&[bitaxe], "bitaxe", "ESP-Miner", "Supra 401 BM1368", "v2.4.5-3-gb5d1e36-dirty");
    let epic: (Probe, &[u8]) = (Probe::Epic, fixture!("epic/summary.json"));
    assert_eq!(known(&[epic]).0, "epic");
    assert_eq!(known(&[epic]).1, "ePIC");
    let braiins: (Probe, &[u8]) = (Probe::Braiins, fixture!("braiins-25.07/version.json"));
    is(&[braiins], "braiins", "Braiins", "", "");
    assert_eq!(verdict(&[braiins]).note, Some(PASSWORD));
    is(&[(Probe::Vnish, VNISH)], "vnish", "VNish", "Antminer S19", "1.2.6");
}

#[test]
fn firmware_that_replaces_a_makers_is_known_although_the_api_is_as_it_was() {
    let stock: (Probe, &[u8]) = (Probe::Version, fixture!("antminer-bmminer/version.json"));
    assert_eq!(known(&[(Probe::Vnish, VNISH), stock]).0, "vnish");
    let bos: (Probe, &[u8]) =
        (Probe::Version, br#"{"VERSION":[{"API":"3.7","BOSminer+":"0.2.0-a"}]}"#);
    is(&[bos], "braiins-graphql", "Braiins", "", "0.2.0-a");
    let rest: (Probe, &[u8]) = (Probe::Braiins, fixture!("braiins-25.07/version.json"));
    assert_eq!(known(&[rest, bos]).0, "braiins");
}

#[test]
fn each_meter_of_a_shelly_is_one() {
    let shelly = (Probe::Shelly, SHELLY_PLUS);
    let components: &[u8] = br#"{"switch:1":{"id":1,"aenergy":{"total":1.0}},"switch:0":{"id":0,"aenergy":{"total":2.0}},"switch:2":{"id":2,"output":true},"em:0":{"id":0},"pm1:0":{"id":0},"sys":{},"switch:x":{"aenergy":{}}}"#;
    let all = verdict(&[shelly, (Probe::ShellyComponents, components)]);
    let expected = [("shelly", 0), ("shelly", 1), ("shelly-em", 0), ("shelly-pm", 0)];
    assert_eq!((all.meters.as_slice(), all.note), (&expected[..], None));
    assert_eq!(all.identity.model.as_deref(), Some("SNSW"));
    assert_eq!(all.identity.firmware.as_deref(), Some("1.0.3"));
    // Without its components, the usual meter, and a word on why.
    let locked = verdict(&[shelly]);
    assert_eq!((locked.meters.as_slice(), locked.note), (&[("shelly", 0)][..], Some(LOCKED)));
    let bare: &[u8] = br#"{"switch:0":{"id":0,"output":true}}"#;
    let bare = verdict(&[shelly, (Probe::ShellyComponents, bare)]);
    assert_eq!((bare.meters.len(), bare.note), (0, Some(NO_METER)));

    let first = (Probe::Shelly, SHELLY_FIRST);
    let plug: &[u8] = br#"{"meters":[{"power":85.05,"is_valid":true,"total":116}]}"#;
    let plug = verdict(&[first, (Probe::ShellyStatus, plug)]);
    assert_eq!(plug.meters, [("shelly1", 0)]);
    assert_eq!(plug.identity.model.as_deref(), Some("SHPLG-S"));
    let clamps: &[u8] = br#"{"emeters":[{"total":5.3},{"total":0.0},{"power":1}]}"#;
    let clamps = verdict(&[first, (Probe::ShellyStatus, clamps)]);
    assert_eq!(clamps.meters, [("shelly1-em", 0), ("shelly1-em", 1)]);
    assert!(!heard(&[first]).wants(Probe::ShellyComponents));
    assert!(!heard(&[shelly]).wants(Probe::ShellyStatus));
    assert!(!heard(&[shelly]).wants(Probe::Bitaxe), "it is known");
}

#[test]
fn a_tasmota_without_a_meter_says_so() {
    let of = |bytes: &'static [u8]| verdict(&[(Probe::Tasmota, bytes)]);
    assert_eq!(of(TASMOTA).meters, [("tasmota", 0)]);
    let two = of(br#"{"StatusSNS":{"ENERGY":{"Total":[2.8,0.2],"Power":[52,5]}}}"#);
    assert_eq!(two.meters, [("tasmota", 0), ("tasmota", 1)]);
    let bare = of(br#"{"StatusSNS":{"Time":"2018-02-15T01:00:50","Switch1":"OFF"}}"#);
    assert_eq!((bare.meters.len(), bare.note), (0, Some(NO_METER)));
    let locked = of(br#"{"WARNING":"Need user=<username>&password=<password>"}"#);
    assert_eq!((locked.meters.as_slice(), locked.note), (&[("tasmota", 0)][..], Some(LOCKED)));
}

/// A response to the question what it is, to the letter.
fn describes(what: &str) -> Vec<u8> {
    let tagged = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        [&[tag][..], if length < 128 { &[] } else { &[0x81] }, &[length], content].concat()
    };
    let object = tagged(6, &[0x2b, 6, 1, 2, 1, 1, 1, 0]);
    let binding = tagged(0x30, &[object, tagged(4, what.as_bytes())].concat());
    let head = [tagged(2, &[1]), tagged(2, &[0]), tagged(2, &[0])].concat();
    let pdu = tagged(0xa2, &[head, tagged(0x30, &binding)].concat());
    tagged(0x30, &[tagged(2, &[1]), tagged(4, b"public"), pdu].concat())
}

#[test]
fn an_apc_is_known_by_what_it_says_it_is() {
    let pdu = describes(
        "APC Web/SNMP Management Card (PF:v6.8.2 AF1:v6.8.0 AN1:apc_hw05_rpdu2g_680.bin \
         MN:AP8853 HR:02 SN: 5A1234 MD:08)",
    );
    let found = verdict(&[(Probe::Describe, &pdu)]);
    assert_eq!(found.meters, [("apc", 1)]);
    let identity = found.identity;
    assert_eq!(identity.model.as_deref(), Some("AP8853"));
    assert_eq!(identity.firmware.as_deref(), Some("v6.8.0"));
    assert_eq!(identity.serial.as_deref(), Some("5A1234"));
    let ups = describes("APC Web/SNMP Management Card (AN1:apc_hw05_sumx_680.bin MN:AP9630)");
    let ups = verdict(&[(Probe::Describe, &ups)]);
    assert_eq!((ups.meters.len(), ups.note), (0, Some(OTHER_APC)));
    assert_eq!(identify(&heard(&[(Probe::Describe, &describes("Linux router 6.1"))])), None);
}

#[test]
fn modbus_is_only_a_port_and_only_where_nothing_else_is_known() {
    let mut open = Heard::default();
    assert!(open.is_silent());
    open.opens(Door::Modbus);
    let found = identify(&open).unwrap();
    assert_eq!((found.meters.as_slice(), found.note), (&[("modbus", 0)][..], Some(MODEL)));
    open.says(Probe::Shelly, SHELLY_FIRST.to_vec());
    assert_eq!(identify(&open).unwrap().meters, [("shelly1", 0)]);
}

#[test]
fn a_stranger_is_a_miner_without_a_driver_and_a_page_is_nothing() {
    let stranger: &[u8] = br#"{"STATUS":[{"STATUS":"S","Description":"kdaminer 1.2"}],"VERSION":[{"API":"3.1","Type":"KD6"}]}"#;
    let found = verdict(&[(Probe::Version, stranger)]);
    assert_eq!((found.meters.len(), found.note), (0, Some(NO_DRIVER)));
    assert_eq!(found.identity.maker, "kdaminer 1.2");
    for page in ["<html>It works!</html>", "{}", "[]", "{\"error\":\"not found\"}", "null", "\0"] {
        for door in Door::ALL {
            for probe in door.probes() {
                let mut heard = Heard::default();
                heard.says(*probe, page.as_bytes().to_vec());
                assert_eq!(identify(&heard), None, "{page} to {probe:?}");
            }
        }
    }
}

#[test]
fn the_last_question_of_a_miners_port_is_for_those_that_speak_http_there() {
    let avalon: &[u8] = fixture!("avalon/version.json");
    assert!(!heard(&[(Probe::Version, avalon)]).wants(Probe::Epic));
    assert!(!heard(&[(Probe::Version, avalon)]).wants(Probe::Summary), "it is known");
    assert!(heard(&[(Probe::Version, b"HTTP/1.1 400 Bad Request\r\n\r\n")]).wants(Probe::Epic));
}

/// Every sample, with the question that it answers.
fn samples() -> Vec<(Probe, Vec<u8>)> {
    let samples: [(Probe, &[u8]); 14] = [
        (Probe::Version, fixture!("antminer-bmminer/version.json")),
        (Probe::Version, fixture!("luxos/version.json")),
        (Probe::Version, fixture!("auradine/version.json")),
        (Probe::Version, fixture!("avalon/version.json")),
        (Probe::Summary, fixture!("whatsminer-v1/summary.json")),
        (Probe::GetVersion, fixture!("whatsminer-v1/get_version.json")),
        (Probe::DeviceInfo, fixture!("whatsminer-v3/get_device_info.json")),
        (Probe::Bitaxe, fixture!("bitaxe/system_info.json")),
        (Probe::Epic, fixture!("epic/summary.json")),
        (Probe::Braiins, fixture!("braiins-25.07/version.json")),
        (Probe::Vnish, VNISH),
        (Probe::Shelly, SHELLY_PLUS),
        (Probe::Shelly, SHELLY_FIRST),
        (Probe::Tasmota, TASMOTA),
    ];
    let mut all: Vec<_> = samples.map(|(probe, bytes)| (probe, bytes.to_vec())).to_vec();
    all.push((Probe::Describe, describes("APC (AN1:apc_hw05_rpdu2g_680.bin MN:AP8853)")));
    all
}

/// What holds of every verdict: it can be written down.
fn sound(heard: &Heard) {
    let all = Door::ALL.iter().flat_map(|door| door.probes());
    assert!(
        all.filter(|probe| heard.wants(**probe)).count() >= 4,
        "what tells most is always asked"
    );
    let Some(verdict) = identify(heard) else { return };
    assert!(verdict.meters.len() <= 2 * usize::from(METERS_MAX), "{verdict:?}");
    for (name, _) in &verdict.meters {
        assert!(Interface::names().any(|known| known == *name), "{name}");
    }
    let Identity { maker, model, firmware, serial } = verdict.identity;
    assert!(!maker.is_empty());
    for text in [Some(maker), model, firmware, serial].into_iter().flatten() {
        assert!(text.chars().count() <= 200 && !text.contains('\n'), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut heard = Heard::default();
        for (probe, _) in samples() {
            heard.says(probe, bytes.clone());
            sound(&heard);
        }
    }

    #[test]
    fn no_change_of_a_sample_breaks_it(
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 0..12),
        left in prop::collection::vec(any::<Index>(), 1..4),
    ) {
        let mut samples = samples();
        for (which, place, byte) in changes {
            *place.get_mut(&mut which.get_mut(&mut samples).1) = byte;
        }
        let mut heard = Heard::default();
        for which in left {
            let (probe, bytes) = which.get(&samples);
            heard.says(*probe, bytes.clone());
        }
        sound(&heard);
    }
}
