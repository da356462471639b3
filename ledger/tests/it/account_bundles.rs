//! Bundles of one account's work: what it can prove of itself, to the coinbase and against receipts.

use ledger::verify::bundle::{self, BundleError, Sample};
use ledger::{Exporter, Over};
use serde_json::json;

use crate::bundles::{Falsehood, Lines, check_account, proof_of, world};
use crate::support::{World, pplns};

#[test]
fn an_accounts_proof_leads_to_the_coinbase() {
    let (world, hash) = world(pplns(100));
    let proof = check_account(&proof_of(&world, "alice", Over::Block(&hash), true)).unwrap();
    assert_eq!((proof.account.as_str(), proof.block, proof.slices), ("alice", Some(hash), (3, 6)));
    assert_eq!((proof.present, proof.shares, proof.listed, proof.hashed), (4, 12, 12, 12));
    assert_eq!((proof.work, proof.all_work), (87 + 88 + 89 + 90, 146 + 148 + 150 + 152));
    assert_eq!(proof.estimate.unwrap().claimed, proof.work);
    let bytes = proof_of(&world, "carol", Over::Slice(2), false);
    let proof = check_account(&bytes).unwrap();
    assert_eq!((proof.block, proof.shares, proof.work, proof.listed), (None, 1, 2, 0));
    assert_eq!((proof.root, proof.estimate), (world.forge.roots[&2], None));
    assert!(bundle::account(&mut &*bytes, Some("carol"), None, Sample::All).is_ok());
    assert!(bundle::account(&mut &*bytes, Some("bob"), None, Sample::All).is_err());
    // Slice 7 is bob's alone: alice's proof is the slice without her.
    let proof = check_account(&proof_of(&world, "alice", Over::Newest, true)).unwrap();
    assert_eq!((proof.present, proof.work, proof.all_work), (0, 0, 99));
    let exporter = Exporter::open(&world.path()).unwrap();
    for (name, over) in [("nobody", Over::Newest), ("bob", Over::Slice(8)), ("bob", Over::Slice(0))]
    {
        assert!(exporter.account(name, over, true, &mut Vec::new()).is_err());
    }
}

const ACCOUNT_FALSEHOODS: &[Falsehood] = &[
    ("more work than was rooted", |it| it.set("path", 0, "work", "88"), "the shares sum to 87"),
    ("more shares than were rooted", |it| it.set("path", 0, "shares", 2), "the shares sum to"),
    ("another name", |it| it.set("account", 0, "name", "mallory"), "has another root"),
    ("another position", |it| it.set("path", 0, "position", 1), "another root"),
    ("a position past the end", |it| it.set("path", 0, "position", 3), "is past the 3 accounts"),
    (
        "a path that is too short",
        |it| it.set("path", 0, "beside", json!([])),
        "the path is too short",
    ),
    (
        "a path that is too long",
        |it| {
            it.nth("path", 0)["beside"].as_array_mut().unwrap().push(json!(["00".repeat(32), "0"]));
        },
        "the path is too long",
    ),
    (
        "a neighbour with less work",
        |it| it.nth("path", 0)["beside"][0][1] = json!("1"),
        "slice 3 sums to",
    ),
    (
        "neighbours whose work was moved",
        |it| {
            it.nth("path", 0)["beside"][0][1] = json!("55");
            it.nth("path", 0)["beside"][1][1] = json!("4");
        },
        "has another root",
    ),
    ("other records", |it| it.flip("path", 0, "records", 3), "not those of the account's leaf"),
    ("a share of another account", |it| it.set("share", 0, "account", 2), "of another account"),
    (
        "shares in another order",
        |it| {
            let at = it.all("share")[0];
            it.0.swap(at, at + 1);
        },
        "out of order",
    ),
    ("a slice with more work", |it| it.set("slice", 0, "work", "147"), "slice 3 sums to 146"),
    ("a slice with more accounts", |it| it.set("slice", 0, "accounts", 4), ""),
    ("another root", |it| it.flip("slice", 3, "root", 3), "has another root"),
    ("a path of another account", |it| it.set("path", 0, "account", 2), "should be 1"),
    ("a root in the old form", |it| it.in_form(0, 1), "proves no account"),
    (
        "two accounts",
        |it| {
            let account = json!({"kind": "account", "id": 9, "name": "eve"});
            let at = it.all("account")[0];
            it.0.insert(at + 1, account);
        },
        "it names 2 accounts",
    ),
];

#[test]
fn every_named_falsehood_about_an_account_is_refused_with_its_reason() {
    let (world, hash) = world(pplns(100));
    let sound = proof_of(&world, "alice", Over::Block(&hash), true);
    for (name, change, reason) in ACCOUNT_FALSEHOODS {
        let mut lines = Lines::of(&sound);
        change(&mut lines);
        let bytes = lines.bytes();
        assert_ne!(bytes, sound, "{name}: nothing was changed");
        let Err(BundleError::Refused { why, .. }) = check_account(&bytes) else {
            panic!("{name}: it was not refused");
        };
        assert!(why.contains(reason), "{name}: refused because {why}");
    }
}

/// A receipt for shares in the open slice is held against the closed one: all of them are there, or
/// some were left out.
#[test]
fn shares_that_a_receipt_was_given_for_are_held_against_the_slice() {
    let mut world = World::new(pplns(100));
    let (alice, rig) = (world.worker("alice", "rig"), world.worker("alice", "rig2"));
    let bob = world.worker("bob", "rig");
    assert_eq!(world.reader().acknowledged("alice").unwrap(), None);
    world.commit(&[(bob, 4), (alice, 5), (rig, 6), (bob, 7)]);
    let receipt = world.reader().acknowledged("alice").unwrap().unwrap();
    assert_eq!((receipt.slice.get(), receipt.shares, receipt.last_share), (1, 2, 3));
    assert_eq!(receipt.work.get(), 11);
    world.commit(&[(alice, 8)]);
    world.close();
    let closed = world.reader().acknowledged("alice").unwrap().unwrap();
    assert_eq!((closed.slice.get(), closed.shares, closed.work.get()), (1, 3, 19));
    assert_eq!(world.reader().newest_slice().unwrap(), world.ledger.newest_slice());
    let bytes = proof_of(&world, "alice", Over::Slice(1), true);
    let check = |mut bytes: &[u8], receipt: &ledger::Acknowledged| {
        bundle::account(&mut bytes, Some("alice"), Some(receipt), Sample::All)
    };
    assert!(check(&bytes, &receipt).is_ok() && check(&bytes, &closed).is_ok());
    for (spoil, reason) in [
        (
            (|it| it.shares = 4) as fn(&mut ledger::Acknowledged),
            "the 4 shares of the receipt are not",
        ),
        (|it| it.records[0] ^= 1, "the 2 shares of the receipt are not the first in slice 1"),
        (|it| it.work = units::Work::new(12), "the 2 shares of the receipt are not"),
        (|it| it.slice = ledger::SliceIndex::new(2), "receipt in slice 2 are missing"),
    ] {
        let mut other = receipt.clone();
        spoil(&mut other);
        let error = check(&bytes, &other).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let sums = proof_of(&world, "alice", Over::Slice(1), false);
    assert!(check(&sums, &receipt).unwrap_err().to_string().contains("are missing"));
}
