//! Where a pool is: `stratum+tcp://host:port`, or `stratum+ssl://host:port` for Stratum over TLS.
//!
//! What is no such address is refused by name, so that nobody's password goes out in the clear
//! because a scheme was ignored.

use std::fmt;
use std::str::FromStr;

use defences::{Defence, stands};

/// A pool's address: a host name or IP address, and a port other than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUrl {
    tls: bool,
    host: String,
    port: u16,
}

/// Why a text is no pool address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("{0}: not a pool address; write stratum+tcp://HOST:PORT or stratum+ssl://HOST:PORT")]
    Scheme(String),
    /// The scheme is right; what follows is not host and port.
    #[error("{0}: host or port is missing or wrong; write {1}://HOST:PORT")]
    HostPort(String, &'static str),
}

/// Longest host name, as DNS has it.
const MAX_HOST: usize = 253;

impl PoolUrl {
    /// An address from its parts; `None` where the host can be no host or the port is 0.
    pub fn new(tls: bool, host: impl Into<String>, port: u16) -> Option<Self> {
        let host = host.into();
        (is_host(&host) && port != 0).then_some(Self { tls, host, port })
    }

    /// Whether Stratum is spoken over TLS there.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for PoolUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "stratum+tcp" => false,
            // The second and third are what other miners call it.
            "stratum+ssl" | "stratum+tls" | "stratum+tcps" => true,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        host_and_port(rest.trim_end_matches('/'))
            .and_then(|(host, port)| Self::new(tls, host, port))
            .ok_or_else(|| UrlError::HostPort(text.to_owned(), scheme_of(tls)))
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = scheme_of(self.tls);
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

const fn scheme_of(tls: bool) -> &'static str {
    if tls { "stratum+ssl" } else { "stratum+tcp" }
}

/// `HOST:PORT`, with an IPv6 address in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

/// Whether a text is made of what host names and addresses are made of: nothing else ever gets
/// to a resolver or a proxy.
pub(super) fn is_host(text: &str) -> bool {
    let may = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let plain = text.chars().all(may) || !stands(Defence::HostCharacters);
    !text.is_empty() && text.len() <= MAX_HOST && plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_and_printed_alike() {
        for text in [
            "stratum+tcp://pool.example:3333",
            "stratum+tcp://[::1]:3333",
            "stratum+ssl://pool.example:3443",
        ] {
            assert_eq!(text.parse::<PoolUrl>().unwrap().to_string(), text);
        }
        let url: PoolUrl = "STRATUM+TCP://127.0.0.1:1/".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("127.0.0.1", 1, false));
        for alias in ["stratum+tls", "stratum+tcps", "Stratum+SSL"] {
            let url: PoolUrl = format!("{alias}://a:1").parse().unwrap();
            assert_eq!(url.to_string(), "stratum+ssl://a:1");
        }
    }

    #[test]
    fn errors_name_the_text_and_what_would_be_right() {
        let tls = "stratum+ssl://pool.example".parse::<PoolUrl>().unwrap_err();
        assert!(tls.to_string().contains("stratum+ssl://HOST:PORT"), "{tls}");
        for text in [
            "pool.example:3333",
            "http://pool.example:3333",
            "stratum+tcp://pool.example",
            "stratum+tcp://:3333",
            "stratum+tcp://pool.example:0",
            "stratum+tcp://pool.example:70000",
            "stratum+tcp://::1:3333",
            "stratum+tcp://[::1:3333",
            "stratum+tcp://user@pool.example:3333",
            "stratum+tcp://pool example:3333",
        ] {
            let error = text.parse::<PoolUrl>().unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
            assert!(error.contains("stratum+tcp://HOST:PORT"), "{error}");
        }
    }
}
