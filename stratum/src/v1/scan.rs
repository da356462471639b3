//! The usual `mining.submit`, read without building anything: one pass over the line, every text
//! borrowed from it.
//!
//! Read [`submit`]. It understands `{"id":NUMBER,"method":"mining.submit","params":[5 or 6 texts]}`
//! with the members in any order and spaced in any way, each of them once, and texts of printable
//! ASCII without escapes. It deliberately refuses nothing and answers nothing itself: whatever is
//! different goes to [`super::message::Message`], which understands all of JSON; where this gives
//! an answer, that gives the same (a test sees to it).

use std::borrow::Cow;

use super::message::{Id, SubmitParams, Text};

/// What is left of a line.
struct Rest<'a>(&'a [u8]);

/// A submission's identifier and parameters, if the line is one in the usual form.
pub(crate) fn submit(line: &[u8]) -> Option<(Id, SubmitParams<'_>)> {
    let mut rest = Rest(line);
    let (mut id, mut method, mut params) = (None, None, None);
    rest.take(b'{')?;
    loop {
        let key = rest.text()?;
        rest.take(b':')?;
        match key {
            "id" if id.is_none() => id = Some(rest.number()?),
            "method" if method.is_none() => {
                method = Some(rest.text()?).filter(|method| *method == "mining.submit");
                method?;
            }
            "params" if params.is_none() => params = Some(rest.params()?),
            _ => return None,
        }
        match rest.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    method?;
    let over = rest.0.iter().all(|byte| is_space(*byte));
    over.then_some((Id::Number(id?), params?))
}

impl<'a> Rest<'a> {
    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            if !is_space(*first) {
                return Some(*first);
            }
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// What stands between two quotes, if it is plain.
    fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let length = self.0.iter().position(|byte| !is_plain(*byte))?;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    /// A whole number without sign, of at most 19 digits: fewer than overflow.
    fn number(&mut self) -> Option<u64> {
        let first = self.next()?;
        let mut value = u64::from(first.checked_sub(b'0').filter(|digit| *digit < 10)?);
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length > 18 || (length > 0 && value == 0) {
            return None;
        }
        let (digits, rest) = self.0.split_at(length);
        for digit in digits {
            value = 10 * value + u64::from(digit - b'0');
        }
        // `1.5`, `1e5`: numbers of another kind.
        let ended = rest.first().is_some_and(|next| is_space(*next) || matches!(next, b',' | b'}'));
        self.0 = rest;
        ended.then_some(value)
    }

    fn params(&mut self) -> Option<SubmitParams<'a>> {
        self.take(b'[')?;
        let worker = self.param()?;
        let (job, xn2) = (self.after_comma()?, self.after_comma()?);
        let (ntime, nonce) = (self.after_comma()?, self.after_comma()?);
        let version_bits = match self.next()? {
            b']' => None,
            b',' => {
                let bits = self.param()?;
                self.take(b']')?;
                Some(bits)
            }
            _ => return None,
        };
        Some(SubmitParams { worker, job, xn2, ntime, nonce, version_bits })
    }

    fn after_comma(&mut self) -> Option<Text<'a>> {
        self.take(b',')?;
        self.param()
    }

    fn param(&mut self) -> Option<Text<'a>> {
        self.text().map(|text| Text(Cow::Borrowed(text)))
    }
}

/// JSON's white space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether a text may hold this as it is, and nothing about it needs to be looked up.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1::message::Message;

    const USUAL: &str = r#"{"id":9,"method":"mining.submit","params":["a.b","1f","00000000000000ff","495fab29","7c2bac1d","1fffe000"]}"#;

    /// The same by the way that understands everything.
    fn slowly(line: &[u8]) -> Option<(Id, SubmitParams<'_>)> {
        let message = Message::parse(line)?;
        (message.method?.0 == "mining.submit").then_some(())?;
        Some((Id::parse(message.id)?, serde_json::from_str(message.params?.get()).ok()?))
    }

    fn same(line: &[u8]) -> Result<bool, TestCaseError> {
        let quick = submit(line);
        if quick.is_some() {
            prop_assert_eq!(&quick, &slowly(line), "{}", String::from_utf8_lossy(line));
        }
        Ok(quick.is_some())
    }

    #[test]
    fn the_usual_forms_are_read() {
        let spaced = r#" { "params" : [ "w" , "1" , "2" , "3" , "4" ] , "id" : 0 , "method" : "mining.submit" } "#;
        let largest = USUAL.replace(":9,", ":9999999999999999999,");
        for line in [USUAL, spaced, &largest, &format!("{USUAL}\r")] {
            assert!(same(line.as_bytes()).unwrap(), "{line}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_other() {
        for (usual, unusual) in [
            ("9", "-1"),
            ("9", "09"),
            ("9", "1.5"),
            ("9", "1e5"),
            ("9", "\"9\""),
            ("9", "null"),
            ("9", "99999999999999999999"),
            ("9", ":"),
            ("\"id\":9,", ""),
            ("\"id\":9,", "\"id\":9,\"id\":9,"),
            ("\"id\":9,", "\"id\":9,\"jsonrpc\":\"2.0\","),
            ("\"method\":", "\"method\":\"mining.submit\",\"method\":"),
            ("\"params\":", "\"params\":[\"a\",\"1\",\"2\",\"3\",\"4\"],\"params\":"),
            ("submit", "submi\\u0074"),
            ("submit", "subscribe"),
            ("a.b", "\u{e9}"),
            ("a.b", "\\n"),
            ("a.b", "\t"),
            ("\"1fffe000\"", "null"),
            ("]}", ",\"x\"]}"),
            ("]}", "]}}"),
            ("]}", "]"),
            ("]}", "],}"),
            ("[", ""),
        ] {
            let line = USUAL.replacen(usual, unusual, 1);
            assert_eq!(submit(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn changed_lines_are_read_alike_or_left(
            changes in proptest::collection::vec(
                (any::<proptest::sample::Index>(), 0..3, prop_oneof![
                    proptest::sample::select(b"\"\\{}[]:,. 0123456789eE+-untx\t\r\x00\x1f\x7f\xc3\xa9".to_vec()),
                    any::<u8>(),
                ]),
                0..4,
            ),
        ) {
            let mut line = USUAL.as_bytes().to_vec();
            for (at, how, byte) in changes {
                let at = at.index(line.len());
                match how {
                    0 => line[at] = byte,
                    1 => line.insert(at, byte),
                    _ => drop(line.remove(at)),
                }
            }
            same(&line)?;
        }

        #[test]
        fn members_in_any_order_are_read_alike(
            order in Just(["\"id\":", "\"method\":", "\"params\":", "\"id\":"]).prop_shuffle(),
            members in 1_usize..=4,
            id in "[0-9]{1,21}",
            params in proptest::collection::vec("[ -~]{0,9}", 3..8),
            space in "[ \t\r]{0,2}",
        ) {
            let params = format!("[\"{}\"]", params.join("\",\""));
            let value = |key: &&str| match *key {
                "\"id\":" => format!("{key}{space}{id}"),
                "\"method\":" => format!("{key}{space}\"mining.submit\""),
                _ => format!("{space}{key}{params}{space}"),
            };
            let members: Vec<_> = order.iter().take(members).map(value).collect();
            same(format!("{space}{{{}}}{space}", members.join(",")).as_bytes())?;
        }
    }
}
