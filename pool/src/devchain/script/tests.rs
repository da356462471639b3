//! Spends of the kinds that pools and their payouts make, signed for real.

use bitcoin::key::{Keypair, TapTweak as _};
use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_CLTV, OP_DROP};
use bitcoin::secp256k1::{All, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, PublicKey, Sequence, TxIn, Txid, WPubkeyHash, Witness, absolute::LockTime,
};

use super::*;

struct Bench {
    secp: Secp256k1<All>,
    pair: Keypair,
    key: PublicKey,
}

impl Bench {
    fn new() -> Self {
        let secp = Secp256k1::new();
        let pair = Keypair::from_seckey_slice(&secp, &[7; 32]).unwrap();
        let key = PublicKey::new(pair.public_key());
        Self { secp, pair, key }
    }

    fn ecdsa(&self, digest: [u8; 32]) -> Vec<u8> {
        let message = Message::from_digest(digest);
        let signature = self.secp.sign_ecdsa(&message, &self.pair.secret_key());
        bitcoin::ecdsa::Signature::sighash_all(signature).to_vec()
    }
}

fn spend() -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::from_height(90).unwrap(),
        input: vec![TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array([3; 32]), vout: 1 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ZERO,
            witness: Witness::new(),
        }],
        output: vec![output(ScriptBuf::new())],
    }
}

fn output(script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(5_000), script_pubkey }
}

fn failure(tx: &Transaction, spent: TxOut) -> String {
    verify(tx, &[spent]).unwrap_err().into_owned()
}

#[test]
fn p2wpkh_and_its_nested_form() {
    let bench = Bench::new();
    let hash: WPubkeyHash = bench.key.wpubkey_hash().unwrap();
    let program = ScriptBuf::new_p2wpkh(&hash);
    let spent = output(program.clone());
    let mut tx = spend();
    let sighash = SighashCache::new(&tx)
        .p2wpkh_signature_hash(0, &program, spent.value, EcdsaSighashType::All)
        .unwrap();
    let signature = bench.ecdsa(sighash.to_byte_array());
    tx.input[0].witness = Witness::from_slice(&[signature, bench.key.to_bytes()]);
    assert_eq!(verify(&tx, std::slice::from_ref(&spent)), Ok(()));

    let nested = output(ScriptBuf::new_p2sh(&program.script_hash()));
    let mut inside = tx.clone();
    let push: [u8; 22] = program.as_bytes().try_into().unwrap();
    inside.input[0].script_sig = Builder::new().push_slice(push).into_script();
    assert_eq!(verify(&inside, &[nested]), Ok(()));

    tx.output[0].value = Amount::from_sat(4_999);
    assert_eq!(failure(&tx, spent.clone()), EVAL_FALSE);
    tx.input[0].witness = Witness::new();
    assert_eq!(failure(&tx, spent.clone()), "Witness program hash mismatch");
    tx.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51]);
    assert_eq!(failure(&tx, spent), "Witness requires empty scriptSig");
}

#[test]
fn p2pkh_is_checked_and_takes_no_witness() {
    let bench = Bench::new();
    let spent = output(ScriptBuf::new_p2pkh(&bench.key.pubkey_hash()));
    let mut tx = spend();
    let sighash = SighashCache::new(&tx)
        .legacy_signature_hash(0, &spent.script_pubkey, EcdsaSighashType::All.to_u32())
        .unwrap();
    let signature = bench.ecdsa(sighash.to_byte_array());
    let signature = <&bitcoin::script::PushBytes>::try_from(signature.as_slice()).unwrap();
    tx.input[0].script_sig =
        Builder::new().push_slice(signature).push_key(&bench.key).into_script();
    assert_eq!(verify(&tx, std::slice::from_ref(&spent)), Ok(()));
    tx.input[0].witness = Witness::from_slice(&[[1]]);
    assert_eq!(failure(&tx, spent.clone()), "Witness provided for non-witness script");
    tx.input[0].witness = Witness::new();
    tx.input[0].script_sig = Builder::new().push_slice([1; 9]).push_key(&bench.key).into_script();
    assert_eq!(failure(&tx, spent.clone()), "Non-canonical DER signature");
    let other = [2; 33];
    tx.input[0].script_sig = Builder::new().push_slice([]).push_slice(other).into_script();
    assert_eq!(failure(&tx, spent), "Script failed an OP_EQUALVERIFY operation");
}

#[test]
fn p2wsh_multisig_needs_its_signatures_in_order_and_an_empty_dummy() {
    let bench = Bench::new();
    let other = Keypair::from_seckey_slice(&bench.secp, &[9; 32]).unwrap();
    let script = Builder::new()
        .push_int(1)
        .push_key(&PublicKey::new(other.public_key()))
        .push_key(&bench.key)
        .push_int(2)
        .push_opcode(OP_CHECKMULTISIG)
        .into_script();
    let spent = output(ScriptBuf::new_p2wsh(&script.wscript_hash()));
    let mut tx = spend();
    let sighash = SighashCache::new(&tx)
        .p2wsh_signature_hash(0, &script, spent.value, EcdsaSighashType::All)
        .unwrap();
    let signature = bench.ecdsa(sighash.to_byte_array());
    let mut with = |items: &[Vec<u8>]| {
        tx.input[0].witness = Witness::from_slice(items);
        verify(&tx, std::slice::from_ref(&spent)).map_err(Cow::into_owned)
    };
    let code = script.to_bytes();
    assert_eq!(with(&[vec![], signature.clone(), code.clone()]), Ok(()));
    let dummy = with(&[vec![1], signature, code.clone()]).unwrap_err();
    assert_eq!(dummy, "Dummy CHECKMULTISIG argument must be zero");
    assert_eq!(with(&[vec![], vec![], code.clone()]).unwrap_err(), EVAL_FALSE);
    let short = with(&[code]).unwrap_err();
    assert_eq!(short, "Operation not valid with the current stack size");
    assert_eq!(with(&[vec![1]]).unwrap_err(), "Witness program hash mismatch");
}

#[test]
fn taproot_key_path() {
    let bench = Bench::new();
    let (internal, _) = bench.pair.x_only_public_key();
    let spent = output(ScriptBuf::new_p2tr(&bench.secp, internal, None));
    let mut tx = spend();
    let sighash = SighashCache::new(&tx)
        .taproot_key_spend_signature_hash(
            0,
            &Prevouts::All(std::slice::from_ref(&spent)),
            TapSighashType::Default,
        )
        .unwrap();
    let tweaked = bench.pair.tap_tweak(&bench.secp, None).to_keypair();
    let message = Message::from_digest(sighash.to_byte_array());
    let signature = bench.secp.sign_schnorr_no_aux_rand(&message, &tweaked).serialize().to_vec();
    let mut with = |items: &[Vec<u8>]| {
        tx.input[0].witness = Witness::from_slice(items);
        verify(&tx, std::slice::from_ref(&spent)).map_err(Cow::into_owned)
    };
    assert_eq!(with(std::slice::from_ref(&signature)), Ok(()));
    let mut wrong = signature.clone();
    wrong[5] ^= 1;
    assert_eq!(with(&[wrong]).unwrap_err(), "Invalid Schnorr signature");
    let mut typed = signature.clone();
    typed.push(0);
    assert_eq!(with(&[typed]).unwrap_err(), "Invalid Schnorr signature hash type");
    assert_eq!(with(&[vec![1; 63]]).unwrap_err(), "Invalid Schnorr signature size");
    assert!(with(&[signature, vec![0x51], vec![0xc0; 33]]).unwrap_err().contains("script paths"));
}

#[test]
fn lock_times_are_compared() {
    let bare = |height: i64| {
        let script = Builder::new().push_int(height).push_opcode(OP_CLTV);
        output(script.push_opcode(OP_DROP).push_int(1).into_script())
    };
    let mut tx = spend();
    assert_eq!(verify(&tx, &[bare(90)]), Ok(()));
    assert_eq!(failure(&tx, bare(91)), "Locktime requirement not satisfied");
    assert_eq!(failure(&tx, bare(-1)), "Negative locktime");
    tx.input[0].sequence = Sequence::MAX;
    assert_eq!(failure(&tx, bare(90)), "Locktime requirement not satisfied");
}

#[test]
fn odd_scripts_fail_with_their_own_words() {
    let tx = spend();
    for (script, words) in [
        (vec![], EVAL_FALSE.as_ref()),
        (vec![0x6a], "OP_RETURN was encountered"),
        (vec![0x51, 0x63], "Invalid OP_IF construction"),
        (vec![0x63], "Operation not valid with the current stack size"),
        (vec![0x00, 0x63, 0x65, 0x68], "Opcode missing or not understood"),
        (vec![0x00, 0x63, 0x7e, 0x68], "Attempted to use a disabled opcode"),
        (vec![0x02, 0x01], "Opcode missing or not understood"),
        (vec![0x61; 202], "Operation limit exceeded"),
        (vec![0xff], "Opcode missing or not understood"),
        (vec![0x00, 0x69], "Script failed an OP_VERIFY operation"),
    ] {
        assert_eq!(
            failure(&tx, output(ScriptBuf::from_bytes(script.clone()))),
            words,
            "{script:02x?}"
        );
    }
    let good = output(ScriptBuf::from_bytes(vec![0x51, 0x63, 0x52, 0x67, 0x6a, 0x68]));
    assert_eq!(verify(&tx, &[good]), Ok(()));
}
