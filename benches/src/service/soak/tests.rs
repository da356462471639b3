//! What makes a soak a failure.

use std::collections::BTreeMap;

use super::*;

fn options() -> Options {
    Options {
        seconds: 40.0,
        rate: 2000.0,
        connections: 400,
        seed: Some(1),
        pool: None,
        dir: None,
        json: false,
    }
}

/// The beginning of a fault, and what makes it one.
type Spoil = (&'static str, fn(&mut Findings));

/// Of a pool that did nothing wrong.
fn sound() -> Findings {
    let places = usize::try_from(house::WORKERS).unwrap();
    let mut tally = Tally::new(places);
    tally.workers[3] = Shares { accepted: 10, unheard: 2 };
    (tally.returned, tally.resumed) = (5, 4);
    let mut workers = vec![0; places];
    workers[3] = 11;
    Findings {
        seed: 1,
        options: options(),
        elapsed: Duration::from_secs(40),
        blocks: 2,
        tally,
        rule: Rule::of(Duration::from_secs(40)),
        samples: vec![Sample { resident: 50 << 20, files: 430 }; 40],
        cpu: Duration::from_secs(1),
        files: [30, 31],
        left: (0, 0),
        longest_pause: Duration::ZERO,
        ledger: Ok(11),
        workers,
        kept: None,
    }
}

#[test]
fn whatever_is_not_as_it_must_be_is_a_fault() {
    assert_eq!(sound().faults(), [""; 0]);
    let spoil: [Spoil; 10] = [
        ("the ledger has 9", |soak| soak.ledger = Ok(9)),
        ("the ledger has 13", |soak| soak.ledger = Ok(13)),
        ("ended with", |soak| soak.ledger = Err("the pool ended with 101".to_owned())),
        ("worker 3: ", |soak| soak.workers[3] = 9),
        ("worker 4: ", |soak| soak.workers[4] = 1),
        ("no workers", |soak| soak.workers.clear()),
        ("files open after", |soak| soak.files = [30, 60]),
        ("could not go", |soak| soak.left = (1, 1)),
        ("nobody was resumed", |soak| soak.tally.resumed = 0),
        ("refused", |soak| soak.tally.faults = BTreeMap::from([("refused".to_owned(), 1)])),
    ];
    for (expected, spoil) in spoil {
        let mut soak = sound();
        spoil(&mut soak);
        let faults = soak.faults();
        assert!(faults.len() == 1 && faults[0].contains(expected), "{expected}: {faults:?}");
    }
}

#[test]
fn growth_is_a_fault() {
    let mut soak = sound();
    soak.samples.truncate(30);
    soak.samples.extend([Sample { resident: 90 << 20, files: 900 }; 10]);
    let faults = soak.faults().join("\n");
    assert!(faults.contains("memory grew") && faults.contains("open files grew"), "{faults}");
}

#[test]
fn the_table_and_the_object_say_the_same() {
    let soak = sound();
    let (text, value) = (soak.text(), soak.json());
    assert!(text.contains("10 accepted") && text.contains("faults") && text.contains("none"));
    assert_eq!((&value["accepted"], &value["ledger_shares"]), (&10.into(), &11.into()));
    assert_eq!(value["resident_bytes"]["flat"], true);
    assert_eq!(value["faults"], serde_json::json!([]));
}
