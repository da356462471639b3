//! The pool's own coinbases on the real node: every kind of address that a payout may name.

use bitcoin::address::KnownHrp;
use bitcoin::key::{CompressedPublicKey, Secp256k1};
use bitcoin::secp256k1::SecretKey;
use bitcoin::{Address, NetworkKind, ScriptBuf, WitnessProgram, WitnessVersion};
use ledger::SliceHead;
use pool::coinbase::{EXTRANONCE1_SIZE, EXTRANONCE2_SIZE, Payee, assemble_block};
use serde_json::json;
use stratum::job::{Job, coinbase, sha256d};

use super::pair::Pair;

/// One address of each kind on regtest.
fn addresses() -> Vec<Address> {
    let secp = Secp256k1::new();
    let secret = SecretKey::from_slice(&[7; 32]).unwrap();
    let key = CompressedPublicKey(secret.public_key(&secp));
    let inner = ScriptBuf::new_op_return([1; 8]);
    let future = WitnessProgram::new(WitnessVersion::V2, &[9; 32]).unwrap();
    vec![
        Address::p2pkh(key, NetworkKind::Test),
        Address::p2sh(&inner, NetworkKind::Test).unwrap(),
        Address::p2wpkh(&key, KnownHrp::Regtest),
        Address::p2wsh(&inner, KnownHrp::Regtest),
        Address::p2shwpkh(&key, NetworkKind::Test),
        Address::p2tr(&secp, key.into(), None, KnownHrp::Regtest),
        Address::from_witness_program(future, KnownHrp::Regtest),
    ]
}

/// The node accepts each coinbase and names the same address in it.
pub(crate) async fn every_address(pair: &mut Pair) {
    for address in addresses() {
        let text = address.to_string();
        let script = pool::user::parse_address(&text, bitcoin::Network::Regtest).unwrap();
        let payee = Payee { script: script.script_pubkey(), tag: b"/test/".to_vec() };
        let template = pair.template().await;
        let job =
            Job::new(1, payee.job_template(&template, &SliceHead::NONE, 1, [9; 4]), true, 1, 0);
        let shape = &job.template;
        let (xn1, xn2) = ([1; EXTRANONCE1_SIZE], [2; EXTRANONCE2_SIZE]);
        let solved = (0..u32::MAX)
            .map(|nonce| job.header(&xn1, &xn2, shape.version, shape.ntime, nonce))
            .find(|header| shape.network_target.is_met_by(&sha256d(header)))
            .unwrap();
        let block = assemble_block(&solved, &coinbase(shape, &xn1, &xn2), &template).unwrap();
        let block: bitcoin::Block = bitcoin::consensus::deserialize(&block).unwrap();
        assert_eq!(pair.submit(&block).await, "accepted", "{text}");
        let seen = pair.core.client.call("getblock", json!([block.block_hash().to_string(), 2]));
        let seen = seen.await.unwrap();
        let output = &seen["tx"][0]["vout"][0];
        assert_eq!(output["scriptPubKey"]["address"], text, "{output}");
    }
}
