//! Exported bundles: what comes out of a ledger is believed, and every named falsehood is refused
//! with its reason. An account's are in `account_bundles.rs`.

use ledger::verify::bundle::{self, AccountProof, BlockProof, BundleError, Sample};
use ledger::{BlockId, Exporter, Over, Scheme};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{REWARD, World, pplns};

/// A bundle as lines.
#[derive(Clone)]
pub(crate) struct Lines(pub(crate) Vec<Value>);

/// Three accounts, six slices, and a window of 512 hashes that begins inside slice 3.
pub(crate) fn world(scheme: Scheme) -> (World, BlockId) {
    let mut world = World::new(scheme);
    let workers = ["alice", "bob", "carol"].map(|name| world.worker(name, "rig"));
    let [alice, bob, carol] = workers;
    for round in 0..6 {
        world.commit(&[(alice, 40 + round), (bob, 31), (alice, 5)]);
        world.commit(&[(bob, 25), (carol, 1 + round), (alice, 40)]);
        world.close();
    }
    let hash = world.find(carol, 6, REWARD + 7);
    world.on_chain(hash, 1);
    world.commit(&[(bob, 99)]);
    world.close();
    world.assert_sound();
    (world, hash)
}

pub(crate) fn exported(world: &World, hash: &BlockId) -> Vec<u8> {
    let mut out = Vec::new();
    Exporter::open(&world.path()).unwrap().block(hash, &mut out).unwrap();
    out
}

pub(crate) fn check(bytes: &[u8]) -> Result<BlockProof, BundleError> {
    bundle::block(&mut &*bytes, None, Sample::All)
}

pub(crate) fn proof_of(world: &World, account: &str, over: Over<'_>, with_shares: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Exporter::open(&world.path()).unwrap().account(account, over, with_shares, &mut out).unwrap();
    out
}

pub(crate) fn check_account(bytes: &[u8]) -> Result<AccountProof, BundleError> {
    bundle::account(&mut &*bytes, None, None, Sample::All)
}

impl Lines {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        Self(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// As a liar would write them: the last line counts what is there.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let lines = self.0.len() - 1;
        if let Some(end) = self.0.last_mut().filter(|end| end["kind"] == "end") {
            end["lines"] = json!(lines);
        }
        self.0.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
    }

    /// Where the lines of a kind are.
    pub(crate) fn all(&self, kind: &str) -> Vec<usize> {
        (0..self.0.len()).filter(|at| self.0[*at]["kind"] == kind).collect()
    }

    /// The `nth` line of a kind.
    pub(crate) fn nth(&mut self, kind: &str, nth: usize) -> &mut Value {
        let at = self.all(kind)[nth];
        &mut self.0[at]
    }

    pub(crate) fn set(&mut self, kind: &str, nth: usize, key: &str, value: impl Into<Value>) {
        let line = self.nth(kind, nth);
        assert!(line.get(key).is_some(), "there is no {key} in {line}");
        line[key] = value.into();
    }

    pub(crate) fn text(&mut self, kind: &str, nth: usize, key: &str) -> String {
        self.nth(kind, nth)[key].as_str().unwrap().to_owned()
    }

    pub(crate) fn remove(&mut self, kind: &str, nth: usize) {
        let at = self.all(kind)[nth];
        self.0.remove(at);
    }

    /// Takes out a slice with all that belongs to it.
    pub(crate) fn remove_slice(&mut self, nth: usize) {
        let at = self.all("slice")[nth];
        let shares = self.0[at]["shares"].as_u64().unwrap();
        let length = (at + 1..self.0.len())
            .take_while(|at| ["row", "share"].contains(&self.0[*at]["kind"].as_str().unwrap()))
            .count();
        self.0.drain(at..=at + length);
        self.add_shares(-i64::try_from(shares).unwrap());
    }

    pub(crate) fn add_shares(&mut self, added: i64) {
        let said = self.0[0]["shares"].as_i64().unwrap();
        self.0[0]["shares"] = json!(said + added);
    }

    /// Writes a slice as earlier versions closed them.
    pub(crate) fn in_form(&mut self, nth: usize, form: u8) {
        self.without_instants(nth);
        self.set("slice", nth, "form", form);
    }

    pub(crate) fn without_instants(&mut self, nth: usize) {
        let slice = self.nth("slice", nth).as_object_mut();
        let taken =
            |slice: &mut serde_json::Map<_, _>| ["opened", "closed"].map(|key| slice.remove(key));
        assert!(slice.map(taken).is_some_and(|taken| taken.iter().all(Option::is_some)));
    }

    /// Takes a satoshi of one credit and adds it to another.
    pub(crate) fn move_satoshi(&mut self, from: usize, to: usize) {
        for (nth, by) in [(from, -1), (to, 1)] {
            let sats: i64 = self.text("credit", nth, "satoshis").parse().unwrap();
            self.set("credit", nth, "satoshis", (sats + by).to_string());
        }
    }

    /// Flips the lowest bit of a hexadecimal digit.
    pub(crate) fn flip(&mut self, kind: &str, nth: usize, key: &str, digit: usize) {
        let mut text = self.text(kind, nth, key).into_bytes();
        let value = char::from(text[digit]).to_digit(16).unwrap() ^ 1;
        text[digit] = u8::try_from(char::from_digit(value, 16).unwrap()).unwrap();
        self.set(kind, nth, key, String::from_utf8(text).unwrap());
    }
}

#[test]
fn a_bundle_proves_the_settlement_that_the_ledger_has() {
    let (world, hash) = world(pplns(100));
    let bytes = exported(&world, &hash);
    let proof = check(&bytes).unwrap();
    assert_eq!((proof.hash, proof.reward, proof.slice), (hash, REWARD + 7, 6));
    // Slices of 142, 144, 146, 148, 150 and 152: 512, one block, reach back into the third.
    assert_eq!((proof.slices, proof.shares, proof.hashed, proof.window), (4, 24, 24, 1 << 64));
    assert_eq!(proof.credits, world.credits(&hash));
    assert!(bundle::block(&mut &*bytes, Some(&hash), Sample::All).is_ok());
    let claimed: Vec<_> =
        proof.work.iter().map(|(name, work)| (name.as_str(), work.claimed)).collect();
    assert_eq!(claimed, [("alice", 354), ("bob", 224), ("carol", 18)]);
    let sample = Sample::Some { wanted: 5, seed: [1; 32] };
    assert_eq!(bundle::block(&mut &*bytes, None, sample).unwrap().hashed, 5);
}

#[test]
fn a_bundle_of_a_solo_block_and_one_of_an_empty_window_are_believed() {
    let (world, hash) = world(Scheme::Solo);
    let proof = check(&exported(&world, &hash)).unwrap();
    assert_eq!((proof.slices, proof.window), (1, 0));
    assert_eq!(proof.credits, world.credits(&hash));
    let mut world = World::new(pplns(100));
    let alice = world.worker("alice", "rig");
    let hash = world.find(alice, 0, REWARD);
    let unsettled = Exporter::open(&world.path()).unwrap().block(&hash, &mut Vec::new());
    assert!(unsettled.unwrap_err().to_string().contains("is not settled"));
    world.on_chain(hash, 1);
    let proof = check(&exported(&world, &hash)).unwrap();
    assert_eq!((proof.slices, proof.shares), (0, 0));
    assert_eq!(proof.credits, world.credits(&hash));
}

/// Each falsehood, what it does to a sound bundle, and a part of the reason it is refused for.
pub(crate) type Falsehood = (&'static str, fn(&mut Lines), &'static str);

const FALSEHOODS: &[Falsehood] = &[
    ("a satoshi more", |it| it.set("credit", 1, "satoshis", "1"), "should be the credit of"),
    (
        "a satoshi moved from one account to another",
        |it| it.move_satoshi(1, 0),
        "should be the credit of",
    ),
    ("a credit left out", |it| it.remove("credit", 1), "should be the credit of"),
    ("the last credit left out", |it| it.remove("credit", 3), "is missing"),
    (
        "a credit twice",
        |it| {
            let last = it.nth("credit", 3).clone();
            let at = it.all("credit")[3];
            it.0.insert(at, last);
        },
        "is one too many",
    ),
    ("a credit for something else", |it| it.set("credit", 1, "purpose", "gift"), "no purpose"),
    ("a share moved to another account", |it| it.set("share", 0, "account", 2), "its row says"),
    (
        "a share moved to another account, and the rows with it",
        |it| {
            it.set("share", 0, "account", 2);
            let work: u128 = it.text("share", 0, "work").parse().unwrap();
            for (nth, shares, work) in [(0, 2, 87 - work), (1, 3, 56 + work)] {
                it.set("row", nth, "shares", shares);
                it.set("row", nth, "work", work.to_string());
            }
        },
        "slice 3 has another root",
    ),
    ("a share of no account in the slice", |it| it.set("share", 0, "account", 9), "has no row"),
    ("a share's work changed", |it| it.set("share", 1, "work", "30"), "its row says"),
    (
        "a share's work changed, and all sums with it",
        |it| {
            it.set("share", 1, "work", "30");
            it.set("row", 1, "work", "55");
            it.set("slice", 0, "work", "145");
        },
        "slice 3 has another root",
    ),
    ("a share of no work", |it| it.set("share", 1, "work", "0"), "is of no work"),
    (
        "a share that is worth more than its header proves",
        |it| it.set("share", 1, "work", (u128::MAX >> 1).to_string()),
        "does not prove",
    ),
    // It may be one of the few that prove as much all the same, and is then not below the root.
    ("another header for a share", |it| it.flip("share", 2, "header", 20), "s"),
    (
        "a header of another block's bits",
        |it| {
            let header = it.text("share", 2, "header");
            let header = format!("{}ffff001d{}", &header[..144], &header[152..]);
            it.set("share", 2, "header", header);
        },
        "is not of a block of 512",
    ),
    (
        "a share's network work changed",
        |it| it.set("share", 2, "network_work", "511"),
        "is not of a block of 511",
    ),
    ("a share's instant changed", |it| it.set("share", 2, "at", 7), "slice 3 has another root"),
    (
        "a share twice",
        |it| {
            let header = it.text("share", 0, "header");
            it.set("share", 2, "header", header);
        },
        "is there twice",
    ),
    (
        "a share left out",
        |it| {
            it.remove("share", 2);
            it.add_shares(-1);
        },
        "should be 15",
    ),
    (
        "the last share of a slice left out",
        |it| {
            it.remove("share", 23);
            it.add_shares(-1);
        },
        "a share is missing here: a credit",
    ),
    (
        "two shares in another order",
        |it| {
            let (first, second) = (it.all("share")[0], it.all("share")[1]);
            it.0.swap(first, second);
        },
        "out of order",
    ),
    (
        "two shares in another order, and their numbers with them",
        |it| {
            let (first, second) = (it.all("share")[0], it.all("share")[2]);
            it.0.swap(first, second);
            it.set("share", 0, "number", 13);
            it.set("share", 2, "number", 15);
        },
        "slice 3 has another root",
    ),
    ("fewer shares than are said", |it| it.add_shares(1), "1 shares are missing"),
    ("more shares than are said", |it| it.add_shares(-1), "one more than the first line says"),
    (
        "another name for an account",
        |it| it.set("account", 1, "name", "mallory"),
        "slice 3 has another root",
    ),
    ("an account without a name", |it| it.remove("account", 1), "has no name"),
    (
        "accounts out of order",
        |it| {
            let at = it.all("account")[0];
            it.0.swap(at, at + 1);
        },
        "out of order",
    ),
    (
        "rows out of order",
        |it| {
            let at = it.all("row")[0];
            it.0.swap(at, at + 1);
        },
        "out of order",
    ),
    (
        "an account that never hashed",
        |it| {
            it.set("slice", 0, "accounts", 4);
            let row = json!({"kind": "row", "account": 4, "shares": 0, "work": "0"});
            let at = it.all("row")[2];
            it.0.insert(at + 1, row);
        },
        "slice 3 has another root",
    ),
    (
        "a row with more work than its shares",
        |it| it.set("row", 0, "work", "1000"),
        "its row says 3 of 1000",
    ),
    ("a slice's work changed", |it| it.set("slice", 1, "work", "1"), "slice 4 sums to 148"),
    (
        "sums past the end of their range",
        |it| {
            for nth in [0, 1] {
                it.set("share", nth, "work", u128::MAX.to_string());
            }
        },
        "does not prove",
    ),
    ("a number past its range", |it| it.set("row", 0, "work", "9".repeat(40)), "no line"),
    ("the oldest slice left out", |it| it.remove_slice(0), "does not reach back over the window"),
    ("a slice between left out", |it| it.remove_slice(1), "slice 5 follows, should be 4"),
    ("the newest slice left out", |it| it.remove_slice(3), "the newest slice is 5, should be 6"),
    (
        "the newest slice left out, and the terms with it",
        |it| {
            it.remove_slice(3);
            it.set("block", 0, "slice", 5);
        },
        "commits to something else, should be to slice 5",
    ),
    ("another root", |it| it.flip("slice", 0, "root", 0), "slice 3 has another root"),
    ("another root before it", |it| it.flip("slice", 0, "previous", 0), "slice 3 has another root"),
    (
        "a chain of roots that is broken",
        |it| it.flip("slice", 1, "previous", 0),
        "slice 4 does not name the root before it",
    ),
    (
        "a slice in the old form, whose root is over accounts alone",
        |it| it.in_form(0, 1),
        "slice 3 has another root",
    ),
    ("a slice in the form without instants", |it| it.in_form(0, 2), "slice 3 has another root"),
    (
        "a slice in the old form that has instants",
        |it| it.set("slice", 0, "form", 2),
        "slice 3 says instants as its form 2 does not",
    ),
    ("a slice in a form to come", |it| it.set("slice", 0, "form", 4), "nobody knows the form 4"),
    ("an empty slice", |it| it.set("slice", 0, "shares", 0), "is empty"),
    ("another header for the block", |it| it.flip("block", 0, "header", 0), "the block's "),
    (
        "another coinbase",
        |it| {
            let length = it.text("block", 0, "coinbase").len();
            it.flip("block", 0, "coinbase", length - 1);
        },
        "does not commit to this coinbase",
    ),
    (
        "bytes behind the coinbase",
        |it| {
            let coinbase = it.text("block", 0, "coinbase") + "00";
            it.set("block", 0, "coinbase", coinbase);
        },
        "not one transaction",
    ),
    (
        "a branch that does not belong there",
        |it| it.set("block", 0, "branch", json!(["00".repeat(32)])),
        "does not commit to this coinbase",
    ),
    ("a smaller reward", |it| it.set("block", 0, "reward", "5000000006"), "the coinbase pays"),
    ("another fee", |it| it.set("block", 0, "fee_basis_points", 99), "should be the credit of"),
    (
        "a fee of more than all",
        |it| it.set("block", 0, "fee_basis_points", 10_001),
        "more than all",
    ),
    ("another fee account", |it| it.set("block", 0, "fee_account", 1), "should be the credit of"),
    ("another scheme", |it| it.set("block", 0, "scheme", "tribute"), "nobody knows the scheme"),
    (
        "solo after all",
        |it| {
            it.set("block", 0, "scheme", "solo");
            it.set("block", 0, "window_hundredths", 0);
        },
        "further than the window",
    ),
    (
        "a shorter window",
        |it| it.set("block", 0, "window_hundredths", 80),
        "further than the window",
    ),
    (
        "a longer window",
        |it| it.set("block", 0, "window_hundredths", 200),
        "does not reach back over the window",
    ),
    (
        "a window that is a little longer",
        |it| it.set("block", 0, "window_hundredths", 101),
        "should be the credit of",
    ),
    (
        "another network work",
        |it| it.set("block", 0, "network_work", "1024"),
        "network work is 1024, should be 512",
    ),
    ("a key that nobody knows", |it| it.0[1]["note"] = json!("trust me"), "unknown field `note`"),
    ("a line of a kind that nobody knows", |it| it.set("row", 0, "kind", "gift"), "no line"),
    ("a bundle of something else", |it| it.0[0]["of"] = json!("account"), "should be of: block"),
    ("a bundle in a format to come", |it| it.0[0]["format"] = json!(2), "format 2"),
    ("no first line", |it| drop(it.0.remove(0)), "not the first line"),
    ("no block", |it| it.remove("block", 0), "the block is missing here: an account"),
    ("no last line", |it| drop(it.0.pop()), "cut short"),
];

#[test]
fn every_named_falsehood_is_refused_with_its_reason() {
    let (world, hash) = world(pplns(100));
    refuse_all(&exported(&world, &hash), FALSEHOODS);
    assert!(FALSEHOODS.len() >= 60);
}

/// That a sound bundle is believed, and with each of the falsehoods in it refused for its reason.
pub(crate) fn refuse_all(sound: &[u8], falsehoods: &[Falsehood]) {
    assert_eq!(Lines::of(sound).bytes().len(), sound.len());
    assert!(check(&Lines::of(sound).bytes()).is_ok());
    for (name, change, reason) in falsehoods {
        let mut lines = Lines::of(sound);
        change(&mut lines);
        let bytes = lines.bytes();
        assert_ne!(bytes, sound, "{name}: nothing was changed");
        let Err(BundleError::Refused { why, .. }) = check(&bytes) else {
            panic!("{name}: it was not refused");
        };
        assert!(why.contains(reason), "{name}: refused because {why}");
    }
}

#[test]
fn a_bundle_of_another_block_is_refused() {
    let (world, hash) = world(pplns(100));
    let bytes = exported(&world, &hash);
    let error = bundle::block(&mut &*bytes, Some(&[7; 32]), Sample::All).unwrap_err();
    assert!(error.to_string().starts_with("line 2: it is the block "), "{error}");
    let missing = Exporter::open(&world.path()).unwrap().block(&[7; 32], &mut Vec::new());
    assert!(missing.unwrap_err().to_string().contains("was found"));
}

/// A header that proves less is found by hashing all of them, and by its root in any case.
#[test]
fn a_header_that_is_not_sampled_is_still_below_the_root() {
    let (world, hash) = world(pplns(100));
    let mut lines = Lines::of(&exported(&world, &hash));
    lines.flip("share", 2, "header", 80);
    let bytes = lines.clone().bytes();
    let nobody = Sample::Some { wanted: 0, seed: [0; 32] };
    let error = bundle::block(&mut &*bytes, None, nobody).unwrap_err().to_string();
    assert!(error.contains("slice 3 has another root"), "{error}");
    for nth in [0, 1] {
        lines.set("share", nth, "work", u128::MAX.to_string());
    }
    let bytes = lines.bytes();
    let error = bundle::block(&mut &*bytes, None, nobody).unwrap_err().to_string();
    assert!(error.contains("a share is worth more than 2^64 blocks"), "{error}");
}

/// The whole ledger lies, root and coinbase and all: only hashing the headers shows it.
#[test]
fn work_that_no_header_proves_is_found_below_a_committed_root() {
    let mut world = World::new(pplns(100));
    let (alice, mallory) = (world.worker("alice", "rig"), world.worker("mallory", "rig"));
    world.commit(&[(alice, 40)]);
    let mut padded = world.forge.share(mallory, 2);
    padded.work = units::Work::new(u128::from(u64::MAX));
    world.ledger.commit(&[padded]).unwrap();
    world.close();
    let hash = world.find(alice, 1, REWARD);
    world.on_chain(hash, 1);
    let bytes = exported(&world, &hash);
    let error = check(&bytes).unwrap_err().to_string();
    assert!(error.contains("share 2 does not prove 18446744073709551615 hashes"), "{error}");
    let nobody = Sample::Some { wanted: 0, seed: [0; 32] };
    assert!(bundle::block(&mut &*bytes, None, nobody).is_ok());
}

/// The same of one share twice.
#[test]
fn a_share_that_is_there_twice_is_found_below_a_committed_root() {
    let mut world = World::new(pplns(100));
    let alice = world.worker("alice", "rig");
    let share = world.forge.share(alice, 40);
    world.ledger.commit(&[share.clone(), share]).unwrap();
    world.close();
    let hash = world.find(alice, 1, REWARD);
    world.on_chain(hash, 1);
    let error = check(&exported(&world, &hash)).unwrap_err().to_string();
    assert!(error.contains("share 2 is there twice"), "{error}");
}

/// And of the block: mined on one slice, settled by another.
#[test]
fn a_block_that_commits_to_another_slice_is_refused() {
    let mut world = World::new(pplns(100));
    let alice = world.worker("alice", "rig");
    for _ in 0..2 {
        world.commit(&[(alice, 40)]);
        world.close();
    }
    let first = world.forge.roots[&1];
    world.forge.roots.insert(2, first);
    let hash = world.find(alice, 2, REWARD);
    world.on_chain(hash, 1);
    let error = check(&exported(&world, &hash)).unwrap_err().to_string();
    assert!(error.contains("commits to something else, should be to slice 2"), "{error}");
}

#[test]
fn bytes_behind_the_end_and_lines_past_the_limit_are_refused() {
    let (world, hash) = world(pplns(100));
    let mut bytes = exported(&world, &hash);
    bytes.push(b' ');
    assert!(check(&bytes).unwrap_err().to_string().contains("something follows the end"));
    let endless = std::io::Read::take(std::io::repeat(b'['), 1 << 30);
    let error = bundle::block(&mut std::io::BufReader::new(endless), None, Sample::All);
    assert!(error.unwrap_err().to_string().contains("more than 4194304 bytes"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever byte is changed or cut, the bundle is refused, or says the very same.
    #[test]
    fn no_byte_can_be_changed(at: prop::sample::Index, flip in 1_u8.., cut in any::<bool>()) {
        thread_local! {
            static SOUND: (Vec<u8>, BlockProof) = {
                let (world, hash) = world(pplns(100));
                let bytes = exported(&world, &hash);
                let proof = check(&bytes).unwrap();
                (bytes, proof)
            };
        }
        SOUND.with(|(sound, proof)| {
            let mut bytes = sound.clone();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
                prop_assert!(check(&bytes).is_err());
            } else {
                bytes[at] ^= flip;
                if let Ok(other) = check(&bytes) {
                    // The block's height is the pool's word alone: nothing depends on it.
                    prop_assert_eq!(BlockProof { height: proof.height, ..other }, proof.clone());
                }
            }
            Ok(())
        })?;
    }
}
