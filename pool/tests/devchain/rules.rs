//! Every kind of invalid block that the chain knows, and the words it is refused with: those of
//! Bitcoin Core's `validation.cpp`, in its order of checks.

use std::time::Duration;

use bitcoin::block::Version;
use bitcoin::hashes::Hash as _;
use bitcoin::script::{Builder, ScriptBuf};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, Sequence, TxMerkleNode, TxOut, Witness,
    absolute::LockTime, transaction,
};
use serde_json::{Value, json};

use super::rig::{Rig, anyone, assemble, commit, seal, solve, spend};

/// A reason, and the change that a block is refused for.
type Case = (&'static str, fn(&mut Block));

fn coinbase_script(block: &mut Block, script: ScriptBuf) {
    block.txdata[0].input[0].script_sig = script;
}

#[test]
fn what_a_block_says_of_itself() {
    let mut rig = Rig::new();
    rig.grow(20);
    let cases: [Case; 14] = [
        ("bad-blk-length", |block| {
            block.txdata.clear();
            block.header.merkle_root = TxMerkleNode::all_zeros();
        }),
        ("bad-cb-missing", |block| {
            block.txdata[0].input[0].previous_output.vout = 0;
        }),
        ("bad-cb-multiple", |block| {
            let mut other = block.txdata[0].clone();
            other.input[0].sequence = Sequence::ZERO;
            block.txdata.push(other);
        }),
        ("bad-txns-vout-empty", |block| block.txdata[0].output.clear()),
        ("bad-txns-vout-negative", |block| {
            block.txdata[0].output[0].value = Amount::from_sat(u64::MAX);
        }),
        ("bad-txns-vout-toolarge", |block| {
            block.txdata[0].output[0].value = Amount::from_sat(2_100_000_000_000_001);
        }),
        ("bad-txns-txouttotal-toolarge", |block| {
            let big =
                TxOut { value: Amount::from_sat(2_100_000_000_000_000), script_pubkey: anyone() };
            block.txdata[0].output.extend([big.clone(), big]);
        }),
        ("bad-txns-inputs-duplicate", |block| {
            let mut tx = spend(bitcoin::Txid::all_zeros(), 1);
            tx.input.push(tx.input[0].clone());
            block.txdata.push(tx);
        }),
        ("bad-cb-length", |block| coinbase_script(block, ScriptBuf::from_bytes(vec![0x51]))),
        ("bad-cb-length", |block| {
            let script = Builder::new().push_int(21).push_slice([0; 75]).push_slice([0; 30]);
            coinbase_script(block, script.into_script());
        }),
        ("bad-txns-prevout-null", |block| {
            let mut tx = spend(bitcoin::Txid::all_zeros(), 1);
            tx.input.push(tx.input[0].clone());
            tx.input[1].previous_output = OutPoint::null();
            block.txdata.push(tx);
        }),
        ("bad-blk-sigops", |block| {
            block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xac; 20_001]);
        }),
        ("bad-blk-length", |block| {
            block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; 1_000_000]);
        }),
        ("bad-cb-height", |block| {
            coinbase_script(block, Builder::new().push_int(20).push_slice([0; 4]).into_script());
        }),
    ];
    let tip = rig.tip();
    for (reason, change) in cases {
        assert_eq!(rig.verdict(change), reason);
    }
    assert_eq!(rig.tip(), tip);
}

#[test]
fn proof_of_work_comes_first_and_the_merkle_root_next() {
    let mut rig = Rig::new();
    let mut block = rig.block(|_| {});
    solve(&mut block, false);
    block.txdata[0].output.clear();
    assert_eq!(rig.submit(&block), "high-hash");
    for bits in [0_u32, 0x2080_ffff, 0x2100_ffff, 0xff12_3456] {
        let mut block = rig.block(|_| {});
        block.header.bits = CompactTarget::from_consensus(bits);
        assert_eq!(rig.submit(&block), "high-hash", "{bits:08x}");
    }
    let mut block = rig.block(|_| {});
    block.txdata[0].output.clear();
    assert_eq!(rig.submit(&block), "bad-txnmrklroot");
    let mut block = rig.block(|block| {
        let tx = spend(bitcoin::Txid::all_zeros(), 1);
        block.txdata.extend([tx, spend(bitcoin::Txid::all_zeros(), 2)]);
    });
    let repeated = block.txdata[2].clone();
    block.txdata.push(repeated);
    assert_eq!(rig.submit(&block), "bad-txns-duplicate");
    assert_eq!(
        rig.call("submitblock", json!(["00"])).unwrap_err(),
        "error -22: Block decode failed"
    );
}

#[test]
fn what_the_parent_says() {
    let mut rig = Rig::new();
    rig.grow(12);
    assert_eq!(
        rig.verdict(|block| block.header.prev_blockhash = BlockHash::all_zeros()),
        "prev-blk-not-found"
    );
    let bits = CompactTarget::from_consensus(0x207f_fffe);
    assert_eq!(rig.verdict(|block| block.header.bits = bits), "bad-diffbits");
    let min_time = rig.template().min_time;
    assert_eq!(rig.verdict(|block| block.header.time = min_time - 1), "time-too-old");
    let now = rig.template().cur_time;
    assert_eq!(rig.verdict(|block| block.header.time = now + 7_201), "time-too-new");
    for (version, reason) in [
        (3, "bad-version(0x00000003)"),
        (0, "bad-version(0x00000000)"),
        (-1, "bad-version(0xffffffff)"),
    ] {
        let verdict = rig.verdict(|block| block.header.version = Version::from_consensus(version));
        assert_eq!(verdict, reason);
    }
    let late = rig.verdict(|block| {
        block.txdata[0].lock_time = LockTime::from_height(13).unwrap();
        block.txdata[0].input[0].sequence = Sequence::ZERO;
    });
    assert_eq!(late, "bad-txns-nonfinal");
    assert_eq!(rig.verdict(|block| block.header.time = min_time), "accepted");
    assert_eq!(rig.verdict(|block| block.header.time = now + 7_200), "accepted");
    let fitting = rig.verdict(|block| {
        block.txdata[0].lock_time = LockTime::from_height(14).unwrap();
        block.txdata[0].input[0].sequence = Sequence::ZERO;
    });
    assert_eq!(fitting, "accepted");
}

#[test]
fn a_block_that_failed_its_context_is_remembered_but_a_mutated_one_is_not() {
    let mut rig = Rig::new();
    rig.grow(1);
    let wrong = rig.block(|block| {
        coinbase_script(block, Builder::new().push_int(77).push_slice([0; 4]).into_script());
    });
    assert_eq!(rig.submit(&wrong), "bad-cb-height");
    assert_eq!(rig.submit(&wrong), "duplicate-invalid");
    let child = |rig: &mut Rig, parent: &Block| {
        rig.block(|block| block.header.prev_blockhash = parent.block_hash())
    };
    let below = child(&mut rig, &wrong);
    assert_eq!(rig.submit(&below), "bad-prevblk");

    let good = rig.block(|_| {});
    let mut mutated = good.clone();
    mutated.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
    assert_eq!(rig.submit(&mutated), "bad-witness-merkle-match");
    assert_eq!(rig.submit(&mutated), "bad-witness-merkle-match");
    assert_eq!(rig.submit(&good), "accepted");
    assert_eq!(rig.submit(&good), "duplicate");
    assert_eq!(rig.submit(&mutated), "duplicate");
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    assert_eq!(rig.submit(&genesis), "duplicate");
}

#[test]
fn what_the_witnesses_say() {
    let mut rig = Rig::new();
    rig.grow(1);
    let cases: [Case; 5] = [
        ("bad-witness-nonce-size", |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[0; 31]]);
        }),
        ("bad-witness-nonce-size", |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[0; 32], [0; 32]]);
        }),
        ("bad-witness-merkle-match", |block| {
            let mut script = block.txdata[0].output[1].script_pubkey.to_bytes();
            script[20] ^= 1;
            block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script);
        }),
        ("unexpected-witness", |block| {
            block.txdata[0].output.truncate(1);
        }),
        ("bad-blk-weight", |block| {
            for sats in [1, 2] {
                let mut heavy = spend(bitcoin::Txid::all_zeros(), sats);
                heavy.input[0].witness = Witness::from_slice(&[vec![0; 2_000_000]]);
                block.txdata.push(heavy);
            }
            commit(block);
        }),
    ];
    for (reason, change) in cases {
        assert_eq!(rig.verdict(change), reason);
    }
    // A coinbase without its reserved value gets it from the node, and one that commits to
    // nothing may stand where no witness is.
    assert_eq!(rig.verdict(|block| block.txdata[0].input[0].witness.clear()), "accepted");
    let plain = rig.verdict(|block| {
        block.txdata[0].input[0].witness.clear();
        block.txdata[0].output.truncate(1);
    });
    assert_eq!(plain, "accepted");
}

#[test]
fn what_the_coins_say() {
    let mut rig = Rig::new();
    let coins = rig.grow(103);
    let (ripe, green) = (coins[2], coins[7]);
    let with = |tx: transaction::Transaction| {
        move |block: &mut Block| {
            block.txdata.push(tx);
            commit(block);
        }
    };
    let full = 5_000_000_000;
    let missing = spend(bitcoin::Txid::all_zeros(), 1);
    assert_eq!(rig.verdict(with(missing)), "bad-txns-inputs-missingorspent");
    assert_eq!(rig.verdict(with(spend(green, 1))), "bad-txns-premature-spend-of-coinbase");
    assert_eq!(rig.verdict(with(spend(ripe, full + 1))), "bad-txns-in-belowout");
    assert_eq!(rig.verdict(with(spend(coins[1], full))), "accepted");
    assert_eq!(rig.verdict(with(spend(coins[1], full))), "bad-txns-BIP30");
    assert_eq!(rig.verdict(with(spend(coins[1], 1))), "bad-txns-inputs-missingorspent");
    let greedy = rig.verdict(|block| block.txdata[0].output[0].value += Amount::ONE_SAT);
    assert_eq!(greedy, "bad-cb-amount");
    let mut young = spend(ripe, full);
    young.input[0].sequence = Sequence::from_height(200);
    assert_eq!(rig.verdict(with(young)), "bad-txns-nonfinal");
    let mut young = spend(ripe, full);
    young.input[0].sequence = Sequence::from_512_second_intervals(5_000);
    assert_eq!(rig.verdict(with(young)), "bad-txns-nonfinal");
    let twice = rig.verdict(|block| {
        block.txdata.extend([spend(ripe, full), spend(ripe, 1)]);
        commit(block);
    });
    assert_eq!(twice, "bad-txns-inputs-missingorspent");
    // The block as a whole was refused: the coin is still there.
    let fee = rig.verdict(|block| {
        block.txdata.push(spend(ripe, full - 1000));
        block.txdata[0].output[0].value += Amount::from_sat(1000);
        commit(block);
    });
    assert_eq!(fee, "accepted");
}

#[test]
fn scripts_are_run_after_the_amounts_are_right() {
    let mut rig = Rig::new();
    let coins = rig.grow(101);
    let spent = spend(coins[0], 4_000_000_000);
    let locked = spent.compute_txid();
    rig.verdict(|block| {
        block.txdata.push(spent);
        commit(block);
    });
    let program = anyone();
    let with = |witness: &[Vec<u8>], extra: u64| {
        let mut tx = spend(locked, 4_000_000_000);
        tx.input[0].witness = Witness::from_slice(witness);
        move |block: &mut Block| {
            block.txdata.push(tx);
            block.txdata[0].output[0].value += Amount::from_sat(extra);
            commit(block);
        }
    };
    let failed = |why: &str| format!("block-script-verify-flag-failed ({why})");
    let empty = rig.verdict(with(&[], 0));
    assert_eq!(empty, failed("Witness program was passed an empty witness"));
    assert_eq!(rig.verdict(with(&[vec![0]], 0)), failed("Witness program hash mismatch"));
    assert_eq!(rig.verdict(with(&[vec![0]], 1)), "bad-cb-amount");
    let unclean = rig.verdict(with(&[vec![1], program.to_bytes()], 0));
    assert_eq!(unclean, failed("Stack size must be exactly one after execution"));
    assert_eq!(rig.verdict(with(&[program.to_bytes()], 0)), "accepted");
}

#[test]
fn a_block_that_failed_its_coins_is_remembered() {
    let mut rig = Rig::new();
    rig.grow(1);
    let greedy = rig.block(|block| block.txdata[0].output[0].value += Amount::ONE_SAT);
    assert_eq!(rig.submit(&greedy), "bad-cb-amount");
    assert_eq!(rig.submit(&greedy), "duplicate-invalid");
    let below = rig.block(|block| block.header.prev_blockhash = greedy.block_hash());
    assert_eq!(rig.submit(&below), "bad-prevblk");
}

#[test]
fn proposals_are_judged_without_work_and_change_nothing() {
    let mut rig = Rig::new();
    rig.grow(1);
    let mut propose = |change: fn(&mut Block)| {
        let mut block = assemble(&rig.template());
        change(&mut block);
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        solve(&mut block, false);
        let data = bitcoin::consensus::encode::serialize_hex(&block);
        let request = json!([{"mode": "proposal", "data": data}]);
        (rig.call("getblocktemplate", request).unwrap(), rig.tip() == block.block_hash())
    };
    assert_eq!(propose(|_| {}), (Value::Null, false));
    let greedy = propose(|block| block.txdata[0].output[0].value += Amount::ONE_SAT);
    assert_eq!(greedy.0, json!("bad-cb-amount"));
    let elsewhere = propose(|block| block.header.prev_blockhash = BlockHash::all_zeros());
    assert_eq!(elsewhere.0, json!("inconclusive-not-best-prevblk"));
    assert_eq!(propose(|_| {}), (Value::Null, false));
}

#[test]
fn many_blocks_in_one_second_still_find_a_time() {
    let mut rig = Rig::new();
    for _ in 0..60 {
        rig.hand.forward(Duration::from_millis(10));
        let mut block = assemble(&rig.template());
        seal(&mut block);
        assert_eq!(rig.submit(&block), "accepted");
    }
}
