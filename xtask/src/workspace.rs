//! The checkout and its cargo: where it lies, how cargo is called, and the release binaries.
//! It deliberately does not guess where cargo puts things: cargo's own messages say it.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::Message;

use crate::failure::Failure;

/// The two programs of the project, built for release.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) pool: PathBuf,
    pub(crate) miner: PathBuf,
}

/// Builds both release binaries; cargo's progress goes to stderr.
///
/// # Errors
/// Fails where cargo fails, or reports no executable under the expected name.
pub(crate) fn build_release() -> Result<Binaries, Failure> {
    eprintln!("building the pool and the miner for release (the first time takes minutes)");
    let mut built = build_messages(&[
        "build",
        "--release",
        "--package",
        "pool",
        "--package",
        "miner",
        "--bins",
        "--message-format",
        "json-render-diagnostics",
    ])?;
    let mut take = |name: &str| {
        built
            .remove(name)
            .ok_or_else(|| Failure::new(format!("cargo build reported no executable `{name}`")))
    };
    Ok(Binaries { pool: take("wattproof-pool")?, miner: take("wattproof-miner")? })
}

/// A cargo command that runs at the top of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The top folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Runs cargo with JSON messages and collects the executables by target name.
fn build_messages(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut child = cargo()
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::new(format!("cargo cannot be started: {e}")))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    let mut executables = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
        if let Message::CompilerArtifact(artifact) = message
            && let Some(path) = artifact.executable
        {
            executables.insert(artifact.target.name, path.into_std_path_buf());
        }
    }
    let status = child.wait().map_err(|e| Failure::new(format!("waiting for cargo: {e}")))?;
    if status.success() {
        Ok(executables)
    } else {
        Err(Failure::new(format!("cargo {} failed ({status})", arguments.join(" "))))
    }
}
