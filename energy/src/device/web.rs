//! Answers that are one JSON object each, and the kinds of source that their figures come from.
//!
//! For devices with an HTTP interface, and Whatsminer's third protocol, whose answers look alike.
//! Deliberately without any device's field names: those are in the device's module.

use std::time::Duration;

use serde_json::Value;
use units::MilliWatts;

use super::{Answers, Figure, Quantity, Unreadable, value};
use crate::meter::{Kind, Scope, Tier};

/// More than any rig of one control board draws: the largest sold take about 12 kW.
pub(super) const MOST_OF_A_RIG: MilliWatts = MilliWatts::from_watts(20_000);

/// A refusal is a small object; a status page that has a field `message` is a large one.
const REFUSAL_FIELDS: usize = 3;

/// What a figure's quality follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) kind: Kind,
    pub(super) scope: Scope,
    pub(super) tier: Tier,
    pub(super) uncertainty_ppm: u32,
}

impl Source {
    /// The alternating current that a rig's supply takes in, by its own uncalibrated sensor.
    pub(super) const SUPPLY: Self = Self {
        kind: Kind::AsicPsu,
        scope: Scope::Rig,
        tier: Tier::DEVICE_REPORTED,
        uncertainty_ppm: 50_000,
    };
    /// A firmware's estimate of a rig: a table of the model, without a meter in this very rig. Above
    /// the floor of its kind, since supplies and chips differ from those that the table was made of.
    pub(super) const ESTIMATE: Self = Self {
        kind: Kind::AsicModel,
        scope: Scope::Rig,
        tier: Tier::FIRMWARE_MODEL,
        uncertainty_ppm: 150_000,
    };

    /// A power from this source.
    pub(super) fn power(
        self,
        meter: &str,
        power: MilliWatts,
        window: Option<Duration>,
        field: &str,
        meaning: String,
    ) -> Figure {
        Figure {
            meter: meter.to_owned(),
            quantity: Quantity::Power(power),
            kind: self.kind,
            scope: self.scope,
            tier: self.tier,
            uncertainty_ppm: self.uncertainty_ppm,
            window,
            field: field.to_owned(),
            meaning,
        }
    }
}

/// The answers as JSON objects, each null where there is none.
///
/// An error of the first answer, which has the power, is returned; one of the others, which have the
/// identity, only where nothing else was readable.
pub(super) fn objects<const N: usize>(
    commands: [&str; N],
    answers: &Answers<'_>,
) -> Result<[Value; N], Unreadable> {
    let mut error = None;
    let mut read = 0;
    let mut objects = [const { Value::Null }; N];
    for (index, command) in commands.into_iter().enumerate() {
        let Some(bytes) = answers.get(index).copied().flatten() else { continue };
        match object(command, bytes) {
            Ok(value) => {
                objects[index] = value;
                read += 1;
            }
            Err(first) if index == 0 => return Err(first),
            Err(other) => error = error.or(Some(other)),
        }
    }
    if read == 0 { Err(error.unwrap_or(Unreadable::Silent)) } else { Ok(objects) }
}

/// An answer as a JSON object that is no refusal.
pub(super) fn object(command: &str, bytes: &[u8]) -> Result<Value, Unreadable> {
    let answer = value::json(command, bytes)?;
    if let Some(message) = complaint(&answer) {
        return Err(Unreadable::Refused { command: command.to_owned(), message });
    }
    if !answer.is_object() {
        return Err(malformed(command, format!("{:?} is no object", shown(&answer))));
    }
    Ok(answer)
}

/// Refuses an object that came and has none of the fields by which such a device's is known.
pub(super) fn known_by(command: &str, object: &Value, fields: &[&str]) -> Result<(), Unreadable> {
    if object.is_null() || fields.iter().any(|field| object.get(field).is_some()) {
        return Ok(());
    }
    Err(malformed(command, format!("{:?} has none of {}", shown(object), fields.join(", "))))
}

/// What stands at a path, such as `/a/b`; null where nothing does.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    const NOTHING: Value = Value::Null;
    object.pointer(path).unwrap_or(&NOTHING)
}

/// A time in seconds.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    value::whole(value).map(Duration::from_secs)
}

/// An answer that is not what such a device says.
pub(super) fn malformed(command: &str, reason: String) -> Unreadable {
    Unreadable::Malformed { command: command.to_owned(), reason }
}

/// What a device says where it gives an error instead of an answer: `error` and `err` of ePIC and
/// Vnish, `detail` of many web frameworks, `errors` of GraphQL, `message` of gRPC's gateway.
fn complaint(answer: &Value) -> Option<String> {
    let object = answer.as_object()?;
    let mut fields = vec!["error", "err", "detail"];
    if object.len() <= REFUSAL_FIELDS {
        fields.push("message");
    }
    let plain = fields.into_iter().find_map(|field| object.get(field).and_then(said));
    plain.or_else(|| {
        let first = object.get("errors")?.get(0)?;
        first.get("message").and_then(said).or_else(|| said(first))
    })
}

/// A value that says something, cut; an error that is null, false or empty is none.
fn said(value: &Value) -> Option<String> {
    let nothing = value.is_null()
        || value == &Value::Bool(false)
        || value.as_str().is_some_and(|text| text.trim().is_empty())
        || value.as_array().is_some_and(Vec::is_empty);
    (!nothing).then(|| shown(value))
}

/// A value in short.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value::cut(&value.to_string()), value::cut)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_in_place_of_an_answer_is_a_refusal() {
        for (answer, message) in [
            (r#"{"result":false,"error":"BadPassword"}"#, "BadPassword"),
            (r#"{"detail":"Not authenticated"}"#, "Not authenticated"),
            (r#"{"err":"unauthorized"}"#, "unauthorized"),
            (r#"{"code":16,"message":"no session"}"#, "no session"),
            (r#"{"data":null,"errors":[{"message":"denied"}]}"#, "denied"),
            (r#"{"error":{"LastCmdStillPending":"x"}}"#, r#"{"LastCmdStillPending":"x"}"#),
        ] {
            let refused = Unreadable::Refused { command: "c".into(), message: message.into() };
            assert_eq!(object("c", answer.as_bytes()), Err(refused), "{answer}");
        }
        for fine in [
            json!({"error": null, "a": 1}),
            json!({"errors": [], "a": 1}),
            json!({"error": "", "a": 1}),
            json!({"message": "up", "a": 1, "b": 1, "c": 1}),
        ] {
            assert_eq!(object("c", fine.to_string().as_bytes()), Ok(fine));
        }
    }

    #[test]
    fn only_the_first_answer_must_be_readable() {
        let read = |answers: &Answers<'_>| objects(["power", "identity"], answers);
        assert_eq!(read(&[]), Err(Unreadable::Silent));
        assert_eq!(read(&[None, None]), Err(Unreadable::Silent));
        let page = Some(&b"<html><body>401</body></html>"[..]);
        let good = Some(&b"{\"a\":1}"[..]);
        assert!(read(&[page, good]).unwrap_err().to_string().starts_with("power: "));
        assert!(read(&[None, page]).unwrap_err().to_string().starts_with("identity: "));
        assert_eq!(read(&[good, page]), Ok([json!({"a": 1}), Value::Null]));
        assert_eq!(read(&[None, good]), Ok([Value::Null, json!({"a": 1})]));
        assert!(read(&[Some(b"[1]"), good]).unwrap_err().to_string().contains("no object"));
    }

    #[test]
    fn an_object_of_something_else_is_malformed() {
        assert!(known_by("c", &json!({"a": 1}), &["a", "b"]).is_ok());
        assert!(known_by("c", &Value::Null, &["a"]).is_ok());
        let error = known_by("c", &json!({"z": 1}), &["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("a, b"), "{error}");
    }
}
