//! Which chain is the best, what a restart remembers, and what the difficulty does.

use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Amount, Block, Sequence};
use pool::devchain::{DevChain, Options};
use serde_json::{Value, json};

use super::rig::{FIXED, Rig, assemble, commit, seal, spend};

/// A second chain of `count` blocks from the present tip, not submitted.
fn branch(rig: &mut Rig, count: u32) -> Vec<Block> {
    let template = rig.template();
    let mut blocks: Vec<Block> = Vec::new();
    for step in 0..count {
        let mut next = template.clone();
        next.height += step;
        next.cur_time += step + 1;
        let mut block = assemble(&next);
        // Another coinbase than the main chain's at this height.
        block.txdata[0].input[0].sequence = Sequence::ZERO;
        if let Some(parent) = blocks.last() {
            block.header.prev_blockhash = parent.block_hash();
        }
        seal(&mut block);
        blocks.push(block);
    }
    blocks
}

fn confirmations(rig: &mut Rig, block: &Block) -> i64 {
    let hash = json!([block.block_hash().to_string()]);
    rig.call("getblockheader", hash).unwrap()["confirmations"].as_i64().unwrap()
}

#[test]
fn more_work_wins_and_the_first_seen_wins_a_tie() {
    let mut rig = Rig::new();
    rig.grow(3);
    let other = branch(&mut rig, 3);
    let own = rig.block(|_| {});
    assert_eq!(rig.submit(&own), "accepted");
    rig.grow(1);
    let tip = rig.tip();
    assert_eq!(rig.submit(&other[0]), "inconclusive");
    assert_eq!(rig.submit(&other[1]), "inconclusive");
    assert_eq!(rig.tip(), tip);
    assert_eq!(confirmations(&mut rig, &other[1]), -1);
    assert_eq!(rig.submit(&other[2]), "accepted");
    assert_eq!(rig.tip(), other[2].block_hash());
    assert_eq!(confirmations(&mut rig, &own), -1);
    assert_eq!(confirmations(&mut rig, &other[0]), 3);
    assert_eq!(rig.submit(&own), "duplicate");
}

#[test]
fn a_better_chain_with_an_invalid_block_is_left_again() {
    let mut rig = Rig::new();
    rig.grow(3);
    let mut other = branch(&mut rig, 3);
    rig.grow(2);
    let (tip, coins) = (rig.tip(), utxo_count(&mut rig));
    other[1].txdata[0].output[0].value += Amount::from_sat(1);
    seal(&mut other[1]);
    other[2].header.prev_blockhash = other[1].block_hash();
    seal(&mut other[2]);
    assert_eq!(rig.submit(&other[0]), "inconclusive");
    assert_eq!(rig.submit(&other[1]), "inconclusive");
    assert_eq!(rig.submit(&other[2]), "inconclusive");
    assert_eq!((rig.tip(), utxo_count(&mut rig)), (tip, coins));
    assert_eq!(rig.submit(&other[1]), "duplicate-invalid");
    assert_eq!(rig.submit(&other[2]), "duplicate-invalid");
}

fn utxo_count(rig: &mut Rig) -> u64 {
    rig.call("scantxoutset", json!(["start", []])).unwrap()["txouts"].as_u64().unwrap()
}

#[test]
fn a_reorganization_gives_coins_and_transactions_back() {
    let mut rig = Rig::new();
    let coins = rig.grow(102);
    let other = branch(&mut rig, 3);
    let before = utxo_count(&mut rig);
    let tx = spend(coins[0], 4_999_990_000);
    let block = rig.block(|block| {
        block.txdata.push(tx.clone());
        commit(block);
    });
    assert_eq!(rig.submit(&block), "accepted");
    let spent = json!([coins[0].to_string(), 0]);
    assert_eq!(rig.call("gettxout", spent.clone()).unwrap(), Value::Null);
    rig.submit(&other[0]);
    assert_eq!(rig.submit(&other[1]), "accepted");
    // The coin is back, and the transaction waits for the next block.
    let without_mempool = json!([coins[0].to_string(), 0, false]);
    assert_eq!(rig.call("gettxout", without_mempool).unwrap()["value"], json!(50.0));
    assert_eq!(rig.call("gettxout", spent).unwrap(), Value::Null);
    assert_eq!(utxo_count(&mut rig), before + 2);
    let id = tx.compute_txid().to_string();
    assert_eq!(rig.call("getrawmempool", json!([])).unwrap(), json!([id]));
    rig.grow(1);
    assert_eq!(rig.call("getrawmempool", json!([])).unwrap(), json!([]));
    assert_eq!(rig.call("gettxout", json!([id, 0])).unwrap()["confirmations"], json!(1));
}

#[test]
fn a_block_is_preferred_to_those_of_as_much_work_and_over_restarts() {
    let mut rig = Rig::new();
    rig.grow(3);
    let (first, second) = (branch(&mut rig, 2), rig.block(|block| block.header.time += 1));
    assert_eq!(rig.submit(&first[0]), "accepted");
    assert_eq!(rig.submit(&second), "inconclusive");
    let prefer = |rig: &mut Rig, block: &Block| {
        rig.call("preciousblock", json!([block.block_hash().to_string()]))
    };
    // Whoever was preferred last, as often as it is asked for.
    for block in [&second, &first[0], &second] {
        assert_eq!(prefer(&mut rig, block).unwrap(), Value::Null);
        assert_eq!(rig.tip(), block.block_hash());
    }
    let mut rig = rig.reopen(FIXED);
    assert_eq!(rig.tip(), second.block_hash());
    // Work counts for more.
    assert_eq!(rig.submit(&first[1]), "accepted");
    assert_eq!(prefer(&mut rig, &second).unwrap(), Value::Null);
    assert_eq!(rig.tip(), first[1].block_hash());
    let unknown = rig.call("preciousblock", json!(["07".repeat(32)])).unwrap_err();
    assert!(unknown.contains("-5") && unknown.contains("Block not found"), "{unknown}");
}

#[test]
fn verdicts_of_an_operator_hold_until_taken_back_and_over_restarts() {
    let mut rig = Rig::new();
    rig.grow(4);
    let (four, three) = (rig.tip(), rig.call("getblockhash", json!([3])).unwrap());
    rig.grow(2);
    let six = rig.tip();
    let four_text = json!([four.to_string()]);
    rig.call("invalidateblock", four_text.clone()).unwrap();
    assert_eq!(json!(rig.tip().to_string()), three);
    let mut rig = rig.reopen(FIXED);
    assert_eq!(json!(rig.tip().to_string()), three);
    rig.grow(1);
    let replacement = rig.tip();
    rig.call("reconsiderblock", four_text).unwrap();
    assert_eq!(rig.tip(), six);
    rig.call("invalidateblock", json!([six.to_string()])).unwrap();
    assert_ne!(rig.tip(), replacement);
    let rig = rig.reopen(FIXED);
    assert_eq!(rig.chain.tip().0, 5);
}

#[test]
fn a_restart_remembers_every_block_and_a_torn_tail_costs_only_itself() {
    let mut rig = Rig::new();
    let coins = rig.grow(110);
    let other = branch(&mut rig, 2);
    rig.grow(1);
    rig.submit(&other[0]);
    let id = rig
        .call("sendrawtransaction", json!([serialize_hex(&spend(coins[0], 4_999_990_000))]))
        .unwrap();
    rig.grow(1);
    let (tip, coins) = (rig.chain.tip(), utxo_count(&mut rig));
    let file = rig.path().join("devchain.blocks");
    let mut rig = rig.reopen(FIXED);
    assert_eq!((rig.chain.tip(), utxo_count(&mut rig)), (tip, coins));
    assert_eq!(rig.call("gettxout", json!([id, 0])).unwrap()["confirmations"], json!(1));
    // The side chain is known too: one more block on it makes a tie, two the best chain.
    assert_eq!(rig.submit(&other[0]), "duplicate");
    assert_eq!(rig.submit(&other[1]), "inconclusive");
    let whole = std::fs::metadata(&file).unwrap().len();
    let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    handle.set_len(whole - 7).unwrap();
    let mut rig = rig.reopen(FIXED);
    assert_eq!(rig.chain.tip(), tip);
    assert_eq!(rig.submit(&other[1]), "inconclusive");
}

#[test]
fn what_a_killed_process_had_answered_is_there() {
    let mut rig = Rig::new();
    rig.grow(5);
    let copy = tempfile::tempdir().unwrap();
    let name = "devchain.blocks";
    // As a kill would leave it: nobody closed the file.
    std::fs::copy(rig.path().join(name), copy.path().join(name)).unwrap();
    let again = DevChain::open(copy.path(), FIXED, rig.hand.clock()).unwrap();
    assert_eq!(again.tip(), rig.chain.tip());
}

#[test]
fn difficulty_follows_the_clock_and_old_offers_stay_good() {
    let options = Options { start_work: 64, ..Options::default() };
    let mut rig = Rig::with(options);
    let start = rig.template().bits;
    for _ in 0..10 {
        rig.hand.forward(Duration::from_millis(50));
        let block = rig.block(|_| {});
        assert_eq!(rig.submit(&block), "accepted");
    }
    let template = rig.template();
    assert!(work(template.bits) > work(start) * 2, "fast blocks make it harder");
    let before = assemble(&template);
    rig.hand.forward(Duration::from_secs(25));
    let eased = rig.template();
    assert!(work(eased.bits) < work(template.bits), "a long wait makes it easier");
    assert_ne!(eased.longpollid, template.longpollid);
    let mut too_easy = assemble(&eased);
    too_easy.header.bits = bitcoin::CompactTarget::from_consensus(0x207f_ffff);
    seal(&mut too_easy);
    assert_eq!(rig.submit(&too_easy), "bad-diffbits");
    let mut old = before;
    seal(&mut old);
    assert_eq!(rig.submit(&old), "accepted");
    let height = rig.chain.tip().0;
    let rig = rig.reopen(options);
    assert_eq!(rig.chain.tip().0, height);
}

fn work(bits: u32) -> u128 {
    units::Target::from_compact(bits).unwrap().work().get()
}

#[test]
fn transactions_are_taken_mined_and_refused_in_cores_words() {
    let mut rig = Rig::new();
    let coins = rig.grow(102);
    let send = |rig: &mut Rig, tx| rig.call("sendrawtransaction", json!([serialize_hex(&tx)]));
    let parent = spend(coins[0], 4_999_990_000);
    let mut child = spend(parent.compute_txid(), 4_999_980_000);
    assert_eq!(
        send(&mut rig, child.clone()).unwrap_err(),
        "error -25: bad-txns-inputs-missingorspent"
    );
    let id = send(&mut rig, parent.clone()).unwrap();
    assert_eq!(send(&mut rig, parent).unwrap(), id, "the call may be repeated");
    let rival = spend(coins[0], 4_999_000_000);
    assert_eq!(send(&mut rig, rival).unwrap_err(), "error -26: txn-mempool-conflict");
    let unsigned = send(&mut rig, child.clone()).unwrap_err();
    let reason = "mempool-script-verify-flag-failed (Witness program was passed an empty witness)";
    assert_eq!(unsigned, format!("error -26: {reason}"));
    let script = super::rig::anyone().to_bytes();
    child.input[0].witness = bitcoin::Witness::from_slice(&[script]);
    send(&mut rig, child.clone()).unwrap();
    let free = spend(coins[1], 5_000_000_000);
    assert_eq!(send(&mut rig, free).unwrap_err(), "error -26: min relay fee not met");
    let green = spend(coins[50], 1);
    let refusal = "error -26: bad-txns-premature-spend-of-coinbase";
    assert_eq!(send(&mut rig, green).unwrap_err(), refusal);

    let template = rig.template();
    assert_eq!(template.coinbase_value.to_sat(), 5_000_020_000);
    assert_eq!(template.transactions.len(), 2);
    rig.grow(1);
    assert_eq!(rig.call("getrawmempool", json!([])).unwrap(), json!([]));
    let refusal = "error -27: Transaction outputs already in utxo set";
    assert_eq!(send(&mut rig, child).unwrap_err(), refusal);
    let script = bitcoin::ScriptBuf::new_p2wsh(&super::rig::anyone().wscript_hash());
    let request = json!(["start", [format!("raw({})", hex::encode(script.as_bytes()))]]);
    let found = rig.call("scantxoutset", request).unwrap();
    assert_eq!(found["unspents"].as_array().unwrap().len(), 1);
    assert_eq!(found["total_amount"], json!(49.9998));
    let address = bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap();
    let found = rig.call("scantxoutset", json!(["start", [format!("addr({address})#x")]])).unwrap();
    assert_eq!(found["unspents"][0]["confirmations"], json!(1));
}

#[test]
fn blocks_are_shown_as_core_shows_them() {
    let mut rig = Rig::new();
    rig.grow(3);
    let block = rig.block(|_| {});
    rig.submit(&block);
    let hash = block.block_hash().to_string();
    assert_eq!(rig.call("getblock", json!([hash, 0])).unwrap(), json!(serialize_hex(&block)));
    let txid = json!(block.txdata[0].compute_txid().to_string());
    let shown = rig.call("getblock", json!([hash])).unwrap();
    assert_eq!((&shown["tx"], &shown["height"]), (&json!([txid]), &json!(4)));
    let weight = shown["weight"].as_u64().unwrap();
    let stripped = shown["strippedsize"].as_u64().unwrap();
    assert_eq!(weight, stripped * 3 + shown["size"].as_u64().unwrap());
    assert_eq!(shown.get("nextblockhash"), None);
    let full = rig.call("getblock", json!([hash, 2])).unwrap();
    assert_eq!(full["tx"][0]["vout"][0]["value"], json!(50.0));
    assert_eq!(full["tx"][0]["vout"][1]["scriptPubKey"]["type"], json!("nulldata"));
    assert!(full["tx"][0]["vin"][0]["coinbase"].as_str().unwrap().starts_with("54"));
    let parent = shown["previousblockhash"].clone();
    let header = rig.call("getblockheader", json!([parent])).unwrap();
    assert_eq!((&header["nextblockhash"], &header["confirmations"]), (&json!(hash), &json!(2)));
    let raw = rig.call("getblockheader", json!([hash, false])).unwrap();
    assert_eq!(raw, json!(serialize_hex(&block.header)));
    let genesis = rig.call("getblockhash", json!([0])).unwrap();
    assert!(rig.call("getblock", json!([genesis, 0])).unwrap().as_str().unwrap().len() > 500);
    let info = rig.call("getmininginfo", json!([])).unwrap();
    assert_eq!((&info["next"]["height"], &info["next"]["bits"]), (&json!(5), &json!("207fffff")));
    let error = rig.call("getblock", json!(["12"])).unwrap_err();
    assert!(error.contains("length 64"), "{error}");
}
