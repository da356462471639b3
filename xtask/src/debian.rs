//! Debian packages that something cannot do without: looked for by what they bring, a program, a
//! header, a library or a driver, and installed with `apt-get` where this runs as root on a machine that has it. It
//! deliberately asks for no root rights and no password: elsewhere one line names the packages.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the system says which Vulkan drivers it has, a file for each.
const VULKAN_DRIVERS: &str = "/usr/share/vulkan/icd.d";
/// Seconds that `apt-get` waits for another package manager to finish.
const LOCK_SECONDS: u32 = 600;

/// A package and how to see that what it brings is there, whoever brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Package {
    /// Debian's name for it.
    pub(crate) name: &'static str,
    pub(crate) brings: Brings,
}

/// What a package is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brings {
    /// A program that answers `--version`.
    Program(&'static str),
    /// A header that the C++ compiler finds.
    Header(&'static str),
    /// A shared library in one of the system's folders, by the whole name of its file.
    Library(&'static str),
    /// A Vulkan driver, by the beginning of the name of the file that announces it.
    VulkanDriver(&'static str),
}

/// Makes sure that all of them are there, installing what is missing where that is possible.
///
/// # Errors
/// One line that names the missing packages and says why they could not be had.
pub(crate) fn provide(packages: &[Package]) -> Result<(), String> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !runs("apt-get") {
        return Err(format!("missing: {names} (Debian's names)"));
    }
    if !is_root() {
        return Err(format!("missing: {names}; as root: apt-get install {names}"));
    }
    eprintln!("installing {names}");
    // A fresh machine has no lists of packages yet, and old lists name files that are gone.
    let installed = install(&missing) || (apt_get(&["update"]) && install(&missing));
    let left = self::missing(packages).join(" ");
    match (installed, left.is_empty()) {
        (_, true) => Ok(()),
        (true, false) => Err(format!("missing after their installation: {left}")),
        (false, false) => Err(format!("missing, and `apt-get install {names}` failed: {left}")),
    }
}

/// The names of those that bring nothing yet.
fn missing(packages: &[Package]) -> Vec<&'static str> {
    packages.iter().filter(|package| !package.brings.is_there()).map(|p| p.name).collect()
}

impl Brings {
    fn is_there(self) -> bool {
        match self {
            Self::Program(program) => runs(program),
            Self::Header(header) => {
                quietly(&["c++", "-E", "-x", "c++", "-include", header, "/dev/null"])
            }
            Self::Library(file) => {
                library_folders().iter().any(|folder| Path::new(folder).join(file).exists())
            }
            Self::VulkanDriver(begins) => announces(Path::new(VULKAN_DRIVERS), begins),
        }
    }
}

/// Where the loader looks first: Debian's folder for this processor, then everybody's.
fn library_folders() -> [String; 4] {
    let debians = format!("/usr/lib/{ARCH}-linux-gnu");
    [debians, "/usr/lib64".to_owned(), "/usr/lib".to_owned(), "/usr/local/lib".to_owned()]
}

/// Whether `folder` has a JSON file whose name begins like this.
fn announces(folder: &Path, begins: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.any(|name| name.starts_with(begins) && name.ends_with(".json"))
}

/// Whether the program starts: a file of that name on the PATH may be another's empty promise.
fn runs(program: &str) -> bool {
    quietly(&[program, "--version"])
}

fn quietly(words: &[&str]) -> bool {
    Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install(names: &[&str]) -> bool {
    apt_get(&[&["install", "--yes", "--no-install-recommends"], names].concat())
}

/// Runs `apt-get`; of what it says, only complaints are shown.
fn apt_get(words: &[&str]) -> bool {
    Command::new("apt-get")
        .args(["-qq", "-o", &format!("DPkg::Lock::Timeout={LOCK_SECONDS}")])
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: Package = Package { name: "cargo", brings: Brings::Program("cargo") };
    const NONE: Package = Package { name: "no-such", brings: Brings::Program("no-such-program") };
    const NO_HEADER: Package = Package { name: "no-h", brings: Brings::Header("no/such.hpp") };
    const NO_LIBRARY: Package = Package { name: "no-l", brings: Brings::Library("libno-such.so") };
    const NO_DRIVER: Package = Package { name: "no-d", brings: Brings::VulkanDriver("no_such") };

    #[test]
    fn what_is_missing_is_named_and_what_is_there_is_not() {
        let found = missing(&[CARGO, NONE, NO_HEADER, NO_LIBRARY, NO_DRIVER]);
        assert_eq!(found, ["no-such", "no-h", "no-l", "no-d"]);
        provide(&[CARGO]).unwrap();
    }

    #[test]
    fn a_driver_is_known_by_the_file_that_announces_it() {
        let folder = tempfile::tempdir().unwrap();
        let begins = "lvp_icd";
        assert!(!announces(&folder.path().join("none"), begins));
        for name in ["radeon_icd.json", "lvp_icd.txt"] {
            fs::write(folder.path().join(name), "{}").unwrap();
            assert!(!announces(folder.path(), begins), "{name}");
        }
        fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(announces(folder.path(), begins));
    }

    #[test]
    fn a_library_that_every_debian_has_is_there() {
        if Path::new("/etc/debian_version").exists() {
            assert!(Brings::Library("libc.so.6").is_there());
        }
    }

    #[test]
    fn a_header_of_the_compiler_itself_is_there() {
        // Building the bundled SQLite needs a C compiler; C++ is a need of its own.
        if runs("c++") {
            assert!(Brings::Header("vector").is_there());
        }
    }
}
