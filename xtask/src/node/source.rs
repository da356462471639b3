//! The source of Bitcoin Core, as the package registry carries it: the package
//! `libbitcoinkernel-sys` has the whole node in its folder `bitcoin/`, without the wallet and ZMQ.
//! Cargo itself fetches and checks it, as it does any dependency, for a manifest made on the spot.
//! This module deliberately knows no registry and unpacks nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cargo_metadata::MetadataCommand;

use crate::failure::Failure;
use crate::workspace;

/// The package that carries the source.
const PACKAGE: &str = "libbitcoinkernel-sys";
/// Its exact version. The source in it calls itself 31.99.
pub(crate) const VERSION: &str = "0.4.1";

/// Fetches the package, with a manifest in `folder`, and returns where the source is.
///
/// # Errors
/// Fails where the manifest cannot be written, or cargo cannot fetch or does not know the package.
pub(crate) fn fetch(folder: &Path) -> Result<PathBuf, Failure> {
    write_manifest(folder)
        .map_err(|e| Failure::new(format!("{} cannot be written: {e}", folder.display())))?;
    let status = workspace::cargo()
        .arg("fetch")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|e| Failure::new(format!("cargo cannot be started: {e}")))?;
    if !status.success() {
        return Err(Failure::new(format!("cargo could not fetch {PACKAGE} {VERSION} ({status})")));
    }
    let source = locate(folder)?.join("bitcoin");
    if source.join("CMakeLists.txt").is_file() {
        Ok(source)
    } else {
        Err(Failure::new(format!("no source of Bitcoin Core in {}", source.display())))
    }
}

/// A package that does nothing but depend.
fn write_manifest(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"wattproof-node-source\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\npath = \"lib.rs\"\n\
         [dependencies]\n{PACKAGE} = \"={VERSION}\"\n\
         [workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)
}

/// Where cargo has put the package.
fn locate(folder: &Path) -> Result<PathBuf, Failure> {
    let metadata = MetadataCommand::new()
        .manifest_path(folder.join("Cargo.toml"))
        .current_dir(folder)
        .other_options(["--offline".to_owned()])
        .exec()
        .map_err(|e| Failure::new(format!("cargo metadata for {PACKAGE}: {e}")))?;
    let package = metadata.packages.iter().find(|package| package.name.as_str() == PACKAGE);
    package
        .and_then(|package| package.manifest_path.parent())
        .map(|place| place.as_std_path().to_path_buf())
        .ok_or_else(|| Failure::new(format!("cargo metadata does not name {PACKAGE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_asks_for_exactly_one_version_and_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        write_manifest(folder.path()).unwrap();
        let metadata = MetadataCommand::new()
            .manifest_path(folder.path().join("Cargo.toml"))
            .no_deps()
            .exec()
            .unwrap();
        let [package] = metadata.packages.as_slice() else { panic!("{:?}", metadata.packages) };
        let [dependency] = package.dependencies.as_slice() else { panic!("{package:?}") };
        assert_eq!(dependency.name, PACKAGE);
        assert_eq!(dependency.req.to_string(), format!("={VERSION}"));
        assert_eq!(metadata.workspace_root, metadata.packages[0].manifest_path.parent().unwrap());
    }
}
