//! What was found, as entries of the agent's file and as JSON.
//!
//! What a device says of itself stands in comments alone, without control characters; into a value go
//! its address and a name made of letters, digits and hyphens. Deliberately without a worker, which
//! only its owner knows: such a device is shown and not reported.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use energy::device::Identity;
use serde_json::{Value, json};

use super::{Found, door};

/// So much of a model goes into a name.
const NAME_MAX: usize = 40;

/// The entries, ready to be pasted.
#[must_use]
pub fn text(found: &[Found]) -> String {
    let mut text = String::new();
    for (found, names) in found.iter().zip(names(found)) {
        let host = found.target.host;
        // Writing to a string does not fail.
        let _written = writeln!(text, "# {host}: {}", described(&found.verdict.identity));
        if let Some(note) = found.verdict.note {
            let _written = writeln!(text, "# {note}");
        }
        let entries = found.verdict.meters.iter().zip(names);
        for ((driver, channel), name) in entries {
            entry(&mut text, found, driver, *channel, &name);
        }
        text.push('\n');
    }
    text
}

fn entry(text: &mut String, found: &Found, driver: &str, channel: u8, name: &str) {
    let mut lines = vec![
        "[[device]]".to_owned(),
        format!("name = \"{name}\""),
        format!("driver = \"{driver}\""),
        format!("host = \"{}\"", found.target.host),
    ];
    let door = door(driver);
    let port = found.target.ports.of(door);
    if port != door.port() {
        lines.push(format!("port = {port}"));
    }
    if channel != usual(driver) {
        lines.push(format!("channel = {channel}"));
    }
    if driver == "modbus" {
        lines.push("#model = \"abb-b23\"".to_owned());
    }
    let mark = if found.sure { "" } else { "#" };
    for line in lines {
        let _written = writeln!(text, "{mark}{line}");
    }
}

/// The channel that is meant where none is written.
fn usual(driver: &str) -> u8 {
    u8::from(driver.starts_with("apc"))
}

/// Maker, model and firmware on one line.
fn described(identity: &Identity) -> String {
    let mut line = identity.maker.clone();
    for part in [&identity.model, &identity.firmware].into_iter().flatten() {
        line.push_str(", ");
        line.push_str(part);
    }
    line.chars().filter(|c| !c.is_control()).collect()
}

/// A name for each meter of each device, none twice.
fn names(found: &[Found]) -> Vec<Vec<String>> {
    let mut taken = BTreeSet::new();
    let of = |found: &Found| {
        let [.., third, last] = found.target.host.octets();
        let meters = &found.verdict.meters;
        let each = meters.iter().map(|(driver, channel)| {
            let model = found.verdict.identity.model.as_deref().map(plain);
            let model = model.filter(|model| !model.is_empty());
            let model = model.unwrap_or_else(|| (*driver).to_owned());
            let part = if meters.len() > 1 { format!("-ch{channel}") } else { String::new() };
            let near = format!("{model}-{last}{part}");
            let far = format!("{model}-{third}-{last}{part}");
            let more = (2..).map(|n| format!("{far}-{n}"));
            let mut names = [near, far.clone()].into_iter().chain(more);
            // There is always another number.
            let name = names.find(|name| !taken.contains(name)).unwrap_or(far);
            taken.insert(name.clone());
            name
        });
        each.collect()
    };
    found.iter().map(of).collect()
}

/// A text as part of a name: letters, digits and single hyphens.
fn plain(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(NAME_MAX) {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// The same as one JSON object.
#[must_use]
pub fn json(found: &[Found], asked: usize) -> String {
    let devices: Vec<Value> =
        found.iter().zip(names(found)).map(|(found, names)| device(found, &names)).collect();
    format!("{}\n", json!({ "schema": 1, "asked": asked, "devices": devices }))
}

fn device(found: &Found, names: &[String]) -> Value {
    let identity = &found.verdict.identity;
    let entries = found.verdict.meters.iter().zip(names);
    let entries: Vec<Value> = entries
        .map(|((driver, channel), name)| {
            let port = found.target.ports.of(door(driver));
            json!({ "name": name, "driver": driver, "channel": channel, "port": port })
        })
        .collect();
    json!({
        "host": found.target.host.to_string(),
        "maker": identity.maker,
        "model": identity.model,
        "firmware": identity.firmware,
        "serial": identity.serial,
        "sure": found.sure,
        "note": found.verdict.note,
        "entries": entries,
    })
}

#[cfg(test)]
mod tests {
    use energy::device::identify::Verdict;

    use super::super::{Ports, Target};
    use super::*;

    fn found(host: [u8; 4], meters: &[(&'static str, u8)], model: &str) -> Found {
        let identity = Identity {
            maker: "Maker".to_owned(),
            model: Some(model.to_owned()),
            firmware: Some("1.0".to_owned()),
            serial: None,
        };
        let verdict = Verdict { meters: meters.to_vec(), identity, note: None };
        Found { target: Target { host: host.into(), ports: Ports::default() }, verdict, sure: true }
    }

    #[test]
    fn an_entry_has_a_name_of_its_model_and_the_last_part_of_its_address() {
        let plug = found([10, 0, 0, 7], &[("shelly", 0)], "SNSW-001P16EU");
        assert_eq!(
            text(&[plug]),
            "# 10.0.0.7: Maker, SNSW-001P16EU, 1.0\n[[device]]\nname = \"snsw-001p16eu-7\"\n\
             driver = \"shelly\"\nhost = \"10.0.0.7\"\n\n"
        );
        let mut meter = found([10, 0, 0, 8], &[("modbus", 0)], "");
        meter.verdict.note = Some("name it");
        meter.target.ports.modbus = 5020;
        let written = text(&[meter]);
        assert!(written.contains("# name it\n[[device]]\nname = \"modbus-8\"\n"), "{written}");
        assert!(written.contains("port = 5020\n#model = \"abb-b23\"\n"), "{written}");
    }

    #[test]
    fn no_name_is_given_twice() {
        let all = [
            found([10, 0, 0, 7], &[("avalon", 0)], "Avalon Q"),
            found([10, 0, 1, 7], &[("avalon", 0)], "Avalon Q"),
            found([10, 1, 1, 7], &[("avalon", 0)], "Avalon Q"),
            found([10, 1, 1, 8], &[("shelly1-em", 0), ("shelly1-em", 1)], "SHEM"),
        ];
        let names = names(&all).concat();
        assert_eq!(
            names,
            ["avalon-q-7", "avalon-q-1-7", "avalon-q-1-7-2", "shem-8-ch0", "shem-8-ch1"]
        );
        let written = text(&all);
        assert!(written.contains("name = \"shem-8-ch1\"") && written.contains("channel = 1\n"));
        let value: Value = serde_json::from_str(&json(&all, 9)).unwrap();
        assert_eq!(value["devices"][3]["entries"][1]["channel"], 1);
        assert_eq!(value["asked"], 9);
    }

    #[test]
    fn a_device_writes_nothing_into_the_file_but_a_comment() {
        let evil = "\"\n[[pool]]\nurl = \"evil\"\r\u{85} \u{1b}[2J]]";
        let mut liar = found([10, 0, 0, 9], &[("bitaxe", 0)], evil);
        liar.verdict.identity.maker = "\n[agent]".to_owned();
        let written = text(std::slice::from_ref(&liar));
        let lines: Vec<_> = written.lines().collect();
        assert!(lines[0].starts_with("# 10.0.0.9: "), "{written}");
        assert!(lines[1..].iter().all(|line| !line.contains("evil\"")), "{written}");
        assert_eq!(lines[2], "name = \"pool-url-evil-2j-9\"");
        // What only looks like a device is no entry.
        liar.sure = false;
        assert!(text(&[liar]).lines().all(|line| line.is_empty() || line.starts_with('#')));
    }

    #[test]
    fn a_device_without_a_driver_is_a_comment() {
        assert_eq!(text(&[found([10, 0, 0, 9], &[], "KD6")]), "# 10.0.0.9: Maker, KD6, 1.0\n\n");
    }
}
