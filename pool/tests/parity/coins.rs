//! What the coins say: who spends what, when, and for how much.

use bitcoin::hashes::Hash as _;
use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_CHECKSIG, OP_PUSHNUM_2};
use bitcoin::script::{Builder, PushBytesBuf, ScriptBuf};
use bitcoin::{
    Amount, OutPoint, Sequence, Transaction, TxIn, TxOut, Txid, Witness, absolute::LockTime,
    transaction,
};

use super::pair::{Coin, Pair};
use super::rig::{anyone, commit};

const MISSING: &str = "bad-txns-inputs-missingorspent";

/// Spends `points` into one output of `sats` that anyone may spend.
pub(crate) fn spend(points: &[OutPoint], sats: u64) -> Transaction {
    spend_to(points, vec![TxOut { value: Amount::from_sat(sats), script_pubkey: anyone() }])
}

/// Spends `points` into `output`.
pub(crate) fn spend_to(points: &[OutPoint], output: Vec<TxOut>) -> Transaction {
    let input = |point: &OutPoint| TxIn {
        previous_output: *point,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let (version, lock_time) = (transaction::Version::TWO, LockTime::ZERO);
    Transaction { version, lock_time, input: points.iter().map(input).collect(), output }
}

fn first_output(tx: &Transaction) -> OutPoint {
    OutPoint { txid: tx.compute_txid(), vout: 0 }
}

pub(crate) async fn what_the_coins_say(pair: &mut Pair) {
    let Coin { point, sats } = pair.ripe_coin().await;
    let green = pair.green_coin();
    let nowhere = OutPoint { txid: Txid::all_zeros(), vout: 0 };
    let cases = [
        (MISSING, vec![spend(&[nowhere], 1)]),
        (MISSING, vec![spend(&[OutPoint { vout: 1, ..point }], 1)]),
        (MISSING, vec![spend(&[OutPoint { vout: 7, ..point }], 1)]),
        (MISSING, vec![spend(&[point, nowhere], 1)]),
        (MISSING, vec![spend(&[green.point, nowhere], 1)]),
        ("bad-txns-premature-spend-of-coinbase", vec![spend(&[green.point], 1)]),
        ("bad-txns-premature-spend-of-coinbase", vec![spend(&[green.point], u64::MAX >> 14)]),
        ("bad-txns-in-belowout", vec![spend(&[point], sats + 1)]),
        (MISSING, vec![spend(&[point], sats), spend(&[point], 1)]),
        (MISSING, {
            let parent = spend(&[point], sats);
            vec![spend(&[first_output(&parent)], sats), parent]
        }),
        ("bad-txns-in-belowout", {
            let parent = spend(&[point], sats);
            vec![parent.clone(), spend(&[first_output(&parent)], sats + 1)]
        }),
    ];
    for (reason, transactions) in &cases {
        assert_eq!(pair.verdict_with(transactions).await, *reason, "{transactions:?}");
    }
    maturity(pair).await;
    amounts(pair, Coin { point, sats }).await;
}

/// The block at which a coinbase may be spent first.
async fn maturity(pair: &mut Pair) {
    pair.grow(1).await;
    let young = pair.green_coin();
    pair.grow(98).await;
    let tx = [spend(&[young.point], young.sats)];
    assert_eq!(pair.verdict_with(&tx).await, "bad-txns-premature-spend-of-coinbase");
    pair.grow(1).await;
    assert_eq!(pair.verdict_with(&tx).await, "accepted");
    // Anyone may spend what was created, but no block may create it a second time.
    assert_eq!(pair.verdict_with(&tx).await, "bad-txns-BIP30");
    let [tx] = tx;
    assert_eq!(pair.verdict_with(&[spend(&[first_output(&tx)], 1)]).await, "accepted");
    assert_eq!(pair.verdict_with(&[spend(&[first_output(&tx)], 2)]).await, MISSING);
    assert_eq!(pair.verdict_with(&[tx]).await, MISSING);
}

async fn amounts(pair: &mut Pair, coin: Coin) {
    let fee = 12_345;
    let paying = spend(&[coin.point], coin.sats - fee);
    let child = spend(&[first_output(&paying)], coin.sats - 3 * fee);
    let with = |more: u64| {
        let transactions = [paying.clone(), child.clone()];
        move |block: &mut bitcoin::Block| {
            block.txdata[0].output[0].value += Amount::from_sat(more);
            block.txdata.extend(transactions);
            commit(block);
        }
    };
    assert_eq!(
        pair.verdict(|b| b.txdata[0].output[0].value += Amount::ONE_SAT).await,
        "bad-cb-amount"
    );
    assert_eq!(pair.verdict(with(3 * fee + 1)).await, "bad-cb-amount");
    // Less than everything may be taken.
    assert_eq!(pair.verdict(|b| b.txdata[0].output[0].value = Amount::ZERO).await, "accepted");
    assert_eq!(pair.verdict(with(3 * fee)).await, "accepted");
}

/// Locks of transactions: absolute ones and those of BIP 68.
pub(crate) async fn locks(pair: &mut Pair) {
    const BLOCKS: u32 = 5;
    const STEP: u64 = 512;
    let coin = pair.ripe_coin().await;
    let born = spend(&[coin.point], coin.sats);
    assert_eq!(pair.verdict_with(std::slice::from_ref(&born)).await, "accepted");
    let template = pair.template().await;
    let (height, median) = (template.height, template.min_time - 1);
    let locked = |lock: u32, sequence: Sequence, version: i32| {
        let mut tx = spend(&[first_output(&born)], coin.sats);
        tx.lock_time = LockTime::from_consensus(lock);
        tx.input[0].sequence = sequence;
        tx.version = transaction::Version(version);
        tx
    };
    for lock in [height, median, u32::MAX] {
        let tx = locked(lock, Sequence::ENABLE_LOCKTIME_NO_RBF, 2);
        assert_eq!(pair.verdict_with(&[tx]).await, "bad-txns-nonfinal", "{lock}");
    }
    let by_blocks = Sequence::from_consensus(BLOCKS);
    let by_time = Sequence::from_512_second_intervals(2);
    for (sequence, version) in [(by_blocks, 2), (by_blocks, 3), (by_blocks, -1), (by_time, 2)] {
        let tx = locked(0, sequence, version);
        assert_eq!(pair.verdict_with(&[tx]).await, "bad-txns-nonfinal", "{sequence} {version}");
    }
    // Its own block is the first; one short of the lock is too early.
    pair.grow(usize::try_from(BLOCKS).unwrap() - 2).await;
    assert_eq!(pair.verdict_with(&[locked(0, by_blocks, 2)]).await, "bad-txns-nonfinal");
    pair.grow(1).await;
    assert_eq!(pair.verdict_with(&[locked(0, by_time, 2)]).await, "bad-txns-nonfinal");
    pair.forward(2 * STEP).await;
    let mut blocks = 0;
    while pair.verdict_with(&[locked(0, by_time, 2)]).await == "bad-txns-nonfinal" {
        pair.grow(1).await;
        blocks += 1;
    }
    assert!((4..9).contains(&blocks), "{blocks} blocks until the median had moved");
    // Before version 2 a sequence number means nothing of the kind, nor with the highest bit.
    let coin = pair.ripe_coin().await;
    let mut old = spend(&[coin.point], coin.sats);
    old.version = transaction::Version::ONE;
    old.input[0].sequence = Sequence::from_consensus(0xffff);
    assert_eq!(pair.verdict_with(&[old.clone()]).await, "accepted");
    let mut off = spend(&[first_output(&old)], coin.sats);
    off.input[0].sequence = Sequence::from_consensus(0x8000_ffff);
    assert_eq!(pair.verdict_with(&[off]).await, "accepted");
}

/// Those that only the spent outputs show.
pub(crate) async fn signature_operations(pair: &mut Pair) {
    const MOST: usize = 80_000;
    let many = |count: usize| ScriptBuf::from_bytes(vec![0xac; count]);
    // Twenty each where the number of keys is not before it, that number where it is.
    let multi = Builder::new().push_opcode(OP_CHECKMULTISIG);
    let known = Builder::new().push_opcode(OP_PUSHNUM_2).push_opcode(OP_CHECKMULTISIG);
    let redeem = ScriptBuf::from_bytes(
        [multi.into_script().to_bytes(), known.into_script().to_bytes()].concat(),
    );
    let script =
        Builder::new().push_opcode(OP_CHECKSIG).push_opcode(OP_CHECKMULTISIG).into_script();
    let coin = pair.ripe_coin().await;
    let outputs = [redeem.to_p2sh(), script.to_p2wsh()]
        .map(|script_pubkey| TxOut { value: Amount::from_sat(coin.sats / 2), script_pubkey });
    let fund = spend_to(&[coin.point], outputs.to_vec());
    assert_eq!(pair.verdict_with(std::slice::from_ref(&fund)).await, "accepted");
    let point = |vout| OutPoint { txid: fund.compute_txid(), vout };
    // The scripts fail, but only where the count was not too high already.
    let failed = |pair_verdict: String| {
        assert!(pair_verdict.starts_with("block-script-verify-flag-failed"), "{pair_verdict}");
    };
    let mut by_hash = spend(&[point(0)], 1);
    let push = PushBytesBuf::try_from(redeem.to_bytes()).unwrap();
    by_hash.input[0].script_sig = Builder::new().push_slice(push).into_script();
    let mut by_witness = spend(&[point(1)], 1);
    by_witness.input[0].witness = Witness::from_slice(&[script.as_bytes()]);
    // Four for each in an output, four in a P2SH, one in a witness.
    for (tx, own) in [(by_hash, 4 * 22), (by_witness, 21)] {
        let left = (MOST - own) / 4;
        for (count, fits) in [(left, true), (left + 1, false)] {
            let block = pair.block(|block| {
                block.txdata[0].output[0].script_pubkey = many(count);
                block.txdata.push(tx.clone());
                commit(block);
            });
            let block = block.await;
            let verdict = pair.submit(&block).await;
            if fits { failed(verdict) } else { assert_eq!(verdict, "bad-blk-sigops") }
        }
    }
}
