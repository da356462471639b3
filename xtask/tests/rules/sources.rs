//! The checkout's files as the rules read them: their paths, and Rust text without comments and
//! tests. It deliberately does not parse Rust: every rule here is decidable line by line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One Rust file of the checkout.
pub(crate) struct Source {
    /// From the top of the checkout, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The top folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the checkout").to_path_buf()
}

/// Every file that is tracked, or new and not ignored, and not deleted.
pub(crate) fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git can be run");
    assert!(output.status.success(), "the rules are read in a git checkout");
    let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let mut files: Vec<String> = text
        .split_terminator('\0')
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.dedup();
    assert!(files.len() > 20, "only {} files found", files.len());
    files
}

/// Every Rust file.
pub(crate) fn rust_sources() -> Vec<Source> {
    let is_rust = |path: &String| Path::new(path).extension().is_some_and(|e| e == "rs");
    files().into_iter().filter(is_rust).map(|path| Source { text: read(&path), path }).collect()
}

/// A file's text.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

impl Source {
    /// Whether the file as a whole is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// The lines before the file's own tests.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"))
    }

    /// The lines before the tests that are not comments, with their numbers.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().zip(1..).filter_map(|(line, number)| {
            (!line.trim_start().starts_with("//")).then_some((number, line))
        })
    }
}

#[test]
fn code_is_without_comments_and_tests() {
    let text = "//! doc\nlet a = 1;\n  // note\nlet b = 2;\n#[cfg(test)]\nlet c = 3;\n".to_owned();
    let source = Source { path: "units/src/lib.rs".to_owned(), text };
    let code: Vec<_> = source.code().collect();
    assert_eq!(code, [(2, "let a = 1;"), (4, "let b = 2;")]);
    assert_eq!(source.lines().count(), 4);
    assert!(!source.is_test());
}
