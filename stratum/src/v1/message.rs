//! The messages of Stratum V1 as both sides read and write them: JSON, one object a line.
//!
//! Read [`Message`] (any line, its parts still text) and the `write_` functions. Parameters are
//! parsed by whoever knows the method. It deliberately refuses nothing that can be understood:
//! missing members are null, extra ones are ignored, identifiers are echoed as they came.

use std::borrow::Cow;

use defences::{Defence, stands};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use units::Difficulty;

use crate::judge::{Extranonce2, Submit};

/// One line: a request, a notification or an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow, default)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) method: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) error: Option<&'a RawValue>,
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A request's identifier, echoed as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Id {
    Null,
    Number(u64),
    /// The JSON text of a string or an unusual number.
    Other(Box<str>),
}

/// Longest identifier that is echoed, bytes of JSON.
const MAX_ID: usize = 64;

/// The parameters of `mining.submit`, still text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubmitParams<'a> {
    pub(crate) worker: Text<'a>,
    pub(crate) job: Text<'a>,
    pub(crate) xn2: Text<'a>,
    pub(crate) ntime: Text<'a>,
    pub(crate) nonce: Text<'a>,
    pub(crate) version_bits: Option<Text<'a>>,
}

/// Deepest nesting of lists and objects in a line. A report of energy has four levels; a parser
/// that goes down a level for each bracket of a hostile line would run out of stack.
const MAX_DEPTH: usize = 16;

impl<'a> Message<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        if stands(Defence::JsonDepth) && is_deep(line) {
            return None;
        }
        // Some begin their stream with a byte order mark.
        serde_json::from_slice(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)).ok()
    }

    /// The parameters one by one; none where there is no list.
    pub(crate) fn params(&self) -> Vec<&'a RawValue> {
        self.params.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }
}

impl Id {
    /// `None` for what is no identifier: a list, an object, a truth value, or one too long.
    pub(crate) fn parse(raw: Option<&RawValue>) -> Option<Self> {
        let Some(text) = raw.map(RawValue::get) else { return Some(Self::Null) };
        if let Ok(number) = serde_json::from_str(text) {
            return Some(Self::Number(number));
        }
        let scalar =
            text.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
        let fits = text.len() <= MAX_ID || !stands(Defence::IdLength);
        (scalar && fits).then(|| Self::Other(text.into()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Number(number) => write_decimal(out, *number),
            Self::Other(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

impl SubmitParams<'_> {
    /// The numbers of a share; the message says which parameter is wrong.
    pub(crate) fn share(&self, xn2_size: usize) -> Result<Submit, &'static str> {
        let xn2 = extranonce2(unprefixed(&self.xn2.0), xn2_size)
            .ok_or("extranonce2 is not hexadecimal of the agreed length")?;
        let ntime = hex_u32(&self.ntime.0).ok_or("ntime is not 8 hexadecimal digits")?;
        let nonce = hex_u32(&self.nonce.0).ok_or("nonce is not 8 hexadecimal digits")?;
        let version_bits = match &self.version_bits {
            Some(bits) => {
                Some(hex_u32(&bits.0).ok_or("version bits are not 8 hexadecimal digits")?)
            }
            None => None,
        };
        Ok(Submit { xn2, ntime, nonce, version_bits })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SubmitParams<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = SubmitParams<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of 5 or 6 strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut next = || {
                    list.next_element()?
                        .ok_or_else(|| serde::de::Error::invalid_length(0, &"5 or 6 strings"))
                };
                let (worker, job, xn2) = (next()?, next()?, next()?);
                let (ntime, nonce) = (next()?, next()?);
                let version_bits = list.next_element::<Option<Text<'de>>>()?.flatten();
                Ok(SubmitParams { worker, job, xn2, ntime, nonce, version_bits })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Without the `0x` that some miners put before hexadecimal digits.
pub(crate) fn unprefixed(text: &str) -> &str {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)
}

/// As many bytes as were agreed on, in hexadecimal.
fn extranonce2(text: &str, size: usize) -> Option<Extranonce2> {
    let size = if stands(Defence::Extranonce2Size) { size } else { text.len() / 2 };
    let mut bytes = [0; Extranonce2::MAX];
    let bytes = bytes.get_mut(..size)?;
    hex::decode_to_slice(text, bytes).ok()?;
    Extranonce2::new(bytes)
}

/// A user name without what people copy along with one: spaces, control characters, a byte order
/// mark.
pub(crate) fn user_name(text: &str) -> &str {
    let graphic = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    if graphic(text.as_bytes().first()) && graphic(text.as_bytes().last()) {
        return text;
    }
    text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}')
}

/// Whether lists and objects are nested more deeply than is read.
fn is_deep(line: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// A big-endian hexadecimal number of at most 8 digits, in either case; some miners leave leading
/// zeros out, some put `0x` before.
pub(crate) fn hex_u32(text: &str) -> Option<u32> {
    let text = unprefixed(text);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits && text.len() <= 8).then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// A number, or a string that holds one: some miners quote it. Read by the standard library,
/// which rounds exactly; both sides must get the same float and so the same target.
pub(crate) fn number(raw: &RawValue) -> Option<f64> {
    let plain = raw.get().parse().ok();
    plain.or_else(|| text(raw)?.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

/// A string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// At most `most` characters without control characters: what strangers send and people read.
pub(crate) fn readable(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control() || !stands(Defence::ReadableText)).take(most).collect()
}

/// `{"id":…,"result":…,"error":null}`, `result` being JSON.
pub(crate) fn write_result(out: &mut Vec<u8>, id: &Id, result: &str) {
    out.extend_from_slice(b"{\"id\":");
    id.write(out);
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result.as_bytes());
    out.extend_from_slice(b",\"error\":null}\n");
}

/// The answer to a share that was recorded, which is most of what a pool says: in one piece.
pub(crate) fn write_true(out: &mut Vec<u8>, id: &Id) {
    const END: &[u8] = b",\"result\":true,\"error\":null}\n";
    out.reserve(64);
    out.extend_from_slice(b"{\"id\":");
    id.write(out);
    out.extend_from_slice(END);
}

/// `{"id":…,"result":null,"error":[code,"message",null]}`.
pub(crate) fn write_error(out: &mut Vec<u8>, id: &Id, code: u16, message: &str) {
    out.extend_from_slice(b"{\"id\":");
    id.write(out);
    out.extend_from_slice(b",\"result\":null,\"error\":[");
    write_decimal(out, code.into());
    out.push(b',');
    out.extend_from_slice(quoted(message).as_bytes());
    out.extend_from_slice(b",null]}\n");
}

/// A request or, without an identifier, a notification; `params` is JSON.
pub(crate) fn write_request(out: &mut Vec<u8>, id: &Id, method: &str, params: &str) {
    out.extend_from_slice(b"{\"id\":");
    id.write(out);
    out.extend_from_slice(b",\"method\":");
    out.extend_from_slice(quoted(method).as_bytes());
    out.extend_from_slice(b",\"params\":");
    out.extend_from_slice(params.as_bytes());
    out.extend_from_slice(b"}\n");
}

/// A difficulty as JSON: whole ones without a point, since some devices read only those. Reading
/// it back gives the same float.
pub(crate) fn difficulty_json(difficulty: Difficulty) -> String {
    let value = difficulty.get();
    if value.fract() == 0.0 && value < 1e15 {
        format!("{value:.0}")
    } else {
        serde_json::Number::from_f64(value).map_or_else(|| "1".to_owned(), |n| n.to_string())
    }
}

fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_nested_only_so_deeply() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            format!(r#"{{"id": 1, "method": "m", "params": {open}{close}}}"#)
        };
        assert!(Message::parse(nested(MAX_DEPTH).as_bytes()).is_some());
        for depth in [MAX_DEPTH + 1, 100, 4_000] {
            assert!(Message::parse(nested(depth).as_bytes()).is_none(), "{depth}");
        }
        let text = format!(r#"{{"id": 1, "method": "m", "params": ["\"{}"]}}"#, "[".repeat(99));
        assert!(Message::parse(text.as_bytes()).is_some(), "brackets in a text nest nothing");
        let beside = format!(r#"{{"id": 1, "method": "m", "params": [{}1]}}"#, "[],".repeat(99));
        assert!(Message::parse(beside.as_bytes()).is_some(), "and none beside one another");
    }

    fn id_of(line: &str) -> Option<String> {
        let message = Message::parse(line.as_bytes())?;
        let mut out = Vec::new();
        Id::parse(message.id)?.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn identifiers_come_back_as_they_were() {
        for id in ["1", "18446744073709551615", "-1", "1.5", "\"a\\u00e9\"", "null"] {
            assert_eq!(id_of(&format!("{{\"id\":{id}}}")).as_deref(), Some(id));
        }
        assert_eq!(id_of("{}").as_deref(), Some("null"));
        for id in ["[1]", "{}", "true", &format!("\"{}\"", "x".repeat(MAX_ID))] {
            assert_eq!(id_of(&format!("{{\"id\":{id}}}")), None, "{id}");
        }
    }

    #[test]
    fn submits_of_five_and_six_parameters() {
        let parse = |params: &str| {
            serde_json::from_str::<SubmitParams<'_>>(params)
                .map_err(|_| "list")
                .and_then(|params| params.share(2))
        };
        let five = parse(r#"["w","1","00fF","495FAB29","7c2bac1d"]"#).unwrap();
        assert_eq!(*five.xn2, [0, 255]);
        assert_eq!((five.ntime, five.nonce), (0x495f_ab29, 0x7c2b_ac1d));
        assert_eq!(five.version_bits, None);
        let six = parse(r#"["w","1","0000","1","2","1fffe000"]"#).unwrap();
        assert_eq!(six.version_bits, Some(0x1fff_e000));
        assert_eq!(parse(r#"["w","1","0000","1","2",null]"#).unwrap().version_bits, None);
        assert!(parse(r#"["w","1","0000","1"]"#).is_err());
        assert!(parse(r#"["w","1","0000","1","2","3","4"]"#).is_err());
        assert!(parse(r#"["w","1","0000","1",2]"#).is_err());
        assert!(parse(r#"["w","1","000000","1","2"]"#).unwrap_err().contains("extranonce2"));
        assert!(parse(r#"["w","1","0000","+1","2"]"#).unwrap_err().contains("ntime"));
        assert!(parse(r#"["w","1","0000","1","123456789"]"#).unwrap_err().contains("nonce"));
        assert!(parse(r#"["w","1","0000","1","2","x"]"#).unwrap_err().contains("version"));
    }

    #[test]
    fn difficulties_read_back_as_the_same_float() {
        for value in [1.0, 524_288.0, 0.1, 4.656_542_373_906_925e-10, 1e15, 1.5, 123.456, 1e300] {
            let json = difficulty_json(Difficulty::new(value).unwrap());
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            assert_eq!(number(raw).map(f64::to_bits), Some(value.to_bits()), "{json}");
            assert_eq!(number(&RawValue::from_string(quoted(&json)).unwrap()), Some(value));
        }
        assert_eq!(difficulty_json(Difficulty::new(42.0).unwrap()), "42");
        for bad in ["null", "[]", "\"nan\"", "\"inf\"", "true"] {
            assert_eq!(number(serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_whole_lines() {
        let mut out = Vec::new();
        write_result(&mut out, &Id::Number(1), "true");
        write_true(&mut out, &Id::Number(u64::MAX));
        write_true(&mut out, &Id::Number(0));
        write_error(&mut out, &Id::Null, 20, "a \"quoted\" word");
        write_request(&mut out, &Id::Null, "client.show_message", r#"["hello"]"#);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"id":1,"result":true,"error":null}"#,
                "\n",
                r#"{"id":18446744073709551615,"result":true,"error":null}"#,
                "\n",
                r#"{"id":0,"result":true,"error":null}"#,
                "\n",
                r#"{"id":null,"result":null,"error":[20,"a \"quoted\" word",null]}"#,
                "\n",
                r#"{"id":null,"method":"client.show_message","params":["hello"]}"#,
                "\n"
            )
        );
    }
}
