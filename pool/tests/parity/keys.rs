//! One key, and what it signs.

use std::sync::LazyLock;

use bitcoin::hashes::Hash as _;
use bitcoin::key::{Keypair, TapTweak as _, TweakedKeypair, UntweakedPublicKey};
use bitcoin::script::{PushBytesBuf, Script};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{Annex, EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{Amount, PublicKey, Transaction, TxOut};

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

fn pair(seed: u8) -> Keypair {
    Keypair::from_secret_key(&SECP, &SecretKey::from_slice(&[seed; 32]).unwrap())
}

/// The public key of a seed, compressed.
pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::new(pair(seed).public_key())
}

/// The taproot output key of a seed, with no scripts.
pub(crate) fn output_key(seed: u8) -> TweakedKeypair {
    pair(seed).tap_tweak(&SECP, None)
}

/// The same without its tweak.
pub(crate) fn internal_key(seed: u8) -> UntweakedPublicKey {
    pair(seed).x_only_public_key().0
}

/// A signature for the first input as before segwit, with its hash type.
pub(crate) fn sign_base(tx: &Transaction, code: &Script, seed: u8, hash_type: u8) -> PushBytesBuf {
    let digest =
        SighashCache::new(tx).legacy_signature_hash(0, code, u32::from(hash_type)).unwrap();
    PushBytesBuf::try_from(ecdsa(digest.to_byte_array(), seed, hash_type)).unwrap()
}

/// A signature for the first input of witness version 0, with its hash type.
pub(crate) fn sign_v0(
    tx: &Transaction,
    code: &Script,
    value: Amount,
    seed: u8,
    hash_type: EcdsaSighashType,
) -> Vec<u8> {
    let digest = SighashCache::new(tx).p2wsh_signature_hash(0, code, value, hash_type).unwrap();
    let hash_type = u8::try_from(hash_type.to_u32()).unwrap();
    ecdsa(digest.to_byte_array(), seed, hash_type)
}

/// A signature with a hash type behind it.
fn ecdsa(digest: [u8; 32], seed: u8, hash_type: u8) -> Vec<u8> {
    let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
    let signature = SECP.sign_ecdsa(&Message::from_digest(digest), &secret);
    [&signature.serialize_der()[..], &[hash_type]].concat()
}

/// A signature by taproot's key path for the first input, which spends `spent`.
pub(crate) fn sign_taproot(
    tx: &Transaction,
    spent: &TxOut,
    seed: u8,
    hash_type: TapSighashType,
    annex: Option<&[u8]>,
) -> Vec<u8> {
    let annex = annex.map(|bytes| Annex::new(bytes).unwrap());
    let digest = SighashCache::new(tx)
        .taproot_signature_hash(0, &Prevouts::All(&[spent]), annex, None, hash_type)
        .unwrap();
    let message = Message::from_digest(digest.to_byte_array());
    let keys = output_key(seed).to_keypair();
    let mut bytes = SECP.sign_schnorr_no_aux_rand(&message, &keys).serialize().to_vec();
    if hash_type != TapSighashType::Default {
        bytes.push(u8::try_from(hash_type as u32).unwrap());
    }
    bytes
}
