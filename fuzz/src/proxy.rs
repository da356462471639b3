//! The PROXY protocol's header, as a listed proxy sends it.

use pool::proxy_protocol::{HeaderParser, Progress, ProxyError, looks_like_header};

use crate::bytes::cut;

/// Longest header that can be taken: version 2's fixed part and all that may follow it.
const LONGEST: usize = 16 + 2048;

/// A header reads alike however it is cut, takes no byte that is not its own, ends, and is known
/// as one when it comes from somebody who may not send any.
///
/// # Panics
/// Where that does not hold.
pub fn proxy(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let (lengths, bytes) = bytes.split_at(usize::from(*length % 8).min(bytes.len()));
    let whole = read(&[bytes]);
    let pieces = cut(bytes, lengths);
    assert_eq!(whole, read(&pieces), "cut as {lengths:?}");
    match whole {
        Ok(Some((_, used))) => {
            assert!(used <= bytes.len().min(LONGEST), "{used} of {} bytes", bytes.len());
            assert!(looks_like_header(bytes), "a header that is not known as one");
            assert_eq!(whole, read(&[&bytes[..used]]), "what follows was looked at");
        }
        Ok(None) => assert!(bytes.len() < LONGEST, "no end after {} bytes", bytes.len()),
        Err(_) => {}
    }
}

type Read = Result<Option<(Option<std::net::SocketAddr>, usize)>, ProxyError>;

/// What a header says and how many bytes it has; nothing where it has not ended.
fn read(pieces: &[&[u8]]) -> Read {
    let mut parser = HeaderParser::new();
    let mut before = 0;
    for piece in pieces {
        match parser.feed(piece)? {
            Progress::NeedMore => before += piece.len(),
            Progress::Done { source, used } => return Ok(Some((source, before + used))),
        }
    }
    Ok(None)
}
