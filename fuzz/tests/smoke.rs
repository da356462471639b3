//! The bodies of the fuzz targets on changed seeds, where there is no libFuzzer: fewer bytes and no
//! guidance, on every machine.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::Index};

/// A change of an input: where, what kind, and a byte.
type Change = (Index, u8, u8);

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let files = fs::read_dir(folder).expect("each target has a folder of seeds");
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    assert!(paths.len() > 1, "{target} has seeds");
    paths.into_iter().map(|path| fs::read(path).expect("a seed is a file")).collect()
}

fn changed(seed: &[u8], changes: Vec<Change>) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (place, how, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        match how % 5 {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

fn smoke(target: &str, body: fn(&[u8]), cases: u32) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| body(seed));
    let change = (any::<Index>(), any::<u8>(), any::<u8>());
    let inputs = (any::<Index>(), vec(change, 0..12));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let outcome = runner.run(&inputs, |(seed, changes)| {
        let seed: &Vec<u8> = seed.get(&seeds);
        body(&changed(seed, changes));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

#[test]
fn lines() {
    smoke("lines", fuzz::lines, 3000);
}

#[test]
fn session() {
    smoke("session", fuzz::session, 3000);
}

#[test]
fn configuration() {
    smoke("configuration", fuzz::configuration, 500);
}

#[test]
fn proxy() {
    smoke("proxy", fuzz::proxy, 10_000);
}
