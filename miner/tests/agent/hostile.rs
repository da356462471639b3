//! Devices that are slow, broken or lying: each is told from the others in plain words, keeps nobody
//! else waiting, and never becomes a figure.

use std::time::Instant;

use serde_json::Value;

use crate::devices::{Device, Manner, Speech, recorded};
use crate::support::{ask, entry, file, once};

const BAD: [Manner; 6] = [
    Manner::Silent,
    Manner::HangingUp,
    Manner::Endless,
    Manner::Noise,
    Manner::Torn,
    Manner::Refusing,
];

fn avalon(manner: Manner) -> Device {
    Device::start(Speech::Cgminer, manner, &[("stats", recorded("avalon/a_stats.json"))])
}

fn assert_useless(said: &Value) {
    let figures = said["figures"].as_array();
    assert!(figures.is_none_or(Vec::is_empty), "{said}");
    let why = said["error"].as_str().map_or_else(|| said["refused"].to_string(), str::to_owned);
    assert!(why.len() > 5 && !why.contains('\n') && why.len() < 4_000, "{said}");
}

#[test]
fn whatever_a_device_does_over_tcp_is_survived() {
    for manner in BAD {
        let device = avalon(manner);
        let said = ask(&entry("d", "avalon", device.port(), ""));
        assert_useless(&said);
    }
}

#[test]
fn whatever_a_device_does_over_http_is_survived() {
    for manner in BAD {
        let answers = [("/summary", recorded("epic/summary.json"))];
        let device = Device::start(Speech::Http, manner, &answers);
        let said = ask(&entry("d", "epic", device.port(), ""));
        assert_useless(&said);
    }
}

#[test]
fn whatever_a_device_does_in_frames_is_survived() {
    let file = "whatsminer-v3/get_miner_status_summary.json";
    for manner in BAD {
        let answers = [("get.miner.status summary", recorded(file))];
        let device = Device::start(Speech::Framed, manner, &answers);
        let said = ask(&entry("d", "whatsminer-v3", device.port(), ""));
        assert_useless(&said);
    }
}

#[test]
fn a_port_that_nobody_listens_on_and_a_lost_datagram_are_named() {
    let gone = avalon(Manner::Honest).port();
    let said = ask(&entry("d", "avalon", gone, ""));
    assert!(said["error"].as_str().unwrap().contains("refused"), "{said}");
    let deaf = Device::datagrams(|_| None);
    let said = ask(&entry("d", "apc", deaf.port(), ""));
    assert!(said["error"].as_str().unwrap().contains("no answer within 1.0 s"), "{said}");
    let liar = Device::datagrams(|question| Some(question.to_vec()));
    let said = ask(&entry("d", "apc", liar.port(), ""));
    assert_useless(&said);
}

#[test]
fn a_modbus_answer_to_another_question_is_none() {
    let device = Device::modbus(|frame| {
        let mut answer = vec![frame[0] ^ 1, frame[1], 0, 0, 0, 11, frame[6], frame[7], 8];
        answer.extend([0; 8]);
        answer
    });
    assert_useless(&ask(&entry("d", "modbus", device.port(), "model = \"abb-b23\"")));
}

#[test]
fn one_dead_device_keeps_no_other_waiting() {
    let (dead, good) = (avalon(Manner::Silent), avalon(Manner::Honest));
    let mut devices = entry("good", "avalon", good.port(), "");
    for n in 0..20 {
        devices += &entry(&format!("dead-{n}"), "avalon", dead.port(), "");
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let output = once(&file(folder.path(), &devices), true);
    let took = start.elapsed();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["devices"].as_array().unwrap().len(), 21);
    assert_eq!(said["devices"][0]["figures"][0]["value"], "3504.000");
    assert!(!output.status.success(), "not all answered");
    // One after the other, twenty with a second of patience each would take twenty.
    assert!(took.as_secs() < 15, "{took:?}");
    let asked = dead.asked.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(asked, 20, "who does not answer the first question is not asked the next");
}

#[test]
fn what_a_liar_says_is_bounded() {
    // A power that no rig draws, a name that is a page, and a version without end.
    let lie = format!(
        r#"{{"power":1e15,"hashRate":1000,"uptimeSeconds":100,"ASICModel":"<script>","version":"{}"}}"#,
        "9".repeat(5_000)
    );
    let device =
        Device::start(Speech::Http, Manner::Honest, &[("/api/system/info", lie.into_bytes())]);
    let said = ask(&entry("d", "bitaxe", device.port(), ""));
    assert_useless(&said);
    assert!(said.to_string().len() < 3_000, "{said}");
}

#[test]
fn mistakes_in_the_file_are_named_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = "[[device]]\nname = \"a b\"\ndriver = \"toaster\"\nhost = \"h\"\n\
                 [[device]]\nname = \"m\"\ndriver = \"modbus\"\nhost = \"h\"\nunit = 300\n\
                 [[site]]\nname = \"s\"\nmeter = \"nobody\"\ndevices = [\"m\"]\nnonsense = 1\n";
    let output = once(&file(folder.path(), wrong), true);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    for named in ["device.0.name", "device.0.driver", "device.1.unit", "site.0.meter", "nonsense"] {
        assert!(text.contains(named), "{named} is not in {text}");
    }
}
