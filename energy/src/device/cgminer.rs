//! What the devices that speak the cgminer API have in common: the envelope and what is in it.
//!
//! Read [`replies`] first, which makes JSON of all answers, then the lookups [`row`] and [`field`].
//! An answer is one JSON object with sections by name (`SUMMARY`, `STATS`), each a list of rows, and
//! `STATUS`, whose letter is `E` or `F` where the device refuses. Facts: cgminer's `API-README` and
//! api.c, the recorded answers in `energy/fixtures/asic`, and what firmware in the field gets wrong
//! (rows without a comma between them, commas too many, `nan`, bytes behind the end, one object
//! where a list belongs, `STATUS` as a bare letter, names in another case).
//!
//! Deliberately not here: the old text format (we ask in JSON, and are answered in JSON), several
//! commands in one request (not every firmware knows them), and any meaning of a figure, which is
//! each maker's module's.
//!
//! Units: milliwatts; hashes per second.

use std::{array, time::Duration};

use serde_json::Value;
use units::MilliWatts;

use super::{
    Answers, Figure, Quantity, Refused, Request, Telemetry, Unreadable,
    value::{LONGEST, cut, hash_rate, json, text, whole},
};
use crate::meter::{Kind, Scope, Tier};

/// More than any such device draws: the largest sold, cooled by water, take some 15 kW (2026).
pub(super) const MOST: MilliWatts = MilliWatts::from_watts(25_000);
/// So many rows of a section are read: supplies, modules, boards.
const ROWS: usize = 64;

/// Requests of these commands.
pub(super) fn requests(commands: &[&'static str]) -> Vec<Request> {
    commands.iter().map(|command| Request::Cgminer { command }).collect()
}

/// The answers to these commands as JSON, null where there is none. One that cannot be read is noted
/// among the refused, for the others may do; an error only where not one can be read.
pub(super) fn replies<const N: usize>(
    commands: [&'static str; N],
    answers: &Answers<'_>,
    telemetry: &mut Telemetry,
) -> Result<[Value; N], Unreadable> {
    let mut readable = false;
    let mut failure = None;
    let values = array::from_fn(|index| {
        let Some(bytes) = answers.get(index).copied().flatten() else { return Value::Null };
        match reply(commands[index], bytes) {
            Ok(value) => {
                readable = true;
                value
            }
            Err(error) => {
                let (field, reason) = (commands[index].to_owned(), error.to_string());
                telemetry.refused.push(Refused { field, text: String::new(), reason });
                failure.get_or_insert(error);
                Value::Null
            }
        }
    });
    if readable { Ok(values) } else { Err(failure.unwrap_or(Unreadable::Silent)) }
}

/// One answer as JSON, if the device did not refuse.
fn reply(command: &str, bytes: &[u8]) -> Result<Value, Unreadable> {
    let value = json(command, bytes).or_else(|error| repaired(bytes).ok_or(error))?;
    if !value.is_object() {
        let reason = format!("{:?} is no object", cut(&value.to_string()));
        return Err(Unreadable::Malformed { command: command.to_owned(), reason });
    }
    match refusal(&value) {
        Some(message) => Err(Unreadable::Refused { command: command.to_owned(), message }),
        None => Ok(value),
    }
}

/// What the device says where it refuses.
fn refusal(value: &Value) -> Option<String> {
    let status = first(field(value, "STATUS"));
    // Whatsminers put the letter at the top, beside its message.
    let (letter, message) = if status.is_string() {
        (status, field(value, "Msg"))
    } else {
        (field(status, "STATUS"), field(status, "Msg"))
    };
    let letter = letter.as_str()?.trim().chars().next()?.to_ascii_uppercase();
    let message = || text(message).unwrap_or_else(|| "no reason".to_owned());
    matches!(letter, 'E' | 'F').then(message)
}

/// The first JSON value of an answer that is none as it stands, with what firmware is known to get
/// wrong put right: `}{`, `,}`, `[,`, `,,`, `:nan`, control characters in strings, bytes behind it.
fn repaired(bytes: &[u8]) -> Option<Value> {
    if bytes.len() > LONGEST {
        return None;
    }
    let answer = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(answer.len());
    let (mut quoted, mut escaped) = (false, false);
    // The last character outside of strings that is no white space, and where it stands.
    let (mut last, mut last_at) = (' ', 0);
    for c in answer.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            out.push(if c.is_control() { ' ' } else { c });
            continue;
        }
        match (last, c) {
            ('}', '{') => out.push(','),
            (',', '}' | ']') => out.truncate(last_at),
            ('[' | '{' | ',', ',') => continue,
            _ => {}
        }
        if !c.is_whitespace() {
            (last, last_at) = (c, out.len());
        }
        quoted = c == '"';
        out.push(c);
    }
    for wrong in [":nan", ":-nan", ":inf", ":-inf"] {
        out = out.replace(wrong, ":null");
    }
    serde_json::Deserializer::from_str(&out).into_iter().next()?.ok()
}

/// A field of a row, whatever the case of its name; null where there is none.
pub(super) fn field<'a>(row: &'a Value, name: &str) -> &'a Value {
    let found = row.as_object().and_then(|row| {
        let alike = || row.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        row.get(name).or_else(|| alike().map(|(_, value)| value))
    });
    found.unwrap_or(&Value::Null)
}

/// The rows of a section, which some firmware writes as one object.
pub(super) fn rows<'a>(reply: &'a Value, section: &str) -> impl Iterator<Item = &'a Value> {
    let section = field(reply, section);
    let listed = section.as_array().map_or(&[][..], Vec::as_slice).iter();
    let single = section.is_object().then_some(section);
    listed.filter(|row| row.is_object()).chain(single).take(ROWS)
}

/// The first row of a section; null where there is none.
pub(super) fn row<'a>(reply: &'a Value, section: &str) -> &'a Value {
    rows(reply, section).next().unwrap_or(&Value::Null)
}

fn first(value: &Value) -> &Value {
    value.as_array().map_or(value, |list| list.first().unwrap_or(&Value::Null))
}

/// Notes how long the device has been running and the hash rate it claims. The unit is in the field's
/// name.
///
/// The rate of now comes first: the average since the start goes on claiming the full rate of a device
/// that has been paused.
pub(super) fn note_work(telemetry: &mut Telemetry, row: &Value) {
    const SPANS: [&str; 6] = ["1m", "5s", "5m", "15m", "30m", "av"];
    let claimed = SPANS.iter().find_map(|span| {
        let of = |unit: &str, hashes| hash_rate(field(row, &format!("{unit} {span}")), hashes);
        of("MHS", 1e6).or_else(|| of("GHS", 1e9))
    });
    telemetry.claimed_hashes_per_second = claimed;
    telemetry.uptime = whole(field(row, "Elapsed")).map(Duration::from_secs);
}

/// The power of all parts together: none where one of them says nothing, for the sum of the others
/// would be too small, and none where there are no parts.
pub(super) fn total(
    telemetry: &mut Telemetry,
    field: &str,
    parts: &[Option<MilliWatts>],
) -> Option<MilliWatts> {
    let known: Vec<u64> = parts.iter().flatten().map(|power| power.get()).collect();
    let sum: u64 = known.iter().sum();
    let reason = if known.is_empty() {
        return None;
    } else if known.len() < parts.len() {
        format!("{} of {} parts say nothing", parts.len() - known.len(), parts.len())
    } else if sum > MOST.get() {
        format!("no such device draws more than {} W", MOST.watts_f64())
    } else {
        return Some(MilliWatts::new(sum));
    };
    telemetry.refuse(field, &Value::from(sum / 1000), reason);
    None
}

/// Alternating current that goes into a device's supply, by the supply's own sensors. Tier 3, not
/// the 2 of a meter: no maker says how its supplies are calibrated.
pub(super) fn supply_input(power: MilliWatts, field: &str, meaning: &str) -> Figure {
    Figure {
        meter: "psu".to_owned(),
        quantity: Quantity::Power(power),
        kind: Kind::AsicPsu,
        scope: Scope::Rig,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: 50_000,
        window: None,
        field: field.to_owned(),
        meaning: meaning.to_owned(),
    }
}

/// Direct current that comes out of a device's supply. What the supply loses, 4 to 12 % in recorded
/// answers, is missing, so the error is to one side and the uncertainty covers it.
pub(super) fn supply_output(power: MilliWatts, field: &str, meaning: &str) -> Figure {
    let figure = supply_input(power, field, meaning);
    let meter = "psu-output".to_owned();
    Figure { meter, scope: Scope::Device, uncertainty_ppm: 150_000, ..figure }
}

/// What a firmware computes of frequencies, voltages and tables, measuring no power.
pub(super) fn firmware_model(power: MilliWatts, field: &str, meaning: &str) -> Figure {
    let figure = supply_input(power, field, meaning);
    let (meter, kind, tier) = ("model".to_owned(), Kind::AsicModel, Tier::FIRMWARE_MODEL);
    Figure { meter, kind, tier, uncertainty_ppm: 150_000, ..figure }
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(answer: &str) -> Result<Value, Unreadable> {
        reply("stats", answer.as_bytes())
    }

    #[test]
    fn what_firmware_gets_wrong_is_put_right() {
        let right = json!({"STATS": [{"a": 1}, {"b": null}]});
        for wrong in [
            "{\"STATS\":[{\"a\":1}{\"b\":null}]}\0",
            "{\"STATS\":[{\"a\":1}\n{\"b\":nan}]}",
            "{\"STATS\":[,{\"a\":1,},,{\"b\":null} , ],}",
            "{\"STATS\":[{\"a\":1},{\"b\":null}]}\0\0{\"STATS\":",
            "{\"STATS\":[{\"a\":1},{\"b\":null}]}}]",
        ] {
            assert_eq!(read(wrong).as_ref(), Ok(&right), "{wrong}");
        }
        let quoted = read("{\"a\":\"}{ ,] \\\"\t\"}x").unwrap();
        assert_eq!(quoted, json!({"a": "}{ ,] \" "}));
    }

    #[test]
    fn what_is_no_answer_is_said_in_short() {
        for wrong in ["", "\0", "{\"STATS\":[{", "[1]", "1", "Socket connect failed", "{\"a\":1 2}"]
        {
            let error = read(wrong).unwrap_err();
            assert!(matches!(error, Unreadable::Malformed { .. }), "{wrong}");
            assert!(error.to_string().len() < 100);
        }
        let long = vec![b' '; LONGEST + 1];
        assert!(matches!(reply("stats", &long), Err(Unreadable::Malformed { .. })));
        assert!(read(&"[".repeat(9000)).is_err());
        assert!(read(&format!("{{\"a\":{}", "{\"a\":".repeat(9000))).is_err());
    }

    #[test]
    fn a_refusal_is_seen_in_every_form() {
        for refused in [
            json!({"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "invalid cmd"}], "id": 1}),
            json!({"STATUS": {"STATUS": "F", "Msg": "invalid cmd"}}),
            json!({"STATUS": "E", "Code": 14, "Msg": "invalid cmd"}),
            json!({"status": [{"Status": " error", "msg": "invalid cmd"}]}),
        ] {
            let message = "invalid cmd".to_owned();
            let error = Unreadable::Refused { command: "stats".to_owned(), message };
            assert_eq!(read(&refused.to_string()), Err(error), "{refused}");
        }
        for granted in [
            json!({"STATUS": [{"STATUS": "S"}]}),
            json!({"STATUS": "W"}),
            json!({"STATUS": []}),
            json!({"Power": 1}),
        ] {
            assert!(read(&granted.to_string()).is_ok(), "{granted}");
        }
    }

    #[test]
    fn one_answer_of_several_may_be_missing_or_wrong() {
        let mut telemetry = Telemetry::default();
        let commands = ["summary", "stats", "version"];
        let answers: [Option<&[u8]>; 3] =
            [Some(b"{\"SUMMARY\":{\"elapsed\":7}}"), None, Some(b"<")];
        let [summary, stats, version] = replies(commands, &answers, &mut telemetry).unwrap();
        note_work(&mut telemetry, row(&summary, "SUMMARY"));
        assert_eq!(telemetry.uptime, Some(Duration::from_secs(7)));
        assert!(stats.is_null() && version.is_null());
        assert_eq!(telemetry.refused.len(), 1);
        assert_eq!(telemetry.refused[0].field, "version");

        let silent = replies(commands, &[None, None], &mut telemetry);
        assert_eq!(silent, Err(Unreadable::Silent));
        assert!(matches!(
            replies(commands, &[None, Some(b"<")], &mut telemetry),
            Err(Unreadable::Malformed { .. })
        ));
    }

    #[test]
    fn a_sum_wants_all_its_parts() {
        let mut telemetry = Telemetry::default();
        let watts = |watts| Some(MilliWatts::from_watts(watts));
        assert_eq!(total(&mut telemetry, "a", &[]), None);
        assert_eq!(total(&mut telemetry, "a", &[None]), None);
        assert_eq!(total(&mut telemetry, "a", &[watts(1), watts(2)]), watts(3));
        assert_eq!(telemetry.refused, []);
        assert_eq!(total(&mut telemetry, "a", &[watts(1), None]), None);
        assert_eq!(total(&mut telemetry, "a", &[watts(20_000), watts(20_000)]), None);
        assert_eq!(telemetry.refused.len(), 2);
    }
}
