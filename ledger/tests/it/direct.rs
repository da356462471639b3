//! Blocks whose coinbase pays accounts itself.

use bitcoin::{Address, Network};
use ledger::verify::bundle::{self, BundleError, Sample};
use ledger::{BlockId, Direct, Exporter, LedgerError, Over, SliceIndex, verify};
use serde_json::json;
use units::UnixMillis;

use crate::bundles::{Falsehood, Lines, check, exported};
use crate::support::{World, address, direct, pplns};

const REWARD: u64 = 10_000;

fn alice() -> Address {
    address(1)
}

fn bob() -> Address {
    address(2)
}

/// Alice with three quarters of the work, bob with the rest, in slice 1.
fn world() -> World {
    world_of(&alice().to_string())
}

/// The same with another name for alice.
fn world_of(alice: &str) -> World {
    let mut world = World::new(pplns(100));
    let (alice, bob) = (world.worker(alice, "r"), world.worker(&bob().to_string(), "r"));
    world.commit(&[(alice, 384), (bob, 128)]);
    world.close();
    world
}

fn find(world: &mut World, direct: &[Direct]) -> BlockId {
    let bob = world.worker(&bob().to_string(), "r");
    let candidate = world.forge.candidate_paying(bob, 1, REWARD, direct);
    world.ledger.candidate(&candidate).unwrap();
    candidate.hash
}

/// Immature, credited and paid.
fn money(world: &World, account: &Address) -> (u64, u64, u64) {
    let view = world.reader().account(&account.to_string()).unwrap().unwrap();
    (view.immature.to_sat(), view.balance.to_sat(), view.paid.to_sat())
}

#[test]
fn what_a_coinbase_pays_is_paid_when_it_is_mature_and_the_rest_is_owed() {
    let (alice, bob) = (alice(), bob());
    let mut world = world();
    // 9,900 by 3 : 1. Bob's output was too small for the coinbase, and 25 of alice's are left.
    let hash = find(&mut world, &[direct(&alice, 7_400)]);
    world.on_chain(hash, 1);
    let mut credits = world.credits(&hash);
    credits.sort();
    let mut must = [
        (alice.to_string(), "direct", 7_400),
        (alice.to_string(), "share", 25),
        (bob.to_string(), "share", 2_475),
        ("pool".to_owned(), "fee", 100),
    ];
    must.sort();
    assert_eq!(credits, must);
    assert_eq!(money(&world, &alice), (7_425, 0, 0));
    world.assert_sound();
    world.orphan(hash);
    assert_eq!(money(&world, &alice), (0, 0, 0));
    world.on_chain(hash, 100);
    assert_eq!(money(&world, &alice), (0, 25, 7_400));
    assert_eq!(money(&world, &bob), (0, 2_475, 0));
    let (from, to) = (UnixMillis::new(0), UnixMillis::new(u64::MAX));
    let statement = world.reader().statement(&alice.to_string(), from, to, 100).unwrap().unwrap();
    assert_eq!((statement.closing, statement.direct.to_sat()), (25, 7_400));
    let totals = world.reader().totals().unwrap();
    assert_eq!((totals.balance.to_sat(), totals.paid.to_sat()), (2_600, 7_400));
    world.assert_sound();
    world.reopen(pplns(100)).assert_sound();
}

#[test]
fn nobody_is_paid_more_than_the_window_gives() {
    let carol = address(3);
    for paid in [direct(&alice(), 7_426), direct(&carol, 1)] {
        let mut world = world();
        // Opens an account without work.
        world.worker(&carol.to_string(), "r");
        let hash = find(&mut world, &[paid]);
        let now = world.now();
        let error = world.ledger.on_chain(hash, 1, now).unwrap_err();
        assert!(
            matches!(&error, LedgerError::Damaged(why) if why.contains("more than its window"))
        );
        // Nothing was credited, and the ledger goes on.
        assert_eq!(money(&world, &alice()), (0, 0, 0));
        world.assert_sound();
    }
}

/// The problems that an audit finds.
fn problems(world: &World) -> Vec<String> {
    verify::ledger(&world.path()).unwrap().problems
}

/// Why the bundle of this block is refused, and why the first account's proof below it is.
fn refusals(world: &World, account: &str, hash: &BlockId) -> [String; 2] {
    let exporter = Exporter::open(&world.path()).unwrap();
    let (mut block, mut proof) = (Vec::new(), Vec::new());
    exporter.block(hash, &mut block).unwrap();
    exporter.account(account, Over::Block(hash), true, &mut proof).unwrap();
    let block = bundle::block(&mut &*block, None, Sample::All).unwrap_err();
    let proof = bundle::account(&mut &*proof, None, None, Sample::All).unwrap_err();
    [block.to_string(), proof.to_string()]
}

/// The pool pays somebody else's output and says that it was alice's.
#[test]
fn a_payment_to_another_script_than_the_accounts_is_found() {
    let mut world = world();
    let elsewhere = Direct { account: alice().to_string(), ..direct(&address(9), 7_400) };
    let hash = find(&mut world, &[elsewhere]);
    world.on_chain(hash, 1);
    let why = "coinbase pays account 1 by a script that is not its address's";
    let found = problems(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(why), "{found:?}");
    let refused = refusals(&world, &alice().to_string(), &hash);
    assert!(refused.iter().all(|one| one.contains(why)), "{refused:?}");
}

#[test]
fn a_payment_to_an_account_that_no_address_names_is_found() {
    let mut world = world_of("alice");
    let paid = Direct { account: "alice".to_owned(), ..direct(&alice(), 7_400) };
    let hash = find(&mut world, &[paid]);
    world.on_chain(hash, 1);
    let why = "coinbase cannot pay account 1: \"alice\" is no address";
    let found = problems(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(why), "{found:?}");
    let refused = refusals(&world, "alice", &hash);
    assert!(refused.iter().all(|one| one.contains(why)), "{refused:?}");
}

#[test]
fn an_output_that_is_two_payments_is_found() {
    let (alice, mut world) = (alice(), world());
    let finder = world.worker(&bob().to_string(), "r");
    // One key's address on another network is another account's name.
    let other = Address::from_script(&alice.script_pubkey(), Network::Bitcoin).unwrap();
    world.worker(&other.to_string(), "r");
    // Two outputs that are alike are two payments; one of them is not.
    let twice = [direct(&alice, 3_000), direct(&other, 3_000)];
    let candidate = world.forge.candidate_paying(finder, 1, REWARD, &twice);
    world.ledger.candidate(&candidate).unwrap();
    world.assert_sound();
    let mut candidate = world.forge.candidate_paying(finder, 1, REWARD, &twice[..1]);
    candidate.direct = twice.to_vec();
    world.ledger.candidate(&candidate).unwrap();
    let found = problems(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    let why = "coinbase does not pay account 3 3000 satoshis once more";
    assert!(found[0].contains(why), "{found:?}");
}

/// A proof names no account but its own, so the payments to others are held to the outputs alone.
#[test]
fn bundles_of_blocks_that_pay_accounts_are_believed() {
    let mut world = world();
    let hash = find(&mut world, &[direct(&alice(), 7_400), direct(&bob(), 2_000)]);
    world.on_chain(hash, 1);
    let exporter = Exporter::open(&world.path()).unwrap();
    let mut block = Vec::new();
    exporter.block(&hash, &mut block).unwrap();
    let proof = bundle::block(&mut &*block, Some(&hash), Sample::All).unwrap();
    assert_eq!(proof.credits.iter().filter(|credit| credit.1 == "direct").count(), 2);
    let mut mine = Vec::new();
    exporter.account(&bob().to_string(), Over::Block(&hash), true, &mut mine).unwrap();
    assert!(bundle::account(&mut &*mine, None, None, Sample::All).is_ok());
}

#[test]
fn the_window_of_a_slice_is_what_its_block_pays_by() {
    let (alice, bob) = (alice().to_string(), bob().to_string());
    let mut world = world();
    let slice = SliceIndex::new(1);
    let window = world.reader().window(pplns(100), slice).unwrap();
    let parts: Vec<_> =
        window.iter().map(|(id, name, weight)| (id.get(), &**name, *weight)).collect();
    assert_eq!(parts, [(1, &*alice, 3 << 62), (2, &*bob, 1 << 62)]);
    // Later work changes nothing of it.
    let bob = world.worker(&bob, "r");
    world.commit(&[(bob, 500)]);
    world.close();
    assert_eq!(world.reader().window(pplns(100), slice).unwrap(), window);
}

/// A coinbase pays an account itself: an output of its own, of the script of its name.
#[test]
fn every_falsehood_about_a_payment_by_the_coinbase_is_refused_with_its_reason() {
    let mut world = World::new(pplns(100));
    let alice = world.worker(&address(1).to_string(), "rig");
    world.commit(&[(alice, 512)]);
    world.close();
    let candidate = world.forge.candidate_paying(alice, 1, 10_000, &[direct(&address(1), 4_000)]);
    world.ledger.candidate(&candidate).unwrap();
    world.on_chain(candidate.hash, 1);
    let sound = exported(&world, &candidate.hash);
    assert!(check(&sound).is_ok());
    let falsehoods: &[Falsehood] = &[
        (
            "one output is two payments",
            |it| {
                let direct = it.nth("block", 0)["direct"].as_array_mut().unwrap();
                direct.push(direct[0].clone());
            },
            "the coinbase does not pay account 1 4000 satoshis once more",
        ),
        (
            "another script",
            |it| it.nth("block", 0)["direct"][0]["script"] = json!("51"),
            "the coinbase does not pay account 1 4000 satoshis",
        ),
        (
            "the pool's own output is an account's",
            |it| {
                let pool = json!({"account": 1, "script": "51", "satoshis": "3000"});
                it.nth("block", 0)["direct"] = json!([pool]);
            },
            "the coinbase pays account 1 by a script that is not its address's",
        ),
        (
            "another account",
            |it| it.nth("block", 0)["direct"][0]["account"] = json!(2),
            "the coinbase cannot pay account 2: \"pool\" is no address",
        ),
        (
            "an account that nobody knows",
            |it| it.nth("block", 0)["direct"][0]["account"] = json!(3),
            "account 3 has no name",
        ),
        (
            "another name",
            |it| it.set("account", 0, "name", address(2).to_string()),
            "the coinbase pays account 1 by a script that is not its address's",
        ),
    ];
    for (name, change, reason) in falsehoods {
        let mut lines = Lines::of(&sound);
        change(&mut lines);
        let Err(BundleError::Refused { why, .. }) = check(&lines.bytes()) else {
            panic!("{name}: it was not refused");
        };
        assert!(why.contains(reason), "{name}: refused because {why}");
    }
}
