//! Lines of Stratum V1 as a miner writes and reads them, for any pool.
//!
//! Read [`Line`] first: what a line of the pool says. It deliberately understands no more than a
//! miner without options has to: no version rolling, no change of extranonce in mid-session.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::work::Job;

/// The numbers that the first two requests carry; shares count on from there.
pub(super) const SUBSCRIBE: u64 = 1;
pub(super) const AUTHORIZE: u64 = 2;

/// What the pool says in one line.
#[derive(Debug, PartialEq)]
pub(crate) enum Line<'a> {
    /// To the request of this number: yes.
    Yes(u64),
    /// To the request of this number: no, with code and words.
    No(u64, i64, String),
    /// To the request of this number: something else than yes or no.
    Other(u64, &'a str),
    /// The difficulty of shares from here on.
    Difficulty(f64),
    /// New work: the parameters.
    Notify(&'a str),
    /// Something that a miner may pass over.
    Besides,
}

/// A line that is none of the above.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pool sent {what}: {line:?}")]
pub(crate) struct Unreadable {
    pub(super) what: String,
    pub(super) line: String,
}

impl Unreadable {
    pub(super) fn new(what: impl Into<String>, line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line).chars().take(120).collect();
        Self { what: what.into(), line }
    }
}

/// The keys that a pool's line may have, in any order.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Reads one line, without its end.
pub(crate) fn read(line: &[u8]) -> Result<Line<'_>, Unreadable> {
    if let Some(number) = plain_yes(line) {
        return Ok(Line::Yes(number));
    }
    let raw: Raw<'_> =
        serde_json::from_slice(line).map_err(|error| Unreadable::new(error.to_string(), line))?;
    if let Some(method) = raw.method {
        return call(method.get(), raw.params, line);
    }
    let number = raw.id.and_then(|id| id.get().trim_matches('"').parse().ok());
    let number = number.ok_or_else(|| Unreadable::new("an answer without a number", line))?;
    let said = |value: Option<&'_ RawValue>| value.map_or("null", RawValue::get) != "null";
    if said(raw.error) {
        let (code, message) = refusal(raw.error.map_or("null", RawValue::get));
        return Ok(Line::No(number, code, message));
    }
    match raw.result.map(RawValue::get) {
        Some("true") => Ok(Line::Yes(number)),
        Some("false" | "null") | None => Ok(Line::No(number, 0, "no reason".to_owned())),
        Some(other) => Ok(Line::Other(number, other)),
    }
}

/// `{"id":7,"result":true…`, as most pools write what makes up nearly all of their lines.
fn plain_yes(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"id\":")?;
    let digits = rest.iter().take(18).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    let plain = digits > 0 && rest == b",\"result\":true,\"error\":null}";
    plain.then(|| number.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0')))
}

fn call<'a>(
    method: &str,
    params: Option<&'a RawValue>,
    line: &[u8],
) -> Result<Line<'a>, Unreadable> {
    let params = params.map_or("[]", RawValue::get);
    match method {
        "\"mining.notify\"" => Ok(Line::Notify(params)),
        "\"mining.set_difficulty\"" => {
            let (difficulty,): (f64,) = serde_json::from_str(params)
                .map_err(|_| Unreadable::new("a difficulty that is no number", line))?;
            Ok(Line::Difficulty(difficulty))
        }
        _ => Ok(Line::Besides),
    }
}

/// `[code, "message", …]`, or an object with both, or anything else as it stands.
fn refusal(error: &str) -> (i64, String) {
    #[derive(Deserialize)]
    struct Named {
        code: i64,
        message: String,
    }
    if let Ok((code, message, _)) = serde_json::from_str::<(i64, String, serde_json::Value)>(error)
    {
        return (code, message);
    }
    match serde_json::from_str(error) {
        Ok(Named { code, message }) => (code, message),
        Err(_) => (0, error.chars().take(80).collect()),
    }
}

/// The answer to `mining.subscribe`: extranonce 1 and the length of extranonce 2 in bytes.
pub(super) fn subscription(result: &str) -> Option<(Vec<u8>, usize)> {
    let (_, xn1, length): (serde_json::Value, String, usize) = serde_json::from_str(result).ok()?;
    let xn1 = hex::decode(xn1).ok()?;
    (1..=8).contains(&length).then_some((xn1, length))
}

/// The name in the answer to `mining.subscribe` that the subscription is taken up again by.
pub(super) fn subscription_name(result: &str) -> Option<String> {
    type Offers = Vec<(String, String)>;
    let (offers, _, _): (Offers, String, usize) = serde_json::from_str(result).ok()?;
    offers.into_iter().map(|(_, name)| name).next_back()
}

/// The first two requests, in one write. `earlier` names a subscription to take up again.
pub(super) fn greeting(user: &str, earlier: Option<&str>) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let earlier = earlier.map(|name| format!(",\"{name}\"")).unwrap_or_default();
    format!(
        "{{\"id\":{SUBSCRIBE},\"method\":\"mining.subscribe\",\
         \"params\":[\"wattproof-bench/{version}\"{earlier}]}}\n\
         {{\"id\":{AUTHORIZE},\"method\":\"mining.authorize\",\"params\":[\"{user}\",\"x\"]}}\n"
    )
    .into_bytes()
}

/// What every share of one worker on one job has between its number and its extranonce 2.
pub(super) fn share_middle(user: &str, job: &Job) -> Vec<u8> {
    format!(",\"method\":\"mining.submit\",\"params\":[\"{user}\",\"{}\",\"", job.id).into_bytes()
}

/// Appends a share's line. `xn2` is the extranonce 2 in hexadecimal.
pub(super) fn write_share(
    out: &mut Vec<u8>,
    number: u64,
    middle: &[u8],
    xn2: &[u8],
    ntime: &[u8; 8],
    nonce: u32,
) {
    out.extend_from_slice(b"{\"id\":");
    let mut digits = [0; 20];
    out.extend_from_slice(decimal(number, &mut digits));
    out.extend_from_slice(middle);
    out.extend_from_slice(xn2);
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(ntime);
    out.extend_from_slice(b"\",\"");
    push_hex(out, &nonce.to_be_bytes());
    out.extend_from_slice(b"\"]}\n");
}

/// Appends bytes as lower-case hexadecimal.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        out.extend_from_slice(&[DIGITS[high], DIGITS[low]]);
    }
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).expect("one digit");
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_any_order_of_keys() {
        for (line, expected) in [
            (r#"{"id":7,"result":true,"error":null}"#, Line::Yes(7)),
            (r#"{"result": true, "error": null, "id": 12}"#, Line::Yes(12)),
            (r#"{"id":"7","result":true}"#, Line::Yes(7)),
            (
                r#"{"id":8,"result":null,"error":[21,"stale job",null]}"#,
                Line::No(8, 21, "stale job".to_owned()),
            ),
            (
                r#"{"id":8,"result":false,"error":{"code":23,"message":"low"}}"#,
                Line::No(8, 23, "low".to_owned()),
            ),
            (
                r#"{"reject-reason":"Stale","result":false,"error":null,"id":9}"#,
                Line::No(9, 0, "no reason".to_owned()),
            ),
            (
                r#"{"id":8,"result":false,"error":"Above target"}"#,
                Line::No(8, 0, "\"Above target\"".to_owned()),
            ),
            (r#"{"id":1,"result":[1],"error":null}"#, Line::Other(1, "[1]")),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn calls_are_read_and_unknown_ones_passed_over() {
        for (line, expected) in [
            (
                r#"{"id":null,"method":"mining.set_difficulty","params":[1e-9]}"#,
                Line::Difficulty(1e-9),
            ),
            (
                r#"{"params": ["1"], "id": null, "method": "mining.notify"}"#,
                Line::Notify(r#"["1"]"#),
            ),
            (r#"{"id":4,"method":"client.get_version","params":[]}"#, Line::Besides),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_is_named() {
        for line in [
            "hello",
            r#"{"result":true}"#,
            r#"{"method":"mining.set_difficulty","params":["x"]}"#,
            r#"{"id":,"result":true,"error":null}"#,
        ] {
            let error = read(line.as_bytes()).unwrap_err();
            assert_eq!(error.line, line);
        }
    }

    #[test]
    fn a_subscription_names_both_extranonces() {
        let result = r#"[[["mining.notify","s"]],"aabbccdd",8]"#;
        assert_eq!(subscription(result), Some((vec![0xaa, 0xbb, 0xcc, 0xdd], 8)));
        assert_eq!(subscription_name(result), Some("s".to_owned()));
        assert_eq!(subscription_name(r#"[[],"aabb",8]"#), None);
        for wrong in [r#"[[],"aabb",0]"#, r#"[[],"aabb",9]"#, r#"[[],"zz",4]"#, "true"] {
            assert_eq!(subscription(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_written_in_decimal_and_hexadecimal() {
        let mut digits = [0; 20];
        assert_eq!(decimal(0, &mut digits), b"0");
        assert_eq!(decimal(u64::MAX, &mut digits), u64::MAX.to_string().as_bytes());
        let mut out = Vec::new();
        push_hex(&mut out, &[0x00, 0x9f, 0xa0]);
        assert_eq!(out, b"009fa0");
    }
}
