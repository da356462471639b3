//! Closures that turn a TOML value into a typed one, or say what would be right.
//!
//! Each has the shape `Fn(&Value) -> Result<T, String>`; the text of the error completes
//! "expected …", for instance "a whole number from 1 to 10". A component with a type of its own
//! uses [`text_as`] or writes its own closure. No unit is guessed: a key says its unit in its name.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use toml::Value;

/// Any text but the empty one.
pub fn string() -> impl Fn(&Value) -> Result<String, String> {
    |value| match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("a text in quotes, not empty".to_owned()),
    }
}

/// `true` or `false`.
pub fn boolean() -> impl Fn(&Value) -> Result<bool, String> {
    |value| value.as_bool().ok_or_else(|| "true or false".to_owned())
}

/// A whole number in `range`.
pub fn u64_in(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A number in `range`, whole or not; never NaN, never infinite.
pub fn f64_in(range: RangeInclusive<f64>) -> impl Fn(&Value) -> Result<f64, String> {
    move |value| {
        number(value)
            .filter(|number| number.is_finite() && range.contains(number))
            .ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()))
    }
}

/// A time in seconds, whole or not, in `range` (bounds in seconds, at least 0).
pub fn seconds(range: RangeInclusive<f64>) -> impl Fn(&Value) -> Result<Duration, String> {
    let within = f64_in(range);
    move |value| {
        let seconds = within(value).map_err(|hint| format!("{hint}, in seconds"))?;
        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
    }
}

/// An address and port to listen at or to call, as in `"127.0.0.1:3333"` or `"[::1]:3333"`.
pub fn socket_address() -> impl Fn(&Value) -> Result<SocketAddr, String> {
    text_as(str::parse::<SocketAddr>, "an address with a port such as \"127.0.0.1:3333\"")
}

/// A path of a file or folder; a relative one counts from the working directory.
pub fn path() -> impl Fn(&Value) -> Result<PathBuf, String> {
    text_as(
        |text| if text.is_empty() { Err("empty") } else { Ok(PathBuf::from(text)) },
        "a path in quotes",
    )
}

/// One of a few words, each standing for a value.
pub fn one_of<T: Clone>(words: &[(&str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("one of {}", words.join(", "))
        })
    }
}

/// A percentage from 0 to 100 with at most two decimals, in quotes so that it is exact: `"1.25"`.
/// The value is in basis points (hundredths of a percent, 0 to 10,000).
pub fn percent() -> impl Fn(&Value) -> Result<u16, String> {
    |value| {
        value
            .as_str()
            .and_then(hundredths)
            .filter(|hundredths| *hundredths <= 10_000)
            .and_then(|hundredths| u16::try_from(hundredths).ok())
            .ok_or_else(|| {
                "a percentage in quotes from \"0\" to \"100\" with at most two decimals".to_owned()
            })
    }
}

/// A decimal number with at most two decimals, in quotes so that it is exact: `"2.00"`. The value
/// is in hundredths, from 1 to `max`.
pub fn hundredths_to(max: u32) -> impl Fn(&Value) -> Result<u32, String> {
    move |value| {
        let found = value.as_str().and_then(hundredths);
        found.filter(|found| (1..=max).contains(found)).ok_or_else(|| {
            let (whole, rest) = (max / 100, max % 100);
            format!(
                "a number in quotes from \"0.01\" to \"{whole}.{rest:02}\", at most two decimals"
            )
        })
    }
}

/// A list whose members are each what `member` takes. The text `"a, b"` serves too, for the
/// environment and for flags.
pub fn list_of<T>(
    member: impl Fn(&Value) -> Result<T, String>,
) -> impl Fn(&Value) -> Result<Vec<T>, String> {
    move |value| {
        let members = match value {
            Value::Array(members) => members.clone(),
            Value::String(text) => {
                text.split(',').map(|part| Value::String(part.trim().to_owned())).collect()
            }
            Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Table(_) => return Err("a list in square brackets".to_owned()),
        };
        members
            .iter()
            .map(|value| {
                member(value).map_err(|hint| format!("a list whose members are each {hint}"))
            })
            .collect()
    }
}

/// A text that `convert` takes; its refusal is told after `hint`, which says what would be right.
pub fn text_as<T, E: Display>(
    convert: impl Fn(&str) -> Result<T, E>,
    hint: &str,
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let text = value.as_str().ok_or_else(|| hint.to_owned())?;
        convert(text).map_err(|error| format!("{hint} ({error})"))
    }
}

/// A whole number goes through its text, which gives the nearest that there is beyond 2^53.
fn number(value: &Value) -> Option<f64> {
    let whole = || value.as_integer().and_then(|whole| whole.to_string().parse().ok());
    value.as_float().or_else(whole)
}

/// `"1"`, `"1.2"`, `"1.25"` to hundredths; no sign, no exponent, no third decimal.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    format!("{decimals:0<2}").parse::<u32>().ok()?.checked_add(whole.checked_mul(100)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        format!("x = {text}").parse::<toml::Table>().unwrap()["x"].clone()
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let small = u64_in(1..=10);
        assert_eq!(small(&value("10")), Ok(10));
        for wrong in ["0", "11", "-1", "1.0", "\"1\"", "true"] {
            assert_eq!(small(&value(wrong)).unwrap_err(), "a whole number from 1 to 10", "{wrong}");
        }
        let real = f64_in(1e-9..=1e12);
        assert_eq!(real(&value("5000000000")), Ok(5e9));
        assert_eq!(real(&value("0.000000001")), Ok(1e-9));
        for wrong in ["nan", "inf", "0", "1e13", "\"1\""] {
            assert!(real(&value(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(seconds(0.0..=60.0)(&value("1.5")), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn percentages_are_exact() {
        for (text, expected) in
            [("0", 0), ("1", 100), ("1.0", 100), ("1.25", 125), ("0.5", 50), ("100", 10_000)]
        {
            assert_eq!(percent()(&Value::String(text.into())), Ok(expected), "{text}");
        }
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1.255", "100.01", "1e1", "99999999999"] {
            assert!(percent()(&Value::String(wrong.into())).is_err(), "{wrong}");
        }
        assert!(percent()(&value("1.0")).is_err(), "a float is not exact");
        assert_eq!(hundredths_to(10_000)(&value("\"2.00\"")), Ok(200));
        assert!(hundredths_to(10_000)(&value("\"0.00\"")).is_err());
    }

    #[test]
    fn words_lists_and_addresses() {
        let words = [("durable", 1), ("received", 2)];
        assert_eq!(one_of(&words)(&value("\"received\"")), Ok(2));
        let hint = one_of(&words)(&value("\"no\"")).unwrap_err();
        assert_eq!(hint, "one of \"durable\", \"received\"");

        let list = list_of(socket_address());
        assert_eq!(list(&value("[\"127.0.0.1:1\", \"[::1]:2\"]")).unwrap().len(), 2);
        assert_eq!(list(&value("\"127.0.0.1:1, [::1]:2\"")).unwrap().len(), 2);
        assert!(list(&value("[\"localhost\"]")).unwrap_err().contains("127.0.0.1:3333"));
        assert_eq!(list(&value("5")).unwrap_err(), "a list in square brackets");
        assert!(string()(&value("\"\"")).is_err());
        assert!(path()(&value("\"\"")).is_err());
        assert_eq!(boolean()(&value("true")), Ok(true));
    }
}
