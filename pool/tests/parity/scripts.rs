//! Scripts: each is an output of a transaction that was mined, and a block that spends it.

use bitcoin::hashes::{Hash as _, hash160};
use bitcoin::opcodes::all as op;
use bitcoin::script::{Builder, PushBytesBuf, Script, ScriptBuf};
use bitcoin::sighash::{EcdsaSighashType, TapSighashType};
use bitcoin::{
    Amount, OutPoint, PubkeyHash, Sequence, Transaction, TxOut, Witness, absolute::LockTime,
    transaction,
};

use super::coins::{spend, spend_to};
use super::keys::{internal_key, output_key, public, sign_base, sign_taproot, sign_v0};
use super::pair::{Coin, Pair};

/// What each output holds.
const SATS: u64 = 100_000;
const OK: &str = "accepted";
const FALSE: &str =
    "Script evaluated without error but finished with a false/empty top stack element";
const MISMATCH: &str = "Witness program hash mismatch";
const DER: &str = "Non-canonical DER signature";
const LOCK: &str = "Locktime requirement not satisfied";
const EMPTY: &str = "Witness program was passed an empty witness";

/// Makes a transaction fit to spend an output.
type Open = Box<dyn Fn(&mut Transaction, &TxOut)>;

/// The output's script, what the spending transaction does to be allowed, and the verdict:
/// `accepted`, or why the script fails.
struct Case {
    lock: ScriptBuf,
    open: Open,
    verdict: &'static str,
}

fn case(
    lock: impl Into<ScriptBuf>,
    verdict: &'static str,
    open: impl Fn(&mut Transaction, &TxOut) + 'static,
) -> Case {
    Case { lock: lock.into(), open: Box::new(open), verdict }
}

/// Makes an output for each script; returns where they are.
async fn fund(pair: &mut Pair, locks: impl Iterator<Item = ScriptBuf>) -> Vec<OutPoint> {
    let outputs = locks.map(|script_pubkey| TxOut { value: Amount::from_sat(SATS), script_pubkey });
    let Coin { point, .. } = pair.ripe_coin().await;
    let tx = spend_to(&[point], outputs.collect());
    assert_eq!(pair.verdict_with(std::slice::from_ref(&tx)).await, OK);
    let txid = tx.compute_txid();
    (0_u32..).zip(&tx.output).map(|(vout, _)| OutPoint { txid, vout }).collect()
}

pub(crate) async fn named(pair: &mut Pair) {
    let mut cases = plain();
    cases.extend(before_segwit());
    cases.extend(by_script_hash());
    cases.extend(multiple());
    cases.extend(version_zero());
    cases.extend(taproot());
    cases.extend(locks());
    let points = fund(pair, cases.iter().map(|case| case.lock.clone())).await;
    for (number, (case, point)) in cases.iter().zip(points).enumerate() {
        let spent = TxOut { value: Amount::from_sat(SATS), script_pubkey: case.lock.clone() };
        let mut tx = spend(&[point], SATS);
        (case.open)(&mut tx, &spent);
        let expected = match case.verdict {
            OK => OK.to_owned(),
            why => format!("block-script-verify-flag-failed ({why})"),
        };
        let verdict = pair.verdict_with(&[tx]).await;
        assert_eq!(verdict, expected, "case {number}: {}", case.lock.to_asm_string());
    }
}

fn builder() -> Builder {
    Builder::new()
}

fn bytes(script: &[u8]) -> ScriptBuf {
    ScriptBuf::from_bytes(script.to_vec())
}

fn push(script: &Script) -> Builder {
    builder().push_slice(PushBytesBuf::try_from(script.to_bytes()).unwrap())
}

/// A fault in each group of opcodes.
fn plain() -> Vec<Case> {
    let faults: [(&[u8], &'static str); 24] = [
        (&[], FALSE),
        (&[0x00], FALSE),
        (&[0x01, 0x80], FALSE),
        (&[0x51], OK),
        (&[0x4f], OK),
        (&[0x00, 0x69], "Script failed an OP_VERIFY operation"),
        (&[0x51, 0x52, 0x88], "Script failed an OP_EQUALVERIFY operation"),
        (&[0x51, 0x52, 0x9d], "Script failed an OP_NUMEQUALVERIFY operation"),
        (&[0x51, 0x6a], "OP_RETURN was encountered"),
        (&[0x51, 0x63], "Invalid OP_IF construction"),
        (&[0x51, 0x67], "Invalid OP_IF construction"),
        (&[0x51, 0x68], "Invalid OP_IF construction"),
        (&[0x76], "Operation not valid with the current stack size"),
        (&[0x51, 0x6c], "Operation not valid with the current altstack size"),
        (&[0x51, 0x7e], "Attempted to use a disabled opcode"),
        (&[0x51, 0x50], "Opcode missing or not understood"),
        (&[0x51, 0x65], "Opcode missing or not understood"),
        (&[0x51, 0xba], "Opcode missing or not understood"),
        (&[0x51, 0x02, 0x01], "Opcode missing or not understood"),
        (&[0x51, 0x4c], "Opcode missing or not understood"),
        (&[0x05, 1, 2, 3, 4, 5, 0x8b], "Script number overflowed or is non-minimally encoded"),
        // Not run, and not minded but for what is never allowed.
        (&[0x51, 0x00, 0x63, 0x6a, 0x50, 0xba, 0x68], OK),
        (&[0x51, 0x00, 0x63, 0x85, 0x68], "Attempted to use a disabled opcode"),
        (&[0x51, 0xb0, 0xb3, 0xb9, 0x61], OK),
    ];
    let mut cases: Vec<Case> =
        faults.map(|(script, verdict)| case(bytes(script), verdict, |_, _| {})).into();
    let long = [&[0x51][..], &[0x61; 202]].concat();
    cases.push(case(bytes(&long[..202]), OK, |_, _| {}));
    cases.push(case(bytes(&long), "Operation limit exceeded", |_, _| {}));
    cases.push(case(bytes(&[0x51; 1_000]), OK, |_, _| {}));
    cases.push(case(bytes(&[0x51; 1_001]), "Stack size limit exceeded", |_, _| {}));
    let large = |length: u8| [&[0x4d, length, 2][..], &[1; 512], &vec![1; length.into()]].concat();
    cases.push(case(bytes(&large(8)), OK, |_, _| {}));
    cases.push(case(bytes(&large(9)), "Push value size limit exceeded", |_, _| {}));
    let unexpected = "Witness provided for non-witness script";
    cases.push(case(bytes(&[0x51]), unexpected, |tx, _| {
        tx.input[0].witness = Witness::from_slice(&[[1]]);
    }));
    cases.push(case(bytes(&[0x61]), FALSE, |tx, _| tx.input[0].script_sig = bytes(&[0x00])));
    cases.push(case(bytes(&[0x61]), OK, |tx, _| tx.input[0].script_sig = bytes(&[0x51])));
    cases
}

fn pay_to_key_hash() -> ScriptBuf {
    ScriptBuf::new_p2pkh(&public(1).pubkey_hash())
}

/// Signs as `seed` with `hash_type`, and names the key of seed 1.
fn open_key_hash(seed: u8, hash_type: u8) -> impl Fn(&mut Transaction, &TxOut) {
    move |tx, spent| {
        let signature = sign_base(tx, &spent.script_pubkey, seed, hash_type);
        tx.input[0].script_sig = builder().push_slice(signature).push_key(&public(1)).into_script();
    }
}

fn before_segwit() -> Vec<Case> {
    // With and without a name; the last is that of other chains.
    let hash_types = [1, 2, 3, 0x81, 0x82, 0x83, 0, 4, 0x80, 0x1f, 0x41];
    let mut cases: Vec<Case> =
        hash_types.map(|kind| case(pay_to_key_hash(), OK, open_key_hash(1, kind))).into();
    cases.push(case(pay_to_key_hash(), FALSE, open_key_hash(2, 1)));
    let verify = "Script failed an OP_EQUALVERIFY operation";
    cases.push(case(ScriptBuf::new_p2pkh(&PubkeyHash::all_zeros()), verify, open_key_hash(1, 1)));
    cases.push(case(pay_to_key_hash(), DER, |tx, spent| {
        let mut signature = sign_base(tx, &spent.script_pubkey, 1, 1).as_bytes().to_vec();
        signature.insert(0, 0x30);
        let signature = PushBytesBuf::try_from(signature).unwrap();
        tx.input[0].script_sig = builder().push_slice(signature).push_key(&public(1)).into_script();
    }));
    // An output that is changed after it was signed.
    cases.push(case(pay_to_key_hash(), FALSE, |tx, spent| {
        open_key_hash(1, 1)(tx, spent);
        tx.output[0].value -= Amount::ONE_SAT;
    }));
    cases.push(case(pay_to_key_hash(), OK, |tx, spent| {
        open_key_hash(1, 2)(tx, spent);
        tx.output[0].value -= Amount::ONE_SAT;
    }));
    let separated = builder().push_opcode(op::OP_CODESEPARATOR).push_key(&public(1));
    let separated = separated.push_opcode(op::OP_CHECKSIG).into_script();
    cases.push(case(separated, OK, |tx, _| {
        let after = builder().push_key(&public(1)).push_opcode(op::OP_CHECKSIG).into_script();
        let signature = sign_base(tx, &after, 1, 1);
        tx.input[0].script_sig = builder().push_slice(signature).into_script();
    }));
    let pay_to_key = builder().push_key(&public(1)).push_opcode(op::OP_CHECKSIG).into_script();
    cases.push(case(pay_to_key.clone(), FALSE, |tx, _| tx.input[0].script_sig = bytes(&[0])));
    cases.push(case(pay_to_key, DER, |tx, _| tx.input[0].script_sig = bytes(&[0x51])));
    let no_key = builder().push_int(1).push_opcode(op::OP_CHECKSIG).push_opcode(op::OP_NOT);
    cases.push(case(no_key.into_script(), OK, |tx, spent| {
        let signature = sign_base(tx, &spent.script_pubkey, 1, 1);
        tx.input[0].script_sig = builder().push_slice(signature).into_script();
    }));
    cases
}

fn by_script_hash() -> Vec<Case> {
    let one = bytes(&[0x51]);
    let nested = ScriptBuf::new_p2wpkh(&public(1).wpubkey_hash().unwrap());
    let open_nested = |seed: u8| {
        move |tx: &mut Transaction, spent: &TxOut| {
            let redeem = ScriptBuf::new_p2wpkh(&public(1).wpubkey_hash().unwrap());
            tx.input[0].script_sig = push(&redeem).into_script();
            let signature =
                sign_v0(tx, &pay_to_key_hash(), spent.value, seed, EcdsaSighashType::All);
            tx.input[0].witness = Witness::from_slice(&[signature, public(1).to_bytes()]);
        }
    };
    vec![
        case(one.to_p2sh(), OK, |tx, _| {
            tx.input[0].script_sig = push(&bytes(&[0x51])).into_script();
        }),
        case(one.to_p2sh(), FALSE, |tx, _| {
            tx.input[0].script_sig = push(&bytes(&[0x52])).into_script();
        }),
        case(one.to_p2sh(), "Operation not valid with the current stack size", |_, _| {}),
        case(bytes(&[0]).to_p2sh(), FALSE, |tx, _| {
            tx.input[0].script_sig = push(&bytes(&[0])).into_script();
        }),
        case(one.to_p2sh(), "Only push operators allowed in signatures", |tx, _| {
            tx.input[0].script_sig = bytes(&[0x61, 0x01, 0x51]);
        }),
        case(one.to_p2sh(), "Witness provided for non-witness script", |tx, _| {
            tx.input[0].script_sig = push(&bytes(&[0x51])).into_script();
            tx.input[0].witness = Witness::from_slice(&[[1]]);
        }),
        case(nested.to_p2sh(), OK, open_nested(1)),
        case(nested.to_p2sh(), FALSE, open_nested(2)),
        case(nested.to_p2sh(), "Witness requires only-redeemscript scriptSig", move |tx, spent| {
            open_nested(1)(tx, spent);
            let script = [&[0x51], tx.input[0].script_sig.as_bytes()].concat();
            tx.input[0].script_sig = bytes(&script);
        }),
    ]
}

/// Two of three.
fn multi_script() -> ScriptBuf {
    let keys = builder().push_int(2).push_key(&public(1)).push_key(&public(2)).push_key(&public(3));
    keys.push_int(3).push_opcode(op::OP_CHECKMULTISIG).into_script()
}

fn multiple() -> Vec<Case> {
    let open = |dummy: i64, seeds: &'static [u8]| {
        move |tx: &mut Transaction, spent: &TxOut| {
            let signatures = seeds.iter().map(|seed| sign_base(tx, &spent.script_pubkey, *seed, 1));
            let start = builder().push_int(dummy);
            let script = signatures.fold(start, Builder::push_slice);
            tx.input[0].script_sig = script.into_script();
        }
    };
    let counts: [(&[u8], &'static str); 6] = [
        (&[0, 0, 0x15, 0xae], "Operation not valid with the current stack size"),
        (&[0, 0, 0x01, 0x15, 0xae], "Pubkey count negative or limit exceeded"),
        (&[0, 0, 0x4f, 0xae], "Pubkey count negative or limit exceeded"),
        (&[0, 0x51, 0, 0xae], "Signature count negative or greater than pubkey count"),
        (&[0, 0x4f, 0, 0xae], "Signature count negative or greater than pubkey count"),
        (&[0, 0, 0, 0xae], OK),
    ];
    let mut cases: Vec<Case> =
        counts.map(|(script, verdict)| case(bytes(script), verdict, |_, _| {})).into();
    // The push of 21 bytes in the first takes what is not there.
    cases[0].verdict = "Opcode missing or not understood";
    cases.extend([
        case(multi_script(), OK, open(0, &[1, 2])),
        case(multi_script(), OK, open(0, &[1, 3])),
        case(multi_script(), FALSE, open(0, &[3, 1])),
        case(multi_script(), FALSE, open(0, &[1, 4])),
        case(multi_script(), "Dummy CHECKMULTISIG argument must be zero", open(1, &[1, 2])),
        case(multi_script(), "Operation not valid with the current stack size", |tx, _| {
            tx.input[0].script_sig = bytes(&[0]);
        }),
        case(multi_script(), DER, |tx, _| tx.input[0].script_sig = bytes(&[0, 0x51, 0x51])),
    ]);
    cases
}

fn version_zero() -> Vec<Case> {
    let key_hash = || ScriptBuf::new_p2wpkh(&public(1).wpubkey_hash().unwrap());
    let open = |seed: u8, kind: EcdsaSighashType| {
        move |tx: &mut Transaction, spent: &TxOut| {
            let signature = sign_v0(tx, &pay_to_key_hash(), spent.value, seed, kind);
            tx.input[0].witness = Witness::from_slice(&[signature, public(1).to_bytes()]);
        }
    };
    let script = multi_script;
    let open_script = |seeds: [u8; 2]| {
        move |tx: &mut Transaction, spent: &TxOut| {
            let mut witness = vec![Vec::new()];
            for seed in seeds {
                let all = EcdsaSighashType::All;
                witness.push(sign_v0(tx, &multi_script(), spent.value, seed, all));
            }
            witness.push(multi_script().to_bytes());
            tx.input[0].witness = Witness::from_slice(&witness);
        }
    };
    let with = |witness: Vec<Vec<u8>>| {
        move |tx: &mut Transaction, _: &TxOut| {
            tx.input[0].witness = Witness::from_slice(&witness);
        }
    };
    let kinds = [
        EcdsaSighashType::All,
        EcdsaSighashType::None,
        EcdsaSighashType::Single,
        EcdsaSighashType::AllPlusAnyoneCanPay,
        EcdsaSighashType::NonePlusAnyoneCanPay,
        EcdsaSighashType::SinglePlusAnyoneCanPay,
    ];
    let mut cases: Vec<Case> = kinds.map(|kind| case(key_hash(), OK, open(1, kind))).into();
    let unclean = "Stack size must be exactly one after execution";
    let one = || bytes(&[0x51]).to_p2wsh();
    cases.extend([
        case(key_hash(), FALSE, open(2, EcdsaSighashType::All)),
        case(key_hash(), MISMATCH, |_, _| {}),
        case(key_hash(), MISMATCH, with(vec![vec![]])),
        case(key_hash(), "Script failed an OP_EQUALVERIFY operation", with(vec![vec![], vec![]])),
        case(key_hash(), FALSE, with(vec![vec![], public(1).to_bytes()])),
        case(key_hash(), DER, with(vec![vec![1], public(1).to_bytes()])),
        case(key_hash(), "Witness requires empty scriptSig", |tx, _| {
            tx.input[0].script_sig = bytes(&[0x51]);
        }),
        case(script().to_p2wsh(), OK, open_script([1, 2])),
        case(script().to_p2wsh(), FALSE, open_script([2, 1])),
        case(one(), EMPTY, |_, _| {}),
        case(one(), MISMATCH, with(vec![vec![0x52]])),
        case(one(), unclean, with(vec![vec![], vec![0x51]])),
        case(one(), "Push value size limit exceeded", with(vec![vec![0; 521], vec![0x51]])),
        case(bytes(&[0x00]).to_p2wsh(), FALSE, with(vec![vec![0x00]])),
        case(bytes(&[]).to_p2wsh(), unclean, with(vec![vec![]])),
        case(
            bytes(&[&[0, 19][..], &[1; 19]].concat()),
            "Witness program has incorrect length",
            |_, _| {},
        ),
        // Witness versions of the future, and what looks like one.
        case(bytes(&[0x52, 2, 7, 7]), OK, |_, _| {}),
        case(bytes(&[&[0x60, 40][..], &[1; 40]].concat()), OK, with(vec![vec![1]])),
        case(bytes(&[&[0x51, 20][..], &[1; 20]].concat()), OK, |_, _| {}),
        case(bytes(&[0x51, 2, 0x4e, 0x73]), OK, |_, _| {}),
        case(
            bytes(&[&[0x51, 41][..], &[1; 41]].concat()),
            "Witness provided for non-witness script",
            with(vec![vec![1]]),
        ),
    ]);
    cases
}

fn taproot() -> Vec<Case> {
    const SIGNATURE: &str = "Invalid Schnorr signature";
    const HASH_TYPE: &str = "Invalid Schnorr signature hash type";
    let lock = || ScriptBuf::new_p2tr_tweaked(output_key(1).public_parts().0);
    let open = |seed: u8, kind: TapSighashType| {
        move |tx: &mut Transaction, spent: &TxOut| {
            let signature = sign_taproot(tx, spent, seed, kind, None);
            tx.input[0].witness = Witness::from_slice(&[signature]);
        }
    };
    let kinds = [
        TapSighashType::Default,
        TapSighashType::All,
        TapSighashType::None,
        TapSighashType::Single,
        TapSighashType::AllPlusAnyoneCanPay,
        TapSighashType::NonePlusAnyoneCanPay,
        TapSighashType::SinglePlusAnyoneCanPay,
    ];
    let mut cases: Vec<Case> = kinds.map(|kind| case(lock(), OK, open(1, kind))).into();
    let ending = |end: u8| {
        move |tx: &mut Transaction, spent: &TxOut| {
            let mut signature = sign_taproot(tx, spent, 1, TapSighashType::Default, None);
            signature.push(end);
            tx.input[0].witness = Witness::from_slice(&[signature]);
        }
    };
    let internal = builder().push_int(1).push_slice(internal_key(1).serialize()).into_script();
    cases.extend([
        case(lock(), SIGNATURE, open(2, TapSighashType::Default)),
        case(internal, SIGNATURE, open(1, TapSighashType::All)),
        case(lock(), EMPTY, |_, _| {}),
        case(lock(), HASH_TYPE, ending(0)),
        case(lock(), HASH_TYPE, ending(4)),
        case(lock(), SIGNATURE, ending(1)),
        case(lock(), "Invalid Schnorr signature size", |tx, _| {
            tx.input[0].witness = Witness::from_slice(&[[0; 63]]);
        }),
        case(lock(), HASH_TYPE, move |tx, spent| {
            tx.output.clear();
            tx.output.push(spent.clone());
            open(1, TapSighashType::Single)(tx, spent);
            let mut signature = tx.input[0].witness.nth(0).unwrap().to_vec();
            *signature.last_mut().unwrap() = 0x80;
            tx.input[0].witness = Witness::from_slice(&[signature]);
        }),
        case(lock(), OK, |tx, spent| {
            let annex = [0x50, 1, 2, 3];
            let signature = sign_taproot(tx, spent, 1, TapSighashType::Default, Some(&annex));
            tx.input[0].witness = Witness::from_slice(&[&signature[..], &annex]);
        }),
        case(lock(), SIGNATURE, move |tx, spent| {
            open(1, TapSighashType::Default)(tx, spent);
            tx.input[0].witness.push([0x50]);
        }),
    ]);
    cases
}

fn locks() -> Vec<Case> {
    let absolute = |wanted: i64| {
        let script = builder().push_int(wanted).push_opcode(op::OP_CLTV);
        script.into_script()
    };
    let relative = |wanted: i64| {
        let script = builder().push_int(wanted).push_opcode(op::OP_CSV);
        script.into_script()
    };
    let with = |lock: u32, sequence: u32, version: i32| {
        move |tx: &mut Transaction, _: &TxOut| {
            tx.lock_time = LockTime::from_consensus(lock);
            tx.input[0].sequence = Sequence::from_consensus(sequence);
            tx.version = transaction::Version(version);
        }
    };
    let negative = "Negative locktime";
    let number = "Script number overflowed or is non-minimally encoded";
    let long = builder().push_slice([1; 6]).push_opcode(op::OP_CLTV).into_script();
    vec![
        case(absolute(50), OK, with(50, 0, 2)),
        case(absolute(50), LOCK, with(49, 0, 2)),
        case(absolute(50), LOCK, with(50, u32::MAX, 2)),
        case(absolute(500_000_001), LOCK, with(50, 0, 2)),
        case(absolute(500_000_001), OK, with(500_000_001, 0, 2)),
        case(absolute(-1), negative, with(50, 0, 2)),
        case(long, number, with(50, 0, 2)),
        case(bytes(&[0xb1]), "Operation not valid with the current stack size", |_, _| {}),
        case(relative(1), OK, with(0, 1, 2)),
        case(relative(2), LOCK, with(0, 1, 2)),
        case(relative(1), LOCK, with(0, 1, 1)),
        case(relative(1), LOCK, with(0, u32::MAX, 2)),
        case(relative((1 << 22) + 1), LOCK, with(0, 1, 2)),
        case(relative(1 << 31), OK, with(0, u32::MAX, 1)),
        case(relative(-1), negative, with(0, 1, 2)),
    ]
}

/// Scripts that nobody wrote: the seed is fixed, the verdicts are the real node's.
pub(crate) async fn random(pair: &mut Pair) {
    const COUNT: usize = 400;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let locks: Vec<ScriptBuf> = (0..COUNT).map(|_| dice.script()).collect();
    let (mut passed, mut failed) = (0, 0);
    let outputs = locks.iter().enumerate().map(|(number, script)| match number % 3 {
        0 => script.to_p2sh(),
        1 => script.to_p2wsh(),
        _ => script.clone(),
    });
    let points = fund(pair, outputs).await;
    for (number, (lock, point)) in locks.iter().zip(points).enumerate() {
        let mut tx = spend(&[point], SATS);
        let input = &mut tx.input[0];
        let values = [vec![1], vec![2], hash160::Hash::hash(lock.as_bytes())[..9].to_vec(), vec![]];
        let pushes = values.iter().fold(builder(), |script, value| {
            script.push_slice(PushBytesBuf::try_from(value.clone()).unwrap())
        });
        match number % 3 {
            0 => {
                let script = pushes.push_slice(PushBytesBuf::try_from(lock.to_bytes()).unwrap());
                input.script_sig = script.into_script();
            }
            1 => {
                input.witness = Witness::from_slice(&values);
                input.witness.push(lock.as_bytes());
            }
            _ => input.script_sig = pushes.into_script(),
        }
        // The pair compares; either verdict is good.
        let accepted = pair.verdict_with(&[tx]).await == OK;
        if accepted { passed += 1 } else { failed += 1 }
    }
    assert!(passed > COUNT / 20 && failed > COUNT / 20, "{passed} passed, {failed} failed");
}

/// A generator of numbers that are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from((self.0 >> 32) % u64::from(sides)).unwrap()
    }

    /// Up to a dozen opcodes, the harmless ones more often than the others.
    fn script(&mut self) -> ScriptBuf {
        let mut script = Vec::new();
        for _ in 0..=self.roll(12) {
            match self.roll(10) {
                0..=3 => script.push(0x51 + self.roll(4)),
                4 => script.extend([2, self.roll(255), self.roll(255)]),
                5 => script.push(0x63 + self.roll(6)),
                6 => script.push(0x6b + self.roll(19)),
                7 => script.push(0x87 + self.roll(31)),
                8 => script.push(0xa6 + self.roll(13)),
                _ => script.push(self.roll(255)),
            }
        }
        ScriptBuf::from_bytes(script)
    }
}
