//! Where a pool is: `stratum+tcp://host:port`.
//!
//! Stratum over TLS is recognised and refused by name, so that nobody's passwords go out in the
//! clear because a scheme was ignored.

use std::fmt;
use std::str::FromStr;

/// A pool's address: a host name or IP address, and a port other than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUrl {
    host: String,
    port: u16,
}

/// Why a text is no pool address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A scheme for TLS.
    #[error("{0}: Stratum over TLS is not in this version; use stratum+tcp://HOST:PORT")]
    TlsNotInThisVersion(String),
    /// Another scheme, or none.
    #[error("{0}: not a pool address; write stratum+tcp://HOST:PORT")]
    Scheme(String),
    /// The scheme is right; what follows is not host and port.
    #[error("{0}: host or port is missing or wrong; write stratum+tcp://HOST:PORT")]
    HostPort(String),
}

impl PoolUrl {
    /// An address from its parts; `None` when the host is empty or the port is 0.
    pub fn new(host: impl Into<String>, port: u16) -> Option<Self> {
        let host = host.into();
        let usable = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        (usable && port != 0).then_some(Self { host, port })
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
        match scheme.to_ascii_lowercase().as_str() {
            "stratum+tcp" => {}
            "stratum+ssl" | "stratum+tls" => {
                return Err(UrlError::TlsNotInThisVersion(text.to_owned()));
            }
            _ => return Err(UrlError::Scheme(text.to_owned())),
        }
        host_and_port(rest.trim_end_matches('/')).ok_or_else(|| UrlError::HostPort(text.to_owned()))
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "stratum+tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "stratum+tcp://{}:{}", self.host, self.port)
        }
    }
}

fn host_and_port(rest: &str) -> Option<PoolUrl> {
    let (host, port) = rest.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    PoolUrl::new(host, port.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_and_printed_alike() {
        for text in ["stratum+tcp://pool.example:3333", "stratum+tcp://[::1]:3333"] {
            assert_eq!(text.parse::<PoolUrl>().unwrap().to_string(), text);
        }
        let url: PoolUrl = "STRATUM+TCP://127.0.0.1:1/".parse().unwrap();
        assert_eq!((url.host(), url.port()), ("127.0.0.1", 1));
    }

    #[test]
    fn errors_name_the_text_and_what_would_be_right() {
        let tls = "stratum+ssl://pool.example:3443".parse::<PoolUrl>().unwrap_err();
        assert!(tls.to_string().contains("TLS is not in this version"), "{tls}");
        for text in [
            "pool.example:3333",
            "http://pool.example:3333",
            "stratum+tcp://pool.example",
            "stratum+tcp://:3333",
            "stratum+tcp://pool.example:0",
            "stratum+tcp://pool.example:70000",
            "stratum+tcp://::1:3333",
            "stratum+tcp://[::1:3333",
        ] {
            let error = text.parse::<PoolUrl>().unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
            assert!(error.contains("stratum+tcp://HOST:PORT"), "{error}");
        }
    }
}
