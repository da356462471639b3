//! The energy report: what a miner signs and a pool checks.
//!
//! Read [`EnergyReport`], then [`EnergyReport::sign`] and [`verify`]. User names are public payout
//! addresses, so anyone could report for another's worker: each report carries an Ed25519 key and a
//! signature over the canonical form (RFC 8785) of the object without its `signature`. Which key may
//! speak for which worker is the pool's to remember; whether the figures may be credited is
//! [`crate::book`]'s to decide.
//!
//! Keys of the object that this version does not know are signed with the rest and passed over.
//!
//! Units: totals are microjoules and hashes, as decimal texts (a big rig passes 2^53 hashes in 38
//! seconds); coverage and uncertainty are parts of one; `at` is Unix milliseconds.

use defences::{Defence, stands};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde_json::{Map, Value};
use units::{Hashes, MicroJoules, UnixMillis};

use crate::meter::{Kind, MeterId, MeterSpec, PPM, Scope, Tier};

mod json;

/// A report's text is at most this long, in bytes.
pub const MAX_BYTES: usize = 65_536;
/// A report holds at most this many meters.
pub const MAX_METERS: usize = 64;
/// A worker's name is at most this long, in bytes.
pub const MAX_WORKER: usize = 200;
/// Times and epochs stay exact in JSON: 2^53 - 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// A total is below this: 10^27 microjoules are what 100 MW use in 300,000 years.
pub const MAX_TOTAL: u128 = 1_000_000_000_000_000_000_000_000_000;

/// One meter's state within a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterReading {
    /// Its name within the rig.
    pub id: MeterId,
    /// Where its figures come from.
    pub kind: Kind,
    /// What it sees.
    pub scope: Scope,
    /// How good that is.
    pub tier: Tier,
    /// The series that `total` counts in; it rises when the total starts over.
    pub epoch: u64,
    /// The energy since the epoch began.
    pub total: MicroJoules,
    /// The part of the epoch's time that the total covers, in parts per million.
    pub coverage_ppm: u32,
    /// How far the total may be off, in parts per million of it.
    pub uncertainty_ppm: u32,
}

/// The hashes that a miner says it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimedHashes {
    /// Hashes since the epoch began.
    pub total: Hashes,
    /// The series that `total` counts in; it rises when the total starts over.
    pub epoch: u64,
}

/// What a miner reports of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnergyReport {
    /// The worker's user name, as authorized.
    pub worker: String,
    /// When the meters were read, by the miner's clock.
    pub at: UnixMillis,
    /// The meters, each once.
    pub meters: Vec<MeterReading>,
    /// The hashes claimed; `None` from one who only meters.
    pub hashes: Option<ClaimedHashes>,
}

/// A report whose signature was checked. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReport {
    report: EnergyReport,
    key: [u8; 32],
    canonical: String,
}

/// What is wrong with a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The text is longer than [`MAX_BYTES`].
    #[error("energy report: {0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
    /// The text is not a JSON object.
    #[error("energy report: not a JSON object ({0})")]
    NotAnObject(String),
    /// A member is missing, or is not what it should be.
    #[error("energy report: {member} should be {expected}")]
    Member {
        /// Which, as in `meters[2].epoch`.
        member: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A meter that claims a better tier than its kind can have.
    #[error(
        "energy report: meter {meter} claims tier {}, but a meter of kind {} is never better than \
         tier {}", claimed.get(), kind.as_str(), kind.best_tier().get()
    )]
    TooGood {
        /// Which.
        meter: MeterId,
        /// Its kind.
        kind: Kind,
        /// What it claims.
        claimed: Tier,
    },
    /// A meter that claims a smaller uncertainty than its kind can have.
    #[error(
        "energy report: meter {meter} claims an uncertainty of {}, but a meter of kind {} is never \
         surer than {}", part(*claimed_ppm), kind.as_str(), part(kind.least_uncertainty_ppm())
    )]
    TooSure {
        /// Which.
        meter: MeterId,
        /// Its kind.
        kind: Kind,
        /// What it claims, in parts per million.
        claimed_ppm: u32,
    },
    /// Two meters of one name.
    #[error("energy report: meter {0} is there twice")]
    RepeatedMeter(MeterId),
    /// The signature is not this key's over this report.
    #[error("energy report: the signature is not that of the key over this report")]
    BadSignature,
}

impl MeterReading {
    /// The state of a meter of that description.
    #[must_use]
    pub fn of(spec: &MeterSpec, epoch: u64, total: MicroJoules, coverage_ppm: u32) -> Self {
        let MeterSpec { id, kind, scope, tier, uncertainty_ppm, source: _ } = spec.clone();
        Self { id, kind, scope, tier, epoch, total, coverage_ppm, uncertainty_ppm }
    }
}

impl EnergyReport {
    /// The report as a JSON object with the key and the signature.
    ///
    /// # Errors
    /// When a member is out of bounds: what [`verify`] would refuse is not signed.
    pub fn sign(&self, key: &SigningKey) -> Result<Value, ReportError> {
        let mut object = json::write(self);
        let public = key.verifying_key().to_bytes();
        object.insert("key".to_owned(), Value::String(hex::encode(public)));
        json::read(&object)?;
        let signature = key.sign(canonical(&object)?.as_bytes());
        let signature = hex::encode(signature.to_bytes());
        object.insert("signature".to_owned(), Value::String(signature));
        Ok(Value::Object(object))
    }
}

impl SignedReport {
    /// What was signed.
    #[must_use]
    pub const fn report(&self) -> &EnergyReport {
        &self.report
    }

    /// The Ed25519 public key that signed it.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The text under the signature, to be kept as evidence.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// Checks a report's text: its bounds, its members, its signature.
///
/// # Errors
/// The first thing that is wrong, by name.
pub fn verify(text: &str) -> Result<SignedReport, ReportError> {
    if stands(Defence::ReportLength) && text.len() > MAX_BYTES {
        return Err(ReportError::TooLong(text.len()));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| ReportError::NotAnObject(error.to_string()))?;
    let Value::Object(mut object) = value else {
        return Err(ReportError::NotAnObject("another kind of value".to_owned()));
    };
    let signature = json::bytes::<64>(&object, "signature", "128 hexadecimal digits")?;
    object.remove("signature");
    let report = json::read(&object)?;
    let key = json::bytes::<32>(&object, "key", "64 hexadecimal digits")?;
    let canonical = canonical(&object)?;
    let public = VerifyingKey::from_bytes(&key).map_err(|_| ReportError::BadSignature)?;
    let signed = public.verify_strict(canonical.as_bytes(), &Signature::from_bytes(&signature));
    if stands(Defence::ReportSignature) && signed.is_err() {
        return Err(ReportError::BadSignature);
    }
    Ok(SignedReport { report, key, canonical })
}

/// Parts per million as a part of one, as reports state it.
fn part(ppm: u32) -> f64 {
    f64::from(ppm) / f64::from(PPM)
}

fn canonical(object: &Map<String, Value>) -> Result<String, ReportError> {
    serde_json_canonicalizer::to_string(object)
        .map_err(|error| ReportError::NotAnObject(error.to_string()))
}

#[cfg(test)]
mod tests;
