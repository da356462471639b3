//! Signatures: what they sign, how they must look, and whether they hold.

use std::sync::LazyLock;

use bitcoin::absolute::LOCK_TIME_THRESHOLD;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::key::XOnlyPublicKey;
use bitcoin::script::Script;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly, ecdsa, schnorr};
use bitcoin::sighash::{Annex, EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{Transaction, TxOut};

use super::Failure;

/// Which rules a script runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// Before segwit.
    Base,
    /// Witness version 0 (BIP 143).
    SegwitV0,
}

/// The transaction and input that a script speaks for.
pub(super) struct Checker<'t, 'c> {
    pub(super) tx: &'t Transaction,
    pub(super) cache: &'c mut SighashCache<&'t Transaction>,
    pub(super) index: usize,
    pub(super) spent: &'c [TxOut],
}

static SECP: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

impl Checker<'_, '_> {
    /// True where `signature` (with its hash type) by `key` holds for this input.
    ///
    /// A signature that is not DER ends the script.
    pub(super) fn check_ecdsa(
        &mut self,
        signature: &[u8],
        key: &[u8],
        code: &Script,
        era: Era,
    ) -> Result<bool, Failure> {
        let Some((hash_type, der)) = signature.split_last() else { return Ok(false) };
        if !is_der(signature) {
            return Err("Non-canonical DER signature".into());
        }
        let Ok(key) = PublicKey::from_slice(key) else { return Ok(false) };
        let Some(digest) = self.ecdsa_digest(*hash_type, code, era) else { return Ok(false) };
        let Ok(mut signature) = ecdsa::Signature::from_der_lax(der) else { return Ok(false) };
        signature.normalize_s();
        let message = Message::from_digest(digest);
        Ok(SECP.verify_ecdsa(&message, &signature, &key).is_ok())
    }

    /// A taproot key path's signature (BIP 341).
    pub(super) fn check_schnorr(
        &mut self,
        signature: &[u8],
        key: &[u8],
        annex: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let (bytes, hash_type) = match signature {
            [bytes @ .., hash_type] if signature.len() == 65 && *hash_type != 0 => {
                (bytes, *hash_type)
            }
            _ if signature.len() == 64 => (signature, 0),
            _ if signature.len() == 65 => return Err("Invalid Schnorr signature hash type".into()),
            _ => return Err("Invalid Schnorr signature size".into()),
        };
        let annex = annex.and_then(|bytes| Annex::new(bytes).ok());
        let digest = TapSighashType::from_consensus_u8(hash_type)
            .ok()
            .and_then(|hash_type| {
                let prevouts = Prevouts::All(self.spent);
                self.cache
                    .taproot_signature_hash(self.index, &prevouts, annex, None, hash_type)
                    .ok()
            })
            .ok_or("Invalid Schnorr signature hash type")?;
        let message = Message::from_digest(digest.to_byte_array());
        let holds = match (schnorr::Signature::from_slice(bytes), XOnlyPublicKey::from_slice(key)) {
            (Ok(signature), Ok(key)) => SECP.verify_schnorr(&signature, &message, &key).is_ok(),
            _ => false,
        };
        if holds { Ok(()) } else { Err("Invalid Schnorr signature".into()) }
    }

    /// `OP_CHECKLOCKTIMEVERIFY` (BIP 65): true where the transaction is locked at least so long.
    pub(super) fn lock_time_passes(&self, wanted: i64) -> bool {
        let threshold = i64::from(LOCK_TIME_THRESHOLD);
        let lock = i64::from(self.tx.lock_time.to_consensus_u32());
        let final_input = self.sequence() == u32::MAX;
        (lock < threshold) == (wanted < threshold) && wanted <= lock && !final_input
    }

    /// `OP_CHECKSEQUENCEVERIFY` (BIP 112): true where the input is locked at least so long.
    pub(super) fn sequence_passes(&self, wanted: i64) -> bool {
        const BY_TIME: i64 = 1 << 22;
        const MASK: i64 = BY_TIME | 0xffff;
        let sequence = self.sequence();
        if self.tx.version.0.cast_unsigned() < 2 || sequence >> 31 != 0 {
            return false;
        }
        let (have, want) = (i64::from(sequence) & MASK, wanted & MASK);
        (have < BY_TIME) == (want < BY_TIME) && want <= have
    }

    fn sequence(&self) -> u32 {
        self.tx.input.get(self.index).map_or(u32::MAX, |input| input.sequence.to_consensus_u32())
    }

    /// What an ECDSA signature signs; `None` where there is nothing that could be signed. A hash
    /// type without a name is signed as it stands.
    fn ecdsa_digest(&mut self, hash_type: u8, code: &Script, era: Era) -> Option<[u8; 32]> {
        let hash_type = u32::from(hash_type);
        if era == Era::Base {
            let digest = self.cache.legacy_signature_hash(self.index, code, hash_type).ok()?;
            return Some(digest.to_byte_array());
        }
        let value = self.spent.get(self.index)?.value;
        let named = EcdsaSighashType::from_consensus(hash_type);
        let mut data = Vec::new();
        self.cache
            .segwit_v0_encode_signing_data_to(&mut data, self.index, code, value, named)
            .ok()?;
        // The type comes last.
        data.truncate(data.len().checked_sub(size_of::<u32>())?);
        data.extend_from_slice(&hash_type.to_le_bytes());
        Some(sha256d::Hash::hash(&data).to_byte_array())
    }
}

/// BIP 66: `0x30 [total] 0x02 [len R] R 0x02 [len S] S [hash type]`, numbers positive and
/// without needless zeros.
fn is_der(signature: &[u8]) -> bool {
    let [0x30, total, body @ .., _hash_type] = signature else { return false };
    if signature.len() > 73 || usize::from(*total) != body.len() {
        return false;
    }
    let Some(rest) = take_integer(body) else { return false };
    take_integer(rest).is_some_and(<[u8]>::is_empty)
}

/// What follows a well-formed DER integer.
fn take_integer(bytes: &[u8]) -> Option<&[u8]> {
    let [0x02, length, rest @ ..] = bytes else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    let sound = match number {
        [] => false,
        [first, ..] if first & 0x80 != 0 => false,
        [0, second, ..] => second & 0x80 != 0,
        _ => true,
    };
    sound.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_strict() {
        let good = [0x30, 6, 2, 1, 1, 2, 1, 1, 1];
        assert!(is_der(&good));
        for bad in [
            &[0x30, 7, 2, 1, 1, 2, 1, 1, 1][..],
            &[0x31, 6, 2, 1, 1, 2, 1, 1, 1],
            &[0x30, 6, 2, 1, 0x81, 2, 1, 1, 1],
            &[0x30, 7, 2, 2, 0, 1, 2, 1, 1, 1],
            &[0x30, 5, 2, 0, 2, 1, 1, 1],
            &[0x30, 6, 2, 1, 1, 2, 1, 1],
            &[],
        ] {
            assert!(!is_der(bad), "{bad:02x?}");
        }
    }
}
