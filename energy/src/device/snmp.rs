//! SNMP version 2c as far as a meter needs it: one GET, and the response to it.
//!
//! Read [`get`] and [`response`]. The encoding is BER, of which only what agents send is taken: tags of
//! one byte and definite lengths. Everything is bounded by the datagram, and nothing is recursive.
//!
//! Facts: RFC 3416 (the PDUs), RFC 3417 section 8 (the encoding), RFC 1901 (communities).
//! Deliberately not here: walking a table, writing, traps, versions 1 and 3. A community is a password
//! that goes over the network in the clear: whoever asks keeps to networks where that is bearable.

use super::{Unreadable, exact::malformed, value::cut};

/// Longer datagrams are none: a meter answers a handful of numbers.
const LONGEST: usize = 8 * 1024;
/// More objects than are ever asked for at once.
const MOST_OBJECTS: usize = 64;
/// An object's name has no more numbers (RFC 2578, section 3.5).
const LONGEST_NAME: usize = 128;

const INTEGER: u8 = 0x02;
const TEXT: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const GET: u8 = 0xa0;
const RESPONSE: u8 = 0xa2;
/// Counter32, Gauge32, `TimeTicks` and Counter64.
const UNSIGNED: [u8; 4] = [0x41, 0x42, 0x43, 0x46];
/// `noSuchObject`, `noSuchInstance` and `endOfMibView`.
const ABSENT: [u8; 3] = [0x80, 0x81, 0x82];
/// Version 2c.
const VERSION: i64 = 1;

/// What an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A counter, a gauge or a time.
    Unsigned(u64),
    /// Octets, mostly text.
    Text(Vec<u8>),
    /// The device has no such object.
    Absent,
    /// Something else, of this tag.
    Other(u8),
}

/// The datagram that asks for these objects. The response is known by `request_id`: a late one to an
/// earlier request must not be taken for it, so that each request has another.
#[must_use]
pub fn get(community: &str, request_id: i32, objects: &[Vec<u32>]) -> Vec<u8> {
    let mut bindings = Vec::new();
    for object in objects {
        let binding = [tagged(OBJECT, &name(object)), tagged(NULL, &[])].concat();
        bindings.extend(tagged(SEQUENCE, &binding));
    }
    let none = tagged(INTEGER, &[0]);
    let id = tagged(INTEGER, &request_id.to_be_bytes());
    let pdu = [id, none.clone(), none, tagged(SEQUENCE, &bindings)].concat();
    let version = tagged(INTEGER, &VERSION.to_be_bytes()[7..]);
    let message = [version, tagged(TEXT, community.as_bytes()), tagged(GET, &pdu)].concat();
    tagged(SEQUENCE, &message)
}

/// The objects of a response, with what they hold, in its order.
///
/// # Errors
/// Where it is none, where it answers another request, and where the agent refuses.
pub fn response(bytes: &[u8], request_id: i32) -> Result<Vec<(Vec<u32>, Value)>, Unreadable> {
    if bytes.len() > LONGEST {
        let reason = format!("{} bytes, which no such device sends", bytes.len());
        return Err(malformed("SNMP GET", reason));
    }
    let pdu = pdu(bytes).ok_or_else(|| malformed("SNMP GET", "it is no response of SNMP 2c"))?;
    if pdu.id != i64::from(request_id) {
        return Err(malformed("SNMP GET", format!("it answers request {}", pdu.id)));
    }
    if pdu.error != 0 {
        let message = cut(&format!("{} at object {}", error_name(pdu.error), pdu.place));
        return Err(Unreadable::Refused { command: "SNMP GET".to_owned(), message });
    }
    bindings(pdu.bindings).ok_or_else(|| malformed("SNMP GET", "its objects are not well formed"))
}

/// A value after its tag and length.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let first = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
            let length = &length[first..];
            bytes.push(0x80 | u8::try_from(length.len()).unwrap_or(0x7f));
            bytes.extend(length);
        }
    }
    bytes.extend(content);
    bytes
}

/// An object's name: the first two numbers are one, and each is in groups of seven bits.
fn name(object: &[u32]) -> Vec<u8> {
    let (first, rest) = match object {
        [first, second, rest @ ..] => (u64::from(*first) * 40 + u64::from(*second), rest),
        [first] => (u64::from(*first) * 40, &[][..]),
        [] => (0, &[][..]),
    };
    let mut bytes = Vec::new();
    for number in [first].into_iter().chain(rest.iter().copied().map(u64::from)) {
        let groups = (0..10).rev().map(|at| number >> (7 * at)).skip_while(|rest| *rest == 0);
        let groups: Vec<u8> = groups.map(|rest| rest.to_le_bytes()[0] & 0x7f).collect();
        let (last, before) = groups.split_last().unwrap_or((&0, &[]));
        bytes.extend(before.iter().map(|group| group | 0x80));
        bytes.push(*last);
    }
    bytes
}

struct Pdu<'a> {
    id: i64,
    error: i64,
    place: i64,
    bindings: &'a [u8],
}

fn pdu(bytes: &[u8]) -> Option<Pdu<'_>> {
    let mut outer = Reader(bytes);
    let mut message = Reader(outer.content(SEQUENCE)?);
    if integer(message.content(INTEGER)?)? != VERSION || !outer.0.is_empty() {
        return None;
    }
    message.content(TEXT)?;
    let mut pdu = Reader(message.content(RESPONSE)?);
    let mut number = || integer(pdu.content(INTEGER)?);
    let (id, error, place) = (number()?, number()?, number()?);
    let bindings = pdu.content(SEQUENCE)?;
    (pdu.0.is_empty() && message.0.is_empty()).then_some(Pdu { id, error, place, bindings })
}

fn bindings(bytes: &[u8]) -> Option<Vec<(Vec<u32>, Value)>> {
    let mut rest = Reader(bytes);
    let mut found = Vec::new();
    while !rest.0.is_empty() {
        let mut binding = Reader(rest.content(SEQUENCE)?);
        let object = numbers(binding.content(OBJECT)?)?;
        let (tag, content) = binding.next()?;
        if !binding.0.is_empty() || found.len() == MOST_OBJECTS {
            return None;
        }
        found.push((object, value(tag, content)?));
    }
    Some(found)
}

fn value(tag: u8, content: &[u8]) -> Option<Value> {
    match tag {
        INTEGER => integer(content).map(Value::Integer),
        TEXT => Some(Value::Text(content.to_vec())),
        tag if UNSIGNED.contains(&tag) => unsigned(content).map(Value::Unsigned),
        tag if ABSENT.contains(&tag) => Some(Value::Absent),
        tag => Some(Value::Other(tag)),
    }
}

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, short], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = if short < 0x80 {
            (usize::from(short), rest)
        } else {
            // No length of indefinite form, and none that a datagram cannot have.
            let bytes = usize::from(short & 0x7f);
            let (length, rest) = rest.split_at_checked(bytes)?;
            (usize::try_from(unsigned(length).filter(|_| (1..=4).contains(&bytes))?).ok()?, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        // A tag of more than one byte begins so.
        self.0 = rest;
        (tag & 0x1f != 0x1f).then_some((tag, content))
    }

    /// The content of the next value, if it has this tag.
    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// A number in two's complement, of 1 to 8 bytes.
fn integer(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    let start = if first & 0x80 == 0 { 0 } else { -1 };
    (bytes.len() <= 8).then(|| bytes.iter().fold(start, |all, byte| (all << 8) | i64::from(*byte)))
}

/// A number without a sign, of at most 8 bytes and a zero before them.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    let bytes = if bytes.len() == 9 { bytes.strip_prefix(&[0])? } else { bytes };
    let fits = (1..=8).contains(&bytes.len());
    fits.then(|| bytes.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)))
}

/// The numbers of an object's name.
fn numbers(bytes: &[u8]) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        number = (number << 7) | u64::from(byte & 0x7f);
        if number > u64::from(u32::MAX) || numbers.len() > LONGEST_NAME {
            return None;
        }
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(u32::try_from(first).ok()?);
                number -= first * 40;
            }
            numbers.push(u32::try_from(number).ok()?);
            number = 0;
        } else if at + 1 == bytes.len() {
            return None;
        }
    }
    (!numbers.is_empty()).then_some(numbers)
}

/// RFC 3416, section 3.
fn error_name(status: i64) -> String {
    match status {
        1 => "the response would be too big".to_owned(),
        2 => "no such name".to_owned(),
        5 => "a general error".to_owned(),
        6 => "no access".to_owned(),
        16 => "not authorised".to_owned(),
        other => format!("error {other}"),
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Responses, as an agent would make them.

    use super::{INTEGER, OBJECT, RESPONSE, SEQUENCE, TEXT, Value, name, tagged};

    /// A response with these objects.
    pub(in super::super) fn answer(
        request_id: i32,
        error: u8,
        objects: &[(Vec<u32>, Value)],
    ) -> Vec<u8> {
        let mut bindings = Vec::new();
        for (object, value) in objects {
            let value = match value {
                Value::Integer(number) => tagged(INTEGER, &number.to_be_bytes()),
                Value::Unsigned(number) => tagged(0x42, &number.to_be_bytes()),
                Value::Text(text) => tagged(TEXT, text),
                Value::Absent => tagged(0x81, &[]),
                Value::Other(tag) => tagged(*tag, &[]),
            };
            let binding = [tagged(OBJECT, &name(object)), value].concat();
            bindings.extend(tagged(SEQUENCE, &binding));
        }
        let id = tagged(INTEGER, &request_id.to_be_bytes());
        let status = [tagged(INTEGER, &[error]), tagged(INTEGER, &[u8::from(error > 0)])].concat();
        let pdu = tagged(RESPONSE, &[id, status, tagged(SEQUENCE, &bindings)].concat());
        let head = [tagged(INTEGER, &[1]), tagged(TEXT, b"public")].concat();
        tagged(SEQUENCE, &[head, pdu].concat())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{testing::answer, *};

    const SYSTEM: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 1, 0];

    #[test]
    fn a_get_is_the_datagram_of_the_standard() {
        let expected = [
            &b"\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04\x00\x00\x00\x07\x02\x01\x00"[..],
            b"\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x05\x00",
        ];
        assert_eq!(
            hex::encode(get("public", 7, &[SYSTEM.to_vec()])),
            hex::encode(expected.concat())
        );
    }

    #[test]
    fn lengths_in_the_long_form_are_read() {
        // Lengths in the long form, as net-snmp writes them.
        let bytes = [
            &b"\x30\x82\x00\x2a\x02\x01\x01\x04\x06public\xa2\x1d\x02\x01\x07\x02\x01\x00"[..],
            b"\x02\x01\x00\x30\x12\x30\x10\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x04\x04APDU",
        ]
        .concat();
        let expected = vec![(SYSTEM.to_vec(), Value::Text(b"APDU".to_vec()))];
        assert_eq!(response(&bytes, 7), Ok(expected));
    }

    #[test]
    fn another_requests_response_and_a_refusal_are_told() {
        let bytes = answer(8, 0, &[(SYSTEM.to_vec(), Value::Integer(-1))]);
        let error = response(&bytes, 7).unwrap_err().to_string();
        assert!(error.contains("request 8"), "{error}");
        let refused = response(&answer(7, 16, &[]), 7).unwrap_err();
        assert!(matches!(refused, Unreadable::Refused { .. }), "{refused}");
        let request = get("public", 7, &[SYSTEM.to_vec()]);
        assert!(response(&request, 7).is_err(), "a request is no response");
        let mut trailing = bytes;
        trailing.push(0);
        assert!(response(&trailing, 8).is_err());
        assert!(response(&vec![0x30; LONGEST + 1], 7).is_err());
    }

    #[test]
    fn lengths_beyond_the_datagram_and_of_indefinite_form_are_refused() {
        for wrong in [&b"\x30\x80"[..], b"\x30\x84\xff\xff\xff\xff", b"\x30\x05\x02\x01", b"\x30"] {
            assert!(response(wrong, 7).is_err(), "{wrong:?}");
        }
        assert_eq!(integer(&[0; 9]), None);
        assert_eq!(integer(&[0xff, 0x38]), Some(-200));
        assert_eq!(unsigned(&[0, 0xff, 0xff, 0xff, 0xff]), Some(0xffff_ffff));
        assert_eq!(numbers(&[0x2b, 0x86]), None);
        assert_eq!(numbers(&[0x2b, 0x8f, 0xff, 0xff, 0xff, 0x7f]), Some(vec![1, 3, u32::MAX]));
        assert_eq!(numbers(&[0x2b, 0x9f, 0xff, 0xff, 0xff, 0x7f]), None);
    }

    proptest! {
        #[test]
        fn names_and_values_go_both_ways(
            object in prop::collection::vec(any::<u32>(), 0..20),
            number in any::<i64>(),
            counter in any::<u64>(),
            text in prop::collection::vec(any::<u8>(), 0..300),
            id in 0..i32::MAX,
        ) {
            let object = [vec![1, 3], object].concat();
            let objects = [
                (object.clone(), Value::Integer(number)),
                (object.clone(), Value::Unsigned(counter)),
                (object.clone(), Value::Text(text)),
                (object, Value::Absent),
            ];
            prop_assert_eq!(response(&answer(id, 0, &objects), id).unwrap(), objects);
        }

        #[test]
        fn no_bytes_break_it(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = response(&bytes, 7);
            let mut real = answer(7, 0, &[(SYSTEM.to_vec(), Value::Integer(170_982))]);
            let at = at.index(real.len());
            real[at] = byte;
            let _ = response(&real, 7);
            bytes.splice(0..0, [0x30, 0x82]);
            let _ = response(&bytes, 7);
        }
    }
}
