//! How a program of ours reads its configuration: one TOML file, environment variables and flags
//! over it, defaults under it, and every mistake reported at once.
//!
//! Read [`Reader`] first, then [`Section`], then the closures in [`parse`]. In short:
//!
//! ```
//! use config::{Reader, Source, parse};
//!
//! struct Http { listen: std::net::SocketAddr, token: Option<config::Secret> }
//!
//! let source = Source::new("pool.toml", "[http]\nlisten = \"127.0.0.1:8080\"\n");
//! let mut reader = Reader::new(source)?;
//! let mut http = reader.section("http");
//! let listen = http.or("listen", "\"127.0.0.1:8080\"", parse::socket_address());
//! let token = http.secret("token");
//! // All keys are read before the first `?`, so that one run names every mistake.
//! let http = (|| Some(Http { listen: listen?, token: token? }))();
//! let (http, effective) = reader.finish(http)?;
//! assert_eq!(http.listen.port(), 8080);
//! assert!(effective.to_string().starts_with("http.listen = \"127.0.0.1:8080\""));
//! # Ok::<(), config::Errors>(())
//! ```
//!
//! The rules: an unknown key is an error (with the nearest known name), a secret is taken from the
//! file or a flag and never from the environment, and never printed. What a section means lives
//! beside the component that it sets up; this crate deliberately knows none of them. It ships the
//! example files [`POOL_TOML`], [`MINER_TOML`] and [`AGENT_TOML`], and the programs' tests load them.
//!
//! Units are in the names of the keys (`interval_seconds`); a key without one is a plain number.

mod effective;
mod error;
mod layers;
mod nearest;
pub mod parse;
mod reader;
mod secret;
mod source;

pub use crate::{
    effective::{Effective, Origin},
    error::{Errors, Problem},
    reader::{Reader, Section},
    secret::Secret,
    source::{ReadError, Source},
};
pub use toml::Value;

/// The shipped `pool.toml`: what `wattproof-pool init` writes.
pub const POOL_TOML: &str = include_str!("../pool.toml");

/// The shipped `miner.toml`.
pub const MINER_TOML: &str = include_str!("../miner.toml");

/// The shipped `agent.toml`.
pub const AGENT_TOML: &str = include_str!("../agent.toml");

/// The same file with its commented-out keys switched on.
///
/// The shipped files write prose as `# text` and a key that is at its default, or that stands for
/// an alternative, as `#key = value`, without the space. Tests switch those on to prove that each
/// is a real key and that a default shown is the default in force.
#[must_use]
pub fn uncomment(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        let key = line.strip_prefix('#').filter(|rest| rest.starts_with(is_key_start));
        result.push_str(key.unwrap_or(line));
        result.push('\n');
    }
    result
}

fn is_key_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '['
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_files_are_toml_as_they_are_and_uncommented() {
        for text in [POOL_TOML, MINER_TOML, AGENT_TOML] {
            text.parse::<toml::Table>().unwrap();
            uncomment(text).parse::<toml::Table>().unwrap();
        }
    }

    #[test]
    fn uncomment_leaves_prose_alone() {
        assert_eq!(uncomment("# prose\n#key = 1\na = 2\n#[b]"), "# prose\nkey = 1\na = 2\n[b]\n");
    }

    #[test]
    fn the_contract_s_minimal_pool_keys_are_in_the_shipped_file() {
        let table: toml::Table = uncomment(POOL_TOML).parse().unwrap();
        for (section, keys) in [
            ("node", &["url", "auth", "cookie", "network"][..]),
            ("stratum", &["listen", "difficulty"]),
            ("payout", &["scheme", "address", "fee_percent"]),
            ("ledger", &["path", "slice_seconds"]),
            ("http", &["listen"]),
            ("energy", &["factor"]),
            ("limits", &["per_address", "per_subnet", "total", "accepts_per_second", "exempt"]),
        ] {
            for key in keys {
                assert!(table[section].get(key).is_some(), "{section}.{key}");
            }
        }
    }
}
