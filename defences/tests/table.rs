//! `docs/threats.md` against the names and the code: every defence has its rows and its place,
//! every row its test and its switch, and no package asks for the build with switches.
//!
//! Whether a test fails without its defence is deliberately not looked at here: `cargo xtask
//! threats` does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use defences::Defence;

/// The cells of one row.
struct Row {
    threat: String,
    test: String,
    switch: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let text = read(&root().join("docs/threats.md"));
    let lines = text.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [threat, _, test, switch] = cells[..] else { panic!("not four cells: {line}") };
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        Row { threat: threat.to_owned(), test: code(test), switch: code(switch) }
    };
    let rows: Vec<Row> = lines.map(row).collect();
    assert!(rows.len() >= 40, "only {} rows", rows.len());
    rows
}

/// Every file below `folder` whose name ends so, build outputs left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_defence_has_a_row_and_every_row_a_defence() {
    let named: BTreeSet<Defence> = rows()
        .iter()
        .map(|row| row.switch.parse().unwrap_or_else(|error| panic!("{}: {error}", row.threat)))
        .collect();
    let without: Vec<_> = Defence::ALL.iter().filter(|one| !named.contains(one)).collect();
    assert!(without.is_empty(), "no row shows {without:?}");
}

#[test]
fn no_row_is_there_twice() {
    let (mut threats, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for Row { threat, test, switch } in rows() {
        assert!(pairs.insert((test, switch)), "{threat}: the same test and switch as another");
        assert!(threats.insert(threat.clone()), "{threat}");
    }
}

#[test]
fn every_test_is_written_where_its_row_says() {
    for Row { threat, test, .. } in rows() {
        let (package, rest) = test.split_once(' ').unwrap_or_else(|| panic!("{threat}: {test}"));
        let name = rest.rsplit([' ', ':']).next().unwrap_or_default();
        let folder =
            root().join(package).join(if rest.starts_with("--lib ") { "src" } else { "tests" });
        let written =
            files(&folder, ".rs").iter().any(|path| read(path).contains(&format!("fn {name}(")));
        assert!(written, "{threat}: {package} has no test {name}");
    }
}

#[test]
fn every_defence_is_asked_for_in_the_code() {
    let code: Vec<String> = files(root(), ".rs")
        .iter()
        .filter(|path| !path.starts_with(root().join("defences")))
        .map(|path| read(path))
        .collect();
    let asked = |defence: &Defence| {
        let question = format!("stands(Defence::{defence:?})");
        code.iter().any(|text| text.contains(&question))
    };
    let unasked: Vec<_> = Defence::ALL.iter().filter(|defence| !asked(defence)).collect();
    assert!(unasked.is_empty(), "nothing in the code asks for {unasked:?}");
}

#[test]
fn no_package_asks_for_the_build_with_switches() {
    let manifests = files(root(), "Cargo.toml");
    assert!(manifests.len() >= 12, "only {} manifests", manifests.len());
    for path in manifests {
        let asks =
            read(&path).lines().any(|line| line.contains("switchable") && !line.starts_with('#'));
        assert_eq!(asks, path.parent() == Some(&root().join("defences")), "{}", path.display());
    }
}
