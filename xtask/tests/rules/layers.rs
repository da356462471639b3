//! Who may use whom, read from `cargo metadata`, and what the rooms without input and output
//! keep out: no runtime, clock, file or socket, the database in the ledger's store
//! alone, unsafe in the kernels' instruction sets alone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::sources::{self, Source};

/// Each package of the workspace and those of ours that it may use, for any purpose.
const MAY_USE: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("defences", &[]),
    ("config", &["defences"]),
    ("stratum", &["units", "defences"]),
    ("codegen", &[]),
    ("kernels", &["units", "codegen"]),
    ("gpu", &["units", "kernels", "codegen"]),
    ("energy", &["units", "defences"]),
    ("ledger", &["units", "defences"]),
    ("pool", &["units", "stratum", "ledger", "energy", "config", "defences"]),
    ("miner", &["units", "stratum", "kernels", "gpu", "energy", "config", "defences"]),
    ("sim", &["units", "stratum", "kernels", "ledger", "pool", "miner"]),
    (
        "benches",
        &[
            "units", "stratum", "kernels", "gpu", "ledger", "energy", "config", "pool", "miner",
            "sim",
        ],
    ),
    ("xtask", &[]),
];

/// Packages that run without a runtime, a socket or a client of one.
const WITHOUT_RUNTIME: &[&str] =
    &["units", "defences", "stratum", "codegen", "kernels", "gpu", "ledger", "energy", "config"];
const RUNTIMES: &[&str] = &["tokio", "mio", "hyper", "reqwest", "async-std", "smol", "ureq"];

/// Sources without clock, file and socket, and the parts of them that are excepted.
const WITHOUT_IO: &[(&str, &[&str])] = &[
    ("units/src/", &[]),
    ("stratum/src/", &[]),
    ("energy/src/", &[]),
    ("ledger/src/", &["ledger/src/store"]),
    ("codegen/src/", &[]),
    ("kernels/src/", &["kernels/src/chooser", "kernels/src/limit"]),
    ("kernels/gpu/src/", &[]),
];
const IO: &[&str] = &["Instant::now", "SystemTime::now", "std::fs", "std::net", "tokio"];

#[test]
fn the_arrows_of_the_design_hold() {
    let metadata = metadata();
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    assert_eq!(members, rules.keys().copied().collect(), "every package has its rule");
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let used = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        let used = used.filter(|name| members.contains(name));
        broken.extend(forbidden(package.name.as_str(), used, rules[package.name.as_str()]));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn an_arrow_that_is_not_drawn_is_found() {
    let broken = forbidden("pool", ["units", "kernels", "miner"].into_iter(), &["units"]);
    assert_eq!(broken, ["pool uses kernels", "pool uses miner"]);
}

#[test]
fn units_and_defences_stand_alone() {
    let metadata = metadata();
    for name in ["units", "defences"] {
        let found = metadata.workspace_packages().into_iter().find(|p| p.name.as_str() == name);
        let package = found.unwrap_or_else(|| panic!("{name} is a member"));
        let used = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        assert_eq!(used.count(), 0, "{name}");
    }
}

#[test]
fn the_cores_bring_no_runtime() {
    let metadata = metadata();
    for name in WITHOUT_RUNTIME {
        let brought = brought_along(&metadata, name);
        let runtimes: Vec<_> = RUNTIMES.iter().filter(|name| brought.contains(**name)).collect();
        assert!(runtimes.is_empty(), "{name} brings {runtimes:?}");
    }
    assert!(brought_along(&metadata, "pool").contains("tokio"), "the search finds a runtime");
}

#[test]
fn the_cores_read_no_clock_file_or_socket() {
    let mut broken = Vec::new();
    for source in sources::rust_sources() {
        let room = WITHOUT_IO.iter().find(|(room, _)| source.path.starts_with(room));
        let excepted = |parts: &[&str]| parts.iter().any(|part| source.path.starts_with(part));
        if room.is_some_and(|(_, parts)| !excepted(parts)) && !source.is_test() {
            broken.extend(mentions(&source, IO));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_the_store_knows_which_database_it_is() {
    let outside = |source: &Source| {
        !source.path.starts_with("ledger/src/store") && !source.path.starts_with("xtask/")
    };
    let broken: Vec<String> = sources::rust_sources()
        .iter()
        .filter(|source| outside(source) && !source.is_test())
        .flat_map(|source| mentions(source, &["rusqlite"]))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn unsafe_is_lifted_in_the_instruction_sets_alone() {
    let lifted = concat!("(unsafe", "_code");
    let broken: Vec<String> = sources::rust_sources()
        .iter()
        .filter(|source| !source.path.starts_with("kernels/src/arch"))
        .flat_map(|source| mentions(source, &[lifted]))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_mention_is_found_in_code_and_not_in_comments() {
    let text = "//! no tokio here\nuse std::fs;\nlet now = Instant::now();\n".to_owned();
    let source = Source { path: "units/src/lib.rs".to_owned(), text };
    let found = mentions(&source, IO);
    assert_eq!(found, ["units/src/lib.rs:2: std::fs", "units/src/lib.rs:3: Instant::now"]);
}

fn forbidden<'a>(
    package: &str,
    used: impl Iterator<Item = &'a str>,
    may_use: &[&str],
) -> Vec<String> {
    used.filter(|name| !may_use.contains(name))
        .map(|name| format!("{package} uses {name}"))
        .collect()
}

/// The names of everything that a package brings along when it is built for use.
fn brought_along(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("metadata was asked for with its resolution");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let start = metadata.workspace_packages().into_iter().find(|p| p.name.as_str() == name);
    let mut open = vec![&start.unwrap_or_else(|| panic!("{name} is a member")).id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let for_use = |kind: &cargo_metadata::DepKindInfo| kind.kind == DependencyKind::Normal;
            if dependency.dep_kinds.iter().any(for_use) && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

/// Places in a file's code where one of `words` stands.
fn mentions(source: &Source, words: &[&str]) -> Vec<String> {
    source
        .code()
        .flat_map(|(number, line)| {
            let found = words.iter().filter(move |word| line.contains(**word));
            found.map(move |word| format!("{}:{number}: {word}", source.path))
        })
        .collect()
}

/// What cargo says of this machine's build.
fn metadata() -> Metadata {
    let options = ["--filter-platform".to_owned(), host()];
    MetadataCommand::new()
        .manifest_path(sources::root().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .expect("cargo metadata can be read")
}

/// This machine's target, as cargo names it.
fn host() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).arg("-vV").output().expect("cargo can be run");
    let text = String::from_utf8(output.stdout).expect("cargo's version is UTF-8");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("cargo names its host").to_owned()
}
