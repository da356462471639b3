//! Scripts: whether an input may spend its output, by the rules that blocks are held to
//! (P2SH, DERSIG, CLTV, CSV, WITNESS, NULLDUMMY, TAPROOT), with Bitcoin Core's words for what
//! fails.
//!
//! `engine` runs a script, `code` says what of it is signed, `signature` checks that; this file decides which scripts an
//! output and its input mean (`VerifyScript`, `VerifyWitnessProgram`).
//!
//! What it deliberately does not do: taproot script paths. They are refused in words of their
//! own, which Core would not do: nothing that a pool or its payouts make is among them.

mod code;
mod engine;
mod signature;

use std::borrow::Cow;

use bitcoin::hashes::{Hash as _, hash160, sha256};
use bitcoin::script::{Builder, Script, ScriptBuf};
use bitcoin::sighash::SighashCache;
use bitcoin::{Transaction, TxOut, opcodes};

use engine::{Stack, is_true, run};
use signature::{Checker, Era};

/// Why a script fails, in Bitcoin Core's words.
pub(super) type Failure = Cow<'static, str>;

const EVAL_FALSE: Failure = Cow::Borrowed(
    "Script evaluated without error but finished with a false/empty top stack element",
);
const MAX_ELEMENT: usize = 520;
/// The first byte of an annex (BIP 341).
const ANNEX: u8 = 0x50;

/// Checks every input of `tx`; `spent` are the outputs that they spend, in order.
pub(super) fn verify(tx: &Transaction, spent: &[TxOut]) -> Result<(), Failure> {
    let mut cache = SighashCache::new(tx);
    for (index, (input, output)) in tx.input.iter().zip(spent).enumerate() {
        let witness = input.witness.to_vec();
        let mut checker = Checker { tx, cache: &mut cache, index, spent };
        verify_input(&input.script_sig, &output.script_pubkey, &witness, &mut checker)?;
    }
    Ok(())
}

fn verify_input(
    script_sig: &Script,
    script_pubkey: &Script,
    witness: &[Vec<u8>],
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    let mut stack = Stack::new();
    run(&mut stack, script_sig, Era::Base, checker)?;
    let after_sig = stack.clone();
    run(&mut stack, script_pubkey, Era::Base, checker)?;
    must_be_true(&stack)?;
    if let Some((version, program)) = witness_program(script_pubkey) {
        if !script_sig.is_empty() {
            return Err("Witness requires empty scriptSig".into());
        }
        return verify_program(version, program, witness, false, checker);
    }
    if script_pubkey.is_p2sh() {
        return verify_p2sh(script_sig, after_sig, witness, checker);
    }
    no_witness(witness)
}

fn verify_p2sh(
    script_sig: &Script,
    mut stack: Stack,
    witness: &[Vec<u8>],
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    if !script_sig.is_push_only() {
        return Err("Only push operators allowed in signatures".into());
    }
    let redeem = ScriptBuf::from_bytes(stack.pop().unwrap_or_default());
    run(&mut stack, &redeem, Era::Base, checker)?;
    must_be_true(&stack)?;
    let Some((version, program)) = witness_program(&redeem) else { return no_witness(witness) };
    let mut push = vec![u8::try_from(redeem.len()).unwrap_or(u8::MAX)];
    push.extend_from_slice(redeem.as_bytes());
    if script_sig.as_bytes() != push {
        return Err("Witness requires only-redeemscript scriptSig".into());
    }
    verify_program(version, program, witness, true, checker)
}

fn verify_program(
    version: u8,
    program: &[u8],
    witness: &[Vec<u8>],
    nested: bool,
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    match (version, program.len()) {
        (0, 32) => verify_script_hash(program, witness, checker),
        (0, 20) => {
            if witness.len() != 2 {
                return Err("Witness program hash mismatch".into());
            }
            let hash: [u8; 20] = program.try_into().unwrap_or_default();
            let script = Builder::new()
                .push_opcode(opcodes::all::OP_DUP)
                .push_opcode(opcodes::all::OP_HASH160)
                .push_slice(hash)
                .push_opcode(opcodes::all::OP_EQUALVERIFY)
                .push_opcode(opcodes::all::OP_CHECKSIG)
                .into_script();
            verify_v0(&script, witness, checker)
        }
        (0, _) => Err("Witness program has incorrect length".into()),
        (1, 32) if !nested => verify_taproot(program, witness, checker),
        // Left for later soft forks: anyone may spend it.
        _ => Ok(()),
    }
}

fn verify_script_hash(
    program: &[u8],
    witness: &[Vec<u8>],
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    let Some((script, stack)) = witness.split_last() else {
        return Err("Witness program was passed an empty witness".into());
    };
    if sha256::Hash::hash(script).to_byte_array() != program {
        return Err("Witness program hash mismatch".into());
    }
    verify_v0(Script::from_bytes(script), stack, checker)
}

fn verify_v0(
    script: &Script,
    witness: &[Vec<u8>],
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    if witness.iter().any(|element| element.len() > MAX_ELEMENT) {
        return Err("Push value size limit exceeded".into());
    }
    let mut stack = witness.to_vec();
    run(&mut stack, script, Era::SegwitV0, checker)?;
    if stack.len() != 1 {
        return Err("Stack size must be exactly one after execution".into());
    }
    must_be_true(&stack)
}

fn verify_taproot(
    program: &[u8],
    witness: &[Vec<u8>],
    checker: &mut Checker<'_, '_>,
) -> Result<(), Failure> {
    let (annex, stack) = match witness.split_last() {
        None => return Err("Witness program was passed an empty witness".into()),
        Some((last, rest)) if !rest.is_empty() && last.first() == Some(&ANNEX) => {
            (Some(last.as_slice()), rest)
        }
        Some(_) => (None, witness),
    };
    match stack {
        [signature] => checker.check_schnorr(signature, program, annex),
        _ => Err("the development chain does not know taproot script paths".into()),
    }
}

/// Version and program of an output script that is a witness program (BIP 141).
fn witness_program(script: &Script) -> Option<(u8, &[u8])> {
    let [version, length, program @ ..] = script.as_bytes() else { return None };
    let version = match version {
        0 => 0,
        0x51..=0x60 => version - 0x50,
        _ => return None,
    };
    let fits = (2..=40).contains(&program.len()) && usize::from(*length) == program.len();
    fits.then_some((version, program))
}

fn must_be_true(stack: &Stack) -> Result<(), Failure> {
    if stack.last().is_some_and(|top| is_true(top)) { Ok(()) } else { Err(EVAL_FALSE) }
}

fn no_witness(witness: &[Vec<u8>]) -> Result<(), Failure> {
    if witness.is_empty() {
        return Ok(());
    }
    Err("Witness provided for non-witness script".into())
}

/// RIPEMD-160 of SHA-256.
fn hash160(data: &[u8]) -> Vec<u8> {
    hash160::Hash::hash(data).to_byte_array().to_vec()
}

#[cfg(test)]
mod tests;
