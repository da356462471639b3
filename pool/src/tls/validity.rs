//! From when until when a certificate is good: the one thing that is read out of it here.
//!
//! RFC 5280 4.1: a certificate is a sequence whose first member holds, after an optional version,
//! serial number, algorithm and issuer, the two times. Everything else, and whether any of it is
//! true, is deliberately left to rustls and to the miners.

/// Times of a certificate, in seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads the times of a certificate in DER; `None` where it is none.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (signed, _) = expect(SEQUENCE, certificate)?;
    let (tag, _, after_version) = element(signed)?;
    let mut rest = if tag == VERSION { after_version } else { signed };
    for _serial_algorithm_issuer in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (times, _) = expect(SEQUENCE, rest)?;
    let (tag, not_before, rest) = element(times)?;
    let not_before = time(tag, not_before)?;
    let (tag, not_after, _) = element(rest)?;
    Some(Validity { not_before, not_after: time(tag, not_after)? })
}

fn expect(wanted: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == wanted).then_some((content, rest))
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            let push = |length: usize, digit: &u8| length << 8 | usize::from(*digit);
            (digits.iter().fold(0, push), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDhhmmssZ`, of 1950 to 2049, or with four digits of the year.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z")?;
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    let number = |digits: &[u8]| {
        digits.iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let mut pairs = rest.chunks(2).map(number);
    let (month, day) = (pairs.next()?, pairs.next()?);
    let (hour, minute, second) = (pairs.next()?, pairs.next()?, pairs.next()?);
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    is_time.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that
/// a leap day is the last of its year.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn times_are_those_of_the_certificate() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["pool.example".to_owned()]).unwrap();
        for (from, until, seconds) in [
            ((2024, 2, 29), (2049, 12, 31), (1_709_164_800, 2_524_521_600)),
            ((1999, 12, 31), (2050, 1, 1), (946_598_400, 2_524_608_000)),
            ((1975, 3, 1), (2100, 3, 1), (162_864_000, 4_107_542_400)),
        ] {
            params.not_before = date_time_ymd(from.0, from.1, from.2);
            params.not_after = date_time_ymd(until.0, until.1, until.2);
            let certificate = params.self_signed(&key).unwrap();
            let read = validity(certificate.der()).unwrap();
            assert_eq!((read.not_before, read.not_after), seconds);
            assert_eq!(seconds.0, params.not_before.unix_timestamp());
            assert_eq!(seconds.1, params.not_after.unix_timestamp());
        }
    }

    #[test]
    fn a_time_is_written_in_one_way() {
        assert_eq!(time(UTC_TIME, b"700101000001Z"), Some(1));
        assert_eq!(time(UTC_TIME, b"500101000000Z"), Some(-631_152_000), "1950");
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Some(2_524_607_999), "2049");
        assert_eq!(time(GENERALIZED_TIME, b"19691231235959Z"), Some(-1));
        for wrong in ["700101000001", "7001010000Z", "70010100000xZ", "701301000000Z", "Z", ""] {
            assert_eq!(time(UTC_TIME, wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..80), depth in 0..4_usize,
        ) {
            for place in (0..depth * 2).step_by(2).filter(|place| place + 1 < bytes.len()).collect::<Vec<_>>() {
                bytes[place] = SEQUENCE;
            }
            let _ = validity(&bytes);
            let _ = time(UTC_TIME, &bytes);
        }
    }
}
