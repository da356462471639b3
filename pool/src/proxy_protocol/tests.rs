//! Headers as they are written, as they are cut, and as nobody should write them.

use proptest::prelude::*;

use super::*;

const V4: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.2 56324 3333\r\n";
const V6: &[u8] = b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 3333\r\n";
const MINER: &[u8] = b"{\"id\":1}\n";

/// A header of version 2 with `rest` behind its fixed part.
fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([version_command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

fn v2_tcp4(fields: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, 9, 10, 0, 0, 2, 0xdc, 0x04, 0x0d, 0x05];
    v2(0x21, 0x11, &[&addresses, fields].concat())
}

fn v2_tcp6() -> Vec<u8> {
    let mut rest = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9).octets().to_vec();
    rest.extend(Ipv6Addr::LOCALHOST.octets());
    rest.extend([0xdc, 0x04, 0x0d, 0x05]);
    v2(0x21, 0x21, &rest)
}

fn parse(bytes: &[u8]) -> Result<Progress, ProxyError> {
    HeaderParser::new().feed(bytes)
}

/// What comes out where the bytes come in these pieces: the source, and what is left of them all.
fn parse_in<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<(Source, Vec<u8>)>, ProxyError> {
    let mut parser = HeaderParser::new();
    let mut done = None;
    for piece in pieces {
        match &mut done {
            Some((_, left)) => Vec::extend_from_slice(left, piece),
            None => {
                if let Progress::Done { source, used } = parser.feed(piece)? {
                    done = Some((source, piece[used..].to_vec()));
                }
            }
        }
    }
    Ok(done)
}

fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let v4 = Some("203.0.113.9:56324");
    let v6 = Some("[2001:db8::9]:56324");
    vec![
        (V4.to_vec(), v4),
        (V6.to_vec(), v6),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
        (v2_tcp4(b""), v4),
        (v2_tcp4(&[0x04; 300]), v4),
        (v2_tcp6(), v6),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x77, &[1; 40]), None),
        (v2(0x21, 0x00, &[1; 2048]), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
    ]
}

#[test]
fn both_versions_say_whom_a_connection_brings() {
    for (header, source) in good() {
        let source = source.map(|text| text.parse().unwrap());
        let all = [&header, MINER].concat();
        assert_eq!(parse(&all), Ok(Progress::Done { source, used: header.len() }), "{header:?}");
    }
}

#[test]
fn every_cut_of_the_bytes_gives_the_same() {
    for (header, _) in good() {
        let all = [&header, MINER].concat();
        let whole = parse_in([&all[..]]).unwrap();
        assert_eq!(whole.as_ref().unwrap().1, MINER);
        for cut in 0..all.len() {
            let (front, back) = all.split_at(cut);
            assert_eq!(parse_in([front, back]).unwrap(), whole, "cut at {cut}");
        }
        assert_eq!(parse_in(all.chunks(1)).unwrap(), whole, "byte by byte");
        assert_eq!(parse(&header[..header.len() - 1]), Ok(Progress::NeedMore));
    }
}

#[test]
fn what_is_written_otherwise_is_refused_and_named() {
    for (line, part) in [
        ("PROXY TCP4 203.0.113.9 10.0.0.2 56324\r\n", "destination's port is missing"),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 56324 3333 1\r\n", "something follows"),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 56324 3333 \r\n", "something follows"),
        ("PROXY TCP4  203.0.113.9 10.0.0.2 56324 3333\r\n", "an address"),
        ("PROXY TCP4 2001:db8::9 2001:db8::1 56324 3333\r\n", "an address"),
        ("PROXY TCP6 203.0.113.9 10.0.0.2 56324 3333\r\n", "an address"),
        ("PROXY TCP4 203.0.113.09 10.0.0.2 56324 3333\r\n", "an address"),
        ("PROXY TCP4 miner 10.0.0.2 56324 3333\r\n", "an address"),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 65536 3333\r\n", "a port is no number"),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 +6324 3333\r\n", "a port is no number"),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 056 3333\r\n", "a port is no number"),
        ("PROXY UDP4 203.0.113.9 10.0.0.2 56324 3333\r\n", "neither TCP4"),
        ("PROXY \r\n", "neither TCP4"),
        ("PROXY TCP4 203.0.113.9 10.0.0.2 56324 3333\n\r\n", "a port is no number"),
    ] {
        let error = parse(line.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{line:?}: {error}");
    }
    assert!(parse(b"PROXY TCP4 \xff\xfe\r\n").unwrap_err().to_string().contains("no text"));
    for (header, part) in [
        (v2(0x11, 0x11, &[0; 12]), "version is not 2"),
        (v2(0x22, 0x11, &[0; 12]), "neither LOCAL nor PROXY"),
        (v2(0x21, 0x11, &[0; 11]), "no room"),
        (v2(0x21, 0x21, &[0; 12]), "no room"),
        (v2(0x21, 0x12, &[0; 12]), "datagrams"),
        (v2(0x21, 0x41, &[0; 12]), "family"),
        (v2(0x21, 0x13, &[0; 12]), "family"),
    ] {
        let error = parse(&header).unwrap_err().to_string();
        assert!(error.contains(part), "{header:?}: {error}");
    }
}

#[test]
fn a_listed_proxy_must_send_one() {
    for first in ["{\"id\":1}\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "PROXX", "\n", "\r\n{"] {
        assert_eq!(parse(first.as_bytes()), Err(ProxyError::Missing), "{first:?}");
    }
    assert_eq!(parse(b""), Ok(Progress::NeedMore));
}

#[test]
fn a_header_has_an_end() {
    let mut longest = b"PROXY UNKNOWN".to_vec();
    longest.resize(V1_MAX - 2, b'f');
    longest[13] = b' ';
    let with_end = [&longest[..], b"\r\n"].concat();
    assert_eq!(parse(&with_end), Ok(Progress::Done { source: None, used: V1_MAX }));
    longest.extend(b"fff");
    assert_eq!(parse(&longest), Err(ProxyError::TooLong));

    let over = v2(0x21, 0x11, &[0; V2_REST_MAX + 1]);
    assert_eq!(parse(&over[..V2_FIXED]), Err(ProxyError::TooLong), "known from its length");
    let over = v2(0x20, 0x00, &[0; 65_535]);
    assert_eq!(parse(&over), Err(ProxyError::TooLong), "and so where it would only be skipped");
}

#[test]
fn a_header_from_a_stranger_is_known_by_its_first_bytes() {
    for (header, _) in good() {
        assert!(looks_like_header(&header), "{header:?}");
        assert!(looks_like_header(&header[..6]), "{header:?}");
    }
    for other in ["", "{\"id\":1}\n", "\r\n", "\r\n\r\n", "\r\n{", "\x16\x03\x01", "POST / HTTP"] {
        assert!(!looks_like_header(other.as_bytes()), "{other:?}");
    }
}

/// Bytes that are nearly a header: one that is right, with a few of its bytes changed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let headers: Vec<Vec<u8>> = good().into_iter().map(|(header, _)| header).collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(headers), changes).prop_map(|(mut header, changes)| {
        for (place, byte) in changes {
            let place = place.index(header.len());
            header[place] = byte;
        }
        header
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_no_cut_changes_what_they_say(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), nearly()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places {
            pieces.push(&bytes[from..place]);
            from = place;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(parse_in(pieces), parse_in([&bytes[..]]));
        if let Ok(Some((_, left))) = parse_in([&bytes[..]]) {
            prop_assert!(bytes.ends_with(&left));
            prop_assert!(bytes.len() - left.len() <= V2_FIXED + V2_REST_MAX);
        }
    }
}
