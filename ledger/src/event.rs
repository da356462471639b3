//! The events of the log. A row of the log is a number, an instant, a kind, a body in JSON and,
//! for some kinds, bytes beside it:
//!
//! | kind | bytes |
//! |---|---|
//! | `shares` | the packed shares of a batch (see `packed.rs`) |
//! | `entries` | the same, once the slice is pruned: shares without headers (see `thin.rs`) |
//! | `slice_pruned` | what stays of the shares (see `docs/retention.md`) |
//! | `aggregated` | what each worker did in ten minutes (see `aggregate.rs`) |
//! | `batch` | the same in logs of the first format, as records (see `record.rs`) |
//! | `candidate_found` | the whole serialized block |
//! | `block_settled`, `slice_paid` | the credits (see `record.rs`) |
//! | `block_settled` | the credits (see `record.rs`) |
//! | `payout_planned`, `payout_replaced`, `payout_signed` | payments, transactions (see `payout.rs`) |
//!
//! In the bodies, numbers that may pass 2^53 are decimal strings, hashes of blocks are hex in
//! display order, other 32-byte values are hex as they are. A body that is in a log is never
//! read in another way: a change of meaning is a new kind. The one event that changes is `shares`
//! (or `batch`), which becomes `entries`.

mod payouts;

use serde::{Deserialize, Serialize};

pub(crate) use self::payouts::{
    PayoutConfirmed, PayoutNoted, PayoutPlanned, PayoutReplaced, PayoutVersion, PayoutsPaused,
    ThresholdSet,
};
use crate::error::LedgerError;
use crate::types::BlockId;

/// All that can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub(crate) enum Event {
    AccountOpened(AccountOpened),
    Aggregated(Aggregated),
    /// A batch as logs of the first format have it; none is written any more.
    Batch(Batch),
    BlockAbandoned(BlockSeen),
    BlockMatured(BlockSeen),
    BlockOrphaned(BlockSeen),
    BlockRestored(BlockSeen),
    BlockSettled(BlockSettled),
    BlockSubmitted(BlockSubmitted),
    CandidateFound(CandidateFound),
    /// A batch whose shares have no headers any more.
    Entries(Batch),
    ExtranoncesLeased(ExtranoncesLeased),
    KeyPinned(KeyPinned),
    Metered(Metered),
    PayPerShareBegan(PayPerShare),
    PayPerShareEnded(PayPerShare),
    ReserveDeclared(ReserveDeclared),
    Shares(Batch),
    SliceClosed(SliceClosed),
    SlicePaid(SlicePaid),
    SlicePruned(SlicePruned),
    WorkerOpened(WorkerOpened),
    // Payouts.
    PayoutCancelled(PayoutNoted),
    PayoutConfirmed(PayoutConfirmed),
    PayoutPlanned(PayoutPlanned),
    PayoutReleased(PayoutVersion),
    PayoutReplaced(PayoutReplaced),
    PayoutSettled(PayoutNoted),
    PayoutSigned(PayoutVersion),
    PayoutUnconfirmed(PayoutNoted),
    PayoutsPaused(PayoutsPaused),
    ThresholdSet(ThresholdSet),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountOpened {
    pub(crate) id: u32,
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerOpened {
    pub(crate) id: u32,
    pub(crate) account: u32,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Number of the first share.
    pub(crate) first: u64,
    /// How many shares.
    pub(crate) shares: u64,
    /// The slice that was open.
    pub(crate) slice: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SliceClosed {
    pub(crate) index: u64,
    pub(crate) shares: u64,
    #[serde(with = "decimal")]
    pub(crate) work: u128,
    #[serde(with = "plain_hex")]
    pub(crate) root: [u8; 32],
    /// How the root is made: 2 as in `slice.rs`; absent in logs of earlier versions, whose roots
    /// are over accounts alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<u8>,
    /// How many best headers of each account the slice keeps; absent where it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) best: Option<u32>,
}

/// The headers of a slice's shares are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlicePruned {
    pub(crate) slice: u64,
}

/// A candidate with the terms that it will be settled under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CandidateFound {
    #[serde(with = "display_hash")]
    pub(crate) hash: BlockId,
    pub(crate) height: u32,
    #[serde(with = "decimal")]
    pub(crate) reward: u64,
    #[serde(with = "decimal")]
    pub(crate) network_work: u128,
    pub(crate) finder: u32,
    /// The newest slice when the job was made.
    pub(crate) slice: u64,
    /// Hundredths of a block in the window of PPLNS; 0 where the scheme has none such.
    pub(crate) window_hundredths: u32,
    pub(crate) fee_basis_points: u16,
    pub(crate) fee_account: u32,
    /// The scheme's name. The first two formats have none: solo where the window is 0, else PPLNS
    /// by work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scheme: Option<String>,
    /// Milliseconds in the window of PPLNT; 0 where the scheme has none such.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) window_ms: u64,
    /// What its coinbase pays to accounts themselves, in rising order of account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) direct: Vec<DirectPay>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirectPay {
    pub(crate) account: u32,
    /// The output's script, in hex.
    pub(crate) script: String,
    #[serde(with = "decimal")]
    pub(crate) sats: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockSubmitted {
    #[serde(with = "display_hash")]
    pub(crate) hash: BlockId,
    /// The node's own words; empty for its plain "accepted".
    pub(crate) answer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockSettled {
    #[serde(with = "display_hash")]
    pub(crate) hash: BlockId,
    /// What is in the window, that is the divisor, in work or (where the candidate has a scheme)
    /// in scores; 0 where one account gets it all.
    #[serde(with = "decimal")]
    pub(crate) window_work: u128,
    /// How many credits follow.
    pub(crate) credits: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockSeen {
    #[serde(with = "display_hash")]
    pub(crate) hash: BlockId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metered {
    pub(crate) worker: u32,
    pub(crate) meter: String,
    #[serde(rename = "meter_kind")]
    pub(crate) kind: String,
    pub(crate) scope: String,
    pub(crate) tier: u8,
    #[serde(with = "decimal")]
    pub(crate) epoch: u64,
    #[serde(with = "decimal")]
    pub(crate) microjoules_total: u128,
    #[serde(with = "optional_decimal", default, skip_serializing_if = "Option::is_none")]
    pub(crate) hashes_total: Option<u128>,
    #[serde(with = "decimal")]
    pub(crate) credited: u128,
    pub(crate) gap_ms: u64,
    pub(crate) counted: bool,
    pub(crate) coverage_ppm: u32,
    pub(crate) uncertainty_ppm: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPinned {
    pub(crate) worker: u32,
    #[serde(with = "plain_hex")]
    pub(crate) key: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExtranoncesLeased {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// From here on shares are paid for as they come, or are not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayPerShare {
    /// The newest slice then: the shares after it are paid for, or those up to it were.
    pub(crate) slice: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReserveDeclared {
    /// All that the operator has put into the reserve so far, less what he took out.
    #[serde(with = "decimal")]
    pub(crate) sats: u64,
}

/// The shares of a slice are paid for out of the reserve; the credits stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlicePaid {
    pub(crate) slice: u64,
    /// What a block is taken to be worth.
    #[serde(with = "decimal")]
    pub(crate) block_value: u64,
    pub(crate) fee_basis_points: u16,
    /// The sum of the credits.
    #[serde(with = "decimal")]
    pub(crate) sats: u64,
    /// How many credits follow.
    pub(crate) credits: u64,
}

/// What every worker did since the aggregate before, or since the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aggregated {
    /// When it ends, in milliseconds.
    pub(crate) until: u64,
    /// How many workers did something.
    pub(crate) workers: u64,
}

impl Event {
    /// The kind and the body as they stand in the log.
    pub(crate) fn to_row(&self) -> (String, String) {
        if let Self::Shares(Batch { first, shares, slice }) = self {
            // The one kind that is written hundreds of times a second.
            let body = format!(r#"{{"first":{first},"shares":{shares},"slice":{slice}}}"#);
            return ("shares".to_owned(), body);
        }
        let tagged = serde_json::to_value(self).expect("events are plain data");
        let kind = tagged["kind"].as_str().expect("the tag is a string").to_owned();
        (kind, tagged["body"].to_string())
    }

    /// Reads a row of the log back.
    pub(crate) fn from_row(seq: u64, kind: &str, body: &str) -> Result<Self, LedgerError> {
        let damaged = |error: serde_json::Error| {
            LedgerError::damaged(format!("event {seq} of kind {kind:?}: {error}"))
        };
        let body: serde_json::Value = serde_json::from_str(body).map_err(damaged)?;
        let tagged = serde_json::json!({ "kind": kind, "body": body });
        serde_json::from_value(tagged).map_err(damaged)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to the field")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An integer as a decimal string.
mod decimal {
    use core::fmt::Display;
    use core::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// An integer as a decimal string, where there is one.
mod optional_decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<u128>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u128>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// 32 bytes as hex.
mod plain_hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let mut bytes = [0; 32];
        let text = String::deserialize(deserializer)?;
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

/// A block's hash as hex in display order.
mod display_hash {
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        hash: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::block::display_hex(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let mut hash = super::plain_hex::deserialize(deserializer)?;
        hash.reverse();
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as they stand in logs that exist: none of these texts may ever change.
    #[test]
    fn rows_are_as_released() {
        let mut hash = [0; 32];
        hash[31] = 0xab;
        let display = format!("ab{}", "00".repeat(31));
        let seen = Event::BlockMatured(BlockSeen { hash });
        check(&seen, "block_matured", &format!(r#"{{"hash":"{display}"}}"#));
        let (work, root) = (1 << 70, [7; 32]);
        let old = SliceClosed { index: 1, shares: 2, work, root, form: None, best: None };
        let closed = format!(
            r#""index":1,"root":"{}","shares":2,"work":"1180591620717411303424"}}"#,
            "07".repeat(32)
        );
        check(&Event::SliceClosed(old.clone()), "slice_closed", &format!("{{{closed}"));
        let present = SliceClosed { form: Some(2), best: Some(256), ..old };
        let body = format!(r#"{{"best":256,"form":2,{closed}"#);
        check(&Event::SliceClosed(present), "slice_closed", &body);
        check(
            &Event::Batch(Batch { first: 1, shares: 2, slice: 3 }),
            "batch",
            r#"{"first":1,"shares":2,"slice":3}"#,
        );
        check(
            &Event::Shares(Batch { first: 1, shares: 2, slice: 3 }),
            "shares",
            r#"{"first":1,"shares":2,"slice":3}"#,
        );
        check(
            &Event::CandidateFound(CandidateFound {
                hash,
                height: 101,
                reward: 5_000_000_000,
                network_work: u128::MAX,
                finder: 1,
                slice: 9,
                window_hundredths: 200,
                fee_basis_points: 100,
                fee_account: 2,
                scheme: None,
                window_ms: 0,
                direct: Vec::new(),
            }),
            "candidate_found",
            &format!(
                r#"{{"fee_account":2,"fee_basis_points":100,"finder":1,"hash":"{display}","height":101,"network_work":"340282366920938463463374607431768211455","reward":"5000000000","slice":9,"window_hundredths":200}}"#
            ),
        );
        check(&metered(None), "metered", METERED);
    }

    const METERED: &str = r#"{"counted":true,"coverage_ppm":1000000,"credited":"0","epoch":"18446744073709551615","gap_ms":0,"meter":"rapl:psys","meter_kind":"rapl","microjoules_total":"1","scope":"rig","tier":3,"uncertainty_ppm":80000,"worker":1}"#;

    fn metered(hashes_total: Option<u128>) -> Event {
        Event::Metered(Metered {
            worker: 1,
            meter: "rapl:psys".to_owned(),
            kind: "rapl".to_owned(),
            scope: "rig".to_owned(),
            tier: 3,
            epoch: u64::MAX,
            microjoules_total: 1,
            hashes_total,
            credited: 0,
            gap_ms: 0,
            counted: true,
            coverage_ppm: 1_000_000,
            uncertainty_ppm: 80_000,
        })
    }

    fn check(event: &Event, kind: &str, body: &str) {
        assert_eq!(event.to_row(), (kind.to_owned(), body.to_owned()));
        assert_eq!(&Event::from_row(1, kind, body).unwrap(), event);
    }

    #[test]
    fn claimed_hashes_survive() {
        let event = metered(Some(u128::MAX));
        let (kind, body) = event.to_row();
        assert_eq!(Event::from_row(1, &kind, &body).unwrap(), event);
    }

    #[test]
    fn an_unknown_row_is_damage_that_is_named() {
        let error = Event::from_row(7, "batch", "{}").unwrap_err();
        assert!(error.to_string().contains("event 7 of kind \"batch\""), "{error}");
        assert!(Event::from_row(8, "gift", "{}").is_err());
    }
}
