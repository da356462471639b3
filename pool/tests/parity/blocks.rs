//! What a block says of itself, of its parent and of its witnesses.

use bitcoin::absolute::LockTime;
use bitcoin::block::Version;
use bitcoin::consensus::encode::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::script::{Builder, ScriptBuf};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, Sequence, TxMerkleNode, TxOut, Txid, Witness,
};

use super::pair::Pair;
use super::raw;
use super::rig::{anyone, commit, seal, solve, spend};

/// A reason, and the change that a block is refused for.
pub(crate) type Case = (&'static str, fn(&mut Block));

/// The most weight that a block may have.
const MAX_WEIGHT: u64 = 4_000_000;

fn coinbase_script(block: &mut Block, script: ScriptBuf) {
    block.txdata[0].input[0].script_sig = script;
}

fn nowhere(sats: u64) -> bitcoin::Transaction {
    spend(Txid::all_zeros(), sats)
}

async fn judge(pair: &mut Pair, cases: &[Case]) {
    for (reason, change) in cases {
        assert_eq!(pair.verdict(change).await, *reason);
    }
}

pub(crate) async fn what_a_block_says_of_itself(pair: &mut Pair) {
    judge(pair, &OWN_SHAPE).await;
    judge(pair, &OWN_TRANSACTIONS).await;
    proof_of_work(pair).await;
    merkle_roots(pair).await;
}

const OWN_SHAPE: [Case; 9] = [
    ("bad-blk-length", |block| {
        block.txdata.clear();
        block.header.merkle_root = TxMerkleNode::all_zeros();
    }),
    ("bad-blk-length", |block| {
        block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; 1_000_000]);
    }),
    ("bad-cb-missing", |block| block.txdata[0].input[0].previous_output.vout = 0),
    ("bad-cb-missing", |block| {
        block.txdata.insert(0, nowhere(1));
    }),
    ("bad-cb-multiple", |block| {
        let mut other = block.txdata[0].clone();
        other.input[0].sequence = Sequence::ZERO;
        block.txdata.push(other);
    }),
    ("bad-cb-length", |block| coinbase_script(block, ScriptBuf::from_bytes(vec![0x5d]))),
    ("bad-cb-length", |block| coinbase_script(block, ScriptBuf::new())),
    ("bad-cb-length", |block| {
        let script = Builder::new().push_int(13).push_slice([0; 75]).push_slice([0; 23]);
        coinbase_script(block, script.into_script());
    }),
    ("bad-blk-sigops", |block| {
        block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xac; 20_001]);
    }),
];

const OWN_TRANSACTIONS: [Case; 10] = [
    ("bad-txns-vout-empty", |block| block.txdata[0].output.clear()),
    ("bad-txns-vout-empty", |block| {
        let mut tx = nowhere(1);
        tx.output.clear();
        block.txdata.push(tx);
    }),
    ("bad-txns-vout-negative", |block| {
        block.txdata[0].output[0].value = Amount::from_sat(u64::MAX);
    }),
    ("bad-txns-vout-negative", |block| block.txdata.push(nowhere(1 << 63))),
    ("bad-txns-vout-toolarge", |block| {
        block.txdata[0].output[0].value = Amount::from_sat(2_100_000_000_000_001);
    }),
    ("bad-txns-vout-toolarge", |block| block.txdata.push(nowhere((1 << 63) - 1))),
    ("bad-txns-txouttotal-toolarge", |block| {
        let most = Amount::from_sat(2_100_000_000_000_000);
        let big = TxOut { value: most, script_pubkey: anyone() };
        block.txdata[0].output.push(big);
    }),
    ("bad-txns-inputs-duplicate", |block| {
        let mut tx = nowhere(1);
        tx.input.push(tx.input[0].clone());
        block.txdata.push(tx);
    }),
    ("bad-txns-prevout-null", |block| {
        let mut tx = nowhere(1);
        tx.input.push(tx.input[0].clone());
        tx.input[1].previous_output = OutPoint::null();
        block.txdata.push(tx);
    }),
    // The first fault is the one that is named.
    ("bad-txns-vout-negative", |block| {
        let mut tx = nowhere(u64::MAX);
        tx.input.push(tx.input[0].clone());
        block.txdata.push(tx);
    }),
];

async fn proof_of_work(pair: &mut Pair) {
    let mut block = pair.block(|_| {}).await;
    solve(&mut block, false);
    block.txdata[0].output.clear();
    assert_eq!(pair.submit(&block).await, "high-hash");
    let meaningless = [
        0,
        0x0100_00ff,
        0x0180_0000,
        0x2000_0000,
        0x2080_ffff,
        0x2100_ffff,
        0x2101_0000,
        0x2200_0100,
        0x2200_00ff,
        0x2300_0001,
        0xff12_3456,
        // Harder than it is worth.
        0x1d00_ffff,
        0x0301_0000,
    ];
    for bits in meaningless {
        let mut block = pair.block(|_| {}).await;
        block.header.bits = CompactTarget::from_consensus(bits);
        assert_eq!(pair.submit(&block).await, "high-hash", "{bits:08x}");
    }
}

async fn merkle_roots(pair: &mut Pair) {
    let mut block = pair.block(|_| {}).await;
    block.txdata[0].output.clear();
    assert_eq!(pair.submit(&block).await, "bad-txnmrklroot");
    block.txdata.clear();
    assert_eq!(pair.submit(&block).await, "bad-txnmrklroot");
    // A list whose end is repeated has the root of the list without it.
    for (count, repeated) in [(2, 1..2), (2, 2..3), (4, 4..5), (5, 4..6)] {
        let others = (1..=count).map(nowhere);
        let mut block = pair.block(|block| block.txdata.extend(others)).await;
        let again = block.txdata[repeated.clone()].to_vec();
        block.txdata.extend(again);
        let whole = block.header.merkle_root;
        let kept = block.compute_merkle_root().unwrap() == whole;
        let expected = if kept { "bad-txns-duplicate" } else { "bad-txnmrklroot" };
        assert_eq!(pair.submit(&block).await, expected, "{count} {repeated:?}");
    }
}

/// Encodings, of a transaction's beginning above all.
pub(crate) async fn what_its_bytes_say(pair: &mut Pair) {
    const MISSING: &str = "bad-txns-inputs-missingorspent";
    const FAILED: &str = "error -22: Block decode failed";
    let block = pair.block(|_| {}).await;
    let bytes = serialize(&block);
    for length in [0, 79, 80, 81, bytes.len() - 1] {
        assert_eq!(pair.submit_bytes(&bytes[..length]).await, FAILED, "{length} bytes");
    }
    let input = [&[0_u8; 36][..], &[0], &[0xff; 4]].concat();
    let output = [&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0x51][..]].concat();
    let one_in = [&[1][..], &input].concat();
    let one_out = [&[1][..], &output].concat();
    let witnessed = [&[0, 1][..], &one_in, &one_out, &[1, 0]].concat();
    let plain = raw::transaction(&[&one_in[..], &one_out].concat());
    let cases: [(&str, Vec<u8>); 10] = [
        ("unexpected-witness", raw::transaction(&witnessed)),
        ("bad-txns-vin-empty", raw::transaction(&[0, 0])),
        // Empty twice, with the mark of a witness between.
        (FAILED, raw::transaction(&[0, 1, 0, 0])),
        (FAILED, raw::transaction(&[&[0, 1, 0][..], &one_out].concat())),
        // A witness that holds nothing, flags that mean nothing, lengths in more bytes than need be.
        (FAILED, raw::transaction(&[&[0, 1][..], &one_in, &one_out, &[0]].concat())),
        (FAILED, raw::transaction(&[&[0, 2][..], &one_in, &one_out].concat())),
        (FAILED, raw::transaction(&[&[0, 3][..], &one_in, &one_out, &[1, 0]].concat())),
        (FAILED, raw::transaction(&[&[0xfd, 1, 0][..], &input, &one_out].concat())),
        (FAILED, raw::transaction(&[&[0xff; 9][..], &input, &one_out].concat())),
        (MISSING, plain.clone()),
    ];
    // The header of the first is the last's: it is not to be blamed for another's witness.
    for (number, (reason, transaction)) in cases.iter().enumerate() {
        let mut bare = block.clone();
        bare.txdata[0].output.truncate(1);
        bare.txdata[0].input[0].witness.clear();
        let id = if number == 0 { &plain } else { transaction };
        let bytes = raw::block_with(bare, transaction, id);
        assert_eq!(pair.submit_bytes(&bytes).await, *reason, "case {number}");
    }
    // What follows a block is not looked at.
    assert_eq!(pair.submit_bytes(&[&bytes[..], &[7; 9]].concat()).await, "accepted");
}

pub(crate) async fn what_its_parent_says(pair: &mut Pair) {
    let elsewhere = |block: &mut Block| block.header.prev_blockhash = BlockHash::all_zeros();
    assert_eq!(pair.verdict(elsewhere).await, "prev-blk-not-found");
    for bits in [0x207f_fffe, 0x2040_0000, 0x1f7f_ffff] {
        let bits = CompactTarget::from_consensus(bits);
        assert_eq!(pair.verdict(|block| block.header.bits = bits).await, "bad-diffbits");
    }
    let (min_time, now) = (pair.template().await.min_time, pair.now());
    for time in [min_time - 1, 1] {
        assert_eq!(pair.verdict(|block| block.header.time = time).await, "time-too-old");
    }
    for time in [now + 7_201, u32::MAX] {
        assert_eq!(pair.verdict(|block| block.header.time = time).await, "time-too-new");
    }
    for version in [3, 2, 1, 0, -1, i32::MIN] {
        let verdict = pair.verdict(|b| b.header.version = Version::from_consensus(version)).await;
        assert_eq!(verdict, format!("bad-version(0x{version:08x})"));
    }
    // Bits come before times, and times before versions.
    let both = |block: &mut Block| {
        block.header.time = 1;
        block.header.version = Version::from_consensus(1);
    };
    assert_eq!(pair.verdict(both).await, "time-too-old");
    lock_times_and_heights(pair).await;
    let min_time = pair.template().await.min_time;
    assert_eq!(pair.verdict(|block| block.header.time = min_time).await, "accepted");
    assert_eq!(pair.verdict(|block| block.header.time = now + 7_200).await, "accepted");
    for version in [4, 0x2000_0000, 0x3fff_e000, i32::MAX] {
        let verdict = pair.verdict(|b| b.header.version = Version::from_consensus(version)).await;
        assert_eq!(verdict, "accepted", "{version:08x}");
    }
}

async fn lock_times_and_heights(pair: &mut Pair) {
    let template = pair.template().await;
    let (height, median) = (template.height, template.min_time - 1);
    let locked = |lock: u32, sequence| {
        move |block: &mut Block| {
            block.txdata[0].lock_time = LockTime::from_consensus(lock);
            block.txdata[0].input[0].sequence = sequence;
        }
    };
    for lock in [height, 499_999_999, median, u32::MAX] {
        let verdict = pair.verdict(locked(lock, Sequence::ZERO)).await;
        assert_eq!(verdict, "bad-txns-nonfinal", "{lock}");
    }
    for wrong in [i64::from(height) - 1, i64::from(height) + 1, -1] {
        let script = Builder::new().push_int(wrong).push_slice([0; 4]).into_script();
        assert_eq!(pair.verdict(|b| coinbase_script(b, script)).await, "bad-cb-height");
    }
    // The height is a number of its own shortest form.
    let long = [2, u8::try_from(height).unwrap(), 0];
    let long = ScriptBuf::from_bytes(long.to_vec());
    assert_eq!(pair.verdict(|b| coinbase_script(b, long)).await, "bad-cb-height");
    let no_height = ScriptBuf::from_bytes(vec![0, 0]);
    assert_eq!(pair.verdict(|b| coinbase_script(b, no_height)).await, "bad-cb-height");
    for (lock, sequence) in
        [(height - 1, Sequence::ZERO), (median - 1, Sequence::ZERO), (u32::MAX, Sequence::MAX)]
    {
        let height = pair.template().await.height;
        let verdict = pair.verdict(locked(lock, sequence)).await;
        assert_eq!(verdict, "accepted", "{lock} at {height}");
    }
}

pub(crate) async fn what_its_witnesses_say(pair: &mut Pair) {
    let cases: [Case; 10] = [
        ("bad-witness-nonce-size", |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[0; 31]]);
        }),
        ("bad-witness-nonce-size", |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[0; 33]]);
        }),
        ("bad-witness-nonce-size", |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[0; 32], [0; 32]]);
        }),
        ("bad-witness-merkle-match", |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
        }),
        ("bad-witness-merkle-match", |block| {
            let mut script = block.txdata[0].output[1].script_pubkey.to_bytes();
            script[37] ^= 1;
            block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script);
        }),
        // The last commitment is the one that counts.
        ("bad-witness-merkle-match", |block| {
            let mut other = block.txdata[0].output[1].clone();
            let mut script = other.script_pubkey.to_bytes();
            script[6] ^= 1;
            other.script_pubkey = ScriptBuf::from_bytes(script);
            block.txdata[0].output.push(other);
        }),
        ("bad-witness-merkle-match", |block| block.txdata.push(nowhere(1))),
        ("unexpected-witness", |block| block.txdata[0].output.truncate(1)),
        // A byte short of a commitment.
        ("unexpected-witness", |block| {
            let script = block.txdata[0].output[1].script_pubkey.to_bytes();
            block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script[..37].to_vec());
        }),
        ("unexpected-witness", |block| {
            let mut tx = nowhere(1);
            tx.input[0].witness = Witness::from_slice(&[[1]]);
            block.txdata.push(tx);
            block.txdata[0].output.truncate(1);
            block.txdata[0].input[0].witness.clear();
        }),
    ];
    judge(pair, &cases).await;
    // None of these is remembered against the header.
    let good = pair.block(|_| {}).await;
    let mut mutated = good.clone();
    mutated.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
    for _ in 0..2 {
        assert_eq!(pair.submit(&mutated).await, "bad-witness-merkle-match");
    }
    assert_eq!(pair.submit(&good).await, "accepted");
    assert_eq!(pair.submit(&mutated).await, "duplicate");
    let cases: [Case; 4] = [
        // The node fills the reserved value in.
        ("accepted", |block| block.txdata[0].input[0].witness.clear()),
        ("accepted", |block| {
            block.txdata[0].output.truncate(1);
            block.txdata[0].input[0].witness.clear();
        }),
        // A longer script with the mark at its beginning commits as well.
        ("accepted", |block| {
            let mut script = block.txdata[0].output[1].script_pubkey.to_bytes();
            script.push(0);
            block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script);
        }),
        ("accepted", |block| {
            let wrong = TxOut { script_pubkey: anyone(), ..block.txdata[0].output[1].clone() };
            block.txdata[0].output.insert(0, wrong);
        }),
    ];
    judge(pair, &cases).await;
}

/// Up to the last byte.
pub(crate) async fn how_large_it_may_be(pair: &mut Pair) {
    let padded = |length: usize| {
        move |block: &mut Block| {
            let script_pubkey = ScriptBuf::from_bytes([vec![0x6a], vec![0; length]].concat());
            let output = TxOut { value: Amount::ZERO, script_pubkey };
            block.txdata[0].output.insert(1, output);
        }
    };
    let most = pair.block(padded(990_000)).await;
    let left = usize::try_from((MAX_WEIGHT - most.weight().to_wu()) / 4).unwrap();
    assert_eq!(pair.verdict(padded(990_000 + left + 1)).await, "bad-blk-weight");
    assert_eq!(pair.verdict(padded(990_000 + left + 100)).await, "bad-blk-length");
    let heavy = |length: usize| {
        move |block: &mut Block| {
            let mut tx = nowhere(1);
            tx.input[0].witness = Witness::from_slice(&[vec![0; length]]);
            block.txdata.push(tx);
            commit(block);
        }
    };
    assert_eq!(pair.verdict(heavy(3_990_000)).await, "bad-txns-inputs-missingorspent");
    assert_eq!(pair.verdict(heavy(4_100_000)).await, "bad-blk-weight");
    // A coinbase's own witness is no reason to blame the header.
    let mut block = pair.block(|_| {}).await;
    block.txdata[0].input[0].witness = Witness::from_slice(&[vec![0; 4_100_000]]);
    assert_eq!(pair.submit(&block).await, "bad-witness-nonce-size");
    let mut full = pair.block(padded(990_000 + left)).await;
    seal(&mut full);
    assert_eq!(full.weight().to_wu(), MAX_WEIGHT);
    assert_eq!(pair.submit(&full).await, "accepted");
}
