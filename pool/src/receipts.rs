//! What the pool signs: receipts for an account's shares, and the heads of slices. A miner that keeps
//! its receipts can show to anyone that a share was taken and later left out.
//!
//! Read [`Signer`] and [`Receipt::check`]. A receipt says: the first so many shares of this account in
//! this slice have this top and sum to this work (`docs/slices.md`). A bundle of the account with its
//! shares in that slice either has them, or is caught by it. What is signed is a tagged hash of the
//! fields and not their text, so that nothing of the form matters.
//!
//! It deliberately signs nothing that it is asked to: all comes from the ledger.

mod key;

pub(crate) use key::is_open;
pub use key::{KeyError, load_or_create};

use defences::{Defence, stands};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use ledger::{Acknowledged, SliceHead, SliceIndex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use units::{UnixMillis, Work};

/// Most bytes of a receipt's file.
pub const RECEIPT_BYTES_MAX: u64 = 4096;

/// The pool's key.
#[derive(Debug)]
pub struct Signer(SigningKey);

/// A signed statement about an account's shares in one slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    account: String,
    slice: u64,
    shares: u64,
    work: String,
    records: String,
    last_share: u64,
    /// When it was signed, in milliseconds since 1970.
    at: u64,
    key: String,
    signature: String,
}

/// A signed head of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedHead {
    slice: u64,
    root: String,
    shares: u64,
    work: String,
    at: u64,
    key: String,
    signature: String,
}

/// Why a receipt is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It cannot be read.
    #[error("it is no receipt: {0}")]
    Form(String),
    /// Somebody else signed it.
    #[error("it is signed with the key {found}, should be {wanted}")]
    AnotherKey {
        /// The key in it.
        found: String,
        /// The key that was asked for.
        wanted: String,
    },
    /// It was changed.
    #[error("its signature does not hold")]
    Signature,
}

impl Signer {
    /// Signs with this key.
    #[must_use]
    pub const fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// The key that others check by, in hex.
    #[must_use]
    pub fn public(&self) -> String {
        hex::encode(self.0.verifying_key())
    }

    /// Signs for an account's shares.
    #[must_use]
    pub fn receipt(&self, shares: &Acknowledged, at: UnixMillis) -> Receipt {
        let signature = self.0.sign(&of_shares(shares, at));
        Receipt {
            account: shares.account.clone(),
            slice: shares.slice.get(),
            shares: shares.shares,
            work: shares.work.get().to_string(),
            records: hex::encode(shares.records),
            last_share: shares.last_share,
            at: at.get(),
            key: self.public(),
            signature: hex::encode(signature.to_bytes()),
        }
    }

    /// Signs the head of a slice.
    #[must_use]
    pub fn head(&self, head: &SliceHead, at: UnixMillis) -> SignedHead {
        let signature = self.0.sign(&of_head(head, at));
        SignedHead {
            slice: head.index.get(),
            root: hex::encode(head.root),
            shares: head.shares,
            work: head.work.get().to_string(),
            at: at.get(),
            key: self.public(),
            signature: hex::encode(signature.to_bytes()),
        }
    }
}

impl Receipt {
    /// Reads a receipt that the pool with this key (in hex; any, where none is given) signed.
    ///
    /// # Errors
    /// When it is none, another signed it, or it was changed.
    pub fn check(text: &str, key: Option<&str>) -> Result<Acknowledged, ReceiptError> {
        let receipt: Self =
            serde_json::from_str(text).map_err(|error| ReceiptError::Form(error.to_string()))?;
        if let Some(wanted) = key.filter(|wanted| !wanted.eq_ignore_ascii_case(&receipt.key)) {
            let (found, wanted) = (receipt.key, wanted.to_owned());
            return Err(ReceiptError::AnotherKey { found, wanted });
        }
        let form = |what: &str| ReceiptError::Form(format!("its {what} cannot be read"));
        let shares = Acknowledged {
            account: receipt.account,
            slice: SliceIndex::new(receipt.slice),
            shares: receipt.shares,
            work: Work::new(receipt.work.parse().map_err(|_| form("work"))?),
            records: bytes(&receipt.records).ok_or_else(|| form("records"))?,
            last_share: receipt.last_share,
        };
        let public = bytes(&receipt.key).and_then(|key| VerifyingKey::from_bytes(&key).ok());
        let public = public.ok_or_else(|| form("key"))?;
        let signature = bytes(&receipt.signature).ok_or_else(|| form("signature"))?;
        let signed = of_shares(&shares, UnixMillis::new(receipt.at));
        let holds = public.verify_strict(&signed, &Signature::from_bytes(&signature)).is_ok();
        if holds || !stands(Defence::ReceiptSignature) {
            Ok(shares)
        } else {
            Err(ReceiptError::Signature)
        }
    }
}

fn of_shares(shares: &Acknowledged, at: UnixMillis) -> [u8; 32] {
    tagged(
        b"wattproof/receipt/1",
        &[
            &shares.slice.get().to_be_bytes(),
            &shares.shares.to_be_bytes(),
            &shares.work.get().to_be_bytes(),
            &shares.records,
            &shares.last_share.to_be_bytes(),
            &at.get().to_be_bytes(),
            shares.account.as_bytes(),
        ],
    )
}

fn of_head(head: &SliceHead, at: UnixMillis) -> [u8; 32] {
    tagged(
        b"wattproof/signed-head/1",
        &[
            &head.index.get().to_be_bytes(),
            &head.root,
            &head.shares.to_be_bytes(),
            &head.work.get().to_be_bytes(),
            &at.get().to_be_bytes(),
        ],
    )
}

/// SHA-256(SHA-256(tag) || SHA-256(tag) || message), as in BIP 340.
fn tagged(tag: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let tag = Sha256::digest(tag);
    let begun = Sha256::new().chain_update(tag).chain_update(tag);
    message.iter().fold(begun, |hasher, part| hasher.chain_update(part)).finalize().into()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares() -> Acknowledged {
        Acknowledged {
            account: "alice".to_owned(),
            slice: SliceIndex::new(7),
            shares: 3,
            work: Work::new(u128::MAX),
            records: [5; 32],
            last_share: 99,
        }
    }

    fn signer(seed: u8) -> Signer {
        Signer::new(SigningKey::from_bytes(&[seed; 32]))
    }

    #[test]
    fn a_receipt_is_read_back_and_every_field_is_signed() {
        let receipt = signer(1).receipt(&shares(), UnixMillis::new(8));
        let text = serde_json::to_string(&receipt).unwrap();
        assert_eq!(Receipt::check(&text, Some(&signer(1).public())), Ok(shares()));
        let error = Receipt::check(&text, Some(&signer(2).public())).unwrap_err();
        assert!(matches!(error, ReceiptError::AnotherKey { .. }), "{error}");
        for (field, other) in [
            ("account", serde_json::json!("bob")),
            ("slice", 8.into()),
            ("shares", 2.into()),
            ("work", "1".into()),
            ("records", "06".repeat(32).into()),
            ("last_share", 98.into()),
            ("at", 9.into()),
            ("key", signer(2).public().into()),
            ("signature", "00".repeat(64).into()),
        ] {
            let mut changed: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_ne!(changed[field], other, "{field}");
            changed[field] = other;
            let checked = Receipt::check(&changed.to_string(), None);
            assert_eq!(checked, Err(ReceiptError::Signature), "{field}");
        }
        for text in ["", "{}", "[]", &text.replace("shares", "hares")] {
            assert!(matches!(Receipt::check(text, None), Err(ReceiptError::Form(_))), "{text}");
        }
    }

    #[test]
    fn a_head_is_no_receipt() {
        let head =
            SliceHead { index: SliceIndex::new(7), root: [5; 32], work: Work::new(9), shares: 3 };
        let signed = signer(1).head(&head, UnixMillis::new(8));
        let public = signer(1).0.verifying_key();
        let signature = Signature::from_bytes(&bytes(&signed.signature).unwrap());
        assert!(public.verify_strict(&of_head(&head, UnixMillis::new(8)), &signature).is_ok());
        assert!(public.verify_strict(&of_head(&head, UnixMillis::new(9)), &signature).is_err());
        assert!(
            public.verify_strict(&of_shares(&shares(), UnixMillis::new(8)), &signature).is_err()
        );
    }
}
