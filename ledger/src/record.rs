//! Binary forms kept in the log: credits, and shares as logs of the first format have them (the
//! present form is in `packed.rs`). Big-endian, fixed length, no padding.
//!
//! ```text
//! share, 124 bytes:  worker u32 | work u128 | network work u128 | at u64 (ms) | header 80
//! credit, 13 bytes:  account u32 | kind u8 (1 fee, 2 finder, 3 share, 4 reserve, 5 direct) | satoshis u64
//! ```

use units::{Sats, UnixMillis, Work};

use crate::error::LedgerError;
use crate::settle::{Credit, CreditKind};
use crate::types::{AccountId, Share, WorkerId};

/// What a share counts as: all of it but the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) worker: WorkerId,
    pub(crate) work: u128,
    /// What a block took then.
    pub(crate) network_work: u128,
    pub(crate) at: UnixMillis,
}

/// Bytes of one share.
const SHARE_BYTES: usize = 124;
/// Bytes of one credit.
const CREDIT_BYTES: usize = 13;

impl Entry {
    pub(crate) const fn of(share: &Share) -> Self {
        Self {
            worker: share.worker,
            work: share.work.get(),
            network_work: share.network_work.get(),
            at: share.at,
        }
    }
}

/// The entries of a batch of the first format.
pub(crate) fn decode_shares(bytes: &[u8]) -> Result<Vec<Entry>, LedgerError> {
    let (records, rest) = bytes.as_chunks::<SHARE_BYTES>();
    if !rest.is_empty() {
        return Err(LedgerError::damaged("a batch ends inside a share"));
    }
    Ok(records.iter().map(decode_share).collect())
}

/// The shares of a batch of the first format, whole.
pub(crate) fn whole_shares(bytes: &[u8]) -> Result<Vec<Share>, LedgerError> {
    let (records, rest) = bytes.as_chunks::<SHARE_BYTES>();
    if !rest.is_empty() {
        return Err(LedgerError::damaged("a batch ends inside a share"));
    }
    let whole = |record: &[u8; SHARE_BYTES]| {
        let mut rest = record.as_slice();
        Share {
            worker: WorkerId::new(u32::from_be_bytes(take(&mut rest))),
            work: Work::new(u128::from_be_bytes(take(&mut rest))),
            network_work: Work::new(u128::from_be_bytes(take(&mut rest))),
            at: UnixMillis::new(u64::from_be_bytes(take(&mut rest))),
            header: take(&mut rest),
        }
    };
    Ok(records.iter().map(whole).collect())
}

fn decode_share(record: &[u8; SHARE_BYTES]) -> Entry {
    let mut rest = record.as_slice();
    let worker = WorkerId::new(u32::from_be_bytes(take(&mut rest)));
    let work = u128::from_be_bytes(take(&mut rest));
    let network_work = u128::from_be_bytes(take(&mut rest));
    let at = UnixMillis::new(u64::from_be_bytes(take(&mut rest)));
    Entry { worker, work, network_work, at }
}

/// The records of `credits`, one after another.
pub(crate) fn encode_credits(credits: &[Credit]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(credits.len().saturating_mul(CREDIT_BYTES));
    for credit in credits {
        bytes.extend_from_slice(&credit.account.get().to_be_bytes());
        bytes.push(credit.kind.code());
        bytes.extend_from_slice(&credit.sats.to_sat().to_be_bytes());
    }
    bytes
}

/// The credits of a settlement's records.
pub(crate) fn decode_credits(bytes: &[u8]) -> Result<Vec<Credit>, LedgerError> {
    let (records, rest) = bytes.as_chunks::<CREDIT_BYTES>();
    if !rest.is_empty() {
        return Err(LedgerError::damaged("a settlement ends inside a credit"));
    }
    records.iter().map(decode_credit).collect()
}

fn decode_credit(record: &[u8; CREDIT_BYTES]) -> Result<Credit, LedgerError> {
    let mut rest = record.as_slice();
    let account = AccountId::new(u32::from_be_bytes(take(&mut rest)));
    let [code] = take(&mut rest);
    let sats = u64::from_be_bytes(take(&mut rest));
    let kind = CreditKind::from_code(code)
        .ok_or_else(|| LedgerError::damaged(format!("a credit of unknown kind {code}")))?;
    let sats =
        Sats::from_sat(sats).map_err(|error| LedgerError::damaged(format!("a credit: {error}")))?;
    Ok(Credit { account, kind, sats })
}

/// The next `N` bytes of a record, whose length was checked as a whole.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, after) = rest.split_first_chunk().expect("the fields sum to the record's length");
    *rest = after;
    *field
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_credit()(
            account: u32, kind in prop::sample::select(&CreditKind::ALL[..]),
            sats in 0..=Sats::MAX.to_sat(),
        ) -> Credit {
            Credit { account: AccountId::new(account), kind, sats: Sats::from_sat(sats).unwrap() }
        }
    }

    proptest! {
        #[test]
        fn credits_survive(credits in prop::collection::vec(any_credit(), 0..20)) {
            prop_assert_eq!(decode_credits(&encode_credits(&credits)).unwrap(), credits);
        }

        #[test]
        fn bytes_decode_to_themselves_or_not_at_all(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let shares = decode_shares(&bytes);
            prop_assert_eq!(shares.is_ok(), bytes.len() % SHARE_BYTES == 0);
            if let Ok(credits) = decode_credits(&bytes) {
                prop_assert_eq!(encode_credits(&credits), bytes);
            }
        }
    }

    #[test]
    fn an_old_share_is_read_from_its_places() {
        let mut bytes = vec![0; SHARE_BYTES];
        (bytes[3], bytes[19], bytes[35], bytes[43]) = (1, 2, 3, 4);
        let (worker, at) = (WorkerId::new(1), UnixMillis::new(4));
        let entry = Entry { worker, work: 2, network_work: 3, at };
        assert_eq!(decode_shares(&bytes).unwrap(), [entry]);
        bytes[44] = 5;
        let mut header = [0; 80];
        header[0] = 5;
        let (work, network_work) = (Work::new(2), Work::new(3));
        let whole = [Share { worker, work, network_work, at, header }];
        assert_eq!(whole_shares(&bytes).unwrap(), whole);
        assert!(whole_shares(&bytes[1..]).is_err());
    }
}
