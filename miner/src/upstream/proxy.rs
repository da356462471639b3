//! A SOCKS5 proxy between us and a pool: `socks5://host:port`, with or without a login (RFC 1928,
//! RFC 1929).
//!
//! The pool's name is resolved by the proxy, never here. It deliberately takes no login within the
//! address: addresses are printed.

use std::fmt;
use std::str::FromStr;

use config::Secret;

use super::url::{host_and_port, is_host};

/// Longest user name or password, bytes: the protocol counts them in one byte.
const MAX_LOGIN: usize = 255;

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    login: Option<Login>,
}

/// Who we are to a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: Secret,
}

/// Why a text is no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The address.
    #[error("{0}: not a proxy; write socks5://HOST:PORT")]
    Address(String),
    /// There is a user name or a password in it, which is not repeated here.
    #[error(
        "a proxy's user name and password do not belong into its address; they are proxy_user and \
         proxy_password of the [[pool]]"
    )]
    Login,
    /// One of the two is empty or too long.
    #[error("a proxy's user name and password are 1 to {MAX_LOGIN} bytes long each")]
    LoginLength,
}

impl Proxy {
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

    /// Who we are there, where it asks.
    #[must_use]
    pub const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The same proxy with a login.
    #[must_use]
    pub fn with(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }
}

impl Login {
    /// A login.
    ///
    /// # Errors
    /// When user name or password are empty or longer than 255 bytes.
    pub fn new(user: String, password: Secret) -> Result<Self, ProxyError> {
        let fits = |text: &str| (1..=MAX_LOGIN).contains(&text.len());
        let both = fits(&user) && fits(password.expose());
        both.then_some(Self { user, password }).ok_or(ProxyError::LoginLength)
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    #[must_use]
    pub const fn password(&self) -> &Secret {
        &self.password
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        if text.contains('@') {
            return Err(ProxyError::Login);
        }
        let parts = text.split_once("://").and_then(|(scheme, rest)| {
            // The second is what others call it where the proxy resolves names, as it does here.
            let known = ["socks5", "socks5h"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
            host_and_port(rest.trim_end_matches('/')).filter(|_| known)
        });
        match parts {
            Some((host, port)) if port != 0 && is_host(host) => {
                Ok(Self { host: host.to_owned(), port, login: None })
            }
            Some(_) | None => Err(ProxyError::Address(text.to_owned())),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "socks5://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "socks5://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_and_printed_without_their_login() {
        for text in ["socks5://127.0.0.1:9050", "socks5://[::1]:1080"] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), text);
        }
        let proxy: Proxy = "socks5h://tor:9050/".parse().unwrap();
        let login = Login::new("me".to_owned(), Secret::new("hunter2")).unwrap();
        let proxy = proxy.with(login);
        assert_eq!((proxy.host(), proxy.port()), ("tor", 9050));
        assert!(!format!("{proxy} {proxy:?}").contains("hunter2"));
    }

    #[test]
    fn mistakes_say_what_would_be_right_and_repeat_no_password() {
        for text in ["9050", "http://a:1", "socks5://a", "socks5://a:0", "socks4://a:1"] {
            let error = text.parse::<Proxy>().unwrap_err().to_string();
            assert!(error.starts_with(text) && error.contains("socks5://HOST:PORT"), "{error}");
        }
        let error = "socks5://me:hunter2@a:1".parse::<Proxy>().unwrap_err().to_string();
        assert!(error.contains("proxy_password") && !error.contains("hunter2"), "{error}");
        for (user, password) in [("", "x"), ("x", ""), (&"x".repeat(256), "x")] {
            assert!(Login::new(user.to_owned(), Secret::new(password)).is_err());
        }
    }
}
