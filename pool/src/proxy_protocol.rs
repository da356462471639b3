//! The PROXY protocol, versions 1 and 2: what a load balancer or proxy says first on a connection,
//! so that the pool knows which miner it brings (`proxy-protocol.txt` of `HAProxy`).
//!
//! Read [`HeaderParser`]. It takes bytes as they come, keeps at most [`KEPT_MAX`] of them and
//! knows no socket. Who may send a header is decided before: only peers that a port's
//! `proxy_protocol` lists ([`crate::limits::within`]), and from those a header is required. From
//! anybody else it is a lie or a mistake, and [`looks_like_header`] ends the connection: nothing in
//! it is ever believed.
//!
//! What it deliberately leaves out: the destination address, and the additional fields of version
//! 2 (TLS details, host names), which are skipped up to a limit and not read.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use defences::{Defence, stands};

/// A listed proxy has this long to send its header.
pub const HEADER_TIME: Duration = Duration::from_secs(5);
/// A header of version 1, with its line end.
const V1_MAX: usize = 107;
/// How one of version 1 begins.
const V1_PREFIX: &[u8] = b"PROXY ";
/// How one of version 2 begins.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, length.
const V2_FIXED: usize = 16;
/// The longest addresses of version 2 that are read: two of IPv6 with their ports.
const V2_ADDRESSES: usize = 36;
/// All that follows the fixed part: addresses of UNIX sockets take 216 bytes, TLS details of a
/// client's certificate some hundreds.
const V2_REST_MAX: usize = 2048;
/// The bytes that a parser keeps.
pub const KEPT_MAX: usize = V1_MAX;

/// Takes a header apart, byte by byte where they come so.
#[derive(Debug, Clone)]
pub struct HeaderParser {
    kept: [u8; KEPT_MAX],
    length: usize,
    /// The header is of version 2 and this much of it is still to come and not kept.
    skip: usize,
    found: Option<Source>,
}

/// How far a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Every byte was taken, and more are needed.
    NeedMore,
    /// The header has ended.
    Done {
        /// Whom the connection brings. `None` where the proxy speaks for itself (a health check)
        /// or does not know: the peer's own address then stands.
        source: Option<SocketAddr>,
        /// Bytes of this call that belonged to the header; what follows is the miner's.
        used: usize,
    },
}

/// Why a connection ends over its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// A listed peer that sent none.
    #[error(
        "a listed proxy sent no PROXY header: it must send one, or leave stratum's proxy_protocol"
    )]
    Missing,
    /// A header from somebody who is not listed.
    #[error("a PROXY header from an address that stratum's proxy_protocol does not list")]
    Stranger,
    /// It has no end.
    #[error("a PROXY header without an end")]
    TooLong,
    /// Version 1, and not as it is written.
    #[error("a PROXY header of version 1 that is wrong: {0}")]
    V1(&'static str),
    /// Version 2, and not as it is written.
    #[error("a PROXY header of version 2 that is wrong: {0}")]
    V2(&'static str),
}

type Source = Option<SocketAddr>;

impl HeaderParser {
    /// Nothing read yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { kept: [0; KEPT_MAX], length: 0, skip: 0, found: None }
    }

    /// Takes the next bytes. After [`Progress::Done`] or an error it is used up.
    ///
    /// # Errors
    /// When what came can no longer become a header; the connection is to be closed.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, ProxyError> {
        let mut used = 0;
        for byte in bytes {
            if self.found.is_some() {
                break;
            }
            self.take(*byte)?;
            used += 1;
        }
        // What is skipped is not looked at byte by byte.
        let skipped = self.skip.min(bytes.len() - used);
        self.skip -= skipped;
        used += skipped;
        match self.found {
            Some(source) if self.skip == 0 => Ok(Progress::Done { source, used }),
            Some(_) | None => Ok(Progress::NeedMore),
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), ProxyError> {
        let place = self.length;
        let room = self.kept.get_mut(place).ok_or(ProxyError::TooLong)?;
        *room = byte;
        self.length += 1;
        let kept = &self.kept[..self.length];
        let begins = |with: &[u8]| kept.iter().zip(with).all(|(a, b)| a == b);
        if begins(V1_PREFIX) {
            return if kept.ends_with(b"\r\n") {
                self.found = Some(v1(&kept[..kept.len() - 2])?);
                Ok(())
            } else if kept.len() == V1_MAX {
                Err(ProxyError::TooLong)
            } else {
                Ok(())
            };
        }
        if begins(V2_SIGNATURE) { self.take_v2() } else { Err(ProxyError::Missing) }
    }

    fn take_v2(&mut self) -> Result<(), ProxyError> {
        let kept = &self.kept[..self.length];
        let Some((fixed, addresses)) = kept.split_at_checked(V2_FIXED) else { return Ok(()) };
        let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if stands(Defence::ProxyHeaderLength) && rest > V2_REST_MAX {
            return Err(ProxyError::TooLong);
        }
        let wanted = v2_addresses(fixed[12], fixed[13])?;
        let Some(length) = wanted else {
            self.found = Some(None);
            self.skip = rest;
            return Ok(());
        };
        if rest < length {
            return Err(ProxyError::V2("its length leaves no room for its addresses"));
        }
        if addresses.len() == length {
            self.found = Some(Some(v2_source(addresses)));
            self.skip = rest - length;
        }
        Ok(())
    }
}

/// Whether the first bytes of a connection are, or can only become, a PROXY header: no line of
/// Stratum and no TLS begins so. For peers that are not listed.
#[must_use]
pub fn looks_like_header(first: &[u8]) -> bool {
    let agrees = |with: &[u8]| first.iter().zip(with).all(|(a, b)| a == b);
    // An empty line is not yet the signature: miners may send one.
    let v1 = !first.is_empty() && agrees(V1_PREFIX);
    let v2 = first.len() > b"\r\n\r\n".len() && agrees(V2_SIGNATURE);
    stands(Defence::ProxyPeer) && (v1 || v2)
}

/// A line of version 1 without its end: protocol, two addresses of its family, two ports.
fn v1(line: &[u8]) -> Result<Source, ProxyError> {
    let line = str::from_utf8(line).map_err(|_| ProxyError::V1("it is no text"))?;
    let mut words = line.split(' ').skip(1);
    let read = match words.next() {
        // What may follow here is not for us.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => address::<Ipv4Addr>,
        Some("TCP6") => address::<Ipv6Addr>,
        Some(_) | None => {
            return Err(ProxyError::V1("its protocol is neither TCP4, TCP6 nor UNKNOWN"));
        }
    };
    let mut word = |what| words.next().ok_or(ProxyError::V1(what));
    let source = read(word("the source is missing")?)?;
    let _destination = read(word("the destination is missing")?)?;
    let source_port = port(word("the source's port is missing")?)?;
    let _destination_port = port(word("the destination's port is missing")?)?;
    if words.next().is_some() {
        return Err(ProxyError::V1("something follows its ports"));
    }
    Ok(Some(SocketAddr::new(source, source_port)))
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, ProxyError> {
    let address = text.parse::<A>().map(Into::into);
    address.map_err(|_| ProxyError::V1("an address is none of its protocol"))
}

fn port(text: &str) -> Result<u16, ProxyError> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = text.parse().ok().filter(|_| is_plain);
    port.ok_or(ProxyError::V1("a port is no number from 0 to 65535"))
}

/// How long the addresses are that version 2 announces; `None` where none are to be read.
const fn v2_addresses(version_command: u8, family: u8) -> Result<Option<usize>, ProxyError> {
    match (version_command, family) {
        // LOCAL: whatever family it names is to be ignored.
        (0x20, _) => Ok(None),
        // Unspecified, and UNIX sockets: the proxy does not know, or has no address to give.
        (0x21, 0x00 | 0x31) => Ok(None),
        (0x21, 0x11) => Ok(Some(12)),
        (0x21, 0x21) => Ok(Some(V2_ADDRESSES)),
        (0x21, 0x12 | 0x22 | 0x32) => {
            Err(ProxyError::V2("it is for datagrams, and this is a stream"))
        }
        (0x21, _) => Err(ProxyError::V2("its address family is not one of the protocol's")),
        (0x22..=0x2f, _) => Err(ProxyError::V2("its command is neither LOCAL nor PROXY")),
        (_, _) => Err(ProxyError::V2("its version is not 2")),
    }
}

/// Source address and port of 12 or of 36 bytes: source, destination, source port, its other.
fn v2_source(addresses: &[u8]) -> SocketAddr {
    let mut v4 = [0; 4];
    let mut v6 = [0; 16];
    let (address, port_at): (IpAddr, usize) = if addresses.len() == V2_ADDRESSES {
        v6.copy_from_slice(&addresses[..16]);
        (v6.into(), 32)
    } else {
        v4.copy_from_slice(&addresses[..4]);
        (v4.into(), 8)
    };
    SocketAddr::new(address, u16::from_be_bytes([addresses[port_at], addresses[port_at + 1]]))
}

#[cfg(test)]
mod tests;
