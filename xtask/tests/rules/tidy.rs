//! What every file keeps to: a module says what it is for, a file has an end, nothing is left
//! over, no big blob, every package says what it does not do, every dependency has its reason in
//! CONTRIBUTING.md. The length of functions is clippy's.

use std::fs;
use std::path::Path;

use cargo_metadata::MetadataCommand;

use crate::sources::{self, Source};

/// The most lines a file may have before its tests.
const LINES_MAX: usize = 600;
/// The biggest file that may be tracked, in bytes.
const BLOB_MAX: u64 = 256 * 1024;
/// Words that mark something unfinished, put together so that this file does not hold them.
const LEFT_OVER: &[&str] = &[concat!("FIX", "ME"), concat!("TO", "DO"), concat!("todo", "!(")];
/// Files that are read by people or programs as text, besides Rust.
const TEXT: &[&str] = &["rs", "toml", "md", "html", "css", "js", "sql", "wgsl", "sh"];
/// One of these stands where a package says what it leaves to others.
const ABSENCES: &[&str] = &["deliberately", "does not", "do not", "never"];

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = sources::rust_sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "without `//!` on the first line: {silent:#?}");
}

#[test]
fn every_file_has_an_end() {
    let long: Vec<String> = sources::rust_sources().iter().filter_map(too_long).collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines before the tests: {long:#?}");
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let of = |lines: usize, tail: &str| Source {
        path: "units/src/lib.rs".to_owned(),
        text: "let a = 1;\n".repeat(lines) + tail,
    };
    assert_eq!(too_long(&of(LINES_MAX, "#[cfg(test)]\nmod tests {}\n")), None);
    assert_eq!(too_long(&of(LINES_MAX + 1, "")), Some("units/src/lib.rs: 601".to_owned()));
}

#[test]
fn nothing_is_left_over() {
    let is_text = |path: &String| {
        let extension = Path::new(path).extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| TEXT.contains(&e))
    };
    let found: Vec<String> = sources::files()
        .iter()
        .filter(|path| is_text(path))
        .flat_map(|path| left_over(path, &sources::read(path)))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_left_over_is_found() {
    let text = format!("fine\n// {} later\n", LEFT_OVER[0]);
    assert_eq!(left_over("a.rs", &text), [format!("a.rs:2: {}", LEFT_OVER[0])]);
}

#[test]
fn no_blob_is_big() {
    let size = |path: &String| {
        fs::metadata(sources::root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}")).len()
    };
    let big: Vec<String> =
        sources::files().into_iter().filter(|path| size(path) > BLOB_MAX).collect();
    assert!(big.is_empty(), "bigger than {BLOB_MAX} bytes: {big:#?}");
}

#[test]
fn every_package_says_what_it_does_not_do() {
    let sources = sources::rust_sources();
    let root_of = |package: &str| {
        let file = |name: &str| format!("{package}/src/{name}");
        let (library, program) = (file("lib.rs"), file("main.rs"));
        let find = |path: String| sources.iter().find(|source| source.path == path);
        find(library).or_else(|| find(program)).unwrap_or_else(|| panic!("{package} has a root"))
    };
    let packages = sources::files()
        .into_iter()
        .filter_map(|path| path.strip_suffix("/Cargo.toml").map(str::to_owned));
    let roots: Vec<&Source> = packages.map(|package| root_of(&package)).collect();
    assert!(roots.len() >= 14, "only {} package roots found", roots.len());
    let silent: Vec<&str> = roots
        .iter()
        .filter(|source| !names_an_absence(&source.text))
        .map(|source| source.path.as_str())
        .collect();
    assert!(silent.is_empty(), "their `//!` names no absence: {silent:#?}");
}

#[test]
fn an_absence_is_looked_for_in_the_modules_doc_alone() {
    assert!(names_an_absence("//! Counts. It deliberately\n//! does not sum.\n"));
    assert!(!names_an_absence("//! Counts.\n\n/// It never sums.\nfn count() {}\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let metadata = MetadataCommand::new()
        .manifest_path(sources::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata can be read");
    let reasons = sources::read("CONTRIBUTING.md");
    let mut silent: Vec<&str> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !reasons.contains(&format!("`{name}`")))
        .collect();
    silent.sort_unstable();
    silent.dedup();
    assert!(silent.is_empty(), "CONTRIBUTING.md gives no reason for {silent:?}");
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.lines().count();
    let counts = !source.is_test() && lines > LINES_MAX;
    counts.then(|| format!("{}: {lines}", source.path))
}

fn left_over(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let words = LEFT_OVER.iter().filter(|word| line.contains(**word));
        found.extend(words.map(|word| format!("{path}:{number}: {word}")));
    }
    found
}

fn names_an_absence(text: &str) -> bool {
    let doc = text.lines().take_while(|line| line.starts_with("//!"));
    doc.flat_map(|line| ABSENCES.iter().map(move |word| line.contains(word))).any(|found| found)
}
