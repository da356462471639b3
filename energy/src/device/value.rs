//! Values as devices write them: numbers that are strings with a unit behind, and codes for "unknown".
//!
//! Deliberately lenient in form and strict in what is believed: what is no power that such a device
//! can draw ends up among the refused, with the reason.

use defences::{Defence, stands};
use serde_json::Value;
use units::MilliWatts;

use super::{Refused, Telemetry, Unreadable};

/// So much of an answer is shown where it is not understood.
const SHOWN: usize = 64;
/// So many refusals of one device are noted: more of them say no more.
const REFUSALS: usize = 64;
/// Answers longer than this are none.
pub(super) const LONGEST: usize = 1 << 20;

/// The first characters of a text, without control characters.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// An answer as JSON. Devices end theirs with zero bytes and line ends, which are passed over.
pub(super) fn json(command: &str, bytes: &[u8]) -> Result<Value, Unreadable> {
    let malformed = |reason: String| Unreadable::Malformed { command: command.to_owned(), reason };
    if bytes.len() > LONGEST {
        return Err(malformed(format!("{} bytes, which no such device sends", bytes.len())));
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    serde_json::from_str(text).map_err(|_| malformed(format!("{:?} is no JSON", cut(text))))
}

/// A number: itself, or a string that begins with one and goes on with a unit ("58.94W", "3250 W").
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => {
            let text = text.trim();
            let end = text
                .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
                .unwrap_or(text.len());
            text[..end].parse().ok()?
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    number.is_finite().then_some(number)
}

/// A hash rate: a number times how many hashes a second its unit is.
pub(super) fn hash_rate(value: &Value, unit: f64) -> Option<u128> {
    let rate = number(value)? * unit;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    (0.0..1e21).contains(&rate).then(|| rate.round() as u128)
}

/// A text that says something.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = cut(value.as_str()?.trim());
    (!text.is_empty()).then_some(text)
}

/// A whole number that is not negative.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let number = number(value)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    (0.0..1e15).contains(&number).then(|| number.round() as u64)
}

impl Telemetry {
    /// A power that stands in `field`, in watts; `None` where there is no such field, and where what
    /// stands there is refused, which is noted. `most` is more than such a device draws.
    pub(super) fn power(
        &mut self,
        field: &str,
        value: &Value,
        most: MilliWatts,
    ) -> Option<MilliWatts> {
        if value.is_null() {
            return None;
        }
        let reason = match number(value) {
            None => "it is no number".to_owned(),
            Some(-1.0) => "-1 is the code for unknown".to_owned(),
            Some(watts) if watts < 0.0 => "a power is not negative".to_owned(),
            Some(watts) if watts < 0.0005 => {
                "a device that answers draws some power; 0 stands for unknown".to_owned()
            }
            Some(watts) => match milliwatts(watts)
                .filter(|power| *power <= most || !stands(Defence::DevicePower))
            {
                Some(power) => return Some(power),
                None => format!("no such device draws more than {} W", most.watts_f64()),
            },
        };
        self.refuse(field, value, reason);
        None
    }

    /// Notes what is no figure.
    pub(super) fn refuse(&mut self, field: &str, value: &Value, reason: impl Into<String>) {
        let shown = value.as_str().map_or_else(|| cut(&value.to_string()), cut);
        if self.refused.len() < REFUSALS {
            let (field, reason) = (field.to_owned(), reason.into());
            self.refused.push(Refused { field, text: shown, reason });
        }
    }
}

/// Watts to the nearest milliwatt.
fn milliwatts(watts: f64) -> Option<MilliWatts> {
    let milliwatts = (watts * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    (0.0..1e15).contains(&milliwatts).then(|| MilliWatts::new(milliwatts as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_may_be_a_string_with_a_unit() {
        for (value, expected) in [
            (json!(58.94), Some(58.94)),
            (json!("58.94W"), Some(58.94)),
            (json!(" 3250 W "), Some(3250.0)),
            (json!("-1"), Some(-1.0)),
            (json!("W"), None),
            (json!(""), None),
            (json!("1.2.3"), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            assert_eq!(number(&value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_power_is_refused_with_its_reason() {
        let most = MilliWatts::from_watts(10_000);
        let mut telemetry = Telemetry::default();
        let mut power = |value| telemetry.power("a: b", &value, most);
        assert_eq!(power(json!(null)), None);
        assert_eq!(power(json!("58.94W")), Some(MilliWatts::new(58_940)));
        for value in [json!(-1), json!(1e-9), json!(-5), json!("x"), json!(10_001), json!(1e300)] {
            assert_eq!(power(value.clone()), None, "{value}");
        }
        let reasons: Vec<_> = telemetry.refused.iter().map(|one| one.reason.as_str()).collect();
        assert!(reasons[0].contains("unknown") && reasons[1].contains("unknown"), "{reasons:?}");
        assert!(reasons[4].contains("10000 W"), "{reasons:?}");
        assert_eq!(reasons.len(), 6);
    }

    #[test]
    fn answers_end_as_devices_end_them_and_are_shown_in_short() {
        assert_eq!(json("summary", b"{\"a\":1}\n\0").unwrap(), json!({"a": 1}));
        let error = json("summary", "<html>".repeat(99).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("summary: ") && error.len() < 100, "{error}");
        assert!(json("summary", &vec![b' '; LONGEST + 1]).is_err());
        assert_eq!(hash_rate(&json!("110566.89"), 1e9), Some(110_566_890_000_000));
    }
}
