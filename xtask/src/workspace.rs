//! The checkout and its cargo: where it lies, how cargo is called, and the release binaries.
//! It deliberately does not guess where cargo puts things: cargo's own messages say it.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::{Artifact, Message};

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
    let mut built = build_programs(&["pool", "miner"])?;
    Ok(Binaries {
        pool: take(&mut built, "wattproof-pool")?,
        miner: take(&mut built, "wattproof-miner")?,
    })
}

/// Builds the bench and the pool for release and returns them in this order. The miner is built
/// with them, so that what all of them depend on is the same as for [`build_release`].
///
/// # Errors
/// As [`build_release`].
pub(crate) fn build_bench() -> Result<(PathBuf, PathBuf), Failure> {
    let mut built = build_programs(&["pool", "miner", "benches"])?;
    Ok((take(&mut built, "wattproof-bench")?, take(&mut built, "wattproof-pool")?))
}

fn build_programs(packages: &[&str]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    eprintln!("building for release: {} (the first time takes minutes)", packages.join(", "));
    let mut arguments = vec!["build", "--release"];
    arguments.extend(packages.iter().flat_map(|package| ["--package", *package]));
    arguments.extend(["--bins", "--message-format", "json-render-diagnostics"]);
    build_messages(&arguments)
}

fn take(built: &mut BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf, Failure> {
    let missing = || Failure::new(format!("cargo build reported no executable `{name}`"));
    built.remove(name).ok_or_else(missing)
}

/// A program of tests.
#[derive(Debug)]
pub(crate) struct TestProgram {
    pub(crate) package: String,
    /// The name of its target: of the library or of the integration test.
    pub(crate) target: String,
    /// Whether it is the library with its own tests.
    pub(crate) is_library: bool,
    pub(crate) path: PathBuf,
    /// The folder of its package.
    pub(crate) folder: PathBuf,
}

/// Runs `cargo test --no-run` with these arguments, JSON messages among them, and says what it
/// built; cargo's progress goes to stderr.
///
/// # Errors
/// Fails where cargo fails.
pub(crate) fn build_tests(arguments: &[&str]) -> Result<Vec<TestProgram>, Failure> {
    let mut programs = Vec::new();
    for_each_artifact(arguments, |artifact| {
        let folder = artifact.manifest_path.parent();
        let Some((path, folder)) = artifact.executable.zip(folder) else { return };
        if artifact.profile.test {
            programs.push(TestProgram {
                package: folder.file_name().unwrap_or_default().to_owned(),
                is_library: artifact.target.is_lib(),
                target: artifact.target.name,
                path: path.into_std_path_buf(),
                folder: folder.as_std_path().to_owned(),
            });
        }
    })?;
    Ok(programs)
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
    let mut executables = BTreeMap::new();
    for_each_artifact(arguments, |artifact| {
        if let Some(path) = artifact.executable {
            executables.insert(artifact.target.name, path.into_std_path_buf());
        }
    })?;
    Ok(executables)
}

/// Runs cargo with JSON messages and hands over everything that it built.
fn for_each_artifact(arguments: &[&str], mut each: impl FnMut(Artifact)) -> Result<(), Failure> {
    let mut child = cargo()
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::new(format!("cargo cannot be started: {e}")))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
        if let Message::CompilerArtifact(artifact) = message {
            each(artifact);
        }
    }
    let status = child.wait().map_err(|e| Failure::new(format!("waiting for cargo: {e}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("cargo {} failed ({status})", arguments.join(" "))))
    }
}
